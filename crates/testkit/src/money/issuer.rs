//! The issuer's service: the production machine over the production journal.

use fondaco_crypto::EntityId;
use fondaco_lcp::{
    Currency, FrameError, Issuer, IssuerOptions, Refusal, ReplayError, Request, RequestId, Response,
};
use fondaco_store::{Journal, Kind, OpenError};
use fondaco_units::{Duration, Timestamp};

use super::{Directory, Place, Planted, Wire, oracle::Entry};
use crate::{Rng, SimDisk, network::Delivery};

const KIND: Kind = Kind::new(*b"issuer\0\0", 1);

pub(super) struct IssuerNode {
    currency: Currency,
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
}

impl IssuerNode {
    pub(super) fn new(currency: Currency, disk: SimDisk, planted: Planted, rng: Rng) -> Self {
        Self {
            sound: Issuer::new(currency.clone(), IssuerOptions::default()),
            currency,
            disk,
            planted,
            rng,
            up: None,
            log: Vec::new(),
            tried: None,
            unsaved: (Vec::new(), Vec::new()),
            slow: Duration::ZERO,
        }
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

    pub(super) fn live(&self) -> Result<&Issuer, String> {
        self.up.as_ref().map(|(_, issuer)| issuer).ok_or_else(|| "the issuer is down".to_owned())
    }

    /// Returns how many deposits ever arrived for `holder`.
    pub(super) fn deposits_of(&self, holder: EntityId) -> usize {
        self.log.iter().filter(|entry| entry.deposit().is_some_and(|(to, ..)| to == holder)).count()
    }

    /// Loses power, or its process only.
    pub(super) fn go_down(&mut self) {
        let power = self.disk.is_dead() || self.rng.chance(50);
        self.disk = if power { self.disk.crash(&mut self.rng) } else { self.disk.kill() };
        self.up = None;
        self.unsaved = (Vec::new(), Vec::new());
        // The operator frees some space.
        self.disk.set_capacity(u64::MAX);
        self.slow = Duration::from_milliseconds(self.rng.below(3000));
    }

    pub(super) fn heal(&mut self) {
        self.disk.heal();
        self.disk.set_capacity(u64::MAX);
    }

    pub(super) fn restart(&mut self) -> Result<(), String> {
        let Some((journal, issuer)) = self.replay()? else {
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

    fn replay(&self) -> Result<Option<(Journal<SimDisk>, Issuer)>, String> {
        let mut issuer = Issuer::new(self.currency.clone(), IssuerOptions::default());
        let replay = |record: &[u8]| -> Result<(), ReplayError> { issuer.replay(record) };
        match Journal::open(self.disk.clone(), KIND, replay) {
            Ok(journal) => Ok(Some((journal, issuer))),
            Err(OpenError::Disk { .. }) => Ok(None),
            Err(error) => Err(format!("the issuer does not start: {error}")),
        }
    }

    /// Replays the journal anew and compares.
    pub(super) fn check_replay(&mut self) -> Result<(), String> {
        let live = self.live()?.clone();
        self.disk = self.disk.crash(&mut self.rng);
        let (journal, issuer) = self.replay()?.ok_or("the healed disk fails")?;
        if issuer != live {
            return Err("the issuer replayed is not the issuer that lived".to_owned());
        }
        self.up = Some((journal, issuer));
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
        self.save(late, entries);
        Ok(())
    }

    /// Handles what came together, saves it as one frame, and returns the answers.
    pub(super) fn serve(
        &mut self,
        now: Timestamp,
        directory: &Directory,
        batch: Vec<Delivery<Place, Wire>>,
    ) -> Result<Vec<(Place, Wire)>, String> {
        let Some((_, issuer)) = &mut self.up else { return Ok(Vec::new()) };
        let now = Timestamp::from_milliseconds(
            now.milliseconds().saturating_sub(self.slow.milliseconds()),
        );
        let (mut records, mut entries, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for Delivery { from, message, .. } in batch {
            let Wire::Ask { about, frame } = message else { continue };
            let holder = directory.entities[from];
            let response = match Request::from_frame(&frame) {
                Ok(request) => {
                    let request = match self.planted {
                        Planted::ForgetsIds => with_other_id(request, &mut self.rng),
                        _ => request,
                    };
                    let handled = issuer.handle(now, holder, &request);
                    if let Some(record) = handled.record {
                        records.push(record);
                        let response = handled.response.clone();
                        entries.push(Entry { at: issuer.last(), holder, request, response });
                    }
                    handled.response
                }
                Err(FrameError::Version { .. }) => Response::Refused {
                    refusal: Refusal::Version { version: fondaco_lcp::VERSION },
                },
                Err(FrameError::TooLong { .. } | FrameError::Decode { .. }) => continue,
            };
            answers.push((from, Wire::Answer { about, frame: response.to_frame() }));
        }
        if self.planted == Planted::AnswersBeforeSaving {
            self.unsaved.0.extend(records);
            self.unsaved.1.extend(entries);
            return Ok(answers);
        }
        Ok(if self.save(records, entries) { answers } else { Vec::new() })
    }

    /// Whether the records are durable; if not, the machine is down.
    fn save(&mut self, records: Vec<Vec<u8>>, entries: Vec<Entry>) -> bool {
        let Some((journal, issuer)) = &mut self.up else { return false };
        if records.is_empty() {
            return true;
        }
        if journal.append(&records).is_ok() {
            self.log.extend(entries);
            self.sound = issuer.clone();
            return true;
        }
        self.tried = Some((issuer.clone(), entries));
        self.go_down();
        false
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
