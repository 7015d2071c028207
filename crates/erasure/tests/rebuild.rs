//! What the code promises, and what it refuses.

use std::ops::Range;

use fondaco_erasure::{BLOCK_BYTES, Code, ErasureCode, ErasureError, Layout, ReedSolomon};
use proptest::{collection::vec, prelude::*, sample::subsequence};

fn layout(k: u8, n: u8, object: &[u8]) -> Layout {
    Layout::new(Code::new(k, n).unwrap(), object.len() as u64).unwrap()
}

/// A byte that looks random, for filling objects.
fn noise(i: u32) -> u8 {
    i.wrapping_mul(2_654_435_761).to_be_bytes()[0]
}

/// The rows of the shards with these indices, as a host would send them.
fn rows_of(shards: &[Vec<u8>], indices: &[u8], rows: &Range<u64>) -> Vec<(u8, Vec<u8>)> {
    let rows = usize::try_from(rows.start).unwrap()..usize::try_from(rows.end).unwrap();
    indices.iter().map(|&i| (i, shards[usize::from(i)][rows.clone()].to_vec())).collect()
}

fn rebuild(
    layout: Layout,
    rows: Range<u64>,
    shards: &[(u8, Vec<u8>)],
) -> Result<Vec<Vec<u8>>, ErasureError> {
    let shards: Vec<_> = shards.iter().map(|(index, bytes)| (*index, bytes.as_slice())).collect();
    ReedSolomon.rebuild(layout, rows, &shards)
}

/// A code, an object, and the shards that live: any at least `k`, in any order.
fn survivors() -> impl Strategy<Value = (u8, u8, Vec<u8>, Vec<u8>)> {
    (1..=24_u8, 0..=24_u8).prop_flat_map(|(k, parity)| {
        let n = k + parity;
        let alive = subsequence((0..n).collect::<Vec<_>>(), usize::from(k)..=usize::from(n));
        (Just(k), Just(n), vec(any::<u8>(), 0..5000), alive.prop_shuffle())
    })
}

proptest! {
    /// Whatever `n − k` shards or fewer are lost, the object comes back, followed by nothing but zeros.
    #[test]
    fn any_k_shards_give_the_object_back((k, n, object, alive) in survivors()) {
        let layout = layout(k, n, &object);
        let shards = ReedSolomon.encode(layout, &object).unwrap();
        prop_assert_eq!(shards.len(), usize::from(n));
        prop_assert!(shards.iter().all(|shard| shard.len() as u64 == layout.shard_len()));

        let all = 0..layout.shard_len();
        let rebuilt = rebuild(layout, all.clone(), &rows_of(&shards, &alive, &all)).unwrap();
        prop_assert_eq!(&rebuilt, &shards[..usize::from(k)]);
        let bytes = rebuilt.concat();
        prop_assert_eq!(&bytes[..object.len()], &object);
        prop_assert!(bytes[object.len()..].iter().all(|&byte| byte == 0));
    }

    /// Rebuilding some blocks gives those blocks of what rebuilding everything gives.
    ///
    /// Goal: blocks are independent, so a short read of a lost shard costs `k` short reads. Method: the
    /// rows come from shards encoded whole, so a code that mixed blocks could not pass.
    #[test]
    fn a_slice_rebuilt_is_a_slice_of_the_rebuilt((k, n, object, alive) in survivors(), cut: (u8, u8)) {
        let layout = layout(k, n, &object);
        let shards = ReedSolomon.encode(layout, &object).unwrap();
        let blocks = layout.shard_len() / BLOCK_BYTES;
        let first = u64::from(cut.0) % blocks;
        let count = 1 + u64::from(cut.1) % (blocks - first);
        let rows = first * BLOCK_BYTES..(first + count) * BLOCK_BYTES;
        let rebuilt = rebuild(layout, rows.clone(), &rows_of(&shards, &alive, &rows)).unwrap();
        let data: Vec<u8> = (0..k).collect();
        let slices: Vec<_> = rows_of(&shards, &data, &rows).into_iter().map(|(_, bytes)| bytes).collect();
        prop_assert_eq!(rebuilt, slices);
    }

    /// No input makes it panic: whatever is sent, it is an answer or a refusal.
    #[test]
    fn nothing_panics(
        k in 1..=6_u8,
        parity in 0..=6_u8,
        rows in prop_oneof![Just(0..64), any::<Range<u64>>(), (0..5_u64, 0..5_u64).prop_map(|(a, b)| a * 64..b * 64)],
        shards in vec((0..16_u8, prop_oneof![3 => Just(vec![7; 64]), 1 => vec(any::<u8>(), 0..200)]), 0..14),
    ) {
        let layout = layout(k, k + parity, &[1; 500]);
        if let Ok(rebuilt) = rebuild(layout, rows.clone(), &shards) {
            prop_assert_eq!(rebuilt.len(), usize::from(k));
            prop_assert!(rebuilt.iter().all(|bytes| bytes.len() as u64 == rows.end - rows.start));
        }
    }
}

#[test]
fn stripes_join_without_a_seam() {
    let object: Vec<u8> = (0..1_200_000_u32).map(noise).collect();
    let layout = layout(2, 4, &object);
    let shards = ReedSolomon.encode(layout, &object).unwrap();
    let all = 0..layout.shard_len();
    let mut rebuilt =
        rebuild(layout, all.clone(), &rows_of(&shards, &[3, 2], &all)).unwrap().concat();
    rebuilt.truncate(object.len());
    assert!(rebuilt == object, "stripes were lost, doubled or swapped");
}

#[test]
fn the_extreme_codes_work() {
    for (k, n) in [(1, 1), (1, 2), (1, 255), (2, 255), (128, 255), (254, 255), (255, 255)] {
        let object: Vec<u8> = (0..20_000_u32).map(noise).collect();
        let layout = layout(k, n, &object);
        let shards = ReedSolomon.encode(layout, &object).unwrap();
        let all = 0..layout.shard_len();
        let last: Vec<u8> = (n - k..n).collect();
        let mut rebuilt =
            rebuild(layout, all.clone(), &rows_of(&shards, &last, &all)).unwrap().concat();
        rebuilt.truncate(object.len());
        assert!(rebuilt == object, "{k} of {n}");
    }
}

#[test]
fn one_of_n_is_replication() {
    let object = [3, 1, 4, 1, 5, 9];
    let shards = ReedSolomon.encode(layout(1, 4, &object), &object).unwrap();
    assert!(shards.iter().all(|shard| *shard == shards[0]));
}

#[test]
fn refusals_come_in_order_of_precedence() {
    use ErasureError::*;

    let object = [9; 300];
    let layout = layout(3, 5, &object); // Shards of 128 bytes.
    let code = layout.code();
    let is = |index, len| (index, vec![0; len]);
    for (rows, shards, outcome) in [
        (0..0, vec![is(9, 1)], RowsEmpty { start: 0, end: 0 }),
        (Range { start: 65, end: 1 }, vec![], RowsEmpty { start: 65, end: 1 }),
        (0..1000, vec![is(9, 1)], RowsUnaligned { start: 0, end: 1000 }),
        (1..64, vec![], RowsUnaligned { start: 1, end: 64 }),
        (64..192, vec![is(9, 1)], RowsOutside { end: 192, shard_len: 128 }),
        (0..64, vec![is(0, 1), is(5, 64)], ShardUnknown { index: 5, code }),
        (0..64, vec![is(0, 64), is(0, 65)], ShardLength { index: 0, expected: 64, actual: 65 }),
        (0..64, vec![is(1, 64), is(4, 0)], ShardLength { index: 4, expected: 64, actual: 0 }),
        (0..64, vec![is(2, 64), is(2, 64)], ShardTwice { index: 2 }),
        (0..64, vec![is(2, 64), is(4, 64)], TooFewShards { shards: 2, code }),
        (0..64, vec![], TooFewShards { shards: 0, code }),
    ] {
        let refusal = rebuild(layout, rows, &shards).unwrap_err();
        assert_eq!(refusal, outcome);
        assert_eq!(refusal.is_transient(), matches!(refusal, TooFewShards { .. }));
    }
    let refusal = ReedSolomon.encode(layout, &object[1..]).unwrap_err();
    assert_eq!(refusal, ObjectLength { expected: 300, actual: 299 });
}

/// The shards of an object are stored for years: these hashes never change.
#[test]
fn shards_are_the_same_in_every_release() {
    // FNV-1a, 64 bits, over all shards in order.
    let hash = |bytes: Vec<u8>| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let object: Vec<u8> = (0..10_000).map(noise).collect();
    for (k, n, outcome) in [
        (1, 3, "4ca75e81b0e6b2c7"),
        (3, 4, "0fcb6859ebf2ca15"),
        (5, 8, "1b4c88ef9ed83353"),
        (10, 30, "bcc2f140678f8261"),
        (29, 80, "d419f211b946d8b6"),
        (200, 255, "7b60d848e71a871c"),
    ] {
        let shards = ReedSolomon.encode(layout(k, n, &object), &object).unwrap();
        assert_eq!(format!("{:016x}", hash(shards.concat())), outcome, "{k} of {n}");
    }
}
