//! Money in the smallest unit of a currency, its decimals, and prices of a byte.

use crate::{Bytes, encoded_as_integer};
use fondaco_codec::{Decode, DecodeError, Encode, Reader};
use std::fmt;

/// Money, in the smallest unit of a currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);
encoded_as_integer!(Amount);

impl Amount {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The greatest amount.
    pub const MAX: Self = Self(u64::MAX);

    /// Creates an amount of `units` of the smallest unit.
    pub const fn new(units: u64) -> Self {
        Self(units)
    }

    /// Returns the count of smallest units.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns whether this is no money.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Adds, unless the sum does not fit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Subtracts, unless `other` is greater.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// Subtracts; no money when `other` is greater.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// What a byte costs: 10⁻¹² of the currency's smallest unit for each byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(u64);
encoded_as_integer!(Price);

impl Price {
    /// How many parts of a price make one smallest unit of the currency.
    pub const PARTS: u128 = 1_000_000_000_000;

    /// Creates a price of `parts` × 10⁻¹² units a byte.
    pub const fn from_parts(parts: u64) -> Self {
        Self(parts)
    }

    /// Creates the price at which `bytes` cost `amount`, rounded up; nothing if it does not fit or `bytes` is zero.
    pub fn of(amount: Amount, bytes: Bytes) -> Option<Self> {
        if bytes.get() == 0 {
            return None;
        }
        let parts = (u128::from(amount.get()) * Self::PARTS).div_ceil(u128::from(bytes.get()));
        u64::try_from(parts).ok().map(Self)
    }

    /// Returns the 10⁻¹² units a byte.
    pub const fn parts(self) -> u64 {
        self.0
    }

    /// Returns what `bytes` cost, in 10⁻¹² units. It always fits.
    pub const fn parts_for(self, bytes: u64) -> u128 {
        self.0 as u128 * bytes as u128
    }
}

/// How many decimals of a currency people see: 2 when the smallest unit is a cent. At most 12.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scale(u8);

impl Scale {
    /// The greatest number of decimals.
    pub const MAX: u8 = 12;

    /// Checks a number of decimals; nothing when it is over [`Scale::MAX`].
    pub const fn new(decimals: u8) -> Option<Self> {
        if decimals <= Self::MAX { Some(Self(decimals)) } else { None }
    }

    /// Returns the number of decimals.
    pub const fn decimals(self) -> u8 {
        self.0
    }

    /// Returns how many smallest units make one whole.
    pub const fn units_per_whole(self) -> u64 {
        10_u64.pow(self.0 as u32)
    }

    /// Reads an amount written in digits with at most this many decimals: `12`, `12.5`, `0.05`.
    ///
    /// # Errors
    ///
    /// Anything else, signs, spaces, exponents, separators and other digits included.
    pub fn parse(self, text: &str) -> Result<Amount, ParseAmountError> {
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(ParseAmountError::NotDigits),
            Some(parts) => parts,
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(ParseAmountError::NotDigits);
        }
        if fraction.len() > usize::from(self.0) {
            return Err(ParseAmountError::TooManyDecimals { decimals_max: self.0 });
        }
        let zeros = usize::from(self.0) - fraction.len();
        let mut units = 0_u64;
        for digit in whole.bytes().chain(fraction.bytes()).chain(std::iter::repeat_n(b'0', zeros)) {
            units = units
                .checked_mul(10)
                .and_then(|units| units.checked_add(u64::from(digit - b'0')))
                .ok_or(ParseAmountError::TooLarge)?;
        }
        Ok(Amount(units))
    }

    /// Shows an amount with all its decimals: `10.50`.
    pub const fn show(self, amount: Amount) -> ShowAmount {
        ShowAmount { scale: self, amount }
    }
}

impl Encode for Scale {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Scale {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = input.at();
        Self::new(u8::decode(input)?).ok_or(Reader::invalid(at, "Scale"))
    }
}

/// An amount, ready to be written with the decimals of its currency.
#[derive(Clone, Copy, Debug)]
pub struct ShowAmount {
    scale: Scale,
    amount: Amount,
}

impl fmt::Display for ShowAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_whole = self.scale.units_per_whole();
        let (whole, rest) = (self.amount.get() / per_whole, self.amount.get() % per_whole);
        let text = match usize::from(self.scale.decimals()) {
            0 => whole.to_string(),
            decimals => format!("{whole}.{rest:0decimals$}"),
        };
        f.pad(&text)
    }
}

/// Why a text is not an amount. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAmountError {
    /// The text is not digits, with at most one point between digits.
    #[error("an amount is written in digits 0-9 with at most one point, as 12 or 12.50")]
    NotDigits,
    /// The currency has fewer decimals.
    #[error("this currency has at most {decimals_max} decimals")]
    TooManyDecimals {
        /// The currency's decimals.
        decimals_max: u8,
    },
    /// The amount does not fit 64 bits of smallest units.
    #[error("the amount is too large to be counted")]
    TooLarge,
}

impl ParseAmountError {
    /// Returns whether the same text can be read later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::NotDigits | Self::TooManyDecimals { .. } | Self::TooLarge => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseAmountError::{NotDigits, TooLarge, TooManyDecimals};
    use proptest::prelude::*;

    #[test]
    fn spellings_of_amounts() {
        let table = [
            ("0", Ok(0)),
            ("1", Ok(100)),
            ("1.5", Ok(150)),
            ("1.50", Ok(150)),
            ("007", Ok(700)),
            ("184467440737095516.15", Ok(u64::MAX)),
            ("184467440737095516.16", Err(TooLarge)),
            ("99999999999999999999", Err(TooLarge)),
            ("1.505", Err(TooManyDecimals { decimals_max: 2 })),
            ("1.500", Err(TooManyDecimals { decimals_max: 2 })),
            ("", Err(NotDigits)),
            (".", Err(NotDigits)),
            ("1.", Err(NotDigits)),
            (".5", Err(NotDigits)),
            ("1.2.3", Err(NotDigits)),
            ("-0", Err(NotDigits)),
            ("+1", Err(NotDigits)),
            (" 1", Err(NotDigits)),
            ("1 ", Err(NotDigits)),
            ("1e3", Err(NotDigits)),
            ("1,5", Err(NotDigits)),
            ("1_000", Err(NotDigits)),
            ("0x10", Err(NotDigits)),
            ("NaN", Err(NotDigits)),
            ("INF", Err(NotDigits)),
            ("١", Err(NotDigits)),
            ("１", Err(NotDigits)),
            ("½", Err(NotDigits)),
        ];
        let cents = Scale::new(2).unwrap();
        for (text, amount) in table {
            assert_eq!(cents.parse(text), amount.map(Amount), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn amounts_survive_their_text_form(units: u64, decimals in 0..=Scale::MAX) {
            let scale = Scale::new(decimals).unwrap();
            prop_assert_eq!(scale.parse(&scale.show(Amount(units)).to_string()), Ok(Amount(units)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = Scale::new(6).unwrap().parse(&text);
        }
    }

    #[test]
    fn a_cheap_byte_still_costs() {
        let price = Price::of(Amount(1), Bytes::new(1 << 30)).unwrap();
        assert_eq!(price.parts(), 932);
        assert!(price.parts_for(1 << 30) >= Price::PARTS);
        assert_eq!(Price::of(Amount::MAX, Bytes::new(1)), None);
        assert_eq!(Price::of(Amount(1), Bytes::ZERO), None);
    }
}
