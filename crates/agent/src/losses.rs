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
use fondaco_contract::{PriceList, READ_UNIT, Tab, read_charged};
use fondaco_ports::market::AGAIN_MAX;
use fondaco_units::{Amount, Bytes, Price};

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
}

impl Loss {
    /// Returns the loss of so many units, of which all is known.
    pub const fn of(lost: Amount) -> Self {
        let lost = lost.get() as u128 * Price::PARTS;
        Self { lost, behind: 0, broke: None, put: None, read: None }
    }

    /// Returns what is taken over into a contract at other prices that renews this one, whose account ended as `tab`: as many steps,
    /// less those that were earned. The account is the provider's last word, and is believed as far as it was `paid`.
    pub(crate) fn carried(
        &self,
        old: &PriceList,
        (tab, paid): (&Tab, Amount),
        new: &PriceList,
    ) -> Self {
        let lost = self.lost.saturating_add(self.read.map_or(0, |read| read.counted));
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
    /// Whether something that is paid for was asked, and not answered yet.
    asked: bool,
    /// Whether such a request failed, and none was answered since: the provider has a voucher for it, and may count it at any
    /// time.
    broke: bool,
    /// A put that was begun.
    put: Option<BrokenPut>,
    /// Whether it broke off at least once.
    put_broke: bool,
    /// A read that was asked for, and not answered yet.
    read: Option<BrokenRead>,
    /// Whether the account may count a step of it that only the provider's answer to another put explains.
    unexplained: bool,
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
        let Loss { lost, behind, broke, put, read } = known;
        Self {
            risk,
            lost: parts(lost),
            behind: parts(behind),
            confirmed: broke,
            asked: false,
            broke: broke.is_some(),
            put,
            put_broke: put.is_some(),
            read,
            unexplained: put.is_some(),
        }
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
        }
    }

    /// Returns the account as it was confirmed last, if it was.
    pub(crate) const fn account(&self) -> Option<Tab> {
        self.confirmed
    }

    /// Something that is paid for is asked.
    pub(crate) const fn asks(&mut self) {
        self.asked = true;
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
        self.asked || (self.put.is_some() && !self.put_broke)
    }

    /// A request failed: if it was one that is paid for, what it took is not known.
    pub(crate) const fn broke(&mut self) {
        self.broke |= self.asked;
        self.asked = false;
        self.put_broke |= self.put.is_some();
        self.unexplained |= self.put.is_some();
    }

    /// A step was answered; the account is now `tab`, on both sides.
    pub(crate) fn answered(&mut self, tab: &Tab) {
        (self.asked, self.broke, self.read) = (false, false, None);
        self.confirmed = Some(*tab);
    }

    /// The provider shows its account. What it counts more than before was not answered: nobody else pays for it.
    pub(crate) fn shown(&mut self, prices: &PriceList, tab: &Tab) {
        if let Some(confirmed) = self.confirmed {
            let (new, old) = (&tab.meter, &confirmed.meter);
            let epochs = tab.epochs_paid.saturating_sub(confirmed.epochs_paid);
            let store = |byte_epochs: u128| {
                parts(u128::from(prices.store.parts())).saturating_mul(parts(byte_epochs))
            };
            let advanced = store(u128::from(confirmed.stored.get()).saturating_mul(epochs.into()));
            let kept = store(new.byte_epochs) - store(old.byte_epochs) - advanced;
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
            // What the bytes of a put that is open were charged makes up for them alone, and for nothing else that was lost.
            let open = self.put.map_or(0, |put| parts(prices.write.parts_for(put.at.get())));
            let back = written.min(0).saturating_neg().min(open.saturating_sub(self.behind));
            self.behind = self.behind.saturating_add(back);
            let taken = kept.saturating_add(read).saturating_add(written.saturating_add(back));
            self.lost = self.lost.saturating_add(taken).max(0);
        }
        // Whoever stopped waiting for an answer does not know either what became of it.
        self.broke |= self.asked;
        self.asked = false;
        self.confirmed = Some(*tab);
    }

    /// A put begins: what an earlier one left behind is explained by it, or lost.
    pub(crate) fn put_begins(
        &mut self,
        prices: &PriceList,
        shard: ShardId,
        size: Bytes,
        start: Start,
    ) {
        let written = |bytes: u64| parts(prices.write.parts_for(bytes));
        self.unexplained = false;
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
        // Only the last step that was sent may be on its disk without an answer: a claim of more explains no more.
        let most = before.saturating_add(prices.step_max.get());
        let explained = match start {
            Start::Anew => 0,
            Start::At(at) => written(at.min(most)),
            // All of the put, its keeping too.
            Start::Had { epochs } if size.get() <= most => {
                let kept = parts(prices.store.parts_for(size.get()));
                written(size.get()).saturating_add(kept.saturating_mul(i128::from(epochs)))
            }
            Start::Had { .. } => written(before),
        };
        let owed = written(before).saturating_sub(std::mem::take(&mut self.behind)).max(0);
        // An account that is still behind is no credit for later.
        self.lost = self.lost.saturating_add(owed).saturating_sub(explained).max(0);
        match start {
            Start::Had { .. } => self.put_broke = false,
            Start::Anew => self.put = Some(BrokenPut { shard, size, at: Bytes::ZERO }),
            Start::At(at) => self.put = Some(BrokenPut { shard, size, at: Bytes::new(at) }),
        }
    }

    /// A put's bytes up to `at` were answered; the account is now `tab`.
    pub(crate) fn put_answered(&mut self, tab: &Tab, at: Bytes) {
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
        (self.put, self.put_broke, self.unexplained, self.behind) = (None, false, false, 0);
    }

    /// Returns a put of another shard that broke off.
    pub(crate) fn other_put(&self, shard: ShardId) -> Option<BrokenPut> {
        self.put.filter(|put| put.shard != shard)
    }

    /// Returns what was lost and what may be, in units, if no more is to be paid.
    pub(crate) fn over(&self, prices: &PriceList) -> Option<(Amount, Amount)> {
        let step = prices.step_max.get();
        let earned = self.confirmed.map_or(0, |tab| chances(prices, served(prices, &tab)));
        let chances = self.risk.saturating_add(earned);
        let limit = parts(dearest(prices)).saturating_mul(i128::from(chances));
        let open = if self.unexplained { parts(prices.write.parts_for(step)) } else { 0 };
        (self.lost > limit.saturating_add(open)).then(|| (units(self.lost), units(limit)))
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
mod tests {
    use super::*;
    use fondaco_contract::{Charge, Terms};
    use fondaco_crypto::{CurrencyId, SecretKey};
    use fondaco_units::{Bytes, Duration, Timestamp};

    const STEP: u64 = 1 << 16;
    const SIZE: Bytes = Bytes::new(51 * STEP);

    fn terms() -> Terms {
        let key = SecretKey::from_bytes(&[1; 32]);
        let list = PriceList {
            provider: key.entity(),
            currency: CurrencyId::issued_by(key.entity()),
            open: Amount::new(5),
            store: Price::from_parts(1 << 40),
            write: Price::from_parts(1 << 41),
            read: Price::from_parts(1 << 42),
            capacity: Bytes::new(1 << 30),
            period_max: Duration::from_seconds(86_400),
            epoch: Duration::from_seconds(3600),
            step_max: Bytes::new(STEP),
            issued: Timestamp::EPOCH,
            expires: Timestamp::EPOCH.after(Duration::from_seconds(3600)),
        };
        let day = Duration::from_seconds(86_400);
        let size = Bytes::new(1 << 30);
        Terms::new(key.entity(), &list.sign(&key), size, Timestamp::EPOCH, day, 1)
    }

    fn shard(name: u8) -> ShardId {
        ShardId::of(&[name])
    }

    /// A buyer's and a provider's account, and what the buyer makes of it.
    struct Game {
        terms: Terms,
        host: Tab,
        buyer: Tab,
        losses: Losses,
    }

    impl Game {
        fn new() -> Self {
            let terms = terms();
            let tab = Tab::default().after(&terms, Charge::Open).unwrap();
            let mut losses = Losses::new(Loss::default(), 1);
            losses.shown(&terms.prices, &tab);
            Self { terms, host: tab, buyer: tab, losses }
        }

        /// A step of a put: whether the provider counts it, and whether it answers.
        fn write(&mut self, counts: bool, answers: bool) {
            let after = self.buyer.after(&self.terms, Charge::Write { bytes: Bytes::new(STEP) });
            self.losses.asks();
            if counts {
                self.host = after.unwrap();
            }
            if answers {
                self.buyer = after.unwrap();
                let at = self.losses.put.unwrap().at.get() + STEP;
                self.losses.put_answered(&self.buyer, Bytes::new(at));
            } else {
                self.losses.broke();
            }
        }

        fn read(&mut self, counts: bool, answers: bool) {
            let after = self.buyer.after(&self.terms, Charge::Read { bytes: Bytes::new(STEP) });
            self.losses.asks();
            if counts {
                self.host = after.unwrap();
            }
            if answers {
                self.buyer = after.unwrap();
                self.losses.answered(&self.buyer);
            } else {
                self.losses.broke();
                self.sync();
            }
        }

        fn sync(&mut self) {
            self.buyer = self.host;
            self.losses.shown(&self.terms.prices, &self.host);
        }

        fn begin(&mut self, start: Start) {
            self.losses.put_begins(&self.terms.prices, shard(1), SIZE, start);
        }

        fn is_over(&self) -> bool {
            self.losses.over(&self.terms.prices).is_some()
        }
    }

    /// The hole that this closes: six retries, each of which a provider takes a step of, and breaks off.
    #[test]
    fn who_takes_steps_and_breaks_off_gets_one_in_all() {
        let mut game = Game::new();
        game.read(true, false);
        assert!(!game.is_over(), "one step may be lost");
        game.read(true, false);
        assert!(game.is_over());
        let mut game = Game::new();
        for retry in 0..6 {
            game.begin(Start::Anew);
            if game.is_over() {
                // A step of reading costs here what three of writing do.
                assert_eq!(retry, 4);
                return;
            }
            game.write(true, false);
            game.sync();
        }
        panic!("paid six times");
    }

    /// It shows its account as it was, and counts the step afterwards: the voucher is still good.
    #[test]
    fn who_counts_a_step_later_is_found_as_well() {
        let mut game = Game::new();
        for round in 0..6 {
            game.begin(Start::Anew);
            if game.is_over() {
                assert_eq!(round, 4);
                return;
            }
            let after = game.buyer.after(&game.terms, Charge::Write { bytes: Bytes::new(STEP) });
            game.losses.asks();
            game.losses.broke();
            game.sync();
            // Another process may ask next.
            game.losses = Losses::new(game.losses.known(), 1);
            game.host = after.unwrap();
            game.sync();
        }
        panic!("paid six times");
    }

    /// A put broke, something else was answered, and the provider then forgot the put and its charge.
    #[test]
    fn a_put_that_was_forgotten_with_its_charge_is_no_loss() {
        let mut game = Game::new();
        game.begin(Start::Anew);
        let before = game.host;
        for _ in 0..20 {
            game.write(true, true);
        }
        game.losses.broke();
        game.sync();
        let put = Bytes::new(20 * STEP);
        game.read(true, true);
        game.losses = Losses::new(game.losses.known(), 1);
        game.host.meter.written = before.meter.written;
        game.sync();
        assert_eq!(game.losses.other_put(shard(2)).unwrap().at, put);
        // It makes up for no other step.
        let mut reading = Game { terms: game.terms, ..game };
        for _ in 0..3 {
            reading.read(true, false);
        }
        assert!(reading.is_over());
        game.begin(Start::Anew);
        assert_eq!(game.losses.lost, 0);
        assert!(!game.is_over());
    }

    #[test]
    fn breaks_that_cost_nothing_are_no_loss() {
        let mut game = Game::new();
        for _ in 0..100 {
            game.read(false, false);
        }
        // A put that goes on where it broke, whether or not the last step was counted.
        game.begin(Start::Anew);
        for round in 1..=50_u64 {
            game.write(true, round % 2 == 0);
            game.sync();
            game.begin(Start::At(round * STEP));
        }
        assert_eq!(game.losses.lost, 0);
        // All was taken, and the last answer got lost.
        let kept = Charge::Store { bytes: Bytes::new(51 * STEP), epochs: 1 };
        let last =
            game.buyer.after(&game.terms, Charge::Write { bytes: Bytes::new(STEP) }).unwrap();
        game.host = last.after(&game.terms, kept).unwrap();
        game.losses.asks();
        game.losses.broke();
        game.sync();
        game.begin(Start::Had { epochs: 1 });
        assert_eq!(game.losses.lost, 0);
        // An advance whose answer got lost.
        game.host = game.host.after(&game.terms, Charge::Advance).unwrap();
        game.losses.asks();
        game.losses.broke();
        game.sync();
        assert_eq!(game.losses.lost, 0);
        assert!(!game.is_over());
    }

    /// A provider that crashes forgets what it had counted: that is its own loss, and no credit for later.
    #[test]
    fn a_crash_of_the_provider_costs_the_buyer_nothing() {
        let mut game = Game::new();
        let before = game.host;
        game.begin(Start::Anew);
        for _ in 0..20 {
            game.write(true, true);
        }
        game.losses.asks();
        game.losses.broke();
        game.host = before;
        game.sync();
        game.begin(Start::Anew);
        assert_eq!(game.losses.lost, 0);
        assert!(!game.is_over());
        // The same without forgetting is twenty steps for nothing.
        for _ in 0..20 {
            game.write(true, true);
        }
        game.losses.asks();
        game.losses.broke();
        game.sync();
        game.begin(Start::Anew);
        assert!(game.is_over());
    }

    /// A line that breaks costs an honest provider nothing: it sends again what it counted. Who does not has had a step.
    #[test]
    fn a_read_that_was_counted_is_lost_unless_it_is_sent_again() {
        let price = parts(terms().prices.read.parts_for(STEP));
        let broken = |game: &mut Game| {
            game.losses.asks_to_read(shard(1), SIZE, (Bytes::ZERO, Bytes::new(STEP)));
            let after = game.buyer.after(&game.terms, Charge::Read { bytes: Bytes::new(STEP) });
            game.host = after.unwrap();
            game.losses.broke();
            game.losses = Losses::new(game.losses.known(), 1);
            assert_eq!(game.losses.counted_read(), None, "it is not known yet");
            game.sync();
            game.losses = Losses::new(game.losses.known(), 1);
            assert_eq!(parts(game.losses.counted_read().unwrap().counted), price);
            assert_eq!(game.losses.lost, 0);
        };
        let mut game = Game::new();
        for _ in 0..100 {
            broken(&mut game);
            game.sync();
            game.losses.answered(&game.host);
            assert_eq!(game.losses.known(), Loss::default());
        }
        // It refuses, or breaks off as often as may be.
        broken(&mut game);
        game.losses.read_is_lost();
        assert_eq!((game.losses.lost, game.losses.counted_read()), (price, None));
        assert!(!game.is_over(), "one step may be lost, and a hundred were counted");
        game.losses.lost = 0;
        broken(&mut game);
        for tried in 1..=AGAIN_MAX {
            game.losses.read_failed();
            game.losses = Losses::new(game.losses.known(), 1);
            assert_eq!(game.losses.lost, if tried < AGAIN_MAX { 0 } else { price });
        }
        // What it counts beyond the read is lost at once.
        let mut game = Game::new();
        broken(&mut game);
        game.host = game.host.after(&game.terms, Charge::Read { bytes: Bytes::new(STEP) }).unwrap();
        game.sync();
        assert_eq!(game.losses.lost, price);
        assert_eq!(parts(game.losses.counted_read().unwrap().counted), price);
        // A crash that forgot both makes up for no other.
        game.host = game.buyer;
        game.host.meter.read = 0;
        game.sync();
        assert_eq!((game.losses.lost, game.losses.counted_read()), (0, None));
    }

    #[test]
    fn what_is_known_outlives_the_process() {
        let again = |game: &mut Game| game.losses = Losses::new(game.losses.known(), 1);
        // A step for each process: the first may be lost, the second shows it.
        let mut game = Game::new();
        game.losses.asks();
        game.host =
            game.buyer.after(&game.terms, Charge::Read { bytes: Bytes::new(STEP) }).unwrap();
        game.losses.broke();
        again(&mut game);
        game.sync();
        assert!(!game.is_over());
        again(&mut game);
        game.sync();
        game.read(true, false);
        again(&mut game);
        assert!(game.is_over());
        // Nothing was taken: nothing is lost.
        let mut game = Game::new();
        for _ in 0..100 {
            game.losses.asks();
            game.losses.broke();
            again(&mut game);
            game.sync();
            again(&mut game);
        }
        game.read(true, true);
        assert_eq!(game.losses.known(), Loss::default());
        // A put that goes on in another process, whose last step was counted.
        game.begin(Start::Anew);
        for round in 1..50_u64 {
            game.write(true, true);
            game.write(true, false);
            again(&mut game);
            game.sync();
            assert!(!game.is_over());
            game.begin(Start::At(2 * round * STEP));
            assert_eq!(game.losses.lost, 0);
        }
        // What a host claims beyond what it was sent explains nothing.
        game.read(true, false);
        let lost = game.losses.lost;
        assert!(lost > 0);
        for claim in [Start::At(90 * STEP), Start::Had { epochs: 9 }] {
            let mut game = Losses::new(game.losses.known(), 1);
            game.put_begins(&terms().prices, shard(1), Bytes::new(400 * STEP), claim);
            assert!(game.lost >= lost - parts(terms().prices.write.parts_for(STEP)), "{claim:?}");
        }
        game.losses.lost = 0;
        // Its host has thrown it away.
        game.losses.asks();
        game.losses.broke();
        again(&mut game);
        game.sync();
        assert_eq!(game.losses.other_put(shard(2)), game.losses.known().put);
        game.begin(Start::Anew);
        assert!(game.is_over());
    }

    /// A renewal forgives nothing that was not earned, and counts in steps: prices may have changed.
    #[test]
    fn what_was_lost_is_lost_under_the_next_contract_too() {
        let old = terms().prices;
        let new = PriceList { read: Price::from_parts(1 << 41), ..old };
        let step = dearest(&old);
        let tab = |steps: u64| {
            let mut tab = Tab::default();
            tab.meter.read = steps * STEP;
            tab
        };
        let counted = |counted| BrokenRead {
            shard: shard(1),
            size: SIZE,
            offset: Bytes::ZERO,
            length: Bytes::new(STEP),
            counted,
            tries: 0,
        };
        let known = |lost, read| Loss { lost, read, ..Loss::default() };
        let enough = units(parts(old.read.parts_for(128 * STEP)));
        for (lost, read, steps, paid, expected) in [
            (0, None, 0, enough, 0),
            (step, None, 0, enough, 1),
            (2 * step, None, 64, enough, 1),
            (step, None, 64, enough, 0),
            (step, Some(counted(step)), 0, enough, 2),
            (9 * step, None, 128, enough, 7),
            // What was never paid for earns nothing, whatever its account says in the end.
            (step, None, 1 << 40, Amount::new(enough.get() / 3), 1),
        ] {
            let carried = known(lost, read).carried(&old, (&tab(steps), paid), &new);
            assert_eq!(carried, known(expected * dearest(&new), None), "{lost} {steps}");
        }
        assert_eq!(known(step, None).carried(&old, (&tab(0), enough), &old), known(step, None));
    }

    /// A provider may sell bytes in for nothing, and count as many as it likes: no voucher covers them.
    #[test]
    fn bytes_that_cost_nothing_earn_nothing() {
        for (write, read) in [(0, 1 << 42), (1 << 41, 0), (1, 1 << 42)] {
            let mut game = Game::new();
            let prices = &mut game.terms.prices;
            (prices.write, prices.read) = (Price::from_parts(write), Price::from_parts(read));
            let free =
                if read > write { &mut game.host.meter.written } else { &mut game.host.meter.read };
            *free = 1 << 50;
            game.sync();
            let mut taken = 0;
            while !game.is_over() {
                taken += 1;
                assert!(taken < 5, "paid without end");
                game.losses.asks();
                let meter = &mut game.host.meter;
                let meter = if read > write { &mut meter.read } else { &mut meter.written };
                *meter += STEP;
                game.losses.broke();
                game.sync();
            }
        }
    }

    #[test]
    fn service_earns_chances() {
        let mut game = Game::new();
        game.read(true, false);
        for _ in 0..STEPS_PER_CHANCE {
            game.read(true, true);
        }
        // Two chances: of the dearest step, which is half as dear again as these.
        for _ in 0..2 {
            game.read(true, false);
            assert!(!game.is_over());
        }
        game.read(true, false);
        assert!(game.is_over());
        let (lost, limit) = game.losses.over(&game.terms.prices).unwrap();
        assert!(lost > limit);
        let lost = Loss::of(lost);
        assert!(Losses::new(lost, 1).over(&game.terms.prices).is_some(), "it is remembered");
        assert!(Losses::new(lost, 9).over(&game.terms.prices).is_none(), "and can be forgiven");
    }
}
