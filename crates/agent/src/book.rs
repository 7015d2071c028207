//! What a buyer must not forget: its contracts, which shards lie where, and what is half done.
//!
//! ```text
//! contract   ContractIntended ──► ContractOpened ──► ContractEnded
//!                    └──────────────────────────────────► ContractEnded (never opened)
//! object     ObjectStored, ObjectCoded ──► ObjectRemoved
//! backup     BackupStarted ──► BackupFinished
//! state      StateNumbered: the book itself is about to be kept by the hosts
//! slot       SlotIntended ──► SlotReplaced
//!                 └─────────► SlotIntended anew, or ContractEnded of the contract it was meant for
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
//! - A [`Set`] keeps its code: an object names its set, and its shard `i` lies under contract `i` of it, slot `i`.
//! - A slot changes its contract in one event, after every object of the set has its shard under the new one.

use fondaco_audit::ShardId;
use fondaco_codec::{List, Text, choice, record};
use fondaco_contract::{ContractId, Tab, Terms};
use fondaco_crypto::{Digest, EntityId, Signature};
use fondaco_erasure::{Code, Layout};
use fondaco_lcp::RequestId;
use fondaco_ports::Address;
use fondaco_units::{Amount, Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Reed–Solomon over GF(2¹⁶) as `reed-solomon-simd` 3 codes it.
    Leopard16,
}
choice!(Coding { 1 => Leopard16 });

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
    /// As `ObjectStored`, of an object with a code of its own: fewer shards than the set's k rebuild it.
    ObjectCoded {
        /// Which object.
        object: ObjectId,
        /// Its length.
        length: Bytes,
        /// The index of its set.
        set: u32,
        /// How many shards rebuild it.
        k: u8,
        /// Its shards, in the order of the set's contracts.
        shards: List<ShardId, SHARDS_MAX>,
    },
    /// The book is about to be given to the hosts under this number, which is never used again.
    StateNumbered {
        /// The number: higher than all before.
        sequence: u64,
    },
    /// A slot is lost; its shards are about to be made anew under another contract.
    SlotIntended {
        /// The index of the set.
        set: u32,
        /// Which slot of it.
        index: u8,
        /// The contract that is to take it.
        contract: ContractId,
    },
    /// Every object of the set has its shard under the contract intended, which takes the slot.
    SlotReplaced {
        /// The index of the set.
        set: u32,
        /// Which slot of it.
        index: u8,
        /// The contract that takes it.
        contract: ContractId,
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
    23 => ObjectCoded { object, length, set, k, shards },
    24 => StateNumbered { sequence },
    27 => SlotIntended { set, index, contract },
    28 => SlotReplaced { set, index, contract },
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
    /// Its code, which may need fewer shards than the set's.
    pub code: Code,
    /// Its shards, in the order of the set's contracts.
    pub shards: Vec<ShardId>,
}

impl ObjectRecord {
    /// Returns the length of each of its shards.
    pub fn share(&self) -> Bytes {
        let layout = Layout::new(self.code, self.length.get());
        Bytes::new(layout.map_or(0, |layout| layout.shard_len()))
    }
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
    /// The event speaks of a slot that the set does not have, or of a contract that is not the one to take it.
    #[error("slot {index} of set {set} is not as the event says")]
    Slot {
        /// Which set.
        set: u32,
        /// Which slot.
        index: u8,
    },
}

impl BookError {
    /// Returns whether the same event can fit later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Contract { .. } | Self::Set { .. } | Self::Slot { .. } => false,
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
    /// What providers signed, so that it can be told again.
    signatures: BTreeMap<ContractId, Signature>,
    /// The number under which the book was given to the hosts last.
    sequence: u64,
    unfinished: bool,
    /// The contracts that are to take slots, by set and index.
    repairs: BTreeMap<(u32, u8), ContractId>,
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
            Event::ContractOpened { contract, provider_signature } => {
                self.step(*contract, |stage| (stage == Stage::Intended).then_some(Stage::Open))?;
                self.signatures.insert(*contract, *provider_signature);
            }
            Event::ContractEnded { contract, tab, paid } => {
                let ended = Stage::Ended { tab: *tab, paid: *paid };
                self.step(*contract, |stage| {
                    (!matches!(stage, Stage::Ended { .. })).then_some(ended)
                })?;
                self.repairs.retain(|_, intended| intended != contract);
            }
            Event::SetFormed { coding: Coding::Leopard16, k, contracts } => {
                let contracts = contracts.as_slice();
                let refused = BookError::Set { set: self.set_count() };
                let n = u8::try_from(contracts.len()).map_err(|_| refused)?;
                let code = Code::new(*k, n).map_err(|_| refused)?;
                for &contract in contracts {
                    let is_promised = self.repairs.values().any(|intended| *intended == contract);
                    if is_promised || !self.contracts.contains_key(&contract) {
                        return Err(BookError::Contract { contract });
                    }
                }
                self.sets.push(Set { code, contracts: contracts.to_vec() });
            }
            Event::ObjectStored { object, length, set, shards } => {
                let k = self.set(*set).map_or(0, |set| set.code.k());
                self.store(*object, *length, *set, k, shards.as_slice())?;
            }
            Event::ObjectCoded { object, length, set, k, shards } => {
                self.store(*object, *length, *set, *k, shards.as_slice())?;
            }
            Event::SlotIntended { set, index, contract } => {
                self.intend_slot(*set, *index, *contract)?;
            }
            Event::SlotReplaced { set, index, contract } => {
                let refused = BookError::Slot { set: *set, index: *index };
                if self.repairs.get(&(*set, *index)) != Some(contract) {
                    return Err(refused);
                }
                let slots = self.sets.get_mut(*set as usize).map(|set| &mut set.contracts);
                let slot = slots.and_then(|slots| slots.get_mut(usize::from(*index)));
                *slot.ok_or(refused)? = *contract;
                self.repairs.remove(&(*set, *index));
            }
            Event::StateNumbered { sequence } => self.sequence = self.sequence.max(*sequence),
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

    fn store(
        &mut self,
        object: ObjectId,
        length: Bytes,
        set: u32,
        k: u8,
        shards: &[ShardId],
    ) -> Result<(), BookError> {
        let refused = BookError::Set { set };
        let contracts = &self.sets.get(set as usize).ok_or(refused)?.contracts;
        let n = u8::try_from(shards.len()).map_err(|_| refused)?;
        let code = Code::new(k, n).map_err(|_| refused)?;
        if contracts.len() != shards.len() {
            return Err(refused);
        }
        let record = ObjectRecord { length, set, code, shards: shards.to_vec() };
        let share = record.share();
        let intended = self.repairs.range((set, 0)..=(set, u8::MAX)).map(|(_, contract)| contract);
        for &contract in contracts.iter().chain(intended) {
            let given = self.given.entry(contract).or_default();
            *given = given.checked_add(share).unwrap_or(Bytes::MAX);
        }
        self.objects.insert(object, record);
        Ok(())
    }

    /// Notes which contract is to take a slot. All that the slot will hold counts as given to it from now on: a crash
    /// later, it may have any part of that.
    fn intend_slot(&mut self, set: u32, index: u8, contract: ContractId) -> Result<(), BookError> {
        let refused = BookError::Slot { set, index };
        let record = self.contracts.get(&contract).ok_or(BookError::Contract { contract })?;
        if record.stage != Stage::Open {
            return Err(BookError::Contract { contract });
        }
        let slots = &self.sets.get(set as usize).ok_or(BookError::Set { set })?.contracts;
        if usize::from(index) >= slots.len() {
            return Err(refused);
        }
        let is_taken = self.sets.iter().any(|set| set.contracts.contains(&contract))
            || self.repairs.values().any(|intended| *intended == contract);
        if is_taken {
            return Err(refused);
        }
        let of_set = self.objects.values().filter(|object| object.set == set);
        let share = of_set
            .fold(Bytes::ZERO, |sum, object| sum.checked_add(object.share()).unwrap_or(Bytes::MAX));
        let given = self.given.entry(contract).or_default();
        *given = given.checked_add(share).unwrap_or(Bytes::MAX);
        self.repairs.insert((set, index), contract);
        Ok(())
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

    /// Returns the slots that are being repaired, by set and index, each with the contract that is to take it.
    pub fn repairs(&self) -> impl Iterator<Item = (u32, u8, ContractId)> {
        self.repairs.iter().map(|(&(set, index), &contract)| (set, index, contract))
    }

    /// Returns every contract that holds shards, or is to.
    pub fn holding(&self) -> BTreeSet<ContractId> {
        let slots = self.sets.iter().flat_map(|set| &set.contracts);
        slots.chain(self.repairs.values()).copied().collect()
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

    /// Returns the number under which the book was given to the hosts last; 0 before the first time.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns events that lead to a book like this one: as it is kept by the hosts.
    ///
    /// What was removed is in none of them, so [`Book::given`] counts less after them: no more than what lies there.
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (&contract, record) in &self.contracts {
            events.push(Event::ContractIntended {
                terms: record.terms,
                address: record.address.clone(),
                hold_request: record.hold_request,
                hold_max: record.hold_max,
                hold_expires: record.hold_expires,
            });
            if let Some(&provider_signature) = self.signatures.get(&contract) {
                events.push(Event::ContractOpened { contract, provider_signature });
            }
            if let Stage::Ended { tab, paid } = record.stage {
                events.push(Event::ContractEnded { contract, tab, paid });
            }
        }
        for set in &self.sets {
            let contracts = List::new(set.contracts.clone()).expect("a set that was read");
            let (coding, k) = (Coding::Leopard16, set.code.k());
            events.push(Event::SetFormed { coding, k, contracts });
        }
        for (&object, record) in &self.objects {
            let &ObjectRecord { length, set, code, .. } = record;
            let shards = List::new(record.shards.clone()).expect("an object that was read");
            events.push(Event::ObjectCoded { object, length, set, k: code.k(), shards });
        }
        for (&(set, index), &contract) in &self.repairs {
            events.push(Event::SlotIntended { set, index, contract });
        }
        for (&provider, why) in &self.distrusted {
            events.push(Event::ProviderDistrusted { provider, why: Text::cut(why) });
        }
        if self.unfinished {
            events.push(Event::BackupStarted);
        }
        if self.sequence > 0 {
            events.push(Event::StateNumbered { sequence: self.sequence });
        }
        events
    }

    /// Returns whether a backup began and did not finish.
    pub const fn unfinished(&self) -> bool {
        self.unfinished
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use fondaco_codec::{Decode as _, Encode as _};
    use fondaco_contract::PriceList;
    use fondaco_crypto::{CurrencyId, SecretKey};
    use fondaco_units::{Duration, Price};
    use proptest::prelude::*;

    pub(crate) fn terms(nonce: u128) -> Terms {
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

    pub(crate) fn intended(nonce: u128) -> Event {
        Event::ContractIntended {
            terms: terms(nonce),
            address: Address::new(EntityId::from_bytes([7; 32]), ["127.0.0.1:1".parse().unwrap()]),
            hold_request: RequestId::new(nonce),
            hold_max: Amount::new(100),
            hold_expires: Timestamp::EPOCH,
        }
    }

    pub(crate) fn opened(nonce: u128) -> Event {
        let provider_signature = Signature::from_bytes([5; 64]);
        Event::ContractOpened { contract: terms(nonce).id(), provider_signature }
    }

    fn ended(nonce: u128) -> Event {
        let (tab, paid) = (Tab::default(), Amount::new(9));
        Event::ContractEnded { contract: terms(nonce).id(), tab, paid }
    }

    pub(crate) fn set(k: u8, nonces: &[u128]) -> Event {
        let contracts = nonces.iter().map(|&nonce| terms(nonce).id()).collect();
        let contracts = List::new(contracts).unwrap();
        Event::SetFormed { coding: Coding::Leopard16, k, contracts }
    }

    fn object(name: u8) -> ObjectId {
        ObjectId { kind: ObjectKind::Pack, name: Digest::from_bytes([name; 32]) }
    }

    fn stored(name: u8, set: u32, shards: usize) -> Event {
        let shards = List::new(vec![ShardId::of(&[name]); shards]).unwrap();
        Event::ObjectStored { object: object(name), length: Bytes::new(10), set, shards }
    }

    fn coded(name: u8, set: u32, k: u8, shards: usize) -> Event {
        let shards = List::new(vec![ShardId::of(&[name]); shards]).unwrap();
        Event::ObjectCoded { object: object(name), length: Bytes::new(10), set, k, shards }
    }

    fn slot(set: u32, index: u8, nonce: u128) -> Event {
        Event::SlotIntended { set, index, contract: terms(nonce).id() }
    }

    fn replaced(set: u32, index: u8, nonce: u128) -> Event {
        Event::SlotReplaced { set, index, contract: terms(nonce).id() }
    }

    /// A set of one contract, another that is open, a third that is not; and what follows.
    fn repairing(more: &[Event]) -> Vec<Event> {
        let before = [intended(1), intended(2), intended(3), opened(1), opened(2), set(1, &[1])];
        before.into_iter().chain(more.iter().cloned()).collect()
    }

    #[test]
    fn a_slot_moves_with_all_that_it_holds() {
        let mut book = Book::default();
        let (old, new) = (terms(1).id(), terms(2).id());
        repairing(&[stored(1, 0, 1)]).iter().for_each(|event| book.apply(event).unwrap());
        assert_eq!((book.given(old).get(), book.given(new).get()), (64, 0));
        // While it is being repaired, the old contract has the slot; what is stored now is to go to both.
        for event in [slot(0, 0, 2), stored(2, 0, 1)] {
            book.apply(&event).unwrap();
        }
        assert_eq!(book.set(0).unwrap().contracts, [old]);
        assert_eq!((book.given(old).get(), book.given(new).get()), (128, 128));
        assert_eq!(book.repairs().collect::<Vec<_>>(), [(0, 0, new)]);
        assert_eq!(book.holding(), BTreeSet::from([old, new]));
        book.apply(&replaced(0, 0, 2)).unwrap();
        assert_eq!(book.set(0).unwrap().contracts, [new]);
        assert_eq!(book.holding(), BTreeSet::from([new]));
        assert_eq!(book.repairs().count(), 0);
        // As the hosts keep it.
        let mut kept = Book::default();
        book.events().iter().for_each(|event| kept.apply(event).unwrap());
        assert_eq!((kept.set(0), kept.given(new)), (book.set(0), book.given(new)));
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
            (vec![intended(1), intended(2), set(2, &[1, 2]), coded(1, 0, 1, 2)], Ok(())),
            (
                vec![intended(1), intended(2), set(2, &[1, 2]), coded(1, 0, 3, 2)],
                Err(BookError::Set { set: 0 }),
            ),
            (
                vec![intended(1), intended(2), set(2, &[1, 2]), coded(1, 0, 0, 2)],
                Err(BookError::Set { set: 0 }),
            ),
            (vec![Event::ObjectRemoved { object: object(1) }], Ok(())),
            (repairing(&[slot(0, 0, 2)]), Ok(())),
            (repairing(&[slot(1, 0, 2)]), Err(BookError::Set { set: 1 })),
            (repairing(&[slot(0, 1, 2)]), Err(BookError::Slot { set: 0, index: 1 })),
            (repairing(&[slot(0, 0, 1)]), Err(BookError::Slot { set: 0, index: 0 })),
            (repairing(&[slot(0, 0, 3)]), Err(BookError::Contract { contract: terms(3).id() })),
            (repairing(&[slot(0, 0, 2), slot(0, 0, 2)]), Err(BookError::Slot { set: 0, index: 0 })),
            (
                repairing(&[ended(2), slot(0, 0, 2)]),
                Err(BookError::Contract { contract: terms(2).id() }),
            ),
            (repairing(&[replaced(0, 0, 2)]), Err(BookError::Slot { set: 0, index: 0 })),
            (repairing(&[slot(0, 0, 2), replaced(0, 0, 2)]), Ok(())),
            (
                repairing(&[slot(0, 0, 2), set(1, &[2])]),
                Err(BookError::Contract { contract: terms(2).id() }),
            ),
            (
                repairing(&[slot(0, 0, 2), replaced(0, 1, 2)]),
                Err(BookError::Slot { set: 0, index: 1 }),
            ),
            (
                repairing(&[slot(0, 0, 2), replaced(0, 0, 1)]),
                Err(BookError::Slot { set: 0, index: 0 }),
            ),
            (
                repairing(&[slot(0, 0, 2), replaced(0, 0, 2), replaced(0, 0, 2)]),
                Err(BookError::Slot { set: 0, index: 0 }),
            ),
            // A contract that ended takes nothing any more.
            (
                repairing(&[slot(0, 0, 2), ended(2), replaced(0, 0, 2)]),
                Err(BookError::Slot { set: 0, index: 0 }),
            ),
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
            (0..4_u8, 0..2_u32, 0..3_u8, 0..3_usize)
                .prop_map(|(name, set, k, n)| coded(name, set, k, n)),
            (0..9_u64).prop_map(|sequence| Event::StateNumbered { sequence }),
            (0..2_u32, 0..3_u8, 0..3_u128).prop_map(|(set, index, of)| slot(set, index, of)),
            (0..2_u32, 0..3_u8, 0..3_u128).prop_map(|(set, index, of)| replaced(set, index, of)),
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
            prop_assert_eq!(&again, &book);
            // As the hosts keep it: all is there, but what was given and removed is not counted any more.
            let mut kept = Book::default();
            book.events().iter().for_each(|event| kept.apply(event).unwrap());
            for contract in book.contracts.keys() {
                prop_assert!(kept.given(*contract) <= book.given(*contract));
            }
            kept.given.clone_from(&book.given);
            prop_assert_eq!(kept, book);
        }
    }
}
