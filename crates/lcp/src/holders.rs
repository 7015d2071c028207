//! What is kept of holders beside their money: of those with an account, and of strangers.

use crate::classic::table::Last;
use crate::{RequestId, STRANGER_ANSWERS_MAX, STRANGERS_MAX, answers::Answered, notices::Notices};
use fondaco_crypto::EntityId;
use fondaco_units::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// What is kept of one account's holder, beside its answers. There are millions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) notices: Notices,
    /// What it said last in the dialect of 2003.
    pub(crate) classic: Option<Box<Last>>,
    /// As bytes, which need not be aligned as an id is.
    floor: Option<[u8; 16]>,
}
const _: () = assert!(size_of::<Holder>() <= 48, "a third less than with an aligned id");

impl Holder {
    pub(crate) fn above(floor: Option<RequestId>) -> Self {
        let mut holder = Self::default();
        holder.raise_floor(floor);
        holder
    }

    /// Answers to ids up to this one may have been forgotten.
    pub(crate) fn floor(&self) -> Option<RequestId> {
        self.floor.map(|floor| RequestId::new(u128::from_le_bytes(floor)))
    }

    /// Notes that answers to ids up to this one may have been forgotten.
    pub(crate) fn raise_floor(&mut self, floor: Option<RequestId>) {
        self.floor = self.floor().max(floor).map(|floor| floor.get().to_le_bytes());
    }
}

/// What is kept of somebody who was never paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stranger {
    pub(crate) floor: Option<RequestId>,
    pub(crate) answers: VecDeque<Answered>,
    pub(crate) classic: Option<Box<Last>>,
    /// When it was last heard, by the time of the books.
    pub(crate) last: Timestamp,
}

/// Those who command and were never paid: only so many, as being one costs nothing. Whoever was not heard for longest
/// makes room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strangers {
    /// Each with its turn.
    known: BTreeMap<EntityId, (u64, Stranger)>,
    /// Who was heard when, in turns: the first was not heard for longest.
    turns: BTreeMap<u64, EntityId>,
    turn: u64,
    /// When the last of those that made room was last heard.
    gone: Option<Timestamp>,
}

impl PartialEq for Strangers {
    /// Compares who is known, in which order, and what of them; turns may be counted from elsewhere.
    fn eq(&self, other: &Self) -> bool {
        self.gone == other.gone && self.iter().eq(other.iter())
    }
}

impl Eq for Strangers {}

impl Strangers {
    pub(crate) fn get(&self, who: EntityId) -> Option<&Stranger> {
        self.known.get(&who).map(|(_, stranger)| stranger)
    }

    /// Returns what ids start over, of those of whom nothing is known: they may be one who made room, and an answer that
    /// it was given must not be given again otherwise.
    pub(crate) fn newcomers_floor(&self) -> Option<RequestId> {
        self.gone.map(|gone| RequestId::at(gone, [0xff; 10]))
    }

    /// Returns what is kept of a stranger, now that it is heard.
    pub(crate) fn hear(&mut self, who: EntityId, now: Timestamp) -> &mut Stranger {
        if !self.known.contains_key(&who)
            && self.known.len() >= STRANGERS_MAX
            && let Some((_, oldest)) = self.turns.pop_first()
        {
            let last = self.known.remove(&oldest).map(|(_, stranger)| stranger.last);
            self.gone = self.gone.max(last);
        }
        let floor = self.newcomers_floor();
        self.turn += 1;
        let turn = self.turn;
        let (before, stranger) = self.known.entry(who).or_insert_with(|| {
            (turn, Stranger { floor, answers: VecDeque::new(), classic: None, last: now })
        });
        self.turns.remove(before);
        self.turns.insert(turn, who);
        (*before, stranger.last) = (turn, now);
        stranger
    }

    /// Lets one go: it was paid, and is no stranger any more.
    pub(crate) fn take(&mut self, who: EntityId) -> Option<Stranger> {
        if self.known.is_empty() {
            return None;
        }
        let (turn, stranger) = self.known.remove(&who)?;
        self.turns.remove(&turn);
        Some(stranger)
    }

    /// Returns all, the one that was not heard for longest first.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (EntityId, &Stranger)> + '_ {
        self.turns.values().map(|who| (*who, &self.known[who].1))
    }

    pub(crate) const fn gone(&self) -> Option<Timestamp> {
        self.gone
    }

    /// Begins with what a snapshot says.
    pub(crate) fn since(gone: Option<Timestamp>) -> Self {
        Self { gone, ..Self::default() }
    }
}

impl Stranger {
    pub(crate) fn find(&self, id: RequestId) -> Option<&Answered> {
        self.answers.iter().find(|answered| answered.id == id)
    }

    /// Remembers an answer; the oldest of too many is forgotten.
    pub(crate) fn remember(&mut self, answered: Answered) {
        self.answers.push_back(answered);
        if self.answers.len() > STRANGER_ANSWERS_MAX
            && let Some(oldest) = self.answers.pop_front()
        {
            self.floor = self.floor.max(Some(oldest.id));
        }
    }
}
