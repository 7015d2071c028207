//! `client`: what a buyer computes to encrypt, cut and name an object and to read it again, against the parts that nobody can
//! leave out.
//!
//! ```text
//! put   blobs ──► encrypt each ──► a pack ──► cut by 10 of 30 ──► name each shard by its BLAKE3 root
//! get   slices of 10 shards ──► check each against its name ──► rebuild what is lost ──► the pack ──► decrypt each blob
//! ```
//!
//! Encryption is that of the restic format, by the crate that `rustic_core` uses. No host, no voucher and no socket; and no tags
//! of deep audits, which the agent puts behind each shard: `audit` measures those alone.

use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, Tag, aead::AeadInPlace as _};
use fondaco_audit::{Outboard, ShardId, bytes_at, check, prove};
use fondaco_erasure::{Code, Layout, Shards, encode, rebuild};
use fondaco_testkit::Rng;

use crate::erasure::gigabytes;
use crate::race::{Clock, Table, Unit, peer, timed};
use crate::report::{Bound, Goal, Report};

const BLOB: usize = 1 << 20;
const PACK: usize = 16 << 20;
const STEP: usize = 256 << 10;

/// The overhead of a blob: its nonce before it, and a tag behind it.
const NONCE: usize = 16;
const TAG: usize = 16;

const PUT: Goal = Goal {
    what: "a buyer's put by 10 of 30, for each second of CPU",
    bound: Bound::AtLeast(0.5),
    unit: " GB",
};
const GET: Goal = Goal {
    what: "a buyer's get by 10 of 30, for each second of CPU",
    bound: Bound::AtLeast(1.0),
    unit: " GB",
};

pub(crate) fn run(report: &Report) {
    let mut plain = vec![0; report.size(PACK, 2 * BLOB)];
    Rng::new(1).fill(&mut plain);
    let cipher = Aes256CtrPoly1305Aes::new(Key::from_slice(&[7; 64]));
    let title = format!("Packs of {} MiB by 10 of 30", plain.len() >> 20);
    let table = Table::begin(report, &title, Clock::Cpu, Unit::Bytes);
    let work = plain.len() as u64;

    let sealed = seal(&cipher, &plain);
    let shards = cut(sealed.clone());
    let row = table.row(
        "put",
        work,
        || timed(|| names(&cut(seal(&cipher, &plain)))),
        [
            peer("encrypt alone", || timed(|| seal(&cipher, &plain))),
            peer("BLAKE3 of the shards alone", || timed(|| names(&shards))),
            peer("cut alone", || {
                let sealed = sealed.clone();
                timed(|| cut(sealed))
            }),
        ],
    );
    gigabytes(report, PUT, &row);

    let hosts: Vec<Host> = shards.iter().map(Host::new).collect();
    let layout = shards.layout();
    for lost in [0, 1] {
        let reading = &hosts[lost..][..layout.code().k().into()];
        let get = || open(&cipher, read(layout, reading));
        assert_eq!(get(), plain, "what was put");
        let row = table.row(
            &format!("get, {lost} lost"),
            work,
            || timed(get),
            [
                peer("decrypt alone", || {
                    let sealed = sealed.clone();
                    timed(|| open(&cipher, sealed))
                }),
                peer("check the slices alone", || {
                    timed(|| reading.iter().map(Host::read).collect::<Vec<_>>())
                }),
            ],
        );
        if lost == 0 {
            gigabytes(report, GET, &row);
        }
    }
}

/// Encrypts each blob, as `nonce ‖ ciphertext ‖ tag`.
fn seal(cipher: &Aes256CtrPoly1305Aes, plain: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(plain.len() + plain.len() / BLOB * (NONCE + TAG));
    for (number, blob) in plain.chunks(BLOB).enumerate() {
        let nonce = (number as u128 + 1).to_be_bytes();
        sealed.extend_from_slice(&nonce);
        let start = sealed.len();
        sealed.extend_from_slice(blob);
        let tag =
            cipher.encrypt_in_place_detached(Nonce::from_slice(&nonce), &[], &mut sealed[start..]);
        sealed.extend_from_slice(&tag.expect("a blob is short enough"));
    }
    sealed
}

/// Decrypts each blob.
fn open(cipher: &Aes256CtrPoly1305Aes, mut sealed: Vec<u8>) -> Vec<u8> {
    let mut plain = Vec::with_capacity(sealed.len());
    for blob in sealed.chunks_mut(NONCE + BLOB + TAG) {
        let (nonce, blob) = blob.split_at_mut(NONCE);
        let (blob, tag) = blob.split_at_mut(blob.len() - TAG);
        let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(tag));
        cipher.decrypt_in_place_detached(nonce, &[], blob, tag).expect("what was sealed");
        plain.extend_from_slice(blob);
    }
    plain
}

fn cut(sealed: Vec<u8>) -> Shards<Vec<u8>> {
    let code = Code::new(10, 30).expect("k is at most n");
    let layout = Layout::new(code, sealed.len() as u64).expect("it is short enough");
    encode(layout, sealed).expect("it has the length of its layout")
}

fn names(shards: &Shards<Vec<u8>>) -> Vec<ShardId> {
    shards.iter().map(|(_, shard)| ShardId::of(shard)).collect()
}

/// What the host of a shard answers, step by step.
struct Host {
    index: u8,
    shard: ShardId,
    size: u64,
    slices: Vec<Vec<u8>>,
}

impl Host {
    fn new((index, bytes): (u8, &[u8])) -> Self {
        let (shard, outboard) = Outboard::of(bytes);
        let size = bytes.len() as u64;
        let prove = |start| {
            let range = start..size.min(start + STEP as u64);
            prove(bytes_at(bytes), &outboard, range).expect("a part of this shard")
        };
        let slices = (0..size).step_by(STEP).map(prove).collect();
        Self { index, shard, size, slices }
    }

    /// Checks all that the host answers.
    fn read(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (slice, start) in self.slices.iter().zip((0..).step_by(STEP)) {
            let range = start..self.size.min(start + STEP as u64);
            let part = check(self.shard, self.size, range, slice).expect("a host that is honest");
            bytes.extend(part);
        }
        bytes
    }
}

/// Reads the object from `k` hosts: what a data shard holds is appended, or first rebuilt.
fn read(layout: Layout, hosts: &[Host]) -> Vec<u8> {
    let read: Vec<(u8, Vec<u8>)> = hosts.iter().map(|host| (host.index, host.read())).collect();
    let given: Vec<(u8, &[u8])> = read.iter().map(|(index, bytes)| (*index, &bytes[..])).collect();
    let object_len = usize::try_from(layout.object_len()).expect("it was in memory");
    let mut object = Vec::with_capacity(object_len + given[0].1.len());
    for wanted in 0..layout.code().k() {
        match given.iter().find(|(index, _)| *index == wanted) {
            Some((_, bytes)) => object.extend_from_slice(bytes),
            None => object.extend(rebuild(layout.code(), &given, wanted).expect("k shards")),
        }
    }
    object.truncate(object_len);
    object
}
