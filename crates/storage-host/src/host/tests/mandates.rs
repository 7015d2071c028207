//! A delegate reads what it may, takes what would end, and does no harm.

use super::*;
use fondaco_contract::{Mandate, SignedMandate, Takes};
use fondaco_ports::market::ProvePart;

/// Another buyer at the same host, with a small contract of its own.
struct Other {
    key: SecretKey,
    terms: Terms,
    hold: HoldId,
}

impl Other {
    fn at(fair: &mut Fair, seed: u8) -> Self {
        let key = SecretKey::from_bytes(&[seed; 32]);
        let list = fair.host.prices(NOON);
        let span = Duration::from_seconds(36_000);
        let terms = Terms::new(key.entity(), &list, Bytes::new(1000), NOON, span, 1);
        let hold = HoldId::derive(config().currency, key.entity(), 1);
        let other = Self { key, terms, hold };
        let answer = other.open(fair);
        assert!(matches!(fair.note(&answer), Response::Opened { .. }));
        other
    }

    fn issuer_says(&self) -> Hold {
        let (payer, payee) = (self.key.entity(), self.terms.prices.provider);
        let (order, state) = (*self.terms.id().digest(), HoldState::Open);
        let expires = self.terms.ends.after(Duration::from_seconds(86_400));
        Hold { payer, payee, amount_max: HOLD, order, expires, state }
    }

    fn voucher(&self, cumulative: Amount) -> SignedVoucher {
        let currency = self.terms.prices.currency;
        Voucher { currency, hold: self.hold, cumulative }.sign(&self.key)
    }

    fn open(&self, fair: &mut Fair) -> Answer {
        let (terms, signature) = (self.terms, self.terms.sign_as_buyer(&self.key));
        let (voucher, hold) = (self.voucher(Amount::new(10)), self.issuer_says());
        fair.host.open_finish(NOON, self.key.entity(), &terms, &signature, &voucher, Some(&hold))
    }

    fn read(&self, fair: &Fair, now: Timestamp, name: u8) -> Result<(), Reason> {
        let (peer, voucher) = (self.key.entity(), self.voucher(HOLD));
        let (at, length) = (Bytes::ZERO, Bytes::new(100));
        let plan =
            fair.host.get_begin(now, peer, self.terms.id(), shard(name), at, length, &voucher);
        plan.map(drop)
    }

    /// Asks for terms of its own that renew the fair buyer's.
    fn take(&self, fair: &mut Fair, now: Timestamp) -> Answer {
        let (list, size) = (fair.host.prices(now), fair.terms.size_max);
        let begins = fair.terms.paid_until(fair.contract().tab.epochs_paid);
        let span = Duration::from_seconds(36_000);
        let terms = Terms::new(self.key.entity(), &list, size, begins, span, 2);
        let next = Self {
            key: self.key.clone(),
            terms: terms.renewing(fair.id()),
            hold: HoldId::derive(config().currency, self.key.entity(), 2),
        };
        let (terms, signature) = (next.terms, next.terms.sign_as_buyer(&next.key));
        let (voucher, hold) = (next.voucher(HOLD), next.issuer_says());
        let peer = self.key.entity();
        fair.host.renew_finish(now, peer, &terms, &signature, &voucher, Some(&hold))
    }
}

fn mandate(fair: &Fair, to: &Other, takes: Takes, issued: u64, until: u64) -> SignedMandate {
    let (from, to) = (fair.peer(), to.key.entity());
    Mandate { from, to, takes, issued: seconds(issued), until: seconds(until) }.sign(&fair.buyer)
}

fn admit(fair: &mut Fair, now: Timestamp, peer: EntityId, signed: &SignedMandate) -> Response {
    let answer = fair.host.admit(now, peer, signed);
    fair.note(&answer)
}

const fn refused(reason: Reason) -> Response {
    Response::Refused { reason }
}

#[test]
fn a_delegate_reads_under_its_own_contract_and_nobody_else_does() {
    let mut fair = Fair::stocked();
    let (friend, stranger) = (Other::at(&mut fair, 4), Other::at(&mut fair, 5));
    let none = Err(Reason::UnknownShard);
    assert_eq!(friend.read(&fair, NOON, 1), none, "nobody said that it may");

    let signed = mandate(&fair, &friend, Takes::AtEnd, 0, 3000);
    let Response::Admitted { list } = admit(&mut fair, NOON, friend.key.entity(), &signed) else {
        panic!("it is good")
    };
    let [line] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!((line.terms, line.tab), (fair.terms, fair.contract().tab));
    assert_eq!(friend.read(&fair, NOON, 1), Ok(()));
    assert_eq!(friend.read(&fair, NOON, 3), none, "there is no such shard");
    assert_eq!(stranger.read(&fair, NOON, 1), none);
    assert_eq!(friend.read(&fair, seconds(3000), 1), none, "it is over");
    let parts = [ProvePart { shard: shard(1), samples: 1 }];
    let (peer, id) = (friend.key.entity(), friend.terms.id());
    let proven = fair.host.prove_begin(NOON, peer, id, [1; 32], &parts, &friend.voucher(HOLD));
    assert!(!matches!(proven, Err(Reason::UnknownShard)), "{proven:?}");

    // It reads, and that is all: the contract is not its own.
    let (peer, theirs) = (friend.key.entity(), fair.id());
    let deleted = fair.host.delete(NOON, peer, theirs, shard(1));
    assert_eq!(deleted.response, refused(Reason::NotYours));
    assert_eq!(fair.host.close_begin(NOON, peer, theirs), Err(Reason::NotYours));
    assert_eq!(
        fair.host.advance(NOON, peer, theirs, &friend.voucher(HOLD)).response,
        refused(Reason::NotYours)
    );
    fair.check_replay();
    assert_eq!(friend.read(&fair, NOON, 2), Ok(()));
}

#[test]
fn what_is_no_mandate_is_refused() {
    let mut fair = Fair::stocked();
    let (friend, stranger) = (Other::at(&mut fair, 4), Other::at(&mut fair, 5));
    let (me, peer) = (fair.peer(), friend.key.entity());
    let good = mandate(&fair, &friend, Takes::AtEnd, 100, 3000);
    let forged =
        SignedMandate { mandate: Mandate { until: seconds(9000), ..good.mandate }, ..good };
    let ahead = mandate(&fair, &friend, Takes::AtEnd, 7300, 9000);
    let homeless = Mandate { from: SecretKey::from_bytes(&[8; 32]).entity(), ..good.mandate };
    let homeless = homeless.sign(&SecretKey::from_bytes(&[8; 32]));
    let clock = Reason::Clock { theirs: seconds(7300), ours: seconds(100) };
    for (who, signed, reason) in [
        (stranger.key.entity(), &good, Reason::NotYours),
        (peer, &forged, Reason::Unsigned),
        (peer, &ahead, clock),
        (peer, &homeless, Reason::UnknownContract),
    ] {
        assert_eq!(admit(&mut fair, seconds(100), who, signed), refused(reason));
    }
    // The buyer itself may show it; the later one counts, and none comes too soon after another.
    assert!(matches!(admit(&mut fair, seconds(100), me, &good), Response::Admitted { .. }));
    let soon = mandate(&fair, &friend, Takes::AtEnd, 109, 9000);
    assert_eq!(admit(&mut fair, seconds(109), me, &soon), refused(Reason::Busy));
    let over = mandate(&fair, &friend, Takes::AtEnd, 110, 110);
    assert!(matches!(admit(&mut fair, seconds(110), me, &over), Response::Admitted { .. }));
    assert_eq!(friend.read(&fair, seconds(110), 1), Err(Reason::UnknownShard), "taken back");
    assert_eq!(admit(&mut fair, seconds(111), peer, &good), refused(Reason::NotYours));
    assert_eq!(friend.read(&fair, seconds(111), 1), Err(Reason::UnknownShard), "for good");
    fair.check_replay();

    for seed in 10..17 {
        let other = Other { key: SecretKey::from_bytes(&[seed; 32]), ..Other::at(&mut fair, seed) };
        let signed = mandate(&fair, &other, Takes::AtEnd, 110, 9000);
        assert!(matches!(admit(&mut fair, seconds(110), me, &signed), Response::Admitted { .. }));
    }
    let ninth = mandate(&fair, &stranger, Takes::AtEnd, 110, 9000);
    assert_eq!(admit(&mut fair, seconds(110), me, &ninth), refused(Reason::Busy));
}

#[test]
fn a_contract_is_taken_over_when_it_would_end_and_given_back_at_any_time() {
    let mut fair = Fair::stocked();
    let friend = Other::at(&mut fair, 4);
    let me = fair.peer();
    assert_eq!(friend.take(&mut fair, NOON).response, refused(Reason::NotYours));
    let signed = mandate(&fair, &friend, Takes::AtEnd, 0, 90_000);
    assert!(matches!(admit(&mut fair, NOON, me, &signed), Response::Admitted { .. }));
    let early = friend.take(&mut fair, seconds(3000)).response;
    assert_eq!(early, refused(Reason::NotYours), "nine hours before its end");
    for epoch in 1..10 {
        let voucher = fair.pay(Charge::Advance);
        let answer = fair.host.advance(seconds(epoch * 3600), me, fair.id(), &voucher);
        assert!(matches!(fair.note(&answer), Response::Advanced { .. }));
    }
    let answer = friend.take(&mut fair, seconds(35_100));
    assert!(matches!(fair.note(&answer), Response::Renewed { .. }), "{answer:?}");
    assert!(fair.contract().shards.is_empty(), "they are the delegate's now");
    fair.check_replay();

    // The other way round, with a mandate that is good at any time.
    let taken =
        fair.host.contracts.values().find(|one| one.terms.renews == Some(fair.id())).unwrap();
    let (theirs, stored) = (taken.terms, taken.tab.stored);
    assert_eq!((theirs.buyer, stored), (friend.key.entity(), Bytes::new(80_000)));
    let (from, to) = (friend.key.entity(), me);
    let back = Mandate { from, to, takes: Takes::Always, issued: NOON, until: seconds(90_000) };
    assert!(matches!(
        admit(&mut fair, seconds(35_101), me, &back.sign(&friend.key)),
        Response::Admitted { .. }
    ));
    let mine = Other { key: fair.buyer.clone(), terms: fair.terms, hold: fair.hold };
    fair.terms = theirs;
    let answer = mine.take(&mut fair, seconds(35_102));
    assert!(matches!(fair.note(&answer), Response::Renewed { .. }), "{answer:?}");
    fair.check_replay();
}

#[test]
fn what_its_buyer_has_not_paid_for_is_taken_over_before_it_lapses() {
    let mut fair = Fair::stocked();
    let friend = Other::at(&mut fair, 4);
    let me = fair.peer();
    let signed = mandate(&fair, &friend, Takes::AtEnd, 0, 90_000);
    assert!(matches!(admit(&mut fair, NOON, me, &signed), Response::Admitted { .. }));
    // Paid for one hour of ten, it lapses after another.
    let early = friend.take(&mut fair, seconds(6299)).response;
    assert_eq!(early, refused(Reason::NotYours));
    let late = friend.take(&mut fair.clone(), seconds(7200)).response;
    assert!(matches!(late, Response::Refused { .. }), "{late:?}");
    let answer = friend.take(&mut fair, seconds(6300));
    assert!(matches!(fair.note(&answer), Response::Renewed { .. }), "{answer:?}");
    fair.check_replay();
}

/// A mandate that was taken back, or that its giver has forgotten, is about nothing that began later.
#[test]
fn a_mandate_is_about_what_began_before_it_and_what_follows_on_that() {
    let mut fair = Fair::stocked();
    let friend = Other::at(&mut fair, 4);
    let (me, peer) = (fair.peer(), friend.key.entity());
    let before = mandate(&fair, &friend, Takes::Always, 0, 9_000_000);
    let early = Mandate { issued: Timestamp::EPOCH, ..before.mandate }.sign(&fair.buyer);
    assert_eq!(admit(&mut fair, NOON, peer, &early), refused(Reason::UnknownContract));
    assert!(matches!(admit(&mut fair, NOON, peer, &before), Response::Admitted { .. }));

    // Its buyer renews what it is about; a mandate of before that still is about it, in a journal written anew, too.
    let mine = Other { key: fair.buyer.clone(), terms: fair.terms, hold: fair.hold };
    let answer = mine.take(&mut fair, seconds(60));
    assert!(matches!(fair.note(&answer), Response::Renewed { .. }), "{answer:?}");
    let follows = |one: &&Contract| one.terms.renews == Some(fair.id());
    let (terms, since) =
        fair.host.contracts.values().find(follows).map(|one| (one.terms, one.since)).unwrap();
    assert!(terms.begins > NOON && since == NOON);
    assert_eq!(friend.read(&fair, seconds(60), 1), Ok(()));
    fair.check_replay();

    // It ends, and another begins: the mandate, not taken back here, is about nothing.
    let Ok(closing) = fair.host.close_begin(seconds(70), me, terms.id()) else {
        panic!("it is open")
    };
    closing.event.iter().for_each(|event| fair.journal.push(event.to_record()));
    let later = |host: &Host| {
        let span = Duration::from_seconds(36_000);
        Terms::new(me, &host.prices(seconds(80)), Bytes::new(1000), seconds(80), span, 9)
    };
    let (terms, hold) = (later(&fair.host), HoldId::derive(config().currency, me, 9));
    let next = Other { key: fair.buyer.clone(), terms, hold };
    let (signature, voucher) = (terms.sign_as_buyer(&next.key), next.voucher(Amount::new(10)));
    let said = next.issuer_says();
    let answer = fair.host.open_finish(seconds(80), me, &terms, &signature, &voucher, Some(&said));
    assert!(matches!(fair.note(&answer), Response::Opened { .. }), "{answer:?}");
    for signed in [&before, &mandate(&fair, &friend, Takes::Always, 79, 9_000_000)] {
        let answer = admit(&mut fair, seconds(90), peer, signed);
        assert_eq!(answer, refused(Reason::UnknownContract), "{signed:?}");
    }
    let renewable = fair.host.renewable(seconds(90), peer, terms.id()).map(drop);
    assert_eq!(renewable, Err(Reason::NotYours));
    let anew = mandate(&fair, &friend, Takes::Always, 80, 9_000_000);
    assert!(matches!(admit(&mut fair, seconds(90), peer, &anew), Response::Admitted { .. }));
    assert!(fair.host.renewable(seconds(90), peer, terms.id()).is_ok());
    fair.check_replay();
}

/// The delegate has made something anew on this host after its mandate was made; the owner takes it back.
#[test]
fn what_was_taken_back_from_a_delegate_stays_open_to_it() {
    let mut fair = Fair::stocked();
    let (owner, stranger) = (Other::at(&mut fair, 4), Other::at(&mut fair, 5));
    let (delegate, from) = (fair.peer(), owner.key.entity());
    let given = |to, issued| {
        let until = seconds(90_000);
        Mandate { from, to, takes: Takes::Always, issued, until }.sign(&owner.key)
    };
    let back = mandate(&fair, &owner, Takes::Always, 0, 90_000);
    assert!(matches!(admit(&mut fair, NOON, from, &back), Response::Admitted { .. }));
    let answer = owner.take(&mut fair, seconds(60));
    assert!(matches!(fair.note(&answer), Response::Renewed { .. }), "{answer:?}");
    let before = |to| given(to, Timestamp::EPOCH);
    for (peer, signed, expected) in [
        (stranger.key.entity(), before(stranger.key.entity()), 0),
        (delegate, before(delegate), 1),
        (stranger.key.entity(), given(stranger.key.entity(), NOON), 2),
    ] {
        let told = match admit(&mut fair, seconds(60), peer, &signed) {
            Response::Admitted { list } => list.as_slice().len(),
            answer => {
                assert_eq!(answer, refused(Reason::UnknownContract));
                0
            }
        };
        assert_eq!(told, expected, "{signed:?}");
    }
    fair.check_replay();
}
