//! A host that is cheap in everything but what it takes first: it wants much to open a contract, and then answers nothing.
//!
//! Placement, which reckons what keeping costs, would choose it. What buyers trust a newcomer with at once keeps them from
//! it; a buyer that compares it with nobody can be taken in, for what the oracle then allows (see `oracle::trust`).

use fondaco_ports::market::{Frame as _, Request};
use fondaco_storage_host::HostConfig;
use fondaco_units::{Amount, Price};

use super::{Act, Mischief};

/// Takes the price to open, and goes.
pub(in super::super) struct DearHost;

impl DearHost {
    /// What it asks.
    pub(in super::super) const fn prices(config: HostConfig) -> HostConfig {
        let (store, write) = (Price::from_parts(1), Price::from_parts(1));
        HostConfig { open: Amount::new(1_000_000), store, write, read: write, ..config }
    }
}

impl Mischief for DearHost {
    fn asked(&mut self, frame: &mut Vec<u8>) -> Act {
        match Request::from_frame(frame) {
            Ok(Request::Prices | Request::Open { .. }) => Act::Pass,
            _ => Act::Fall,
        }
    }

    fn answered(&mut self, _: &mut Vec<u8>, _: bool) -> Act {
        Act::Pass
    }

    fn be_worst(&mut self) {}

    fn twin(&self) -> Box<dyn Mischief> {
        Box::new(Self)
    }
}
