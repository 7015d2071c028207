//! Faults of a host that is taken for an honest one: canaries.

use fondaco_crypto::SecretKey;
use fondaco_ports::market::{Frame as _, Request, Response};
use fondaco_units::Amount;

use super::{Act, Mischief};

/// Counts what it served twice.
pub(in super::super) struct CountsTwice;

impl Mischief for CountsTwice {
    fn asked(&mut self, _: &mut Vec<u8>) -> Act {
        Act::Pass
    }

    fn answered(&mut self, frame: &mut Vec<u8>, _: bool) -> Act {
        if let Ok(Response::Status { mut tab, voucher, shards, state }) =
            Response::from_frame(frame)
        {
            tab.meter.read *= 2;
            *frame = Response::Status { tab, voucher, shards, state }.to_frame();
        }
        Act::Pass
    }

    fn be_worst(&mut self) {}

    fn twin(&self) -> Box<dyn Mischief> {
        Box::new(Self)
    }
}

/// Serves whatever the voucher says: it has the buyer's key, and signs what is missing.
pub(in super::super) struct ServesUnpaid(SecretKey);

impl ServesUnpaid {
    pub(in super::super) fn new(buyer: &SecretKey) -> Self {
        Self(buyer.clone())
    }
}

impl Mischief for ServesUnpaid {
    fn asked(&mut self, frame: &mut Vec<u8>) -> Act {
        if let Ok(Request::Get { contract, shard, offset, length, voucher }) =
            Request::from_frame(frame)
        {
            let mut raised = voucher.voucher;
            let more = raised.cumulative.checked_add(Amount::new(1000));
            raised.cumulative = more.unwrap_or(raised.cumulative);
            let voucher = raised.sign(&self.0);
            *frame = Request::Get { contract, shard, offset, length, voucher }.to_frame();
        }
        Act::Pass
    }

    fn answered(&mut self, _: &mut Vec<u8>, _: bool) -> Act {
        Act::Pass
    }

    fn be_worst(&mut self) {}

    fn twin(&self) -> Box<dyn Mischief> {
        Box::new(Self(self.0.clone()))
    }
}
