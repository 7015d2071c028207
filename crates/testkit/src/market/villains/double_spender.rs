//! A buyer that wants two contracts for one hold, at two hosts.

use fondaco_contract::Terms;
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_lcp as lcp;
use fondaco_ledger::{HoldId, Voucher};
use fondaco_ports::market::{Frame as _, Request, Response};
use fondaco_ports::{Address, Clock as _};
use fondaco_transport::{Endpoint, Fabric, LcpClient, Protocol};
use fondaco_units::{Amount, Bytes, Duration};

use super::super::oracle::Oracle;
use crate::{Rng, VirtualClock};

/// Spends one hold twice.
pub(in super::super) struct DoubleSpender {
    key: SecretKey,
    endpoint: Endpoint,
    issuer: LcpClient,
    clock: VirtualClock,
    oracle: Oracle,
    rng: Rng,
}

impl DoubleSpender {
    pub(in super::super) fn new(
        fabric: &Fabric,
        issuer: Address,
        clock: VirtualClock,
        oracle: Oracle,
        rng: &mut Rng,
    ) -> Self {
        let key = SecretKey::from_bytes(&rng.array());
        let endpoint =
            Endpoint::bind_on(fabric, &key, None, &[]).expect("every port has a socket of its own");
        let issuer = LcpClient::new(endpoint.clone(), issuer);
        Self { key, endpoint, issuer, clock, oracle, rng: rng.fork() }
    }

    pub(in super::super) fn entity(&self) -> EntityId {
        self.key.entity()
    }

    /// Opens a hold for one host, and asks both to sign for it.
    pub(in super::super) async fn turn(&mut self, hosts: [&Address; 2]) {
        let mut lists = Vec::new();
        for host in hosts {
            match self.ask(host, &Request::Prices).await {
                Some(Response::Prices { list }) => lists.push(list),
                _ => return,
            }
        }
        let now = self.clock.now();
        let size = Bytes::new(1 << 20);
        let (buyer, nonce) = (self.entity(), u128::from(self.rng.next_u64()));
        let terms: Vec<Terms> = lists
            .iter()
            .map(|list| {
                let period = Duration::from_milliseconds(list.prices.epoch.milliseconds() * 3);
                Terms::new(buyer, list, size, now, period, nonce)
            })
            .collect();
        let id = lcp::RequestId::at(now, self.rng.array());
        let amount_max = Amount::new(1_000_000);
        let open = lcp::Request::HoldOpen {
            id,
            payee: hosts[0].entity(),
            amount_max,
            order: *terms[0].id().digest(),
            expires: terms[0].ends.after(Duration::from_seconds(2 * 86_400)),
            open_by: now.after(Duration::from_seconds(600)),
        };
        if !matches!(self.issuer.call(&open).await, Ok(lcp::Response::HoldOpened { .. })) {
            return;
        }
        let currency = CurrencyId::issued_by(self.issuer.issuer().entity());
        let hold = HoldId::derive(currency, buyer, id.get());
        let cumulative = lists[0].prices.open.max(lists[1].prices.open);
        let voucher = Voucher { currency, hold, cumulative }.sign(&self.key);
        let mut opened = 0;
        for (host, terms) in hosts.into_iter().zip(terms) {
            let buyer_signature = terms.sign_as_buyer(&self.key);
            let request = Request::Open { terms, buyer_signature, voucher };
            if matches!(self.ask(host, &request).await, Some(Response::Opened { .. })) {
                opened += 1;
            }
        }
        if opened > 1 {
            self.oracle.fault("one hold has paid for two contracts".to_owned());
        }
    }

    async fn ask(&self, host: &Address, request: &Request) -> Option<Response> {
        let connection = self.endpoint.connect(host, Protocol::Storage).await.ok()?;
        let mut stream = connection.open().await.ok()?;
        stream.send_bytes(&request.to_frame()).await.ok()?;
        let frame = stream.recv_bytes(Response::FRAME_MAX).await.ok()??;
        Response::from_frame(&frame).ok()
    }
}
