//! Contracts that are in more than one set: a set that goes on without one host keeps the contracts of the others.
//!
//! ```text
//! set 0   A B C D        D is away
//! set 1   A B C E        what is new; what lies in set 0 stays there
//! ```
//!
//! A contract has one tag key, so its slot has the same origin in each set, and whatever happens to it happens in all of them: it is
//! renewed in all, over in all, and ended only when it is in none. A slot is repaired in each set by itself.

use super::{Book, ObjectRecord, Set};
use fondaco_audit::ShardId;
use fondaco_contract::ContractId;
use fondaco_units::Bytes;
use std::collections::BTreeSet;

impl Book {
    /// Returns the set by whose number objects of this set are tagged: the first of those that share slots, so that what is stored
    /// anew in a later one has the same shards where the contract is the same.
    pub(crate) fn tagged_as(&self, set: u32) -> u32 {
        let mut number = set;
        while let Some(this) = self.set(number) {
            let shares = |other: &Set| {
                let mut slots = other.origins.iter().zip(&this.origins);
                other.code == this.code && slots.any(|(one, other)| one == other)
            };
            match (0..number).find(|&other| self.set(other).is_some_and(shares)) {
                Some(other) => number = other,
                None => break,
            }
        }
        number
    }

    /// Returns under which contract each shard of an object lies, in the order of its slots; nothing if its set is not known.
    pub(crate) fn slots_of(
        &self,
        object: &ObjectRecord,
    ) -> impl Iterator<Item = (ContractId, ShardId)> {
        let set = self.set(object.set).into_iter();
        set.flat_map(|set| set.contracts.iter().copied().zip(object.shards.iter().copied()))
    }

    /// Whether so many contracts of an object's set are in the set that is written to that it lasts as long as what is new: more
    /// than would have it repaired.
    pub(crate) fn stays(&self, object: &ObjectRecord, writing: u32) -> bool {
        let (Some(old), Some(new)) = (self.set(object.set), self.set(writing)) else {
            return false;
        };
        let new: BTreeSet<ContractId> = new.contracts.iter().copied().collect();
        let shared = old.contracts.iter().filter(|contract| new.contains(contract)).count();
        shared > usize::from(crate::repair::threshold(object.code))
    }

    /// Returns whether a contract is in a slot of some set.
    pub(crate) fn is_in_a_set(&self, contract: ContractId) -> bool {
        self.sets.iter().any(|set| set.contracts.contains(&contract))
    }

    /// Returns how much each slot of a set has.
    pub(crate) fn set_share(&self, set: u32) -> Bytes {
        let of_set = self.objects.values().filter(|object| object.set == set);
        let add = |sum: Bytes, object: &ObjectRecord| sum.checked_add(object.share());
        of_set.fold(Bytes::ZERO, |sum, object| add(sum, object).unwrap_or(Bytes::MAX))
    }

    /// Returns the slots, of all sets, whose shards are tagged under this contract.
    pub(crate) fn slots_tagged_under(&self, origin: ContractId) -> Vec<(u32, u8)> {
        let of_set = |(number, set): (u32, &Set)| {
            let index = set.origins.iter().position(|&other| other == origin)?;
            Some((number, u8::try_from(index).ok()?))
        };
        (0..).zip(&self.sets).filter_map(of_set).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::{intended, opened, set, terms};
    use crate::book::{Event, ObjectId, ObjectKind};
    use fondaco_codec::{Decode as _, Encode as _, List};
    use fondaco_contract::Tab;
    use fondaco_crypto::{Digest, Signature};
    use fondaco_units::Amount;

    fn id(nonce: u128) -> ContractId {
        terms(nonce).id()
    }

    fn stored(name: u8, set: u32) -> Event {
        let object = ObjectId { kind: ObjectKind::Pack, name: Digest::from_bytes([name; 32]) };
        let shards = List::new(vec![ShardId::of(&[name]); 4]).unwrap();
        Event::ObjectStored { object, length: Bytes::new(128), set, shards }
    }

    /// A book of contracts 1 to 9, and of these sets of 2 of 4.
    fn book(sets: &[&[u128]]) -> Book {
        let mut book = Book::default();
        let contracts = (1..=9).flat_map(|nonce| [intended(nonce), opened(nonce)]);
        contracts.chain(sets.iter().map(|nonces| set(2, nonces))).for_each(|event| {
            book.apply(&event).unwrap();
        });
        book
    }

    #[test]
    fn sets_that_share_contracts_are_tagged_as_the_first() {
        let sets: &[&[u128]] =
            &[&[1, 2, 3, 4], &[1, 2, 3, 5], &[6, 2, 3, 5], &[6, 7, 8, 5], &[9, 1, 2, 3]];
        let book = book(sets);
        // One line for each set: as which it is tagged; which of the sets before it share a slot with it.
        for (set, expected) in [(0, 0), (1, 0), (2, 0), (3, 0), (4, 4)] {
            assert_eq!(book.tagged_as(set), expected, "{set}");
        }
        // What lies in set 0 stays there while more than three of its contracts, if two rebuild it, are in the newest.
        let object = |k| ObjectRecord {
            length: Bytes::new(1),
            set: 0,
            code: fondaco_erasure::Code::new(k, 4).unwrap(),
            shards: Vec::new(),
            tagged: None,
        };
        for (k, writing, stays) in
            [(2, 0, true), (2, 1, false), (1, 1, true), (1, 2, false), (1, 3, false), (1, 4, true)]
        {
            assert_eq!(book.stays(&object(k), writing), stays, "{k} {writing}");
        }
    }

    /// What becomes of a contract becomes of it in all sets; a slot is repaired in one.
    #[test]
    fn a_contract_may_be_in_two_sets() {
        let mut book = book(&[&[1, 2, 3, 4], &[1, 2, 3, 5]]);
        let mut apply = |event: Event| book.apply(&event).unwrap();
        [stored(1, 0), stored(2, 1)].into_iter().for_each(&mut apply);
        // Slot 0 is repaired in the first set alone.
        apply(Event::SlotIntended { set: 0, index: 0, contract: id(6) });
        apply(Event::SlotReplaced { set: 0, index: 0, contract: id(6) });
        // Slot 1 is renewed.
        let next = terms(7).renewing(id(2));
        let Event::ContractIntended { address, hold_request, hold_max, hold_expires, .. } =
            intended(8)
        else {
            unreachable!("it is one");
        };
        let renewal =
            Event::ContractIntended { terms: next, address, hold_request, hold_max, hold_expires };
        apply(renewal);
        let provider_signature = Signature::from_bytes([5; 64]);
        let (tab, paid) = (Tab::default(), Amount::ZERO);
        apply(Event::ContractRenewed { from: id(2), tab, paid, to: next.id(), provider_signature });
        assert_eq!(book.set(0).unwrap().contracts, [id(6), next.id(), id(3), id(4)]);
        assert_eq!(book.set(1).unwrap().contracts, [id(1), next.id(), id(3), id(5)]);
        assert!(book.is_in_a_set(id(1)), "the second set has it yet");
        assert!(!book.is_in_a_set(id(2)));
        // Tags are made under what the slot had first, also where it is in both.
        assert_eq!((book.origin(id(6)), book.origin(next.id())), (id(1), id(2)));
        assert_eq!(book.slots_tagged_under(id(1)), [(0, 0), (1, 0)]);
        assert_eq!((book.kept(id(3)).get(), book.kept(id(4)).get()), (128, 64));
        assert_eq!((book.given(id(3)).get(), book.given(id(4)).get()), (128, 64));
        // As the hosts keep it.
        let bytes: Vec<Vec<u8>> = book.events().iter().map(|event| event.to_bytes()).collect();
        let mut kept = Book::default();
        bytes.iter().for_each(|bytes| kept.apply(&Event::from_bytes(bytes).unwrap()).unwrap());
        for set in 0..2 {
            assert_eq!(kept.set(set), book.set(set));
        }
    }
}
