//! Every kernel of this processor does the same sums as plain code, and as polynomials by hand.

use fondaco_erasure::Kernel;
use proptest::{collection::vec, prelude::*};

/// Multiplies polynomials over GF(2), bit by bit, modulo x⁸ + x⁴ + x³ + x² + 1. Shares no code with the crate.
fn by_hand(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        let overflows = a >= 0x80;
        a <<= 1;
        if overflows {
            a ^= 0b0001_1101;
        }
        b >>= 1;
    }
    product
}

/// What [`Kernel::combine`] is to leave in each output.
fn sums(weights: &[u8], inputs: &[&[u8]], outputs: usize) -> Vec<Vec<u8>> {
    let len = inputs[0].len();
    let sum = |output: usize, at: usize| {
        let terms = inputs.iter().zip(&weights[output * inputs.len()..]);
        terms.fold(0, |sum, (input, &weight)| sum ^ by_hand(weight, input[at]))
    };
    (0..outputs).map(|output| (0..len).map(|at| sum(output, at)).collect()).collect()
}

/// Runs a kernel on outputs that lie `shift` bytes beside an even address, with guards around each of them.
fn combine(
    kernel: Kernel,
    weights: &[u8],
    inputs: &[&[u8]],
    outputs: usize,
    shift: usize,
) -> Vec<Vec<u8>> {
    const GUARD: u8 = 0xa5;
    let len = inputs[0].len();
    let mut memory = vec![vec![GUARD; shift + len + 130]; outputs];
    let mut slices: Vec<&mut [u8]> =
        memory.iter_mut().map(|bytes| &mut bytes[shift..shift + len]).collect();
    kernel.combine(weights, inputs, &mut slices);
    let untouched = |bytes: &[u8]| bytes.iter().all(|&byte| byte == GUARD);
    for bytes in &memory {
        assert!(untouched(&bytes[..shift]) && untouched(&bytes[shift + len..]), "{kernel}");
    }
    memory.into_iter().map(|bytes| bytes[shift..shift + len].to_vec()).collect()
}

/// All 256 weights times all 256 bytes, at every place of a vector.
#[test]
fn every_weight_multiplies_every_byte() {
    let bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).chain(0..=76).collect();
    for kernel in Kernel::available() {
        for weight in 0..=255 {
            let expected: Vec<u8> = bytes.iter().map(|&byte| by_hand(weight, byte)).collect();
            let sums = combine(kernel, &[weight], &[&bytes], 1, 3);
            assert_eq!(sums, [expected], "{kernel}, {weight}");
        }
    }
}

#[test]
fn no_input_leaves_zeros_and_no_output_nothing() {
    for kernel in Kernel::available() {
        let mut bytes = [7; 100];
        kernel.combine(&[], &[], &mut [&mut bytes]);
        assert_eq!(bytes, [0; 100]);
        kernel.combine(&[], &[&[1, 2, 3]], &mut []);
        kernel.combine(&[9], &[&[]], &mut [&mut []]);
    }
}

#[test]
fn the_last_kernel_is_the_twin() {
    assert_eq!(Kernel::available().last(), Some(Kernel::SCALAR));
    assert_eq!(Kernel::available().next(), Some(Kernel::best()));
}

#[test]
#[should_panic = "inputs of one length"]
fn a_short_input_is_never_read_beyond_its_end() {
    Kernel::best().combine(&[1, 1], &[&[1; 64], &[1; 63]], &mut [&mut [0; 64]]);
}

proptest! {
    /// Any number of inputs and outputs, of any length, anywhere in memory.
    ///
    /// Goal: all kernels are one function. Method: sizes around each of the kernels' own (groups of 4 and 8 outputs,
    /// vectors of 32 and 64 bytes, several at once, tiles of 512 and more), slices that begin at odd addresses, guards
    /// around the outputs; the twin is compared with polynomials by hand, and the others with the twin.
    #[test]
    fn kernels_agree(
        outputs in 1..=19_usize,
        inputs in 1..=40_usize,
        len in prop_oneof![4 => 0..=300_usize, 1 => 0..=5000_usize],
        shifts in (0..70_usize, 0..70_usize),
        seed: u64,
    ) {
        let mut state = seed | 1;
        let mut byte = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state.to_be_bytes()[0]
        };
        let weights: Vec<u8> = (0..outputs * inputs).map(|_| byte()).collect();
        let memory: Vec<Vec<u8>> = (0..inputs).map(|_| (0..shifts.0 + len).map(|_| byte()).collect()).collect();
        let slices: Vec<&[u8]> = memory.iter().map(|bytes| &bytes[shifts.0..]).collect();
        let twin = combine(Kernel::SCALAR, &weights, &slices, outputs, shifts.1);
        prop_assert_eq!(&twin, &sums(&weights, &slices, outputs));
        for kernel in Kernel::available() {
            prop_assert_eq!(&combine(kernel, &weights, &slices, outputs, shifts.1), &twin, "{}", kernel);
        }
    }

    /// Sums are linear, whatever the kernel: what is added to an input is added to the outputs, by its weight.
    #[test]
    fn sums_are_linear(a in vec(any::<u8>(), 200), b in vec(any::<u8>(), 200), weight: u8) {
        for kernel in Kernel::available() {
            let both: Vec<u8> = a.iter().zip(&b).map(|(a, b)| a ^ b).collect();
            let at_once = combine(kernel, &[weight], &[&both], 1, 0);
            prop_assert_eq!(combine(kernel, &[weight, weight], &[&a, &b], 1, 0), at_once);
        }
    }
}
