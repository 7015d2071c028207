//! Why a provider refuses.

use fondaco_codec::choice;
use fondaco_contract::{Ending, TabError, TermsError};
use fondaco_units::{Amount, Bytes, Timestamp};

/// Why a provider refuses. Listed by precedence: only the first that applies is reported. A refusal changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The provider speaks another version of the market's language.
    #[error("the provider speaks version {spoken} of the market protocol")]
    Version {
        /// The one it speaks.
        spoken: u8,
    },
    /// The frame holds no message that could come here.
    #[error("the message cannot be read, or was not awaited")]
    Malformed,

    /// The price list in the terms is void.
    #[error("the price list has expired, ask for the present one")]
    PricesExpired,
    /// The buyer's clock and the provider's are too far apart to agree on anything that has a date.
    #[error("the clocks are too far apart: {theirs} in the terms, {ours} by the provider")]
    Clock {
        /// When the terms say that it is.
        theirs: Timestamp,
        /// When the provider says that it is.
        ours: Timestamp,
    },
    /// The terms are not to be signed.
    #[error("the terms are refused: {why}")]
    TermsRefused {
        /// What is wrong with them.
        why: TermsError,
    },
    /// The terms name another provider.
    #[error("the terms are for another provider")]
    NotProvider,
    /// The buyer did not sign the terms.
    #[error("the terms are not signed by their buyer")]
    Unsigned,
    /// The issuer knows no such hold.
    #[error("the issuer knows of no such hold")]
    UnknownHold,
    /// The hold is not open, or not from this buyer, for this provider and this contract.
    #[error("the hold is not open for this contract")]
    WrongHold,
    /// The hold expires before it could be posted.
    #[error("the hold expires {expires}, too soon to be relied on")]
    HoldExpires {
        /// When.
        expires: Timestamp,
    },
    /// The provider has promised its room to others.
    #[error("{free} are free, {wanted} are wanted")]
    NoRoom {
        /// What is free.
        free: Bytes,
        /// What is wanted.
        wanted: Bytes,
    },
    /// The provider does not know this buyer well enough to promise it so much room.
    #[error("{allowed} are for a buyer with so few paid contracts, {wanted} are wanted")]
    Newcomer {
        /// How much more it may have.
        allowed: Bytes,
        /// What is wanted.
        wanted: Bytes,
    },
    /// The provider has announced that it leaves: it takes nothing more, and signs nothing for longer.
    #[error("the provider leaves {at}")]
    Leaving {
        /// When.
        at: Timestamp,
    },
    /// The terms do not follow on the contract that they renew.
    #[error("terms that renew the contract begin by {begins_max} and are for {size_min} or more")]
    WrongRenewal {
        /// When they may begin at the latest: when what is paid for ends.
        begins_max: Timestamp,
        /// What is kept, and so taken over.
        size_min: Bytes,
    },

    /// There is no such contract.
    #[error("the provider knows no such contract")]
    UnknownContract,
    /// The contract is another buyer's.
    #[error("the contract is not yours")]
    NotYours,
    /// The contract has ended.
    #[error("the contract has ended: {why}")]
    Ended {
        /// Why.
        why: Ending,
    },
    /// The present epoch is not paid for; the contract lapses soon.
    #[error("the contract is paid until {paid_until}: advance it first")]
    Late {
        /// Until when it was paid for.
        paid_until: Timestamp,
    },

    /// The voucher is for another hold or currency.
    #[error("the voucher is not for the hold that pays for this contract")]
    WrongVoucher,
    /// The voucher authorises more than the hold has.
    #[error("the voucher is for {}, the hold has {}", authorised.get(), amount_max.get())]
    OverHold {
        /// What the voucher authorises.
        authorised: Amount,
        /// What the hold has.
        amount_max: Amount,
    },
    /// The buyer did not sign the voucher.
    #[error("the voucher is not signed by the buyer")]
    BadVoucher,

    /// There is no such shard under this contract.
    #[error("the provider keeps no such shard under this contract")]
    UnknownShard,
    /// The shard is kept, and has another size.
    #[error("the shard is of {size}")]
    WrongSize {
        /// Its size.
        size: Bytes,
    },
    /// The clocks of the two sides are too far apart to agree on the epoch.
    #[error("it is epoch {epoch} by the provider's clock")]
    WrongEpoch {
        /// The provider's epoch.
        epoch: u64,
    },
    /// The part asked for is not of the shard.
    #[error("the shard is of {size} and has no such part")]
    WrongRange {
        /// Its size.
        size: Bytes,
    },
    /// More bytes than one step, or none, or more than the shard has left.
    #[error("a step of {length} bytes is not between 1 and {}", length_max.get())]
    WrongStep {
        /// How many bytes.
        length: u64,
        /// How many there may be.
        length_max: Bytes,
    },

    /// The shard is longer than any that a provider keeps.
    #[error("a shard has at most {size_max}, this one has {size}")]
    ShardTooLong {
        /// Its size.
        size: Bytes,
        /// How long a shard may be.
        size_max: Bytes,
    },
    /// The contract has as many shards as a provider keeps for one.
    #[error("a contract has at most {shards_max} shards")]
    TooManyShards {
        /// How many.
        shards_max: u32,
    },
    /// More would be kept than was agreed.
    #[error("{size} would be kept; the contract is for {size_max}")]
    OverSize {
        /// What would be kept, with all that is being put.
        size: Bytes,
        /// What was agreed.
        size_max: Bytes,
    },
    /// Every epoch of the contract is paid for.
    #[error("all {epochs_paid} epochs of the contract are paid for")]
    PaidToTheEnd {
        /// How many that is.
        epochs_paid: u64,
    },
    /// The sum owed cannot be counted.
    #[error("the sum owed cannot be counted")]
    Overflow,
    /// The vouchers do not cover this.
    #[error("{} are owed for this and all before it, {} are authorised", owed.get(), authorised.get())]
    Unpaid {
        /// The running total with this.
        owed: Amount,
        /// The running total of the highest voucher.
        authorised: Amount,
    },
    /// The read asked for again is not the one that was counted last, or was sent again as often as it is.
    #[error("that is not the read that was counted last, or it was sent again {again_max} times")]
    NotAgain {
        /// How often one read is sent again.
        again_max: u32,
    },

    /// The provider is doing as much as it can, or the same for this buyer already.
    #[error("the provider is busy")]
    Busy,
    /// The bytes sent are not those that the name says. They are charged as written.
    #[error("the bytes are not those of the shard named")]
    WrongContent,
    /// The provider's disk is full.
    #[error("the provider's disk is full")]
    DiskFull,
    /// The provider's disk has less room left than the provider wants to keep free.
    #[error("the provider's disk has {free} left, of which {reserve} are to stay free")]
    Reserve {
        /// What is free.
        free: Bytes,
        /// What is to stay free.
        reserve: Bytes,
    },
    /// The provider's disk cannot be written to.
    #[error("the provider's disk cannot be written to")]
    ReadOnly,
    /// The provider has found the shard damaged.
    #[error("the provider has lost the shard or a part of it")]
    Damaged,
    /// The provider could not ask the issuer.
    #[error("the provider cannot reach the issuer")]
    IssuerUnreachable,
    /// The provider has failed in some other way of its own.
    #[error("the provider has failed")]
    Failed,

    /// The proof asked for is of nothing, of too much, or of shards out of order.
    #[error("a proof is of 1 to {samples_max} blocks, of shards in order")]
    WrongSamples {
        /// How many blocks there may be.
        samples_max: u32,
    },
    /// There are no tags behind the data of the shard.
    #[error("a shard of {size} has no tags")]
    Untagged {
        /// Its size.
        size: Bytes,
    },
    /// As many proofs were asked for as an epoch pays for.
    #[error("an epoch has {proofs_max} proofs; the next begins {until}")]
    TooManyProofs {
        /// How many it has.
        proofs_max: u32,
        /// When the next epoch begins.
        until: Timestamp,
    },
}
choice!(Reason {
    1 => Version { spoken },
    2 => Malformed,
    10 => PricesExpired,
    11 => TermsRefused { why },
    12 => NotProvider,
    13 => Unsigned,
    14 => UnknownHold,
    15 => WrongHold,
    16 => HoldExpires { expires },
    17 => NoRoom { free, wanted },
    20 => UnknownContract,
    21 => NotYours,
    22 => Ended { why },
    23 => Late { paid_until },
    30 => WrongVoucher,
    31 => OverHold { authorised, amount_max },
    32 => BadVoucher,
    40 => UnknownShard,
    41 => WrongSize { size },
    42 => WrongEpoch { epoch },
    43 => WrongRange { size },
    44 => WrongStep { length, length_max },
    50 => TooManyShards { shards_max },
    51 => OverSize { size, size_max },
    52 => PaidToTheEnd { epochs_paid },
    53 => Overflow,
    54 => Unpaid { owed, authorised },
    55 => NotAgain { again_max },
    56 => ShardTooLong { size, size_max },
    60 => Busy,
    61 => WrongContent,
    62 => DiskFull,
    63 => Damaged,
    64 => IssuerUnreachable,
    65 => Failed,
    66 => Clock { theirs, ours },
    67 => Newcomer { allowed, wanted },
    68 => Leaving { at },
    69 => WrongRenewal { begins_max, size_min },
    70 => Reserve { free, reserve },
    71 => ReadOnly,
    80 => WrongSamples { samples_max },
    81 => Untagged { size },
    82 => TooManyProofs { proofs_max, until },
});

impl Reason {
    /// Returns whether the same request, sent again unchanged, can succeed later.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::TermsRefused { why } => why.is_transient(),
            Self::Busy
            | Self::UnknownHold // an open on its way to the issuer may be slower than its contract
            | Self::NoRoom { .. }
            | Self::Late { .. }
            | Self::WrongEpoch { .. }
            | Self::TooManyShards { .. }
            | Self::OverSize { .. }
            | Self::Unpaid { .. }
            | Self::DiskFull
            | Self::Reserve { .. }
            | Self::IssuerUnreachable
            | Self::Failed
            | Self::TooManyProofs { .. } => true,
            Self::Version { .. }
            | Self::Malformed
            | Self::PricesExpired
            | Self::Clock { .. }
            | Self::Newcomer { .. }
            | Self::Leaving { .. }
            | Self::WrongRenewal { .. }
            | Self::ReadOnly
            | Self::NotProvider
            | Self::Unsigned
            | Self::WrongHold
            | Self::HoldExpires { .. }
            | Self::UnknownContract
            | Self::NotYours
            | Self::Ended { .. }
            | Self::WrongVoucher
            | Self::BadVoucher
            | Self::OverHold { .. }
            | Self::UnknownShard
            | Self::WrongSize { .. }
            | Self::WrongRange { .. }
            | Self::WrongStep { .. }
            | Self::ShardTooLong { .. }
            | Self::PaidToTheEnd { .. }
            | Self::Overflow
            | Self::NotAgain { .. }
            | Self::WrongContent
            | Self::Damaged
            | Self::WrongSamples { .. }
            | Self::Untagged { .. } => false,
        }
    }
}

impl Reason {
    /// Returns whether it is the contract that is full, spent or over. That says nothing about its host: another would refuse
    /// the same under such a contract.
    pub const fn is_of_the_contract(self) -> bool {
        matches!(
            self,
            Self::Ended { .. }
                | Self::OverHold { .. }
                | Self::TooManyShards { .. }
                | Self::OverSize { .. }
                | Self::PaidToTheEnd { .. }
                | Self::Unpaid { .. }
        )
    }
}

impl From<TermsError> for Reason {
    fn from(why: TermsError) -> Self {
        match why {
            TermsError::Prices { why: fondaco_contract::PriceListError::Expired { .. } } => {
                Self::PricesExpired
            }
            why => Self::TermsRefused { why },
        }
    }
}

impl From<TabError> for Reason {
    fn from(refusal: TabError) -> Self {
        match refusal {
            TabError::OverSize { size, size_max } => Self::OverSize { size, size_max },
            // A buyer names the epoch it stores from; that it is paid for is checked before.
            TabError::Epochs { epochs_paid, .. } => Self::WrongEpoch { epoch: epochs_paid },
            TabError::PaidToTheEnd { epochs_paid } => Self::PaidToTheEnd { epochs_paid },
            TabError::Overflow => Self::Overflow,
            TabError::Unpaid { owed, authorised } => Self::Unpaid { owed, authorised },
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use fondaco_codec::{Decode, Reader};
    use std::collections::BTreeSet;

    /// One of every reason, made from its tag: fields of zeros, or of ones where zero has no meaning.
    pub(crate) fn reasons() -> impl Iterator<Item = Reason> {
        (0..=u8::MAX).filter_map(|tag| {
            [0, 1].into_iter().find_map(|filler| {
                let mut bytes = [filler; 64];
                bytes[0] = tag;
                Reason::decode(&mut Reader::new(&bytes)).ok()
            })
        })
    }

    #[test]
    fn every_reason_says_something_of_its_own() {
        let sentences: BTreeSet<String> = reasons().map(|reason| reason.to_string()).collect();
        assert_eq!(reasons().count(), 44);
        assert_eq!(sentences.len(), 44);
        assert!(reasons().any(Reason::is_transient));
    }

    /// A shard that no provider keeps is not one that a contract has no room for, which another deletion could make.
    #[test]
    fn what_is_too_long_and_what_is_too_much() {
        let (size, size_max) = (Bytes::new(3 << 30), Bytes::new(1 << 30));
        for (reason, transient, sentence) in [
            (
                Reason::ShardTooLong { size, size_max },
                false,
                "a shard has at most 1.0 GiB, this one has 3.0 GiB",
            ),
            (
                Reason::OverSize { size, size_max },
                true,
                "3.0 GiB would be kept; the contract is for 1.0 GiB",
            ),
        ] {
            assert_eq!(reason.is_transient(), transient, "{reason:?}");
            assert_eq!(reason.to_string(), sentence);
        }
    }

    #[test]
    fn what_a_full_or_spent_contract_refuses_is_not_its_hosts_fault() {
        let of_the_contract = reasons().filter(|reason| reason.is_of_the_contract());
        let said: Vec<String> = of_the_contract.map(|reason| reason.to_string()).collect();
        assert_eq!(said.len(), 6, "{said:?}");
        for reason in [Reason::DiskFull, Reason::Busy, Reason::UnknownShard, Reason::Overflow] {
            assert!(!reason.is_of_the_contract(), "{reason}");
        }
    }

    #[test]
    fn refusals_of_the_cores_keep_their_values() {
        let (owed, authorised) = (Amount::new(2), Amount::new(1));
        let unpaid = Reason::from(TabError::Unpaid { owed, authorised });
        assert_eq!(unpaid, Reason::Unpaid { owed, authorised });
        assert_eq!(unpaid.to_string(), "2 are owed for this and all before it, 1 are authorised");
        let size = TermsError::Size { size_max: Bytes::ZERO, capacity: Bytes::ZERO };
        assert_eq!(Reason::from(size), Reason::TermsRefused { why: size });
    }
}
