use super::*;
use fondaco_audit::{ProofChallenge, tagged_len};
use fondaco_ports::market::{PROOF_CHARGED, PROOF_SAMPLES_MAX, ProvePart};

const LENGTH: u64 = 40_000;

/// With shards 1 and 2 of 40,000 bytes and their tags, and a third that has none.
fn tagged() -> Fair {
    let mut fair = Fair::opened();
    for (name, size) in [(1, tagged_len(LENGTH)), (2, tagged_len(LENGTH)), (3, 7697)] {
        assert_eq!(fair.put(name, size), Response::Stored);
    }
    fair
}

fn ask(
    fair: &mut Fair,
    now: Timestamp,
    parts: &[(u8, u16)],
    voucher: &SignedVoucher,
) -> Result<ProvePlan, Reason> {
    let parts: Vec<ProvePart> =
        parts.iter().map(|&(name, samples)| ProvePart { shard: shard(name), samples }).collect();
    let (peer, id) = (fair.peer(), fair.id());
    fair.host.prove_begin(now, peer, id, [5; 32], &parts, voucher)
}

#[test]
fn proofs_are_refused_for_the_first_of_their_faults() {
    let mut fair = tagged();
    let charge = Charge::Read { bytes: PROOF_CHARGED };
    let owed = fair.tab.quote(&fair.terms, charge).unwrap();
    let authorised = Amount::new(owed.get() - 1);
    let (good, short) = (fair.voucher(owed), fair.voucher(authorised));
    let wrong = Reason::WrongSamples { samples_max: 512 };
    let max = u16::try_from(PROOF_SAMPLES_MAX).unwrap();
    type Asked<'a> = &'a [(u8, u16)];
    let table: [(u64, Asked<'_>, SignedVoucher, Option<Reason>); 11] = [
        (0, &[], good, Some(wrong)),
        (0, &[(1, 0)], good, Some(wrong)),
        (0, &[(1, 1), (1, 1)], good, Some(wrong)),
        (0, &[(2, 1), (1, 1)], good, Some(wrong)),
        (0, &[(1, max), (2, 1)], good, Some(wrong)),
        (0, &[(9, 1)], good, Some(Reason::UnknownShard)),
        (0, &[(3, 1)], good, Some(Reason::Untagged { size: Bytes::new(7697) })),
        (0, &[(1, 1)], short, Some(Reason::Unpaid { owed, authorised })),
        (7200, &[(1, 1)], good, Some(Reason::Ended { why: Ending::Lapsed })),
        (0, &[(1, 1), (2, max - 1)], good, None),
        (7199, &[(1, 460)], good, None), // late, and still proved
    ];
    for (after, parts, voucher, refusal) in table {
        let before = fair.host.proofs.clone();
        let plan = ask(&mut fair, seconds(after), parts, &voucher);
        assert_eq!(plan.as_ref().err().copied(), refusal, "{parts:?}");
        assert_eq!(fair.host.proofs == before, refusal.is_some(), "a refusal counts for nothing");
    }
    let (peer, id) = (fair.peer(), fair.id());
    let part = ProvePart { shard: shard(1), samples: 1 };
    let of_others =
        fair.host.prove_begin(NOON, EntityId::from_bytes([9; 32]), id, [0; 32], &[part], &good);
    assert_eq!(of_others, Err(Reason::NotYours));
    let mut forged = fair.voucher(Amount::new(owed.get() + 1));
    forged.signature = good.signature;
    assert_eq!(
        fair.host.prove_begin(NOON, peer, id, [0; 32], &[part], &forged),
        Err(Reason::BadVoucher)
    );
    fair.check();
    fair.check_replay();
}

/// A proof is charged once it is made, as a read of its bytes, and one voucher pays for one.
#[test]
fn a_proof_is_metered_as_a_read() {
    let mut fair = tagged();
    let before = fair.contract().tab.meter.read;
    let voucher = fair.pay(Charge::Read { bytes: PROOF_CHARGED });
    let plan = ask(&mut fair, NOON, &[(1, 3), (2, 4)], &voucher).unwrap();
    let other = ask(&mut fair, NOON, &[(1, 3)], &voucher).unwrap();
    let drawn: Vec<u32> = plan.shards.iter().map(|part| part.samples).collect();
    assert_eq!(drawn.iter().sum::<u32>(), 7);
    assert!(plan.shards.iter().all(|part| part.length == LENGTH));
    assert_eq!(plan.shards[0].tags_at(2), Bytes::new(LENGTH + 32));
    assert_eq!(fair.contract().tab.meter.read, before);
    let event = fair.host.prove_commit(&plan).unwrap();
    fair.journal.push(event.to_record());
    assert_eq!(fair.contract().tab.meter.read, before + (16 << 10));
    assert!(matches!(fair.host.prove_commit(&other), Err(Reason::Unpaid { .. })));
    fair.check();
    fair.check_replay();
}

/// A nonce that was used before is the buyer's own fault: it is asked the same, and pays and counts as for another. Under
/// another's contract the same nonce asks for other blocks, so what one buyer's proofs showed is of no use for the next.
#[test]
fn a_nonce_that_was_used_before_is_another_question_under_another_contract() {
    let mut fair = tagged();
    let parts = [(1, 3), (2, 4)];
    let mut owed = Vec::new();
    let mut plans = Vec::new();
    for _ in 0..2 {
        let voucher = fair.pay(Charge::Read { bytes: PROOF_CHARGED });
        let plan = ask(&mut fair, NOON, &parts, &voucher).unwrap();
        let event = fair.host.prove_commit(&plan).unwrap();
        fair.journal.push(event.to_record());
        owed.push(fair.contract().total());
        plans.push(plan);
    }
    assert!(owed[0] < owed[1], "the same is paid for again");
    assert_eq!((plans[0].challenge, &plans[0].shards), (plans[1].challenge, &plans[1].shards));
    assert_eq!(fair.host.proofs[&fair.id()].1, 2);

    // The next buyer's contract has the same nonce, and shards of the same names.
    let other = ProofChallenge { contract: Digest::of(b"another contract"), ..plans[0].challenge };
    let draws = |challenge: &ProofChallenge| -> Vec<_> {
        plans[0].shards.iter().map(|one| challenge.draws(one.shard, one.length, 6)).collect()
    };
    assert_eq!(draws(&plans[0].challenge), draws(&plans[1].challenge));
    assert_ne!(draws(&plans[0].challenge), draws(&other));
    // And nobody asks under a contract that is not theirs, with whatever nonce.
    let (id, voucher) = (fair.id(), fair.voucher(owed[1]));
    let part = ProvePart { shard: shard(1), samples: 3 };
    let stranger = EntityId::from_bytes([9; 32]);
    let answer = fair.host.prove_begin(NOON, stranger, id, [5; 32], &[part], &voucher);
    assert_eq!(answer, Err(Reason::NotYours));
    fair.check();
    fair.check_replay();
}

/// A buyer cannot keep a disk busy for pennies: an epoch has so many proofs, and the next has as many again.
#[test]
fn an_epoch_has_so_many_proofs() {
    let mut fair = tagged();
    let voucher = fair.pay(Charge::Advance);
    let (peer, id) = (fair.peer(), fair.id());
    let answer = fair.host.advance(NOON, peer, id, &voucher);
    let _ = fair.note(&answer);
    let voucher = fair.pay(Charge::Read { bytes: PROOF_CHARGED });
    for epoch in [0, 3600] {
        for _ in 0..PROOFS_PER_EPOCH_MAX {
            assert!(ask(&mut fair, seconds(epoch), &[(1, 1)], &voucher).is_ok());
        }
        let refusal = ask(&mut fair, seconds(epoch + 3599), &[(1, 1)], &voucher).unwrap_err();
        let until = seconds(epoch + 3600);
        assert_eq!(refusal, Reason::TooManyProofs { proofs_max: PROOFS_PER_EPOCH_MAX, until });
        assert!(refusal.is_transient());
    }
    fair.check();
}
