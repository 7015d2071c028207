//! Every kernel of this processor gives the bytes of plain code, and any k shards give every other back.
#![no_main]

use fondaco_erasure::{Code, Kernel, Layout, encode, rebuild, rebuild_into};
use libfuzzer_sys::fuzz_target;

/// What the sums are of, and where they lie in memory: how far beside a line of the cache, and how long.
type Sums<'a> = (u8, u8, u8, u8, &'a [u8]);

/// A code, which shards live, and the object.
type Cut<'a> = (u8, u8, u64, &'a [u8]);

fuzz_target!(|input: (Sums<'_>, Cut<'_>)| {
    kernels(input.0);
    shards(input.1);
});

/// Goal: all kernels are one function. The weights are the first bytes, the inputs are cut out of the others.
fn kernels((inputs, outputs, from, to, bytes): Sums<'_>) {
    let (inputs, outputs) = (usize::from(inputs % 40 + 1), usize::from(outputs % 20 + 1));
    let Some((weights, bytes)) = bytes.split_at_checked(inputs * outputs) else { return };
    let shift = usize::from(from % 64);
    let len = (bytes.len() / inputs).saturating_sub(shift);
    let cut = |input: usize| {
        let at = input * (bytes.len() / inputs);
        &bytes[(at + shift).min(bytes.len())..][..len]
    };
    let slices: Vec<&[u8]> = (0..inputs).filter(|_| len > 0).map(cut).collect();
    if slices.is_empty() {
        return;
    }
    let combine = |kernel: Kernel| {
        let shift = usize::from(to % 64);
        let mut memory = vec![vec![0xa5; shift + len + 64]; outputs];
        let mut sums: Vec<&mut [u8]> =
            memory.iter_mut().map(|bytes| &mut bytes[shift..shift + len]).collect();
        kernel.combine(weights, &slices, &mut sums);
        memory
    };
    let twin = combine(Kernel::SCALAR);
    for kernel in Kernel::available() {
        assert_eq!(combine(kernel), twin, "{kernel}");
    }
}

/// Goal: what any k shards give is what was encoded; anything else is refused.
fn shards((k, n, alive, object): Cut<'_>) {
    let Ok(code) = Code::new(k, n) else { return };
    let layout = Layout::new(code, object.len() as u64).expect("inputs are short");
    let shards = encode(layout, object).expect("it has the length of its layout");
    let alive: Vec<(u8, &[u8])> =
        shards.iter().filter(|(index, _)| alive >> (index % 64) & 1 == 1).collect();
    let wanted = alive.len() % usize::from(n);
    let wanted = u8::try_from(wanted).expect("there are at most 255 shards");
    let rebuilt = rebuild(code, &alive, wanted);
    if alive.len() < usize::from(k) {
        assert!(rebuilt.is_err());
        return;
    }
    assert_eq!(rebuilt.as_deref().ok(), shards.get(wanted));
    let mut data = vec![0; usize::from(k) * alive[0].1.len()];
    let mut wanted: Vec<(u8, &mut [u8])> = (0..k).zip(data.chunks_mut(alive[0].1.len())).collect();
    rebuild_into(code, &alive, &mut wanted).expect("there are enough of them");
    assert_eq!(data[..object.len()], *object);
}
