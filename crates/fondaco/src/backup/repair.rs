//! `fondaco backup repair`: what hosts have lost is made anew on others.

use super::used_up::{self, Allowance};
use super::{open_seeking, probability, state};
use crate::cli::RepairArgs;
use crate::failure::{Code, Failure};
use crate::home::{CurrencyConfig, Home};
use crate::offers::Whereabouts;
use crate::screen::{Bars, complain, counted, counted_as, say};
use crate::services::stop_switch;
use crate::wallet::open as open_wallet;
use fondaco_agent::auditing::{Audited, Kind};
use fondaco_agent::book::{Book, For};
use fondaco_agent::repair::{Health, Repaired};
use fondaco_agent::{Agent, AgentError, Objects, Trust, Wish};
use fondaco_contract::ContractId;
use fondaco_units::{Amount, Bytes};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a repair of a set goes on after contracts were renewed.
const RENEWALS_MAX: u32 = 4;

pub(super) async fn repair(home: &Home, args: RepairArgs, json: bool) -> Result<(), Failure> {
    again(args.again.every()?, json, || async {
        once(home, &args, allowed(home, &args)?, json).await
    })
    .await
}

/// Does something once, or again and again until stopped: what fails then is told, and may work the next time.
pub(super) async fn again<F: Future<Output = Result<(), Failure>>>(
    every: Option<Duration>,
    json: bool,
    run: impl Fn() -> F,
) -> Result<(), Failure> {
    let Some(every) = every else { return run().await };
    let stop = stop_switch()?;
    loop {
        let done = tokio::select! {
            done = run() => done,
            () = stop.cancelled() => return Ok(()),
        };
        match done {
            Err(failure) if json => say(&failure.json()),
            Err(failure) => complain(&failure.to_string()),
            Ok(()) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Reads what may be spent by one round, if that was said.
pub(super) fn allowed(home: &Home, args: &RepairArgs) -> Result<Option<Allowance>, Failure> {
    let paid = "a repair is paid for once";
    let budget = args.budget.as_deref();
    let allowance = budget.map(|text| Allowance::of(home, "--budget", text, paid)).transpose()?;
    Ok(allowance.map(|allowance| allowance.also(For::Slot)))
}

pub(super) async fn once(
    home: &Home,
    args: &RepairArgs,
    allowance: Option<Allowance>,
    json: bool,
) -> Result<(), Failure> {
    let mut whereabouts = Whereabouts::known(home, &args.find).await?;
    let wallet_config = home.wallet()?;
    // A slot that is empty is worse than one that a newcomer has all of.
    let trust = Trust { newcomer: None, ..Trust::DEFAULT };
    let agent = open_seeking(home, whereabouts.seek(home, json)).await?.with_trust(trust);
    whereabouts.heed_named(home, &agent, json).await?;
    let objects = agent.objects();
    agent.check_newest(&objects).await?;
    let audits = agent.audit(&objects, Kind::Sampled, args.samples, |_| ()).await?;
    let report = Report { json, has_budget: allowance.is_some(), ..Report::default() };
    let mut round =
        Round { home, args, whereabouts, agent, objects, audits, allowance, report, json };
    round.renew().await?;
    let sets = round.survey().await?;
    if sets.is_empty() {
        return Err(Failure::new("nothing is stored that could be repaired").code(Code::NotFound));
    }
    let looking = round.objects.spent();
    for health in &sets {
        let issuer = health.currency.issuer().to_string();
        let currency = wallet_config.find(Some(&issuer))?;
        round.report.show_health(health, args.now);
        if health.is_due(args.now)
            && let Err(failure) = round.repair(health, currency).await
        {
            // What was opened must not be forgotten.
            state::keep(home, &round.agent, &round.objects, json).await;
            return Err(failure);
        }
    }
    state::keep(home, &round.agent, &round.objects, json).await;
    let Round { agent, objects, mut report, .. } = round;
    report.show_used_up(&agent, &objects);
    report.end(looking, &wallet_config.currency)
}

/// One look at everything, and what is done about it.
struct Round<'a> {
    home: &'a Home,
    args: &'a RepairArgs,
    whereabouts: Whereabouts,
    agent: Agent,
    objects: Objects,
    /// How the audits of this round came out.
    audits: Vec<Audited>,
    /// What may be spent, if that was said.
    allowance: Option<Allowance>,
    report: Report,
    json: bool,
}

impl Round<'_> {
    /// Says how every set stands, by the audits of this round.
    async fn survey(&self) -> Result<Vec<Health>, Failure> {
        Ok(self.agent.survey_after(&self.objects, self.audits.clone()).await?)
    }

    /// Renews contracts whose holds are used up, if it was said what that may cost, and audits their hosts again, since they were
    /// not. Returns whether there were any.
    async fn renew(&mut self) -> Result<bool, Failure> {
        let Self { home, args, agent, objects, audits, allowance, json, .. } = self;
        let Some(allowance) = allowance else { return Ok(false) };
        let done = used_up::renew(home, agent, objects, allowance, *json).await?;
        self.report.unrenewed.extend(done.failures.iter().map(Failure::ends_with));
        if done.renewed.is_empty() {
            return Ok(false);
        }
        agent.read_under_new(objects, &done.renewed);
        let (old, new): (BTreeSet<ContractId>, BTreeSet<ContractId>) =
            done.renewed.into_iter().unzip();
        let is_new = |contract| new.contains(&contract);
        let again = agent.audit_of(objects, is_new, Kind::Sampled, args.samples, |_| ()).await?;
        audits.retain(|audited| !old.contains(&audited.contract));
        audits.extend(again);
        Ok(true)
    }

    /// Repairs a set. Where that comes to a hold which is used up and may be renewed, goes on after that.
    async fn repair(&mut self, health: &Health, currency: &CurrencyConfig) -> Result<(), Failure> {
        let mut health = health.clone();
        for renewals in 0.. {
            let limit = match &self.allowance {
                None => None,
                Some(allowance) => match allowance.left(currency)? {
                    Some(left) => Some(left),
                    None => {
                        self.report.problem(format!(
                            "set {} is paid for in {}, and --budget is in another currency",
                            health.set, currency.symbol
                        ));
                        return Ok(());
                    }
                },
            };
            let Self { home, whereabouts, agent, objects, json, .. } = self;
            // Each host is asked for its room and its prices again.
            let wish = Wish { bytes: Bytes::ZERO, survive: 0.0, epochs: 1, budget: None };
            let hosts = whereabouts.find_more(agent, currency, &wish, *json).await?;
            let before = Sums::of(objects);
            let known = agent.book().read(Book::holds_before);
            let done = {
                let wallet = open_wallet(home, currency).await?;
                let progress = Bars::told(*json, currency.clone());
                agent.repair(objects, &wallet, &hosts, &health, limit, &*progress).await
            };
            let held = agent.book().read(|book| book.held_since(&known));
            if let Some(allowance) = &mut self.allowance {
                allowance.take(currency, held)?;
            }
            let error = match done {
                Ok(repaired) => {
                    let after = Sums::of(&self.objects);
                    return self.report.show_repaired(&health, &repaired, currency, before, after);
                }
                Err(error) => error,
            };
            let is_used_up = matches!(error, AgentError::Unreadable { spent: true, .. });
            if is_used_up && renewals < RENEWALS_MAX && self.renew().await? {
                let set = health.set;
                let now = self.survey().await?.into_iter().find(|health| health.set == set);
                let Some(now) = now else { return Ok(()) };
                health = now;
                continue;
            }
            return match error {
                // Another set may have more luck.
                AgentError::Placement { .. } | AgentError::Unreadable { .. } => {
                    self.report.show_unrepaired(&health, &error);
                    Ok(())
                }
                error => Err(super::sums::in_currency(error, currency)
                    .during(&format!("set {}", health.set))),
            };
        }
        Ok(())
    }
}

/// What went over the wire and was signed for.
#[derive(Clone, Copy, Debug)]
struct Sums {
    read: u64,
    sent: u64,
    spent: Amount,
}

impl Sums {
    fn of(objects: &Objects) -> Self {
        let traffic = objects.traffic();
        Self {
            read: traffic.received.load(Ordering::Relaxed),
            sent: traffic.sent.load(Ordering::Relaxed),
            spent: objects.spent(),
        }
    }
}

/// What is told, and what counts for the exit code.
#[derive(Debug, Default)]
struct Report {
    json: bool,
    problems: Vec<String>,
    hopeless: usize,
    /// How many contracts have holds that are used up, after all.
    used_up: usize,
    /// Why contracts were not renewed.
    unrenewed: Vec<Code>,
    /// Whether it was said what renewing may cost.
    has_budget: bool,
}

impl Report {
    fn problem(&mut self, what: String) {
        if !self.json {
            say(&format!("  {what}"));
        }
        self.problems.push(what);
    }

    fn show_health(&mut self, health: &Health, now: bool) {
        let (k, n) = (health.code.k(), health.code.n());
        let (live, is_due) = (health.live(), health.is_due(now));
        self.hopeless += usize::from(health.is_hopeless());
        let Health { durability, .. } = health;
        let (survive, assumed) = (probability(durability.survive), durability.assumed());
        if self.json {
            let lost: Vec<_> = health
                .lost
                .iter()
                .map(|lost| {
                    json!({ "slot": lost.index, "provider": lost.provider.to_string(), "why": lost.why })
                })
                .collect();
            let warned: Vec<_> = health
                .warned
                .iter()
                .map(|one| {
                    json!({ "slot": one.index, "provider": one.provider.to_string(), "why": one.why })
                })
                .collect();
            let line = json!({
                "event": "health", "warned": warned, "set": health.set, "k": k, "n": n, "live": live, "objects": health.objects,
                "threshold": health.threshold(), "due": is_due, "begun": health.begun.len(), "lost": lost,
                "survive": survive, "assumed": assumed,
            });
            say(&line.to_string());
            return;
        }
        say(&format!(
            "Set {}, {k} of {n}, {}: {live} of {} live; an object survives an epoch with {survive}.",
            health.set,
            counted(health.objects, "object"),
            counted(n, "slot")
        ));
        say(&format!("  {assumed}"));
        for lost in &health.lost {
            say(&format!(
                "  slot {}, {}… is lost: {}",
                lost.index,
                lost.provider.short(),
                lost.why
            ));
        }
        for one in &health.warned {
            say(&format!("  slot {}, {}… lives: {}", one.index, one.provider.short(), one.why));
        }
        if health.is_hopeless() {
            say("  Too few live to rebuild anything. It waits for hosts to return.");
        } else if !is_due && !health.lost.is_empty() {
            let threshold = health.threshold();
            say(&format!("  It is repaired when {threshold} or fewer live, or with --now."));
        }
    }

    fn show_unrepaired(&mut self, health: &Health, error: &AgentError) {
        self.problem(format!("set {}: {error}", health.set));
        if self.json {
            let line = json!({
                "event": "unrepaired", "set": health.set, "why": error.to_string(), "hint": error.hint(),
            });
            say(&line.to_string());
        }
    }

    /// Names the hosts that can be asked for nothing, by no fault of theirs.
    fn show_used_up(&mut self, agent: &Agent, objects: &Objects) {
        let used_up = agent.used_up(objects);
        self.used_up = used_up.len();
        for record in used_up {
            let provider = record.terms.prices.provider;
            if self.json {
                let line = json!({
                    "event": "used_up", "contract": record.terms.id().to_string(), "provider": provider.to_string(),
                });
                say(&line.to_string());
            } else {
                say(&format!(
                    "{}… is neither audited nor read from: the hold of its contract is used up.",
                    provider.short()
                ));
            }
        }
    }

    fn show_repaired(
        &mut self,
        health: &Health,
        repaired: &Repaired,
        currency: &CurrencyConfig,
        before: Sums,
        after: Sums,
    ) -> Result<(), Failure> {
        let (read, sent) = (after.read - before.read, after.sent - before.sent);
        let cost = after.spent.saturating_sub(before.spent);
        let cost = cost.checked_add(repaired.opening).unwrap_or(Amount::MAX);
        let before_it = probability(health.durability.survive);
        let (survive, assumed) =
            (probability(repaired.durability.survive), repaired.durability.assumed());
        if self.json {
            let replaced: Vec<_> = repaired
                .replaced
                .iter()
                .map(|one| {
                    json!({
                        "slot": one.index, "from": one.from.to_string(), "to": one.to.to_string(), "why": one.why,
                        "contract": one.contract.to_string(),
                    })
                })
                .collect();
            let scale = currency.scale()?;
            let line = json!({
                "event": "repaired", "set": health.set, "replaced": replaced, "problems": repaired.problems, "notes": repaired.notes,
                "read": read, "sent": sent, "cost": scale.show(cost).to_string(),
                "held": scale.show(repaired.held).to_string(), "currency": currency.symbol,
                "live_before": health.live(), "live": repaired.live,
                "survive_before": before_it, "survive": survive, "assumed": assumed,
            });
            say(&line.to_string());
        } else {
            for one in &repaired.replaced {
                say(&format!(
                    "  slot {}: {}… was replaced by {}…",
                    one.index,
                    one.from.short(),
                    one.to.short()
                ));
            }
            say(&format!(
                "  {} were read from those that live, and {} sent, for {}. Up to {} is held for new contracts.",
                Bytes::new(read),
                Bytes::new(sent),
                currency.show(cost),
                currency.show(repaired.held)
            ));
            repaired.notes.iter().for_each(|note| say(&format!("  {note}")));
            say(&format!(
                "  {}, {} before; an object survives an epoch with {survive}, {before_it} before.\n  {assumed}",
                counted_as(repaired.live, "slot lives", "slots live"),
                health.live()
            ));
        }
        for problem in &repaired.problems {
            self.problem(problem.clone());
        }
        Ok(())
    }

    fn end(self, looking: Amount, currencies: &[CurrencyConfig]) -> Result<(), Failure> {
        // Money of several currencies is not added up.
        if let ([currency], false) = (currencies, self.json) {
            say(&format!("Looking whether all is there cost {}.", currency.show(looking)));
        }
        if self.hopeless > 0 {
            let have = if self.hopeless == 1 { "has" } else { "have" };
            return Err(Failure::new(format!(
                "{} {have} fewer slots left than rebuild an object",
                counted(self.hopeless, "set")
            ))
            .code(Code::Unreachable)
            .hint(
                "if their hosts return, run this again; what you still have at home, back up again",
            ));
        }
        match self.problems.first() {
            None if self.used_up > 0 => {
                let why = Code::gravest(self.unrenewed.iter().copied());
                let hint = match why {
                    _ if !self.has_budget => {
                        "say with --budget what renewing them may cost, or run `fondaco contracts renew`"
                    }
                    Code::Funds => "raise --budget, or run `fondaco contracts renew`",
                    Code::Unreachable => "run the same again when their hosts can be reached",
                    _ => "the next run renews them, or says why not; so does `fondaco contracts renew`",
                };
                Err(Failure::new(format!(
                    "{} cannot be audited or read from, because holds are used up",
                    counted(self.used_up, "contract")
                ))
                .code(Code::gravest(self.unrenewed.into_iter().chain([Code::Funds])))
                .hint(hint))
            }
            None => Ok(()),
            Some(first) => Err(Failure::new(format!("not every slot was repaired: {first}"))
                .hint("name more hosts with --host ADDRESS, or a --broker; the same command goes on from here")),
        }
    }
}
