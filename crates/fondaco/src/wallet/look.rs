//! `fondaco wallet show`: what an issuer says of its currency, and what is without an answer there.

use super::{described, open_to_look, summary};
use crate::failure::Failure;
use crate::home::Home;
use crate::screen::say;
use fondaco_agent::Description;
use fondaco_lcp::Currency;
use serde_json::json;

/// Shows one currency: its supply, what it costs, and the head of its journal, under its issuer's signature.
pub(super) async fn show(home: &Home, currency: Option<&str>, json: bool) -> Result<(), Failure> {
    let config = home.wallet()?;
    let known = config.find(currency)?;
    let wallet = open_to_look(home, known).await?;
    let Description { currency, supply, accounts, head, .. } = described(&wallet, known).await?;
    let unanswered: Vec<String> =
        wallet.unanswered().iter().map(|request| summary(request, known)).collect();
    let Currency { scale, transfer_fee, full_handshake_fee, account_reserve, .. } = &currency;
    let issuer = known.issuer()?;
    let head = head.head;
    if json {
        let line = json!({
            "currency": known.symbol, "name": known.name, "issuer": issuer.entity().to_string(),
            "address": issuer.to_string(), "scale": scale.decimals(), "trust": known.trust,
            "supply": scale.show(supply).to_string(), "accounts": accounts,
            "transfer_fee": scale.show(*transfer_fee).to_string(),
            "full_handshake_fee": scale.show(*full_handshake_fee).to_string(),
            "account_reserve": scale.show(*account_reserve).to_string(),
            "records": head.records, "head": head.chain.to_string(), "at": head.at.to_string(),
            "unanswered": unanswered,
        });
        say(&line.to_string());
        return Ok(());
    }
    let money = |amount| known.show(amount);
    say(&format!("{} ({}), issued by {}", known.name, known.symbol, issuer.entity()));
    say(&format!("   reached at  {issuer}"));
    say(&format!("   supply      {} in accounts: {accounts}", money(supply)));
    say(&format!("   a transfer  costs {}", money(*transfer_fee)));
    say(&format!(
        "   handshake   costs {}, over the protocol of 2003, where no session is resumed",
        money(*full_handshake_fee)
    ));
    say(&format!(
        "   an account  is made by a first payment of {} at least",
        money(*account_reserve)
    ));
    let trust = known.trust.as_ref().map(|trust| format!("{trust} {}", known.symbol));
    say(&format!("   you accept  {}", trust.as_deref().unwrap_or("any amount")));
    say(&format!(
        "   its books   {} records at {}, chain {}, signed by it",
        head.records, head.at, head.chain
    ));
    for what in &unanswered {
        say(&format!("   unanswered  {what}"));
    }
    Ok(())
}
