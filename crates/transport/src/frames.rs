//! Frames without the stream that carries them: laid out, and read as their bytes come, in whatever pieces.
//!
//! ```text
//! header (4 bytes) ──► length checked ──► body (length bytes) ──► whole
//!    └── end: none, or cut                  └── end: cut
//! ```

use fondaco_codec::Encode;

/// The longest frame of all, in bytes without its length: no receiver allows more.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// How long a frame's length is.
pub(crate) const LENGTH_BYTES: usize = 4;

/// What is reserved for a frame before its bytes are there.
const RESERVED_BYTES_MAX: usize = 64 << 10;

/// Why bytes are no frame. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unframed {
    /// It is longer than is allowed; nothing was reserved for it.
    TooLong {
        /// How long it is.
        length: usize,
        /// How long it may be.
        length_max: usize,
    },
    /// They ended inside of it.
    Cut {
        /// How many bytes came, those of the length included.
        got: usize,
        /// How many should have come.
        wanted: usize,
    },
}

/// A frame that is under way.
#[derive(Debug)]
pub(crate) struct Incoming {
    length_max: usize,
    header: [u8; LENGTH_BYTES],
    header_got: usize,
    /// Known once the header is whole and the length is allowed.
    length: Option<usize>,
    body: Vec<u8>,
}

impl Incoming {
    /// Waits for a frame whose body is of `length_max` bytes at most, and never over [`FRAME_BYTES_MAX`].
    pub(crate) fn new(length_max: usize) -> Self {
        Self {
            length_max: length_max.min(FRAME_BYTES_MAX),
            header: [0; LENGTH_BYTES],
            header_got: 0,
            length: None,
            body: Vec::new(),
        }
    }

    /// Returns how many bytes to ask for: what is missing of the header, or else of the body; 0 when it is whole.
    pub(crate) const fn wanted(&self) -> usize {
        match self.length {
            None => LENGTH_BYTES - self.header_got,
            Some(length) => length - self.body.len(),
        }
    }

    /// Takes what it wants from the front of `bytes`; returns how much that was.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, Unframed> {
        let taken = bytes.len().min(self.wanted());
        let bytes = &bytes[..taken];
        if self.length.is_some() {
            self.body.extend_from_slice(bytes);
            return Ok(taken);
        }
        self.header[self.header_got..self.header_got + taken].copy_from_slice(bytes);
        self.header_got += taken;
        if self.header_got == LENGTH_BYTES {
            let (length, length_max) = (u32::from_le_bytes(self.header) as usize, self.length_max);
            if length > length_max {
                return Err(Unframed::TooLong { length, length_max });
            }
            self.length = Some(length);
            self.body.reserve_exact(length.min(RESERVED_BYTES_MAX));
        }
        Ok(taken)
    }

    /// Returns the body, when no more is wanted or no more comes; nothing when not a byte came.
    pub(crate) fn end(self) -> Result<Option<Vec<u8>>, Unframed> {
        match (self.wanted(), self.length, self.header_got) {
            (0, Some(_), _) => Ok(Some(self.body)),
            (_, None, 0) => Ok(None),
            (_, None, got) => Err(Unframed::Cut { got, wanted: LENGTH_BYTES }),
            (_, Some(length), _) => {
                let (got, wanted) = (LENGTH_BYTES + self.body.len(), LENGTH_BYTES + length);
                Err(Unframed::Cut { got, wanted })
            }
        }
    }
}

/// Lays out one value as one frame.
pub(crate) fn lay_out(value: &impl Encode) -> Result<Vec<u8>, Unframed> {
    let mut frame = vec![0; LENGTH_BYTES];
    value.encode(&mut frame);
    let header = header(frame.len() - LENGTH_BYTES)?;
    frame[..LENGTH_BYTES].copy_from_slice(&header);
    Ok(frame)
}

/// Returns what stands before a body of this length.
pub(crate) fn header(length: usize) -> Result<[u8; LENGTH_BYTES], Unframed> {
    let length_max = FRAME_BYTES_MAX;
    match u32::try_from(length) {
        Ok(short) if length <= length_max => Ok(short.to_le_bytes()),
        _ => Err(Unframed::TooLong { length, length_max }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_codec::Text;

    /// The hexdump of `docs/formats/transport.md`.
    #[test]
    fn the_layout_of_a_frame() {
        let text = Text::<16>::new("fondaco").unwrap();
        #[rustfmt::skip]
        let dump = [
            0x0b, 0x00, 0x00, 0x00,                   // the body is 11 bytes
            0x07, 0x00, 0x00, 0x00,                   // body: the text is 7 bytes
            0x66, 0x6f, 0x6e, 0x64, 0x61, 0x63, 0x6f, // body: fondaco
        ];
        assert_eq!(lay_out(&text).unwrap(), dump);
    }

    #[test]
    fn too_long_a_frame_is_not_sent() {
        assert_eq!(header(FRAME_BYTES_MAX), Ok([0, 0, 0, 4]));
        let (length, length_max) = (FRAME_BYTES_MAX + 1, FRAME_BYTES_MAX);
        assert_eq!(header(length), Err(Unframed::TooLong { length, length_max }));
    }

    /// What is read of `bytes` where a frame of so many bytes is allowed, piece by piece.
    fn read(length_max: usize, bytes: &[u8], piece: usize) -> Result<Option<Vec<u8>>, Unframed> {
        let mut frame = Incoming::new(length_max);
        for piece in bytes.chunks(piece) {
            let mut rest = piece;
            while frame.wanted() > 0 && !rest.is_empty() {
                rest = &rest[frame.take(rest)?..];
            }
        }
        frame.end()
    }

    #[test]
    fn what_is_read_does_not_depend_on_the_pieces() {
        type Read = Result<Option<&'static [u8]>, Unframed>;
        let table: &[(&[u8], Read)] = &[
            (&[], Ok(None)),
            (&[0, 0, 0], Err(Unframed::Cut { got: 3, wanted: 4 })),
            (&[0, 0, 0, 0], Ok(Some(&[]))),
            (&[0, 0, 0, 0, 9], Ok(Some(&[]))),
            (&[3, 0, 0, 0], Err(Unframed::Cut { got: 4, wanted: 7 })),
            (&[3, 0, 0, 0, 1, 2], Err(Unframed::Cut { got: 6, wanted: 7 })),
            (&[3, 0, 0, 0, 1, 2, 3], Ok(Some(&[1, 2, 3]))),
            (&[3, 0, 0, 0, 1, 2, 3, 4], Ok(Some(&[1, 2, 3]))),
            (&[4, 0, 0, 0, 1, 2, 3, 4], Err(Unframed::TooLong { length: 4, length_max: 3 })),
            (&[0, 0, 0, 1], Err(Unframed::TooLong { length: 1 << 24, length_max: 3 })),
        ];
        for (bytes, expected) in table {
            for piece in 1..=9 {
                let found = read(3, bytes, piece);
                let found = found.as_ref().map(Option::as_deref).map_err(|error| *error);
                assert_eq!(found, *expected, "{bytes:?} by {piece}");
            }
        }
    }

    #[test]
    fn no_receiver_allows_more_than_the_greatest_of_all() {
        let (length, length_max) = (FRAME_BYTES_MAX + 1, FRAME_BYTES_MAX);
        let found = read(usize::MAX, &[1, 0, 0, 4], 4);
        assert_eq!(found, Err(Unframed::TooLong { length, length_max }));
    }

    /// Whoever announces much and sends little is given little.
    #[test]
    fn room_comes_with_the_bytes() {
        let mut frame = Incoming::new(FRAME_BYTES_MAX);
        assert_eq!(frame.take(&[0, 0, 0, 4]), Ok(4));
        assert_eq!((frame.wanted(), frame.body.capacity()), (FRAME_BYTES_MAX, RESERVED_BYTES_MAX));
        assert_eq!(frame.take(&[7; 1000]), Ok(1000));
        assert_eq!(frame.body.capacity(), RESERVED_BYTES_MAX);
    }
}
