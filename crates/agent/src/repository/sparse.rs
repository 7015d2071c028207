//! Files to be backed up, of which holes are not read.
//!
//! A hole reads as zeros, and the system makes a page of its cache for each four kilobytes of them: twenty gigabytes of
//! nothing take it half a minute. Here the system is asked where data is, and zeros are made in place.
//!
//! What is read is what plain reads give. A file that changes while it is read is no worse off: each read asks anew.

use rustic_core::{LocalSource, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticResult};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

/// What `stat` counts in, whatever the disk has.
const BLOCK: u64 = 512;

/// Folders and files, as the library walks through them.
pub(super) struct Source(pub(super) LocalSource);

impl ReadSource for Source {
    type Open = Opening;
    type Iter = Entries;

    fn size(&self) -> RusticResult<Option<u64>> {
        self.0.size()
    }

    fn entries(&self) -> Entries {
        Entries(self.0.entries())
    }
}

/// The entries of a [`Source`].
pub(super) struct Entries(<LocalSource as ReadSource>::Iter);

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<Opening>>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.0.next()?;
        Some(entry.map(|ReadSourceEntry { path, node, open }| ReadSourceEntry {
            path,
            node,
            open: open.map(Opening),
        }))
    }
}

/// A file that is about to be read.
pub(super) struct Opening(<LocalSource as ReadSource>::Open);

impl ReadSourceOpen for Opening {
    type Reader = Reader;

    fn open(self) -> RusticResult<Reader> {
        self.0.open().map(Reader::new)
    }
}

/// A file that is read from its front.
pub(super) struct Reader {
    file: File,
    /// Where, and up to where it is known to have data; nothing of a file that has no holes.
    place: Option<(u64, u64)>,
}

/// What is at a place of a file.
enum Stretch {
    /// Zeros up to there.
    Hole(u64),
    /// Data up to there.
    Data(u64),
    /// Nothing: its end.
    End,
}

impl Reader {
    fn new(file: File) -> Self {
        // A file that the system will not tell of is read as it comes.
        let is_sparse = file
            .metadata()
            .is_ok_and(|data| data.is_file() && data.blocks().saturating_mul(BLOCK) < data.len());
        Self { file, place: is_sparse.then_some((0, 0)) }
    }

    fn stretch(&self, at: u64) -> io::Result<Stretch> {
        match seek(&self.file, SeekFrom::Data(at)) {
            Ok(data) if data > at => Ok(Stretch::Hole(data)),
            Ok(_) => Ok(Stretch::Data(seek(&self.file, SeekFrom::Hole(at))?)),
            // No data from here on.
            Err(Errno::NXIO) => {
                let length = self.file.metadata()?.len();
                Ok(if at < length { Stretch::Hole(length) } else { Stretch::End })
            }
            // Not all file systems know.
            Err(_) => Ok(Stretch::Data(u64::MAX)),
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((at, until)) = self.place else { return self.file.read(buffer) };
        let within = |end: u64| usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let until = match if at < until { Stretch::Data(until) } else { self.stretch(at)? } {
            Stretch::End => return Ok(0),
            Stretch::Hole(end) => {
                let count = within(end);
                buffer[..count].fill(0);
                self.place = Some((at + count as u64, 0));
                return Ok(count);
            }
            Stretch::Data(until) => until,
        };
        let count = within(until);
        let count = self.file.read_at(&mut buffer[..count], at)?;
        self.place = Some((at + count as u64, until));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn file(name: &str) -> (PathBuf, File) {
        let path =
            std::env::temp_dir().join(format!("fondaco-sparse-{name}-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        (path, file)
    }

    fn read_by(reader: &mut Reader, step: usize) -> Vec<u8> {
        let (mut all, mut part) = (Vec::new(), vec![7; step]);
        loop {
            match reader.read(&mut part).unwrap() {
                0 => return all,
                count => all.extend_from_slice(&part[..count]),
            }
        }
    }

    #[test]
    fn what_is_read_is_what_is_there() {
        // One line for each: length, and where there is data.
        let table: [(u64, &[(u64, usize)]); 9] = [
            (0, &[]),
            (1, &[]),
            (1, &[(0, 1)]),
            (1_000_000, &[]),
            (1_000_000, &[(0, 10)]),
            (1_000_000, &[(999_990, 10)]),
            (1_000_000, &[(4096, 4096), (8192, 1), (500_000, 100_000)]),
            (1_000_000, &[(0, 1_000_000)]),
            (900_001, &[(100_000, 300_000), (899_999, 2)]),
        ];
        for (number, (length, islands)) in table.into_iter().enumerate() {
            let (path, file) = file(&number.to_string());
            file.set_len(length).unwrap();
            for &(at, count) in islands {
                let bytes: Vec<u8> = (1..=251).cycle().take(count).collect();
                file.write_all_at(&bytes, at).unwrap();
            }
            let expected = std::fs::read(&path).unwrap();
            for step in [1_usize << 20, 65_536, 1000] {
                let mut reader = Reader::new(File::open(&path).unwrap());
                assert!(read_by(&mut reader, step) == expected, "{number}, by {step}");
                let mut rest = Vec::new();
                assert_eq!(reader.read_to_end(&mut rest).unwrap(), 0, "and no more");
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    /// A file may shrink, grow, and get data where it had none, between two reads.
    #[test]
    fn a_file_that_changes_is_read_as_it_is_then() {
        let (path, file) = file("changes");
        file.set_len(1 << 20).unwrap();
        let mut reader = Reader::new(File::open(&path).unwrap());
        let mut part = vec![7; 1000];
        assert_eq!(reader.read(&mut part).unwrap(), 1000);
        assert!(part.iter().all(|&byte| byte == 0));
        file.write_all_at(&[5; 1000], 1000).unwrap();
        reader.read_exact(&mut part).unwrap();
        assert!(part.iter().all(|&byte| byte == 5));
        file.set_len(3000).unwrap();
        assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 1000);
        file.set_len(1 << 20).unwrap();
        assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), (1 << 20) - 3000);
        std::fs::remove_file(&path).unwrap();
    }
}
