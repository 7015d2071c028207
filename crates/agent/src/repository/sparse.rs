//! Files to be backed up, of which holes are not read.
//!
//! A hole reads as zeros, and the system makes a page of its cache for each four kilobytes of them: twenty gigabytes of
//! nothing take it half a minute. Here the system is asked where data is, and zeros are made in place.
//!
//! # What always holds
//!
//! - What is read is what plain reads give. A file that changes while it is read is no worse off: each read asks anew, and
//!   none is empty before the file's end, which the library would take for it.
//! - Only file systems that are known to answer rightly are asked. Some, as OpenZFS did, call data that is not on the disk yet
//!   a hole.

use super::changing::{Changed, Watch, Watched};
use super::topmost::topmost;
use rustic_core::{
    Excludes, LocalSource, LocalSourceFilterOptions, LocalSourceSaveOptions, ReadSource,
    ReadSourceEntry, ReadSourceOpen, RusticResult,
};
use rustix::fs::{SeekFrom, fstatfs, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

/// What `stat` counts in, whatever the disk has.
const BLOCK: u64 = 512;

/// How far is read plainly where the system's answers do not go together.
const PLAIN: u64 = 1 << 20;

/// The file systems that are asked where holes are, as `statfs` numbers them: ext2 to ext4, XFS, Btrfs and tmpfs.
const TRUSTED: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994];

/// A folder and what is in it, as the library walks through it; the folder itself comes first.
pub(super) struct Source {
    folder: PathBuf,
    options: LocalSourceSaveOptions,
    below: LocalSource,
    changed: Changed,
}

impl Source {
    pub(super) fn new(
        folder: PathBuf,
        options: LocalSourceSaveOptions,
        excludes: &Excludes,
        filter: &LocalSourceFilterOptions,
    ) -> RusticResult<Self> {
        let below = LocalSource::new(options, excludes, filter, &[&folder])?;
        Ok(Self { folder, options, below, changed: Changed::default() })
    }

    /// Has it told which files change while they are read.
    pub(super) fn telling(self, changed: Changed) -> Self {
        Self { changed, ..self }
    }
}

impl ReadSource for Source {
    type Open = Opening;
    type Iter = Entries;

    fn size(&self) -> RusticResult<Option<u64>> {
        self.below.size()
    }

    fn entries(&self) -> Entries {
        let top = topmost(&self.folder, self.options);
        Entries { top, below: self.below.entries(), changed: self.changed.clone() }
    }
}

/// The entries of a [`Source`].
pub(super) struct Entries {
    top: Option<RusticResult<ReadSourceEntry<<LocalSource as ReadSource>::Open>>>,
    below: <LocalSource as ReadSource>::Iter,
    changed: Changed,
}

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<Opening>>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.top.take().or_else(|| self.below.next())?;
        Some(entry.map(|ReadSourceEntry { path, node, open }| {
            let watch = |open| (open, self.changed.watch(&path, node.meta.size));
            let open = open.map(watch).map(|(open, watch)| Opening(open, watch));
            ReadSourceEntry { path, node, open }
        }))
    }
}

/// A file that is about to be read.
pub(super) struct Opening(<LocalSource as ReadSource>::Open, Watch);

impl ReadSourceOpen for Opening {
    type Reader = Watched<Reader>;

    fn open(self) -> RusticResult<Watched<Reader>> {
        let file = self.0.open()?;
        let watch = self.1.begun(&file);
        Ok(watch.over(Reader::new(file)))
    }
}

/// What the system says to where data or a hole is.
type Seek = fn(&File, SeekFrom) -> Result<u64, Errno>;

/// A file that is read from its front.
pub(super) struct Reader<S = Seek> {
    file: File,
    /// Where, and up to where it is known to have data; nothing of a file that has no holes.
    place: Option<(u64, u64)>,
    seek: S,
}

/// What is at a place of a file.
#[derive(Debug, PartialEq, Eq)]
enum Stretch {
    /// Zeros up to there.
    Hole(u64),
    /// Data up to there.
    Data(u64),
    /// Nothing: its end.
    End,
}

impl<S> AsRef<File> for Reader<S> {
    fn as_ref(&self) -> &File {
        &self.file
    }
}

impl Reader {
    fn new(file: File) -> Self {
        // A file that the system will not tell of is read as it comes.
        let is_sparse = file
            .metadata()
            .is_ok_and(|data| data.is_file() && data.blocks().saturating_mul(BLOCK) < data.len());
        let is_sparse = is_sparse && fstatfs(&file).is_ok_and(|told| is_trusted(told.f_type));
        Self { file, place: is_sparse.then_some((0, 0)), seek: |file, to| seek(file, to) }
    }
}

/// Whether a file system, by its number, is asked where holes are.
fn is_trusted(number: impl TryInto<u64>) -> bool {
    number.try_into().is_ok_and(|number| TRUSTED.contains(&number))
}

/// Finds out what is at a place of a file, which may change between any two of the calls.
fn stretch(
    at: u64,
    length: impl Fn() -> io::Result<u64>,
    mut seek: impl FnMut(SeekFrom) -> Result<u64, Errno>,
) -> io::Result<Stretch> {
    let before = length()?;
    match seek(SeekFrom::Data(at)) {
        Ok(data) if data > at => Ok(Stretch::Hole(data)),
        Ok(_) => Ok(Stretch::Data(match seek(SeekFrom::Hole(at)) {
            Ok(hole) if hole > at => hole,
            // Its data went away since. A plain read has what is there now, and is empty only at the end.
            _ => at.saturating_add(PLAIN),
        })),
        // No data from here on, as far as the file went: what was added since is asked for later.
        Err(Errno::NXIO) => {
            let end = before.min(length()?);
            Ok(if at < end { Stretch::Hole(end) } else { Stretch::End })
        }
        // Not all file systems know.
        Err(_) => Ok(Stretch::Data(u64::MAX)),
    }
}

impl<S: FnMut(&File, SeekFrom) -> Result<u64, Errno>> Read for Reader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { file, place, seek } = self;
        let Some((at, until)) = *place else { return file.read(buffer) };
        let length = || Ok(file.metadata()?.len());
        let known = at < until;
        let there =
            if known { Stretch::Data(until) } else { stretch(at, length, |to| seek(file, to))? };
        let within = |end: u64| usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let until = match there {
            Stretch::End => return Ok(0),
            Stretch::Hole(end) => {
                let count = within(end);
                buffer[..count].fill(0);
                *place = Some((at + count as u64, 0));
                return Ok(count);
            }
            Stretch::Data(until) => until,
        };
        let count = within(until);
        let count = file.read_at(&mut buffer[..count], at)?;
        *place = Some((at + count as u64, until));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> (PathBuf, File) {
        let path =
            std::env::temp_dir().join(format!("fondaco-sparse-{name}-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        (path, file)
    }

    fn read_by(reader: &mut impl Read, step: usize) -> Vec<u8> {
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

    #[test]
    fn no_answer_makes_an_empty_stretch_or_more_than_there_was() {
        use Stretch::{Data, End, Hole};
        let (none, unknown) = (Err(Errno::NXIO), Err(Errno::INVAL));
        // One line for each, at place 100: the length before and after, where data is said to be, where a hole is.
        let table = [
            (1000, 1000, Ok(300), none, Hole(300)),
            (1000, 1000, Ok(100), Ok(400), Data(400)),
            // Punched, cut off, and no sense, between the two questions.
            (1000, 1000, Ok(100), Ok(100), Data(100 + PLAIN)),
            (1000, 50, Ok(100), none, Data(100 + PLAIN)),
            (1000, 1000, Ok(100), Ok(7), Data(100 + PLAIN)),
            (1000, 1000, Ok(100), unknown, Data(100 + PLAIN)),
            (1000, 1000, Ok(7), Ok(400), Data(400)),
            // A hole up to the end, that grew or shrank since.
            (1000, 1000, none, none, Hole(1000)),
            (1000, 5000, none, none, Hole(1000)),
            (1000, 500, none, none, Hole(500)),
            (1000, 50, none, none, End),
            (100, 100, none, none, End),
            (100, 5000, none, none, End),
            (1000, 1000, unknown, none, Data(u64::MAX)),
        ];
        for (number, (before, after, data, hole, expected)) in table.into_iter().enumerate() {
            let lengths = std::cell::Cell::new((before, after));
            let length = || Ok(lengths.replace((after, after)).0);
            let seek = |to| match to {
                SeekFrom::Data(_) => data,
                SeekFrom::Hole(_) => hole,
                _ => panic!("not asked"),
            };
            assert_eq!(stretch(100, length, seek).unwrap(), expected, "{number}");
        }
    }

    /// What happens after the system has said where data is, and before it says more.
    #[test]
    fn a_file_that_changes_between_two_questions_is_not_cut() {
        let bytes: Vec<u8> = (1..=251).cycle().take(3 << 20).collect();
        // One line for each: how the file changes, and how much of it is read.
        type Change = fn(&File);
        let table: [(&str, Change, usize); 4] = [
            ("stays", |_| {}, 4 << 20),
            ("shrinks", |file| file.set_len(1000).unwrap(), 1000),
            ("goes", |file| file.set_len(0).unwrap(), 0),
            ("grows", |file| file.write_all_at(&[9; 5000], 4 << 20).unwrap(), (4 << 20) + 5000),
        ];
        for (name, change, count) in table {
            for is_punched in [false, true] {
                let (path, file) = file(&format!("{name}-{is_punched}"));
                file.write_all_at(&bytes, 0).unwrap();
                file.set_len(4 << 20).unwrap();
                // The end of a file is where it may grow; all else happens at its first hole.
                let mut changes = 1;
                let seek = |asked: &File, to| {
                    let told = seek(asked, to);
                    let is_now = match name {
                        "grows" => told == Err(Errno::NXIO),
                        _ => matches!(to, SeekFrom::Data(_)),
                    };
                    if is_now && changes > 0 {
                        changes -= 1;
                        change(&file);
                    }
                    match to {
                        // As the system says it of a hole that was just punched.
                        SeekFrom::Hole(at) if is_punched => Ok(at),
                        _ => told,
                    }
                };
                let opened = File::open(&path).unwrap();
                let mut reader = Reader { file: opened, place: Some((0, 0)), seek };
                let read = read_by(&mut reader, 65_536);
                assert_eq!(read.len(), count, "{name}, {is_punched}");
                assert!(read == std::fs::read(&path).unwrap(), "{name}, {is_punched}");
                std::fs::remove_file(&path).unwrap();
            }
        }
    }

    #[test]
    fn file_systems_that_may_err_are_read_plainly() {
        // OpenZFS, NFS, FUSE, CIFS, overlayfs, and none.
        for number in [0x2FC1_2FC1_i64, 0x6969, 0x6573_5546, 0xFF53_4D42, 0x794C_7630, 0, -1] {
            assert!(!is_trusted(number), "{number:x}");
        }
        assert!(TRUSTED.into_iter().all(is_trusted));
    }
}
