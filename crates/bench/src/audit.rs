//! `audit`: name a shard, prove and check parts of it, against BLAKE3 of the same bytes.

use std::ops::Range;

use fondaco_audit::{Outboard, ShardId, bytes_at, check, prove};
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
