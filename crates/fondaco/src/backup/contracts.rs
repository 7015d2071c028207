//! `fondaco audit` and `contracts`: what hosts prove, and what they are owed.

use super::{bill, open};
use crate::cli::{AuditArgs, ContractsCommand};
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::screen::say;
use crate::wallet::random;
use fondaco_agent::ContractStatus;
use fondaco_agent::auditing::{Outcome, audit as audit_objects};
use fondaco_agent::book::Stage;
use fondaco_units::Amount;
use serde_json::{Value, json};

pub(crate) async fn audit(home: &Home, args: AuditArgs, json: bool) -> Result<(), Failure> {
    let agent = open(home).await?;
    let objects = agent.objects();
    if objects.sessions().is_empty() {
        return Err(Failure::new("there are no open contracts to audit").code(Code::NotFound));
    }
    let audited = audit_objects(&objects, args.samples, random()?).await?;
    let mut caught = 0;
    for each in audited {
        let (outcome, detail) = match each.outcome {
            Outcome::Proven { samples } => ("proven", format!("{samples} places")),
            Outcome::Caught { what } => {
                caught += 1;
                ("caught", what)
            }
            Outcome::Unasked { what } => ("unasked", what),
            Outcome::Silent { what } => ("silent", what),
        };
        let provider = each.provider.short();
        if json {
            let line = json!({ "event": "audit", "provider": provider, "outcome": outcome, "detail": detail });
            say(&line.to_string());
        } else {
            say(&format!("{provider}…  {outcome:<7}  {detail}"));
        }
    }
    match caught {
        0 => Ok(()),
        _ => {
            Err(Failure::new(format!("{caught} hosts were caught; they are not dealt with again"))
                .code(Code::Verification)
                .hint("run `fondaco backup repair --now`: others take over what they kept"))
        }
    }
}

pub(crate) async fn contracts(
    home: &Home,
    command: ContractsCommand,
    json: bool,
) -> Result<(), Failure> {
    let agent = open(home).await?;
    let wallet = home.wallet()?;
    match command {
        ContractsCommand::List => {
            for status in agent.contracts().await {
                list_contract(&wallet, &status, json)?;
            }
            Ok(())
        }
        ContractsCommand::End { yes } => {
            if !yes {
                return Err(Failure::new("ending the contracts loses what is stored under them")
                    .code(Code::Usage)
                    .hint("restore it first, then say --yes"));
            }
            let mut failed = None;
            for (contract, result) in agent.end_contracts().await {
                match result {
                    Ok(paid) if json => {
                        let line = json!({ "event": "ended", "contract": contract.to_string(), "paid": paid.get() });
                        say(&line.to_string());
                    }
                    Ok(paid) => say(&format!("{contract:.20}…  ended, {} units paid", paid.get())),
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), |error| Err(error.into()))
        }
    }
}

fn list_contract(
    wallet: &crate::home::WalletConfig,
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
        Stage::Ended { .. } => "ended",
    };
    let bill = bill(status);
    if json {
        let money = |amount: Option<Amount>| {
            amount.map_or(Value::Null, |amount| Value::from(scale.show(amount).to_string()))
        };
        let meter = status.tab.map(|tab| tab.meter).unwrap_or_default();
        let line = json!({
            "event": "contract", "contract": status.contract.to_string(),
            "provider": terms.prices.provider.to_string(), "stage": stage, "currency": currency.symbol,
            "written": meter.written, "read": meter.read,
            "byte_epochs": u64::try_from(meter.byte_epochs).unwrap_or(u64::MAX),
            "owed": money(bill.map(|bill| bill.total())), "paid": money(status.paid),
            "hold_max": scale.show(status.record.hold_max).to_string(),
        });
        say(&line.to_string());
        return Ok(());
    }
    say(&format!(
        "{}…  {stage}, {} to {}, ends {}",
        terms.prices.provider.short(),
        terms.size_max,
        status.record.address,
        terms.ends
    ));
    match (bill, status.paid) {
        (Some(bill), Some(paid)) => {
            for line in bill.lines() {
                say(&format!("    {:<8} {:>24}", line.item.to_string(), line.quantity));
            }
            say(&format!(
                "    owed {}, authorised {}",
                currency.show(bill.total()),
                currency.show(paid)
            ));
        }
        _ => say("    its host cannot be reached now"),
    }
    Ok(())
}
