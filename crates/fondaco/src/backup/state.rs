//! `fondaco backup recover`, and what makes it possible: the books, sealed, with every host.

use super::{open, say_progress};
use crate::cli::{RecoverArgs, SeekArgs};
use crate::endpoints;
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::offers;
use crate::screen::{counted, counted_as, say};
use crate::seeking::will_tell;
use fondaco_agent::{
    Agent, AgentError, LogBefore, Note, Objects, StateReport, recover as recover_book,
};
use fondaco_codec::Text;
use fondaco_crypto::Digest;
use fondaco_ports::Clock;
use fondaco_store::SystemClock;
use fondaco_units::Bytes;
use serde_json::json;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often is looked whether the books should be kept.
const LOOK: Duration = Duration::from_secs(5);

/// How long the books may take when all else is done.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// How many times the bytes of the books must have been sent since they were kept.
const WORTH: u64 = 20;

/// The files of settings that travel with the books.
const NOTED: [&str; 2] = ["wallet.toml", "hosts.toml"];

/// Gives the books as they are now to every host; that this failed is told, and is no failure of what was done before.
pub(crate) async fn keep(home: &Home, agent: &Agent, objects: &Objects, json: bool) {
    say_not_kept(keep_or_fail(home, agent, objects, json).await, json);
}

/// The same, for what is worth nothing if no host keeps the books: then it fails.
pub(super) async fn keep_or_fail(
    home: &Home,
    agent: &Agent,
    objects: &Objects,
    json: bool,
) -> Result<(), Failure> {
    // Of what a delegate looks after, the owner has the book.
    if home.join("delegate").join("entrusted").exists() {
        return Ok(());
    }
    tell(agent.save_state(objects, notes(home)).await, json)
}

/// The same while the hosts are read from: the books wait their turn.
pub(super) async fn keep_meanwhile(home: &Home, agent: &Agent, objects: &Objects, json: bool) {
    say_not_kept(tell(agent.save_state_meanwhile(objects, notes(home)).await, json), json);
}

pub(super) fn say_not_kept(kept: Result<(), Failure>, json: bool) {
    if let Err(failure) = kept {
        say_progress(json, failure.what());
    }
}

fn tell(kept: Result<Option<StateReport>, AgentError>, json: bool) -> Result<(), Failure> {
    let report = match kept {
        Ok(Some(report)) => report,
        Ok(None) => return Ok(()),
        Err(error) => {
            return Err(Failure::from(error).during("your books could not be kept by the hosts"));
        }
    };
    if json {
        show(&report);
    } else {
        for (host, why) in &report.failed {
            say(&format!("{}… does not keep your books: {why}", host.short()));
        }
    }
    if !report.hosts.is_empty() {
        return Ok(());
    }
    let none = "no host keeps your books: without this machine, the backup cannot be found again";
    Err(match report.newer {
        Some(_) => Failure::new(none).code(Code::Verification).hint(
            "another machine works with the same key, and its book is the newer one: `fondaco backup recover` in a new home \
             finds it",
        ),
        None => Failure::new(none)
            .hint("run this again when hosts can be reached; until then keep a copy of HOME/agent"),
    })
}

fn show(report: &StateReport) {
    let failed: Vec<_> = report
        .failed
        .iter()
        .map(|(host, why)| json!({ "provider": host.to_string(), "why": why }))
        .collect();
    let line = json!({
        "event": "state", "sequence": report.sequence, "bytes": report.bytes.get(), "hosts": report.hosts.len(),
        "failed": failed,
    });
    say(&line.to_string());
}

/// Does `work`, and gives the books to every host now and then while it lasts: so that not even the loss of this machine in
/// the middle loses what was stored by then. What fails in that is told when the work is done and the books are kept again.
pub(super) async fn keep_during<T>(
    home: &Home,
    agent: &Agent,
    objects: &Objects,
    (every, json): (Duration, bool),
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    let mut kept = Kept { at: Instant::now(), stored: 0, sent: 0, cost: 0 };
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(every.min(LOOK)) => {}
        }
        let traffic = objects.traffic();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (stored, sent) = (count(&traffic.objects), count(&traffic.sent));
        if !kept.is_due(every, stored, sent) {
            continue;
        }
        let mut keeping = pin!(agent.save_state_meanwhile(objects, notes(home)));
        let report = tokio::select! {
            done = &mut work => {
                // The hosts have taken all else by now, and the books are given to them once more by the caller.
                drop(tokio::time::timeout(END_PATIENCE, keeping).await);
                return done;
            }
            report = &mut keeping => report,
        };
        let cost = match report {
            Ok(Some(report)) => {
                if json {
                    show(&report);
                }
                report.bytes.get().saturating_mul(report.hosts.len() as u64)
            }
            Ok(None) => 0,
            Err(error) => {
                tracing::warn!(%error, "the books could not be kept by the hosts");
                0
            }
        };
        kept = Kept { at: Instant::now(), stored, sent, cost };
    }
}

/// When the books were given to the hosts last, and what there was then.
#[derive(Clone, Copy, Debug)]
struct Kept {
    at: Instant,
    /// Objects stored, and bytes of shards sent.
    stored: u64,
    sent: u64,
    /// The bytes that keeping the books took.
    cost: u64,
}

impl Kept {
    /// Returns whether it is time to do it again: there is something new, and enough of it that the books do not cost more
    /// than a part of it.
    fn is_due(&self, every: Duration, stored: u64, sent: u64) -> bool {
        let more = sent.saturating_sub(self.sent);
        self.at.elapsed() >= every && stored > self.stored && more / WORTH >= self.cost
    }
}

fn notes(home: &Home) -> Vec<Note> {
    let note = |name: &str| {
        let text = std::fs::read_to_string(home.join(name)).ok()?;
        Some(Note { name: Text::new(name)?, text: Text::new(text)? })
    };
    NOTED.iter().filter_map(|&name| note(name)).collect()
}

pub(super) async fn recover(home: &Home, args: RecoverArgs, json: bool) -> Result<(), Failure> {
    let (hosts, brokers) = offers::named(home, &args.host, &args.broker)?;
    let (hosts, brokers) = offers::with_neighbours(args.local, hosts, brokers).await?;
    if hosts.is_empty() && brokers.is_empty() {
        return Err(Failure::new("no storage host is named, and no broker").code(Code::Usage).hint(
            "name a host that you had a contract with, or a broker that knows it: `fondaco backup recover --host ADDRESS`, \
             or --broker ADDRESS",
        ));
    }
    let key = home.key()?;
    let found = match offers::everybody(&brokers, json).await {
        Err(failure) if hosts.is_empty() => return Err(failure),
        Err(failure) => {
            say_progress(json, &failure.to_string());
            Vec::new()
        }
        Ok(found) => found,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let endpoint = endpoints::bind(&key).await?;
    let hosts = (hosts.as_slice(), found.as_slice());
    let found = recover_book(&home.folder("agent")?, &key, &endpoint, &clock, hosts).await?;
    for note in &found.notes {
        let (name, path) = (note.name.as_str(), home.join(note.name.as_str()));
        // What was set here already stays; and no host decides about names.
        if NOTED.contains(&name) && !path.exists() {
            fondaco_store::write_atomic(&path, note.text.as_str().as_bytes(), 0o644)?;
        }
    }
    offers::remember_brokers(home, &args.broker)?;
    let left_behind =
        found.left_behind.map(|head| (head.entries, head.link.unwrap_or(Digest::ZERO)));
    let refused = match &found.log {
        LogBefore::Refused { why, aside } => Some((why, aside)),
        LogBefore::Kept | LogBefore::Missing => None,
    };
    if json {
        let left_behind = left_behind
            .map(|(entries, link)| json!({ "entries": entries, "link": link.to_string() }));
        let failed: Vec<_> = found
            .failed
            .iter()
            .map(|(host, why)| json!({ "provider": host.to_string(), "why": why }))
            .collect();
        let line = json!({
            "event": "recovered", "failed": failed, "sequence": found.sequence, "made": found.made.to_string(),
            "bytes": found.bytes.get(), "from": found.from.to_string(), "contracts": found.contracts,
            "objects": found.objects, "snapshots": found.snapshots, "audits_left_behind": left_behind,
            "audit_log_refused": refused.map(|(why, aside)| json!({ "why": why, "path": aside.display().to_string() })),
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "Your books are back, as of {}, {} from {}…: {}, {}, {}.",
            found.made,
            Bytes::new(found.bytes.get()),
            found.from.short(),
            counted(found.contracts, "contract"),
            counted(found.objects, "object"),
            counted(found.snapshots, "snapshot")
        ));
        for (host, why) in &found.failed {
            say(&format!("{}… could not help: {why}", host.short()));
        }
        if let Some((why, aside)) = refused {
            say(&format!(
                "{why}. It is {} from now on; another begins, and says so.",
                aside.display()
            ));
        } else if let Some((entries, link)) = left_behind {
            say(&format!(
                "The audit log was left behind with the old machine: {}, up to {link}. Another begins, and says so.",
                counted_as(entries, "entry", "entries")
            ));
        }
        say("See `fondaco backup list`. Use one machine with these words from now on, not two.");
    }
    // From here on the hosts are to believe this machine alone.
    let agent = open(home, &SeekArgs::default(), json).await?;
    will_tell(home, &agent, offers::merged(&[], &args.host, offers::HOST_HINT)?, json);
    let objects = agent.objects();
    keep(home, &agent, &objects, json).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many hosts have the books, and the highest number that one has of a newer one; the code that it ends with.
    #[test]
    fn books_that_no_host_keeps_are_a_failure() {
        for (hosts, newer, expected) in [
            (1, None, None),
            (1, Some(9), None),
            (0, None, Some(Code::Other)),
            (0, Some(9), Some(Code::Verification)),
        ] {
            let host = fondaco_crypto::EntityId::from_bytes([1; 32]);
            let (bytes, failed) = (Bytes::new(1), vec![(host, "it is full".to_owned())]);
            let hosts = vec![host; hosts];
            let report = StateReport { sequence: 3, bytes, hosts, failed, newer };
            let failure = tell(Ok(Some(report)), true).err();
            assert_eq!(failure.as_ref().map(Failure::ends_with), expected);
            assert!(failure.is_none_or(|failure| failure.what_to_do().is_some()));
        }
    }

    #[test]
    fn books_are_kept_when_it_is_worth_it() {
        let kept = |ago: u64| {
            let at = Instant::now().checked_sub(Duration::from_secs(ago)).unwrap();
            Kept { at, stored: 3, sent: 1000, cost: 50 }
        };
        // Seconds since, objects stored and bytes sent in all; whether it is time.
        for (ago, stored, sent, is_due) in [
            (61, 4, 2000, true),
            (59, 4, 2000, false), // too soon
            (61, 3, 2000, false), // nothing is new
            (61, 4, 1999, false), // too little
        ] {
            assert_eq!(
                kept(ago).is_due(Duration::from_secs(60), stored, sent),
                is_due,
                "{ago} {sent}"
            );
        }
    }
}
