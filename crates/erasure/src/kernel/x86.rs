//! The kernels of x86-64: one loop, over three kinds of vector.

/// Writes the loop of a kernel for the vectors of the module it stands in.
///
/// Each pair is a number of outputs and how many vectors of each of them are kept in registers.
macro_rules! combine_by_vectors {
    ($features:literal, $outputs_max:literal, $($outputs:literal => $vectors:literal),+) => {
        /// Sets the outputs, but for what is left at their ends of less than a vector; returns where that begins.
        ///
        /// All slices have the length of the first output, and `weights` has a row for each output.
        #[target_feature(enable = $features)]
        pub(in super::super) fn combine(
            weights: &[u8],
            inputs: &[&[u8]],
            outputs: &mut [&mut [u8]],
        ) -> usize {
            let len = outputs[0].len() / BYTES * BYTES;
            let group = outputs.len().div_ceil(outputs.len().div_ceil($outputs_max));
            // For each group, by input: a factor for each output.
            let mut factors = Vec::with_capacity(weights.len());
            for rows in weights.chunks(group * inputs.len()) {
                for input in 0..inputs.len() {
                    factors.extend(rows.iter().skip(input).step_by(inputs.len()).map(|&weight| factor(weight)));
                }
            }
            let step = super::super::tile(inputs.len());
            for start in (0..len).step_by(step) {
                let tile = start..len.min(start + step);
                let groups = outputs.chunks_mut(group).zip(factors.chunks(group * inputs.len()));
                for (outputs, factors) in groups {
                    match outputs.len() {
                        $($outputs => sweep::<$outputs, $vectors>(factors, inputs, outputs, tile.clone()),)+
                        _ => unreachable!("a group has 1 to {} outputs", $outputs_max),
                    }
                }
            }
            len
        }

        /// Sets a tile of a group of outputs: several vectors at a time, then one by one.
        #[target_feature(enable = $features)]
        fn sweep<const OUTPUTS: usize, const VECTORS: usize>(
            factors: &[Factor],
            inputs: &[&[u8]],
            outputs: &mut [&mut [u8]],
            tile: std::ops::Range<usize>,
        ) {
            let (factors, _) = factors.as_chunks::<OUTPUTS>();
            let mut at = tile.start;
            while at + VECTORS * BYTES <= tile.end {
                set::<OUTPUTS, VECTORS>(factors, inputs, outputs, at);
                at += VECTORS * BYTES;
            }
            while at < tile.end {
                set::<OUTPUTS, 1>(factors, inputs, outputs, at);
                at += BYTES;
            }
        }

        /// Sets some vectors of each output, from `at` on.
        #[inline]
        #[target_feature(enable = $features)]
        fn set<const OUTPUTS: usize, const VECTORS: usize>(
            factors: &[[Factor; OUTPUTS]],
            inputs: &[&[u8]],
            outputs: &mut [&mut [u8]],
            at: usize,
        ) {
            let mut sums = [[zero(); VECTORS]; OUTPUTS];
            for (input, factors) in inputs.iter().zip(factors) {
                let (bytes, _) = input[at..at + VECTORS * BYTES].as_chunks::<BYTES>();
                let mut vectors = [prepare(zero()); VECTORS];
                for (vector, bytes) in vectors.iter_mut().zip(bytes) {
                    *vector = prepare(load(bytes));
                }
                for (sums, factor) in sums.iter_mut().zip(factors) {
                    for (sum, vector) in sums.iter_mut().zip(&vectors) {
                        *sum = add(*sum, times(*vector, factor));
                    }
                }
            }
            for (output, sums) in outputs.iter_mut().zip(&sums) {
                let (bytes, _) = output[at..at + VECTORS * BYTES].as_chunks_mut::<BYTES>();
                for (bytes, sum) in bytes.iter_mut().zip(sums) {
                    store(bytes, *sum);
                }
            }
        }
    };
}

/// What the two kernels with GFNI share.
mod gfni {
    use crate::field::{low_byte, product};

    /// The matrix of bits that multiplies by each weight, as `gf2p8affineqb` takes it: byte `7 − i` has, at `j`, bit `i`
    /// of what the weight makes of `1 << j`.
    pub(super) static MATRICES: [u64; 256] = matrices();

    const fn matrices() -> [u64; 256] {
        let mut matrices = [0; 256];
        let mut weight = 0;
        while weight < 256 {
            let mut j = 0;
            while j < 8 {
                let column = product(low_byte(weight), 1 << j);
                let mut i = 0;
                while i < 8 {
                    matrices[weight] |= ((column >> i & 1) as u64) << (8 * (7 - i) + j);
                    i += 1;
                }
                j += 1;
            }
            weight += 1;
        }
        matrices
    }
}

/// GFNI with AVX-512.
pub(super) mod gfni512 {
    use std::arch::x86_64::{
        __m512i, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_set1_epi64,
        _mm512_setzero_si512, _mm512_storeu_si512, _mm512_xor_si512,
    };

    use super::gfni::MATRICES;

    const BYTES: usize = 64;

    type Factor = i64;

    fn factor(weight: u8) -> Factor {
        MATRICES[usize::from(weight)].cast_signed()
    }

    #[inline]
    #[target_feature(enable = "gfni,avx512f")]
    fn zero() -> __m512i {
        _mm512_setzero_si512()
    }

    #[inline]
    #[target_feature(enable = "gfni,avx512f")]
    fn load(bytes: &[u8; BYTES]) -> __m512i {
        // SAFETY: the array has the 64 bytes that are read, and no alignment is asked for.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "gfni,avx512f")]
    fn store(bytes: &mut [u8; BYTES], vector: __m512i) {
        // SAFETY: the array has the 64 bytes that are written, and no alignment is asked for.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) }
    }

    #[inline]
    #[target_feature(enable = "gfni,avx512f")]
    fn prepare(vector: __m512i) -> __m512i {
        vector
    }

    #[inline]
    #[target_feature(enable = "gfni,avx512f")]
    fn times(vector: __m512i, factor: &Factor) -> __m512i {
        _mm512_gf2p8affine_epi64_epi8::<0>(vector, _mm512_set1_epi64(*factor))
    }

    #[inline]
    #[target_feature(enable = "gfni,avx512f")]
    fn add(a: __m512i, b: __m512i) -> __m512i {
        _mm512_xor_si512(a, b)
    }

    combine_by_vectors!("gfni,avx512f", 8, 1 => 8, 2 => 8, 3 => 4, 4 => 4, 5 => 2, 6 => 2, 7 => 2, 8 => 2);
}

/// GFNI with AVX2, for processors without AVX-512.
pub(super) mod gfni256 {
    use std::arch::x86_64::{
        __m256i, _mm256_gf2p8affine_epi64_epi8, _mm256_loadu_si256, _mm256_set1_epi64x,
        _mm256_setzero_si256, _mm256_storeu_si256, _mm256_xor_si256,
    };

    use super::gfni::MATRICES;

    const BYTES: usize = 32;

    type Factor = i64;

    fn factor(weight: u8) -> Factor {
        MATRICES[usize::from(weight)].cast_signed()
    }

    #[inline]
    #[target_feature(enable = "gfni,avx2")]
    fn zero() -> __m256i {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "gfni,avx2")]
    fn load(bytes: &[u8; BYTES]) -> __m256i {
        // SAFETY: the array has the 32 bytes that are read, and no alignment is asked for.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "gfni,avx2")]
    fn store(bytes: &mut [u8; BYTES], vector: __m256i) {
        // SAFETY: the array has the 32 bytes that are written, and no alignment is asked for.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
    }

    #[inline]
    #[target_feature(enable = "gfni,avx2")]
    fn prepare(vector: __m256i) -> __m256i {
        vector
    }

    #[inline]
    #[target_feature(enable = "gfni,avx2")]
    fn times(vector: __m256i, factor: &Factor) -> __m256i {
        _mm256_gf2p8affine_epi64_epi8::<0>(vector, _mm256_set1_epi64x(*factor))
    }

    #[inline]
    #[target_feature(enable = "gfni,avx2")]
    fn add(a: __m256i, b: __m256i) -> __m256i {
        _mm256_xor_si256(a, b)
    }

    combine_by_vectors!("gfni,avx2", 4, 1 => 4, 2 => 4, 3 => 2, 4 => 2);
}

/// AVX2 alone.
pub(super) mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256,
        _mm256_loadu_si256, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
        _mm256_srli_epi64, _mm256_storeu_si256, _mm256_xor_si256,
    };

    use crate::field::product;

    const BYTES: usize = 32;

    /// The products of the sixteen low halves of a byte, and of the sixteen high ones.
    type Factor = [[u8; 16]; 2];

    static TABLES: [Factor; 256] = tables();

    const fn tables() -> [Factor; 256] {
        let mut tables = [[[0; 16]; 2]; 256];
        let mut weight = 0_u8;
        loop {
            let mut half = 0_u8;
            while half < 16 {
                tables[weight as usize][0][half as usize] = product(weight, half);
                tables[weight as usize][1][half as usize] = product(weight, half << 4);
                half += 1;
            }
            if weight == u8::MAX {
                return tables;
            }
            weight += 1;
        }
    }

    fn factor(weight: u8) -> Factor {
        TABLES[usize::from(weight)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn zero() -> __m256i {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; BYTES]) -> __m256i {
        // SAFETY: the array has the 32 bytes that are read, and no alignment is asked for.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(bytes: &mut [u8; BYTES], vector: __m256i) {
        // SAFETY: the array has the 32 bytes that are written, and no alignment is asked for.
        unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
    }

    /// Returns the low half and the high half of each byte.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn prepare(vector: __m256i) -> [__m256i; 2] {
        let low = _mm256_set1_epi8(0x0f);
        [_mm256_and_si256(vector, low), _mm256_and_si256(_mm256_srli_epi64::<4>(vector), low)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn times(halves: [__m256i; 2], factor: &Factor) -> __m256i {
        let [low, high] = halves;
        let [low_table, high_table] = factor;
        let low = _mm256_shuffle_epi8(twice(low_table), low);
        let high = _mm256_shuffle_epi8(twice(high_table), high);
        _mm256_xor_si256(low, high)
    }

    /// Returns a table for each half of a vector, since a shuffle does not cross them.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn twice(table: &[u8; 16]) -> __m256i {
        // SAFETY: the array has the 16 bytes that are read, and no alignment is asked for.
        let table = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
        _mm256_broadcastsi128_si256(table)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(a: __m256i, b: __m256i) -> __m256i {
        _mm256_xor_si256(a, b)
    }

    combine_by_vectors!("avx2", 4, 1 => 4, 2 => 2, 3 => 2, 4 => 2);
}
