//! Add up multiples of byte strings, as fast as this processor can.
//!
//! This is all the arithmetic that coding needs: each output is a sum of all inputs, each multiplied by a *weight*. There is
//! one *kernel* for each family of instructions; all give the same bytes.
//!
//! | kernel | multiplies by | at once |
//! |---|---|---:|
//! | `gfni512` | an 8×8 matrix of bits (`gf2p8affineqb`), with AVX-512 | 64 bytes |
//! | `gfni256` | the same, with AVX2 | 32 bytes |
//! | `avx2` | two tables of 16 products, one for each half of a byte (`pshufb`) | 32 bytes |
//! | `scalar` | a table of 256 products; this one is the twin that the others are held to | 1 byte |
//!
//! ```text
//!             tile                    for each tile of the inputs, which stay in the nearest cache:
//! input 0  ├────────┤────────┤ ···      for each group of up to 8 outputs:
//! input 1  ├────────┤────────┤            for each few vectors: all inputs are added up in registers,
//! ···                                     and each byte of an output is written once
//! ```
//!
//! # What always holds
//!
//! - A [`Kernel`] of instructions that the processor lacks does not exist: only [`Kernel::available`] makes them.
//! - Memory is reached through slices and arrays of fixed size alone; what is `unsafe` here is to call instructions, and to
//!   load and store such arrays.

mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;

/// How many bytes of all inputs together are worked on at a time: half of the nearest cache, on most processors.
const TILE_BYTES: usize = 16 << 10;

/// The shortest piece of each input that is worth going to the next.
const TILE_BYTES_MIN: usize = 512;

/// One way to do the arithmetic; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Gfni512,
    #[cfg(target_arch = "x86_64")]
    Gfni256,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Scalar,
}

impl Kernel {
    /// The kernel of plain code, which runs everywhere.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// Returns the kernels that this processor can run, the fastest first; the last is [`Kernel::SCALAR`].
    pub fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let detected = {
            let gfni = is_x86_feature_detected!("gfni");
            let avx2 = is_x86_feature_detected!("avx2");
            let avx512 = is_x86_feature_detected!("avx512f");
            [(Kind::Gfni512, gfni && avx512), (Kind::Gfni256, gfni && avx2), (Kind::Avx2, avx2)]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let detected: [(Kind, bool); 0] = [];
        let detected = detected.into_iter().filter(|(_, is_here)| *is_here);
        detected.map(|(kind, _)| Self(kind)).chain([Self::SCALAR])
    }

    /// Returns the fastest kernel that this processor can run. The standard library asks the processor once.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::SCALAR)
    }

    /// Sets every output to the sum of all inputs, each multiplied by its weight.
    ///
    /// `weights` has a row for each output, with a weight for each input. Bytes are elements of GF(2⁸), so a sum is an
    /// exclusive or, and what the outputs held before is of no matter. Takes a few bytes of memory for each weight.
    ///
    /// # Panics
    ///
    /// Unless inputs and outputs all have one length, and there is one weight for each pair of them.
    pub fn combine(self, weights: &[u8], inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
        assert_eq!(weights.len(), inputs.len() * outputs.len(), "one weight for each pair");
        let Some(len) = outputs.first().map(|output| output.len()) else { return };
        assert!(inputs.iter().all(|input| input.len() == len), "inputs of one length");
        assert!(outputs.iter().all(|output| output.len() == len), "outputs of one length");
        if inputs.is_empty() {
            outputs.iter_mut().for_each(|output| output.fill(0));
            return;
        }
        let done = match self.0 {
            // SAFETY: this kind is made by `available` alone, where GFNI and AVX-512F were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni512 => unsafe { x86::gfni512::combine(weights, inputs, outputs) },
            // SAFETY: this kind is made by `available` alone, where GFNI and AVX2 were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni256 => unsafe { x86::gfni256::combine(weights, inputs, outputs) },
            // SAFETY: this kind is made by `available` alone, where AVX2 was detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { x86::avx2::combine(weights, inputs, outputs) },
            Kind::Scalar => 0,
        };
        scalar::combine(weights, inputs, outputs, done..len);
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni512 => "gfni512",
            #[cfg(target_arch = "x86_64")]
            Kind::Gfni256 => "gfni256",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            Kind::Scalar => "scalar",
        })
    }
}

/// Returns how many bytes of each of so many inputs are worked on at a time: a multiple of 512.
fn tile(inputs: usize) -> usize {
    (TILE_BYTES / inputs).next_multiple_of(TILE_BYTES_MIN).max(TILE_BYTES_MIN)
}
