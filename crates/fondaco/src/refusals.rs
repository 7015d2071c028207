//! What an issuer refuses, with its sums in the currency. What can be done about it stands with the error, or with who asked.

use crate::failure::Failure;
use fondaco_agent::AgentError;
use fondaco_lcp::Refusal;
use fondaco_ledger::Refusal as LedgerRefusal;
use fondaco_units::Amount;

/// Says what went wrong; of a refusal, with sums as `money` writes them.
pub(crate) fn told(error: AgentError, money: impl Fn(Amount) -> String) -> Failure {
    let AgentError::Issuer(refusal) = &error else { return error.into() };
    let what = format!("the issuer refused: {}", words(refusal, money));
    Failure::from(error).saying(what)
}

/// Says why, with sums as `money` writes them.
pub(crate) fn words(refusal: &Refusal, money: impl Fn(Amount) -> String) -> String {
    match refusal {
        Refusal::FeeOverMax { fee, fee_max } => {
            format!("the fee is {}, over the {} agreed to", money(*fee), money(*fee_max))
        }
        Refusal::Ledger { refusal } => words_of_ledger(refusal, money),
        other => other.to_string(),
    }
}

fn words_of_ledger(refusal: &LedgerRefusal, money: impl Fn(Amount) -> String) -> String {
    match refusal {
        LedgerRefusal::WordOverflow { base, unit, index } => {
            let (base, unit) = (money(*base), money(*unit));
            format!("{base} and {index} times {unit} are more than can be counted")
        }
        LedgerRefusal::OverHold { hold, cumulative, amount_max } => {
            format!("{} are asked for; {hold} holds {}", money(*cumulative), money(*amount_max))
        }
        LedgerRefusal::NotEmpty { available, forfeit_max } => {
            let (available, forfeit_max) = (money(*available), money(*forfeit_max));
            format!("{available} are left, and at most {forfeit_max} are given up")
        }
        LedgerRefusal::UnderReserve { payee, reserve } => {
            format!("{payee} has no account; {} at least make one", money(*reserve))
        }
        LedgerRefusal::InsufficientFunds { available, wanted } => {
            let (available, wanted) = (money(*available), money(*wanted));
            format!("{wanted} are wanted, fee included; {available} are available")
        }
        LedgerRefusal::SupplyOverflow { supply, wanted } => {
            format!("{} cannot be added to a supply of {}", money(*wanted), money(*supply))
        }
        LedgerRefusal::OverLimit { payee, balance_max } => {
            format!("{payee} wants to have at most {}", money(*balance_max))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_crypto::{CurrencyId, SecretKey};
    use fondaco_ledger::HoldId;

    /// Sums that the refusals themselves say in units.
    #[test]
    fn sums_are_in_the_currency() {
        let payee = SecretKey::from_bytes(&[1; 32]).entity();
        let hold = HoldId::derive(CurrencyId::issued_by(payee), payee, 1);
        let [three, seven] = [3, 7].map(Amount::new);
        for (refusal, sums) in [
            (LedgerRefusal::WordOverflow { base: three, unit: seven, index: 2 }, 2),
            (LedgerRefusal::OverHold { hold, cumulative: seven, amount_max: three }, 2),
            (LedgerRefusal::NotEmpty { available: seven, forfeit_max: three }, 2),
            (LedgerRefusal::UnderReserve { payee, reserve: seven }, 1),
            (LedgerRefusal::InsufficientFunds { available: three, wanted: seven }, 2),
            (LedgerRefusal::SupplyOverflow { supply: three, wanted: seven }, 2),
            (LedgerRefusal::OverLimit { payee, balance_max: three }, 1),
        ]
        .map(|(refusal, sums)| (Refusal::Ledger { refusal }, sums))
        .into_iter()
        .chain([(Refusal::FeeOverMax { fee: seven, fee_max: three }, 2)])
        {
            assert!(refusal.to_string().contains("units"), "{refusal}");
            let words = words(&refusal, |amount| format!("0.0{} CLR", amount.get()));
            assert!(!words.contains("units"), "{words}");
            assert_eq!(words.matches(" CLR").count(), sums, "{words}");
        }
    }
}
