//! Many payments by one command: read from a file, checked whole, made at most once.
//!
//! ```text
//! file ──► Payments: every line checked ──► pay_all: one batch, saved, sent until answered ──► what became of each
//! ```
//!
//! A batch has one id and one answer, so that a crash leaves one question open, which the next run asks again. Payments
//! are made in order; one that is refused stops no other, or all others, as the payer chooses.

use crate::{AgentError, Wallet, entropy};
use fondaco_codec::{List, Text};
use fondaco_crypto::{EntityId, parse_entity};
use fondaco_lcp::{
    ENTRIES_PER_PAGE_MAX, Entry, EntryKind, Refusal, Request, RequestId, Response, STEPS_MAX, Step,
    StepResult,
};
use fondaco_ledger::Refusal as LedgerRefusal;
use fondaco_ports::Clock;
use fondaco_units::{Amount, Scale};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The most payments of one command.
pub const PAYMENTS_MAX: usize = 8000;
const _: () = assert!(PAYMENTS_MAX <= STEPS_MAX, "they are steps of one batch");

/// For how many payments their fees are looked up: for more, that would take longer than the payments did.
const FEES_OF_MAX: usize = 1024;

/// How many pages of what happened after a batch are looked through for it.
const LATER_PAGES_MAX: usize = 8;

/// The longest file of payments that is read.
pub const PAYMENTS_BYTES_MAX: usize = 4 << 20;

/// One payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Who is paid.
    pub to: EntityId,
    /// What arrives there.
    pub amount: Amount,
    /// What it is for.
    pub order: Text<64>,
}

/// How a file of payments is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentsFormat {
    /// Lines of `to,amount,order`; the order may be left out, and a first line of these words is passed over. A field in
    /// double quotes may have commas, and `""` for a double quote.
    Csv,
    /// A list of objects of texts, `to`, `amount` and, if there is one, `order`.
    Json,
}

/// Payments that can be asked for together: 1 to [`PAYMENTS_MAX`], none of nothing, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payments {
    list: Vec<Payment>,
    sum: Amount,
}

/// Why a file is none of payments. The first of its mistakes is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaymentsError {
    /// There are none.
    #[error("there are no payments in it")]
    Empty,
    /// There are too many.
    #[error("there are more than {PAYMENTS_MAX} payments in it")]
    TooMany,
    /// It is no JSON, or no list of objects.
    #[error("{what}")]
    Json {
        /// What it is.
        what: String,
    },
    /// A payment cannot be read, or made.
    #[error("{place}: {what}")]
    Payment {
        /// Where it stands: a line, or its number.
        place: String,
        /// Why not.
        what: String,
    },
    /// The sum is more than there can be.
    #[error("the sum is more than can be counted")]
    Overflow,
}

/// What became of payments that were asked for together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidAll {
    /// The command that made them; it may be that of an earlier run.
    pub id: RequestId,
    /// The most that each cost on top of its amount.
    pub fee_max: Amount,
    /// What could be spent when they were done.
    pub balance: Amount,
    /// What became of each, in order.
    pub results: Vec<StepResult>,
    /// Whether it is one of an earlier run.
    pub taken_up: bool,
    /// Whether all were made or none: as that run said, if it is one of an earlier run.
    pub linked: bool,
}

impl PaymentsFormat {
    /// Returns how this text is written: as JSON, if it begins as a list of that.
    pub fn of(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}').trim_start();
        if text.starts_with('[') { Self::Json } else { Self::Csv }
    }

    /// Writes payments so that they are read back as they are.
    pub fn write<'a>(self, scale: Scale, list: impl Iterator<Item = &'a Payment>) -> String {
        let amount = |payment: &Payment| scale.show(payment.amount).to_string();
        match self {
            Self::Csv => {
                let line = |payment: &Payment| {
                    let order = payment.order.as_str().replace('"', "\"\"");
                    format!("{},{},\"{order}\"\n", payment.to, amount(payment))
                };
                list.map(line).collect::<String>()
            }
            Self::Json => {
                let value = |payment: &Payment| {
                    let (to, order) = (payment.to.to_string(), payment.order.as_str());
                    json!({ "to": to, "amount": amount(payment), "order": order })
                };
                format!("{:#}\n", Value::Array(list.map(value).collect()))
            }
        }
    }
}

impl Payments {
    /// Reads payments, and checks each.
    ///
    /// # Errors
    ///
    /// One cannot be read, is of nothing, or is there twice: with an order of its own each can be told from the others.
    pub fn read(text: &str, scale: Scale) -> Result<Self, PaymentsError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let raw = match PaymentsFormat::of(text) {
            PaymentsFormat::Csv => from_csv(text)?,
            PaymentsFormat::Json => from_json(text)?,
        };
        let (mut list, mut sum) = (Vec::with_capacity(raw.len()), Amount::ZERO);
        let mut seen = BTreeMap::new();
        for Raw { place, to, amount: said, order } in raw {
            let wrong = |what: String| PaymentsError::Payment { place: place.clone(), what };
            let to = parse_entity(&to).map_err(|error| wrong(format!("{to}: {error}")))?;
            let amount = scale.parse(&said).map_err(|error| wrong(format!("{said}: {error}")))?;
            if amount.is_zero() {
                return Err(wrong("the amount is zero: nothing would be paid".to_owned()));
            }
            let order = Text::new(order)
                .ok_or_else(|| wrong("the order has more than 64 bytes".to_owned()))?;
            let key = (to, amount, order.as_str().to_owned());
            if let Some(before) = seen.insert(key, place.clone()) {
                return Err(wrong(format!(
                    "this is the same as {before}: give each an order of its own if both are meant"
                )));
            }
            sum = sum.checked_add(amount).ok_or(PaymentsError::Overflow)?;
            list.push(Payment { to, amount, order });
        }
        match list.len() {
            0 => Err(PaymentsError::Empty),
            1..=PAYMENTS_MAX => Ok(Self { list, sum }),
            _ => Err(PaymentsError::TooMany),
        }
    }

    /// Returns the payments, in order.
    pub fn as_slice(&self) -> &[Payment] {
        &self.list
    }

    /// Returns what they come to, without fees.
    pub const fn sum(&self) -> Amount {
        self.sum
    }

    /// Returns what they come to with a fee for each, if that can be counted.
    pub fn with_fees(&self, fee: Amount) -> Option<Amount> {
        let fees = fee.get().checked_mul(u64::try_from(self.list.len()).ok()?)?;
        self.sum.checked_add(Amount::new(fees))
    }

    fn steps(&self, linked: bool) -> List<Step, STEPS_MAX> {
        let step = |payment: &Payment| Step {
            to: payment.to,
            amount: payment.amount,
            order: payment.order.clone(),
            linked,
        };
        List::new(self.list.iter().map(step).collect()).expect("no more than a batch may have")
    }
}

impl Wallet {
    /// Makes many payments by one command; with `linked` all of them or none, else each that can be made. `fee_max` is the
    /// most that each may cost on top. The same payments that are still without an answer from an earlier run, or whose
    /// outcome nobody was told, are taken up instead, linked as they were: they are made once in all. Say [`Wallet::told`]
    /// when the outcome was told.
    ///
    /// # Errors
    ///
    /// The same were made before, and not `again`; one pays oneself; there is not enough money for all: nothing was sent
    /// then. Else as [`Wallet::submit`].
    pub async fn pay_all(
        &self,
        clock: &dyn Clock,
        payments: &Payments,
        fee_max: Amount,
        linked: bool,
        again: bool,
    ) -> Result<PaidAll, AgentError> {
        let steps = payments.steps(linked);
        let known = self.batch(steps.as_slice());
        let (request, taken_up) = match known {
            Some((request, is_new)) if is_new => (request, true),
            Some((request, _)) if !again => {
                let id = request.id().unwrap_or(RequestId::new(0));
                return Err(AgentError::Invalid {
                    what: format!("these payments were made before, by {id}"),
                    hint: "`--again` makes them once more; `fondaco receipt get` proves those of before".to_owned(),
                });
            }
            Some(_) | None => {
                self.can_pay(payments, fee_max).await?;
                let id = entropy::request_id(clock)?;
                (Request::Batch { id, fee_max, steps }, false)
            }
        };
        let (Some(id), Request::Batch { fee_max, steps, .. }) = (request.id(), &request) else {
            return Err(AgentError::Store("what was kept is no batch".to_owned()));
        };
        let (fee_max, linked) = (*fee_max, steps.as_slice().iter().any(|step| step.linked));
        match self.submit(request).await? {
            Response::Batched { balance, results } => {
                let results = results.into_vec();
                Ok(PaidAll { id, fee_max, balance, results, taken_up, linked })
            }
            _ => Err(self.misanswer("it does not say what became of the payments")),
        }
    }

    /// Returns what a batch of which so many payments were made was charged in fees, by the history of this account; nothing if they are
    /// more than 1024, or so much happened since that they are not among its newest entries.
    ///
    /// # Errors
    ///
    /// As [`Wallet::history`].
    pub async fn fees_of(&self, id: RequestId, made: usize) -> Result<Option<Amount>, AgentError> {
        if made > FEES_OF_MAX {
            return Ok(None);
        }
        let (mut before, mut found, mut fees) = (0, 0, Amount::ZERO);
        for _ in 0..made.div_ceil(ENTRIES_PER_PAGE_MAX) + LATER_PAGES_MAX {
            if found >= made {
                break;
            }
            let count = u16::try_from(ENTRIES_PER_PAGE_MAX).unwrap_or(u16::MAX);
            let (list, more) = self.history(before, count).await?;
            let of_it = |entry: &&Entry| entry.id == Some(id) && entry.kind == EntryKind::Sent;
            for entry in list.iter().filter(of_it) {
                found += 1;
                fees = fees.checked_add(entry.fee).unwrap_or(Amount::MAX);
            }
            match list.last() {
                Some(last) if more => before = last.number,
                _ => break,
            }
        }
        Ok((found == made).then_some(fees))
    }

    /// Looks, before anything is sent, whether it can all be paid.
    async fn can_pay(&self, payments: &Payments, fee: Amount) -> Result<(), AgentError> {
        let holder = self.holder();
        let refused = |refusal| Err(AgentError::Issuer(Refusal::Ledger { refusal }));
        if payments.list.iter().any(|payment| payment.to == holder) {
            return refused(LedgerRefusal::SelfTransfer { holder });
        }
        let available = self.balance().await?.available;
        let wanted = payments.with_fees(fee).unwrap_or(Amount::MAX);
        match wanted > available {
            true => refused(LedgerRefusal::InsufficientFunds { available, wanted }),
            false => Ok(()),
        }
    }
}

/// One payment as it was written.
struct Raw {
    place: String,
    to: String,
    amount: String,
    order: String,
}

fn from_csv(text: &str) -> Result<Vec<Raw>, PaymentsError> {
    let mut list = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let place = format!("line {}", number + 1);
        let wrong =
            |what: &str| PaymentsError::Payment { place: place.clone(), what: what.to_owned() };
        let mut fields = fields(line).ok_or_else(|| wrong("a double quote is open"))?.into_iter();
        let (to, amount, order) = match (fields.next(), fields.next(), fields.next(), fields.next())
        {
            (Some(to), Some(amount), order, None) => (to, amount, order.unwrap_or_default()),
            _ => return Err(wrong("it is not as `to,amount,order`")),
        };
        let is_head = list.is_empty() && (to.as_str(), amount.as_str()) == ("to", "amount");
        if !is_head {
            list.push(Raw { place, to, amount, order });
        }
        if list.len() > PAYMENTS_MAX {
            return Err(PaymentsError::TooMany);
        }
    }
    Ok(list)
}

/// The fields of a line, without the white space around them but for what is quoted; nothing if a quote is not closed,
/// or does not stand at the ends of its field.
fn fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut rest) = (Vec::new(), line);
    loop {
        rest = rest.trim_start();
        let (field, after) = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let field = rest[..end].trim_end();
                if field.contains('"') {
                    return None;
                }
                (field.to_owned(), &rest[end..])
            }
            Some(quoted) => {
                let (mut field, mut quoted) = (String::new(), quoted);
                loop {
                    let (before, after) = quoted.split_once('"')?;
                    field.push_str(before);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            field.push('"');
                            quoted = more;
                        }
                        None => break (field, after.trim_start()),
                    }
                }
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

fn from_json(text: &str) -> Result<Vec<Raw>, PaymentsError> {
    let json = |what: String| PaymentsError::Json { what };
    let value: Value = serde_json::from_str(text).map_err(|error| json(error.to_string()))?;
    let Value::Array(items) = value else { return Err(json("it is no list".to_owned())) };
    if items.len() > PAYMENTS_MAX {
        return Err(PaymentsError::TooMany);
    }
    let read = |(number, item): (usize, Value)| {
        let place = format!("payment {}", number + 1);
        let wrong = |what: String| PaymentsError::Payment { place: place.clone(), what };
        let Value::Object(mut fields) = item else {
            return Err(wrong("it is no object with `to` and `amount`".to_owned()));
        };
        let [to, amount, order] = ["to", "amount", "order"].map(|name| take(&mut fields, name));
        if let Some(name) = fields.keys().next() {
            return Err(wrong(format!("it has an unknown field, {name}")));
        }
        let missing = |name: &str| wrong(format!("`{name}` is missing"));
        Ok(Raw {
            to: to.map_err(wrong)?.ok_or_else(|| missing("to"))?,
            amount: amount.map_err(wrong)?.ok_or_else(|| missing("amount"))?,
            order: order.map_err(wrong)?.unwrap_or_default(),
            place: place.clone(),
        })
    };
    items.into_iter().enumerate().map(read).collect()
}

/// Takes a text out of an object. A number is none: some programs round them.
fn take(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` is no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_crypto::SecretKey;

    fn cents() -> Scale {
        Scale::new(2).unwrap()
    }

    fn key(seed: u8) -> EntityId {
        SecretKey::from_bytes(&[seed; 32]).entity()
    }

    fn payment(seed: u8, cents: u64, order: &str) -> Payment {
        Payment { to: key(seed), amount: Amount::new(cents), order: Text::cut(order) }
    }

    #[test]
    fn both_forms_say_the_same() {
        let (one, two) = (key(1), key(2));
        let csv = format!(
            "to,amount,order\r\n{one},12.50,two loaves\r\n\n  {} , 0.01 \n{two},7,\"a \"\"b\"\", c\"\n",
            two.to_hex()
        );
        let expected =
            [payment(1, 1250, "two loaves"), payment(2, 1, ""), payment(2, 700, "a \"b\", c")];
        let read = Payments::read(&csv, cents()).unwrap();
        assert_eq!((read.as_slice(), read.sum()), (&expected[..], Amount::new(1951)));
        assert_eq!(read.with_fees(Amount::new(10)), Some(Amount::new(1981)));
        assert_eq!(read.with_fees(Amount::MAX), None);
        for format in [PaymentsFormat::Csv, PaymentsFormat::Json] {
            let text = format.write(cents(), read.as_slice().iter());
            assert_eq!(PaymentsFormat::of(&text), format);
            assert_eq!(PaymentsFormat::of(&format!("\u{feff}{text}")), format);
            assert_eq!(Payments::read(&text, cents()).as_ref(), Ok(&read), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let (one, two) = (key(1), key(2));
        let line = |rest: &str| format!("{one},1\n{two},{rest}");
        let item =
            |rest: &str| format!(r#"[{{"to":"{one}","amount":"1"}},{{"to":"{two}"{rest}}}]"#);
        let long = "x".repeat(65);
        for (text, expected) in [
            (String::new(), "there are no payments in it".to_owned()),
            ("to,amount\n".to_owned(), "there are no payments in it".to_owned()),
            ("[]".to_owned(), "there are no payments in it".to_owned()),
            ("[1".to_owned(), "EOF while parsing".to_owned()),
            ("fon1x,5".to_owned(), "line 1: fon1x: ".to_owned()),
            (line("1e3"), "line 2: 1e3: ".to_owned()),
            (line("0.001"), "line 2: 0.001: ".to_owned()),
            (line("-1"), "line 2: -1: ".to_owned()),
            (line("0.00"), "line 2: the amount is zero".to_owned()),
            (line(""), "line 2: : ".to_owned()),
            (line("1,2,3"), "line 2: it is not as `to,amount,order`".to_owned()),
            (line("1,\"open"), "line 2: a double quote is open".to_owned()),
            (line("1,o\"k\""), "line 2: a double quote is open".to_owned()),
            (line(&format!("1,{long}")), "line 2: the order has more than 64 bytes".to_owned()),
            (format!("{one},1\n\n{one},1.0"), "line 3: this is the same as line 1".to_owned()),
            (format!("{one},{0}\n{two},{0}", "184467440737095516.15"), "the sum is".to_owned()),
            (item(""), "payment 2: `amount` is missing".to_owned()),
            (item(r#","amount":5"#), "payment 2: `amount` is no text".to_owned()),
            (
                item(r#","amount":"5","oder":"x""#),
                "payment 2: it has an unknown field, oder".to_owned(),
            ),
            ("[5]".to_owned(), "payment 1: it is no object".to_owned()),
        ] {
            let error = Payments::read(&text, cents()).unwrap_err().to_string();
            assert!(error.starts_with(&expected), "{text}: {error}");
        }
        let many = |count: usize| (0..count).map(|cent| format!("{one},{}\n", cent + 1)).collect();
        let (most, more): (String, String) = (many(PAYMENTS_MAX), many(PAYMENTS_MAX + 1));
        assert_eq!(Payments::read(&most, cents()).unwrap().as_slice().len(), PAYMENTS_MAX);
        assert_eq!(Payments::read(&more, cents()), Err(PaymentsError::TooMany));
    }
}
