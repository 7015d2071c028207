//! Sends frames that are none: cut, changed, lengthened, or made of chance.

use fondaco_codec::Text;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp::Request;
use fondaco_units::{Amount, Timestamp};

use super::{Sent, Villain, any_id};
use crate::{
    Rng,
    money::{Directory, ISSUER, Place, Wire},
};

/// One key, for which nothing it says need make sense.
pub struct Garbler {
    key: SecretKey,
    place: Place,
}

impl Garbler {
    /// Creates one.
    pub fn new(rng: &mut Rng) -> Self {
        Self { key: SecretKey::from_bytes(&rng.array()), place: 0 }
    }
}

impl Villain for Garbler {
    fn devices(&self) -> Vec<EntityId> {
        vec![self.key.entity()]
    }

    fn placed(&mut self, first: Place) {
        self.place = first;
    }

    fn is_at(&self, place: Place) -> bool {
        place == self.place
    }

    fn turn(&mut self, _now: Timestamp, directory: &Directory, rng: &mut Rng, sent: &mut Sent) {
        if !rng.chance(15) {
            return;
        }
        let request = Request::Transfer {
            id: any_id(rng),
            to: directory.any_payee(rng),
            amount: Amount::new(rng.below(100)),
            fee_max: Amount::new(9),
            order: Text::cut("garbled"),
        };
        let mut frame = request.to_frame();
        match rng.below(5) {
            0 => frame.truncate(rng.index(frame.len())),
            1 => frame.resize(rng.index(9000), 7),
            2 => rng.fill(&mut frame),
            3 => rng.fill(&mut frame[1..]),
            _ => {
                let at = rng.index(frame.len());
                frame[at] ^= 1 << rng.below(8);
            }
        }
        sent.push((self.place, ISSUER, Wire::Ask { by: self.key.entity(), about: None, frame }));
    }

    fn hear(&mut self, _place: Place, _wire: Wire) {}
}
