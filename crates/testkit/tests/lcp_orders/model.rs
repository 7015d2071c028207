//! The states and the steps of the model.
//!
//! ```text
//!   buyer, stranger ── transfer: currency, amount, order ──► issuers: one of each currency
//!                                                              │ notices, until acknowledged
//!   seller: Invoices ◄── reads a notice, perhaps again ────────┘
//!      └─ takes it ──► saves the record ──► acknowledges ──► the notice is gone
//! ```

use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_lcp::{Deposit, Invoice, InvoiceId, InvoiceState, Invoices, SignedInvoice};
use fondaco_units::{Amount, Timestamp};
use stateright::{Model, Property};
use std::collections::BTreeSet;

/// One rule taken away, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// All rules are kept.
    Nothing,
    /// The order alone says what is paid.
    Terms,
    /// The same number of another currency will do.
    Currency,
    /// Anybody may pay for anybody.
    Payer,
    /// Any amount will do.
    Amount,
    /// It may be paid at any time.
    Time,
    /// The nonce is a number that others can count up to.
    RandomNonce,
    /// Two invoices have the same nonce.
    FreshNonce,
    /// A notice is acknowledged first and saved afterwards.
    SaveFirst,
    /// A payer's second transfer under the same order is taken for the first one, come again.
    RequestId,
}

/// The orders: of the buyer, of the buyer again with the same terms, of anybody; and the rent, for which there is no
/// invoice and which is paid twice under the same order.
const MINE: usize = 0;
const AGAIN: usize = 1;
const ANYBODYS: usize = 2;
const RENT: usize = 3;

/// What the buyer means to pay, one after the other: each is one payment, with one request id.
const INTENTS: [usize; 5] = [RENT, MINE, ANYBODYS, AGAIN, RENT];

/// The orders with an invoice.
const INVOICES: usize = 3;

/// What each order costs.
const PRICES: [u8; 4] = [2, 2, 3, 1];

/// The stranger's transfers in one run.
const STRANGERS: u8 = 1;

/// How often the seller crashes in one run.
const CRASHES: u8 = 1;

const MADE_AT: Timestamp = Timestamp::from_milliseconds(1000);
const IN_TIME: Timestamp = Timestamp::from_milliseconds(2000);
const DUE: Timestamp = Timestamp::from_milliseconds(3000);
const LATE: Timestamp = Timestamp::from_milliseconds(4000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Payer {
    Buyer,
    Stranger,
}

/// A deposit as it was made in truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Paid {
    number: u8,
    currency: usize,
    payer: Payer,
    amount: u8,
    order: usize,
    late: bool,
    /// Whether its payer had been shown the order.
    shown: bool,
}

/// What an issuer keeps for the seller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Notices {
    paid: Vec<Paid>,
    /// Notices up to this number are gone.
    acknowledged: u8,
}

impl Notices {
    fn next(&self) -> Option<Paid> {
        self.paid.iter().find(|paid| paid.number > self.acknowledged).copied()
    }
}

/// What the seller has in hand: a notice that it has read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Hand {
    paid: Paid,
    /// What is to be saved, if anything.
    record: Option<Vec<u8>>,
    saved: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    notices: [Notices; 2],
    /// The seller's disk: what was saved after its invoices.
    disk: Vec<Vec<u8>>,
    memory: Seller,
    hand: Option<Hand>,
    /// The orders that are settled by what is on the disk, and by which deposit.
    settled: Vec<(usize, Paid)>,
    /// Whether the payment that the buyer means now was made.
    made: bool,
    /// Of how many of his payments the buyer was told that they were made.
    told: usize,
    /// The orders that the stranger has seen.
    leaked: [bool; PRICES.len()],
    late: bool,
    strangers: u8,
    crashes: u8,
}

/// The production machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seller(Invoices);

/// All that a run can change of it: which invoices are done, in which order, and by what.
impl std::hash::Hash for Seller {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        for (id, _, state) in self.0.done() {
            id.hash(hasher);
            match state {
                InvoiceState::Paid { by } => (by.number, by.amount.get()).hash(hasher),
                InvoiceState::Open | InvoiceState::Cancelled => {}
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The buyer pays, for the first time or again; the answer is lost, or it arrives.
    Pay {
        answered: bool,
    },
    /// The stranger sees an order.
    Leak(usize),
    /// The stranger pays under an order.
    Intrude {
        order: usize,
        currency: usize,
        amount: u8,
    },
    /// What is due is overdue from now on.
    Overdue,
    /// The seller reads the next notice of an issuer, and gives its verdict.
    Read(usize),
    /// A reply that was under way for long arrives: a notice of before.
    ReadOld(usize, usize),
    Save,
    /// The acknowledgement leaves, and arrives or is lost.
    Acknowledge {
        lost: bool,
    },
    Crash,
}

/// A seller, a buyer, a stranger, two issuers.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    without: Without,
    currencies: [CurrencyId; 2],
    buyer: EntityId,
    stranger: EntityId,
    invoices: Vec<SignedInvoice>,
    ids: Vec<InvoiceId>,
    orders: Vec<Text<64>>,
    /// The machine with all invoices made.
    seller: Invoices,
    /// The orders that the stranger can make up.
    guessed: [bool; PRICES.len()],
}

impl Market {
    pub(crate) fn new(without: Without) -> Self {
        let [bank, other, seller, buyer, stranger] =
            [1, 2, 3, 4, 5].map(|seed| SecretKey::from_bytes(&[seed; 32]));
        let currencies = [&bank, &other].map(|key| CurrencyId::issued_by(key.entity()));
        let asked = |order: usize, nonce: u128| Invoice {
            currency: currencies[0],
            payee: seller.entity(),
            amount: Amount::new(PRICES[order].into()),
            payer: (order != ANYBODYS).then(|| buyer.entity()),
            made: MADE_AT,
            due: DUE,
            purpose: Text::cut("two loaves"),
            nonce,
        };
        let nonce = |order: usize| match without {
            Without::RandomNonce => order as u128,
            Without::FreshNonce if order == AGAIN => 0x5eed << 100,
            _ => (0x5eed << 100) + order as u128,
        };
        let invoices: Vec<SignedInvoice> =
            (0..INVOICES).map(|order| asked(order, nonce(order)).sign(&seller)).collect();
        let mut machine = Invoices::new(seller.entity());
        for invoice in &invoices {
            // The mutant does not see that it has asked for the same before.
            let made = machine.make(invoice.clone());
            assert!(made.is_ok() || without == Without::FreshNonce, "{made:?}");
        }
        let mut guessed = [false; PRICES.len()];
        for (order, signed) in invoices.iter().enumerate() {
            guessed[order] = (0..16).any(|nonce| asked(order, nonce).id() == signed.invoice.id());
        }
        let (buyer, stranger) = (buyer.entity(), stranger.entity());
        let ids: Vec<InvoiceId> = invoices.iter().map(|signed| signed.invoice.id()).collect();
        let orders = ids.iter().map(|id| id.order()).chain([Text::cut("rent")]).collect();
        Self {
            without,
            currencies,
            buyer,
            stranger,
            invoices,
            ids,
            orders,
            seller: machine,
            guessed,
        }
    }

    /// The notice, as the issuer gives it.
    fn deposit(&self, paid: &Paid) -> Deposit {
        Deposit {
            number: paid.number.into(),
            payer: Some(match paid.payer {
                Payer::Buyer => self.buyer,
                Payer::Stranger => self.stranger,
            }),
            amount: Amount::new(paid.amount.into()),
            order: self.orders[paid.order].clone(),
            at: if paid.late { LATE } else { IN_TIME },
        }
    }

    /// Has the machine look at a notice; a mutant has it see what it wants to see in the part that it does not look at.
    fn take(&self, seller: &mut Invoices, paid: &Paid) -> Option<Vec<u8>> {
        let (mut currency, mut deposit) = (self.currencies[paid.currency], self.deposit(paid));
        if let Some(SignedInvoice { invoice, .. }) = self.invoices.get(paid.order) {
            let all = self.without == Without::Terms;
            if all || self.without == Without::Currency {
                currency = invoice.currency;
            }
            if all || self.without == Without::Payer {
                deposit.payer = invoice.payer.or(deposit.payer);
            }
            if all || self.without == Without::Amount {
                deposit.amount = invoice.amount;
            }
            if all || self.without == Without::Time {
                deposit.at = invoice.due;
            }
        }
        seller.take(currency, &deposit).1
    }

    /// The machine after a start.
    fn replayed(&self, disk: &[Vec<u8>]) -> Seller {
        let mut seller = self.seller.clone();
        for record in disk {
            seller.replay(record).expect("what was saved is replayed");
        }
        Seller(seller)
    }

    /// The orders that a machine which starts from this disk has for settled, if `paid` is what was saved last.
    fn settled(
        &self,
        disk: &[Vec<u8>],
        before: &[(usize, Paid)],
        paid: Paid,
    ) -> Vec<(usize, Paid)> {
        let seller = self.replayed(disk).0;
        let is_paid = |id| matches!(seller.find(id), Some((_, InvoiceState::Paid { .. })));
        let known = |order: usize| before.iter().find(|(it, _)| *it == order).map(|(_, by)| *by);
        let settled = (0..INVOICES).filter(|order| is_paid(self.ids[*order]));
        settled.map(|order| (order, known(order).unwrap_or(paid))).collect()
    }

    fn is_all(&self, order: usize, paid: &Paid) -> bool {
        let payer = order == ANYBODYS || paid.payer == Payer::Buyer;
        paid.currency == 0 && payer && paid.amount == PRICES[order] && !paid.late
    }
}

impl State {
    fn deposit(&mut self, currency: usize, payer: Payer, amount: u8, order: usize, shown: bool) {
        let late = self.late;
        let number = u8::try_from(self.notices[currency].paid.len() + 1).unwrap();
        let paid = Paid { number, currency, payer, amount, order, late, shown };
        self.notices[currency].paid.push(paid);
    }
}

impl Model for Market {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            notices: [Notices::default(), Notices::default()],
            disk: Vec::new(),
            memory: Seller(self.seller.clone()),
            hand: None,
            settled: Vec::new(),
            made: false,
            told: 0,
            leaked: [false; PRICES.len()],
            late: false,
            strangers: 0,
            crashes: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.told < INTENTS.len() {
            actions.push(Action::Pay { answered: true });
            if !state.made {
                actions.push(Action::Pay { answered: false });
            }
        }
        for (order, &price) in PRICES.iter().enumerate().take(INVOICES) {
            let knows = state.leaked[order] || self.guessed[order];
            if !state.leaked[order] {
                actions.push(Action::Leak(order));
            }
            if knows && state.strangers < STRANGERS {
                for (currency, amount) in [(0, price), (0, 1), (1, price)] {
                    actions.push(Action::Intrude { order, currency, amount });
                }
            }
        }
        if !state.late {
            actions.push(Action::Overdue);
        }
        match &state.hand {
            None => {
                for (at, one) in state.notices.iter().enumerate() {
                    if one.next().is_some() {
                        actions.push(Action::Read(at));
                    }
                    actions
                        .extend((0..one.acknowledged).map(|old| Action::ReadOld(at, old.into())));
                }
            }
            Some(hand) => {
                if !hand.saved {
                    actions.push(Action::Save);
                }
                if hand.saved || self.without == Without::SaveFirst {
                    actions.push(Action::Acknowledge { lost: false });
                    actions.push(Action::Acknowledge { lost: true });
                }
            }
        }
        if state.crashes < CRASHES {
            actions.push(Action::Crash);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Pay { answered } => {
                let order = INTENTS[state.told];
                let done = match self.without {
                    Without::RequestId => INTENTS[..state.told].contains(&order),
                    _ => state.made,
                };
                if !done {
                    state.deposit(0, Payer::Buyer, PRICES[order], order, true);
                }
                state.made = !answered;
                state.told += usize::from(answered);
            }
            Action::Leak(order) => state.leaked[order] = true,
            Action::Intrude { order, currency, amount } => {
                state.strangers += 1;
                let shown = state.leaked[order];
                state.deposit(currency, Payer::Stranger, amount, order, shown);
            }
            Action::Overdue => state.late = true,
            Action::Read(at) => {
                let paid = state.notices[at].next()?;
                let record = self.take(&mut state.memory.0, &paid);
                // Where nothing changes there is nothing to save.
                let saved = record.is_none();
                state.hand = Some(Hand { paid, record, saved });
            }
            Action::ReadOld(at, old) => {
                let paid = *state.notices[at].paid.get(old)?;
                let record = self.take(&mut state.memory.0, &paid);
                record.as_ref()?;
                state.hand = Some(Hand { paid, record, saved: false });
            }
            Action::Save => {
                let hand = state.hand.as_mut()?;
                hand.saved = true;
                state.disk.extend(hand.record.clone());
                state.settled = self.settled(&state.disk, &state.settled, hand.paid);
            }
            Action::Acknowledge { lost } => {
                let hand = state.hand.as_ref()?;
                let one = &mut state.notices[hand.paid.currency];
                if !lost {
                    one.acknowledged = one.acknowledged.max(hand.paid.number);
                }
                if hand.saved {
                    state.hand = None;
                }
            }
            Action::Crash => {
                state.crashes += 1;
                state.hand = None;
                state.memory = self.replayed(&state.disk);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(super::ALL, |market: &Self, state: &State| {
                state.settled.iter().all(|(order, paid)| market.is_all(*order, paid))
            }),
            Property::always(super::ONCE, |_, state: &State| {
                let State { settled, disk, .. } = state;
                let by: BTreeSet<_> =
                    settled.iter().map(|(_, paid)| (paid.currency, paid.number)).collect();
                by.len() == settled.len() && disk.len() == settled.len()
            }),
            Property::always(super::SHOWN, |_, state: &State| {
                state.settled.iter().all(|(_, paid)| paid.shown)
            }),
            Property::always(super::KEPT, |market: &Self, state: &State| {
                let gone = |one: &Notices, paid: &Paid| paid.number <= one.acknowledged;
                (0..INVOICES).all(|order| {
                    let one = &state.notices[0];
                    let pays = |paid: &&Paid| paid.order == order && market.is_all(order, paid);
                    let mut lost = one.paid.iter().filter(pays).filter(|paid| gone(one, paid));
                    // In hand, it is saved yet; a crash is what loses it.
                    let in_hand =
                        |paid: &Paid| state.hand.as_ref().is_some_and(|hand| hand.paid == *paid);
                    lost.all(|paid| {
                        in_hand(paid) || state.settled.iter().any(|(it, _)| *it == order)
                    })
                })
            }),
            Property::always(super::MADE, |_, state: &State| {
                let paid = state.notices[0].paid.iter().filter(|paid| paid.payer == Payer::Buyer);
                state.told <= paid.count()
            }),
            // What never happens was not tested.
            Property::sometimes("all is paid, settled and told", |_, state: &State| {
                state.settled.len() == INVOICES && state.told == INTENTS.len()
            }),
            Property::sometimes(
                "a stranger's deposit is read, and settles nothing",
                |_, state: &State| {
                    let in_hand =
                        |hand: &Hand| hand.paid.payer == Payer::Stranger && hand.record.is_none();
                    state.hand.as_ref().is_some_and(in_hand)
                },
            ),
            Property::sometimes("a stranger pays what anybody may", |_, state: &State| {
                state.settled.iter().any(|(_, paid)| paid.payer == Payer::Stranger)
            }),
            Property::sometimes(
                "a crash comes before the save, and it is read again",
                |_, state: &State| {
                    state.crashes > 0 && state.disk.is_empty() && state.hand.is_some()
                },
            ),
            Property::sometimes("the rent is paid twice", |_, state: &State| {
                state.notices[0].paid.iter().filter(|paid| paid.order == RENT).count() == 2
            }),
            Property::sometimes("it is too late", |_, state: &State| {
                state.hand.as_ref().is_some_and(|hand| hand.paid.late && hand.record.is_none())
            }),
        ]
    }
}
