//! `fondaco sell` and `up`: the provider's side.

use crate::cli::{Misbehaviour, SellCommand, SellStorageArgs, UpArgs};
use crate::failure::{Code, Failure, io};
use crate::hearing::{self, Hearing};
use crate::home::{CurrencyConfig, Home};
use crate::offers;
use crate::screen::{complain, say};
use crate::selling::{self, GIB, Offer, OfferToml};
use crate::services::{announce, announce_locally, listen_failure, stop_switch};
use crate::status::{Seen, Teller};
use fondaco_agent::posting::Told;
use fondaco_contract::{STEP_LIMIT, STEP_MIN};
use fondaco_crypto::CurrencyId;
use fondaco_mdns::Role;
use fondaco_ports::Clock as _;
use fondaco_storage_host::{HostConfig, HostService};
use fondaco_store::SystemClock;
use fondaco_transport::{Endpoint, LcpClient, Protocol};
use fondaco_units::{Bytes, Duration, Price, Scale, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What is sold, as `HOME/host/host.toml` keeps it: in the words of the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostToml {
    pub(crate) path: PathBuf,
    size: String,
    /// The issuer's key: symbols may be taken twice.
    pub(crate) currency: String,
    open: String,
    store: String,
    write: String,
    read: String,
    epoch_hours: u32,
    period_epochs: u32,
    step: String,
    /// Without one, half of the size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newcomer: Option<String>,
    #[serde(default = "no_reserve")]
    reserve: String,
    /// When it stops, as was announced; milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leaves: Option<u64>,
    #[serde(default)]
    pub(crate) offer: OfferToml,
}

fn no_reserve() -> String {
    "0".to_owned()
}

fn usage(what: String) -> Failure {
    Failure::new(what).code(Code::Usage)
}

impl HostToml {
    /// Checks every field and makes it what the service wants.
    pub(crate) fn checked(&self, currency: &CurrencyConfig) -> Result<HostConfig, Failure> {
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
        let all = sold(&self.size)?;
        let newcomer = match &self.newcomer {
            None => Bytes::new(all.get() / 2),
            Some(text) => size("newcomer", text)?,
        };
        Ok(HostConfig {
            currency: CurrencyId::issued_by(currency.issuer()?.entity()),
            open: scale
                .parse(&self.open)
                .map_err(|error| usage(format!("--open {}: {error}", self.open)))?,
            store: price(scale, "store", &self.store)?,
            write: price(scale, "write", &self.write)?,
            read: price(scale, "read", &self.read)?,
            size: all,
            period_max,
            epoch,
            step_max: step,
            newcomer,
            reserve: size("reserve", &self.reserve)?,
            leaves: self.leaves.map(Timestamp::from_milliseconds),
        })
    }
}

/// Reads how much is sold.
fn sold(text: &str) -> Result<Bytes, Failure> {
    let size = Bytes::parse(text).ok_or_else(|| {
        usage(format!("--size {text} is no size")).hint("write 64k, 500M or 200G")
    })?;
    match size {
        Bytes::ZERO => Err(usage(format!("--size {text} sells nothing"))
            .hint("write 500M or 200G; `fondaco sell stop` ends selling")),
        size => Ok(size),
    }
}

/// Reads a price of a GiB.
fn price(scale: Scale, name: &str, text: &str) -> Result<Price, Failure> {
    let amount = scale.parse(text).map_err(|error| usage(format!("--{name} {text}: {error}")))?;
    Price::of(amount, GIB)
        .ok_or_else(|| usage(format!("--{name} {text} is too dear to be counted")))
}

pub(crate) fn sell(home: &Home, command: SellCommand, json: bool) -> Result<(), Failure> {
    match command {
        SellCommand::Storage(args) => sell_storage(home, args, json),
        SellCommand::Stop { r#in } => stop_selling(home, r#in, json),
    }
}

/// Reads what is sold.
pub(crate) fn host_toml(home: &Home) -> Result<HostToml, Failure> {
    let config = home.join("host").join("host.toml");
    let text = std::fs::read_to_string(&config).map_err(|_| {
        Failure::new("nothing is offered from here yet")
            .code(Code::NotFound)
            .hint("offer something with `fondaco sell storage --path DIR --size SIZE`")
    })?;
    toml::from_str(&text).map_err(|error| {
        Failure::new(format!("{}: {error}", config.display()))
            .hint("run `fondaco sell storage` again")
    })
}

fn save_host_toml(home: &Home, host: &HostToml) -> Result<(), Failure> {
    let text = toml::to_string(host).map_err(|error| Failure::new(error.to_string()))?;
    let config = home.folder("host")?.join("host.toml");
    Ok(fondaco_store::write_atomic(&config, text.as_bytes(), 0o644)?)
}

fn stop_selling(home: &Home, span: std::time::Duration, json: bool) -> Result<(), Failure> {
    let mut host = host_toml(home)?;
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let leaves = SystemClock.now().after(Duration::from_milliseconds(span));
    host.leaves = Some(leaves.milliseconds());
    save_host_toml(home, &host)?;
    if json {
        say(&json!({ "event": "stops", "at": leaves.to_string() }).to_string());
    } else {
        say(&format!(
            "You stop {leaves}; a contract whose epoch is longer than that is kept to its end."
        ));
        say(
            "`fondaco up` tells your buyers, takes nothing new, and serves what it keeps until then; one that runs hears it now.",
        );
    }
    Ok(())
}

fn sell_storage(home: &Home, args: SellStorageArgs, json: bool) -> Result<(), Failure> {
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
        newcomer,
        reserve,
        offer,
    } = args;
    home.key()?;
    sold(&size)?;
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
        newcomer,
        reserve,
        leaves: None,
        offer: OfferToml::new(offer)?,
    };
    let checked = host.checked(currency)?;
    let offer = host.offer.checked(currency, &checked)?;
    std::fs::create_dir_all(&path).map_err(|error| io("make the folder", &path, &error))?;
    let free = fondaco_store::available(&path)?;
    if checked.size > free && json {
        tracing::warn!("{} offered, {free} free", checked.size);
    } else if checked.size > free {
        say(&format!(
            "Note: {} offered, {free} free; no more is sold than the disk has room for.",
            checked.size
        ));
    }
    let (_, known) = offers::named(home, &[], &[])?;
    let alone = offer.follows_nobody(&known, false);
    if alone && json {
        tracing::warn!("--auto-price sees nobody's prices: no broker is named or known");
    } else if alone {
        say(
            "Note: --auto-price follows nobody yet: name a broker with --broker, or start with `fondaco up --local`.",
        );
    }
    save_host_toml(home, &host)?;
    if json {
        say(&json!({ "path": path, "size": checked.size.get(), "currency": currency.symbol })
            .to_string());
    } else {
        say(&format!("You offer {} in {} for {}.", checked.size, path.display(), currency.symbol));
        say("Serve it with `fondaco up`; one that runs hears it now.");
    }
    Ok(())
}

pub(crate) async fn up(home: &Home, args: UpArgs, json: bool) -> Result<(), Failure> {
    let host = host_toml(home)?;
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
    let mut service = HostService::open(
        &home.folder("host")?,
        &host.path,
        key.clone(),
        checked,
        Arc::new(SystemClock),
        issuer,
        args.without_shards,
    )?;
    if let Some(how) = args.misbehave {
        let what = match how {
            Misbehaviour::RefuseReads => "it takes money for reads and serves none",
            Misbehaviour::AuditsOnly => "it answers what looks like an audit, and nothing else",
        };
        if !json {
            complain(&format!("This host cheats: {what}."));
        }
        match how {
            Misbehaviour::RefuseReads => service.refuse_reads(),
            Misbehaviour::AuditsOnly => service.serve_audits_only(),
        }
    }
    home.save_service_address("host", &endpoint.address())?;
    let (folder, watch, address) = (home.folder("host")?, service.watch(), endpoint.address());
    let seen = Seen::default();
    let teller = Teller { folder, watch, address, seen: seen.clone() };
    // Whoever hears that it is ready may ask for its status at once.
    teller.tell().await;
    announce("host", &endpoint.address(), json);
    let _neighbours = announce_locally(args.local, &endpoint.address(), Role::Host);
    let over = stop.child_token();
    let telling = tokio::spawn(teller.go_on(over.clone()));
    let (_, known) = offers::named(home, &[], &[])?;
    if offer.follows_nobody(&known, args.local) {
        selling::say_nobody_to_follow(json);
    }
    let (scale, symbol) = (currency.scale()?, currency.symbol.clone());
    let board = service.price_board();
    let around = (known, args.local);
    let (changed, offers) = watch::channel(offer);
    let hearing = Hearing {
        home: home.clone(),
        currency: currency.clone(),
        board: board.clone(),
        offers: changed,
        around: around.clone(),
        known: host,
        json,
    };
    let ends = over.clone();
    tokio::spawn(async move { ends.run_until_cancelled(hearing.go_on()).await });
    // The brokers are told of the end while there still is an endpoint to tell them from.
    let (ended, serving) = (stop.child_token(), CancellationToken::new());
    let showing = {
        let (ended, serving, endpoint) = (ended.clone(), serving.clone(), endpoint.clone());
        tokio::spawn(async move {
            let posting = |offer: Offer| {
                offer.posting(key.clone(), endpoint.clone(), board.clone(), around.clone())
            };
            let tell = |told: Told| {
                seen.note(&told);
                selling::say_told(&told, scale, &symbol, json);
            };
            hearing::show(offers, posting, ended, tell).await;
            serving.cancel();
        })
    };
    let served = service.serve(endpoint, serving).await;
    ended.cancel();
    let _ = showing.await;
    over.cancel();
    drop(telling.await);
    Ok(served?)
}
