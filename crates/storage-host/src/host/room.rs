//! What is for sale now: how much room, for whom, and at what price.

use super::contract::Contract;
use super::{Host, HostConfig};
use fondaco_contract::{Factor, PriceList, SignedPriceList};
use fondaco_crypto::EntityId;
use fondaco_units::{Bytes, Duration, Timestamp};

/// How long a price list is good for.
const LIST_VALIDITY: Duration = Duration::from_seconds(3600);

/// Of so many bytes on the disk one is of the hashes beside a shard: 64 of them prove 16 KiB.
const HASHES_SHARE: u64 = 257;

impl Host {
    /// Tells what is free on the disk now; nothing if the system does not say, and then no room is held back for it.
    pub const fn set_disk(&mut self, free: Option<Bytes>) {
        self.disk = free;
    }

    /// Returns how much room is neither sold nor kept for a contract whose money is still to be got, as far as the disk has it.
    pub fn free(&self) -> Bytes {
        self.config.size.saturating_sub(self.promised(|_| true)).min(self.on_disk())
    }

    /// How much more can be promised than is, by what was free on the disk when that was told.
    fn on_disk(&self) -> Bytes {
        let Some(free) = self.disk else { return Bytes::MAX };
        let free = free.saturating_sub(self.config.reserve).get();
        Bytes::new(free - free.div_ceil(HASHES_SHARE)).saturating_sub(self.to_come())
    }

    /// How much the buyers of open contracts may still store. What came in of a put counts only when the put is committed.
    pub(super) fn to_come(&self) -> Bytes {
        let open = self.contracts.values().filter(|contract| !contract.state.has_ended());
        let left = |contract: &Contract| {
            u128::from(contract.terms.size_max.saturating_sub(contract.tab.stored).get())
        };
        Bytes::new(u64::try_from(open.map(left).sum::<u128>()).unwrap_or(u64::MAX))
    }

    /// How much room is promised to some buyers.
    pub(super) fn promised(&self, to: impl Fn(EntityId) -> bool) -> Bytes {
        let of = |contract: &&Contract| to(contract.terms.buyer);
        let sold: u128 = self.contracts.values().filter(of).map(Contract::promised).sum();
        Bytes::new(u64::try_from(sold).unwrap_or(u64::MAX))
    }

    /// Returns how much room a buyer may be promised now, by what is free and by what it has paid for so far.
    pub fn room(&self, buyer: EntityId) -> Bytes {
        self.free().min(self.trusted(buyer))
    }

    /// How much more room the buyer may have by its record: a newcomer's, and twice what was kept for it and paid for in full.
    pub(super) fn trusted(&self, buyer: EntityId) -> Bytes {
        let known = self.known.get(&buyer).map_or(0, |bytes| bytes.get());
        let all = Bytes::new(self.config.newcomer.get().saturating_add(known.saturating_mul(2)));
        all.saturating_sub(self.promised(|other| other == buyer))
    }

    /// Signs what is sold now, and at what price; good for an hour.
    pub fn prices(&self, now: Timestamp) -> SignedPriceList {
        self.list_of(now, self.free()).sign(&self.key)
    }

    /// As [`Host::prices`], with the room that this buyer may be promised.
    pub fn prices_for(&self, now: Timestamp, buyer: EntityId) -> SignedPriceList {
        self.list_of(now, self.room(buyer)).sign(&self.key)
    }

    /// Says when the provider leaves, as its configuration would; its contracts are told by [`leave`](Self::leave).
    pub const fn set_leaves(&mut self, at: Timestamp) {
        self.config.leaves = Some(at);
    }

    /// Sells by another configuration from now on, in the same currency. Contracts stay as they were signed, and a list that was
    /// signed before stays good until it expires. Less room than is sold is no room.
    pub const fn set_config(&mut self, config: HostConfig) {
        self.config = HostConfig { currency: self.config.currency, ..config };
    }

    /// Returns by what the prices are multiplied.
    pub const fn factor(&self) -> Factor {
        self.factor
    }

    /// Multiplies the prices from now on; a list that was signed before stays good until it expires.
    pub const fn set_factor(&mut self, factor: Factor) {
        self.factor = factor;
    }

    /// Returns what is sold now, at the prices of the configuration.
    pub fn base_prices(&self, now: Timestamp) -> PriceList {
        self.base_list(now, self.free())
    }

    fn list_of(&self, now: Timestamp, room: Bytes) -> PriceList {
        self.factor.apply(self.base_list(now, room))
    }

    fn base_list(&self, now: Timestamp, room: Bytes) -> PriceList {
        let HostConfig { currency, open, store, write, read, period_max, epoch, step_max, .. } =
            self.config;
        let left = self.config.leaves.map_or(period_max, |leaves| leaves.since(now));
        // Who leaves before an epoch is over has nothing to sell any more.
        let capacity = if left < epoch { Bytes::ZERO } else { room };
        PriceList {
            provider: self.provider(),
            currency,
            open,
            store,
            write,
            read,
            capacity,
            period_max: period_max.min(left).max(epoch),
            epoch,
            step_max,
            issued: now,
            expires: now.after(LIST_VALIDITY),
        }
    }
}
