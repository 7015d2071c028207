//! `fondaco backup restore`.

use super::used_up::{self, Allowance};
use super::{in_thread, open, repo, state};
use crate::cli::RestoreArgs;
use crate::failure::{Code, Failure, io};
use crate::home::Home;
use crate::screen::{complain, say};
use fondaco_agent::{Agent, AgentError, Objects, RestoreReport};
use fondaco_units::Bytes;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// How often a restore goes on after contracts were renewed: each pays for reading all of it twice.
const RENEWALS_MAX: u32 = 8;

pub(super) async fn restore(home: &Home, args: RestoreArgs, json: bool) -> Result<(), Failure> {
    let once = "a restore is paid for once";
    let allowance =
        args.renew.as_deref().map(|text| Allowance::of(home, "--renew", text, once)).transpose()?;
    let agent = open(home, &args.read.seek, json).await?.with_risk(args.risk);
    let to = std::path::absolute(&args.to).map_err(|error| io("restore into", &args.to, &error))?;
    std::fs::create_dir_all(&to).map_err(|error| io("make the folder", &to, &error))?;
    let began = Instant::now();
    let restore = Restore { home, agent, args: &args, to: &to, json };
    let (report, objects, rebuilt) = restore.run(allowance).await?;
    let seconds = began.elapsed().as_secs_f64();
    let refused = &report.refused;
    if json {
        let line = json!({
            "event": "restore", "snapshot": report.snapshot, "entries": report.entries,
            "bytes": report.bytes, "seconds": seconds, "rebuilt": rebuilt, "problems": report.problems,
            "refused": refused.named,
        });
        say(&line.to_string());
        return all_was_written(&report);
    }
    say(&format!(
        "Restored {} files and folders, {}, from snapshot {} into {} in {seconds:.1} s.",
        report.entries,
        Bytes::new(report.bytes),
        report.snapshot,
        to.display()
    ));
    for problem in &report.problems {
        say(&format!("not as it was: {problem}"));
    }
    for name in &refused.named {
        complain(&format!("not written: {name}"));
    }
    if rebuilt > 0 {
        say(&format!("{rebuilt} reads had to be rebuilt from other hosts' shards:"));
        for why in objects.down().values() {
            say(&format!("  {why}"));
        }
    }
    all_was_written(&report)
}

/// Fails if the snapshot has what no folder has.
fn all_was_written(report: &RestoreReport) -> Result<(), Failure> {
    let RestoreReport { snapshot, refused, .. } = report;
    let Some(first) = refused.named.first() else { return Ok(()) };
    let others = match refused.count {
        1 => String::new(),
        count => format!(", and so with {} more", count - 1),
    };
    Err(Failure::new(format!(
        "snapshot {snapshot} was not made of a folder: {first}{others}; nothing of that was written, the rest was"
    ))
    .code(Code::Verification)
    .hint("somebody who has the key of this repository forged it: `fondaco backup list` shows the others"))
}

/// What stays the same while a restore goes on.
struct Restore<'a> {
    home: &'a Home,
    agent: Agent,
    args: &'a RestoreArgs,
    to: &'a Path,
    json: bool,
}

impl Restore<'_> {
    /// Restores; where holds are used up that may be renewed, does so, and goes on with what is not there yet.
    async fn run(
        &self,
        mut allowance: Option<Allowance<'_>>,
    ) -> Result<(RestoreReport, Arc<Objects>, u64), Failure> {
        let Self { home, agent, args, json, .. } = self;
        let (mut rebuilt, mut renewals) = (0, 0);
        loop {
            let objects = Arc::new(agent.objects());
            let repo = repo(home, agent, &objects, args.read.no_cache, *json);
            let (snapshot, path) = (args.snapshot.clone(), args.path.clone());
            let to = self.to.to_owned();
            let done = in_thread(move || repo.restore(&snapshot, path.as_deref(), &to)).await?;
            rebuilt += objects.traffic().rebuilt.load(Ordering::Relaxed);
            let error = match done {
                Ok(report) => return Ok((report, objects, rebuilt)),
                Err(error @ AgentError::Unreadable { spent: true, .. }) => error,
                Err(error) => return Err(error.into()),
            };
            let Some(allowance) = &mut allowance else {
                return Err(Failure::from(error).hint(
                    "`fondaco contracts renew` lets new contracts, with holds of their own, take over what is there; with \
                     --renew \"5 CLR\" a restore does so itself, and goes on",
                ));
            };
            renewals += 1;
            let done = used_up::renew(home, agent, &objects, allowance, *json).await?;
            if !done.renewed.is_empty() {
                // What was opened must not be forgotten.
                state::keep(home, agent, &agent.objects(), *json).await;
            }
            if done.renewed.is_empty() || renewals == RENEWALS_MAX {
                return Err(not_renewed(error, done.failures));
            }
        }
    }
}

/// Says why a restore does not go on: something was in the way of renewing.
fn not_renewed(error: AgentError, failures: Vec<Failure>) -> Failure {
    let code = Code::gravest(failures.iter().map(Failure::ends_with));
    match failures.into_iter().find(|failure| failure.ends_with() == code) {
        None => error.into(),
        Some(why) => {
            let what = format!("{error}; it was not renewed: {}", why.what());
            why.saying(what)
        }
    }
}
