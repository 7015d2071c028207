//! Spends what it has twice: from two machines with one key, and by two vouchers over one hold.

use fondaco_codec::Text;
use fondaco_crypto::{Digest, EntityId, SecretKey};
use fondaco_lcp::{Request, Response};
use fondaco_ledger::{HoldId, Voucher};
use fondaco_units::{Amount, Duration, Timestamp};

use super::{Sent, Villain, any_id, ask};
use crate::{
    Rng,
    money::{Directory, Place, Wire},
};

/// One key on two machines, and the key of an accomplice on a third.
pub struct DoubleSpender {
    key: SecretKey,
    accomplice: SecretKey,
    first: Place,
    available: Amount,
    holds: Vec<(HoldId, Amount)>,
}

impl DoubleSpender {
    /// Creates one.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            key: SecretKey::from_bytes(&rng.array()),
            accomplice: SecretKey::from_bytes(&rng.array()),
            first: 0,
            available: Amount::ZERO,
            holds: Vec::new(),
        }
    }
}

impl Villain for DoubleSpender {
    fn devices(&self) -> Vec<EntityId> {
        vec![self.key.entity(), self.key.entity(), self.accomplice.entity()]
    }

    fn placed(&mut self, first: Place) {
        self.first = first;
    }

    fn is_at(&self, place: Place) -> bool {
        (self.first..self.first + 3).contains(&place)
    }

    fn turn(&mut self, now: Timestamp, directory: &Directory, rng: &mut Rng, sent: &mut Sent) {
        if !rng.chance(15) {
            return;
        }
        let (one, other, accomplice) = (self.first, self.first + 1, self.first + 2);
        let (own, other_key) = (self.key.entity(), self.accomplice.entity());
        sent.push(ask(one, own, &Request::Balance));
        match rng.below(3) {
            // All it has, from both machines at once, to whoever believes it.
            0 => {
                let id = any_id(rng);
                for (from, id) in [(one, id), (other, any_id(rng)), (other, id)] {
                    let to = match rng.chance(50) {
                        true => self.accomplice.entity(),
                        false => directory.any_payee(rng),
                    };
                    let (amount, fee_max) = (self.available, Amount::new(3));
                    sent.push(ask(
                        from,
                        own,
                        &Request::Transfer { id, to, amount, fee_max, order: Text::cut("all") },
                    ));
                }
            }
            // A hold, and the same money once more.
            1 => {
                let id = any_id(rng);
                let (amount_max, payee) = (self.available, self.accomplice.entity());
                let expires = now.after(Duration::from_milliseconds(rng.below(8000)));
                let order = Digest::of(b"nothing");
                sent.push(ask(
                    one,
                    own,
                    &Request::HoldOpen { id, payee, amount_max, order, expires, open_by: expires },
                ));
                let hold = HoldId::derive(directory.currency.id, self.key.entity(), id.get());
                self.holds.push((hold, amount_max));
                let to = directory.any_payee(rng);
                let fee_max = Amount::new(3);
                sent.push(ask(
                    other,
                    own,
                    &Request::Transfer {
                        id: any_id(rng),
                        to,
                        amount: amount_max,
                        fee_max,
                        order: Text::cut("again"),
                    },
                ));
            }
            // Two vouchers over one hold, each posted twice, one over what is held; then given up.
            _ => {
                let Some((hold, amount_max)) = rng.pick(&self.holds).copied() else { return };
                let currency = directory.currency.id;
                let id = any_id(rng);
                for cumulative in [amount_max.get() / 2, amount_max.get(), amount_max.get() + 1] {
                    let cumulative = Amount::new(cumulative);
                    let voucher = Voucher { currency, hold, cumulative }.sign(&self.key);
                    sent.push(ask(accomplice, other_key, &Request::HoldPost { id, voucher }));
                    sent.push(ask(
                        accomplice,
                        other_key,
                        &Request::HoldPost { id: any_id(rng), voucher },
                    ));
                    sent.push(ask(one, own, &Request::HoldPost { id, voucher }));
                }
                sent.push(ask(accomplice, other_key, &Request::HoldVoid { id: any_id(rng), hold }));
            }
        }
    }

    fn hear(&mut self, place: Place, wire: Wire) {
        let Wire::Answer { frame, .. } = wire else { return };
        if let Ok(Response::Balance { available, .. }) = Response::from_frame(&frame)
            && place == self.first
        {
            self.available = available;
        }
    }
}
