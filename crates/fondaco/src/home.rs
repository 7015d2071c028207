//! Where things are kept: one folder for each identity of an owner, and its key, currencies and hosts.
//!
//! The identity `default` has the folder HOME itself; any other has `HOME/identities/NAME`, and in it all that stands here.
//!
//! ```text
//! HOME/key            the secret key, encrypted with a passphrase
//! HOME/entity         who that is, to be known without the passphrase
//! HOME/wallet.toml    the currencies accepted, with their issuers' addresses
//! HOME/hosts.toml     the storage hosts and brokers that were named once
//! HOME/issuer/        the journal and definition of the currency issued, if any
//! HOME/host/          the journal, price list, address and status of what is sold, if anything
//! HOME/broker/        the address of the broker that is run from here, if any
//! HOME/agent/         the journals of what was bought and paid
//! HOME/cache/         a cache of the repository's indexes; may be deleted
//! ```

use crate::failure::{Code, Failure, io};
use crate::keys::PassphraseSource;
use etcetera::BaseStrategy as _;
use fondaco_crypto::{EntityId, SecretKey, parse_entity};
use fondaco_ports::Address;
use fondaco_store::KeyFile;
use fondaco_units::{Amount, Scale};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;
use std::{fmt, fs};

/// The folder of the identities beside the default one.
const IDENTITIES: &str = "identities";
/// The file that notes who the key is.
const ENTITY: &str = "entity";

/// What an owner calls one of his identities: 1 to 32 of `a-z 0-9 - _`, no `-` in front.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity(String);

impl Identity {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Identity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if (1..=32).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err("an identity has 1 to 32 small letters, digits, `-` or `_`")
        }
    }
}

/// The folder of one identity.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    top: PathBuf,
    path: PathBuf,
    identity: Identity,
    passphrase: PassphraseSource,
    /// Opened once: a passphrase is asked for, and its work done, once in a command.
    key: OnceLock<SecretKey>,
}

impl Home {
    /// Takes the folder named, or `$XDG_DATA_HOME/fondaco`, and in it the one of `identity`.
    pub(crate) fn new(
        named: Option<PathBuf>,
        identity: Identity,
        passphrase: PassphraseSource,
    ) -> Result<Self, Failure> {
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
        let top = std::path::absolute(&path).map_err(|error| io("find", &path, &error))?;
        Ok(Self::at(top, identity, passphrase))
    }

    fn at(top: PathBuf, identity: Identity, passphrase: PassphraseSource) -> Self {
        let path = if identity.is_default() {
            top.clone()
        } else {
            top.join(IDENTITIES).join(identity.as_str())
        };
        Self { top, path, identity, passphrase, key: OnceLock::new() }
    }

    /// Returns the home of another identity of the same owner.
    pub(crate) fn other(&self, identity: Identity) -> Result<Self, Failure> {
        if identity == self.identity {
            return Err(Failure::new(format!("{identity} is the identity that you are now"))
                .code(Code::Usage)
                .hint("name another one, made by `fondaco init --identity NAME`"));
        }
        Ok(Self::at(self.top.clone(), identity, self.passphrase.clone()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) const fn passphrase(&self) -> &PassphraseSource {
        &self.passphrase
    }

    /// Returns the homes of all identities that have a key, by name; the default one first.
    pub(crate) fn identities(&self) -> Result<Vec<Self>, Failure> {
        let folder = self.top.join(IDENTITIES);
        let mut names = Vec::new();
        match fs::read_dir(&folder) {
            Ok(entries) => {
                let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
                names.extend(entries.flatten().filter_map(name));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io("read", &folder, &error)),
        }
        names.retain(|name: &Identity| !name.is_default());
        names.sort();
        names.insert(0, Identity::default());
        let homes = names
            .into_iter()
            .map(|name| Self::at(self.top.clone(), name, self.passphrase.clone()))
            .filter(|home| home.key_path().exists());
        Ok(homes.collect())
    }

    /// Names the identity that has the account now, where that is one of the same owner.
    pub(crate) fn naming_identity(&self, failure: Failure) -> Failure {
        let Some(key) = failure.moved_to() else { return failure };
        let all = self.identities().unwrap_or_default();
        let Some(other) = all.iter().find(|home| home.noted_entity() == Some(key)) else {
            return failure;
        };
        let name = other.identity();
        let theirs = other.wallet().unwrap_or_default();
        let mine = self.wallet().unwrap_or_default();
        // One account may be another key's, and others still this one's.
        let concerned: Vec<&CurrencyConfig> = match failure.issuer() {
            Some(issuer) => mine.find(Some(issuer)).into_iter().collect(),
            None => mine.currency.iter().collect(),
        };
        let is_known = |currency: &&CurrencyConfig| {
            let issuer = currency.issuer().ok().map(|issuer| issuer.entity().to_string());
            issuer.is_some_and(|issuer| theirs.find(Some(&issuer)).is_ok())
        };
        let (symbol, address) = match concerned.as_slice() {
            [only] => (only.symbol.as_str(), only.issuer.as_str()),
            _ => ("the currency", "ISSUER-ADDRESS"),
        };
        failure.hint(if !concerned.is_empty() && concerned.iter().all(is_known) {
            format!("for {symbol} that is your identity {name}: say `fondaco --identity {name} …`")
        } else {
            format!(
                "that is your identity {name}: accept {symbol} by `fondaco --identity {name} wallet add {address}`, and say \
                 `--identity {name}` for it from then on"
            )
        })
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

    /// Reads the key file.
    pub(crate) fn key_file(&self) -> Result<KeyFile, Failure> {
        let path = self.key_path();
        if !path.exists() {
            let init = if self.identity.is_default() {
                "fondaco init".to_owned()
            } else {
                format!("fondaco init --identity {}", self.identity)
            };
            return Err(Failure::new(format!("there is no key in {}", self.path.display()))
                .code(Code::NotFound)
                .hint(format!("run `{init}` first, or name another folder with --home")));
        }
        Ok(fondaco_store::read_key(&path)?)
    }

    /// Opens the owner's key; asks for its passphrase if need be.
    pub(crate) fn key(&self) -> Result<SecretKey, Failure> {
        if let Some(key) = self.key.get() {
            return Ok(key.clone());
        }
        let key = match self.key_file()? {
            KeyFile::Plain(key) => key,
            KeyFile::Sealed(sealed) => {
                let whose = match self.noted_entity() {
                    Some(entity) => format!("{}… ({})", entity.short(), self.identity),
                    None => self.identity.to_string(),
                };
                self.passphrase.open(&sealed, &whose)?
            }
        };
        match self.noted_entity() {
            Some(noted) if noted != key.entity() => {
                let note = self.join(ENTITY);
                let what = format!("the key is that of {}, not of {noted}", key.entity());
                return Err(Failure::new(what).code(Code::Verification).hint(format!(
                    "put the right key back; if this is the right one, remove {}",
                    note.display()
                )));
            }
            Some(_) => {}
            // Only a help for those who look without the passphrase.
            None => drop(self.note_entity(key.entity())),
        }
        Ok(self.key.get_or_init(|| key).clone())
    }

    /// Returns who the key is, as noted beside it.
    pub(crate) fn noted_entity(&self) -> Option<EntityId> {
        fs::read_to_string(self.join(ENTITY)).ok()?.trim().parse().ok()
    }

    /// Notes who the key is.
    pub(crate) fn note_entity(&self, entity: EntityId) -> Result<(), Failure> {
        write(&self.join(ENTITY), &format!("{entity}\n"))
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
                    "broker" => "start it with `fondaco broker up`, or name another's address",
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
    /// The most of it that is accepted here, as people write it; without one, any amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trust: Option<String>,
    /// Whether the issuer was told of that, and keeps to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) limited: bool,
    /// Until when it keeps to it without an account, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limited_until: Option<u64>,
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

    /// Says of a failure that it is about this currency.
    pub(crate) fn concerned_by(&self, failure: Failure) -> Failure {
        let issuer = self.issuer().map(|issuer| issuer.entity().to_string());
        failure.of(&self.symbol, &issuer.unwrap_or_default())
    }

    pub(crate) fn show(&self, amount: Amount) -> String {
        format!("{} {}", self.plain(amount), self.symbol)
    }

    /// The same without its symbol, as JSON has it.
    pub(crate) fn plain(&self, amount: Amount) -> String {
        Scale::new(self.decimals).unwrap_or_default().show(amount).to_string()
    }
}

impl WalletConfig {
    /// What a currency is called: its symbol, and where another has the same one, whose it is.
    pub(crate) fn label(&self, currency: &CurrencyConfig) -> String {
        let CurrencyConfig { symbol, .. } = currency;
        let twins = self.currency.iter().filter(|other| other.symbol == *symbol).count();
        match currency.issuer() {
            Ok(issuer) if twins > 1 => format!("{symbol} of {}", issuer.entity()),
            Ok(_) | Err(_) => symbol.clone(),
        }
    }

    /// Finds a currency by its symbol, its issuer, or, when there is only one, by nothing.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<&CurrencyConfig, Failure> {
        let known = || {
            let labels: Vec<String> =
                self.currency.iter().map(|currency| self.label(currency)).collect();
            if labels.is_empty() {
                "add one with `fondaco wallet add ISSUER-ADDRESS`".to_owned()
            } else {
                format!("known here: {}", labels.join(", "))
            }
        };
        let entity = |currency: &CurrencyConfig| currency.issuer().ok().map(|a| a.entity());
        let named = name.and_then(|name| parse_entity(name).ok());
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
                let keys: Vec<String> =
                    matching.iter().filter_map(|it| Some(entity(it)?.to_string())).collect();
                Err(Failure::new(format!("more than one currency is called {name}"))
                    .hint(format!("name the issuer's key instead: {}", keys.join(" or "))))
            }
            (_, None) => Err(Failure::new("more than one currency is accepted here").hint(known())),
        }
    }
}

/// The storage hosts and brokers that an owner has named once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostsConfig {
    #[serde(default)]
    pub(crate) host: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) broker: Vec<String>,
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
