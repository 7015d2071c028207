//! The records of an issuer's journal.

use crate::{
    Request, RequestId,
    answers::{RequestHash, half},
    classic::Ask,
};
use fondaco_codec::{Decode, DecodeError, Encode, Reader, record};
use fondaco_crypto::{CurrencyId, Digest, Domain, EntityId, Hasher};
use fondaco_units::{Amount, Timestamp};

const JOURNAL_VERSION: u8 = 2;
const KIND_COMMAND: u8 = 1;
const KIND_TICK: u8 = 2;
const KIND_CLASSIC: u8 = 3;
const JOURNAL_OF: Domain = Domain::new("fondaco 2026 lcp journal v1");
const REQUEST: Domain = Domain::new("fondaco 2026 lcp request v1");
const ANSWER: Domain = Domain::new("fondaco 2026 lcp answer v1");

/// The most bytes of one journal record, of an issuer or of an outbox: the greatest request, and what is written before it.
pub const RECORD_BYTES_MAX: usize = crate::REQUEST_BYTES_MAX + 1024;

/// The first eight bytes of a digest: they find mistakes, not forgers.
pub(crate) type Mark = [u8; 8];

/// Marks the journal of one currency.
pub(crate) fn journal_mark(currency: CurrencyId) -> Mark {
    mark(Digest::derive(JOURNAL_OF, currency.issuer().as_bytes()))
}

/// The digests of an issuer, whose domains are derived once and not for each message.
#[derive(Clone, Debug)]
pub(crate) struct Digests {
    request: Hasher,
    answer: Hasher,
}

impl Digests {
    pub(crate) fn new() -> Self {
        Self { request: Hasher::new(REQUEST), answer: Hasher::new(ANSWER) }
    }

    /// Tells the encoding of one message from that of another.
    pub(crate) fn request(&self, message: &[u8]) -> RequestHash {
        half(self.request.clone().update(message).finish())
    }

    /// Marks the encoding of one answer.
    pub(crate) fn answer(&self, answer: &[u8]) -> Mark {
        mark(self.answer.clone().update(answer).finish())
    }
}

fn mark(digest: Digest) -> Mark {
    let mut mark = Mark::default();
    mark.copy_from_slice(&digest.as_bytes()[..8]);
    mark
}

/// What was asked of whoever pays that day: the journal must not be read with another day's prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prices {
    pub(crate) transfer_fee: Amount,
    pub(crate) account_reserve: Amount,
}
record!(Prices { transfer_fee, account_reserve });

/// A command that was applied or refused. The request is written behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandHead {
    pub(crate) now: Timestamp,
    pub(crate) holder: EntityId,
    pub(crate) prices: Prices,
    pub(crate) answer: Mark,
}
record!(CommandHead { now, holder, prices, answer });

/// A message of 2003 that was applied or refused. The message is written behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClassicHead {
    pub(crate) now: Timestamp,
    pub(crate) holder: EntityId,
    pub(crate) prices: Prices,
    /// What this message was to cost beside the transfer fee.
    pub(crate) surcharge: Amount,
    pub(crate) answer: Mark,
}
record!(ClassicHead { now, holder, prices, surcharge, answer });

/// Holds that were due expired, as many as one call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) now: Timestamp,
    pub(crate) expired: u64,
}
record!(Tick { now, expired });

/// One thing that changed an issuer's state.
pub(crate) enum Record<'a> {
    /// A command, and its encoding.
    Command { head: CommandHead, request: Request, bytes: &'a [u8] },
    /// A message of 2003, and its encoding.
    Classic { head: ClassicHead, ask: Ask, bytes: &'a [u8] },
    /// The passing of time.
    Tick(Tick),
}

const COMMAND_AT: usize = 74;
const CLASSIC_AT: usize = 82;

/// A record whose message is written first, because it is hashed, and whose head when the answer is known.
pub(crate) struct Draft {
    out: Vec<u8>,
    message_at: usize,
}

impl Draft {
    pub(crate) fn command(request: &Request) -> Self {
        Self::new(COMMAND_AT, request)
    }

    pub(crate) fn classic(ask: &Ask) -> Self {
        Self::new(CLASSIC_AT, ask)
    }

    fn new(message_at: usize, message: &impl Encode) -> Self {
        // Most are transfers with an order of 16 to 64 bytes.
        let mut out = Vec::with_capacity(message_at + 136);
        out.resize(message_at, 0);
        message.encode(&mut out);
        Self { out, message_at }
    }

    pub(crate) fn message(&self) -> &[u8] {
        &self.out[self.message_at..]
    }

    pub(crate) fn with_command(self, journal: Mark, head: &CommandHead) -> Vec<u8> {
        self.with(KIND_COMMAND, journal, head)
    }

    pub(crate) fn with_classic(self, journal: Mark, head: &ClassicHead) -> Vec<u8> {
        self.with(KIND_CLASSIC, journal, head)
    }

    fn with(mut self, kind: u8, journal: Mark, head: &impl Encode) -> Vec<u8> {
        let mut begin = Vec::with_capacity(CLASSIC_AT);
        begin.extend_from_slice(&[JOURNAL_VERSION, kind]);
        journal.encode(&mut begin);
        head.encode(&mut begin);
        self.out[..self.message_at].copy_from_slice(&begin);
        self.out
    }
}

/// Writes a tick.
pub(crate) fn tick_record(journal: Mark, tick: Tick) -> Vec<u8> {
    let mut out = vec![JOURNAL_VERSION, KIND_TICK];
    journal.encode(&mut out);
    tick.encode(&mut out);
    out
}

/// Reads a record of the journal that `journal` marks.
pub(crate) fn read_record(journal: Mark, bytes: &[u8]) -> Result<Record<'_>, ReplayError> {
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
        KIND_COMMAND => {
            let head = CommandHead::decode(&mut input)?;
            let bytes = &bytes[input.at()..];
            Record::Command { head, request: Request::decode(&mut input)?, bytes }
        }
        KIND_CLASSIC => {
            let head = ClassicHead::decode(&mut input)?;
            let bytes = &bytes[input.at()..];
            Record::Classic { head, ask: Ask::decode(&mut input)?, bytes }
        }
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
    /// The key that asked is one that an account had before: it asks for nothing.
    #[error("the record is of {holder}, whose account has another key")]
    Rotated {
        /// The key.
        holder: EntityId,
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
    /// The same message of 2003 was recorded before, or one after it.
    #[error("message {counter} of {holder} comes too late")]
    LateCounter {
        /// Whose message it is.
        holder: EntityId,
        /// Its counter.
        counter: u32,
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
            | Self::Rotated { .. }
            | Self::NotACommand
            | Self::Repeated { .. }
            | Self::LateCounter { .. }
            | Self::Diverged { .. } => false,
        }
    }
}

impl From<DecodeError> for ReplayError {
    fn from(error: DecodeError) -> Self {
        Self::Decode { error }
    }
}
