//! The holder's machine: commands that are saved before they are sent, and kept until answered.
//!
//! ```text
//! prepare ──► Pending ──┬── settle with an answer, or a refusal that is remembered ──► Settled ──► tell: its owner knows
//!                       ├── rotate: it was sent once, and only after its key was gone ──► Settled, as refused
//!                       └── nothing heard, or a transient refusal: still pending; send it again
//! ```
//!
//! A payment whose outcome its owner was not told yet, since the program ended in between, is found by
//! [`Outbox::untold`]: whoever asks for the same again means this one.
//!
//! Of those that are settled the newest [`SETTLED_MAX`] are kept. One that is forgotten and prepared again is sent again,
//! and the issuer gives its first answer.

use crate::{PENDING_MAX, Refusal, Request, RequestId, Response, SETTLED_MAX, Step, StepResult};
use fondaco_codec::{Decode, DecodeError, Encode, Reader, Text, choice};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_ledger::HoldId;
use fondaco_units::Amount;
use std::collections::{BTreeMap, VecDeque};

const OUTBOX_VERSION: u8 = 2;

/// What a holder has asked of one issuer, and what became of it.
///
/// After a crash, `replay` each saved record, in order, into a new one; then send all that is pending again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    currency: CurrencyId,
    /// The holder's key, and those that it has asked to have instead.
    keys: Vec<EntityId>,
    intents: BTreeMap<RequestId, Intent>,
    /// Those that are pending, by the order of their preparation.
    pending: BTreeMap<u64, RequestId>,
    /// Those that are settled, the first settled first.
    settled: VecDeque<RequestId>,
    prepared: u64,
    /// Whether the issuer has said that the account has another key from here.
    rotated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Intent {
    number: u64,
    request: Request,
    outcome: Option<Response>,
    told: bool,
    /// Whether that was known when it was prepared.
    after_rotation: bool,
}

enum Record {
    Prepared { request: Request },
    Settled { id: RequestId, response: Response },
    Told { id: RequestId },
    Gone { id: RequestId, to: EntityId },
}
choice!(Record {
    1 => Prepared { request },
    2 => Settled { id, response },
    3 => Told { id },
    4 => Gone { id, to },
});

impl Outbox {
    /// Creates the outbox of what `holder` asks the issuer of `currency`. The holder is told by its first key, also after
    /// a rotation: the records of the rotation tell the others.
    pub fn new(currency: CurrencyId, holder: EntityId) -> Self {
        Self {
            currency,
            keys: vec![holder],
            intents: BTreeMap::new(),
            pending: BTreeMap::new(),
            settled: VecDeque::new(),
            prepared: 0,
            rotated: false,
        }
    }

    /// Takes in a command; the record to be saved before it is sent. Preparing the same again is harmless.
    ///
    /// # Errors
    ///
    /// It is a query, its id was used for something else, or too many are pending. Nothing changed.
    pub fn prepare(&mut self, request: Request) -> Result<Vec<u8>, OutboxError> {
        let id = request.id().ok_or(OutboxError::NotACommand)?;
        match self.intents.get(&id) {
            Some(known) if known.request == request => {}
            Some(_) => return Err(OutboxError::OtherContent { id }),
            None if self.pending.len() >= PENDING_MAX => {
                return Err(OutboxError::Full { pending_max: PENDING_MAX });
            }
            None => {
                let number = self.prepared;
                self.prepared += 1;
                self.pending.insert(number, id);
                // The new key may ask before the answer to the rotation is known here.
                if let Request::Rotate { to, .. } = request
                    && !self.keys.contains(&to)
                {
                    self.keys.push(to);
                }
                let intent = Intent {
                    number,
                    request: request.clone(),
                    outcome: None,
                    told: false,
                    after_rotation: self.rotated,
                };
                self.intents.insert(id, intent);
            }
        }
        Ok(to_record(&Record::Prepared { request }))
    }

    /// Returns what is to be sent, again and again until it is settled, in the order it was prepared.
    pub fn pending(&self) -> impl Iterator<Item = (&RequestId, &Request)> {
        let intent = |id| self.intents.get(id).map(|intent| (id, &intent.request));
        self.pending.values().filter_map(intent)
    }

    /// Takes in the issuer's answer; the record to be saved. The same answer again is harmless.
    ///
    /// # Errors
    ///
    /// The command is not of this outbox, the answer cannot be to it, it settles nothing yet, or it is not the
    /// first answer: then the issuer contradicts itself. Nothing changed.
    pub fn settle(&mut self, id: RequestId, response: &Response) -> Result<Vec<u8>, OutboxError> {
        let intent = self.intents.get(&id).ok_or(OutboxError::Unknown { id })?;
        if !fits(&intent.request, response) || !is_own_hold(self.currency, &self.keys, id, response)
        {
            return Err(OutboxError::DoesNotFit { id });
        }
        if let Response::Refused { refusal } = response
            && refusal.is_transient()
        {
            return Err(OutboxError::NotYet { id, refusal: *refusal });
        }
        self.conclude(id, response)?;
        Ok(to_record(&Record::Settled { id, response: response.clone() }))
    }

    /// Takes in that a command was refused since the account has the key `to` now, and that it cannot have been done before:
    /// it [came after the rotation](Self::is_after_rotation), or was sent once. So it never will be. The record to be saved.
    /// The same again is harmless.
    ///
    /// # Errors
    ///
    /// The command is not of this outbox, or was answered before. Nothing changed.
    pub fn gone(&mut self, id: RequestId, to: EntityId) -> Result<Vec<u8>, OutboxError> {
        self.conclude(id, &Response::Refused { refusal: Refusal::Rotated { to } })?;
        Ok(to_record(&Record::Gone { id, to }))
    }

    /// Returns whether a command was prepared after it was known here that the account has got another key from here. One that
    /// was prepared after the rotation, and before its answer, may have been done.
    pub fn is_after_rotation(&self, id: RequestId) -> bool {
        self.intents.get(&id).is_some_and(|intent| intent.after_rotation)
    }

    /// Remembers the outcome of a command.
    fn conclude(&mut self, id: RequestId, response: &Response) -> Result<(), OutboxError> {
        let intent = self.intents.get_mut(&id).ok_or(OutboxError::Unknown { id })?;
        match &intent.outcome {
            Some(outcome) if outcome == response => {}
            Some(_) => return Err(OutboxError::OtherOutcome { id }),
            None => {
                self.rotated |= matches!(response, Response::Rotated { .. });
                intent.outcome = Some(response.clone());
                self.pending.remove(&intent.number);
                self.settled.push_back(id);
                if self.settled.len() > SETTLED_MAX
                    && let Some(oldest) = self.settled.pop_front()
                {
                    self.intents.remove(&oldest);
                }
            }
        }
        Ok(())
    }

    /// Returns the payments that were made, and of which nobody said that their owner was told. Who was refused and asks
    /// again means another one.
    pub fn untold(&self) -> impl Iterator<Item = (&RequestId, &Request)> {
        let untold = self.intents.iter().filter(|(_, intent)| {
            let is_paid = matches!(
                intent.outcome,
                Some(Response::Transferred { .. } | Response::Batched { .. })
            );
            is_paid && !intent.told
        });
        untold.map(|(id, intent)| (id, &intent.request))
    }

    /// Returns the payment that was made to `payee` for this order, if it is not forgotten: its id, its fee, and what could be
    /// spent when it was done.
    pub fn paid_for(
        &self,
        payee: EntityId,
        purpose: &Text<64>,
    ) -> Option<(RequestId, Amount, Amount)> {
        self.intents.iter().find_map(|(id, intent)| match (&intent.request, &intent.outcome) {
            (Request::Transfer { to, order, .. }, Some(Response::Transferred { fee, balance }))
                if *to == payee && order == purpose =>
            {
                Some((*id, *fee, *balance))
            }
            _ => None,
        })
    }

    /// Returns the batch of these payments that is pending, or whose owner is still to be told what became of it, or else was
    /// done last, if it is not forgotten; and whether its owner is still to be told. Payees, amounts and orders say which
    /// payments they are, and not how they are linked. Not one of which the owner knows that it made none.
    pub fn batch(&self, steps: &[Step]) -> Option<(RequestId, bool)> {
        let pays = |step: &Step, other: &Step| {
            (step.to, step.amount, &step.order) == (other.to, other.amount, &other.order)
        };
        let open = |intent: &Intent| intent.outcome.is_none() || !intent.told;
        let same = self.intents.iter().filter_map(|(id, intent)| {
            let made_none = match &intent.outcome {
                Some(Response::Refused { .. }) => true,
                Some(Response::Batched { results, .. }) => {
                    intent.told && !results.as_slice().contains(&StepResult::Paid)
                }
                Some(_) | None => false,
            };
            let Request::Batch { steps: known, .. } = &intent.request else { return None };
            let known = known.as_slice();
            let is_same =
                known.len() == steps.len() && known.iter().zip(steps).all(|(a, b)| pays(a, b));
            // Of several that are open, the one that is linked as these are.
            let rank = (open(intent), open(intent) && known == steps, intent.number);
            (is_same && !made_none).then_some((rank, *id))
        });
        same.max_by_key(|(rank, _)| *rank).map(|((is_open, ..), id)| (id, is_open))
    }

    /// Takes note that the owner was told the outcome; the record to be saved. The same again is harmless.
    ///
    /// # Errors
    ///
    /// The command is not of this outbox, or not settled. Nothing changed.
    pub fn tell(&mut self, id: RequestId) -> Result<Vec<u8>, OutboxError> {
        let intent = self.intents.get_mut(&id).filter(|intent| intent.outcome.is_some());
        intent.ok_or(OutboxError::Unknown { id })?.told = true;
        Ok(to_record(&Record::Told { id }))
    }

    /// Returns the answer to a command that is settled, if it is not forgotten.
    pub fn outcome(&self, id: RequestId) -> Option<&Response> {
        self.intents.get(&id)?.outcome.as_ref()
    }

    /// Returns a command, pending or settled and not forgotten.
    pub fn request(&self, id: RequestId) -> Option<&Request> {
        self.intents.get(&id).map(|intent| &intent.request)
    }

    /// Applies one saved record: the same state as when it was made.
    ///
    /// # Errors
    ///
    /// The record cannot have come from this outbox at this place. Nothing changed.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), OutboxError> {
        let mut input = Reader::new(record);
        let found = u8::decode(&mut input)?;
        if found != OUTBOX_VERSION {
            return Err(OutboxError::Version { found });
        }
        let record = Record::decode(&mut input)?;
        input.finish()?;
        match record {
            Record::Prepared { request } => self.prepare(request).map(drop),
            Record::Settled { id, response } => self.settle(id, &response).map(drop),
            Record::Told { id } => self.tell(id).map(drop),
            Record::Gone { id, to } => self.gone(id, to).map(drop),
        }
    }
}

fn to_record(record: &Record) -> Vec<u8> {
    let mut out = vec![OUTBOX_VERSION];
    record.encode(&mut out);
    out
}

/// Whether a hold, if one was opened, is the one that one of these keys opens by this id: a hold of another's would be
/// promised to a payee in vain.
fn is_own_hold(
    currency: CurrencyId,
    keys: &[EntityId],
    id: RequestId,
    response: &Response,
) -> bool {
    let Response::HoldOpened { hold, .. } = response else { return true };
    keys.iter().any(|key| HoldId::derive(currency, *key, id.get()) == *hold)
}

/// Whether `response` can be an answer to `request`.
fn fits(request: &Request, response: &Response) -> bool {
    if let Response::Refused { .. } = response {
        return true;
    }
    match request {
        Request::Describe => matches!(response, Response::Described { .. }),
        Request::Balance => matches!(response, Response::Balance { .. }),
        Request::HoldInfo { .. } => matches!(response, Response::HoldInfo { .. }),
        Request::Deposits { .. } => matches!(response, Response::Deposits { .. }),
        Request::History { .. } => matches!(response, Response::History { .. }),
        Request::Receipt { .. } => matches!(response, Response::Receipt { .. }),
        Request::Transfer { fee_max, .. } => {
            matches!(response, Response::Transferred { fee, .. } if fee <= fee_max)
        }
        Request::Mint { .. } => matches!(response, Response::Minted { .. }),
        Request::Redeem { .. } => matches!(response, Response::Redeemed { .. }),
        Request::HoldOpen { expires: asked, .. } => {
            matches!(response, Response::HoldOpened { expires, .. } if expires == asked)
        }
        Request::HoldPost { voucher, .. } => {
            matches!(response, Response::HoldPosted { paid, .. } if *paid == voucher.voucher.cumulative)
        }
        Request::HoldPostWord { anchor, word, .. } => {
            let worth = anchor.anchor.worth(word.index).ok();
            matches!(response, Response::HoldPosted { paid, .. } if worth == Some(*paid))
        }
        Request::HoldVoid { .. } => matches!(response, Response::HoldVoided { .. }),
        Request::AckDeposits { .. } => matches!(response, Response::Acked),
        Request::Batch { steps, .. } => {
            matches!(response, Response::Batched { results, .. } if results.as_slice().len() == steps.as_slice().len())
        }
        Request::Accept { .. } => matches!(response, Response::Accepted),
        Request::AcceptAhead { .. } => {
            matches!(response, Response::Accepted | Response::AcceptedAhead { .. })
        }
        Request::Rotate { to: asked, .. } => {
            matches!(response, Response::Rotated { to } if to == asked)
        }
        Request::Close { forfeit_max, .. } => {
            matches!(response, Response::Closed { forfeited } if forfeited <= forfeit_max)
        }
    }
}

/// Why an outbox does not take something in. Listed by precedence. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// A record is in another version.
    #[error("the record is in version {found}; this program reads {OUTBOX_VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// A record is no encoding.
    #[error("the record cannot be read: {error}")]
    Decode {
        /// Where, and why not.
        error: DecodeError,
    },
    /// Queries are not kept: they can be asked again at any time.
    #[error("the request is a query; ask it directly")]
    NotACommand,
    /// The id was used for something else. Draw another one.
    #[error("{id} was used before, with other content")]
    OtherContent {
        /// The id.
        id: RequestId,
    },
    /// Too many commands are unanswered.
    #[error("{pending_max} commands are unanswered, as many as may be")]
    Full {
        /// The most.
        pending_max: usize,
    },
    /// No such command was prepared, or it is not settled.
    #[error("{id} was not prepared here, or is not settled")]
    Unknown {
        /// The id.
        id: RequestId,
    },
    /// The response cannot be the answer to this command: of another kind, a higher fee, another expiry, amount or hold.
    #[error("the response does not answer {id}")]
    DoesNotFit {
        /// The id.
        id: RequestId,
    },
    /// The issuer did not take the command up; it stays pending. Send it again later.
    #[error("{id} is not settled yet: {refusal}")]
    NotYet {
        /// The id.
        id: RequestId,
        /// What the issuer said.
        refusal: Refusal,
    },
    /// The issuer answered this command differently before. Keep both answers: one of them is not true.
    #[error("the issuer has answered {id} differently before")]
    OtherOutcome {
        /// The id.
        id: RequestId,
    },
}

impl OutboxError {
    /// Returns whether the same call can succeed later.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Full { .. } | Self::Unknown { .. } | Self::NotYet { .. } => true,
            Self::Version { .. }
            | Self::Decode { .. }
            | Self::NotACommand
            | Self::OtherContent { .. }
            | Self::DoesNotFit { .. }
            | Self::OtherOutcome { .. } => false,
        }
    }
}

impl From<DecodeError> for OutboxError {
    fn from(error: DecodeError) -> Self {
        Self::Decode { error }
    }
}
