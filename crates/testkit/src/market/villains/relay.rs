//! What stands between a villain's service and the world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fondaco_contract::ContractId;
use fondaco_crypto::SecretKey;
use fondaco_ports::Address;
use fondaco_ports::market::{Frame as _, Request, Response, STEP_BYTES_MAX};
use fondaco_transport::{CloseReason, Connection, Endpoint, Fabric, Protocol, Stream};

use super::{Act, Mischief};

const FRAME_MAX: usize = 2 * STEP_BYTES_MAX;

/// How often a villain did something else than its service, under each contract. Clones are the same.
#[derive(Clone, Default)]
pub(in super::super) struct Deeds(Arc<Mutex<BTreeMap<ContractId, u64>>>);

impl Deeds {
    fn list(&self) -> MutexGuard<'_, BTreeMap<ContractId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, contract: Option<ContractId>) {
        if let Some(contract) = contract {
            *self.list().entry(contract).or_default() += 1;
        }
    }

    /// Begins to count anew.
    pub(in super::super) fn forget(&self) {
        self.list().clear();
    }

    /// How often it did something under a contract.
    pub(in super::super) fn under(&self, contract: ContractId) -> u64 {
        self.list().get(&contract).copied().unwrap_or(0)
    }
}

/// A relay from the endpoint that the world dials to the villain's own service.
pub(in super::super) struct Relay {
    front: Endpoint,
    inner: Endpoint,
    service: Address,
}

impl Relay {
    /// Before its own service, the relay passes for `buyer`: it has the villain's network in its hand.
    pub(in super::super) fn new(
        front: Endpoint,
        fabric: Fabric,
        service: Address,
        buyer: &SecretKey,
    ) -> Self {
        let inner = Endpoint::bind_on(&fabric, buyer, None, &[])
            .expect("every port has a socket of its own");
        Self { front, inner, service }
    }

    pub(in super::super) async fn run(self, mischief: Box<dyn Mischief>, deeds: Deeds) {
        let mischief = Arc::new(Mutex::new(mischief));
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(outer) = self.front.accept().await {
            let Ok(inner) = self.inner.connect(&self.service, Protocol::Storage).await else {
                return;
            };
            tasks.spawn(connection(outer, inner, Arc::clone(&mischief), deeds.clone()));
        }
    }
}

async fn connection(
    outer: Connection,
    inner: Connection,
    mischief: Arc<Mutex<Box<dyn Mischief>>>,
    deeds: Deeds,
) {
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok(Some(asked)) = outer.accept().await {
        let Ok(answered) = inner.open().await else { return };
        let (outer, mischief, deeds) = (outer.clone(), Arc::clone(&mischief), deeds.clone());
        tasks.spawn(async move {
            if stream(asked, answered, &mischief, &deeds).await == Act::Go {
                outer.close(CloseReason::Done);
            }
        });
    }
}

/// Passes frames in turn, until one side has no more.
async fn stream(
    mut asked: Stream,
    mut answered: Stream,
    mischief: &Mutex<Box<dyn Mischief>>,
    deeds: &Deeds,
) -> Act {
    let villain = || mischief.lock().unwrap_or_else(PoisonError::into_inner);
    let mut contract = None;
    loop {
        let Ok(Some(mut frame)) = asked.recv_bytes(FRAME_MAX).await else { return Act::Fall };
        contract = contract.or_else(|| contract_of(&frame));
        let before = frame.clone();
        let act = villain().asked(&mut frame);
        if act != Act::Pass || frame != before {
            deeds.note(contract);
        }
        match act {
            Act::Pass => {}
            Act::Fall => return fall(asked).await,
            Act::Go => return Act::Go,
        }
        if answered.send_bytes(&frame).await.is_err() {
            return Act::Fall;
        }
        let Ok(Some(mut frame)) = answered.recv_bytes(FRAME_MAX).await else { return Act::Fall };
        let payload = matches!(Response::from_frame(&frame), Ok(Response::Slice { .. }));
        let before = frame.clone();
        let act = villain().answered(&mut frame, payload);
        if act != Act::Pass || frame != before {
            deeds.note(contract);
        }
        match act {
            Act::Pass => {}
            Act::Fall => return fall(asked).await,
            Act::Go => return Act::Go,
        }
        if asked.send_bytes(&frame).await.is_err() {
            return Act::Fall;
        }
    }
}

/// Under which contract a stream is that begins so.
fn contract_of(frame: &[u8]) -> Option<ContractId> {
    match Request::from_frame(frame).ok()? {
        Request::Open { terms, .. } | Request::Renew { terms, .. } => Some(terms.id()),
        Request::Put { contract, .. }
        | Request::Get { contract, .. }
        | Request::Again { contract, .. }
        | Request::Prove { contract, .. }
        | Request::Advance { contract, .. }
        | Request::Status { contract }
        | Request::Delete { contract, .. }
        | Request::Close { contract } => Some(contract),
        _ => None,
    }
}

/// Says nothing, and keeps the stream open for longer than anybody waits.
async fn fall(stream: Stream) -> Act {
    tokio::time::sleep(std::time::Duration::from_secs(120)).await;
    drop(stream);
    Act::Fall
}
