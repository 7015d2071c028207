//! `audit`: name a shard, prove and check parts of it, against BLAKE3 of the same bytes; tag it, and prove and check
//! 460 blocks at once.

use std::ops::Range;

use fondaco_audit::{
    AuditKey, BLOCK, Outboard, PROOF_BYTES, Part, ProofChallenge, Prover, ShardId, Subject,
    bytes_at, check, prove,
};
use fondaco_crypto::Digest;
use fondaco_testkit::Rng;

use crate::race::{Clock, Table, Unit, peer, timed, timed_each};
use crate::report::Report;

const SHARD: usize = 32 << 20;

pub(crate) fn run(report: &Report) {
    let mut bytes = vec![0; SHARD];
    Rng::new(1).fill(&mut bytes);
    let table = Table::begin(report, "Shards of 32 MiB", Clock::Cpu, Unit::Bytes);
    table.row(
        "name it and keep its hashes",
        SHARD as u64,
        || timed(|| Outboard::of(&bytes)),
        [peer("BLAKE3", || timed(|| blake3::hash(&bytes)))],
    );
    let (shard, outboard) = Outboard::of(&bytes);
    for length in [256 << 10, 16 << 10] {
        parts(&table, &bytes, shard, &outboard, length);
    }
    deep(report, &table, bytes);
}

/// How many blocks find a loss of 1 % with 99 % certainty.
const SAMPLES: u32 = 460;

/// Tags the shard, and proves and checks blocks of it.
fn deep(report: &Report, table: &Table<'_>, mut bytes: Vec<u8>) {
    let length = bytes.len();
    let contract = Digest::of(b"contract");
    let key = AuditKey::from_bytes([1; 32]).for_contract(&contract);
    let subject = Subject::from_digest(Digest::of(b"subject"));
    let mut copy = vec![0; length];
    table.row(
        "tag it",
        length as u64,
        || timed(|| key.tags(subject, &bytes)),
        [
            peer("BLAKE3", || timed(|| blake3::hash(&bytes))),
            peer("memcpy", || timed(|| copy.copy_from_slice(&bytes))),
        ],
    );
    bytes.extend(key.tags(subject, &bytes));
    let challenge = ProofChallenge { nonce: [7; 32], contract };
    let part =
        Part { shard: ShardId::of(&bytes), subject, length: length as u64, samples: SAMPLES };
    let memory = |number: u64| usize::try_from(number).expect("of this shard");
    let block = memory(BLOCK);
    let prove = || {
        let mut prover = Prover::default();
        for draw in challenge.draws(part.shard, part.length, SAMPLES) {
            let (at, tags) = (memory(draw.block) * block, length + memory(draw.block) * 16);
            prover.add(&draw, &bytes[at..length.min(at + block)], &bytes[tags..tags + 16]);
        }
        prover.finish().to_bytes()
    };
    let proof = prove();
    assert_eq!(proof.len(), PROOF_BYTES);
    let check = || key.check(&challenge.nonce, &[part], &proof).expect("what was proved just now");
    let times = Table::begin(report, "Deep audits of 460 blocks", Clock::Cpu, Unit::Seconds);
    let rounds = 20;
    times.row(
        &format!("prove: {PROOF_BYTES} B"),
        rounds,
        || timed_each(0..rounds, |_| prove()),
        [peer("BLAKE3 of the blocks", || {
            timed_each(0..rounds, |_| blake3::hash(&bytes[..SAMPLES as usize * block]))
        })],
    );
    times.row(
        "check",
        rounds,
        || timed_each(0..rounds, |_| check()),
        [peer("BLAKE3 of the blocks", || {
            timed_each(0..rounds, |_| blake3::hash(&bytes[..SAMPLES as usize * block]))
        })],
    );
    times.row(
        "derive the key of a contract",
        rounds,
        || timed_each(0..rounds, |_| AuditKey::from_bytes([1; 32]).for_contract(&contract)),
        [peer("BLAKE3 of the blocks", || {
            timed_each(0..rounds, |_| blake3::hash(&bytes[..SAMPLES as usize * block]))
        })],
    );
}

/// Goes through all of the shard in parts of `length`.
fn parts(table: &Table<'_>, bytes: &[u8], shard: ShardId, outboard: &Outboard, length: usize) {
    let size = bytes.len() as u64;
    let ranges: Vec<Range<u64>> =
        (0..size).step_by(length).map(|start| start..start + length as u64).collect();
    let prove = |range: &Range<u64>| {
        prove(bytes_at(bytes), outboard, range.clone()).expect("a part of this shard")
    };
    let check = |range: &Range<u64>, slice: &[u8]| {
        check(shard, size, range.clone(), slice).expect("what was proved just now")
    };
    let hash_all = || timed_each(bytes.chunks(length), blake3::hash);
    let kib = length >> 10;
    let slices: Vec<Vec<u8>> = ranges.iter().map(prove).collect();
    let proof = slices[slices.len() / 2].len();
    table.row(
        &format!("prove and check {kib} KiB"),
        size,
        || timed_each(&ranges, |range| check(range, &prove(range))),
        [peer("BLAKE3 of each", hash_all)],
    );
    table.row(
        &format!("check {kib} KiB, a slice of {proof} B"),
        size,
        || timed_each(ranges.iter().zip(&slices), |(range, slice)| check(range, slice)),
        [peer("BLAKE3 of each", hash_all)],
    );
}
