//! `fondaco contracts`: what hosts are owed.

use super::create::BudgetText;
use super::itemised::{quantity, shares};
use super::owing::Owing;
use super::sums::in_currency;
use super::{bill, open};
use crate::cli::ContractsCommand;
use crate::failure::{Code, Failure};
use crate::home::{CurrencyConfig, Home, WalletConfig};
use crate::screen::{counted, say};
use crate::wallet::{client, resume, tell_torn};
use fondaco_agent::book::{Book, ContractRecord, Stage};
use fondaco_agent::{Agent, AgentError, ContractStatus, Renewal, Wallet};
use fondaco_contract::{ContractId, exposure_max};
use fondaco_units::Amount;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long an issuer may take to say what was paid.
const ISSUER_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn contracts(
    home: &Home,
    command: ContractsCommand,
    json: bool,
) -> Result<(), Failure> {
    let (ContractsCommand::List { seek }
    | ContractsCommand::Renew { seek, .. }
    | ContractsCommand::End { seek, .. }) = &command;
    let agent = open(home, seek, json).await?;
    let wallet = home.wallet()?;
    match command {
        ContractsCommand::List { .. } => {
            learn_what_was_paid(home, &agent).await;
            for status in agent.contracts().await {
                list_contract(&wallet, &status, json)?;
            }
            Ok(())
        }
        ContractsCommand::Renew { within, epochs, budget, currency, .. } => {
            let currency = wallet.find(currency.as_deref())?;
            let budget =
                budget.as_deref().map(|text| budget_of(text, RENEWED, currency)).transpose()?;
            let within = within.unwrap_or(f64::INFINITY);
            if !agent.any_ends_within(within) && agent.caught_within(within).is_empty() {
                return Err(Failure::new("there are no contracts to be renewed")
                    .code(Code::NotFound)
                    .hint("see `fondaco contracts list` for when they end"));
            }
            agent.check_newest(&agent.objects()).await?;
            let mut renewed = renew(home, &agent, currency, within, epochs, budget, json).await?;
            if !renewed.renewed.is_empty() {
                super::state::keep(home, &agent, &Arc::new(agent.objects()), json).await;
            }
            renewed.add_caught(&agent, currency, within, json)?;
            renewed.end(currency)
        }
        ContractsCommand::End { yes, .. } => {
            if !yes {
                return Err(Failure::new("ending the contracts loses what is stored under them")
                    .code(Code::Usage)
                    .hint("restore it first, then say --yes"));
            }
            let mut failed = None;
            for (contract, result) in agent.end_contracts().await {
                match result {
                    Ok(paid) if json => {
                        let paid = paid.map(|paid| plain(&agent, &wallet, contract, paid));
                        let line = json!({ "event": "ended", "contract": contract.to_string(), "paid": paid });
                        say(&line.to_string());
                    }
                    Ok(Some(paid)) => {
                        let paid = money(&agent, &wallet, contract, paid);
                        say(&format!("{contract:.20}…  ended, {paid} paid"));
                    }
                    Ok(None) => say(&format!("{contract:.20}…  was over, as its host says")),
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), |error| Err(error.into()))
        }
    }
}

/// Asks the issuers what contracts that are over have paid, where that is not known yet. Who cannot be reached is asked the next
/// time.
async fn learn_what_was_paid(home: &Home, agent: &Agent) {
    let issuers: BTreeSet<String> = agent.book().read(|book| {
        let unsettled = |record: &ContractRecord| match record.stage {
            Stage::Ended(end) => !end.settled,
            Stage::Intended | Stage::Open => false,
        };
        let of = book.contracts().filter(|(_, record)| unsettled(record));
        of.map(|(_, record)| record.terms.prices.currency.issuer().to_string()).collect()
    });
    for issuer in issuers {
        let asked = async {
            let wallets = home.wallet()?;
            let currency = wallets.find(Some(&issuer))?;
            let client = client(&home.key()?, currency.issuer()?).await?;
            let wallet = Wallet::open(&home.folder("agent")?, client)?;
            tell_torn(&wallet);
            Ok::<usize, Failure>(agent.ask_holds(&wallet).await?)
        };
        match tokio::time::timeout(ISSUER_PATIENCE, asked).await {
            Ok(Ok(learnt)) => tracing::debug!(learnt, "the issuer said what was paid"),
            Ok(Err(error)) => tracing::info!(%error, "the issuer does not say what was paid"),
            Err(_) => tracing::info!("the issuer does not say in time what was paid"),
        }
    }
}

/// What the budget of a renewal is for.
const RENEWED: &str = "a renewal is for once";

/// Reads what new contracts may cost in all, which are for `once`.
pub(crate) fn budget_of(
    text: &str,
    once: &str,
    currency: &CurrencyConfig,
) -> Result<Amount, Failure> {
    let budget = BudgetText::parse(text)?;
    if budget.is_monthly {
        return Err(Failure::new(format!("{once}, and --budget is by the month"))
            .code(Code::Usage)
            .hint("write it as \"5 CLR\": the most that the new contracts may cost in all"));
    }
    if !budget.is_in(currency) {
        return Err(Failure::new(format!(
            "--budget {text} is not in {}, in which the contracts are paid",
            currency.symbol
        ))
        .code(Code::Usage)
        .hint("say both in one currency"));
    }
    Ok(budget.read(currency.scale()?)?.amount)
}

/// The currency of a contract, unless it was removed from here.
fn currency_of<'a>(
    agent: &Agent,
    wallet: &'a WalletConfig,
    contract: ContractId,
) -> Option<&'a CurrencyConfig> {
    let of = |book: &Book| Some(book.contract(contract)?.terms.prices.currency.issuer());
    let issuer = agent.book().read(of)?.to_string();
    wallet.find(Some(&issuer)).ok()
}

/// Shows what was paid under a contract in its currency.
fn money(agent: &Agent, wallet: &WalletConfig, contract: ContractId, paid: Amount) -> String {
    match currency_of(agent, wallet, contract) {
        Some(currency) => currency.show(paid),
        None => format!("{} units", paid.get()),
    }
}

/// The same without the symbol, as sums are in JSON; nothing of a currency of which it is not known how it is written.
fn plain(
    agent: &Agent,
    wallet: &WalletConfig,
    contract: ContractId,
    paid: Amount,
) -> Option<String> {
    let scale = currency_of(agent, wallet, contract)?.scale().ok()?;
    Some(scale.show(paid).to_string())
}

/// What renewing came to.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    /// The most that the new contracts may cost.
    pub(super) held: Amount,
    /// The contracts that others follow on, each with that other.
    pub(super) renewed: Vec<(ContractId, ContractId)>,
    /// Why nothing follows on the rest.
    pub(super) failures: Vec<Failure>,
}

impl Renewals {
    /// Takes in what came of one, and says it.
    pub(super) fn add(
        &mut self,
        renewal: Renewal,
        currency: &CurrencyConfig,
        json: bool,
    ) -> Result<(), Failure> {
        let Renewal { from, provider, held, outcome } = renewal;
        let provider = provider.short();
        match outcome {
            Ok(renewed) => {
                self.renewed.push((from, renewed.to));
                self.held = self.held.checked_add(renewed.held).unwrap_or(Amount::MAX);
                if json {
                    let line = json!({
                        "event": "renewed", "contract": from.to_string(), "provider": provider,
                        "by": renewed.to.to_string(), "ends": renewed.ends.to_string(),
                        "held": currency.scale()?.show(renewed.held).to_string(),
                    });
                    say(&line.to_string());
                } else {
                    say(&format!(
                        "{provider}…  renewed until {}; it may cost up to {}, which is now held",
                        renewed.ends,
                        currency.show(renewed.held)
                    ));
                }
            }
            Err(error) => {
                let is_refused = matches!(
                    &error,
                    AgentError::Provider { reason, .. } if !reason.is_transient()
                );
                let failure = in_currency(error, currency);
                let why = failure.what();
                if json {
                    let line = json!({
                        "event": "not_renewed", "contract": from.to_string(), "provider": provider,
                        "why": why, "hint": failure.what_to_do(), "code": failure.ends_with() as u8,
                        "held": currency.scale()?.show(held).to_string(),
                    });
                    say(&line.to_string());
                } else {
                    say(&format!("{provider}…  not renewed: {why}"));
                    if !held.is_zero() {
                        let held = currency.show(held);
                        say(&match is_refused {
                            true => format!("  {held} is held for it until that expires."),
                            false => format!("  It may have signed all the same: {held} is held."),
                        });
                    }
                }
                self.failures.push(failure);
            }
        }
        Ok(())
    }

    /// Takes in the contracts with hosts that were caught, which nothing is renewed with.
    fn add_caught(
        &mut self,
        agent: &Agent,
        currency: &CurrencyConfig,
        within: f64,
        json: bool,
    ) -> Result<(), Failure> {
        let issuer = currency.issuer()?.entity();
        for record in agent.caught_within(within) {
            let prices = &record.terms.prices;
            let (from, provider) = (record.terms.id(), prices.provider);
            if prices.currency.issuer() != issuer {
                continue;
            }
            let what = "nothing is renewed with it".to_owned();
            let outcome = Err(AgentError::Caught { provider, what });
            let held = Amount::ZERO;
            self.add(Renewal { from, provider, held, outcome }, currency, json)?;
        }
        Ok(())
    }

    /// Ends the command: all that was asked for was done, or not.
    fn end(self, currency: &CurrencyConfig) -> Result<(), Failure> {
        let (missing, all) = (self.failures.len(), self.renewed.len() + self.failures.len());
        let code = Code::gravest(self.failures.iter().map(Failure::ends_with));
        match self.failures.into_iter().find(|failure| failure.ends_with() == code) {
            None if all > 0 => Ok(()),
            None => {
                let what = format!("there are no contracts in {} to be renewed", currency.symbol);
                Err(Failure::new(what).code(Code::NotFound).hint(
                    "see `fondaco contracts list` for when they end, and what they are paid in",
                ))
            }
            Some(gravest) => {
                let what = gravest.what().to_owned();
                let were = if missing == 1 { "was" } else { "were" };
                let all = counted(all, "contract");
                Err(gravest.saying(format!("{missing} of {all} {were} not renewed: {what}")))
            }
        }
    }
}

/// Renews the contracts that end soon, and says how that went.
pub(super) async fn renew(
    home: &Home,
    agent: &Agent,
    currency: &CurrencyConfig,
    within: f64,
    epochs: u32,
    budget: Option<Amount>,
    json: bool,
) -> Result<Renewals, Failure> {
    let mut renewals = Renewals::default();
    if !agent.any_ends_within(within) {
        return Ok(renewals);
    }
    let client = client(&home.key()?, currency.issuer()?).await?;
    let wallet = Wallet::open(&home.folder("agent")?, client)?;
    resume(&wallet, currency).await?;
    for renewal in agent.renew(&wallet, within, epochs, budget).await? {
        renewals.add(renewal, currency, json)?;
    }
    Ok(renewals)
}

fn list_contract(
    wallet: &WalletConfig,
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
        Stage::Ended(_) => "ended",
    };
    let is_over = matches!(status.record.stage, Stage::Ended(_));
    let (deleted, freed) = status.deleted;
    let bill = bill(status);
    let state = status
        .state
        .map_or_else(|| "ended: how, its host did not say".to_owned(), |state| state.to_string());
    if json {
        let money = |amount: Option<Amount>| {
            amount.map_or(Value::Null, |amount| Value::from(scale.show(amount).to_string()))
        };
        let (meter, owing) = (status.used().unwrap_or_default(), Owing::of(status));
        let line = json!({
            "event": "contract", "contract": status.contract.to_string(),
            "provider": terms.prices.provider.to_string(), "address": status.record.address.to_string(), "stage": stage, "currency": currency.symbol,
            "written": meter.written, "read": meter.read,
            "byte_epochs": u64::try_from(meter.byte_epochs).unwrap_or(u64::MAX),
            "owed": scale.show(owing.amount).to_string(), "owed_is_least": owing.is_least,
            "silent": status.is_silent(), "paid": money(status.paid),
            "hold_max": scale.show(status.record.hold_max).to_string(),
            "step": scale.show(exposure_max(&terms.prices)).to_string(),
            "state": state, "settled": status.settled, "ends": terms.ends.to_string(),
            "renews": terms.renews.map(|renewed| renewed.to_string()),
            "deleted": deleted, "freed": freed.get(),
        });
        say(&line.to_string());
        return Ok(());
    }
    say(&format!(
        "{}…  {}, {} to {}, ends {}",
        terms.prices.provider.short(),
        state,
        terms.size_max,
        status.record.address,
        terms.ends
    ));
    match (bill, status.paid) {
        (Some(bill), Some(paid)) => {
            for (line, share) in shares(&bill) {
                let (item, share) = (line.item.to_string(), currency.show(share));
                say(&format!("    {item:<8} {:>20}  {share:>20}", quantity(&line)));
            }
            say(&format!(
                "    owed {}, {} {}",
                currency.show(bill.total()),
                if status.settled { "paid" } else { "authorised" },
                currency.show(paid)
            ));
        }
        (None, Some(paid)) => say(&format!(
            "    paid {}, as the issuer says; its host says no more what was used",
            currency.show(paid)
        )),
        (_, None) => {
            let why = match is_over {
                true => "its host says no more what was used",
                false => "its host cannot be reached now",
            };
            let owing = Owing::of(status);
            match owing.amount {
                Amount::ZERO => say(&format!("    {why}")),
                least => say(&format!("    owed at least {}; {why}", currency.show(least))),
            }
        }
    }
    if deleted > 0 {
        let shards = if deleted == 1 { "shard" } else { "shards" };
        say(&format!("    deleted  {deleted:>24} {shards}, {freed}; its host signed for each"));
    }
    Ok(())
}
