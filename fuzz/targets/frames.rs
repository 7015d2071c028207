//! A stream in whatever pieces is read as the same frames as in one, none of them over what its receiver allows; what is
//! read is written as the same bytes.
#![no_main]

/// The production file itself: with the crate around it came the sockets, for which nothing here is.
#[path = "../../crates/transport/src/frames.rs"]
#[allow(dead_code)]
mod frames;

use fondaco_codec::Encode;
use frames::{FRAME_BYTES_MAX, Incoming, LENGTH_BYTES, Unframed, header, lay_out};
use libfuzzer_sys::fuzz_target;

/// A body that was encoded before.
struct Encoded<'a>(&'a [u8]);

impl Encode for Encoded<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

/// What a frame at the front of `stream` is by the drawing in `docs/formats/transport.md`, all of it being there.
fn expected(stream: &[u8], length_max: usize) -> Result<Option<&[u8]>, Unframed> {
    let Some((length, rest)) = stream.split_first_chunk::<LENGTH_BYTES>() else {
        return match stream.len() {
            0 => Ok(None),
            got => Err(Unframed::Cut { got, wanted: LENGTH_BYTES }),
        };
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > length_max {
        return Err(Unframed::TooLong { length, length_max });
    }
    let cut = Unframed::Cut { got: stream.len(), wanted: LENGTH_BYTES + length };
    rest.get(..length).map(Some).ok_or(cut)
}

// The first byte tells the most that is allowed, the second how long the pieces are; the rest is the stream.
fuzz_target!(|bytes: &[u8]| {
    let [allowed, piece, stream @ ..] = bytes else { return };
    let length_max = match allowed {
        0..=99 => usize::from(*allowed),
        100..=199 => 1 << (allowed % 32),
        200..=255 => usize::MAX,
    };
    let (capped, piece) = (length_max.min(FRAME_BYTES_MAX), usize::from(*piece).max(1));
    let mut left = stream;
    loop {
        let mut frame = Incoming::new(length_max);
        let mut at = 0;
        let refused = loop {
            if frame.wanted() == 0 || at == left.len() {
                break None;
            }
            assert!(frame.wanted() <= capped.max(LENGTH_BYTES));
            match frame.take(&left[at..left.len().min(at + piece)]) {
                Ok(taken) => {
                    assert!(taken > 0, "it wants some, and there is some");
                    at += taken;
                }
                Err(error) => break Some(error),
            }
        };
        let found = refused.map_or_else(|| frame.end(), Err);
        assert_eq!(
            found.as_ref().map(Option::as_deref).map_err(|error| *error),
            expected(left, capped)
        );
        let Ok(Some(body)) = found else { return };
        assert_eq!(at, LENGTH_BYTES + body.len(), "no byte of the next one was taken");
        assert_eq!(header(body.len()).unwrap(), left[..LENGTH_BYTES]);
        assert_eq!(lay_out(&Encoded(&body)).unwrap(), left[..at]);
        left = &left[at..];
    }
});
