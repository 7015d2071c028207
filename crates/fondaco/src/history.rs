//! `fondaco history` and `fondaco receipt`: what was, and the proof of it.

use crate::cli::{HistoryArgs, ReceiptCommand};
use crate::failure::{Code, Failure, io};
use crate::home::{CurrencyConfig, Home};
use crate::refusals;
use crate::screen::{printable, say};
use crate::wallet::open_to_look;
use fondaco_agent::{
    AgentError, RECEIPT_TEXT_BYTES_MAX, Wallet, receipt_from_text, receipt_to_text,
};
use fondaco_lcp::{Entry, EntryKind, Receipt, Refusal, Request, RequestId, Response};
use fondaco_units::Amount;
use serde_json::json;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The most entries that are asked for at once.
const PAGE: u16 = 256;

pub(crate) async fn history(home: &Home, args: HistoryArgs, json: bool) -> Result<(), Failure> {
    let HistoryArgs { currency, limit } = args;
    let config = home.wallet()?;
    let currency = config.find(currency.as_deref())?;
    let wallet = open_to_look(home, currency).await?;
    let (mut before, mut left, mut more) = (0, limit, true);
    while more && left > 0 {
        let count = u16::try_from(left).unwrap_or(PAGE).min(PAGE);
        let asked = wallet.history(before, count).await;
        let (list, is_more) = asked.map_err(|error| currency.concerned_by(error.into()))?;
        more = is_more && !list.is_empty();
        for entry in &list {
            before = entry.number;
            left -= 1;
            show(currency, entry, json)?;
        }
    }
    Ok(())
}

fn show(currency: &CurrencyConfig, entry: &Entry, json: bool) -> Result<(), Failure> {
    let Entry { number, at, kind, counterparty, amount, fee, order, id, .. } = entry;
    let scale = currency.scale()?;
    let (what, sign) = told(*kind);
    let other = counterparty.map(|other| other.to_string());
    if json {
        let (is_own, id) = (is_own(*kind), id.map(|id| id.to_string()));
        let (own, theirs) = if is_own { (id, None) } else { (None, id) };
        let line = json!({
            "number": number, "at": at.to_string(), "kind": what, "with": other,
            "amount": scale.show(*amount).to_string(), "fee": scale.show(*fee).to_string(),
            "currency": currency.symbol, "order": order.as_str(),
            "id": own, "their_id": theirs,
        });
        say(&line.to_string());
        return Ok(());
    }
    let amount = format!("{sign}{}", scale.show(*amount));
    let fee = if fee.is_zero() { String::new() } else { format!(" (fee {})", scale.show(*fee)) };
    let other = other.map(|other| format!("  {other}")).unwrap_or_default();
    let order = printable(order.as_str());
    say(&format!("{at}  {amount:>16} {}  {what}{fee}{other}  {order}", currency.symbol));
    Ok(())
}

/// What an entry is called, and which way the money went.
const fn told(kind: EntryKind) -> (&'static str, &'static str) {
    match kind {
        EntryKind::Sent => ("sent", "-"),
        EntryKind::Received => ("received", "+"),
        EntryKind::Minted => ("minted", "+"),
        EntryKind::Redeemed => ("redeemed", "-"),
        EntryKind::HoldOpened => ("set aside", "-"),
        EntryKind::HoldPaid => ("paid from what was set aside", ""),
        EntryKind::HoldReceived => ("received from a hold", "+"),
        EntryKind::HoldReturned => ("came back", "+"),
        EntryKind::Forfeited => ("left to the issuer", "-"),
        EntryKind::RotatedFrom => ("another key", ""),
    }
}

/// Whether the command was the holder's own, so that the issuer gives the holder its receipt.
const fn is_own(kind: EntryKind) -> bool {
    match kind {
        EntryKind::Sent
        | EntryKind::Redeemed
        | EntryKind::HoldOpened
        | EntryKind::HoldReceived
        | EntryKind::Forfeited
        | EntryKind::RotatedFrom => true,
        EntryKind::Received | EntryKind::Minted | EntryKind::HoldPaid | EntryKind::HoldReturned => {
            false
        }
    }
}

pub(crate) async fn receipt(
    home: &Home,
    command: ReceiptCommand,
    json: bool,
) -> Result<(), Failure> {
    match command {
        ReceiptCommand::Get { id, to, currency } => {
            let id: RequestId = id
                .parse()
                .map_err(|error| Failure::new(format!("{id}: {error}")).code(Code::Usage))?;
            let config = home.wallet()?;
            let currency = config.find(currency.as_deref())?;
            let wallet = open_to_look(home, currency).await?;
            let saved = save_receipt(&wallet, id, &to, json).await;
            saved.map_err(|failure| currency.concerned_by(failure))
        }
        ReceiptCommand::Verify { file } => verify(home, &file, json),
    }
}

/// Asks for a receipt and writes it to a file.
pub(crate) async fn save_receipt(
    wallet: &Wallet,
    id: RequestId,
    to: &Path,
    json: bool,
) -> Result<(), Failure> {
    let receipt = match wallet.receipt(id).await {
        Err(AgentError::Issuer(Refusal::Outdated)) => {
            return Err(Failure::new(format!("{id} is no command of yours there"))
                .code(Code::NotFound)
                .hint(
                    "`fondaco history --json` has the `id` of each of yours; the receipt of what another did is the other's",
                ));
        }
        receipt => receipt?,
    };
    fondaco_store::write_atomic(to, receipt_to_text(&receipt).as_bytes(), 0o644)?;
    if json {
        let line = json!({ "receipt": to.display().to_string(), "record": receipt.receipt.record });
        say(&line.to_string());
    } else {
        say(&format!("The receipt is in {}.", to.display()));
    }
    Ok(())
}

/// Checks a receipt without asking anybody.
fn verify(home: &Home, file: &Path, json: bool) -> Result<(), Failure> {
    let mut text = Vec::new();
    // One byte more than a receipt has tells that it is none.
    let read = File::open(file)
        .and_then(|file| file.take(RECEIPT_TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut text));
    read.map_err(|error| io("read", file, &error))?;
    let wrong = |what: String| Failure::new(what).code(Code::Verification);
    let signed =
        receipt_from_text(&text).map_err(|error| wrong(format!("{}: {error}", file.display())))?;
    let issuer = signed.receipt.currency.issuer();
    signed.verify().map_err(|_| {
        wrong(format!("{}: the receipt is not signed by {issuer}", file.display()))
            .hint("ask its holder for the file again; if it is the same, it is forged")
    })?;
    let config = home.wallet()?;
    // A currency that is not accepted here is shown in its smallest units.
    let currency = config.find(Some(&issuer.to_string())).ok();
    tell(&signed.receipt, currency, json)
}

fn tell(receipt: &Receipt, currency: Option<&CurrencyConfig>, json: bool) -> Result<(), Failure> {
    let Receipt { holder, at, request, response, record, chain, .. } = receipt;
    let issuer = receipt.currency.issuer();
    let amount = |amount: Amount| match currency {
        Some(currency) => currency.show(amount),
        None => format!("{} units", amount.get()),
    };
    let refused = match response {
        Response::Refused { refusal } => Some(refusals::words(refusal, amount)),
        _ => None,
    };
    let what = match request {
        Request::Transfer { to, amount: sum, order, .. } => {
            format!("transfer of {} to {to} for {:?}", amount(*sum), order.as_str())
        }
        Request::Batch { steps, .. } => format!("batch of {} transfers", steps.as_slice().len()),
        Request::Mint { to, amount: sum, .. } => format!("mint of {} for {to}", amount(*sum)),
        Request::Redeem { amount: sum, .. } => format!("redemption of {}", amount(*sum)),
        Request::HoldOpen { payee, amount_max, .. } => {
            format!("hold of {} for {payee}", amount(*amount_max))
        }
        other => format!("{other:?}"),
    };
    if json {
        let line = json!({
            "valid": true, "issuer": issuer.to_string(), "known": currency.is_some(),
            "holder": holder.to_string(), "at": at.to_string(), "what": what,
            "refused": refused, "record": record,
            "chain": chain.to_string(),
        });
        say(&line.to_string());
        return Ok(());
    }
    let outcome = match refused {
        None => "done".to_owned(),
        Some(refusal) => format!("refused: {refusal}"),
    };
    say(&format!("The receipt is signed by {issuer},"));
    say(match currency {
        Some(_) => "whose currency you accept.",
        None => {
            "of whom you know nothing else: whether that is who you think, the receipt cannot tell."
        }
    });
    say(&format!(
        "   holder   {holder}\n   at       {at}\n   what     {what}\n   outcome  {outcome}"
    ));
    say(&format!("   journal  record {record}, chain {chain}"));
    Ok(())
}
