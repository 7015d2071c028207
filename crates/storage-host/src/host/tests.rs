mod again;
mod ends;
mod mandates;
mod pace;
mod proofs;
mod properties;
mod renewals;
mod room;

use super::*;
use crate::Event;
use fondaco_contract::{TermsError, read_charged};
use fondaco_crypto::Digest;
use fondaco_ledger::{HoldState, Voucher};
use fondaco_ports::market::Mark;

const NOON: Timestamp = Timestamp::from_milliseconds(1_058_011_200_000);
const STEP: u64 = 4096;
const HOLD: Amount = Amount::new(1_000_000);

fn seconds(after_noon: u64) -> Timestamp {
    NOON.after(Duration::from_seconds(after_noon))
}

fn shard(name: u8) -> ShardId {
    ShardId::of(&[name])
}

fn config() -> HostConfig {
    HostConfig {
        currency: CurrencyId::issued_by(EntityId::from_bytes([9; 32])),
        open: Amount::new(10),
        store: Price::from_parts(1_000_000_000), // a thousandth of a unit
        write: Price::from_parts(3_000_000_000),
        read: Price::from_parts(4_000_000_001),
        size: Bytes::new(1 << 22),
        period_max: Duration::from_seconds(14 * 86_400),
        epoch: Duration::from_seconds(3600),
        step_max: Bytes::new(STEP),
        newcomer: Bytes::new(2 << 20),
        reserve: Bytes::ZERO,
        leaves: None,
    }
}

/// A host, a buyer with a contract, and what was journaled.
#[derive(Clone)]
struct Fair {
    host: Host,
    buyer: SecretKey,
    terms: Terms,
    hold: HoldId,
    /// The account as the buyer keeps it.
    tab: Tab,
    journal: Vec<Vec<u8>>,
}

impl Fair {
    /// Terms for 1 MiB for ten hours, not opened yet.
    fn new() -> Self {
        let host = Host::new(SecretKey::from_bytes(&[1; 32]), config());
        let buyer = SecretKey::from_bytes(&[3; 32]);
        let (list, size) = (host.prices(NOON), Bytes::new(1 << 20));
        let terms =
            Terms::new(buyer.entity(), &list, size, NOON, Duration::from_seconds(36_000), 7);
        let hold = HoldId::derive(config().currency, buyer.entity(), 1);
        Self { host, buyer, terms, hold, tab: Tab::default(), journal: Vec::new() }
    }

    fn opened() -> Self {
        let mut fair = Self::new();
        let voucher = fair.pay(Charge::Open);
        let answer = fair.open(&voucher, Some(&fair.issuer_says()));
        assert!(matches!(fair.note(&answer), Response::Opened { .. }));
        fair
    }

    /// With shards 1 and 2, of 40,000 bytes each.
    fn stocked() -> Self {
        let mut fair = Self::opened();
        for name in [1, 2] {
            assert_eq!(fair.put(name, 40_000), Response::Stored);
        }
        fair
    }

    fn id(&self) -> ContractId {
        self.terms.id()
    }

    fn peer(&self) -> EntityId {
        self.buyer.entity()
    }

    fn contract(&self) -> &Contract {
        &self.host.contracts[&self.id()]
    }

    fn issuer_says(&self) -> Hold {
        Hold {
            payer: self.peer(),
            payee: self.host.provider(),
            amount_max: HOLD,
            order: *self.id().digest(),
            expires: self.terms.ends.after(Duration::from_seconds(86_400)),
            state: HoldState::Open,
        }
    }

    fn open(&mut self, voucher: &SignedVoucher, hold: Option<&Hold>) -> Answer {
        let (terms, signature) = (self.terms, self.terms.sign_as_buyer(&self.buyer));
        self.host.open_finish(NOON, self.peer(), &terms, &signature, voucher, hold)
    }

    /// A voucher for this running total.
    fn voucher(&self, cumulative: Amount) -> SignedVoucher {
        let currency = self.terms.prices.currency;
        Voucher { currency, hold: self.hold, cumulative }.sign(&self.buyer)
    }

    /// Adds a charge to the buyer's tab, and pays for it.
    fn pay(&mut self, charge: Charge) -> SignedVoucher {
        self.tab = self.tab.after(&self.terms, charge).unwrap();
        self.voucher(self.tab.owed(&self.terms).unwrap())
    }

    /// Does what the shell does with an answer.
    fn note(&mut self, answer: &Answer) -> Response {
        self.journal.extend(answer.event.map(|event| event.to_record()));
        answer.response.clone()
    }

    fn begin(&mut self, name: u8, size: u64) -> PutId {
        let (peer, id) = (self.peer(), self.id());
        let begun = self.host.put_begin(NOON, peer, id, shard(name), Bytes::new(size), 0);
        match begun.unwrap() {
            Begun::Ready(put) | Begun::Empty(put) => put,
            Begun::Have => panic!("shard {name} is kept already"),
        }
    }

    /// Charges of the steps of a put: the last has two.
    fn charges(size: u64, epochs: u64) -> Vec<(u64, Vec<Charge>)> {
        let mut steps = Vec::new();
        let mut left = size;
        while left > 0 {
            let length = left.min(STEP);
            left -= length;
            let mut charges = vec![Charge::Write { bytes: Bytes::new(length) }];
            if left == 0 {
                charges.push(Charge::Store { bytes: Bytes::new(size), epochs });
            }
            steps.push((length, charges));
        }
        steps
    }

    fn put(&mut self, name: u8, size: u64) -> Response {
        let put = self.begin(name, size);
        for (length, charges) in Self::charges(size, self.tab.epochs_paid) {
            let voucher = charges.iter().map(|charge| self.pay(*charge)).last().unwrap();
            let _ = self.host.put_step(NOON, put, &voucher, length).unwrap();
        }
        let answer = self.host.put_commit(NOON, put, shard(name));
        self.note(&answer)
    }

    fn get(
        &mut self,
        now: Timestamp,
        name: u8,
        offset: u64,
        length: u64,
        voucher: &SignedVoucher,
    ) -> Result<(), Reason> {
        let (offset, length) = (Bytes::new(offset), Bytes::new(length));
        let plan = self.host.get_begin(
            now,
            self.peer(),
            self.id(),
            shard(name),
            offset,
            length,
            voucher,
        )?;
        let event = self.host.get_commit(&plan)?;
        self.journal.push(event.to_record());
        Ok(())
    }

    /// What always holds of money: nothing is served unpaid, and no hold is overdrawn.
    fn check(&self) {
        for contract in self.host.contracts.values() {
            assert!(contract.total() <= contract.voucher.voucher.cumulative);
            assert!(contract.voucher.voucher.cumulative <= contract.amount_max);
            assert_eq!(
                contract.tab.stored.get(),
                contract.shards.values().map(|size| size.get()).sum::<u64>()
            );
            assert!(contract.tab.stored <= contract.terms.size_max);
        }
    }

    /// A host that has crashed and read its journal, and one that has read it written anew.
    fn check_replay(&self) {
        let mut replayed = Host::new(SecretKey::from_bytes(&[1; 32]), config());
        self.journal.iter().for_each(|record| replayed.replay(record).unwrap());
        let mut rewritten = Host::new(SecretKey::from_bytes(&[1; 32]), config());
        self.host.events().for_each(|event| rewritten.replay(&event.to_record()).unwrap());
        for other in [replayed, rewritten] {
            assert_eq!(other.contracts, self.host.contracts);
            assert_eq!(other.references, self.host.references);
            assert_eq!(other.mandates, self.host.mandates);
        }
    }
}

fn refused(answer: Answer) -> Reason {
    match answer.response {
        Response::Refused { reason } => reason,
        other => panic!("{other:?} is no refusal"),
    }
}

#[test]
fn openings_are_refused_for_the_first_of_their_faults() {
    type Edit = fn(&mut Fair, &mut SignedVoucher, &mut Hold);
    let table: &[(&str, Edit, Reason)] = &[
        (
            "other provider",
            |fair, _, _| fair.host.key = SecretKey::from_bytes(&[5; 32]),
            Reason::NotProvider,
        ),
        (
            "unsigned",
            |fair, _, _| fair.terms.buyer = SecretKey::from_bytes(&[4; 32]).entity(),
            Reason::NotYours,
        ),
        (
            "no room",
            |fair, _, _| fair.host.config.size = Bytes::new(5),
            Reason::NoRoom { free: Bytes::new(5), wanted: Bytes::new(1 << 20) },
        ),
        (
            "not from the buyer",
            |_, _, hold| hold.payer = EntityId::from_bytes([1; 32]),
            Reason::WrongHold,
        ),
        (
            "not for the host",
            |_, _, hold| hold.payee = EntityId::from_bytes([1; 32]),
            Reason::WrongHold,
        ),
        ("for another contract", |_, _, hold| hold.order = Digest::ZERO, Reason::WrongHold),
        (
            "posted before",
            |_, _, hold| hold.state = HoldState::Posted { paid: HOLD },
            Reason::WrongHold,
        ),
        (
            "expires soon",
            |_, _, hold| hold.expires = seconds(4799),
            Reason::HoldExpires { expires: seconds(4799) },
        ),
        (
            "other currency",
            |fair, voucher, _| voucher.voucher.currency = CurrencyId::issued_by(fair.peer()),
            Reason::WrongVoucher,
        ),
        (
            "over the hold",
            |_, _, hold| hold.amount_max = Amount::new(9),
            Reason::OverHold { authorised: Amount::new(10), amount_max: Amount::new(9) },
        ),
        (
            "bad signature",
            |_, voucher, _| voucher.signature = Signature::from_bytes([1; 64]),
            Reason::BadVoucher,
        ),
        (
            "unpaid",
            |fair, voucher, _| *voucher = fair.voucher(Amount::new(9)),
            Reason::Unpaid { owed: Amount::new(10), authorised: Amount::new(9) },
        ),
    ];
    for (name, edit, reason) in table {
        let mut fair = Fair::new();
        let (mut voucher, mut hold) = (fair.voucher(Amount::new(10)), fair.issuer_says());
        let (peer, signature) = (fair.peer(), fair.terms.sign_as_buyer(&fair.buyer));
        edit(&mut fair, &mut voucher, &mut hold);
        let terms = fair.terms;
        let answer = fair.host.open_finish(NOON, peer, &terms, &signature, &voucher, Some(&hold));
        assert_eq!(refused(answer), *reason, "{name}");
        assert!(fair.host.contracts.is_empty());
    }

    let mut fair = Fair::new();
    let voucher = fair.voucher(Amount::new(10));
    assert_eq!(refused(fair.open(&voucher, None)), Reason::UnknownHold);
    let (terms, peer) = (fair.terms, fair.peer());
    let begin =
        |terms: &Terms, now, signature| fair.host.open_begin(now, peer, terms, signature, &voucher);
    let signature = terms.sign_as_buyer(&fair.buyer);
    assert_eq!(begin(&terms, NOON, &signature), Ok(Opening::Ask(fair.hold)));
    let wrong_side = terms.sign_as_provider(&fair.buyer);
    assert_eq!(begin(&terms, NOON, &wrong_side), Err(Reason::Unsigned));
    assert_eq!(begin(&terms, seconds(3600), &signature), Err(Reason::PricesExpired));
    let empty = Terms { ends: NOON, ..terms };
    let refusal = begin(&empty, NOON, &signature);
    assert!(matches!(refusal, Err(Reason::TermsRefused { why: TermsError::Period { .. } })));
    // Cheaper prices than it signed.
    let mut cheap = terms;
    cheap.prices.write = Price::default();
    assert!(matches!(begin(&cheap, NOON, &signature), Err(Reason::TermsRefused { .. })));
}

#[test]
fn opening_again_gives_the_same_answer() {
    let mut fair = Fair::opened();
    let voucher = fair.voucher(Amount::new(10));
    let answer = fair.open(&voucher, None);
    assert_eq!(answer.event, None);
    let Response::Opened { provider_signature } = answer.response else { panic!("refused") };
    assert!(fair.terms.verify_provider(&provider_signature).is_ok());
    // What is sold is not offered again.
    assert_eq!(fair.host.prices(NOON).prices.capacity, Bytes::new(3 << 20));
    assert_eq!(fair.host.prices(NOON).verify(NOON), Ok(()));
}

#[test]
fn requests_of_others_are_refused() {
    let mut fair = Fair::stocked();
    let (other, id) = (EntityId::from_bytes([8; 32]), fair.id());
    let unknown = ContractId::from_digest(Digest::ZERO);
    for (peer, id, reason) in
        [(other, id, Reason::NotYours), (fair.peer(), unknown, Reason::UnknownContract)]
    {
        let voucher = fair.voucher(HOLD);
        let (host, size) = (&mut fair.host, Bytes::new(5));
        let before = host.contracts.clone();
        assert_eq!(host.put_begin(NOON, peer, id, shard(5), size, 0), Err(reason));
        assert_eq!(
            host.get_begin(NOON, peer, id, shard(1), Bytes::ZERO, size, &voucher),
            Err(reason)
        );
        assert_eq!(refused(host.advance(NOON, peer, id, &voucher)), reason);
        assert_eq!(refused(host.delete(NOON, peer, id, shard(1))), reason);
        assert_eq!(host.close_begin(NOON, peer, id), Err(reason));
        assert_eq!(host.status(NOON, peer, id), Response::Refused { reason });
        assert_eq!(host.list(peer, id, None), Response::Refused { reason });
        assert_eq!(host.contracts, before);
    }
}

#[test]
fn puts_are_refused_for_the_first_of_their_faults() {
    let fair = Fair::stocked();
    let late = Reason::Late { paid_until: seconds(3600) };
    let over = |size| Reason::OverSize { size: Bytes::new(size), size_max: Bytes::new(1 << 20) };
    let long = |size| Reason::ShardTooLong { size: Bytes::new(size), size_max: SHARD_MAX };
    let room = (1 << 20) - 80_000;
    let table = [
        (1, 40_000, 0, 0, Ok(Begun::Have)),
        (1, 40_001, 0, 0, Err(Reason::WrongSize { size: Bytes::new(40_000) })),
        (3, 5, 1, 0, Err(Reason::WrongEpoch { epoch: 0 })),
        (3, 5, 0, 3901, Err(Reason::WrongEpoch { epoch: 1 })),
        (3, 5, 1, 3600, Err(late)),
        (3, 5, 0, 3700, Ok(Begun::Ready(PutId(2)))), // the buyer's clock is behind, and both are honest
        (3, room, 0, 0, Ok(Begun::Ready(PutId(2)))),
        (3, room + 1, 0, 0, Err(over((1 << 20) + 1))),
        (3, 1 << 30, 0, 0, Err(over((1 << 30) + 80_000))),
        (3, (1 << 30) + 1, 0, 0, Err(long((1 << 30) + 1))),
        (3, u64::MAX, 0, 0, Err(long(u64::MAX))),
        (3, 0, 0, 0, Ok(Begun::Empty(PutId(2)))),
        (3, 5, 0, 7200, Err(Reason::Ended { why: Ending::Lapsed })),
        (3, 5, 0, 36_000, Err(Reason::Ended { why: Ending::Over })),
    ];
    for (name, size, epoch, after, begun) in table {
        let mut host = fair.host.clone();
        let size = Bytes::new(size);
        let result =
            host.put_begin(seconds(after), fair.peer(), fair.id(), shard(name), size, epoch);
        assert_eq!(result, begun, "{name} {size} {epoch} {after}");
        assert_eq!(host.puts.len(), usize::from(!matches!(begun, Ok(Begun::Have) | Err(_))));
    }

    // Puts under way keep their room, and none is begun twice.
    let mut fair = fair;
    let put = fair.begin(3, room - 10);
    let mut begin = |name, size| {
        fair.host.put_begin(
            NOON,
            fair.buyer.entity(),
            fair.terms.id(),
            shard(name),
            Bytes::new(size),
            0,
        )
    };
    assert_eq!(begin(4, 11), Err(over((1 << 20) + 1)));
    assert_eq!(begin(3, 10), Err(Reason::Busy));
    for name in 10..73 {
        assert!(begin(name, 0).is_ok());
    }
    assert_eq!(begin(4, 0), Err(Reason::Busy));
    assert_eq!(fair.host.put_abort(put), None);
    assert!(
        fair.host.put_begin(NOON, fair.peer(), fair.id(), shard(4), Bytes::new(room), 0).is_ok()
    );
}

#[test]
fn steps_are_refused_for_the_first_of_their_faults() {
    let mut fair = Fair::opened();
    let put = fair.begin(1, 5000);
    // 10 to open, 4096 × 0.003 = 12.288 for the first step.
    let unpaid = |owed, authorised| Reason::Unpaid {
        owed: Amount::new(owed),
        authorised: Amount::new(authorised),
    };
    let wrong =
        |length, length_max| Reason::WrongStep { length, length_max: Bytes::new(length_max) };
    let other = HoldId::from_digest(Digest::ZERO);
    let mut elsewhere = fair.voucher(Amount::new(23));
    elsewhere.voucher.hold = other;
    let mut forged = fair.voucher(Amount::new(23));
    forged.voucher.cumulative = Amount::new(999);
    let good = fair.voucher(Amount::new(23));
    let over = fair.voucher(Amount::new(HOLD.get() + 1));
    let overdrawn = Reason::OverHold { authorised: Amount::new(HOLD.get() + 1), amount_max: HOLD };
    let table = [
        (PutId(99), good, 4096, Err(Reason::Malformed)),
        (put, elsewhere, 4096, Err(Reason::WrongVoucher)),
        (put, over, 4096, Err(overdrawn)),
        (put, forged, 4096, Err(Reason::BadVoucher)),
        (put, good, 0, Err(wrong(0, 4096))),
        (put, good, 4097, Err(wrong(4097, 4096))),
        (put, fair.voucher(Amount::new(22)), 4096, Err(unpaid(23, 22))),
        (put, fair.voucher(Amount::new(1)), 4096, Err(unpaid(23, 10))), // the highest counts
        (put, good, 4096, Ok(Stepped::More { at: Bytes::new(4096) })),
        (put, good, 905, Err(wrong(905, 904))),
        (put, good, 904, Err(unpaid(25, 23))),
        // 10 + 5000 × 0.003 = 25 are not enough for the last step: keeping it is 5 more.
        (put, fair.voucher(Amount::new(29)), 904, Err(unpaid(30, 29))),
        (put, fair.voucher(Amount::new(30)), 904, Ok(Stepped::Whole)),
    ];
    for (put, voucher, length, stepped) in table {
        let before = fair.host.contracts.clone();
        assert_eq!(fair.host.put_step(NOON, put, &voucher, length), stepped);
        if stepped.is_err() {
            assert_eq!(fair.host.contracts, before, "a refusal changed the host");
        }
        fair.check();
    }

    // Wrong bytes are charged as written, and not kept.
    let mut liar = fair.clone();
    let answer = liar.host.put_commit(NOON, put, shard(2));
    assert_eq!(liar.note(&answer), Response::Refused { reason: Reason::WrongContent });
    assert_eq!(liar.contract().total(), Amount::new(25));
    assert_eq!(liar.contract().tab.stored, Bytes::ZERO);
    liar.check_replay();

    let answer = fair.host.put_commit(NOON, put, shard(1));
    assert_eq!(fair.note(&answer), Response::Stored);
    assert_eq!(fair.contract().total(), Amount::new(30));
    assert_eq!(refused(fair.host.put_commit(NOON, put, shard(1))), Reason::Malformed);
    fair.check_replay();
}

#[test]
fn reads_are_refused_for_the_first_of_their_faults() {
    let mut fair = Fair::stocked();
    let read = read_charged(Bytes::new(16_000), Bytes::new(1000), Bytes::new(40_000)).unwrap();
    assert_eq!(read.get(), 32_768);
    let owed = fair.tab.quote(&fair.terms, Charge::Read { bytes: read }).unwrap();
    let authorised = Amount::new(owed.get() - 1);
    let (good, short) = (fair.voucher(owed), fair.voucher(authorised));
    let wrong = |length| Reason::WrongStep { length, length_max: Bytes::new(STEP) };
    let range = Reason::WrongRange { size: Bytes::new(40_000) };
    let table = [
        (0, 9, 16_000, 1000, good, Err(Reason::UnknownShard)),
        (0, 1, 39_999, 2, good, Err(range)),
        (0, 1, 7, 0, good, Err(range)),
        (0, 1, u64::MAX, u64::MAX, good, Err(range)),
        (0, 1, 0, 4097, good, Err(wrong(4097))),
        (0, 1, 16_000, 1000, short, Err(Reason::Unpaid { owed, authorised })),
        (7200, 1, 16_000, 1000, good, Err(Reason::Ended { why: Ending::Lapsed })),
        (7199, 1, 16_000, 1000, good, Ok(())), // late, and still read
    ];
    for (after, name, offset, length, voucher, result) in table {
        let before = fair.host.contracts.clone();
        assert_eq!(fair.get(seconds(after), name, offset, length, &voucher), result);
        assert_eq!(fair.host.contracts == before, result.is_err());
        fair.check();
    }

    // One voucher, two reads at once: only one is served.
    let owed = Amount::new(owed.get() + 132);
    let voucher = fair.voucher(owed);
    let begin = |fair: &Fair| {
        let (offset, length) = (Bytes::new(16_000), Bytes::new(1000));
        fair.host.get_begin(NOON, fair.peer(), fair.id(), shard(2), offset, length, &voucher)
    };
    let (one, other) = (begin(&fair).unwrap(), begin(&fair).unwrap());
    assert_eq!(one.range, 16_000..17_000);
    let event = fair.host.get_commit(&one).unwrap();
    fair.journal.push(event.to_record());
    assert!(matches!(fair.host.get_commit(&other), Err(Reason::Unpaid { .. })));
    fair.check();
    fair.check_replay();
}

#[test]
fn epochs_are_paid_one_by_one() {
    let mut fair = Fair::stocked();
    for epoch in 2..=10 {
        // 80,000 bytes for an hour are 80 units.
        let owed = Amount::new(fair.contract().total().get() + 80);
        let short = fair.voucher(Amount::new(owed.get() - 1));
        let now = seconds(3600 * (epoch - 1));
        let refusal = refused(fair.host.advance(now, fair.peer(), fair.id(), &short));
        assert_eq!(refusal, Reason::Unpaid { owed, authorised: Amount::new(owed.get() - 1) });
        let answer = fair.host.advance(now, fair.peer(), fair.id(), &fair.voucher(owed));
        assert_eq!(fair.note(&answer), Response::Advanced { epochs_paid: epoch });
    }
    let refusal = refused(fair.host.advance(NOON, fair.peer(), fair.id(), &fair.voucher(HOLD)));
    assert_eq!(refusal, Reason::PaidToTheEnd { epochs_paid: 10 });
    assert_eq!(fair.host.due(seconds(35_999)), []);
    assert_eq!(fair.host.due(seconds(36_000)), [fair.id()]);
    fair.check();
    fair.check_replay();
}

#[test]
fn shards_are_kept_as_long_as_any_contract_has_them() {
    let mut fair = Fair::stocked();
    let first = fair.terms;
    // A second contract of the same buyer, with shard 1 too.
    fair.terms.nonce = 8;
    (fair.hold, fair.tab) = (HoldId::from_digest(Digest::ZERO), Tab::default());
    let voucher = fair.pay(Charge::Open);
    let hold = fair.issuer_says();
    let answer = fair.open(&voucher, Some(&hold));
    assert!(matches!(fair.note(&answer), Response::Opened { .. }));
    assert_eq!(fair.put(1, 40_000), Response::Stored);

    let second = fair.id();
    let mut delete = |id, name| {
        let answer = fair.host.delete(NOON, fair.buyer.entity(), id, shard(name));
        assert!(matches!(fair.note(&answer), Response::Deleted { .. }));
        fair.check();
        answer.remove
    };
    assert_eq!(delete(first.id(), 1), []);
    assert_eq!(delete(first.id(), 1), [], "deleted twice");
    assert_eq!(delete(first.id(), 2), [shard(2)]);
    assert_eq!(delete(second, 1), [shard(1)]);
    assert_eq!(fair.host.shards().count(), 0);
    fair.check_replay();
}

/// A new mark takes the place of the old one and of its shard; what comes late or from others changes nothing.
#[test]
fn the_highest_mark_stands() {
    let fair = Fair::stocked();
    let mark = |sequence, name, size| Mark {
        contract: fair.id(),
        hold: fair.hold,
        hold_max: HOLD,
        sequence,
        shard: shard(name),
        size: Bytes::new(size),
    };
    let (one, two) = (mark(5, 1, 40_000), mark(6, 2, 40_000));
    let stranger = SecretKey::from_bytes(&[4; 32]);
    let unknown = Mark { contract: ContractId::from_digest(Digest::ZERO), ..one };
    // One line for each: who sends what, signed by whom; the answer's sequence, or why there is none.
    let table = [
        (fair.peer(), mark(5, 3, 40_000), &fair.buyer, Err(Reason::UnknownShard)),
        (
            fair.peer(),
            mark(5, 1, 1),
            &fair.buyer,
            Err(Reason::WrongSize { size: Bytes::new(40_000) }),
        ),
        (fair.peer(), one, &stranger, Err(Reason::Unsigned)),
        (fair.peer(), unknown, &fair.buyer, Err(Reason::UnknownContract)),
        (stranger.entity(), one, &stranger, Err(Reason::NotYours)),
        (fair.peer(), one, &fair.buyer, Ok((5, vec![]))),
        (fair.peer(), one, &fair.buyer, Ok((5, vec![]))),
        (fair.peer(), mark(4, 2, 40_000), &fair.buyer, Ok((5, vec![]))),
        (fair.peer(), two, &fair.buyer, Ok((6, vec![shard(1)]))),
        (fair.peer(), mark(7, 2, 40_000), &fair.buyer, Ok((7, vec![]))),
    ];
    let (buyer, mut fair) = (fair.buyer.clone(), fair.clone());
    for (peer, mark, signer, expected) in table {
        let answer = fair.host.mark(NOON, peer, &mark.sign(signer));
        let found = match fair.note(&answer) {
            Response::Marked { sequence } => Ok((sequence, answer.remove.clone())),
            Response::Refused { reason } => Err(reason),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{mark:?}");
        fair.check();
        fair.check_replay();
    }
    // Its buyer finds it again, others find nothing, and what has ended is not shown.
    let (id, ends) = (fair.id(), fair.terms.ends);
    let mine = |now, peer, after| match fair.host.mine(now, peer, after) {
        Response::Mine { list } => list.into_vec(),
        other => panic!("{other:?}"),
    };
    let found = mine(NOON, buyer.entity(), None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].terms, fair.terms);
    assert_eq!(found[0].mark.unwrap().mark, mark_of(&two, 7));
    assert_eq!(mine(NOON, buyer.entity(), Some(id)), []);
    assert_eq!(mine(NOON, stranger.entity(), None), []);
    assert_eq!(mine(ends, buyer.entity(), None), []);
}

fn mark_of(mark: &Mark, sequence: u64) -> Mark {
    Mark { sequence, ..*mark }
}

#[test]
fn a_contract_closes_once() {
    let mut fair = Fair::stocked();
    let (peer, id, total) = (fair.peer(), fair.id(), fair.contract().total());
    assert!(matches!(fair.host.close_due(NOON, id), Err(Reason::Busy)));
    assert_eq!(refused(fair.host.close_finish(id, HOLD)), Reason::Busy);

    let closing = fair.host.close_begin(NOON, peer, id).unwrap();
    assert_eq!(closing.event, Some(Event::Ended { contract: id, at: NOON, why: Ending::Closed }));
    fair.journal.extend(closing.event.map(|event| event.to_record()));
    assert_eq!(closing.settle, Settle::Post(fair.voucher(total)));
    let refusal = Reason::Ended { why: Ending::Closed };
    assert_eq!(fair.get(NOON, 1, 0, 1, &fair.voucher(HOLD)), Err(refusal));

    // The issuer cannot be reached: asked again, or after a crash, it is the same; until then nothing is forgotten.
    assert_eq!(fair.host.due(NOON), [id]);
    let again = fair.host.close_due(seconds(5), id).unwrap();
    assert_eq!(again, Closing { event: None, settle: closing.settle });
    assert!(fair.host.keeps(shard(1)));
    fair.check_replay();

    let answer = fair.host.close_finish(id, total);
    assert_eq!(fair.note(&answer), Response::Closed { total, paid: total });
    let mut removed = answer.remove;
    removed.sort_unstable();
    let mut both = [shard(1), shard(2)];
    both.sort_unstable();
    assert_eq!(removed, both);
    assert_eq!(fair.host.due(NOON), []);
    assert_eq!(fair.host.free(), config().size);
    let done = Settle::Done(Response::Closed { total, paid: total });
    let closing = Closing { event: None, settle: done };
    assert_eq!(fair.host.close_begin(seconds(9), peer, id), Ok(closing));
    assert_eq!(fair.host.close_finish(id, HOLD).response, Response::Closed { total, paid: total });
    fair.check_replay();

    fair.host.forget(seconds(7 * 86_400 - 1));
    assert_eq!(fair.host.contracts.len(), 1);
    fair.host.forget(seconds(7 * 86_400));
    assert_eq!(fair.host.close_begin(NOON, peer, id), Err(Reason::UnknownContract));
}

#[test]
fn contracts_come_due() {
    let ended = |why| Err(Reason::Ended { why });
    // When its hold expires, when it is looked at, and why it has ended then.
    let table = [
        (86_400, 7199, Ok(())),
        (86_400, 7200, ended(Ending::Lapsed)),
        (86_400, 36_000, ended(Ending::Over)),
        (4800, 3599, Ok(())),
        (4800, 3600, ended(Ending::HoldOver)), // a quarter of the hold's time is left
    ];
    for (expires, after, result) in table {
        let mut fair = Fair::new();
        let voucher = fair.pay(Charge::Open);
        let hold = Hold { expires: seconds(expires), ..fair.issuer_says() };
        assert!(matches!(fair.open(&voucher, Some(&hold)).response, Response::Opened { .. }));
        let now = seconds(after);
        let state = fair.host.open_contract(now, fair.peer(), fair.id()).map(|_| ());
        assert_eq!(state, result);
        assert_eq!(fair.host.due(now).len(), usize::from(result.is_err()));
        if let Err(Reason::Ended { why }) = result {
            let closing = fair.host.close_due(now, fair.id()).unwrap();
            assert_eq!(closing.event, Some(Event::Ended { contract: fair.id(), at: now, why }));
            let refusal = refused(fair.host.advance(now, fair.peer(), fair.id(), &voucher));
            assert_eq!(refusal, Reason::Ended { why });
        }
    }
}

/// Whoever was away while a contract ended early, by a delegate or by itself, hears of it as long as it should have gone on.
#[test]
fn what_ended_before_its_time_is_remembered_to_that_time() {
    const WEEK: u64 = 7 * 86_400;
    // Why it ended, when, and when it is forgotten; it would have ended after 36,000 s.
    let table = [
        (Ending::Lapsed, 7200, 36_000 + WEEK),
        (Ending::Renewed, 7200, 36_000 + WEEK),
        (Ending::Over, 36_000, 36_000 + WEEK),
        (Ending::Closed, 7200, 7200 + WEEK),
    ];
    for (why, ended, forgotten) in table {
        let mut fair = Fair::opened();
        let (peer, id) = (fair.peer(), fair.id());
        let contract = fair.host.contracts.get_mut(&id).unwrap();
        contract.state = State::ended(seconds(ended), why);
        fair.host.forget(seconds(forgotten));
        assert!(fair.host.contracts.contains_key(&id), "what is not paid is never forgotten");
        fair.host.contracts.get_mut(&id).unwrap().paid = Some(Amount::ZERO);
        fair.host.forget(seconds(forgotten - 1));
        let Response::Status { state, .. } = fair.host.status(seconds(forgotten - 1), peer, id)
        else {
            panic!("{why:?} is forgotten too early");
        };
        assert_eq!(state.why(), Some(why));
        fair.host.forget(seconds(forgotten));
        let reason = Reason::UnknownContract;
        assert_eq!(fair.host.status(NOON, peer, id), Response::Refused { reason }, "{why:?}");
    }
}

#[test]
fn status_and_list_tell_all() {
    let mut fair = Fair::stocked();
    let voucher = Some(fair.voucher(fair.contract().total()));
    let (tab, shards, state) = (fair.tab, 2, State::Open);
    assert_eq!(
        fair.host.status(NOON, fair.peer(), fair.id()),
        Response::Status { tab, voucher, shards, state }
    );
    for name in 3..10 {
        assert_eq!(fair.put(name, 100), Response::Stored);
    }
    let mut after = None;
    let mut seen = 0;
    while let Response::Shards { list } = fair.host.list(fair.peer(), fair.id(), after) {
        let Some(first) = list.as_slice().first() else { break };
        assert!(Some(first.shard) > after);
        seen += 1;
        after = Some(first.shard);
    }
    assert_eq!(seen, 9);
}

#[test]
fn foreign_journals_are_refused() {
    let mut host = Fair::new().host;
    let contract = ContractId::from_digest(Digest::ZERO);
    let event = Event::Posted { contract, paid: HOLD };
    assert_eq!(host.replay(&event.to_record()), Err(ReplayError::Unopened { contract }));
    assert_eq!(host.replay(&[]), Err(ReplayError::Version { found: 0 }));
    assert_eq!(host.replay(&[2, 6]), Err(ReplayError::Version { found: 2 }));
    assert!(matches!(host.replay(&[1, 9]), Err(ReplayError::Record(_))));
}
