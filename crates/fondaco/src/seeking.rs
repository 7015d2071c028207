//! Where a command looks for hosts that are not where they were; how `hosts.toml` follows those that are found; and what became
//! of those that a person named.

use crate::cli::SeekArgs;
use crate::entities::address;
use crate::failure::Failure;
use crate::home::Home;
use crate::offers::{HOST_HINT, neighbours, remember_brokers};
use crate::screen::{complain, say};
use fondaco_agent::{Agent, Answer, Named, News, Seek, Told};
use fondaco_crypto::EntityId;
use fondaco_ports::Address;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a host that was named, and not needed, may take to answer when the command is done.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

/// What to do about a host that is not where it was named.
pub(crate) const NOT_THERE_HINT: &str =
    "see that it runs, and ask for the address that its `fondaco up` prints now";

/// `hosts.toml` is read and written by one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The hosts that commands were given, of which it is not said yet what became of them.
static NAMED: Mutex<Vec<Pending>> = Mutex::new(Vec::new());

struct Pending {
    home: Home,
    named: Named,
    json: bool,
}

/// Returns where to look by what is said on the command line, then by what is remembered. A host that is named is remembered
/// when its key has answered there, and not before.
pub(crate) async fn seek(home: &Home, args: &SeekArgs, json: bool) -> Result<Seek, Failure> {
    let named: Vec<Address> =
        args.host.iter().map(|text| address(text, HOST_HINT)).collect::<Result<_, _>>()?;
    let brokers = remember_brokers(home, &args.broker)?;
    let (near, near_brokers) = neighbours(args.local).await?;
    let by_hand = named.iter().map(Address::entity).collect();
    let known = home.hosts()?.host;
    let known = known.iter().map(|text| address(text, HOST_HINT));
    let known = known.collect::<Result<Vec<_>, _>>()?;
    let hosts = [named, near, known].concat();
    let brokers = [brokers, near_brokers].concat();
    Ok(Seek { hosts, brokers, told: Some(follow(home, by_hand, json)) })
}

/// Returns what has `hosts.toml` follow hosts that are found, and says so; those named by hand come into it.
pub(crate) fn follow(home: &Home, by_hand: BTreeSet<EntityId>, json: bool) -> Told {
    let home = home.clone();
    Arc::new(move |news| match news {
        News::Found { at } => {
            if let Err(failure) = remember(&home, at, by_hand.contains(&at.entity())) {
                complain(&failure.to_string());
            }
            let who = at.entity();
            if json {
                let line = json!({
                    "event": "moved", "provider": who.to_string(), "address": at.to_string(),
                });
                say(&line.to_string());
            } else {
                complain(&format!("{}… is at another address now: {at}", who.short()));
            }
        }
        // What was named is told of when it is known what became of it; see `tell_named`.
        News::NotThere { .. } => {}
    })
}

/// Has it said at the end of the command what became of the hosts that a person named.
pub(crate) fn will_tell(home: &Home, agent: &Agent, named: Vec<Address>, json: bool) {
    if !named.is_empty() {
        let pending = Pending { home: home.clone(), named: agent.named(named), json };
        NAMED.lock().unwrap_or_else(PoisonError::into_inner).push(pending);
    }
}

/// Says what became of the hosts that were named: which were of use, which answered, which did not. Those that were not dealt
/// with are asked for it, and remembered where they answer.
pub(crate) async fn tell_named() {
    let pending = std::mem::take(&mut *NAMED.lock().unwrap_or_else(PoisonError::into_inner));
    for Pending { home, named, json } in pending {
        for host in named.hosts().iter().filter(|host| !named.is_ours(host)) {
            say_named(host, "unasked", Some("it is no host of yours"), json);
            if !json {
                let host = host.entity().short();
                complain(&format!("{host}… is no host of yours; nothing was asked of it"));
            }
        }
        for (host, answer) in named.ask(|host| named.is_ours(host), LAST_PATIENCE).await {
            tell(&home, &host, &answer, json);
        }
    }
}

/// Says what became of a host that was named, and remembers it if it answered.
pub(crate) fn tell(home: &Home, host: &Address, answer: &Answer, json: bool) {
    let who = host.entity().short();
    let is_news = !matches!(answer, Answer::Not { .. })
        && remember(home, host, true).unwrap_or_else(|failure| {
            complain(&failure.to_string());
            false
        });
    match answer {
        Answer::Used => say_named(host, "used", None, json),
        Answer::There => {
            say_named(host, "there", None, json);
            // Who names the same hosts each night hears nothing of those that are there.
            if is_news && !json {
                complain(&format!("{who}… is where you say, and remembered"));
            }
        }
        Answer::Not { why } => {
            let why = why.to_string();
            say_named(host, "not there", Some(&why), json);
            if !json {
                complain(&format!("{who}… is not where you say: {why}\n Hint: {NOT_THERE_HINT}"));
            }
        }
    }
}

fn say_named(host: &Address, outcome: &str, why: Option<&str>, json: bool) {
    if json {
        let line = json!({
            "event": "named", "provider": host.entity().to_string(), "address": host.to_string(), "outcome": outcome,
            "why": why, "hint": (outcome == "not there").then_some(NOT_THERE_HINT),
        });
        say(&line.to_string());
    }
}

/// Writes down where a host is that is in `hosts.toml`, or comes into it; returns whether that is news.
fn remember(home: &Home, found: &Address, comes: bool) -> Result<bool, Failure> {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hosts = home.hosts()?;
    let is_it = |text: &&mut String| {
        address(text, HOST_HINT).is_ok_and(|known| known.entity() == found.entity())
    };
    let text = found.to_string();
    match hosts.host.iter_mut().find(is_it) {
        Some(known) if *known == text => return Ok(false),
        Some(known) => *known = text,
        None if comes => hosts.host.push(text),
        None => return Ok(false),
    }
    home.save_hosts(&hosts).map(|()| true)
}
