//! `fondaco balance` and `deposits`: what I hold and was paid, of all currencies side by side.
//!
//! All issuers are asked at once. One that fails keeps nobody from learning what the others say: it is named, and the command
//! ends with the code of its failure; of several, with that of the gravest.

use crate::cli::DepositsArgs;
use crate::failure::{Code, Failure};
use crate::home::{CurrencyConfig, Home, WalletConfig};
use crate::invoices;
use crate::screen::{complain, is_closed, is_heard, printable, say};
use crate::wallet::{client, limit_by_the_way, open_to_look, tell_torn};
use fondaco_agent::{AgentError, Balance, InvoiceFile, Wallet, await_deposits};
use fondaco_lcp::Deposit;
use fondaco_store::SystemClock;
use fondaco_transport::LcpClient;
use fondaco_units::Duration;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde_json::json;
use std::collections::BTreeMap;

/// The issuers that did not answer, or not well.
struct Missing<'a> {
    home: &'a Home,
    config: &'a WalletConfig,
    json: bool,
    failures: Vec<Failure>,
}

impl<'a> Missing<'a> {
    const fn new(home: &'a Home, config: &'a WalletConfig, json: bool) -> Self {
        Self { home, config, json, failures: Vec::new() }
    }

    /// Names one. Where there is no other currency, the end of the command says it all.
    fn add(&mut self, currency: &CurrencyConfig, failure: Failure) {
        let failure = self.home.naming_identity(currency.concerned_by(failure));
        if self.config.currency.len() > 1 {
            if self.json {
                say(&failure.json());
            } else {
                let label = self.config.label(currency);
                say(&format!("{:>20} {label}   {}", "?", failure.what()));
                if let Some(hint) = failure.what_to_do().filter(|_| failure.moved_to().is_some()) {
                    say(&format!("{:>20} {hint}", ""));
                }
            }
        }
        self.failures.push(failure);
    }

    /// Ends the command.
    fn end(mut self) -> Result<(), Failure> {
        let (missing, all) = (self.failures.len(), self.config.currency.len());
        if missing == 0 {
            return Ok(());
        }
        if all == 1 {
            return Err(self.failures.swap_remove(0));
        }
        let code = Code::gravest(self.failures.iter().map(Failure::ends_with));
        let hint = match self.failures.iter().any(|failure| failure.moved_to().is_some()) {
            true => {
                "what the others said stands above, and what to do about a key that was changed"
            }
            false => "what the others said stands above; ask again later",
        };
        Err(Failure::new(format!("{missing} of {all} issuers did not answer as they should"))
            .code(code)
            .hint(hint))
    }
}

/// Shows what I hold of each currency, in the order in which they were accepted; who answers late comes last.
pub(crate) async fn balance(home: &Home, json: bool) -> Result<(), Failure> {
    // Who has no key is told that first.
    home.key_file()?;
    let config = home.wallet()?;
    if config.currency.is_empty() {
        return Err(Failure::new("no currency is accepted here yet")
            .code(Code::NotFound)
            .hint("add one with `fondaco wallet add ISSUER-ADDRESS`"));
    }
    // A wrong passphrase is no issuer's fault.
    home.key()?;
    let asked = config.currency.iter().enumerate();
    let mut asked: FuturesUnordered<_> =
        asked.map(|(at, currency)| async move { (at, balance_of(home, currency).await) }).collect();
    let mut missing = Missing::new(home, &config, json);
    let (mut answered, mut next, mut in_order) = (BTreeMap::new(), 0, true);
    let mut order = std::pin::pin!(tokio::time::sleep(IN_ORDER));
    loop {
        tokio::select! {
            answer = asked.next() => match answer {
                Some((at, answer)) => drop(answered.insert(at, answer)),
                None => break,
            },
            () = &mut order, if in_order => in_order = false,
        }
        while let Some(first) = answered.first_entry()
            && (*first.key() == next || !in_order)
        {
            let (at, answer) = first.remove_entry();
            next = at + 1;
            let currency = &config.currency[at];
            match answer {
                Ok((balance, limited)) => {
                    show_balance(&config, currency, &balance, json)?;
                    if let Err(failure) = limited {
                        missing.add(currency, failure);
                    }
                }
                Err(failure) => missing.add(currency, failure),
            }
        }
    }
    missing.end()
}

/// For so long those who answer first wait for those before them, so that each has its line; then who is away makes nobody
/// wait.
const IN_ORDER: std::time::Duration = std::time::Duration::from_secs(1);

/// What I hold, and whether the issuer keeps to my limit: that it could not be told is no reason to show nothing.
async fn balance_of(
    home: &Home,
    currency: &CurrencyConfig,
) -> Result<(Balance, Result<(), Failure>), Failure> {
    let wallet = open_to_look(home, currency).await?;
    // Whether the issuer's books are those seen before is worth a question.
    wallet.describe().await?;
    let balance = wallet.balance().await?;
    Ok((balance, limit_by_the_way(home, &wallet, currency).await))
}

fn show_balance(
    config: &WalletConfig,
    currency: &CurrencyConfig,
    balance: &Balance,
    json: bool,
) -> Result<(), Failure> {
    let Balance { available, held, .. } = balance;
    let scale = currency.scale()?;
    let (available, held) = (scale.show(*available), scale.show(*held));
    if json {
        let line = json!({
            "currency": currency.symbol, "issuer": currency.issuer()?.entity().to_string(),
            "available": available.to_string(), "held": held.to_string(),
        });
        say(&line.to_string());
    } else {
        let label = config.label(currency);
        say(&format!("{available:>20} {label}   and {held} held for contracts"));
    }
    Ok(())
}

/// The longest that one query asks an issuer to wait.
const WAIT_MILLISECONDS_MAX: u64 = 25_000;

/// An issuer that may have something to tell.
struct Asked<'a> {
    currency: &'a CurrencyConfig,
    /// Nothing, once it failed: it is asked no more.
    client: Option<LcpClient>,
    /// Whether another command has the wallet.
    is_held: bool,
    /// Whether it was told of the limit by this command.
    is_limited: bool,
}

/// Shows what arrived since it was asked last, of all currencies; waits for the first of any.
pub(crate) async fn deposits(home: &Home, args: DepositsArgs, json: bool) -> Result<(), Failure> {
    let DepositsArgs { keep, wait } = args;
    if !keep && is_closed() {
        return Err(Failure::new(
            "standard output is closed: nobody would see what was paid to you",
        )
        .hint("open it, or name --keep; `>/dev/null` has it forgotten unseen"));
    }
    let wait = u64::try_from(wait.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    let config = home.wallet()?;
    if config.currency.is_empty() {
        return Ok(());
    }
    let key = home.key()?;
    let mut missing = Missing::new(home, &config, json);
    let mut issuers: Vec<Asked<'_>> = Vec::new();
    for currency in &config.currency {
        let dialled = async { client(&key, currency.issuer()?).await };
        match dialled.await {
            Ok(client) => {
                let client = Some(client);
                issuers.push(Asked { currency, client, is_held: false, is_limited: false });
            }
            Err(failure) => missing.add(currency, failure),
        }
    }
    let started = std::time::Instant::now();
    let patience = if wait > 0 { LOCK_PATIENCE } else { std::time::Duration::ZERO };
    loop {
        // All issuers are asked to wait at once; each asking is short enough for any of them. Nothing is locked meanwhile.
        let left =
            wait.saturating_sub(u64::try_from(started.elapsed().as_millis()).unwrap_or(wait));
        let span = Duration::from_milliseconds(left.min(WAIT_MILLISECONDS_MAX));
        let mut lost = Vec::new();
        let mut asked: FuturesUnordered<_> = there(&issuers)
            .map(|(at, client)| {
                let is_held = issuers[at].is_held;
                async move { (at, await_news(home, client, is_held, span).await) }
            })
            .collect();
        while let Some((at, answer)) = asked.next().await {
            match answer {
                Ok(false) => {}
                Ok(true) => break,
                Err(failure) => lost.push((at, failure)),
            }
        }
        drop(asked);
        forget(&mut issuers, lost, &mut missing);

        // Whoever answers first is shown first: one that is away makes nobody wait.
        let (mut shown, mut lost, mut held, mut limited) = (0, vec![], vec![], vec![]);
        let mut asked: FuturesUnordered<_> = there(&issuers)
            .map(|(at, client)| async move { (at, first_page(home, client, patience).await) })
            .collect();
        while let Some((at, answer)) = asked.next().await {
            let Asked { currency, is_limited, .. } = &issuers[at];
            let told = async {
                let (wallet, first) = answer?;
                let count =
                    show_deposits(home, &config, currency, &wallet, first, keep, json).await?;
                shown += count;
                if !is_limited {
                    limit_by_the_way(home, &wallet, currency).await?;
                    limited.push(at);
                }
                Ok::<(), Failure>(())
            };
            match told.await {
                Ok(()) => {}
                Err(failure) if failure.ends_with() == Code::Locked => held.push((at, failure)),
                Err(failure) => lost.push((at, failure)),
            }
        }
        drop(asked);
        limited.into_iter().for_each(|at| issuers[at].is_limited = true);
        // Who waits goes on until the other command is done; who does not is told of it.
        let goes_on = shown == 0 && left > 0;
        issuers.iter_mut().for_each(|asked| asked.is_held = false);
        match goes_on {
            true => held.into_iter().for_each(|(at, _)| issuers[at].is_held = true),
            false => lost.append(&mut held),
        }
        forget(&mut issuers, lost, &mut missing);
        let nobody = issuers.iter().all(|asked| asked.client.is_none());
        if !goes_on || nobody {
            if shown == 0 && missing.failures.is_empty() && !json {
                complain("nothing new");
            }
            return missing.end();
        }
    }
}

/// How long another command that has the wallet for a moment is waited for by who waits anyway, while nobody else is heard.
const LOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// How often is looked whether the other command is done.
const LOCK_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// Those who may yet answer.
fn there<'a>(issuers: &'a [Asked<'_>]) -> impl Iterator<Item = (usize, &'a LcpClient)> {
    issuers.iter().enumerate().filter_map(|(at, asked)| Some((at, asked.client.as_ref()?)))
}

/// Waits until there is something to tell, or, where another command has the wallet, until that is done; whether it is so.
async fn await_news(
    home: &Home,
    client: &LcpClient,
    is_held: bool,
    span: Duration,
) -> Result<bool, Failure> {
    if !is_held {
        return Ok(await_deposits(client, span).await?);
    }
    let (folder, began) = (home.folder("agent")?, std::time::Instant::now());
    let span = std::time::Duration::from_millis(span.milliseconds());
    while began.elapsed() < span {
        tokio::time::sleep(LOCK_AGAIN).await;
        match Wallet::open(&folder, client.clone()) {
            Err(AgentError::Locked { .. }) => {}
            Ok(wallet) => {
                tell_torn(&wallet);
                return Ok(true);
            }
            Err(_) => return Ok(true),
        }
    }
    Ok(false)
}

/// Opens the wallet, which may be another command's for a moment, and asks what arrived: what that one has shown is gone then.
async fn first_page(
    home: &Home,
    client: &LcpClient,
    patience: std::time::Duration,
) -> Result<(Wallet, Page), Failure> {
    let (folder, began) = (home.folder("agent")?, std::time::Instant::now());
    let wallet = loop {
        match Wallet::open(&folder, client.clone()) {
            Err(AgentError::Locked { .. }) if began.elapsed() < patience => {
                tokio::time::sleep(LOCK_AGAIN).await;
            }
            opened => break opened?.impatient(),
        }
    };
    tell_torn(&wallet);
    // What was shown before is forgotten first, or it would be shown again as new.
    if let Err(error) = wallet.resume_upkeep().await {
        tracing::info!(%error, "earlier commands are still without an answer");
    }
    let page = wallet.deposits(0, Duration::ZERO).await?;
    Ok((wallet, page))
}

/// Some deposits, and whether there are more.
type Page = (Vec<Deposit>, bool);

/// Names who did not answer, and asks them no more.
fn forget(issuers: &mut [Asked<'_>], lost: Vec<(usize, Failure)>, missing: &mut Missing<'_>) {
    for (at, failure) in lost {
        issuers[at].client = None;
        missing.add(issuers[at].currency, failure);
    }
}

/// Shows what one issuer has to tell, of which `first` is the first page, and acknowledges it unless it is to be kept:
/// how many there were.
async fn show_deposits(
    home: &Home,
    config: &WalletConfig,
    currency: &CurrencyConfig,
    wallet: &Wallet,
    first: Page,
    keep: bool,
    json: bool,
) -> Result<usize, Failure> {
    let (mut page, mut through, mut shown) = (first, 0, 0);
    let mut taken: Option<Option<InvoiceFile>> = None;
    loop {
        let (list, more) = &page;
        // Held for as long as there is something to match, and not while nothing comes.
        let invoices = match &mut taken {
            Some(invoices) => invoices,
            None if list.is_empty() => break,
            None => taken.insert(invoices::open_if_any(home).await?),
        };
        for deposit in list {
            through = deposit.number;
            shown += 1;
            show_deposit(invoices, config, currency, deposit, json)?;
        }
        if !*more || list.is_empty() {
            break;
        }
        page = wallet.deposits(through, Duration::ZERO).await?;
    }
    // The issuer forgets a notice when it is acknowledged, so it is shown first, and what it pays is saved. One that could
    // not be written was not shown.
    drop(taken);
    if through > 0 && !keep && is_heard() {
        wallet.resume_upkeep().await?;
        wallet.acknowledge(&SystemClock, through).await?;
    }
    Ok(shown)
}

fn show_deposit(
    invoices: &mut Option<InvoiceFile>,
    config: &WalletConfig,
    currency: &CurrencyConfig,
    deposit: &Deposit,
    json: bool,
) -> Result<(), Failure> {
    let verdict = invoices::verdict(invoices, currency, deposit)?;
    let Deposit { number, payer, amount, order, at } = deposit;
    let amount = currency.scale()?.show(*amount);
    let payer = payer.map(|payer| payer.to_string());
    if json {
        let line = json!({
            "event": "deposit", "number": number, "payer": payer, "amount": amount.to_string(),
            "currency": currency.symbol, "issuer": currency.issuer()?.entity().to_string(),
            "order": order.as_str(), "at": at.to_string(), "invoice": verdict.map(|(line, _)| line),
        });
        say(&line.to_string());
    } else {
        let from = payer.as_deref().unwrap_or("newly minted");
        let order = printable(order.as_str());
        say(&format!("{at}  {amount:>16} {}  {from}  {order}", config.label(currency)));
        if let Some((_, told)) = verdict {
            say(&format!("    {told}"));
        }
    }
    Ok(())
}
