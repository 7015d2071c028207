//! Whom the books know: who ever had an account, and whom a hold names as payee. All others are strangers.
//!
//! It costs money to be known: somebody's, who has an account, was paid or set aside. And no command of a
//! stranger can move any, so that a limit on strangers is in no honest holder's way: not even
//! for its first voucher, whose hold has named it.

use fondaco_crypto::EntityId;
use fondaco_lcp::{Issuer, Request, Response};
use hashbrown::HashTable;
use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError, RwLock},
};

/// The holders that the books know. Clones are the same; the keeper adds to it, the server asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(Arc<RwLock<Marks>>);

/// A mark of each key, a quarter as long: there are millions, and the books have the keys. A stranger that bears the mark of a
/// holder gets the room and the pace of one, nothing else; of a million holders it would be one in 18 million millions, and the
/// seed keeps anybody from looking for it elsewhere.
#[derive(Debug, Default)]
struct Marks {
    marks: HashTable<u64>,
    seed: RandomState,
}

impl Marks {
    fn contains(&self, holder: EntityId) -> bool {
        let mark = self.seed.hash_one(holder);
        self.marks.find(mark, |found| *found == mark).is_some()
    }

    fn add(&mut self, holder: EntityId) {
        let mark = self.seed.hash_one(holder);
        self.marks.entry(mark, |found| *found == mark, |found| *found).or_insert(mark);
    }
}

impl Known {
    /// Whom these books know.
    pub(crate) fn of(issuer: &Issuer) -> Self {
        let known = Self::default();
        let accounts = issuer.books().map(|(holder, _)| holder);
        known.add(accounts.chain(issuer.ledger().holds().map(|(_, hold)| hold.payee)));
        known
    }

    pub(crate) fn contains(&self, holder: EntityId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(holder)
    }

    pub(crate) fn add(&self, holders: impl Iterator<Item = EntityId>) {
        let mut marks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        holders.for_each(|holder| marks.add(holder));
    }
}

/// Whom a hold that was opened so names as payee. Whomever money moved to, the books' movements say.
pub(crate) const fn named(request: &Request, response: &Response) -> Option<EntityId> {
    match (request, response) {
        (Request::HoldOpen { payee, .. }, Response::HoldOpened { .. }) => Some(*payee),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_codec::List;
    use fondaco_codec::Text;
    use fondaco_crypto::{CurrencyId, Digest, SecretKey};
    use fondaco_lcp::{Currency, IssuerOptions, RequestId, Rotation, Step};
    use fondaco_units::{Amount, Scale, Timestamp};
    use std::collections::BTreeSet;

    const BANK: EntityId = EntityId::from_bytes([1; 32]);

    fn issuer() -> Issuer {
        let currency = Currency {
            id: CurrencyId::issued_by(BANK),
            name: Text::cut("crown"),
            symbol: Text::cut("C"),
            scale: Scale::default(),
            transfer_fee: Amount::ZERO,
            full_handshake_fee: Amount::ZERO,
            account_reserve: Amount::ZERO,
        };
        Issuer::new(currency, IssuerOptions::default())
    }

    /// What is added answer by answer is what the books say when they are opened again.
    #[test]
    fn money_makes_known_and_nothing_else() {
        let keys = [2, 3, 4, 5, 6, 7].map(|byte| SecretKey::from_bytes(&[byte; 32]));
        let [alice, bob, carol, dave, erin, frank] = keys.each_ref().map(SecretKey::entity);
        let (amount, fee_max, order) = (Amount::new(10), Amount::ZERO, Text::default());
        let transfer = |id, to| Request::Transfer { id, to, amount, fee_max, order: order.clone() };
        let open = |id, payee| Request::HoldOpen {
            id,
            payee,
            amount_max: amount,
            order: Digest::of(b"x"),
            expires: Timestamp::from_milliseconds(9_000_000),
            open_by: Timestamp::from_milliseconds(9_000_000),
        };
        let id = RequestId::new;
        let step = |to| Step { to, amount, order: order.clone(), linked: false };
        let steps = List::new(vec![step(bob), step(erin)]).unwrap();
        let rotation = Rotation { currency: CurrencyId::issued_by(BANK), old: bob, new: frank };
        let (by_old, by_new) = (rotation.sign(&keys[1]), rotation.sign(&keys[5]));
        let mut issuer = issuer();
        issuer.collect_movements(true);
        let known = Known::default();
        for (holder, request, expected) in [
            (dave, Request::Balance, None),
            (dave, transfer(id(1), alice), None),
            (dave, open(id(2), alice), None),
            (dave, Request::Mint { id: id(3), to: dave, amount }, None),
            (dave, Request::AckDeposits { id: id(4), through: 0 }, None),
            (BANK, Request::Mint { id: id(5), to: alice, amount: Amount::new(60) }, Some(alice)),
            (alice, transfer(id(6), bob), Some(bob)),
            (alice, open(id(7), carol), Some(carol)),
            (alice, Request::Batch { id: id(8), fee_max, steps }, Some(erin)),
            (bob, Request::Rotate { id: id(9), to: frank, by_old, by_new }, Some(frank)),
        ] {
            let now = Timestamp::from_milliseconds(1);
            let response = issuer.handle(now, holder, &request).response;
            let moved = issuer.drain_movements().into_iter().map(|movement| movement.holder);
            let fresh = moved.chain(named(&request, &response));
            let fresh: BTreeSet<_> =
                fresh.filter(|holder| *holder != BANK && !known.contains(*holder)).collect();
            assert!(fresh.iter().eq(&expected), "{request:?}: {response:?}");
            known.add(fresh.into_iter());
        }
        let all = [BANK, alice, bob, carol, dave, erin, frank];
        let found =
            |known: &Known| BTreeSet::from_iter(all.into_iter().filter(|key| known.contains(*key)));
        let mut opened = found(&Known::of(&issuer));
        // The issuer itself is limited nowhere; a key that an account had is as good as any.
        opened.remove(&BANK);
        let mut added = found(&known);
        assert!(added.remove(&bob) || opened.contains(&bob));
        opened.remove(&bob);
        assert_eq!(added, opened);
        assert!(known.contains(carol) && !known.contains(dave));
    }
}
