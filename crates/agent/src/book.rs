//! What a buyer must not forget: its contracts, which shards lie where, and what is half done.
//!
//! ```text
//! contract   ContractIntended ──► ContractOpened ──► ContractEnded
//!                    └──────────────────────────────────► ContractEnded (never opened)
//! object     ObjectStored ──► ObjectRemoved
//! backup     BackupStarted ──► BackupFinished
//! ```
//!
//! Every event is in the journal before what it speaks of is relied upon. A crash after
//! `ContractIntended` finds the request ids and terms again, so that the hold and the contract are
//! asked for once more, and given once. A crash between two objects loses none that was recorded; a
//! crash after `BackupStarted` tells the next run to look for packs that no index names.
//!
//! # What always holds
//!
//! - Replaying the events gives the same book; an event that does not fit is refused and changes nothing.
//! - A [`Set`] never changes: an object names its set, and its shard `i` lies under contract `i` of it.

use fondaco_audit::ShardId;
use fondaco_codec::{List, Text, choice, record};
use fondaco_contract::{ContractId, Tab, Terms};
use fondaco_crypto::{Digest, EntityId, Signature};
use fondaco_erasure::{Code, Layout};
use fondaco_lcp::RequestId;
use fondaco_ports::Address;
use fondaco_units::{Amount, Bytes, Timestamp};
use std::collections::BTreeMap;

/// The greatest number of shards of an object.
pub const SHARDS_MAX: usize = 255;

/// What kind of thing a repository object is; the restic format has five.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// The one configuration of a repository.
    Config,
    /// A key, itself encrypted under the password.
    Key,
    /// A snapshot.
    Snapshot,
    /// An index of packs.
    Index,
    /// A pack of blobs.
    Pack,
}
choice!(ObjectKind { 1 => Config, 2 => Key, 3 => Snapshot, 4 => Index, 5 => Pack });

/// Names an object of a repository: its kind, and the SHA-256 that the restic format names it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name; zero for the configuration.
    pub name: Digest,
}
record!(ObjectId { kind, name });

/// How objects are cut into shards: part of the format, since shards outlive programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Reed–Solomon over GF(2⁸) with a scaled Cauchy matrix, as the crate `erasure` codes it.
    Cauchy8,
}
choice!(Coding { 2 => Cauchy8 }); // 1 was of a code that is gone

/// Something that happened to a buyer, as its journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one at a time, and soon written
pub enum Event {
    /// Terms were made and a hold is about to be asked for; both may be asked for again.
    ContractIntended {
        /// The terms as signed.
        terms: Terms,
        /// Where the provider is.
        address: Address,
        /// The id of the request that opens the hold.
        hold_request: RequestId,
        /// The most that the hold may pay.
        hold_max: Amount,
        /// When the hold expires.
        hold_expires: Timestamp,
    },
    /// The provider signed.
    ContractOpened {
        /// Which contract.
        contract: ContractId,
        /// The provider's signature of the terms.
        provider_signature: Signature,
    },
    /// The contract is over, or came to nothing.
    ContractEnded {
        /// Which contract.
        contract: ContractId,
        /// What was used, as both sides counted it.
        tab: Tab,
        /// What was paid for it.
        paid: Amount,
    },
    /// Contracts were put together to hold the shards of objects.
    SetFormed {
        /// How objects are cut.
        coding: Coding,
        /// How many shards rebuild an object.
        k: u8,
        /// The contract for each shard.
        contracts: List<ContractId, SHARDS_MAX>,
    },
    /// Every shard of an object was acknowledged as stored.
    ObjectStored {
        /// Which object.
        object: ObjectId,
        /// Its length.
        length: Bytes,
        /// The index of its set.
        set: u32,
        /// Its shards, in the order of the set's contracts.
        shards: List<ShardId, SHARDS_MAX>,
    },
    /// An object is no longer wanted.
    ObjectRemoved {
        /// Which object.
        object: ObjectId,
    },
    /// A backup began; until it finishes there may be packs that no index names.
    BackupStarted,
    /// The backup's snapshot was stored.
    BackupFinished,
    /// A provider was caught and is not dealt with again.
    ProviderDistrusted {
        /// Which provider.
        provider: EntityId,
        /// What it did.
        why: Text<200>,
    },
}
choice!(Event {
    1 => ContractIntended { terms, address, hold_request, hold_max, hold_expires },
    2 => ContractOpened { contract, provider_signature },
    3 => ContractEnded { contract, tab, paid },
    4 => SetFormed { coding, k, contracts },
    5 => ObjectStored { object, length, set, shards },
    6 => ObjectRemoved { object },
    7 => BackupStarted,
    8 => BackupFinished,
    9 => ProviderDistrusted { provider, why },
});

/// Where a contract stands, as its buyer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Saved, and perhaps asked for.
    Intended,
    /// Signed by both sides.
    Open,
    /// Over.
    Ended {
        /// What was used.
        tab: Tab,
        /// What was paid for it.
        paid: Amount,
    },
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

/// The contracts that together hold the shards of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The code: as many shards as there are contracts.
    pub code: Code,
    /// The contract for each shard.
    pub contracts: Vec<ContractId>,
}

/// Where an object lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Its length.
    pub length: Bytes,
    /// The index of its set.
    pub set: u32,
    /// Its shards, in the order of the set's contracts.
    pub shards: Vec<ShardId>,
}

/// Why an event does not fit a book. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The event speaks of a contract that the book does not have, or has already.
    #[error("{contract} is not where the event says")]
    Contract {
        /// Which contract.
        contract: ContractId,
    },
    /// The event speaks of a set that the book does not have, or of one that is no set.
    #[error("set {set} is not as the event says")]
    Set {
        /// Which set.
        set: u32,
    },
}

impl BookError {
    /// Returns whether the same event can fit later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Contract { .. } | Self::Set { .. } => false,
        }
    }
}

/// What a buyer knows. See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    contracts: BTreeMap<ContractId, ContractRecord>,
    sets: Vec<Set>,
    objects: BTreeMap<ObjectId, ObjectRecord>,
    /// What was ever acknowledged under each contract.
    given: BTreeMap<ContractId, Bytes>,
    distrusted: BTreeMap<EntityId, String>,
    unfinished: bool,
}

impl Book {
    /// Writes an event into the book; a refusal changes nothing.
    pub fn apply(&mut self, event: &Event) -> Result<(), BookError> {
        match event {
            Event::ContractIntended { terms, address, hold_request, hold_max, hold_expires } => {
                let contract = terms.id();
                if self.contracts.contains_key(&contract) {
                    return Err(BookError::Contract { contract });
                }
                let record = ContractRecord {
                    terms: *terms,
                    address: address.clone(),
                    hold_request: *hold_request,
                    hold_max: *hold_max,
                    hold_expires: *hold_expires,
                    stage: Stage::Intended,
                };
                self.contracts.insert(contract, record);
            }
            Event::ContractOpened { contract, provider_signature: _ } => {
                self.step(*contract, |stage| (stage == Stage::Intended).then_some(Stage::Open))?;
            }
            Event::ContractEnded { contract, tab, paid } => {
                let ended = Stage::Ended { tab: *tab, paid: *paid };
                self.step(*contract, |stage| {
                    (!matches!(stage, Stage::Ended { .. })).then_some(ended)
                })?;
            }
            Event::SetFormed { coding: Coding::Cauchy8, k, contracts } => {
                let contracts = contracts.as_slice();
                let refused = BookError::Set { set: self.set_count() };
                let n = u8::try_from(contracts.len()).map_err(|_| refused)?;
                let code = Code::new(*k, n).map_err(|_| refused)?;
                for &contract in contracts {
                    if !self.contracts.contains_key(&contract) {
                        return Err(BookError::Contract { contract });
                    }
                }
                self.sets.push(Set { code, contracts: contracts.to_vec() });
            }
            Event::ObjectStored { object, length, set, shards } => {
                let fits = self
                    .set(*set)
                    .is_some_and(|set| set.contracts.len() == shards.as_slice().len());
                if !fits {
                    return Err(BookError::Set { set: *set });
                }
                for (contract, length) in self.shares(*set, *length) {
                    let given = self.given.entry(contract).or_default();
                    *given = given.checked_add(length).unwrap_or(Bytes::MAX);
                }
                let shards = shards.as_slice().to_vec();
                self.objects.insert(*object, ObjectRecord { length: *length, set: *set, shards });
            }
            Event::ObjectRemoved { object } => {
                self.objects.remove(object);
            }
            Event::BackupStarted => self.unfinished = true,
            Event::BackupFinished => self.unfinished = false,
            Event::ProviderDistrusted { provider, why } => {
                self.distrusted.entry(*provider).or_insert_with(|| why.as_str().to_owned());
            }
        }
        Ok(())
    }

    /// Returns what an object of this length puts under each contract of a set.
    fn shares(&self, set: u32, length: Bytes) -> Vec<(ContractId, Bytes)> {
        self.set(set)
            .and_then(|set| {
                let layout = Layout::new(set.code, length.get()).ok()?;
                let share = |contract: &ContractId| (*contract, Bytes::new(layout.shard_len()));
                Some(set.contracts.iter().map(share).collect())
            })
            .unwrap_or_default()
    }

    fn step(
        &mut self,
        contract: ContractId,
        next: impl FnOnce(Stage) -> Option<Stage>,
    ) -> Result<(), BookError> {
        let refused = BookError::Contract { contract };
        let record = self.contracts.get_mut(&contract).ok_or(refused)?;
        record.stage = next(record.stage).ok_or(refused)?;
        Ok(())
    }

    /// Returns a contract.
    pub fn contract(&self, contract: ContractId) -> Option<&ContractRecord> {
        self.contracts.get(&contract)
    }

    /// Returns every contract, by id.
    pub fn contracts(&self) -> impl Iterator<Item = (ContractId, &ContractRecord)> {
        self.contracts.iter().map(|(id, record)| (*id, record))
    }

    /// Returns a set.
    pub fn set(&self, set: u32) -> Option<&Set> {
        self.sets.get(set as usize)
    }

    /// Returns how many sets there are; the newest is the one before this number.
    pub fn set_count(&self) -> u32 {
        u32::try_from(self.sets.len()).unwrap_or(u32::MAX)
    }

    /// Returns where an object lies.
    pub fn object(&self, object: ObjectId) -> Option<&ObjectRecord> {
        self.objects.get(&object)
    }

    /// Returns every object, by kind and name.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectId, &ObjectRecord)> {
        self.objects.iter().map(|(id, record)| (*id, record))
    }

    /// Returns how many bytes were ever given and acknowledged under a contract; what was removed counts too, since
    /// its host may still keep it.
    pub fn given(&self, contract: ContractId) -> Bytes {
        self.given.get(&contract).copied().unwrap_or_default()
    }

    /// Returns what a provider was caught at, if it was.
    pub fn distrusted(&self, provider: EntityId) -> Option<&str> {
        self.distrusted.get(&provider).map(String::as_str)
    }

    /// Returns whether a backup began and did not finish.
    pub const fn unfinished(&self) -> bool {
        self.unfinished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_codec::{Decode as _, Encode as _};
    use fondaco_contract::PriceList;
    use fondaco_crypto::{CurrencyId, SecretKey};
    use fondaco_units::{Duration, Price};
    use proptest::prelude::*;

    fn terms(nonce: u128) -> Terms {
        let key = SecretKey::from_bytes(&[1; 32]);
        let prices = PriceList {
            provider: key.entity(),
            currency: CurrencyId::issued_by(key.entity()),
            open: Amount::new(1),
            store: Price::from_parts(2),
            write: Price::from_parts(3),
            read: Price::from_parts(4),
            capacity: Bytes::new(1 << 30),
            period_max: Duration::from_seconds(7200),
            epoch: Duration::from_seconds(3600),
            step_max: Bytes::new(1 << 18),
            issued: Timestamp::EPOCH,
            expires: Timestamp::from_milliseconds(9),
        };
        let span = Duration::from_seconds(3600);
        let size = Bytes::new(1 << 20);
        Terms::new(key.entity(), &prices.sign(&key), size, Timestamp::EPOCH, span, nonce)
    }

    fn intended(nonce: u128) -> Event {
        Event::ContractIntended {
            terms: terms(nonce),
            address: Address::new(EntityId::from_bytes([7; 32]), ["127.0.0.1:1".parse().unwrap()]),
            hold_request: RequestId::new(nonce),
            hold_max: Amount::new(100),
            hold_expires: Timestamp::EPOCH,
        }
    }

    fn opened(nonce: u128) -> Event {
        let provider_signature = Signature::from_bytes([5; 64]);
        Event::ContractOpened { contract: terms(nonce).id(), provider_signature }
    }

    fn ended(nonce: u128) -> Event {
        let (tab, paid) = (Tab::default(), Amount::new(9));
        Event::ContractEnded { contract: terms(nonce).id(), tab, paid }
    }

    fn set(k: u8, nonces: &[u128]) -> Event {
        let contracts = nonces.iter().map(|&nonce| terms(nonce).id()).collect();
        let contracts = List::new(contracts).unwrap();
        Event::SetFormed { coding: Coding::Cauchy8, k, contracts }
    }

    fn object(name: u8) -> ObjectId {
        ObjectId { kind: ObjectKind::Pack, name: Digest::from_bytes([name; 32]) }
    }

    fn stored(name: u8, set: u32, shards: usize) -> Event {
        let shards = List::new(vec![ShardId::of(&[name]); shards]).unwrap();
        Event::ObjectStored { object: object(name), length: Bytes::new(10), set, shards }
    }

    #[test]
    fn events_must_fit() {
        let contract = terms(1).id();
        let table: Vec<(Vec<Event>, Result<(), BookError>)> = vec![
            (vec![intended(1)], Ok(())),
            (vec![intended(1), intended(1)], Err(BookError::Contract { contract })),
            (vec![opened(1)], Err(BookError::Contract { contract })),
            (vec![intended(1), opened(1)], Ok(())),
            (vec![intended(1), opened(1), opened(1)], Err(BookError::Contract { contract })),
            (vec![intended(1), ended(1)], Ok(())),
            (vec![intended(1), opened(1), ended(1)], Ok(())),
            (vec![intended(1), ended(1), opened(1)], Err(BookError::Contract { contract })),
            (vec![intended(1), ended(1), ended(1)], Err(BookError::Contract { contract })),
            (vec![set(1, &[1])], Err(BookError::Contract { contract })),
            (vec![intended(1), set(1, &[])], Err(BookError::Set { set: 0 })),
            (vec![intended(1), set(2, &[1])], Err(BookError::Set { set: 0 })),
            (vec![intended(1), set(0, &[1])], Err(BookError::Set { set: 0 })),
            (vec![intended(1), set(1, &[1]), stored(1, 0, 1)], Ok(())),
            (vec![intended(1), set(1, &[1]), stored(1, 0, 2)], Err(BookError::Set { set: 0 })),
            (vec![intended(1), set(1, &[1]), stored(1, 1, 1)], Err(BookError::Set { set: 1 })),
            (vec![Event::ObjectRemoved { object: object(1) }], Ok(())),
        ];
        for (events, expected) in table {
            let mut book = Book::default();
            let (last, before) = events.split_last().unwrap();
            before.iter().for_each(|event| book.apply(event).unwrap());
            assert_eq!(book.apply(last), expected, "{events:?}");
        }
    }

    #[test]
    fn a_book_knows_where_things_lie() {
        let mut book = Book::default();
        for event in [
            intended(1),
            intended(2),
            opened(1),
            opened(2),
            set(1, &[1, 2]),
            Event::BackupStarted,
            stored(3, 0, 2),
            stored(4, 0, 2),
            Event::ObjectRemoved { object: object(3) },
        ] {
            book.apply(&event).unwrap();
        }
        assert!(book.unfinished());
        assert_eq!(book.object(object(3)), None);
        assert_eq!(book.object(object(4)).unwrap().shards.len(), 2);
        assert_eq!(book.set(0).unwrap().code.to_string(), "1 of 2");
        book.apply(&Event::BackupFinished).unwrap();
        assert!(!book.unfinished());
    }

    fn events() -> impl Strategy<Value = Event> {
        let nonce = 0..3_u128;
        prop_oneof![
            nonce.clone().prop_map(intended),
            nonce.clone().prop_map(opened),
            nonce.clone().prop_map(ended),
            (0..3_u8, proptest::collection::vec(nonce, 0..3)).prop_map(|(k, of)| set(k, &of)),
            (0..4_u8, 0..2_u32, 0..3_usize).prop_map(|(name, set, n)| stored(name, set, n)),
            (0..4_u8).prop_map(|name| Event::ObjectRemoved { object: object(name) }),
            Just(Event::BackupStarted),
            Just(Event::BackupFinished),
        ]
    }

    proptest! {
        /// A refusal changes nothing, and what the journal keeps makes the same book again.
        #[test]
        fn replay_gives_the_same_book(schedule in proptest::collection::vec(events(), 0..40)) {
            let (mut book, mut journal) = (Book::default(), Vec::new());
            for event in schedule {
                let before = book.clone();
                match book.apply(&event) {
                    Ok(()) => journal.push(event.to_bytes()),
                    Err(_) => prop_assert_eq!(&book, &before),
                }
            }
            let mut again = Book::default();
            for record in journal {
                again.apply(&Event::from_bytes(&record).unwrap()).unwrap();
            }
            prop_assert_eq!(again, book);
        }
    }
}
