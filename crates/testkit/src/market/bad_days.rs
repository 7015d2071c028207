//! What befalls hosts that do nothing wrong: nothing of it may ever be held against them.

mod day_off;
mod full_disk;

pub(super) use day_off::DayOff;
pub(super) use full_disk::FullDisk;
