//! The run itself: who there is, what befalls them, and what must be true.

mod absent;
mod ending;
mod friend;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fondaco_agent::auditing::{Audited, Outcome};
use fondaco_agent::{AgentError, MoneyLimits, Share, Trust, Wish};
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_storage_host::HostConfig;
use fondaco_transport::{Climate, Fabric};
use fondaco_units::{Amount, Bytes, Duration as Span, Price, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use absent::Absent;

use super::buyer::{Buyer, OBJECT_MAX, Plan as BuyerPlan, Process};
use super::host::{HostNode, Plan as HostPlan};
use super::issuer::IssuerNode;
use super::oracle::{BEGAN, Oracle};
use super::roles::Role;
use super::villains::{
    CountsTwice, DoubleSpender, GarbageBuyer, Mischief, ServesUnpaid, VoucherReplayer,
};
use super::{Planted, Report, Violation};
use crate::{Rng, VirtualClock};

const HOUR: Duration = Duration::from_secs(3600);
const EPOCH: Span = Span::from_seconds(86_400);
/// What everybody who pays begins with.
const MINTED: Amount = Amount::new(1 << 50);
/// The longest that anything the buyer does may take: an issuer and a dozen hosts, each with its time-outs and patience.
const ACTION_MAX: Duration = Duration::from_secs(6 * 3600);
/// How much a buyer puts on a host that it does not know: a contract of a run, and some more.
const NEWCOMER_ROOM: Bytes = Bytes::new(128 << 20);

/// After how long a process is killed, or loses its power.
fn any_moment(rng: &mut Rng) -> Duration {
    let longest = *rng.pick(&[4000, 4000, 60_000]).unwrap_or(&4000);
    Duration::from_millis(rng.below(longest))
}

struct World {
    rng: Rng,
    planted: Planted,
    fabric: Fabric,
    oracle: Oracle,
    issuer: IssuerNode,
    hosts: Vec<(Role, HostNode)>,
    buyer: Buyer,
    /// Who looks after what the buyer keeps.
    friend: Option<Buyer>,
    spender: Option<DoubleSpender>,
    garbage: GarbageBuyer,
    replayer: VoucherReplayer,
    began: Instant,
    audited: Instant,
    /// How the last audits came out, after all villains were at their worst.
    last_audits: Vec<Audited>,
    /// How often audits found nobody at each host, or it was down then: of the buyer, and of its delegate.
    absent: [Absent; 2],
    minted: u64,
    report: Report,
}

/// Runs one seed on the runtime that calls it.
pub(super) async fn run(seed: u64, planted: Planted) -> Result<Report, Violation> {
    let began = Instant::now();
    let failed = |what| Violation {
        after_milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        what,
    };
    let mut world = World::new(seed, planted).map_err(failed)?;
    world.live().await.map_err(failed)
}

impl World {
    fn new(seed: u64, planted: Planted) -> Result<Self, String> {
        let mut rng = Rng::new(seed);
        let fabric = Fabric::new(rng.next_u64());
        let oracle = Oracle::begin();
        fabric.set_tap(Arc::new(oracle.clone()));
        let clock = VirtualClock::new(Timestamp::from_milliseconds(BEGAN));
        let bank = SecretKey::from_bytes(&rng.array());
        let lying = planted == Planted::IssuerAnswersEarly;
        let issuer =
            IssuerNode::start(bank, &fabric, clock.another(), oracle.clone(), lying, rng.fork());
        let key = SecretKey::from_bytes(&rng.array());
        let count = 6 + rng.index(5);
        let villains = if rng.chance(25) { 0 } else { 1 + rng.index(count / 3) };
        let mut hosts = Vec::new();
        for number in 0..count {
            let role = match number {
                _ if number >= villains => Role::Honest,
                _ => Role::any_villain(planted, &mut rng),
            };
            let host = Self::host(
                &mut rng, planted, role, number, &fabric, &oracle, &clock, &issuer, &key,
            );
            hosts.push((role, host));
        }
        let wish = Wish {
            bytes: Buyer::wish_bytes(),
            survive: *rng.pick(&[0.9, 0.99, 0.999]).unwrap_or(&0.9),
            epochs: 8 + u32::try_from(rng.below(30)).unwrap_or(0),
            budget: None,
        };
        let (trust, cap) = Self::any_trust(planted, &mut rng)?;
        let plan = BuyerPlan {
            key: key.clone(),
            issuer: issuer.address(),
            hosts: hosts.iter().map(|(_, host)| host.address()).collect(),
            wish,
            trust,
            lying_disk: planted == Planted::BuyerForgets,
        };
        let buyer = Buyer::new(plan, &fabric, clock.another(), rng.fork());
        oracle.trust(buyer.entity());
        oracle.caps(buyer.entity(), cap);
        issuer.mint(buyer.entity(), MINTED)?;
        let mut minted = MINTED.get();
        let friend = rng.chance(40).then(|| {
            let plan = BuyerPlan {
                key: SecretKey::from_bytes(&rng.array()),
                issuer: issuer.address(),
                hosts: hosts.iter().map(|(_, host)| host.address()).collect(),
                wish,
                trust,
                lying_disk: false,
            };
            Buyer::new(plan, &fabric, clock.another(), rng.fork())
        });
        if let Some(friend) = &friend {
            oracle.trust(friend.entity());
            oracle.caps(friend.entity(), cap);
            issuer.mint(friend.entity(), MINTED)?;
            minted += MINTED.get();
        }
        let spender = rng.chance(40).then(|| {
            let (address, clock) = (issuer.address(), clock.another());
            DoubleSpender::new(&fabric, address, clock, oracle.clone(), &mut rng)
        });
        if let Some(spender) = &spender {
            issuer.mint(spender.entity(), MINTED)?;
            minted += MINTED.get();
        }
        let garbage = GarbageBuyer::new(&fabric, &mut rng);
        let replayer = VoucherReplayer::new(&fabric, &key);
        let (began, report, last_audits) = (Instant::now(), Report::default(), Vec::new());
        Ok(Self {
            rng,
            planted,
            fabric,
            oracle,
            issuer,
            hosts,
            buyer,
            friend,
            spender,
            garbage,
            replayer,
            began,
            audited: began,
            last_audits,
            absent: Default::default(),
            minted,
            report,
        })
    }

    /// As the command lets hosts have: by what others ask, or by a sum of money, which is returned too.
    fn any_trust(planted: Planted, rng: &mut Rng) -> Result<(Trust, Option<Amount>), String> {
        let trust = Trust { newcomer: Some(NEWCOMER_ROOM), ..Trust::DEFAULT };
        let cap = Amount::new(500 + rng.below(4000));
        let is_money = rng.chance(50);
        if planted == Planted::TrustsAnybody {
            return Ok((Trust::ANY, Some(cap)));
        }
        if !is_money {
            return Ok((trust, None));
        }
        let identity = Amount::new(cap.get() + 1);
        let limits = MoneyLimits::new(cap, Amount::MAX, Share::ONE, identity);
        let limits = Some(limits.map_err(|error| error.to_string())?);
        Ok((Trust { limits, ..trust }, Some(cap)))
    }

    #[allow(clippy::too_many_arguments)] // the world so far
    fn host(
        rng: &mut Rng,
        planted: Planted,
        role: Role,
        number: usize,
        fabric: &Fabric,
        oracle: &Oracle,
        clock: &VirtualClock,
        issuer: &IssuerNode,
        buyer: &SecretKey,
    ) -> HostNode {
        let clock = clock.another();
        role.begin(&clock, rng);
        let place = u8::try_from(number).unwrap_or(u8::MAX);
        let socket = |port: u16| SocketAddr::from(([203, place, 113, 1], port));
        let config = HostConfig {
            currency: issuer.currency(),
            open: Amount::new(rng.below(1000)),
            store: Price::from_parts(rng.below(10_000_000)),
            write: Price::from_parts(rng.below(400_000_000)),
            read: Price::from_parts(rng.below(400_000_000)),
            size: Bytes::new(100 << 30),
            period_max: Span::from_seconds(100 * 86_400),
            epoch: EPOCH,
            step_max: Bytes::new(4096 << rng.below(5)),
            newcomer: Bytes::new(100 << 30),
            reserve: Bytes::ZERO,
            leaves: None,
        };
        let mischief = match planted {
            Planted::CountsTwice => Some(Box::new(CountsTwice) as Box<dyn Mischief>),
            Planted::ServesUnpaid => Some(Box::new(ServesUnpaid::new(buyer)) as Box<dyn Mischief>),
            _ => role.mischief(rng),
        };
        let plan = HostPlan {
            key: SecretKey::from_bytes(&rng.array()),
            config: role.prices(config),
            sockets: [socket(4433), socket(4434)],
            issuer: issuer.address(),
            lying_disk: planted == Planted::HostsAcknowledgeEarly,
            mischief,
            buyer: buyer.clone(),
        };
        let host = HostNode::start(plan, fabric, clock, oracle.clone(), rng.fork());
        if role.is_good() {
            oracle.trust(host.entity());
        }
        host
    }

    async fn live(&mut self) -> Result<Report, String> {
        let turns = 30 + self.rng.below(90);
        let mut process = None;
        for _ in 0..turns {
            self.turn(&mut process).await?;
            self.look(process.as_ref())?;
            // Weeks of mostly nothing.
            let hours = *self.rng.pick(&[0, 1, 12, 16]).unwrap_or(&1);
            sleep(HOUR * hours + Duration::from_millis(self.rng.below(3_600_000))).await;
        }
        self.heal(&mut process).await?;
        self.check(process).await?;
        self.report.hours = self.began.elapsed().as_secs() / 3600;
        let crashes = self.hosts.iter().map(|(_, host)| host.crashes()).sum::<u64>();
        self.report.crashes = crashes + self.issuer.crashes() + self.buyer.crashes;
        let (trace, frames) = self.oracle.trace();
        (self.report.trace, self.report.frames) = (Some(trace), frames);
        match self.oracle.first_fault() {
            Some(fault) => Err(fault),
            None => Ok(std::mem::take(&mut self.report)),
        }
    }

    fn is_honest(&self, who: EntityId) -> bool {
        self.hosts.iter().any(|(role, host)| host.entity() == who && role.is_honest())
    }

    fn any_host(&mut self) -> usize {
        self.rng.index(self.hosts.len())
    }

    // --- what befalls them -----------------------------------------------------------------------------

    /// Plans faults for the next moments.
    fn harm(&mut self) {
        if self.rng.chance(50) {
            return;
        }
        for _ in 0..=self.rng.below(2) {
            let host = self.any_host();
            let (role, node) = (self.hosts[host].0, self.hosts[host].1.clone());
            let soon = Duration::from_millis(self.rng.below(3000));
            match self.rng.below(12) {
                0..=2 => node.power_off_in(self.rng.below(12)),
                3 => {
                    tokio::spawn(async move {
                        sleep(soon).await;
                        node.kill();
                    });
                }
                4 => {
                    let fabric = self.fabric.clone();
                    tokio::spawn(async move {
                        sleep(soon).await;
                        fabric.cut(node.entity());
                    });
                }
                5 => {
                    let fabric = self.fabric.clone();
                    let longest = *self.rng.pick(&[10, 60, 7200]).unwrap_or(&1);
                    let away = Duration::from_secs(1 + self.rng.below(longest));
                    tokio::spawn(async move {
                        sleep(soon).await;
                        fabric.set_away(node.entity(), true);
                        sleep(away).await;
                        fabric.set_away(node.entity(), false);
                    });
                }
                6 => node.moves(),
                7 if role != Role::DayOff => {
                    let ahead = i64::try_from(self.rng.below(200_000)).unwrap_or(0) - 100_000;
                    node.clock().set_skew(ahead);
                }
                8 => {
                    let climate = Climate {
                        delay_min: Duration::from_millis(1),
                        delay_max: Duration::from_millis(
                            *self.rng.pick(&[20, 200, 2000]).unwrap_or(&20),
                        ),
                        cuts_per_million: *self.rng.pick(&[0, 1000, 30_000]).unwrap_or(&0),
                    };
                    self.fabric.set_climate(climate);
                }
                9 => self.issuer.power_off_in(self.rng.below(12)),
                10 => self.buyer.power_off_in(self.rng.below(12)),
                _ => role.strike(&self.fabric, &node, &mut self.rng),
            }
        }
    }

    /// One turn of the buyer, and of the villains.
    async fn turn(&mut self, process: &mut Option<Process>) -> Result<(), String> {
        self.harm();
        if self.rng.chance(20) {
            self.villains().await;
        }
        let mut present = match process.take() {
            Some(present) if self.rng.chance(70) => present,
            Some(old) => {
                self.buyer.stop(old).await;
                self.start()?
            }
            None => self.start()?,
        };
        let is_often = matches!(self.planted, Planted::ForgetsSteps | Planted::ForgetsPuts);
        let often = if is_often { 60 } else { 20 };
        let dies = if self.rng.chance(often) { any_moment(&mut self.rng) } else { ACTION_MAX };
        let is_killed = match self.planted {
            Planted::ForgetsSteps => true,
            Planted::ForgetsPuts => false,
            _ => self.rng.chance(50),
        };
        let (disks, mut fate) = (self.buyer.disks(), self.rng.fork());
        let done = {
            let mut act = pin!(self.act(&mut present));
            match timeout(dies, act.as_mut()).await {
                Ok(done) => Ok(done),
                // Before what it does is dropped, which would write down in order what it was at.
                Err(_) => Err(disks.dies(is_killed, &mut fate)),
            }
        };
        match done {
            Err(_) if dies == ACTION_MAX => return Err("an action never came to an end".to_owned()),
            Ok(Err(violation)) => return Err(violation),
            Ok(Ok(())) if !self.buyer.is_dead() => *process = Some(present),
            Ok(Ok(())) => {
                // A receipt may be lost.
                self.oracle.came_to_nothing(Buyer::share_max(OBJECT_MAX));
                self.buyer.crash(present);
            }
            Err((ended, left)) => {
                self.oracle.came_to_nothing(Buyer::share_max(OBJECT_MAX));
                self.buyer.is_killed(present, ended, left);
            }
        }
        Ok(())
    }

    fn start(&mut self) -> Result<Process, String> {
        self.oracle.process_ended(self.buyer.entity(), self.buyer.ended);
        let process = loop {
            match self.buyer.start() {
                Ok(process) => break process,
                Err(_) if self.buyer.is_dead() => self.buyer.lose_power(),
                Err(error) => return Err(error),
            }
        };
        let known = |object: &_| process.agent.book().read(|book| book.object(*object).is_some());
        if let Some(lost) = self.buyer.stored.iter().find(|object| !known(*object)) {
            return Err(format!("the buyer has forgotten what was acknowledged: {lost:?}"));
        }
        Ok(process)
    }

    async fn villains(&mut self) {
        let (one, other) = (self.any_host(), self.any_host());
        let (one, other) = (self.hosts[one].1.address(), self.hosts[other].1.address());
        self.garbage.turn(&one).await;
        if let Some(old) = self.oracle.old_read(one.entity()) {
            self.replayer.turn(&one, &old).await;
        }
        if one != other
            && let Some(spender) = &mut self.spender
        {
            spender.turn([&one, &other]).await;
        }
    }

    /// Does one thing. An error is a violation: what fails for good reasons is none.
    async fn act(&mut self, process: &mut Process) -> Result<(), String> {
        if self.audited.elapsed() > HOUR * 16 {
            return self.audit(process, 2).await.map(drop);
        }
        if let Err(error) = self.buyer.finish_renewals(process).await {
            self.oracle.note(&error.to_string());
        }
        if self.friend.is_some() && self.rng.chance(15) {
            self.oracle.came_to_nothing(self.buyer.share_of_all());
            return self.friend_acts(process).await;
        }
        match self.rng.below(100) {
            0..=46 => {
                let (object, bytes) = self.buyer.any_object();
                let share = Buyer::share_max(bytes.len() as u64);
                self.oracle.came_to_nothing(share);
                match self.buyer.put(process, object, &bytes).await {
                    Ok(tries) => {
                        if tries == 1 {
                            self.oracle.came_to_be(share);
                        }
                        self.report.stored += 1;
                        self.buyer.stored.insert(object);
                    }
                    Err(error) => {
                        self.oracle.note(&error.to_string());
                        self.report.failed += 1;
                    }
                }
                Ok(())
            }
            47..=70 => {
                let stored: Vec<_> = self.buyer.stored.iter().copied().collect();
                let Some(object) = self.rng.pick(&stored).copied() else { return Ok(()) };
                let length = self.buyer.bytes[&object].len() as u64;
                let from = self.rng.below(length + 1);
                let to = from + self.rng.below(length - from + 1);
                match self.buyer.read(process, object, from, to).await {
                    Ok(true) => self.report.read += 1,
                    Ok(false) => return Err(format!("{object:?} was read as other bytes")),
                    Err(error) => self.oracle.note(&error.to_string()),
                }
                Ok(())
            }
            71..=83 => {
                let samples = *self.rng.pick(&[1, 2, 8, 64]).unwrap_or(&1);
                self.audit(process, samples).await.map(drop)
            }
            84..=87 => {
                let within = *self.rng.pick(&[2.0, 10.0, f64::INFINITY]).unwrap_or(&2.0);
                let epochs = 4 + u32::try_from(self.rng.below(20)).unwrap_or(0);
                match self.buyer.renew(process, within, epochs).await {
                    Ok((renewed, why)) => {
                        self.report.renewed += renewed;
                        why.iter().for_each(|why| self.oracle.note(why));
                    }
                    Err(error) => self.oracle.note(&error.to_string()),
                }
                Ok(())
            }
            88..=92 => {
                let Some(audited) = self.audit(process, 2).await? else { return Ok(()) };
                let now = self.rng.chance(80);
                self.oracle.came_to_nothing(self.buyer.share_of_all());
                match self.buyer.repair(process, audited, now).await {
                    Ok((replaced, problems)) => {
                        self.report.replaced += replaced;
                        problems.iter().for_each(|problem| self.oracle.note(problem));
                    }
                    Err(error) => self.oracle.note(&error.to_string()),
                }
                Ok(())
            }
            93..=97 => {
                let stored: Vec<_> = self.buyer.stored.iter().copied().collect();
                let Some(object) = self.rng.pick(&stored).copied() else { return Ok(()) };
                self.buyer.stored.remove(&object);
                // A disk that fails is found in the next turn.
                let _ = process.objects.remove(object).await;
                Ok(())
            }
            _ => {
                self.buyer.stored.clear();
                drop(self.buyer.end(process).await);
                Ok(())
            }
        }
    }

    /// Audits; nothing if the buyer's disk failed.
    async fn audit(
        &mut self,
        process: &Process,
        samples: u32,
    ) -> Result<Option<Vec<Audited>>, String> {
        let nonce = self.rng.array();
        match self.buyer.audit(process, samples, nonce).await {
            Ok(audited) => {
                self.audited = Instant::now();
                self.absent[0].note(&self.hosts, &audited);
                for each in &audited {
                    match &each.outcome {
                        Outcome::Proven { .. } => self.report.proven += 1,
                        Outcome::Caught { .. } => self.report.caught += 1,
                        Outcome::Silent { what } if what.contains("was given") => {
                            self.report.overstated += 1;
                            if self.is_honest(each.provider) {
                                return Err(format!("an honest host is not believed: {what}"));
                            }
                        }
                        Outcome::Unasked { .. } | Outcome::Silent { .. } => {}
                    }
                }
                Ok(Some(audited))
            }
            Err(AgentError::Store(why)) => {
                self.oracle.note(&why);
                Ok(None)
            }
            Err(error) => Err(format!("an audit failed: {error}")),
        }
    }

    /// Sees that nothing went wrong so far.
    fn look(&self, process: Option<&Process>) -> Result<(), String> {
        if let Some(fault) = self.oracle.first_fault() {
            return Err(fault);
        }
        let Some(process) = process else { return Ok(()) };
        for (role, host) in &self.hosts {
            let who = host.entity();
            let why = process.agent.book().read(|book| book.distrusted(who).map(str::to_owned));
            let trusted = role.is_honest() || self.planted == Planted::TrustsLiars;
            if let Some(why) = why.filter(|_| trusted) {
                return Err(format!("an honest host ({role:?}) was cut off: {why}"));
            }
            let standing = process.agent.book().read(|book| book.standing(who));
            if role.is_honest() && self.absent[0].is_wronged(who, standing) {
                return Err(format!("an honest host ({role:?}) is {standing}"));
            }
        }
        Ok(())
    }
}
