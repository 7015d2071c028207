//! Compute shards from others: the parity from the data, and what was lost from what is left.

use crate::{Code, ErasureError, Kernel, Layout, Shards, weights::weights};

/// Cuts `object` into all `n` shards of its `layout`.
///
/// The object is not copied, but for its end, which zeros must follow: less than one shard. The parity takes
/// `(n − k) · shard_len` bytes of memory. Where that is too much, [`rebuild_into`] makes it some rows at a time.
pub fn encode<B: AsRef<[u8]>>(layout: Layout, object: B) -> Result<Shards<B>, ErasureError> {
    let mut shards = Shards::lay_out(layout, object)?;
    let (data, mut parity) = shards.data_and_parity();
    let (code, all) = (layout.code(), 0..layout.code().n());
    let (given, wanted): (Vec<u8>, Vec<u8>) = all.partition(|&index| index < code.k());
    Kernel::best().combine(&weights(code, &given, &wanted), &data, &mut parity);
    Ok(shards)
}

/// Returns what shard `wanted` has in some rows, from the same rows of any `k` shards or more.
///
/// See [`rebuild_into`].
pub fn rebuild(code: Code, shards: &[(u8, &[u8])], wanted: u8) -> Result<Vec<u8>, ErasureError> {
    let mut bytes = vec![0; shards.first().map_or(0, |(_, bytes)| bytes.len())];
    rebuild_into(code, shards, &mut [(wanted, &mut bytes)])?;
    Ok(bytes)
}

/// Sets each of `wanted` to what that shard has in some rows, from the same rows of any `k` shards or more.
///
/// Which rows, and how many, is up to the caller, as long as they are the same of all shards. Each shard is named by its
/// index, data or parity alike; their order does not matter, and no more than `k` are read. A wanted shard that is among
/// those given is copied. The parity of data is what is wanted of data shards.
///
/// Takes time for each shard that is wanted and not given, and memory only for the weights.
pub fn rebuild_into(
    code: Code,
    shards: &[(u8, &[u8])],
    wanted: &mut [(u8, &mut [u8])],
) -> Result<(), ErasureError> {
    let given = check(code, shards, wanted)?;
    let mut outputs = Vec::with_capacity(wanted.len());
    let mut lost = Vec::with_capacity(wanted.len());
    for (index, output) in wanted {
        match given[usize::from(*index)] {
            Some(bytes) => output.copy_from_slice(bytes),
            None => {
                lost.push(*index);
                outputs.push(&mut **output);
            }
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let used = (0..code.n()).filter_map(|index| Some((index, given[usize::from(index)]?)));
    let (indices, inputs): (Vec<u8>, Vec<&[u8]>) = used.take(code.k().into()).unzip();
    Kernel::best().combine(&weights(code, &indices, &lost), &inputs, &mut outputs);
    Ok(())
}

/// Returns the given shards by their index. The order of the checks is the order of [`ErasureError`].
fn check<'a>(
    code: Code,
    shards: &[(u8, &'a [u8])],
    wanted: &[(u8, &mut [u8])],
) -> Result<[Option<&'a [u8]>; 256], ErasureError> {
    let rows = |bytes: &[u8]| bytes.len() as u64;
    let given = || shards.iter().map(|(index, bytes)| (*index, rows(bytes)));
    let mut all = given().chain(wanted.iter().map(|(index, bytes)| (*index, rows(bytes))));
    if let Some((index, _)) = all.clone().find(|(index, _)| *index >= code.n()) {
        return Err(ErasureError::ShardUnknown { index, code });
    }
    let expected = all.clone().next().map_or(0, |(_, rows)| rows);
    if let Some((index, actual)) = all.find(|(_, rows)| *rows != expected) {
        return Err(ErasureError::ShardLength { index, expected, actual });
    }
    let mut found = [None; 256];
    for &(index, bytes) in shards {
        if found[usize::from(index)].replace(bytes).is_some() {
            return Err(ErasureError::ShardTwice { index });
        }
    }
    match u8::try_from(shards.len()) {
        Ok(shards) if shards < code.k() => Err(ErasureError::TooFewShards { shards, code }),
        Ok(_) | Err(_) => Ok(found),
    }
}
