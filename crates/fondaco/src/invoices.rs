//! `fondaco invoice`: ask for a payment, and know for what a deposit came.

use crate::cli::{CreateInvoiceArgs, InvoiceCommand};
use crate::entities::entity;
use crate::failure::{Code, Failure};
use crate::home::{CurrencyConfig, Home};
use crate::screen::{printable, say};
use crate::wallet::amount_in;
use fondaco_agent::{
    AgentError, Asked, InvoiceFile, invoice_from_text, invoice_to_text, is_invoice, state_word,
};
use fondaco_codec::Text;
use fondaco_crypto::CurrencyId;
use fondaco_lcp::{Deposit, Invoice, InvoiceId, InvoiceState, Mismatch, SignedInvoice, Verdict};
use fondaco_store::SystemClock;
use fondaco_units::{Amount, Duration};
use serde_json::{Value, json};

/// How often, and after how long, invoices that another process holds are tried again.
const TRIES: u32 = 50;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

pub(crate) async fn run(home: &Home, command: InvoiceCommand, json: bool) -> Result<(), Failure> {
    match command {
        InvoiceCommand::Create(args) => create(home, args, json).await,
        InvoiceCommand::Show { invoice } => show(home, &invoice, json),
        InvoiceCommand::List { all } => list(home, all, json).await,
        InvoiceCommand::Cancel { order } => cancel(home, &order, json).await,
    }
}

/// Reads an invoice that somebody sent.
pub(crate) fn read(text: &str) -> Result<SignedInvoice, Failure> {
    invoice_from_text(text).map_err(|error| {
        Failure::new(error.to_string())
            .code(Code::Verification)
            .hint("ask its payee for the text of `fondaco invoice create` again, all of it")
    })
}

/// Finds the currency in which an invoice is to be paid.
pub(crate) fn currency_of<'a>(
    config: &'a crate::home::WalletConfig,
    invoice: &Invoice,
) -> Result<&'a CurrencyConfig, Failure> {
    let issuer = invoice.currency.issuer();
    config.find(Some(&issuer.to_string())).map_err(|_| {
        Failure::new(format!("the invoice asks for the currency of {issuer}, which is not accepted here"))
            .code(Code::NotFound)
            .hint("ask its payee for the issuer's address, and add it with `fondaco wallet add ISSUER-ADDRESS`")
    })
}

/// Opens the owner's invoices; another command that holds them is soon done.
async fn open(home: &Home) -> Result<InvoiceFile, Failure> {
    let (folder, payee) = (home.folder("agent")?, home.key()?.entity());
    let mut tries = 0..TRIES;
    loop {
        match InvoiceFile::open(&folder, payee) {
            Err(AgentError::Locked { .. }) if tries.next().is_some() => {
                tokio::time::sleep(PAUSE).await;
            }
            opened => return Ok(opened?),
        }
    }
}

/// Opens the owner's invoices, if any was ever made.
pub(crate) async fn open_if_any(home: &Home) -> Result<Option<InvoiceFile>, Failure> {
    if InvoiceFile::path(&home.join("agent")).exists() {
        return open(home).await.map(Some);
    }
    Ok(None)
}

async fn create(home: &Home, args: CreateInvoiceArgs, json: bool) -> Result<(), Failure> {
    let CreateInvoiceArgs { amount, currency, from, r#for, within } = args;
    let usage = |what: &str| Failure::new(what).code(Code::Usage);
    let key = home.key()?;
    let config = home.wallet()?;
    let currency = config.find(currency.as_deref())?;
    let amount = amount_in(currency.scale()?, &amount)?;
    let payer = from.as_deref().map(entity).transpose()?;
    if payer == Some(key.entity()) {
        return Err(usage("--from is your own key").hint("name who is to pay"));
    }
    let purpose = Text::new(r#for).ok_or_else(|| usage("--for has more than 128 bytes"))?;
    let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    if within == 0 || amount.is_zero() {
        return Err(usage("an invoice asks for something, and leaves some time"));
    }
    let asked = Asked {
        currency: CurrencyId::issued_by(currency.issuer()?.entity()),
        amount,
        payer,
        purpose,
        within: Duration::from_milliseconds(within),
    };
    let invoice = open(home).await?.make(&key, &SystemClock, asked)?;
    let text = invoice_to_text(&invoice);
    if json {
        let mut line = told(&invoice.invoice, Some(currency), "open");
        line["invoice"] = text.into();
        say(&line.to_string());
        return Ok(());
    }
    say(&text);
    say("");
    say("Send this to who is to pay: `fondaco pay invoice:…` pays it.");
    say("`fondaco deposits` tells when it is paid. Another program pays it under the order");
    say(&invoice.invoice.id().to_string());
    Ok(())
}

fn show(home: &Home, text: &str, json: bool) -> Result<(), Failure> {
    let invoice = read(text)?.invoice;
    let config = home.wallet()?;
    let currency = currency_of(&config, &invoice).ok();
    if json {
        say(&told(&invoice, currency, "signed").to_string());
        return Ok(());
    }
    let Invoice { payee, payer, made, due, purpose, .. } = &invoice;
    let issuer = invoice.currency.issuer();
    say(&format!("   payee    {payee}, who signed it"));
    say(&format!("   amount   {}", amount_of(invoice.amount, currency)));
    if currency.is_none() {
        say(&format!("            of the currency of {issuer}, which you do not accept"));
    }
    match payer {
        Some(payer) => say(&format!("   payer    {payer}")),
        None => say("   payer    anybody"),
    }
    say(&format!("   for      {}", printable(purpose.as_str())));
    say(&format!("   made     {made}\n   due      {due}\n   order    {}", invoice.id()));
    Ok(())
}

async fn list(home: &Home, all: bool, json: bool) -> Result<(), Failure> {
    let config = home.wallet()?;
    let Some(file) = open_if_any(home).await? else { return Ok(()) };
    let mut lines = Vec::new();
    if all {
        let done = file.invoices().done();
        lines.extend(done.map(|(_, signed, state)| (signed.invoice.clone(), state.clone())));
    }
    let open = file.invoices().open();
    lines.extend(open.map(|(_, signed)| (signed.invoice.clone(), InvoiceState::Open)));
    // What is shown may take long to be read.
    drop(file);
    let now = fondaco_ports::Clock::now(&SystemClock);
    for (invoice, state) in &lines {
        let currency = currency_of(&config, invoice).ok();
        let is_overdue = *state == InvoiceState::Open && invoice.due < now;
        let state = if is_overdue { "overdue" } else { state_word(state) };
        if json {
            say(&told(invoice, currency, state).to_string());
        } else {
            let (amount, due) = (amount_of(invoice.amount, currency), invoice.due);
            let purpose = printable(invoice.purpose.as_str());
            say(&format!(
                "{state:<9}  {amount:>16}  due {due}  {purpose}\n           {}",
                invoice.id()
            ));
        }
    }
    Ok(())
}

async fn cancel(home: &Home, order: &str, json: bool) -> Result<(), Failure> {
    let id: InvoiceId = if is_invoice(order) {
        read(order)?.invoice.id()
    } else {
        let usage = |error| Failure::new(format!("{order}: {error}")).code(Code::Usage);
        order.parse().map_err(usage)?
    };
    let missing = || {
        Failure::new(format!("no invoice {id} is known here"))
            .code(Code::NotFound)
            .hint("look at them with `fondaco invoice list`")
    };
    let mut file = open_if_any(home).await?.ok_or_else(missing)?;
    if file.invoices().find(id).is_none() {
        return Err(missing());
    }
    file.cancel(id)?;
    if json {
        say(&json!({ "order": id.to_string(), "state": "cancelled" }).to_string());
    } else {
        say(
            "It is cancelled. What still comes for it is yours, and pays nothing that you asked for.",
        );
    }
    Ok(())
}

/// What a deposit is to the owner's invoices, for scripts and for people; nothing, if it names none of them.
pub(crate) fn verdict(
    invoices: &mut Option<InvoiceFile>,
    currency: &CurrencyConfig,
    deposit: &Deposit,
) -> Result<Option<(Value, String)>, Failure> {
    let Some(file) = invoices else { return Ok(None) };
    let issued = CurrencyId::issued_by(currency.issuer()?.entity());
    Ok(match file.take(issued, deposit)? {
        Verdict::Unknown => None,
        Verdict::Pays(invoice) => {
            let purpose = invoice.purpose.as_str();
            let line = json!({ "state": "paid", "why": null, "for": purpose });
            Some((line, format!("pays your invoice: {}", printable(purpose))))
        }
        Verdict::Astray(invoice, mismatch) => {
            let (purpose, why) = (invoice.purpose.as_str(), why(mismatch, currency));
            let line = json!({ "state": "astray", "why": why, "for": purpose });
            let told = format!(
                "DOES NOT PAY your invoice, whose order it has: {why}: {}",
                printable(purpose)
            );
            Some((line, told))
        }
    })
}

fn why(mismatch: Mismatch, currency: &CurrencyConfig) -> String {
    match mismatch {
        Mismatch::Amount { asked, paid } => {
            format!("it is {}, not {}", currency.show(paid), currency.show(asked))
        }
        Mismatch::Currency { .. }
        | Mismatch::Payer { .. }
        | Mismatch::Nobody
        | Mismatch::Late { .. }
        | Mismatch::Cancelled
        | Mismatch::PaidAlready => mismatch.to_string(),
    }
}

/// What an invoice asks for, for scripts.
fn told(invoice: &Invoice, currency: Option<&CurrencyConfig>, state: &str) -> Value {
    let Invoice { payee, amount, payer, made, due, purpose, .. } = invoice;
    let scaled =
        currency.and_then(|currency| Some(currency.scale().ok()?.show(*amount).to_string()));
    json!({
        "order": invoice.id().to_string(), "state": state, "payee": payee.to_string(),
        "amount": scaled, "units": amount.get(),
        "currency": currency.map(|currency| currency.symbol.as_str()),
        "issuer": invoice.currency.issuer().to_string(),
        "payer": payer.map(|payer| payer.to_string()), "made": made.to_string(),
        "due": due.to_string(), "for": purpose.as_str(),
    })
}

fn amount_of(amount: Amount, currency: Option<&CurrencyConfig>) -> String {
    match currency {
        Some(currency) => currency.show(amount),
        None => format!("{} units", amount.get()),
    }
}
