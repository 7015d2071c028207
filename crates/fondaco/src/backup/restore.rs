//! `fondaco backup restore`.

use super::{blocking, open, repo};
use crate::cli::RestoreArgs;
use crate::failure::{Failure, io};
use crate::home::Home;
use crate::screen::say;
use fondaco_units::Bytes;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

pub(super) async fn restore(home: &Home, args: RestoreArgs, json: bool) -> Result<(), Failure> {
    let RestoreArgs { snapshot, path, to, read, risk } = args;
    let agent = open(home, &read.seek, json).await?.with_risk(risk);
    let objects = Arc::new(agent.objects());
    let repo = repo(home, &agent, &objects, read.no_cache, json);
    let to = std::path::absolute(&to).map_err(|error| io("restore into", &to, &error))?;
    std::fs::create_dir_all(&to).map_err(|error| io("make the folder", &to, &error))?;
    let began = Instant::now();
    let report = {
        let to = to.clone();
        blocking(move || repo.restore(&snapshot, path.as_deref(), &to)).await?
    };
    let seconds = began.elapsed().as_secs_f64();
    let rebuilt = objects.traffic().rebuilt.load(Ordering::Relaxed);
    if json {
        let line = json!({
            "event": "restore", "snapshot": report.snapshot, "entries": report.entries,
            "bytes": report.bytes, "seconds": seconds, "rebuilt": rebuilt, "problems": report.problems,
        });
        say(&line.to_string());
        return Ok(());
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
    if rebuilt > 0 {
        say(&format!("{rebuilt} reads had to be rebuilt from other hosts' shards:"));
        for why in objects.down().values() {
            say(&format!("  {why}"));
        }
    }
    Ok(())
}
