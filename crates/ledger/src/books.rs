//! The books: what there is, and the steps that make, take back and pay money.
//!
//! Each step first decides, changing nothing, and then commits. [`Ledger::commit`] is the only code that
//! changes a balance.

use crate::{
    ACCOUNTS_MAX, Account, AccountIndex, Hold, HoldId, Leg, Minted, Posting, Postings, Redeemed,
    Refusal, Side, Transferred,
    accounts::{Accounts, Payee, Role, Spender},
};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_units::{Amount, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The books of one currency. See the [crate](crate) for the rules it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    pub(crate) currency: CurrencyId,
    /// In 128 bits: money that is issued, redeemed and issued again is counted each time.
    pub(crate) issued: u128,
    pub(crate) redeemed: u128,
    pub(crate) accounts: Accounts,
    pub(crate) holds: BTreeMap<HoldId, Hold>,
    /// The open holds, by expiry.
    pub(crate) due: BTreeSet<(Timestamp, HoldId)>,
    pub(crate) halted: bool,
}

/// A [`Side`] whose account was found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Liability,
    Available(AccountIndex),
    Held(AccountIndex),
}

/// A [`Posting`] whose accounts were found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) amount: Amount,
}

/// A transfer that was decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payment {
    pub(crate) payer: AccountIndex,
    pub(crate) payee: Payee,
}

/// What the issuer asks for a transfer, in smallest units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What the payer pays to the issuer on top.
    pub fee: Amount,
    /// The least that makes an account where there is none: an account costs the issuer memory for ever.
    pub reserve: Amount,
}

impl Ledger {
    /// Creates the books of a currency, without any money.
    ///
    /// The seed keeps strangers from choosing keys that collide in the table of accounts: take it from good entropy,
    /// and tell nobody. Nothing that the books say depends on it.
    pub fn new(currency: CurrencyId, seed: u64) -> Self {
        Self {
            currency,
            issued: 0,
            redeemed: 0,
            accounts: Accounts::new(currency, seed),
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

    /// Returns what `holder` has, by any key that it ever had; nothing of either when it has no account.
    pub fn account(&self, holder: EntityId) -> Account {
        self.accounts.resolve(&holder).map(|at| self.accounts.at(at).account).unwrap_or_default()
    }

    /// Returns the accounts, in the order in which their holders were first paid; that of the issuer comes first.
    pub fn books(&self) -> impl Iterator<Item = (EntityId, Account)> + '_ {
        let open = self.accounts.slots.iter();
        let open = open.filter(|slot| matches!(slot.role, Role::Account { .. }));
        open.map(|slot| (slot.key, slot.account))
    }

    /// Returns how many accounts there are: of all that ever got money and did not close.
    pub const fn accounts(&self) -> u64 {
        self.accounts.open
    }

    /// Returns where the account of `holder` is, by any key that it ever had: also of one that was closed, and of the
    /// issuer. Nothing for those that were never paid.
    pub fn index_of(&self, holder: EntityId) -> Option<AccountIndex> {
        self.accounts.resolve(&holder)
    }

    /// Returns the keys that accounts had before those that they have now.
    pub fn former_keys(&self) -> impl Iterator<Item = EntityId> + '_ {
        self.accounts.slots.iter().filter(|slot| slot.is_alias()).map(|slot| slot.key)
    }

    /// Returns the key of the account that has, or had, the key `holder`; `holder` itself when there is none.
    pub fn current_key(&self, holder: EntityId) -> EntityId {
        self.accounts.resolve(&holder).map_or(holder, |at| self.accounts.at(at).key)
    }

    /// Returns where the account is that has, or had, the key `holder`, and the key that it has now.
    pub fn find(&self, holder: EntityId) -> Option<(AccountIndex, EntityId)> {
        self.accounts.resolve(&holder).map(|at| (at, self.accounts.at(at).key))
    }

    /// Returns the index at a place of a list by indexes, if there is one.
    pub fn index_at(&self, place: usize) -> Option<AccountIndex> {
        let index = u32::try_from(place).ok().filter(|_| place < self.indexes());
        index.map(AccountIndex::new)
    }

    /// Returns how long a list by [`AccountIndex`] must be.
    pub fn indexes(&self) -> usize {
        self.accounts.slots.len()
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
        let payee = self.accounts.payee(to);
        let supply = self.supply();
        let overflow = Refusal::SupplyOverflow { supply, wanted: amount };
        let supply = supply.checked_add(amount).ok_or(overflow)?;
        self.accepts(payee, to, amount)?;

        let at = self.accounts.open(payee);
        self.commit(&[Move { from: Place::Liability, to: Place::Available(at), amount }])?;
        let credit = self.available(at);
        let postings = Postings::one(Posting { debit: Side::Liability, credit, amount });
        Ok(Minted { supply, postings })
    }

    /// Takes `amount` out of the account of `from` and out of the supply: the opposite of [`Ledger::mint`].
    pub fn redeem(&mut self, from: EntityId, amount: Amount) -> Result<Redeemed, Refusal> {
        self.may_move(amount)?;
        let at = self.covered(self.spender(from)?, amount, Amount::ZERO)?;

        self.commit(&[Move { from: Place::Available(at), to: Place::Liability, amount }])?;
        let debit = Side::Available { entity: from };
        let postings = Postings::one(Posting { debit, credit: Side::Liability, amount });
        Ok(Redeemed { supply: self.supply(), postings })
    }

    /// Pays `amount` from `from` to `to`, and on top of it the fee from `from` to the issuer.
    pub fn transfer(
        &mut self,
        from: EntityId,
        to: EntityId,
        amount: Amount,
        terms: Terms,
    ) -> Result<Transferred, Refusal> {
        let leg = Leg { from, to, amount, terms };
        let payment = self.decide(&leg)?;
        let payer = payment.payer;

        let payee = self.pay(&leg, payment)?;
        let debit = Side::Available { entity: from };
        let issuer = Side::Available { entity: self.currency.issuer() };
        let postings = Postings::new([
            Posting { debit, credit: self.available(payee), amount },
            Posting { debit, credit: issuer, amount: terms.fee },
        ]);
        Ok(Transferred { balance: self.accounts.at(payer).account.available, postings })
    }

    /// Decides a transfer.
    pub(crate) fn decide(&self, leg: &Leg) -> Result<Payment, Refusal> {
        let Leg { from, to, amount, terms } = *leg;
        self.may_move(amount)?;
        let payer = self.spender(from)?;
        let payee = self.accounts.payee(to);
        if from == to || payer.is_some() && payer == payee.index() {
            return Err(Refusal::SelfTransfer { holder: from });
        }
        if amount < terms.reserve && !payee.has_account() {
            return Err(Refusal::UnderReserve { payee: to, reserve: terms.reserve });
        }
        let payer = self.covered(payer, amount, terms.fee)?;
        self.accepts(payee, to, amount)?;
        Ok(Payment { payer, payee })
    }

    /// Makes a transfer that was decided; where the payee is.
    pub(crate) fn pay(&mut self, leg: &Leg, payment: Payment) -> Result<AccountIndex, Refusal> {
        let payee = self.accounts.open(payment.payee);
        let from = Place::Available(payment.payer);
        let issuer = Place::Available(AccountIndex::ISSUER);
        self.commit(&[
            Move { from, to: Place::Available(payee), amount: leg.amount },
            Move { from, to: issuer, amount: leg.terms.fee },
        ])?;
        Ok(payee)
    }

    pub(crate) const fn may_move(&self, amount: Amount) -> Result<(), Refusal> {
        match amount {
            _ if self.halted => Err(Refusal::Halted),
            Amount::ZERO => Err(Refusal::ZeroAmount),
            _ => Ok(()),
        }
    }

    /// Finds the account of whom asks to spend by this key; nothing when it has none.
    pub(crate) fn spender(&self, key: EntityId) -> Result<Option<AccountIndex>, Refusal> {
        match self.accounts.spender(&key) {
            Spender::Open(at) => Ok(Some(at)),
            Spender::Nobody => Ok(None),
            Spender::Rotated(of) => Err(Refusal::KeyRotated { to: self.accounts.at(of).key }),
        }
    }

    /// Checks that the payer has amount and fee.
    pub(crate) fn covered(
        &self,
        payer: Option<AccountIndex>,
        amount: Amount,
        fee: Amount,
    ) -> Result<AccountIndex, Refusal> {
        let available = payer.map_or(Amount::ZERO, |at| self.accounts.at(at).account.available);
        match (payer, amount.checked_add(fee)) {
            (Some(at), Some(wanted)) if wanted <= available => Ok(at),
            (_, wanted) => {
                let wanted = wanted.unwrap_or(Amount::MAX);
                Err(Refusal::InsufficientFunds { available, wanted })
            }
        }
    }

    /// Checks that the payee lets others pay it so much, and can have an account.
    fn accepts(&self, payee: Payee, key: EntityId, amount: Amount) -> Result<(), Refusal> {
        let balance_max = self.accounts.balance_max(payee);
        if balance_max < Amount::MAX {
            let account = payee.index().map(|at| self.accounts.at(at).account);
            let Account { available, held } = account.unwrap_or_default();
            let sum =
                [available, held, amount].iter().map(|each| u128::from(each.get())).sum::<u128>();
            if sum > u128::from(balance_max.get()) {
                return Err(Refusal::OverLimit { payee: key, balance_max });
            }
        }
        self.has_room(payee)
    }

    /// Checks that the payee can have an account.
    pub(crate) fn has_room(&self, payee: Payee) -> Result<(), Refusal> {
        match payee {
            Payee::Open(_) | Payee::Closed(_) => Ok(()),
            Payee::New(_) => self.has_room_for_key(),
        }
    }

    /// Checks that one key more can be kept.
    pub(crate) fn has_room_for_key(&self) -> Result<(), Refusal> {
        let full = Refusal::BooksFull { accounts_max: ACCOUNTS_MAX };
        if self.accounts.has_room() { Ok(()) } else { Err(full) }
    }

    /// The side that an account can spend from, under its key of now.
    pub(crate) fn available(&self, at: AccountIndex) -> Side {
        Side::Available { entity: self.accounts.at(at).key }
    }

    /// Moves the money. It cannot fail while the books balance; if it does, the ledger halts.
    pub(crate) fn commit(&mut self, moves: &[Move]) -> Result<(), Refusal> {
        for each in moves {
            if !each.amount.is_zero() && self.move_money(*each).is_none() {
                return Err(self.broken());
            }
        }
        Ok(())
    }

    pub(crate) const fn broken(&mut self) -> Refusal {
        self.halted = true;
        Refusal::Halted
    }

    fn move_money(&mut self, Move { from, to, amount }: Move) -> Option<()> {
        match from {
            Place::Liability => self.issued = self.issued.checked_add(u128::from(amount.get()))?,
            Place::Available(at) => {
                let account = self.open_account(at)?;
                account.available = account.available.checked_sub(amount)?;
            }
            Place::Held(at) => {
                let account = self.open_account(at)?;
                account.held = account.held.checked_sub(amount)?;
            }
        }
        match to {
            Place::Liability => {
                self.redeemed = self.redeemed.checked_add(u128::from(amount.get()))?;
            }
            Place::Available(AccountIndex::ISSUER) => {
                let at = self.accounts.open_issuer();
                let account = &mut self.accounts.at_mut(at).account;
                account.available = account.available.checked_add(amount)?;
            }
            Place::Available(at) => {
                let account = self.open_account(at)?;
                account.available = account.available.checked_add(amount)?;
            }
            Place::Held(at) => {
                let account = self.open_account(at)?;
                account.held = account.held.checked_add(amount)?;
            }
        }
        Some(())
    }

    /// The account in this place; nothing when there is none, and so no money.
    fn open_account(&mut self, at: AccountIndex) -> Option<&mut Account> {
        let slot = self.accounts.at_mut(at);
        matches!(slot.role, Role::Account { .. }).then_some(&mut slot.account)
    }
}
