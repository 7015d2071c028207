//! The books by hand.

use std::collections::{BTreeMap, BTreeSet};

use fondaco_crypto::{Digest, Domain, EntityId, HashChain};
use fondaco_lcp::{
    Issuer, Request, Response, Step, StepResult,
    classic::{Answer, AskBody},
};
use fondaco_ledger::{HoldId, PayWord};
use fondaco_units::{Amount, Timestamp};

use super::{Act, Entry, Keys};

/// A hold that is open.
struct Hold {
    /// The key that signs the vouchers.
    signer: EntityId,
    payer: EntityId,
    payee: EntityId,
    amount: i128,
    expires: Timestamp,
}

/// All by the last key of each account.
pub(super) struct Books<'a> {
    keys: &'a Keys,
    bank: EntityId,
    transfer_fee: i128,
    available: BTreeMap<EntityId, i128>,
    /// What an account takes at most.
    limits: BTreeMap<EntityId, i128>,
    holds: BTreeMap<HoldId, Hold>,
    supply: i128,
}

/// Whether so many hashes as its index lead from a word to the root: by the hash itself, as `docs/formats/ledger.md` has it.
fn leads_to(word: &PayWord, root: &Digest) -> bool {
    let steps = HashChain::new(Domain::new("fondaco 2026 payword step v1"));
    steps.walk(word.word, word.index) == *root
}

fn number(amount: &Amount) -> i128 {
    i128::from(amount.get())
}

impl<'a> Books<'a> {
    pub(super) fn of(log: &[Entry], issuer: &Issuer, keys: &'a Keys) -> Result<Self, String> {
        let mut books = Self {
            keys,
            bank: issuer.currency().id.issuer(),
            transfer_fee: number(&issuer.currency().transfer_fee),
            available: BTreeMap::new(),
            limits: BTreeMap::new(),
            holds: BTreeMap::new(),
            supply: 0,
        };
        for entry in log {
            books.expire(entry.at);
            books.enter(entry)?;
            if let Some((who, _)) = books.available.iter().find(|(_, amount)| **amount < 0) {
                return Err(format!("{who} has spent what it had not: {:?}", entry.act));
            }
        }
        books.expire(issuer.last());
        Ok(books)
    }

    fn add(&mut self, to: EntityId, amount: i128) {
        *self.available.entry(to).or_default() += amount;
    }

    fn expire(&mut self, now: Timestamp) {
        let due: Vec<_> =
            self.holds.iter().filter(|(_, hold)| hold.expires <= now).map(|(id, _)| *id).collect();
        for id in due {
            if let Some(Hold { payer, amount, .. }) = self.holds.remove(&id) {
                self.add(payer, amount);
            }
        }
    }

    /// Pays somebody from outside its account: what it takes is its own choice.
    fn pay_in(&mut self, to: EntityId, amount: &Amount) -> Result<(), String> {
        let to = self.keys.last(to);
        self.add(to, number(amount));
        let held = self.holds.values().filter(|hold| hold.payer == to).map(|hold| hold.amount);
        let has = self.available[&to] + held.sum::<i128>();
        match self.limits.get(&to) {
            Some(limit) if has > *limit => Err(format!("{to} takes {limit} and was paid to {has}")),
            Some(_) | None => Ok(()),
        }
    }

    fn transfer(
        &mut self,
        by: EntityId,
        to: EntityId,
        amount: &Amount,
        fee: i128,
    ) -> Result<(), String> {
        self.add(by, -number(amount) - fee);
        self.pay_in(to, amount)?;
        self.add(self.bank, fee);
        Ok(())
    }

    /// What a transfer costs: the bank's own are free.
    fn fee(&self, by: EntityId, surcharge: &Amount) -> i128 {
        if by == self.bank { 0 } else { self.transfer_fee + number(surcharge) }
    }

    fn enter(&mut self, entry: &Entry) -> Result<(), String> {
        let by = self.keys.last(entry.holder);
        match &entry.act {
            Act::Command { request, response } => self.command(entry.holder, by, request, response),
            Act::Message { ask, surcharge, answer } => match (&ask.body, answer) {
                (_, Answer::Fault { .. }) => Ok(()),
                (AskBody::Transfer { to, amount, .. }, Answer::Paid { fee, .. }) => {
                    if number(fee) != self.fee(by, surcharge) {
                        return Err(format!("{ask:?} cost {fee:?}"));
                    }
                    self.transfer(by, *to, amount, number(fee))
                }
                (AskBody::Query, Answer::Told { deposits, fee, .. }) => {
                    let free = deposits.as_slice().is_empty() || by == self.bank;
                    if !fee.is_zero() && (free || fee != surcharge) {
                        return Err(format!("a query cost {fee:?}"));
                    }
                    self.add(by, -number(fee));
                    self.add(self.bank, number(fee));
                    Ok(())
                }
                (body, answer) => Err(format!("{body:?} was answered with {answer:?}")),
            },
        }
    }

    fn command(
        &mut self,
        key: EntityId,
        by: EntityId,
        request: &Request,
        response: &Response,
    ) -> Result<(), String> {
        let bank = self.bank;
        let closed = || format!("a hold was closed that was not open: {request:?}");
        match (request, response) {
            (_, Response::Refused { .. })
            | (Request::AckDeposits { .. }, Response::Acked)
            // Its account is booked under its last key already.
            | (Request::Rotate { .. }, Response::Rotated { .. }) => Ok(()),
            (Request::Transfer { to, amount, fee_max, .. }, Response::Transferred { fee, .. }) => {
                if fee > fee_max {
                    return Err("a fee is over what was agreed to".to_owned());
                }
                self.transfer(by, *to, amount, number(fee))
            }
            (Request::Batch { steps, fee_max, .. }, Response::Batched { results, .. }) => {
                let fee = self.fee(by, &Amount::ZERO);
                let (steps, results) = (steps.as_slice(), results.as_slice());
                if fee > number(fee_max) || steps.len() != results.len() {
                    return Err(format!("{request:?} was answered with {response:?}"));
                }
                let mut rest = results;
                for chain in steps.chunk_by(|step, _| step.linked) {
                    let (results, after) = rest.split_at(chain.len());
                    self.chain(by, chain, results, fee)?;
                    rest = after;
                }
                Ok(())
            }
            (Request::Mint { to, amount, .. }, Response::Minted { .. }) if by == bank => {
                self.supply += number(amount);
                self.pay_in(*to, amount)
            }
            (Request::Redeem { amount, .. }, Response::Redeemed { .. }) if by == bank => {
                self.add(bank, -number(amount));
                self.supply -= number(amount);
                Ok(())
            }
            (Request::HoldOpen { payee, amount_max, expires, .. }, Response::HoldOpened { hold, .. }) => {
                let amount = number(amount_max);
                self.add(by, -amount);
                let payee = self.keys.last(*payee);
                let entered = Hold { signer: key, payer: by, payee, amount, expires: *expires };
                match self.holds.insert(*hold, entered) {
                    Some(_) => Err(format!("{hold} was opened twice")),
                    None => Ok(()),
                }
            }
            (Request::HoldPost { voucher, .. }, Response::HoldPosted { paid, returned }) => {
                let hold = self.holds.remove(&voucher.voucher.hold).ok_or_else(closed)?;
                let whole = number(paid) + number(returned) == hold.amount;
                if hold.payee != by || !whole || voucher.verify(hold.signer).is_err() {
                    return Err(format!("a hold was cashed wrongly: {request:?}"));
                }
                self.add(hold.payee, number(paid));
                self.add(hold.payer, number(returned));
                Ok(())
            }
            (Request::HoldPostWord { anchor, word, .. }, Response::HoldPosted { paid, returned }) => {
                let terms = &anchor.anchor;
                let hold = self.holds.remove(&terms.hold).ok_or_else(closed)?;
                let earned = number(&terms.base) + number(&terms.unit) * i128::from(word.index);
                let whole = number(paid) + number(returned) == hold.amount;
                let is_signed = anchor.verify(hold.signer).is_ok();
                if hold.payee != by || !whole || number(paid) != earned || !is_signed || !leads_to(word, &terms.root) {
                    return Err(format!("a word was cashed wrongly: {request:?}"));
                }
                self.add(hold.payee, number(paid));
                self.add(hold.payer, number(returned));
                Ok(())
            }
            (Request::HoldVoid { hold, .. }, Response::HoldVoided { .. }) => {
                let Hold { payer, payee, amount, .. } =
                    self.holds.remove(hold).ok_or_else(closed)?;
                self.add(payer, amount);
                match payee == by {
                    true => Ok(()),
                    false => Err(format!("{hold} was given up by a stranger")),
                }
            }
            (
                Request::Accept { balance_max, .. } | Request::AcceptAhead { balance_max, .. },
                Response::Accepted,
            )
            | (Request::AcceptAhead { balance_max, .. }, Response::AcceptedAhead { .. }) => {
                self.limits.insert(by, number(balance_max));
                Ok(())
            }
            (Request::Close { forfeit_max, .. }, Response::Closed { forfeited }) => {
                self.add(by, -number(forfeited));
                self.add(bank, number(forfeited));
                self.limits.remove(&by);
                let open = self.holds.values().any(|hold| hold.payer == by);
                match self.available[&by] == 0 && forfeited <= forfeit_max && !open {
                    true => Ok(()),
                    false => Err(format!("{by} was closed, and was not empty")),
                }
            }
            _ => Err(format!("{request:?} was answered with {response:?}")),
        }
    }

    /// One chain of a batch: all paid, or one refused and the others undone.
    fn chain(
        &mut self,
        by: EntityId,
        chain: &[Step],
        results: &[StepResult],
        fee: i128,
    ) -> Result<(), String> {
        let refused = |result: &&StepResult| matches!(result, StepResult::Refused { .. });
        let undone = |result: &&StepResult| **result == StepResult::Undone;
        let (refused, undone) =
            (results.iter().filter(refused).count(), results.iter().filter(undone).count());
        if (refused, undone) == (0, 0) {
            return chain.iter().try_for_each(|step| self.transfer(by, step.to, &step.amount, fee));
        }
        match (refused, undone) == (1, chain.len() - 1) {
            true => Ok(()),
            false => Err(format!("a chain was half done: {results:?}")),
        }
    }

    pub(super) fn compare(&self, issuer: &Issuer) -> Result<(), String> {
        let supply = i128::from(issuer.ledger().supply().get());
        if self.supply != supply {
            return Err(format!("the supply is {supply}, and should be {}", self.supply));
        }
        if let Some(hold) = self.holds.keys().next() {
            return Err(format!("{hold} is still open"));
        }
        let named: BTreeSet<EntityId> =
            self.available.keys().copied().chain(issuer.books().map(|(who, _)| who)).collect();
        for who in named {
            let account = issuer.ledger().account(who);
            let should = self.available.get(&who).copied().unwrap_or_default();
            if number(&account.available) != should || account.held != Amount::ZERO {
                return Err(format!("{who} has {account:?}, and should have {should}"));
            }
        }
        Ok(())
    }
}
