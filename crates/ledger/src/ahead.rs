//! Limits of those who have no account yet: what the first payment may bring.
//!
//! ```text
//! accept_ahead ──► kept ──┬── first money ──► the limit of the account
//!                         └── LIMIT_SPAN over ──► forgotten
//! ```
//!
//! They cost nothing, so only so many are kept, and each for a time. None makes room for another: whoever was told
//! that a limit is kept can rely on it.

use crate::{LIMIT_SPAN, LIMITS_AHEAD_MAX, Ledger, Refusal, accounts::Spender};
use fondaco_codec::{Decode, DecodeError, Encode, Reader};
use fondaco_crypto::EntityId;
use fondaco_units::{Amount, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The limits of keys without an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ahead {
    limits: BTreeMap<EntityId, (Timestamp, Amount)>,
    /// The same keys, by when they are forgotten.
    due: BTreeSet<(Timestamp, EntityId)>,
}

impl Ahead {
    /// The most that this key takes with its first payment.
    pub(crate) fn of(&self, key: &EntityId) -> Amount {
        self.limits.get(key).map_or(Amount::MAX, |(_, balance_max)| *balance_max)
    }

    pub(crate) fn remove(&mut self, key: &EntityId) {
        if let Some((until, _)) = self.limits.remove(key) {
            self.due.remove(&(until, *key));
        }
    }

    /// Keeps a limit, if there is room or the key has one.
    fn keep(&mut self, key: EntityId, until: Timestamp, balance_max: Amount) -> bool {
        if self.limits.len() >= LIMITS_AHEAD_MAX as usize && !self.limits.contains_key(&key) {
            return false;
        }
        self.remove(&key);
        self.limits.insert(key, (until, balance_max));
        self.due.insert((until, key));
        true
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some((until, key)) = self.due.first().copied()
            && until <= now
        {
            self.due.pop_first();
            self.limits.remove(&key);
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        (self.limits.len() as u64).encode(out);
        for (key, (until, balance_max)) in &self.limits {
            key.encode(out);
            until.encode(out);
            balance_max.encode(out);
        }
    }

    pub(crate) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut ahead = Self::default();
        let mut last = None;
        for _ in 0..u64::decode(input)? {
            let at = input.at();
            let (key, until) = (EntityId::decode(input)?, Timestamp::decode(input)?);
            let in_order = last.replace(key).is_none_or(|last| last < key);
            if !(in_order && ahead.keep(key, until, Amount::decode(input)?)) {
                return Err(Reader::invalid(at, "limits in order"));
            }
        }
        Ok(ahead)
    }
}

impl Ledger {
    /// Sets how much `holder` may have, as [`Ledger::accept`] does; of one without an account, how much its first payment
    /// may bring. Returns until when that is kept: nothing for an account, whose limit stays, or when no limit was asked for.
    /// Asked for again, it is kept anew.
    ///
    /// # Errors
    ///
    /// By an old key; or [`LIMITS_AHEAD_MAX`] others are kept.
    pub fn accept_ahead(
        &mut self,
        holder: EntityId,
        balance_max: Amount,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Refusal> {
        self.may_move(Amount::MAX)?;
        match self.accounts.spender(&holder) {
            Spender::Rotated(of) => Err(Refusal::KeyRotated { to: self.accounts.at(of).key }),
            Spender::Open(at) => {
                self.accounts.ahead.remove(&holder);
                self.accounts.at_mut(at).balance_max = balance_max;
                Ok(None)
            }
            Spender::Nobody if balance_max == Amount::MAX => {
                self.accounts.ahead.remove(&holder);
                Ok(None)
            }
            Spender::Nobody => {
                let until = now.after(LIMIT_SPAN);
                match self.accounts.ahead.keep(holder, until, balance_max) {
                    true => Ok(Some(until)),
                    false => Err(Refusal::LimitsFull { limits_max: LIMITS_AHEAD_MAX }),
                }
            }
        }
    }

    /// Forgets the limits of keys without an account whose time is over.
    pub fn forget_limits(&mut self, now: Timestamp) {
        self.accounts.ahead.forget(now);
    }
}
