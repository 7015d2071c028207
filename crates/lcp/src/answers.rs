//! The first answers to the commands of all account holders, oldest first, as many as fit.

use crate::{RESPONSE_BYTES_MAX, RequestId};
use foldhash::{SharedSeed, quality::FoldHasher};
use fondaco_codec::{Decode, DecodeError, Encode, Reader, put_bytes, record};
use fondaco_crypto::Digest;
use fondaco_ledger::AccountIndex;
use hashbrown::HashTable;
use std::{collections::VecDeque, fmt, hash::Hasher};

/// Half of a digest: 2⁶⁴ tries to find other content that passes for the same, by the one holder it would fool.
pub(crate) type RequestHash = [u8; 16];

/// Takes the half of a digest that is kept.
pub(crate) fn half(digest: Digest) -> RequestHash {
    let mut half = RequestHash::default();
    half.copy_from_slice(&digest.as_bytes()[..16]);
    half
}

/// The longest answer that needs no memory of its own: those to transfers, mints, posts and acknowledgements.
const INLINE_MAX: usize = 22;

/// An encoding, without a way through memory where it is short.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Encoded {
    Short { length: u8, bytes: [u8; INLINE_MAX] },
    Long(Box<[u8]>),
}

impl Encoded {
    pub(crate) fn new(encoding: &[u8]) -> Self {
        match u8::try_from(encoding.len()) {
            Ok(length) if encoding.len() <= INLINE_MAX => {
                let mut bytes = [0; INLINE_MAX];
                bytes[..encoding.len()].copy_from_slice(encoding);
                Self::Short { length, bytes }
            }
            _ => Self::Long(encoding.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.as_slice().len())
    }
}

impl Encode for Encoded {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_slice());
    }
}

impl Decode for Encoded {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.bytes(RESPONSE_BYTES_MAX).map(Self::new)
    }
}

/// A command and its first answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) id: RequestId,
    pub(crate) request: RequestHash,
    pub(crate) answer: Encoded,
}
record!(Answered { id, request, answer });

/// An answer of an account's holder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    answered: Answered,
    holder: u32,
}

/// What an answer weighs beside its encoding, when that is long: itself, and its place in the table.
const KEPT_BYTES: usize = size_of::<Kept>() + 8;

impl Kept {
    fn weight(&self) -> usize {
        match &self.answered.answer {
            Encoded::Short { .. } => KEPT_BYTES,
            Encoded::Long(bytes) => KEPT_BYTES + bytes.len(),
        }
    }
}

/// The answers, and a table that finds them.
///
/// The table is not part of the value: it follows from the answers, and its order is never seen.
#[derive(Clone)]
pub(crate) struct Answers {
    kept: VecDeque<Kept>,
    /// The number of the front; numbers go round after 2³², of which there are never as many at once.
    first: u32,
    table: HashTable<u32>,
    weight: usize,
    weight_max: usize,
    seed: u64,
    shared: SharedSeed,
}

impl PartialEq for Answers {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept
    }
}

impl Eq for Answers {}

impl fmt::Debug for Answers {
    /// Writes the answers: the seed is a secret of this process.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.kept).finish()
    }
}

impl Answers {
    pub(crate) fn new(seed: u64, weight_max: usize) -> Self {
        let (kept, table, shared) = (VecDeque::new(), HashTable::new(), SharedSeed::from_u64(seed));
        Self { kept, first: 0, table, weight: 0, weight_max, seed, shared }
    }

    pub(crate) fn find(&self, holder: AccountIndex, id: RequestId) -> Option<&Answered> {
        let number = self.table.find(self.hash(number_of(holder), id), |number| {
            let kept = self.at(*number);
            kept.answered.id == id && kept.holder == number_of(holder)
        });
        number.map(|number| &self.at(*number).answered)
    }

    /// Adds an answer. The caller saw that the holder has none under this id.
    pub(crate) fn add(&mut self, holder: AccountIndex, answered: Answered) {
        let kept = Kept { holder: number_of(holder), answered };
        let hashed = self.hash(kept.holder, kept.answered.id);
        self.weight += kept.weight();
        let number = self.first.wrapping_add(count(self.kept.len()));
        self.kept.push_back(kept);
        let Self { kept, first, table, seed, shared, .. } = self;
        let rehash = |number: &u32| {
            let Kept { holder, answered } = &kept[number.wrapping_sub(*first) as usize];
            hash(*seed, shared, *holder, answered.id)
        };
        table.insert_unique(hashed, number, rehash);
    }

    /// Takes the oldest out while all together weigh too much; whose it was, by index, and its id.
    pub(crate) fn prune(&mut self) -> Option<(usize, RequestId)> {
        if self.weight <= self.weight_max {
            return None;
        }
        let Kept { holder, answered } = self.kept.front()?;
        let (holder, id) = (*holder, answered.id);
        let front = self.first;
        if let Ok(found) = self.table.find_entry(self.hash(holder, id), |number| *number == front) {
            found.remove();
        }
        self.first = front.wrapping_add(1);
        self.weight -= self.kept.pop_front()?.weight();
        Some((holder as usize, id))
    }

    /// Returns all, oldest first, by the index of their holder.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (u32, &Answered)> + '_ {
        self.kept.iter().map(|kept| (kept.holder, &kept.answered))
    }

    /// Adds what a snapshot says; whether it can be so.
    pub(crate) fn take_back(&mut self, holder: AccountIndex, answered: Answered) -> bool {
        let is_new = self.find(holder, answered.id).is_none();
        if is_new {
            self.add(holder, answered);
        }
        is_new
    }

    fn at(&self, number: u32) -> &Kept {
        &self.kept[number.wrapping_sub(self.first) as usize]
    }

    fn hash(&self, holder: u32, id: RequestId) -> u64 {
        hash(self.seed, &self.shared, holder, id)
    }
}

/// Both seeds follow from one that only this process knows: ids are chosen by holders.
fn hash(seed: u64, shared: &SharedSeed, holder: u32, id: RequestId) -> u64 {
    let mut hasher = FoldHasher::with_seed(seed, shared);
    hasher.write_u128(id.get());
    hasher.write_u32(holder);
    hasher.finish()
}

/// It fits: an index is a `u32`, and memory ends long before there are as many answers.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn number_of(holder: AccountIndex) -> u32 {
    count(holder.get())
}
