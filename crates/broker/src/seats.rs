//! How many connections there may be; when all seats are taken, the one that asked least lately gives way.

use crate::service::REQUESTS_PER_KEY_MAX;
use fondaco_transport::{
    Connection,
    seats::{self, SeatLimits},
};

/// The most connections open at once.
pub const CONNECTIONS_MAX: usize = 2048;
/// The most connections of one key.
pub const CONNECTIONS_PER_KEY_MAX: usize = 8;
/// The most connections of one network.
pub const CONNECTIONS_PER_NETWORK_MAX: usize = 64;

/// What is held to.
pub(crate) const LIMITS: SeatLimits = SeatLimits {
    all: CONNECTIONS_MAX,
    of_key: CONNECTIONS_PER_KEY_MAX,
    of_network: CONNECTIONS_PER_NETWORK_MAX,
    requests_of_key: REQUESTS_PER_KEY_MAX,
    own_give_way: false,
};

/// The seats, of no rank.
pub(crate) type Seats = seats::Seats<Connection>;
