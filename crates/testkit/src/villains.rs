//! Those who try to take what is not theirs.
//!
//! A villain speaks to the same issuer as the others, and obeys no rule. Nothing it does may harm
//! more than itself: the checks of a run are the same with it and without.

mod double_spender;
mod garbler;
mod impostor;

pub use double_spender::DoubleSpender;
pub use garbler::Garbler;
pub use impostor::Impostor;

use fondaco_crypto::EntityId;
use fondaco_lcp::{Request, RequestId};
use fondaco_units::Timestamp;

use crate::{
    Rng,
    money::{Directory, ISSUER, Place, Wire},
};

/// What is to be sent: from where, to where, what.
pub type Sent = Vec<(Place, Place, Wire)>;

/// One who obeys no rule.
pub trait Villain {
    /// Returns whose key each of its machines has.
    fn devices(&self) -> Vec<EntityId>;

    /// Takes note where its first machine is; the others follow.
    fn placed(&mut self, first: Place);

    /// Returns whether one of its machines is there.
    fn is_at(&self, place: Place) -> bool;

    /// Acts.
    fn turn(&mut self, now: Timestamp, directory: &Directory, rng: &mut Rng, sent: &mut Sent);

    /// Takes in what one of its machines received.
    fn hear(&mut self, place: Place, wire: Wire);
}

fn ask(from: Place, by: EntityId, request: &Request) -> (Place, Place, Wire) {
    (from, ISSUER, Wire::Ask { by, about: request.id(), frame: request.to_frame() })
}

fn any_id(rng: &mut Rng) -> RequestId {
    RequestId::new(u128::from_le_bytes(rng.array()))
}
