//! Encode values to canonical bytes and decode them within limits.
//!
//! Every message, signed thing and journal record of Fondaco is written this way. There is one
//! encoding of a value and one value of an encoding, so that bytes can be hashed and signed.
//!
//! ```text
//! integer      little-endian, as wide as its type
//! bool, tag    one byte; a value outside the stated set is refused
//! bytes, text  u32 length, then the bytes; the reader states the greatest length
//! list         u32 count, then the items; the reader states the greatest count
//! option       0, or 1 and the value
//! record       its fields in order, nothing between them
//! choice       one tag byte, then the fields of that case
//! ```
//!
//! # What always holds
//!
//! - Decoding never panics, and never reserves more than the input is long.
//! - `decode` after `encode` gives the value back; whole inputs with bytes left over are refused.
//!
//! # What is not here
//!
//! Versions and kinds of messages: the first field of what carries them. See `docs/formats.md`.
//!
//! ```
//! use fondaco_codec::{Decode, Encode, record};
//! #[derive(Debug, PartialEq)]
//! struct Point { x: u32, y: u32 }
//! record!(Point { x, y });
//! let bytes = Point { x: 1, y: 2 }.to_bytes();
//! assert_eq!(bytes, [1, 0, 0, 0, 2, 0, 0, 0]);
//! assert_eq!(Point::from_bytes(&bytes), Ok(Point { x: 1, y: 2 }));
//! ```

/// Why bytes are not the encoding of a value. Listed by precedence within one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ended inside a field.
    #[error("the input ends at byte {at}, inside a field of {wanted} bytes")]
    Truncated {
        /// Offset of the field in bytes.
        at: usize,
        /// Length of the field in bytes.
        wanted: usize,
    },
    /// A length or count is over its stated maximum.
    #[error("the length {length} at byte {at} is over the maximum of {length_max}")]
    TooLong {
        /// Offset of the length in bytes.
        at: usize,
        /// The length found.
        length: usize,
        /// The greatest length allowed here.
        length_max: usize,
    },
    /// A tag names no case, a bool is neither 0 nor 1, a text is not UTF-8, or a checked type refused its value.
    #[error("{what} at byte {at} has no valid value")]
    Invalid {
        /// Offset of the field in bytes.
        at: usize,
        /// The type that was wanted.
        what: &'static str,
    },
    /// A whole input goes on after the value.
    #[error("{extra} bytes follow the value, which ends at byte {at}")]
    Trailing {
        /// Offset of the first extra byte.
        at: usize,
        /// How many there are.
        extra: usize,
    },
}

impl DecodeError {
    /// Returns whether the same bytes, read again, can succeed: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Truncated { .. }
            | Self::TooLong { .. }
            | Self::Invalid { .. }
            | Self::Trailing { .. } => false,
        }
    }
}

/// A value with one canonical encoding.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Returns the encoding.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// A value that can be read back from its encoding.
pub trait Decode: Sized {
    /// Reads one value and leaves `input` after it.
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads a value that takes up all of `bytes`.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let value = Self::decode(&mut input)?;
        input.finish()?;
        Ok(value)
    }
}

/// Reads fields from a byte slice, front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Creates a reader at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the offset of the next byte to be read.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Returns how many bytes are left.
    pub const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Takes the next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if length > self.left() {
            return Err(DecodeError::Truncated { at: self.at, wanted: length });
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    /// Takes the next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Takes a length or count of at most `length_max`.
    pub fn length(&mut self, length_max: usize) -> Result<usize, DecodeError> {
        let at = self.at;
        let length = u32::from_le_bytes(self.array()?) as usize;
        if length > length_max {
            return Err(DecodeError::TooLong { at, length, length_max });
        }
        Ok(length)
    }

    /// Takes a byte string of at most `length_max` bytes.
    pub fn bytes(&mut self, length_max: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.length(length_max)?;
        self.take(length)
    }

    /// Takes a UTF-8 text of at most `length_max` bytes.
    pub fn text(&mut self, length_max: usize) -> Result<&'a str, DecodeError> {
        let at = self.at;
        std::str::from_utf8(self.bytes(length_max)?)
            .map_err(|_| DecodeError::Invalid { at, what: "text" })
    }

    /// Takes a list of at most `count_max` values.
    pub fn list<T: Decode>(&mut self, count_max: usize) -> Result<Vec<T>, DecodeError> {
        let count = self.length(count_max)?;
        // Every item takes a byte at least, so a lying count reserves no more than the input is long.
        let mut list = Vec::with_capacity(count.min(self.left()));
        for _ in 0..count {
            list.push(T::decode(self)?);
        }
        Ok(list)
    }

    /// Returns the error for a field of type `what` that began at `at` and holds no valid value.
    pub const fn invalid(at: usize, what: &'static str) -> DecodeError {
        DecodeError::Invalid { at, what }
    }

    /// Ends the reading; refuses bytes that are left over.
    pub const fn finish(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { at: self.at, extra }),
        }
    }
}

/// Appends a byte string with its length.
///
/// # Panics
///
/// If `bytes` is longer than a `u32` counts: every caller has a stated maximum far below that.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a list with its count.
///
/// # Panics
///
/// As [`put_bytes`].
pub fn put_list<T: Encode>(out: &mut Vec<u8>, list: &[T]) {
    put_length(out, list.len());
    for item in list {
        item.encode(out);
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    u32::try_from(length).expect("lengths have maxima below 2^32").encode(out);
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Encode for $integer {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
        impl Decode for $integer {
            fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self::from_le_bytes(input.array()?))
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, u128);

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Decode for bool {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = input.at();
        match u8::decode(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid { at, what: "bool" }),
        }
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array()
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(if bool::decode(input)? { Some(T::decode(input)?) } else { None })
    }
}

/// A text of at most `MAX` bytes of UTF-8: a checked type, so that no list or name is unbounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Checks the length of `text`; returns nothing when it is over `MAX` bytes.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (text.len() <= MAX).then_some(Self(text))
    }

    /// Keeps as much of `text` as fits, cut between characters.
    pub fn cut(text: &str) -> Self {
        Self(text[..text.floor_char_boundary(MAX)].to_owned())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> std::fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> Encode for Text<MAX> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.0.as_bytes());
    }
}

impl<const MAX: usize> Decode for Text<MAX> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(input.text(MAX)?.to_owned()))
    }
}

/// A list of at most `MAX` items, checked when it is made and when it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Checks the length of `items`; returns nothing when there are more than `MAX`.
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() <= MAX).then_some(Self(items))
    }

    /// Returns the items.
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// Gives up the items.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T: Encode, const MAX: usize> Encode for List<T, MAX> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_list(out, &self.0);
    }
}

impl<T: Decode, const MAX: usize> Decode for List<T, MAX> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(input.list(MAX)?))
    }
}

/// Derives [`Encode`] and [`Decode`] for a struct, field by field in the order given.
#[macro_export]
macro_rules! record {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $( $crate::Encode::encode(&self.$field, out); )*
            }
        }
        impl $crate::Decode for $name {
            fn decode(input: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                Ok(Self { $( $field: $crate::Decode::decode(input)? ),* })
            }
        }
    };
}

/// Derives [`Encode`] and [`Decode`] for an enum: a tag byte for each case, then its fields in order.
///
/// Cases are unit-like (`1 => Empty`) or have named fields (`2 => Pair { left, right }`).
#[macro_export]
macro_rules! choice {
    ($name:ident { $($tag:literal => $case:ident $({ $($field:ident),* $(,)? })?),* $(,)? }) => {
        impl $crate::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $( Self::$case $({ $($field),* })? => {
                        out.push($tag);
                        $( $( $crate::Encode::encode($field, out); )* )?
                    } )*
                }
            }
        }
        impl $crate::Decode for $name {
            fn decode(input: &mut $crate::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                let at = input.at();
                match <u8 as $crate::Decode>::decode(input)? {
                    $( $tag => Ok(Self::$case $({ $($field: $crate::Decode::decode(input)?),* })? ), )*
                    _ => Err($crate::Reader::invalid(at, stringify!($name))),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq)]
    enum Shape {
        Dot,
        Named { name: Text<8>, size: Option<u64> },
        Many { of: List<u16, 3> },
    }
    choice!(Shape { 1 => Dot, 2 => Named { name, size }, 7 => Many { of } });

    fn shapes() -> impl Strategy<Value = Shape> {
        prop_oneof![
            Just(Shape::Dot),
            ("[a-zé]{0,4}", any::<Option<u64>>())
                .prop_map(|(name, size)| Shape::Named { name: Text::new(name).unwrap(), size }),
            proptest::collection::vec(any::<u16>(), 0..=3)
                .prop_map(|of| Shape::Many { of: List::new(of).unwrap() }),
        ]
    }

    proptest! {
        #[test]
        fn values_survive_their_encoding(shape in shapes()) {
            prop_assert_eq!(Shape::from_bytes(&shape.to_bytes()), Ok(shape));
        }

        /// One encoding of a value: whatever decodes, encodes to the same bytes.
        #[test]
        fn encodings_are_canonical(bytes in proptest::collection::vec(0_u8..9, 0..40)) {
            if let Ok(shape) = Shape::from_bytes(&bytes) {
                prop_assert_eq!(shape.to_bytes(), bytes);
            }
        }

        #[test]
        fn every_cut_is_refused(shape in shapes()) {
            let bytes = shape.to_bytes();
            for length in 0..bytes.len() {
                let truncated = matches!(Shape::from_bytes(&bytes[..length]), Err(DecodeError::Truncated { .. }));
                prop_assert!(truncated);
            }
        }
    }

    #[test]
    fn refusals_name_the_place() {
        let table: &[(&[u8], DecodeError)] = &[
            (&[], DecodeError::Truncated { at: 0, wanted: 1 }),
            (&[9], DecodeError::Invalid { at: 0, what: "Shape" }),
            (&[1, 0], DecodeError::Trailing { at: 1, extra: 1 }),
            (&[2, 9, 0, 0, 0], DecodeError::TooLong { at: 1, length: 9, length_max: 8 }),
            (&[2, 1, 0, 0, 0, 0xff], DecodeError::Invalid { at: 1, what: "text" }),
            (&[2, 0, 0, 0, 0, 2], DecodeError::Invalid { at: 5, what: "bool" }),
            (
                &[7, 0xff, 0xff, 0xff, 0xff],
                DecodeError::TooLong { at: 1, length: 0xffff_ffff, length_max: 3 },
            ),
        ];
        for (bytes, error) in table {
            assert_eq!(Shape::from_bytes(bytes), Err(*error), "{bytes:?}");
        }
    }

    #[test]
    fn a_cut_text_ends_between_characters() {
        assert_eq!(Text::<3>::cut("aéé").as_str(), "aé");
        assert_eq!(Text::<3>::new("aéé"), None);
    }
}
