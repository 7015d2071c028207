//! `fondaco backup check`, `forget` and `prune`.

use super::reading::Reading;
use super::{blocking, in_thread, look, open, repo, state};
use crate::cli::{CheckArgs, ForgetArgs, PruneArgs};
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::screen::{counted, say};
use fondaco_agent::{Agent, AgentError, CheckReport, Forget, Keep, Objects, PruneReport};
use fondaco_ports::Clock as _;
use fondaco_store::SystemClock;
use fondaco_units::Bytes;
use serde_json::json;
use std::sync::Arc;

pub(super) async fn check(home: &Home, args: CheckArgs, json: bool) -> Result<(), Failure> {
    let CheckArgs { read_data, renew, read } = args;
    let allowance = Reading::allowed(home, "check", renew.as_deref())?;
    let agent = open(home, &read.seek, json).await?;
    let objects = Arc::new(agent.objects());
    let reading = Reading::new(home, agent, "check", allowance, json);
    let repo = reading.repo(&objects, read.no_cache, json);
    let report = in_thread(move || repo.check(read_data)).await?;
    let report = report.map_err(|error| reading.ended(error))?;
    if json {
        let line = json!({
            "event": "check", "snapshots": report.snapshots, "read_data": read_data, "errors": report.errors,
            "warnings": report.warnings,
        });
        say(&line.to_string());
    } else {
        for warning in &report.warnings {
            say(&format!("odd:   {warning}"));
        }
        for error in &report.errors {
            say(&format!("wrong: {error}"));
        }
        if report.errors.is_empty() {
            let how = if read_data { "every byte was read" } else { "no data was read" };
            let are = if report.snapshots == 1 { "is" } else { "are" };
            say(&format!("{} {are} whole; {how}.", counted(report.snapshots, "snapshot")));
        }
    }
    found(report, |error| reading.ended(error))
}

/// How a check ends. Where all that it found is that something could not be read, it ends as that does: nothing need be wrong.
fn found(report: CheckReport, ended: impl Fn(AgentError) -> Failure) -> Result<(), Failure> {
    let CheckReport { errors, wrong, unread, .. } = report;
    if errors.is_empty() {
        return Ok(());
    }
    let told = format!("the check found {}", counted(errors.len(), "error"));
    if wrong == 0 {
        let failures: Vec<Failure> = unread.into_iter().map(ended).collect();
        let gravest = Code::gravest(failures.iter().map(Failure::ends_with));
        if let Some(failure) = failures.into_iter().find(|one| one.ends_with() == gravest) {
            return Err(failure.during(&told));
        }
    }
    Err(Failure::new(told).code(Code::Verification).hint(
        "back up anew what you still have: what is there already is not sent; `fondaco audit` says which hosts lie",
    ))
}

/// Which snapshots are to be forgotten. Rules that keep none are refused: a 0 is soon typed, and all would be gone.
fn to_forget(args: &ForgetArgs) -> Result<Forget, Failure> {
    if args.all {
        return Ok(Forget::AllBut(Keep { last: Some(0), ..Keep::default() }));
    }
    let keep = Keep {
        last: args.keep_last,
        hourly: args.keep_hourly,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        yearly: args.keep_yearly,
    };
    let Keep { last, hourly, daily, weekly, monthly, yearly } = keep;
    let rules = [last, hourly, daily, weekly, monthly, yearly];
    if rules.iter().all(Option::is_none) {
        return Ok(Forget::These(args.snapshots.clone()));
    }
    if rules.iter().flatten().all(|count| *count == 0) {
        return Err(Failure::new("by these rules no snapshot is kept")
            .code(Code::Usage)
            .hint("to forget all of them, say `fondaco backup forget --all`"));
    }
    Ok(Forget::AllBut(keep))
}

pub(super) async fn forget(home: &Home, args: ForgetArgs, json: bool) -> Result<(), Failure> {
    let which = to_forget(&args)?;
    let agent = open(home, &args.seek, json).await?;
    let objects = Arc::new(agent.objects());
    agent.check_newest(&objects).await?;
    let (forget_repo, dry_run) = (repo(home, &agent, &objects, false, json), args.dry_run);
    let report = blocking(move || forget_repo.forget(&which, SystemClock.now(), dry_run)).await?;
    for snapshot in &report.forgotten {
        look::show_snapshot(snapshot, "forgotten", json);
    }
    let count = report.forgotten.len();
    if count > 0 && !dry_run && !args.prune {
        state::keep(home, &agent, &objects, json).await;
    }
    if json {
        let line = json!({
            "event": "forget", "forgotten": count, "kept": report.kept, "dry_run": dry_run,
        });
        say(&line.to_string());
    } else {
        let would = if dry_run { " would be" } else { "" };
        say(&format!("{}{would} forgotten, {} kept.", counted(count, "snapshot"), report.kept));
    }
    if args.prune && !dry_run {
        return prune_objects(home, &agent, &objects, false, json).await;
    }
    if count > 0 && !dry_run && !json {
        say("What only they needed is still kept and paid for: `fondaco backup prune` removes it.");
    }
    Ok(())
}

pub(super) async fn prune(home: &Home, args: PruneArgs, json: bool) -> Result<(), Failure> {
    let agent = open(home, &args.seek, json).await?;
    let objects = Arc::new(agent.objects());
    agent.check_newest(&objects).await?;
    prune_objects(home, &agent, &objects, args.dry_run, json).await
}

async fn prune_objects(
    home: &Home,
    agent: &Agent,
    objects: &Arc<Objects>,
    dry_run: bool,
    json: bool,
) -> Result<(), Failure> {
    let repo = repo(home, agent, objects, false, json);
    let PruneReport { removed, repacked, kept } = blocking(move || repo.prune(dry_run)).await?;
    if !dry_run {
        state::keep(home, agent, objects, json).await;
    }
    if json {
        let line = json!({
            "event": "prune", "removed": removed, "repacked": repacked, "kept": kept, "dry_run": dry_run,
        });
        say(&line.to_string());
    } else {
        let would = if dry_run { " would be" } else { "" };
        say(&format!(
            "{}{would} removed, {}{would} stored anew without what lay beside it, {} kept.",
            Bytes::new(removed),
            Bytes::new(repacked),
            Bytes::new(kept)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line for each: errors, how many of them tell of more than what could not be read, and why that was; the code.
    #[test]
    fn a_check_is_about_damage_only_where_something_is_wrong() {
        let unreadable = |spent, over, caught| AgentError::Unreadable {
            object: "pack 01010101".to_owned(),
            needed: 2,
            found: 1,
            last: "it is away".to_owned(),
            spent,
            over,
            caught,
        };
        let away = || unreadable(false, false, false);
        for (errors, wrong, unread, expected) in [
            (0, 0, vec![], None),
            (2, 0, vec![away()], Some(Code::Unreachable)),
            (2, 0, vec![away(), unreadable(false, true, false)], Some(Code::NotFound)),
            (2, 0, vec![unreadable(true, false, false), away()], Some(Code::Funds)),
            (2, 0, vec![away(), unreadable(false, false, true)], Some(Code::Verification)),
            (2, 1, vec![away()], Some(Code::Verification)),
            (1, 1, vec![], Some(Code::Verification)),
        ] {
            let errors = vec!["an error".to_owned(); errors];
            let report = CheckReport { errors, wrong, unread, ..CheckReport::default() };
            let failure = found(report, Failure::from).err();
            assert_eq!(failure.as_ref().map(Failure::ends_with), expected, "{failure:?}");
            assert!(failure.is_none_or(|failure| failure.what_to_do().is_some()));
        }
    }
}
