//! Serving what is paid for: putting, getting, advancing, deleting.

use super::{
    Answer, Begun, Contract, Host, PUT_AGE_MAX, PUTS_MAX, PUTS_PER_CONTRACT_MAX, Put, PutId,
    ReadPlan, SHARD_MAX, SHARDS_MAX, Stepped,
};
use crate::Event;
use fondaco_audit::ShardId;
use fondaco_contract::{Charge, ContractId, Deletion, State, Tab, Terms, read_charged};
use fondaco_crypto::EntityId;
use fondaco_ledger::SignedVoucher;
use fondaco_ports::market::{Reason, Response};
use fondaco_units::{Bytes, Timestamp};

impl Host {
    /// Begins to put a shard, and keeps room for it under its contract.
    ///
    /// # Errors
    ///
    /// About the contract; `WrongSize`, `Leaving`, `WrongEpoch`, `Late`, `ShardTooLong`, `TooManyShards`, `OverSize`,
    /// `Busy`.
    pub fn put_begin(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        id: ContractId,
        shard: ShardId,
        size: Bytes,
        epoch: u64,
    ) -> Result<Begun, Reason> {
        let contract = self.open_contract(now, peer, id)?;
        if let Some(&kept) = contract.shards.get(&shard) {
            return if kept == size {
                Ok(Begun::Have)
            } else {
                Err(Reason::WrongSize { size: kept })
            };
        }
        // Before all that a buyer may take for a sign that there is nothing of it.
        if self.is_putting(id, shard) {
            return Err(Reason::Busy);
        }
        if let State::Ending { at } = contract.state {
            return Err(Reason::Leaving { at });
        }
        let (terms, tab) = (&contract.terms, &contract.tab);
        is_due(terms, tab, epoch, now)?;
        if size > SHARD_MAX {
            return Err(Reason::ShardTooLong { size, size_max: SHARD_MAX });
        }
        self.has_room(contract, size, |_| true)?;
        let moved = terms.epoch_at(now).max(epoch);
        self.pace_of(now, id, size)?;
        let put = PutId(self.put_next);
        self.put_next += 1;
        self.puts.insert(put, Put { contract: id, shard, size, epoch, moved, taken: 0 });
        Ok(if size == Bytes::ZERO { Begun::Empty(put) } else { Begun::Ready(put) })
    }

    /// Sees that a contract has room for another put of `size`, beside those under way that are `counted`.
    fn has_room(
        &self,
        contract: &Contract,
        size: Bytes,
        counted: impl Fn(PutId) -> bool,
    ) -> Result<(), Reason> {
        let (terms, id) = (&contract.terms, contract.terms.id());
        let (mut all_puts, mut puts, mut coming) = (0, 0, 0);
        for (_, put) in self.puts.iter().filter(|(put, _)| counted(**put)) {
            all_puts += 1;
            if put.contract == id {
                puts += 1;
                coming += u128::from(put.size.get());
            }
        }
        if contract.shards.len() + puts >= SHARDS_MAX as usize {
            return Err(Reason::TooManyShards { shards_max: SHARDS_MAX });
        }
        let all = u128::from(contract.tab.stored.get()) + u128::from(size.get()) + coming;
        let size_max = terms.size_max;
        if all > u128::from(size_max.get()) {
            let all = Bytes::new(u64::try_from(all).unwrap_or(u64::MAX));
            return Err(Reason::OverSize { size: all, size_max });
        }
        if all_puts >= PUTS_MAX || puts >= PUTS_PER_CONTRACT_MAX {
            return Err(Reason::Busy);
        }
        Ok(())
    }

    /// Returns whether a put would have room under a contract if those of `gone` were given up first.
    pub fn fits_without(&self, id: ContractId, size: Bytes, gone: &[PutId]) -> bool {
        let contract = self.contracts.get(&id);
        let has_room = |contract| self.has_room(contract, size, |put| !gone.contains(&put)).is_ok();
        contract.is_some_and(has_room)
    }

    /// Returns whether a put of this shard is under way under a contract.
    pub fn is_putting(&self, id: ContractId, shard: ShardId) -> bool {
        self.puts.values().any(|put| (put.contract, put.shard) == (id, shard))
    }

    /// Takes up a put whose stream broke; returns it and where it goes on. Nothing if there is none of this shard and size.
    /// What was asked for last counts: the shard will be paid for from `epoch`; from where it was, if that is not paid for yet, so
    /// that its buyer may ask before it pays.
    ///
    /// # Errors
    ///
    /// About the contract; `WrongEpoch`.
    pub fn put_resume(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        id: ContractId,
        shard: ShardId,
        size: Bytes,
        epoch: u64,
    ) -> Result<Option<(PutId, Bytes)>, Reason> {
        let contract = self.open_contract(now, peer, id)?;
        let is_paid = match is_due(&contract.terms, &contract.tab, epoch, now) {
            Err(Reason::Late { .. }) => false,
            due => due.map(|()| true)?,
        };
        let is_it = |put: &Put| (put.contract, put.shard, put.size) == (id, shard, size);
        let found = self.puts.iter_mut().find(|(_, put)| is_it(put));
        Ok(found.map(|(id, put)| {
            if is_paid {
                put.epoch = epoch;
            }
            (*id, Bytes::new(put.taken))
        }))
    }

    /// Returns how many epochs have begun, and are paid for, since a put began or took a whole step: what it has is kept for nothing.
    pub fn put_age(&self, now: Timestamp, put: PutId) -> u64 {
        let Some(put) = self.puts.get(&put) else { return 0 };
        let Some(contract) = self.contracts.get(&put.contract) else { return 0 };
        contract.epoch_paid(now).saturating_sub(put.moved)
    }

    /// Gives a put up whose bytes its buyer cannot go on behind: what they were charged is taken back.
    pub fn put_refund(&mut self, put: PutId) {
        let Some(put) = self.puts.remove(&put) else { return };
        if let Some(contract) = self.contracts.get_mut(&put.contract) {
            let written = &mut contract.tab.meter.written;
            *written = written.saturating_sub(put.taken);
        }
    }

    /// Returns an event as it is made durable: without what puts under way were charged. A crash forgets their bytes, and
    /// must forget what was paid for them, or the buyer would pay for them twice.
    pub(super) fn durable(&self, mut event: Event) -> Event {
        if let Event::Stored { contract, tab, .. }
        | Event::Metered { contract, tab, .. }
        | Event::Read { contract, tab, .. } = &mut event
        {
            *tab = self.durable_tab(*contract, *tab);
        }
        match event {
            // It may take the place of an event that counted a read, and was not written yet.
            Event::Metered { contract, tab, voucher } => {
                let read = self.contracts.get(&contract).and_then(|contract| contract.read);
                read.map_or(event, |read| read.event(contract, tab, voucher))
            }
            event => event,
        }
    }

    pub(super) fn durable_tab(&self, id: ContractId, mut tab: Tab) -> Tab {
        let of = |put: &&Put| put.contract == id;
        let taken: u64 = self.puts.values().filter(of).map(|put| put.taken).sum();
        tab.meter.written = tab.meter.written.saturating_sub(taken);
        tab
    }

    /// Charges for the next `length` bytes of a put, and sees that keeping it all is paid for if they are the last.
    ///
    /// What is charged is durable with the event of [`Host::put_commit`] or [`Host::put_abort`]; call one of them.
    ///
    /// # Errors
    ///
    /// `Malformed` without such a put; `Ended`; `WrongEpoch`, if it is [`PUT_AGE_MAX`] epochs old ([`Host::put_age`]); about the
    /// voucher; `WrongStep`, `Overflow`, `Unpaid`.
    pub fn put_step(
        &mut self,
        now: Timestamp,
        put_id: PutId,
        voucher: &SignedVoucher,
        length: u64,
    ) -> Result<Stepped, Reason> {
        let put = *self.puts.get(&put_id).ok_or(Reason::Malformed)?;
        let buyer = self.buyer(put.contract)?;
        let contract = self.open_contract(now, buyer, put.contract)?;
        let terms = &contract.terms;
        if self.put_age(now, put_id) >= PUT_AGE_MAX {
            return Err(Reason::WrongEpoch { epoch: terms.epoch_at(now) });
        }
        let highest = contract.highest(voucher)?;
        let left = put.size.get().saturating_sub(put.taken);
        let length_max = terms.prices.step_max.get().min(left);
        if length == 0 || length > length_max {
            return Err(Reason::WrongStep { length, length_max: Bytes::new(length_max) });
        }
        let authorised = highest.voucher.cumulative;
        let mut tab = contract.tab;
        tab.admit(terms, Charge::Write { bytes: Bytes::new(length) }, authorised)?;
        let is_last = length == left;
        if is_last {
            // Only looked at: it is charged when the shard is known to be what its name says.
            let mut kept = tab;
            kept.admit(terms, put.charge(&tab), authorised)?;
        }
        let taken = put.taken + length;
        // Who sends a byte now and then has nothing kept for it.
        let is_whole = is_last || length == terms.prices.step_max.get();
        let since = put.epoch.max(contract.epoch_paid(now));
        let moved = if is_whole { put.moved.max(since) } else { put.moved };
        self.puts.insert(put_id, Put { taken, moved, ..put });
        if let Some(contract) = self.contracts.get_mut(&put.contract) {
            contract.raise(&tab, &highest);
        }
        Ok(if is_last { Stepped::Whole } else { Stepped::More { at: Bytes::new(taken) } })
    }

    /// Ends a put whose bytes are all written and durable; `content` is the name that they hash to.
    ///
    /// A refusal still has an event: what the bytes in were charged.
    pub fn put_commit(&mut self, now: Timestamp, put: PutId, content: ShardId) -> Answer {
        let Some(put) = self.puts.remove(&put) else {
            return Err(Reason::Malformed).into();
        };
        match self.store(now, &put, content) {
            Ok(answer) => answer,
            Err(reason) => Answer { event: self.metered(&put), ..Err(reason).into() },
        }
    }

    fn store(&mut self, now: Timestamp, put: &Put, content: ShardId) -> Result<Answer, Reason> {
        let buyer = self.buyer(put.contract)?;
        let contract = self.open_contract(now, buyer, put.contract)?;
        if put.taken != put.size.get() {
            return Err(Reason::Malformed);
        }
        if content != put.shard {
            return Err(Reason::WrongContent);
        }
        let voucher = contract.voucher;
        let mut tab = contract.tab;
        tab.admit(&contract.terms, put.charge(&tab), voucher.voucher.cumulative)?;
        let Put { contract, shard, size, .. } = *put;
        self.happen(Event::Stored { contract, shard, size, tab, voucher }, Response::Stored)
    }

    /// Gives a put up; returns what the bytes in were charged, to be made durable in time.
    pub fn put_abort(&mut self, put: PutId) -> Option<Event> {
        let put = self.puts.remove(&put)?;
        self.metered(&put)
    }

    fn metered(&self, put: &Put) -> Option<Event> {
        let contract = self.contracts.get(&put.contract).filter(|_| put.taken > 0)?;
        let (tab, voucher) = (contract.tab, contract.voucher);
        Some(self.durable(Event::Metered { contract: put.contract, tab, voucher }))
    }

    /// Checks that a read is paid for, and says what to read. Nothing is charged before [`Host::get_commit`], so that
    /// a damaged shard costs its buyer nothing.
    ///
    /// # Errors
    ///
    /// About the contract and the voucher; `UnknownShard`, `WrongRange`, `WrongStep`, `Overflow`, `Unpaid`.
    // The request's fields, in its order.
    #[allow(clippy::too_many_arguments)]
    pub fn get_begin(
        &self,
        now: Timestamp,
        peer: EntityId,
        id: ContractId,
        shard: ShardId,
        offset: Bytes,
        length: Bytes,
        voucher: &SignedVoucher,
    ) -> Result<ReadPlan, Reason> {
        let contract = self.open_contract(now, peer, id)?;
        let voucher = contract.highest(voucher)?;
        let size = self.readable(now, contract, shard)?;
        let bytes = read_charged(offset, length, size).ok_or(Reason::WrongRange { size })?;
        let length_max = contract.terms.prices.step_max;
        if length > length_max {
            return Err(Reason::WrongStep { length: length.get(), length_max });
        }
        let charge = Charge::Read { bytes };
        let mut tab = contract.tab;
        tab.admit(&contract.terms, charge, voucher.voucher.cumulative)?;
        let range = offset.get()..offset.get() + length.get(); // within the shard, so it does not wrap
        Ok(ReadPlan { contract: id, shard, range, charge, is_proof: false, voucher })
    }

    /// Charges for a read whose slice is in hand; returns what to make durable in time; the provider alone
    /// loses by a crash before that.
    ///
    /// # Errors
    ///
    /// `UnknownContract`; `Ended` meanwhile; `Unpaid`: others were served from the same voucher meanwhile.
    pub fn get_commit(&mut self, plan: &ReadPlan) -> Result<Event, Reason> {
        let contract = self.contracts.get(&plan.contract).ok_or(Reason::UnknownContract)?;
        // The voucher to post was named when it ended: a higher one of now would never be paid.
        if let Some(why) = contract.state.why() {
            return Err(Reason::Ended { why });
        }
        let highest = if plan.voucher.voucher.cumulative > contract.voucher.voucher.cumulative {
            plan.voucher
        } else {
            contract.voucher
        };
        let mut tab = contract.tab;
        tab.admit(&contract.terms, plan.charge, highest.voucher.cumulative)?;
        let event = plan.event(tab, highest);
        self.apply(&event).map_err(|_| Reason::Failed)?;
        Ok(self.durable(event))
    }

    /// Keeps everything of a contract for one more epoch.
    pub fn advance(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        id: ContractId,
        voucher: &SignedVoucher,
    ) -> Answer {
        let advance = |host: &mut Self| {
            let contract = host.open_contract(now, peer, id)?;
            let voucher = contract.highest(voucher)?;
            let mut tab = contract.tab;
            tab.admit(&contract.terms, Charge::Advance, voucher.voucher.cumulative)?;
            let response = Response::Advanced { epochs_paid: tab.epochs_paid };
            host.happen(Event::Metered { contract: id, tab, voucher }, response)
        };
        advance(self).into()
    }

    /// Keeps a shard no longer, and says so signed. Of one that is not kept, the answer is the same, of no bytes.
    pub fn delete(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        id: ContractId,
        shard: ShardId,
    ) -> Answer {
        let delete = |host: &mut Self| {
            let contract = host.open_contract(now, peer, id)?;
            let size = contract.shards.get(&shard).copied();
            let freed = size.unwrap_or(Bytes::ZERO);
            let deletion = Deletion { contract: id, shard: *shard.digest(), at: now, freed };
            let response = Response::Deleted { receipt: deletion.sign(&host.key) };
            match size {
                None => Ok(Answer::at_once(response)),
                Some(_) => host.happen(Event::Deleted { contract: id, shard }, response),
            }
        };
        delete(self).into()
    }

    fn buyer(&self, id: ContractId) -> Result<EntityId, Reason> {
        self.contracts.get(&id).map(|contract| contract.terms.buyer).ok_or(Reason::UnknownContract)
    }
}

/// Sees that a put may begin in this epoch: that it is now, and that all that is kept is paid for until it ends.
fn is_due(terms: &Terms, tab: &Tab, epoch: u64, now: Timestamp) -> Result<(), Reason> {
    if !terms.epoch_is_near(epoch, now) {
        return Err(Reason::WrongEpoch { epoch: terms.epoch_at(now) });
    }
    if epoch >= tab.epochs_paid {
        return Err(Reason::Late { paid_until: terms.paid_until(tab.epochs_paid) });
    }
    Ok(())
}
