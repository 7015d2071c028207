//! Why an object cannot be read: by the hosts that have shards of it, and by no other.

use super::{Objects, show};
use crate::AgentError;
use crate::book::{ObjectId, ObjectRecord, Set, Stage};
use crate::session::Session;
use fondaco_contract::ContractId;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Objects {
    /// Returns the contracts whose holds were found to be used up.
    pub(crate) fn used_up(&self) -> Vec<ContractId> {
        let down = self.down.lock().expect("no panic under this lock");
        down.iter().filter(|(_, down)| down.spent).map(|(contract, _)| *contract).collect()
    }

    /// Reads under the contract that follows on another.
    pub(crate) fn follow(&mut self, from: ContractId, to: ContractId, session: Arc<Session>) {
        self.sessions.remove(&from);
        self.down.lock().expect("no panic under this lock").remove(&from);
        self.sessions.insert(to, session);
    }

    /// Whether nobody keeps what lay under a contract any more, by what the book says.
    pub(super) fn is_gone(&self, contract: ContractId) -> bool {
        self.book.read(|book| {
            book.contract(contract).is_none_or(|record| {
                let provider = record.terms.prices.provider;
                record.stage != Stage::Open || book.distrusted(provider).is_some()
            })
        })
    }

    /// Remembers that a host was not asked for what it was to have, and why that is for good.
    pub(super) fn note_gone(&self, contract: ContractId) {
        if !self.is_gone(contract) {
            return; // It follows on another since a moment ago, and is not read under yet.
        }
        let why = self.book.read(|book| {
            let Some(record) = book.contract(contract) else {
                return format!("nobody knows {contract}");
            };
            let provider = record.terms.prices.provider;
            match book.distrusted(provider) {
                Some(why) => format!("{}… was caught before: {why}", provider.short()),
                None => format!("there is no contract with {}… for it any more", provider.short()),
            }
        });
        self.gone.lock().expect("no panic under this lock").insert(contract, why);
    }

    /// Says why shards had to be made up from others: of each host that failed this process, or was not asked any more.
    pub fn missing(&self) -> BTreeSet<String> {
        let gone = self.gone.lock().expect("no panic under this lock").clone();
        self.down().into_values().chain(gone.into_values()).collect()
    }

    /// Says that only these shards of an object could be read. Holds that are used up are to blame if the shards behind them would
    /// do, as they do when those are renewed; nobody is, if those that may come back are too few.
    pub(super) fn unreadable(
        &self,
        object: ObjectId,
        record: &ObjectRecord,
        set: &Set,
        known: &[u8],
    ) -> AgentError {
        if let Some((provider, newest, ours)) =
            *self.older.lock().expect("no panic under this lock")
        {
            return AgentError::OlderBook { provider, newest, ours };
        }
        let gone = self.gone.lock().expect("no panic under this lock").clone();
        let down = self.down.lock().expect("no panic under this lock");
        let slots = (0_u8..).zip(&set.contracts).take(usize::from(record.code.n()));
        let missing = slots.filter(|(index, _)| !known.contains(index));
        let missing: Vec<ContractId> = missing.map(|(_, contract)| *contract).collect();
        let (lost, kept): (Vec<ContractId>, Vec<ContractId>) =
            missing.iter().partition(|contract| self.is_gone(**contract));
        let is_new = |contract: &&ContractId| {
            !down.contains_key(*contract) && self.reading(**contract).is_none()
        };
        let new = kept.iter().filter(is_new).count();
        let gone: Vec<&String> = missing.iter().filter_map(|one| gone.get(one)).collect();
        let missing: Vec<_> = missing.iter().filter_map(|one| down.get(one)).collect();
        let (found, needed) = (known.len(), record.code.k());
        // A delegate knows its own contracts, and not those under which its owner has it kept.
        let left = usize::from(record.code.n()) - lost.len();
        let caught = self.book.read(|book| {
            let provider = |id| book.contract(id).map(|record| record.terms.prices.provider);
            let mut lost = lost.iter().filter_map(|&contract| provider(contract));
            lost.any(|provider| book.distrusted(provider).is_some())
        });
        let over = !self.of_another && left < usize::from(needed);
        // Those that follow on others since a moment ago are read under when it is tried again.
        let behind = missing.iter().filter(|down| down.spent).count() + new;
        let spent = !over && behind > 0 && found + behind >= usize::from(needed);
        let told = missing.iter().rev().find(|down| down.spent == spent).or(missing.last());
        let told = told.map(|down| &down.why).filter(|_| !over);
        let last = told.or(gone.last().copied()).cloned();
        let last = last.unwrap_or_else(|| "new contracts are just being opened for it".to_owned());
        AgentError::Unreadable { object: show(object), needed, found, last, spent, over, caught }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BookFile;
    use crate::book::tests::{intended, opened, over, set, terms};
    use crate::book::{Event, ObjectKind};
    use crate::objects::Down;
    use fondaco_audit::ShardId;
    use fondaco_codec::List;
    use fondaco_contract::Ending;
    use fondaco_crypto::Digest;
    use fondaco_units::Bytes;
    use std::collections::BTreeMap;

    /// Nobody answers. Which hosts have a hold that is used up, and whether that is why the object cannot be read.
    #[tokio::test]
    async fn only_holds_of_hosts_that_have_shards_of_it_are_to_blame() {
        let path = std::env::temp_dir().join(format!("fondaco-unreadable-{}", std::process::id()));
        let book = Arc::new(BookFile::open(&path).unwrap());
        let object = ObjectId { kind: ObjectKind::Pack, name: Digest::from_bytes([1; 32]) };
        let shards = List::new(vec![ShardId::of(&[1]); 4]).unwrap();
        let stored = Event::ObjectStored { object, length: Bytes::new(10), set: 0, shards };
        let contracts = (1..=6).flat_map(|nonce| [intended(nonce), opened(nonce)]);
        let sets = [set(2, &[1, 2, 3, 4]), set(1, &[5, 6]), stored];
        contracts.chain(sets).for_each(|event| book.record(&event).unwrap());
        let table: [(&[u128], bool); 6] = [
            (&[], false),
            (&[5, 6], false), // they have nothing of it
            (&[1], false),    // the others are missing, too, and one is too few
            (&[1, 5, 6], false),
            (&[1, 4], true),
            (&[1, 2, 3, 4, 5], true),
        ];
        for (spent, expected) in table {
            let objects = Objects::new(Arc::clone(&book), BTreeMap::new(), None);
            for nonce in 1..=6 {
                let is_spent = spent.contains(&nonce);
                let why = if is_spent { "it is used up" } else { "it is away" }.to_owned();
                let down =
                    Down { why, may_return: false, replace: false, spent: is_spent, until: None };
                objects.down.lock().unwrap().insert(terms(nonce).id(), down);
            }
            let error = objects.read(object, 0..10).await.unwrap_err();
            let AgentError::Unreadable { spent: is_spent, found: 0, last, .. } = error else {
                panic!("{error}");
            };
            assert_eq!(is_spent, expected, "{spent:?}");
            assert_eq!(last, if expected { "it is used up" } else { "it is away" }, "{spent:?}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    /// Another read has had contracts renewed, which are open, and are not read under yet: that is no end of anything.
    #[tokio::test]
    async fn what_follows_on_others_since_a_moment_ago_is_not_gone() {
        let path = std::env::temp_dir().join(format!("fondaco-following-{}", std::process::id()));
        let book = Arc::new(BookFile::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let object = ObjectId { kind: ObjectKind::Pack, name: Digest::from_bytes([1; 32]) };
        let shards = List::new(vec![ShardId::of(&[1]); 4]).unwrap();
        let stored = Event::ObjectStored { object, length: Bytes::new(10), set: 0, shards };
        let contracts = (1..=4).flat_map(|nonce| [intended(nonce), opened(nonce)]);
        contracts.chain([set(2, &[1, 2, 3, 4]), stored]).for_each(|event| {
            book.record(&event).unwrap();
        });
        let objects = Objects::new(Arc::clone(&book), BTreeMap::new(), None);
        let error = objects.read(object, 0..10).await.unwrap_err();
        assert!(
            matches!(error, AgentError::Unreadable { spent: true, over: false, .. }),
            "{error}"
        );
        assert!(objects.missing().is_empty());

        // What a delegate knows to have ended is kept for its owner all the same.
        let provider = terms(1).prices.provider;
        let why = fondaco_codec::Text::cut("it lied");
        book.record(&Event::ProviderDistrusted { provider, why }).unwrap();
        let read = async |objects: Objects| objects.read(object, 0..10).await.unwrap_err();
        let of_owner = read(Objects::new(Arc::clone(&book), BTreeMap::new(), None)).await;
        assert!(matches!(of_owner, AgentError::Unreadable { over: true, .. }), "{of_owner}");
        let objects = Objects::new(Arc::clone(&book), BTreeMap::new(), None).of_another(true);
        let of_delegate = read(objects).await;
        assert!(matches!(of_delegate, AgentError::Unreadable { over: false, .. }), "{of_delegate}");
    }

    /// Which contracts have ended, and which hosts were caught before; whether it is lost for good, and what is told.
    #[tokio::test]
    async fn what_nobody_keeps_any_more_is_said_to_be_gone() {
        let path = std::env::temp_dir().join(format!("fondaco-gone-{}", std::process::id()));
        let object = ObjectId { kind: ObjectKind::Pack, name: Digest::from_bytes([1; 32]) };
        // Of 2 of 4, with no session for those that have ended.
        let table: [(&[u128], bool, &str); 4] = [
            (&[1], false, "it is away"),
            (&[1, 2], false, "it is away"),
            (&[1, 2, 3], true, "there is no contract with"),
            (&[1, 2, 3, 4], true, "there is no contract with"),
        ];
        for (ended, expected, words) in table {
            let book = Arc::new(BookFile::open(&path).unwrap());
            let shards = List::new(vec![ShardId::of(&[1]); 4]).unwrap();
            let stored = Event::ObjectStored { object, length: Bytes::new(10), set: 0, shards };
            let contracts = (1..=4).flat_map(|nonce| [intended(nonce), opened(nonce)]);
            let sets = [set(2, &[1, 2, 3, 4]), stored];
            let ends = ended.iter().map(|&nonce| over(nonce, Ending::Over, false));
            contracts.chain(sets).chain(ends).for_each(|event| book.record(&event).unwrap());
            let objects = Objects::new(Arc::clone(&book), BTreeMap::new(), None);
            for nonce in (1..=4).filter(|nonce| !ended.contains(nonce)) {
                let (why, until) = ("it is away".to_owned(), None);
                let down = Down { why, may_return: false, replace: false, spent: false, until };
                objects.down.lock().unwrap().insert(terms(nonce).id(), down);
            }
            let error = objects.read(object, 0..10).await.unwrap_err();
            let AgentError::Unreadable { over: is_over, ref last, .. } = error else {
                panic!("{error}")
            };
            assert_eq!(is_over, expected, "{ended:?}: {error}");
            assert!(last.contains(words), "{ended:?}: {error}");
            assert_eq!(error.hint().unwrap().contains("back up anew"), expected);
            assert!(!objects.missing().is_empty());
            std::fs::remove_file(&path).unwrap();
        }

        // One that was caught before this process began is named when others make up for it.
        let book = Arc::new(BookFile::open(&path).unwrap());
        [intended(1), opened(1)].iter().for_each(|event| book.record(event).unwrap());
        let provider = terms(1).prices.provider;
        let why = fondaco_codec::Text::cut("it lied");
        book.record(&Event::ProviderDistrusted { provider, why }).unwrap();
        let objects = Objects::new(Arc::clone(&book), BTreeMap::new(), None);
        assert_eq!(objects.missing().len(), 0);
        objects.note_gone(terms(1).id());
        let told = objects.missing().pop_first().unwrap();
        assert!(told.ends_with("was caught before: it lied"), "{told}");
        std::fs::remove_file(&path).unwrap();
    }
}
