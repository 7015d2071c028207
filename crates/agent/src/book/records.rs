//! What a book keeps of a contract, a set and an object.

use super::Event;
use fondaco_audit::{ShardId, tagged_len};
use fondaco_contract::{ContractId, Ending, State, Tab, Terms};
use fondaco_crypto::Digest;
use fondaco_erasure::{Code, Layout};
use fondaco_lcp::RequestId;
use fondaco_ledger::HoldId;
use fondaco_ports::Address;
use fondaco_units::{Amount, Bytes, Timestamp};

/// Where a contract stands, as its buyer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Saved, and perhaps asked for.
    Intended,
    /// Signed by both sides.
    Open,
    /// Over.
    Ended(End),
}

/// How a contract ended, as far as its buyer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When and why; nothing of one whose end was not told, or is of a journal that did not keep it.
    pub state: Option<State>,
    /// What was used; nothing where nobody who knew it was left.
    pub tab: Option<Tab>,
    /// What was paid for it: the highest that was signed for, or what the issuer says; nothing where neither is known.
    pub paid: Option<Amount>,
    /// Whether it is the issuer that says what was paid.
    pub settled: bool,
}

impl End {
    /// Returns what an event of old says, which has neither when nor why: `before` is where the contract stood. A contract
    /// that was open and without any account is one whose provider said that it was over, and nobody asked more.
    pub(super) fn of_old(before: Stage, terms: &Terms, tab: Tab, paid: Amount) -> Self {
        let is_known = tab.meter.opened || !paid.is_zero();
        match before {
            Stage::Open if !is_known => Self { state: None, tab: None, paid: None, settled: false },
            Stage::Intended if !is_known => {
                let state = Some(State::Cancelled { at: terms.begins });
                Self { state, tab: Some(tab), paid: Some(paid), settled: false }
            }
            Stage::Intended | Stage::Open | Stage::Ended(_) => {
                let state = Some(State::ended(terms.ends, Ending::Closed));
                Self { state, tab: Some(tab), paid: Some(paid), settled: false }
            }
        }
    }
}

/// A contract, as its buyer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractRecord {
    /// The terms.
    pub terms: Terms,
    /// Where the provider is.
    pub address: Address,
    /// The id of the request that opens the hold.
    pub hold_request: RequestId,
    /// The most that the hold may pay.
    pub hold_max: Amount,
    /// When the hold expires.
    pub hold_expires: Timestamp,
    /// Where it stands.
    pub stage: Stage,
}

impl ContractRecord {
    /// Returns the hold that pays for it.
    pub fn hold(&self) -> HoldId {
        let Terms { prices, buyer, .. } = &self.terms;
        HoldId::derive(prices.currency, *buyer, self.hold_request.get())
    }

    /// Returns the event that it is intended.
    pub(crate) fn intended(&self) -> Event {
        Event::ContractIntended {
            terms: self.terms,
            address: self.address.clone(),
            hold_request: self.hold_request,
            hold_max: self.hold_max,
            hold_expires: self.hold_expires,
        }
    }
}

/// The contracts that together hold the shards of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The code: as many shards as there are contracts.
    pub code: Code,
    /// The contract for each shard.
    pub contracts: Vec<ContractId>,
    /// The contract that each slot had first: what its shards are tagged under, whoever keeps them now.
    pub origins: Vec<ContractId>,
}

/// Where an object lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Its length.
    pub length: Bytes,
    /// The index of its set.
    pub set: u32,
    /// Its code, which may need fewer shards than the set's.
    pub code: Code,
    /// Its shards, in the order of the set's contracts.
    pub shards: Vec<ShardId>,
    /// What its shards are tagged as, if there are tags behind them.
    pub tagged: Option<Digest>,
}

impl ObjectRecord {
    /// Returns how long each shard is, with its tags if it has some.
    pub const fn shard_size(&self, layout: Layout) -> u64 {
        shard_size(layout, self.tagged.is_some())
    }
}

/// Returns how long each shard of an object is.
const fn shard_size(layout: Layout, is_tagged: bool) -> u64 {
    if is_tagged { tagged_len(layout.shard_len()) } else { layout.shard_len() }
}

impl ObjectRecord {
    /// Returns how long each of its shards is, with its tags if it has some.
    pub fn share(&self) -> Bytes {
        let layout = Layout::new(self.code, self.length.get());
        Bytes::new(layout.map_or(0, |layout| self.shard_size(layout)))
    }
}
