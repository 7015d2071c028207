//! Let a contract follow on another, with the same host: its shards stay where they are.
//!
//! ```text
//! pay what is due ──► prices ──► intend (saved; terms name the old contract) ──► hold ──► both sign ──► saved: the new one
//!                                        │                                                             is open in its place
//!                                        └── a crash: the next command asks the host whether it signed
//! ```
//!
//! The new contract begins when what is paid for under the old one ends, at the price of today, and pays nothing for
//! writing. A host that signed has moved the shards in the same moment; one that did not keeps them under the old.

mod used_up;

use crate::book::{Book, ContractRecord, Event, For, Stage};
use crate::delegate::not_dearer;
use crate::opening::{Blame, Offer, Opening, good_now};
use crate::session::offer_of;
use crate::{Agent, AgentError, Wallet};
use fondaco_contract::{ContractId, Ending, State, Tab};
use fondaco_crypto::EntityId;
use fondaco_ports::market::Reason;
use fondaco_reputation::Standing;
use fondaco_units::{Amount, Bytes, Duration, Timestamp};

/// A contract that was to be renewed.
#[derive(Debug)]
pub struct Renewal {
    /// Which.
    pub from: ContractId,
    /// With whom.
    pub provider: EntityId,
    /// The most that is held for it now, whatever came of it: a host that withholds its answer may have the new contract all the
    /// same, and what one refused is held until it expires. Only what was renewed goes off the budget of its command: the rest is
    /// [counted](Book::idle) by each command.
    pub held: Amount,
    /// What came of it.
    pub outcome: Result<Renewed, AgentError>,
}

impl Renewal {
    /// Returns the most that the contract that was opened may cost, if one was.
    pub fn opened(&self) -> Amount {
        self.outcome.as_ref().map_or(Amount::ZERO, |renewed| renewed.held)
    }
}

/// A contract that follows on another.
#[derive(Clone, Copy, Debug)]
pub struct Renewed {
    /// Which.
    pub to: ContractId,
    /// The most that it may cost, which is now held.
    pub held: Amount,
    /// When it ends.
    pub ends: Timestamp,
}

/// A renewal that is intended: what is still to be held, and signed.
#[derive(Debug)]
struct Begun {
    record: ContractRecord,
    given: Bytes,
    /// The account of the old one, and what was signed for.
    tab: Tab,
    authorised: Amount,
}

/// What is agreed to by a renewal.
#[derive(Clone, Copy, Debug)]
enum Span {
    /// So many epochs, at the prices of today.
    Epochs(u32),
    /// What was agreed to before: until the same end, an epoch at least, at prices that are not many times what they were. Also with
    /// a host that is warned: how else could it prove itself?
    AsAgreed,
}

impl Agent {
    /// Renews, for `epochs`, the open contracts that hold anything and end before `within` epochs have gone by; all that may
    /// cost at most `budget`. A host that was caught is not renewed with.
    pub async fn renew(
        &self,
        wallet: &Wallet,
        within: f64,
        epochs: u32,
        mut budget: Option<Amount>,
    ) -> Result<Vec<Renewal>, AgentError> {
        self.finish_renewals().await?;
        self.heed_budget(wallet, budget).await;
        let now = self.clock.now();
        let mut due: Vec<ContractRecord> = self.book.read(|book| {
            let due = due(book, now, within);
            let in_currency =
                due.filter(|record| record.terms.prices.currency == wallet.currency());
            in_currency.cloned().collect()
        });
        let opening = self.opening(wallet);
        let mut renewals = Vec::new();
        self.put_those_who_refused_last(&mut due);
        for old in due {
            let renewal = self.renew_one(&opening, &old, Span::Epochs(epochs), budget).await;
            budget = budget.map(|budget| budget.saturating_sub(renewal.opened()));
            renewals.push(renewal);
        }
        Ok(renewals)
    }

    /// What is held in vain for one contract must not be in the way of others.
    fn put_those_who_refused_last(&self, due: &mut [ContractRecord]) {
        let now = self.clock.now();
        self.book.read(|book| {
            due.sort_by_key(|old| {
                let from = Some(old.terms.id());
                book.idle_where(now, |record| record.terms.renews == from)
            });
        });
    }

    /// Sees that a contract is within what is left of a budget, if there is one.
    pub(crate) fn within(
        &self,
        budget: Option<Amount>,
        record: &ContractRecord,
    ) -> Result<(), AgentError> {
        let Some(budget) = budget else { return Ok(()) };
        let (contract, currency) = (record.terms.id(), record.terms.prices.currency);
        let now = self.clock.now();
        let chosen = [contract].into();
        let idle = self.book.read(|book| book.idle_beside(&chosen, For::Kept, currency, now));
        let left = budget.saturating_sub(idle);
        match record.hold_max <= left {
            true => Ok(()),
            false => Err(AgentError::OverBudget { wanted: record.hold_max, left, idle }),
        }
    }

    /// Returns whether there is a contract that [`Agent::renew`] would renew.
    pub fn any_ends_within(&self, within: f64) -> bool {
        let now = self.clock.now();
        self.book.read(|book| due(book, now, within).next().is_some())
    }

    /// Returns the open contracts, of those that end before `within` epochs have gone by and that something lies under, which are
    /// not renewed because their hosts were caught.
    pub fn caught_within(&self, within: f64) -> Vec<ContractRecord> {
        let now = self.clock.now();
        self.book.read(|book| {
            let holding = book.holding();
            let ending = ending(book, now, within).filter(|record| {
                let provider = record.terms.prices.provider;
                holding.contains(&record.terms.id()) && book.distrusted(provider).is_some()
            });
            ending.cloned().collect()
        })
    }

    async fn renew_one(
        &self,
        opening: &Opening<'_>,
        old: &ContractRecord,
        span: Span,
        budget: Option<Amount>,
    ) -> Renewal {
        let (from, provider) = (old.terms.id(), old.terms.prices.provider);
        let (held, outcome) = match self.begin_renewal(opening, old, span, budget).await {
            Ok(begun) => {
                let outcome = self.sign_renewal(opening, from, &begun).await;
                // Also one of an earlier run, which may be held only now.
                let to = begun.record.terms.id();
                (self.book.read(|book| book.held_for(to, self.clock.now())), outcome)
            }
            Err(error) => (Amount::ZERO, Err(error)),
        };
        Renewal { from, provider, held, outcome }
    }

    /// Finds out what is to be signed, within the budget; nothing is held yet.
    async fn begin_renewal(
        &self,
        opening: &Opening<'_>,
        old: &ContractRecord,
        span: Span,
        budget: Option<Amount>,
    ) -> Result<Begun, AgentError> {
        let from = old.terms.id();
        let provider = old.terms.prices.provider;
        let given = self.book.read(|book| book.given(from));
        let session = self.book.read(|book| self.session_in(book, from, old));
        // One that was begun and came to nothing is taken up while the host may still sign it.
        let begun =
            self.book.read(|book| book.renewals(from).first().map(|&record| record.clone()));
        let begun = begun.filter(|record| opening.now < record.terms.prices.expires);
        let begins = begun.as_ref().map(|record| record.terms.begins);
        let (tab, authorised, state) = session.before_renewal(begins).await?;
        if let Some(why) = state.why() {
            let reason = Reason::Ended { why };
            return Err(AgentError::Provider { provider, reason });
        }
        if let State::Ending { at } = state {
            let reason = Reason::Leaving { at };
            return Err(AgentError::Provider { provider, reason });
        }
        // If it begins earlier than what is paid for ends, an epoch would be paid twice.
        let paid_until = old.terms.paid_until(tab.epochs_paid);
        let record = match begun.filter(|record| record.terms.begins == paid_until) {
            Some(record) => record,
            None => {
                let list = offer_of(&self.finder, &old.address).await?;
                let refused = |what| AgentError::Misanswer { peer: provider, what };
                good_now(&list, opening.now).map_err(refused)?;
                let begins = paid_until;
                let (epochs, worst) = match span {
                    Span::Epochs(epochs) => (epochs, Standing::Good),
                    Span::AsAgreed => {
                        not_dearer(&list.prices, &old.terms.prices)?;
                        let left = old.terms.ends.since(begins).div_ceil(list.prices.epoch);
                        (u32::try_from(left).unwrap_or(u32::MAX).max(1), Standing::Warn)
                    }
                };
                // What it would refuse must not cost a hold.
                let list = opening.fits_as(provider, list, epochs, worst).map_err(refused)?;
                let offer =
                    Offer { address: self.finder.now_at(&old.address), list, operator: None };
                let renews = Some((from, begins));
                opening.intend(&offer, old.terms.size_max, epochs, renews, given)?
            }
        };
        self.within(budget, &record)?;
        Ok(Begun { record, given, tab, authorised })
    }

    async fn sign_renewal(
        &self,
        opening: &Opening<'_>,
        from: ContractId,
        begun: &Begun,
    ) -> Result<Renewed, AgentError> {
        let Begun { record, given, tab, authorised } = begun;
        match opening.secure_hold(record).await {
            Ok(()) => {}
            Err(Blame::Host(error) | Blame::Other(error)) => return Err(error),
        }
        let signed = self.session(record, *given).renew(tab.stored).await;
        if let Err(AgentError::Provider { reason, .. }) = &signed
            && !reason.is_transient()
        {
            opening.give_up(record.terms.id())?;
        }
        let (provider_signature, tab) = signed?;
        self.note_renewed(from, tab, *authorised, record, provider_signature)
    }

    fn note_renewed(
        &self,
        from: ContractId,
        tab: Tab,
        paid: Amount,
        record: &ContractRecord,
        provider_signature: fondaco_crypto::Signature,
    ) -> Result<Renewed, AgentError> {
        let to = record.terms.id();
        let event = Event::ContractRenewed { from, tab, paid, to, provider_signature };
        self.book.record(&event)?;
        Ok(Renewed { to, held: record.hold_max, ends: record.terms.ends })
    }

    /// Asks the hosts of renewals that a crash cut off whether they signed, and writes down those that did. Hosts that
    /// cannot be reached are asked by the next command.
    pub async fn finish_renewals(&self) -> Result<(), AgentError> {
        let begun: Vec<(ContractRecord, Vec<ContractRecord>)> = self.book.read(|book| {
            let open = book.contracts().filter(|(_, record)| record.stage == Stage::Open);
            let with = open.map(|(id, record)| {
                let renewals = book.renewals(id).into_iter().cloned().collect::<Vec<_>>();
                (record.clone(), renewals)
            });
            with.filter(|(_, renewals)| !renewals.is_empty()).collect()
        });
        for (old, renewals) in begun {
            let from = old.terms.id();
            let given = self.book.read(|book| book.given(from));
            let session = self.session(&old, given);
            let Ok((_, paid)) = session.standing().await else { continue };
            if session.stands().await.and_then(|state| state.why()) != Some(Ending::Renewed) {
                continue;
            }
            for record in renewals {
                // A host that signed gives its signature again; another answer means that it signed the next.
                if let Ok((signature, tab)) = self.session(&record, given).renew(Bytes::ZERO).await
                {
                    self.note_renewed(from, tab, paid, &record, signature)?;
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Returns the contracts of [`ending`] that are renewed: those with hosts that were not caught.
fn due(book: &Book, now: Timestamp, within: f64) -> impl Iterator<Item = &ContractRecord> {
    ending(book, now, within)
        .filter(|record| book.distrusted(record.terms.prices.provider).is_none())
}

/// Returns the open contracts that hold anything, and end before `within` of their epochs have gone by.
fn ending(book: &Book, now: Timestamp, within: f64) -> impl Iterator<Item = &ContractRecord> {
    let ends_soon = move |record: &ContractRecord| {
        let epoch = record.terms.prices.epoch.milliseconds();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let span = (epoch as f64 * within.max(0.0)) as u64; // saturates
        record.terms.ends <= now.after(Duration::from_milliseconds(span))
    };
    let is_due = move |(id, record): &(ContractId, &ContractRecord)| {
        record.stage == Stage::Open
            && record.terms.ends > now
            && book.given(*id) > Bytes::ZERO
            && ends_soon(record)
    };
    book.contracts().filter(is_due).map(|(_, record)| record)
}
