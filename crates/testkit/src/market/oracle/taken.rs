//! What providers have taken: paid for by their buyers, and not served.
//!
//! What is lost under one contract is bounded by its steps: one, and one more for every 64 that were counted, whatever process
//! of the buyer pays, and however the one before ended: what it had asked for is written down. Only a power cut may take that with it,
//! where the step was not waited for for long: then nobody knows what became of it. That a put was begun is known all the same.
//!
//! What a provider has of a put that broke off is no loss until it says that it has it no more, while its account counts it still. A buyer
//! that has asked for it may leave it there; one that begins another without asking gives it up. Once it has paid for an epoch after it
//! asked, the provider need not keep it.
//!
//! All that was signed for and did not come is bounded too: by what the contract would have its provider be ahead by when it is opened, and
//! what may be lost. Where the owner says in money how much a newcomer may have, so is that, and what was taken in the end. A provider earns
//! more by what it was paid for; that all of it was earned well is taken for granted. Where the owner does not say so, the buyer goes by
//! what is usual among the hosts that fit of those that answered: that is not judged here, since frames do not tell which those were.

use fondaco_audit::ShardId;
use fondaco_contract::{ContractId, Tab, Terms};
use fondaco_crypto::EntityId;
use fondaco_ports::market::Response;
use fondaco_units::Amount;

use std::time::Duration;

use tokio::time::Instant;

use super::{Account, Oracle, PARTS, State, UNIT, Used};

impl Oracle {
    /// A buyer trusts a provider of which it knows nothing with so much money at once; nothing if that is not bounded so.
    pub(in super::super) fn caps(&self, buyer: EntityId, newcomer: Option<Amount>) {
        if let Some(newcomer) = newcomer {
            self.state().caps.insert(buyer, newcomer.get());
        }
    }
}

/// How a process of a buyer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Ended {
    /// In order.
    InOrder,
    /// It was killed, and its machine lived.
    Killed,
    /// Its machine lost its power; when, if that is known.
    PowerCut { at: Option<Instant> },
}

/// A step that was not answered for so long is known after a power cut, too: five seconds, and one for what is between.
const SETTLED_AFTER: Duration = Duration::from_secs(6);

/// For how long a provider has a put that it was asked for after it was paid for another epoch: ten minutes, but for what is between.
const KEPT_FOR: Duration = Duration::from_secs(530);

/// A put of which the provider has the beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenPut {
    shard: ShardId,
    /// How many bytes of it were paid for.
    at: u64,
    /// When its provider has said last, and since, that it has them.
    is_there: Option<Instant>,
    /// Until when it is held to that, if it was paid for an epoch since.
    until: Option<Instant>,
}

impl Oracle {
    /// A process of a buyer has ended, in order or not.
    pub(in super::super) fn process_ended(&self, buyer: EntityId, ended: Ended) {
        for account in self.state().accounts.values_mut() {
            if account.terms.buyer == buyer {
                let waited_since = account.waits.take();
                let Ended::PowerCut { at } = ended else { continue };
                let waited = at.zip(waited_since).map(|(at, since)| at.duration_since(since));
                if waited.is_none_or(|waited| waited < SETTLED_AFTER) {
                    account.cut_short += u64::from(waited_since.is_some());
                }
            }
        }
    }
}

impl Account {
    /// Its provider says what it counts. Keeping is paid in advance, and its answer may be lost; and so may the last of a put.
    pub(super) fn hears_of(&mut self, tab: &Tab) {
        let told = Used::of(tab);
        self.came.opened |= told.opened;
        (self.came.kept, self.came.advanced) = (told.kept, told.advanced);
    }

    /// A part of a shard has come that was not answered when it was paid for.
    pub(super) fn hears_again(&mut self, part: (ShardId, u64, u64)) {
        if let Some((_, bytes)) = self.unread.take_if(|(asked, _)| *asked == part) {
            self.came.read += bytes;
        }
    }

    /// Its provider says how much it has of a shard: a step whose answer was lost has come all the same.
    pub(super) fn hears_of_put(&mut self, shard: ShardId, size: u64, said: &Response) {
        let known = self.put.entry(shard).or_default();
        let most = *known + self.terms.prices.step_max.get();
        let (at, is_news) = match *said {
            Response::Ready => (0, false),
            Response::Taken { at } => (at.get(), false),
            Response::Stored => (size, false),
            Response::Resume { at } => (at.get().min(most), true),
            Response::Have => (if size <= most { size } else { *known }, true),
            _ => return,
        };
        if is_news {
            self.came.written += at.saturating_sub(*known);
        }
        *known = at;
        let is_old = |put: &OpenPut| put.until.is_some_and(|until| until < Instant::now());
        self.open_put.take_if(|put| put.shard != shard && is_old(put));
        let before = self.open_put.take_if(|put| put.shard == shard);
        let had = before.map_or(0, |put| put.at);
        // These it has no more.
        if !before.as_ref().is_some_and(is_old) {
            self.came.written -= had.saturating_sub(at).min(self.came.written);
        }
        let is_open = match said {
            Response::Taken { .. } | Response::Resume { .. } => true,
            Response::Have => before.is_some(),
            _ => false,
        };
        if is_open {
            // A step has it kept on, and no question.
            let until = before.and_then(|put| put.until).filter(|_| is_news && at <= had);
            self.open_put =
                Some(OpenPut { shard, at, is_there: is_news.then(Instant::now), until });
        }
    }

    /// A step of another shard is signed for: a put that its provider was not asked for before is given up.
    pub(super) fn puts(&mut self, shard: ShardId) {
        if let Some(put) = self.open_put.take_if(|put| put.shard != shard)
            && put.is_there.is_none()
        {
            self.came.written -= put.at.min(self.came.written);
        }
    }

    /// A shard is to be deleted: no put of it is gone on with.
    pub(super) fn forgets(&mut self, shard: ShardId) {
        self.open_put.take_if(|put| put.shard == shard);
    }

    /// An epoch is paid for: a put that its provider was asked for before need not be kept on.
    pub(super) fn pays_an_epoch(&mut self) {
        if let Some(put) = &mut self.open_put
            && let Some(asked) = put.is_there
        {
            put.until = Some(if put.until.is_some() { Instant::now() } else { asked + KEPT_FOR });
        }
    }

    /// What its provider counts of steps that never came.
    fn lost(&self) -> u128 {
        let Used { written, read, .. } = self.known.used;
        let prices = &self.terms.prices;
        u128::from(prices.write.parts()) * u128::from(written.saturating_sub(self.came.written))
            + u128::from(prices.read.parts()) * u128::from(read.saturating_sub(self.came.read))
    }

    /// How much of that there may be when its buyer signs for more: a step of a put may be on the provider's disk.
    fn lost_max(&self) -> u128 {
        let prices = &self.terms.prices;
        let step = prices.step_max.get();
        let written = u128::from(prices.write.parts()) * u128::from(step);
        let read = u128::from(prices.read.parts()) * u128::from(step + 2 * UNIT);
        let Used { written: bytes_in, read: bytes_out, .. } = self.known.used;
        let served = u128::from(prices.write.parts()) * u128::from(bytes_in)
            + u128::from(prices.read.parts()) * u128::from(bytes_out);
        let plain = u128::from(prices.write.parts().max(prices.read.parts())) * u128::from(step);
        let counted = u64::try_from(served / plain.max(1)).unwrap_or(u64::MAX);
        let steps = 1 + counted / STEPS_PER_CHANCE + self.cut_short;
        written.max(read) * u128::from(steps) + written
    }

    /// What was signed for, beyond what came.
    fn taken(&self) -> u64 {
        self.signed.saturating_sub(self.came.cost(&self.terms.prices))
    }
}

/// For the price of how many steps that was counted one more may be lost.
const STEPS_PER_CHANCE: u64 = 64;

/// What the provider of a contract could take and run with at least: the price to open, an epoch of keeping, and a step.
fn ahead(terms: &Terms) -> u64 {
    let prices = &terms.prices;
    let step = prices.step_max.get();
    let written = u128::from(prices.write.parts()) * u128::from(step);
    let read = u128::from(prices.read.parts()) * u128::from(step + 2 * UNIT);
    let kept = u128::from(prices.store.parts()) * u128::from(terms.size_max.get());
    let whole = (kept + written.max(read)) / PARTS;
    prices.open.get() + u64::try_from(whole).unwrap_or(u64::MAX)
}

impl State {
    /// What a buyer may trust a provider with, beside this contract's own.
    fn cap(&self, buyer: EntityId, provider: EntityId, but: Option<ContractId>) -> Option<u64> {
        let newcomer = *self.caps.get(&buyer)?;
        let others = self.accounts.iter().filter(|(id, account)| {
            let sides = (account.terms.buyer, account.terms.prices.provider);
            sides == (buyer, provider) && Some(**id) != but
        });
        Some(others.fold(newcomer, |sum, (_, account)| sum.saturating_add(account.signed)))
    }

    /// A buyer asks for a contract.
    pub(super) fn opens(&mut self, terms: &Terms) {
        let (buyer, provider) = (terms.buyer, terms.prices.provider);
        let Some(cap) = self.cap(buyer, provider, Some(terms.id())) else { return };
        let ahead = ahead(terms);
        if ahead > cap {
            let who = provider.short();
            self.faults.push(format!("host {who} was trusted with {ahead}, and may be with {cap}"));
        }
    }

    /// A buyer signs for a step.
    pub(super) fn loses(&mut self, contract: ContractId) {
        let Some(account) = self.accounts.get(&contract) else { return };
        let (lost, most) = (account.lost(), account.lost_max());
        if lost > most {
            let who = account.terms.prices.provider.short();
            self.faults.push(format!(
                "host {who} was paid on when {lost} parts were lost to it, of {most} that may be"
            ));
        }
    }

    /// A buyer has signed under a contract.
    pub(super) fn takes(&mut self, contract: ContractId) {
        let Some(account) = self.accounts.get(&contract) else { return };
        let (buyer, provider) = (account.terms.buyer, account.terms.prices.provider);
        let taken = account.taken();
        let lost_max = u64::try_from(account.lost_max().div_ceil(PARTS)).unwrap_or(u64::MAX);
        let most = ahead(&account.terms).saturating_add(lost_max);
        if taken > most {
            let who = provider.short();
            self.faults.push(format!(
                "host {who} has taken {taken} under a contract that lets it have {most}"
            ));
        }
        let Some(cap) = self.cap(buyer, provider, Some(contract)) else { return };
        if taken > cap {
            let who = provider.short();
            self.faults.push(format!("host {who} has taken {taken}, and may have {cap}"));
        }
    }
}
