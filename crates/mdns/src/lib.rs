//! Announce a service on the local network, and find those of others.
//!
//! Multicast DNS service discovery (RFC 6762, RFC 6763) under the type `_fondaco._udp.local.`: the instance is the
//! entity in its text form, SRV and A/AAAA say where it is dialled, TXT says its [`Role`].
//!
//! # What always holds
//!
//! - What is found is a hint, as any socket of an [`Address`]: who answers there must hold the key.
//! - At most [`FOUND_MAX`] are taken, and nothing that cannot be dialled.
//! - Nothing is sent unless somebody calls [`announce`] or [`find`], and nothing after that ended.
//!
//! # What is not here
//!
//! Prices and asks: hosts and brokers are asked for them over the transport.

use fondaco_contract::Socket;
use fondaco_crypto::EntityId;
use fondaco_ports::Address;
use mdns_sd::{IfKind, ServiceDaemon, ServiceEvent, ServiceInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The service type.
const TYPE: &str = "_fondaco._udp.local.";
/// The version of what TXT says.
const VERSION: &str = "1";
/// The most services that one search takes.
pub const FOUND_MAX: usize = 256;
/// How long the end of an announcement may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// What a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It sells storage.
    Host,
    /// It keeps asks.
    Broker,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Broker => "broker",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Host, Self::Broker].into_iter().find(|role| role.name() == name)
    }
}

/// Multicast does not work here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("multicast DNS does not work here: {detail}")]
pub struct MdnsError {
    detail: String,
}

impl From<mdns_sd::Error> for MdnsError {
    fn from(error: mdns_sd::Error) -> Self {
        Self { detail: error.to_string() }
    }
}

impl MdnsError {
    /// Returns whether the same can work later: when there is a network.
    pub const fn is_transient(&self) -> bool {
        true
    }

    /// Returns what to do next, for people.
    pub const fn hint(&self) -> &'static str {
        "check that this machine has a network, and that UDP port 5353 is not closed; or name addresses by hand"
    }
}

/// A service that is announced, until this is dropped.
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl std::fmt::Debug for Announcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcement").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Who does not hear the goodbye forgets the service when its records expire.
        if let Ok(gone) = self.daemon.unregister(&self.name) {
            let _ = gone.recv_timeout(GOODBYE_TIMEOUT);
        }
        let _ = self.daemon.shutdown();
    }
}

/// Announces who is dialled at `address`: at the port of its first socket, on every interface that has one of its IP
/// addresses; loopback too, for others on this machine.
///
/// # Errors
///
/// The address names no socket, or multicast does not work here.
pub fn announce(address: &Address, role: Role) -> Result<Announcement, MdnsError> {
    let port = address
        .sockets()
        .first()
        .ok_or_else(|| MdnsError { detail: "there is no socket to announce".to_owned() })?
        .port();
    let ips: Vec<IpAddr> = address
        .sockets()
        .iter()
        .filter(|socket| socket.port() == port)
        .map(SocketAddr::ip)
        .collect();
    let entity = address.entity();
    let host = format!("{}-{}.local.", &entity.to_hex()[..16], role.name());
    let txt = [("v", VERSION), ("role", role.name())];
    let service =
        ServiceInfo::new(TYPE, &entity.to_string(), &host, ips.as_slice(), port, &txt[..])?;
    let name = service.get_fullname().to_owned();
    let daemon = daemon()?;
    daemon.register(service)?;
    Ok(Announcement { daemon, name })
}

/// Listens for `span` to who announces himself; blocks that long, or until [`FOUND_MAX`] were found.
///
/// # Errors
///
/// Multicast does not work here.
pub fn find(span: Duration) -> Result<Vec<(Role, Address)>, MdnsError> {
    let daemon = daemon()?;
    let events = daemon.browse(TYPE)?;
    let end = Instant::now() + span;
    let mut found: BTreeMap<(Role, EntityId), BTreeSet<Socket>> = BTreeMap::new();
    while found.len() < FOUND_MAX
        && let Ok(event) = events.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        let ServiceEvent::ServiceResolved(service) = event else { continue };
        let txt = |name: &str| service.txt_properties.get_property_val_str(name);
        let entity = service.fullname.strip_suffix(TYPE).and_then(|name| {
            name.trim_end_matches('.').parse::<EntityId>().ok().filter(EntityId::is_key)
        });
        let role = txt("role").and_then(Role::from_name).filter(|_| txt("v") == Some(VERSION));
        let (Some(entity), Some(role)) = (entity, role) else { continue };
        let ips = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr);
        let sockets = ips.filter_map(|ip| Socket::new((ip, service.port).into()));
        found.entry((role, entity)).or_default().extend(sockets);
    }
    let _ = daemon.shutdown();
    Ok(found
        .into_iter()
        .filter(|(_, sockets)| !sockets.is_empty())
        .map(|((role, entity), sockets)| {
            (role, Address::new(entity, sockets.into_iter().map(Socket::get)))
        })
        .collect())
}

/// Starts to listen on every interface, loopback too: services of one machine find each other without a network.
fn daemon() -> Result<ServiceDaemon, MdnsError> {
    let daemon = ServiceDaemon::new()?;
    daemon.enable_interface(IfKind::LoopbackV4)?;
    Ok(daemon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_crypto::SecretKey;

    #[test]
    fn roles_have_one_name() {
        for role in [Role::Host, Role::Broker] {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        assert_eq!(Role::from_name("issuer"), None);
    }

    #[test]
    fn an_address_without_sockets_is_not_announced() {
        let nowhere = Address::new(SecretKey::from_bytes(&[1; 32]).entity(), []);
        assert!(announce(&nowhere, Role::Host).is_err());
    }
}
