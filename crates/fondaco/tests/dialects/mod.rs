//! An issuer by the real command, spoken to in both dialects.
#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod strange;

use crate::world::World;
use fondaco_codec::Text;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp::{
    Request, RequestId, Response,
    classic::{Ask, AskBody},
};
use fondaco_lcp_wire::{
    ClientTls, SoapClient,
    soap::{self, Form, Reply},
};
use fondaco_ports::Address;
use fondaco_transport::{Endpoint, LcpClient};
use fondaco_units::{Amount, Duration, Scale};
use serde_json::Value;
use std::{net::SocketAddr, path::PathBuf};

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

pub(crate) fn cents() -> Scale {
    Scale::new(2).unwrap()
}

/// A running issuer of a currency of two decimals, in a world of its own.
pub(crate) struct Town {
    pub(crate) world: World,
    /// Where LCP/2 is spoken.
    pub(crate) address: Address,
    /// Where the dialect of 2003 is spoken, over TLS.
    pub(crate) soap: SocketAddr,
    /// Where it is described, over plain HTTP.
    pub(crate) http: SocketAddr,
}

impl Town {
    /// Defines a currency, with these options beside its names, and starts its issuer.
    pub(crate) async fn new(options: &[&str]) -> Self {
        let mut world = World::new(PathBuf::from(env!("CARGO_BIN_EXE_fondaco")), false).unwrap();
        world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
        let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--scale", "2"];
        world.ask("issuer", [&define[..], options].concat()).await.unwrap();
        let any = "127.0.0.1:0";
        let up = ["issuer", "up", "--listen", any, "--soap", any, "--http", any];
        let address: Address = world.start("issuer", up).await.unwrap().parse().unwrap();
        let socket = |name, scheme: &str| {
            let url = world.told("issuer", name).unwrap();
            let rest = url.strip_prefix(scheme).unwrap();
            rest.split('/').next().unwrap().parse().unwrap()
        };
        let (soap, http) = (socket("soap", "https://"), socket("wsdl", "http://"));
        Self { world, address, soap, http }
    }

    /// Starts the issuer again, where it was.
    pub(crate) async fn up(&mut self) {
        let listen = self.address.sockets()[0].to_string();
        let (soap, http) = (self.soap.to_string(), self.http.to_string());
        let up = ["issuer", "up", "--listen", &listen, "--soap", &soap, "--http", &http];
        self.world.start("issuer", up).await.unwrap();
    }

    pub(crate) fn issuer(&self) -> EntityId {
        self.address.entity()
    }

    pub(crate) async fn mint(&self, to: EntityId, amount: &str) {
        let to = to.to_string();
        self.world.ask("issuer", ["issuer", "mint", amount, "--to", &to]).await.unwrap();
    }

    pub(crate) async fn lcp2(&self, key: &SecretKey) -> LcpClient {
        LcpClient::new(Endpoint::bind(key, None, &[]).await.unwrap(), self.address.clone())
    }

    pub(crate) fn tls(&self, key: &SecretKey) -> ClientTls {
        ClientTls::new(key, self.issuer())
    }

    pub(crate) async fn soap(&self, tls: &ClientTls) -> SoapClient {
        SoapClient::connect(tls, self.soap, cents()).await.unwrap()
    }

    /// Stops the issuer and replays its books; what the audit says.
    pub(crate) async fn audit(&mut self) -> Value {
        self.world.stop("issuer").await;
        let audit = self.world.ask("issuer", ["issuer", "audit"]).await.unwrap();
        assert_eq!(audit["balanced"], true);
        audit
    }
}

/// What a holder can spend, and how many notices wait for it.
pub(crate) async fn balance(client: &LcpClient) -> (u64, u64) {
    match client.call(&Request::Balance).await.unwrap() {
        Response::Balance { available, held: Amount::ZERO, deposits_waiting } => {
            (available.get(), deposits_waiting)
        }
        other => panic!("{other:?}"),
    }
}

/// A payment over LCP/2.
pub(crate) fn transfer(id: u128, to: EntityId, units: u64, fee_max: u64) -> Request {
    let (amount, fee_max) = (Amount::new(units), Amount::new(fee_max));
    Request::Transfer { id: RequestId::new(id), to, amount, fee_max, order: Text::cut("order 7") }
}

/// A payment in the dialect of 2003, as the draft's toolkits write it.
pub(crate) fn envelope(counter: u32, to: EntityId, units: u64, form: Form) -> String {
    let body = AskBody::Transfer { to, amount: Amount::new(units), order: Text::cut("order 7") };
    let written = soap::write(&Ask { counter, body }, Duration::ZERO, form, cents());
    String::from_utf8(written).unwrap()
}

/// The code of a fault, and whether it used the message's counter up.
pub(crate) fn fault(answer: &[u8]) -> (String, bool) {
    match soap::read_reply(answer, cents()) {
        Ok(Reply::Fault { code, counter_used, .. }) => (code, counter_used),
        other => panic!("{other:?} in {}", String::from_utf8_lossy(answer)),
    }
}
