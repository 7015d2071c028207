//! `erasure`: cut and rebuild, against copying the object and against `reed-solomon-simd`.

use fondaco_erasure::{Code, Kernel, Layout, encode, rebuild_into};
use fondaco_testkit::Rng;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use crate::race::{Clock, Outcome, Table, Unit, peer, timed, timed_each};
use crate::report::{Bound, Goal, Report};

const OBJECT: usize = 32 << 20;

/// Shards that stay in the cache of a core, and how much data goes through them in a run.
const SHARD: usize = 64 << 10;
const CACHED: usize = 128 << 20;

const CODES: [(u8, u8); 3] = [(5, 8), (10, 30), (29, 80)];

const ENCODE: Goal = Goal {
    what: "encode 10 of 30, shards of 64 KiB in cache",
    bound: Bound::AtLeast(8.0),
    unit: " GB/s",
};
const ONE_LOST: Goal = Goal {
    what: "rebuild the one lost of 10 of 30, in cache",
    bound: Bound::AtLeast(30.0),
    unit: " GB/s",
};

pub(crate) fn run(report: &Report) {
    let mut object = vec![0; OBJECT];
    Rng::new(1).fill(&mut object);
    let best = Kernel::best();
    let title = format!("Shards of 64 KiB in cache, kernel {best}");
    let table = Table::begin(report, &title, Clock::Cpu, Unit::Bytes);
    for (k, n) in CODES {
        let cached = Cached::new(k, n, report, &object);
        let encoded = cached.encode(&table);
        let one = cached.rebuild(&table, 1);
        cached.rebuild(&table, k.min(n - k));
        if (k, n) == (10, 30) {
            gigabytes(report, ENCODE, &encoded);
            gigabytes(report, ONE_LOST, &one);
        }
    }
    let title = "Encode 10 of 30 in shards of 64 KiB in cache, by kernel";
    let table = Table::begin(report, title, Clock::Cpu, Unit::Bytes);
    kernels(&table, &Cached::new(10, 30, report, &object));

    let object = &object[..report.size(OBJECT, 1 << 20)];
    let title = format!("Objects of {} MiB, memory for the shards included", object.len() >> 20);
    let table = Table::begin(report, &title, Clock::Cpu, Unit::Bytes);
    for (k, n) in CODES {
        encode_whole(&table, k, n, object);
        for lost in [1, k.min(n - k)] {
            rebuild_whole(&table, k, n, lost, object);
        }
    }
}

/// Notes a row as what was measured of a goal in gigabytes.
pub(crate) fn gigabytes(report: &Report, goal: Goal, row: &Outcome) {
    let ratios: Vec<_> = row.peers.iter().map(|(name, ratio)| (&**name, ratio.median)).collect();
    report.goal(goal, row.own.median / 1e9, &ratios);
}

fn code(k: u8, n: u8) -> Code {
    Code::new(k, n).expect("k is at most n")
}

/// Shards that are short enough to stay in the cache, gone through again and again.
struct Cached {
    k: u8,
    n: u8,
    rounds: usize,
    shards: Vec<Vec<u8>>,
}

impl Cached {
    fn new(k: u8, n: u8, report: &Report, object: &[u8]) -> Self {
        let object = &object[..usize::from(k) * SHARD];
        let layout = Layout::new(code(k, n), object.len() as u64).expect("it is short");
        let shards = encode(layout, object).expect("it has the length of its layout");
        let rounds = report.size(CACHED, 16 * object.len()) / object.len();
        Self { k, n, rounds, shards: shards.iter().map(|(_, shard)| shard.to_vec()).collect() }
    }

    /// Bytes of the object in a run.
    fn work(&self) -> u64 {
        (self.rounds * usize::from(self.k) * SHARD) as u64
    }

    /// The shards from `from` on, each with its index.
    fn from(&self, from: u8) -> Vec<(u8, &[u8])> {
        (0..).zip(self.shards.iter().map(Vec::as_slice)).skip(from.into()).collect()
    }

    fn encode(&self, table: &Table<'_>) -> Outcome {
        let Self { k, n, rounds, .. } = *self;
        let data = &self.from(0)[..k.into()];
        let mut parity = vec![vec![0; SHARD]; (n - k).into()];
        let mut copies = vec![vec![0; SHARD]; k.into()];
        let mut peer_encoder = ReedSolomonEncoder::new(k.into(), (n - k).into(), SHARD)
            .expect("the library has this code");
        table.row(
            &format!("encode {k} of {n}"),
            self.work(),
            || {
                let sample = timed_each(0..rounds, |_| {
                    let mut wanted: Vec<_> = (k..).zip(slices(&mut parity)).collect();
                    rebuild_into(code(k, n), data, &mut wanted)
                });
                assert_eq!(parity, self.shards[k.into()..]);
                sample
            },
            [
                peer("memcpy", || {
                    timed_each(0..rounds, |_| {
                        let pairs = copies.iter_mut().zip(data);
                        pairs.for_each(|(copy, (_, shard))| copy.copy_from_slice(shard));
                    })
                }),
                peer("reed-solomon-simd", || {
                    timed_each(0..rounds, |_| {
                        for (_, shard) in data {
                            peer_encoder.add_original_shard(shard).expect("one of k");
                        }
                        let encoded = peer_encoder.encode().expect("k shards");
                        encoded.recovery_iter().map(|shard| shard[0]).fold(0, |a, b| a ^ b)
                    })
                }),
            ],
        )
    }

    /// The first `lost` shards are lost: of those that live, the first `k` are read.
    fn rebuild(&self, table: &Table<'_>, lost: u8) -> Outcome {
        let Self { k, n, rounds, .. } = *self;
        let alive = &self.from(lost)[..k.into()];
        let mut rebuilt = vec![vec![0; SHARD]; lost.into()];
        let mut copies = vec![vec![0; SHARD]; k.into()];
        let mut peer_decoder = ReedSolomonDecoder::new(k.into(), (n - k).into(), SHARD)
            .expect("the library has this code");
        table.row(
            &format!("rebuild {lost} lost of {k} of {n}"),
            self.work(),
            || {
                let sample = timed_each(0..rounds, |_| {
                    let mut wanted: Vec<_> = (0..).zip(slices(&mut rebuilt)).collect();
                    rebuild_into(code(k, n), alive, &mut wanted)
                });
                assert_eq!(rebuilt, self.shards[..lost.into()]);
                sample
            },
            [
                peer("memcpy", || {
                    timed_each(0..rounds, |_| {
                        let pairs = copies.iter_mut().zip(alive);
                        pairs.for_each(|(copy, (_, shard))| copy.copy_from_slice(shard));
                    })
                }),
                peer("reed-solomon-simd", || {
                    timed_each(0..rounds, |_| {
                        for &(index, shard) in alive {
                            let added = match index.checked_sub(k) {
                                None => peer_decoder.add_original_shard(index.into(), shard),
                                Some(place) => peer_decoder.add_recovery_shard(place.into(), shard),
                            };
                            added.expect("one of n");
                        }
                        let decoded = peer_decoder.decode().expect("k shards");
                        decoded.restored_original_iter().map(|(_, s)| s[0]).fold(0, |a, b| a ^ b)
                    })
                }),
            ],
        )
    }
}

fn slices(shards: &mut [Vec<u8>]) -> impl Iterator<Item = &mut [u8]> {
    shards.iter_mut().map(Vec::as_mut_slice)
}

/// The arithmetic alone, with weights of no meaning.
fn kernels(table: &Table<'_>, cached: &Cached) {
    let Cached { k, n, rounds, ref shards } = *cached;
    let inputs: Vec<&[u8]> = shards[..k.into()].iter().map(Vec::as_slice).collect();
    let outputs = usize::from(n - k);
    let weights: Vec<u8> = (2..=u8::MAX).cycle().take(inputs.len() * outputs).collect();
    let combine = |kernel: Kernel| {
        let mut parity = vec![vec![0; SHARD]; outputs];
        let mut outputs: Vec<_> = slices(&mut parity).collect();
        timed_each(0..rounds, |_| kernel.combine(&weights, &inputs, &mut outputs))
    };
    for kernel in Kernel::available() {
        let peers = [peer("scalar", || combine(Kernel::SCALAR))];
        table.row(&kernel.to_string(), cached.work(), || combine(kernel), peers);
    }
}

fn encode_whole(table: &Table<'_>, k: u8, n: u8, object: &[u8]) {
    let layout = Layout::new(code(k, n), object.len() as u64).expect("it is short enough");
    let shards = encode(layout, object).expect("it has the length of its layout");
    let data: Vec<&[u8]> = shards.iter().take(k.into()).map(|(_, shard)| shard).collect();
    let mut copy = vec![0; object.len()];
    table.row(
        &format!("encode {k} of {n}"),
        object.len() as u64,
        || timed(|| encode(layout, object)),
        [
            peer("memcpy", || timed(|| copy.copy_from_slice(object))),
            peer("reed-solomon-simd", || {
                timed(|| reed_solomon_simd::encode(k.into(), (n - k).into(), &data))
            }),
        ],
    );
}

/// The first `lost` shards are lost: of those that live, the first `k` are read.
fn rebuild_whole(table: &Table<'_>, k: u8, n: u8, lost: u8, object: &[u8]) {
    let layout = Layout::new(code(k, n), object.len() as u64).expect("it is short enough");
    let shards = encode(layout, object).expect("it has the length of its layout");
    let alive: Vec<(u8, &[u8])> = shards.iter().skip(lost.into()).take(k.into()).collect();
    let (data, parity): (Vec<_>, Vec<_>) = alive.iter().partition(|(index, _)| *index < k);
    let data = data.into_iter().map(|(index, bytes)| (usize::from(index), bytes));
    let parity = parity.into_iter().map(|(index, bytes)| (usize::from(index - k), bytes));
    let rebuild = || {
        let mut rebuilt = vec![vec![0; alive[0].1.len()]; lost.into()];
        let mut wanted: Vec<_> = (0..).zip(slices(&mut rebuilt)).collect();
        rebuild_into(layout.code(), &alive, &mut wanted).map(|()| rebuilt)
    };
    assert!(rebuild().is_ok_and(|rebuilt| shards.iter().zip(&rebuilt).all(|((_, a), b)| a == b)));
    let mut copy = vec![0; object.len()];
    table.row(
        &format!("rebuild {lost} lost of {k} of {n}"),
        object.len() as u64,
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
