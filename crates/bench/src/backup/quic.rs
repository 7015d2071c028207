//! What it costs both ends to move bytes as a buyer and its hosts do, with nothing done to them.

use fondaco_crypto::SecretKey;
use fondaco_ports::Address;
use fondaco_transport::{Connection, Endpoint, Protocol};
use tokio::{runtime::Runtime, task::JoinSet};

use crate::race::timed;

/// The step of a host that is not told another.
const STEP: usize = 256 << 10;
/// About as much as a request, or an answer to a step.
const SHORT: usize = 64;
const FRAME_MAX: usize = STEP + 64;

/// Which way the steps go.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// To the hosts: on one stream of each connection, each step is answered before the next.
    There,
    /// From the hosts: each step is asked for on a stream of its own.
    Back,
}

/// Moves so many bytes on as many connections, or fewer, between two endpoints in this process; returns the CPU time, in seconds.
pub(super) fn alone(bytes: u64, connections: usize, way: Way) -> f64 {
    let steps = usize::try_from(bytes).expect("they fit").div_ceil(STEP);
    // One without a step could be over before it is accepted.
    let connections = connections.min(steps);
    let runtime = Runtime::new().expect("a runtime");
    let (host, buyer) = runtime.block_on(async {
        let listen = Some("127.0.0.1:0".parse().expect("an address"));
        let host = SecretKey::from_bytes(&[1; 32]);
        let host = Endpoint::bind(&host, listen, &[Protocol::Storage]).await;
        let buyer = Endpoint::bind(&SecretKey::from_bytes(&[2; 32]), None, &[]).await;
        (host.expect("a free port"), buyer.expect("a free port"))
    });
    let sample = timed(|| {
        runtime.block_on(async {
            let serving = tokio::spawn(serve(host.clone(), connections));
            let mut buying = JoinSet::new();
            for number in 0..connections {
                // The first ones make one step more where they cannot be shared out evenly.
                let share = (steps + connections - 1 - number) / connections;
                buying.spawn(buy(buyer.clone(), host.address(), share, way));
            }
            buying.join_all().await;
            serving.await.expect("no panic");
        });
    });
    sample.cpu()
}

async fn buy(endpoint: Endpoint, host: Address, steps: usize, way: Way) {
    let connection = endpoint.connect(&host, Protocol::Storage).await.expect("it listens");
    let (step, short) = (vec![7; STEP], [7; SHORT]);
    match way {
        Way::There => {
            let mut stream = connection.open().await.expect("a stream");
            for _ in 0..steps {
                stream.send_bytes(&step).await.expect("it is read");
                stream.recv_bytes(FRAME_MAX).await.expect("an answer");
            }
            stream.finish();
        }
        Way::Back => {
            for _ in 0..steps {
                let mut stream = connection.open().await.expect("a stream");
                stream.send_bytes(&short).await.expect("it is read");
                stream.finish();
                stream.recv_bytes(FRAME_MAX).await.expect("an answer");
            }
        }
    }
}

async fn serve(endpoint: Endpoint, connections: usize) {
    let mut serving = JoinSet::new();
    for _ in 0..connections {
        let connection = endpoint.accept().await.expect("a buyer");
        serving.spawn(answer(connection));
    }
    serving.join_all().await;
}

/// Answers what is long with what is short, and what is short with what is long, until the buyer goes.
async fn answer(connection: Connection) {
    let (step, short) = (vec![7; STEP], [7; SHORT]);
    while let Ok(Some(mut stream)) = connection.accept().await {
        while let Ok(Some(frame)) = stream.recv_bytes(FRAME_MAX).await {
            let answer = if frame.len() == STEP { &short[..] } else { &step[..] };
            stream.send_bytes(answer).await.expect("it is read");
        }
        stream.finish();
    }
}
