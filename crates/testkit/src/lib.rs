//! Drive production cores through seeded faults.
//!
//! - [`Rng`]: all chance of a simulation, from one seed.
//! - [`SimDisk`]: a disk that crashes, tears, garbles, fills up and fails on request.
//! - [`SimNetwork`]: messages that are lost, doubled, delayed and overtaken.
//! - [`SimBlobs`]: a folder of blobs that loses its power.
//! - [`SimClock`]: a clock that stands until it is moved; [`VirtualClock`]: one that goes with tokio's.
//! - [`Seeds`]: which seeds a test runs, and the command that replays one.
//! - [`money`]: an issuer, holders and villains in one run, and what must be true at its end.
//! - [`market`]: a buyer, hosts and an issuer on a network in memory, for weeks, and what must be true at their end.
//! - [`villains`]: those who try to take what is not theirs.
//!
//! # What always holds
//!
//! - The same seed gives the same run, to the byte: a failure is told by its seed.
//!
//! # What is not here
//!
//! Threads, sockets and real time. What is tested is the production code, never a copy of it.
//!
//! ```
//! use fondaco_ports::Disk;
//! use fondaco_testkit::{Rng, SimDisk};
//! let mut disk = SimDisk::new();
//! disk.write_at(0, b"durable")?;
//! disk.sync()?;
//! disk.write_at(0, b"DURABLE")?;
//! let found = disk.crash(&mut Rng::new(1)).image();
//! assert_eq!(found.len(), 7, "what it says now is chance");
//! # Ok::<(), std::io::Error>(())
//! ```

mod blobs;
mod clock;
mod disk;
pub mod market;
pub mod money;
mod network;
mod rng;
mod seeds;
pub mod villains;

pub use blobs::SimBlobs;
pub use clock::{SimClock, VirtualClock};
pub use disk::SimDisk;
pub use network::{Delivery, SimNetwork, Weather};
pub use rng::Rng;
pub use seeds::Seeds;
