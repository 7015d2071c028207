//! The buyer's delegate: another buyer, that looks after what the first one keeps.

use std::pin::pin;

use tokio::time::timeout;

use super::{ACTION_MAX, World, any_moment};
use crate::market::buyer::{Buyer, Process};
use fondaco_agent::AgentError;
use fondaco_agent::auditing::Audited;
use fondaco_agent::delegate::Watched;
use fondaco_contract::Takes;
use fondaco_ports::Clock as _;
use fondaco_units::{Duration as Span, Timestamp};

/// For how long mandates are good: longer than any run.
const MANDATE: Span = Span::from_seconds(400 * 86_400);

impl World {
    fn mandate_ends(&self) -> Timestamp {
        self.buyer.clock.now().after(MANDATE)
    }

    /// One thing that a delegate and its owner do. What fails for good reasons is no violation.
    pub(super) async fn friend_acts(&mut self, process: &mut Process) -> Result<(), String> {
        let until = self.mandate_ends();
        let (choice, dies) = (self.rng.below(10), self.rng.chance(20));
        let (operations, nonce, now) = (self.rng.below(12), self.rng.array(), self.rng.chance(80));
        let takes = *self.rng.pick(&[Takes::AtEnd, Takes::Always]).unwrap_or(&Takes::AtEnd);
        let epochs = 3 + u32::try_from(self.rng.below(10)).unwrap_or(0);
        let killed = if self.rng.chance(20) { any_moment(&mut self.rng) } else { ACTION_MAX };
        let (is_killed, mut fate) = (self.rng.chance(50), self.rng.fork());
        let Some(friend) = &mut self.friend else { return Ok(()) };
        if choice < 3 || friend.entrusted.is_none() {
            match process.agent.entrust(friend.entity(), takes, until) {
                Ok(entrusted) => friend.entrusted = Some(entrusted),
                // A mandate is in the book before it is given.
                Err(AgentError::Store(_)) if self.buyer.is_dead() => return Ok(()),
                Err(error) => return Err(format!("nothing can be entrusted: {error}")),
            }
        }
        if dies {
            friend.power_off_in(operations);
        }
        self.oracle.process_ended(friend.entity(), friend.ended);
        let mut theirs = start(friend)?;
        let disks = friend.disks();
        let done = {
            let mut act = pin!(async {
                match choice {
                    0..=3 => accept(friend, &theirs).await,
                    4..=7 => tend(friend, &mut theirs, epochs, nonce, now).await,
                    _ => hand_back(friend, &theirs, &self.buyer, process, until, epochs).await,
                }
            });
            match timeout(killed, act.as_mut()).await {
                Ok(done) => Ok(done),
                Err(_) => Err(disks.dies(is_killed, &mut fate)),
            }
        };
        let done = match done {
            Ok(done) => done,
            Err((ended, left)) => {
                friend.is_killed(theirs, ended, left);
                return Ok(());
            }
        };
        match done {
            Ok(Done { taken, replaced, notes, audited }) => {
                self.absent[1].note(&self.hosts, &audited);
                self.report.taken_over += taken;
                self.report.replaced += replaced;
                notes.iter().for_each(|note| self.oracle.note(note));
            }
            Err(error) => self.oracle.note(&error.to_string()),
        }
        if friend.is_dead() {
            friend.crash(theirs);
        } else {
            friend.stop(theirs).await;
        }
        Ok(())
    }

    /// In fair weather, the owner takes back all that its delegate has.
    pub(super) async fn friend_hands_back(&mut self, process: &mut Process) -> Result<(), String> {
        let until = self.mandate_ends();
        let Some(friend) = &mut self.friend else { return Ok(()) };
        friend.heal();
        if friend.entrusted.is_none() {
            return Ok(());
        }
        self.oracle.process_ended(friend.entity(), friend.ended);
        let theirs = start(friend)?;
        let failed = |error: AgentError| format!("giving back failed: {error}");
        let watched = watch(friend, &theirs, 5).await.map_err(failed)?;
        watched.notes.iter().for_each(|note| self.oracle.note(note));
        let done = hand_back(friend, &theirs, &self.buyer, process, until, 5).await;
        done.map_err(failed)?.notes.iter().for_each(|note| self.oracle.note(note));
        for (role, host) in self.hosts.iter().filter(|(role, _)| role.is_honest()) {
            let (why, standing) = theirs.agent.book().read(|book| {
                let why = book.distrusted(host.entity()).map(str::to_owned);
                (why, book.standing(host.entity()))
            });
            if let Some(why) = why {
                return Err(format!("a delegate cut an honest host ({role:?}) off: {why}"));
            }
            if self.absent[1].is_wronged(host.entity(), standing) {
                return Err(format!("to a delegate, an honest host ({role:?}) is {standing}"));
            }
        }
        friend.stop(theirs).await;
        Ok(())
    }

    /// The delegate ends its contracts.
    pub(super) async fn friend_ends(&mut self) -> Result<(), String> {
        let Some(friend) = &mut self.friend else { return Ok(()) };
        self.oracle.process_ended(friend.entity(), friend.ended);
        let mut theirs = start(friend)?;
        friend.resume(&theirs).await.map_err(|error| format!("a delegate's wallet: {error}"))?;
        drop(friend.end(&mut theirs).await);
        friend.stop(theirs).await;
        Ok(())
    }
}

/// What came of something.
#[derive(Default)]
struct Done {
    taken: u64,
    replaced: u64,
    notes: Vec<String>,
    audited: Vec<Audited>,
}

impl Done {
    fn of(watched: &[Watched]) -> Self {
        let taken = watched.iter().filter(|one| matches!(one.taken, Ok(Some(_)))).count() as u64;
        let errors = watched.iter().filter_map(|one| one.taken.as_ref().err());
        let notes = errors.map(ToString::to_string).collect();
        Self { taken, notes, ..Self::default() }
    }
}

fn start(friend: &mut Buyer) -> Result<Process, String> {
    loop {
        match friend.start() {
            Ok(process) => return Ok(process),
            Err(_) if friend.is_dead() => friend.lose_power(),
            Err(error) => return Err(error),
        }
    }
}

async fn accept(friend: &Buyer, theirs: &Process) -> Result<Done, AgentError> {
    friend.resume(theirs).await?;
    if let Some(entrusted) = &friend.entrusted {
        theirs.agent.accept(theirs.wallet(), entrusted).await?;
    }
    Ok(Done::default())
}

async fn watch(friend: &Buyer, theirs: &Process, epochs: u32) -> Result<Done, AgentError> {
    friend.resume(theirs).await?;
    let Some(entrusted) = &friend.entrusted else { return Ok(Done::default()) };
    Ok(Done::of(&theirs.agent.watch(theirs.wallet(), entrusted, epochs, None).await?))
}

async fn tend(
    friend: &Buyer,
    theirs: &mut Process,
    epochs: u32,
    nonce: [u8; 32],
    now: bool,
) -> Result<Done, AgentError> {
    friend.finish_renewals(theirs).await?;
    let mut done = watch(friend, theirs, epochs).await?;
    let (_, notes) = friend.renew(theirs, 1.5, epochs).await?;
    done.notes.extend(notes);
    let audited = friend.audit(theirs, 2, nonce).await?;
    done.audited.clone_from(&audited);
    match friend.repair(theirs, audited, now).await {
        Ok((replaced, problems)) => {
            done.replaced = replaced;
            done.notes.extend(problems);
        }
        Err(error) => done.notes.push(error.to_string()),
    }
    Ok(done)
}

async fn hand_back(
    friend: &Buyer,
    theirs: &Process,
    owner: &Buyer,
    process: &mut Process,
    until: Timestamp,
    epochs: u32,
) -> Result<Done, AgentError> {
    let Some(entrusted) = &friend.entrusted else { return Ok(Done::default()) };
    let handed = theirs.agent.hand_back(entrusted, until)?;
    owner.resume(process).await?;
    let reclaimed = process.agent.reclaim(process.wallet(), &handed, epochs).await;
    process.objects = process.agent.objects();
    let done = Done::of(&reclaimed?);
    Ok(done)
}
