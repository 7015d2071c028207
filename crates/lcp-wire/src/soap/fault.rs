//! Why a message of 2003 is not done, and how that is said in SOAP.
//!
//! The documents of 2003 define no fault codes. Ours: one code for every refusal, in the fault's detail, and whether
//! the message's counter is used up, which is what a client must know to go on.

use super::{FAULT_NAMESPACE, Forbidden, answer::escaped};
use crate::key::hex;
use fondaco_lcp::{Refusal, classic::Fault};
use fondaco_units::{Amount, ParseAmountError, Scale};
use std::fmt::Write as _;

/// Why a message was not understood. Listed by precedence: only the first that applies is reported; what is wrong in
/// several places of the XML, or in several fields, is reported at the first place. Nothing was done, and the message's
/// counter is not used up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is too long to be read.
    #[error("a message has at most {bytes_max} bytes")]
    TooLarge {
        /// The most bytes.
        bytes_max: usize,
    },
    /// It is not UTF-8.
    #[error("a message is written in UTF-8")]
    NotUtf8,
    /// It has what SOAP 1.1 has no use for.
    #[error("{}", what.sentence())]
    Forbidden {
        /// What.
        what: Forbidden,
    },
    /// It has too many elements.
    #[error("a message has at most {} elements", super::ELEMENTS_MAX)]
    TooManyElements,
    /// It has too many attributes.
    #[error(
        "an element has at most {} attributes, a message {}",
        super::ATTRIBUTES_PER_ELEMENT_MAX,
        super::ATTRIBUTES_MAX
    )]
    TooManyAttributes,
    /// Its elements lie too deep in each other.
    #[error("elements lie at most {} deep in each other", super::DEPTH_MAX)]
    TooDeep,
    /// It is not well-formed XML.
    #[error("this is not well-formed XML")]
    Malformed,
    /// It is no SOAP envelope.
    #[error("this is no SOAP envelope with one body")]
    NotEnvelope,
    /// It is an envelope of another version of SOAP.
    #[error("SOAP 1.1 is spoken here")]
    VersionMismatch,
    /// A header entry must be understood, and is not.
    #[error("no header entry is understood here, {name} neither")]
    MustUnderstand {
        /// The name of the entry.
        name: String,
    },
    /// The body has no call, or several.
    #[error("a body has one call")]
    NotOneCall,
    /// The call is none of ours.
    #[error("there is no operation {name}")]
    UnknownOperation {
        /// Its name.
        name: String,
    },
    /// A field of the call is none of its fields.
    #[error("the call has no field {name}")]
    UnknownField {
        /// The field's name.
        name: String,
    },
    /// A field is there twice.
    #[error("the field {name} is there twice")]
    RepeatedField {
        /// The field's name.
        name: &'static str,
    },
    /// A field refers to a value that is not there, or not there once.
    #[error("{id} refers to no value of this body")]
    BadReference {
        /// What it refers to.
        id: String,
    },
    /// A field has elements or comments in it.
    #[error("the field {name} is not a simple value")]
    NotSimple {
        /// The field's name.
        name: String,
    },
    /// A transfer names a bank's customer.
    #[error("accounts belong to keys here: a userid cannot be paid")]
    UserUnsupported,
    /// A field is missing, or nil.
    #[error("the field {name} is missing")]
    MissingField {
        /// The field's name.
        name: &'static str,
    },
    /// The recipient is no key.
    #[error("a recipient is an Ed25519 public key in 64 hex digits")]
    BadRecipient,
    /// The amount is no amount of this currency.
    #[error("{why}")]
    BadAmount {
        /// Why.
        why: ParseAmountError,
    },
    /// The transaction id is too long.
    #[error("a transactionId has at most 64 bytes")]
    BadTransactionId,
    /// The wait is no number of milliseconds.
    #[error("a wait is a whole number of milliseconds")]
    BadWait,
    /// The counter is no counter.
    #[error("a message counter is a whole number from 0 to {}", u32::MAX)]
    BadCounter,
    /// The holder, its network or all strangers ask faster than the issuer takes in, or it takes in nothing now.
    #[error(
        "the issuer takes no more messages now: nothing was done; send the same message again later"
    )]
    Busy,
    /// The issuer's service cannot answer now; whether the message was done is not known here.
    #[error("the issuer cannot answer now: send the same message again")]
    Unavailable,
}

impl Forbidden {
    const fn sentence(self) -> &'static str {
        match self {
            Self::DocumentType => "a message has no document type",
            Self::Entity => "a message has no entities but the five of XML",
            Self::ProcessingInstruction => "a message has no processing instructions",
            Self::Encoding => "a message is written in UTF-8, and says no other thing",
            Self::Character => "a message has a character that XML does not have",
        }
    }
}

/// Whose fault a fault is: the `faultcode` of SOAP 1.1, section 4.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// The envelope is of another version.
    VersionMismatch,
    /// A header entry must be understood, and is not.
    MustUnderstand,
    /// The message: sent again unchanged, it fails again.
    Client,
    /// The issuer: the same message may succeed later.
    Server,
}

impl FaultClass {
    const fn name(self) -> &'static str {
        match self {
            Self::VersionMismatch => "VersionMismatch",
            Self::MustUnderstand => "MustUnderstand",
            Self::Client => "Client",
            Self::Server => "Server",
        }
    }
}

impl Refused {
    /// Returns whether the same message, sent again unchanged, can have another answer later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Busy | Self::Unavailable => true,
            Self::TooLarge { .. }
            | Self::NotUtf8
            | Self::Forbidden { .. }
            | Self::TooManyElements
            | Self::TooManyAttributes
            | Self::TooDeep
            | Self::Malformed
            | Self::NotEnvelope
            | Self::VersionMismatch
            | Self::MustUnderstand { .. }
            | Self::NotOneCall
            | Self::UnknownOperation { .. }
            | Self::UnknownField { .. }
            | Self::RepeatedField { .. }
            | Self::BadReference { .. }
            | Self::NotSimple { .. }
            | Self::UserUnsupported
            | Self::MissingField { .. }
            | Self::BadRecipient
            | Self::BadAmount { .. }
            | Self::BadTransactionId
            | Self::BadWait
            | Self::BadCounter => false,
        }
    }

    /// The code that stands in the detail.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "TooLarge",
            Self::NotUtf8 => "NotUtf8",
            Self::Forbidden { what: Forbidden::DocumentType } => "ForbiddenDocumentType",
            Self::Forbidden { what: Forbidden::Entity } => "ForbiddenEntity",
            Self::Forbidden { what: Forbidden::ProcessingInstruction } => {
                "ForbiddenProcessingInstruction"
            }
            Self::Forbidden { what: Forbidden::Encoding } => "ForbiddenEncoding",
            Self::Forbidden { what: Forbidden::Character } => "ForbiddenCharacter",
            Self::TooManyElements => "TooManyElements",
            Self::TooManyAttributes => "TooManyAttributes",
            Self::TooDeep => "TooDeep",
            Self::Malformed => "Malformed",
            Self::NotEnvelope => "NotEnvelope",
            Self::VersionMismatch => "VersionMismatch",
            Self::MustUnderstand { .. } => "MustUnderstand",
            Self::NotOneCall => "NotOneCall",
            Self::UnknownOperation { .. } => "UnknownOperation",
            Self::UnknownField { .. } => "UnknownField",
            Self::RepeatedField { .. } => "RepeatedField",
            Self::BadReference { .. } => "BadReference",
            Self::NotSimple { .. } => "NotSimple",
            Self::UserUnsupported => "UserUnsupported",
            Self::MissingField { .. } => "MissingField",
            Self::BadRecipient => "BadRecipient",
            Self::BadAmount { why: ParseAmountError::NotDigits } => "AmountNotDecimal",
            Self::BadAmount { why: ParseAmountError::TooManyDecimals { .. } } => "AmountTooFine",
            Self::BadAmount { why: ParseAmountError::TooLarge } => "AmountTooLarge",
            Self::BadTransactionId => "BadTransactionId",
            Self::BadWait => "BadWait",
            Self::BadCounter => "BadCounter",
            Self::Busy => "Busy",
            Self::Unavailable => "Unavailable",
        }
    }

    const fn class(&self) -> FaultClass {
        match self {
            Self::VersionMismatch => FaultClass::VersionMismatch,
            Self::MustUnderstand { .. } => FaultClass::MustUnderstand,
            Self::Busy | Self::Unavailable => FaultClass::Server,
            _ => FaultClass::Client,
        }
    }

    /// Writes the fault envelope.
    pub fn envelope(&self) -> Vec<u8> {
        Detail { class: self.class(), code: self.code(), used: false, facts: Vec::new() }
            .envelope(&self.to_string())
    }
}

/// What a fault's detail says.
struct Detail {
    class: FaultClass,
    code: &'static str,
    /// Whether the message's counter is used up.
    used: bool,
    facts: Vec<(&'static str, String)>,
}

impl Detail {
    fn envelope(&self, sentence: &str) -> Vec<u8> {
        let mut out = String::with_capacity(768);
        out.push_str(concat!(
            r#"<?xml version="1.0" encoding="UTF-8"?>"#,
            "\n",
            r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">"#,
            "<soapenv:Body><soapenv:Fault><faultcode>soapenv:",
        ));
        out.push_str(self.class.name());
        out.push_str("</faultcode><faultstring>");
        out.push_str(&escaped(sentence));
        // Writing to a string does not fail.
        let _ = write!(
            out,
            r#"</faultstring><detail><fault xmlns="{FAULT_NAMESPACE}"><code>{}</code><counterUsed>{}</counterUsed>"#,
            self.code, self.used
        );
        for (name, value) in &self.facts {
            let _ = write!(out, "<{name}>{}</{name}>", escaped(value));
        }
        out.push_str("</fault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>");
        out.into_bytes()
    }
}

/// Writes the fault envelope of a message that was understood, about a currency of `scale`.
pub fn fault(fault: &Fault, scale: Scale) -> Vec<u8> {
    let money = |amount: Amount| scale.show(amount).to_string();
    let client = |code, facts| Detail { class: FaultClass::Client, code, used: false, facts };
    let detail = match fault {
        Fault::Fenced => client("Fenced", Vec::new()),
        Fault::OtherContent { counter } => {
            client("OtherContent", vec![("counter", counter.to_string())])
        }
        Fault::StaleCounter { last } => client("StaleCounter", vec![("last", last.to_string())]),
        Fault::Refused { refusal } => refused(refusal, &money),
    };
    detail.envelope(&fault.to_string())
}

/// The detail of a refusal of the books.
fn refused(refusal: &Refusal, money: &dyn Fn(Amount) -> String) -> Detail {
    use fondaco_ledger::Refusal as Ledger;
    let (code, facts) = match refusal {
        Refusal::Unavailable => ("Unavailable", Vec::new()),
        Refusal::NoSpace => ("NoSpace", Vec::new()),
        Refusal::Halted | Refusal::Ledger { refusal: Ledger::Halted } => ("Halted", Vec::new()),
        Refusal::Rotated { to } | Refusal::Ledger { refusal: Ledger::KeyRotated { to } } => {
            ("KeyRotated", vec![("key", hex(to.as_bytes()))])
        }
        Refusal::DepositsFull { .. } => ("DepositsFull", Vec::new()),
        Refusal::Ledger { refusal: Ledger::ZeroAmount } => ("ZeroAmount", Vec::new()),
        Refusal::Ledger { refusal: Ledger::SelfTransfer { .. } } => ("SelfTransfer", Vec::new()),
        Refusal::Ledger { refusal: Ledger::InsufficientFunds { available, wanted } } => (
            "InsufficientFunds",
            vec![("available", money(*available)), ("wanted", money(*wanted))],
        ),
        Refusal::Ledger { refusal: Ledger::UnderReserve { reserve, .. } } => {
            ("UnderReserve", vec![("reserve", money(*reserve))])
        }
        Refusal::Ledger { refusal: Ledger::OverLimit { .. } } => ("OverLimit", Vec::new()),
        Refusal::Ledger { refusal: Ledger::BooksFull { .. } } => ("BooksFull", Vec::new()),
        // What is left answers what 2003 cannot ask: holds, batches, rotations. Said, if it should ever come.
        _ => ("Refused", Vec::new()),
    };
    let is_ours = matches!(code, "Unavailable" | "Halted" | "NoSpace");
    let class = if is_ours { FaultClass::Server } else { FaultClass::Client };
    Detail { class, code, used: !refusal.is_transient(), facts }
}
