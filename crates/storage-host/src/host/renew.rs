//! Contracts that follow on others, and the ways in which a provider leaves.
//!
//! ```text
//! old   Open ──────────────────────► Ended(Renewed)      its voucher is posted, its shards move
//! new         renew_begin ── hold ── Open                pays for the first epoch of what it takes over, nothing for writing
//!       begins when what is paid for under the old one ends: no epoch is paid twice, and none is not
//! ```

use super::{Answer, Contract, Host, Opening, check_hold};
use crate::{Event, ReplayError};
use fondaco_contract::{Charge, ContractId, Ending, Input, State, Tab, Terms};
use fondaco_crypto::{EntityId, Signature};
use fondaco_ledger::{Hold, SignedVoucher};
use fondaco_ports::market::{Reason, Response};
use fondaco_units::{Amount, Bytes, Timestamp};

impl Host {
    /// Checks all about the terms of a renewal that can be checked without the issuer.
    ///
    /// # Errors
    ///
    /// As [`Host::open_begin`] but `Clock` and `Newcomer`; all about the contract renewed, which may be another's that `peer`
    /// has a mandate to take over; `WrongRenewal`.
    pub fn renew_begin(
        &self,
        now: Timestamp,
        peer: EntityId,
        terms: &Terms,
        buyer_signature: &Signature,
        voucher: &SignedVoucher,
    ) -> Result<Opening, Reason> {
        if peer != terms.buyer {
            return Err(Reason::NotYours);
        }
        if terms.prices.provider != self.provider() {
            return Err(Reason::NotProvider);
        }
        let from = terms.renews.ok_or(Reason::Malformed)?;
        if self.contracts.contains_key(&terms.id()) {
            self.open_contract(now, peer, terms.id())?;
            return Ok(Opening::Known(self.renewed(from, terms)));
        }
        let old = self.renewable(now, peer, from)?;
        self.check_terms(now, terms, buyer_signature)?;
        if let State::Ending { at } = old.state {
            return Err(Reason::Leaving { at });
        }
        let begins_max = old.terms.paid_until(old.tab.epochs_paid);
        let size_min = old.tab.stored;
        let follows = terms.begins <= begins_max
            && terms.size_max >= size_min
            && terms.prices.currency == old.terms.prices.currency;
        if !follows {
            return Err(Reason::WrongRenewal { begins_max, size_min });
        }
        let wanted = terms.size_max.saturating_sub(old.terms.size_max);
        let free = self.room(peer);
        if wanted > free {
            return Err(Reason::NoRoom { free, wanted });
        }
        Ok(Opening::Ask(voucher.voucher.hold))
    }

    /// Signs a renewal, given the hold that its voucher names, as the issuer knows it. In one event the old contract ends,
    /// the new one is open, and all shards are its.
    pub fn renew_finish(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        terms: &Terms,
        buyer_signature: &Signature,
        voucher: &SignedVoucher,
        hold: Option<&Hold>,
    ) -> Answer {
        let renew = |host: &mut Self| {
            match host.renew_begin(now, peer, terms, buyer_signature, voucher)? {
                Opening::Known(response) => return Ok(Answer::at_once(response)),
                Opening::Ask(_) => {}
            }
            let (amount_max, expires) = check_hold(terms, voucher, hold)?;
            let from = terms.renews.ok_or(Reason::Malformed)?;
            let bytes = host.renewable(now, peer, from)?.tab.stored;
            let mut tab = Tab::default();
            for charge in [Charge::Open, Charge::Store { bytes, epochs: 1 }] {
                tab.admit(terms, charge, voucher.voucher.cumulative)?;
            }
            let (terms, voucher) = (*terms, *voucher);
            let event = Event::Renewed { from, at: now, terms, voucher, amount_max, expires };
            host.apply(&event).map_err(|_| Reason::Failed)?;
            Ok(Answer::after(event, host.renewed(from, &terms)))
        };
        renew(self).into()
    }

    fn renewed(&self, from: ContractId, terms: &Terms) -> Response {
        let provider_signature = terms.sign_as_provider(&self.key);
        let tab = self.contracts.get(&from).map(|old| old.tab).unwrap_or_default();
        Response::Renewed { provider_signature, tab }
    }

    /// Moves all shards of `from` to a new contract, and ends it.
    pub(super) fn take_over(
        &mut self,
        from: ContractId,
        at: Timestamp,
        terms: &Terms,
        voucher: &SignedVoucher,
        amount_max: Amount,
        expires: Timestamp,
    ) -> Result<(), ReplayError> {
        let successor = terms.id();
        if self.contracts.contains_key(&successor) {
            return Ok(());
        }
        let old = self.contracts.get_mut(&from).ok_or(ReplayError::Unopened { contract: from })?;
        let renewing = old.state.step(Input::Renew { successor });
        old.state = renewing.unwrap_or(old.state).end(at, Ending::Renewed);
        let bytes = std::mem::replace(&mut old.tab.stored, Bytes::ZERO);
        let shards = std::mem::take(&mut old.shards);
        // It names the old contract, so that nothing is found by it any more; the next one takes its shard away.
        let mark = old.mark.take().filter(|_| old.terms.buyer == terms.buyer);
        let (since, before) = (old.since, old.terms.buyer);
        let had_by = if before == terms.buyer { old.had_by } else { Some(before) };
        let tab = Tab::default()
            .after(terms, Charge::Open)
            .and_then(|tab| tab.after(terms, Charge::Store { bytes, epochs: 1 }))
            .unwrap_or_default();
        let contract = Contract {
            terms: *terms,
            amount_max,
            expires,
            voucher: *voucher,
            tab: Tab { stored: bytes, ..tab },
            shards,
            state: State::Open,
            paid: None,
            read: None,
            mark,
            since,
            had_by,
        };
        self.by_buyer.insert((terms.buyer, successor));
        self.contracts.insert(successor, contract);
        Ok(())
    }

    /// Announces that the provider leaves at `at`: each contract that would last longer ends then, but not before an epoch
    /// has gone by, nor within an epoch that is paid for. Repeating it does nothing.
    pub fn leave(&mut self, now: Timestamp, at: Timestamp) -> Vec<Event> {
        let lasting = self.contracts.iter().filter(|(_, contract)| {
            contract.state_at(now) == State::Open && contract.terms.ends > at
        });
        let events: Vec<Event> = lasting
            .map(|(id, contract)| {
                let terms = &contract.terms;
                let at = at.max(now.after(terms.prices.epoch));
                let whole = terms.paid_until(terms.epoch_at(at).saturating_add(1));
                Event::Leaving { contract: *id, at: whole }
            })
            .collect();
        self.apply_all(events)
    }

    /// Ends every contract of which shards were kept: they are lost. What was served until then is posted.
    pub fn lose(&mut self, now: Timestamp) -> Vec<Event> {
        let stocked = self.contracts.iter().filter(|(_, contract)| {
            !contract.state_at(now).has_ended() && !contract.shards.is_empty()
        });
        let events: Vec<Event> = stocked
            .map(|(id, _)| Event::Ended { contract: *id, at: now, why: Ending::Lost })
            .collect();
        self.apply_all(events)
    }

    fn apply_all(&mut self, mut events: Vec<Event>) -> Vec<Event> {
        // Each is of a contract just found, so that none is refused.
        events.retain(|event| self.apply(event).is_ok());
        events
    }
}
