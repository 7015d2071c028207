//! Counts that forget: exact in 10⁻⁹, so that every machine has the same.

use fondaco_codec::{Decode, DecodeError, Encode, Reader};
use std::{fmt, ops::Add};

/// A count of audits or contract-epochs, in parts of 10⁻⁹; at most about 18 thousand million, where it stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(u64);

impl Encode for Count {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Count {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(input).map(Self)
    }
}

impl Count {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// One.
    pub const ONE: Self = Self(Self::PARTS);

    const PARTS: u64 = 1_000_000_000;

    /// Creates a whole number.
    pub const fn whole(number: u32) -> Self {
        Self((number as u64) * Self::PARTS)
    }

    /// Creates `part` ⁄ `whole`, rounded down; zero of a zero whole.
    pub fn fraction(part: u64, whole: u64) -> Self {
        let parts = (u128::from(part) * u128::from(Self::PARTS)).checked_div(whole.into());
        Self(parts.map_or(0, |parts| u64::try_from(parts).unwrap_or(u64::MAX)))
    }

    /// Returns the number as a float, to be reckoned with.
    pub fn get(self) -> f64 {
        self.0 as f64 / Self::PARTS as f64
    }

    /// Returns the nearest whole number, a half rounded up.
    pub const fn rounded(self) -> u64 {
        self.0.saturating_add(Self::PARTS / 2) / Self::PARTS
    }

    /// Returns whether it is nothing at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns the 10⁻⁹ parts.
    pub(crate) const fn parts(self) -> u64 {
        self.0
    }

    /// What is left of it after forgetting once.
    pub(crate) fn faded(self, memory: Share) -> Self {
        Self(memory.of(self.0))
    }

    /// Its share of itself and `other`: none of nothing.
    pub(crate) fn share(self, other: Self) -> Option<Share> {
        let whole = u128::from(self.0) + u128::from(other.0);
        let millionths = (u128::from(self.0) * u128::from(Share::ONE.0)).checked_div(whole)?;
        u32::try_from(millionths).ok().map(Share)
    }
}

impl Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A share from none to the whole, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// The whole.
    pub const ONE: Self = Self(1_000_000);

    /// Creates the share of so many millionths; nothing of more than a million.
    pub const fn from_millionths(millionths: u32) -> Option<Self> {
        if millionths <= Self::ONE.0 { Some(Self(millionths)) } else { None }
    }

    /// Creates a share that is known to be one.
    pub(crate) const fn known(millionths: u32) -> Self {
        assert!(millionths <= Self::ONE.0, "a share is at most the whole");
        Self(millionths)
    }

    /// Returns the millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// This share of `whole`, rounded down.
    pub(crate) fn of(self, whole: u64) -> u64 {
        let part = u128::from(whole) * u128::from(self.0) / u128::from(Self::ONE.0);
        u64::try_from(part).unwrap_or(u64::MAX) // Cannot saturate: at most `whole`.
    }
}

impl fmt::Display for Share {
    /// Writes it as a decimal of six digits: `0.960000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / Self::ONE.0, self.0 % Self::ONE.0)
    }
}
