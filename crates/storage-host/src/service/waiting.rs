//! Vouchers that the issuer refuses while their holds are still open: they wait, and are posted again, less and less often,
//! until they are paid or the holds expire. Nothing is forfeited for a reason that may pass: an account that is not there yet, or
//! a clock that was set back.

use fondaco_contract::ContractId;
use fondaco_lcp::Refusal;
use fondaco_ledger::{Hold, HoldState};
use fondaco_units::Amount;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a voucher waits at first; each time twice as long.
const WAIT_FIRST: Duration = Duration::from_secs(2);
/// How long at most, since a hold is posted some hours before it expires.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// The vouchers of ended contracts that the issuer does not take yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many.
    pub vouchers: u64,
    /// Why one of them was refused last.
    pub why: Option<Refusal>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    why: Refusal,
    pause: Duration,
    until: Instant,
}

/// What waits, by the contract. It is not durable: a host that was started anew asks at once.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<ContractId, Wait>);

impl Waiting {
    /// Returns whether it is too early to ask again.
    pub(super) fn is_early(&self, contract: ContractId, now: Instant) -> bool {
        self.0.get(&contract).is_some_and(|wait| now < wait.until)
    }

    /// Notes a refusal; returns whether it is another than the last.
    pub(super) fn refused(&mut self, contract: ContractId, why: Refusal, now: Instant) -> bool {
        let before = self.0.get(&contract).copied();
        let pause = before.map_or(WAIT_FIRST, |wait| (wait.pause * 2).min(WAIT_MAX));
        self.0.insert(contract, Wait { why, pause, until: now + pause });
        before.is_none_or(|wait| wait.why != why)
    }

    /// The hold is closed: there is nothing to wait for.
    pub(super) fn done(&mut self, contract: ContractId) {
        self.0.remove(&contract);
    }

    pub(super) fn all(&self) -> Waits {
        let why = self.0.values().next().map(|wait| wait.why);
        Waits { vouchers: self.0.len() as u64, why }
    }
}

/// What a contract has earned by what the issuer says of its hold; nothing while the hold may still be posted.
pub(super) fn earned(hold: Option<&Hold>) -> Option<Amount> {
    match hold.map(|hold| hold.state) {
        Some(HoldState::Open) => None,
        Some(HoldState::Posted { paid }) => Some(paid),
        Some(HoldState::Voided | HoldState::Expired) | None => Some(Amount::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_crypto::{Digest, EntityId};
    use fondaco_units::Timestamp;

    #[test]
    fn only_a_hold_that_is_closed_or_unknown_is_settled() {
        let one = EntityId::from_bytes([1; 32]);
        let hold = |state| Hold {
            payer: one,
            payee: one,
            amount_max: Amount::new(9),
            order: Digest::ZERO,
            expires: Timestamp::EPOCH,
            state,
        };
        let table = [
            (Some(HoldState::Open), None),
            (Some(HoldState::Posted { paid: Amount::new(7) }), Some(Amount::new(7))),
            (Some(HoldState::Voided), Some(Amount::ZERO)),
            (Some(HoldState::Expired), Some(Amount::ZERO)),
            (None, Some(Amount::ZERO)),
        ];
        for (state, expected) in table {
            assert_eq!(earned(state.map(hold).as_ref()), expected, "{state:?}");
        }
    }

    #[test]
    fn it_is_asked_less_and_less_often() {
        let contract = ContractId::from_digest(Digest::ZERO);
        let (mut waiting, mut now) = (Waiting::default(), Instant::now());
        assert!(!waiting.is_early(contract, now));
        let mut pauses = Vec::new();
        for round in 0..12 {
            assert_eq!(waiting.refused(contract, Refusal::Outdated, now), round == 0);
            let began = now;
            while waiting.is_early(contract, now) {
                now += Duration::from_secs(1);
            }
            pauses.push((now - began).as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        assert_eq!(waiting.all(), Waits { vouchers: 1, why: Some(Refusal::Outdated) });
        waiting.done(contract);
        assert!(!waiting.is_early(contract, now));
        assert_eq!(waiting.all(), Waits::default());
    }
}
