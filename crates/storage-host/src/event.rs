//! What happened, as the journal keeps it.
//!
//! An event holds what it led to, not what was asked: replaying decides nothing. Counters in it only ever rise, so two
//! events of one contract may be journaled in either order, but what is stored and deleted must keep its own.

use fondaco_audit::ShardId;
use fondaco_codec::{Decode, DecodeError, Encode, choice};
use fondaco_contract::{ContractId, Ending, Mandate, State, Tab, Terms};
use fondaco_crypto::EntityId;
use fondaco_ledger::SignedVoucher;
use fondaco_ports::market::SignedMark;
use fondaco_units::{Amount, Bytes, Timestamp};

/// The first byte of every record.
pub const VERSION: u8 = 1;

/// Something that must be durable before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one at a time, and soon written
pub enum Event {
    /// A contract was signed.
    Opened {
        /// Its terms.
        terms: Terms,
        /// Pays for opening, and names the hold.
        voucher: SignedVoucher,
        /// What the hold has.
        amount_max: Amount,
        /// When the hold expires.
        expires: Timestamp,
    },
    /// A shard is kept from now on.
    Stored {
        /// Under which contract.
        contract: ContractId,
        /// Its name.
        shard: ShardId,
        /// Its size.
        size: Bytes,
        /// The account after it.
        tab: Tab,
        /// The highest voucher.
        voucher: SignedVoucher,
    },
    /// Bytes went in or out, or an epoch was paid for.
    Metered {
        /// Under which contract.
        contract: ContractId,
        /// The account after it.
        tab: Tab,
        /// The highest voucher.
        voucher: SignedVoucher,
    },
    /// A shard is kept no longer.
    Deleted {
        /// Under which contract.
        contract: ContractId,
        /// Which.
        shard: ShardId,
    },
    /// A contract ended; its money is still to be got.
    Ended {
        /// Which.
        contract: ContractId,
        /// When.
        at: Timestamp,
        /// Why.
        why: Ending,
    },
    /// The money of an ended contract was paid out, or is lost; its shards are forgotten.
    Posted {
        /// Which.
        contract: ContractId,
        /// What was paid.
        paid: Amount,
    },
    /// The buyer marked a shard; the one marked before is kept no longer.
    Marked {
        /// Under which contract, and which.
        mark: SignedMark,
    },
    /// A contract was signed that takes over the shards of another, which ends by that.
    Renewed {
        /// Which contract was renewed.
        from: ContractId,
        /// When.
        at: Timestamp,
        /// The terms of the one that follows.
        terms: Terms,
        /// Pays for opening and for the first epoch of what was taken over, and names the hold.
        voucher: SignedVoucher,
        /// What the hold has.
        amount_max: Amount,
        /// When the hold expires.
        expires: Timestamp,
    },
    /// A buyer's mandate for a delegate was shown, and is good.
    Admitted {
        /// A contract of the buyer.
        contract: ContractId,
        /// The mandate.
        mandate: Mandate,
    },
    /// A contract follows on others, the first of which began then: in a journal written anew, instead of all that led to it.
    Began {
        /// Which.
        contract: ContractId,
        /// When.
        at: Timestamp,
        /// Whom its buyer has it from, if it was another's.
        had_by: Option<EntityId>,
    },
    /// A contract has the mark of one that it renewed, which its next mark takes the shard of: in a journal written anew, instead of
    /// all that led to it.
    HadMark {
        /// Which.
        contract: ContractId,
        /// The mark.
        mark: SignedMark,
    },
    /// A part of a shard went out, which is sent again if its buyer did not get it.
    Read {
        /// Under which contract.
        contract: ContractId,
        /// The account after it.
        tab: Tab,
        /// The highest voucher.
        voucher: SignedVoucher,
        /// Of which shard.
        shard: ShardId,
        /// From where.
        offset: Bytes,
        /// How much.
        length: Bytes,
    },
    /// The provider announced that it leaves.
    Leaving {
        /// Which contract ends by that.
        contract: ContractId,
        /// When.
        at: Timestamp,
    },
}
choice!(Event {
    1 => Opened { terms, voucher, amount_max, expires },
    2 => Stored { contract, shard, size, tab, voucher },
    3 => Metered { contract, tab, voucher },
    4 => Deleted { contract, shard },
    5 => Ended { contract, at, why },
    6 => Posted { contract, paid },
    9 => Renewed { from, at, terms, voucher, amount_max, expires },
    10 => Leaving { contract, at },
    11 => Admitted { contract, mandate },
    12 => Began { contract, at, had_by },
    15 => Marked { mark },
    16 => Read { contract, tab, voucher, shard, offset, length },
    17 => HadMark { contract, mark },
});

impl Event {
    /// Returns the event that a contract ended so; nothing if it has not.
    pub(crate) fn of_end(contract: ContractId, state: &State) -> Option<Self> {
        Some(Self::Ended { contract, at: state.ended_at()?, why: state.why()? })
    }

    /// Writes the record: version, then event.
    pub fn to_record(&self) -> Vec<u8> {
        let mut record = vec![VERSION];
        self.encode(&mut record);
        record
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Version`] and [`ReplayError::Record`].
    pub fn from_record(record: &[u8]) -> Result<Self, ReplayError> {
        match record.split_first() {
            Some((&VERSION, event)) => Ok(Self::from_bytes(event)?),
            Some((&found, _)) => Err(ReplayError::Version { found }),
            None => Err(ReplayError::Version { found: 0 }),
        }
    }

    /// Returns which contract it is about; of a renewal, the one that follows.
    pub fn contract(&self) -> ContractId {
        match self {
            Self::Opened { terms, .. } | Self::Renewed { terms, .. } => terms.id(),
            Self::Marked { mark } => mark.mark.contract,
            Self::Stored { contract, .. }
            | Self::Metered { contract, .. }
            | Self::Read { contract, .. }
            | Self::Deleted { contract, .. }
            | Self::Ended { contract, .. }
            | Self::Posted { contract, .. }
            | Self::Leaving { contract, .. }
            | Self::Began { contract, .. }
            | Self::HadMark { contract, .. }
            | Self::Admitted { contract, .. } => *contract,
        }
    }
}

/// Why a journal cannot be replayed. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The record is of another version.
    #[error("a record of version {found}; this is version {VERSION}")]
    Version {
        /// Its version.
        found: u8,
    },
    /// The record holds no event.
    #[error("a record holds no event: {0}")]
    Record(#[from] DecodeError),
    /// The event is about a contract that was never opened.
    #[error("an event of {contract}, which was never opened")]
    Unopened {
        /// Which.
        contract: ContractId,
    },
}

impl ReplayError {
    /// Returns whether the same journal can be replayed later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Version { .. } | Self::Record(_) | Self::Unopened { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_contract::Meter;
    use fondaco_crypto::{CurrencyId, Digest, Signature};
    use fondaco_ledger::{HoldId, Voucher};

    /// The hexdump of `docs/formats/storage-host.md`: a change of it is a new version.
    #[test]
    fn the_format_is_pinned() {
        let voucher = Voucher {
            currency: CurrencyId::issued_by(EntityId::from_bytes([0xcd; 32])),
            hold: HoldId::from_digest(Digest::from_bytes([0x40; 32])),
            cumulative: Amount::new(1050),
        };
        let event = Event::Stored {
            contract: ContractId::from_digest(Digest::from_bytes([0xcc; 32])),
            shard: ShardId::from_digest(Digest::from_bytes([0x5a; 32])),
            size: Bytes::new(1 << 16),
            tab: Tab {
                meter: Meter { opened: true, written: 1 << 16, read: 0, byte_epochs: 1 << 17 },
                epochs_paid: 2,
                stored: Bytes::new(1 << 16),
            },
            voucher: SignedVoucher { voucher, signature: Signature::from_bytes([0x55; 64]) },
        };
        let record = event.to_record();
        let dump = [
            "0102".to_owned(),                             // version, Stored
            "cc".repeat(32),                               // contract
            "5a".repeat(32),                               // shard
            "0000010000000000".to_owned(),                 // size: 65536
            "01".to_owned(),                               // tab: opened
            "0000010000000000".to_owned(),                 // tab: written
            "0000000000000000".to_owned(),                 // tab: read
            "00000200000000000000000000000000".to_owned(), // tab: byte_epochs
            "0200000000000000".to_owned(),                 // tab: epochs_paid
            "0000010000000000".to_owned(),                 // tab: stored
            "cd".repeat(32),                               // voucher: currency
            "40".repeat(32),                               // voucher: hold
            "1a04000000000000".to_owned(),                 // voucher: 1050 in all
            "55".repeat(64),                               // voucher: signature
        ];
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, dump.concat());
        assert_eq!(Event::from_record(&record), Ok(event));
    }
}
