//! An oracle that shares no code with the code: its field, its transform and its decoder.
//!
//! It knows only that parity is linear over single bits, symbol by symbol of two bytes. Encoding every
//! single bit gives the generator as a matrix over GF(2); linear algebra on that says the rest.

use fondaco_erasure::{Code, ErasureCode, Layout, ReedSolomon};

/// Symbols in a block of 64 bytes: symbol `i` is bytes `i` and `i + 32`.
const SYMBOLS: usize = 32;

/// The generator: by shard and by bit of its symbol, the set of data bits whose sum that bit is.
type Generator = Vec<[u128; 16]>;

fn bit(shard: &[u8], symbol: usize, bit: usize) -> u128 {
    u128::from(shard[symbol + SYMBOLS * (bit / 8)] >> (bit % 8) & 1)
}

fn encode(code: Code, object: &[u8]) -> Vec<Vec<u8>> {
    ReedSolomon.encode(Layout::new(code, object.len() as u64).unwrap(), object).unwrap()
}

fn generator(code: Code) -> Generator {
    let mut generator = vec![[0; 16]; code.n().into()];
    for data_bit in 0..16 * usize::from(code.k()) {
        let mut object = vec![0; 64 * usize::from(code.k())];
        object[64 * (data_bit / 16) + SYMBOLS * (data_bit % 16 / 8)] = 1 << (data_bit % 8);
        for (rows, shard) in generator.iter_mut().zip(encode(code, &object)) {
            for (i, row) in rows.iter_mut().enumerate() {
                *row |= bit(&shard, 0, i) << data_bit;
            }
        }
    }
    generator
}

/// Whether rows of bits are independent, by Gaussian elimination.
fn independent(mut rows: Vec<u128>) -> bool {
    while let Some(pivot) = rows.pop() {
        if pivot == 0 {
            return false;
        }
        let lowest = pivot & pivot.wrapping_neg();
        for row in rows.iter_mut().filter(|row| **row & lowest != 0) {
            *row ^= pivot;
        }
    }
    true
}

fn subsets(n: u8, k: u8) -> impl Iterator<Item = Vec<u8>> {
    (0_u32..1 << n)
        .filter(move |set| set.count_ones() == u32::from(k))
        .map(move |set| (0..n).filter(|i| set >> i & 1 == 1).collect())
}

/// Any `k` shards determine the object: the code is maximum distance separable.
#[test]
fn every_k_subset_determines_the_object() {
    for (k, n, subset_count) in
        [(1, 4, 4), (2, 3, 3), (2, 6, 15), (3, 7, 35), (5, 8, 56), (4, 10, 210), (7, 8, 8)]
    {
        let code = Code::new(k, n).unwrap();
        let generator = generator(code);
        let rows_of = |shards: &[u8]| -> Vec<u128> {
            shards.iter().flat_map(|&shard| generator[usize::from(shard)]).collect()
        };
        assert_eq!(subsets(n, k).count(), subset_count);
        for subset in subsets(n, k) {
            assert!(independent(rows_of(&subset)), "{code} cannot be had from {subset:?}");
        }
        // The canary: copies of one shard determine nothing but that shard.
        assert!(!independent(rows_of(&vec![0; usize::from(k).max(2)])));
    }
}

/// The shards are what the matrix says, and every subset decodes to what was encoded.
#[test]
fn shards_agree_with_the_matrix_and_every_subset_decodes() {
    let code = Code::new(5, 8).unwrap();
    let object: Vec<u8> =
        (0..320_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let shards = encode(code, &object);
    let generator = generator(code);
    for symbol in 0..SYMBOLS {
        let data =
            (0..80).fold(0, |data, i| data | bit(&object[64 * (i / 16)..], symbol, i % 16) << i);
        for (rows, shard) in generator.iter().zip(&shards) {
            for (i, row) in rows.iter().enumerate() {
                assert_eq!(u128::from((row & data).count_ones() % 2), bit(shard, symbol, i));
            }
        }
    }
    let layout = Layout::new(code, 320).unwrap();
    for subset in subsets(8, 5) {
        let alive: Vec<_> =
            subset.iter().map(|&i| (i, shards[usize::from(i)].as_slice())).collect();
        assert_eq!(ReedSolomon.rebuild(layout, 0..64, &alive).unwrap().concat(), object);
    }
}
