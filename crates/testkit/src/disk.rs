//! A disk in memory that does to a file what disks do.
//!
//! ```text
//! write_at, set_len ──► pending ── sync ──► durable
//!
//! crash: the power went     each pending write is kept, lost, torn or garbled; handles are dead
//! kill:  the process died   pending stays pending, as in the system's cache; handles are dead
//! ```
//!
//! # What always holds
//!
//! - What was durable stays as it was, unless the disk was made to lie.
//! - A crash touches no byte that no pending write was aimed at.
//! - A file that is replaced is the old one or the new one, whole.
//! - After a failed sync, what was pending is seen by readers and will never be durable, as on
//!   systems that mark such pages clean; it is gone when the file is next opened.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fondaco_ports::{Content, Disk};

use crate::Rng;

/// Within this many bytes a torn write is seldom torn.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Pending {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(length) => image.resize(*length, 0),
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(bytes);
            }
        }
    }
}

#[derive(Debug)]
struct State {
    durable: Vec<u8>,
    pending: Vec<Pending>,
    /// What readers see.
    seen: Vec<u8>,
    capacity: u64,
    lies: bool,
    is_dead: bool,
    operations: u64,
    syncs: u64,
    fail_in: Option<u64>,
    power_off_in: Option<u64>,
    /// Chance for what a failing operation leaves behind.
    rng: Rng,
}

/// One file on a disk in memory; clones are handles of the same one. See the module head.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<State>>);

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// Creates an empty file.
    pub fn new() -> Self {
        Self::with_image(Vec::new())
    }

    /// Creates a file that has these bytes, durably.
    pub fn with_image(image: Vec<u8>) -> Self {
        Self::from_state(image.clone(), image, Vec::new(), false, u64::MAX)
    }

    /// Creates an empty file on a disk whose sync returns before anything is durable, as some do.
    pub fn lying() -> Self {
        let disk = Self::new();
        disk.state().lies = true;
        disk
    }

    fn from_state(
        durable: Vec<u8>,
        seen: Vec<u8>,
        pending: Vec<Pending>,
        lies: bool,
        capacity: u64,
    ) -> Self {
        Self(Arc::new(Mutex::new(State {
            durable,
            pending,
            seen,
            capacity,
            lies,
            is_dead: false,
            operations: 0,
            syncs: 0,
            fail_in: None,
            power_off_in: None,
            rng: Rng::new(0),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an empty file on a disk that lies, or does not, as this one.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let state = self.state();
        Self::from_state(Vec::new(), Vec::new(), Vec::new(), state.lies, state.capacity)
    }

    /// Returns what a reader sees.
    pub fn image(&self) -> Vec<u8> {
        self.state().seen.clone()
    }

    /// Returns how many writes, lengthenings and syncs there were.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Returns how many syncs succeeded.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Lets the file take up no more than `capacity` bytes: writes beyond find the disk full.
    pub fn set_capacity(&self, capacity: u64) {
        self.state().capacity = capacity;
    }

    /// Lets `operations` more writes, lengthenings and syncs succeed, and the next one fail.
    pub fn fail_in(&self, operations: u64, rng: &mut Rng) {
        let mut state = self.state();
        state.fail_in = Some(operations);
        state.rng = rng.fork();
    }

    /// Lets `operations` more writes, lengthenings and syncs begin, and the power go in the next
    /// one: nothing is answered any more, until [`SimDisk::crash`] tells what is left.
    pub fn power_off_in(&self, operations: u64, rng: &mut Rng) {
        let mut state = self.state();
        state.power_off_in = Some(operations);
        state.rng = rng.fork();
    }

    /// Takes back what [`SimDisk::fail_in`] and [`SimDisk::power_off_in`] have planned.
    pub fn heal(&self) {
        let mut state = self.state();
        (state.fail_in, state.power_off_in) = (None, None);
    }

    /// Returns whether the power is off, so that only a crash can follow.
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// The power goes: returns the disk as it is found afterwards. All handles are dead.
    #[must_use]
    pub fn crash(&self, rng: &mut Rng) -> Self {
        let mut state = self.state();
        state.is_dead = true;
        let mut image = state.durable.clone();
        let mut pending = state.pending.clone();
        if rng.chance(20) {
            // Harsher than systems that keep two writes to one place in their order.
            rng.shuffle(&mut pending);
        }
        // Most often all writes fare alike; else the likeliest crash of many writes, all of them
        // torn apart, would hide the rest.
        let fate = Fate::any(rng);
        for each in &pending {
            let fate = if rng.chance(60) { fate } else { Fate::any(rng) };
            survive(each, fate, &mut image, rng);
        }
        Self::from_state(image.clone(), image, Vec::new(), state.lies, state.capacity)
    }

    /// The process dies, and the system lives: returns the file as the next process opens it.
    /// All handles are dead.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.state();
        state.is_dead = true;
        let mut seen = state.durable.clone();
        state.pending.iter().for_each(|each| each.apply(&mut seen));
        let durable = state.durable.clone();
        Self::from_state(durable, seen, state.pending.clone(), state.lies, state.capacity)
    }
}

/// What becomes of a pending write when the power goes.
#[derive(Clone, Copy)]
enum Fate {
    Kept,
    Lost,
    /// Any of its sectors.
    Sectors,
    /// Its front, to a byte.
    Front,
    /// Its back, from a byte.
    Back,
    /// Some of its bytes are other ones.
    Garbled,
    /// Sectors of zeros: the file system had reserved them and not more.
    Zeroed,
}

impl Fate {
    fn any(rng: &mut Rng) -> Self {
        use Fate::{Back, Front, Garbled, Kept, Lost, Sectors, Zeroed};
        *rng.pick(&[Kept, Lost, Sectors, Front, Back, Garbled, Zeroed]).unwrap_or(&Lost)
    }
}

fn survive(each: &Pending, fate: Fate, image: &mut Vec<u8>, rng: &mut Rng) {
    let Pending::Write { offset, bytes } = each else {
        // A length is one entry of a file system's own journal: old or new.
        if matches!(fate, Fate::Kept | Fate::Front | Fate::Garbled) {
            each.apply(image);
        }
        return;
    };
    let mut put = |at: usize, bytes: &[u8]| {
        Pending::Write { offset: offset + at, bytes: bytes.to_vec() }.apply(image);
    };
    let cut = rng.index(bytes.len() + 1);
    match fate {
        Fate::Kept => put(0, bytes),
        Fate::Lost => {}
        Fate::Front => put(0, &bytes[..cut]),
        Fate::Back => put(cut, &bytes[cut..]),
        Fate::Sectors => {
            for (start, end) in sectors(*offset, bytes.len()) {
                if rng.chance(50) {
                    put(start, &bytes[start..end]);
                }
            }
        }
        Fate::Zeroed => {
            for (start, end) in sectors(*offset, bytes.len()) {
                let kept = rng.chance(50);
                put(start, if kept { &bytes[start..end] } else { &[0; SECTOR][..end - start] });
            }
        }
        Fate::Garbled => {
            let mut bytes = bytes.clone();
            let length = bytes.len();
            for _ in 0..=rng.below(4) {
                let at = rng.index(length);
                // Often a byte or two, so that it is hard to see.
                let most = if rng.chance(50) { 2 } else { length };
                let end = (at + 1 + rng.index(most)).min(length);
                rng.fill(&mut bytes[at.min(end)..end]);
            }
            put(0, &bytes);
        }
    }
}

/// The parts of a write that lie in one sector of the disk each, from its front.
fn sectors(offset: usize, length: usize) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    let mut start = 0;
    while start < length {
        let end = (start + SECTOR - (offset + start) % SECTOR).min(length);
        parts.push((start, end));
        start = end;
    }
    parts
}

fn dead() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the power of this simulated disk is off")
}

fn planned() -> io::Error {
    io::Error::other("this simulated disk was told to fail")
}

/// What an operation has to do.
enum Turn {
    Act,
    Fail,
    PowerOff,
}

impl State {
    fn turn(&mut self) -> io::Result<Turn> {
        if self.is_dead {
            return Err(dead());
        }
        self.operations += 1;
        let due = |left: &mut Option<u64>| match left {
            Some(0) => {
                *left = None;
                true
            }
            Some(count) => {
                *count -= 1;
                false
            }
            None => false,
        };
        if due(&mut self.power_off_in) {
            return Ok(Turn::PowerOff);
        }
        Ok(if due(&mut self.fail_in) { Turn::Fail } else { Turn::Act })
    }

    fn put(&mut self, each: Pending) {
        each.apply(&mut self.seen);
        self.pending.push(each);
    }

    fn make_durable(&mut self) {
        for each in self.pending.drain(..) {
            each.apply(&mut self.durable);
        }
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl Disk for SimDisk {
    fn len(&self) -> io::Result<u64> {
        let state = self.state();
        if state.is_dead { Err(dead()) } else { Ok(state.seen.len() as u64) }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.state();
        if state.is_dead {
            return Err(dead());
        }
        let there = state.seen.get(place(offset)?..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let turn = state.turn()?;
        let offset = place(offset)?;
        let fits = place(state.capacity.saturating_sub(offset as u64))?.min(bytes.len());
        let part = match turn {
            Turn::Act => fits,
            // Some of it reached the system.
            Turn::Fail => state.rng.index(fits + 1),
            Turn::PowerOff => fits,
        };
        if part > 0 {
            state.put(Pending::Write { offset, bytes: bytes[..part].to_vec() });
        }
        match turn {
            Turn::Fail => Err(planned()),
            Turn::PowerOff => {
                state.is_dead = true;
                Err(dead())
            }
            Turn::Act if fits < bytes.len() => Err(io::ErrorKind::StorageFull.into()),
            Turn::Act => Ok(()),
        }
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.state();
        let turn = state.turn()?;
        let length = place(length)?;
        match turn {
            Turn::Fail => Err(planned()),
            Turn::PowerOff => {
                state.put(Pending::Length(length));
                state.is_dead = true;
                Err(dead())
            }
            Turn::Act => {
                state.put(Pending::Length(length));
                Ok(())
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state();
        match state.turn()? {
            Turn::Act if state.lies => {}
            Turn::Act => state.make_durable(),
            Turn::Fail => {
                // Some writes reached the disk; the others never will, though readers see them.
                for each in std::mem::take(&mut state.pending) {
                    if state.rng.chance(50) {
                        each.apply(&mut state.durable);
                    }
                }
                return Err(planned());
            }
            Turn::PowerOff => {
                // It may have been done, and only the answer lost.
                if state.rng.chance(30) {
                    state.make_durable();
                }
                state.is_dead = true;
                return Err(dead());
            }
        }
        state.syncs += 1;
        Ok(())
    }

    fn replace(&mut self, content: &mut Content<'_>) -> io::Result<()> {
        let mut new = Vec::new();
        content(&mut new)?;
        let mut state = self.state();
        let turn = state.turn()?;
        if new.len() as u64 > state.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match turn {
            Turn::Fail => return Err(planned()),
            // The name is one entry of a file system's own journal: old or new.
            Turn::PowerOff => {
                state.is_dead = true;
                if state.rng.chance(50) {
                    (state.durable, state.pending) = (new, Vec::new());
                }
                return Err(dead());
            }
            Turn::Act if state.lies => {
                state.put(Pending::Length(0));
                state.put(Pending::Write { offset: 0, bytes: new });
            }
            Turn::Act => {
                (state.durable, state.seen, state.pending) = (new.clone(), new, Vec::new());
            }
        }
        state.syncs += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image_after(seed: u64, lies: bool) -> Vec<u8> {
        let mut disk = if lies { SimDisk::lying() } else { SimDisk::new() };
        disk.write_at(0, &[1; 2000]).unwrap();
        disk.sync().unwrap();
        disk.write_at(1000, &[2; 2000]).unwrap();
        let after = disk.crash(&mut Rng::new(seed));
        assert!(disk.write_at(0, &[3]).is_err(), "a handle is dead after the crash");
        after.image()
    }

    #[test]
    fn a_crash_leaves_what_was_durable_and_any_of_the_rest() {
        let images: Vec<_> = (0..300).map(|seed| image_after(seed, false)).collect();
        assert!(images.iter().all(|image| image[..1000] == [1; 1000]));
        assert!(images.contains(&vec![1; 2000]), "lost");
        let whole = [vec![1; 1000], vec![2; 2000]].concat();
        assert!(images.contains(&whole), "kept");
        let any = |test: fn(&[u8]) -> bool| images.iter().any(|image| test(image));
        assert!(any(|image| image.len() < 3000 && image[1000] == 2), "its front");
        assert!(any(|image| image.len() == 3000 && image[1000] == 1), "its back");
        assert!(any(|image| image.contains(&77)), "garbled");
        assert_eq!(image_after(5, false), image_after(5, false));
        assert!((0..300).any(|seed| image_after(seed, true)[..] != [1; 2000][..1000]));
    }

    #[test]
    fn a_killed_process_leaves_its_writes_to_the_system() {
        let mut disk = SimDisk::new();
        disk.write_at(0, b"abc").unwrap();
        let mut disk = disk.kill();
        assert_eq!(disk.image(), b"abc");
        assert!(disk.state().durable.is_empty(), "not durable yet");
        disk.sync().unwrap();
        assert_eq!(disk.crash(&mut Rng::new(1)).image(), b"abc");
    }

    #[test]
    fn a_failed_sync_loses_what_readers_still_see() {
        let lost = |seed| {
            let mut disk = SimDisk::new();
            disk.write_at(0, b"abc").unwrap();
            disk.fail_in(0, &mut Rng::new(seed));
            assert!(disk.sync().is_err());
            assert_eq!(disk.image(), b"abc");
            disk.sync().unwrap();
            disk.kill().image().is_empty()
        };
        assert!((0..20).any(lost) && !(0..20).all(lost));
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let mut disk = SimDisk::new();
        disk.set_capacity(4);
        let error = disk.write_at(2, b"abc").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.image(), b"\0\0ab");
    }
}
