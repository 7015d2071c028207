//! `fondaco backup`, `snapshots`, `restore`, `audit` and `contracts`: the buyer's side.

use crate::cli::{AuditArgs, BackupArgs, ContractsCommand, ReadArgs, RestoreArgs};
use crate::entities::address;
use crate::failure::{Code, Failure, io};
use crate::folders;
use crate::home::{CurrencyConfig, Home};
use crate::screen::{Bars, say};
use crate::wallet::{client, random};
use fondaco_agent::auditing::{Outcome, audit as audit_objects};
use fondaco_agent::book::Stage;
use fondaco_agent::{Agent, AgentError, BackupReport, ContractStatus, Objects, Repo, Wallet, Wish};
use fondaco_contract::Bill;
use fondaco_ports::Address;
use fondaco_store::SystemClock;
use fondaco_transport::Endpoint;
use fondaco_units::{Amount, Bytes};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::runtime::Handle;

/// How often a backup goes on with new contracts after hosts failed or contracts were used up.
const TRIES_MAX: u32 = 3;

pub(crate) async fn open(home: &Home) -> Result<Agent, Failure> {
    let key = home.key()?;
    let endpoint = Endpoint::bind(&key, None, &[]).await?;
    Ok(Agent::open(&home.folder("agent")?, key, endpoint, Arc::new(SystemClock))?)
}

pub(crate) async fn backup(home: &Home, args: BackupArgs, json: bool) -> Result<(), Failure> {
    let folder = existing_folder(&args.folder)?;
    let addresses = remember_hosts(home, &args.host)?;
    let wallet_config = home.wallet()?;
    let currency = wallet_config.find(args.currency.as_deref())?;
    let budget = match &args.budget {
        None => None,
        Some(text) => Some(currency.scale()?.parse(text).map_err(|error| {
            Failure::new(format!("--budget {text}: {error}")).code(Code::Usage)
        })?),
    };
    if !(args.survive > 0.0 && args.survive < 1.0) {
        return Err(Failure::new(format!("--survive {} is no probability below 1", args.survive))
            .code(Code::Usage)
            .hint("0.999 is usual: one object in a thousand may be lost in an epoch"));
    }
    let began = Instant::now();
    let agent = open(home).await?;
    let mut report = None;
    let lost = agent.forget_lost()?;
    if lost > 0 {
        say_progress(
            json,
            &format!(
                "{lost} objects lay under contracts that have ended; their content is stored anew"
            ),
        );
    }
    let mut objects = Arc::new(agent.objects());
    let mut addresses = addresses;
    let mut budget = budget;
    for attempt in 1..=TRIES_MAX {
        if agent.usable_set().is_none() || attempt > 1 {
            let measured = measure(&folder, args.exclude_caches)?;
            let wish = Wish { bytes: measured, survive: args.survive, epochs: args.epochs, budget };
            let held = open_contracts(home, &agent, currency, &addresses, wish, json).await?;
            budget = budget.map(|budget| budget.saturating_sub(held));
            objects = Arc::new(agent.objects());
        }
        match run_backup(home, &agent, &objects, &folder, args.exclude_caches, json).await {
            Ok(done) => {
                report = Some(done);
                break;
            }
            // Hosts that fail for good, and contracts that are used up, are replaced by new ones.
            Err(
                error @ (AgentError::HoldSpent { .. }
                | AgentError::ContractFull { .. }
                | AgentError::Provider { .. }
                | AgentError::Transport(_)
                | AgentError::Misanswer { .. }
                | AgentError::Caught { .. }),
            ) if attempt < TRIES_MAX => {
                let gone = objects.to_be_replaced();
                addresses.retain(|address| !gone.contains(&address.entity()));
                if addresses.is_empty() {
                    return Err(error.into());
                }
                say_progress(json, &format!("{error}; going on with new contracts"));
            }
            // Hosts ended their contracts before we knew.
            Err(AgentError::Unreadable { .. })
                if attempt < TRIES_MAX && agent.forget_lost()? > 0 => {}
            Err(error) => return Err(error.into()),
        }
    }
    let Some(report) = report else { return Err(Failure::new("the backup did not finish")) };
    let owed = owed(&agent).await;
    let sent = objects.traffic().sent.load(Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let BackupReport { snapshot, files, bytes, added, problems } = report;
    if json {
        let line = json!({
            "event": "backup", "snapshot": snapshot, "files": files, "bytes": bytes, "added": added,
            "sent": sent, "seconds": seconds, "owed": currency.scale()?.show(owed).to_string(),
            "problems": problems, "kept_until": agent.kept_until().map(|until| until.to_string()),
        });
        say(&line.to_string());
    } else {
        for problem in &problems {
            say(&format!("left out: {problem}"));
        }
        say(&format!(
            "Snapshot {snapshot}: {files} files, {}; {} new, {} sent as shards, in {seconds:.1} s.",
            Bytes::new(bytes),
            Bytes::new(added),
            Bytes::new(sent)
        ));
        say(&format!("Your contracts have cost {} so far.", currency.show(owed)));
        if let Some(until) = agent.kept_until() {
            say(&format!("Everything is kept until {until}; back up again before then."));
        }
    }
    Ok(())
}

pub(crate) async fn open_contracts(
    home: &Home,
    agent: &Agent,
    currency: &CurrencyConfig,
    addresses: &[Address],
    wish: Wish,
    json: bool,
) -> Result<Amount, Failure> {
    if addresses.is_empty() {
        return Err(Failure::new("no storage host is known here yet")
            .code(Code::NotFound)
            .hint("name some: `fondaco backup FOLDER --host ADDRESS --host ADDRESS …`"));
    }
    let client = client(&home.key()?, currency.issuer()?).await?;
    let wallet = Wallet::open(&home.folder("agent")?, client)?;
    wallet.resume().await?;
    let opened = agent.open_contracts(&wallet, addresses, wish).await?;
    let (k, n) = (opened.code.k(), opened.code.n());
    if json {
        let line = json!({
            "event": "contracts", "k": k, "n": n, "survive": probability(opened.survive),
            "held": currency.scale()?.show(opened.held).to_string(), "size_max": opened.size_max.get(),
        });
        say(&line.to_string());
    } else {
        for (host, why) in &opened.passed_over {
            say(&format!("{} was passed over: {why}", host.short()));
        }
        say(&format!(
            "Opened {n} contracts of {}: any {k} of {n} hosts give everything back. An object survives an\n\
             epoch with {}, if hosts fail independently, each with {} %.",
            opened.size_max,
            probability(opened.survive),
            fondaco_agent::NEWCOMER_LOSS * 100.0
        ));
        say(&format!("They may cost up to {}, which is now held.", currency.show(opened.held)));
    }
    Ok(opened.held)
}

async fn run_backup(
    home: &Home,
    agent: &Agent,
    objects: &Arc<Objects>,
    folder: &Path,
    exclude_caches: bool,
    json: bool,
) -> Result<BackupReport, AgentError> {
    objects.carry_over().await?;
    let repo = repo(home, agent, objects, false, json)?;
    let folder = folder.to_owned();
    let marks: &[&str] = if exclude_caches { &[folders::CACHE_MARK] } else { &[] };
    tokio::task::spawn_blocking(move || repo.backup(&folder, marks))
        .await
        .map_err(|error| AgentError::Repository(error.to_string()))?
}

fn repo(
    home: &Home,
    agent: &Agent,
    objects: &Arc<Objects>,
    no_cache: bool,
    json: bool,
) -> Result<Repo, AgentError> {
    let cache = home.join("cache");
    let cache = (!no_cache).then_some(cache.as_path());
    let bars = Bars::new(!json);
    Ok(Repo::new(Arc::clone(objects), agent.key(), cache, Handle::current(), bars))
}

/// Asks the hosts what was used so far, and adds up what that comes to.
async fn owed(agent: &Agent) -> Amount {
    let contracts = agent.contracts().await;
    contracts
        .iter()
        .filter_map(bill)
        .fold(Amount::ZERO, |sum, bill| sum.checked_add(bill.total()).unwrap_or(Amount::MAX))
}

fn bill(status: &ContractStatus) -> Option<Bill> {
    Bill::of(&status.record.terms.prices, &status.tab?.meter)
}

pub(crate) async fn snapshots(home: &Home, args: ReadArgs, json: bool) -> Result<(), Failure> {
    let agent = open(home).await?;
    let objects = Arc::new(agent.objects());
    let repo = repo(home, &agent, &objects, args.no_cache, json)?;
    let snapshots = blocking(move || repo.snapshots()).await?;
    for snapshot in &snapshots {
        if json {
            let line = json!({
                "event": "snapshot", "snapshot": snapshot.snapshot, "time": snapshot.time,
                "paths": snapshot.paths, "files": snapshot.files, "bytes": snapshot.bytes,
            });
            say(&line.to_string());
        } else {
            say(&format!(
                "{}  {:.19}  {:>8} files  {:>10}  {}",
                snapshot.snapshot,
                snapshot.time,
                snapshot.files,
                Bytes::new(snapshot.bytes).to_string(),
                snapshot.paths
            ));
        }
    }
    if snapshots.is_empty() && !json {
        say("There are no snapshots yet. Make one with `fondaco backup FOLDER --host ADDRESS …`.");
    }
    Ok(())
}

pub(crate) async fn restore(home: &Home, args: RestoreArgs, json: bool) -> Result<(), Failure> {
    let agent = open(home).await?;
    let objects = Arc::new(agent.objects());
    let repo = repo(home, &agent, &objects, args.read.no_cache, json)?;
    let to = std::path::absolute(&args.to).map_err(|error| io("restore into", &args.to, &error))?;
    std::fs::create_dir_all(&to).map_err(|error| io("make the folder", &to, &error))?;
    let began = Instant::now();
    let report = {
        let to = to.clone();
        blocking(move || repo.restore(&args.snapshot, &to)).await?
    };
    let seconds = began.elapsed().as_secs_f64();
    let rebuilt = objects.traffic().rebuilt.load(Ordering::Relaxed);
    if json {
        let line = json!({
            "event": "restore", "snapshot": report.snapshot, "entries": report.entries,
            "bytes": report.bytes, "seconds": seconds, "rebuilt": rebuilt, "problems": report.problems,
        });
        say(&line.to_string());
    } else {
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
    }
    Ok(())
}

pub(crate) async fn audit(home: &Home, args: AuditArgs, json: bool) -> Result<(), Failure> {
    let agent = open(home).await?;
    let objects = agent.objects();
    if objects.sessions().is_empty() {
        return Err(Failure::new("there are no open contracts to audit").code(Code::NotFound));
    }
    let audited = audit_objects(&objects, args.samples, random()?).await?;
    let mut caught = 0;
    for each in audited {
        let (outcome, detail) = match each.outcome {
            Outcome::Proven { samples } => ("proven", format!("{samples} places")),
            Outcome::Caught { what } => {
                caught += 1;
                ("caught", what)
            }
            Outcome::Unasked { what } => ("unasked", what),
            Outcome::Silent { what } => ("silent", what),
        };
        let provider = each.provider.short();
        if json {
            let line = json!({ "event": "audit", "provider": provider, "outcome": outcome, "detail": detail });
            say(&line.to_string());
        } else {
            say(&format!("{provider}…  {outcome:<7}  {detail}"));
        }
    }
    match caught {
        0 => Ok(()),
        _ => {
            Err(Failure::new(format!("{caught} hosts were caught; they are not dealt with again"))
                .code(Code::Verification)
                .hint("run `fondaco backup` again: it opens contracts with others"))
        }
    }
}

pub(crate) async fn contracts(
    home: &Home,
    command: ContractsCommand,
    json: bool,
) -> Result<(), Failure> {
    let agent = open(home).await?;
    let wallet = home.wallet()?;
    match command {
        ContractsCommand::List => {
            for status in agent.contracts().await {
                list_contract(&wallet, &status, json)?;
            }
            Ok(())
        }
        ContractsCommand::End { yes } => {
            if !yes {
                return Err(Failure::new("ending the contracts loses what is stored under them")
                    .code(Code::Usage)
                    .hint("restore it first, then say --yes"));
            }
            let mut failed = None;
            for (contract, result) in agent.end_contracts().await {
                match result {
                    Ok(paid) if json => {
                        let line = json!({ "event": "ended", "contract": contract.to_string(), "paid": paid.get() });
                        say(&line.to_string());
                    }
                    Ok(paid) => say(&format!("{contract:.20}…  ended, {} units paid", paid.get())),
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), |error| Err(error.into()))
        }
    }
}

fn list_contract(
    wallet: &crate::home::WalletConfig,
    status: &ContractStatus,
    json: bool,
) -> Result<(), Failure> {
    let terms = &status.record.terms;
    let issuer = terms.prices.currency.issuer().to_string();
    let currency = wallet.find(Some(&issuer))?;
    let scale = currency.scale()?;
    let stage = match status.record.stage {
        Stage::Intended => "intended",
        Stage::Open => "open",
        Stage::Ended { .. } => "ended",
    };
    let bill = bill(status);
    if json {
        let money = |amount: Option<Amount>| {
            amount.map_or(Value::Null, |amount| Value::from(scale.show(amount).to_string()))
        };
        let meter = status.tab.map(|tab| tab.meter).unwrap_or_default();
        let line = json!({
            "event": "contract", "contract": status.contract.to_string(),
            "provider": terms.prices.provider.to_string(), "stage": stage, "currency": currency.symbol,
            "written": meter.written, "read": meter.read,
            "byte_epochs": u64::try_from(meter.byte_epochs).unwrap_or(u64::MAX),
            "owed": money(bill.map(|bill| bill.total())), "paid": money(status.paid),
            "hold_max": scale.show(status.record.hold_max).to_string(),
        });
        say(&line.to_string());
        return Ok(());
    }
    say(&format!(
        "{}…  {stage}, {} to {}, ends {}",
        terms.prices.provider.short(),
        terms.size_max,
        status.record.address,
        terms.ends
    ));
    match (bill, status.paid) {
        (Some(bill), Some(paid)) => {
            for line in bill.lines() {
                say(&format!("    {:<8} {:>24}", line.item.to_string(), line.quantity));
            }
            say(&format!(
                "    owed {}, authorised {}",
                currency.show(bill.total()),
                currency.show(paid)
            ));
        }
        _ => say("    its host cannot be reached now"),
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, AgentError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(run)
        .await
        .map_err(|error| Failure::new(format!("a thread failed: {error}")))?;
    Ok(done?)
}

pub(crate) fn say_progress(json: bool, what: &str) {
    if json {
        say(&json!({ "event": "progress", "what": what }).to_string());
    } else {
        say(what);
    }
}

/// Shows a probability with as many nines as it has, and two digits more.
fn probability(survive: f64) -> String {
    let (mut digits, mut rest) = (2, 1.0 - survive);
    while rest < 0.1 && digits < 15 {
        rest *= 10.0;
        digits += 1;
    }
    format!("{survive:.digits$}")
}

fn existing_folder(path: &Path) -> Result<PathBuf, Failure> {
    let folder = std::fs::canonicalize(path).map_err(|error| io("back up", path, &error))?;
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err(Failure::new(format!("{} is not a folder", path.display()))
            .code(Code::Usage)
            .hint("name the folder it is in"))
    }
}

/// Adds the hosts named to those known, the newest address of each, and returns all.
pub(crate) fn remember_hosts(home: &Home, named: &[String]) -> Result<Vec<Address>, Failure> {
    let mut hosts = home.hosts()?;
    let parse = |text: &str| address(text, "`fondaco up` prints the address to give here");
    let mut addresses = hosts.host.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
    for text in named {
        let address = parse(text)?;
        addresses.retain(|known| known.entity() != address.entity());
        addresses.push(address);
    }
    let texts: Vec<String> = addresses.iter().map(Address::to_string).collect();
    if texts != hosts.host {
        hosts.host = texts;
        home.save_hosts(&hosts)?;
    }
    Ok(addresses)
}

/// Adds up what backing `folder` up may come to.
fn measure(folder: &Path, without_caches: bool) -> Result<Bytes, Failure> {
    std::fs::read_dir(folder).map_err(|error| io("back up", folder, &error))?;
    Ok(folders::size(folder, without_caches))
}
