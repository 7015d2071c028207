//! Contracts whose holds are used up by reading: renewed by commands that were told what that may cost.

use super::contracts::Renewals;
use super::create::BudgetText;
use crate::failure::{Code, Failure};
use crate::home::{CurrencyConfig, Home};
use crate::screen::say;
use crate::wallet::open as open_wallet;
use fondaco_agent::book::For;
use fondaco_agent::{Agent, AgentError, Objects, Renewal};
use fondaco_units::Amount;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The most that new contracts may cost in each currency, by the word of the owner.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    /// How it was said.
    flag: &'static str,
    /// The sum; nothing if there is no more than what is left.
    budget: Option<BudgetText>,
    /// What is left of it, by issuer.
    left: BTreeMap<String, Amount>,
    /// What else than renewals it is for.
    also: Option<For>,
}

impl Allowance {
    /// Reads what a flag says of something that is `paid for once`, and sees that it is a sum in a currency that is held here:
    /// before anything is done, and not when a hold is used up in the end.
    pub(super) fn of(
        home: &Home,
        flag: &'static str,
        text: &str,
        once: &str,
    ) -> Result<Self, Failure> {
        let budget = BudgetText::parse_of(flag, text)?;
        if budget.is_monthly {
            return Err(Failure::new(format!("{once}, and {flag} is by the month"))
                .code(Code::Usage)
                .hint("write it as \"5 CLR\": the most that all contracts opened now may cost"));
        }
        let wallets = home.wallet()?;
        let is_meant = |known: &&CurrencyConfig| budget.is_in(known);
        let mut wrong = Failure::new(format!("{flag} {text:?} is in no currency of yours"))
            .code(Code::Usage)
            .hint("`fondaco balance` shows those that you have");
        for currency in wallets.currency.iter().filter(is_meant) {
            // A sum that is too fine for one of several may be good for another.
            match budget.read(currency.scale()?) {
                Ok(_) => {
                    let (budget, left) = (Some(budget), BTreeMap::new());
                    return Ok(Self { flag, budget, left, also: None });
                }
                Err(error) => wrong = error,
            }
        }
        Err(wrong)
    }

    /// So much in one currency, and nothing in any other.
    pub(super) fn in_one(
        flag: &'static str,
        currency: &CurrencyConfig,
        amount: Amount,
    ) -> Result<Self, Failure> {
        let issuer = currency.issuer()?.entity().to_string();
        Ok(Self { flag, budget: None, left: BTreeMap::from([(issuer, amount)]), also: None })
    }

    /// Says that it is for more than renewals: what is held in vain for that counts, too.
    pub(super) fn also(self, of: For) -> Self {
        Self { also: Some(of), ..self }
    }

    /// Returns what is left of it for renewals, when what is held in vain for what else it is for is counted.
    pub(super) fn for_renewals(
        &self,
        agent: &Agent,
        currency: &CurrencyConfig,
    ) -> Result<Option<Amount>, Failure> {
        let issuer = currency.issuer()?.entity();
        let idle = self.also.map_or(Amount::ZERO, |of| agent.idle(of, issuer));
        Ok(self.left(currency)?.map(|left| left.saturating_sub(idle)))
    }

    /// Returns what is left of it in a currency; nothing if it is in another one.
    pub(super) fn left(&self, currency: &CurrencyConfig) -> Result<Option<Amount>, Failure> {
        if let Some(left) = self.left.get(&currency.issuer()?.entity().to_string()) {
            return Ok(Some(*left));
        }
        match self.budget.as_ref().filter(|budget| budget.is_in(currency)) {
            None => Ok(None),
            Some(budget) => Ok(Some(budget.read(currency.scale()?)?.amount)),
        }
    }

    /// Takes out what is held now.
    pub(super) fn take(&mut self, currency: &CurrencyConfig, held: Amount) -> Result<(), Failure> {
        if let Some(left) = self.left(currency)? {
            let issuer = currency.issuer()?.entity().to_string();
            self.left.insert(issuer, left.saturating_sub(held));
        }
        Ok(())
    }
}

/// Renews what `objects` found to be used up, and says so. What is in the way of that is told, and in what is returned.
pub(super) async fn renew(
    home: &Home,
    agent: &Agent,
    objects: &Objects,
    allowance: &mut Allowance,
    json: bool,
) -> Result<Renewals, Failure> {
    let wallets = home.wallet()?;
    let used_up = agent.used_up(objects);
    let issuers: BTreeSet<String> =
        used_up.iter().map(|record| record.terms.prices.currency.issuer().to_string()).collect();
    let mut renewals = Renewals::default();
    for issuer in issuers {
        let currency = wallets.find(Some(&issuer))?;
        let done = match renew_in(home, agent, objects, allowance, currency).await {
            Ok(done) => done,
            Err(failure) => {
                tell(&failure, json);
                renewals.failures.push(failure);
                continue;
            }
        };
        for renewal in done {
            // What was tried in vain counts by itself, until it expires.
            allowance.take(currency, renewal.opened())?;
            renewals.add(renewal, currency, json)?;
        }
    }
    Ok(renewals)
}

/// What came of renewing for who goes on by itself.
#[derive(Debug, Default)]
pub(crate) struct Renewing {
    /// The most that is held for what was renewed.
    pub(crate) held: Amount,
    /// Whether anything was renewed.
    pub(crate) any: bool,
    /// What was in the way of the rest; the first of it.
    pub(crate) failure: Option<Failure>,
}

/// Renews what `objects` found to be used up and is paid in one currency, for `left` in all at most, and says so.
pub(crate) async fn renew_within(
    home: &Home,
    agent: &Agent,
    objects: &Objects,
    (currency, left): (&CurrencyConfig, Amount),
    json: bool,
) -> Result<Renewing, Failure> {
    let wallet = open_wallet(home, currency).await?;
    let (mut renewals, mut held) = (Renewals::default(), Amount::ZERO);
    for renewal in agent.renew_used_up(&wallet, objects, left).await? {
        // What was tried in vain counts by itself, until it expires.
        held = held.checked_add(renewal.opened()).unwrap_or(Amount::MAX);
        renewals.add(renewal, currency, json)?;
    }
    let any = !renewals.renewed.is_empty();
    Ok(Renewing { held, any, failure: renewals.failures.into_iter().next() })
}

async fn renew_in(
    home: &Home,
    agent: &Agent,
    objects: &Objects,
    allowance: &Allowance,
    currency: &CurrencyConfig,
) -> Result<Vec<Renewal>, Failure> {
    let Some(left) = allowance.for_renewals(agent, currency)? else {
        let (flag, symbol) = (allowance.flag, &currency.symbol);
        return Err(Failure::new(format!(
            "holds in {symbol} are used up, and {flag} is in another currency"
        ))
        .code(Code::Funds)
        .hint(format!("say what may be held in {symbol}, or run `fondaco contracts renew`")));
    };
    let wallet = open_wallet(home, currency).await?;
    Ok(agent.renew_used_up(&wallet, objects, left).await?)
}

/// Says why reading does not go on: something was in the way of renewing, for which `flag` names a sum.
pub(super) fn not_renewed(error: AgentError, failures: Vec<Failure>, flag: &str) -> Failure {
    let code = Code::gravest(failures.iter().map(Failure::ends_with));
    match failures.into_iter().find(|failure| failure.ends_with() == code) {
        None => error.into(),
        Some(why) => {
            let what = format!("{error}; it was not renewed: {}", why.what());
            let is_short = why.ends_with() == Code::Funds;
            let why = why.saying(what);
            let hint = format!("let {flag} name a larger sum, or run `fondaco contracts renew`");
            if is_short { why.hint(hint) } else { why }
        }
    }
}

/// Says why nothing paid in a currency could be renewed.
fn tell(failure: &Failure, json: bool) {
    if json {
        let line = json!({
            "event": "not_renewed", "why": failure.what(), "hint": failure.what_to_do(),
            "code": failure.ends_with() as u8,
        });
        say(&line.to_string());
    } else {
        say(&format!("not renewed: {}", failure.what()));
    }
}
