//! Answers, in the style of the draft or as literal documents. The same answer is always the same bytes.

use super::{ENCODING_NAMESPACE, Form, LCP_NAMESPACE, Operation, fault, xml};
use fondaco_lcp::{Deposit, classic::Answer};
use fondaco_units::{Amount, Scale};
use std::borrow::Cow;

/// The head of an answer of 2003. Every prefix is declared here, so that values can name types.
const HEAD: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8"?>"#,
    "\n",
    r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/""#,
    r#" xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/""#,
    r#" xmlns:xsd="http://www.w3.org/2001/XMLSchema""#,
    r#" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance""#,
    r#" xmlns:lcp="http://lightweightcurrency.org">"#,
    "<soapenv:Body>",
);
const TAIL: &str = "</soapenv:Body></soapenv:Envelope>";

/// Writes an answer, and says whether it is a fault.
pub fn answer(answer: &Answer, form: Form, operation: Operation, scale: Scale) -> (Vec<u8>, bool) {
    let mut out = Writer { out: String::with_capacity(1024), form, scale };
    match answer {
        Answer::Fault { fault: why } => return (fault(why, scale), true),
        Answer::Paid { fee, .. } => out.call(operation, |out| {
            out.value("result", "string", "success");
            out.money("fee", *fee);
        }),
        Answer::Told { deposits, fee, balance } => out.call(operation, |out| {
            let name = match operation {
                Operation::GetDeposits => "getDepositsReturn",
                _ => "queryReturn",
            };
            out.element(name, r#" xsi:type="lcp:QueryResult""#, |out| {
                out.deposits(deposits.as_slice());
                out.money("fee", *fee);
                out.money("balance", *balance);
            });
        }),
    }
    (out.out.into_bytes(), false)
}

struct Writer {
    out: String,
    form: Form,
    scale: Scale,
}

impl Writer {
    fn call(&mut self, operation: Operation, inside: impl FnOnce(&mut Self)) {
        let name = operation.response();
        self.out.push_str(HEAD);
        let (start, end) = match self.form {
            Form::Encoded => (
                format!(r#"<lcp:{name} soapenv:encodingStyle="{ENCODING_NAMESPACE}">"#),
                format!("</lcp:{name}>"),
            ),
            Form::Literal => (format!(r#"<{name} xmlns="{LCP_NAMESPACE}">"#), format!("</{name}>")),
        };
        self.out.push_str(&start);
        inside(self);
        self.out.push_str(&end);
        self.out.push_str(TAIL);
    }

    /// Writes an element with its type, which a literal document does not say.
    fn element(&mut self, name: &str, typed: &str, inside: impl FnOnce(&mut Self)) {
        self.out.push('<');
        self.out.push_str(name);
        if self.form == Form::Encoded {
            self.out.push_str(typed);
        }
        self.out.push('>');
        inside(self);
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    fn value(&mut self, name: &str, simple: &str, value: &str) {
        let typed = format!(r#" xsi:type="xsd:{simple}""#);
        self.element(name, &typed, |out| out.out.push_str(&escaped(value)));
    }

    fn money(&mut self, name: &str, amount: Amount) {
        let text = self.scale.show(amount).to_string();
        self.value(name, "double", &text);
    }

    fn deposits(&mut self, deposits: &[Deposit]) {
        let count = deposits.len();
        let typed =
            format!(r#" xsi:type="soapenc:Array" soapenc:arrayType="lcp:Transaction[{count}]""#);
        self.element("deposits", &typed, |out| {
            for deposit in deposits {
                // The parts of an encoded array have no names of their own; those of a document have.
                let name = match out.form {
                    Form::Encoded => "item",
                    Form::Literal => "Transaction",
                };
                out.element(name, r#" xsi:type="lcp:Transaction""#, |out| {
                    out.money("amount", deposit.amount);
                    out.value("id", "string", deposit.order.as_str());
                });
            }
        });
    }
}

/// Escapes character data. What XML 1.0 cannot say at all becomes U+FFFD; line ends survive as they are.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    let special =
        |c: char| matches!(c, '<' | '>' | '&' | '\t' | '\n' | '\r') || !xml::is_character(c);
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c if !xml::is_character(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}
