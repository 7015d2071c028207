//! Count money, bytes and time in checked whole numbers.
//!
//! No bare integer crosses a function of this workspace when it means one of these.
//!
//! - [`Amount`]: money, in the smallest unit of a currency. A currency's [`Scale`] says how many
//!   decimals of it people see; text becomes an amount only through [`Scale::parse`], exactly.
//! - [`Bytes`]: a size or a position.
//! - [`Price`]: money for a byte, in 10⁻¹² units of the currency, so that a cheap byte still costs.
//! - [`Timestamp`] and [`Duration`]: milliseconds, since 1970-01-01 UTC and as a span.
//!
//! # What always holds
//!
//! - Nothing wraps: sums and products that do not fit are `None`.
//! - Money is never a float, and text with more digits than the scale is refused, not rounded.
//!
//! ```
//! use fondaco_units::{Amount, Scale};
//! let cents = Scale::new(2).unwrap();
//! assert_eq!(cents.parse("10.5"), Ok(Amount::new(1050)));
//! assert_eq!(cents.show(Amount::new(1050)).to_string(), "10.50");
//! ```

mod money;
mod time;

pub use money::{Amount, ParseAmountError, Price, Scale, ShowAmount};
pub use time::{Duration, Timestamp};

use fondaco_codec::{Decode, DecodeError, Encode, Reader};
use std::fmt;

/// Implements the encoding of a newtype over an integer.
macro_rules! encoded_as_integer {
    ($name:ident) => {
        impl fondaco_codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
        }
        impl fondaco_codec::Decode for $name {
            fn decode(
                input: &mut fondaco_codec::Reader<'_>,
            ) -> Result<Self, fondaco_codec::DecodeError> {
                Ok(Self(fondaco_codec::Decode::decode(input)?))
            }
        }
    };
}
pub(crate) use encoded_as_integer;

/// A count of bytes: a size, or a position from the front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

impl Bytes {
    /// No bytes.
    pub const ZERO: Self = Self(0);
    /// The greatest count.
    pub const MAX: Self = Self(u64::MAX);

    /// Creates a count.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Returns the length of a slice or buffer.
    pub const fn of(slice: &[u8]) -> Self {
        Self(slice.len() as u64)
    }

    /// Returns the count.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Adds, unless the sum does not fit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Subtracts; zero when `other` is greater.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Reads a size with an optional unit: `512`, `64k`, `10M`, `200G`, `1.5T`, also `10MiB` and
    /// `10MB`. All are powers of 1024, as a disk is offered.
    pub fn parse(text: &str) -> Option<Self> {
        let digits_end =
            text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits_end);
        let unit = unit.trim_end_matches("iB").trim_end_matches('B');
        let shift = match unit {
            "" => 0,
            "k" | "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.len() > 6 || (number.contains('.') && fraction.is_empty()) {
            return None;
        }
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        let scaled = (u128::from(whole.parse::<u64>().ok()?) * scale + fraction) << shift;
        u64::try_from(scaled / scale).ok().map(Self)
    }
}

impl fmt::Display for Bytes {
    /// Writes a rounded size for people: `12 B`, `4.2 KiB`, `200.0 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shift = 0;
        let mut unit = "B";
        for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
            if self.0 >> shift < 1024 {
                break;
            }
            shift += 10;
            unit = next;
        }
        if shift == 0 {
            return write!(f, "{} B", self.0);
        }
        let tenths = (u128::from(self.0) * 10) >> shift;
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

impl Encode for Bytes {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Bytes {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(u64::decode(input)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        let table = [
            ("0", Some(0)),
            ("512", Some(512)),
            ("64k", Some(65_536)),
            ("1.5K", Some(1536)),
            ("10MiB", Some(10 << 20)),
            ("200G", Some(200 << 30)),
            ("", None),
            ("M", None),
            ("1.", None),
            (".5M", None),
            ("-1", None),
            ("1e3", None),
            ("1 G", None),
            ("99999999T", None),
        ];
        for (text, bytes) in table {
            assert_eq!(Bytes::parse(text), bytes.map(Bytes::new), "{text:?}");
        }
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 30, "1.0 GiB"),
        ] {
            assert_eq!(Bytes::new(bytes).to_string(), text);
        }
        assert_eq!(Bytes::MAX.to_string(), "15.9 EiB");
    }
}
