//! Commands read back from an issuer's journal, for whoever keeps its history.

use super::{Issuer, Who};
use crate::{
    ReplayError, Request, RequestId, Response,
    journal::{Digests, Mark, Record, journal_mark, read_record},
};
use fondaco_codec::{Decode, Encode};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_units::Timestamp;

/// One command as an issuer's journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When, by the issuer's clock.
    pub at: Timestamp,
    /// Who asked.
    pub holder: EntityId,
    /// What was asked.
    pub request: Request,
    answer: Mark,
}

impl Recorded {
    /// Reads a record of the journal of `currency`; nothing when it is no command of LCP/2.
    ///
    /// # Errors
    ///
    /// It is no record of that journal.
    pub fn read(currency: CurrencyId, record: &[u8]) -> Result<Option<Self>, ReplayError> {
        match read_record(journal_mark(currency), record)? {
            Record::Command { head, request, .. } => {
                let (at, holder, answer) = (head.now, head.holder, head.answer);
                Ok(Some(Self { at, holder, request, answer }))
            }
            Record::Classic { .. } | Record::Tick(_) => Ok(None),
        }
    }

    /// Returns whether this is the answer that it was given, by the mark that was recorded with it: it finds damage, not
    /// forgers.
    pub fn was_answered(&self, response: &Response) -> bool {
        Digests::new().answer(&response.to_bytes()) == self.answer
    }
}

impl Issuer {
    /// Returns the first answer to a command, while it is remembered: right after [`Issuer::replay`] of its record it is,
    /// unless it alone is over what the memory of answers may weigh. `holder` is who asked, under its key of then.
    pub fn first_answer_to(&self, holder: EntityId, id: RequestId) -> Option<Response> {
        let who = match self.who(holder) {
            Who::Rotated { to } => self.who(to),
            who @ (Who::Account(_) | Who::Stranger) => who,
        };
        let answered = self.remembered(who, holder, id)?;
        Response::from_bytes(answered.answer.as_slice()).ok()
    }
}
