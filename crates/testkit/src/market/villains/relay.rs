//! What stands between a villain's service and the world.

use std::sync::{Arc, Mutex, PoisonError};

use fondaco_crypto::SecretKey;
use fondaco_ports::Address;
use fondaco_ports::market::{Frame as _, Response, STEP_BYTES_MAX};
use fondaco_transport::{CloseReason, Connection, Endpoint, Fabric, Protocol, Stream};

use super::{Act, Mischief};

const FRAME_MAX: usize = 2 * STEP_BYTES_MAX;

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

    pub(in super::super) async fn run(self, mischief: Box<dyn Mischief>) {
        let mischief = Arc::new(Mutex::new(mischief));
        let mut tasks = tokio::task::JoinSet::new();
        while let Some(outer) = self.front.accept().await {
            let Ok(inner) = self.inner.connect(&self.service, Protocol::Storage).await else {
                return;
            };
            tasks.spawn(connection(outer, inner, Arc::clone(&mischief)));
        }
    }
}

async fn connection(outer: Connection, inner: Connection, mischief: Arc<Mutex<Box<dyn Mischief>>>) {
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok(Some(asked)) = outer.accept().await {
        let Ok(answered) = inner.open().await else { return };
        let (outer, mischief) = (outer.clone(), Arc::clone(&mischief));
        tasks.spawn(async move {
            if stream(asked, answered, &mischief).await == Act::Go {
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
) -> Act {
    loop {
        let Ok(Some(mut frame)) = asked.recv_bytes(FRAME_MAX).await else { return Act::Fall };
        let act = mischief.lock().unwrap_or_else(PoisonError::into_inner).asked(&mut frame);
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
        let act =
            mischief.lock().unwrap_or_else(PoisonError::into_inner).answered(&mut frame, payload);
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

/// Says nothing, and keeps the stream open for longer than anybody waits.
async fn fall(stream: Stream) -> Act {
    tokio::time::sleep(std::time::Duration::from_secs(120)).await;
    drop(stream);
    Act::Fall
}
