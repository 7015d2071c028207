//! The most memory that a command had at once, as Linux counts it.

use crate::world::World;
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How often it is looked at: what grows after the last look is missed.
const EVERY: Duration = Duration::from_millis(5);

/// Runs a command of `who` to its end, which must be good; returns the lines it wrote, and its peak in KiB.
pub(crate) async fn run(world: &World, who: &str, args: &[String]) -> (Vec<Value>, u64) {
    let mut command = Command::new(world.program());
    command.arg("--home").arg(world.home(who)).arg("--json").args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let ended = child.wait_with_output();
    tokio::pin!(ended);
    let mut peak = 0;
    let output = loop {
        tokio::select! {
            output = &mut ended => break output.unwrap(),
            () = tokio::time::sleep(EVERY) => {
                peak = peak.max(fs::read_to_string(&status).ok().as_deref().and_then(most).unwrap_or(0));
            }
        }
    };
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(output.status.success(), "{lines:?}");
    assert!(peak > 0, "its memory was never seen");
    (lines, peak)
}

/// The high-water mark of a process.
fn most(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
