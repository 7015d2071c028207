//! The integers modulo the prime 2⁶¹ − 1, and how bytes become some of them.
//!
//! An element is a `u64` below [`PRIME`]. Sums of products are kept in a `u128` and reduced late: a product of an
//! element and a sector is below 2¹²¹, so 128 of them fit.

/// The Mersenne prime 2⁶¹ − 1.
pub(crate) const PRIME: u64 = (1 << 61) - 1;

/// How many products of an element and a sector one `u128` sums, at least.
pub(crate) const PRODUCTS_MAX: usize = 128;

/// Bytes of two sectors.
pub(crate) const PAIR_BYTES: usize = 15;

/// The element that `sum` is congruent to.
#[allow(clippy::cast_possible_truncation)] // each part is masked, or what is left of 128 bits
pub(crate) const fn reduce(sum: u128) -> u64 {
    // 2⁶¹ ≡ 1, so the digits to base 2⁶¹ are added up.
    let digits = (sum as u64 & PRIME) + ((sum >> 61) as u64 & PRIME) + (sum >> 122) as u64;
    let once = (digits & PRIME) + (digits >> 61);
    if once >= PRIME { once - PRIME } else { once }
}

/// The product of an element with another, or with a sector, not yet reduced.
pub(crate) const fn product(a: u64, b: u64) -> u128 {
    a as u128 * b as u128
}

/// The two sectors in 15 bytes: the lower and the upper 60 bits of them as a number in little-endian order.
///
/// No two runs of bytes have the same sectors, and no two sectors are the same element: both are below 2⁶⁰.
pub(crate) fn sectors(pair: &[u8; PAIR_BYTES]) -> [u64; 2] {
    let low = u64::from_le_bytes(std::array::from_fn(|at| pair[at]));
    let high = u64::from_le_bytes(std::array::from_fn(|at| pair[at + 7]));
    [low & ((1 << 60) - 1), high >> 4]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reducing_is_the_remainder(sum: u128) {
            prop_assert_eq!(u128::from(reduce(sum)), sum % u128::from(PRIME));
        }

        #[test]
        fn sectors_give_their_bytes_back(pair: [u8; 15]) {
            let [low, high] = sectors(&pair);
            prop_assert!(low < 1 << 60 && high < 1 << 60);
            let number = u128::from(low) | u128::from(high) << 60;
            prop_assert_eq!(&number.to_le_bytes()[..15], pair);
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        let prime = u128::from(PRIME);
        for sum in [0, 1, prime - 1, prime, prime + 1, prime * prime, u128::MAX, 1 << 122] {
            assert_eq!(u128::from(reduce(sum)), sum % prime, "{sum}");
        }
        let most = product(PRIME - 1, (1 << 60) - 1);
        assert!(most.checked_mul(PRODUCTS_MAX as u128).is_some());
    }
}
