//! The arguments of the command.

mod backup;
mod delegate;
mod invoice;
mod url;

pub(crate) use backup::{
    BackupCommand, CheckArgs, CreateArgs, DiffArgs, FindArgs, ForgetArgs, LsArgs, MountArgs,
    PruneArgs, ReadArgs, RecoverArgs, RepairArgs, RestoreArgs, SAMPLES_MAX, SeekArgs,
};

pub(crate) use delegate::{
    AcceptArgs, DelegateCommand, EntrustArgs, HandBackArgs, ReclaimArgs, RevokeArgs, TendArgs,
};

pub(crate) use invoice::{CreateInvoiceArgs, InvoiceCommand};

pub(crate) use url::HttpsUrl;

use crate::home::Identity;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Buy and sell storage among peers, in currencies that anyone may issue.
#[derive(Debug, Parser)]
#[command(
    name = "fondaco",
    version,
    about,
    max_term_width = 100,
    after_help = "Examples:\n  \
        fondaco demo ~/Pictures                 watch the whole market work on a folder of yours\n  \
        fondaco init                            make your key\n  \
        fondaco backup create ~/Documents --host ADDR --host ADDR …\n  \
        fondaco backup restore latest --to ~/Restored\n\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 locked, 5 too little money,\n\
        6 unreachable, 8 data or proof is wrong."
)]
pub(crate) struct Cli {
    /// The folder to keep keys, books and settings in [default: $XDG_DATA_HOME/fondaco]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Which of your identities to be; each has a key, money and contracts of its own
    #[arg(long, global = true, value_name = "NAME", default_value_t)]
    pub(crate) identity: Identity,
    /// Read the key's passphrase from the one line of this file [env: FONDACO_PASSPHRASE_FILE, FONDACO_PASSPHRASE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Write results as JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more of what goes on, to standard error; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Stop when standard input ends, so that a parent's death is noticed
    #[arg(long, global = true, hide = true)]
    pub(crate) stop_with_stdin: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // one, and soon taken apart
pub(crate) enum Command {
    /// Make your key, and with it yourself; or make it anew from its 24 words
    #[command(
        after_help = "Examples:\n  fondaco init\n  fondaco init --identity shop\n  fondaco init --restore"
    )]
    Init(InitArgs),
    /// Show who you are, and guard your key
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  fondaco identity show\n  fondaco identity list")]
    Identity(IdentityCommand),
    /// Issue a currency
    #[command(subcommand)]
    Issuer(IssuerCommand),
    /// Choose the currencies you accept
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  fondaco wallet add fon1…@192.0.2.7:4434 --trust 500\n  fondaco wallet list"
    )]
    Wallet(WalletCommand),
    /// Pay somebody, or an invoice
    #[command(
        after_help = "Examples:\n  fondaco pay fon1… 12.50 CLR\n  fondaco pay invoice:AQ…\n  fondaco pay --file wages.csv --left left.csv"
    )]
    Pay(PayArgs),
    /// Ask for payments, and see which are made
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  fondaco invoice create 12.50 CLR --for \"two loaves\"\n  fondaco invoice list"
    )]
    Invoice(InvoiceCommand),
    /// Show what you hold, in every currency you accept
    #[command(after_help = "Examples:\n  fondaco balance\n  fondaco --json balance")]
    Balance,
    /// Show what you were paid since you looked last, in every currency you accept
    #[command(after_help = "Example:\n  fondaco deposits --wait 30s")]
    Deposits(DepositsArgs),
    /// Show what happened to your account, latest first
    #[command(after_help = "Example:\n  fondaco history CLR --limit 20")]
    History(HistoryArgs),
    /// Get the proof of a payment, signed by its issuer, or check one
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  fondaco receipt get request:… --to loaves.txt\n  fondaco receipt verify loaves.txt"
    )]
    Receipt(ReceiptCommand),
    /// Offer something for sale
    #[command(subcommand)]
    Sell(SellCommand),
    /// Serve what you sell, until stopped
    Up(UpArgs),
    /// Show how your service fares: contracts, money, rank, reads and audits served, disk
    Status,
    /// Bring providers and buyers together
    #[command(subcommand)]
    Broker(BrokerCommand),
    /// Show what is for sale
    #[command(
        after_help = "Example:\n  fondaco offers --broker fon1…@192.0.2.7:4435 --broker fon1…@198.51.100.3:4435"
    )]
    Offers(OffersArgs),
    /// Back folders up to storage hosts, and get them back
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Ask every host to prove that it keeps what it is paid for
    #[command(after_help = "Examples:\n  fondaco audit --deep\n  fondaco audit log --verify")]
    Audit(AuditArgs),
    /// Show or end your contracts
    #[command(subcommand)]
    Contracts(ContractsCommand),
    /// Have your backup looked after while you are away, or look after another's
    #[command(subcommand)]
    Delegate(DelegateCommand),
    /// Let other programs store under your contracts
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// Show the whole market at work on a folder: issuer, hosts and buyer as processes of their own
    #[command(after_help = "Example:\n  fondaco demo ~/Pictures")]
    Demo(DemoArgs),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  fondaco completions bash > ~/.local/share/bash-completion/completions/fondaco"
    )]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Make the key anew from its 24 words, which are read from the terminal or from standard input
    #[arg(long)]
    pub(crate) restore: bool,
    /// Leave the key unencrypted, for a machine that starts alone: whoever can read its file is you
    #[arg(long, conflicts_with = "passphrase_file")]
    pub(crate) no_passphrase: bool,
    /// Show the 24 words even if this is no terminal, and in JSON
    #[arg(long)]
    pub(crate) show_words: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// List your identities
    List,
    /// Show who you are
    #[command(after_help = "Example:\n  fondaco identity show --hex")]
    Show {
        /// The entity in hex alone, as the protocol of 2003 writes it
        #[arg(long)]
        hex: bool,
    },
    /// Show the 24 words of your key
    ExportWords,
    /// Write your key and a certificate of it for a SOAP toolkit: whoever has that folder is you
    ExportTls {
        /// The folder to write key.pem and cert.pem into
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Give your key another passphrase
    Passphrase(NewPassphraseArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NewPassphraseArgs {
    /// Read the new passphrase from the one line of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// Leave the key unencrypted: whoever can read its file is you
    #[arg(long, conflicts_with = "new_passphrase_file")]
    pub(crate) no_passphrase: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IssuerCommand {
    /// Define the currency you issue; it cannot be changed later
    #[command(
        after_help = "Example:\n  fondaco issuer init --name \"Claire dollar\" --symbol CLR --scale 2"
    )]
    Init {
        /// The name of the currency
        #[arg(long)]
        name: String,
        /// Its symbol
        #[arg(long)]
        symbol: String,
        /// How many decimals it has
        #[arg(long, default_value_t = 2)]
        scale: u8,
        /// What each transfer costs the payer
        #[arg(long, default_value = "0")]
        transfer_fee: String,
        /// What a full handshake of the protocol of 2003 costs; resumed sessions are free
        #[arg(long, default_value = "0")]
        full_handshake_fee: String,
        /// The least that the first transfer to a key must bring, so that accounts cost their makers something; what you mint
        /// yourself may be less
        #[arg(long, default_value = "0")]
        account_reserve: String,
    },
    /// Keep the accounts and serve the holders, until stopped
    #[command(
        after_help = "Example:\n  fondaco issuer up --listen 0.0.0.0:4434 --metrics 127.0.0.1:9464"
    )]
    Up {
        /// The UDP socket to serve LCP/2 on
        #[arg(long, default_value = "0.0.0.0:4434", value_name = "IP:PORT")]
        listen: SocketAddr,
        /// The TCP socket to serve the protocol of 2003 on, by SOAP over TLS, or `none` [default: that of --listen]
        #[arg(long, value_name = "IP:PORT")]
        soap: Option<Socket>,
        /// The TCP socket to describe it on, at /lcp.wsdl, or `none` [default: port 4480]
        #[arg(long, value_name = "IP:PORT")]
        http: Option<Socket>,
        /// The TCP socket to show figures for Prometheus on, at /metrics
        #[arg(long, value_name = "IP:PORT")]
        metrics: Option<SocketAddr>,
        /// The https URL that the descriptions name, if others reach the service by another one
        #[arg(long, value_name = "URL")]
        url: Option<HttpsUrl>,
    },
    /// Make new money; visible to everybody in the supply
    #[command(after_help = "Example:\n  fondaco issuer mint 1000 --to fon1…")]
    Mint {
        /// How much
        amount: String,
        /// For whom
        #[arg(long, value_name = "ENTITY")]
        to: String,
    },
    /// Take money of the issuer's own account out of the supply: what it was paid, fees included
    #[command(after_help = "Example:\n  fondaco issuer redeem 12.50")]
    Redeem {
        /// How much
        amount: String,
    },
    /// Replay the journal of an issuer that is not running, and prove that its books balance
    #[command(after_help = "Examples:\n  fondaco issuer audit\n  fondaco --json issuer audit")]
    Audit,
    /// Copy the books to another folder, while the issuer runs or not
    #[command(after_help = "Example:\n  fondaco issuer backup --to /mnt/backup/2026-11-24")]
    Backup {
        /// The folder, which has no books yet
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Take the books from a backup into this home, which has none
    #[command(after_help = "Example:\n  fondaco issuer restore --from /mnt/backup/2026-11-24")]
    Restore {
        /// The folder of the backup
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
    /// Write the books of an issuer that is not running as plain text, for Beancount
    #[command(
        after_help = "Example:\n  fondaco issuer export --to books.beancount && bean-check books.beancount"
    )]
    Export {
        /// The file to write
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

/// A socket, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket(pub(crate) Option<SocketAddr>);

impl std::str::FromStr for Socket {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|at| Self(Some(at))) }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum WalletCommand {
    /// Accept a currency; its issuer's key is remembered
    #[command(after_help = "Example:\n  fondaco wallet add fon1…@192.0.2.7:4434 --trust 500")]
    Add {
        /// The issuer's address: ENTITY@IP:PORT
        issuer: String,
        /// The most of it that you accept to hold: what would bring you over it is refused to who pays; `any` lifts the
        /// limit [default: that of before]
        #[arg(long, value_name = "AMOUNT")]
        trust: Option<String>,
    },
    /// List the currencies you accept
    List,
    /// Show what an issuer says of its currency: supply, fees, the head of its books; and what it has not answered you
    #[command(after_help = "Example:\n  fondaco wallet show CLR")]
    Show {
        /// Which currency; may be left out when you accept only one
        currency: Option<String>,
    },
    /// Accept a currency no more, also one whose issuer is gone
    #[command(after_help = "Example:\n  fondaco wallet forget CLR")]
    Forget {
        /// Which currency, by its symbol or its issuer
        #[arg(value_name = "CURRENCY")]
        currency: String,
        /// Leave there what you have there, and what it has not answered
        #[arg(long)]
        yes: bool,
    },
    /// Give your account to another identity of yours: balance, holds and notices go with it
    #[command(after_help = "Example:\n  fondaco wallet rotate CLR --to next")]
    Rotate {
        /// Of which currency; may be left out when you accept only one
        currency: Option<String>,
        /// The identity, made by `fondaco init --identity NAME`, that has no account there
        #[arg(long, value_name = "NAME")]
        to: Identity,
    },
    /// Close your account
    #[command(after_help = "Example:\n  fondaco wallet close CLR --forfeit 0.05")]
    Close {
        /// Of which currency; may be left out when you accept only one
        currency: Option<String>,
        /// The most that you leave to the issuer; pay the rest away first
        #[arg(long, default_value = "0", value_name = "AMOUNT")]
        forfeit: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DepositsArgs {
    /// Leave the notices with the issuer, to be shown again
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where there is nothing yet, wait for so long, as 30s or 5m
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<std::time::Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Of which currency; may be left out when you accept only one
    pub(crate) currency: Option<String>,
    /// How many entries at most
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    pub(crate) limit: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Get the receipt of a command of yours
    #[command(after_help = "Example:\n  fondaco receipt get request:… --to loaves.txt")]
    Get {
        /// Which: `fondaco pay` and `fondaco history --json` name it
        id: String,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Of which currency; may be left out when you accept only one
        #[arg(long, value_name = "SYMBOL")]
        currency: Option<String>,
    },
    /// Check a receipt, without asking anybody
    #[command(after_help = "Example:\n  fondaco receipt verify loaves.txt")]
    Verify {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PayArgs {
    /// Whom to pay: fon1…, or 64 hex digits; or what: invoice:…
    #[arg(required_unless_present = "file")]
    pub(crate) to: Option<String>,
    /// How much; an invoice says it
    pub(crate) amount: Option<String>,
    /// In which currency; may be left out when you accept only one
    pub(crate) currency: Option<String>,
    /// What for, so that the payee knows
    #[arg(long)]
    pub(crate) order: Option<String>,
    /// Write the issuer's signed receipt to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) many: ManyArgs,
}

/// Many payments by one command.
#[derive(Debug, Args)]
pub(crate) struct ManyArgs {
    /// Make the payments in this file, of CSV or JSON: `to,amount,order` in each line, or [{"to": …, "amount": …}]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "amount", "currency", "order"])]
    pub(crate) file: Option<PathBuf>,
    /// In which currency they are; may be left out when you accept only one
    #[arg(long = "in", value_name = "CURRENCY", requires = "file")]
    pub(crate) unit: Option<String>,
    /// Make all of them or none
    #[arg(long, requires = "file")]
    pub(crate) all_or_none: bool,
    /// Write those that were refused to this file, which can be paid later
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(crate) left: Option<PathBuf>,
    /// Make payments once more that were made before
    #[arg(long, requires = "file")]
    pub(crate) again: bool,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant)] // one for each command
pub(crate) enum SellCommand {
    /// Offer disk space
    #[command(
        after_help = "Example:\n  fondaco sell storage --path /mnt/spare --size 200G --accept CLR --store 0.02"
    )]
    Storage(SellStorageArgs),
    /// Announce that you stop: nothing new is taken, and what is kept is served until then
    #[command(after_help = "Example:\n  fondaco sell stop --in 30d")]
    Stop {
        /// When, from now, as 30d or 12h; each contract gets an epoch's notice at least
        #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
        r#in: std::time::Duration,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SellStorageArgs {
    /// The folder that shards are kept in
    #[arg(long)]
    pub(crate) path: PathBuf,
    /// How much of it to sell, as 500M or 200G
    #[arg(long)]
    pub(crate) size: String,
    /// The currency to be paid in; may be left out when you accept only one
    #[arg(long, value_name = "SYMBOL")]
    pub(crate) accept: Option<String>,
    /// Price of a contract
    #[arg(long, default_value = "0.001")]
    pub(crate) open: String,
    /// Price of a GiB kept for one epoch
    #[arg(long, default_value = "0.02")]
    pub(crate) store: String,
    /// Price of a GiB written
    #[arg(long, default_value = "0.01")]
    pub(crate) write: String,
    /// Price of a GiB read
    #[arg(long, default_value = "0.04")]
    pub(crate) read: String,
    /// Length of an epoch in hours
    #[arg(long, default_value_t = 720, value_name = "HOURS")]
    pub(crate) epoch: u32,
    /// Longest contract in epochs
    #[arg(long, default_value_t = 12, value_name = "EPOCHS")]
    pub(crate) period: u32,
    /// The most that either side risks at a time: bytes served before the next voucher
    #[arg(long, default_value = "256k", value_name = "SIZE")]
    pub(crate) step: String,
    /// The most room for a buyer that has not paid for a contract yet; it grows with what was paid [default: half of --size]
    #[arg(long, value_name = "SIZE")]
    pub(crate) newcomer: Option<String>,
    /// What is to stay free on the disk, whatever was sold
    #[arg(long, default_value = "256M", value_name = "SIZE")]
    pub(crate) reserve: String,
    #[command(flatten)]
    pub(crate) offer: OfferArgs,
}

/// How what is sold is made known.
#[derive(Debug, Args)]
pub(crate) struct OfferArgs {
    /// A broker to show the offer at, as ENTITY@IP:PORT; give several
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) broker: Vec<String>,
    /// Follow what others ask: at these brokers, at those that are remembered, and with `up --local` on the local network.
    /// The prices given are where it starts
    #[arg(long)]
    pub(crate) auto_price: bool,
    /// With --auto-price, the least for a GiB kept for one epoch [default: a tenth of --store]
    #[arg(long, value_name = "AMOUNT", requires = "auto_price")]
    pub(crate) price_floor: Option<String>,
    /// A socket that others reach you at, if a router stands between; give several
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) announce: Vec<SocketAddr>,
    /// Who runs this host, for buyers who want several: small letters, digits, `-`, `.`, `_`
    #[arg(long, value_name = "LABEL")]
    pub(crate) operator: Option<String>,
    /// Where this host stands, as eu-south
    #[arg(long, value_name = "LABEL")]
    pub(crate) region: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// The socket to listen on
    #[arg(long, default_value = "0.0.0.0:4433", value_name = "IP:PORT")]
    pub(crate) listen: SocketAddr,
    /// Start although none of the shards is there any more: gives up the contracts that they were for, and gets the money for
    /// what was served
    #[arg(long)]
    pub(crate) without_shards: bool,
    /// Announce yourself on the local network, by multicast DNS
    #[arg(long)]
    pub(crate) local: bool,
    /// Cheat, for trying out what a market does about it; see docs/decisions/0027 and 0034
    #[arg(long, hide = true, value_name = "HOW")]
    pub(crate) misbehave: Option<Misbehaviour>,
}

/// How a host can be made to cheat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Misbehaviour {
    /// Take the vouchers for reads and audits, and serve none
    RefuseReads,
    /// Answer proofs and reads of a part of one group, and break off all others
    AuditsOnly,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BrokerCommand {
    /// Keep the offers of providers and show them to buyers, until stopped
    #[command(after_help = "Example:\n  fondaco broker up --listen 0.0.0.0:4435")]
    Up {
        /// The UDP socket to serve on
        #[arg(long, default_value = "0.0.0.0:4435", value_name = "IP:PORT")]
        listen: SocketAddr,
        /// Announce it on the local network, by multicast DNS
        #[arg(long)]
        local: bool,
    },
    /// Ask a broker how many offers it has, and what it was asked
    Status {
        /// Its address, as ENTITY@IP:PORT [default: your own]
        broker: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OffersArgs {
    /// A broker to ask, as ENTITY@IP:PORT; it is remembered
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) broker: Vec<String>,
    /// Show only hosts that say they stand in this region; may be given several times
    #[arg(long, value_name = "LABEL")]
    pub(crate) region: Vec<fondaco_contract::Label>,
    /// Ask also the brokers and hosts that announce themselves on the local network
    #[arg(long)]
    pub(crate) local: bool,
    /// The currency to pay in; may be left out when you accept only one
    #[arg(long, value_name = "SYMBOL")]
    pub(crate) currency: Option<String>,
    /// How much each host is to keep
    #[arg(long, default_value = "1G", value_name = "SIZE")]
    pub(crate) size: String,
    /// For how many of its epochs
    #[arg(long, default_value_t = 1, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) epochs: u32,
    /// How many to show at most, the cheapest first
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct AuditArgs {
    /// How many places of each host's shards to check, 1000 at most, or 10000 with --deep; 459 find 1 % of loss with 99 %
    /// certainty [default: 44, or 460 with --deep]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) samples: Option<u32>,
    /// Ask for one proof of many blocks, which only you can check, instead of reading some places
    #[arg(long)]
    pub(crate) deep: bool,
    #[command(flatten)]
    pub(crate) seek: SeekArgs,
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List what every audit showed; that nothing in it was changed is checked first
    Log {
        /// Only say whether it is whole
        #[arg(long, conflicts_with = "begin_anew")]
        verify: bool,
        /// Move a log that is refused aside, so that the next audit begins another
        #[arg(long)]
        begin_anew: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContractsCommand {
    /// List the contracts and what they have cost
    List {
        #[command(flatten)]
        seek: SeekArgs,
    },
    /// Let new contracts with the same hosts take over what lies under those that end soon
    #[command(after_help = "Example:\n  fondaco contracts renew --within 1 --epochs 3")]
    Renew {
        /// Renew those that end before so many epochs have gone by [default: all]
        #[arg(long, value_name = "EPOCHS")]
        within: Option<f64>,
        /// How many epochs the new contracts last
        #[arg(long, default_value_t = 1, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
        epochs: u32,
        /// The most that the new contracts may cost in all
        #[arg(long, value_name = "AMOUNT")]
        budget: Option<String>,
        /// The currency to pay in; may be left out when you accept only one
        #[arg(long, value_name = "SYMBOL")]
        currency: Option<String>,
        #[command(flatten)]
        seek: SeekArgs,
    },
    /// End all contracts: hosts are paid what they are owed and may delete your shards
    End {
        /// Do it although what is stored there is then lost
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        seek: SeekArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Serve a repository in the market to plain restic, until stopped
    #[command(
        after_help = "Example:\n  fondaco gateway restic --size 20G --broker fon1…@192.0.2.7:4435 --broker …\n  \
                      restic --repository-file ~/.local/share/fondaco/gateway/repository init"
    )]
    Restic(ResticArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ResticArgs {
    /// The TCP socket to listen on
    #[arg(long, default_value = "127.0.0.1:4435", value_name = "IP:PORT")]
    pub(crate) listen: SocketAddr,
    /// Let --listen be a socket that other machines reach; what passes there is not encrypted, the token least of all
    #[arg(long)]
    pub(crate) allow_remote: bool,
    /// A host name that clients call this machine by, beside its IP addresses
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Vec<String>,
    /// Remove and overwrite nothing: `restic forget` and `prune` are refused
    #[arg(long)]
    pub(crate) append_only: bool,
    /// Make a new token: whoever has the old one is refused
    #[arg(long)]
    pub(crate) new_token: bool,
    /// Write the password of the repository that `fondaco backup` makes to this file, for restic to open it
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// How much new contracts shall have room for, as 500M or 200G; needed when there are none yet, and to store on others
    /// when a host fails
    #[arg(long, value_name = "SIZE")]
    pub(crate) size: Option<String>,
    /// Open new contracts though there are some: when those are full, or a host is gone
    #[arg(long, requires = "size")]
    pub(crate) new_contracts: bool,
    #[command(flatten)]
    pub(crate) find: FindArgs,
    /// The probability with which every object must survive an epoch, as 0.999
    #[arg(long, default_value_t = 0.999, value_name = "P")]
    pub(crate) survive: f64,
    /// The most that new contracts may cost in all; with it, contracts whose holds are used up by reading are renewed, too
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) budget: Option<String>,
    /// The currency to pay in; may be left out when you accept only one
    #[arg(long, value_name = "SYMBOL")]
    pub(crate) currency: Option<String>,
    /// How many epochs new contracts last
    #[arg(long, default_value_t = 1, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) epochs: u32,
    #[command(flatten)]
    pub(crate) trust: crate::trust::TrustArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The folder to back up [default: the present folder]
    pub(crate) folder: Option<PathBuf>,
    /// How many storage hosts to start with
    #[arg(long, default_value_t = 12)]
    pub(crate) hosts: u8,
    /// The probability with which every object must survive
    #[arg(long, default_value_t = 0.999_999, value_name = "P")]
    pub(crate) survive: f64,
    /// Leave it all running when it is over, and the folders behind
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Writes the completions of `shell` to standard output.
pub(crate) fn completions(shell: Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "fondaco", &mut std::io::stdout());
}
