//! `fondaco backup cost`: what keeping everything is paid for, host by host, and what is held for it.

use super::itemised::{quantity, shares};
use super::owing::{Owing, OwingInAll};
use super::{open, per_month};
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
#[derive(Clone, Debug, Default)]
struct Sums {
    stored: u64,
    per_month: Amount,
    owed: OwingInAll,
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
        let (_, sums) = sums.entry(issuer).or_insert_with(|| (currency.clone(), Sums::default()));
        show_contract(&currency, &status, sums, json)?;
    }
    if sums.is_empty() && !json {
        say("Nothing is kept for you, and nothing is paid.");
    }
    for (currency, sums) in sums.values() {
        let Sums { stored, per_month, owed, held } = sums;
        let (stored, per_month, held) = (*stored, *per_month, *held);
        if json {
            let scale = currency.scale()?;
            let line = json!({
                "event": "cost", "currency": currency.symbol, "stored": stored,
                "per_month": scale.show(per_month).to_string(), "owed": scale.show(owed.amount).to_string(),
                "owed_is_least": owed.is_least, "held": scale.show(held).to_string(), "silent": owed.silent_ids(),
            });
            say(&line.to_string());
        } else {
            let (least, most) = if owed.is_least { ("at least ", "at most ") } else { ("", "") };
            say(&format!(
                "In all: {} of shards, {} a month. Owed so far {least}{}; {most}{} more are held for what is to come.",
                Bytes::new(stored),
                currency.show(per_month),
                currency.show(owed.amount),
                currency.show(held)
            ));
            if let Some(silent) = owed.silent_in_words() {
                say(&silent);
            }
        }
    }
    Ok(())
}

fn show_contract(
    currency: &CurrencyConfig,
    status: &ContractStatus,
    sums: &mut Sums,
    json: bool,
) -> Result<(), Failure> {
    let terms = &status.record.terms;
    let prices = &terms.prices;
    let stored = status.stored();
    let meter = Meter { byte_epochs: u128::from(stored.get()), ..Meter::default() };
    let per_epoch = Bill::of(prices, &meter).map_or(Amount::MAX, |bill| bill.total());
    let monthly = per_month(per_epoch, prices.epoch);
    let owing = Owing::of(status);
    let Owing { bill, amount: owed, is_least } = owing;
    let held = status.record.hold_max.saturating_sub(owed);
    sums.stored = sums.stored.saturating_add(stored.get());
    add(&mut sums.per_month, monthly);
    sums.owed.add(status, owing);
    add(&mut sums.held, held);
    if json {
        let scale = currency.scale()?;
        let money = |amount: Amount| scale.show(amount).to_string();
        let lines: BTreeMap<String, String> = bill
            .iter()
            .flat_map(shares)
            .map(|(line, share)| (line.item.to_string(), money(share)))
            .collect();
        let line = json!({
            "event": "contract-cost", "contract": status.contract.to_string(),
            "provider": prices.provider.to_string(), "currency": currency.symbol, "stored": stored.get(),
            "answers": status.tab.is_some(), "per_epoch": money(per_epoch), "per_month": money(monthly),
            "epoch_seconds": prices.epoch.milliseconds() / 1000, "owed": money(owed), "owed_is_least": is_least, "items": lines,
            "held": money(held), "ends": terms.ends.to_string(),
        });
        say(&line.to_string());
        return Ok(());
    }
    let (away, least) = match is_least {
        true => (" (does not answer now)", "at least"),
        false => ("", ""),
    };
    say(&format!(
        "{}…  keeps {stored}: {} an epoch of {}, {} a month; ends {}{away}",
        prices.provider.short(),
        currency.show(per_epoch),
        prices.epoch,
        currency.show(monthly),
        terms.ends
    ));
    for (line, share) in bill.iter().flat_map(shares).filter(|(line, _)| line.quantity > 0) {
        let share = currency.show(share);
        say(&format!("    {:<8} {:>20}  {share:>20}", line.item.to_string(), quantity(&line)));
    }
    say(&format!("    {:<8} {:>20}  {:>20}", "owed", least, currency.show(owed)));
    say(&format!("    {:<8} {:>20}  {:>20}", "held", "still", currency.show(held)));
    Ok(())
}
