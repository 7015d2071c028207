//! The steps that are open: what was asked of hosts and is not answered yet, for the process after one that is killed.
//!
//! A process that ends in order writes into its book what it stops waiting for. One that is killed cannot, and the book has a flush
//! for every event: too dear for each step. So each step is written to a file beside the book before it is sent, and not flushed.
//!
//! ```text
//! asked ──► its slot is written ──┬── answered ─────────────► written over, or zeroed
//!                                 ├── not for a while ──────► flushed; and so is what is written over it, before more is paid
//!                                 └── the process is killed ► the next one writes it into its book, and empties the file
//! ```
//!
//! # What always holds
//!
//! - What a kill leaves is the last that was written, since the system lives: it is believed.
//! - After a power cut a slot may be older than what was paid last, by which an honest host would seem to have taken much. So it is
//!   believed only where it was flushed: nothing was paid after that before the slot was written over, and flushed again.
//! - A put of several steps is written before its first and flushed, once: after a power cut its host is asked for it, since what it
//!   may have taken is more than a step. An old one does no harm: its host has the shard, or the slot was zeroed and flushed.
//! - An orderly end leaves nothing, and so does every answer; the file is then not even flushed when it is opened.
//!
//! # What is not here
//!
//! What is made of it: that is as with a process that ended in order (`losses`).

use crate::losses::{BegunPut, Loss};
use fondaco_codec::{Decode, Encode as _, record};
use fondaco_contract::ContractId;
use fondaco_crypto::{Digest, Domain};
use fondaco_ports::Disk;
use fondaco_store::DiskFile;
use std::io;
use std::path::PathBuf;

const CHECK: Domain = Domain::new("fondaco 2026 open step v3");
const CHECK_BEGUN: Domain = Domain::new("fondaco 2026 begun put v1");

/// How long a slot is: no write of one crosses a page of any system's cache, so that a kill never leaves half of it.
const SLOT: usize = 512;

/// The most slots that are looked at: more hosts than anybody asks at once.
const SLOTS_MAX: usize = 4096;

/// A step that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenStep {
    /// Since which start of the machine nothing was lost that was written; nothing where the system does not say.
    boot: Option<Digest>,
    /// Whether it was flushed, and nothing paid since.
    settled: bool,
    contract: ContractId,
    loss: Loss,
}
record!(OpenStep { boot, settled, contract, loss });

/// A put of several steps that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun {
    /// Since which start of the machine nothing was lost that was written; nothing where the system does not say.
    boot: Option<Digest>,
    contract: ContractId,
    put: BegunPut,
}
record!(Begun { boot, contract, put });

/// Fills a slot with what is encoded so.
fn to_slot(domain: Domain, bytes: &[u8]) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    let (check, body) = slot.split_at_mut(32);
    let (length, rest) = body.split_at_mut(2);
    length.copy_from_slice(&u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
    if let Some(place) = rest.get_mut(..bytes.len()) {
        place.copy_from_slice(bytes);
    }
    check.copy_from_slice(Digest::derive(domain, body).as_bytes());
    slot
}

/// Returns what a slot was filled with; nothing if it is not whole, or of another domain.
fn of_slot<T: Decode>(domain: Domain, slot: &[u8]) -> Option<T> {
    let (check, body) = slot.split_at_checked(32)?;
    if Digest::derive(domain, body).as_bytes() != check {
        return None;
    }
    let (length, rest) = body.split_first_chunk()?;
    T::from_bytes(rest.get(..usize::from(u16::from_le_bytes(*length)))?).ok()
}

/// The slot of a session that has a step open.
#[derive(Debug)]
pub(crate) struct Slot {
    index: u64,
    settled: bool,
}

/// What a file has that was left behind.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// What each is known to have lost, and may come to.
    pub(crate) steps: Vec<(ContractId, Loss)>,
    /// The puts that were begun when the power was cut, or may have been.
    pub(crate) puts: Vec<(ContractId, BegunPut)>,
    /// Whether it has anything at all.
    any: bool,
}

/// Where the steps are kept.
enum Place {
    /// There, once one is open: whoever pays for nothing flushes nothing.
    At(PathBuf),
    On(Box<dyn Disk>),
}

/// The steps that are open, on disk. See the [module](self).
pub(crate) struct OpenSteps {
    place: Place,
    boot: Option<Digest>,
    next: u64,
    free: Vec<u64>,
    /// Whether a power cut may leave a put that has ended.
    is_stale: bool,
}

impl std::fmt::Debug for OpenSteps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSteps").field("next", &self.next).finish_non_exhaustive()
    }
}

impl OpenSteps {
    /// Keeps steps in the file at `path`, which is made when the first is open. Its folder is this process's alone.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self::new(Place::At(path), fondaco_store::boot())
    }

    /// Keeps steps on `disk`, of a machine that was started as `boot` says.
    pub(crate) fn on(disk: Box<dyn Disk>, boot: Option<Digest>) -> Self {
        Self::new(Place::On(disk), boot)
    }

    const fn new(place: Place, boot: Option<Digest>) -> Self {
        Self { place, boot, next: 0, free: Vec::new(), is_stale: false }
    }

    /// Returns what the process before this one has left, as far as it can be believed.
    pub(crate) fn left(&mut self) -> io::Result<Left> {
        let bytes = match &self.place {
            Place::At(path) if !path.try_exists()? => return Ok(Left::default()),
            Place::At(path) => read(&DiskFile::read_only(path)?)?,
            Place::On(disk) => read(disk)?,
        };
        self.next = (bytes.len() as u64).div_ceil(SLOT as u64);
        let any = bytes.iter().any(|byte| *byte != 0);
        // What a process before has zeroed may not be flushed yet.
        self.is_stale = !bytes.is_empty();
        let slots = bytes.chunks(SLOT);
        let puts = slots.clone().filter_map(|slot| of_slot::<Begun>(CHECK_BEGUN, slot));
        // After a kill the steps themselves are known.
        let puts = puts
            .filter(|begun| begun.boot.is_none() || begun.boot != self.boot)
            .map(|begun| (begun.contract, begun.put))
            .collect();
        let steps = slots
            .filter_map(|slot| of_slot::<OpenStep>(CHECK, slot))
            .filter(|step| step.settled || (step.boot.is_some() && step.boot == self.boot))
            .map(|step| (step.contract, step.loss))
            .collect();
        Ok(Left { steps, puts, any })
    }

    /// What was left behind is in the book.
    pub(crate) fn taken(&mut self, left: &Left) -> io::Result<()> {
        if left.any {
            let disk = self.disk()?;
            disk.set_len(0)?;
            // One that was flushed would be found again after a power cut.
            disk.sync()?;
            self.is_stale = false;
        }
        self.next = 0;
        Ok(())
    }

    /// Writes what is open under a contract, if it is anything, in the slot of a session.
    pub(crate) fn write(
        &mut self,
        slot: &mut Option<Slot>,
        contract: ContractId,
        open: Option<Loss>,
    ) -> io::Result<()> {
        self.put(slot, contract, open, false)
    }

    /// Writes what is open under a contract, and sees that a power cut leaves it.
    pub(crate) fn settle(
        &mut self,
        slot: &mut Option<Slot>,
        contract: ContractId,
        open: Loss,
    ) -> io::Result<()> {
        self.put(slot, contract, Some(open), true)
    }

    /// Writes that a put of several steps begins, and sees that a power cut leaves it.
    pub(crate) fn begin_put(
        &mut self,
        slot: &mut Option<Slot>,
        contract: ContractId,
        put: BegunPut,
    ) -> io::Result<()> {
        let begun = Begun { boot: self.boot, contract, put };
        let index =
            slot.as_ref().map_or_else(|| self.free.pop().unwrap_or(self.next), |slot| slot.index);
        self.next = self.next.max(index + 1);
        *slot = Some(Slot { index, settled: true });
        let disk = self.disk()?;
        disk.write_at(index * SLOT as u64, &to_slot(CHECK_BEGUN, &begun.to_bytes()))?;
        disk.sync()?;
        self.is_stale = false;
        Ok(())
    }

    /// A put is not under way any more. A power cut may leave it all the same, until [`OpenSteps::flush`].
    pub(crate) fn end_put(&mut self, slot: &mut Option<Slot>) -> io::Result<()> {
        let Some(Slot { index, .. }) = *slot else { return Ok(()) };
        self.disk()?.write_at(index * SLOT as u64, &[0; SLOT])?;
        self.is_stale = true;
        *slot = None;
        self.free.push(index);
        Ok(())
    }

    /// Sees that a power cut leaves no put that has ended.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.is_stale {
            self.disk()?.sync()?;
            self.is_stale = false;
        }
        Ok(())
    }

    fn put(
        &mut self,
        slot: &mut Option<Slot>,
        contract: ContractId,
        open: Option<Loss>,
        settled: bool,
    ) -> io::Result<()> {
        let (index, was_settled) = match (&*slot, open) {
            (None, None) => return Ok(()),
            (Some(slot), _) => (slot.index, slot.settled),
            (None, Some(_)) => (self.free.pop().unwrap_or(self.next), false),
        };
        self.next = self.next.max(index + 1);
        let before = slot.take();
        *slot = Some(Slot { index, settled: settled || was_settled });
        let boot = self.boot;
        let step = |loss| to_slot(CHECK, &OpenStep { boot, settled, contract, loss }.to_bytes());
        let bytes = open.map_or([0; SLOT], step);
        let written = self.disk().and_then(|disk| disk.write_at(index * SLOT as u64, &bytes));
        if let Err(error) = written {
            // The first of a slot leaves none that would have to be zeroed.
            if before.is_none() {
                self.free.push(index);
            }
            *slot = before;
            return Err(error);
        }
        if settled || was_settled {
            self.disk()?.sync()?;
        }
        *slot = open.map(|_| Slot { index, settled });
        if slot.is_none() {
            self.free.push(index);
        }
        Ok(())
    }

    fn disk(&mut self) -> io::Result<&mut Box<dyn Disk>> {
        if let Place::At(path) = &self.place {
            let file = DiskFile::open(path.clone())?;
            self.place = Place::On(Box::new(file));
        }
        match &mut self.place {
            Place::On(disk) => Ok(disk),
            Place::At(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn read(disk: &dyn Disk) -> io::Result<Vec<u8>> {
    let length = disk.len()?.min((SLOT * SLOTS_MAX) as u64);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let there = disk.read_at(0, &mut bytes)?;
    bytes.truncate(there);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
