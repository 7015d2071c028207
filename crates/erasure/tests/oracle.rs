//! An oracle that shares no code with the code: its field is polynomials by hand, its decoder Gaussian elimination.
//!
//! All that it takes over is the formula of the storage format (`docs/formats/agent.md`): parity shard `i` is the sum of
//! `i · (k + j) / (k · (i + j))` times data shard `j`.

use fondaco_erasure::{Code, Layout, encode, rebuild, rebuild_into};

/// A matrix over GF(2⁸), by rows.
type Matrix = Vec<Vec<u8>>;

/// Multiplies polynomials over GF(2), then takes the remainder by x⁸ + x⁴ + x³ + x² + 1, as by hand.
fn times(a: u8, b: u8) -> u8 {
    let mut product =
        (0..8).filter(|i| b >> i & 1 == 1).fold(0, |sum, i| sum ^ (u16::from(a) << i));
    for i in (8..15).rev() {
        if product >> i & 1 == 1 {
            product ^= 0x11d << (i - 8);
        }
    }
    u8::try_from(product).unwrap()
}

/// Finds `a / b` by trying.
fn over(a: u8, b: u8) -> u8 {
    (0..=255).find(|&quotient| times(quotient, b) == a).unwrap()
}

/// What each of the `n` shards is of the data shards.
fn generator(code: Code) -> Matrix {
    let k = code.k();
    let entry = |i: u8, j: u8| {
        if i < k { u8::from(i == j) } else { over(times(i, k ^ j), times(k, i ^ j)) }
    };
    (0..code.n()).map(|i| (0..k).map(|j| entry(i, j)).collect()).collect()
}

fn add_multiple(to: &mut [u8], factor: u8, of: &[u8]) {
    to.iter_mut().zip(of).for_each(|(sum, &term)| *sum ^= times(factor, term));
}

/// Solves `matrix · x = right` for the rows of `x`; nothing if the matrix is singular.
fn solve(mut matrix: Matrix, mut right: Matrix) -> Option<Matrix> {
    for at in 0..matrix.len() {
        let pivot = (at..matrix.len()).find(|&row| matrix[row][at] != 0)?;
        matrix.swap(at, pivot);
        right.swap(at, pivot);
        let inverse = over(1, matrix[at][at]);
        for rows in [&mut matrix, &mut right] {
            rows[at].iter_mut().for_each(|entry| *entry = times(*entry, inverse));
        }
        for row in (0..matrix.len()).filter(|&row| row != at) {
            let factor = matrix[row][at];
            for rows in [&mut matrix, &mut right] {
                let of = rows[at].clone();
                add_multiple(&mut rows[row], factor, &of);
            }
        }
    }
    Some(right)
}

fn subsets(n: u8, k: u8) -> impl Iterator<Item = Vec<u8>> {
    (0_u32..1 << n)
        .filter(move |set| set.count_ones() == u32::from(k))
        .map(move |set| (0..n).filter(|i| set >> i & 1 == 1).collect())
}

fn noise(len: u64) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).to_le_bytes()[0]).collect()
}

/// Encoding is multiplying by the generator.
#[test]
fn shards_are_what_the_matrix_says() {
    for (k, n) in
        [(1, 1), (1, 4), (2, 3), (5, 8), (10, 30), (29, 80), (3, 255), (128, 255), (254, 255)]
    {
        let code = Code::new(k, n).unwrap();
        let object = noise(100 * u64::from(k) - 7);
        let layout = Layout::new(code, object.len() as u64).unwrap();
        let shards = encode(layout, &object).unwrap();
        let shards: Vec<&[u8]> = shards.iter().map(|(_, shard)| shard).collect();
        for (row, shard) in generator(code).iter().zip(&shards) {
            let mut expected = vec![0; shard.len()];
            for (&entry, data) in row.iter().zip(&shards) {
                add_multiple(&mut expected, entry, data);
            }
            assert_eq!(*shard, expected, "{code}");
        }
    }
}

/// Any `k` shards determine the object, and every shard is rebuilt from each `k` of them as elimination rebuilds it.
#[test]
fn every_k_subset_gives_every_shard_back() {
    for (k, n, subset_count) in
        [(1, 4, 4), (2, 3, 3), (2, 6, 15), (3, 7, 35), (5, 8, 56), (4, 10, 210), (7, 8, 8)]
    {
        let code = Code::new(k, n).unwrap();
        let generator = generator(code);
        let object = noise(64 * u64::from(k));
        let shards = encode(Layout::new(code, object.len() as u64).unwrap(), &object).unwrap();
        let shards: Vec<&[u8]> = shards.iter().map(|(_, shard)| shard).collect();
        assert_eq!(subsets(n, k).count(), subset_count);
        for subset in subsets(n, k) {
            let rows =
                |of: &dyn Fn(usize) -> Vec<u8>| subset.iter().map(|&i| of(i.into())).collect();
            let data = solve(rows(&|i| generator[i].clone()), rows(&|i| shards[i].to_vec()));
            assert_eq!(data.unwrap_or_else(|| panic!("{code}, {subset:?}")).concat(), object);
            let alive: Vec<_> = subset.iter().map(|&i| (i, shards[usize::from(i)])).collect();
            for wanted in 0..n {
                let rebuilt = rebuild(code, &alive, wanted).unwrap();
                assert_eq!(rebuilt, shards[usize::from(wanted)], "{wanted} from {subset:?}");
            }
        }
    }
    // The canary: two copies of one shard determine nothing.
    assert_eq!(solve(vec![vec![1, 1], vec![1, 1]], vec![vec![], vec![]]), None);
}

/// The longest codes, where a table that is too short or a sum that overflows would show.
#[test]
fn long_codes_are_decoded_as_elimination_decodes_them() {
    for (k, n, lost) in [(29, 80, 29), (20, 255, 20), (60, 255, 13)] {
        let code = Code::new(k, n).unwrap();
        let object = noise(64 * u64::from(k));
        let shards = encode(Layout::new(code, object.len() as u64).unwrap(), &object).unwrap();
        // Some data shards, and the last parity shards.
        let subset: Vec<u8> = (lost..k).chain(n - lost..n).collect();
        let shard = |i: u8| shards.get(i).unwrap();
        let generator = generator(code);
        let left = subset.iter().map(|&i| generator[usize::from(i)].clone()).collect();
        let data = solve(left, subset.iter().map(|&i| shard(i).to_vec()).collect()).unwrap();
        assert_eq!(data.concat(), object);
        let alive: Vec<_> = subset.iter().map(|&i| (i, shard(i))).collect();
        let mut rebuilt = vec![vec![0; 64]; k.into()];
        let mut wanted: Vec<_> = (0..k).zip(rebuilt.iter_mut().map(Vec::as_mut_slice)).collect();
        rebuild_into(code, &alive, &mut wanted).unwrap();
        assert_eq!(rebuilt, data);
    }
}
