//! The arguments of `fondaco backup`.

use crate::failure::{Code, Failure};
use crate::trust::TrustArgs;
use clap::{Args, Subcommand};
use fondaco_contract::Label;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Back a folder up to storage hosts; also takes up a backup that was cut off
    #[command(
        after_help = "Examples:\n  fondaco backup create ~/Documents --host fon1…@192.0.2.7:4433 --survive 0.999\n  \
                      fondaco backup create ~/Documents --budget \"5 CLR/month\" --dry-run"
    )]
    Create(CreateArgs),
    /// List the snapshots
    List(ReadArgs),
    /// List what is in a snapshot
    #[command(after_help = "Example:\n  fondaco backup ls latest letters --recursive")]
    Ls(LsArgs),
    /// Restore a snapshot, or something in it
    #[command(after_help = "Examples:\n  fondaco backup restore latest --to ~/Restored\n  \
                      fondaco backup restore latest letters/2026.odt --to ~/Restored\n  \
                      fondaco backup restore --to ~/Restored --host fon1…@192.0.2.9:4433    # it moved")]
    Restore(RestoreArgs),
    /// Check that all that the snapshots name is there
    Check(CheckArgs),
    /// Forget snapshots; `prune` then gives up what only they needed
    #[command(after_help = "Examples:\n  fondaco backup forget 1a2b3c4d --prune\n  \
                      fondaco backup forget --keep-last 3 --keep-daily 7 --keep-monthly 12")]
    Forget(ForgetArgs),
    /// Remove what no snapshot needs from the hosts
    Prune(PruneArgs),
    /// Show how one snapshot differs from another
    Diff(DiffArgs),
    /// Show a snapshot as a folder, until stopped
    #[command(after_help = "Example:\n  fondaco backup mount latest ~/Old")]
    Mount(MountArgs),
    /// Show what is paid for an epoch and a month, host by host, and what is held
    Cost(SeekArgs),
    /// Make what hosts have lost anew on others; also goes on with a repair that was cut off
    #[command(
        after_help = "Examples:\n  fondaco backup repair\n  fondaco backup repair --every 6h --budget \"1 CLR\"\n  \
                      fondaco backup repair --now --host fon1…@192.0.2.7:4433 --budget \"5 CLR\""
    )]
    Repair(RepairArgs),
    /// Get your books back from your hosts, on a new machine that has only your key
    #[command(
        after_help = "Examples:\n  fondaco init --restore && fondaco backup recover --host fon1…@192.0.2.7:4433\n  \
                      fondaco init --restore && fondaco backup recover --broker fon1…@192.0.2.7:4435"
    )]
    Recover(RecoverArgs),
}

/// Where hosts for new contracts are found.
#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// A storage host, as ENTITY@IP:PORT; it is remembered when it answers there
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Vec<String>,
    /// A broker to ask for hosts, as ENTITY@IP:PORT; it is remembered, and two are better than one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) broker: Vec<String>,
    /// Take of what brokers tell only hosts that say they stand in this region; may be given several times
    #[arg(long, value_name = "LABEL")]
    pub(crate) region: Vec<Label>,
    /// Take also the hosts and brokers that announce themselves on the local network
    #[arg(long)]
    pub(crate) local: bool,
}

/// Where hosts are looked for that are not where they were.
#[derive(Debug, Default, Args)]
pub(crate) struct SeekArgs {
    /// Where a storage host of yours is now, as ENTITY@IP:PORT; remembered when it answers there
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Vec<String>,
    /// A broker to ask where hosts are that do not answer, as ENTITY@IP:PORT; it is remembered
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) broker: Vec<String>,
    /// Listen also to the hosts and brokers that announce themselves on the local network
    #[arg(long)]
    pub(crate) local: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The folder to back up
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) find: FindArgs,
    /// The probability with which every object must survive an epoch, as 0.999
    #[arg(long, default_value_t = 0.999, value_name = "P")]
    pub(crate) survive: f64,
    /// The most that new contracts may cost: in all, as "5 CLR", or over time, as "5 CLR/month"; with it, contracts whose holds are
    /// used up are renewed, too
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) budget: Option<String>,
    /// The currency to pay in; may be left out when you accept only one
    #[arg(long, value_name = "SYMBOL")]
    pub(crate) currency: Option<String>,
    /// Leave out folders that are caches, by the file CACHEDIR.TAG in them
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Remove what a client of `fondaco gateway restic` stored without a configuration that opens it
    #[arg(long)]
    pub(crate) discard_unopened: bool,
    /// How many epochs new contracts last; each is paid for by the first `backup create` or `audit` in it, and a
    /// contract lapses when a whole epoch goes by unpaid
    #[arg(long, default_value_t = 1, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) epochs: u32,
    /// Renew contracts that end before so many epochs have gone by, as 0.25; for as many as --epochs says
    #[arg(long, default_value_t = 0.25, value_name = "EPOCHS")]
    pub(crate) renew_within: f64,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    /// After how many seconds the hosts are given your books again while a backup lasts, if enough is new
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keep_books_every: u64,
    /// Only show what hosts ask, and which code, durability and price that makes
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// Read everything from the hosts, nothing from the local cache
    #[arg(long)]
    pub(crate) no_cache: bool,
    #[command(flatten)]
    pub(crate) seek: SeekArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Which snapshot: its name, the front of it, or `latest`
    pub(crate) snapshot: String,
    /// What to list, below the folder that was backed up
    pub(crate) path: Option<PathBuf>,
    /// Also list what is in the folders there
    #[arg(short, long)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Which snapshot: its name, the front of it, or `latest`
    #[arg(default_value = "latest")]
    pub(crate) snapshot: String,
    /// What to restore, below the folder that was backed up
    pub(crate) path: Option<PathBuf>,
    /// The folder to restore into
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    /// Let contracts be renewed whose holds are used up by reading, for so much in all, as "5 CLR", and go on
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) renew: Option<String>,
    /// How many steps a host may have been paid for nothing before it is asked no more
    #[arg(long, default_value_t = 1, value_name = "STEPS")]
    pub(crate) risk: u64,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Also read every byte of every snapshot, which hosts are paid for
    #[arg(long)]
    pub(crate) read_data: bool,
    /// Let contracts be renewed whose holds are used up by reading, for so much in all, as "5 CLR", and go on
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) renew: Option<String>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("keep").multiple(true).conflicts_with("snapshots")))]
pub(crate) struct ForgetArgs {
    /// Which snapshots: names, fronts of names, or `latest`
    #[arg(required_unless_present_any = ["keep", "all"])]
    pub(crate) snapshots: Vec<String>,
    /// All snapshots: nothing is kept
    #[arg(long, conflicts_with_all = ["snapshots", "keep"])]
    pub(crate) all: bool,
    /// Keep so many of the latest snapshots of each folder
    #[arg(long, value_name = "N", group = "keep")]
    pub(crate) keep_last: Option<u32>,
    /// Keep the last snapshot of so many hours
    #[arg(long, value_name = "N", group = "keep")]
    pub(crate) keep_hourly: Option<u32>,
    /// Keep the last snapshot of so many days
    #[arg(long, value_name = "N", group = "keep")]
    pub(crate) keep_daily: Option<u32>,
    /// Keep the last snapshot of so many weeks
    #[arg(long, value_name = "N", group = "keep")]
    pub(crate) keep_weekly: Option<u32>,
    /// Keep the last snapshot of so many months
    #[arg(long, value_name = "N", group = "keep")]
    pub(crate) keep_monthly: Option<u32>,
    /// Keep the last snapshot of so many years
    #[arg(long, value_name = "N", group = "keep")]
    pub(crate) keep_yearly: Option<u32>,
    /// Remove what only they needed, too
    #[arg(long)]
    pub(crate) prune: bool,
    /// Only show which would be forgotten
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) seek: SeekArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Only show how much would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) seek: SeekArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The first snapshot
    pub(crate) first: String,
    /// The second snapshot
    pub(crate) second: String,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// Which snapshot: its name, the front of it, or `latest`
    pub(crate) snapshot: String,
    /// The folder to show it in
    pub(crate) folder: PathBuf,
    /// What of it, below the folder that was backed up
    #[arg(long)]
    pub(crate) path: Option<PathBuf>,
    /// Let contracts be renewed whose holds are used up by reading, for so much in all, as "5 CLR", and go on
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) renew: Option<String>,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// How often something is done that hosts are paid for.
#[derive(Debug, Args)]
pub(crate) struct AgainArgs {
    /// Do it again after this span, a minute at least, until stopped
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration)]
    every: Option<Duration>,
    /// Let it be shorter: for tests, which cannot wait for minutes
    #[arg(long, hide = true, default_value = "1m", value_parser = humantime::parse_duration)]
    every_min: Duration,
}

impl AgainArgs {
    /// Whether it goes on until it is stopped.
    pub(crate) const fn goes_on(&self) -> bool {
        self.every.is_some()
    }

    /// Returns how often; nothing if it is done once.
    pub(crate) fn every(&self) -> Result<Option<Duration>, Failure> {
        match self.every {
            Some(every) if every < self.every_min.max(Duration::from_secs(1)) => {
                let what = "--every is less than a minute, and hosts are paid each time";
                Err(Failure::new(what).code(Code::Usage).hint("every 6h is often"))
            }
            every => Ok(every),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    pub(crate) again: AgainArgs,
    /// Repair as soon as one slot is lost, and not only when few are left
    #[arg(long)]
    pub(crate) now: bool,
    #[command(flatten)]
    pub(crate) find: FindArgs,
    /// The most that the contracts opened for this may cost, as "5 CLR", each time; with it, contracts whose holds are used up
    /// by reading are renewed, too, and by `delegate tend` those that end soon
    #[arg(long, value_name = "AMOUNT")]
    pub(crate) budget: Option<String>,
    /// How many places of each host's shards to check first, 1000 at most
    #[arg(long, default_value_t = 44, value_parser = clap::value_parser!(u32).range(1..=i64::from(SAMPLES_MAX)))]
    pub(crate) samples: u32,
}

/// The most places that an audit reads: they find a loss of half a percent with 99 % certainty, and each is paid for.
pub(crate) const SAMPLES_MAX: u32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// A storage host that you had a contract with, as ENTITY@IP:PORT; it knows the others
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Vec<String>,
    /// A broker to ask for all its hosts, as ENTITY@IP:PORT: one that you had a contract with is enough
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) broker: Vec<String>,
    /// Ask also the hosts and brokers that announce themselves on the local network
    #[arg(long)]
    pub(crate) local: bool,
}
