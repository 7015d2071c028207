//! `fondaco wallet forget`: accept a currency no more, also one whose issuer is gone.

use super::open_to_look;
use crate::failure::{Code, Failure};
use crate::home::{CurrencyConfig, Home};
use crate::screen::{counted, say};
use fondaco_agent::{AgentError, Balance, Wallet};
use fondaco_lcp::Refusal;
use fondaco_units::Amount;
use serde_json::json;

/// Takes a currency off the list. What is there is left there; it is said first, unless `yes`.
pub(super) async fn forget(home: &Home, name: &str, yes: bool, json: bool) -> Result<(), Failure> {
    let currency = home.wallet()?.find(Some(name))?.clone();
    let wallet = open_to_look(home, &currency).await?;
    let unanswered = wallet.pending();
    if !yes {
        in_the_way(&wallet, unanswered, &currency).await?;
    }
    let issuer = currency.issuer()?;
    // As it is now: another command may have added one meanwhile.
    let mut config = home.wallet()?;
    config.currency.retain(|known| known.issuer != currency.issuer);
    home.save_wallet(&config)?;
    if json {
        let line = json!({
            "forgotten": currency.symbol, "issuer": issuer.entity().to_string(), "unanswered": unanswered,
        });
        say(&line.to_string());
        return Ok(());
    }
    say(&format!("You accept {} of {} no more.", currency.symbol, issuer.entity()));
    if unanswered > 0 {
        say(&format!(
            "{} without an answer stay in the wallet's journal, and are sent again by what you next pay once you add it again.",
            counted(unanswered, "command")
        ));
    }
    Ok(())
}

/// Fails where something would be left there, or where that is not known.
async fn in_the_way(
    wallet: &Wallet,
    unanswered: usize,
    currency: &CurrencyConfig,
) -> Result<(), Failure> {
    let yes = |failure: Failure, what: &str| {
        failure.hint(format!("{what}; or say --yes, which leaves all of that there"))
    };
    if unanswered > 0 {
        let what = format!("{} there without an answer yet", counted(unanswered, "command"));
        return Err(yes(Failure::new(what), "`fondaco wallet show` tells which"));
    }
    match wallet.balance().await {
        Ok(Balance { available: Amount::ZERO, held: Amount::ZERO, deposits_waiting: 0 })
        // The account is another key's, and nothing is left there.
        | Err(AgentError::Issuer(Refusal::Rotated { .. })) => Ok(()),
        Ok(Balance { available, held, deposits_waiting }) => {
            let (available, held) = (currency.show(available), currency.show(held));
            let notices = usize::try_from(deposits_waiting).unwrap_or(usize::MAX);
            let what = format!(
                "you have {available} there, {held} are held, and {} not looked at",
                counted(notices, "deposit")
            );
            let failure = Failure::new(what).code(Code::Funds);
            Err(yes(failure, "look at the deposits, pay the rest away, or `fondaco wallet close` the account"))
        }
        Err(error) => {
            let failure = Failure::from(error);
            let code = failure.ends_with();
            let what = format!("what you have there is not known: {}", failure.what());
            Err(yes(Failure::new(what).code(code), "ask again later"))
        }
    }
}
