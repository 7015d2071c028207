//! What a holder of 2003 says, and what it is told.

use crate::{DEPOSITS_PER_PAGE_MAX, Deposit, Refusal};
use fondaco_codec::{List, Text, choice, record};
use fondaco_crypto::EntityId;
use fondaco_units::Amount;

/// One message of a holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The message counter: the draft's bit, 0 and 1 in turn, or the paper's increasing number.
    pub counter: u32,
    /// What is asked.
    pub body: AskBody,
}
record!(Ask { counter, body });

/// What a message asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskBody {
    /// Pay; the fee, whatever it is, is paid on top.
    Transfer {
        /// Who is paid.
        to: EntityId,
        /// What arrives there.
        amount: Amount,
        /// What it is for: the message's `transactionId`.
        order: Text<64>,
    },
    /// What arrived, and what do I have?
    Query,
}
choice!(AskBody { 1 => Transfer { to, amount, order }, 2 => Query });

/// What the issuer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a transfer.
    Paid {
        /// What it cost on top of the amount, the surcharge included.
        fee: Amount,
        /// What the payer could spend when it was done.
        balance: Amount,
    },
    /// To a query.
    Told {
        /// What arrived: the oldest notices that wait.
        deposits: List<Deposit, DEPOSITS_PER_PAGE_MAX>,
        /// What the query cost; nothing when it had nothing to tell.
        fee: Amount,
        /// What the holder could spend when it was told.
        balance: Amount,
    },
    /// To either: no, and nothing moved.
    Fault {
        /// Why.
        fault: Fault,
    },
}
choice!(Answer { 1 => Paid { fee, balance }, 2 => Told { deposits, fee, balance }, 3 => Fault { fault } });

/// Why a message was not done. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The holder has spoken on another connection since this one was accepted: this one is shut out, and a new one is
    /// not. Not remembered, the counter not consumed.
    #[error("another connection of this holder has taken over")]
    Fenced,
    /// The counter was used for something else. That was done, or refused; this was not. Not remembered.
    #[error("counter {counter} was used before, with other content")]
    OtherContent {
        /// The counter.
        counter: u32,
    },
    /// The counter is behind. Not remembered.
    #[error("the counter must be over {last}, the last one")]
    StaleCounter {
        /// The last counter that was consumed.
        last: u32,
    },
    /// The transfer was refused: remembered, and its counter is consumed, unless [`Refusal::is_transient`].
    #[error("{refusal}")]
    Refused {
        /// Why.
        refusal: Refusal,
    },
}
choice!(Fault {
    1 => Fenced,
    2 => OtherContent { counter },
    3 => StaleCounter { last },
    4 => Refused { refusal },
});

impl Fault {
    /// Returns whether the same message, sent again unchanged, can have another answer later.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Fenced => true,
            Self::OtherContent { .. } | Self::StaleCounter { .. } => false,
            Self::Refused { refusal } => refusal.is_transient(),
        }
    }
}
