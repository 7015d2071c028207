//! By which of its addresses others see a service that listens at all of them.

use std::net::{IpAddr, SocketAddr};

/// The addresses of this machine, the one to be named to others first: not loopback, where there is another.
pub(crate) fn hosts(sockets: &[SocketAddr]) -> Vec<IpAddr> {
    let mut hosts: Vec<IpAddr> = Vec::new();
    for ip in sockets.iter().map(SocketAddr::ip) {
        if !hosts.contains(&ip) {
            hosts.push(ip);
        }
    }
    // Stable: else the order is as it was.
    hosts.sort_by_key(IpAddr::is_loopback);
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_named_last() {
        let of = |sockets: &[&str]| {
            let sockets: Vec<SocketAddr> = sockets.iter().map(|it| it.parse().unwrap()).collect();
            hosts(&sockets).iter().map(IpAddr::to_string).collect::<Vec<_>>()
        };
        let all = ["127.0.0.1:4434", "192.0.2.2:4434", "[::1]:4434", "[2001:db8::2]:4434"];
        assert_eq!(of(&all), ["192.0.2.2", "2001:db8::2", "127.0.0.1", "::1"]);
        assert_eq!(of(&["127.0.0.1:1", "127.0.0.1:2"]), ["127.0.0.1"]);
        assert!(of(&[]).is_empty());
    }
}
