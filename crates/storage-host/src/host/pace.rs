//! How fast a journal may grow by what pays nothing for it.
//!
//! Who puts a shard of [`PAID_MIN`] pays for two records with its bytes: of the shard, and of its deletion. A smaller one and every
//! mark are free, or nearly so; of these a contract has [`SPARE_MAX`] at once, and one more each second. A deletion is never held up: it is
//! one at most for each shard that was put. What was spent is not durable, so a restart begins anew.

use super::Host;
use fondaco_contract::ContractId;
use fondaco_ports::market::Reason;
use fondaco_units::{Bytes, Duration, Timestamp};

/// From this size on a shard pays for its records: they are a few hundred bytes.
pub(super) const PAID_MIN: Bytes = Bytes::new(4096);
/// In how much time a contract gets one free record.
const EACH: Duration = Duration::from_seconds(1);
/// The most free records that it has spared.
pub(super) const SPARE_MAX: Duration = Duration::from_seconds(4096);

impl Host {
    /// Lets a contract cause a record about a shard of this size, of which it may cause any number if they are paid for.
    pub(super) fn pace_of(
        &mut self,
        now: Timestamp,
        id: ContractId,
        size: Bytes,
    ) -> Result<(), Reason> {
        if size < PAID_MIN { self.pace(now, id) } else { Ok(()) }
    }

    /// Lets a contract cause a free record.
    ///
    /// # Errors
    ///
    /// `Busy`: it has caused too many.
    pub(super) fn pace(&mut self, now: Timestamp, id: ContractId) -> Result<(), Reason> {
        let full = now.after(SPARE_MAX);
        let even = self.paced.get(&id).map_or(now, |even| now.max(*even));
        if even >= full {
            // A clock that was set back must not make it wait for longer.
            self.paced.insert(id, full);
            return Err(Reason::Busy);
        }
        self.paced.insert(id, even.after(EACH));
        Ok(())
    }
}
