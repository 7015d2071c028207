//! Plain code: a table of 256 products for each weight.

use std::ops::Range;

use super::tile;
use crate::field::PRODUCTS;

/// Sets the bytes `range` of every output; see [`super::Kernel::combine`].
pub(super) fn combine(
    weights: &[u8],
    inputs: &[&[u8]],
    outputs: &mut [&mut [u8]],
    range: Range<usize>,
) {
    for start in range.clone().step_by(tile(inputs.len())) {
        let tile = start..range.end.min(start + tile(inputs.len()));
        for (output, weights) in outputs.iter_mut().zip(weights.chunks_exact(inputs.len())) {
            let output = &mut output[tile.clone()];
            output.fill(0);
            for (input, &weight) in inputs.iter().zip(weights) {
                let products = &PRODUCTS[usize::from(weight)];
                for (sum, &byte) in output.iter_mut().zip(&input[tile.clone()]) {
                    *sum ^= products[usize::from(byte)];
                }
            }
        }
    }
}
