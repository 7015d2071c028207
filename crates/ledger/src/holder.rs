//! The steps of one account: its limit, its end, its key.

use crate::{
    AccountIndex, Closed, Ledger, Posting, Postings, Refusal, Rotated, Side,
    accounts::Role,
    books::{Move, Place},
};
use fondaco_crypto::EntityId;
use fondaco_units::Amount;

impl Ledger {
    /// Sets how much `holder` may have, available and held, by transfers and mints: more is refused to who pays.
    /// `Amount::MAX` is no limit.
    ///
    /// What it posts itself, and what comes back from its own holds, is not limited; neither are the fees of the issuer.
    pub fn accept(&mut self, holder: EntityId, balance_max: Amount) -> Result<(), Refusal> {
        self.may_move(Amount::MAX)?;
        let at = self.spender(holder)?.ok_or(Refusal::UnknownAccount { holder })?;
        self.accounts.ahead.remove(&holder);
        self.accounts.at_mut(at).balance_max = balance_max;
        Ok(())
    }

    /// Returns how much `holder` lets others pay in: `Amount::MAX` is no limit.
    pub fn balance_max(&self, holder: EntityId) -> Amount {
        self.accounts.balance_max(self.accounts.payee(holder))
    }

    /// Closes the account of `holder`, and gives the issuer what is left in it: at most `forfeit_max`.
    ///
    /// Its keys and its index stay: money sent to it later makes an account again, at the same index.
    pub fn close(&mut self, holder: EntityId, forfeit_max: Amount) -> Result<Closed, Refusal> {
        self.may_move(Amount::MAX)?;
        let at = self.spender(holder)?;
        let issuer = self.currency.issuer();
        if holder == issuer {
            return Err(Refusal::IssuerStays { issuer });
        }
        let at = at.ok_or(Refusal::UnknownAccount { holder })?;
        match self.holds_open(at) {
            0 => {}
            holds_open => return Err(Refusal::HoldsOpen { holds_open }),
        }
        let available = self.accounts.at(at).account.available;
        if available > forfeit_max {
            return Err(Refusal::NotEmpty { available, forfeit_max });
        }

        let to = Place::Available(AccountIndex::ISSUER);
        self.commit(&[Move { from: Place::Available(at), to, amount: available }])?;
        self.accounts.close(at);
        self.accounts.ahead.remove(&holder);
        let debit = Side::Available { entity: holder };
        let credit = Side::Available { entity: issuer };
        let postings = Postings::one(Posting { debit, credit, amount: available });
        Ok(Closed { forfeited: available, postings })
    }

    /// Gives the account of `old` the key `new`. The caller knows that both agreed.
    ///
    /// From now on nothing can be asked by the old key; but money sent to it arrives, and the holds that it opened, or
    /// that are for it, go on. A key that has or had an account is not taken for another, nor one that was changed.
    pub fn rotate(&mut self, old: EntityId, new: EntityId) -> Result<Rotated, Refusal> {
        self.may_move(Amount::MAX)?;
        let at = self.spender(old)?;
        let issuer = self.currency.issuer();
        if old == issuer {
            return Err(Refusal::IssuerStays { issuer });
        }
        let at = at.ok_or(Refusal::UnknownAccount { holder: old })?;
        if self.accounts.find(&new).is_some() {
            return Err(Refusal::AccountExists { holder: new });
        }
        self.has_room_for_key()?;

        self.accounts.rename(at, new);
        let amount = self.accounts.at(at).account.available;
        let debit = Side::Available { entity: old };
        let credit = Side::Available { entity: new };
        Ok(Rotated { postings: Postings::one(Posting { debit, credit, amount }) })
    }

    pub(crate) fn holds_open(&self, at: AccountIndex) -> u32 {
        match self.accounts.at(at).role {
            Role::Account { holds_open } => holds_open,
            Role::Alias { .. } | Role::Closed => 0,
        }
    }
}
