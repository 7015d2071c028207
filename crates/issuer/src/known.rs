//! Whom the books know: who ever had an account, and whom a hold names as payee. All others are strangers.
//!
//! It costs money to be known: somebody's, who has an account, was paid or set aside. And no command of a
//! stranger can move any, so that a limit on strangers is in no honest holder's way: not even
//! for its first voucher, whose hold has named it.

use fondaco_crypto::EntityId;
use fondaco_lcp::{Issuer, Request, Response};
use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

/// The holders that the books know. Clones are the same; the keeper adds to it, the server asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(Arc<RwLock<BTreeSet<EntityId>>>);

impl Known {
    /// Whom these books know.
    pub(crate) fn of(issuer: &Issuer) -> Self {
        let accounts = issuer.books().map(|(holder, _)| holder);
        let payees = issuer.ledger().holds().map(|(_, hold)| hold.payee);
        Self(Arc::new(RwLock::new(accounts.chain(payees).collect())))
    }

    pub(crate) fn contains(&self, holder: EntityId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&holder)
    }

    pub(crate) fn add(&self, holders: impl Iterator<Item = EntityId>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(holders);
    }
}

/// Whom a command, so answered, has made known, if not known before.
pub(crate) const fn named(request: &Request, response: &Response) -> Option<EntityId> {
    if matches!(response, Response::Refused { .. }) {
        return None;
    }
    match request {
        Request::Transfer { to, .. } | Request::Mint { to, .. } => Some(*to),
        Request::HoldOpen { payee, .. } => Some(*payee),
        // A post pays the payee that the hold has named; the rest gives nothing to anybody new.
        Request::Describe
        | Request::Balance
        | Request::HoldInfo { .. }
        | Request::Deposits { .. }
        | Request::History { .. }
        | Request::Receipt { .. }
        | Request::Redeem { .. }
        | Request::HoldPost { .. }
        | Request::HoldVoid { .. }
        | Request::AckDeposits { .. }
        | Request::Batch { .. }
        | Request::Accept { .. }
        | Request::Rotate { .. }
        | Request::Close { .. }
        | Request::HoldPostWord { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_codec::Text;
    use fondaco_crypto::{CurrencyId, Digest};
    use fondaco_lcp::{Currency, IssuerOptions, RequestId};
    use fondaco_units::{Amount, Scale, Timestamp};

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
        let [alice, bob, carol, dave] = [2, 3, 4, 5].map(|byte| EntityId::from_bytes([byte; 32]));
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
        let mut issuer = issuer();
        let known = Known::default();
        for (holder, request, expected) in [
            (dave, Request::Balance, None),
            (dave, transfer(id(1), alice), None),
            (dave, open(id(2), alice), None),
            (dave, Request::Mint { id: id(3), to: dave, amount }, None),
            (dave, Request::AckDeposits { id: id(4), through: 0 }, None),
            (BANK, Request::Mint { id: id(5), to: alice, amount: Amount::new(30) }, Some(alice)),
            (alice, transfer(id(6), bob), Some(bob)),
            (alice, open(id(7), carol), Some(carol)),
        ] {
            let now = Timestamp::from_milliseconds(1);
            let response = issuer.handle(now, holder, &request).response;
            assert_eq!(named(&request, &response), expected, "{request:?}: {response:?}");
            known.add(named(&request, &response).into_iter());
        }
        let found = |known: &Known| known.0.read().unwrap().clone();
        let mut opened = found(&Known::of(&issuer));
        // The issuer itself is limited nowhere.
        opened.remove(&BANK);
        assert_eq!(found(&known), opened);
        assert!(known.contains(carol) && !known.contains(dave));
    }
}
