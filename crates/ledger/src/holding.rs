//! The steps of holds: open, post, void, expire.

use crate::{
    Anchor, EXPIRED_PER_CALL_MAX, Expired, HOLD_SPAN_MAX, HOLDS_PER_PAYER_MAX, Hold, HoldId,
    HoldState, Ledger, Opened, PayWord, Posted, Posting, Postings, Refusal, Side, SignedAnchor,
    SignedVoucher, Voided,
    accounts::Role,
    books::{Move, Place},
};
use fondaco_crypto::{CurrencyId, Digest, EntityId};
use fondaco_units::{Amount, Timestamp};

impl Ledger {
    /// Sets `amount_max` of `payer` aside for `payee`, until it posts or voids it, or `expires`.
    //
    // The seven are one hold; a struct of them would be the hold itself without its state.
    #[allow(clippy::too_many_arguments)]
    pub fn hold_open(
        &mut self,
        id: HoldId,
        payer: EntityId,
        payee: EntityId,
        amount_max: Amount,
        order: Digest,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<Opened, Refusal> {
        self.may_move(amount_max)?;
        let holder = self.spender(payer)?;
        if payer == payee || holder.is_some() && holder == self.index_of(payee) {
            return Err(Refusal::SelfTransfer { holder: payer });
        }
        if expires <= now {
            return Err(Refusal::ExpiryPast { expires, now });
        }
        let expires_max = now.after(HOLD_SPAN_MAX);
        if expires > expires_max {
            return Err(Refusal::ExpiryTooFar { expires, expires_max });
        }
        if self.holds.contains_key(&id) {
            return Err(Refusal::HoldExists { hold: id });
        }
        let holds_open = holder.map_or(0, |at| self.holds_open(at));
        if holds_open >= HOLDS_PER_PAYER_MAX {
            return Err(Refusal::TooManyHolds { holds_max: HOLDS_PER_PAYER_MAX });
        }
        let at = self.covered(holder, amount_max, Amount::ZERO)?;

        let state = HoldState::Open;
        self.holds.insert(id, Hold { payer, payee, amount_max, order, expires, state });
        self.due.insert((expires, id));
        self.accounts.at_mut(at).role = Role::Account { holds_open: holds_open + 1 };
        let (from, to) = (Place::Available(at), Place::Held(at));
        self.commit(&[Move { from, to, amount: amount_max }])?;
        let postings = Postings::one(Posting {
            debit: Side::Available { entity: payer },
            credit: Side::Held { hold: id },
            amount: amount_max,
        });
        Ok(Opened { postings })
    }

    /// Pays what the voucher says to the payee, `by`, and the rest of the hold back to its payer; closes the hold. A payee
    /// without an account gets one only of `reserve` at least.
    ///
    /// The signature is checked last: it costs a thousand times as much as the rest.
    pub fn hold_post(
        &mut self,
        now: Timestamp,
        by: EntityId,
        signed: &SignedVoucher,
        reserve: Amount,
    ) -> Result<Posted, Refusal> {
        let voucher = signed.voucher;
        let (id, paid) = (voucher.hold, voucher.cumulative);
        let (hold, returned) = self.postable(now, by, voucher.currency, id, paid)?;
        let payer = hold.payer;
        signed.verify(payer).map_err(|_| Refusal::BadSignature { hold: id, payer })?;
        self.post(id, by, paid, returned, reserve)
    }

    /// Pays what the word is worth to the payee, `by`, and the rest of the hold back to its payer; closes the hold. A payee
    /// without an account gets one only of `reserve` at least.
    ///
    /// The signature is checked last but for the word, which costs a hash for each step to the root.
    pub fn hold_post_word(
        &mut self,
        now: Timestamp,
        by: EntityId,
        signed: &SignedAnchor,
        word: &PayWord,
        reserve: Amount,
    ) -> Result<Posted, Refusal> {
        self.may_move(Amount::MAX)?;
        let Anchor { currency, hold: id, .. } = signed.anchor;
        let refused = |error| Refusal::of_payword(id, error);
        let paid = signed.anchor.worth(word.index).map_err(refused)?;
        let (hold, returned) = self.postable(now, by, currency, id, paid)?;
        signed.verify(hold.payer).map_err(refused)?;
        signed.anchor.check(word).map_err(refused)?;
        self.post(id, by, paid, returned, reserve)
    }

    /// Gives the whole hold back to its payer, because its payee, `by`, says so; closes the hold.
    pub fn hold_void(&mut self, by: EntityId, id: HoldId) -> Result<Voided, Refusal> {
        self.may_move(Amount::MAX)?;
        self.spender(by)?;
        let returned = self.open_hold_for(by, id)?.amount_max;
        let (payer, postings) = self.close_hold(id, HoldState::Voided, None, returned)?;
        Ok(Voided { payer, returned, postings })
    }

    /// Closes the holds that are due at `now` and gives them back to their payers: earliest expiry first, then by
    /// id, and at most [`EXPIRED_PER_CALL_MAX`] of them. Call again while [`Ledger::next_expiry`] is not after `now`.
    pub fn expire(&mut self, now: Timestamp) -> Result<Vec<Expired>, Refusal> {
        let mut expired = Vec::new();
        while expired.len() < EXPIRED_PER_CALL_MAX
            && let Some((expires, id)) = self.due.first().copied()
            && expires <= now
        {
            self.may_move(Amount::MAX)?;
            let Some(Hold { amount_max, .. }) = self.holds.get(&id).copied() else {
                return Err(self.broken());
            };
            let (payer, postings) = self.close_hold(id, HoldState::Expired, None, amount_max)?;
            expired.push(Expired { hold: id, payer, returned: amount_max, postings });
        }
        Ok(expired)
    }

    /// Decides a post but for what was signed: the hold, and what would go back to its payer.
    fn postable(
        &self,
        now: Timestamp,
        by: EntityId,
        currency: CurrencyId,
        id: HoldId,
        paid: Amount,
    ) -> Result<(Hold, Amount), Refusal> {
        self.may_move(paid)?;
        self.spender(by)?;
        if currency != self.currency {
            return Err(Refusal::OtherCurrency { currency: self.currency, found: currency });
        }
        let hold = self.open_hold_for(by, id)?;
        let Hold { amount_max, expires, .. } = hold;
        if expires <= now {
            return Err(Refusal::HoldExpired { hold: id, expires });
        }
        let over = Refusal::OverHold { hold: id, cumulative: paid, amount_max };
        let returned = amount_max.checked_sub(paid).ok_or(over)?;
        Ok((hold, returned))
    }

    fn post(
        &mut self,
        id: HoldId,
        by: EntityId,
        paid: Amount,
        returned: Amount,
        reserve: Amount,
    ) -> Result<Posted, Refusal> {
        let payee = self.accounts.payee(by);
        if paid < reserve && !payee.has_account() {
            return Err(Refusal::UnderReserve { payee: by, reserve });
        }
        self.has_room(payee)?;
        let state = HoldState::Posted { paid };
        let (payer, postings) = self.close_hold(id, state, Some((by, paid)), returned)?;
        Ok(Posted { payer, paid, returned, postings })
    }

    fn open_hold_for(&self, by: EntityId, id: HoldId) -> Result<Hold, Refusal> {
        let hold = *self.holds.get(&id).ok_or(Refusal::UnknownHold { hold: id })?;
        // A payee without an account may post all the same: it has only its key.
        let payee = self.current_key(hold.payee);
        if payee != by {
            return Err(Refusal::WrongPayee { hold: id, payee });
        }
        match hold.state {
            HoldState::Open => Ok(hold),
            state @ (HoldState::Posted { .. } | HoldState::Voided | HoldState::Expired) => {
                Err(Refusal::HoldClosed { hold: id, state })
            }
        }
    }

    /// Closes an open hold: what was paid, and to whom; `returned` to the payer. Hands back the payer's key of now.
    fn close_hold(
        &mut self,
        id: HoldId,
        state: HoldState,
        paid: Option<(EntityId, Amount)>,
        returned: Amount,
    ) -> Result<(EntityId, Postings), Refusal> {
        let Some(hold) = self.holds.get_mut(&id) else { return Err(self.broken()) };
        hold.state = state;
        let (payer, expires) = (hold.payer, hold.expires);
        let queued = self.due.remove(&(expires, id));
        let Some(payer) = self.accounts.resolve(&payer) else { return Err(self.broken()) };
        let (Some(holds_open), true) = (self.holds_open(payer).checked_sub(1), queued) else {
            return Err(self.broken());
        };
        self.accounts.at_mut(payer).role = Role::Account { holds_open };

        let from = Place::Held(payer);
        let debit = Side::Held { hold: id };
        self.commit(&[Move { from, to: Place::Available(payer), amount: returned }])?;
        let back = Posting { debit, credit: self.available(payer), amount: returned };
        let postings = match paid {
            None => Postings::one(back),
            Some((payee, amount)) => {
                let payee = self.accounts.open(self.accounts.payee(payee));
                self.commit(&[Move { from, to: Place::Available(payee), amount }])?;
                let credit = self.available(payee);
                Postings::new([Posting { debit, credit, amount }, back])
            }
        };
        Ok((self.accounts.at(payer).key, postings))
    }
}
