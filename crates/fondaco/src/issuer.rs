//! `fondaco issuer …`: issue a currency.

use crate::cli::{HttpsUrl, IssuerCommand, Socket};
use crate::entities::entity;
use crate::failure::{Code, Failure, io};
use crate::home::Home;
use crate::refusals;
use crate::screen::{self, complain, counted, say};
use crate::seen;
use crate::services::{listen_failure, stop_switch};
use crate::wallet::{client, pending, random_id, tell_torn};
use fondaco_agent::{AgentError, Wallet};
use fondaco_issuer::{
    IssuerConfig, IssuerService, MetricsPage, audit, backup, export, operator_key,
};
use fondaco_lcp::{Currency, Refusal, Request, Response};
use fondaco_lcp_wire::{SERVICE_PATH, Settings};
use fondaco_ledger::Refusal as LedgerRefusal;
use fondaco_store::{SystemClock, write_atomic};
use fondaco_transport::{Endpoint, Protocol};
use fondaco_units::{Amount, Bytes, Scale};
use serde_json::json;
use std::fs::{File, Permissions};
use std::io::{BufWriter, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

pub(crate) async fn run(home: &Home, command: IssuerCommand, json: bool) -> Result<(), Failure> {
    match command {
        IssuerCommand::Init {
            name,
            symbol,
            scale,
            transfer_fee,
            full_handshake_fee,
            account_reserve,
        } => {
            let scale = Scale::new(scale).ok_or_else(|| {
                Failure::new(format!("a currency has at most {} decimals, not {scale}", Scale::MAX))
                    .code(Code::Usage)
                    .hint("2 is usual: the smallest unit is then a cent")
            })?;
            let amount = |option: &str, text: &str| {
                scale.parse(text).map_err(|error| {
                    Failure::new(format!("--{option} {text}: {error}")).code(Code::Usage)
                })
            };
            let config =
                IssuerConfig::new(&name, &symbol, scale, amount("transfer-fee", &transfer_fee)?)
                    .map_err(|error| Failure::new(error.to_string()).code(Code::Usage))?
                    .with_full_handshake_fee(amount("full-handshake-fee", &full_handshake_fee)?)
                    .with_account_reserve(amount("account-reserve", &account_reserve)?);
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
        IssuerCommand::Up { listen, soap, http, metrics, url } => {
            up(home, listen, Classic { soap, http, url }, metrics, json).await
        }
        IssuerCommand::Mint { amount, to } => mint(home, &amount, &to, json).await,
        IssuerCommand::Redeem { amount } => redeem(home, &amount, json).await,
        IssuerCommand::Backup { to } => {
            let bar = screen::bytes_bar("copying the books", json);
            let head = backup(&home.join("issuer"), &to, |done, all| bar.at(done, all))?;
            bar.end();
            if json {
                let line = json!({ "records": head.records, "bytes": head.bytes.get(), "head": head.chain.to_string() });
                say(&line.to_string());
            } else {
                say(&format!(
                    "{} in {}, every hash checked; head {:.16}…",
                    records_are(head.records),
                    to.display(),
                    head.chain
                ));
                say("The key is not among them: its 24 words restore it.");
            }
            Ok(())
        }
        IssuerCommand::Restore { from } => restore(home, &from, json),
        IssuerCommand::Export { to } => {
            export_to(home, &to)?;
            if json {
                say(&json!({ "written": to.display().to_string() }).to_string());
            } else {
                say(&format!("The books are in {}; `bean-check` proves them.", to.display()));
            }
            Ok(())
        }
        IssuerCommand::Audit => {
            let report = audit(&home.join("issuer"))?;
            if json {
                let Currency { scale, symbol, .. } = &report.currency;
                let [supply, held] =
                    [report.supply, report.held].map(|sum| scale.show(sum).to_string());
                let line = json!({
                    "currency": symbol.as_str(), "scale": scale.decimals(),
                    "records": report.records, "supply": supply, "accounts": report.accounts,
                    "held": held, "head": report.chain.to_string(), "balanced": report.balanced,
                    "torn_bytes": report.torn.get(),
                });
                say(&line.to_string());
            } else {
                let Currency { scale, symbol, .. } = &report.currency;
                say(&format!(
                    "{} replayed, every hash holds: {} accounts, supply {} {symbol}, {} of them held; head {:.16}…",
                    counted(usize::try_from(report.records).unwrap_or(usize::MAX), "record"),
                    report.accounts,
                    scale.show(report.supply),
                    scale.show(report.held),
                    report.chain
                ));
                if report.torn > Bytes::ZERO {
                    say(&format!(
                        "{} follow of a frame that is not whole: if a crash tore it, nobody was told of what it says, and the next \
                         start cuts it off.",
                        report.torn
                    ));
                }
            }
            if report.balanced {
                Ok(())
            } else {
                Err(Failure::new("the books do not balance").code(Code::Verification))
            }
        }
    }
}

/// Where the protocol of 2003 is served.
struct Classic {
    soap: Option<Socket>,
    http: Option<Socket>,
    url: Option<HttpsUrl>,
}

/// The port on which the protocol of 2003 is described.
const HTTP_PORT: u16 = 4480;

impl Classic {
    /// The settings, beside LCP/2 on `listen`; nothing if it is not to be served.
    fn settings(self, listen: SocketAddr) -> Option<Settings> {
        let soap = self.soap.unwrap_or_else(|| Socket(Some(free(listen)))).0?;
        // A port of the system's choice is one of its choice here too.
        let port = if listen.port() == 0 { 0 } else { HTTP_PORT };
        let usual = || Socket(Some(free(SocketAddr::new(listen.ip(), port))));
        let http = self.http.unwrap_or_else(usual).0;
        let url = self.url.map(HttpsUrl::into_string);
        Some(Settings { http, url, ..Settings::at(soap) })
    }
}

/// The socket that nobody asked for by name, or one of the system's choice where another program has it.
fn free(usual: SocketAddr) -> SocketAddr {
    match TcpListener::bind(usual) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            complain(&format!("warning: another program has {usual}; the system chooses a socket"));
            SocketAddr::new(usual.ip(), 0)
        }
        Ok(_) | Err(_) => usual,
    }
}

/// Files that an issuer has open beside the connections of the protocol of 2003.
const OTHER_FILES: u64 = 256;

/// Asks the system for as many open files as it gives, and returns how many connections it has room for: at most
/// `wanted`. Books, receipts and snapshots must not fail because of connections.
fn connections_max(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    // Without a number there is no limit.
    let files = if raised.is_ok() { limit.maximum } else { limit.current }.unwrap_or(u64::MAX);
    let room = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(16);
    if room < wanted {
        tracing::warn!(
            files,
            connections = room,
            wanted,
            "the system gives few open files: raise the limit (`ulimit -Hn`) to serve more connections"
        );
    }
    wanted.min(room)
}

async fn up(
    home: &Home,
    listen: SocketAddr,
    classic: Classic,
    metrics: Option<SocketAddr>,
    json: bool,
) -> Result<(), Failure> {
    let key = home.key()?;
    let folder = home.folder("issuer")?;
    let stop = stop_switch()?;
    let issuer = IssuerService::open(&folder, &key, Arc::new(SystemClock))?;
    let page = match metrics {
        None => None,
        Some(at) => Some(MetricsPage::bind(at, issuer.metrics()).await.map_err(|error| {
            Failure::new(format!("cannot show figures on {at}: {error}"))
                .hint("choose another socket with --metrics")
        })?),
    };
    let endpoint = Endpoint::bind(&key, Some(listen), &[Protocol::Lcp2])
        .await
        .map_err(|error| listen_failure(error, listen))?;
    let address = endpoint.address();
    let mut classic = classic.settings(listen);
    if let Some(settings) = &mut classic {
        let limits = &mut settings.limits;
        limits.connections = connections_max(limits.connections);
        limits.connections_per_network = limits.connections_per_network.min(limits.connections / 4);
    }
    // A description that names no address in particular would lead nowhere.
    let hosts = seen::hosts(address.sockets());
    if let Some(settings) = &mut classic
        && settings.soap.ip().is_unspecified()
    {
        settings.host = hosts.first().copied();
        settings.addresses.clone_from(&hosts);
    }
    let url = classic.as_ref().and_then(|settings| settings.url.clone());
    let serving = issuer.start(endpoint, classic).await?;
    home.save_service_address("issuer", &address)?;
    let certificate = folder.join("cert.pem");
    if let Some(pem) = serving.certificate() {
        write_atomic(&certificate, pem.as_bytes(), 0o644)?;
    }
    // As others reach it: no address in particular is the first that this machine has for them.
    let seen = |at: SocketAddr| match hosts.first() {
        Some(host) if at.ip().is_unspecified() => SocketAddr::new(*host, at.port()),
        Some(_) | None => at,
    };
    let (soap, http) = (serving.soap_address().map(seen), serving.http_address().map(seen));
    let soap = soap.map(|at| url.unwrap_or_else(|| format!("https://{at}{SERVICE_PATH}")));
    let page_at = page.as_ref().and_then(MetricsPage::address);
    if json {
        let line = json!({
            "event": "ready", "service": "issuer", "address": address.to_string(),
            "certificate": soap.as_ref().map(|_| certificate.display().to_string()),
            "soap": soap,
            "wsdl": http.map(|at| format!("http://{at}/lcp.wsdl")),
            "metrics": page_at.map(|at| format!("http://{at}/metrics")),
        });
        say(&line.to_string());
    } else {
        say(&format!("The issuer is up; others reach it at\n  {address}"));
        if let Some(url) = soap {
            say(&format!("and by the protocol of 2003 at\n  {url}"));
            say(&format!("  with the certificate {}", certificate.display()));
        }
        if let Some(at) = http {
            say(&format!("  http://{at}/lcp.wsdl"));
        }
        if let Some(at) = page_at {
            say(&format!("Figures are at http://{at}/metrics."));
        }
        say("Stop it with Ctrl-C.");
    }
    if let Some(page) = page {
        tokio::spawn(page.serve(stop.clone()));
    }
    Ok(serving.run(stop).await?)
}

/// Opens the wallet of the issuer itself, which dials its own service under the operator's key.
async fn own_wallet(home: &Home) -> Result<Wallet, Failure> {
    let address = home.service_address("issuer")?;
    let client = client(&operator_key(&home.key()?), address).await?;
    let wallet = Wallet::open(&home.folder("issuer")?, client)?;
    tell_torn(&wallet);
    Ok(wallet)
}

/// Says why money was not made or taken out, and what its issuer can do about it.
fn undone(error: AgentError, scale: Scale, symbol: &str) -> Failure {
    let money = |amount: Amount| format!("{} {symbol}", scale.show(amount));
    let (AgentError::Issuer(refusal) | AgentError::NotYet(refusal)) = &error else {
        return pending(error);
    };
    let hint = match refusal {
        Refusal::Ledger { refusal } => match refusal {
            LedgerRefusal::InsufficientFunds { available, wanted } => {
                let (has, wanted) = (money(*available), money(*wanted));
                return Failure::new(format!(
                    "the issuer's own account has {has}, and {wanted} were to be redeemed"
                ))
                .code(Code::Funds)
                .hint("what others hold they must pay to the issuer first");
            }
            LedgerRefusal::OverLimit { .. } => {
                Some("mint less, or ask its owner to accept more with `fondaco wallet add --trust`")
            }
            LedgerRefusal::SupplyOverflow { .. } => Some("mint less"),
            LedgerRefusal::ZeroAmount => Some("name an amount that is more than nothing"),
            _ => None,
        },
        Refusal::Halted => Some("stop it, and let `fondaco issuer audit` say what is wrong"),
        Refusal::NoSpace => Some(
            "it is saved here: free some space on its disk, then run the same again; it is done once",
        ),
        _ => None,
    };
    let failure = refusals::told(error, money);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

async fn mint(home: &Home, amount: &str, to: &str, json: bool) -> Result<(), Failure> {
    let to = entity(to)?;
    let wallet = own_wallet(home).await?;
    let Currency { scale, symbol, .. } = wallet.describe().await?.currency;
    let amount = scale
        .parse(amount)
        .map_err(|error| Failure::new(format!("{amount}: {error}")).code(Code::Usage))?;
    let mint = Request::Mint { id: random_id()?, to, amount };
    let is_same = |known: &Request| match known {
        Request::Mint { to: holder, amount: sum, .. } => (*holder, *sum) == (to, amount),
        _ => false,
    };
    let minted = wallet.submit_once(mint, is_same).await;
    let minted = minted.map_err(|error| undone(error, scale, symbol.as_str()))?;
    let (_, Response::Minted { supply }) = minted else {
        return Err(Failure::new("the issuer did not confirm the minting"));
    };
    let (amount, supply) = (scale.show(amount), scale.show(supply));
    if json {
        let line = json!({ "minted": amount.to_string(), "to": to.to_string(), "supply": supply.to_string() });
        say(&line.to_string());
    } else {
        say(&format!("Minted {amount} {symbol} for {to}; the supply is now {supply} {symbol}."));
    }
    Ok(())
}

async fn redeem(home: &Home, amount: &str, json: bool) -> Result<(), Failure> {
    let wallet = own_wallet(home).await?;
    let Currency { scale, symbol, .. } = wallet.describe().await?.currency;
    let amount = scale
        .parse(amount)
        .map_err(|error| Failure::new(format!("{amount}: {error}")).code(Code::Usage))?;
    let redeem = Request::Redeem { id: random_id()?, amount };
    let is_same = |known: &Request| match known {
        Request::Redeem { amount: sum, .. } => *sum == amount,
        _ => false,
    };
    let redeemed = wallet.submit_once(redeem, is_same).await;
    let redeemed = redeemed.map_err(|error| undone(error, scale, symbol.as_str()))?;
    let (_, Response::Redeemed { supply }) = redeemed else {
        return Err(Failure::new("the issuer did not confirm the redemption"));
    };
    let (amount, supply) = (scale.show(amount), scale.show(supply));
    if json {
        let line = json!({ "redeemed": amount.to_string(), "supply": supply.to_string() });
        say(&line.to_string());
    } else {
        say(&format!("Redeemed {amount} {symbol}; the supply is now {supply} {symbol}."));
    }
    Ok(())
}

/// Writes the books out as a file, which appears when it is whole; what was there stays until then. Books name who paid
/// whom, so that only their owner may read them.
fn export_to(home: &Home, to: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| io("write", to, &error);
    let books = home.join("issuer");
    let write = |file: File| {
        let mut out = BufWriter::new(file);
        export(&books, &mut out)?;
        out.into_inner().map_err(|error| failed(error.into_error()))
    };
    // A pipe or a terminal has no name to give up.
    if std::fs::metadata(to).is_ok_and(|there| !there.is_file()) {
        let file = File::options().write(true).open(to).map_err(failed)?;
        return write(file).map(drop);
    }
    // Through a link, to what it points at.
    let to_be = std::fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    let mut name = to_be.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let beside = to_be.with_file_name(name);
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&beside).map_err(failed)?;
    // One that was left there may have other permissions.
    let private = file.set_permissions(Permissions::from_mode(0o600)).map_err(failed);
    let written = private.and_then(|()| write(file)).and_then(|file| {
        let synced = file.sync_all().and_then(|()| std::fs::rename(&beside, &to_be));
        synced.map_err(failed)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn records_are(count: u64) -> String {
    if count == 1 { "1 record is".to_owned() } else { format!("{count} records are") }
}

/// Copies the books of a backup into this home, and proves them there.
fn restore(home: &Home, from: &Path, json: bool) -> Result<(), Failure> {
    // Asked for first: without one nothing is written, and the same can be run again.
    let own = home.key()?.entity();
    let folder = home.join("issuer");
    backup(from, &folder, |_, _| {})?;
    let report = audit(&folder)?;
    let found = report.currency.id.issuer();
    if json {
        let line = json!({
            "records": report.records, "issuer": found.to_string(), "balanced": report.balanced,
            "key": found == own,
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "{} restored, of {}; the books balance: {}.",
            records_are(report.records),
            report.currency.symbol,
            report.balanced
        ));
        say(
            "What was paid after the backup was made is not among them: if the old books still exist, keep to those.",
        );
        if found != own {
            say(&format!(
                "They are of {found}: restore its key from its 24 words before you serve them."
            ));
        }
    }
    Ok(())
}
