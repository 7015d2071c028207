//! `fondaco backup recover`, and what makes it possible: the books, sealed, with every host.

use super::{create, open, say_progress};
use crate::cli::RecoverArgs;
use crate::entities::address;
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::screen::say;
use fondaco_agent::{Agent, Note, Objects, recover as recover_book};
use fondaco_codec::Text;
use fondaco_ports::{Address, Clock};
use fondaco_store::SystemClock;
use fondaco_transport::Endpoint;
use fondaco_units::Bytes;
use serde_json::json;
use std::sync::Arc;

/// The files of settings that travel with the books.
const NOTED: [&str; 2] = ["wallet.toml", "hosts.toml"];

/// Gives the books as they are now to every host; that this failed is told, and is no failure of what was done before.
pub(super) async fn keep(home: &Home, agent: &Agent, objects: &Objects, json: bool) {
    // Of what a delegate looks after, the owner has the book.
    if home.join("delegate").join("entrusted").exists() {
        return;
    }
    let report = match agent.save_state(objects, notes(home)).await {
        Ok(Some(report)) => report,
        Ok(None) => return,
        Err(error) => {
            say_progress(json, &format!("your books could not be kept by the hosts: {error}"));
            return;
        }
    };
    if json {
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
        return;
    }
    for (host, why) in &report.failed {
        say(&format!("{}… does not keep your books: {why}", host.short()));
    }
    if report.hosts.is_empty() {
        say("No host keeps your books: without this machine, the backup cannot be found again.");
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
    let parse = |text: &String| address(text, "`fondaco up` prints the address to give here");
    let mut hosts = args.host.iter().map(parse).collect::<Result<Vec<Address>, _>>()?;
    for text in home.hosts()?.host {
        let known = parse(&text)?;
        if !hosts.iter().any(|host| host.entity() == known.entity()) {
            hosts.push(known);
        }
    }
    if hosts.is_empty() {
        return Err(Failure::new("no storage host is named").code(Code::Usage).hint(
            "name one that you had a contract with: `fondaco backup recover --host ADDRESS`",
        ));
    }
    let key = home.key()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let endpoint = Endpoint::bind(&key, None, &[]).await?;
    let found = recover_book(&home.folder("agent")?, &key, &endpoint, &clock, &hosts).await?;
    endpoint.close().await;
    for note in &found.notes {
        let (name, path) = (note.name.as_str(), home.join(note.name.as_str()));
        // What was set here already stays; and no host decides about names.
        if NOTED.contains(&name) && !path.exists() {
            fondaco_store::write_atomic(&path, note.text.as_str().as_bytes(), 0o644)?;
        }
    }
    create::remember_hosts(home, &args.host)?;
    if json {
        let failed: Vec<_> = found
            .failed
            .iter()
            .map(|(host, why)| json!({ "provider": host.to_string(), "why": why }))
            .collect();
        let line = json!({
            "event": "recovered", "failed": failed, "sequence": found.sequence, "made": found.made.to_string(),
            "bytes": found.bytes.get(), "from": found.from.to_string(), "contracts": found.contracts,
            "objects": found.objects, "snapshots": found.snapshots,
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "Your books are back, as of {}, {} from {}…: {} contracts, {} objects, {} snapshots.",
            found.made,
            Bytes::new(found.bytes.get()),
            found.from.short(),
            found.contracts,
            found.objects,
            found.snapshots
        ));
        for (host, why) in &found.failed {
            say(&format!("{}… could not help: {why}", host.short()));
        }
        say("See `fondaco backup list`. Use one machine with these words from now on, not two.");
    }
    // From here on the hosts are to believe this machine alone.
    let agent = open(home).await?;
    let objects = agent.objects();
    keep(home, &agent, &objects, json).await;
    Ok(())
}
