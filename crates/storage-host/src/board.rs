//! What a host that serves sells, at which prices, and until when: to be read and changed.

use crate::HostConfig;
use crate::service::Shared;
use fondaco_contract::{Factor, PriceList, SignedPriceList};
use fondaco_units::Timestamp;
use std::sync::Arc;

/// Where the offer of a host hangs. Clones are the same board.
#[derive(Clone, Debug)]
pub struct PriceBoard {
    shared: Arc<Shared>,
}

impl PriceBoard {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Signs what is sold now, and at what price.
    pub fn prices(&self) -> SignedPriceList {
        self.shared.with_disk(|host, now| host.prices(now))
    }

    /// Returns what is sold now, at the prices of the configuration.
    pub fn list(&self) -> PriceList {
        self.shared.with_disk(|host, now| host.base_prices(now))
    }

    /// Returns by what the prices of the configuration are multiplied.
    pub fn factor(&self) -> Factor {
        self.shared.with(|host, _| host.factor())
    }

    /// Multiplies them from now on. See [`Host::set_factor`](crate::Host::set_factor).
    pub fn set_factor(&self, factor: Factor) {
        self.shared.with(|host, _| host.set_factor(factor));
    }

    /// Sells by another configuration from now on. See [`Host::set_config`](crate::Host::set_config); of one that leaves, what
    /// [`leave`](Self::leave) does is not done.
    pub fn sell(&self, config: HostConfig) {
        self.shared.sell(config);
    }

    /// Announces that the provider leaves: as [`HostConfig::leaves`](crate::HostConfig::leaves) does at the start.
    pub fn leave(&self, at: Timestamp) {
        self.shared.leave(at);
    }
}
