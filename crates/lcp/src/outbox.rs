//! The holder's machine: commands that are saved before they are sent, and kept until answered.
//!
//! ```text
//! prepare ──► Pending ──┬── settle with an answer, or a refusal that is remembered ──► Settled
//!                       └── nothing heard, or a transient refusal: still pending; send it again
//! ```

use crate::{PENDING_MAX, Refusal, Request, RequestId, Response};
use fondaco_codec::{Decode, DecodeError, Encode, Reader, choice};
use std::collections::BTreeMap;

const OUTBOX_VERSION: u8 = 2;

/// What a holder has asked of one issuer, and what became of it.
///
/// After a crash, `replay` each saved record, in order, into a new one; then send all that is pending again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    intents: BTreeMap<RequestId, Intent>,
    /// Those that are pending, by the order of their preparation.
    pending: BTreeMap<u64, RequestId>,
    prepared: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Intent {
    number: u64,
    request: Request,
    outcome: Option<Response>,
}

enum Record {
    Prepared { request: Request },
    Settled { id: RequestId, response: Response },
}
choice!(Record { 1 => Prepared { request }, 2 => Settled { id, response } });

impl Outbox {
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
                let intent = Intent { number, request: request.clone(), outcome: None };
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
        let intent = self.intents.get_mut(&id).ok_or(OutboxError::Unknown { id })?;
        if !fits(&intent.request, response) {
            return Err(OutboxError::DoesNotFit { id });
        }
        if let Response::Refused { refusal } = response
            && refusal.is_transient()
        {
            return Err(OutboxError::NotYet { id, refusal: *refusal });
        }
        match &intent.outcome {
            Some(outcome) if outcome == response => {}
            Some(_) => return Err(OutboxError::OtherOutcome { id }),
            None => {
                intent.outcome = Some(response.clone());
                self.pending.remove(&intent.number);
            }
        }
        Ok(to_record(&Record::Settled { id, response: response.clone() }))
    }

    /// Returns the answer to a command that is settled.
    pub fn outcome(&self, id: RequestId) -> Option<&Response> {
        self.intents.get(&id)?.outcome.as_ref()
    }

    /// Returns a command, pending or settled.
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
        }
    }
}

fn to_record(record: &Record) -> Vec<u8> {
    let mut out = vec![OUTBOX_VERSION];
    record.encode(&mut out);
    out
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
        Request::HoldVoid { .. } => matches!(response, Response::HoldVoided { .. }),
        Request::AckDeposits { .. } => matches!(response, Response::Acked),
        Request::Batch { steps, .. } => {
            matches!(response, Response::Batched { results, .. } if results.as_slice().len() == steps.as_slice().len())
        }
        Request::Accept { .. } => matches!(response, Response::Accepted),
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
    /// No such command was prepared.
    #[error("{id} was not prepared here")]
    Unknown {
        /// The id.
        id: RequestId,
    },
    /// The response cannot be the answer to this command: of another kind, a higher fee, another expiry or amount.
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
