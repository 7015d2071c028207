//! `fondaco wallet` and `pay`: which currencies I accept, and what I give of them.

mod leave;
mod look;

use crate::cli::{PayArgs, WalletCommand};
use crate::endpoints;
use crate::entities::{address, entity};
use crate::failure::{Code, Failure};
use crate::history;
use crate::home::{CurrencyConfig, Home, Identity};
use crate::invoices;
use crate::payments;
use crate::refusals;
use crate::screen::{complain, counted, is_heard, printable, say};
use fondaco_agent::{AgentError, Description, Paid, Resumed, Torn, Wallet, is_invoice};
use fondaco_codec::Text;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp::{Currency, Refusal, Request, RequestId, Response};
use fondaco_ledger::{LIMIT_SPAN, Refusal as LedgerRefusal};
use fondaco_ports::{Address, Clock as _};
use fondaco_store::SystemClock;
use fondaco_transport::LcpClient;
use fondaco_units::{Amount, Duration, Scale, Timestamp};
use serde_json::json;
use std::path::PathBuf;

pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(format!("the system gives no randomness: {error}")))?;
    Ok(bytes)
}

pub(crate) fn random_id() -> Result<RequestId, Failure> {
    Ok(RequestId::at(SystemClock.now(), random()?))
}

/// Opens the owner's wallet of one currency, and learns what became of the commands that earlier runs left without an
/// answer. What that pays is said: who only looks takes [`open_to_look`].
pub(crate) async fn open(home: &Home, currency: &CurrencyConfig) -> Result<Wallet, Failure> {
    let client = client(&home.key()?, currency.issuer()?).await?;
    let wallet = Wallet::open(&home.folder("agent")?, client)?;
    if let Err(error) = resume(&wallet, currency).await {
        tracing::warn!(left = wallet.pending(), %error, "earlier commands are still without an answer");
    }
    Ok(wallet)
}

/// Opens the owner's wallet of one currency to look at it: nothing is paid by that, whatever was meant to be, and an issuer
/// that is away is not waited for.
pub(crate) async fn open_to_look(
    home: &Home,
    currency: &CurrencyConfig,
) -> Result<Wallet, Failure> {
    let client = client(&home.key()?, currency.issuer()?).await?;
    let wallet = Wallet::open(&home.folder("agent")?, client)?.impatient();
    tell_torn(&wallet);
    Ok(wallet)
}

/// Says what was cut off the wallet's journal, if anything was: whoever pays next must know what may be missing.
pub(crate) fn tell_torn(wallet: &Wallet) {
    let Some(Torn { journal, bytes, kept }) = wallet.torn() else { return };
    complain(&format!(
        "note: the last {} of {} were no whole record, and were cut off; they are kept in {}. A power cut leaves such: then \
         nothing of them was sent, and all is well. If there was none, see by `fondaco history` what was paid before you pay it again.",
        counted(*bytes, "byte"),
        journal.display(),
        kept.display()
    ));
}

/// Sends again what has no answer yet, and says which payments of before are made, or refused, by that.
pub(crate) async fn resume(wallet: &Wallet, currency: &CurrencyConfig) -> Result<(), AgentError> {
    tell_torn(wallet);
    let Resumed { settled, in_the_way } = wallet.resume_and_tell().await;
    for (request, response) in &settled {
        if matches!(
            request,
            Request::Accept { .. } | Request::AcceptAhead { .. } | Request::AckDeposits { .. }
        ) {
            continue;
        }
        let what = summary(request, currency);
        match response {
            Response::Refused { refusal } => {
                let why = refusals::words(refusal, |amount| currency.show(amount));
                complain(&format!("note: {what} of before was refused: {why}"));
            }
            _ => complain(&format!("note: {what} of before is made now")),
        }
    }
    in_the_way.map_or(Ok(()), Err)
}

/// What a command asks for, in a few words.
fn summary(request: &Request, currency: &CurrencyConfig) -> String {
    if let Some(what) = payment(request, currency) {
        return what;
    }
    match request {
        Request::HoldOpen { payee, amount_max, .. } => {
            format!("a hold of {} for {payee}", currency.show(*amount_max))
        }
        Request::Accept { .. } | Request::AcceptAhead { .. } => "a limit of yours".to_owned(),
        Request::AckDeposits { .. } => "notices that you have seen".to_owned(),
        Request::Rotate { to, .. } => format!("the account for {to}"),
        Request::Close { .. } => "the end of the account".to_owned(),
        _ => "another command".to_owned(),
    }
}

/// What is paid by a request, if it pays anybody.
fn payment(request: &Request, currency: &CurrencyConfig) -> Option<String> {
    match request {
        Request::Transfer { to, amount, .. } => {
            Some(format!("the payment of {} to {to}", currency.show(*amount)))
        }
        Request::Batch { steps, .. } => {
            Some(format!("the batch of {}", counted(steps.as_slice().len(), "payment")))
        }
        _ => None,
    }
}

pub(crate) async fn client(key: &SecretKey, issuer: Address) -> Result<LcpClient, Failure> {
    let endpoint = endpoints::bind(key).await?;
    Ok(LcpClient::new(endpoint, issuer))
}

/// Says of a command that got no answer what a person must know: it may have been executed.
pub(crate) fn pending(error: AgentError) -> Failure {
    match error {
        AgentError::Transport(_) => Failure::from(error).hint(
            "the outcome is not known yet; run the same again to learn it: it is not done twice",
        ),
        other => other.into(),
    }
}

/// The same; a refusal is told in the currency.
fn undone(error: AgentError, currency: &CurrencyConfig) -> Failure {
    currency.concerned_by(match error {
        AgentError::Transport(_) => pending(error),
        other => refusals::told(other, |amount| currency.show(amount)),
    })
}

/// Asks an issuer what its currency is, and whether its books are those seen before.
pub(crate) async fn described(
    wallet: &Wallet,
    currency: &CurrencyConfig,
) -> Result<Description, Failure> {
    wallet.describe().await.map_err(|error| currency.concerned_by(error.into()))
}

pub(crate) async fn run(home: &Home, command: WalletCommand, json: bool) -> Result<(), Failure> {
    match command {
        WalletCommand::Add { issuer, trust } => add(home, &issuer, trust.as_deref(), json).await,
        WalletCommand::List => list(home, json),
        WalletCommand::Show { currency } => look::show(home, currency.as_deref(), json).await,
        WalletCommand::Forget { currency, yes } => leave::forget(home, &currency, yes, json).await,
        WalletCommand::Rotate { currency, to } => rotate(home, currency.as_deref(), to, json).await,
        WalletCommand::Close { currency, forfeit } => {
            close(home, currency.as_deref(), &forfeit, json).await
        }
    }
}

async fn add(home: &Home, issuer: &str, trust: Option<&str>, json: bool) -> Result<(), Failure> {
    let address = address(issuer, "`fondaco issuer up` prints the address to give here")?;
    let client = client(&home.key()?, address.clone()).await?;
    let wallet = Wallet::open(&home.folder("agent")?, client)?;
    tell_torn(&wallet);
    // Who adds a currency again believes its issuer anew.
    wallet.forget_head();
    let described = wallet.describe().await?.currency;
    let Currency { name, symbol, scale, transfer_fee, full_handshake_fee, account_reserve, .. } =
        described;
    // Shown with every sum from now on.
    let [name, symbol] = [name.as_str(), symbol.as_str()].map(printable);
    let mut config = home.wallet()?;
    let is_it = |currency: &CurrencyConfig| {
        currency.issuer().is_ok_and(|known| known.entity() == address.entity())
    };
    let before = config.currency.iter().find(|currency| is_it(currency));
    let before = before.and_then(|currency| currency.trust.clone());
    let is_lifted = trust == Some(LIFTED);
    let trust = match trust {
        Some(LIFTED) => None,
        Some(trust) => Some(scale.show(amount_in(scale, trust)?).to_string()),
        None => before.clone(),
    };
    config.currency.retain(|currency| !is_it(currency));
    let currency = CurrencyConfig {
        symbol: symbol.clone(),
        name: name.clone(),
        decimals: scale.decimals(),
        issuer: address.to_string(),
        trust,
        limited: false,
        limited_until: None,
    };
    // Saved first: a limit that the issuer was not told of is told later.
    config.currency.push(currency.clone());
    home.save_wallet(&config)?;
    let limited = if currency.trust.is_some() {
        limit(home, &wallet, &currency).await
    } else if before.is_some() || is_lifted {
        set_limit(&wallet, Amount::MAX).await
    } else {
        Ok(Kept::No)
    };
    // What is accepted is shown all the same; that the limit is not told ends the command.
    let kept = *limited.as_ref().unwrap_or(&Kept::No);
    let limited = limited.map_err(|failure| {
        let what = format!("its issuer was not told of your limit: {}", failure.what());
        let failure = currency.concerned_by(failure.saying(what));
        match failure.ends_with() {
            Code::Unreachable => {
                failure.hint("the currency is accepted, and the limit saved here: run the same again later, or look at your deposits")
            }
            _ => failure,
        }
    });
    let trust = currency.trust.as_deref();
    if json {
        let line = json!({
            "symbol": symbol, "name": name, "issuer": address.to_string(),
            "trust": trust, "limited": trust.is_some() && kept != Kept::No,
            "limited_until": kept.until().map(|until| until.to_string()),
            "transfer_fee": scale.show(transfer_fee).to_string(),
            "full_handshake_fee": scale.show(full_handshake_fee).to_string(),
            "account_reserve": scale.show(account_reserve).to_string(),
        });
        say(&line.to_string());
        return limited.map(drop);
    }
    say(&format!("You accept {name} ({symbol}), issued by {}.", address.entity()));
    let (fee, reserve) = (currency.show(transfer_fee), currency.show(account_reserve));
    say(&format!(
        "A transfer costs {fee}; {}. `fondaco wallet show {symbol}` tells more.",
        match account_reserve {
            Amount::ZERO => "any payment makes an account".to_owned(),
            _ => format!("{reserve} at least make an account"),
        }
    ));
    let (Some(trust), kept) = (trust, limited?) else { return Ok(()) };
    match kept {
        Kept::Always => {
            say(&format!("Its issuer refuses whatever would bring you over {trust} {symbol}."));
        }
        Kept::Until(until) => say(&format!(
            "You have no account there yet. Its issuer refuses a first payment that would bring you over {trust} {symbol},\n\
             until {until}; a look at your balance or deposits makes that longer."
        )),
        Kept::No => say(&format!(
            "You have no account there yet, and its issuer keeps no more limits of those who have none: the first payment\n\
             may bring you over {trust} {symbol}. It is asked again when you look at your balance or deposits."
        )),
    }
    Ok(())
}

/// Whether an issuer keeps to a limit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// As long as there is the account; or there is no limit.
    Always,
    /// There is no account: until then.
    Until(Timestamp),
    /// There is no account, and so many others had no account before that there is no room.
    No,
}

impl Kept {
    const fn until(self) -> Option<Timestamp> {
        match self {
            Self::Until(until) => Some(until),
            Self::Always | Self::No => None,
        }
    }
}

/// Tells the issuer the most of its currency that is accepted here, unless it keeps to that already, for long enough;
/// whether it does.
pub(crate) async fn limit(
    home: &Home,
    wallet: &Wallet,
    currency: &CurrencyConfig,
) -> Result<Kept, Failure> {
    let (Some(trust), false) = (&currency.trust, currency.limited) else { return Ok(Kept::Always) };
    if let Some(until) = currency.limited_until.map(Timestamp::from_milliseconds)
        && SystemClock.now().after(LIMIT_AGAIN) < until
    {
        return Ok(Kept::Until(until));
    }
    let kept = set_limit(wallet, amount_in(currency.scale()?, trust)?).await?;
    note_limit(home, currency, kept)?;
    Ok(kept)
}

/// The same for whoever looks at something else: what waiting mends is said, and is in nobody's way.
pub(crate) async fn limit_by_the_way(
    home: &Home,
    wallet: &Wallet,
    currency: &CurrencyConfig,
) -> Result<(), Failure> {
    match limit(home, wallet, currency).await {
        Err(failure) if failure.ends_with() == Code::Unreachable => {
            let trust = currency.trust.as_deref().unwrap_or_default();
            complain(&format!(
                "note: the issuer was not told of your limit of {trust} {}: {}; your next look at your balance or deposits tells \
                 it again",
                currency.symbol,
                failure.what()
            ));
            Ok(())
        }
        limited => limited.map(drop),
    }
}

/// How long before its end a limit without an account is asked for again.
const LIMIT_AGAIN: Duration = Duration::from_seconds(LIMIT_SPAN.milliseconds() / 2000);

/// Remembers whether the issuer keeps to the limit.
fn note_limit(home: &Home, currency: &CurrencyConfig, kept: Kept) -> Result<(), Failure> {
    let mut config = home.wallet()?;
    for known in &mut config.currency {
        if known.issuer == currency.issuer {
            known.limited = kept == Kept::Always;
            known.limited_until = kept.until().map(Timestamp::milliseconds);
        }
    }
    home.save_wallet(&config)
}

/// What lifts a limit.
const LIFTED: &str = "any";

async fn set_limit(wallet: &Wallet, balance_max: Amount) -> Result<Kept, Failure> {
    // A limit that was meant before must not come after this one.
    wallet.resume_upkeep().await?;
    match wallet.accept(&SystemClock, balance_max).await {
        Ok(until) => Ok(until.map_or(Kept::Always, Kept::Until)),
        Err(AgentError::Issuer(Refusal::Ledger { refusal: LedgerRefusal::LimitsFull { .. } })) => {
            Ok(Kept::No)
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn amount_in(scale: Scale, text: &str) -> Result<Amount, Failure> {
    scale.parse(text).map_err(|error| Failure::new(format!("{text}: {error}")).code(Code::Usage))
}

fn list(home: &Home, json: bool) -> Result<(), Failure> {
    for CurrencyConfig { symbol, name, issuer, trust, .. } in &home.wallet()?.currency {
        if json {
            let line = json!({ "symbol": symbol, "name": name, "issuer": issuer, "trust": trust });
            say(&line.to_string());
        } else {
            let trust = trust.as_deref().map_or("any amount", |trust| trust);
            say(&format!("{symbol:<12} {name}: {trust}\n             {issuer}"));
        }
    }
    Ok(())
}

async fn rotate(
    home: &Home,
    currency: Option<&str>,
    to: Identity,
    json: bool,
) -> Result<(), Failure> {
    let config = home.wallet()?;
    let currency = config.find(currency)?;
    let other = home.other(to.clone())?;
    let (old, new) = (home.key()?, other.key()?);
    let wallet = open(home, currency).await?;
    let rotated = wallet.rotate(&SystemClock, &old, &new).await;
    rotated.map_err(|error| undone(error, currency))?;
    // The limit went with the account, and is to be seen where the account is.
    let mut theirs = other.wallet()?;
    let issuer = currency.issuer()?.entity();
    let is_it = |known: &&mut CurrencyConfig| {
        known.issuer().is_ok_and(|address| address.entity() == issuer)
    };
    match theirs.currency.iter_mut().find(is_it) {
        Some(known) => {
            known.trust.clone_from(&currency.trust);
            known.limited = currency.limited;
        }
        None => theirs.currency.push(CurrencyConfig { limited_until: None, ..currency.clone() }),
    }
    other.save_wallet(&theirs)?;
    if json {
        let line = json!({
            "currency": currency.symbol, "from": old.entity().to_string(),
            "to": new.entity().to_string(),
        });
        say(&line.to_string());
    } else {
        say(&format!("Your account of {} is {}'s now.", currency.symbol, new.entity()));
        say(&format!(
            "Go on with it by `fondaco --identity {to} …`, which accepts what you accepted. What is paid to your old key \
             arrives there."
        ));
    }
    Ok(())
}

async fn close(
    home: &Home,
    currency: Option<&str>,
    forfeit: &str,
    json: bool,
) -> Result<(), Failure> {
    let config = home.wallet()?;
    let currency = config.find(currency)?;
    let forfeit_max = amount_in(currency.scale()?, forfeit)?;
    let wallet = open(home, currency).await?;
    let forfeited = wallet.close(&SystemClock, forfeit_max).await;
    let forfeited = forfeited.map_err(|error| undone(error, currency))?;
    // An account that is opened again has no limit.
    note_limit(home, currency, Kept::No)?;
    let forfeited = currency.show(forfeited);
    if json {
        say(&json!({ "currency": currency.symbol, "forfeited": forfeited }).to_string());
    } else {
        say(&format!(
            "Your account of {} is closed; {forfeited} went to its issuer.",
            currency.symbol
        ));
    }
    Ok(())
}

/// Pays whoever is named, or what an invoice asks for.
pub(crate) async fn pay(home: &Home, args: PayArgs, json: bool) -> Result<(), Failure> {
    let PayArgs { to, amount, currency, order, receipt, many } = args;
    let Some(to) = to else { return payments::pay(home, many, receipt, json).await };
    let usage = |what: &str, hint: &str| Failure::new(what).code(Code::Usage).hint(hint);
    let config = home.wallet()?;
    if is_invoice(&to) {
        if amount.is_some() || currency.is_some() || order.is_some() {
            return Err(usage(
                "an invoice says how much is to be paid, and for which order",
                "name nothing but the invoice: `fondaco pay invoice:…`",
            ));
        }
        let invoice = invoices::read(&to)?.invoice;
        let currency = invoices::currency_of(&config, &invoice)?;
        let wallet = open(home, currency).await?;
        let fee_max = described(&wallet, currency).await?.currency.transfer_fee;
        let paid = wallet.pay_invoice(&SystemClock, &invoice, fee_max).await;
        let paid = match paid {
            Ok(paid) => paid,
            Err(error) => return Err(unpaid(&wallet, error, currency).await),
        };
        if paid.taken_up && !json {
            say("You have paid this invoice before: it was paid once.");
        }
        tell_paid(&paid, invoice.payee, invoice.amount, currency, json)?;
        return told_paid(&wallet, &paid, receipt, json).await;
    }
    let to = entity(&to)?;
    let amount = amount
        .ok_or_else(|| usage("how much is missing", "as in `fondaco pay fon1… 12.50 CLR`"))?;
    let currency = config.find(currency.as_deref())?;
    let amount = amount_in(currency.scale()?, &amount)?;
    let order = Text::new(order.unwrap_or_default())
        .ok_or_else(|| Failure::new("--order has more than 64 bytes").code(Code::Usage))?;
    let wallet = open(home, currency).await?;
    let fee_max = described(&wallet, currency).await?.currency.transfer_fee;
    let paid = wallet.pay(&SystemClock, to, amount, fee_max, order).await;
    let paid = match paid {
        Ok(paid) => paid,
        Err(error) => return Err(unpaid(&wallet, error, currency).await),
    };
    if paid.taken_up && !json {
        say("This is your payment of before, of which you were not told yet: it was made once.");
        say("Run the same again to pay once more.");
    }
    tell_paid(&paid, to, amount, currency, json)?;
    told_paid(&wallet, &paid, receipt, json).await
}

/// Says why a payment was not made.
pub(crate) async fn unpaid(
    wallet: &Wallet,
    error: AgentError,
    currency: &CurrencyConfig,
) -> Failure {
    let AgentError::Issuer(Refusal::Ledger { refusal }) = error else {
        return undone(error, currency);
    };
    match refusal {
        // The books say the same of an empty account and of none; the history has nothing of one that never was.
        LedgerRefusal::InsufficientFunds { available: Amount::ZERO, .. }
            if wallet.history(0, 1).await.is_ok_and(|(entries, _)| entries.is_empty()) =>
        {
            Failure::new(format!("you have no account of {} there yet", currency.symbol))
                .code(Code::Funds)
                .hint("it is made by the first payment to you, or by what is minted for you")
        }
        LedgerRefusal::InsufficientFunds { available, wanted } => Failure::new(format!(
            "you have {}, and {} are needed, fee included",
            currency.show(available),
            currency.show(wanted)
        ))
        .code(Code::Funds)
        .hint("ask whoever owes you, or pay less"),
        LedgerRefusal::OverLimit { balance_max, .. } => {
            Failure::new(format!("the payee accepts {} at most", currency.show(balance_max)))
                .code(Code::Funds)
                .hint("pay less, or ask the payee to accept more")
        }
        LedgerRefusal::ZeroAmount => Failure::new("the amount is zero: nothing would be paid")
            .code(Code::Usage)
            .hint("name an amount, as in `fondaco pay fon1… 12.50 CLR`"),
        LedgerRefusal::SelfTransfer { .. } => Failure::new("the payee is you: nothing was paid")
            .code(Code::Usage)
            .hint("`fondaco identity show` says who you are; name another entity"),
        _ => undone(error, currency),
    }
}

fn tell_paid(
    paid: &Paid,
    to: EntityId,
    amount: Amount,
    currency: &CurrencyConfig,
    json: bool,
) -> Result<(), Failure> {
    let scale = currency.scale()?;
    let (fee, balance) = (scale.show(paid.fee), currency.show(paid.balance));
    if json {
        let line = json!({
            "paid": scale.show(amount).to_string(), "fee": fee.to_string(),
            "balance": scale.show(paid.balance).to_string(), "currency": currency.symbol,
            "id": paid.id.to_string(), "taken_up": paid.taken_up,
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "Paid {} to {to} (fee {fee}); you have {balance} left.",
            currency.show(amount),
        ));
        say(&format!("It is {}: `fondaco receipt get` proves it.", paid.id));
    }
    Ok(())
}

/// The owner was told of a payment, if it could be written: what remains is its receipt.
async fn told_paid(
    wallet: &Wallet,
    paid: &Paid,
    receipt: Option<PathBuf>,
    json: bool,
) -> Result<(), Failure> {
    if is_heard() {
        wallet.told(paid.id)?;
    }
    match receipt {
        Some(path) => history::save_receipt(wallet, paid.id, &path, json).await,
        None => Ok(()),
    }
}
