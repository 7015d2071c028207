//! One contract, as its provider keeps it: what its vouchers authorise, what room it takes, and when its money must be got.

use super::POST_MARGIN_MAX;
use super::again::LastRead;
use fondaco_audit::ShardId;
use fondaco_contract::{Bill, Ending, State, Tab, Terms};
use fondaco_crypto::EntityId;
use fondaco_ledger::{Hold, HoldState, SignedVoucher};
use fondaco_ports::market::{Reason, SignedMark};
use fondaco_units::{Amount, Bytes, Timestamp};
use std::collections::BTreeMap;

/// One contract, as its provider sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contract {
    pub(super) terms: Terms,
    /// What the hold has.
    pub(super) amount_max: Amount,
    /// When the hold expires.
    pub(super) expires: Timestamp,
    /// The highest there is.
    pub(super) voucher: SignedVoucher,
    pub(super) tab: Tab,
    pub(super) shards: BTreeMap<ShardId, Bytes>,
    pub(super) state: State,
    /// What was paid out, once that is done.
    pub(super) paid: Option<Amount>,
    /// The read that was counted last.
    pub(super) read: Option<LastRead>,
    /// What the buyer finds everything by.
    pub(super) mark: Option<SignedMark>,
    /// When the first of the contracts that it follows on began: a mandate that is older is not about it.
    pub(super) since: Timestamp,
    /// Whom its buyer has it from, if it was another's: a mandate for that one is about it.
    pub(super) had_by: Option<EntityId>,
}

impl Contract {
    /// Returns which epoch it is, or the last that is paid for.
    pub(super) fn epoch_paid(&self, now: Timestamp) -> u64 {
        self.terms.epoch_at(now).min(self.tab.epochs_paid.saturating_sub(1))
    }

    /// Where the contract stands at `now`, whether or not that was noted yet.
    pub(super) fn state_at(&self, now: Timestamp) -> State {
        let state = self.state.tick(&self.terms, &self.tab, now);
        if now >= post_at(self.terms.begins, self.expires) {
            return state.end(now, Ending::HoldOver);
        }
        state
    }

    /// How much room it takes: none once its money is got, or once another has taken its shards over.
    pub(super) fn promised(&self) -> u128 {
        match (self.paid, self.state.why()) {
            (Some(_), _) | (_, Some(Ending::Renewed)) => 0,
            (None, _) => u128::from(self.terms.size_max.get()),
        }
    }

    /// How much it kept, on average over the epochs that were paid for: what its buyer is known by, once all is paid.
    pub(super) fn kept(&self) -> Bytes {
        let bytes = self.tab.meter.byte_epochs / u128::from(self.tab.epochs_paid.max(1));
        Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX)).min(self.terms.size_max)
    }

    pub(super) fn total(&self) -> Amount {
        Bill::of(&self.terms.prices, &self.tab.meter).map_or(Amount::MAX, |bill| bill.total())
    }

    /// Checks a voucher and returns the highest there is then. One that is not higher counts for nothing, so nothing
    /// but its hold is checked.
    pub(super) fn highest(&self, voucher: &SignedVoucher) -> Result<SignedVoucher, Reason> {
        let (new, known) = (voucher.voucher, self.voucher.voucher);
        if (new.currency, new.hold) != (known.currency, known.hold) {
            return Err(Reason::WrongVoucher);
        }
        if new.cumulative <= known.cumulative {
            return Ok(self.voucher);
        }
        let (authorised, amount_max) = (new.cumulative, self.amount_max);
        if authorised > amount_max {
            return Err(Reason::OverHold { authorised, amount_max });
        }
        voucher.verify(self.terms.buyer).map_err(|_| Reason::BadVoucher)?;
        Ok(*voucher)
    }

    /// Takes over counters and voucher, where they are higher.
    pub(super) fn raise(&mut self, tab: &Tab, voucher: &SignedVoucher) {
        let (meter, new) = (&mut self.tab.meter, &tab.meter);
        meter.opened |= new.opened;
        meter.written = meter.written.max(new.written);
        meter.read = meter.read.max(new.read);
        meter.byte_epochs = meter.byte_epochs.max(new.byte_epochs);
        self.tab.epochs_paid = self.tab.epochs_paid.max(tab.epochs_paid);
        if voucher.voucher.cumulative > self.voucher.voucher.cumulative {
            self.voucher = *voucher;
        }
    }
}

/// Checks the hold that is to pay for a contract, and the first voucher of it; returns what the hold has, and until when.
pub(super) fn check_hold(
    terms: &Terms,
    voucher: &SignedVoucher,
    hold: Option<&Hold>,
) -> Result<(Amount, Timestamp), Reason> {
    let Hold { payer, payee, amount_max, order, expires, state } =
        *hold.ok_or(Reason::UnknownHold)?;
    let parties = (terms.buyer, terms.prices.provider, *terms.id().digest());
    if state != HoldState::Open || (payer, payee, order) != parties {
        return Err(Reason::WrongHold);
    }
    if post_at(terms.begins, expires) < terms.paid_until(1) {
        return Err(Reason::HoldExpires { expires });
    }
    if voucher.voucher.currency != terms.prices.currency {
        return Err(Reason::WrongVoucher);
    }
    let authorised = voucher.voucher.cumulative;
    if authorised > amount_max {
        return Err(Reason::OverHold { authorised, amount_max });
    }
    voucher.verify(terms.buyer).map_err(|_| Reason::BadVoucher)?;
    Ok((amount_max, expires))
}

/// From when a hold must be posted.
pub(super) fn post_at(begins: Timestamp, expires: Timestamp) -> Timestamp {
    let margin = (expires.since(begins).milliseconds() / 4).min(POST_MARGIN_MAX.milliseconds());
    Timestamp::from_milliseconds(expires.milliseconds().saturating_sub(margin))
}
