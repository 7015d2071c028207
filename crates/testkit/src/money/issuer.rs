//! The issuer's service: the production machine over the production journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use fondaco_codec::List;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp::{
    Currency, FrameError, Issuer, IssuerOptions, Refusal, Request, RequestId, Response, Step,
    classic::{Answer, Ask, AskBody},
};
use fondaco_ledger::{Anchor, PayWord, PayWordChain, SignedAnchor};
use fondaco_store::{Head, Journal, Kind, OpenError, read_snapshot, write_snapshot};
use fondaco_units::{Amount, Duration, Timestamp};

use super::{
    Place, Planted, Wire,
    oracle::{Act, Entry},
};
use crate::{Rng, SimDisk, network::Delivery};

const KIND: Kind = Kind::new(*b"issuer\0\0", 1);

/// How many snapshots are kept.
const SNAPSHOTS_MAX: usize = 3;

/// A snapshot in a file of its own.
struct Snapshot {
    head: Head,
    /// How many entries of the log are before it.
    entries: usize,
    disk: SimDisk,
    /// What was saved: what the run knows, not the issuer.
    bytes: Vec<u8>,
}

impl Snapshot {
    /// Reads the file back, which may be damaged first.
    ///
    /// # Errors
    ///
    /// It is taken for sound, and is not what was saved.
    fn load(&self, rng: &mut Rng) -> Result<Option<&[u8]>, String> {
        let disk = match rng.chance(15) {
            true => SimDisk::with_image(damaged(self.disk.image(), rng)),
            false => self.disk.clone(),
        };
        match read_snapshot(&disk, Path::new("snapshot"), KIND) {
            Ok((head, bytes)) if head == self.head && bytes == self.bytes => Ok(Some(&self.bytes)),
            Ok(_) => Err("a damaged snapshot is taken for sound".to_owned()),
            Err(_) => Ok(None),
        }
    }
}

/// What a disk has made of a file that lay there.
fn damaged(mut image: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    let length = image.len();
    if length == 0 {
        return image;
    }
    let (at, more) = (rng.index(length), 1 + rng.index(600));
    match rng.below(5) {
        0 => image.truncate(at),
        1 => image.extend((0..more).map(|_| 0)),
        2 => image[at] ^= 1 << rng.below(8),
        3 => image[at..length.min(at + more)].fill(0),
        // The sector of another file.
        _ => rng.fill(&mut image[at..length.min(at + more)]),
    }
    image
}

pub(super) struct IssuerNode {
    currency: Currency,
    options: IssuerOptions,
    disk: SimDisk,
    planted: Planted,
    rng: Rng,
    up: Option<(Journal<SimDisk>, Issuer)>,
    /// The state of all that was acknowledged, and what was done until then.
    sound: Issuer,
    log: Vec<Entry>,
    /// The same with the frame whose outcome is not known.
    tried: Option<(Issuer, Vec<Entry>)>,
    /// What [`Planted::AnswersBeforeSaving`] has answered and will save later.
    unsaved: (Vec<Vec<u8>>, Vec<Entry>),
    /// How far its clock goes wrong.
    slow: Duration,
    /// Whether nothing fails any more.
    is_fair: bool,
    snapshots: Vec<Snapshot>,
    /// How many connections of 2003 there were, and how many of them ended with their process.
    connections: u64,
    ended: u64,
    /// How many messages have come on each connection.
    lines: BTreeMap<u64, u64>,
    restored: u64,
    damaged: u64,
    forgotten: u64,
    /// What [`Planted::SnapshotForgets`] has no answers to.
    lost: BTreeSet<(EntityId, RequestId)>,
    /// The holders' keys, by which [`Planted::BelievesWords`] makes the word that it believes to have.
    keys: Vec<SecretKey>,
    /// What [`Planted::DeletesWhenTold`] has told.
    told: BTreeMap<EntityId, Ask>,
}

/// What a batch of requests leads to.
#[derive(Default)]
struct Served {
    records: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    answers: Vec<(Place, Wire)>,
}

impl IssuerNode {
    pub(super) fn new(currency: Currency, disk: SimDisk, planted: Planted, mut rng: Rng) -> Self {
        let seed = rng.next_u64();
        let mut options = IssuerOptions { seed, ..IssuerOptions::default() };
        // From the memory for a dozen answers to that for all.
        let few = [1200, 5000, 20_000];
        let forgets = matches!(planted, Planted::ForgetsIds | Planted::SnapshotForgets);
        if rng.chance(60) && !forgets {
            options.answers_bytes_max = few[rng.index(few.len())];
        }
        Self {
            sound: Issuer::new(currency.clone(), options),
            currency,
            options,
            disk,
            planted,
            rng,
            up: None,
            log: Vec::new(),
            tried: None,
            unsaved: (Vec::new(), Vec::new()),
            slow: Duration::ZERO,
            is_fair: false,
            snapshots: Vec::new(),
            connections: 0,
            ended: 0,
            lines: BTreeMap::new(),
            restored: 0,
            damaged: 0,
            forgotten: 0,
            lost: BTreeSet::new(),
            keys: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    /// Gives it the keys of all holders: the production ledger takes no word but that of the chain, so that one which does
    /// not look must make it.
    pub(super) fn forge_for(&mut self, keys: impl Iterator<Item = SecretKey>) {
        self.keys = keys.collect();
    }

    pub(super) const fn disk(&self) -> &SimDisk {
        &self.disk
    }

    pub(super) const fn is_up(&self) -> bool {
        self.up.is_some()
    }

    pub(super) fn log(&self) -> &[Entry] {
        &self.log
    }

    /// How many restarts were behind a snapshot, how many found one damaged, and how many commands were forgotten.
    pub(super) const fn counts(&self) -> (u64, u64, u64) {
        (self.restored, self.damaged, self.forgotten)
    }

    pub(super) fn live(&self) -> Result<&Issuer, String> {
        self.up.as_ref().map(|(_, issuer)| issuer).ok_or_else(|| "the issuer is down".to_owned())
    }

    /// Returns how many deposits ever arrived for the account that has, or had, the key `holder`.
    pub(super) fn deposits_of(&self, holder: EntityId) -> usize {
        let key = |key| self.sound.ledger().current_key(key);
        let holder = key(holder);
        self.log.iter().flat_map(Entry::payees).filter(|to| key(*to) == holder).count()
    }

    /// Takes a connection of 2003; its number. Nothing when the machine is down.
    pub(super) fn accept(&mut self) -> Option<u64> {
        self.up.as_ref()?;
        self.connections += 1;
        Some(self.connections)
    }

    /// Loses power, or its process only.
    pub(super) fn go_down(&mut self) {
        let power = self.disk.is_dead() || self.rng.chance(50);
        for snapshot in &mut self.snapshots {
            let disk = &snapshot.disk;
            snapshot.disk = if power { disk.crash(&mut self.rng) } else { disk.kill() };
        }
        self.disk = if power { self.disk.crash(&mut self.rng) } else { self.disk.kill() };
        self.up = None;
        self.unsaved = (Vec::new(), Vec::new());
        self.ended = self.connections;
        self.lines.clear();
        // The operator frees some space.
        self.disk.set_capacity(u64::MAX);
        self.slow = Duration::from_milliseconds(self.rng.below(3000));
    }

    pub(super) fn heal(&mut self) {
        self.is_fair = true;
        self.disk.heal();
        self.disk.set_capacity(u64::MAX);
    }

    pub(super) fn restart(&mut self) -> Result<(), String> {
        let pick = self.rng.index(SNAPSHOTS_MAX + 1);
        let Some((journal, issuer)) = self.replay(pick)? else {
            self.go_down();
            return Ok(());
        };
        match self.tried.take() {
            _ if issuer == self.sound => {}
            Some((state, entries)) if issuer == state => {
                self.sound = state;
                self.log.extend(entries);
            }
            Some(_) | None => return Err("the issuer lost what it had acknowledged".to_owned()),
        }
        self.up = Some((journal, issuer));
        Ok(())
    }

    /// Begins behind the snapshot at this place, if there is one and it is whole; how many records are before it.
    fn begin(&mut self, pick: usize) -> Result<(Issuer, u64), String> {
        let IssuerOptions { seed, answers_bytes_max } = self.options;
        if let Some(snapshot) = self.snapshots.get(pick) {
            if let Some(bytes) = snapshot.load(&mut self.rng)? {
                let issuer = Issuer::restore(seed, answers_bytes_max, bytes);
                let issuer = issuer.map_err(|error| format!("a sound snapshot: {error}"))?;
                self.restored += 1;
                if self.planted == Planted::SnapshotForgets {
                    let before = &self.log[..snapshot.entries.min(self.log.len())];
                    let lost = before.iter().filter_map(|entry| match &entry.act {
                        Act::Command { request, .. } => Some((entry.holder, request.id()?)),
                        Act::Message { .. } => None,
                    });
                    self.lost.extend(lost);
                }
                return Ok((issuer, snapshot.head.records));
            }
            self.damaged += 1;
        }
        Ok((Issuer::new(self.currency.clone(), self.options), 0))
    }

    fn replay(&mut self, pick: usize) -> Result<Option<(Journal<SimDisk>, Issuer)>, String> {
        let (mut issuer, skipped) = self.begin(pick)?;
        let mut records = 0;
        let replay = |record: &[u8]| {
            records += 1;
            if records <= skipped { Ok(()) } else { issuer.replay(record) }
        };
        match Journal::open(self.disk.clone(), KIND, replay) {
            // A journal that ends before the snapshot has lost what it had.
            Ok(_) if records < skipped => self.replay(usize::MAX),
            Ok(journal) => Ok(Some((journal, issuer))),
            Err(OpenError::Disk { .. }) => Ok(None),
            Err(error) => Err(format!("the issuer does not start: {error}")),
        }
    }

    /// Replays the journal anew, whole and behind each snapshot, and compares.
    pub(super) fn check_replay(&mut self) -> Result<(), String> {
        let live = self.live()?.clone();
        self.disk = self.disk.crash(&mut self.rng);
        for pick in (0..=self.snapshots.len()).rev() {
            let (journal, issuer) = self.replay(pick)?.ok_or("the healed disk fails")?;
            if issuer != live {
                return Err("the issuer replayed is not the issuer that lived".to_owned());
            }
            self.up = Some((journal, issuer));
            if self.rng.chance(70) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, now: Timestamp) -> Result<(), String> {
        let Some((_, issuer)) = &mut self.up else { return Ok(()) };
        let mut records = Vec::new();
        while let Some(record) = issuer.tick(now) {
            records.push(record);
        }
        let (mut late, entries) = std::mem::take(&mut self.unsaved);
        late.extend(records);
        self.save(late, entries)?;
        Ok(())
    }

    /// Handles what came together, saves it as one frame, and returns the answers.
    pub(super) fn serve(
        &mut self,
        now: Timestamp,
        batch: Vec<Delivery<Place, Wire>>,
    ) -> Result<Vec<(Place, Wire)>, String> {
        if self.up.is_none() {
            return Ok(Vec::new());
        }
        let now = Timestamp::from_milliseconds(
            now.milliseconds().saturating_sub(self.slow.milliseconds()),
        );
        let mut served = Served::default();
        for Delivery { from, message, .. } in batch {
            match message {
                Wire::Ask { by, about, frame } => {
                    let Some(response) = self.command(now, by, &frame, &mut served) else {
                        continue;
                    };
                    let frame = response.to_frame();
                    served.answers.push((from, Wire::Answer { about, frame }));
                }
                Wire::Classic { by, connection, sequence, ask } => {
                    let answer = self.message(now, by, (connection, sequence), ask, &mut served);
                    let wire =
                        answer.map(|answer| Wire::ClassicAnswer { connection, sequence, answer });
                    served.answers.extend(wire.map(|wire| (from, wire)));
                }
                Wire::Answer { .. }
                | Wire::ClassicAnswer { .. }
                | Wire::Voucher(_)
                | Wire::Word(_) => {}
            }
        }
        let Served { records, entries, answers } = served;
        if self.planted == Planted::AnswersBeforeSaving {
            self.unsaved.0.extend(records);
            self.unsaved.1.extend(entries);
            return Ok(answers);
        }
        Ok(if self.save(records, entries)? { answers } else { Vec::new() })
    }

    fn command(
        &mut self,
        now: Timestamp,
        by: EntityId,
        frame: &[u8],
        served: &mut Served,
    ) -> Option<Response> {
        let request = match Request::from_frame(frame) {
            Ok(request) => request,
            Err(FrameError::Version { .. }) => {
                let refusal = Refusal::Version { version: fondaco_lcp::VERSION };
                return Some(Response::Refused { refusal });
            }
            Err(FrameError::TooLong { .. } | FrameError::Decode { .. }) => return None,
        };
        let asked = self.falsified(by, request.clone());
        let (_, issuer) = self.up.as_mut()?;
        let handled = issuer.handle(now, by, &asked);
        let mut response = handled.response;
        if let Response::Refused { refusal: Refusal::Forgotten { .. } } = response {
            self.forgotten += 1;
            response = self.told_by_history(by, &request, &served.entries);
        }
        if let Some(record) = handled.record {
            let at = self.live().map_or(now, Issuer::last);
            served.records.push(record);
            let act = Act::Command { request, response: response.clone() };
            served.entries.push(Entry { at, holder: by, act });
        }
        Some(response)
    }

    /// What a planted fault makes of a request.
    fn falsified(&mut self, by: EntityId, request: Request) -> Request {
        let lost = |id| self.lost.contains(&(by, id));
        match (self.planted, request) {
            (Planted::ForgetsIds, request) => with_other_id(request, &mut self.rng),
            (Planted::SnapshotForgets, request) if request.id().is_some_and(lost) => {
                with_other_id(request, &mut self.rng)
            }
            (Planted::BreaksChains, Request::Batch { id, fee_max, steps }) => {
                let steps = steps.into_vec().into_iter().map(|step| Step { linked: false, ..step });
                let steps = List::new(steps.collect()).expect("as many as there were");
                Request::Batch { id, fee_max, steps }
            }
            (Planted::IgnoresLimits, Request::Accept { id, .. }) => {
                Request::Accept { id, balance_max: Amount::MAX }
            }
            (Planted::IgnoresLimits, Request::AcceptAhead { id, .. }) => {
                Request::AcceptAhead { id, balance_max: Amount::MAX }
            }
            (Planted::BelievesWords, Request::HoldPostWord { id, anchor, word }) => {
                let word = self.forged(&anchor, word.index).unwrap_or(word);
                Request::HoldPostWord { id, anchor, word }
            }
            (_, request) => request,
        }
    }

    /// The word of this number of a holder's chain.
    fn forged(&self, signed: &SignedAnchor, index: u32) -> Option<PayWord> {
        let Anchor { currency, hold, base, unit, length, .. } = signed.anchor;
        self.keys.iter().find_map(|key| {
            let chain = PayWordChain::new(key, currency, hold, base, unit, length).ok()?;
            (*chain.anchor() == signed.anchor).then(|| chain.word(index).ok())?
        })
    }

    /// Answers what the core has forgotten, as the service does: from what was recorded.
    fn told_by_history(&self, by: EntityId, request: &Request, fresh: &[Entry]) -> Response {
        if self.planted == Planted::HasNoHistory {
            return Response::Refused { refusal: Refusal::Outdated };
        }
        let Ok(issuer) = self.live() else { return Response::Refused { refusal: Refusal::Halted } };
        let all = self.log.iter().chain(&self.unsaved.1).chain(fresh);
        let known = all
            .filter_map(|entry| match &entry.act {
                Act::Command { request, response } => Some((entry.holder, request, response)),
                Act::Message { .. } => None,
            })
            .find(|(holder, known, _)| {
                known.id() == request.id() && issuer.ledger().current_key(*holder) == by
            });
        let refusal = match (known, request.id()) {
            (Some((_, known, response)), _) if known == request => return response.clone(),
            (Some(_), Some(id)) => Refusal::OtherContent { id },
            (Some(_) | None, _) => Refusal::Outdated,
        };
        Response::Refused { refusal }
    }

    fn message(
        &mut self,
        now: Timestamp,
        by: EntityId,
        (connection, sequence): (u64, u64),
        ask: Ask,
        served: &mut Served,
    ) -> Option<Answer> {
        if connection <= self.ended {
            return None;
        }
        let before = self.lines.insert(connection, sequence);
        if before.is_some_and(|before| before >= sequence) {
            // It was overtaken: a connection keeps the order, or breaks.
            self.lines.insert(connection, u64::MAX);
            return None;
        }
        let (_, issuer) = self.up.as_mut()?;
        if self.planted == Planted::DeletesWhenTold
            && ask.body == AskBody::Query
            && self.told.insert(by, ask.clone()).as_ref() == Some(&ask)
        {
            let deposits = List::new(Vec::new())?;
            let balance = issuer.ledger().account(by).available;
            return Some(Answer::Told { deposits, fee: Amount::ZERO, balance });
        }
        // A full handshake, until it was charged.
        let surcharge = match before {
            None => self.currency.full_handshake_fee,
            Some(_) => Amount::ZERO,
        };
        let number = if self.planted == Planted::KeepsNoFence { u64::MAX } else { connection };
        if self.planted != Planted::FencesOlderOnly {
            issuer.accepted_classic(self.connections);
        }
        let handled = issuer.handle_classic(now, by, number, surcharge, &ask);
        if let Some(record) = handled.record {
            let at = issuer.last();
            served.records.push(record);
            let act = Act::Message { ask, surcharge, answer: handled.answer.clone() };
            served.entries.push(Entry { at, holder: by, act });
        }
        Some(handled.answer)
    }

    /// Whether the records are durable; if not, the machine is down.
    fn save(&mut self, records: Vec<Vec<u8>>, entries: Vec<Entry>) -> Result<bool, String> {
        let Some((journal, issuer)) = &mut self.up else { return Ok(false) };
        if records.is_empty() {
            return Ok(true);
        }
        if journal.append(&records).is_err() {
            self.tried = Some((issuer.clone(), entries));
            self.go_down();
            return Ok(false);
        }
        // What is saved is replayed at once: that is cheaper than to copy the state, and a test more.
        for record in &records {
            self.sound.replay(record).map_err(|error| format!("a new record: {error}"))?;
        }
        self.log.extend(entries);
        let often = if self.planted == Planted::SnapshotForgets { 30 } else { 4 };
        if self.rng.chance(often) {
            let head = journal.head();
            return Ok(self.save_snapshot(head));
        }
        Ok(true)
    }

    /// Saves a snapshot in a new file, which takes the place of another once it is durable; whether the machine is still up.
    fn save_snapshot(&mut self, head: Head) -> bool {
        let mut disk = self.disk.emptied();
        match self.rng.below(10) {
            _ if self.is_fair => {}
            0 => disk.power_off_in(self.rng.below(4), &mut self.rng),
            1 => disk.fail_in(self.rng.below(4), &mut self.rng),
            _ => {}
        }
        let (entries, bytes) = (self.log.len(), self.sound.snapshot());
        if write_snapshot(&mut disk, KIND, head, &bytes).is_err() {
            // Without a snapshot it goes on; without power, it does not.
            if disk.is_dead() {
                self.go_down();
            }
            return self.up.is_some();
        }
        disk.heal();
        if self.snapshots.len() == SNAPSHOTS_MAX {
            self.snapshots.remove(self.rng.index(SNAPSHOTS_MAX));
        }
        self.snapshots.push(Snapshot { head, entries, disk, bytes });
        true
    }
}

fn with_other_id(mut request: Request, rng: &mut Rng) -> Request {
    match &mut request {
        Request::Transfer { id, .. }
        | Request::Mint { id, .. }
        | Request::Redeem { id, .. }
        | Request::HoldPost { id, .. }
        | Request::HoldVoid { id, .. }
        | Request::AckDeposits { id, .. }
        | Request::Batch { id, .. }
        | Request::Accept { id, .. }
        | Request::AcceptAhead { id, .. }
        | Request::Rotate { id, .. }
        | Request::Close { id, .. }
        | Request::HoldPostWord { id, .. } => *id = RequestId::new(u128::from(rng.next_u64())),
        // The id of a hold comes from that of its request.
        Request::HoldOpen { .. }
        | Request::Describe
        | Request::Balance
        | Request::HoldInfo { .. }
        | Request::Deposits { .. }
        | Request::History { .. }
        | Request::Receipt { .. } => {}
    }
    request
}
