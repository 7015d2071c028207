//! `fondaco backup create`: contracts where none will do, and a snapshot; or only what that would cost.

use super::contracts::{Renewals, renew};
use super::left_behind::{LeftBehind, not_stored};
use super::owing::OwingInAll;
use super::sums::in_currency;
use super::used_up::{self, Allowance};
use super::{open_seeking, per_month, probability, repo, say_progress, state};
use crate::cli::CreateArgs;
use crate::failure::{Code, Failure, io};
use crate::folders;
use crate::home::{CurrencyConfig, Home, WalletConfig};
use crate::offers::{Whereabouts, per_gib};
use crate::screen::{clear_bars, counted, printable, say};
use crate::wallet::{client, resume};
use fondaco_agent::book::{Book, For};
use fondaco_agent::{
    Agent, AgentError, BackupReport, Beside, Durability, Objects, Quote, RepositoryError, Wallet,
    Wish,
};
use fondaco_crypto::EntityId;
use fondaco_lcp::Refusal;
use fondaco_ledger::Refusal as LedgerRefusal;
use fondaco_ports::{Address, Clock as _};
use fondaco_store::SystemClock;
use fondaco_units::{Amount, Bytes, Duration, Scale};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// How often a backup goes on with new contracts after hosts failed or contracts were used up.
const TRIES_MAX: u32 = 3;

/// The most that new contracts may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) amount: Amount,
    is_monthly: bool,
}

impl Budget {
    /// Returns what it comes to for contracts that last for `span`.
    fn over(self, span: Duration) -> Amount {
        if !self.is_monthly {
            return self.amount;
        }
        let month = u128::from(super::MONTH.milliseconds());
        let sum = u128::from(self.amount.get()) * u128::from(span.milliseconds()) / month;
        Amount::new(u64::try_from(sum).unwrap_or(u64::MAX))
    }
}

/// A budget as it is written: `5`, `5 CLR`, `5 CLR/month`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BudgetText {
    /// How it was said.
    flag: &'static str,
    amount: String,
    symbol: Option<String>,
    pub(super) is_monthly: bool,
}

impl BudgetText {
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        Self::parse_of("--budget", text)
    }

    pub(super) fn parse_of(flag: &'static str, text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::new(format!("{flag} {text:?} is no sum of money"))
                .code(Code::Usage)
                .hint("write it as \"5 CLR\" for all of the time, or as \"5 CLR/month\"")
        };
        let (sum, is_monthly) = match text.split_once('/') {
            None => (text, false),
            Some((sum, span)) if span.trim() == "month" => (sum, true),
            Some(_) => return Err(wrong()),
        };
        let mut words = sum.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(amount), symbol, None) => {
                let (amount, symbol) = (amount.to_owned(), symbol.map(str::to_owned));
                Ok(Self { flag, amount, symbol, is_monthly })
            }
            _ => Err(wrong()),
        }
    }

    /// Whether it may be meant in a currency: it names that, or none.
    pub(super) fn is_in(&self, currency: &CurrencyConfig) -> bool {
        self.symbol.as_ref().is_none_or(|symbol| *symbol == currency.symbol)
    }

    pub(super) fn read(&self, scale: Scale) -> Result<Budget, Failure> {
        let &Self { flag, ref amount, is_monthly, .. } = self;
        let amount = scale
            .parse(amount)
            .map_err(|error| Failure::new(format!("{flag} {amount}: {error}")).code(Code::Usage))?;
        Ok(Budget { amount, is_monthly })
    }
}

/// Everything that stays the same while a backup is tried.
struct Create<'a> {
    home: &'a Home,
    agent: Agent,
    currency: &'a CurrencyConfig,
    folder: PathBuf,
    args: CreateArgs,
    whereabouts: Whereabouts,
    budget: Option<Budget>,
    json: bool,
}

pub(super) async fn create(home: &Home, args: CreateArgs, json: bool) -> Result<(), Failure> {
    let folder = existing_folder(&args.folder)?;
    let mut whereabouts = Whereabouts::known(home, &args.find).await?;
    let wallet_config: WalletConfig = home.wallet()?;
    let budget = args.budget.as_deref().map(BudgetText::parse).transpose()?;
    let symbol = budget.as_ref().and_then(|budget| budget.symbol.as_deref());
    let currency = wallet_config.find(args.currency.as_deref().or(symbol))?;
    if symbol.is_some_and(|symbol| symbol != currency.symbol) {
        return Err(Failure::new(format!(
            "--budget is in {}, and --currency is {}",
            symbol.unwrap_or_default(),
            currency.symbol
        ))
        .code(Code::Usage)
        .hint("say both in one currency"));
    }
    let budget = match &budget {
        None => None,
        Some(budget) => Some(budget.read(currency.scale()?)?),
    };
    if !(args.survive > 0.0 && args.survive < 1.0) {
        return Err(Failure::new(format!("--survive {} is no probability below 1", args.survive))
            .code(Code::Usage)
            .hint("0.999 is usual: one object in a thousand may be lost in an epoch"));
    }
    let trust = args.trust.read(currency)?;
    let agent = open_seeking(home, whereabouts.seek(home, json)).await?.with_trust(trust);
    whereabouts.heed_named(home, &agent, json).await?;
    let dry = args.dry_run;
    let create = Create { home, agent, currency, folder, args, whereabouts, budget, json };
    if dry {
        return create.quote().await;
    }
    tokio::select! {
        done = create.run() => done,
        () = interrupted() => {
            clear_bars();
            Err(Failure::new("interrupted; what was stored by now stays")
                .code(Code::Interrupted)
                .hint("run the same again: it goes on from there, and sends only the rest"))
        }
    }
}

/// Waits for Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Says that the cache failed, which is no loss.
pub(super) fn say_uncached(why: &str) {
    say(&format!(
        "The cache could not be used ({}): nothing is missing, but more has to be read from the hosts.",
        printable(why)
    ));
}

impl Create<'_> {
    /// Returns the hosts named, and those that brokers tell of, but for those that failed already.
    async fn hosts(&self, failed: &BTreeSet<EntityId>) -> Result<Vec<Address>, Failure> {
        let Self { agent, whereabouts, currency, json, .. } = self;
        let mut hosts = whereabouts.find(agent, currency, &self.wish(None)?, *json).await?;
        hosts.retain(|host| !failed.contains(&host.entity()));
        Ok(hosts)
    }

    async fn run(&self) -> Result<(), Failure> {
        let Self { agent, currency, json, .. } = self;
        let began = Instant::now();
        agent.check_newest(&agent.objects()).await?;
        self.look_for_unopened().await?;
        let mut report = None;
        let (mut budget, mut failed) = (self.budget, BTreeSet::new());
        let CreateArgs { renew_within, epochs, .. } = self.args;
        // What a month's budget allows depends on how long the new contracts last, which their hosts say.
        let most = budget.filter(|budget| !budget.is_monthly).map(|budget| budget.amount);
        let renewed = renew(self.home, agent, currency, renew_within, epochs, most, *json).await?;
        let renewed = renewed.held;
        take(&mut budget, renewed);
        if !renewed.is_zero() {
            state::keep(self.home, agent, &agent.objects(), *json).await;
        }
        let lost = agent.forget_lost().await?;
        if lost > 0 {
            let what = format!(
                "{} lay under contracts that have ended; their content is stored anew",
                counted(lost, "object")
            );
            say_progress(*json, &what);
        }
        let mut objects = Arc::new(agent.objects());
        let (mut anew, mut keeps, mut held_again) = (false, true, Amount::ZERO);
        for attempt in 1..=TRIES_MAX {
            if agent.usable_set().is_none() || anew {
                let hosts = self.hosts(&failed).await?;
                let before = agent.book().read(Book::holds_before);
                self.open_contracts(&hosts, budget, keeps.then_some(&failed)).await?;
                take(&mut budget, agent.book().read(|book| book.held_since(&before)));
                objects = Arc::new(agent.objects());
                // Whatever comes, what is held for these contracts must not be forgotten.
                state::keep(self.home, agent, &objects, *json).await;
            }
            let may_renew = budget.is_some() && attempt < TRIES_MAX;
            match self.back_up(&objects, may_renew).await {
                Ok(done) => {
                    report = Some(done);
                    break;
                }
                // What this backup and others read used holds up.
                Err(
                    error @ (AgentError::Unreadable { spent: true, .. }
                    | AgentError::HoldSpent { .. }),
                ) if attempt < TRIES_MAX
                    && let Some(budget) = &mut budget =>
                {
                    let done = self.renew_used_up(&objects, budget, &mut held_again).await?;
                    anew = done.renewed.is_empty();
                    match error {
                        _ if !anew => objects = Arc::new(agent.objects()),
                        AgentError::HoldSpent { .. } => {
                            keeps = false;
                            self.give_up_those_of(&objects, &mut failed, error)?;
                        }
                        error => {
                            return Err(used_up::not_renewed(error, done.failures, "--budget"));
                        }
                    }
                }
                Err(error @ AgentError::Unreadable { spent: true, .. }) => {
                    return Err(Failure::from(error).hint(
                        "`fondaco contracts renew` lets new contracts, with holds of their own, take over what is there; with \
                         --budget \"5 CLR\" a backup does so itself, and goes on",
                    ));
                }
                // Hosts that fail for good, and contracts that are used up, are replaced by new ones.
                Err(
                    error @ (AgentError::HoldSpent { .. }
                    | AgentError::ContractFull { .. }
                    | AgentError::Provider { .. }
                    | AgentError::Transport(_)
                    | AgentError::Misanswer { .. }
                    | AgentError::PaidForNothing { .. }
                    | AgentError::Unpaid { .. }
                    | AgentError::Overstated { .. }
                    | AgentError::Caught { .. }),
                ) if attempt < TRIES_MAX => {
                    // What is full or used up is no more use beside others.
                    keeps = !matches!(
                        error,
                        AgentError::HoldSpent { .. } | AgentError::ContractFull { .. }
                    );
                    self.give_up_those_of(&objects, &mut failed, error)?;
                    anew = true;
                }
                // Hosts ended their contracts before we knew.
                Err(error @ AgentError::Unreadable { .. }) if attempt < TRIES_MAX => {
                    if agent.forget_lost().await? == 0 {
                        return Err(not_stored(error, &objects.missing()));
                    }
                    anew = true;
                }
                Err(error) => return Err(not_stored(error, &objects.missing())),
            }
        }
        let Some((report, left)) = report else {
            return Err(Failure::new("the backup did not finish"));
        };
        let kept = state::keep_or_fail(self.home, agent, &objects, *json).await;
        let owed = OwingInAll::ask(agent).await;
        let sent = objects.traffic().sent.load(Ordering::Relaxed);
        let seconds = began.elapsed().as_secs_f64();
        let spent = objects.spent();
        let BackupReport { snapshot, files, bytes, added, problems, changed, cache } = report;
        if *json {
            let scale = currency.scale()?;
            let line = json!({
                "event": "backup", "snapshot": snapshot, "files": files, "bytes": bytes, "added": added,
                "sent": sent, "seconds": seconds, "spent": scale.show(spent).to_string(),
                "owed": scale.show(owed.amount).to_string(),
                "owed_is_least": owed.is_least, "silent": owed.silent_ids(),
                "problems": problems, "changed": changed, "cache": cache, "left_behind": left.as_ref().map_or(0, LeftBehind::count),
                "kept_until": agent.kept_until().map(|until| until.to_string()),
            });
            say(&line.to_string());
        } else {
            for problem in &problems {
                say(&format!("left out: {}", printable(problem)));
            }
            for path in &changed {
                say(&format!(
                    "changed while it was read, and kept as it was read: {}",
                    printable(path)
                ));
            }
            if let Some(why) = &cache {
                say_uncached(why);
            }
            say(&format!(
                "Snapshot {snapshot}: {}, {}; {} new, {} sent as shards, in {seconds:.1} s.",
                counted(files, "file"),
                Bytes::new(bytes),
                Bytes::new(added),
                Bytes::new(sent)
            ));
            say(&format!(
                "Sending it cost {}; your contracts have cost {}{} so far.",
                currency.show(spent),
                if owed.is_least { "at least " } else { "" },
                currency.show(owed.amount)
            ));
            if let Some(silent) = owed.silent_in_words() {
                say(&silent);
            }
            if let Some(until) = agent.kept_until() {
                say(&format!("Everything is kept until {until}; back up again before then."));
            }
        }
        match (left, problems.len()) {
            (None, 0) => kept,
            (left, count) => {
                // What the command ends with says nothing of it.
                state::say_not_kept(kept, *json);
                Err(match left {
                    Some(left) => left.ends(&snapshot, count),
                    None => Failure::new(format!(
                        "snapshot {snapshot} is kept, but {}",
                        not_in_it(count)
                    ))
                    .hint("see who may read them, then run this again: only what is new is sent"),
                })
            }
        }
    }

    fn wish(&self, budget: Option<Amount>) -> Result<Wish, Failure> {
        let CreateArgs { survive, epochs, exclude_caches, .. } = self.args;
        let bytes = measure(&self.folder, exclude_caches)?;
        Ok(Wish { bytes, survive, epochs, budget })
    }

    async fn wallet(&self, addresses: &[Address]) -> Result<Wallet, Failure> {
        wallet(self.home, self.currency, addresses).await
    }

    /// Opens contracts for a new set, within what a budget has left. The newest contracts are
    /// kept, `without` those of some hosts, if that is said; those that end soon were to be renewed.
    async fn open_contracts(
        &self,
        addresses: &[Address],
        budget: Option<Budget>,
        without: Option<&BTreeSet<EntityId>>,
    ) -> Result<(), Failure> {
        let Self { agent, currency, json, .. } = self;
        let mut wish = self.wish(None)?;
        wish.budget = match budget {
            // How long an epoch is, the hosts say.
            Some(budget) if budget.is_monthly => {
                let wallet = self.wallet(addresses).await?;
                Some(budget.over(agent.quote(&wallet, addresses, wish).await?.span()))
            }
            Some(budget) => Some(budget.amount),
            None => None,
        };
        let epochs = self.args.renew_within;
        let beside = without.map(|without| Beside { without, object: Bytes::ZERO, epochs });
        open_contracts(self.home, agent, currency, addresses, (wish, beside), *json).await
    }

    /// Goes on without the hosts that failed, and with new contracts, if any other hosts may be known.
    fn give_up_those_of(
        &self,
        objects: &Objects,
        failed: &mut BTreeSet<EntityId>,
        error: AgentError,
    ) -> Result<(), Failure> {
        failed.extend(objects.failed_writes());
        let Whereabouts { hosts, brokers, .. } = &self.whereabouts;
        if brokers.is_empty() && hosts.iter().all(|it| failed.contains(&it.entity())) {
            return Err(error.into());
        }
        say_progress(self.json, &format!("{error}; going on with new contracts"));
        Ok(())
    }

    /// Renews what is used up, within what is left of the budget. Of one by the month that is what it comes to until the contracts
    /// end; `spent` is what was held for the like of it before.
    async fn renew_used_up(
        &self,
        objects: &Objects,
        budget: &mut Budget,
        spent: &mut Amount,
    ) -> Result<Renewals, Failure> {
        let Self { home, agent, currency, json, .. } = self;
        let now = SystemClock.now();
        let ends = agent.used_up(objects).into_iter().map(|record| record.terms.ends).max();
        let most = match (budget.is_monthly, ends) {
            (true, Some(ends)) => budget.over(ends.since(now)).saturating_sub(*spent),
            _ => budget.amount,
        };
        let idle = agent.idle(For::Set, currency.issuer()?.entity());
        let most = most.saturating_sub(idle);
        let mut allowance = Allowance::in_one("--budget", currency, most)?;
        let done = used_up::renew(home, agent, objects, &mut allowance, *json).await?;
        let held = most.saturating_sub(allowance.left(currency)?.unwrap_or_default());
        *spent = spent.checked_add(held).unwrap_or(Amount::MAX);
        if !budget.is_monthly {
            budget.amount = budget.amount.saturating_sub(held);
        }
        if !done.renewed.is_empty() {
            state::keep(home, agent, &agent.objects(), *json).await;
        }
        Ok(done)
    }

    /// Backs up; also what older snapshots could not be brought along, unless holds are to blame for it that may be renewed.
    async fn back_up(
        &self,
        objects: &Arc<Objects>,
        may_renew: bool,
    ) -> Result<(BackupReport, Option<LeftBehind>), AgentError> {
        let mut left = LeftBehind::of(objects.carry_over().await?, may_renew)?;
        let repo = Arc::new(repo(self.home, &self.agent, objects, false, self.json));
        if let Some(left) = &left {
            left.tell(self.json);
            repo.pass_over(left.snapshots.clone());
        }
        let (folder, library) = (self.folder.clone(), Arc::clone(&repo));
        let marks: &[&str] = if self.args.exclude_caches { &[folders::CACHE_MARK] } else { &[] };
        let work = tokio::task::spawn_blocking(move || library.backup(&folder, marks));
        let every = (std::time::Duration::from_secs(self.args.keep_books_every), self.json);
        let report = state::keep_during(self.home, &self.agent, objects, every, work)
            .await
            .map_err(|error| AgentError::from(RepositoryError::Other(error.to_string())))??;
        if let Some(left) = &mut left {
            left.look(repo, objects, &report.snapshot).await;
        }
        Ok((report, left))
    }

    /// Ends before anything is paid for if a client of a gateway has stored what no configuration opens; or removes that.
    async fn look_for_unopened(&self) -> Result<(), Failure> {
        let repo =
            || repo(self.home, &self.agent, &Arc::new(self.agent.objects()), false, self.json);
        if repo().unopened() == 0 {
            return Ok(());
        }
        self.agent.forget_lost().await?;
        let repo = repo();
        if !self.args.discard_unopened {
            return Ok(repo.refuse_unopened()?);
        }
        let removed = tokio::task::spawn_blocking(move || repo.discard_unopened()).await;
        let removed = removed
            .map_err(|error| AgentError::from(RepositoryError::Other(error.to_string())))??;
        if removed > 0 {
            let removed = counted(removed, "object");
            say_progress(self.json, &format!("removed {removed} that no configuration opened"));
        }
        Ok(())
    }

    /// Says what a backup would need of new contracts, and what those would cost.
    async fn quote(&self) -> Result<(), Failure> {
        let Self { agent, currency, json, .. } = self;
        let addresses = self.hosts(&BTreeSet::new()).await?;
        let wallet = self.wallet(&addresses).await?;
        let wish = self.wish(None)?;
        let quote = agent.quote(&wallet, &addresses, wish).await?;
        let open_until = agent.usable_set().and_then(|_| agent.kept_until());
        let within = self.budget.map(|budget| (budget.over(quote.span()), quote.held));
        if *json {
            self.quote_as_json(&quote, wish.bytes)?;
        } else {
            show_quote(&quote, wish.bytes, currency);
            if let Some(until) = open_until {
                say(&format!(
                    "Contracts are open until {until}, and take this backup: nothing new would be opened now."
                ));
            }
        }
        match within {
            Some((budget, held)) if held > budget => Err(Failure::new(format!(
                "these contracts may cost up to {}, the budget is {}",
                currency.show(held),
                currency.show(budget)
            ))
            .code(Code::Funds)
            .hint("raise --budget, lower --survive or --epochs, or name cheaper hosts")),
            _ => Ok(()),
        }
    }

    fn quote_as_json(&self, quote: &Quote, bytes: Bytes) -> Result<(), Failure> {
        let scale = self.currency.scale()?;
        let money = |amount: Amount| scale.show(amount).to_string();
        for quoted in &quote.hosts {
            let prices = &quoted.prices;
            let line = json!({
                "event": "quote", "provider": prices.provider.to_string(), "address": quoted.address.to_string(),
                "chosen": true, "open": money(prices.open), "store": money(per_gib(prices.store)),
                "write": money(per_gib(prices.write)), "read": money(per_gib(prices.read)),
                "capacity": prices.capacity.get(), "per_epoch": money(quoted.per_epoch), "held": money(quoted.held),
            });
            say(&line.to_string());
        }
        for (host, why) in &quote.passed_over {
            let line = json!({
                "event": "quote", "provider": host.to_string(), "chosen": false, "why": why,
            });
            say(&line.to_string());
        }
        let line = json!({
            "event": "dry-run", "bytes": bytes.get(), "k": quote.code.k(), "n": quote.code.n(),
            "survive": probability(quote.durability.survive), "assumed": quote.durability.assumed(), "epochs": quote.epochs,
            "epoch_seconds": quote.epoch.milliseconds() / 1000, "size_max": quote.size_max.get(),
            "first": money(quote.once), "per_epoch": money(quote.per_epoch),
            "per_month": money(per_month(quote.per_epoch, quote.epoch)), "restore": money(quote.restore),
            "held": money(quote.held), "currency": self.currency.symbol,
        });
        say(&line.to_string());
        Ok(())
    }
}

/// Opens the wallet that pays for contracts with these hosts.
async fn wallet(
    home: &Home,
    currency: &CurrencyConfig,
    addresses: &[Address],
) -> Result<Wallet, Failure> {
    if addresses.is_empty() {
        return Err(Failure::new("no storage host is known here yet")
            .code(Code::NotFound)
            .hint("name brokers with --broker ADDRESS, or hosts with --host ADDRESS"));
    }
    let client = client(&home.key()?, currency.issuer()?).await?;
    let wallet = Wallet::open(&home.folder("agent")?, client)?;
    resume(&wallet, currency).await?;
    Ok(wallet)
}

/// Opens contracts for a new set, beside those that are kept, if some are to be; and says which.
pub(crate) async fn open_contracts(
    home: &Home,
    agent: &Agent,
    currency: &CurrencyConfig,
    addresses: &[Address],
    (wish, beside): (Wish, Option<Beside<'_>>),
    json: bool,
) -> Result<(), Failure> {
    let wallet = wallet(home, currency, addresses).await?;
    let opened = match &beside {
        Some(beside) => agent.open_contracts_beside(&wallet, addresses, wish, beside).await,
        None => agent.open_contracts(&wallet, addresses, wish).await,
    };
    let opened = opened.map_err(|error| not_opened(error, currency))?;
    let (k, n) = (opened.code.k(), opened.code.n());
    if json {
        let line = json!({
            "event": "contracts", "k": k, "n": n, "kept": opened.kept, "survive": probability(opened.durability.survive),
            "assumed": opened.durability.assumed(),
            "held": currency.scale()?.show(opened.held).to_string(), "size_max": opened.size_max.get(),
        });
        say(&line.to_string());
    } else {
        for (host, why) in &opened.passed_over {
            say(&format!("{} was passed over: {why}", host.short()));
        }
        let fresh = counted(usize::from(n).saturating_sub(opened.kept), "contract");
        if opened.kept > 0 {
            say(&format!("{} of the newest are kept.", counted(opened.kept, "contract")));
        }
        say(&format!(
            "Opened {fresh} of {}: {}. {}",
            opened.size_max,
            suffice(k, n),
            durability(&opened.durability)
        ));
        say(&format!("They may cost up to {}, which is now held.", currency.show(opened.held)));
    }
    Ok(())
}

/// Says in the currency why contracts were not opened.
fn not_opened(error: AgentError, currency: &CurrencyConfig) -> Failure {
    let is_beyond = matches!(
        &error,
        AgentError::OverBudget { .. }
            | AgentError::Issuer(Refusal::Ledger {
                refusal: LedgerRefusal::InsufficientFunds { .. }
            })
    );
    let failure = in_currency(error, currency);
    match is_beyond {
        true => failure.hint(
            "raise --budget or get more money; or ask for less: a smaller size, fewer --epochs, a lower --survive, cheaper hosts",
        ),
        false => failure,
    }
}

/// Takes what is held out of a budget for all of the time.
const fn take(budget: &mut Option<Budget>, held: Amount) {
    if let Some(budget) = budget
        && !budget.is_monthly
    {
        budget.amount = budget.amount.saturating_sub(held);
    }
}

/// Says how many of the hosts it takes.
fn suffice(k: u8, n: u8) -> String {
    match (k, n) {
        (_, 1) => "the one host gives everything back".to_owned(),
        (1, n) => format!("any 1 of {n} hosts gives everything back"),
        (k, n) => format!("any {k} of {n} hosts give everything back"),
    }
}

/// Says what a backup lacks.
pub(super) fn not_in_it(count: usize) -> String {
    let are = if count == 1 { "is" } else { "are" };
    format!("{} could not be read and {are} not in it", counted(count, "thing"))
}

/// Says what a durability means, and what it takes for granted.
fn durability(durability: &Durability) -> String {
    let survive = probability(durability.survive);
    format!("An object survives an\nepoch with {survive}. {}", durability.assumed())
}

fn show_quote(quote: &Quote, bytes: Bytes, currency: &CurrencyConfig) {
    let money = |amount: Amount| currency.show(amount);
    say(&format!(
        "{bytes} at most are to be stored; what is there already, or twice, costs nothing."
    ));
    say("  host           opening        a GiB kept, written, read");
    for quoted in &quote.hosts {
        let prices = &quoted.prices;
        say(&format!(
            "  {}…  {:>12}  {}, {}, {}  chosen",
            prices.provider.short(),
            money(prices.open),
            money(per_gib(prices.store)),
            money(per_gib(prices.write)),
            money(per_gib(prices.read))
        ));
    }
    for (host, why) in &quote.passed_over {
        say(&format!("  {}…  passed over: {why}", host.short()));
    }
    let (k, n) = (quote.code.k(), quote.code.n());
    say(&format!("Code {k} of {n}: {}. {}", suffice(k, n), durability(&quote.durability)));
    say(&format!(
        "First, to open and write: {}. Then {} for an epoch of {}, which is {} a month.",
        money(quote.once),
        money(quote.per_epoch),
        quote.epoch,
        money(per_month(quote.per_epoch, quote.epoch))
    ));
    say(&format!(
        "A restore of everything: {}. Held for {}, and paid only as it is used: up to {}.",
        money(quote.restore),
        counted(quote.epochs, "epoch"),
        money(quote.held)
    ));
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

/// Adds up what backing `folder` up may come to.
fn measure(folder: &Path, without_caches: bool) -> Result<Bytes, Failure> {
    std::fs::read_dir(folder).map_err(|error| io("back up", folder, &error))?;
    Ok(folders::size(folder, without_caches))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read() {
        let scale = Scale::new(2).unwrap();
        // One line for each: the text; the amount in units, the symbol and whether it is by the month.
        let table = [
            ("5", Some((500, "", false))),
            ("5.25 CLR", Some((525, "CLR", false))),
            ("5 CLR/month", Some((500, "CLR", true))),
            ("5/month", Some((500, "", true))),
            ("5 CLR / month", Some((500, "CLR", true))),
            ("5 CLR/year", None),
            ("CLR", None),
            ("5 CLR more", None),
            ("", None),
        ];
        for (text, expected) in table {
            let read = BudgetText::parse(text)
                .and_then(|budget| Ok((budget.read(scale)?, budget.symbol.unwrap_or_default())))
                .ok()
                .map(|(budget, symbol)| (budget.amount.get(), symbol, budget.is_monthly));
            let expected = expected.map(|(sum, symbol, monthly)| (sum, symbol.to_owned(), monthly));
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn a_budget_by_the_month_grows_with_the_span() {
        let budget = Budget { amount: Amount::new(500), is_monthly: true };
        let days = |days: u64| Duration::from_seconds(days * 86_400);
        assert_eq!(budget.over(days(30)), Amount::new(500));
        assert_eq!(budget.over(days(90)), Amount::new(1500));
        assert_eq!(budget.over(days(3)), Amount::new(50));
        let budget = Budget { is_monthly: false, ..budget };
        assert_eq!(budget.over(days(90)), Amount::new(500));
        assert_eq!(per_month(Amount::new(50), days(3)), Amount::new(500));
    }
}
