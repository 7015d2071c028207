//! Transfers that are linked: all of them, or none.

use crate::{
    AccountIndex, LINKED_MAX, Ledger, Posting, Postings, Refusal, Side, Terms,
    books::{Move, Place},
};
use fondaco_crypto::EntityId;
use fondaco_units::Amount;

/// One transfer of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Who pays.
    pub from: EntityId,
    /// Who is paid.
    pub to: EntityId,
    /// How much, in smallest units.
    pub amount: Amount,
    /// What the issuer asks for it.
    pub terms: Terms,
}

/// A chain was refused, and nothing of it done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transfer {leg} of the chain: {refusal}")]
pub struct LegRefused {
    /// Which leg, counted from 0; those before it would have been done.
    pub leg: usize,
    /// Why, after those before it.
    pub refusal: Refusal,
}

impl Ledger {
    /// Makes the transfers one after the other, each on what those before it left; or none of them, when one is refused.
    ///
    /// [`Ledger::postings`] tells what each of them moved.
    ///
    /// # Errors
    ///
    /// There are none, or over [`LINKED_MAX`]; or the first that is refused, and why. The ledger is as it was.
    pub fn transfer_linked(&mut self, legs: &[Leg]) -> Result<(), LegRefused> {
        if self.is_halted() {
            return Err(LegRefused { leg: 0, refusal: Refusal::Halted });
        }
        if !(1..=LINKED_MAX as usize).contains(&legs.len()) {
            let refusal = Refusal::LegCount { legs_max: LINKED_MAX };
            return Err(LegRefused { leg: 0, refusal });
        }
        let issuer_had = self.accounts.is_open(AccountIndex::ISSUER);
        let slots = self.accounts.slots.len();
        let mut opened = Vec::new();
        for (number, leg) in legs.iter().enumerate() {
            let refused = |refusal| LegRefused { leg: number, refusal };
            match self.decide(leg) {
                Ok(payment) => {
                    let is_new = !payment.payee.has_account();
                    let at = self.pay(leg, payment).map_err(refused)?;
                    if is_new && at != AccountIndex::ISSUER {
                        opened.push(at);
                    }
                }
                Err(refusal) => {
                    self.undo(&legs[..number]).map_err(refused)?;
                    opened.iter().for_each(|at| self.accounts.close(*at));
                    if !issuer_had && self.accounts.is_open(AccountIndex::ISSUER) {
                        self.accounts.close(AccountIndex::ISSUER);
                    }
                    self.accounts.truncate(slots);
                    return Err(refused(refusal));
                }
            }
        }
        Ok(())
    }

    /// Returns what a leg moved that was done. Ask before the payee changes its key.
    pub fn postings(&self, leg: &Leg) -> Postings {
        let debit = Side::Available { entity: leg.from };
        let credit = Side::Available { entity: self.current_key(leg.to) };
        let issuer = Side::Available { entity: self.currency().issuer() };
        Postings::new([
            Posting { debit, credit, amount: leg.amount },
            Posting { debit, credit: issuer, amount: leg.terms.fee },
        ])
    }

    /// Moves back what these legs moved, the last one first: so nobody is short of it.
    fn undo(&mut self, legs: &[Leg]) -> Result<(), Refusal> {
        for Leg { from, to, amount, terms } in legs.iter().rev() {
            let (Some(payer), Some(payee)) = (self.index_of(*from), self.index_of(*to)) else {
                return Err(self.broken());
            };
            let to = Place::Available(payer);
            self.commit(&[
                Move { from: Place::Available(AccountIndex::ISSUER), to, amount: terms.fee },
                Move { from: Place::Available(payee), to, amount: *amount },
            ])?;
        }
        Ok(())
    }
}
