//! `fondaco backup restore`.

use super::create::say_uncached;
use super::reading::Reading;
use super::{in_thread, open};
use crate::cli::RestoreArgs;
use crate::failure::{Code, Failure, io};
use crate::home::Home;
use crate::screen::{complain, counted, printable, say};
use fondaco_agent::{Place, RestoreReport};
use fondaco_units::Bytes;
use rustix::fs::Mode;
use rustix::process::Signal;
use serde_json::json;
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
            "refused": refused.named,
        });
        say(&line.to_string());
        return all_was_written(&report);
    }
    let entries = match report.entries {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    };
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
    for name in &refused.named {
        complain(&format!("not written: {name}"));
    }
    if rebuilt > 0 {
        let reads = counted(usize::try_from(rebuilt).unwrap_or(usize::MAX), "read");
        say(&format!("{reads} had to be rebuilt from other hosts' shards:"));
        for why in objects.missing() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_folder_that_cannot_be_written_is_no_matter_of_the_home() {
        for kind in [std::io::ErrorKind::PermissionDenied, std::io::ErrorKind::ReadOnlyFilesystem] {
            let failure = io("make the folder", Path::new("/there"), &kind.into());
            let hint = failure.what_to_do().unwrap();
            assert!(!hint.contains("--home"), "{hint}");
        }
    }
}
