//! The calls of 2003: what the paper and the draft name, and how their fields are read.

use super::{
    ENCODING_NAMESPACE, LCP_NAMESPACE, Refused,
    answer::escaped,
    envelope::{Call, is_ours, open, short},
    xml::{Element, REQUEST_LIMITS},
};
use crate::{key, parse_amount, parse_plain_amount};
use fondaco_codec::Text;
use fondaco_lcp::classic::{Ask, AskBody};
use fondaco_units::{Duration, Scale};

/// The longest a query may wait; who asks for more waits this long, which the draft allows ("up to").
pub const WAIT_MAX: Duration = Duration::from_seconds(600);

/// How a request is written, and therefore its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Style `rpc`, use `encoded`: the form of 2003. Its fields are in no namespace.
    Encoded,
    /// Style `document`, use `literal`, wrapped. Its fields are in the protocol's namespace.
    Literal,
}

/// The name by which something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A payment, as the draft names it.
    Transfer,
    /// A payment, as the paper names it.
    TransferFunds,
    /// What arrived, as the draft names it.
    Query,
    /// What arrived, as the paper names it.
    GetDeposits,
}

impl Operation {
    const fn of(name: &str) -> Option<Self> {
        // Both documents name messages with `Request` and operations without.
        match name.as_bytes() {
            b"transfer" | b"transferRequest" => Some(Self::Transfer),
            b"transferFunds" | b"transferFundsRequest" => Some(Self::TransferFunds),
            b"query" | b"queryRequest" => Some(Self::Query),
            b"getDeposits" | b"getDepositsRequest" => Some(Self::GetDeposits),
            _ => None,
        }
    }

    /// The name of its answer's element.
    pub const fn response(self) -> &'static str {
        match self {
            Self::Transfer => "transferResponse",
            Self::TransferFunds => "transferFundsResponse",
            Self::Query => "queryResponse",
            Self::GetDeposits => "getDepositsResponse",
        }
    }
}

/// A request that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// How it was written.
    pub form: Form,
    /// By which name it was asked.
    pub operation: Operation,
    /// What is asked.
    pub ask: Ask,
    /// How long the answer may take when there is nothing to tell; at most [`WAIT_MAX`].
    pub wait: Duration,
}

/// Reads a request about a currency of `scale`.
///
/// # Errors
///
/// See [`Refused`]. Nothing was done, and the message's counter was not consumed.
pub fn read(bytes: &[u8], scale: Scale) -> Result<Question, Refused> {
    let call = open(bytes, REQUEST_LIMITS)?;
    let element = &call.element;
    let unknown = || Refused::UnknownOperation { name: short(&element.name) };
    if !is_ours(element) {
        return Err(unknown());
    }
    let operation = Operation::of(&element.name).ok_or_else(unknown)?;
    if element.has_text() {
        return Err(Refused::NotSimple { name: short(&element.name) });
    }
    let is_literal = |field: &Element| field.namespace.as_deref() == Some(LCP_NAMESPACE);
    let form = if element.children.iter().any(is_literal) { Form::Literal } else { Form::Encoded };
    let (ask, wait) = match operation {
        Operation::Transfer | Operation::TransferFunds => {
            (transfer(&call, form, scale)?, Duration::ZERO)
        }
        Operation::Query | Operation::GetDeposits => query(&call)?,
    };
    Ok(Question { form, operation, ask, wait })
}

/// One field that a call may have: its names, the first of which is said when it is missing.
type Names = &'static [&'static str];

const RECIPIENT: Names = &["recipient"];
const AMOUNT: Names = &["amount"];
const TRANSACTION: Names = &["transactionId"];
const COUNTER: Names = &["messageCounter"];
const USER: Names = &["userid"];
const WAIT: Names = &["in0", "millisecondsWait", "maxWaitMilliseconds"];
const QUERY_COUNTER: Names = &["in1", "messageCounter"];

/// Takes the values of a call's fields, in the order of `wanted`.
fn fields<const N: usize>(call: &Call, wanted: [Names; N]) -> Result<[Option<&str>; N], Refused> {
    let mut seen = [false; N];
    let mut values = [None; N];
    for field in &call.element.children {
        let place = wanted.iter().position(|names| names.contains(&field.name.as_str()));
        let Some(place) = place.filter(|_| is_ours(field)) else {
            return Err(Refused::UnknownField { name: short(&field.name) });
        };
        if std::mem::replace(&mut seen[place], true) {
            return Err(Refused::RepeatedField { name: wanted[place][0] });
        }
        values[place] = call.value(field)?;
    }
    Ok(values)
}

fn required(value: Option<&str>, names: Names) -> Result<&str, Refused> {
    value.ok_or(Refused::MissingField { name: names[0] })
}

fn transfer(call: &Call, form: Form, scale: Scale) -> Result<Ask, Refused> {
    let [to, amount, order, counter, user] =
        fields(call, [RECIPIENT, AMOUNT, TRANSACTION, COUNTER, USER])?;
    // An account belongs to a key here. Money for a bank's customer would be the bank's, and nobody would know.
    if user.is_some_and(|user| !user.is_empty()) {
        return Err(Refused::UserUnsupported);
    }
    let (to, amount) = (required(to, RECIPIENT)?, required(amount, AMOUNT)?);
    let (order, counter) = (required(order, TRANSACTION)?, required(counter, COUNTER)?);
    let to = key::parse_key(to).ok_or(Refused::BadRecipient)?;
    let amount = match form {
        Form::Encoded => parse_amount(scale, amount),
        Form::Literal => parse_plain_amount(scale, amount),
    };
    let amount = amount.map_err(|why| Refused::BadAmount { why })?;
    let order = Text::new(order).ok_or(Refused::BadTransactionId)?;
    let counter = number(counter).ok_or(Refused::BadCounter)?;
    Ok(Ask { counter, body: AskBody::Transfer { to, amount, order } })
}

fn query(call: &Call) -> Result<(Ask, Duration), Refused> {
    let [wait, counter] = fields(call, [WAIT, QUERY_COUNTER])?;
    let (wait, counter) = (required(wait, WAIT)?, required(counter, QUERY_COUNTER)?);
    let wait = number::<u64>(wait).ok_or(Refused::BadWait)?;
    let counter = number(counter).ok_or(Refused::BadCounter)?;
    let wait = Duration::from_milliseconds(wait).min(WAIT_MAX);
    Ok((Ask { counter, body: AskBody::Query }, wait))
}

/// Reads a number in its one spelling: digits, and no zero in front of others.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let zeros_in_front = text.len() > 1 && text.starts_with('0');
    if text.is_empty() || !is_plain || zeros_in_front { None } else { text.parse().ok() }
}

/// Writes a request as it is read by [`read`], under the draft's names.
pub fn write(ask: &Ask, wait: Duration, form: Form, scale: Scale) -> Vec<u8> {
    let mut out = String::with_capacity(1024);
    out.push_str(HEAD);
    let name = match ask.body {
        AskBody::Transfer { .. } => "transfer",
        AskBody::Query => "query",
    };
    out.push_str(&match form {
        Form::Encoded => format!(
            r#"<lcp:{name} xmlns:lcp="{LCP_NAMESPACE}" soapenv:encodingStyle="{ENCODING_NAMESPACE}">"#
        ),
        Form::Literal => format!(r#"<{name} xmlns="{LCP_NAMESPACE}">"#),
    });
    let mut field = |name: &str, simple: &str, value: &str| {
        let value = escaped(value);
        out.push_str(&match form {
            Form::Encoded => format!(r#"<{name} xsi:type="xsd:{simple}">{value}</{name}>"#),
            Form::Literal => format!("<{name}>{value}</{name}>"),
        });
    };
    match &ask.body {
        AskBody::Transfer { to, amount, order } => {
            field("recipient", "string", &key::hex(to.as_bytes()));
            field("amount", "double", &scale.show(*amount).to_string());
            field("transactionId", "string", order.as_str());
            field("messageCounter", "int", &ask.counter.to_string());
        }
        AskBody::Query => {
            field("in0", "long", &wait.milliseconds().to_string());
            field("in1", "int", &ask.counter.to_string());
        }
    }
    out.push_str(match form {
        Form::Encoded => "</lcp:",
        Form::Literal => "</",
    });
    out.push_str(name);
    out.push_str("></soapenv:Body></soapenv:Envelope>");
    out.into_bytes()
}

/// The head of a request.
const HEAD: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8"?>"#,
    r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/""#,
    r#" xmlns:xsd="http://www.w3.org/2001/XMLSchema""#,
    r#" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>"#,
);
