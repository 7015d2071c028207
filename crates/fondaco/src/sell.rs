//! `fondaco sell` and `up`: the provider's side.

use crate::cli::{SellCommand, SellStorageArgs, UpArgs};
use crate::failure::{Code, Failure, io};
use crate::home::{CurrencyConfig, Home};
use crate::screen::say;
use crate::selling::{self, OfferToml};
use crate::services::{announce, announce_locally, listen_failure, stop_switch};
use fondaco_contract::{STEP_LIMIT, STEP_MIN};
use fondaco_crypto::CurrencyId;
use fondaco_mdns::Role;
use fondaco_storage_host::{HostConfig, HostService};
use fondaco_store::SystemClock;
use fondaco_transport::{Endpoint, LcpClient, Protocol};
use fondaco_units::{Bytes, Duration, Price, Scale};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What is sold, as `HOME/host/host.toml` keeps it: in the words of the command line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostToml {
    path: PathBuf,
    size: String,
    /// The issuer's key: symbols may be taken twice.
    currency: String,
    open: String,
    store: String,
    write: String,
    read: String,
    epoch_hours: u32,
    period_epochs: u32,
    step: String,
    #[serde(default)]
    offer: OfferToml,
}

const GIB: Bytes = Bytes::new(1 << 30);

fn usage(what: String) -> Failure {
    Failure::new(what).code(Code::Usage)
}

impl HostToml {
    /// Checks every field and makes it what the service wants.
    fn checked(&self, currency: &CurrencyConfig) -> Result<HostConfig, Failure> {
        let scale = currency.scale()?;
        let size = |name: &str, text: &str| {
            Bytes::parse(text).ok_or_else(|| {
                usage(format!("--{name} {text} is no size")).hint("write 64k, 500M or 200G")
            })
        };
        let step = size("step", &self.step)?;
        if !(STEP_MIN..=STEP_LIMIT).contains(&step) {
            return Err(usage(format!("--step {step} is not between {STEP_MIN} and {STEP_LIMIT}")));
        }
        if self.epoch_hours == 0 || self.period_epochs == 0 {
            return Err(usage(
                "an epoch has at least one hour, a contract at least one epoch".to_owned(),
            ));
        }
        let epoch = Duration::from_seconds(u64::from(self.epoch_hours) * 3600);
        let period_max = Duration::from_milliseconds(
            epoch.milliseconds().saturating_mul(u64::from(self.period_epochs)),
        );
        Ok(HostConfig {
            currency: CurrencyId::issued_by(currency.issuer()?.entity()),
            open: scale
                .parse(&self.open)
                .map_err(|error| usage(format!("--open {}: {error}", self.open)))?,
            store: price(scale, "store", &self.store)?,
            write: price(scale, "write", &self.write)?,
            read: price(scale, "read", &self.read)?,
            size: size("size", &self.size)?,
            period_max,
            epoch,
            step_max: step,
        })
    }
}

/// Reads a price of a GiB.
fn price(scale: Scale, name: &str, text: &str) -> Result<Price, Failure> {
    let amount = scale.parse(text).map_err(|error| usage(format!("--{name} {text}: {error}")))?;
    Price::of(amount, GIB)
        .ok_or_else(|| usage(format!("--{name} {text} is too dear to be counted")))
}

pub(crate) async fn sell(home: &Home, command: SellCommand, json: bool) -> Result<(), Failure> {
    let SellCommand::Storage(args) = command;
    let SellStorageArgs {
        path,
        size,
        accept,
        open,
        store,
        write,
        read,
        epoch,
        period,
        step,
        offer,
    } = args;
    home.key()?;
    let wallet = home.wallet()?;
    let currency = wallet.find(accept.as_deref())?;
    let path = std::path::absolute(&path).map_err(|error| io("sell", &path, &error))?;
    let host = HostToml {
        path: path.clone(),
        size,
        currency: currency.issuer()?.entity().to_string(),
        open,
        store,
        write,
        read,
        epoch_hours: epoch,
        period_epochs: period,
        step,
        offer: OfferToml::new(offer)?,
    };
    let checked = host.checked(currency)?;
    host.offer.checked(currency, &checked)?;
    std::fs::create_dir_all(&path).map_err(|error| io("make the folder", &path, &error))?;
    let free = fondaco_store::available(&path)?;
    if checked.size > free && json {
        tracing::warn!("{} offered, {free} free", checked.size);
    } else if checked.size > free {
        say(&format!(
            "Note: {} offered, {free} free; nothing is taken beyond what is free.",
            checked.size
        ));
    }
    let text = toml::to_string(&host).map_err(|error| Failure::new(error.to_string()))?;
    let config = home.folder("host")?.join("host.toml");
    fondaco_store::write_atomic(&config, text.as_bytes(), 0o644)?;
    if json {
        say(&json!({ "path": path, "size": checked.size.get(), "currency": currency.symbol })
            .to_string());
    } else {
        say(&format!("You offer {} in {} for {}.", checked.size, path.display(), currency.symbol));
        say("Serve it with `fondaco up`.");
    }
    Ok(())
}

pub(crate) async fn up(home: &Home, args: UpArgs, json: bool) -> Result<(), Failure> {
    let config = home.join("host").join("host.toml");
    let text = std::fs::read_to_string(&config).map_err(|_| {
        Failure::new("nothing is offered from here yet")
            .code(Code::NotFound)
            .hint("offer something with `fondaco sell storage --path DIR --size SIZE`")
    })?;
    let host: HostToml = toml::from_str(&text).map_err(|error| {
        Failure::new(format!("{}: {error}", config.display()))
            .hint("run `fondaco sell storage` again")
    })?;
    let wallet = home.wallet()?;
    let currency = wallet.find(Some(&host.currency))?;
    let checked = host.checked(currency)?;
    let offer = host.offer.checked(currency, &checked)?;
    let key = home.key()?;
    let stop = stop_switch()?;
    let endpoint = Endpoint::bind(&key, Some(args.listen), &[Protocol::Storage])
        .await
        .map_err(|error| listen_failure(error, args.listen))?;
    let issuer = LcpClient::new(endpoint.clone(), currency.issuer()?);
    let service = HostService::open(
        &home.folder("host")?,
        &host.path,
        key.clone(),
        checked,
        Arc::new(SystemClock),
        issuer,
    )?;
    home.save_service_address("host", &endpoint.address())?;
    announce("host", &endpoint.address(), json);
    let _neighbours = announce_locally(args.local, &endpoint.address(), Role::Host);
    let posting = offer.posting(key, endpoint.clone(), service.price_board());
    let Some(posting) = posting else { return Ok(service.serve(endpoint, stop).await?) };
    // The brokers are told of the end while there still is an endpoint to tell them from.
    let (ended, serving) = (CancellationToken::new(), CancellationToken::new());
    let (scale, symbol) = (currency.scale()?, currency.symbol.clone());
    let until = {
        let ended = ended.clone();
        async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = ended.cancelled() => {}
            }
        }
    };
    let showing = {
        let serving = serving.clone();
        tokio::spawn(async move {
            posting.run(until, |told| selling::say_told(&told, scale, &symbol, json)).await;
            serving.cancel();
        })
    };
    let served = service.serve(endpoint, serving).await;
    ended.cancel();
    let _ = showing.await;
    Ok(served?)
}
