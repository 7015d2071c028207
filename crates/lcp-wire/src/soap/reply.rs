//! Answers as a holder reads them.

use super::{
    ENVELOPE_NAMESPACE, FAULT_NAMESPACE, Refused,
    envelope::{Call, open},
    xml::{Element, Limits},
};
use crate::parse_amount;
use fondaco_lcp::DEPOSITS_PER_PAGE_MAX;
use fondaco_units::{Amount, Scale};

/// The longest answer: 256 deposits whose ids are 64 bytes that each need an escape of five.
pub const REPLY_BYTES_MAX: usize = 256 << 10;

const LIMITS: Limits = Limits { bytes: REPLY_BYTES_MAX, elements: 2048, attributes: 4096 };

/// What an issuer answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was paid.
    Paid {
        /// What it cost on top.
        fee: Amount,
    },
    /// What arrived since.
    Told {
        /// Each deposit: how much, and the transaction id.
        deposits: Vec<(Amount, String)>,
        /// What the query cost.
        fee: Amount,
        /// What can be spent.
        balance: Amount,
    },
    /// It was not done.
    Fault {
        /// The code of `docs/formats/lcp2003.md`.
        code: String,
        /// Why, as a sentence.
        message: String,
        /// Whether the message's counter is used up.
        counter_used: bool,
    },
}

/// An answer is not what the protocol says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no envelope.
    #[error("the answer cannot be read: {why}")]
    Envelope {
        /// Why.
        why: Refused,
    },
    /// It is neither of the two answers, nor a fault of an issuer that speaks as we do.
    #[error("the answer is none that the protocol has")]
    Content,
}

impl Unreadable {
    /// Returns whether the same answer can be read later: never.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Envelope { .. } | Self::Content => false,
        }
    }
}

/// Reads an answer of either form about a currency of `scale`.
///
/// # Errors
///
/// See [`Unreadable`].
pub fn read_reply(bytes: &[u8], scale: Scale) -> Result<Reply, Unreadable> {
    let call = open(bytes, LIMITS).map_err(|why| Unreadable::Envelope { why })?;
    read_call(&call, scale).ok_or(Unreadable::Content)
}

fn read_call(call: &Call, scale: Scale) -> Option<Reply> {
    let element = &call.element;
    if element.is(ENVELOPE_NAMESPACE, "Fault") {
        return read_fault(element);
    }
    let money = |parent: &Element, name: &str| parse_amount(scale, &parent.child(name)?.text).ok();
    match element.name.as_str() {
        "transferResponse" | "transferFundsResponse" => {
            let is_done = element.child("result")?.text == "success";
            is_done.then_some(Reply::Paid { fee: money(element, "fee")? })
        }
        "queryResponse" | "getDepositsResponse" => {
            let told = element.children.first()?;
            let deposits = &told.child("deposits")?.children;
            if deposits.len() > DEPOSITS_PER_PAGE_MAX {
                return None;
            }
            let deposits = deposits
                .iter()
                .map(|each| Some((money(each, "amount")?, each.child("id")?.text.clone())))
                .collect::<Option<_>>()?;
            Some(Reply::Told {
                deposits,
                fee: money(told, "fee")?,
                balance: money(told, "balance")?,
            })
        }
        _ => None,
    }
}

fn read_fault(fault: &Element) -> Option<Reply> {
    let message = fault.child("faultstring")?.text.clone();
    let detail = fault.child("detail")?.child("fault")?;
    if detail.namespace.as_deref() != Some(FAULT_NAMESPACE) {
        return None;
    }
    let code = detail.child("code")?.text.clone();
    let counter_used = detail.child("counterUsed")?.text == "true";
    Some(Reply::Fault { code, message, counter_used })
}
