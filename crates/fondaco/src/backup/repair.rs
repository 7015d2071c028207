//! `fondaco backup repair`: what hosts have lost is made anew on others.

use super::create::BudgetText;
use super::{open_seeking, probability, state};
use crate::cli::RepairArgs;
use crate::failure::{Code, Failure};
use crate::home::{CurrencyConfig, Home};
use crate::offers::Places;
use crate::screen::{Bars, complain, say};
use crate::services::stop_switch;
use crate::wallet::open as open_wallet;
use fondaco_agent::repair::{Health, Repaired};
use fondaco_agent::{AgentError, Objects, Trust, Wish};
use fondaco_units::{Amount, Bytes};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(super) async fn repair(home: &Home, args: RepairArgs, json: bool) -> Result<(), Failure> {
    again(args.every, json, || once(home, &args, json)).await
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

pub(super) async fn once(home: &Home, args: &RepairArgs, json: bool) -> Result<(), Failure> {
    let budget = args.budget.as_deref().map(BudgetText::parse).transpose()?;
    if budget.is_some_and(|budget| budget.is_monthly) {
        return Err(Failure::new("a repair is paid for once, and --budget is by the month")
            .code(Code::Usage)
            .hint("write it as \"5 CLR\": the most that all contracts opened now may cost"));
    }
    let mut places = Places::known(home, &args.find).await?;
    let wallet_config = home.wallet()?;
    // A slot that is empty is worse than one that a newcomer has all of.
    let trust = Trust { newcomer: None, ..Trust::DEFAULT };
    let agent = open_seeking(home, places.seek(home, json)).await?.with_trust(trust);
    places.heed_named(home, &agent, json).await?;
    let mut objects = agent.objects();
    let sets = agent.survey(&objects, args.samples).await?;
    if sets.is_empty() {
        return Err(Failure::new("nothing is stored that could be repaired").code(Code::NotFound));
    }
    let looking = objects.spent();
    let mut report = Report { json, ..Report::default() };
    // What is left of the budget, by currency.
    let mut left: BTreeMap<String, Amount> = BTreeMap::new();
    for health in &sets {
        let issuer = health.currency.issuer().to_string();
        let currency = wallet_config.find(Some(&issuer))?;
        report.show_health(health, args.now);
        if !health.is_due(args.now) {
            continue;
        }
        let limit = match (left.get(&issuer), budget) {
            (Some(&left), _) => Some(left),
            (None, Some(budget)) => {
                if budget.symbol.is_some_and(|symbol| symbol != currency.symbol) {
                    report.problem(format!(
                        "set {} is paid for in {}, and --budget is in another currency",
                        health.set, currency.symbol
                    ));
                    continue;
                }
                Some(budget.read(currency.scale()?)?.amount)
            }
            (None, None) => None,
        };
        // Each host is asked for its room and its prices again.
        let wish = Wish { bytes: Bytes::ZERO, survive: 0.0, epochs: 1, budget: None };
        let hosts = places.find(&agent, currency, &wish, json).await?;
        let before = Sums::of(&objects);
        let wallet = open_wallet(home, currency).await?;
        let progress = Bars::new(json, Arc::new(String::new));
        let done = agent.repair(&mut objects, &wallet, &hosts, health, limit, &*progress).await;
        match done {
            Ok(repaired) => {
                if let Some(limit) = limit {
                    left.insert(issuer, limit.saturating_sub(repaired.held));
                }
                let after = Sums::of(&objects);
                report.show_repaired(health, &repaired, currency, before, after)?;
            }
            // Another set may have more luck.
            Err(error @ (AgentError::Placement { .. } | AgentError::Unreadable { .. })) => {
                report.problem(format!("set {}: {error}", health.set));
                if limit.is_some() && matches!(error, AgentError::Unreadable { .. }) {
                    left.insert(issuer, Amount::ZERO); // Contracts may have been opened before.
                }
                if json {
                    let line = json!({
                        "event": "unrepaired", "set": health.set, "why": error.to_string(), "hint": error.hint(),
                    });
                    say(&line.to_string());
                }
            }
            Err(error) => {
                let failure = Failure::from(error).during(&format!("set {}", health.set));
                // What was opened must not be forgotten.
                state::keep(home, &agent, &objects, json).await;
                return Err(failure);
            }
        }
    }
    state::keep(home, &agent, &objects, json).await;
    report.end(looking, &wallet_config.currency)
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
    hopeless: u32,
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
        self.hopeless += u32::from(health.is_hopeless());
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
            "Set {}, {k} of {n}, {} objects: {live} of {n} slots live; an object survives an epoch with {survive}.",
            health.set, health.objects
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
                "  {} slots live, {} before; an object survives an epoch with {survive}, {before_it} before.\n  {assumed}",
                repaired.live,
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
            return Err(Failure::new(format!(
                "{} sets have fewer slots left than rebuild an object",
                self.hopeless
            ))
            .code(Code::Unreachable)
            .hint(
                "if their hosts return, run this again; what you still have at home, back up again",
            ));
        }
        match self.problems.first() {
            None => Ok(()),
            Some(first) => Err(Failure::new(format!("not every slot was repaired: {first}"))
                .hint("name more hosts with --host ADDRESS, or a --broker; the same command goes on from here")),
        }
    }
}
