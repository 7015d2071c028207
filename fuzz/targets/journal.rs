//! A journal that something wrote into opens with records that were written, in order, or not at all.
#![no_main]

use fondaco_ports::{Content, Disk};
use fondaco_store::{Journal, Kind, read_frame};
use fondaco_units::Bytes;
use libfuzzer_sys::fuzz_target;
use std::{convert::Infallible, io};

const KIND: Kind = Kind::new(*b"fuzz\0\0\0\0", 1);

/// Any bytes at all; or a journal of these records, one frame each, then cut and changed.
type Input<'a> = (Option<&'a [u8]>, Vec<Vec<&'a [u8]>>, Option<u32>, Vec<(u32, u8)>);

#[derive(Clone, Debug, Default)]
struct Memory(Vec<u8>);

impl Disk for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let count = buffer.len().min(self.0.len() - from);
        buffer[..count].copy_from_slice(&self.0[from..from + count]);
        Ok(count)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let end = from + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[from..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.0.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn replace(&mut self, content: &mut Content<'_>) -> io::Result<()> {
        let mut new = Vec::new();
        content(&mut new)?;
        self.0 = new;
        Ok(())
    }
}

fn opened(disk: Memory) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let keep = |record: &[u8]| {
        found.push(record.to_vec());
        Ok::<(), Infallible>(())
    };
    Journal::open(disk, KIND, keep).ok()?;
    Some(found)
}

fuzz_target!(|input: Input<'_>| {
    let (raw, frames, length, changes) = input;
    match raw {
        Some(bytes) => {
            let disk = Memory(bytes.to_vec());
            let _ = read_frame(&disk, KIND, Bytes::new(0));
            let _ = read_frame(&disk, KIND, Bytes::new(40));
            let _ = opened(disk);
        }
        None => {
            let mut journal = Journal::open(Memory::default(), KIND, |_| Ok::<(), Infallible>(()))
                .expect("an empty disk");
            let mut written: Vec<Vec<u8>> = Vec::new();
            for frame in &frames {
                journal.append(frame).expect("room for short records");
                written.extend(frame.iter().map(|record| record.to_vec()));
            }
            if frames.len() % 2 == 1 {
                journal.rewrite(written.clone()).expect("the same records");
            }
            let mut disk = journal.into_disk();
            let whole = length.is_none() && changes.is_empty();
            if let Some(length) = length {
                disk.0.truncate(length as usize % (disk.0.len() + 1));
            }
            for (at, change) in changes {
                let size = disk.0.len();
                if size > 0 {
                    disk.0[at as usize % size] ^= change;
                }
            }
            match opened(disk) {
                Some(found) => {
                    assert!(found.len() <= written.len() && found[..] == written[..found.len()]);
                    assert!(!whole || found == written);
                }
                None => assert!(!whole, "what was written opens"),
            }
        }
    }
});
