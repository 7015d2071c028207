//! Calculate in GF(2⁸): bytes as polynomials over GF(2), modulo x⁸ + x⁴ + x³ + x² + 1.
//!
//! A sum is an exclusive or. Every element but zero is a power of x, so that a product is a sum of logarithms.

/// The polynomial that everything is taken modulo; bit `i` stands for xⁱ.
const POLYNOMIAL: usize = 0x11d;

/// How many elements are not zero: logarithms count modulo this.
const ORDER: usize = 255;

/// The powers of x, twice over, so that the sum of two logarithms is an index.
const POWERS: [u8; 2 * ORDER] = powers();

/// The logarithm of each element to the base x; of zero, which has none, it is 0.
const LOGARITHMS: [u8; 256] = logarithms();

/// Every product, by its two factors.
pub(crate) static PRODUCTS: [[u8; 256]; 256] = products();

/// Returns `a · b`.
pub(crate) const fn product(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    POWERS[LOGARITHMS[a as usize] as usize + LOGARITHMS[b as usize] as usize]
}

/// A product of elements that are not zero, and of their inverses, by its logarithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ratio(usize);

impl Ratio {
    /// Returns `element`, which is not zero.
    pub(crate) fn of(element: u8) -> Self {
        debug_assert!(element != 0, "zero has no logarithm");
        Self(LOGARITHMS[usize::from(element)].into())
    }

    /// Returns the product of the differences between `point` and those of `points` that are not `point` itself.
    pub(crate) fn of_differences(point: u8, points: impl IntoIterator<Item = u8>) -> Self {
        let others = points.into_iter().filter(|&other| other != point);
        Self(others.map(|other| usize::from(LOGARITHMS[usize::from(point ^ other)])).sum())
    }

    pub(crate) const fn times(self, other: Self) -> Self {
        Self((self.0 + other.0) % ORDER)
    }

    pub(crate) const fn over(self, other: Self) -> Self {
        Self((self.0 + ORDER - other.0 % ORDER) % ORDER)
    }

    /// Returns the element that this is.
    pub(crate) const fn element(self) -> u8 {
        POWERS[self.0 % ORDER]
    }
}

const fn powers() -> [u8; 2 * ORDER] {
    let mut powers = [0; 2 * ORDER];
    let (mut power, mut at) = (1, 0);
    while at < 2 * ORDER {
        powers[at] = low_byte(power);
        power <<= 1;
        if power > 0xff {
            power ^= POLYNOMIAL;
        }
        at += 1;
    }
    powers
}

const fn logarithms() -> [u8; 256] {
    let mut logarithms = [0; 256];
    let mut at = 0;
    while at < ORDER {
        logarithms[POWERS[at] as usize] = low_byte(at);
        at += 1;
    }
    logarithms
}

const fn products() -> [[u8; 256]; 256] {
    let mut products = [[0; 256]; 256];
    let mut a = 0;
    while a < 256 {
        let mut b = 0;
        while b < 256 {
            products[a][b] = product(low_byte(a), low_byte(b));
            b += 1;
        }
        a += 1;
    }
    products
}

/// Returns what is below 256 anyway as a byte.
pub(crate) const fn low_byte(value: usize) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiplies as polynomials are multiplied by hand; shares nothing with the tables.
    fn by_hand(a: u8, b: u8) -> u8 {
        let mut product =
            (0..8).filter(|i| b >> i & 1 == 1).fold(0, |sum, i| sum ^ u16::from(a) << i);
        for i in (8..16).rev().filter(|i| *i >= 8) {
            if product >> i & 1 == 1 {
                product ^= 0b1_0001_1101 << (i - 8);
            }
        }
        u8::try_from(product).unwrap()
    }

    #[test]
    fn every_product_is_that_of_the_polynomials() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(PRODUCTS[usize::from(a)][usize::from(b)], by_hand(a, b), "{a} · {b}");
            }
        }
    }

    #[test]
    fn a_ratio_times_its_divisor_is_what_was_divided() {
        for a in 1..=255 {
            for b in 1..=255 {
                let (a, b) = (Ratio::of(a), Ratio::of(b));
                assert_eq!(product(a.over(b).element(), b.element()), a.element());
                assert_eq!(a.times(b).element(), product(a.element(), b.element()));
            }
        }
        let differences = Ratio::of_differences(7, [9, 7, 30]);
        assert_eq!(differences.element(), product(7 ^ 9, 7 ^ 30));
    }
}
