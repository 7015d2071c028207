//! The issuer's service: the production machine over the production journal, on a network in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_lcp::{
    Currency, Issuer, IssuerOptions, REQUEST_BYTES_MAX, Request, RequestId, Response,
};
use fondaco_ports::{Address, Clock};
use fondaco_store::{Journal, Kind};
use fondaco_transport::{Connection, Endpoint, Fabric, Protocol};
use fondaco_units::{Amount, Scale};

use super::oracle::Oracle;
use crate::{Rng, SimDisk, VirtualClock};

const KIND: Kind = Kind::new(*b"issuer\0\0", 1);

/// An issuer of one currency. Clones are the same.
#[derive(Clone)]
pub(super) struct IssuerNode(Arc<Shared>);

struct Shared {
    key: SecretKey,
    endpoint: Endpoint,
    fabric: Fabric,
    clock: VirtualClock,
    oracle: Oracle,
    state: Mutex<State>,
}

struct State {
    disk: SimDisk,
    up: Option<(Journal<SimDisk>, Issuer)>,
    rng: Rng,
    crashes: u64,
}

impl IssuerNode {
    pub(super) fn start(
        key: SecretKey,
        fabric: &Fabric,
        clock: VirtualClock,
        oracle: Oracle,
        lying: bool,
        rng: Rng,
    ) -> Self {
        let endpoint = Endpoint::bind_on(fabric, &key, None, &[Protocol::Lcp2])
            .expect("every port has a socket of its own");
        let disk = if lying { SimDisk::lying() } else { SimDisk::new() };
        let state = Mutex::new(State { disk, up: None, rng, crashes: 0 });
        let fabric = fabric.clone();
        let node = Self(Arc::new(Shared { key, endpoint, fabric, clock, oracle, state }));
        node.reopen();
        let serving = node.clone();
        tokio::spawn(async move {
            while let Some(connection) = serving.0.endpoint.accept().await {
                tokio::spawn(serving.clone().connection(connection));
            }
        });
        node
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn entity(&self) -> EntityId {
        self.0.key.entity()
    }

    pub(super) fn currency(&self) -> CurrencyId {
        CurrencyId::issued_by(self.entity())
    }

    pub(super) fn address(&self) -> Address {
        self.0.endpoint.address()
    }

    pub(super) fn crashes(&self) -> u64 {
        self.state().crashes
    }

    /// Looks into the books.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Issuer) -> T) -> Result<T, String> {
        let state = self.state();
        state.up.as_ref().map(|(_, issuer)| look(issuer)).ok_or_else(|| "no issuer".to_owned())
    }

    pub(super) fn mint(&self, to: EntityId, amount: Amount) -> Result<(), String> {
        let id = RequestId::at(self.0.clock.now(), self.state().rng.array());
        let answer = self.handle(self.entity(), &Request::Mint { id, to, amount });
        match answer {
            Some(Response::Minted { .. }) => Ok(()),
            other => Err(format!("nothing was minted: {other:?}")),
        }
    }

    /// Plans that the power goes at one of the next writes.
    pub(super) fn power_off_in(&self, operations: u64) {
        let mut state = self.state();
        let State { disk, rng, .. } = &mut *state;
        disk.power_off_in(operations, rng);
    }

    pub(super) fn heal(&self) {
        self.state().disk.heal();
    }

    /// Replays the journal.
    fn reopen(&self) {
        let mut state = self.state();
        let mut issuer = Issuer::new(self.describe(), IssuerOptions::default());
        match Journal::open(state.disk.clone(), KIND, |record| issuer.replay(record)) {
            Ok(journal) => state.up = Some((journal, issuer)),
            Err(error) => self.0.oracle.fault(format!("the issuer does not start: {error}")),
        }
    }

    fn describe(&self) -> Currency {
        Currency {
            id: self.currency(),
            name: Text::cut("crown of the run"),
            symbol: Text::cut("CRN"),
            scale: Scale::new(2).unwrap_or_default(),
            transfer_fee: Amount::ZERO,
            full_handshake_fee: Amount::ZERO,
            account_reserve: Amount::ZERO,
        }
    }

    async fn connection(self, connection: Connection) {
        let peer = connection.peer();
        while let Ok(Some(mut stream)) = connection.accept().await {
            let node = self.clone();
            tokio::spawn(async move {
                let Ok(Some(frame)) = stream.recv_bytes(REQUEST_BYTES_MAX).await else { return };
                let Ok(request) = Request::from_frame(&frame) else { return };
                if let Some(response) = node.handle(peer, &request) {
                    // Who asked may be gone.
                    let _ = stream.send_bytes(&response.to_frame()).await;
                }
            });
        }
    }

    /// Answers when what changed is saved; nothing when the machine is down, or goes down.
    fn handle(&self, holder: EntityId, request: &Request) -> Option<Response> {
        let mut state = self.state();
        let now = self.0.clock.now();
        let (journal, issuer) = state.up.as_mut()?;
        let mut records = Vec::new();
        while let Some(record) = issuer.tick(now) {
            records.push(record);
        }
        let handled = issuer.handle(now, holder, request);
        records.extend(handled.record);
        if !records.is_empty() && journal.append(&records).is_err() {
            state.up = None;
            state.crashes += 1;
            let State { disk, rng, .. } = &mut *state;
            *disk = disk.crash(rng);
            let pause = Duration::from_secs(1 + rng.below(20));
            drop(state);
            self.0.fabric.cut(self.entity());
            let node = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                node.reopen();
            });
            return None;
        }
        Some(handled.response)
    }
}
