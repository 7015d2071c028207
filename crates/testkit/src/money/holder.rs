//! A holder's agent: the production outbox over the production journal.

use std::collections::{BTreeMap, BTreeSet};

use fondaco_codec::{Decode, Encode, Text};
use fondaco_crypto::{CurrencyId, Digest, EntityId, SecretKey};
use fondaco_lcp::{Deposit, Outbox, OutboxError, Request, RequestId, Response};
use fondaco_ledger::{HoldId, SignedVoucher, Voucher};
use fondaco_store::{Journal, Kind, OpenError};
use fondaco_units::{Amount, Duration, Timestamp};

use super::{Directory, ISSUER, Place, Wire, oracle};
use crate::{Rng, SimDisk};

const KIND: Kind = Kind::new(*b"holder\0\0", 1);
const OUTBOX: u8 = 1;
const DEPOSIT: u8 = 2;

/// What a holder must not forget.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    outbox: Outbox,
    deposits: Vec<Deposit>,
}

impl State {
    fn new(outbox: Outbox) -> Self {
        Self { outbox, deposits: Vec::new() }
    }

    fn replay(&mut self, record: &[u8]) -> Result<(), String> {
        match record.split_first() {
            Some((&OUTBOX, rest)) => self.outbox.replay(rest).map_err(|error| error.to_string()),
            Some((&DEPOSIT, rest)) => {
                let deposit = Deposit::from_bytes(rest).map_err(|error| error.to_string())?;
                self.deposits.push(deposit);
                Ok(())
            }
            Some(_) | None => Err("not a record of a holder".to_owned()),
        }
    }
}

pub(super) struct HolderNode {
    place: Place,
    key: SecretKey,
    is_treasurer: bool,
    disk: SimDisk,
    rng: Rng,
    up: Option<(Journal<SimDisk>, State)>,
    sound: State,
    /// Its outbox before anything was in it.
    fresh: Outbox,
    tried: Option<State>,
    /// The planted fault: records are saved one turn after they were acted on.
    saves_late: bool,
    unsaved: Vec<Vec<u8>>,
    intents_left: u64,
    /// Every command that it ever thought of, saved or not: what the run knows, not the holder.
    ids: BTreeSet<RequestId>,
    /// The best voucher for each hold, in memory only: its payer sends another.
    vouchers: BTreeMap<HoldId, SignedVoucher>,
    cashed: BTreeSet<HoldId>,
}

type Sent = Vec<(Place, Place, Wire)>;

impl HolderNode {
    pub(super) fn new(
        place: Place,
        key: SecretKey,
        currency: CurrencyId,
        is_treasurer: bool,
        saves_late: bool,
        mut rng: Rng,
    ) -> Self {
        let outbox = Outbox::new(currency, key.entity());
        Self {
            place,
            key,
            is_treasurer,
            disk: SimDisk::new(),
            up: None,
            sound: State::new(outbox.clone()),
            fresh: outbox,
            tried: None,
            saves_late,
            unsaved: Vec::new(),
            intents_left: 10 + rng.below(40),
            ids: BTreeSet::new(),
            vouchers: BTreeMap::new(),
            cashed: BTreeSet::new(),
            rng,
        }
    }

    pub(super) fn entity(&self) -> EntityId {
        self.key.entity()
    }

    pub(super) const fn disk(&self) -> &SimDisk {
        &self.disk
    }

    pub(super) const fn is_up(&self) -> bool {
        self.up.is_some()
    }

    pub(super) fn for_oracle(&self) -> oracle::Holder<'_> {
        oracle::Holder {
            entity: self.entity(),
            outbox: &self.sound.outbox,
            deposits: &self.sound.deposits,
            ids: &self.ids,
        }
    }

    /// Whether nothing is left to be sent or learnt, of `arrived` deposits.
    pub(super) fn is_drained(&self, arrived: usize) -> bool {
        let settled = |(_, state): &(_, State)| {
            state.outbox.pending().next().is_none() && state.deposits.len() == arrived
        };
        self.unsaved.is_empty() && self.up.as_ref().is_some_and(settled)
    }

    /// Loses power, or its process only.
    pub(super) fn go_down(&mut self) {
        let power = self.disk.is_dead() || self.rng.chance(50);
        self.disk = if power { self.disk.crash(&mut self.rng) } else { self.disk.kill() };
        self.disk.set_capacity(u64::MAX);
        self.up = None;
        self.unsaved.clear();
        self.vouchers.clear();
    }

    pub(super) fn heal(&mut self) {
        self.disk.heal();
        self.disk.set_capacity(u64::MAX);
    }

    pub(super) fn restart(&mut self) -> Result<(), String> {
        let mut state = State::new(self.fresh.clone());
        let replay = |record: &[u8]| state.replay(record);
        let journal = match Journal::open(self.disk.clone(), KIND, replay) {
            Ok(journal) => journal,
            Err(OpenError::Disk { .. }) => {
                self.go_down();
                return Ok(());
            }
            Err(error) => return Err(format!("holder {} does not start: {error}", self.place)),
        };
        let tried = self.tried.take();
        if state != self.sound && Some(&state) != tried.as_ref() {
            return Err(format!("holder {} lost what it had saved", self.place));
        }
        self.sound = state.clone();
        self.up = Some((journal, state));
        Ok(())
    }

    /// Acts, most often not at all; with `is_wanting`, on new wishes too.
    pub(super) fn turn(
        &mut self,
        now: Timestamp,
        directory: &Directory,
        is_wanting: bool,
        sent: &mut Sent,
    ) -> Result<(), String> {
        let late = std::mem::take(&mut self.unsaved);
        if !late.is_empty() && !self.save(late) {
            return Ok(());
        }
        if is_wanting && self.intents_left > 0 && self.rng.chance(25) {
            self.intents_left -= 1;
            let request = self.wish(now, directory);
            self.intend(request, sent)?;
        }
        if self.rng.chance(15) {
            self.cash(sent)?;
        }
        if is_wanting && self.rng.chance(20) {
            self.hand_out_voucher(directory, sent);
        }
        if is_wanting && self.rng.chance(20) {
            self.acknowledge(sent)?;
        }
        let hurry = if is_wanting { 25 } else { 100 };
        let Some((_, state)) = &self.up else { return Ok(()) };
        for (id, request) in state.outbox.pending() {
            if self.rng.chance(hurry) {
                sent.push((self.place, ISSUER, ask(request, Some(*id))));
            }
        }
        if self.rng.chance(hurry) {
            let after = state.deposits.len() as u64;
            sent.push((
                self.place,
                ISSUER,
                ask(&Request::Deposits { after, wait: Duration::ZERO }, None),
            ));
        }
        Ok(())
    }

    fn wish(&mut self, now: Timestamp, directory: &Directory) -> Request {
        let rng = &mut self.rng;
        let id = RequestId::new(u128::from_le_bytes(rng.array()));
        let to = directory.any_payee(rng);
        // Zero and more than there is are asked for as well.
        let amount = Amount::new(match rng.below(8) {
            0 => rng.below(3),
            1 => rng.below(100_000),
            _ => rng.below(500),
        });
        if self.is_treasurer {
            match rng.below(10) {
                0 => return Request::Redeem { id, amount },
                1 => {}
                _ => return Request::Mint { id, to, amount },
            }
        }
        let expires = now.after(Duration::from_milliseconds(rng.below(15_000)));
        if rng.chance(35) {
            let order = Digest::of(&id.get().to_le_bytes());
            return Request::HoldOpen {
                id,
                payee: to,
                amount_max: amount,
                order,
                expires,
                open_by: expires,
            };
        }
        // The order is the payer's name for the payment, so that the oracle can tell payments apart.
        let order = Text::cut(&id.to_string());
        Request::Transfer { id, to, amount, fee_max: Amount::new(rng.below(4)), order }
    }

    /// Cashes the voucher of a hold, or gives the hold up.
    fn cash(&mut self, sent: &mut Sent) -> Result<(), String> {
        let held: Vec<SignedVoucher> = self.vouchers.values().copied().collect();
        let Some(voucher) = self.rng.pick(&held).copied() else { return Ok(()) };
        let hold = voucher.voucher.hold;
        // An honest payee cashes once. Whether its word was saved is not known here, so that it
        // may come twice after a crash; the ledger sees to that.
        if !self.cashed.insert(hold) {
            return Ok(());
        }
        let id = RequestId::new(u128::from_le_bytes(self.rng.array()));
        let gives_up = self.rng.chance(15);
        let request = match gives_up {
            true => Request::HoldVoid { id, hold },
            false => Request::HoldPost { id, voucher },
        };
        self.intend(request, sent)
    }

    /// Sends a voucher for a hold of its own to the payee.
    fn hand_out_voucher(&mut self, directory: &Directory, sent: &mut Sent) {
        let Some((_, state)) = &self.up else { return };
        let ids: Vec<RequestId> = self.ids.iter().copied().collect();
        let Some(id) = self.rng.pick(&ids) else { return };
        let Some(Request::HoldOpen { payee, amount_max, .. }) = state.outbox.request(*id) else {
            return;
        };
        let Some(Response::HoldOpened { hold, .. }) = state.outbox.outcome(*id) else { return };
        let Some(place) = directory.place_of(*payee) else { return };
        let cumulative = Amount::new(self.rng.below(amount_max.get() + 1));
        let voucher = Voucher { currency: directory.currency.id, hold: *hold, cumulative };
        sent.push((self.place, place, Wire::Voucher(Box::new(voucher.sign(&self.key)))));
    }

    fn acknowledge(&mut self, sent: &mut Sent) -> Result<(), String> {
        let Some((_, state)) = &self.up else { return Ok(()) };
        let through = state.deposits.len() as u64;
        if through == 0 || self.rng.chance(70) {
            return Ok(());
        }
        let id = RequestId::new(u128::from_le_bytes(self.rng.array()));
        self.intend(Request::AckDeposits { id, through }, sent)
    }

    /// Takes up a command: saves it first, so that it can be sent.
    fn intend(&mut self, request: Request, sent: &mut Sent) -> Result<(), String> {
        let Some((_, state)) = &mut self.up else { return Ok(()) };
        let Some(id) = request.id() else { return Ok(()) };
        let message = ask(&request, Some(id));
        let record = state.outbox.prepare(request).map_err(|error| error.to_string())?;
        self.ids.insert(id);
        let record = [&[OUTBOX], &record[..]].concat();
        if self.saves_late {
            sent.push((self.place, ISSUER, message));
            self.unsaved.push(record);
            return Ok(());
        }
        if self.save(vec![record]) {
            sent.push((self.place, ISSUER, message));
        }
        Ok(())
    }

    /// Whether the records are durable; if not, the machine is down.
    fn save(&mut self, records: Vec<Vec<u8>>) -> bool {
        let Some((journal, state)) = &mut self.up else { return false };
        if records.is_empty() {
            return true;
        }
        if journal.append(&records).is_ok() {
            self.sound = state.clone();
            return true;
        }
        self.tried = Some(state.clone());
        self.go_down();
        false
    }

    pub(super) fn hear(&mut self, wire: Wire) -> Result<(), String> {
        let Some((_, state)) = &mut self.up else { return Ok(()) };
        let (about, response) = match wire {
            Wire::Voucher(voucher) => {
                let known = self.vouchers.entry(voucher.voucher.hold).or_insert(*voucher);
                if known.voucher.cumulative < voucher.voucher.cumulative {
                    *known = *voucher;
                }
                return Ok(());
            }
            Wire::Ask { .. } => return Ok(()),
            Wire::Answer { about, frame } => {
                (about, Response::from_frame(&frame).map_err(|error| error.to_string())?)
            }
        };
        let mut records = Vec::new();
        match (about, response) {
            (Some(id), response) => {
                let is_new = state.outbox.outcome(id).is_none();
                match state.outbox.settle(id, &response) {
                    Ok(record) if is_new => records.push([&[OUTBOX], &record[..]].concat()),
                    Ok(_) | Err(OutboxError::NotYet { .. }) => {}
                    Err(error) => return Err(format!("holder {}: {error}", self.place)),
                }
            }
            (None, Response::Deposits { list, .. }) => {
                for deposit in list.as_slice() {
                    if deposit.number == state.deposits.len() as u64 + 1 {
                        state.deposits.push(deposit.clone());
                        records.push([&[DEPOSIT], &deposit.to_bytes()[..]].concat());
                    }
                }
            }
            (None, _) => {}
        }
        if self.saves_late {
            self.unsaved.extend(records);
        } else {
            self.save(records);
        }
        Ok(())
    }
}

fn ask(request: &Request, about: Option<RequestId>) -> Wire {
    Wire::Ask { about, frame: request.to_frame() }
}
