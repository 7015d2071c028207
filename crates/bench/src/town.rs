//! A currency with accounts, and what its holders pay each other: the same for Fondaco and for its peers.

use fondaco_codec::{List, Text};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_lcp::{Currency, Issuer, IssuerOptions, Request, RequestId, Response, Step};
use fondaco_store::{DiskFile, Journal, Kind};
use fondaco_testkit::Rng;
use fondaco_units::{Amount, Scale, Timestamp};
use std::{borrow::Borrow, convert::Infallible, fs, iter, path::Path};

use crate::race::{Sample, timed};

/// What a transfer costs.
pub(crate) const FEE: Amount = Amount::new(1);
/// What each account has at first.
pub(crate) const MINTED: Amount = Amount::new(1_000_000_000);
/// When all of it happens.
pub(crate) const NOW: Timestamp = Timestamp::from_milliseconds(1_800_000_000_000);
/// The journals of benchmarks.
pub(crate) const BENCH: Kind = Kind::new(*b"bench\0\0\0", 1);

/// What one holder asks.
pub(crate) type Command = (EntityId, Request);

/// An issuer whose accounts have money.
pub(crate) struct Town {
    pub(crate) currency: Currency,
    pub(crate) holders: Vec<EntityId>,
    pub(crate) issuer: Issuer,
    /// The journal so far: a mint for each account.
    pub(crate) minted: Vec<Vec<u8>>,
}

/// One transfer, between holders by their places.
#[derive(Clone)]
pub(crate) struct Payment {
    pub(crate) payer: usize,
    pub(crate) payee: usize,
    pub(crate) amount: Amount,
    pub(crate) id: RequestId,
    pub(crate) order: Text<64>,
}

/// Who is paid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payees {
    /// Anybody but the payer.
    Any,
    /// The first holder.
    One,
}

impl Town {
    pub(crate) fn founded(accounts: usize) -> Self {
        let mut rng = Rng::new(1);
        let bank = EntityId::from_bytes(rng.array());
        let holders = (0..accounts).map(|_| EntityId::from_bytes(rng.array())).collect();
        Self::of(bank, holders)
    }

    /// Mints [`MINTED`] to each of `holders`.
    pub(crate) fn of(bank: EntityId, holders: Vec<EntityId>) -> Self {
        let currency = currency(bank);
        let mut issuer = Issuer::new(currency.clone(), IssuerOptions::default());
        let mints = holders.iter().zip(1..).map(|(to, id)| {
            (bank, Request::Mint { id: RequestId::new(id), to: *to, amount: MINTED })
        });
        let minted = records(&mut issuer, mints);
        Self { currency, holders, issuer, minted }
    }

    /// Draws what is paid; ids rise.
    pub(crate) fn payments(&self, count: usize, payees: Payees) -> Vec<Payment> {
        self.drawn(payees).take(count).collect()
    }

    /// Draws payments without end.
    pub(crate) fn drawn(&self, payees: Payees) -> impl Iterator<Item = Payment> {
        let (mut rng, mut id) = (Rng::new(3), 0);
        let holders = self.holders.len();
        iter::repeat_with(move || {
            let (payer, payee) = match payees {
                Payees::Any => {
                    let payer = rng.index(holders);
                    (payer, (payer + 1 + rng.index(holders - 1)) % holders)
                }
                Payees::One => (1 + rng.index(holders - 1), 0),
            };
            let order = Text::cut(&format!("{:016x}", rng.next_u64()));
            let amount = Amount::new(1 + rng.below(100));
            id += 1;
            Payment { payer, payee, amount, id: RequestId::new(id), order }
        })
    }

    /// Returns a payment as its payer asks for it.
    pub(crate) fn command(&self, payment: &Payment) -> Command {
        let Payment { payer, payee, amount, id, order } = payment;
        let (to, amount, order) = (self.holders[*payee], *amount, order.clone());
        (self.holders[*payer], Request::Transfer { id: *id, to, amount, fee_max: FEE, order })
    }

    /// Returns payments of one payer as it asks for all of them in one command.
    pub(crate) fn batch(&self, id: RequestId, payments: &[Payment]) -> Command {
        let step = |payment: &Payment| Step {
            to: self.holders[payment.payee],
            amount: payment.amount,
            order: payment.order.clone(),
            linked: false,
        };
        let steps = List::new(payments.iter().map(step).collect());
        let steps = steps.expect("a batch is short enough");
        (self.holders[payments[0].payer], Request::Batch { id, fee_max: FEE, steps })
    }

    /// Draws `batches` of `batch` payments, each by another payer.
    pub(crate) fn batches(&self, batches: usize, batch: usize) -> Vec<Vec<Payment>> {
        let mut drawn = self.drawn(Payees::Any);
        let mut own = |payer: usize| -> Vec<Payment> {
            let others = drawn.by_ref().filter(|payment| payment.payee != payer);
            others.take(batch).map(|payment| Payment { payer, ..payment }).collect()
        };
        (0..batches).map(&mut own).collect()
    }

    /// Handles and appends batch by batch into a new journal at `path`; also returns the length of each frame.
    pub(crate) fn save(&self, batches: &[Vec<Command>], path: &Path) -> (Sample, Vec<usize>) {
        let _ = fs::remove_file(path);
        let mut journal = begin(path);
        let mut issuer = self.issuer.clone();
        let mut ends = vec![journal.head().bytes.get()];
        let sample = timed(|| {
            for batch in batches {
                let records = records(&mut issuer, batch);
                journal.append(&records).expect("the disk works");
                ends.push(journal.head().bytes.get());
            }
        });
        issuer.check().expect("the books balance");
        assert_eq!(
            issuer.ledger().supply(),
            self.issuer.ledger().supply(),
            "no money came or went"
        );
        let commands: usize = batches.iter().map(Vec::len).sum();
        assert_eq!(journal.head().records, commands as u64, "a record for each command");
        let length =
            |pair: &[u64]| usize::try_from(pair[1] - pair[0]).expect("a frame is in memory");
        (sample, ends.windows(2).map(length).collect())
    }
}

/// The currency that `bank` issues.
pub(crate) fn currency(bank: EntityId) -> Currency {
    Currency {
        id: CurrencyId::issued_by(bank),
        name: Text::cut("harbour crown"),
        symbol: Text::cut("HCR"),
        scale: Scale::new(2).expect("two decimals"),
        transfer_fee: FEE,
        full_handshake_fee: Amount::ZERO,
        account_reserve: Amount::ZERO,
    }
}

/// Handles each command; what is to be saved before it is answered.
pub(crate) fn records(
    issuer: &mut Issuer,
    commands: impl IntoIterator<Item = impl Borrow<Command>>,
) -> Vec<Vec<u8>> {
    let mut record = |command: &Command| {
        let (holder, request) = command;
        let handled = issuer.handle(NOW, *holder, request);
        let refused = matches!(handled.response, Response::Refused { .. });
        assert!(!refused, "money enough for all: {:?}", handled.response);
        handled.record.expect("a command that was not handled before")
    };
    commands.into_iter().map(|command| record(command.borrow())).collect()
}

/// Begins a journal, or opens it without a look at its records.
pub(crate) fn begin(path: &Path) -> Journal<DiskFile> {
    let disk = DiskFile::open(path).expect("a file in our own folder");
    Journal::open(disk, BENCH, |_| Ok::<(), Infallible>(())).expect("a sound journal")
}
