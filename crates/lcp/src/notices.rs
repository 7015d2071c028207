//! The deposit notices that wait for one holder.

use crate::{DEPOSITS_PER_PAGE_MAX, DEPOSITS_WAITING_MAX, Deposit, Refusal};
use fondaco_codec::{Decode, DecodeError, Encode, List, Reader, Text, put_bytes, record};
use fondaco_crypto::EntityId;
use fondaco_units::{Amount, Timestamp};
use std::{collections::VecDeque, mem, slice};

/// For how many notices there is room at most before they are read.
const ROOM_MAX: usize = 64;

/// A deposit, but for its number, which is its place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Notice {
    payer: Option<EntityId>,
    amount: Amount,
    order: Order,
    at: Timestamp,
}
record!(Notice { payer, amount, order, at });

/// What a payment was for: of 64 bytes at most.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order(Box<str>);

impl Encode for Order {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.0.as_bytes());
    }
}

impl Decode for Order {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(input.text(64)?.into()))
    }
}

/// Numbered from 1 without gaps; those acknowledged are gone from the front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    last: u64,
    /// Nothing where none waits: most holders have none.
    waiting: Option<Box<Waiting>>,
}

/// Those that wait. Of millions of holders most that have any have one, which needs no list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Waiting {
    One(Notice),
    /// Two at least.
    Many(VecDeque<Notice>),
}

impl Waiting {
    fn of(mut list: VecDeque<Notice>) -> Option<Box<Self>> {
        match (list.pop_front(), list.is_empty()) {
            (None, _) => None,
            (Some(one), true) => Some(Box::new(Self::One(one))),
            (Some(first), false) => {
                list.push_front(first);
                Some(Box::new(Self::Many(list)))
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(list) => list.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Notice> {
        let (front, back) = match self {
            Self::One(one) => (slice::from_ref(one), &[][..]),
            Self::Many(list) => list.as_slices(),
        };
        front.iter().chain(back)
    }
}

impl Notices {
    pub(crate) fn waiting(&self) -> u64 {
        self.count() as u64
    }

    fn count(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// The number of the last that arrived.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Whether some with a greater number wait.
    pub(crate) fn wait_after(&self, number: u64) -> bool {
        self.waiting.is_some() && self.last > number
    }

    /// How many more can wait.
    pub(crate) fn room(&self) -> usize {
        DEPOSITS_WAITING_MAX.saturating_sub(self.count())
    }

    pub(crate) fn add(
        &mut self,
        at: Timestamp,
        payer: Option<EntityId>,
        amount: Amount,
        order: &str,
    ) {
        self.last += 1;
        let notice = Notice { payer, amount, order: Order(order.into()), at };
        let Some(waiting) = self.waiting.as_deref_mut() else {
            self.waiting = Some(Box::new(Waiting::One(notice)));
            return;
        };
        if let Waiting::Many(list) = waiting {
            list.push_back(notice);
        } else if let Waiting::One(first) = mem::replace(waiting, Waiting::Many(VecDeque::new())) {
            *waiting = Waiting::Many(VecDeque::from([first, notice]));
        }
    }

    /// Returns the first of those numbered over `after`, at most a page, and whether there are more.
    pub(crate) fn page(&self, after: u64) -> (List<Deposit, DEPOSITS_PER_PAGE_MAX>, bool) {
        let page = self.some(after, DEPOSITS_PER_PAGE_MAX);
        let more = self.count() - self.place_after(after) > page.len();
        (List::new(page).expect("no more than a page was taken"), more)
    }

    /// Returns the first of those numbered over `after`, at most `count`.
    pub(crate) fn some(&self, after: u64, count: usize) -> Vec<Deposit> {
        let Some(waiting) = &self.waiting else { return Vec::new() };
        let skipped = self.place_after(after);
        let first = self.last - self.waiting() + 1 + skipped as u64;
        let numbered = waiting.iter().skip(skipped).take(count).zip(first..);
        let deposit = |(notice, number): (&Notice, u64)| Deposit {
            number,
            payer: notice.payer,
            amount: notice.amount,
            order: Text::cut(&notice.order.0),
            at: notice.at,
        };
        numbered.map(deposit).collect()
    }

    /// Forgets those numbered up to `through`, if as many have arrived.
    pub(crate) fn acknowledge(&mut self, through: u64) -> Result<(), Refusal> {
        if through > self.last {
            return Err(Refusal::DepositUnknown { through, last: self.last });
        }
        let gone = self.place_after(through);
        if gone == 0 {
            return Ok(());
        }
        if let Some(Waiting::Many(mut list)) = self.waiting.take().map(|waiting| *waiting) {
            list.drain(..gone);
            if list.capacity() / 4 > list.len() {
                // A box that was full once must not keep its memory for ever.
                list.shrink_to_fit();
            }
            self.waiting = Waiting::of(list);
        }
        Ok(())
    }

    /// How many of those that wait have a number up to `number`.
    fn place_after(&self, number: u64) -> usize {
        let before_first = self.last - self.waiting();
        let place = number.saturating_sub(before_first).min(self.waiting());
        usize::try_from(place).unwrap_or_else(|_| self.count())
    }
}

impl Encode for Notices {
    fn encode(&self, out: &mut Vec<u8>) {
        self.last.encode(out);
        self.waiting().encode(out);
        self.waiting
            .iter()
            .flat_map(|waiting| waiting.iter())
            .for_each(|notice| notice.encode(out));
    }
}

impl Decode for Notices {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let last = u64::decode(input)?;
        let at = input.at();
        let count = u64::decode(input)?;
        // A post goes in whether the box is full or not: there is no most but what was ever numbered.
        if count > last {
            return Err(Reader::invalid(at, "count of notices"));
        }
        let mut waiting = VecDeque::new();
        waiting.reserve_exact(usize::try_from(count).map_or(ROOM_MAX, |count| count.min(ROOM_MAX)));
        for _ in 0..count {
            waiting.push_back(Notice::decode(input)?);
        }
        Ok(Self { last, waiting: Waiting::of(waiting) })
    }
}
