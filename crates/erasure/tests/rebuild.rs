//! What the code promises, and what it refuses.

use fondaco_erasure::{
    Code, ErasureError, Layout, OBJECT_BYTES_MAX, Shards, encode, rebuild, rebuild_into,
};
use proptest::{collection::vec, prelude::*, sample::subsequence};

fn layout(k: u8, n: u8, object: &[u8]) -> Layout {
    Layout::new(Code::new(k, n).unwrap(), object.len() as u64).unwrap()
}

fn encoded(k: u8, n: u8, object: &[u8]) -> Shards<&[u8]> {
    encode(layout(k, n, object), object).unwrap()
}

/// A byte that looks random, for filling objects.
fn noise(i: u32) -> u8 {
    i.wrapping_mul(2_654_435_761).to_be_bytes()[0]
}

/// The shards with these indices, as hosts would send them.
fn only<'a>(shards: &'a Shards<&[u8]>, indices: &[u8]) -> Vec<(u8, &'a [u8])> {
    indices.iter().map(|&index| (index, shards.get(index).unwrap())).collect()
}

/// Rebuilds the data shards, one by one.
fn data(code: Code, alive: &[(u8, &[u8])]) -> Vec<u8> {
    (0..code.k()).flat_map(|index| rebuild(code, alive, index).unwrap()).collect()
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
    /// The shards are the object, its padding and its parity; what is not copied is not altered either.
    #[test]
    fn data_shards_are_the_object((k, n, object, _) in survivors()) {
        let shards = encoded(k, n, &object);
        prop_assert_eq!(shards.iter().count(), usize::from(n));
        prop_assert!(shards.iter().all(|(_, shard)| shard.len() as u64 == shards.layout().shard_len()));
        prop_assert_eq!(shards.get(n), None);
        let bytes: Vec<u8> = shards.iter().take(k.into()).flat_map(|(_, shard)| shard).copied().collect();
        prop_assert_eq!(&bytes[..object.len()], &object);
        prop_assert!(bytes[object.len()..].iter().all(|&byte| byte == 0));
    }

    /// Whatever `n − k` shards or fewer are lost, every shard comes back, and more given do no harm.
    #[test]
    fn any_k_shards_give_every_shard_back((k, n, object, alive) in survivors()) {
        let shards = encoded(k, n, &object);
        let code = shards.layout().code();
        let alive = only(&shards, &alive);
        for (wanted, shard) in shards.iter() {
            prop_assert_eq!(rebuild(code, &alive, wanted).unwrap(), shard);
        }
        let mut rebuilt = vec![vec![1; alive[0].1.len()]; n.into()];
        let mut wanted: Vec<_> = (0..n).zip(rebuilt.iter_mut().map(Vec::as_mut_slice)).collect();
        rebuild_into(code, &alive, &mut wanted).unwrap();
        prop_assert!(shards.iter().map(|(_, shard)| shard).eq(&rebuilt));
    }

    /// Rebuilding some rows gives those rows of what rebuilding everything gives, wherever they begin and end.
    ///
    /// Goal: rows are independent, so a short read of a lost shard costs `k` short reads. Method: the rows come from
    /// shards encoded whole, so a code that mixed rows could not pass.
    #[test]
    fn rows_rebuilt_are_rows_of_the_rebuilt((k, n, object, alive) in survivors(), cut: (u16, u16)) {
        let shards = encoded(k, n, &object);
        let alive = only(&shards, &alive);
        let len = alive[0].1.len();
        let start = usize::from(cut.0) % len;
        let rows = start..start + usize::from(cut.1) % (len - start + 1);
        let part: Vec<_> = alive.iter().map(|(index, bytes)| (*index, &bytes[rows.clone()])).collect();
        for (wanted, shard) in shards.iter() {
            prop_assert_eq!(rebuild(shards.layout().code(), &part, wanted).unwrap(), &shard[rows.clone()]);
        }
    }

    /// No input makes it panic: whatever is sent, it is an answer or a refusal.
    #[test]
    fn nothing_panics(
        k in 1..=6_u8,
        parity in 0..=6_u8,
        shards in vec((0..16_u8, prop_oneof![3 => Just(vec![7; 64]), 1 => vec(any::<u8>(), 0..200)]), 0..14),
        wanted in vec((0..16_u8, prop_oneof![3 => Just(64), 1 => 0..200_usize]), 0..4),
    ) {
        let code = Code::new(k, k + parity).unwrap();
        let shards: Vec<_> = shards.iter().map(|(index, bytes)| (*index, bytes.as_slice())).collect();
        let mut memory: Vec<_> = wanted.iter().map(|&(index, len)| (index, vec![9; len])).collect();
        let mut slices: Vec<_> = memory.iter_mut().map(|(index, bytes)| (*index, bytes.as_mut_slice())).collect();
        if rebuild_into(code, &shards, &mut slices).is_err() {
            prop_assert!(memory.iter().all(|(_, bytes)| bytes.iter().all(|&byte| byte == 9)), "a refusal wrote");
        }
    }
}

#[test]
fn tiles_join_without_a_seam() {
    let object: Vec<u8> = (0..1_200_001).map(noise).collect();
    let shards = encoded(2, 4, &object);
    let mut rebuilt = data(shards.layout().code(), &only(&shards, &[3, 2]));
    rebuilt.truncate(object.len());
    assert!(rebuilt == object, "tiles were lost, doubled or swapped");
}

#[test]
fn the_extreme_codes_work() {
    for (k, n) in [(1, 1), (1, 2), (1, 255), (2, 255), (128, 255), (254, 255), (255, 255)] {
        let object: Vec<u8> = (0..20_000).map(noise).collect();
        let shards = encoded(k, n, &object);
        let last: Vec<u8> = (n - k..n).collect();
        let mut rebuilt = data(shards.layout().code(), &only(&shards, &last));
        rebuilt.truncate(object.len());
        assert!(rebuilt == object, "{k} of {n}");
    }
}

#[test]
fn one_of_n_is_replication() {
    let object = [3, 1, 4, 1, 5, 9];
    let shards = encoded(1, 4, &object);
    let first = shards.get(0).unwrap();
    assert!(shards.iter().all(|(_, shard)| shard == first));
}

#[test]
fn the_first_parity_shard_is_the_sum_of_the_data() {
    let object: Vec<u8> = (0..700).map(noise).collect();
    let shards = encoded(5, 6, &object);
    let mut sum = vec![0; shards.get(0).unwrap().len()];
    shards
        .iter()
        .take(5)
        .for_each(|(_, shard)| sum.iter_mut().zip(shard).for_each(|(a, b)| *a ^= b));
    assert_eq!(shards.get(5).unwrap(), sum);
}

#[test]
fn whole_data_shards_are_not_copied() {
    let object: Vec<u8> = (0..1000).map(noise).collect();
    let shards = encoded(3, 4, &object); // Shards of 384 bytes; the third is padded.
    for (index, is_there) in [(0, true), (1, true), (2, false), (3, false)] {
        let shard = shards.get(index).unwrap().as_ptr();
        assert_eq!(object.as_ptr_range().contains(&shard), is_there, "{index}");
    }
}

#[test]
fn refusals_come_in_order_of_precedence() {
    use ErasureError::*;

    let object = [9; 300];
    let layout = layout(3, 5, &object);
    let code = layout.code();
    let is = |index, len| (index, vec![0; len]);
    for (shards, wanted, outcome) in [
        (vec![is(0, 1), is(5, 64)], is(7, 1), ShardUnknown { index: 5, code }),
        (vec![is(0, 1), is(1, 64)], is(5, 1), ShardUnknown { index: 5, code }),
        (vec![is(0, 64), is(0, 65)], is(1, 2), ShardLength { index: 0, expected: 64, actual: 65 }),
        (vec![is(1, 64), is(4, 0)], is(0, 64), ShardLength { index: 4, expected: 64, actual: 0 }),
        (vec![is(2, 64), is(2, 64)], is(0, 63), ShardLength { index: 0, expected: 64, actual: 63 }),
        (vec![is(2, 64), is(2, 64)], is(0, 64), ShardTwice { index: 2 }),
        (vec![is(2, 64), is(4, 64)], is(2, 64), TooFewShards { shards: 2, code }),
        (vec![], is(0, 64), TooFewShards { shards: 0, code }),
    ] {
        let shards: Vec<_> =
            shards.iter().map(|(index, bytes)| (*index, bytes.as_slice())).collect();
        let (index, mut bytes) = wanted;
        let refusal = rebuild_into(code, &shards, &mut [(index, &mut bytes)]).unwrap_err();
        assert_eq!(refusal, outcome);
        assert_eq!(refusal.is_transient(), matches!(refusal, TooFewShards { .. }));
    }
    let refusal = encode(layout, &object[1..]).unwrap_err();
    assert_eq!(refusal, ObjectLength { expected: 300, actual: 299 });
    assert!(layout.object_len() < OBJECT_BYTES_MAX);
}

#[test]
fn the_example_of_the_format_is_true() {
    let mut object = [0; 128];
    (object[0], object[64]) = (0x01, 0x53);
    let shards = encoded(2, 4, &object);
    assert_eq!(
        shards.iter().map(|(_, shard)| shard[0]).collect::<Vec<_>>(),
        [0x01, 0x53, 0x52, 0x8f]
    );
}

/// The shards of an object are stored for years: these hashes never change. They were computed by another program, in
/// Python, that knows only `docs/formats/agent.md`.
#[test]
fn shards_are_the_same_in_every_release() {
    // FNV-1a, 64 bits, over all shards in order.
    let hash = |shards: &Shards<&[u8]>| {
        shards
            .iter()
            .flat_map(|(_, shard)| shard)
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    };
    let object: Vec<u8> = (0..10_000).map(noise).collect();
    for (k, n, outcome) in [
        (1, 3, "4ca75e81b0e6b2c7"),
        (3, 4, "0fcb6859ebf2ca15"),
        (5, 8, "78251fbe5e045740"),
        (10, 30, "e98e60403606a861"),
        (29, 80, "ceb06433bb38a24e"),
        (200, 255, "c4a47e38cc461328"),
    ] {
        assert_eq!(format!("{:016x}", hash(&encoded(k, n, &object))), outcome, "{k} of {n}");
    }
}
