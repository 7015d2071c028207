//! A buyer that sends what is no message, to every host.

use fondaco_crypto::SecretKey;
use fondaco_ports::Address;
use fondaco_ports::market::{Frame as _, Request};
use fondaco_transport::{Endpoint, Fabric, Protocol};

use crate::Rng;

/// Sends garbage.
pub(in super::super) struct GarbageBuyer {
    endpoint: Endpoint,
    rng: Rng,
}

impl GarbageBuyer {
    pub(in super::super) fn new(fabric: &Fabric, rng: &mut Rng) -> Self {
        let key = SecretKey::from_bytes(&rng.array());
        let endpoint =
            Endpoint::bind_on(fabric, &key, None, &[]).expect("every port has a socket of its own");
        Self { endpoint, rng: rng.fork() }
    }

    /// Sends some garbage to one host, and does not wait for what it says.
    pub(in super::super) async fn turn(&mut self, host: &Address) {
        let Ok(connection) = self.endpoint.connect(host, Protocol::Storage).await else { return };
        for _ in 0..=self.rng.below(4) {
            let Ok(mut stream) = connection.open().await else { return };
            let mut frame = Request::Prices.to_frame();
            let length = self.rng.index(Request::FRAME_MAX * 2);
            frame.resize(length, 0);
            let from = self.rng.index(3).min(frame.len());
            self.rng.fill(&mut frame[from..]);
            let _ = stream.send_bytes(&frame).await;
            stream.set_timeout(std::time::Duration::from_secs(2));
            let _ = stream.recv_bytes(1 << 20).await;
        }
    }
}
