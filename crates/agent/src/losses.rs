//! What a provider was paid for nothing, and when to stop.
//!
//! ```text
//! paid ──┬── answered: the account is confirmed
//!        └── broke off ──► Status shows the account ──┬── as it was last: nothing was taken so far
//!                              ▲                      └── higher: taken, unless a put goes on behind it
//!                              └── again, until a step is answered: the provider still has the voucher
//! ```
//!
//! A buyer resumes from the account that the provider shows (decision 1). What that account counts beyond what was
//! answered is a loss; so are steps of a put that must be sent again. One step may be lost (the price of the dearest there
//! is), and one more for the price of every [`STEPS_PER_CHANCE`] that were counted: connections break among the honest too. After
//! that nothing more is paid for, so that a provider that takes a step and breaks off gains what may be lost and the step that
//! shows it, however often it is asked (decision 18).
//!
//! A read that the account counts and that was not answered is not lost yet: it is asked for again, which an honest provider
//! answers and does not charge (decision 49). Until that is done, or was tried in vain as often as it may be, nothing more is paid.
//!
//! All of it is in the book before anything more is paid ([`Loss`]), and so holds for as long as the contract does.

use fondaco_audit::ShardId;
use fondaco_codec::record;
use fondaco_contract::{Bill, PriceList, READ_UNIT, Tab, Terms, read_charged};
use fondaco_ports::market::AGAIN_MAX;
use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};

/// The price of how many steps, of the dearest there are, earns a provider another chance: bytes that cost nothing earn none.
const STEPS_PER_CHANCE: u64 = 64;

/// A put that broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenPut {
    /// Of which shard.
    pub shard: ShardId,
    /// Its length.
    pub size: Bytes,
    /// How many of its bytes were answered.
    pub at: Bytes,
}
record!(BrokenPut { shard, size, at });

/// A put of several steps that was begun when the power was cut, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunPut {
    /// Of which shard.
    pub shard: ShardId,
    /// Its length.
    pub size: Bytes,
    /// How many bytes in the account counted before those of the put.
    pub written: Bytes,
}
record!(BegunPut { shard, size, written });

/// A read that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenRead {
    /// Of which shard.
    pub shard: ShardId,
    /// Its length.
    pub size: Bytes,
    /// From where.
    pub offset: Bytes,
    /// How many bytes.
    pub length: Bytes,
    /// What the account counts of it, in 10⁻¹² of a unit: it is lost unless the provider sends it again.
    pub counted: u128,
    /// How often it was asked for again, and not answered.
    pub tries: u32,
}
record!(BrokenRead { shard, size, offset, length, counted, tries });

impl BrokenRead {
    /// What it costs, in 10⁻¹² of a unit.
    fn price(&self, prices: &PriceList) -> i128 {
        let charged = read_charged(self.offset, self.length, self.size);
        charged.map_or(0, |bytes| parts(prices.read.parts_for(bytes.get())))
    }
}

/// For how long a provider has a put that broke off after it was paid for another epoch: it keeps it for ten minutes.
pub(crate) const KEPT_FOR: Duration = Duration::from_seconds(540);

/// When a provider was asked for a put that broke off, before it was paid for another epoch. Until then it is held to what it said, and
/// as long as its account does not count that epoch; after that, and with the second such epoch, it need not have the put, and what it
/// has of it still explains what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedPut {
    /// Until when.
    pub until: Timestamp,
    /// How many epochs were paid for then.
    pub epochs: u64,
    /// Whether the put was to go on in that time. Where it could not, its provider may have seen to that: what it has not of it costs it
    /// a step, so that it cannot do so for long.
    pub wanted: bool,
}
record!(AskedPut { until, epochs, wanted });

/// What is known of the losses under one contract while nothing is under way. Sums are in 10⁻¹² of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// What was paid for nothing.
    pub lost: u128,
    /// How much of what the bytes of the put were charged was taken back, as after a crash of the provider.
    pub behind: u128,
    /// The account as it was last, if a request was not answered of which the provider may count the step at any time, or a
    /// put is open.
    pub broke: Option<Tab>,
    /// A put that broke off, and was not gone on with.
    pub put: Option<BrokenPut>,
    /// The read that was not answered, if that was what was asked for last.
    pub read: Option<BrokenRead>,
    /// When its provider was asked for the put, if nothing more of it came since.
    pub asked: Option<AskedPut>,
    /// How much more than was answered the account counts, if a step of the put was under way since its provider was last asked for it:
    /// what it has of that explains no more.
    pub grown: Option<u128>,
    /// How many epochs the account counted when its provider was free of a put last: it is by others that it is again.
    pub freed: u64,
}
record!(Loss { lost, behind, broke, put, read, asked, grown, freed });

impl Loss {
    /// Returns the loss of so many units, of which all is known.
    pub const fn of(lost: Amount) -> Self {
        let lost = lost.get() as u128 * Price::PARTS;
        let (broke, put, read) = (None, None, None);
        Self { lost, behind: 0, broke, put, read, asked: None, grown: None, freed: 0 }
    }

    /// Returns what is taken over into a contract at other prices that renews this one, whose account ended as `tab`: as many steps,
    /// less those that were earned. The account is the provider's last word, and is believed as far as it was `paid`; what it was
    /// paid beyond its account it posts all the same, and serves nothing for it any more.
    pub(crate) fn carried(
        &self,
        old: &PriceList,
        (tab, paid): (&Tab, Amount),
        new: &PriceList,
    ) -> Self {
        let lost = self.lost.saturating_add(self.read.map_or(0, |read| read.counted));
        let owed = Bill::of(old, &tab.meter).map_or(paid, |bill| bill.total());
        // An honest one has crashed with a put under way, and counts none of it any more: that is one step, however many it was.
        let beyond = u128::from(paid.saturating_sub(owed).get()) * Price::PARTS;
        let beyond = beyond.min(dearest(old));
        let lost = lost.saturating_add(beyond);
        let served = served(old, tab).min(u128::from(paid.get()) * Price::PARTS);
        let earned = dearest(old).saturating_mul(chances(old, served).into());
        let left = lost.saturating_sub(earned);
        let lost = match dearest(old) {
            0 => 0,
            // Rounded down: a provider is held to no more than it had.
            step => {
                (left / step).saturating_mul(dearest(new))
                    + (left % step).saturating_mul(dearest(new)) / step
            }
        };
        Self { lost, ..Self::default() }
    }

    /// Returns whether nothing more is paid under the contract, where one step may be lost at first.
    pub fn is_over(&self, prices: &PriceList) -> bool {
        Losses::new(*self, 1).over(prices).is_some()
    }
}

/// The losses with one provider under one contract. Sums are in 10⁻¹² of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Losses {
    /// How many steps may be lost at first.
    risk: u64,
    /// Never below zero.
    lost: i128,
    /// How much of what the bytes of the put were charged was taken back, as after a crash of the provider.
    behind: i128,
    /// The account as it was confirmed last.
    confirmed: Option<Tab>,
    /// The most that the provider can have of ours, whatever it says: an epoch costs no more.
    stored_max: Bytes,
    /// Whether something that is paid for was asked, and not answered yet.
    asked: bool,
    /// Whether such a request failed, and none was answered since: the provider has a voucher for it, and may count it at any
    /// time.
    broke: bool,
    /// A put that was begun.
    put: Option<BrokenPut>,
    /// Whether it broke off at least once.
    put_broke: bool,
    /// When its provider was asked for it ([`Loss::asked`]).
    put_asked: Option<AskedPut>,
    /// What the account counts beyond it, if a step of it was under way ([`Loss::grown`]): only the provider's answer to another put
    /// explains that. Never below zero.
    grown: Option<i128>,
    /// By which epoch its provider was free of a put last ([`Loss::freed`]).
    freed: u64,
    /// A put that was under way when the power was cut: how far it came is for the account to say.
    cut: Option<BegunPut>,
    /// A read that was asked for, and not answered yet.
    read: Option<BrokenRead>,
}

/// How a provider answered the beginning of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// All bytes are wanted.
    Anew,
    /// The bytes from there on are wanted.
    At(u64),
    /// It has them all, kept for so many epochs.
    Had { epochs: u64 },
}

impl Losses {
    /// Begins with what was known before, and with how many steps may be lost.
    pub(crate) fn new(known: Loss, risk: u64) -> Self {
        let Loss { lost, behind, broke, put, read, asked, grown, freed } = known;
        Self {
            risk,
            lost: parts(lost),
            behind: parts(behind),
            confirmed: broke,
            stored_max: Bytes::MAX,
            asked: false,
            broke: broke.is_some(),
            put,
            put_broke: put.is_some(),
            put_asked: asked,
            grown: grown.map(parts),
            freed,
            cut: None,
            read,
        }
    }

    /// A put was under way when the power was cut.
    pub(crate) const fn cut(&mut self, put: Option<BegunPut>) {
        self.cut = put;
    }

    /// Returns the put that begins, whose account is `tab`, if a power cut could make it more than a step that is not known.
    pub(crate) fn begun(&self, prices: &PriceList, tab: &Tab) -> Option<BegunPut> {
        // One that broke off is in the book, with each of its steps.
        let put = self.put.filter(|put| !self.put_broke && put.size > prices.step_max)?;
        let written = tab.meter.written.saturating_sub(put.at.get());
        Some(BegunPut { shard: put.shard, size: put.size, written: Bytes::new(written) })
    }

    /// Returns whether a put is begun that is neither done nor known to be broken.
    pub(crate) const fn is_putting(&self) -> bool {
        self.put.is_some() && !self.put_broke
    }

    /// Returns what must be known to go on from here another time.
    pub(crate) fn known(&self) -> Loss {
        Loss {
            lost: self.lost.max(0).unsigned_abs(),
            behind: self.behind.max(0).unsigned_abs(),
            // While a put is open, too: what it was charged may be taken back.
            broke: self.confirmed.filter(|_| self.broke || self.put_broke),
            put: self.put.filter(|_| self.put_broke),
            read: self.read.filter(|_| self.broke),
            asked: self.put_asked.filter(|_| self.put_broke),
            grown: self.grown.filter(|_| self.put_broke).map(i128::unsigned_abs),
            freed: self.freed,
        }
    }

    /// Returns what would have to be known if its process ended now.
    pub(crate) fn known_at_an_end(&self) -> Loss {
        let mut ended = *self;
        if ended.is_under_way() {
            ended.ends();
        }
        ended.known()
    }

    /// Returns the account as it was confirmed last, if it was.
    pub(crate) const fn account(&self) -> Option<Tab> {
        self.confirmed
    }

    /// The provider can have so much of ours, and no more.
    pub(crate) const fn given(&mut self, bytes: Bytes) {
        self.stored_max = bytes;
    }

    /// Something that is paid for is asked.
    pub(crate) const fn asks(&mut self) {
        self.asked = true;
    }

    /// Steps of a put are asked for from now on.
    pub(crate) fn put_goes_on(&mut self) {
        self.grown.get_or_insert(0);
    }

    /// A part of a shard is asked for.
    pub(crate) const fn asks_to_read(&mut self, shard: ShardId, size: Bytes, part: (Bytes, Bytes)) {
        let (offset, length) = part;
        self.read = Some(BrokenRead { shard, size, offset, length, counted: 0, tries: 0 });
        self.asked = true;
    }

    /// Returns a read that was counted, and is to be sent again before anything more is paid.
    pub(crate) fn counted_read(&self) -> Option<BrokenRead> {
        self.read.filter(|read| read.counted > 0)
    }

    /// It was asked for again in vain: as often as it may be, and it is lost.
    pub(crate) fn read_failed(&mut self) {
        let tries = self.read.as_mut().map_or(0, |read| {
            read.tries = read.tries.saturating_add(1);
            read.tries
        });
        if tries >= AGAIN_MAX {
            self.read_is_lost();
        }
    }

    /// The provider does not send it again.
    pub(crate) fn read_is_lost(&mut self) {
        let counted = self.read.take().map_or(0, |read| parts(read.counted));
        self.lost = self.lost.saturating_add(counted);
    }

    /// Returns whether a read was not answered, so that something may have to be sent again.
    pub(crate) const fn is_reading(&self) -> bool {
        self.read.is_some()
    }

    /// Returns whether a read of a shard was not answered: it is to be sent again before the shard is deleted.
    pub(crate) fn reads(&self, shard: ShardId) -> bool {
        self.read.is_some_and(|read| read.shard == shard)
    }

    /// Nobody waits for the answer any more: by our own choice. What was to be read can be sent again, and a put gone on with; of
    /// anything else nothing is held against the provider.
    pub(crate) const fn ends(&mut self) {
        if self.read.is_some() || self.put.is_some() {
            self.broke();
        }
        self.asked = false;
    }

    /// Returns whether an answer is waited for, or a put is begun that is neither done nor known to be broken.
    pub(crate) const fn is_under_way(&self) -> bool {
        self.asked || self.is_putting()
    }

    /// A request failed: if it was one that is paid for, what it took is not known.
    pub(crate) const fn broke(&mut self) {
        self.broke |= self.asked;
        self.asked = false;
        self.put_broke |= self.put.is_some();
    }

    /// A step was answered; the account is now `tab`, on both sides.
    pub(crate) fn answered(&mut self, tab: &Tab) {
        (self.asked, self.broke, self.read) = (false, false, None);
        self.confirmed = Some(*tab);
    }

    /// The provider shows its account. What it counts more than before was not answered: nobody else pays for it.
    pub(crate) fn shown(&mut self, prices: &PriceList, tab: &Tab) {
        if let Some(cut) = self.cut.take()
            && self.put.is_none()
        {
            // Where the account of before is known, nothing was answered since, and what it counts since is seen below.
            let counted = self.confirmed.unwrap_or(*tab).meter.written;
            let at = counted.saturating_sub(cut.written.get()).min(cut.size.get());
            self.put = Some(BrokenPut { shard: cut.shard, size: cut.size, at: Bytes::new(at) });
            (self.put_broke, self.grown) = (true, Some(0));
        }
        if let Some(confirmed) = self.confirmed {
            let (new, old) = (&tab.meter, &confirmed.meter);
            // An epoch that it does not count any more is to be paid anew: what it was charged must not be counted any more either.
            let epochs = i128::from(tab.epochs_paid) - i128::from(confirmed.epochs_paid);
            let store = |byte_epochs: u128| {
                parts(u128::from(prices.store.parts())).saturating_mul(parts(byte_epochs))
            };
            let stored = confirmed.stored.min(self.stored_max);
            let advanced = store(stored.get().into()).saturating_mul(epochs);
            let kept = store(new.byte_epochs)
                .saturating_sub(store(old.byte_epochs))
                .saturating_sub(advanced);
            let mut read =
                parts(prices.read.parts_for(new.read)) - parts(prices.read.parts_for(old.read));
            // What the read that was not answered comes to is not lost before it was asked for again.
            if let Some(broken) = self.read.as_mut().filter(|_| self.broke || self.asked) {
                let counted = parts(broken.counted);
                let now = counted.saturating_add(read).clamp(0, broken.price(prices));
                broken.counted = now.unsigned_abs();
                read = read.saturating_sub(now - counted);
            }
            let written = parts(prices.write.parts_for(new.written))
                - parts(prices.write.parts_for(old.written));
            // What the bytes of a put that is open were charged makes up for them alone, and for nothing else that was lost. What it
            // counted beyond them is taken back first.
            let open = self.put.map_or(0, |put| parts(prices.write.parts_for(put.at.get())));
            let grown = self.grown.unwrap_or(0);
            let gone = written.min(0).saturating_neg().saturating_sub(grown).max(0);
            let again = written.max(0).min(self.behind);
            let back = gone.min(open.saturating_sub(self.behind)) - again;
            self.behind = self.behind.saturating_add(back).max(0);
            let written = kept.saturating_add(written.saturating_add(back));
            self.grown = self.grown.map(|grown| grown.saturating_add(written).max(0));
            self.lost = self.lost.saturating_add(written.saturating_add(read)).max(0);
        }
        // Whoever stopped waiting for an answer does not know either what became of it.
        self.broke |= self.asked;
        self.asked = false;
        self.confirmed = Some(*tab);
    }

    /// A put begins: what an earlier one left behind is explained by it, or lost.
    pub(crate) fn put_begins(
        &mut self,
        terms: &Terms,
        shard: ShardId,
        size: Bytes,
        start: Start,
        now: Timestamp,
    ) {
        let is_another = self.put.is_some_and(|put| put.shard != shard);
        if self.put_asked.is_some() && is_another {
            self.forget_put();
        }
        let free = self.put_asked.filter(|asked| self.is_free(terms, *asked, now));
        let prices = &terms.prices;
        let written = |bytes: u64| parts(prices.write.parts_for(bytes));
        let behind = std::mem::take(&mut self.behind);
        let grown = self.grown.take();
        let before = match self.put.take() {
            Some(put) if put.shard == shard => put.at.get(),
            Some(put) => {
                self.lost = self.lost.saturating_add(written(put.at.get()));
                self.put_broke = false;
                0
            }
            None => match start {
                Start::Anew => 0,
                // Of another process's put: it was paid by that one.
                Start::At(at) => at,
                Start::Had { .. } => return,
            },
        };
        let explained = explained(prices, before, size, start);
        // An account that is still behind is no credit for later.
        let gone = written(before).saturating_sub(behind).saturating_sub(explained).max(0);
        if let Some(tab) = self.confirmed.filter(|_| free.is_some() && gone > 0) {
            self.freed = self.freed.max(tab.epochs_paid);
        }
        let gone = match free {
            None => gone,
            // What it need not have is not lost; what it has explains the step that was under way all the same.
            Some(AskedPut { wanted: false, .. }) => 0,
            Some(AskedPut { wanted: true, .. }) => gone.min(parts(dearest(prices))),
        };
        let more = explained.saturating_sub(written(before)).max(0);
        // What was never counted for a step of it explains nothing: it would make up for something else.
        let counted = more.min(grown.unwrap_or(0));
        // What it has not counted at all it may count later.
        let is_ahead = more > 0 && counted == 0;
        self.lost = self.lost.saturating_add(gone).saturating_sub(counted).max(0);
        let at = match start {
            Start::Anew => {
                self.put_asked = None;
                0
            }
            _ if is_ahead => before,
            Start::At(at) => at,
            Start::Had { .. } if size.get() <= most(prices, before) => size.get(),
            Start::Had { .. } => before,
        };
        // A step more has it kept on.
        self.put_asked = self.put_asked.filter(|_| at <= before);
        self.grown = grown.filter(|_| is_ahead);
        self.put = Some(BrokenPut { shard, size, at: Bytes::new(at) });
    }

    /// Returns whether a provider says that it has a step of a put that its account did not count when it was shown last.
    pub(crate) fn is_ahead(
        &self,
        prices: &PriceList,
        shard: ShardId,
        size: Bytes,
        start: Start,
    ) -> bool {
        let (Some(put), Some(grown)) = (self.put.filter(|put| put.shard == shard), self.grown)
        else {
            return false;
        };
        let before = put.at.get();
        explained(prices, before, size, start) - parts(prices.write.parts_for(before)) > grown
    }

    /// Returns whether a provider need not have a put any more that it was asked for. Epochs that have not begun yet are none that
    /// were paid for, whatever it says; and a time that is further off than any is that of another clock.
    fn is_free(&self, terms: &Terms, asked: AskedPut, now: Timestamp) -> bool {
        let is_of_another = now.after(KEPT_FOR) < asked.until;
        let begun = if is_of_another { u64::MAX } else { terms.epoch_at(now).saturating_add(1) };
        let is_over = asked.until < now || is_of_another;
        self.confirmed.is_none_or(|tab| {
            let epochs = tab.epochs_paid.min(begun).saturating_sub(asked.epochs);
            epochs >= 2 || (epochs == 1 && is_over)
        })
    }

    /// Returns whether an epoch was paid for since a put was asked for.
    fn is_paid_since(&self, asked: AskedPut) -> bool {
        self.confirmed.is_none_or(|tab| tab.epochs_paid > asked.epochs)
    }

    /// Its provider has been asked for a put and is to be paid for an epoch, after which it need not keep it for long: it is held to it
    /// until then.
    pub(crate) fn put_asked(&mut self, asked: AskedPut) {
        if self.put.is_none_or(|put| put.at == Bytes::ZERO) {
            self.forget_put();
            return;
        }
        // One that has got no further since an epoch ago is no newer by a question.
        if self.put_asked.is_none_or(|before| !self.is_paid_since(before)) {
            self.put_asked = Some(AskedPut { epochs: asked.epochs.max(self.freed), ..asked });
        }
    }

    /// A put is to go on: its provider is held to that, as long as it is to what it said when it was asked for it.
    pub(crate) fn wants_put(&mut self, terms: &Terms, shard: ShardId, now: Timestamp) {
        let is_this = self.put.is_some_and(|put| put.shard == shard);
        let asked = self.put_asked.filter(|asked| is_this && !self.is_free(terms, *asked, now));
        if let Some(asked) = asked {
            self.put_asked = Some(AskedPut { wanted: true, ..asked });
        }
    }

    /// A put's bytes up to `at` were answered; the account is now `tab`.
    pub(crate) fn put_answered(&mut self, tab: &Tab, at: Bytes) {
        // From now on it keeps it as one that was begun now.
        (self.put_asked, self.grown) = (None, Some(0));
        if let Some(put) = &mut self.put {
            put.at = at;
        }
        self.answered(tab);
    }

    /// A put was stored.
    pub(crate) fn put_done(&mut self, tab: &Tab) {
        self.forget_put();
        self.answered(tab);
    }

    /// A put is not gone on with: by our own choice, so that what it has cost is not the provider's gain.
    pub(crate) const fn forget_put(&mut self) {
        (self.put, self.put_broke, self.behind) = (None, false, 0);
        (self.grown, self.put_asked) = (None, None);
    }

    /// A provider that said that it has all of a put is free of it, if it is: it is not asked for that any more.
    pub(crate) fn forget_what_it_had(&mut self, terms: &Terms, now: Timestamp) {
        let is_whole = self.put.is_some_and(|put| put.at == put.size);
        if self.put_asked.is_some_and(|asked| is_whole && self.is_free(terms, asked, now)) {
            self.forget_put();
        }
    }

    /// A put of this shard is not gone on with, if there is one.
    pub(crate) fn forget_put_of(&mut self, shard: ShardId) {
        if self.put.is_some_and(|put| put.shard == shard) {
            self.forget_put();
        }
    }

    /// Returns whether a put of this shard may have broken off: it is asked for before the shard is deleted.
    pub(crate) fn may_have_put(&self, shard: ShardId) -> bool {
        let cut = self.cut.is_some_and(|put| put.shard == shard);
        cut || self.put.is_some_and(|put| put.shard == shard)
    }

    /// Returns a put that broke off and that its provider is to be asked for: it was not, or a step was under way since, or the epoch
    /// for which it was asked is not paid for.
    pub(crate) fn open_put(&self) -> Option<BrokenPut> {
        let is_done = |asked| self.is_paid_since(asked) && self.grown.is_none();
        self.put.filter(|_| !self.put_asked.is_some_and(is_done))
    }

    /// Returns a put of another shard that broke off and that its provider is to be asked for.
    pub(crate) fn other_put(&self, shard: ShardId) -> Option<BrokenPut> {
        self.open_put().filter(|put| put.shard != shard)
    }

    /// Returns what was lost and what may be, in units, if no more is to be paid.
    pub(crate) fn over(&self, prices: &PriceList) -> Option<(Amount, Amount)> {
        let step = prices.step_max.get();
        let earned = self.confirmed.map_or(0, |tab| chances(prices, served(prices, &tab)));
        let chances = self.risk.saturating_add(earned);
        let limit = parts(dearest(prices)).saturating_mul(i128::from(chances));
        let open = self.grown.map_or(0, |_| parts(prices.write.parts_for(step)));
        (self.lost > limit.saturating_add(open)).then(|| (units(self.lost), units(limit)))
    }
}

/// How far a provider may have come with a put, of which so many bytes were answered.
const fn most(prices: &PriceList, before: u64) -> u64 {
    before.saturating_add(prices.step_max.get())
}

/// What a provider has of a put, of which so many bytes were answered before. Only the last step that was sent may be on its disk
/// without an answer: a claim of more explains no more.
fn explained(prices: &PriceList, before: u64, size: Bytes, start: Start) -> i128 {
    let written = |bytes: u64| parts(prices.write.parts_for(bytes));
    let most = most(prices, before);
    match start {
        Start::Anew => 0,
        Start::At(at) => written(at.min(most)),
        // All of the put, its keeping too.
        Start::Had { epochs } if before < size.get() && size.get() <= most => {
            let kept = parts(prices.store.parts_for(size.get()));
            written(size.get()).saturating_add(kept.saturating_mul(i128::from(epochs)))
        }
        Start::Had { .. } => written(before),
    }
}

/// What the bytes in and out are charged that an account counts: at most what vouchers cover, whatever a provider says that it
/// served for nothing.
fn served(prices: &PriceList, tab: &Tab) -> u128 {
    let written = prices.write.parts_for(tab.meter.written);
    written.saturating_add(prices.read.parts_for(tab.meter.read))
}

/// How many chances service of so much money earns.
fn chances(prices: &PriceList, served: u128) -> u64 {
    let step = prices.step_max.get();
    let step = prices.write.parts_for(step).max(prices.read.parts_for(step));
    let steps = served / step.max(1);
    u64::try_from(steps / u128::from(STEPS_PER_CHANCE)).unwrap_or(u64::MAX)
}

/// What the dearest step there is costs: a read that begins and ends inside a unit is charged for both of them whole.
fn dearest(prices: &PriceList) -> u128 {
    let step = prices.step_max.get();
    let read = prices.read.parts_for(step + 2 * READ_UNIT.get());
    prices.write.parts_for(step).max(read)
}

fn parts(parts: u128) -> i128 {
    i128::try_from(parts).unwrap_or(i128::MAX)
}

/// Rounds up to whole units.
fn units(parts: i128) -> Amount {
    let parts = u128::try_from(parts).unwrap_or(0);
    Amount::new(u64::try_from(parts.div_ceil(Price::PARTS)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
