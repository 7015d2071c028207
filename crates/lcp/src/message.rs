//! What holders ask and the issuer answers.

use crate::{
    Currency, DEPOSITS_PER_PAGE_MAX, Deposit, ENTRIES_PER_PAGE_MAX, Entry, Limits, Refusal,
    RequestId, STEPS_MAX, SignedHead, SignedReceipt,
};
use fondaco_codec::{List, Text, choice, record};
use fondaco_crypto::{Digest, EntityId, Signature};
use fondaco_ledger::{Hold, HoldId, PayWord, SignedAnchor, SignedVoucher};
use fondaco_units::{Amount, Duration, Timestamp};

/// One payment of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who is paid.
    pub to: EntityId,
    /// What arrives there.
    pub amount: Amount,
    /// What it is for.
    pub order: Text<64>,
    /// Whether this step and the next are done together or not at all. Steps linked one to the other are a *chain*;
    /// the last step of a batch ends its chain, whatever it says here.
    pub linked: bool,
}
record!(Step { to, amount, order, linked });

/// What a holder asks. Those with an `id` are commands, the others are queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What currency is this?
    Describe,
    /// What do I have?
    Balance,
    /// Where does this hold stand?
    HoldInfo {
        /// The hold; the asker is its payer, its payee or the issuer.
        hold: HoldId,
    },
    /// What arrived?
    Deposits {
        /// Only those with a greater number; 0 for all that wait.
        after: u64,
        /// How long the answer may wait until there is one. The issuer's service waits; the core answers at once.
        wait: Duration,
    },
    /// What happened to my account, latest first? The issuer's service answers.
    History {
        /// Only entries with a smaller number; `u64::MAX` for the latest.
        before: u64,
        /// How many at most; the answer may have fewer.
        count: u16,
    },
    /// A signed receipt for a command of mine. The issuer's service answers.
    Receipt {
        /// The command.
        id: RequestId,
    },
    /// Pay.
    Transfer {
        /// The command.
        id: RequestId,
        /// Who is paid.
        to: EntityId,
        /// What arrives there.
        amount: Amount,
        /// The greatest fee, on top of the amount, that the payer agrees to.
        fee_max: Amount,
        /// What it is for: the payee draws it at random for one order.
        order: Text<64>,
    },
    /// Make money. The issuer's own key only.
    Mint {
        /// The command.
        id: RequestId,
        /// Who gets it.
        to: EntityId,
        /// How much.
        amount: Amount,
    },
    /// Take money of the issuer's own account out of the supply. The issuer's own key only.
    Redeem {
        /// The command.
        id: RequestId,
        /// How much.
        amount: Amount,
    },
    /// Set money aside for a payee. The hold's id is `HoldId::derive(currency, payer, id)`.
    HoldOpen {
        /// The command.
        id: RequestId,
        /// Who may post it.
        payee: EntityId,
        /// What is set aside.
        amount_max: Amount,
        /// What it is for.
        order: Digest,
        /// When it goes back by itself.
        expires: Timestamp,
        /// The last moment to open it: a payer that has given up waiting knows that no hold will come.
        open_by: Timestamp,
    },
    /// Cash a voucher, once for each hold. No fee.
    HoldPost {
        /// The command.
        id: RequestId,
        /// The highest voucher that the payee has.
        voucher: SignedVoucher,
    },
    /// Give a hold up. Its payee only.
    HoldVoid {
        /// The command.
        id: RequestId,
        /// The hold.
        hold: HoldId,
    },
    /// These notices are saved here; forget them there.
    AckDeposits {
        /// The command.
        id: RequestId,
        /// The greatest number acknowledged.
        through: u64,
    },
    /// Pay many, by one command with one answer.
    Batch {
        /// The command.
        id: RequestId,
        /// The greatest fee, on top of the amount, that the payer agrees to for each step.
        fee_max: Amount,
        /// The payments, done in order.
        steps: List<Step, STEPS_MAX>,
    },
    /// Take no more than this: what would bring the account over it is refused.
    Accept {
        /// The command.
        id: RequestId,
        /// The most, available and held together; [`Amount::MAX`] is no limit.
        balance_max: Amount,
    },
    /// Give the account another key. Notices, answers and holds go with it.
    Rotate {
        /// The command.
        id: RequestId,
        /// The new key, which has no account.
        to: EntityId,
        /// The [`Rotation`](crate::Rotation), signed by the key that asks.
        by_old: Signature,
        /// The same, signed by the new key.
        by_new: Signature,
    },
    /// Close the account.
    Close {
        /// The command.
        id: RequestId,
        /// The most that may be left in it; it goes to the issuer.
        forfeit_max: Amount,
    },
    /// Take no more than this, account or not: as [`Accept`](Self::Accept); of a holder without an account it is kept for
    /// [`LIMIT_SPAN`](fondaco_ledger::LIMIT_SPAN), and is the limit of the account that its first payment makes.
    AcceptAhead {
        /// The command.
        id: RequestId,
        /// The most, available and held together; [`Amount::MAX`] is no limit.
        balance_max: Amount,
    },
    /// Cash a word of a payer's hash chain, once for each hold. No fee.
    HoldPostWord {
        /// The command.
        id: RequestId,
        /// What the payer signed once, for all words.
        anchor: SignedAnchor,
        /// The highest word that the payee has.
        word: PayWord,
    },
}
choice!(Request {
    1 => Describe,
    2 => Balance,
    3 => HoldInfo { hold },
    4 => Deposits { after, wait },
    5 => History { before, count },
    6 => Receipt { id },
    16 => Transfer { id, to, amount, fee_max, order },
    17 => Mint { id, to, amount },
    18 => Redeem { id, amount },
    19 => HoldOpen { id, payee, amount_max, order, expires, open_by },
    20 => HoldPost { id, voucher },
    21 => HoldVoid { id, hold },
    22 => AckDeposits { id, through },
    23 => Batch { id, fee_max, steps },
    24 => Accept { id, balance_max },
    25 => Rotate { id, to, by_old, by_new },
    26 => Close { id, forfeit_max },
    27 => HoldPostWord { id, anchor, word },
    28 => AcceptAhead { id, balance_max },
});

/// What became of one step of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// It was paid.
    Paid,
    /// It was refused, and the rest of its chain was not done.
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// Another step of its chain was refused.
    Undone,
}
choice!(StepResult { 1 => Paid, 2 => Refused { refusal }, 3 => Undone });

/// What the issuer answers: the case that bears the request's name, or a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To `Describe`.
    Described {
        /// The currency.
        currency: Currency,
        /// How much of everything the issuer takes.
        limits: Limits,
        /// How much of it there is.
        supply: Amount,
        /// How many accounts there are.
        accounts: u64,
        /// How far its journal has come; the issuer's service adds it.
        head: Option<SignedHead>,
    },
    /// To `Balance`.
    Balance {
        /// What the holder can spend.
        available: Amount,
        /// What its open holds have set aside.
        held: Amount,
        /// How many notices wait for it.
        deposits_waiting: u64,
    },
    /// To `HoldInfo`.
    HoldInfo {
        /// The hold and where it stands.
        info: Hold,
    },
    /// To `Deposits`.
    Deposits {
        /// The notices, by number.
        list: List<Deposit, DEPOSITS_PER_PAGE_MAX>,
        /// Whether there are more after these.
        more: bool,
    },
    /// To `History`.
    History {
        /// The entries, latest first.
        list: List<Entry, ENTRIES_PER_PAGE_MAX>,
        /// Whether there are older ones.
        more: bool,
    },
    /// To the query `Receipt`.
    Receipt {
        /// The receipt.
        receipt: Box<SignedReceipt>,
    },
    /// To `Transfer`.
    Transferred {
        /// What it cost, on top of the amount.
        fee: Amount,
        /// What the payer could spend when it was done.
        balance: Amount,
    },
    /// To `Mint`.
    Minted {
        /// The supply when it was done.
        supply: Amount,
    },
    /// To `Redeem`.
    Redeemed {
        /// The supply when it was done.
        supply: Amount,
    },
    /// To `HoldOpen`.
    HoldOpened {
        /// The hold.
        hold: HoldId,
        /// When it goes back by itself.
        expires: Timestamp,
    },
    /// To `HoldPost` and `HoldPostWord`.
    HoldPosted {
        /// What the payee got.
        paid: Amount,
        /// What went back to the payer.
        returned: Amount,
    },
    /// To `HoldVoid`.
    HoldVoided {
        /// What went back to the payer.
        returned: Amount,
    },
    /// To `AckDeposits`.
    Acked,
    /// To `Batch`.
    Batched {
        /// What the payer could spend when it was done.
        balance: Amount,
        /// What became of each step, in order.
        results: List<StepResult, STEPS_MAX>,
    },
    /// To `Accept`, and to `AcceptAhead` of a holder with an account, or that asks for no limit.
    Accepted,
    /// To `AcceptAhead` of a holder without an account.
    AcceptedAhead {
        /// Until when the limit is kept.
        until: Timestamp,
    },
    /// To `Rotate`.
    Rotated {
        /// The key that the account has now.
        to: EntityId,
    },
    /// To `Close`.
    Closed {
        /// What went to the issuer.
        forfeited: Amount,
    },
    /// To any: no, and nothing moved.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}
choice!(Response {
    1 => Described { currency, limits, supply, accounts, head },
    2 => Balance { available, held, deposits_waiting },
    3 => HoldInfo { info },
    4 => Deposits { list, more },
    5 => History { list, more },
    6 => Receipt { receipt },
    16 => Transferred { fee, balance },
    17 => Minted { supply },
    18 => Redeemed { supply },
    19 => HoldOpened { hold, expires },
    20 => HoldPosted { paid, returned },
    21 => HoldVoided { returned },
    22 => Acked,
    23 => Batched { balance, results },
    24 => Accepted,
    25 => Rotated { to },
    26 => Closed { forfeited },
    28 => AcceptedAhead { until },
    255 => Refused { refusal },
});

impl Request {
    /// Returns the id of a command; nothing of a query.
    pub const fn id(&self) -> Option<RequestId> {
        match self {
            Self::Describe
            | Self::Balance
            | Self::HoldInfo { .. }
            | Self::Deposits { .. }
            | Self::History { .. }
            // The id that it has is not its own.
            | Self::Receipt { .. } => None,
            Self::Transfer { id, .. }
            | Self::Mint { id, .. }
            | Self::Redeem { id, .. }
            | Self::HoldOpen { id, .. }
            | Self::HoldPost { id, .. }
            | Self::HoldVoid { id, .. }
            | Self::AckDeposits { id, .. }
            | Self::Batch { id, .. }
            | Self::Accept { id, .. }
            | Self::AcceptAhead { id, .. }
            | Self::Rotate { id, .. }
            | Self::Close { id, .. }
            | Self::HoldPostWord { id, .. } => Some(*id),
        }
    }
}

impl Request {
    /// Returns how long this asks to wait for its answer, at most.
    pub const fn wait(&self) -> Duration {
        match self {
            Self::Deposits { wait, .. } => *wait,
            _ => Duration::from_milliseconds(0),
        }
    }
}

impl Response {
    /// The first tag of an answer to a command; those below answer queries.
    pub(crate) const TO_COMMANDS: u8 = 16;
}
