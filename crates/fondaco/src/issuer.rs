//! `fondaco issuer …`: issue a currency.

use crate::cli::IssuerCommand;
use crate::entities::entity;
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::screen::say;
use crate::services::{announce, listen_failure, stop_switch};
use crate::wallet::{call, client, pending, random_id};
use fondaco_agent::Wallet;
use fondaco_issuer::{IssuerConfig, IssuerService, audit, operator_key};
use fondaco_lcp::{Request, Response};
use fondaco_store::SystemClock;
use fondaco_transport::{Endpoint, Protocol};
use fondaco_units::Scale;
use serde_json::json;
use std::sync::Arc;

pub(crate) async fn run(home: &Home, command: IssuerCommand, json: bool) -> Result<(), Failure> {
    match command {
        IssuerCommand::Init { name, symbol, scale, transfer_fee } => {
            let scale = Scale::new(scale).ok_or_else(|| {
                Failure::new(format!("a currency has at most {} decimals, not {scale}", Scale::MAX))
                    .code(Code::Usage)
                    .hint("2 is usual: the smallest unit is then a cent")
            })?;
            let transfer_fee = scale.parse(&transfer_fee).map_err(|error| {
                Failure::new(format!("--transfer-fee {transfer_fee}: {error}")).code(Code::Usage)
            })?;
            let config = IssuerConfig::new(&name, &symbol, scale, transfer_fee)
                .map_err(|error| Failure::new(error.to_string()).code(Code::Usage))?;
            let key = home.key()?;
            IssuerService::init(&home.folder("issuer")?, &key, &config)?;
            if json {
                let issuer = key.entity().to_string();
                say(&json!({ "issuer": issuer, "name": name, "symbol": symbol }).to_string());
            } else {
                say(&format!(
                    "The currency {name} ({symbol}) is defined; its issuer is\n  {}",
                    key.entity()
                ));
                say("Serve it with `fondaco issuer up`.");
            }
            Ok(())
        }
        IssuerCommand::Up { listen } => {
            let key = home.key()?;
            let folder = home.folder("issuer")?;
            let stop = stop_switch()?;
            let issuer = IssuerService::open(&folder, &key, Arc::new(SystemClock))?;
            let endpoint = Endpoint::bind(&key, Some(listen), &[Protocol::Lcp2])
                .await
                .map_err(|error| listen_failure(error, listen))?;
            home.save_service_address("issuer", &endpoint.address())?;
            announce("issuer", &endpoint.address(), json);
            Ok(issuer.serve(endpoint, stop).await?)
        }
        IssuerCommand::Mint { amount, to } => {
            let key = home.key()?;
            let to = entity(&to)?;
            let address = home.service_address("issuer")?;
            let client = client(&operator_key(&key), address).await?;
            let Response::Described { currency, .. } = call(&client, &Request::Describe).await?
            else {
                return Err(Failure::new("the issuer did not describe its currency"));
            };
            let (scale, symbol) = (currency.scale, currency.symbol);
            let amount = scale
                .parse(&amount)
                .map_err(|error| Failure::new(format!("{amount}: {error}")).code(Code::Usage))?;
            let wallet = Wallet::open(&home.folder("issuer")?, client)?;
            let mint = Request::Mint { id: random_id()?, to, amount };
            let is_same = |known: &Request| match known {
                Request::Mint { to: holder, amount: sum, .. } => (*holder, *sum) == (to, amount),
                _ => false,
            };
            let minted = wallet.submit_once(mint, is_same).await.map_err(pending)?;
            let Response::Minted { supply } = minted else {
                return Err(Failure::new("the issuer did not confirm the minting"));
            };
            let (amount, supply) = (scale.show(amount), scale.show(supply));
            if json {
                let line = json!({ "minted": amount.to_string(), "to": to.to_string(), "supply": supply.to_string() });
                say(&line.to_string());
            } else {
                say(&format!(
                    "Minted {amount} {symbol} for {to}; the supply is now {supply} {symbol}."
                ));
            }
            Ok(())
        }
        IssuerCommand::Audit => {
            let report = audit(&home.join("issuer"))?;
            if json {
                let line = json!({
                    "records": report.records, "supply": report.supply.get(), "accounts": report.accounts,
                    "held": report.held.get(), "head": report.chain.to_string(), "balanced": report.balanced,
                });
                say(&line.to_string());
            } else {
                say(&format!(
                    "{} records replayed, every hash holds: {} accounts, supply {} units, {} of them held; head {:.16}…",
                    report.records,
                    report.accounts,
                    report.supply.get(),
                    report.held.get(),
                    report.chain
                ));
            }
            if report.balanced {
                Ok(())
            } else {
                Err(Failure::new("the books do not balance").code(Code::Verification))
            }
        }
    }
}
