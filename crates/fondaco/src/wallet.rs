//! `fondaco init`, `wallet`, `pay` and `balance`: who I am and what I hold.

use crate::cli::{PayArgs, WalletCommand};
use crate::failure::{Code, Failure};
use crate::home::{CurrencyConfig, Home};
use crate::screen::say;
use fondaco_agent::{AgentError, Wallet};
use fondaco_codec::Text;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp::{Currency, Deposit, Refusal, Request, RequestId, Response};
use fondaco_ledger::Refusal as LedgerRefusal;
use fondaco_ports::Address;
use fondaco_transport::{Endpoint, LcpClient};
use fondaco_units::Duration;
use serde_json::json;

pub(crate) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(format!("the system gives no randomness: {error}")))?;
    Ok(bytes)
}

pub(crate) fn random_id() -> Result<RequestId, Failure> {
    Ok(RequestId::new(u128::from_le_bytes(random()?)))
}

pub(crate) async fn client(key: &SecretKey, issuer: Address) -> Result<LcpClient, Failure> {
    let endpoint = Endpoint::bind(key, None, &[]).await?;
    Ok(LcpClient::new(endpoint, issuer))
}

/// Asks the issuer something; a refusal is a failure.
pub(crate) async fn call(client: &LcpClient, request: &Request) -> Result<Response, Failure> {
    match client.call(request).await? {
        Response::Refused { refusal } => Err(AgentError::Issuer(refusal).into()),
        response => Ok(response),
    }
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

pub(crate) fn init(home: &Home, json: bool) -> Result<(), Failure> {
    let path = home.key_path();
    if path.exists() {
        let entity = home.key()?.entity();
        return Err(Failure::new(format!("there is a key already: {entity}")).hint(format!(
            "it is in {}; use it, or name another folder with --home",
            path.display()
        )));
    }
    home.folder("")?;
    let key = SecretKey::from_bytes(&random()?);
    fondaco_store::save_key(&path, &key)
        .map_err(|error| Failure::new(error.to_string()).hint(error.hint()))?;
    let entity = key.entity();
    if json {
        say(&json!({ "entity": entity.to_string() }).to_string());
    } else {
        say(&format!("You are\n  {entity}"));
        say(&format!(
            "Your key is in {}. It is not encrypted yet: keep a copy in a safe place, for\n\
             without it nobody can spend your money or read your backups, you included.",
            path.display()
        ));
    }
    Ok(())
}

pub(crate) async fn run(home: &Home, command: WalletCommand, json: bool) -> Result<(), Failure> {
    let WalletCommand::Add { issuer } = command;
    let address: Address = issuer.parse().map_err(|error| {
        Failure::new(format!("{issuer}: {error}"))
            .code(Code::Usage)
            .hint("`fondaco issuer up` prints the address to give here")
    })?;
    let client = client(&home.key()?, address.clone()).await?;
    let Response::Described { currency, .. } = call(&client, &Request::Describe).await? else {
        return Err(Failure::new("the issuer did not describe its currency"));
    };
    let Currency { name, symbol, scale, .. } = currency;
    let mut wallet = home.wallet()?;
    wallet.currency.retain(|currency| {
        currency.issuer().map_or(true, |known| known.entity() != address.entity())
    });
    wallet.currency.push(CurrencyConfig {
        symbol: symbol.as_str().to_owned(),
        name: name.as_str().to_owned(),
        decimals: scale.decimals(),
        issuer: address.to_string(),
    });
    home.save_wallet(&wallet)?;
    if json {
        let line = json!({ "symbol": symbol.as_str(), "name": name.as_str(), "issuer": address.to_string() });
        say(&line.to_string());
    } else {
        say(&format!("You accept {name} ({symbol}), issued by {}.", address.entity()));
    }
    Ok(())
}

pub(crate) async fn pay(home: &Home, args: PayArgs, json: bool) -> Result<(), Failure> {
    let PayArgs { to, amount, currency, order } = args;
    let to: EntityId =
        to.parse().map_err(|error| Failure::new(format!("{to}: {error}")).code(Code::Usage))?;
    let wallet = home.wallet()?;
    let currency = wallet.find(currency.as_deref())?;
    let amount = currency
        .scale()?
        .parse(&amount)
        .map_err(|error| Failure::new(format!("{amount}: {error}")).code(Code::Usage))?;
    let order = Text::new(order)
        .ok_or_else(|| Failure::new("--order has more than 64 bytes").code(Code::Usage))?;
    let key = home.key()?;
    let client = client(&key, currency.issuer()?).await?;
    let wallet = Wallet::open(&home.folder("agent")?, client)?;
    let Response::Described { currency: described, .. } = wallet.ask(&Request::Describe).await?
    else {
        return Err(Failure::new("the issuer did not describe its currency"));
    };
    let fee_max = described.transfer_fee;
    let id = random_id()?;
    let transfer = Request::Transfer { id, to, amount, fee_max, order: order.clone() };
    let is_same = |known: &Request| match known {
        Request::Transfer { to: payee, amount: sum, order: purpose, .. } => {
            (*payee, *sum) == (to, amount) && *purpose == order
        }
        _ => false,
    };
    let response = wallet.submit_once(transfer, is_same).await.map_err(|error| match error {
        AgentError::Issuer(Refusal::Ledger {
            refusal: LedgerRefusal::InsufficientFunds { available, wanted },
        }) => Failure::new(format!(
            "you have {}, and {} are needed, fee included",
            currency.show(available),
            currency.show(wanted)
        ))
        .code(Code::Funds)
        .hint("ask whoever owes you, or pay less"),
        other => pending(other),
    })?;
    let Response::Transferred { fee, balance } = response else {
        return Err(Failure::new("the issuer did not confirm the transfer"));
    };
    // What earlier runs left without an answer is learnt too, and told.
    let settled = wallet.resume().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "earlier requests are still without an answer");
        0
    });
    let scale = currency.scale()?;
    if settled > 0 && !json {
        say(&format!("{settled} earlier requests without an answer were sent again and settled."));
    }
    if json {
        let line = json!({
            "paid": scale.show(amount).to_string(), "fee": scale.show(fee).to_string(),
            "balance": scale.show(balance).to_string(), "currency": currency.symbol,
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "Paid {} to {to} (fee {}); you have {} left.",
            currency.show(amount),
            scale.show(fee),
            currency.show(balance)
        ));
    }
    Ok(())
}

pub(crate) async fn balance(home: &Home, json: bool) -> Result<(), Failure> {
    let key = home.key()?;
    let wallet = home.wallet()?;
    if wallet.currency.is_empty() {
        return Err(Failure::new("no currency is accepted here yet")
            .code(Code::NotFound)
            .hint("add one with `fondaco wallet add ISSUER-ADDRESS`"));
    }
    for currency in &wallet.currency {
        let client = client(&key, currency.issuer()?).await?;
        let Response::Balance { available, held, .. } = call(&client, &Request::Balance).await?
        else {
            return Err(Failure::new("the issuer did not say what you hold"));
        };
        let scale = currency.scale()?;
        if json {
            let line = json!({
                "currency": currency.symbol, "available": scale.show(available).to_string(),
                "held": scale.show(held).to_string(),
            });
            say(&line.to_string());
        } else {
            let (available, held) = (scale.show(available), scale.show(held));
            say(&format!("{available:>20} {}   and {held} held for contracts", currency.symbol));
        }
    }
    Ok(())
}

pub(crate) async fn deposits(home: &Home, keep: bool, json: bool) -> Result<(), Failure> {
    let key = home.key()?;
    let config = home.wallet()?;
    for currency in &config.currency {
        let client = client(&key, currency.issuer()?).await?;
        let wallet = Wallet::open(&home.folder("agent")?, client)?;
        let (mut through, mut more) = (0, true);
        while more {
            let page =
                wallet.ask(&Request::Deposits { after: through, wait: Duration::ZERO }).await?;
            let Response::Deposits { list, more: is_more } = page else {
                return Err(Failure::new("the issuer did not say what you were paid"));
            };
            more = is_more && !list.as_slice().is_empty();
            for deposit in list.as_slice() {
                through = deposit.number;
                show_deposit(currency, deposit, json)?;
            }
        }
        // The issuer forgets a notice when it is acknowledged, so it is shown first.
        if through > 0 && !keep {
            wallet.submit(Request::AckDeposits { id: random_id()?, through }).await?;
        }
    }
    Ok(())
}

fn show_deposit(currency: &CurrencyConfig, deposit: &Deposit, json: bool) -> Result<(), Failure> {
    let Deposit { number, payer, amount, order, at } = deposit;
    let amount = currency.scale()?.show(*amount);
    let payer = payer.map(|payer| payer.to_string());
    if json {
        let line = json!({
            "event": "deposit", "number": number, "payer": payer, "amount": amount.to_string(),
            "currency": currency.symbol, "order": order.as_str(), "at": at.to_string(),
        });
        say(&line.to_string());
    } else {
        let from = payer.as_deref().unwrap_or("newly minted");
        say(&format!("{at}  {amount:>16} {}  {from}  {}", currency.symbol, order.as_str()));
    }
    Ok(())
}
