//! `erasure`: cut and rebuild, against copying the object and against the library under it without our striping.

use fondaco_erasure::{Code, ErasureCode, Layout, ReedSolomon};
use fondaco_testkit::Rng;

use crate::race::{Clock, Table, Unit, peer, timed};
use crate::report::Report;

const OBJECT: usize = 32 << 20;

pub(crate) fn run(report: &Report) {
    let mut object = vec![0; OBJECT];
    Rng::new(1).fill(&mut object);
    let table = Table::begin(report, "Objects of 32 MiB", Clock::Cpu, Unit::Bytes);
    for (k, n) in [(5, 8), (10, 30)] {
        encode(&table, k, n, &object);
        for lost in [1, n - k] {
            rebuild(&table, k, n, lost, &object);
        }
    }
}

fn layout(k: u8, n: u8) -> Layout {
    let code = Code::new(k, n).expect("k is at most n");
    Layout::new(code, OBJECT as u64).expect("the object is short enough")
}

fn encode(table: &Table<'_>, k: u8, n: u8, object: &[u8]) {
    let layout = layout(k, n);
    let shards = ReedSolomon.encode(layout, object).expect("it has the length of its layout");
    let data = &shards[..k.into()];
    let mut copy = vec![0; OBJECT];
    table.row(
        &format!("encode {k} of {n}"),
        OBJECT as u64,
        || timed(|| ReedSolomon.encode(layout, object)),
        [
            peer("memcpy", || timed(|| copy.copy_from_slice(object))),
            peer("reed-solomon-simd", || {
                timed(|| reed_solomon_simd::encode(k.into(), (n - k).into(), data))
            }),
        ],
    );
}

/// The first `lost` shards are lost: of those that live, the first `k` are read.
fn rebuild(table: &Table<'_>, k: u8, n: u8, lost: u8, object: &[u8]) {
    let layout = layout(k, n);
    let shards = ReedSolomon.encode(layout, object).expect("it has the length of its layout");
    let alive: Vec<(u8, &[u8])> = (lost..n)
        .take(k.into())
        .map(|index| (index, shards[usize::from(index)].as_slice()))
        .collect();
    let (data, parity): (Vec<_>, Vec<_>) = alive.iter().partition(|(index, _)| *index < k);
    let data = data.into_iter().map(|(index, bytes)| (usize::from(index), bytes));
    let parity = parity.into_iter().map(|(index, bytes)| (usize::from(index - k), bytes));
    let rebuild = || ReedSolomon.rebuild(layout, 0..layout.shard_len(), &alive);
    assert!(rebuild().is_ok_and(|rebuilt| rebuilt == shards[..k.into()]), "rebuilt as it was");
    let mut copy = vec![0; OBJECT];
    table.row(
        &format!("rebuild {k} of {n}, {lost} lost"),
        OBJECT as u64,
        || timed(rebuild),
        [
            peer("memcpy", || timed(|| copy.copy_from_slice(object))),
            peer("reed-solomon-simd", || {
                let (data, parity) = (data.clone(), parity.clone());
                timed(|| reed_solomon_simd::decode(k.into(), (n - k).into(), data, parity))
            }),
        ],
    );
}
