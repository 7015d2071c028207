//! Find how a shard is made of `k` others: by interpolation, in closed form.
//!
//! At each row, the shards are values of one polynomial `f` of degree below `k`: shard `i` is `vᵢ · f(i)`, with its index
//! `i` read as an element of the field and a *multiplier* `vᵢ` that is not zero. So any `k` of them fix `f`, and every other
//! follows from Lagrange's formula: of the given shards `G`,
//!
//! ```text
//!                           vᵢ             i + h
//! shard i = Σ  shard g  ·  ──── ·    Π    ───────
//!          g∈G              v_g  h∈G,h≠g   g + h
//! ```
//!
//! The multipliers are such that the first parity shard is the sum of the data shards, and each parity shard has data
//! shard 0 unchanged. For the data shards `j` as givens that is, written out, a Cauchy matrix with scaled rows and columns:
//!
//! ```text
//! parity shard i = Σ  data shard j  ·  i · (k + j) / (k · (i + j))       k ≤ i < n
//!                 j<k
//! ```

use crate::{Code, field::Ratio};

/// Returns the weight of each of `given`, `k` distinct shards, in each of `wanted`: one row after the other.
pub(crate) fn weights(code: Code, given: &[u8], wanted: &[u8]) -> Vec<u8> {
    let divisors: Vec<Ratio> = given
        .iter()
        .map(|&g| Ratio::of_differences(g, given.iter().copied()).times(multiplier(code, g)))
        .collect();
    let mut weights = Vec::with_capacity(wanted.len() * given.len());
    for &wanted in wanted {
        if given.contains(&wanted) {
            weights.extend(given.iter().map(|&g| u8::from(g == wanted)));
            continue;
        }
        let all =
            Ratio::of_differences(wanted, given.iter().copied()).times(multiplier(code, wanted));
        let weight = |(&g, divisor): (&u8, &Ratio)| all.over(Ratio::of(wanted ^ g).times(*divisor));
        weights.extend(given.iter().zip(&divisors).map(weight).map(Ratio::element));
    }
    weights
}

/// Returns the multiplier of shard `i`.
fn multiplier(code: Code, i: u8) -> Ratio {
    let k = code.k();
    if i < k {
        Ratio::default().over(Ratio::of_differences(i, 0..=k))
    } else {
        Ratio::of(i).over(Ratio::of_differences(i, 0..k).times(Ratio::of(k)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::product;

    #[test]
    fn parity_weights_are_those_of_the_scaled_cauchy_matrix() {
        for (k, n) in [(1, 1), (1, 255), (2, 255), (5, 8), (10, 30), (128, 255), (254, 255)] {
            let code = Code::new(k, n).unwrap();
            let (data, parity): (Vec<u8>, Vec<u8>) = ((0..k).collect(), (k..n).collect());
            let weights = weights(code, &data, &parity);
            assert_eq!(weights.len(), data.len() * parity.len());
            for (row, &i) in weights.chunks(data.len()).zip(&parity) {
                for (&weight, &j) in row.iter().zip(&data) {
                    // Multiplied out, since this test does not divide.
                    assert_eq!(
                        product(weight, product(k, i ^ j)),
                        product(i, k ^ j),
                        "{code}, {i}, {j}"
                    );
                }
                assert_eq!(row[0], 1);
            }
            assert!(weights.iter().take(data.len()).all(|&weight| weight == 1));
        }
    }

    #[test]
    fn a_given_shard_is_made_of_itself() {
        let code = Code::new(3, 9).unwrap();
        assert_eq!(weights(code, &[8, 2, 4], &[4, 8]), [0, 0, 1, 1, 0, 0]);
    }
}
