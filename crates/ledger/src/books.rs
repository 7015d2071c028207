//! The books and the steps that move money in them.
//!
//! Each step first decides, changing nothing, and then commits. [`Ledger::commit`] is the only code that
//! changes a balance.

use crate::{
    EXPIRED_PER_CALL_MAX, HOLD_SPAN_MAX, HOLDS_PER_PAYER_MAX, Hold, HoldId, HoldState, Posting,
    Postings, Refusal, Side, SignedVoucher,
};
use fondaco_crypto::{CurrencyId, Digest, EntityId};
use fondaco_units::{Amount, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What one holder has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What can be spent.
    pub available: Amount,
    /// What is set aside in open holds.
    pub held: Amount,
}

/// An account, and what the ledger counts beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) account: Account,
    pub(crate) holds_open: u32,
}

/// The books of one currency. See the [crate](crate) for the rules it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    pub(crate) currency: CurrencyId,
    /// In 128 bits: money that is issued, redeemed and issued again is counted each time.
    pub(crate) issued: u128,
    pub(crate) redeemed: u128,
    pub(crate) entries: BTreeMap<EntityId, Entry>,
    pub(crate) holds: BTreeMap<HoldId, Hold>,
    /// The open holds, by expiry.
    pub(crate) due: BTreeSet<(Timestamp, HoldId)>,
    pub(crate) halted: bool,
}

/// Money was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The supply, now.
    pub supply: Amount,
    /// What moved.
    pub postings: Postings,
}

/// Money was taken back by its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// The supply, now.
    pub supply: Amount,
    /// What moved.
    pub postings: Postings,
}

/// Money went from one holder to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transferred {
    /// What the payer can spend, now.
    pub balance: Amount,
    /// What moved.
    pub postings: Postings,
}

/// Money was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What moved.
    pub postings: Postings,
}

/// A hold was paid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Whose hold it was.
    pub payer: EntityId,
    /// What the payee got.
    pub paid: Amount,
    /// What went back to the payer.
    pub returned: Amount,
    /// What moved.
    pub postings: Postings,
}

/// A hold was given up by its payee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voided {
    /// Whose hold it was.
    pub payer: EntityId,
    /// What went back to the payer.
    pub returned: Amount,
    /// What moved.
    pub postings: Postings,
}

/// A hold's time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The hold.
    pub hold: HoldId,
    /// Whose hold it was.
    pub payer: EntityId,
    /// What went back to the payer.
    pub returned: Amount,
    /// What moved.
    pub postings: Postings,
}

impl Ledger {
    /// Creates the books of a currency, without any money.
    pub const fn new(currency: CurrencyId) -> Self {
        Self {
            currency,
            issued: 0,
            redeemed: 0,
            entries: BTreeMap::new(),
            holds: BTreeMap::new(),
            due: BTreeSet::new(),
            halted: false,
        }
    }

    /// Returns the currency.
    pub const fn currency(&self) -> CurrencyId {
        self.currency
    }

    /// Returns how much money there is: issued less redeemed.
    pub fn supply(&self) -> Amount {
        // It fits: `mint` refuses what would not.
        u64::try_from(self.issued.saturating_sub(self.redeemed)).map_or(Amount::MAX, Amount::new)
    }

    /// Returns what `holder` has; nothing of either when it never had any.
    pub fn account(&self, holder: EntityId) -> Account {
        self.entries.get(&holder).map(|entry| entry.account).unwrap_or_default()
    }

    /// Returns the accounts, by entity.
    pub fn books(&self) -> impl Iterator<Item = (EntityId, Account)> + '_ {
        self.entries.iter().map(|(holder, entry)| (*holder, entry.account))
    }

    /// Returns how many accounts there are: of all that ever got money.
    pub fn accounts(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Returns a hold, open or closed.
    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(&id)
    }

    /// Returns all holds, open and closed, by id.
    pub fn holds(&self) -> impl Iterator<Item = (HoldId, &Hold)> + '_ {
        self.holds.iter().map(|(id, hold)| (*id, hold))
    }

    /// Returns when the next open hold is due.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.due.first().map(|(expires, _)| *expires)
    }

    /// Returns whether every step is refused because the books did not balance.
    pub const fn is_halted(&self) -> bool {
        self.halted
    }

    /// Refuses every step from now on. For the caller that found the books wrong by [`Ledger::check`].
    pub const fn halt(&mut self) {
        self.halted = true;
    }

    /// Makes `amount` of money and gives it to `to`. The caller knows that the issuer asked.
    pub fn mint(&mut self, to: EntityId, amount: Amount) -> Result<Minted, Refusal> {
        self.may_move(amount)?;
        let supply = self.supply();
        let overflow = Refusal::SupplyOverflow { supply, wanted: amount };
        let supply = supply.checked_add(amount).ok_or(overflow)?;
        let postings = self.commit(Postings::one(Posting {
            debit: Side::Liability,
            credit: Side::Available { entity: to },
            amount,
        }))?;
        Ok(Minted { supply, postings })
    }

    /// Takes `amount` out of the account of `from` and out of the supply: the opposite of [`Ledger::mint`].
    pub fn redeem(&mut self, from: EntityId, amount: Amount) -> Result<Redeemed, Refusal> {
        self.may_move(amount)?;
        self.covered(from, amount, Amount::ZERO)?;
        let postings = self.commit(Postings::one(Posting {
            debit: Side::Available { entity: from },
            credit: Side::Liability,
            amount,
        }))?;
        Ok(Redeemed { supply: self.supply(), postings })
    }

    /// Pays `amount` from `from` to `to`, and on top of it `fee` from `from` to the issuer.
    pub fn transfer(
        &mut self,
        from: EntityId,
        to: EntityId,
        amount: Amount,
        fee: Amount,
    ) -> Result<Transferred, Refusal> {
        self.may_move(amount)?;
        if from == to {
            return Err(Refusal::SelfTransfer { holder: from });
        }
        self.covered(from, amount, fee)?;
        let debit = Side::Available { entity: from };
        let issuer = Side::Available { entity: self.currency.issuer() };
        let postings = self.commit(Postings::new([
            Posting { debit, credit: Side::Available { entity: to }, amount },
            Posting { debit, credit: issuer, amount: fee },
        ]))?;
        Ok(Transferred { balance: self.account(from).available, postings })
    }

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
        if payer == payee {
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
        if self.entries.get(&payer).is_some_and(|entry| entry.holds_open >= HOLDS_PER_PAYER_MAX) {
            return Err(Refusal::TooManyHolds { holds_max: HOLDS_PER_PAYER_MAX });
        }
        self.covered(payer, amount_max, Amount::ZERO)?;

        let state = HoldState::Open;
        self.holds.insert(id, Hold { payer, payee, amount_max, order, expires, state });
        self.due.insert((expires, id));
        self.entries.entry(payer).or_default().holds_open += 1;
        let postings = self.commit(Postings::one(Posting {
            debit: Side::Available { entity: payer },
            credit: Side::Held { hold: id },
            amount: amount_max,
        }))?;
        Ok(Opened { postings })
    }

    /// Pays what the voucher says to the payee, `by`, and the rest of the hold back to its payer; closes the hold.
    ///
    /// The signature is checked last: it costs a thousand times as much as the rest.
    pub fn hold_post(
        &mut self,
        now: Timestamp,
        by: EntityId,
        signed: &SignedVoucher,
    ) -> Result<Posted, Refusal> {
        let voucher = signed.voucher;
        let (id, paid) = (voucher.hold, voucher.cumulative);
        self.may_move(paid)?;
        if voucher.currency != self.currency {
            return Err(Refusal::OtherCurrency {
                currency: self.currency,
                found: voucher.currency,
            });
        }
        let Hold { payer, payee, amount_max, expires, .. } = self.open_hold_for(by, id)?;
        if expires <= now {
            return Err(Refusal::HoldExpired { hold: id, expires });
        }
        let over = Refusal::OverHold { hold: id, cumulative: paid, amount_max };
        let returned = amount_max.checked_sub(paid).ok_or(over)?;
        signed.verify(payer).map_err(|_| Refusal::BadSignature { hold: id, payer })?;

        let postings = self.close(id, HoldState::Posted { paid }, payee, paid, returned)?;
        Ok(Posted { payer, paid, returned, postings })
    }

    /// Gives the whole hold back to its payer, because its payee, `by`, says so; closes the hold.
    pub fn hold_void(&mut self, by: EntityId, id: HoldId) -> Result<Voided, Refusal> {
        self.may_move(Amount::MAX)?;
        let Hold { payer, payee, amount_max, .. } = self.open_hold_for(by, id)?;
        let postings = self.close(id, HoldState::Voided, payee, Amount::ZERO, amount_max)?;
        Ok(Voided { payer, returned: amount_max, postings })
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
            let Some(Hold { payer, payee, amount_max, .. }) = self.holds.get(&id).copied() else {
                return Err(self.broken());
            };
            let postings = self.close(id, HoldState::Expired, payee, Amount::ZERO, amount_max)?;
            expired.push(Expired { hold: id, payer, returned: amount_max, postings });
        }
        Ok(expired)
    }

    fn may_move(&self, amount: Amount) -> Result<(), Refusal> {
        match amount {
            _ if self.halted => Err(Refusal::Halted),
            Amount::ZERO => Err(Refusal::ZeroAmount),
            _ => Ok(()),
        }
    }

    fn covered(&self, payer: EntityId, amount: Amount, fee: Amount) -> Result<(), Refusal> {
        let available = self.account(payer).available;
        match amount.checked_add(fee) {
            Some(wanted) if wanted <= available => Ok(()),
            wanted => {
                Err(Refusal::InsufficientFunds { available, wanted: wanted.unwrap_or(Amount::MAX) })
            }
        }
    }

    fn open_hold_for(&self, by: EntityId, id: HoldId) -> Result<Hold, Refusal> {
        let hold = *self.holds.get(&id).ok_or(Refusal::UnknownHold { hold: id })?;
        if hold.payee != by {
            return Err(Refusal::WrongPayee { hold: id, payee: hold.payee });
        }
        match hold.state {
            HoldState::Open => Ok(hold),
            state @ (HoldState::Posted { .. } | HoldState::Voided | HoldState::Expired) => {
                Err(Refusal::HoldClosed { hold: id, state })
            }
        }
    }

    /// Closes an open hold: `paid` to the payee, `returned` to the payer.
    fn close(
        &mut self,
        id: HoldId,
        state: HoldState,
        payee: EntityId,
        paid: Amount,
        returned: Amount,
    ) -> Result<Postings, Refusal> {
        let Some(hold) = self.holds.get_mut(&id) else { return Err(self.broken()) };
        hold.state = state;
        let (payer, expires) = (hold.payer, hold.expires);
        let queued = self.due.remove(&(expires, id));
        let entry = self.entries.entry(payer).or_default();
        let (Some(holds_open), true) = (entry.holds_open.checked_sub(1), queued) else {
            return Err(self.broken());
        };
        entry.holds_open = holds_open;
        let debit = Side::Held { hold: id };
        self.commit(Postings::new([
            Posting { debit, credit: Side::Available { entity: payee }, amount: paid },
            Posting { debit, credit: Side::Available { entity: payer }, amount: returned },
        ]))
    }

    /// Moves the money. It cannot fail while the books balance; if it does, the ledger halts.
    fn commit(&mut self, postings: Postings) -> Result<Postings, Refusal> {
        for posting in postings.as_slice() {
            if self.move_money(posting).is_none() {
                return Err(self.broken());
            }
        }
        Ok(postings)
    }

    const fn broken(&mut self) -> Refusal {
        self.halted = true;
        Refusal::Halted
    }

    fn move_money(&mut self, posting: &Posting) -> Option<()> {
        let Posting { debit, credit, amount } = *posting;
        match debit {
            Side::Liability => self.issued = self.issued.checked_add(u128::from(amount.get()))?,
            Side::Available { entity } => {
                let account = &mut self.entries.get_mut(&entity)?.account;
                account.available = account.available.checked_sub(amount)?;
            }
            Side::Held { hold } => {
                let payer = self.holds.get(&hold)?.payer;
                let account = &mut self.entries.get_mut(&payer)?.account;
                account.held = account.held.checked_sub(amount)?;
            }
        }
        match credit {
            Side::Liability => {
                self.redeemed = self.redeemed.checked_add(u128::from(amount.get()))?;
            }
            Side::Available { entity } => {
                let account = &mut self.entries.entry(entity).or_default().account;
                account.available = account.available.checked_add(amount)?;
            }
            Side::Held { hold } => {
                let payer = self.holds.get(&hold)?.payer;
                let account = &mut self.entries.get_mut(&payer)?.account;
                account.held = account.held.checked_add(amount)?;
            }
        }
        Some(())
    }
}
