//! What is owed under contracts: as their hosts say, or at least, while they do not.

use fondaco_agent::book::Stage;
use fondaco_agent::{Agent, ContractStatus};
use fondaco_contract::Bill;
use fondaco_crypto::EntityId;
use fondaco_units::Amount;

/// What is owed under one contract.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owing {
    /// For what, if anything is known of that.
    pub(super) bill: Option<Bill>,
    pub(super) amount: Amount,
    /// Whether it may be more: its host does not say.
    pub(super) is_least: bool,
}

impl Owing {
    pub(super) fn of(status: &ContractStatus) -> Self {
        let meter = status.used();
        let bill = meter.and_then(|meter| Bill::of(&status.record.terms.prices, &meter));
        let billed = bill.map_or(Amount::ZERO, |bill| bill.total());
        let paid = status.paid.filter(|_| status.tab.is_none()).unwrap_or_default();
        let is_told =
            status.tab.is_some() || status.settled || status.record.stage == Stage::Intended;
        Self { bill, amount: billed.max(paid), is_least: !is_told }
    }
}

/// What is owed under several contracts.
#[derive(Clone, Debug, Default)]
pub(super) struct OwingInAll {
    pub(super) amount: Amount,
    pub(super) is_least: bool,
    /// The hosts that did not answer.
    pub(super) silent: Vec<EntityId>,
}

impl OwingInAll {
    /// Asks the hosts what was used so far, and adds up what that comes to.
    pub(super) async fn ask(agent: &Agent) -> Self {
        let mut all = Self::default();
        for status in agent.contracts().await {
            all.add(&status, Owing::of(&status));
        }
        all
    }

    pub(super) fn add(&mut self, status: &ContractStatus, owing: Owing) {
        self.amount = self.amount.checked_add(owing.amount).unwrap_or(Amount::MAX);
        self.is_least |= owing.is_least;
        let provider = status.record.terms.prices.provider;
        if status.is_silent() && !self.silent.contains(&provider) {
            self.silent.push(provider);
        }
    }

    /// Returns the hosts that did not answer, as JSON has them.
    pub(super) fn silent_ids(&self) -> Vec<String> {
        self.silent.iter().map(EntityId::to_string).collect()
    }

    /// Names the hosts that did not answer, and says what counts for them; nothing if all did.
    pub(super) fn silent_in_words(&self) -> Option<String> {
        let names: Vec<String> =
            self.silent.iter().map(|host| format!("{}…", host.short())).collect();
        let (first, rest) = names.split_first()?;
        let names = rest.iter().fold(first.clone(), |all, name| format!("{all}, {name}"));
        let (does, it) = if rest.is_empty() { ("does", "it") } else { ("do", "them") };
        Some(format!(
            "{names} {does} not answer now: for {it} counts what was seen last, and what your own book tells."
        ))
    }
}
