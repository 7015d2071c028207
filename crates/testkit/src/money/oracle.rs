//! Books kept by hand, and what must be true of a run at its end.
//!
//! Nothing here uses the ledger's code: money is a table of signed numbers.

mod books;

use std::collections::{BTreeMap, BTreeSet};

use fondaco_crypto::EntityId;
use fondaco_lcp::{
    Deposit, Issuer, Outbox, Refusal, Request, RequestId, Response, Step, StepResult,
    classic::{Answer, Ask, AskBody},
};
use fondaco_units::{Amount, Timestamp};

use super::Report;
use books::Books;

/// What the issuer recorded, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, by the time of the books.
    pub at: Timestamp,
    /// Who asked, by the key of that time.
    pub holder: EntityId,
    /// What was asked and answered.
    pub act: Act,
}

/// What was asked and answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most are commands")]
pub enum Act {
    /// A command.
    Command {
        /// What.
        request: Request,
        /// What was answered.
        response: Response,
    },
    /// A message of 2003.
    Message {
        /// What.
        ask: Ask,
        /// What it was to cost beside the fee.
        surcharge: Amount,
        /// What was answered.
        answer: Answer,
    },
}

/// Somebody was paid.
struct Paid<'a> {
    to: EntityId,
    /// Who paid, where the entry tells it.
    payer: Option<EntityId>,
    amount: Amount,
    /// What for, where it was told in words.
    order: Option<&'a str>,
}

impl Entry {
    /// Returns the keys that were paid, once for each payment.
    pub(super) fn payees(&self) -> impl Iterator<Item = EntityId> + '_ {
        self.paid().into_iter().map(|paid| paid.to)
    }

    fn paid(&self) -> Vec<Paid<'_>> {
        let by = self.holder;
        let one = |to, payer, amount, order| vec![Paid { to, payer, amount, order }];
        match &self.act {
            Act::Command { request, response } => match (request, response) {
                (Request::Transfer { to, amount, order, .. }, Response::Transferred { .. }) => {
                    one(*to, Some(by), *amount, Some(order.as_str()))
                }
                (Request::Mint { to, amount, .. }, Response::Minted { .. }) => {
                    one(*to, None, *amount, None)
                }
                (
                    Request::HoldPost { .. } | Request::HoldPostWord { .. },
                    Response::HoldPosted { paid, .. },
                ) => one(by, None, *paid, None),
                (Request::Batch { steps, .. }, Response::Batched { results, .. }) => {
                    let steps = steps.as_slice().iter().zip(results.as_slice());
                    let paid = steps.filter(|(_, result)| **result == StepResult::Paid);
                    let paid = paid.map(|(step, _)| {
                        let Step { to, amount, order, .. } = step;
                        Paid {
                            to: *to,
                            payer: Some(by),
                            amount: *amount,
                            order: Some(order.as_str()),
                        }
                    });
                    paid.collect()
                }
                _ => Vec::new(),
            },
            Act::Message { ask, answer, .. } => match (&ask.body, answer) {
                (AskBody::Transfer { to, amount, order }, Answer::Paid { .. }) => {
                    one(*to, Some(by), *amount, Some(order.as_str()))
                }
                _ => Vec::new(),
            },
        }
    }

    fn is_refused(&self) -> bool {
        match &self.act {
            Act::Command { response, .. } => matches!(response, Response::Refused { .. }),
            Act::Message { answer, .. } => matches!(answer, Answer::Fault { .. }),
        }
    }
}

/// What an honest holder has on its disk at the end.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// Who, by its first key.
    pub entity: EntityId,
    /// Its commands.
    pub outbox: &'a Outbox,
    /// What it learnt of deposits.
    pub deposits: &'a [Deposit],
    /// Every command that it ever thought of.
    pub ids: &'a BTreeSet<RequestId>,
}

/// What a client of 2003 knows at the end.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// Who.
    pub entity: EntityId,
    /// What it asked and was answered, in order.
    pub settled: &'a [(Ask, Answer)],
    /// What it was told of deposits, by number.
    pub deposits: &'a BTreeMap<u64, Deposit>,
}

/// Which key became which.
#[derive(Default)]
struct Keys(BTreeMap<EntityId, EntityId>);

impl Keys {
    fn of(log: &[Entry]) -> Self {
        let changed = log.iter().filter_map(|entry| match &entry.act {
            Act::Command { response: Response::Rotated { to }, .. } => Some((entry.holder, *to)),
            Act::Command { .. } | Act::Message { .. } => None,
        });
        Self(changed.collect())
    }

    /// The last key of whoever ever had this one.
    fn last(&self, mut key: EntityId) -> EntityId {
        while let Some(next) = self.0.get(&key) {
            key = *next;
        }
        key
    }
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
    clients: &[Client<'_>],
) -> Result<Report, String> {
    issuer.check().map_err(|imbalance| imbalance.to_string())?;
    let keys = Keys::of(log);
    once(log, &keys)?;
    Books::of(log, issuer, &keys)?.compare(issuer)?;
    let mut asked = issuer.clone();
    let mut devices = BTreeMap::<EntityId, Vec<&Holder<'_>>>::new();
    for holder in holders {
        devices.entry(holder.entity).or_default().push(holder);
    }
    for (entity, devices) in &devices {
        outcomes(now, &mut asked, log, &keys, devices)?;
        let learnt = together(devices)?;
        deposits(log, &keys, *entity, learnt.into_values())?;
    }
    for client in clients {
        messages(log, client)?;
        deposits(log, &keys, client.entity, client.deposits.values())?;
    }
    let refused = log.iter().filter(|entry| entry.is_refused()).count() as u64;
    let mut report = Report { executed: log.len() as u64 - refused, refused, ..Report::default() };
    for entry in log {
        match &entry.act {
            Act::Message { .. } => report.messages += 1,
            Act::Command {
                request: Request::HoldPostWord { .. },
                response: Response::HoldPosted { .. },
            } => report.words += 1,
            Act::Command { response: Response::HoldPosted { .. }, .. } => report.posted += 1,
            Act::Command {
                response: Response::Rotated { .. } | Response::Closed { .. }, ..
            } => {
                report.changed += 1;
            }
            Act::Command { request: Request::Batch { steps, .. }, .. } => {
                let chains = steps.as_slice().chunk_by(|step, _| step.linked);
                report.chains += chains.filter(|chain| chain.len() > 1).count() as u64;
            }
            Act::Command { .. } => {}
        }
    }
    Ok(report)
}

/// No command was taken up twice.
fn once(log: &[Entry], keys: &Keys) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for entry in log {
        let Act::Command { request, .. } = &entry.act else { continue };
        let id = request.id().ok_or("a query was recorded")?;
        if !seen.insert((keys.last(entry.holder), id)) {
            return Err(format!("{id} was executed twice"));
        }
    }
    Ok(())
}

/// What the devices of a holder have learnt of deposits, all together; what two of them know is the same.
fn together<'a>(devices: &[&Holder<'a>]) -> Result<BTreeMap<u64, &'a Deposit>, String> {
    let mut learnt = BTreeMap::new();
    for device in devices {
        for deposit in device.deposits {
            if *learnt.entry(deposit.number).or_insert(deposit) != deposit {
                return Err(format!("{} was told two stories", device.entity));
            }
        }
    }
    Ok(learnt)
}

/// Every command that a holder's device saved has an outcome, which is the issuer's; and the other way round.
fn outcomes(
    now: Timestamp,
    asked: &mut Issuer,
    log: &[Entry],
    keys: &Keys,
    devices: &[&Holder<'_>],
) -> Result<(), String> {
    if let Some((id, _)) = devices.iter().find_map(|device| device.outbox.pending().next()) {
        return Err(format!("{id} was never answered"));
    }
    let Some(entity) = devices.first().map(|device| keys.last(device.entity)) else {
        return Ok(());
    };
    let mut done = BTreeMap::new();
    for entry in log.iter().filter(|entry| keys.last(entry.holder) == entity) {
        let Act::Command { request, response } = &entry.act else { continue };
        let Some(id) = request.id() else { continue };
        if !devices.iter().any(|device| device.outbox.outcome(id) == Some(response)) {
            return Err(format!("{id} was executed, and its holder does not know it"));
        }
        done.insert(id, response);
    }
    for (outbox, id) in
        devices.iter().flat_map(|device| device.ids.iter().map(|id| (device.outbox, id)))
    {
        let Some(request) = outbox.request(*id) else { continue };
        let told = outbox.outcome(*id).ok_or_else(|| format!("{id} has no outcome"))?;
        let handled = asked.handle(now, entity, request);
        if handled.record.is_some() {
            return Err(format!("{id} was answered, and the issuer does not know it"));
        }
        match (&handled.response, done.get(id)) {
            (Response::Refused { refusal: Refusal::Forgotten { .. } }, Some(_)) => {}
            // Nothing was done, and never will be.
            (Response::Refused { refusal: Refusal::Forgotten { .. } }, None)
                if matches!(told, Response::Refused { refusal: Refusal::Outdated }) => {}
            (response, Some(_)) if response == told => {}
            _ => {
                let what = "has one outcome for its holder and another for the issuer";
                return Err(format!("{id} {what}"));
            }
        }
    }
    Ok(())
}

/// Each message of a client was taken up once, in order, and its answer is what the client was told.
fn messages(log: &[Entry], client: &Client<'_>) -> Result<(), String> {
    let taken = log.iter().filter(|entry| entry.holder == client.entity);
    let taken = taken.filter_map(|entry| match &entry.act {
        Act::Message { ask, answer, .. } => Some((ask, answer)),
        Act::Command { .. } => None,
    });
    let settled = client.settled.iter().map(|(ask, answer)| (ask, answer));
    if !taken.clone().map(|(ask, _)| ask).eq(settled.clone().map(|(ask, _)| ask)) {
        let (taken, settled) = (taken.count(), client.settled.len());
        return Err(format!("a client sent {settled} messages, and {taken} were done"));
    }
    match taken.zip(settled).find(|(done, told)| done.1 != told.1) {
        Some(((ask, _), _)) => Err(format!("a client was told another answer to {ask:?}")),
        None => Ok(()),
    }
}

/// A holder has learnt of each payment, in order, and of nothing else.
fn deposits<'a>(
    log: &[Entry],
    keys: &Keys,
    entity: EntityId,
    known: impl ExactSizeIterator<Item = &'a Deposit>,
) -> Result<(), String> {
    let entity = keys.last(entity);
    let paid = log.iter().flat_map(Entry::paid).filter(|paid| keys.last(paid.to) == entity);
    let paid: Vec<_> = paid.collect();
    if paid.len() != known.len() {
        let (paid, known) = (paid.len(), known.len());
        return Err(format!("{entity} was paid {paid} times and knows of {known}"));
    }
    let mut orders = BTreeSet::new();
    for (place, (Paid { payer, amount, order, .. }, deposit)) in paid.iter().zip(known).enumerate()
    {
        let same = deposit.number == place as u64 + 1
            && deposit.amount == *amount
            && (payer.is_none() || deposit.payer == *payer)
            && order.is_none_or(|order| deposit.order.as_str() == order);
        if !same {
            return Err(format!("{entity} was told of another payment: {deposit:?}"));
        }
        // An honest payer has one order for one payment.
        let is_honest =
            |order: &&str| order.starts_with("request:") || order.starts_with("client:");
        if order.filter(is_honest).is_some_and(|order| !orders.insert(order)) {
            return Err(format!("{entity} was paid twice for {order:?}"));
        }
    }
    Ok(())
}
