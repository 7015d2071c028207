//! The arguments of `fondaco delegate`.

use super::{RepairArgs, SeekArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// What can be done about looking after somebody's backup.
#[derive(Debug, Subcommand)]
pub(crate) enum DelegateCommand {
    /// Let another look after your backup while you are away: it audits, repairs and renews, and can read nothing
    #[command(
        after_help = "Example:\n  fondaco delegate entrust fon1… --until 90d --out for-bob.delegate\n\n\
                      Send the file to the delegate as you send a letter, and a new one after each backup: it names your\n\
                      hosts and shards, and has your audit key. It has no key that reads your data."
    )]
    Entrust(EntrustArgs),
    /// Look after what somebody entrusts to you; a newer file of the same owner brings it up to date
    #[command(after_help = "Example:\n  fondaco --identity for-alice init\n  \
                      fondaco --identity for-alice wallet add fon1…@192.0.2.7:4433\n  \
                      fondaco --identity for-alice delegate accept for-bob.delegate\n\n\
                      Take an identity of its own for each owner: it keeps the contracts that you pay for.")]
    Accept(AcceptArgs),
    /// Audit, repair and renew what you look after, once or again and again
    #[command(
        after_help = "Example:\n  fondaco --identity for-alice delegate tend --every 6h --host fon1…@192.0.2.9:4433"
    )]
    Tend(TendArgs),
    /// Write the file with which the owner takes back what you have come to keep
    #[command(
        after_help = "Example:\n  fondaco --identity for-alice delegate hand-back --out for-alice.delegate"
    )]
    HandBack(HandBackArgs),
    /// Take back what your delegate has come to keep: it moves to your name, and no byte is sent
    #[command(after_help = "Example:\n  fondaco delegate reclaim for-alice.delegate")]
    Reclaim(ReclaimArgs),
    /// Tell every host that a delegate may do nothing for you any more
    #[command(after_help = "Example:\n  fondaco delegate revoke fon1…")]
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct EntrustArgs {
    /// Who is to look after it: the entity of the identity that it takes for you
    pub(crate) delegate: String,
    /// For how long
    #[arg(long, value_name = "SPAN", default_value = "90d", value_parser = humantime::parse_duration)]
    pub(crate) until: Duration,
    /// Let it take your contracts over at once and pay for them, and not only when they are about to end
    #[arg(long)]
    pub(crate) take_over: bool,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct AcceptArgs {
    /// The file that the owner sent
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) seek: SeekArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TendArgs {
    /// For how many epochs to renew what ends
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) epochs: u32,
    #[command(flatten)]
    pub(crate) repair: RepairArgs,
}

#[derive(Debug, Args)]
pub(crate) struct HandBackArgs {
    /// For how long the owner may take it back with this file
    #[arg(long, value_name = "SPAN", default_value = "90d", value_parser = humantime::parse_duration)]
    pub(crate) until: Duration,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ReclaimArgs {
    /// The file that the delegate sent
    pub(crate) file: PathBuf,
    /// For how many epochs to keep it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) epochs: u32,
    #[command(flatten)]
    pub(crate) seek: SeekArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Who
    pub(crate) delegate: String,
    #[command(flatten)]
    pub(crate) seek: SeekArgs,
}
