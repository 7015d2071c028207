//! What was used under a contract, and what each side knows of it: its counting, in arithmetic of its own.

use super::PARTS;
use fondaco_audit::ShardId;
use fondaco_contract::{PriceList, Tab};
use std::collections::BTreeMap;

/// What was used under a contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Used {
    pub(super) opened: bool,
    pub(super) written: u64,
    pub(super) read: u64,
    pub(super) kept: u128,
    pub(super) advanced: u64,
}

impl Used {
    pub(super) fn cost(&self, prices: &PriceList) -> u64 {
        let parts = u128::from(prices.store.parts()) * self.kept
            + u128::from(prices.write.parts()) * u128::from(self.written)
            + u128::from(prices.read.parts()) * u128::from(self.read);
        let whole = u64::try_from(parts / PARTS).expect("a run has no such sums");
        whole
            + u64::from(!parts.is_multiple_of(PARTS))
            + if self.opened { prices.open.get() } else { 0 }
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            opened: self.opened || other.opened,
            written: self.written + other.written,
            read: self.read + other.read,
            kept: self.kept + other.kept,
            advanced: self.advanced + other.advanced,
        }
    }

    /// Whether no counter is over that of `other`.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.written <= other.written
            && self.read <= other.read
            && self.kept <= other.kept
            && self.advanced <= other.advanced
    }

    pub(super) fn of(tab: &Tab) -> Self {
        Self {
            opened: tab.meter.opened,
            written: tab.meter.written,
            read: tab.meter.read,
            kept: tab.meter.byte_epochs,
            advanced: tab.epochs_paid - 1,
        }
    }
}

/// One thing that is paid for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Charge {
    Open,
    Write {
        bytes: u64,
        keep: Option<Keep>,
    },
    Read {
        bytes: u64,
    },
    Advance,
    /// Opens, and keeps so much for one epoch that was another contract's.
    Renew {
        bytes: u64,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) shard: ShardId,
    pub(super) size: u64,
    pub(super) epoch: u64,
}

/// One side's account.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub(super) used: Used,
    /// Bytes that are kept.
    pub(super) stored: u64,
    pub(super) shards: BTreeMap<ShardId, u64>,
}

impl Side {
    pub(super) fn add(&mut self, charge: Charge) -> Used {
        let used = self.what(charge);
        self.used = self.used.plus(&used);
        if let Charge::Write { keep: Some(Keep { shard, size, .. }), .. } = charge {
            self.shards.insert(shard, size);
            self.stored += size;
        }
        used
    }

    pub(super) fn delete(&mut self, shard: ShardId) {
        self.stored -= self.shards.remove(&shard).unwrap_or(0).min(self.stored);
    }

    pub(super) fn what(&self, charge: Charge) -> Used {
        let none = Used::default();
        match charge {
            Charge::Open => Used { opened: true, ..none },
            Charge::Write { bytes, keep } => {
                let epochs = |keep: Keep| (1 + self.used.advanced).saturating_sub(keep.epoch);
                let kept = keep.map_or(0, |keep| u128::from(keep.size) * u128::from(epochs(keep)));
                Used { written: bytes, kept, ..none }
            }
            Charge::Read { bytes } => Used { read: bytes, ..none },
            Charge::Advance => Used { advanced: 1, kept: u128::from(self.stored), ..none },
            Charge::Renew { bytes } => Used { opened: true, kept: bytes.into(), ..none },
        }
    }
}
