//! The records of an issuer's journal.

use crate::{Request, RequestId};
use fondaco_codec::{Decode, DecodeError, Encode, Reader, record};
use fondaco_crypto::{CurrencyId, Digest, Domain, EntityId};
use fondaco_units::{Amount, Timestamp};

const JOURNAL_VERSION: u8 = 2;
const KIND_COMMAND: u8 = 1;
const KIND_TICK: u8 = 2;
const JOURNAL_OF: Domain = Domain::new("fondaco 2026 lcp journal v1");
const ANSWER: Domain = Domain::new("fondaco 2026 lcp answer v1");

/// The most bytes of one journal record, of an issuer or of an outbox: the greatest request, and what is written before it.
pub const RECORD_BYTES_MAX: usize = crate::REQUEST_BYTES_MAX + 1024;

/// The first eight bytes of a digest: they find mistakes, not forgers.
pub(crate) type Mark = [u8; 8];

/// Marks the journal of one currency.
pub(crate) fn journal_mark(currency: CurrencyId) -> Mark {
    mark(Digest::derive(JOURNAL_OF, currency.issuer().as_bytes()))
}

/// Marks the encoding of one answer.
pub(crate) fn answer_mark(answer: &[u8]) -> Mark {
    mark(Digest::derive(ANSWER, answer))
}

fn mark(digest: Digest) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&digest.as_bytes()[..8]);
    mark
}

/// A command that was applied or refused. The request is written behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandHead {
    pub(crate) now: Timestamp,
    pub(crate) holder: EntityId,
    /// What a transfer cost that day: the journal must not be read with another day's fee.
    pub(crate) transfer_fee: Amount,
    pub(crate) answer: Mark,
}
record!(CommandHead { now, holder, transfer_fee, answer });

/// Holds that were due expired, as many as one call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) now: Timestamp,
    pub(crate) expired: u64,
}
record!(Tick { now, expired });

/// One thing that changed an issuer's state.
pub(crate) enum Record {
    Command { head: CommandHead, request: Request },
    Tick(Tick),
}

/// Writes a command, whose encoding is at hand.
pub(crate) fn command_record(journal: Mark, head: &CommandHead, request: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(66 + request.len());
    out.extend_from_slice(&[JOURNAL_VERSION, KIND_COMMAND]);
    journal.encode(&mut out);
    head.encode(&mut out);
    out.extend_from_slice(request);
    out
}

/// Writes a tick.
pub(crate) fn tick_record(journal: Mark, tick: Tick) -> Vec<u8> {
    let mut out = vec![JOURNAL_VERSION, KIND_TICK];
    journal.encode(&mut out);
    tick.encode(&mut out);
    out
}

/// Reads a record of the journal that `journal` marks.
pub(crate) fn read_record(journal: Mark, bytes: &[u8]) -> Result<Record, ReplayError> {
    let mut input = Reader::new(bytes);
    let found = u8::decode(&mut input)?;
    if found != JOURNAL_VERSION {
        return Err(ReplayError::Version { found });
    }
    let kind_at = input.at();
    let kind = u8::decode(&mut input)?;
    if Mark::decode(&mut input)? != journal {
        return Err(ReplayError::OtherCurrency);
    }
    let record = match kind {
        KIND_COMMAND => Record::Command {
            head: CommandHead::decode(&mut input)?,
            request: Request::decode(&mut input)?,
        },
        KIND_TICK => Record::Tick(Tick::decode(&mut input)?),
        _ => return Err(Reader::invalid(kind_at, "kind of record").into()),
    };
    input.finish()?;
    Ok(record)
}

/// Why a record cannot have come from this issuer's journal, at this place. Listed by precedence.
///
/// Before [`ReplayError::Diverged`] nothing was changed. None is a peer's fault: the disk, the order of the
/// records or the program is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It is in another version.
    #[error("the record is in version {found}; this program reads {JOURNAL_VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// It is of another issuer.
    #[error("the record is of another currency's journal")]
    OtherCurrency,
    /// It is no encoding.
    #[error("the record cannot be read: {error}")]
    Decode {
        /// Where, and why not.
        error: DecodeError,
    },
    /// The books are halted.
    #[error("the ledger is halted: its books do not balance")]
    Halted,
    /// It is older than what was replayed before it.
    #[error("the record is of {now}, before {last}, when the one before it was made")]
    BackInTime {
        /// The record's time.
        now: Timestamp,
        /// The time of the books.
        last: Timestamp,
    },
    /// It is a query, which is never recorded.
    #[error("the record is of a query")]
    NotACommand,
    /// The same command was recorded before.
    #[error("{id} of {holder} was recorded before")]
    Repeated {
        /// Whose command it is.
        holder: EntityId,
        /// The command.
        id: RequestId,
    },
    /// Applied now, it has another outcome than then. The issuer is halted.
    #[error("the record of {now} has another outcome now than when it was made")]
    Diverged {
        /// The record's time.
        now: Timestamp,
    },
}

impl ReplayError {
    /// Returns whether the same record can be replayed later: never, here.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Version { .. }
            | Self::OtherCurrency
            | Self::Decode { .. }
            | Self::Halted
            | Self::BackInTime { .. }
            | Self::NotACommand
            | Self::Repeated { .. }
            | Self::Diverged { .. } => false,
        }
    }
}

impl From<DecodeError> for ReplayError {
    fn from(error: DecodeError) -> Self {
        Self::Decode { error }
    }
}
