//! `fondaco backup` and `contracts`: the buyer's side.

mod contracts;
mod cost;
mod create;
mod delegate;
mod itemised;
mod left_behind;
mod look;
mod mount;
mod owing;
mod reading;
mod repair;
mod restore;
mod state;
mod sums;
mod tend;
mod used_up;

pub(crate) use contracts::{budget_of, contracts};
pub(crate) use create::open_contracts;
pub(crate) use delegate::delegate;
pub(crate) use state::keep as keep_books;
pub(crate) use used_up::{Renewing, renew_within};

use crate::cli::{BackupCommand, SeekArgs};
use crate::endpoints;
use crate::entities::address;
use crate::failure::{Code, Failure};
use crate::home::{Home, WalletConfig};
use crate::offers::HOST_HINT;
use crate::screen::{Bars, Spent, say};
use crate::seeking::{seek, tell_named, will_tell};
use fondaco_agent::delegate::Entrusted;
use fondaco_agent::{Agent, AgentError, ContractStatus, Money, Objects, Repo, Seek, probability};
use fondaco_contract::Bill;
use fondaco_store::SystemClock;
use fondaco_units::{Amount, Duration};
use serde_json::json;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What a month is in prices over time: 30 days.
const MONTH: Duration = Duration::from_seconds(30 * 86_400);

pub(crate) async fn run(home: &Home, command: BackupCommand, json: bool) -> Result<(), Failure> {
    if !matches!(command, BackupCommand::Repair(_)) && delegate::entrusted(home)?.is_some() {
        return Err(Failure::new(
            "this identity looks after another's backup, and has no key that reads it",
        )
        .code(Code::Usage)
        .hint("for a backup of your own take another: `fondaco --identity NAME init`"));
    }
    match command {
        BackupCommand::Create(args) => create::create(home, args, json).await,
        BackupCommand::List(args) => look::list(home, args, json).await,
        BackupCommand::Ls(args) => look::ls(home, args, json).await,
        BackupCommand::Restore(args) => restore::restore(home, args, json).await,
        BackupCommand::Check(args) => tend::check(home, args, json).await,
        BackupCommand::Forget(args) => tend::forget(home, args, json).await,
        BackupCommand::Prune(args) => tend::prune(home, args, json).await,
        BackupCommand::Diff(args) => look::diff(home, args, json).await,
        BackupCommand::Cost(args) => cost::cost(home, args, json).await,
        BackupCommand::Mount(args) => mount::mount(home, args, json).await,
        BackupCommand::Repair(args) => repair::repair(home, args, json).await,
        BackupCommand::Recover(args) => state::recover(home, args, json).await,
    }
}

/// Opens the agent of this identity, which looks for hosts that moved where the command says and where is remembered.
pub(crate) async fn open(home: &Home, args: &SeekArgs, json: bool) -> Result<Agent, Failure> {
    open_with(home, delegate::entrusted(home)?.as_ref(), args, json).await
}

/// The same, with what its owner entrusted to it, if anything.
async fn open_with(
    home: &Home,
    entrusted: Option<&Entrusted>,
    args: &SeekArgs,
    json: bool,
) -> Result<Agent, Failure> {
    let named = args.host.iter().map(|text| address(text, HOST_HINT));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let agent = open_as_owner(home, entrusted, seek(home, args, json).await?).await?;
    will_tell(home, &agent, named, json);
    Ok(agent)
}

pub(crate) async fn open_seeking(home: &Home, seek: Seek) -> Result<Agent, Failure> {
    open_as_owner(home, delegate::entrusted(home)?.as_ref(), seek).await
}

/// Opens the agent of this identity; that of a delegate audits with its owner's key.
async fn open_as_owner(
    home: &Home,
    entrusted: Option<&Entrusted>,
    seek: Seek,
) -> Result<Agent, Failure> {
    // What is still to be said of the last one holds its book.
    tell_named().await;
    let key = home.key()?;
    let endpoint = endpoints::bind(&key).await?;
    let agent = Agent::open(&home.folder("agent")?, key, endpoint, Arc::new(SystemClock))?;
    let agent = agent.seeking(seek).with_money(money(home.wallet().unwrap_or_default()));
    let agent = match entrusted {
        Some(entrusted) => agent.looking_after(entrusted),
        None => agent,
    };
    agent.finish_renewals().await?;
    Ok(agent)
}

/// Tells sums in the currencies that are held here.
fn money(wallet: WalletConfig) -> Money {
    Money::shown_by(move |currency, amount| {
        let issuer = currency.issuer().to_string();
        wallet.find(Some(&issuer)).ok().map(|currency| currency.show(amount))
    })
}

/// Brings the repository together with a cache, if one is wanted, and with progress that tells what was spent.
fn repo(home: &Home, agent: &Agent, objects: &Arc<Objects>, no_cache: bool, json: bool) -> Repo {
    let cache = home.join("cache");
    let cache = (!no_cache).then_some(cache.as_path());
    let bars = Bars::new(json, spent(home, agent, objects));
    Repo::new(Arc::clone(objects), agent.key(), cache, Handle::current(), bars)
}

/// Returns what tells how much this command has signed for so far; money of several currencies is not added up.
fn spent(home: &Home, agent: &Agent, objects: &Arc<Objects>) -> Spent {
    let issuers: std::collections::BTreeSet<_> = agent.book().read(|book| {
        let of = objects.sessions().keys().filter_map(|&contract| book.contract(contract));
        of.map(|record| record.terms.prices.currency.issuer()).collect()
    });
    let wallet = home.wallet().unwrap_or_default();
    let currency = match issuers.first() {
        Some(issuer) if issuers.len() == 1 => wallet.find(Some(&issuer.to_string())).ok().cloned(),
        _ => None,
    };
    let objects = Arc::clone(objects);
    Arc::new(move || {
        let currency = currency.as_ref()?;
        Some((currency.plain(objects.spent()), currency.symbol.clone()))
    })
}

fn bill(status: &ContractStatus) -> Option<Bill> {
    Bill::of(&status.record.terms.prices, &status.tab?.meter)
}

async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, AgentError> + Send + 'static,
) -> Result<T, Failure> {
    Ok(in_thread(run).await??)
}

async fn in_thread<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(run).await;
    done.map_err(|error| Failure::new(format!("a thread failed: {error}")))
}

pub(crate) fn say_progress(json: bool, what: &str) {
    if json {
        say(&json!({ "event": "progress", "what": what }).to_string());
    } else {
        say(what);
    }
}

/// Turns what is paid in a span into what is paid in a month.
fn per_month(amount: Amount, span: Duration) -> Amount {
    let span = u128::from(span.milliseconds().max(1));
    let month = u128::from(amount.get()) * u128::from(MONTH.milliseconds());
    Amount::new(u64::try_from(month.div_ceil(span)).unwrap_or(u64::MAX))
}
