//! `fondaco pay --file`: many payments by one command.

use crate::cli::ManyArgs;
use crate::failure::{Code, Failure, io};
use crate::history;
use crate::home::{CurrencyConfig, Home};
use crate::refusals;
use crate::screen::{counted, is_heard, say};
use crate::wallet::{described, open, unpaid};
use fondaco_agent::{PAYMENTS_BYTES_MAX, PaidAll, Payment, Payments, PaymentsFormat};
use fondaco_lcp::StepResult;
use fondaco_store::SystemClock;
use fondaco_units::Amount;
use serde_json::json;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Makes the payments in a file.
pub(crate) async fn pay(
    home: &Home,
    args: ManyArgs,
    receipt: Option<PathBuf>,
    json: bool,
) -> Result<(), Failure> {
    let ManyArgs { file, unit, all_or_none, left, again } = args;
    let file = file.ok_or_else(|| Failure::new("no file is named").code(Code::Usage))?;
    let config = home.wallet()?;
    let currency = config.find(unit.as_deref())?;
    let scale = currency.scale()?;
    let text = read(&file)?;
    let payments = Payments::read(&text, scale).map_err(|error| {
        Failure::new(format!("{}: {error}", file.display()))
            .code(Code::Usage)
            .hint("nothing was paid; `fondaco help pay` shows how such a file is written")
    })?;
    let wallet = open(home, currency).await?;
    let fee = described(&wallet, currency).await?.currency.transfer_fee;
    let count = payments.as_slice().len();
    if json {
        let line = json!({
            "event": "checked", "payments": count, "sum": scale.show(payments.sum()).to_string(),
            "fee_max": scale.show(fee).to_string(), "currency": currency.symbol,
        });
        say(&line.to_string());
    } else {
        let fees = payments.with_fees(fee).map(|all| all.saturating_sub(payments.sum()));
        say(&format!(
            "{} of {} in all, and fees of {} at most.",
            counted(count, "payment"),
            currency.show(payments.sum()),
            currency.show(fees.unwrap_or(Amount::MAX)),
        ));
    }
    let paid = wallet.pay_all(&SystemClock, &payments, fee, all_or_none, again).await;
    let paid = match paid {
        Ok(paid) => paid,
        Err(error) => return Err(unpaid(&wallet, error, currency).await),
    };
    if paid.linked != all_or_none && !json {
        say(match paid.linked {
            true => "They were asked for with --all-or-none, and all were made or none.",
            false => {
                "They were asked for without --all-or-none, and each was made or not by itself."
            }
        });
    }
    let made = paid.results.iter().filter(|result| **result == StepResult::Paid).count();
    let fees = wallet.fees_of(paid.id, made).await.unwrap_or_else(|error| {
        tracing::info!(%error, "what the fees came to is not known");
        None
    });
    let refused = tell(&payments, &paid, fees, currency, json)?;
    if let Some(left) = &left {
        let list = refused.iter().copied();
        let text = PaymentsFormat::of(&text).write(scale, list);
        fondaco_store::write_atomic(left, text.as_bytes(), 0o600)?;
    }
    // What became of each stands on the screen, and what is left in its file.
    if is_heard() {
        wallet.told(paid.id)?;
    }
    if let Some(receipt) = receipt {
        history::save_receipt(&wallet, paid.id, &receipt, json).await?;
    }
    if refused.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(match count {
        1 => "the payment was not made".to_owned(),
        _ => format!("{} of {count} payments were not made", refused.len()),
    });
    Err(failure.code(Code::Funds).hint(match left {
        Some(left) => format!("those are in {}: pay that file later", left.display()),
        None if paid.linked => "none was made: mend or leave out what was refused".to_owned(),
        None => "do not pay the whole file again: `--left FILE` takes those that were not made"
            .to_owned(),
    }))
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let opened = File::open(file).map_err(|error| io("read", file, &error))?;
    // One byte more than is taken tells that it is too long.
    let read = opened.take(PAYMENTS_BYTES_MAX as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| io("read", file, &error))?;
    if text.len() > PAYMENTS_BYTES_MAX {
        let what = format!("{} is longer than {PAYMENTS_BYTES_MAX} bytes", file.display());
        return Err(Failure::new(what).code(Code::Usage).hint("divide it"));
    }
    Ok(text)
}

/// Tells what became of each payment, and what the fees came to, if that is known; those that were not made.
fn tell<'a>(
    payments: &'a Payments,
    paid: &PaidAll,
    fees: Option<Amount>,
    currency: &CurrencyConfig,
    json: bool,
) -> Result<Vec<&'a Payment>, Failure> {
    let scale = currency.scale()?;
    if paid.taken_up && !json {
        say(
            "These are your payments of before, of which you were not told yet: they were made once.",
        );
    }
    let (mut refused, mut sum) = (Vec::new(), Amount::ZERO);
    for (number, (payment, result)) in payments.as_slice().iter().zip(&paid.results).enumerate() {
        let (outcome, why) = match result {
            StepResult::Paid => ("paid", None),
            StepResult::Refused { refusal } => {
                ("refused", Some(refusals::words(refusal, |sum| currency.show(sum))))
            }
            StepResult::Undone => ("undone", None),
        };
        match result {
            StepResult::Paid => sum = sum.checked_add(payment.amount).unwrap_or(Amount::MAX),
            StepResult::Refused { .. } | StepResult::Undone => refused.push(payment),
        }
        let number = number + 1;
        let amount = scale.show(payment.amount).to_string();
        if json {
            let line = json!({
                "payment": number, "to": payment.to.to_string(), "amount": amount,
                "order": payment.order.as_str(), "outcome": outcome, "why": why,
            });
            say(&line.to_string());
        } else if let Some(why) = why {
            say(&format!("Payment {number}, of {amount} to {}, was refused: {why}", payment.to));
        }
    }
    let made = paid.results.len() - refused.len();
    if json {
        let line = json!({
            "event": "done", "paid": made, "not_paid": refused.len(),
            "sum": scale.show(sum).to_string(), "fees": fees.map(|fees| scale.show(fees).to_string()),
            "fee_max": scale.show(paid.fee_max).to_string(),
            "balance": scale.show(paid.balance).to_string(), "currency": currency.symbol,
            "id": paid.id.to_string(), "taken_up": paid.taken_up, "all_or_none": paid.linked,
        });
        say(&line.to_string());
    } else {
        let (sum, left) = (currency.show(sum), currency.show(paid.balance));
        let fees = fees.map(|fees| format!(", with fees of {}", currency.show(fees)));
        let fees = fees.unwrap_or_else(|| {
            format!(", each with a fee of {} at most", currency.show(paid.fee_max))
        });
        let (they, them) = if made == 1 { ("It is", "it") } else { ("They are", "them") };
        let made = counted(made, "payment");
        say(&format!("Made {made} of {sum} in all{fees}; you have {left} left."));
        say(&format!("{they} {}: `fondaco receipt get` proves {them}.", paid.id));
    }
    Ok(refused)
}
