//! Where a command looks for hosts that are not where they were; and how `hosts.toml` follows those that are found.

use crate::cli::SeekArgs;
use crate::entities::address;
use crate::failure::Failure;
use crate::home::Home;
use crate::offers::{HOST_HINT, neighbours, remember_brokers};
use crate::screen::{complain, say};
use fondaco_agent::{News, Seek, Told};
use fondaco_crypto::EntityId;
use fondaco_ports::Address;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

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
    let (home, one_at_a_time) = (home.clone(), Mutex::new(()));
    Arc::new(move |news| {
        let _one = one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        match news {
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
            News::NotThere { at, why } if by_hand.contains(&at.entity()) => {
                complain(&format!("{}… is not where you say: {why}", at.entity().short()));
            }
            News::NotThere { .. } => {}
        }
    })
}

/// Writes down where a host is that is in `hosts.toml`, or comes into it.
fn remember(home: &Home, found: &Address, comes: bool) -> Result<(), Failure> {
    let mut hosts = home.hosts()?;
    let is_it = |text: &&mut String| {
        address(text, HOST_HINT).is_ok_and(|known| known.entity() == found.entity())
    };
    let text = found.to_string();
    match hosts.host.iter_mut().find(is_it) {
        Some(known) if *known == text => return Ok(()),
        Some(known) => *known = text,
        None if comes => hosts.host.push(text),
        None => return Ok(()),
    }
    home.save_hosts(&hosts)
}
