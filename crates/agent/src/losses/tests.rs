//! What a provider can gain, move by move, and what an honest one must not lose.

use super::*;
use fondaco_contract::{Charge, Terms};
use fondaco_crypto::{CurrencyId, SecretKey};
use fondaco_units::{Bytes, Duration, Timestamp};

mod asked;

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
        self.losses.put_goes_on();
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
        self.losses.put_begins(&self.terms, shard(1), SIZE, start, Timestamp::EPOCH);
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
        game.losses.put_goes_on();
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
    let last = game.buyer.after(&game.terms, Charge::Write { bytes: Bytes::new(STEP) }).unwrap();
    game.host = last.after(&game.terms, kept).unwrap();
    game.losses.put_goes_on();
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
    game.losses.put_goes_on();
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
    game.losses.put_goes_on();
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
    game.host = game.buyer.after(&game.terms, Charge::Read { bytes: Bytes::new(STEP) }).unwrap();
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
        game.put_begins(&terms(), shard(1), Bytes::new(400 * STEP), claim, Timestamp::EPOCH);
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
    let owed = |steps: u64| units(parts(old.read.parts_for(steps * STEP)));
    for (lost, read, steps, paid, expected) in [
        (0, None, 0, owed(0), 0),
        (step, None, 0, owed(0), 1),
        (2 * step, None, 64, owed(64), 1),
        (step, None, 64, owed(64), 0),
        (step, Some(counted(step)), 0, owed(0), 2),
        (9 * step, None, 128, owed(128), 7),
        // What was never paid for earns nothing, whatever its account says in the end.
        (step, None, 1 << 20, Amount::new(owed(128).get() / 3), 1),
    ] {
        let carried = known(lost, read).carried(&old, (&tab(steps), paid), &new);
        assert_eq!(carried, known(expected * dearest(&new), None), "{lost} {steps}");
    }
    assert_eq!(known(step, None).carried(&old, (&tab(0), owed(0)), &old), known(step, None));
    // It posts what it was paid, and does not count it: a step at most.
    for more in [1, 5] {
        let paid = units(parts(more * step));
        let carried = known(step, None).carried(&old, (&tab(0), paid), &new);
        assert_eq!(carried, known(2 * dearest(&new), None), "{more}");
    }
}

/// A provider that counts fewer epochs than it did is to be paid for one again; one that claims to keep more than it was given
/// has no dearer epochs.
#[test]
fn an_epoch_is_paid_once() {
    let kept = Bytes::new(64 * STEP);
    let price = |game: &Game| parts(game.terms.prices.store.parts_for(kept.get()));
    let begin = || {
        let mut game = Game::new();
        game.host.stored = kept;
        game.host.epochs_paid = 5;
        game.host.meter.byte_epochs = 5 * u128::from(kept.get());
        game.losses = Losses::new(Loss::default(), 1);
        game.sync();
        game
    };
    // How many epochs and how many epochs' worth of keeping its account goes back by, or on; and what is lost then.
    for (epochs, charged, lost) in
        [(-1_i64, 0_i64, 1), (-1, -1, 0), (-4, 0, 4), (0, 1, 1), (1, 1, 0), (1, 0, 0), (0, -1, 0)]
    {
        let mut game = begin();
        game.host.epochs_paid = game.host.epochs_paid.strict_add_signed(epochs);
        let charged = i128::from(charged) * i128::from(kept.get());
        let byte_epochs = &mut game.host.meter.byte_epochs;
        *byte_epochs = byte_epochs.strict_add_signed(charged);
        game.sync();
        assert_eq!(game.losses.lost, lost * price(&game), "{epochs} {charged}");
    }
    // A stolen read is not made up for by a huge claim, nor by an epoch less that was charged less.
    for (epochs_paid, stored) in [(4, kept), (6, Bytes::new(1 << 50))] {
        let mut game = begin();
        game.losses.given(kept);
        game.host.stored = stored;
        game.sync();
        game.read(true, false);
        game.losses.read_is_lost();
        let lost = game.losses.lost;
        assert!(lost > 0, "a step");
        game.host.epochs_paid = epochs_paid;
        game.host.meter.byte_epochs = u128::from(epochs_paid) * u128::from(kept.get());
        game.sync();
        assert_eq!(game.losses.lost, lost);
    }
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

/// The power is cut in a put of which much was answered: after that its host is held to it.
#[test]
fn a_put_that_the_power_was_cut_in_is_asked_for() {
    let begun = |size| {
        let mut game = Game::new();
        for _ in 0..3 {
            game.read(true, true);
        }
        game.host.meter.written += 7 * STEP;
        game.sync();
        let prices = game.terms.prices;
        game.losses.put_begins(
            &game.terms,
            shard(1),
            Bytes::new(size),
            Start::Anew,
            Timestamp::EPOCH,
        );
        let cut = game.losses.begun(&prices, &game.buyer);
        (game, cut)
    };
    assert_eq!(begun(STEP).1, None, "a step may be lost");
    assert!(begun(STEP + 1).1.is_some());
    // What is answered of it, whether one more is counted, how its host answers then, and how many steps are lost.
    let kept = Start::Had { epochs: 1 };
    for (answered, more, start, lost) in [
        (20, false, Start::Anew, 20),
        (20, true, Start::Anew, 21),
        (20, false, Start::At(20 * STEP), 0),
        (20, true, Start::At(21 * STEP), 0),
        (20, true, Start::At(20 * STEP), 1),
        (20, false, Start::At(5 * STEP), 15),
        (0, true, Start::Anew, 1),
        (0, true, Start::At(STEP), 0),
        (0, false, Start::Anew, 0),
        (51, false, kept, 0),
    ] {
        let (mut game, cut) = begun(SIZE.get());
        for _ in 0..answered {
            game.write(true, true);
        }
        if more {
            game.write(true, false);
        }
        // The next process knows that it was begun, and nothing else.
        game.losses = Losses::new(Loss::default(), 1);
        game.losses.cut(cut);
        assert!(game.losses.may_have_put(shard(1)) && !game.losses.may_have_put(shard(2)));
        game.sync();
        // It is in the book from now on, for one more process.
        game.losses = Losses::new(game.losses.known(), 1);
        game.begin(start);
        let step = parts(game.terms.prices.write.parts_for(STEP));
        assert_eq!(game.losses.lost, lost * step, "{answered} {more} {start:?}");
        assert_eq!(game.is_over(), lost > 3, "a step of reading costs what three of writing do");
    }
    // An honest host that has lost its power as well counts none of it.
    let (mut game, cut) = begun(SIZE.get());
    game.write(true, true);
    game.host.meter.written -= STEP;
    game.losses = Losses::new(Loss::default(), 1);
    game.losses.cut(cut);
    game.sync();
    game.begin(Start::Anew);
    assert_eq!(game.losses.lost, 0);
    // One that goes on behind what was paid before is begun where the account was without it.
    let (mut game, _) = begun(SIZE.get());
    game.losses.forget_put();
    game.begin(Start::At(5 * STEP));
    let cut = game.losses.begun(&game.terms.prices, &game.buyer).unwrap();
    assert_eq!(cut.written.get(), 2 * STEP);
}
