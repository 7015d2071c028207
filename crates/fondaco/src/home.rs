//! Where things are kept: one folder for each owner, and its key, currencies and hosts.
//!
//! ```text
//! HOME/key            the secret key
//! HOME/wallet.toml    the currencies accepted, with their issuers' addresses
//! HOME/hosts.toml     the storage hosts that were named once
//! HOME/issuer/        the journal and definition of the currency issued, if any
//! HOME/host/          the journal, price list and address of what is sold, if anything
//! HOME/agent/         the journals of what was bought and paid
//! HOME/cache/         a cache of the repository's indexes; may be deleted
//! ```

use crate::failure::{Code, Failure, io};
use etcetera::BaseStrategy as _;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_ports::Address;
use fondaco_store::KeyFile;
use fondaco_units::{Amount, Scale};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of one owner.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    path: PathBuf,
}

impl Home {
    /// Takes the folder named, or `$XDG_DATA_HOME/fondaco`.
    pub(crate) fn new(named: Option<PathBuf>) -> Result<Self, Failure> {
        let path = match named {
            Some(path) => path,
            None => etcetera::choose_base_strategy()
                .map_err(|error| {
                    Failure::new(format!("there is no home folder: {error}"))
                        .hint("name one with --home DIR")
                })?
                .data_dir()
                .join("fondaco"),
        };
        let path = std::path::absolute(&path).map_err(|error| io("find", &path, &error))?;
        Ok(Self { path })
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns a folder inside, made if it is not there.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(|error| io("make the folder", &path, &error))?;
        Ok(path)
    }

    pub(crate) fn key_path(&self) -> PathBuf {
        self.join("key")
    }

    /// Loads the owner's key.
    pub(crate) fn key(&self) -> Result<SecretKey, Failure> {
        let path = self.key_path();
        if !path.exists() {
            return Err(Failure::new(format!("there is no key in {}", self.path.display()))
                .code(Code::NotFound)
                .hint("run `fondaco init` first, or name another folder with --home"));
        }
        match fondaco_store::read_key(&path) {
            Ok(KeyFile::Plain(key)) => Ok(key),
            Ok(KeyFile::Sealed(_)) => {
                Err(Failure::new(format!("{} is encrypted", path.display())).code(Code::Usage))
            }
            Err(error) => Err(Failure::new(error.to_string()).hint(error.hint())),
        }
    }

    pub(crate) fn wallet(&self) -> Result<WalletConfig, Failure> {
        read_toml(&self.join("wallet.toml"))
    }

    pub(crate) fn save_wallet(&self, wallet: &WalletConfig) -> Result<(), Failure> {
        write_toml(&self.join("wallet.toml"), wallet)
    }

    pub(crate) fn hosts(&self) -> Result<HostsConfig, Failure> {
        read_toml(&self.join("hosts.toml"))
    }

    pub(crate) fn save_hosts(&self, hosts: &HostsConfig) -> Result<(), Failure> {
        write_toml(&self.join("hosts.toml"), hosts)
    }

    /// Returns the address that a service wrote down when it started.
    pub(crate) fn service_address(&self, service: &str) -> Result<Address, Failure> {
        let path = self.join(service).join("address");
        let text = fs::read_to_string(&path).map_err(|_| {
            Failure::new(format!("the {service} has never run from {}", self.path.display()))
                .code(Code::NotFound)
                .hint(match service {
                    "issuer" => "start it with `fondaco issuer up`",
                    _ => "start it with `fondaco up`",
                })
        })?;
        text.trim().parse().map_err(|error| Failure::new(format!("{}: {error}", path.display())))
    }

    pub(crate) fn save_service_address(
        &self,
        service: &str,
        address: &Address,
    ) -> Result<(), Failure> {
        let path = self.folder(service)?.join("address");
        write(&path, &format!("{address}\n"))
    }
}

/// The currencies an owner accepts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WalletConfig {
    #[serde(default)]
    pub(crate) currency: Vec<CurrencyConfig>,
}

/// One currency accepted: its issuer's key is pinned here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CurrencyConfig {
    pub(crate) symbol: String,
    pub(crate) name: String,
    pub(crate) decimals: u8,
    pub(crate) issuer: String,
}

impl CurrencyConfig {
    pub(crate) fn issuer(&self) -> Result<Address, Failure> {
        self.issuer.parse().map_err(|error| {
            Failure::new(format!("wallet.toml, {}: {error}", self.symbol))
                .hint("add the currency again with `fondaco wallet add ISSUER-ADDRESS`")
        })
    }

    pub(crate) fn scale(&self) -> Result<Scale, Failure> {
        Scale::new(self.decimals).ok_or_else(|| {
            Failure::new(format!("wallet.toml, {}: at most {} decimals", self.symbol, Scale::MAX))
        })
    }

    pub(crate) fn show(&self, amount: Amount) -> String {
        let scale = Scale::new(self.decimals).unwrap_or_default();
        format!("{} {}", scale.show(amount), self.symbol)
    }
}

impl WalletConfig {
    /// Finds a currency by its symbol, its issuer, or, when there is only one, by nothing.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<&CurrencyConfig, Failure> {
        let known = || {
            let symbols: Vec<&str> =
                self.currency.iter().map(|currency| currency.symbol.as_str()).collect();
            if symbols.is_empty() {
                "add one with `fondaco wallet add ISSUER-ADDRESS`".to_owned()
            } else {
                format!("known here: {}", symbols.join(", "))
            }
        };
        let entity = |currency: &CurrencyConfig| currency.issuer().ok().map(|a| a.entity());
        let named = name.and_then(|name| name.parse::<EntityId>().ok());
        let matching: Vec<&CurrencyConfig> = match name {
            None => self.currency.iter().collect(),
            Some(name) => {
                let fits = |currency: &&CurrencyConfig| {
                    currency.symbol == name || (named.is_some() && entity(currency) == named)
                };
                self.currency.iter().filter(fits).collect()
            }
        };
        match (matching.as_slice(), name) {
            ([currency], _) => Ok(currency),
            ([], Some(name)) => Err(Failure::new(format!("no currency {name} is accepted here"))
                .code(Code::NotFound)
                .hint(known())),
            ([], None) => Err(Failure::new("no currency is accepted here yet")
                .code(Code::NotFound)
                .hint(known())),
            (_, Some(name)) => {
                Err(Failure::new(format!("more than one currency is called {name}"))
                    .hint("name the issuer's key instead"))
            }
            (_, None) => Err(Failure::new("more than one currency is accepted here").hint(known())),
        }
    }
}

/// The storage hosts that an owner has named once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostsConfig {
    #[serde(default)]
    pub(crate) host: Vec<String>,
}

fn read_toml<T: DeserializeOwned + Default>(path: &Path) -> Result<T, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            Failure::new(format!("{}: {error}", path.display()))
                .hint("mend the file, or move it away and name things again")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(io("read", path, &error)),
    }
}

fn write_toml<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = toml::to_string(value).map_err(|error| Failure::new(error.to_string()))?;
    write(path, &text)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| io("make the folder", folder, &error))?;
    }
    Ok(fondaco_store::write_atomic(path, text.as_bytes(), 0o644)?)
}
