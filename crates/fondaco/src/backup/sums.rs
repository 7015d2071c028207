//! Sums that the agent names in units, as people write them.

use crate::failure::Failure;
use crate::home::CurrencyConfig;
use crate::refusals;
use fondaco_agent::AgentError;
use fondaco_lcp::Refusal;
use fondaco_ledger::Refusal as LedgerRefusal;

/// Says in the currency what an error says that has sums in it.
pub(super) fn in_currency(error: AgentError, currency: &CurrencyConfig) -> Failure {
    let money = |amount| currency.show(amount);
    let what = match &error {
        AgentError::OverBudget { wanted, left, idle } => {
            let held = match idle.is_zero() {
                true => String::new(),
                false => format!(
                    "; {} of it are held for contracts that came to nothing, until that expires",
                    money(*idle)
                ),
            };
            format!(
                "it may cost up to {}, and of the budget {} are left{held}",
                money(*wanted),
                money(*left)
            )
        }
        AgentError::Issuer(Refusal::Ledger {
            refusal: LedgerRefusal::InsufficientFunds { available, wanted },
        }) => format!("it may cost up to {}, and you have {}", money(*wanted), money(*available)),
        AgentError::HoldSpent { hold_max, wanted, .. } => format!(
            "the hold pays at most {}, and with what is to be kept to the end it would have to pay {}",
            money(*hold_max),
            money(*wanted)
        ),
        AgentError::PaidForNothing { provider, lost, limit, .. } => format!(
            "provider {} was paid {} for nothing; no more than {} are risked with it",
            provider.short(),
            money(*lost),
            money(*limit)
        ),
        _ => return refusals::told(error, money),
    };
    Failure::from(error).saying(what)
}
