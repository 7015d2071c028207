//! One contract with one fresh host, to take a lost slot of a set: the best that fits (see `choosing::slot`), by the same
//! saved steps.

use super::{Blame, Opening, Wish, period, prices_of};
use crate::AgentError;
use crate::book::{ContractRecord, For, Stage};
use crate::choosing::{Ranked, Ranking, Records, Rest, rank};
use fondaco_contract::PriceList;
use fondaco_crypto::EntityId;
use fondaco_ports::Address;
use fondaco_units::{Amount, Bytes, Timestamp};
use std::collections::BTreeSet;

/// What a buyer wants of the contract for a slot.
#[derive(Debug)]
pub(crate) struct SlotWish<'a> {
    /// The room, as the other contracts of the set have it.
    pub(crate) size_max: Bytes,
    /// Until when the set is kept; the contract lasts as long, in whole epochs.
    pub(crate) until: Timestamp,
    /// Whose contracts would not help.
    pub(crate) not: &'a BTreeSet<EntityId>,
    /// The most that it may cost.
    pub(crate) budget: Option<Amount>,
    /// How many bytes it is to pay the reading of at least, twice over.
    pub(crate) reads: Bytes,
    /// What of the set stays as it is.
    pub(crate) rest: Rest,
    /// What it is for: one of a new set is none that makes it less durable than was asked for.
    pub(crate) of: For,
}

/// The contract for a slot.
#[derive(Debug)]
pub(crate) struct OpenedSlot {
    /// It.
    pub(crate) record: ContractRecord,
    /// Whether it is the safest, and the set with it less durable than was promised.
    pub(crate) is_short_of_promise: bool,
}

impl Opening<'_> {
    /// Opens one contract with the best host that fits: the cheapest with which the set is as durable as was promised, or
    /// where there is none, the safest. A host that has no room or does not sign is passed over.
    ///
    /// # Errors
    ///
    /// No host is left, with the reason for each; the issuer refused; or the journal failed.
    pub(crate) async fn open_slot(
        &self,
        hosts: &[Address],
        wish: &SlotWish<'_>,
    ) -> Result<OpenedSlot, AgentError> {
        self.try_slot(hosts, wish).await?.map_err(|passed_over| {
            let away =
                passed_over.iter().map(|(host, why)| format!("\n   {}: {why}", host.short()));
            let away: String = away.collect();
            AgentError::Placement {
                what: format!("no other host is known that can take a lost slot{away}"),
                hint: "name one that is not in the set with --host ADDRESS, or raise --budget"
                    .to_owned(),
            }
        })
    }

    /// The same; where no host is left, the reason for each.
    ///
    /// # Errors
    ///
    /// The issuer refused; or the journal failed.
    pub(crate) async fn try_slot(
        &self,
        hosts: &[Address],
        wish: &SlotWish<'_>,
    ) -> Result<Result<OpenedSlot, Vec<(EntityId, String)>>, AgentError> {
        let fresh = hosts.iter().filter(|host| !wish.not.contains(&host.entity()));
        let fresh: Vec<Address> = fresh.cloned().collect();
        // How many epochs it takes depends on the host, and is looked at below.
        let any = Wish { bytes: wish.size_max, survive: 0.0, epochs: 1, budget: None };
        let (offers, mut passed_over) = self.ask(&fresh, any).await;
        let epochs_of = |prices: &PriceList| {
            let left = wish.until.since(self.now).div_ceil(prices.epoch);
            u32::try_from(left).unwrap_or(u32::MAX).max(1)
        };
        let (asked, records) = (prices_of(&offers), self.book.read(Records::of));
        let Ranking { fit, out } = rank(&offers, &records, &wish.rest, epochs_of)?;
        for (index, why) in out {
            passed_over.push((offers[index].list.prices.provider, why));
        }
        for Ranked { index, survive, is_as_promised } in fit {
            let offer = &offers[index];
            let prices = offer.list.prices;
            let epochs = epochs_of(&prices);
            let mut pass_over = |why: String| passed_over.push((prices.provider, why));
            if wish.of == For::Set && !is_as_promised {
                pass_over(format!("an object would survive an epoch with {survive:.6} only"));
                continue;
            }
            if prices.period_max < period(&prices, epochs) {
                pass_over(format!("it takes contracts of at most {}", prices.period_max));
                continue;
            }
            let mut record = match self.take_up(offer, wish.size_max, epochs) {
                Some(record) => record,
                None => {
                    if let Some(why) = self.unfit(&asked, &prices, wish.size_max) {
                        pass_over(why);
                        continue;
                    }
                    self.intend(offer, wish.size_max, epochs, None, wish.reads)?
                }
            };
            let held = record.hold_max;
            // Those that were tried and refused, now or before, hold money all the same.
            let (chosen, currency, now) = ([record.terms.id()].into(), self.currency, self.now);
            let idle = self.book.read(|book| book.idle_beside(&chosen, wish.of, currency, now));
            if let Some(left) = wish.budget.map(|budget| budget.saturating_sub(idle))
                && held > left
            {
                let money = |amount| self.money.show(self.currency, amount);
                pass_over(format!(
                    "its contract may cost up to {}, and of the budget {} are left",
                    money(held),
                    money(left)
                ));
                continue;
            }
            self.save(&record, wish.of)?;
            match self.complete(&record).await {
                Ok(()) => {
                    record.stage = Stage::Open;
                    return Ok(Ok(OpenedSlot { record, is_short_of_promise: !is_as_promised }));
                }
                Err(Blame::Host(error)) => pass_over(error.to_string()),
                Err(Blame::Other(error)) => return Err(error),
            }
        }
        Ok(Err(passed_over))
    }
}
