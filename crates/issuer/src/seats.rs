//! How many connections there may be, and who gives way: of those of strangers, else of all, the one idle longest.

use fondaco_transport::{
    Connection,
    seats::{self, SeatLimits},
};

/// The most connections open at once.
pub const CONNECTIONS_MAX: usize = 4096;

/// The most connections of one key open at once.
pub const CONNECTIONS_PER_HOLDER_MAX: usize = 16;

/// The most requests of one key being read, waiting or being answered at once, on all its connections.
pub const REQUESTS_PER_HOLDER_MAX: usize = 256;

/// What is held to: a network has no share, since a holder known to the books may be anywhere.
pub(crate) const LIMITS: SeatLimits = SeatLimits {
    all: CONNECTIONS_MAX,
    of_key: CONNECTIONS_PER_HOLDER_MAX,
    of_network: usize::MAX,
    requests_of_key: REQUESTS_PER_HOLDER_MAX,
    own_give_way: true,
};

/// The seats; who is known to the books ranks above strangers.
pub(crate) type Seats = seats::Seats<Connection, bool>;
