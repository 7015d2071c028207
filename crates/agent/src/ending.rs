//! Write down how contracts end: when and why, what was used, and what that paid.
//!
//! ```text
//! we close it ──► the host's last account and payment ─────┐
//! a host says that it is over ──► asked once more how ──────┼──► ContractOver ──► the issuer asked ──► HoldClosed
//! it was never signed by both ──► nothing used, nothing paid ┘
//! ```
//!
//! A host may say nothing more of a contract that it has forgotten. Then the account is what this process saw last, if it
//! saw one, and what was paid is the issuer's to say: it keeps every hold.

use crate::book::{Book, ContractRecord, End, Event, For, Stage};
use crate::opening::open_by;
use crate::session::{Closed, Session};
use crate::{Agent, AgentError, BookFile, Wallet};
use fondaco_contract::{ContractId, Ending, SKEW_MAX, State, Tab};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_lcp::{Refusal, Request, Response};
use fondaco_ledger::{HoldId, HoldState, Refusal as Refused};
use fondaco_ports::market::Reason;
use fondaco_units::Amount;
use std::sync::Arc;

/// How many holds are asked about by one command.
const HOLDS_AT_ONCE: usize = 512;

/// Returns why a contract is over, if that is what its host says.
pub(crate) const fn over(error: &AgentError) -> Option<Ending> {
    match error {
        AgentError::Provider { reason: Reason::Ended { why }, .. } => Some(*why),
        _ => None,
    }
}

/// Writes down a contract that was closed, or that had ended before that.
pub(crate) fn note_closed(
    book: &BookFile,
    session: &Session,
    closed: Closed,
) -> Result<(), AgentError> {
    let Closed { tab, paid, state } = closed;
    let kept = is_kept(&state, session) || state.why() == Some(Ending::Closed);
    let (contract, tab, paid) = (session.contract(), Some(tab), Some(paid));
    book.record(&Event::ContractOver { contract, state, tab, paid, kept })
}

/// Writes down a contract of which its host says that it is over: all that the host or this process knows of it.
pub(crate) async fn note_over(
    book: &BookFile,
    session: &Session,
    why: Ending,
) -> Result<(), AgentError> {
    let End { state, tab, paid, .. } = session.last_word(why).await;
    let state = state.unwrap_or_else(|| State::ended(session.now(), why));
    let contract = session.contract();
    let is_open =
        |book: &Book| book.contract(contract).is_some_and(|record| record.stage == Stage::Open);
    if !book.read(is_open) {
        return Ok(()); // Another read of the same host has heard it meanwhile.
    }
    let kept = is_kept(&state, session);
    book.record(&Event::ContractOver { contract, state, tab, paid, kept })
}

/// Whether a contract went on to its end; that its host says so earlier earns it nothing.
fn is_kept(state: &State, session: &Session) -> bool {
    state.why() == Some(Ending::Over) && session.ends() <= session.now()
}

impl Agent {
    /// Ends every open contract: the host posts its voucher and may delete what it kept. Returns what each pays; nothing of one
    /// that was over, and whose host does not say any more.
    pub async fn end_contracts(&self) -> Vec<(ContractId, Result<Option<Amount>, AgentError>)> {
        let mut ending = tokio::task::JoinSet::new();
        for (contract, session) in self.sessions() {
            let book = Arc::clone(self.book());
            ending.spawn(async move {
                let ended = match session.close().await {
                    Ok(closed) => note_closed(&book, &session, closed).map(|()| Some(closed.paid)),
                    Err(error) => match over(&error) {
                        Some(why) => note_over(&book, &session, why).await.map(|()| None),
                        None => Err(error),
                    },
                };
                (contract, ended)
            });
        }
        let mut ended = ending.join_all().await;
        ended.sort_by_key(|(contract, _)| *contract);
        ended
    }

    /// Returns the most that is held in the currency of an issuer for contracts that were to be for this and did not come about.
    pub fn idle(&self, of: For, issuer: EntityId) -> Amount {
        let (currency, now) = (CurrencyId::issued_by(issuer), self.clock.now());
        self.book().read(|book| book.idle(of, currency, now))
    }

    /// Sees, where there is a budget, that only what is held yet counts against it: asks the issuer about holds of contracts that
    /// did not come about. An issuer that does not answer leaves them counted.
    pub(crate) async fn heed_budget(&self, wallet: &Wallet, budget: Option<Amount>) {
        let (currency, now) = (wallet.currency(), self.clock.now());
        let is_so = |record: &ContractRecord| record.terms.prices.currency == currency;
        let idle = || self.book().read(|book| book.idle_where(now, is_so));
        if budget.is_none() || idle().is_zero() {
            return;
        }
        let asked = async {
            self.give_up_without_hold(wallet).await?;
            self.ask_holds(wallet).await
        };
        if let Err(error) = asked.await {
            tracing::info!(%error, "it is not known which holds are there yet");
        }
    }

    /// Gives up what was intended and never came to a hold, which cannot be opened any more.
    async fn give_up_without_hold(&self, wallet: &Wallet) -> Result<(), AgentError> {
        let (currency, now) = (wallet.currency(), self.clock.now());
        let late: Vec<(ContractId, HoldId)> = self.book().read(|book| {
            let late = book.contracts().filter(|(_, record)| {
                let until = open_by(record.hold_request).after(SKEW_MAX);
                let is_late = record.stage == Stage::Intended && until < now;
                is_late && record.terms.prices.currency == currency
            });
            late.take(HOLDS_AT_ONCE).map(|(id, record)| (id, record.hold())).collect()
        });
        for (contract, hold) in late {
            match wallet.ask(&Request::HoldInfo { hold }).await {
                Err(AgentError::Issuer(Refusal::Ledger {
                    refusal: Refused::UnknownHold { .. },
                })) => {}
                Ok(_) | Err(AgentError::Issuer(_)) => continue,
                // It would be the same for each of the others.
                Err(error) => return Err(error),
            }
            let state = State::Cancelled { at: now };
            let (tab, paid) = (Some(Tab::default()), Some(Amount::ZERO));
            self.book().record_all(&[
                Event::ContractOver { contract, state, tab, paid, kept: false },
                Event::HoldClosed { contract, paid: Amount::ZERO },
            ])?;
        }
        Ok(())
    }

    /// Asks the issuer what the holds of contracts that are over have paid, and writes it down; one whose voucher its host
    /// has not posted yet is asked about by the next command. Returns how many were learnt.
    ///
    /// # Errors
    ///
    /// The issuer cannot be reached; or the journal failed.
    pub async fn ask_holds(&self, wallet: &Wallet) -> Result<usize, AgentError> {
        let unsettled: Vec<(ContractId, HoldId, bool)> = self.book().read(|book| {
            let of = book.contracts().filter(|(_, record)| {
                record.terms.prices.currency == wallet.currency()
                    && matches!(record.stage, Stage::Ended(end) if !end.settled)
            });
            of.take(HOLDS_AT_ONCE)
                .map(|(id, record)| (id, record.hold(), is_cancelled(record)))
                .collect()
        });
        let mut learnt = 0;
        for (contract, hold, is_cancelled) in unsettled {
            let paid = match wallet.ask(&Request::HoldInfo { hold }).await {
                Ok(Response::HoldInfo { info }) => match info.state {
                    HoldState::Posted { paid } => paid,
                    HoldState::Voided | HoldState::Expired => Amount::ZERO,
                    HoldState::Open => continue,
                },
                // Its hold was never asked for.
                Err(AgentError::Issuer(Refusal::Ledger {
                    refusal: Refused::UnknownHold { .. },
                })) if is_cancelled => Amount::ZERO,
                Ok(_) | Err(AgentError::Issuer(_)) => continue,
                Err(error) => return Err(error),
            };
            self.book().record(&Event::HoldClosed { contract, paid })?;
            learnt += 1;
        }
        Ok(learnt)
    }
}

fn is_cancelled(record: &ContractRecord) -> bool {
    matches!(record.stage, Stage::Ended(End { state: Some(State::Cancelled { .. }), .. }))
}
