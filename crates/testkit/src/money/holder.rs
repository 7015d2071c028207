//! A holder's agent: the production outbox over the production journal.

use std::collections::{BTreeMap, BTreeSet};

use fondaco_codec::{Decode, Encode, List, Text};
use fondaco_crypto::{CurrencyId, Digest, EntityId, SecretKey};
use fondaco_lcp::{
    Deposit, Outbox, OutboxError, Refusal, Request, RequestId, Response, Rotation, Step,
};
use fondaco_ledger::{HoldId, SignedVoucher, Voucher};
use fondaco_store::{Journal, Kind, OpenError};
use fondaco_units::{Amount, Duration, Timestamp};

use super::{Directory, ISSUER, Place, Wire, issuer::IssuerNode, oracle};
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
    /// The key that it begins with, and the one that it may change to.
    keys: [SecretKey; 2],
    /// The commands by which it tried to change its key.
    rotations: Vec<RequestId>,
    /// An answer has told that the key is changed, before the answer to the change itself came.
    told_rotated: bool,
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
        let keys = [key, SecretKey::from_bytes(&rng.array())];
        Self {
            place,
            keys,
            rotations: Vec::new(),
            told_rotated: false,
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

    /// Whom others know it as.
    pub(super) fn entity(&self) -> EntityId {
        self.keys[0].entity()
    }

    /// The key that it has now, as far as it knows.
    fn key(&self) -> &SecretKey {
        let done = |id: &RequestId| {
            let outcome = self.up.as_ref().and_then(|(_, state)| state.outbox.outcome(*id));
            matches!(outcome, Some(Response::Rotated { .. }))
        };
        &self.keys[usize::from(self.told_rotated || self.rotations.iter().any(done))]
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

    /// What is left to be sent or learnt.
    pub(super) fn unrest(&self, issuer: &IssuerNode) -> Option<String> {
        let place = self.place;
        let Some((_, state)) = self.up.as_ref().filter(|_| self.unsaved.is_empty()) else {
            return Some(format!("holder {place} is down"));
        };
        if let Some((_, request)) = state.outbox.pending().next() {
            return Some(format!("holder {place} has {request:?} to send"));
        }
        let (arrived, known) = (issuer.deposits_of(self.entity()), state.deposits.len());
        (arrived != known)
            .then(|| format!("holder {place} has learnt of {known} of {arrived} deposits"))
    }

    /// Loses power, or its process only.
    pub(super) fn go_down(&mut self) {
        let power = self.disk.is_dead() || self.rng.chance(50);
        self.disk = if power { self.disk.crash(&mut self.rng) } else { self.disk.kill() };
        self.disk.set_capacity(u64::MAX);
        self.up = None;
        self.unsaved.clear();
        self.vouchers.clear();
        self.told_rotated = false;
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
            self.cash(now, sent)?;
        }
        if is_wanting && self.rng.chance(20) {
            self.hand_out_voucher(directory, sent);
        }
        if is_wanting && self.rng.chance(20) {
            self.acknowledge(now, sent)?;
        }
        let hurry = if is_wanting { 25 } else { 100 };
        let by = self.key().entity();
        let Some((_, state)) = &self.up else { return Ok(()) };
        for (id, request) in state.outbox.pending() {
            if self.rng.chance(hurry) {
                sent.push((self.place, ISSUER, ask(by, request, Some(*id))));
            }
        }
        if self.rng.chance(hurry) {
            let after = state.deposits.len() as u64;
            let query = Request::Deposits { after, wait: Duration::ZERO };
            sent.push((self.place, ISSUER, ask(by, &query, None)));
        }
        Ok(())
    }

    fn wish(&mut self, now: Timestamp, directory: &Directory) -> Request {
        let holder = self.key().entity();
        let rng = &mut self.rng;
        let id = RequestId::at(now, rng.array());
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
        match rng.below(20) {
            0..=2 => {
                let fee_max = Amount::new(3);
                let step = |rng: &mut Rng, number: u64| Step {
                    to: directory.any_payee(rng),
                    amount: Amount::new(if rng.chance(8) { 0 } else { rng.below(150) }),
                    order: Text::cut(&format!("{id}:{number}")),
                    linked: rng.chance(60),
                };
                let steps = (0..rng.below(6)).map(|number| step(rng, number)).collect();
                let steps = List::new(steps).expect("few steps");
                return Request::Batch { id, fee_max, steps };
            }
            3 => {
                let most = [Amount::MAX, Amount::new(rng.below(3000))];
                return Request::Accept { id, balance_max: most[rng.index(2)] };
            }
            4 => return Request::Close { id, forfeit_max: Amount::new(rng.below(500)) },
            5 if holder == self.keys[0].entity() => {
                let [old, new] = &self.keys;
                let (currency, to) = (directory.currency.id, new.entity());
                let rotation = Rotation { currency, old: holder, new: to };
                let (by_old, by_new) = (rotation.sign(old), rotation.sign(new));
                self.rotations.push(id);
                return Request::Rotate { id, to, by_old, by_new };
            }
            _ => {}
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
    fn cash(&mut self, now: Timestamp, sent: &mut Sent) -> Result<(), String> {
        let held: Vec<SignedVoucher> = self.vouchers.values().copied().collect();
        let Some(voucher) = self.rng.pick(&held).copied() else { return Ok(()) };
        let hold = voucher.voucher.hold;
        // An honest payee cashes once. Whether its word was saved is not known here, so that it
        // may come twice after a crash; the ledger sees to that.
        if !self.cashed.insert(hold) {
            return Ok(());
        }
        let id = RequestId::at(now, self.rng.array());
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
        // Vouchers are of the key that opened the hold.
        let opened = |key: &&SecretKey| {
            HoldId::derive(directory.currency.id, key.entity(), id.get()) == *hold
        };
        let Some(key) = self.keys.iter().find(opened) else { return };
        sent.push((self.place, place, Wire::Voucher(Box::new(voucher.sign(key)))));
    }

    fn acknowledge(&mut self, now: Timestamp, sent: &mut Sent) -> Result<(), String> {
        let Some((_, state)) = &self.up else { return Ok(()) };
        let through = state.deposits.len() as u64;
        if through == 0 || self.rng.chance(70) {
            return Ok(());
        }
        let id = RequestId::at(now, self.rng.array());
        self.intend(Request::AckDeposits { id, through }, sent)
    }

    /// Takes up a command: saves it first, so that it can be sent.
    fn intend(&mut self, request: Request, sent: &mut Sent) -> Result<(), String> {
        let by = self.key().entity();
        let Some((_, state)) = &mut self.up else { return Ok(()) };
        let Some(id) = request.id() else { return Ok(()) };
        let message = ask(by, &request, Some(id));
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
            // What is saved is replayed at once: that is cheaper than to copy the state, and a test more.
            let sound = &mut self.sound;
            return records.iter().all(|record| sound.replay(record).is_ok());
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
            Wire::Ask { .. } | Wire::Classic { .. } | Wire::ClassicAnswer { .. } => return Ok(()),
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
                    Err(OutboxError::NotYet { refusal: Refusal::Rotated { to }, .. })
                        if to == self.keys[1].entity() =>
                    {
                        self.told_rotated = true;
                    }
                    Ok(_) | Err(OutboxError::NotYet { .. }) => {}
                    Err(error) => {
                        let (place, before) = (self.place, state.outbox.outcome(id));
                        return Err(format!(
                            "holder {place}: {error}: {before:?}, then {response:?}"
                        ));
                    }
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
            (None, Response::Refused { refusal: Refusal::Rotated { to } })
                if to == self.keys[1].entity() =>
            {
                self.told_rotated = true;
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

fn ask(by: EntityId, request: &Request, about: Option<RequestId>) -> Wire {
    Wire::Ask { by, about, frame: request.to_frame() }
}
