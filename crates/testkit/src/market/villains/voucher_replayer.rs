//! A buyer that reads on and on with a voucher it has shown before.
//!
//! It is the honest buyer's other self: it knows its contracts and vouchers, so that a host that served it unpaid would
//! have served anybody.

use fondaco_crypto::SecretKey;
use fondaco_ports::Address;
use fondaco_ports::market::{Frame as _, Request, Response};
use fondaco_transport::{Endpoint, Fabric, Protocol};

/// Shows old vouchers.
pub(in super::super) struct VoucherReplayer {
    endpoint: Endpoint,
}

impl VoucherReplayer {
    pub(in super::super) fn new(fabric: &Fabric, buyer: &SecretKey) -> Self {
        let endpoint = Endpoint::bind_on(fabric, buyer, None, &[])
            .expect("every port has a socket of its own");
        Self { endpoint }
    }

    /// Asks one host again and again for what was asked and paid for before. What it serves unpaid, the oracle sees.
    pub(in super::super) async fn turn(&self, host: &Address, old: &Request) {
        let Ok(connection) = self.endpoint.connect(host, Protocol::Storage).await else { return };
        for _ in 0..3 {
            let Ok(mut stream) = connection.open().await else { return };
            if stream.send_bytes(&old.to_frame()).await.is_err() {
                return;
            }
            stream.set_timeout(std::time::Duration::from_secs(5));
            let _ = stream.recv_bytes(Response::FRAME_MAX).await;
        }
    }
}
