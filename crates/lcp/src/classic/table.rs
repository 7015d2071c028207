//! The entry of one holder: its last message, and the answer.

use super::{Answer, Fault};
use crate::{
    answers::{Encoded, RequestHash},
    notices::Notices,
};
use fondaco_codec::{Decode, Encode, List, choice, record};
use fondaco_units::Amount;

/// The last message of a holder that was not a duplicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) counter: u32,
    pub(crate) request: RequestHash,
    /// The notices that it was told of, up to this number, go with its next message.
    pub(crate) told_through: u64,
    pub(crate) answer: Kept,
}
record!(Last { counter, request, told_through, answer });

/// An answer: of a query that told something, only what is not in the notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Whole { encoding: Encoded },
    Told { count: u16, fee: Amount, balance: Amount },
}
choice!(Kept { 1 => Whole { encoding }, 2 => Told { count, fee, balance } });

/// What a message is, beside the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    New,
    Repeated,
    Wrong(Fault),
}

impl Last {
    pub(crate) fn place(&self, counter: u32, request: &RequestHash) -> Place {
        let last = self.counter;
        match counter {
            _ if counter == last && *request == self.request => Place::Repeated,
            _ if counter == last => Place::Wrong(Fault::OtherContent { counter }),
            0 | 1 if last <= 1 => Place::New,
            _ if counter > last => Place::New,
            _ => Place::Wrong(Fault::StaleCounter { last }),
        }
    }

    /// Returns the answer as it was given; nothing when memory was damaged.
    pub(crate) fn answer(&self, notices: &Notices) -> Option<Answer> {
        match &self.answer {
            Kept::Whole { encoding } => Answer::from_bytes(encoding.as_slice()).ok(),
            Kept::Told { count, fee, balance } => {
                let after = self.told_through.checked_sub(u64::from(*count))?;
                let told = notices.some(after, usize::from(*count));
                let whole = told.len() == usize::from(*count)
                    && told.first().is_none_or(|first| first.number == after + 1);
                let deposits = List::new(told).filter(|_| whole)?;
                Some(Answer::Told { deposits, fee: *fee, balance: *balance })
            }
        }
    }

    /// Writes the answer out, because notices that it names are about to be forgotten.
    pub(crate) fn detach(&mut self, notices: &Notices, through: u64) {
        if let Kept::Told { count, .. } = self.answer
            && self.told_through.saturating_sub(u64::from(count)) < through
            && let Some(answer) = self.answer(notices)
        {
            self.answer = Kept::Whole { encoding: Encoded::new(&answer.to_bytes()) };
        }
    }
}
