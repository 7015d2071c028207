//! A holder's agent: the production outbox over the production journal.

use std::collections::{BTreeMap, BTreeSet};

use fondaco_codec::{Decode, Encode, List, Text};
use fondaco_crypto::{CurrencyId, Digest, EntityId, SecretKey};
use fondaco_lcp::{
    Deposit, Outbox, OutboxError, Refusal, Request, RequestId, Response, Rotation, Step,
};
use fondaco_ledger::{HoldId, PayWord, PayWordChain, SignedAnchor, SignedVoucher, Voucher};
use fondaco_store::{Journal, Kind, OpenError};
use fondaco_units::{Amount, Duration, Timestamp};

use super::{Directory, ISSUER, Place, Planted, Wire, oracle};
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

/// What a payee has for a hold.
#[derive(Clone, Copy)]
enum Earned {
    Voucher(SignedVoucher),
    Word(SignedAnchor, PayWord),
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
    /// Whether another device has the same key: then it stays.
    has_twin: bool,
    disk: SimDisk,
    rng: Rng,
    up: Option<(Journal<SimDisk>, State)>,
    sound: State,
    /// Its outbox before anything was in it.
    fresh: Outbox,
    currency: CurrencyId,
    tried: Option<State>,
    planted: Planted,
    /// With [`Planted::SendsBeforeSaving`], what is saved one turn after it was acted on.
    unsaved: Vec<Vec<u8>>,
    /// With [`Planted::TakesSilenceForNo`], what it believes was not done, whatever is said later.
    given_up: BTreeSet<RequestId>,
    intents_left: u64,
    /// Every command that it ever thought of, saved or not: what the run knows, not the holder.
    ids: BTreeSet<RequestId>,
    /// The best voucher or word for each hold, in memory only: its payer sends another.
    earned: BTreeMap<HoldId, Earned>,
    cashed: BTreeSet<HoldId>,
}

type Sent = Vec<(Place, Place, Wire)>;

impl HolderNode {
    pub(super) const fn keys(&self) -> &[SecretKey; 2] {
        &self.keys
    }

    pub(super) fn new(
        place: Place,
        key: SecretKey,
        currency: CurrencyId,
        is_treasurer: bool,
        planted: Planted,
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
            has_twin: false,
            disk: SimDisk::new(),
            up: None,
            sound: State::new(outbox.clone()),
            fresh: outbox,
            currency,
            tried: None,
            planted,
            unsaved: Vec::new(),
            given_up: BTreeSet::new(),
            intents_left: 10 + rng.below(40),
            ids: BTreeSet::new(),
            earned: BTreeMap::new(),
            cashed: BTreeSet::new(),
            rng,
        }
    }

    /// Makes a second device of the same holder, which has nothing of the first but the key. The key stays now.
    pub(super) fn twin(&mut self, place: Place, rng: Rng) -> Self {
        self.has_twin = true;
        let currency = self.currency;
        let mut twin = Self::new(place, self.keys[0].clone(), currency, false, self.planted, rng);
        twin.has_twin = true;
        twin
    }

    pub(super) const fn has_twin(&self) -> bool {
        self.has_twin
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

    /// The greatest number of a deposit that it has learnt of. Of those before, another device may have taken some.
    fn last_deposit(state: &State) -> u64 {
        state.deposits.last().map_or(0, |deposit| deposit.number)
    }

    /// What it has learnt of.
    pub(super) fn learnt(&self) -> impl Iterator<Item = u64> + '_ {
        let state = self.up.as_ref().map(|(_, state)| state);
        state.into_iter().flat_map(|state| state.deposits.iter().map(|deposit| deposit.number))
    }

    /// What is left to be sent.
    pub(super) fn unrest(&self) -> Option<String> {
        let place = self.place;
        let Some((_, state)) = self.up.as_ref().filter(|_| self.unsaved.is_empty()) else {
            return Some(format!("holder {place} is down"));
        };
        let (_, request) = state.outbox.pending().next()?;
        Some(format!("holder {place} has {request:?} to send"))
    }

    /// Loses power, or its process only.
    pub(super) fn go_down(&mut self) {
        let power = self.disk.is_dead() || self.rng.chance(50);
        self.disk = if power { self.disk.crash(&mut self.rng) } else { self.disk.kill() };
        self.disk.set_capacity(u64::MAX);
        self.up = None;
        self.unsaved.clear();
        self.earned.clear();
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
            self.hand_out(directory, sent);
        }
        if self.planted == Planted::TakesSilenceForNo && is_wanting && self.rng.chance(8) {
            self.give_up();
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
            let after = Self::last_deposit(state);
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
                let balance_max = most[rng.index(2)];
                return match rng.chance(50) {
                    true => Request::Accept { id, balance_max },
                    false => Request::AcceptAhead { id, balance_max },
                };
            }
            4 => return Request::Close { id, forfeit_max: Amount::new(rng.below(500)) },
            5 if holder == self.keys[0].entity() && !self.has_twin => {
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

    /// The planted fault: a command that has no answer yet is taken for one that was not done.
    fn give_up(&mut self) {
        let Some((_, state)) = &mut self.up else { return };
        let Some(id) = state.outbox.pending().next().map(|(id, _)| *id) else { return };
        let not_done = Response::Refused { refusal: Refusal::Outdated };
        if let Ok(record) = state.outbox.settle(id, &not_done) {
            self.given_up.insert(id);
            self.save(vec![[&[OUTBOX], &record[..]].concat()]);
        }
    }

    /// Cashes what was earned on a hold, or gives the hold up.
    fn cash(&mut self, now: Timestamp, sent: &mut Sent) -> Result<(), String> {
        let held: Vec<_> = self.earned.iter().map(|(hold, earned)| (*hold, *earned)).collect();
        let Some((hold, earned)) = self.rng.pick(&held).copied() else { return Ok(()) };
        // An honest payee cashes once. Whether its word was saved is not known here, so that it
        // may come twice after a crash; the ledger sees to that.
        if !self.cashed.insert(hold) {
            return Ok(());
        }
        let id = RequestId::at(now, self.rng.array());
        let gives_up = self.rng.chance(15);
        let request = match earned {
            _ if gives_up => Request::HoldVoid { id, hold },
            Earned::Voucher(voucher) => Request::HoldPost { id, voucher },
            Earned::Word(anchor, mut word) => {
                if self.planted == Planted::BelievesWords && word.index < anchor.anchor.length {
                    word.index += 1;
                }
                Request::HoldPostWord { id, anchor, word }
            }
        };
        self.intend(request, sent)
    }

    /// Sends a voucher for a hold of its own to the payee, or a word of its chain.
    fn hand_out(&mut self, directory: &Directory, sent: &mut Sent) {
        let Some((_, state)) = &self.up else { return };
        let ids: Vec<RequestId> = self.ids.iter().copied().collect();
        let Some(id) = self.rng.pick(&ids) else { return };
        let Some(Request::HoldOpen { payee, amount_max, .. }) = state.outbox.request(*id) else {
            return;
        };
        let Some(Response::HoldOpened { hold, .. }) = state.outbox.outcome(*id) else { return };
        let Some(place) = directory.place_of(*payee) else { return };
        // Vouchers are of the key that opened the hold.
        let opened = |key: &&SecretKey| {
            HoldId::derive(directory.currency.id, key.entity(), id.get()) == *hold
        };
        let Some(key) = self.keys.iter().find(opened) else { return };
        let currency = directory.currency.id;
        let wire = if id.get() % 2 == 0 {
            let cumulative = Amount::new(self.rng.below(amount_max.get() + 1));
            let voucher = Voucher { currency, hold: *hold, cumulative };
            Wire::Voucher(Box::new(voucher.sign(key)))
        } else {
            // The terms are of the hold, so that the chain is the same each time; its last words are over what is held.
            let length = 1 + u32::try_from(id.get() % 40).unwrap_or_default();
            let unit = Amount::new(1 + amount_max.get() / u64::from(length));
            let chain = PayWordChain::new(key, currency, *hold, Amount::ZERO, unit, length);
            let index = 1 + u32::try_from(self.rng.below(length.into())).unwrap_or_default();
            let Ok(chain) = chain else { return };
            let Ok(word) = chain.word(index) else { return };
            Wire::Word(Box::new((chain.anchor().sign(key), word)))
        };
        sent.push((self.place, place, wire));
    }

    fn acknowledge(&mut self, now: Timestamp, sent: &mut Sent) -> Result<(), String> {
        let Some((_, state)) = &self.up else { return Ok(()) };
        let through = Self::last_deposit(state);
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
        if self.planted == Planted::SendsBeforeSaving {
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
                let new = Earned::Voucher(*voucher);
                let known = self.earned.entry(voucher.voucher.hold).or_insert(new);
                if let Earned::Voucher(known) = known
                    && known.voucher.cumulative < voucher.voucher.cumulative
                {
                    *known = *voucher;
                }
                return Ok(());
            }
            Wire::Word(said) => {
                let (anchor, word) = *said;
                let new = Earned::Word(anchor, word);
                let known = self.earned.entry(anchor.anchor.hold).or_insert(new);
                if let Earned::Word(known, last) = known
                    && *known == anchor
                    && last.index < word.index
                {
                    *last = word;
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
            (Some(id), _) if self.given_up.contains(&id) => {}
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
                    if deposit.number > Self::last_deposit(state) {
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
        if self.planted == Planted::SendsBeforeSaving {
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
