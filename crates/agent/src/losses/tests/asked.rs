//! A put that broke off, and that its host is asked for.

use super::*;

/// So many seconds into the second epoch.
fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH.after(Duration::from_seconds(3600 + seconds))
}

impl Game {
    /// Twenty steps of a put were answered, and its host is asked for it before an epoch is paid for.
    fn asked() -> Self {
        let mut game = Self::new();
        game.begin(Start::Anew);
        for _ in 0..20 {
            game.write(true, true);
        }
        game.losses.broke();
        game.sync();
        game.ask(0);
        game
    }

    fn ask(&mut self, now: u64) {
        assert!(self.losses.open_put().is_some());
        let start = Start::At(self.losses.put.unwrap().at.get());
        self.losses.put_begins(&self.terms, shard(1), SIZE, start, at(now));
        let epochs = self.buyer.epochs_paid;
        self.losses.put_asked(AskedPut { until: at(now + 540), epochs, wanted: false });
    }

    fn pay_an_epoch(&mut self) {
        self.host = self.buyer.after(&self.terms, Charge::Advance).unwrap();
        self.buyer = self.host;
        self.losses.asks();
        self.losses.answered(&self.buyer);
    }

    /// Another process goes on.
    fn again(&mut self) {
        self.losses = Losses::new(self.losses.known(), 1);
        self.sync();
    }

    fn put(&mut self, name: u8, start: Start, now: u64) {
        self.losses.put_begins(&self.terms, shard(name), SIZE, start, at(now));
    }

    fn lost_steps(&self) -> i128 {
        self.losses.lost / self.step()
    }

    /// What a step of writing costs.
    fn step(&self) -> i128 {
        parts(self.terms.prices.write.parts_for(STEP))
    }
}

/// Before an epoch is paid for a host is asked for what broke off. Who goes on with it soon holds it to its word; later nobody does.
#[test]
fn what_was_asked_for_is_held_against_a_host_for_a_while() {
    for (other, start, now, is_paid, lost) in [
        (1, Start::Anew, 540, true, 20),
        (1, Start::Anew, 541, true, 0),
        (1, Start::Anew, 9999, false, 20),
        (1, Start::At(20 * STEP), 540, true, 0),
        (1, Start::At(20 * STEP), 541, true, 0),
        (1, Start::At(15 * STEP), 540, true, 5),
        (1, Start::At(15 * STEP), 541, true, 0),
        (2, Start::Anew, 1, true, 0),
    ] {
        for in_another in [false, true] {
            let mut game = Game::asked();
            if is_paid {
                game.pay_an_epoch();
            }
            if in_another {
                game.again();
            }
            game.put(other, start, now);
            assert_eq!(game.lost_steps(), lost, "{other} {start:?} {now} {is_paid}");
        }
    }
    // Where the epoch was not paid for, it is asked for again; and where another begins, it is free at once.
    let mut game = Game::asked();
    assert!(game.losses.open_put().is_some());
    game.ask(600);
    game.pay_an_epoch();
    assert!(game.losses.open_put().is_none());
    game.put(1, Start::Anew, 1000);
    assert_eq!(game.lost_steps(), 20);
    let mut game = Game::asked();
    game.pay_an_epoch();
    game.pay_an_epoch();
    assert!(game.losses.open_put().is_none());
    game.put(1, Start::Anew, 3601);
    assert_eq!(game.lost_steps(), 0);
    // An epoch that has not begun is none, whatever it counts.
    let mut game = Game::asked();
    game.pay_an_epoch();
    game.host.epochs_paid += 1;
    game.sync();
    game.put(1, Start::Anew, 1);
    assert!(game.lost_steps() >= 20);
    // A clock that was set back holds nobody for longer.
    let mut game = Game::asked();
    game.ask(9999);
    game.pay_an_epoch();
    game.put(1, Start::Anew, 9998 - 540);
    assert_eq!(game.lost_steps(), 0);
}

/// It goes on, and its process is killed with a step under way: the host has it, sooner or later, and the last with its keeping.
#[test]
fn a_step_after_a_question_is_explained() {
    for now in [1, 9999] {
        let mut game = Game::asked();
        game.pay_an_epoch();
        game.put(1, Start::At(20 * STEP), 1);
        game.write(true, false);
        game.again();
        assert!(!game.is_over());
        assert!(game.losses.other_put(shard(2)).is_some(), "it is asked for before all else");
        // From now on it is held to what it has.
        game.put(1, Start::At(21 * STEP), now);
        assert_eq!((game.lost_steps(), game.losses.put_asked), (0, None), "{now}");
        game.put(1, Start::Anew, now + 9999);
        assert_eq!(game.lost_steps(), 21);
        let mut game = Game::asked();
        game.pay_an_epoch();
        let (size, had) = (Bytes::new(21 * STEP), Start::Had { epochs: 1 });
        game.losses.put_begins(&game.terms, shard(1), size, Start::At(20 * STEP), at(1));
        let last = game.buyer.after(&game.terms, Charge::Write { bytes: Bytes::new(STEP) });
        let kept = Charge::Store { bytes: size, epochs: 1 };
        game.host = last.unwrap().after(&game.terms, kept).unwrap();
        game.losses.put_goes_on();
        game.losses.asks();
        game.losses.broke();
        game.again();
        game.losses.put_begins(&game.terms, shard(1), size, had, at(now));
        assert_eq!(game.losses.lost, 0, "{now}");
    }
    // A host that takes a step after the other, and denies all in the end, gets what may be lost.
    let mut game = Game::asked();
    game.pay_an_epoch();
    for step in 20..25 {
        game.put(1, Start::At(step * STEP), 9999);
        game.write(true, false);
        game.sync();
    }
    game.put(1, Start::Anew, 9999);
    assert!(game.lost_steps() >= 24 && game.is_over());
    // Once a step more was answered, it is a put like any other.
    let mut game = Game::asked();
    game.pay_an_epoch();
    game.put(1, Start::At(20 * STEP), 1);
    game.write(true, true);
    game.losses.broke();
    game.sync();
    let known = game.losses.known();
    assert_eq!((known.put.unwrap().at, known.asked), (Bytes::new(21 * STEP), None));
    game.put(1, Start::Anew, 9999);
    assert_eq!(game.lost_steps(), 21);
}

/// What a host says of a put that it was asked for before an epoch makes up for nothing else that was lost.
#[test]
fn what_was_asked_for_is_no_credit() {
    let stolen = || {
        let mut game = Game::asked();
        game.pay_an_epoch();
        game.read(true, false);
        game.losses.read_is_lost();
        game
    };
    let lost = stolen().losses.lost;
    assert!(lost > 0);
    // Another is put, of which its host has a step, or all.
    for (size, start) in [(SIZE, Start::At(STEP)), (Bytes::new(STEP), Start::Had { epochs: 1 })] {
        let mut game = stolen();
        game.losses.put_begins(&game.terms, shard(2), size, start, at(1));
        assert_eq!(game.losses.lost, lost, "{start:?}");
    }
    // Its bytes are taken back when another process asks: they make up for themselves.
    let mut game = stolen();
    game.host.meter.written -= 20 * STEP;
    game.again();
    assert_eq!(game.losses.lost, lost);
}

/// A host that keeps a put from going on until it need not have it any more gains that for a step, and so not for long.
#[test]
fn who_stalls_until_it_is_free_is_found_out() {
    let mut game = Game::new();
    for round in 0..3_u64 {
        let epoch = 3600 * round;
        game.begin(Start::Anew);
        if game.is_over() {
            assert_eq!(round, 2);
            return;
        }
        for _ in 0..20 {
            game.write(true, true);
        }
        game.losses.broke();
        game.sync();
        game.ask(epoch);
        game.pay_an_epoch();
        // Another shard's put says nothing of this one, and neither does one that comes late.
        for (name, now) in [(2, 1), (1, 541)] {
            game.losses.wants_put(&game.terms, shard(name), at(epoch + now));
            assert!(!game.losses.put_asked.unwrap().wanted);
        }
        game.losses.wants_put(&game.terms, shard(1), at(epoch + 540));
        game.losses.broke();
        game.again();
        game.put(1, Start::Anew, epoch + 541);
        assert_eq!(game.losses.lost, i128::from(round + 1) * parts(dearest(&game.terms.prices)));
    }
    panic!("paid three times");
}

/// What a host says that it has of a put takes back no more than what its account counts beyond it.
#[test]
fn what_was_never_counted_explains_nothing() {
    let stolen = || {
        let mut game = Game::asked();
        game.read(true, false);
        game.losses.read_is_lost();
        game
    };
    let lost = stolen().losses.lost;
    for is_free in [false, true] {
        // It had less, and has more again and again.
        let mut game = stolen();
        if is_free {
            game.pay_an_epoch();
        }
        game.put(1, Start::At(STEP), 9999);
        let before = game.losses.lost;
        assert_eq!(before - lost, if is_free { 0 } else { 19 * game.step() });
        for step in 2..=20 {
            game.again();
            game.put(1, Start::At(step * STEP), 9999);
            assert_eq!(game.losses.lost, before, "{step}");
        }
    }
    let mut game = stolen();
    for step in 21..=40 {
        game.again();
        game.put(1, Start::At(step * STEP), 1);
        assert_eq!(game.losses.lost, lost, "{step}");
    }
    // A step is on its disk before its account counts it, and is told of then; or the account goes back by it, or back and forth.
    for moves in [&[0, 1][..], &[1], &[1, -1], &[1, -1, 1], &[-20, 20], &[-20, 21, -1], &[-3, 4]] {
        let mut game = stolen();
        game.losses.put_goes_on();
        game.losses.asks();
        game.losses.broke();
        for by in moves {
            if *by == 0 {
                assert!(game.losses.is_ahead(
                    &game.terms.prices,
                    shard(1),
                    SIZE,
                    Start::At(21 * STEP)
                ));
                game.put(1, Start::At(21 * STEP), 1);
            }
            let written = &mut game.host.meter.written;
            *written = written.strict_add_signed(by * STEP as i64);
            game.again();
        }
        let is_counted = moves.iter().sum::<i64>() == 1;
        let start = if is_counted { 21 } else { 20 };
        game.put(1, Start::At(start * STEP), 1);
        assert_eq!(game.losses.lost, lost, "{moves:?}");
        game.put(1, Start::Anew, 1);
        assert_eq!(game.losses.lost - lost, i128::from(start) * game.step(), "{moves:?}");
    }
}

/// What was signed for something else is counted as a step of the put, which its host then says that it has.
#[test]
fn what_was_signed_for_something_else_is_no_step() {
    let mut game = Game::asked();
    for step in 21..=24 {
        game.losses.asks();
        game.losses.broke();
        game.host.meter.written += STEP;
        game.again();
        game.put(1, Start::At(step * STEP), 1);
        assert_eq!(game.losses.lost, i128::from(step - 20) * game.step());
    }
    assert!(game.is_over());
}

/// Nor is a part of a step, counted again and again.
#[test]
fn what_was_counted_in_part_moves_the_put_on() {
    let mut game = Game::asked();
    for _ in 0..20 {
        game.losses.put_goes_on();
        game.losses.asks();
        game.losses.broke();
        game.host.meter.written += STEP - 1;
        game.again();
        let at = game.losses.put.unwrap().at.get();
        game.put(1, Start::At(at + STEP), 1);
    }
    game.put(1, Start::Anew, 1);
    assert!(game.lost_steps() >= 40 - 1);
}

/// A host that says that it has all of a put is held to that.
#[test]
fn who_has_all_has_it_later() {
    for (size, lost) in [(SIZE, 20), (Bytes::new(21 * STEP), 21)] {
        let mut game = Game::asked();
        let put = |game: &mut Game, start| {
            game.losses.put_begins(&game.terms, shard(1), size, start, at(1));
        };
        if size < SIZE {
            game.losses.put_goes_on();
            game.losses.asks();
            game.losses.broke();
            let after = game.buyer.after(&game.terms, Charge::Write { bytes: Bytes::new(STEP) });
            game.host = after.unwrap();
            game.sync();
        }
        put(&mut game, Start::Had { epochs: 1 });
        game.again();
        assert_eq!(game.losses.lost, 0);
        let before = game.losses;
        put(&mut game, Start::Anew);
        assert_eq!(game.lost_steps(), lost);
        // Once it is free of that, a whole one is asked for no more; a part is held on.
        game.losses = before;
        game.losses.put_asked(AskedPut { until: at(540), epochs: 1, wanted: false });
        game.pay_an_epoch();
        for (now, is_there) in [(540, true), (541, size == SIZE)] {
            game.losses.forget_what_it_had(&game.terms, at(now));
            assert_eq!(game.losses.put.is_some(), is_there, "{size} {now}");
        }
    }
}

/// The power is cut in a step of a put that goes on: what the book has of it is enough for its host to be excused.
#[test]
fn a_step_that_the_power_was_cut_in_is_explained() {
    let mut game = Game::asked();
    game.write(true, true);
    let book = game.losses.known();
    game.write(true, false);
    game.losses = Losses::new(book, 1);
    game.sync();
    game.put(1, Start::At(22 * STEP), 1);
    assert_eq!(game.losses.lost, 0);
}

/// An epoch that its account counts only until its provider is free, and then no more, frees it once.
#[test]
fn an_epoch_frees_a_host_once() {
    let mut game = Game::asked();
    for round in 0..2 {
        // The answer is lost, and the account shows it.
        game.host = game.buyer.after(&game.terms, Charge::Advance).unwrap();
        game.losses.asks();
        game.losses.broke();
        game.again();
        game.put(1, Start::Anew, 1000 * (round + 1));
        assert_eq!(game.lost_steps(), if round == 0 { 0 } else { 20 });
        for _ in 0..20 {
            game.write(true, true);
        }
        game.losses.broke();
        game.host.epochs_paid -= 1;
        game.again();
        game.ask(1000 * (round + 1));
    }
}
