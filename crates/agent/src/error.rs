//! What can go wrong for a buyer, and what to do about it.

use crate::repository::RepositoryError;
use fondaco_contract::{ContractId, TabError};
use fondaco_crypto::EntityId;
use fondaco_lcp::Refusal;
use fondaco_ledger::Refusal as LedgerRefusal;
use fondaco_ports::market::Reason;
use fondaco_store::FileError;
use fondaco_transport::TransportError;
use fondaco_units::{Amount, Bytes};

/// Why the agent could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A peer could not be reached, or broke off.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The issuer refused.
    #[error("the issuer refused: {0}")]
    Issuer(Refusal),
    /// The issuer did not take a command up: it stays in the wallet, and is sent again.
    #[error("not done yet: {0}")]
    NotYet(Refusal),
    /// A provider refused.
    #[error("provider {} refused: {reason}", provider.short())]
    Provider {
        /// Which provider.
        provider: EntityId,
        /// Its reason.
        reason: Reason,
    },
    /// A broker refused.
    #[error("broker {} refused: {reason}", broker.short())]
    Broker {
        /// Which broker.
        broker: EntityId,
        /// Its reason.
        reason: fondaco_ports::offers::Reason,
    },
    /// A peer answered something that does not fit what was asked.
    #[error("{} answered something that does not fit: {what}", peer.short())]
    Misanswer {
        /// Which peer.
        peer: EntityId,
        /// What did not fit.
        what: String,
    },
    /// A provider was caught: what it sent does not prove what it was paid to keep.
    #[error("provider {} was caught: {what}", provider.short())]
    Caught {
        /// Which provider.
        provider: EntityId,
        /// What it did.
        what: String,
    },
    /// The book is an older copy: a host shows what its buyer has signed by a newer one.
    #[error(
        "your book is an older copy: provider {} has state {newest} of it, and this is {ours}; this machine was set back, or \
         another works with the same key",
        provider.short()
    )]
    OlderBook {
        /// Which provider.
        provider: EntityId,
        /// The highest number that it has a mark under.
        newest: u64,
        /// The number of this book.
        ours: u64,
    },
    /// A provider took more than is risked with it, and gave nothing for it. No proof: a line that breaks looks the same.
    #[error("provider {} was paid more for nothing than is risked with it", provider.short())]
    PaidForNothing {
        /// Which provider.
        provider: EntityId,
        /// Under which contract.
        contract: ContractId,
        /// What was paid.
        lost: Amount,
        /// What may be.
        limit: Amount,
    },
    /// A provider proved too few of its audits to be given or paid anything but for what it sends back.
    #[error(
        "provider {} proved too few of its audits: it is given nothing new, and paid for no further epoch, until it \
         proves again what it keeps",
        provider.short()
    )]
    Unpaid {
        /// Which provider.
        provider: EntityId,
    },
    /// A provider claims to keep more than it can have.
    #[error(
        "provider {} wants to be paid for keeping {claimed}, and was given {given} at most: it is paid for no further \
         epoch until it says otherwise",
        provider.short()
    )]
    Overstated {
        /// Which provider.
        provider: EntityId,
        /// What it claims to keep.
        claimed: Bytes,
        /// The most that it can have, by the agent's own book.
        given: Bytes,
    },
    /// A provider did not answer a question of an audit in time.
    #[error("provider {} did not answer within {seconds} s", provider.short())]
    Late {
        /// Which provider.
        provider: EntityId,
        /// How long it was waited for.
        seconds: u64,
    },
    /// An entry of the audit log is not what it must be, so nothing is added to it.
    #[error("the audit log {path} is refused at entry {entry}: {what}")]
    AuditLog {
        /// The log.
        path: String,
        /// The number of the entry, from 0.
        entry: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The hold of a contract is used up.
    #[error(
        "the hold of {contract} is used up: what is left of it pays for keeping what is there to the end"
    )]
    HoldSpent {
        /// Which contract.
        contract: ContractId,
        /// The most that the hold pays.
        hold_max: Amount,
        /// What it would have to pay in all: this step, and keeping what is kept to the end.
        wanted: Amount,
    },
    /// New contracts may cost more than was agreed to.
    #[error("it may cost more than is left of the budget")]
    OverBudget {
        /// What it may cost at most.
        wanted: Amount,
        /// What is left of the budget.
        left: Amount,
        /// What of it is held for contracts that did not come about, until that expires.
        idle: Amount,
    },
    /// A contract has no room or time for more.
    #[error("{contract} takes no more: {why}")]
    ContractFull {
        /// Which contract.
        contract: ContractId,
        /// Why.
        why: TabError,
    },
    /// Too few providers are left to store a shard each.
    #[error("{what}")]
    Placement {
        /// What is missing, with figures.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Too few shards of an object could be read.
    #[error(
        "{object} needs {needed} shard{} and {found} could be read ({last})", if *needed == 1 { "" } else { "s" }
    )]
    Unreadable {
        /// Which object.
        object: String,
        /// How many shards rebuild it.
        needed: u8,
        /// How many were read.
        found: usize,
        /// The last failure.
        last: String,
        /// Whether it could be read if the holds of those that have shards of it, and are used up, were not.
        spent: bool,
        /// Whether it could not be read even if all hosts that are away were back: contracts have ended, or hosts were caught.
        over: bool,
        /// Whether one of those that had shards of it was caught at a lie.
        caught: bool,
    },
    /// Another process uses the agent's folder.
    #[error("another fondaco command works with {path}")]
    Locked {
        /// The file that it holds.
        path: String,
    },
    /// The journal or another file of the agent failed.
    #[error("{0}")]
    Store(String),
    /// The journal of the agent is not what was written.
    #[error("{path}: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// The backup library failed.
    #[error(transparent)]
    Repository(RepositoryError),
    /// Something else that the caller can mend.
    #[error("{what}")]
    Invalid {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
}

impl From<FileError> for AgentError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Locked { path } => Self::Locked { path: path.display().to_string() },
            other => Self::Store(format!("{other}; {}", other.hint())),
        }
    }
}

impl AgentError {
    /// Returns the next thing to do, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Transport(error) => error.hint().map(str::to_owned),
            Self::Issuer(refusal) => hint_of(refusal).map(str::to_owned),
            Self::NotYet(_) => Some(
                "it is saved here, and is sent again by what you next pay in this currency; run the same again later to \
                 learn what became of it: it is not done twice"
                    .to_owned(),
            ),
            Self::Misanswer { .. } => {
                Some("if this peer is to be believed all the same, add it again".to_owned())
            }
            Self::Broker { .. } => Some("name another one with --broker".to_owned()),
            Self::Provider { .. } | Self::Caught { .. } => Some(
                "the others serve on; `fondaco backup repair` gives its part to another".to_owned(),
            ),
            Self::OlderBook { .. } => Some(
                "the newest is found from a new home: `fondaco --home DIR init --restore`, then `fondaco --home DIR backup \
                 recover --host ADDRESS`; use one machine from then on"
                    .to_owned(),
            ),
            Self::PaidForNothing { .. } => Some(
                "the others serve on; `fondaco backup restore --risk 10` reads from it all the same"
                    .to_owned(),
            ),
            Self::Unpaid { .. } => Some(
                "`fondaco audit` lets it prove; `fondaco backup create` takes others for what is new"
                    .to_owned(),
            ),
            Self::Overstated { .. } => Some(
                "`fondaco backup repair` gives its part to another; if this folder is an old copy, `fondaco backup recover` \
                 finds the newest book"
                    .to_owned(),
            ),
            Self::Late { .. } => Some("audit again when it can be reached better".to_owned()),
            Self::AuditLog { .. } => Some(
                "put a sound copy of it back, or begin another with `fondaco audit log --begin-anew`"
                    .to_owned(),
            ),
            Self::HoldSpent { .. } | Self::Unreadable { spent: true, .. } => Some(
                "`fondaco contracts renew` lets new contracts, with holds of their own, take over what is there"
                    .to_owned(),
            ),
            Self::OverBudget { .. } => Some("raise the budget, or let it end".to_owned()),
            Self::ContractFull { .. } => {
                Some("give the next backup a larger --budget: it opens new contracts".to_owned())
            }
            Self::Unreadable { over: true, .. } => Some(
                "nobody is paid for it any more, so it cannot be had back: back up anew what you still have"
                    .to_owned(),
            ),
            Self::Unreadable { spent: false, .. } => {
                Some(
                    "start the missing hosts again, or wait until they can be reached; name one that moved with --host ADDRESS"
                        .to_owned(),
                )
            }
            Self::Locked { .. } => Some("wait until it is done, then run this again".to_owned()),
            Self::Damaged { hint, .. } => Some((*hint).to_owned()),
            Self::Store(_) => None,
            Self::Repository(error) => error.hint(),
            Self::Placement { hint, .. } | Self::Invalid { hint, .. } => Some(hint.clone()),
        }
    }
}

/// What a holder can do about a refusal of its issuer, where there is something.
const fn hint_of(refusal: &Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::NoSpace => "its keeper must free space; then run the same again",
        Refusal::Halted => "its keeper must repair them; then run the same again",
        Refusal::Unavailable => "run the same again in a while",
        Refusal::Rotated { .. } | Refusal::Ledger { refusal: LedgerRefusal::KeyRotated { .. } } => {
            "whoever has that key has the account: `fondaco identity list` shows your keys, and --identity NAME says which of \
             them to be"
        }
        Refusal::FeeOverMax { .. } => {
            "the fee was changed meanwhile; run it again to pay the new one"
        }
        Refusal::DepositsFull { .. } => "its owner must look at them first, by `fondaco deposits`",
        Refusal::Ledger { refusal } => return hint_of_ledger(refusal),
        Refusal::Version { .. }
        | Refusal::OtherContent { .. }
        | Refusal::Forgotten { .. }
        | Refusal::Outdated
        | Refusal::NotIssuer { .. }
        | Refusal::TooLate { .. }
        | Refusal::BadRotation
        | Refusal::DepositUnknown { .. } => return None,
    })
}

const fn hint_of_ledger(refusal: &LedgerRefusal) -> Option<&'static str> {
    Some(match refusal {
        LedgerRefusal::InsufficientFunds { .. } => {
            "see `fondaco balance` for what you hold; get more of it, or ask for less"
        }
        LedgerRefusal::OverLimit { .. } => "pay less, or ask the payee to accept more",
        LedgerRefusal::UnderReserve { .. } => "pay that much, or more, the first time",
        LedgerRefusal::NotEmpty { .. } => {
            "pay it to somebody first, or leave it to the issuer with --forfeit"
        }
        LedgerRefusal::HoldsOpen { .. } => {
            "what is held comes back when the contracts end: `fondaco contracts end`"
        }
        LedgerRefusal::TooManyHolds { .. } => {
            "`fondaco contracts end` ends those that you need no more"
        }
        LedgerRefusal::UnknownAccount { .. } => {
            "it is made by the first payment to you, or by what is minted for you"
        }
        LedgerRefusal::AccountExists { .. } => {
            "take a key that is new there: `fondaco init --identity NAME` makes one"
        }
        _ => return None,
    })
}
