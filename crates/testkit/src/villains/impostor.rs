//! Asks for what is others' to ask: mints, forges vouchers, closes holds and acknowledges what it was not paid.

use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_lcp::{Request, RequestId};
use fondaco_ledger::{HoldId, SignedVoucher, Voucher};
use fondaco_units::{Amount, Timestamp};

use super::{Sent, Villain, any_id, ask};
use crate::{
    Rng,
    money::{Directory, Place, Wire},
};

/// One key, and what it overheard.
pub struct Impostor {
    key: SecretKey,
    place: Place,
    vouchers: Vec<SignedVoucher>,
    used: Vec<RequestId>,
}

impl Impostor {
    /// Creates one.
    pub fn new(rng: &mut Rng) -> Self {
        let key = SecretKey::from_bytes(&rng.array());
        Self { key, place: 0, vouchers: Vec::new(), used: Vec::new() }
    }

    fn forged(&self, directory: &Directory, rng: &mut Rng) -> SignedVoucher {
        let currency = directory.currency.id;
        let heard = rng.pick(&self.vouchers).copied();
        let hold = heard.map_or_else(
            || HoldId::derive(currency, directory.any_payee(rng), 1),
            |heard| heard.voucher.hold,
        );
        let more = heard.map_or(100, |heard| heard.voucher.cumulative.get() + 1);
        let voucher = Voucher { currency, hold, cumulative: Amount::new(more) };
        match (rng.below(4), heard) {
            // Another's signature under a greater amount.
            (0, Some(heard)) => SignedVoucher { voucher, signature: heard.signature },
            (1, Some(heard)) => heard,
            (2, _) => {
                let currency = CurrencyId::issued_by(self.key.entity());
                Voucher { currency, ..voucher }.sign(&self.key)
            }
            _ => voucher.sign(&self.key),
        }
    }
}

impl Villain for Impostor {
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
        // Often an id that it has used for something else.
        let used = rng.pick(&self.used).copied().filter(|_| rng.chance(33));
        let id = used.unwrap_or_else(|| any_id(rng));
        self.used.push(id);
        let amount = Amount::new([1, 50, u64::MAX][rng.index(3)]);
        let voucher = self.forged(directory, rng);
        let request = match rng.below(6) {
            0 => Request::Mint { id, to: self.key.entity(), amount },
            1 => Request::Redeem { id, amount },
            2 => Request::HoldPost { id, voucher },
            3 => Request::HoldVoid { id, hold: voucher.voucher.hold },
            4 => Request::AckDeposits { id, through: rng.below(3) * u64::from(u32::MAX) },
            _ => Request::Transfer {
                id,
                to: directory.any_payee(rng),
                amount,
                fee_max: Amount::MAX,
                order: Text::cut(""),
            },
        };
        sent.push(ask(self.place, self.key.entity(), &request));
    }

    fn hear(&mut self, _place: Place, wire: Wire) {
        if let Wire::Voucher(voucher) = wire {
            self.vouchers.push(*voucher);
        }
    }
}
