//! What a provider was paid for nothing, and when to stop.
//!
//! ```text
//! paid ──┬── answered: the account is confirmed
//!        └── broke off ──► Status shows the account ──┬── as it was confirmed: nothing was taken
//!                                                     └── higher: taken, unless a put goes on behind it
//! ```
//!
//! A buyer resumes from the account that the provider shows (decision 1). What that account counts beyond what was
//! answered is a loss; so are steps of a put that must be sent again. One step may be lost (the price of the dearest there
//! is), and one more for every [`STEPS_PER_CHANCE`] that were answered: connections break among the honest too. After that nothing more is paid for,
//! so that a provider that takes a step and breaks off gains what may be lost and the step that shows it, however often it is
//! asked (decision 18).

use fondaco_audit::ShardId;
use fondaco_contract::{Bill, Item, PriceList, READ_UNIT, Tab};
use fondaco_units::{Amount, Price};

/// How many answered steps earn a provider another chance.
const STEPS_PER_CHANCE: u64 = 64;

/// The losses with one provider under one contract. Sums are in 10⁻¹² of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Losses {
    /// How many steps may be lost at first.
    risk: u64,
    answered: u64,
    /// Below zero while the account is behind what was answered, as after a crash of the provider.
    lost: i128,
    /// The account as it was confirmed last.
    confirmed: Option<Tab>,
    /// Whether a request failed since, so that the next account is to be compared.
    broke: bool,
    /// A put that was begun, and how many of its bytes were answered.
    putting: Option<(ShardId, u64)>,
}

/// How a provider answered the beginning of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// All bytes are wanted.
    Anew,
    /// The bytes from there on are wanted.
    At(u64),
    /// It has them all; so many were sent, and kept for so many epochs.
    Had { size: u64, epochs: u64 },
}

impl Losses {
    /// Begins with what was lost before, and how many steps may be.
    pub(crate) const fn new(lost: Amount, risk: u64) -> Self {
        Self {
            risk,
            answered: 0,
            lost: lost.get() as i128 * Price::PARTS as i128,
            confirmed: None,
            broke: false,
            putting: None,
        }
    }

    /// Returns the account as it was confirmed last, if it was.
    pub(crate) const fn account(&self) -> Option<Tab> {
        self.confirmed
    }

    /// A request failed: what it took is not known.
    pub(crate) const fn broke(&mut self) {
        self.broke = true;
    }

    /// A step was answered; the account is now `tab`, on both sides.
    pub(crate) fn answered(&mut self, tab: &Tab) {
        self.answered = self.answered.saturating_add(1);
        self.confirmed = Some(*tab);
        if self.putting.is_none() {
            self.lost = self.lost.max(0);
        }
    }

    /// The provider shows its account.
    pub(crate) fn shown(&mut self, prices: &PriceList, tab: &Tab) {
        if let Some(confirmed) = self.confirmed.filter(|_| self.broke) {
            let epochs = tab.epochs_paid.saturating_sub(confirmed.epochs_paid);
            let advanced = parts(u128::from(prices.store.parts()))
                .saturating_mul(parts(u128::from(confirmed.stored.get())))
                .saturating_mul(i128::from(epochs));
            let taken = sum(prices, tab) - sum(prices, &confirmed) - advanced;
            self.lost = self.lost.saturating_add(taken);
        }
        self.broke = false;
        self.confirmed = Some(*tab);
    }

    /// A put begins: what an earlier one left behind is explained by it, or lost.
    pub(crate) fn put_begins(&mut self, prices: &PriceList, shard: ShardId, start: Start) {
        let written = |bytes: u64| parts(prices.write.parts_for(bytes));
        let before = match self.putting.take() {
            Some((other, answered)) if other == shard => answered,
            Some((_, answered)) => {
                self.lost = self.lost.saturating_add(written(answered));
                0
            }
            None => match start {
                Start::Anew => 0,
                // Of another process's put: it was paid by that one.
                Start::At(at) => at,
                Start::Had { .. } => return,
            },
        };
        let explained = match start {
            Start::Anew => 0,
            Start::At(at) => written(at),
            Start::Had { size, epochs } => {
                let kept = parts(prices.store.parts_for(size)).saturating_mul(i128::from(epochs));
                // All of the put, its keeping too.
                written(size).saturating_add(kept)
            }
        };
        self.lost = self.lost.saturating_add(written(before)).saturating_sub(explained);
        if let Start::Had { .. } = start {
            self.lost = self.lost.max(0);
        } else {
            let at = if let Start::At(at) = start { at } else { 0 };
            self.putting = Some((shard, at));
        }
    }

    /// A put's bytes up to `at` were answered; the account is now `tab`.
    pub(crate) fn put_answered(&mut self, tab: &Tab, at: u64) {
        if let Some((_, answered)) = &mut self.putting {
            *answered = at;
        }
        self.answered(tab);
    }

    /// A put was stored.
    pub(crate) fn put_done(&mut self, tab: &Tab) {
        self.putting = None;
        self.answered(tab);
    }

    /// Returns what was lost and what may be, in units, if no more is to be paid.
    pub(crate) fn over(&self, prices: &PriceList) -> Option<(Amount, Amount)> {
        let chances = self.risk.saturating_add(self.answered / STEPS_PER_CHANCE);
        // The dearest step there is: a read that begins and ends inside a unit is charged for both of them whole.
        let step = prices.step_max.get();
        let read = prices.read.parts_for(step + 2 * READ_UNIT.get());
        let limit =
            parts(prices.write.parts_for(step).max(read)).saturating_mul(i128::from(chances));
        (self.lost > limit).then(|| (units(self.lost), units(limit)))
    }

    /// Whether a put broke off, so that the account alone does not tell what was lost.
    pub(crate) const fn is_putting(&self) -> bool {
        self.putting.is_some()
    }
}

/// What an account has come to without the price of opening.
fn sum(prices: &PriceList, tab: &Tab) -> i128 {
    let Some(bill) = Bill::of(prices, &tab.meter) else { return i128::MAX };
    let lines = bill.lines().iter().filter(|line| line.item != Item::Open);
    lines.fold(0, |sum: i128, line| sum.saturating_add(parts(line.cost.get())))
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
            let mut losses = Losses::new(Amount::ZERO, 1);
            losses.shown(&terms.prices, &tab);
            Self { terms, host: tab, buyer: tab, losses }
        }

        /// A step of a put: whether the provider counts it, and whether it answers.
        fn write(&mut self, counts: bool, answers: bool) {
            let after = self.buyer.after(&self.terms, Charge::Write { bytes: Bytes::new(STEP) });
            if counts {
                self.host = after.unwrap();
            }
            if answers {
                self.buyer = after.unwrap();
                let at = self.losses.putting.unwrap().1 + STEP;
                self.losses.put_answered(&self.buyer, at);
            } else {
                self.losses.broke();
            }
        }

        fn read(&mut self, counts: bool, answers: bool) {
            let after = self.buyer.after(&self.terms, Charge::Read { bytes: Bytes::new(STEP) });
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
            self.losses.put_begins(&self.terms.prices, shard(1), start);
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
        game.losses.broke();
        game.sync();
        game.begin(Start::Had { size: 51 * STEP, epochs: 1 });
        assert_eq!(game.losses.lost, 0);
        // An advance whose answer got lost.
        game.host = game.host.after(&game.terms, Charge::Advance).unwrap();
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
        game.losses.broke();
        game.sync();
        game.begin(Start::Anew);
        assert!(game.is_over());
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
        assert!(Losses::new(lost, 1).over(&game.terms.prices).is_some(), "it is remembered");
        assert!(Losses::new(lost, 9).over(&game.terms.prices).is_none(), "and can be forgiven");
    }
}
