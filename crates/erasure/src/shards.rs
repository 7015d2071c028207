//! All shards of an object, in as little memory as there can be.

use crate::{ErasureError, Layout};

/// Where parity begins in memory: at a line of the cache, or each vector would be written to two.
const ALIGNMENT: usize = 64;

/// The shards of an object, which stays where it is: a data shard is a piece of it.
#[derive(Debug)]
pub struct Shards<B> {
    layout: Layout,
    object: B,
    /// How many data shards are in `object`; the others are its end and what follows it.
    whole: usize,
    /// The shards that are not in `object`, one after the other, from `start` on.
    made: Vec<u8>,
    start: usize,
    shard_len: usize,
}

impl<B: AsRef<[u8]>> Shards<B> {
    /// Lays out an object, with parity that is zero yet.
    pub(crate) fn lay_out(layout: Layout, object: B) -> Result<Self, ErasureError> {
        let bytes = object.as_ref();
        let (expected, actual) = (layout.object_len(), bytes.len() as u64);
        if actual != expected {
            return Err(ErasureError::ObjectLength { expected, actual });
        }
        // Cannot saturate: a shard has at most `OBJECT_BYTES_MAX` bytes, which any address space holds.
        let shard_len = usize::try_from(layout.shard_len()).unwrap_or(usize::MAX);
        let whole = bytes.len() / shard_len;
        let made_len = (usize::from(layout.code().n()) - whole) * shard_len;
        let mut made = vec![0; made_len + ALIGNMENT - 1];
        let start = made.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT - 1);
        let end = &bytes[whole * shard_len..];
        made[start..start + end.len()].copy_from_slice(end);
        Ok(Self { layout, object, whole, made, start, shard_len })
    }

    /// Returns the data shards, and the parity shards to be set.
    pub(crate) fn data_and_parity(&mut self) -> (Vec<&[u8]>, Vec<&mut [u8]>) {
        let Self { layout, object, whole, made, start, shard_len } = self;
        let code = layout.code();
        let made = &mut made[*start..];
        let (data, parity) = made.split_at_mut((usize::from(code.k()) - *whole) * *shard_len);
        let in_object = B::as_ref(object).chunks_exact(*shard_len).take(*whole);
        let data = in_object.chain(data.chunks_exact(*shard_len)).collect();
        (data, parity.chunks_exact_mut(*shard_len).take(code.parity().into()).collect())
    }

    /// Returns how the object lies in the shards.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns shard `index`; nothing if the code has no such shard.
    pub fn get(&self, index: u8) -> Option<&[u8]> {
        if index >= self.layout.code().n() {
            return None;
        }
        let (bytes, place) = match usize::from(index).checked_sub(self.whole) {
            None => (self.object.as_ref(), index.into()),
            Some(place) => (&self.made[self.start..], place),
        };
        bytes.get(place * self.shard_len..(place + 1) * self.shard_len)
    }

    /// Returns all `n` shards with their indices, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        (0..self.layout.code().n()).filter_map(|index| Some((index, self.get(index)?)))
    }
}
