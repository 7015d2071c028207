//! `fondaco backup restore`.

use super::create::say_uncached;
use super::reading::Reading;
use super::{in_thread, open};
use crate::cli::RestoreArgs;
use crate::failure::{Code, Failure, io};
use crate::home::Home;
use crate::screen::{complain, counted, counted_as, printable, say};
use fondaco_agent::{Place, RestoreReport};
use fondaco_units::Bytes;
use rustix::fs::Mode;
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn restore(home: &Home, args: RestoreArgs, json: bool) -> Result<(), Failure> {
    let allowance = Reading::allowed(home, "restore", args.renew.as_deref())?;
    let agent = open(home, &args.read.seek, json).await?.with_risk(args.risk);
    let to = std::path::absolute(&args.to).map_err(|error| io("restore into", &args.to, &error))?;
    let place = Place::make(&to).map_err(|error| {
        io("make the folder", &to, &error).hint("name a place that can be written with --to")
    })?;
    // What is written is closed to others until all of it is there and gets its own permissions, also where it is broken off.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    // By default it ends the process where a file would grow beyond `ulimit -f`; what is caught is an error of the write.
    let _too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
    let began = Instant::now();
    let objects = Arc::new(agent.objects());
    let reading = Reading::new(home, agent, "restore", allowance, json);
    let repo = reading.repo(&objects, args.read.no_cache, json);
    let report = {
        let (snapshot, path) = (args.snapshot, args.path);
        let restore = move || {
            let done = repo.restore(&snapshot, path.as_deref(), &place);
            done.inspect_err(|_| place.leave())
        };
        in_thread(restore).await?
    };
    let report = report.map_err(|error| reading.ended(error))?;
    let rebuilt = objects.traffic().rebuilt.load(Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let refused = &report.refused;
    if json {
        let line = json!({
            "event": "restore", "snapshot": report.snapshot, "entries": report.entries,
            "bytes": report.bytes, "seconds": seconds, "rebuilt": rebuilt, "problems": report.problems, "cache": report.cache,
            "refused": refused.named, "unmade": report.unmade.named,
        });
        say(&line.to_string());
        return all_was_written(&report);
    }
    let entries = counted_as(report.entries, "entry", "entries");
    say(&format!(
        "Restored {entries}, {}, from snapshot {} into {} in {seconds:.1} s.",
        Bytes::new(report.bytes),
        report.snapshot,
        to.display()
    ));
    for problem in &report.problems {
        say(&format!("not as it was: {}", printable(problem)));
    }
    if let Some(why) = &report.cache {
        say_uncached(why);
    }
    for name in refused.named.iter().chain(&report.unmade.named) {
        complain(&format!("not written: {name}"));
    }
    if rebuilt > 0 {
        say(&rebuilt_in_words(rebuilt, &objects.missing()));
    }
    all_was_written(&report)
}

/// Says how many reads were made up from others, and for which hosts, as far as that is known: one that was only slow is not.
fn rebuilt_in_words(rebuilt: u64, missing: &BTreeSet<String>) -> String {
    let reads = counted(rebuilt, "read");
    let end = if missing.is_empty() { '.' } else { ':' };
    let lines: String = missing.iter().map(|why| format!("\n  {why}")).collect();
    format!("{reads} had to be rebuilt from other hosts' shards{end}{lines}")
}

/// Fails if the snapshot has what no folder has, or what could not be made here.
fn all_was_written(report: &RestoreReport) -> Result<(), Failure> {
    let RestoreReport { snapshot, refused, unmade, .. } = report;
    let others = |count: u64| match count {
        1 => String::new(),
        count => format!(", and so with {} more", count - 1),
    };
    if let Some(first) = refused.named.first() {
        let others = others(refused.count);
        return Err(Failure::new(format!(
            "snapshot {snapshot} was not made of a folder: {first}{others}; nothing of that was written, the rest was"
        ))
        .code(Code::Verification)
        .hint("somebody who has the key of this repository forged it: `fondaco backup list` shows the others"));
    }
    if let Some(first) = unmade.named.first() {
        let others = others(unmade.count);
        return Err(Failure::new(format!(
            "not all of snapshot {snapshot} was restored: {first}{others}; the rest was"
        ))
        .hint("restore those into an empty folder, devices as root: name their path after the snapshot"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_agent::Refused;
    use std::path::Path;

    /// One line for each: what was refused and what was not made; the code, and a part of what is said.
    #[test]
    fn what_was_not_written_is_a_failure() {
        let named = |names: &[&str]| {
            let named: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            Refused { count: named.len() as u64, named }
        };
        for (refused, unmade, expected) in [
            (&[][..], &[][..], None),
            (&[], &["a was not made"], Some((Code::Other, "a was not made; the rest was"))),
            (&[], &["a", "b"], Some((Code::Other, "restored: a, and so with 1 more"))),
            (&["x", "y", "z"], &["a"], Some((Code::Verification, "x, and so with 2 more"))),
        ] {
            let report = RestoreReport {
                snapshot: "12345678".to_owned(),
                entries: 1,
                bytes: 1,
                problems: Vec::new(),
                cache: None,
                refused: named(refused),
                unmade: named(unmade),
            };
            let failure = all_was_written(&report).err();
            let code = failure.as_ref().map(Failure::ends_with);
            assert_eq!(code, expected.map(|(code, _)| code), "{failure:?}");
            if let (Some(failure), Some((_, part))) = (failure, expected) {
                assert!(failure.what().contains(part), "{failure}");
                assert!(failure.what_to_do().is_some());
            }
        }
    }

    #[test]
    fn what_was_rebuilt_is_told_with_whom_it_missed() {
        let why = BTreeSet::from(["it is away".to_owned()]);
        for (count, missing, expected) in [
            (1, BTreeSet::new(), "1 read had to be rebuilt from other hosts' shards."),
            (18, why, "18 reads had to be rebuilt from other hosts' shards:\n  it is away"),
        ] {
            assert_eq!(rebuilt_in_words(count, &missing), expected);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_matter_of_the_home() {
        for kind in [std::io::ErrorKind::PermissionDenied, std::io::ErrorKind::ReadOnlyFilesystem] {
            let failure = io("make the folder", Path::new("/there"), &kind.into());
            let hint = failure.what_to_do().unwrap();
            assert!(!hint.contains("--home"), "{hint}");
        }
    }
}
