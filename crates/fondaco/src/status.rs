//! `fondaco status`: how what is sold fares, on one screen.
//!
//! A service that runs writes `HOME/host/status.json` anew every few seconds, whole each time, so that nobody need talk to
//! it. Without one that is fresh, the journal says what it can.

use crate::failure::{Code, Failure};
use crate::home::{CurrencyConfig, Home};
use crate::offers::per_gib;
use crate::screen::say;
use crate::sell::{HostToml, host_toml};
use fondaco_agent::Balance;
use fondaco_agent::posting::Told;
use fondaco_lcp::Refusal;
use fondaco_ledger::Refusal as LedgerRefusal;
use fondaco_ports::{Address, Clock as _};
use fondaco_storage_host::{HostService, HostWatch, Overview, Report, ServiceError, Waits};
use fondaco_store::{FileError, SystemClock};
use fondaco_units::{Amount, Bytes, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The file that a running service writes.
const FILE: &str = "status.json";
/// How often it is written.
const INTERVAL: Duration = Duration::from_secs(3);
/// An older one is of a service that has ended, or hangs.
const FRESH_SECONDS: u64 = 15;
/// How long an issuer may take to tell what is held there.
const ISSUER_PATIENCE: Duration = Duration::from_secs(3);

/// What a running service says of itself. Moments are milliseconds since 1970, sizes bytes, money smallest units.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Status {
    now: u64,
    up_since: u64,
    address: String,
    peers: u64,
    contracts: Contracts,
    waiting: Waiting,
    reads: u64,
    read_bytes: u64,
    last_read: Option<u64>,
    puts: u64,
    put_bytes: u64,
    last_put: Option<u64>,
    refused: BTreeMap<String, u64>,
    shards_lost: u64,
    puts_parked: u64,
    disk_free: Option<u64>,
    disk_reserve: u64,
    proofs: u64,
    last_proof: Option<u64>,
    standing: Option<Standing>,
}

/// Vouchers of ended contracts that the issuer does not take yet.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Waiting {
    vouchers: u64,
    /// Why one of them is not taken.
    why: Option<String>,
    /// Of less than this the issuer opens no account, if that is why.
    reserve: Option<u64>,
}

impl Waiting {
    fn of(waits: &Waits) -> Self {
        let reserve = match waits.why {
            Some(Refusal::Ledger { refusal: LedgerRefusal::UnderReserve { reserve, .. } }) => {
                Some(reserve.get())
            }
            _ => None,
        };
        let why = waits.why.map(|why| why.to_string());
        Self { vouchers: waits.vouchers, why, reserve }
    }

    /// Says why, with sums as `money` writes them.
    fn words(&self, money: impl Fn(u64) -> String) -> Option<String> {
        match self.reserve {
            Some(reserve) => {
                Some(format!("the issuer opens no account for less than {}", money(reserve)))
            }
            None => self.why.clone(),
        }
    }
}

/// Where the service stood among the others when they were looked at last.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Standing {
    /// From 1, and of how many; nothing while there is no room for a GiB.
    rank: Option<(u64, u64)>,
    /// What a GiB costs for an epoch.
    store: u64,
    at: u64,
}

/// Where the standing that was seen last is kept for the teller. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Option<Standing>>>);

impl Seen {
    /// Keeps what is told of a standing.
    pub(crate) fn note(&self, told: &Told) {
        if let Told::Standing { standing, at, .. } = told {
            let rank = standing.rank.map(|rank| (rank.rank as u64, rank.of as u64));
            let store = per_gib(standing.prices.store).get();
            *self.lock() = Some(Standing { rank, store, at: at.milliseconds() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the journal knows.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Contracts {
    open: u64,
    ending: u64,
    unposted_ended: u64,
    buyers: u64,
    shards: u64,
    size: u64,
    sold: u64,
    kept: u64,
    free: u64,
    to_come: u64,
    unposted: u64,
    paid: u64,
    next_posting: Option<u64>,
    ends_first: Option<u64>,
}

impl Contracts {
    fn of(all: &Overview) -> Self {
        Self {
            open: all.open,
            ending: all.ending,
            unposted_ended: all.unposted_ended,
            buyers: all.buyers,
            shards: all.shards,
            size: all.size.get(),
            sold: all.sold.get(),
            kept: all.kept.get(),
            free: all.free.get(),
            to_come: all.to_come.get(),
            unposted: all.unposted.get(),
            paid: all.paid.get(),
            next_posting: all.next_posting.map(Timestamp::milliseconds),
            ends_first: all.ends_first.map(|(_, ends)| ends.milliseconds()),
        }
    }
}

impl Status {
    fn of(report: &Report, address: &Address, standing: Option<Standing>) -> Self {
        let Report {
            now,
            up_since,
            overview,
            counts,
            lost,
            parked,
            waits,
            disk_free,
            reserve,
            peers,
        } = report;
        Self {
            now: now.milliseconds(),
            up_since: up_since.milliseconds(),
            address: address.to_string(),
            peers: *peers,
            contracts: Contracts::of(overview),
            waiting: Waiting::of(waits),
            reads: counts.reads,
            read_bytes: counts.read_bytes.get(),
            last_read: counts.last_read.map(Timestamp::milliseconds),
            puts: counts.puts,
            put_bytes: counts.put_bytes.get(),
            last_put: counts.last_put.map(Timestamp::milliseconds),
            refused: counts.refused.clone(),
            shards_lost: *lost,
            puts_parked: *parked,
            disk_free: disk_free.map(Bytes::get),
            disk_reserve: reserve.get(),
            proofs: counts.proofs,
            last_proof: counts.last_proof.map(Timestamp::milliseconds),
            standing,
        }
    }
}

/// What tells how a service fares, in a file that every `status` can read.
pub(crate) struct Teller {
    pub(crate) folder: PathBuf,
    pub(crate) watch: HostWatch,
    pub(crate) address: Address,
    pub(crate) seen: Seen,
}

impl Teller {
    /// Tells it once; returns whether the service is still there.
    pub(crate) async fn tell(&self) -> bool {
        let Some(report) = self.watch.report() else { return false };
        let status = Status::of(&report, &self.address, *self.seen.lock());
        let text = serde_json::to_vec(&status).unwrap_or_default();
        let to = self.folder.join(FILE);
        let written =
            tokio::task::spawn_blocking(move || fondaco_store::write_atomic(&to, &text, 0o644));
        if let Ok(Err(error)) = written.await {
            tracing::warn!(%error, "the status was not written");
        }
        true
    }

    /// Tells it every few seconds, until it is stopped; then there is no file any more.
    pub(crate) async fn go_on(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            if !self.tell().await {
                break;
            }
        }
        // Left behind, it would only be old.
        drop(std::fs::remove_file(self.folder.join(FILE)));
    }
}

pub(crate) async fn status(home: &Home, json: bool) -> Result<(), Failure> {
    let host = host_toml(home)?;
    let config = home.wallet()?;
    let currency = config.find(Some(&host.currency))?;
    let folder = home.join("host");
    let now = SystemClock.now();
    let file = read(&folder);
    let age = file.as_ref().map(|status| now.milliseconds().saturating_sub(status.now) / 1000);
    let (status, runs) = match file {
        Some(status) if age.is_some_and(|age| age <= FRESH_SECONDS) => (status, true),
        last => (offline(home, &host, currency, &folder, now, last)?, false),
    };
    let balance = balance(home, currency).await;
    if json {
        say(&as_json(&status, runs, age.filter(|_| runs), &host, currency, &balance)?.to_string());
    } else {
        show(&status, age.filter(|_| runs), &host, currency, &balance);
    }
    Ok(())
}

fn read(folder: &Path) -> Option<Status> {
    serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
}

/// Adds up what the journal of a service that does not run says.
fn offline(
    home: &Home,
    host: &HostToml,
    currency: &CurrencyConfig,
    folder: &Path,
    now: Timestamp,
    last: Option<Status>,
) -> Result<Status, Failure> {
    if !folder.join("journal").exists() {
        return Ok(Status::default());
    }
    let checked = host.checked(currency)?;
    let disk_free = fondaco_store::available(&host.path).ok();
    let overview = match HostService::overview(folder, home.key()?, checked, now, disk_free) {
        Ok(overview) => overview,
        Err(ServiceError::File(FileError::Locked { .. })) => {
            let seen = last.map_or_else(
                || "it has not said how it fares yet".to_owned(),
                |last| format!("it last said so {}", Timestamp::from_milliseconds(last.now)),
            );
            return Err(Failure::new(format!("the service runs, and does not tell: {seen}"))
                .code(Code::Locked)
                .hint("try again in a few seconds; if that does not help, restart `fondaco up`"));
        }
        Err(error) => return Err(error.into()),
    };
    let disk_free = disk_free.map(Bytes::get);
    let disk_reserve = checked.reserve.get();
    let contracts = Contracts::of(&overview);
    Ok(Status { contracts, disk_free, disk_reserve, ..Status::default() })
}

/// Asks the issuer what is held; nothing if it cannot be reached in time.
async fn balance(home: &Home, currency: &CurrencyConfig) -> Option<Balance> {
    let ask = async {
        let wallet = crate::wallet::open_to_look(home, currency).await.ok()?;
        wallet.balance().await.ok()
    };
    tokio::time::timeout(ISSUER_PATIENCE, ask).await.ok().flatten()
}

fn as_json(
    status: &Status,
    runs: bool,
    age: Option<u64>,
    host: &HostToml,
    currency: &CurrencyConfig,
    balance: &Option<Balance>,
) -> Result<Value, Failure> {
    let scale = currency.scale()?;
    let money = |units: u64| scale.show(Amount::new(units)).to_string();
    let moment = |at: Option<u64>| at.map(|at| Timestamp::from_milliseconds(at).to_string());
    let contracts = &status.contracts;
    Ok(json!({
        "event": "status", "running": runs, "age_seconds": age, "currency": currency.symbol,
        "service": {
            "address": Some(&status.address).filter(|_| runs),
            "up_since": moment(Some(status.up_since).filter(|_| runs)), "peers": status.peers,
        },
        "wallet": {
            "available": balance.as_ref().map(|balance| money(balance.available.get())),
            "held": balance.as_ref().map(|balance| money(balance.held.get())),
            "unposted": money(contracts.unposted), "paid": money(contracts.paid),
            "next_posting": moment(contracts.next_posting), "waiting": status.waiting.vouchers,
            "waiting_why": status.waiting.words(|units| currency.show(Amount::new(units))),
        },
        "contracts": {
            "open": contracts.open, "ending": contracts.ending,
            "unposted_ended": contracts.unposted_ended, "buyers": contracts.buyers,
            "shards": contracts.shards, "size": contracts.size, "sold": contracts.sold,
            "kept": contracts.kept, "free": contracts.free, "to_come": contracts.to_come,
            "ends_first": moment(contracts.ends_first),
        },
        "served": {
            "reads": status.reads, "read_bytes": status.read_bytes, "last_read": moment(status.last_read),
            "puts": status.puts, "put_bytes": status.put_bytes, "last_put": moment(status.last_put),
            "puts_parked": status.puts_parked, "proofs": status.proofs, "last_proof": moment(status.last_proof),
        },
        "rank": status.standing.map(|Standing { rank, store, at }| json!({
            "rank": rank.map(|(rank, _)| rank), "of": rank.map(|(_, of)| of), "store": money(store),
            "at": moment(Some(at)),
        })),
        "refused": status.refused,
        "disk": {
            "path": host.path, "free": status.disk_free, "reserve": status.disk_reserve,
            "shards_lost": status.shards_lost,
        },
        "leaves": moment(host.leaves),
    }))
}

fn show(
    status: &Status,
    age: Option<u64>,
    host: &HostToml,
    currency: &CurrencyConfig,
    balance: &Option<Balance>,
) {
    let money = |units: u64| currency.show(Amount::new(units));
    let moment = |at: u64| Timestamp::from_milliseconds(at).to_string();
    let since =
        |at: Option<u64>| at.map_or(String::new(), |at| format!(", the last {}", moment(at)));
    let size = Bytes::new;
    let contracts = &status.contracts;
    match age {
        Some(age) => {
            let up = moment(status.up_since);
            say(&format!("Service    up since {up}, as of {age} s ago; {} peers", status.peers));
            say(&format!("           {}", status.address));
        }
        None => say("Service    not running: start it with `fondaco up`"),
    }
    if let Some(leaves) = host.leaves {
        say(&format!("           it is announced to stop {}", moment(leaves)));
    }
    match balance {
        Some(Balance { available, held, .. }) => say(&format!(
            "Wallet     {} available, {} held",
            currency.show(*available),
            currency.show(*held)
        )),
        None => say(&format!("Wallet     the issuer of {} cannot be reached", currency.symbol)),
    }
    let posting =
        contracts.next_posting.map_or(String::new(), |at| format!("; the next by {}", moment(at)));
    say(&format!("           {} in vouchers not posted yet{posting}", money(contracts.unposted)));
    if let Some(why) = status.waiting.words(money) {
        say(&format!("           {} of them wait: {why}", status.waiting.vouchers));
    }
    let ends =
        contracts.ends_first.map_or(String::new(), |at| format!("; the first ends {}", moment(at)));
    say(&format!("Contracts  {} open, of {} buyers{ends}", contracts.open, contracts.buyers));
    if contracts.ending + contracts.unposted_ended > 0 {
        say(&format!(
            "           {} end as you leave, {} have ended and are not paid out yet",
            contracts.ending, contracts.unposted_ended
        ));
    }
    say(&format!(
        "Room       {} kept in {} shards, {} sold, {} free of {}",
        size(contracts.kept),
        contracts.shards,
        size(contracts.sold),
        size(contracts.free),
        size(contracts.size)
    ));
    if contracts.sold.saturating_add(contracts.free) < contracts.size {
        let to_come = match contracts.to_come {
            0 => String::new(),
            bytes => format!(", as {} of what is sold are still to come", size(bytes)),
        };
        say(&format!("           the disk has room for no more{to_come}"));
    }
    if age.is_some() {
        say(&match &status.standing {
            None => "Rank       not known: nobody else's offer was looked at".to_owned(),
            Some(Standing { rank, store, at }) => {
                let (store, at) = (money(*store), moment(*at));
                let place = rank.map_or_else(
                    || "none, as there is no room left for a GiB".to_owned(),
                    |(rank, of)| format!("{rank} of {of}"),
                );
                format!("Rank       {place}, at {store} for a GiB and epoch, as seen {at}")
            }
        });
        say(&format!(
            "Served     {} reads and sampled audits, {}{}",
            status.reads,
            size(status.read_bytes),
            since(status.last_read)
        ));
        let proven = since(status.last_proof);
        say(&format!("           {} deep audits proved{proven}", status.proofs));
        say(&format!(
            "           {} shards taken in, {}{}",
            status.puts,
            size(status.put_bytes),
            since(status.last_put)
        ));
        let refused: Vec<String> =
            status.refused.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let refused = if refused.is_empty() { "nothing".to_owned() } else { refused.join(", ") };
        say(&format!("Refused    {refused}"));
    }
    let free = status.disk_free.map_or_else(
        || "cannot be looked at".to_owned(),
        |free| format!("{} free, of which {} stay free", size(free), size(status.disk_reserve)),
    );
    say(&format!("Disk       {}: {free}", host.path.display()));
    if status.shards_lost > 0 {
        say(&format!(
            "           {} shards that are paid for are missing: buyers who audit will notice",
            status.shards_lost
        ));
    }
}
