//! All that an issuer knows as bytes, and back.

use super::{Issuer, IssuerOptions};
use crate::{
    Currency, RequestId, STRANGER_ANSWERS_MAX, STRANGERS_MAX,
    answers::Answered,
    classic::table::{Kept, Last},
    holders::{Holder, Strangers},
    notices::Notices,
};
use fondaco_codec::{Decode, DecodeError, Encode, Reader, put_list};
use fondaco_crypto::EntityId;
use fondaco_ledger as ledger;
use fondaco_units::Timestamp;
use std::convert::Infallible;

const VERSION: u8 = 1;

/// How much is handed out at once.
const PIECE: usize = 1 << 20;

/// Why bytes are no snapshot of an issuer. Listed by precedence. Replay the journal from its beginning instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is in another version.
    #[error("the snapshot is in version {found}; this program reads {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// It is no encoding, or of something that cannot be.
    #[error("the snapshot cannot be read: {error}")]
    Decode {
        /// Where, and why not.
        error: DecodeError,
    },
    /// The ledger in it is none.
    #[error("{error}")]
    Ledger {
        /// Why not.
        error: ledger::SnapshotError,
    },
}

impl SnapshotError {
    /// Returns whether the same bytes can be restored later: never, here.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Version { .. } | Self::Decode { .. } | Self::Ledger { .. } => false,
        }
    }
}

impl From<DecodeError> for SnapshotError {
    fn from(error: DecodeError) -> Self {
        Self::Decode { error }
    }
}

impl From<ledger::SnapshotError> for SnapshotError {
    fn from(error: ledger::SnapshotError) -> Self {
        Self::Ledger { error }
    }
}

impl Issuer {
    /// Returns all that the issuer knows, so that the journal up to here need not be replayed. The same issuer, the same
    /// bytes; fences and collected movements are not in it.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        let Ok(()) = self.snapshot_in_pieces(|piece| {
            whole.extend_from_slice(piece);
            Ok::<(), Infallible>(())
        });
        whole
    }

    /// Hands out the same bytes piece by piece: with millions of holders they are too many to be kept beside what they say.
    ///
    /// # Errors
    ///
    /// Those of `write`.
    pub fn snapshot_in_pieces<E>(
        &self,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut out = vec![VERSION];
        self.currency.encode(&mut out);
        self.last.encode(&mut out);
        self.ledger.encode_in_pieces(&mut out, &mut write)?;
        let mut step = |out: &mut Vec<u8>| {
            if out.len() >= PIECE {
                write(out)?;
                out.clear();
            }
            Ok(())
        };
        // As many as the ledger has places.
        for holder in &self.holders {
            holder.floor().encode(&mut out);
            holder.notices.encode(&mut out);
            put_last(holder.classic.as_deref(), &mut out);
            step(&mut out)?;
        }
        self.strangers.gone().encode(&mut out);
        (self.strangers.iter().len() as u64).encode(&mut out);
        for (who, stranger) in self.strangers.iter() {
            who.encode(&mut out);
            stranger.last.encode(&mut out);
            stranger.floor.encode(&mut out);
            put_list(&mut out, &Vec::from_iter(stranger.answers.iter().cloned()));
            put_last(stranger.classic.as_deref(), &mut out);
            step(&mut out)?;
        }
        (self.answers.iter().len() as u64).encode(&mut out);
        for (holder, answered) in self.answers.iter() {
            holder.encode(&mut out);
            answered.encode(&mut out);
            step(&mut out)?;
        }
        write(&out)
    }

    /// Takes up where `snapshot` was made; the records after it are still to be replayed. The seed and the memory for
    /// answers are those of [`IssuerOptions`].
    ///
    /// # Errors
    ///
    /// It is no snapshot of this version, or was damaged.
    pub fn restore(
        seed: u64,
        answers_bytes_max: usize,
        snapshot: &[u8],
    ) -> Result<Self, SnapshotError> {
        let mut input = Reader::new(snapshot);
        let found = u8::decode(&mut input)?;
        if found != VERSION {
            return Err(SnapshotError::Version { found });
        }
        let at = input.at();
        let currency = Currency::decode(&mut input)?;
        let mut issuer = Self::new(currency, IssuerOptions { seed, answers_bytes_max });
        issuer.last = Timestamp::decode(&mut input)?;
        issuer.ledger = ledger::Ledger::decode(&mut input, seed)?;
        if issuer.ledger.currency() != issuer.currency.id {
            return Err(Reader::invalid(at, "currency of the ledger").into());
        }
        issuer.holders.clear();
        for _ in 0..issuer.ledger.indexes() {
            issuer.holders.push(decode_holder(&mut input)?);
        }
        issuer.decode_strangers(&mut input)?;
        issuer.decode_answers(&mut input)?;
        input.finish()?;
        Ok(issuer)
    }

    fn decode_strangers(&mut self, input: &mut Reader<'_>) -> Result<(), DecodeError> {
        self.strangers = Strangers::since(Option::decode(input)?);
        let at = input.at();
        let count = u64::decode(input)?;
        if count > STRANGERS_MAX as u64 {
            return Err(Reader::invalid(at, "count of strangers"));
        }
        for _ in 0..count {
            let at = input.at();
            let (who, last) = (EntityId::decode(input)?, Timestamp::decode(input)?);
            if self.ledger.index_of(who).is_some() || self.strangers.get(who).is_some() {
                return Err(Reader::invalid(at, "stranger"));
            }
            let stranger = self.strangers.hear(who, last);
            stranger.floor = Option::decode(input)?;
            stranger.answers = input.list::<Answered>(STRANGER_ANSWERS_MAX)?.into();
            stranger.classic = decode_last(input, &Notices::default())?;
        }
        Ok(())
    }

    fn decode_answers(&mut self, input: &mut Reader<'_>) -> Result<(), DecodeError> {
        for _ in 0..u64::decode(input)? {
            let at = input.at();
            let holder = u32::decode(input)?;
            let answered = Answered::decode(input)?;
            let holder = self.ledger.index_at(holder as usize);
            if !holder.is_some_and(|holder| self.answers.take_back(holder, answered)) {
                return Err(Reader::invalid(at, "answer"));
            }
        }
        Ok(())
    }
}

fn decode_holder(input: &mut Reader<'_>) -> Result<Holder, DecodeError> {
    let floor = Option::<RequestId>::decode(input)?;
    let notices = Notices::decode(input)?;
    let classic = decode_last(input, &notices)?;
    let mut holder = Holder::above(floor);
    (holder.notices, holder.classic) = (notices, classic);
    Ok(holder)
}

fn put_last(last: Option<&Last>, out: &mut Vec<u8>) {
    last.is_some().encode(out);
    if let Some(last) = last {
        last.encode(out);
    }
}

fn decode_last(
    input: &mut Reader<'_>,
    notices: &Notices,
) -> Result<Option<Box<Last>>, DecodeError> {
    let at = input.at();
    let last = Option::<Last>::decode(input)?;
    let fits = last.as_ref().is_none_or(|last| {
        let told = matches!(last.answer, Kept::Whole { .. }) || last.answer(notices).is_some();
        told && last.told_through <= notices.last()
    });
    if !fits {
        return Err(Reader::invalid(at, "last message"));
    }
    Ok(last.map(Box::new))
}
