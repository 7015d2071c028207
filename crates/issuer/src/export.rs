//! The books in plain text, for Beancount and what reads its files.
//!
//! ```text
//! Equity:Issued ──mint──► Liabilities:Holders:Fon1… ──hold──► Liabilities:Held:Fon1…
//!                                    │ transfer, fee                  │ post, rest
//!                                    └──────► Liabilities:Holders ◄───┘
//! ```
//!
//! Money in a holder's account is what the issuer owes it: a liability, and so negative, as Beancount has it. At the end
//! each account's balance is asserted as the ledger itself has it, so that `bean-check` proves both from the same file.

use crate::{
    IssuerError, RecordError,
    books::{self, Visit},
    history::Noted,
};
use fondaco_crypto::EntityId;
use fondaco_lcp::{Currency, EntryKind, Issuer, Movement};
use fondaco_store::Appended;
use fondaco_units::{Amount, Duration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    path::Path,
};

const DAY: Duration = Duration::from_seconds(86_400);

/// One account of the exported books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Account {
    /// What was issued and not redeemed.
    Issued,
    /// What a holder can spend.
    Holder(EntityId),
    /// What its open holds have set aside.
    Held(EntityId),
}

impl Account {
    fn name(self) -> String {
        let entity = |entity: EntityId| {
            let text = entity.to_string();
            // The parts of a name begin with a capital.
            format!("F{}", &text[1..])
        };
        match self {
            Self::Issued => "Equity:Issued".to_owned(),
            Self::Holder(holder) => format!("Liabilities:Holders:{}", entity(holder)),
            Self::Held(holder) => format!("Liabilities:Held:{}", entity(holder)),
        }
    }
}

/// Who changed by how much, in smallest units: a debit is positive.
type Postings = BTreeMap<Account, i128>;

/// What one movement changes.
fn post(postings: &mut Postings, issuer: EntityId, holder: EntityId, movement: &Movement) {
    let Movement { kind, amount, fee, .. } = movement;
    let (amount, fee) = (i128::from(amount.get()), i128::from(fee.get()));
    let mut add = |account, change: i128| *postings.entry(account).or_default() += change;
    let (own, held) = (Account::Holder(holder), Account::Held(holder));
    match kind {
        EntryKind::Sent => add(own, amount),
        EntryKind::Received | EntryKind::HoldReceived => add(own, -amount),
        EntryKind::Minted => {
            add(own, -amount);
            add(Account::Issued, amount);
        }
        EntryKind::Redeemed => {
            add(own, amount);
            add(Account::Issued, -amount);
        }
        EntryKind::HoldOpened => {
            add(own, amount);
            add(held, -amount);
        }
        EntryKind::HoldPaid => add(held, amount),
        EntryKind::HoldReturned => {
            add(held, amount);
            add(own, -amount);
        }
        // The issuer's side is a movement of its own.
        EntryKind::Forfeited => add(own, amount),
        EntryKind::RotatedFrom => {}
    }
    if fee > 0 {
        add(own, fee);
        add(Account::Holder(issuer), -fee);
    }
}

/// Writes the books in `folder`, which no other process may have open, as a Beancount file.
///
/// # Errors
///
/// As [`audit`](crate::audit()), or the file cannot be written.
pub fn export(folder: &Path, out: &mut dyn Write) -> Result<(), IssuerError> {
    let (opened, first, last) = (BTreeSet::new(), BTreeMap::new(), Timestamp::EPOCH);
    let mut writer = Writer { out, opened, first, last, failed: None };
    let opened = books::look(folder, &mut writer);
    if let Some(source) = writer.failed {
        return Err(IssuerError::Export { source });
    }
    let issuer = opened?.issuer;
    writer.end(&issuer).map_err(|source| IssuerError::Export { source })
}

/// Writes transaction after transaction.
struct Writer<'a> {
    out: &'a mut dyn Write,
    opened: BTreeSet<Account>,
    /// The first key of each account that has another one now: it is called so to the end.
    first: BTreeMap<EntityId, EntityId>,
    last: Timestamp,
    /// Why it could not be written.
    failed: Option<io::Error>,
}

impl Visit for Writer<'_> {
    const WANTED: bool = true;

    fn frame(
        &mut self,
        issuer: &Issuer,
        at: &Appended,
        done: Vec<Noted>,
    ) -> Result<(), RecordError> {
        let written = (|| {
            if at.records.start == 0 {
                self.begin(issuer.currency())?;
            }
            done.iter()
                .try_for_each(|done| self.transaction(issuer.currency(), done.at, &done.movements))
        })();
        written.map_err(|error| {
            self.failed = Some(error);
            RecordError::Unwritten
        })
    }
}

impl Writer<'_> {
    fn begin(&mut self, currency: &Currency) -> io::Result<()> {
        let issuer = currency.id.issuer();
        writeln!(self.out, "; The books of {} ({}),", currency.name, currency.symbol)?;
        writeln!(self.out, "; issued by {issuer}.")?;
        writeln!(self.out, "option \"title\" {}", quoted(currency.name.as_str()))?;
        writeln!(self.out, "option \"operating_currency\" \"{}\"\n", commodity(currency))
    }

    fn transaction(
        &mut self,
        currency: &Currency,
        at: Timestamp,
        movements: &[Movement],
    ) -> io::Result<()> {
        self.last = self.last.max(at);
        let mut postings = Postings::new();
        for movement in movements {
            if let (EntryKind::RotatedFrom, Some(old)) = (movement.kind, movement.counterparty) {
                self.first.insert(movement.holder, self.first(old));
            }
            post(&mut postings, currency.id.issuer(), self.first(movement.holder), movement);
        }
        postings.retain(|_, change| *change != 0);
        let Some(title) = movements.first().filter(|_| !postings.is_empty()) else { return Ok(()) };
        let date = date(at);
        for account in postings.keys() {
            if self.opened.insert(*account) {
                writeln!(self.out, "{date} open {} {}", account.name(), commodity(currency))?;
            }
        }
        let payee = quoted(title_of(title.kind));
        writeln!(self.out, "{date} * {payee} {}", quoted(title.order.as_str()))?;
        writeln!(self.out, "  at: \"{at}\"")?;
        if let Some(id) = title.id {
            writeln!(self.out, "  id: \"{id}\"")?;
        }
        for (account, change) in &postings {
            writeln!(self.out, "  {}  {}", account.name(), amount(currency, *change))?;
        }
        writeln!(self.out)
    }

    fn first(&self, key: EntityId) -> EntityId {
        self.first.get(&key).copied().unwrap_or(key)
    }

    /// Asserts what the ledger itself says of each account, and of the supply.
    fn end(mut self, issuer: &Issuer) -> io::Result<()> {
        // An assertion holds at the beginning of its day.
        let date = date(self.last.after(DAY));
        let currency = issuer.currency();
        for (holder, account) in issuer.books() {
            let first = self.first(holder);
            let (own, held) = (Account::Holder(first), Account::Held(first));
            self.assert(currency, &date, own, -i128::from(account.available.get()))?;
            self.assert(currency, &date, held, -i128::from(account.held.get()))?;
        }
        let supply = i128::from(issuer.ledger().supply().get());
        self.assert(currency, &date, Account::Issued, supply)
    }

    fn assert(
        &mut self,
        currency: &Currency,
        date: &str,
        account: Account,
        balance: i128,
    ) -> io::Result<()> {
        // What was never opened never changed: there is nothing to assert of it.
        if !self.opened.contains(&account) {
            return Ok(());
        }
        writeln!(self.out, "{date} balance {}  {}", account.name(), amount(currency, balance))
    }
}

fn amount(currency: &Currency, change: i128) -> String {
    let units = Amount::new(u64::try_from(change.unsigned_abs()).unwrap_or(u64::MAX));
    let sign = if change < 0 { "-" } else { "" };
    format!("{sign}{} {}", currency.scale.show(units), commodity(currency))
}

/// Commodities are written in capitals, and begin and end with a letter or digit; one letter alone is none.
fn commodity(currency: &Currency) -> String {
    let symbol = currency.symbol.as_str().to_ascii_uppercase();
    let fits = symbol.len() >= 2 && symbol.starts_with(|first: char| first.is_ascii_uppercase());
    if fits { symbol } else { format!("X{symbol}X") }
}

fn quoted(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn date(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

const fn title_of(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Sent | EntryKind::Received => "transfer",
        EntryKind::Minted => "mint",
        EntryKind::Redeemed => "redeem",
        EntryKind::HoldOpened => "hold opened",
        EntryKind::HoldPaid | EntryKind::HoldReceived => "hold posted",
        EntryKind::HoldReturned => "hold returned",
        EntryKind::Forfeited => "forfeited",
        EntryKind::RotatedFrom => "key rotated",
    }
}
