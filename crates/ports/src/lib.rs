//! Name what a service needs of disk, clock, network and market.
//!
//! The few traits with both a real and a simulated implementation, and the words in which services
//! speak to each other across them.
//!
//! - [`Disk`]: one file that is written at offsets and made durable by request.
//! - [`Clock`]: what time it is.
//! - [`Address`]: where an entity can be reached.
//! - [`market`]: what a buyer asks of a provider, and what it answers.
//! - [`offers`]: what providers and buyers ask of a broker, and what it answers.
//!
//! # What is not here
//!
//! Implementations: real ones are in `store` and `transport`, simulated ones in `testkit`.

mod address;
pub mod market;
pub mod offers;

pub use address::{Address, ParseAddressError};

use fondaco_units::Timestamp;
use std::io;

/// One file, written at offsets.
///
/// What [`Disk::sync`] has not returned for may be lost, kept or torn by a crash, in any order of
/// its parts; what it has returned for survives. After a failed `sync` nothing is known, and the
/// file must not be written again before it is opened anew.
pub trait Disk: Send {
    /// Returns the length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Returns whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads into `buffer` from `offset`; returns how many bytes were there, fewer only at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, growing the file as needed.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts or extends (with zeros) the file to `length` bytes.
    fn set_len(&mut self, length: u64) -> io::Result<()>;

    /// Makes everything written so far durable, the length included (fdatasync).
    fn sync(&mut self) -> io::Result<()>;

    /// Puts what `content` writes in the place of all that there is, durably: a crash leaves the one or the other, whole.
    ///
    /// On an error what there was is untouched, or nothing can be written any more before the file is opened anew.
    fn replace(&mut self, content: &mut Content<'_>) -> io::Result<()>;
}

/// What writes the content of a file, from its front.
pub type Content<'a> = dyn FnMut(&mut dyn io::Write) -> io::Result<()> + 'a;

impl<D: Disk + ?Sized> Disk for Box<D> {
    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write_at(offset, bytes)
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        (**self).set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }

    fn replace(&mut self, content: &mut Content<'_>) -> io::Result<()> {
        (**self).replace(content)
    }
}

/// What time it is, as this machine believes.
pub trait Clock: std::fmt::Debug + Send + Sync {
    /// Returns the present moment.
    fn now(&self) -> Timestamp;
}
