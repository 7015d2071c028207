//! Books kept by hand, and what must be true of a run at its end.
//!
//! Nothing here uses the ledger's code: money is a table of signed numbers.

use std::collections::{BTreeMap, BTreeSet};

use fondaco_crypto::EntityId;
use fondaco_lcp::{Deposit, Issuer, Outbox, Request, RequestId, Response};
use fondaco_ledger::HoldId;
use fondaco_units::{Amount, Timestamp};

use super::Report;

/// A command that the issuer recorded, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, by the time of the books.
    pub at: Timestamp,
    /// Who asked.
    pub holder: EntityId,
    /// What.
    pub request: Request,
    /// What was answered.
    pub response: Response,
}

impl Entry {
    /// Returns who was paid by whom, how much, and for which order as far as it was told in words.
    pub fn deposit(&self) -> Option<(EntityId, Option<EntityId>, Amount, Option<&str>)> {
        match (&self.request, &self.response) {
            (Request::Transfer { to, amount, order, .. }, Response::Transferred { .. }) => {
                Some((*to, Some(self.holder), *amount, Some(order.as_str())))
            }
            (Request::Mint { to, amount, .. }, Response::Minted { .. }) => {
                Some((*to, None, *amount, None))
            }
            (Request::HoldPost { .. }, Response::HoldPosted { paid, .. }) => {
                Some((self.holder, None, *paid, None))
            }
            _ => None,
        }
    }
}

/// What an honest holder has on its disk at the end.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// Who.
    pub entity: EntityId,
    /// Its commands.
    pub outbox: &'a Outbox,
    /// What it learnt of deposits.
    pub deposits: &'a [Deposit],
    /// Every command that it ever thought of.
    pub ids: &'a BTreeSet<RequestId>,
}

/// Checks the end of a run: the issuer's log of what it did, its state, and what the holders know.
///
/// # Errors
///
/// What is not as it must be.
pub fn check(
    now: Timestamp,
    issuer: &Issuer,
    log: &[Entry],
    holders: &[Holder<'_>],
) -> Result<Report, String> {
    issuer.check().map_err(|imbalance| imbalance.to_string())?;
    once(log)?;
    let books = Books::of(log, issuer)?;
    books.compare(issuer)?;
    for holder in holders {
        outcomes(now, issuer, log, holder)?;
        deposits(log, holder)?;
    }
    let refused = |entry: &&Entry| matches!(entry.response, Response::Refused { .. });
    let refused = log.iter().filter(refused).count() as u64;
    let posted = |entry: &&Entry| matches!(entry.response, Response::HoldPosted { .. });
    Ok(Report {
        executed: log.len() as u64 - refused,
        refused,
        posted: log.iter().filter(posted).count() as u64,
        crashes: 0,
    })
}

/// No command was taken up twice.
fn once(log: &[Entry]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for entry in log {
        let id = entry.request.id().ok_or("a query was recorded")?;
        if !seen.insert((entry.holder, id)) {
            return Err(format!("{id} was executed twice"));
        }
    }
    Ok(())
}

/// Every command that a holder saved has an outcome, which is the issuer's; and the other way round.
fn outcomes(
    now: Timestamp,
    issuer: &Issuer,
    log: &[Entry],
    holder: &Holder<'_>,
) -> Result<(), String> {
    if let Some((id, _)) = holder.outbox.pending().next() {
        return Err(format!("{id} was never answered"));
    }
    let mut asked = issuer.clone();
    for id in holder.ids {
        let Some(request) = holder.outbox.request(*id) else { continue };
        let told = holder.outbox.outcome(*id).ok_or_else(|| format!("{id} has no outcome"))?;
        let handled = asked.handle(now, holder.entity, request);
        if handled.record.is_some() {
            return Err(format!("{id} was answered, and the issuer does not know it"));
        }
        if handled.response != *told {
            return Err(format!("{id} has one outcome for its holder and another for the issuer"));
        }
    }
    for entry in log.iter().filter(|entry| entry.holder == holder.entity) {
        let Some(id) = entry.request.id() else { continue };
        if holder.outbox.outcome(id) != Some(&entry.response) {
            return Err(format!("{id} was executed, and its holder does not know it"));
        }
    }
    Ok(())
}

/// A holder has learnt of each payment once, in order, and of nothing else.
fn deposits(log: &[Entry], holder: &Holder<'_>) -> Result<(), String> {
    let paid = log.iter().filter_map(Entry::deposit).filter(|(to, ..)| *to == holder.entity);
    let paid: Vec<_> = paid.collect();
    if paid.len() != holder.deposits.len() {
        let (paid, known) = (paid.len(), holder.deposits.len());
        return Err(format!("{} was paid {paid} times and knows of {known}", holder.entity));
    }
    let mut orders = BTreeSet::new();
    for (place, ((_, payer, amount, order), deposit)) in
        paid.iter().zip(holder.deposits).enumerate()
    {
        let same = deposit.number == place as u64 + 1
            && deposit.amount == *amount
            && (payer.is_none() || deposit.payer == *payer)
            && order.is_none_or(|order| deposit.order.as_str() == order);
        if !same {
            return Err(format!("{} was told of another payment: {deposit:?}", holder.entity));
        }
        // An honest payer has one order for one payment.
        if order.is_some_and(|order| order.starts_with("request:") && !orders.insert(order)) {
            return Err(format!("{} was paid twice for {order:?}", holder.entity));
        }
    }
    Ok(())
}

/// The books by hand.
#[derive(Default)]
struct Books {
    available: BTreeMap<EntityId, i128>,
    /// Payer, payee, amount and expiry of the open holds.
    holds: BTreeMap<HoldId, (EntityId, EntityId, i128, Timestamp)>,
    supply: i128,
}

impl Books {
    fn of(log: &[Entry], issuer: &Issuer) -> Result<Self, String> {
        let mut books = Self::default();
        let bank = issuer.currency().id.issuer();
        for entry in log {
            books.expire(entry.at);
            books.enter(entry, bank)?;
            if let Some((who, _)) = books.available.iter().find(|(_, amount)| **amount < 0) {
                return Err(format!("{who} has spent what it had not: {:?}", entry.request));
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
            self.holds.iter().filter(|(_, hold)| hold.3 <= now).map(|(id, _)| *id).collect();
        for id in due {
            if let Some((payer, _, amount, _)) = self.holds.remove(&id) {
                self.add(payer, amount);
            }
        }
    }

    fn enter(&mut self, entry: &Entry, bank: EntityId) -> Result<(), String> {
        let by = entry.holder;
        let number = |amount: &Amount| i128::from(amount.get());
        let closed = || format!("a hold was closed that was not open: {:?}", entry.request);
        match (&entry.request, &entry.response) {
            (_, Response::Refused { .. }) | (Request::AckDeposits { .. }, Response::Acked) => {}
            (Request::Transfer { to, amount, fee_max, .. }, Response::Transferred { fee, .. }) => {
                if fee > fee_max {
                    return Err("a fee is over what was agreed to".to_owned());
                }
                self.add(by, -number(amount) - number(fee));
                self.add(*to, number(amount));
                self.add(bank, number(fee));
            }
            (Request::Mint { to, amount, .. }, Response::Minted { .. }) if by == bank => {
                self.add(*to, number(amount));
                self.supply += number(amount);
            }
            (Request::Redeem { amount, .. }, Response::Redeemed { .. }) if by == bank => {
                self.add(bank, -number(amount));
                self.supply -= number(amount);
            }
            (
                Request::HoldOpen { payee, amount_max, expires, .. },
                Response::HoldOpened { hold, .. },
            ) => {
                self.add(by, -number(amount_max));
                let entered = (by, *payee, number(amount_max), *expires);
                if self.holds.insert(*hold, entered).is_some() {
                    return Err(format!("{hold} was opened twice"));
                }
            }
            (Request::HoldPost { voucher, .. }, Response::HoldPosted { paid, returned }) => {
                let hold = self.holds.remove(&voucher.voucher.hold).ok_or_else(closed)?;
                let (payer, payee, amount, _) = hold;
                let whole = number(paid) + number(returned) == amount;
                if payee != by || !whole || voucher.verify(payer).is_err() {
                    return Err(format!("a hold was cashed wrongly: {:?}", entry.request));
                }
                self.add(payee, number(paid));
                self.add(payer, number(returned));
            }
            (Request::HoldVoid { hold, .. }, Response::HoldVoided { .. }) => {
                let (payer, payee, amount, _) = self.holds.remove(hold).ok_or_else(closed)?;
                if payee != by {
                    return Err(format!("{hold} was given up by a stranger"));
                }
                self.add(payer, amount);
            }
            (request, response) => {
                return Err(format!("{request:?} was answered with {response:?}"));
            }
        }
        Ok(())
    }

    fn compare(&self, issuer: &Issuer) -> Result<(), String> {
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
            if i128::from(account.available.get()) != should || account.held != Amount::ZERO {
                return Err(format!("{who} has {account:?}, and should have {should}"));
            }
        }
        Ok(())
    }
}
