//! The deposit notices that wait for one holder.

use crate::{DEPOSITS_PER_PAGE_MAX, DEPOSITS_WAITING_MAX, Deposit, Refusal};
use fondaco_codec::{List, Text};
use fondaco_crypto::EntityId;
use fondaco_units::{Amount, Timestamp};
use std::collections::VecDeque;

/// Numbered from 1 without gaps; those acknowledged are gone from the front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    waiting: VecDeque<Deposit>,
    last: u64,
}

impl Notices {
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= DEPOSITS_WAITING_MAX
    }

    pub(crate) fn add(
        &mut self,
        at: Timestamp,
        payer: Option<EntityId>,
        amount: Amount,
        order: Text<64>,
    ) {
        self.last += 1;
        self.waiting.push_back(Deposit { number: self.last, payer, amount, order, at });
    }

    /// Returns the first of those numbered over `after`, and whether there are more.
    pub(crate) fn page(&self, after: u64) -> (List<Deposit, DEPOSITS_PER_PAGE_MAX>, bool) {
        let skipped = self.place_after(after);
        let page = self.waiting.range(skipped..).take(DEPOSITS_PER_PAGE_MAX);
        let page: Vec<Deposit> = page.cloned().collect();
        let more = self.waiting.len() - skipped > page.len();
        (List::new(page).expect("no more than a page was taken"), more)
    }

    /// Forgets those numbered up to `through`, if as many have arrived.
    pub(crate) fn acknowledge(&mut self, through: u64) -> Result<(), Refusal> {
        if through > self.last {
            return Err(Refusal::DepositUnknown { through, last: self.last });
        }
        let gone = self.place_after(through);
        self.waiting.drain(..gone);
        // A box that was full once must not keep its memory for ever.
        if self.waiting.capacity() / 4 > self.waiting.len() {
            self.waiting.shrink_to_fit();
        }
        Ok(())
    }

    /// How many of those that wait have a number up to `number`.
    fn place_after(&self, number: u64) -> usize {
        let before_first = self.last - self.waiting();
        let place = number.saturating_sub(before_first).min(self.waiting());
        usize::try_from(place).unwrap_or(self.waiting.len())
    }
}
