//! `fondaco backup cost`: what keeping everything is paid for, host by host, and what is held for it.

use super::{bill, open, per_month};
use crate::cli::SeekArgs;
use crate::failure::Failure;
use crate::home::{CurrencyConfig, Home};
use crate::screen::say;
use fondaco_agent::ContractStatus;
use fondaco_agent::book::Stage;
use fondaco_contract::{Bill, Meter};
use fondaco_units::{Amount, Bytes};
use serde_json::json;
use std::collections::BTreeMap;

/// What the open contracts in one currency come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    stored: u64,
    per_month: Amount,
    owed: Amount,
    held: Amount,
}

fn add(sum: &mut Amount, more: Amount) {
    *sum = sum.checked_add(more).unwrap_or(Amount::MAX);
}

pub(super) async fn cost(home: &Home, args: SeekArgs, json: bool) -> Result<(), Failure> {
    let agent = open(home, &args, json).await?;
    let wallet = home.wallet()?;
    let mut sums: BTreeMap<String, (CurrencyConfig, Sums)> = BTreeMap::new();
    for status in agent.contracts().await {
        if status.record.stage != Stage::Open {
            continue;
        }
        let issuer = status.record.terms.prices.currency.issuer().to_string();
        let currency = wallet.find(Some(&issuer))?.clone();
        let given = agent.book().read(|book| book.given(status.contract));
        let (_, sums) = sums.entry(issuer).or_insert_with(|| (currency.clone(), Sums::default()));
        show_contract(&currency, &status, given, sums, json)?;
    }
    if sums.is_empty() && !json {
        say("Nothing is kept for you, and nothing is paid.");
    }
    for (currency, sums) in sums.values() {
        let Sums { stored, per_month, owed, held } = *sums;
        if json {
            let scale = currency.scale()?;
            let line = json!({
                "event": "cost", "currency": currency.symbol, "stored": stored,
                "per_month": scale.show(per_month).to_string(), "owed": scale.show(owed).to_string(),
                "held": scale.show(held).to_string(),
            });
            say(&line.to_string());
        } else {
            say(&format!(
                "In all: {} of shards, {} a month. Owed so far {}; {} more are held for what is to come.",
                Bytes::new(stored),
                currency.show(per_month),
                currency.show(owed),
                currency.show(held)
            ));
        }
    }
    Ok(())
}

fn show_contract(
    currency: &CurrencyConfig,
    status: &ContractStatus,
    given: Bytes,
    sums: &mut Sums,
    json: bool,
) -> Result<(), Failure> {
    let terms = &status.record.terms;
    let prices = &terms.prices;
    // Of a host that does not answer, we know what it was given.
    let stored = status.tab.map_or(given, |tab| tab.stored);
    let meter = Meter { byte_epochs: u128::from(stored.get()), ..Meter::default() };
    let per_epoch = Bill::of(prices, &meter).map_or(Amount::MAX, |bill| bill.total());
    let monthly = per_month(per_epoch, prices.epoch);
    let bill = bill(status);
    let owed = bill.map(|bill| bill.total());
    let held = status.record.hold_max.saturating_sub(owed.unwrap_or(Amount::ZERO));
    sums.stored = sums.stored.saturating_add(stored.get());
    add(&mut sums.per_month, monthly);
    add(&mut sums.owed, owed.unwrap_or(Amount::ZERO));
    add(&mut sums.held, held);
    if json {
        let scale = currency.scale()?;
        let money = |amount: Amount| scale.show(amount).to_string();
        let lines: BTreeMap<String, String> = bill
            .iter()
            .flat_map(|bill| bill.lines())
            .map(|line| {
                let cost = line.cost.ceil().unwrap_or(Amount::MAX);
                (line.item.to_string(), money(cost))
            })
            .collect();
        let line = json!({
            "event": "contract-cost", "contract": status.contract.to_string(),
            "provider": prices.provider.to_string(), "currency": currency.symbol, "stored": stored.get(),
            "answers": status.tab.is_some(), "per_epoch": money(per_epoch), "per_month": money(monthly),
            "epoch_seconds": prices.epoch.milliseconds() / 1000, "owed": owed.map(money), "items": lines,
            "held": money(held), "ends": terms.ends.to_string(),
        });
        say(&line.to_string());
        return Ok(());
    }
    let away = if status.tab.is_some() { "" } else { " (does not answer now)" };
    say(&format!(
        "{}…  keeps {stored}: {} an epoch of {}, {} a month; ends {}{away}",
        prices.provider.short(),
        currency.show(per_epoch),
        prices.epoch,
        currency.show(monthly),
        terms.ends
    ));
    for line in bill.iter().flat_map(|bill| bill.lines()).filter(|line| line.quantity > 0) {
        let cost = currency.show(line.cost.ceil().unwrap_or(Amount::MAX));
        say(&format!("    {:<8} {:>24}  {cost:>20}", line.item.to_string(), line.quantity));
    }
    say(&format!("    still held {}", currency.show(held)));
    Ok(())
}
