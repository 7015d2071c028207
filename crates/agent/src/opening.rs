//! Choose providers and open contracts with them: a saga, each step saved before it is acted on.
//!
//! ```text
//! ask prices ──► place ──► for each provider: intend (saved) ──► hold ──► both sign (saved) ──► set (saved)
//! ```
//!
//! A crash at any point leaves contracts that are `Intended`, or `Open` and in no set. The next run
//! takes such a contract up again where its provider is chosen again; the hold's request id and the
//! terms are the saved ones, so the issuer and the provider give their first answers again. An open one
//! that is not chosen again is ended, so that its hold returns. A hold whose provider never signed returns
//! when it expires: a payer cannot void it. One that its issuer has not opened in a quarter of an hour is not opened
//! any more.

mod keeping;
mod slot;
mod trust;

pub use keeping::Beside;
pub use trust::Trust;

pub(crate) use slot::{OpenedSlot, SlotWish};

use crate::AgentError;
use crate::book::{Book, Coding, ContractRecord, Event, For, Stage};
use crate::choosing::{Durability, Records, choose};
use crate::ending;
use crate::entropy;
use crate::finding::Finder;
use crate::journal::BookFile;
use crate::money::Money;
use crate::session::{Session, offer_of};
use crate::wallet::Wallet;
use fondaco_codec::List;
use fondaco_contract::{
    Bill, ContractId, Label, Meter, PriceList, PriceListError, SKEW_MAX, SignedPriceList, State,
    Tab, Terms, exposure_max,
};
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_erasure::Code;
use fondaco_lcp::{Refusal, Request, RequestId, Response};
use fondaco_placement::Placement;
use fondaco_ports::{Address, Clock};
use fondaco_reputation::Standing;
use fondaco_transport::Endpoint;
use fondaco_units::{Amount, Bytes, Duration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Room in each contract for indexes, snapshots and the rounding of shards.
pub(crate) const SLACK: Bytes = Bytes::new(32 << 20);

/// How long after the end of a contract its hold still can be posted.
const HOLD_MARGIN: Duration = Duration::from_seconds(2 * 86_400);

/// How long the command that opens a hold is good for.
const OPEN_SPAN: Duration = Duration::from_seconds(900);

/// What a buyer wants of new contracts.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// How much will be stored, before it is cut.
    pub bytes: Bytes,
    /// The probability with which an object must survive an epoch.
    pub survive: f64,
    /// How many epochs the contracts last.
    pub epochs: u32,
    /// The most that all contracts together may cost.
    pub budget: Option<Amount>,
}

/// What was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The code: n contracts, of which any k suffice.
    pub code: Code,
    /// How surely an object survives an epoch.
    pub durability: Durability,
    /// How many of the contracts were open before.
    pub kept: usize,
    /// The most that the contracts may cost.
    pub held: Amount,
    /// The room in each contract.
    pub size_max: Bytes,
    /// Hosts that were asked and not chosen, and why.
    pub passed_over: Vec<(EntityId, String)>,
}

/// What opening contracts needs of the world.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The buyer's key.
    pub key: &'a SecretKey,
    /// The way to the hosts.
    pub endpoint: &'a Endpoint,
    /// Dials hosts, wherever they are.
    pub(crate) finder: &'a Arc<Finder>,
    /// The buyer's book.
    pub book: &'a Arc<BookFile>,
    /// The way to the issuer.
    pub wallet: &'a Wallet,
    /// The currency to pay in.
    pub currency: CurrencyId,
    /// The clock of this machine.
    pub clock: &'a Arc<dyn Clock>,
    /// What time it is.
    pub now: Timestamp,
    /// How much hosts are trusted with at once.
    pub trust: Trust,
    /// How sums are told.
    pub money: Money,
    /// Who runs hosts, as their asks say; what the book has of it counts besides.
    pub operators: BTreeMap<EntityId, Label>,
}

/// A price list that fits, and where it is from.
pub(crate) struct Offer {
    pub(crate) address: Address,
    pub(crate) list: SignedPriceList,
    /// Who operates the host, as its provider says, where it does; price lists do not, asks may.
    pub(crate) operator: Option<Label>,
}

/// Who is to blame for a contract that did not come about.
pub(crate) enum Blame {
    /// The host: another may do.
    Host(AgentError),
    /// Anything else: no other host would help.
    Other(AgentError),
}

impl From<AgentError> for Blame {
    fn from(error: AgentError) -> Self {
        Self::Other(error)
    }
}

impl Opening<'_> {
    /// Chooses among `hosts`, opens a contract with each one chosen, and makes them the newest set. A host
    /// that has no room or does not sign is passed over, and the choice is made again among the others.
    pub async fn open(&self, hosts: &[Address], wish: Wish) -> Result<Opened, AgentError> {
        let (mut offers, mut passed_over) = self.ask(hosts, wish).await;
        let asked = prices_of(&offers);
        loop {
            let records = self.book.read(Records::of);
            let placement = choose(&offers, &records, wish, &passed_over)?;
            let share = Bytes::new(wish.bytes.get().div_ceil(u64::from(placement.k)));
            match self.open_chosen((&offers, &asked), &placement, share, wish).await? {
                Ok((code, held, size_max)) => {
                    for (index, offer) in offers.iter().enumerate() {
                        if !placement.providers.contains(&index) {
                            let why = "the others together are cheaper".to_owned();
                            passed_over.push((offer.list.prices.provider, why));
                        }
                    }
                    let durability = durability_of(&placement, &offers, &records)?;
                    let kept = 0;
                    return Ok(Opened { code, durability, kept, held, size_max, passed_over });
                }
                Err((index, why)) => {
                    let offer = offers.remove(index);
                    passed_over.push((offer.list.prices.provider, why));
                }
            }
        }
    }

    /// Opens a contract with each host of a placement; or says which host was in the way, and why.
    async fn open_chosen(
        &self,
        (offers, asked): (&[Offer], &[PriceList]),
        placement: &Placement,
        share: Bytes,
        wish: Wish,
    ) -> Result<Result<(Code, Amount, Bytes), (usize, String)>, AgentError> {
        let size_max = size_max(share);
        let mut held = Amount::ZERO;
        let mut records = Vec::new();
        for &index in &placement.providers {
            let offer = &offers[index];
            let record = match self.take_up(offer, share, wish.epochs) {
                Some(record) => record,
                None => {
                    if let Some(why) = self.unfit(asked, &offer.list.prices, size_max) {
                        return Ok(Err((index, why)));
                    }
                    self.intend(offer, size_max, wish.epochs, None, Bytes::ZERO)?
                }
            };
            held = held.checked_add(record.hold_max).unwrap_or(Amount::MAX);
            records.push(record);
        }
        let strays_hold = self.close_strays(&records).await?;
        held = held.checked_add(strays_hold).unwrap_or(Amount::MAX);
        // What other hosts refused, now or before, is held as well.
        let chosen = records.iter().map(|one| one.terms.id()).collect();
        let (currency, now) = (self.currency, self.now);
        let idle = self.book.read(|book| book.idle_beside(&chosen, For::Set, currency, now));
        if let Some(left) = wish.budget.map(|budget| budget.saturating_sub(idle))
            && held > left
        {
            return Err(AgentError::OverBudget { wanted: held, left, idle });
        }
        self.afford(&records).await?;
        for (record, &index) in records.iter().zip(&placement.providers) {
            match self.complete(record).await {
                Ok(()) => {}
                Err(Blame::Host(error)) => return Ok(Err((index, error.to_string()))),
                Err(Blame::Other(error)) => return Err(error),
            }
        }
        let contracts: Vec<ContractId> = records.iter().map(|record| record.terms.id()).collect();
        let code = code_of(placement)?;
        let contracts = List::new(contracts).expect("n is a byte");
        let coding = Coding::Cauchy8;
        let set = self.book.read(Book::set_count);
        self.book.record_all(&[
            Event::SetFormed { coding, k: placement.k, contracts },
            Event::SetPromised { set, survive: wish.survive.to_bits() },
        ])?;
        Ok(Ok((code, held, size_max)))
    }

    /// Looks whether there is money for all holds that are not opened yet, before any of them is.
    async fn afford(&self, records: &[ContractRecord]) -> Result<(), AgentError> {
        let wanted = self.book.read(|book| {
            let fresh = records.iter().filter(|record| book.contract(record.terms.id()).is_none());
            let holds = fresh.map(|record| record.hold_max);
            holds.fold(Amount::ZERO, |sum, hold| sum.checked_add(hold).unwrap_or(Amount::MAX))
        });
        match self.wallet.ask(&Request::Balance).await? {
            Response::Balance { available, .. } if available < wanted => {
                let refusal = fondaco_ledger::Refusal::InsufficientFunds { available, wanted };
                Err(AgentError::Issuer(Refusal::Ledger { refusal }))
            }
            _ => Ok(()),
        }
    }

    /// Asks every host for its prices at once, wherever it is now; those that do not fit are passed over.
    pub(crate) async fn ask(
        &self,
        hosts: &[Address],
        wish: Wish,
    ) -> (Vec<Offer>, Vec<(EntityId, String)>) {
        let mut asking = JoinSet::new();
        for (index, address) in hosts.iter().enumerate() {
            let (finder, address) = (Arc::clone(self.finder), address.clone());
            asking.spawn(async move {
                let prices = offer_of(&finder, &address).await;
                (index, finder.now_at(&address), prices)
            });
        }
        let mut answers = asking.join_all().await;
        answers.sort_by_key(|(index, _, _)| *index);
        let (mut offers, mut passed_over) = (Vec::new(), Vec::new());
        for (_, address, prices) in answers {
            let provider = address.entity();
            let fit = match prices {
                Err(error) => Err(error.to_string()),
                Ok(signed) => good_now(&signed, self.now)
                    .and_then(|()| self.fits(provider, signed, wish.epochs)),
            };
            match fit {
                Ok(list) => {
                    let operator = self.operator(provider);
                    offers.push(Offer { address, list, operator });
                }
                Err(why) => passed_over.push((provider, why)),
            }
        }
        (offers, passed_over)
    }

    /// Returns who runs a host, as its provider says.
    fn operator(&self, provider: EntityId) -> Option<Label> {
        let said = self.operators.get(&provider).cloned();
        said.or_else(|| self.book.read(|book| book.operator(provider).cloned()))
    }

    pub(crate) fn fits(
        &self,
        provider: EntityId,
        list: SignedPriceList,
        epochs: u32,
    ) -> Result<SignedPriceList, String> {
        self.fits_as(provider, list, epochs, Standing::Good)
    }

    /// The same, with a provider that does not stand worse than this.
    pub(crate) fn fits_as(
        &self,
        provider: EntityId,
        list: SignedPriceList,
        epochs: u32,
        worst: Standing,
    ) -> Result<SignedPriceList, String> {
        let prices = &list.prices;
        if prices.provider != provider {
            return Err("its price list is another's".to_owned());
        }
        if let Some(why) = self.book.read(|book| book.distrusted(provider).map(str::to_owned)) {
            return Err(format!("it was caught before: {why}"));
        }
        let record = self.book.read(|book| book.record(provider).copied());
        if let Some(record) = record.filter(|record| record.standing() > worst) {
            let (standing, score) = (record.standing(), record.score());
            return Err(format!("it proved only {score} of its audits, and is {standing}"));
        }
        if prices.currency != self.currency {
            return Err("it wants to be paid in another currency".to_owned());
        }
        if prices.period_max < period(prices, epochs) {
            return Err(format!("it takes contracts of at most {}", prices.period_max));
        }
        Ok(list)
    }

    /// Says why a host cannot have a contract of this size, if so.
    /// `asked` are the prices of all hosts that were asked.
    pub(crate) fn unfit(
        &self,
        asked: &[PriceList],
        prices: &PriceList,
        size_max: Bytes,
    ) -> Option<String> {
        let room = prices.capacity;
        if room < size_max {
            return Some(format!("it has room for {room}, not for {size_max}"));
        }
        let of_host = (prices, size_max);
        self.book.read(|book| self.trust.refusal(book, asked, of_host, self.now, &self.money))
    }

    /// Ends contracts that were opened for a choice that came to nothing, or whose slots others have taken, so that
    /// their holds return; returns what is still held for the former where the host cannot be reached.
    pub(crate) async fn close_strays(
        &self,
        wanted: &[ContractRecord],
    ) -> Result<Amount, AgentError> {
        let wanted: BTreeSet<ContractId> = wanted.iter().map(|record| record.terms.id()).collect();
        let strays: Vec<ContractRecord> = self.book.read(|book| {
            let in_sets = book.holding();
            book.contracts()
                .filter(|(id, record)| {
                    record.stage == Stage::Open
                        && record.terms.ends > self.now
                        && record.terms.prices.currency == self.currency
                        && !in_sets.contains(id)
                        && !wanted.contains(id)
                        // What was another's keeps what is another's, in a slot or not.
                        && record.terms.renews.is_none_or(|from| book.contract(from).is_some())
                })
                .map(|(_, record)| record.clone())
                .collect()
        });
        let mut held = Amount::ZERO;
        for record in strays {
            let session = self.session(&record);
            match session.close().await {
                Ok(closed) => ending::note_closed(self.book, &session, closed)?,
                Err(error) => {
                    tracing::info!(%error, "a contract that is not wanted could not be ended");
                    // What once served is no part of what is being opened.
                    let served = self.book.read(|book| book.given(record.terms.id()));
                    if served == Bytes::ZERO {
                        held = held.checked_add(record.hold_max).unwrap_or(Amount::MAX);
                    }
                }
            }
        }
        Ok(held)
    }

    /// Finds a contract that an earlier run left half opened with the same provider, and that still will do.
    fn take_up(&self, offer: &Offer, share: Bytes, epochs: u32) -> Option<ContractRecord> {
        self.book.read(|book: &Book| {
            let in_sets = book.holding();
            book.contracts()
                .find(|(id, record)| {
                    let terms = &record.terms;
                    let stands = match record.stage {
                        // A provider does not sign terms that began too long ago.
                        Stage::Intended => self.now < terms.begins.after(SKEW_MAX),
                        Stage::Open => terms.ends > self.now,
                        Stage::Ended { .. } => false,
                    };
                    stands
                        && terms.prices.provider == offer.list.prices.provider
                        && terms.prices.currency == self.currency
                        && terms.size_max >= share
                        && terms.epochs() >= u64::from(epochs)
                        && !in_sets.contains(id)
                        && terms.renews.is_none()
                })
                .map(|(_, record)| record.clone())
        })
    }

    /// Makes terms for a new contract, or for one that follows on another from a moment on; its hold pays for reading `reads`
    /// bytes twice, if that is more than its size. Nothing is saved or asked for yet.
    pub(crate) fn intend(
        &self,
        offer: &Offer,
        size_max: Bytes,
        epochs: u32,
        renews: Option<(ContractId, Timestamp)>,
        reads: Bytes,
    ) -> Result<ContractRecord, AgentError> {
        let prices = offer.list.prices;
        let span = period(&prices, epochs);
        let buyer = self.key.entity();
        let nonce = u128::from_le_bytes(entropy::random()?);
        let begins = renews.map_or(self.now, |(_, begins)| begins);
        let mut terms = Terms::new(buyer, &offer.list, size_max, begins, span, nonce);
        if let Some((renewed, _)) = renews {
            terms = terms.renewing(renewed);
        }
        let hold_max =
            hold_max(&prices, size_max, epochs, reads).ok_or_else(|| AgentError::Invalid {
                what: format!("the prices of {} are beyond all counting", prices.provider.short()),
                hint: "leave that host out".to_owned(),
            })?;
        Ok(ContractRecord {
            terms,
            address: offer.address.clone(),
            hold_request: entropy::request_id(&**self.clock)?,
            hold_max,
            hold_expires: terms.ends.after(HOLD_MARGIN),
            stage: Stage::Intended,
        })
    }

    /// Takes a contract from wherever it stands to open, saving each step first.
    async fn complete(&self, record: &ContractRecord) -> Result<(), Blame> {
        let contract = record.terms.id();
        if self.book.read(|book| book.contract(contract).map(|record| record.stage))
            == Some(Stage::Open)
        {
            return Ok(());
        }
        self.secure_hold(record).await?;
        match self.session(record).open().await {
            Ok(provider_signature) => {
                Ok(self.book.record(&Event::ContractOpened { contract, provider_signature })?)
            }
            Err(error) => {
                if matches!(&error, AgentError::Provider { reason, .. } if !reason.is_transient()) {
                    self.give_up(contract)?;
                }
                Err(Blame::Host(error))
            }
        }
    }

    /// Returns the session of a contract under which nothing was given yet; its host is dialled wherever it is now.
    fn session(&self, record: &ContractRecord) -> Session {
        let (key, endpoint) = (self.key.clone(), self.endpoint.clone());
        let session = Session::new(key, endpoint, Arc::clone(self.clock), record, Bytes::ZERO);
        session.dialling_by(Arc::clone(self.finder))
    }

    /// A refusal for good: another try needs another hold, and so another contract.
    pub(crate) fn give_up(&self, contract: ContractId) -> Result<(), AgentError> {
        let state = State::Cancelled { at: self.now };
        let (tab, paid) = (Some(Tab::default()), Some(Amount::ZERO));
        self.book.record(&Event::ContractOver { contract, state, tab, paid, kept: false })
    }

    /// Saves that a contract is intended, and has the issuer open its hold; both once, however often this is called.
    pub(crate) async fn secure_hold(&self, record: &ContractRecord) -> Result<(), Blame> {
        let contract = record.terms.id();
        self.save(record, For::Set)?;
        let hold = self
            .wallet
            .submit(Request::HoldOpen {
                id: record.hold_request,
                payee: record.terms.prices.provider,
                amount_max: record.hold_max,
                order: *contract.digest(),
                expires: record.hold_expires,
                // Asked for by an issuer that was away, it would hold money for a contract given up long ago.
                open_by: open_by(record.hold_request),
            })
            .await;
        match hold {
            Ok(Response::HoldOpened { .. }) => Ok(()),
            Ok(_) => {
                let (peer, what) = (self.currency.issuer(), "no hold was confirmed".to_owned());
                Err(AgentError::Misanswer { peer, what }.into())
            }
            Err(error) => {
                if matches!(&error, AgentError::Issuer(refusal) if !refusal.is_transient()) {
                    self.give_up(contract)?;
                    // There is no hold.
                    self.book.record(&Event::HoldClosed { contract, paid: Amount::ZERO })?;
                }
                Err(error.into())
            }
        }
    }

    /// Saves, once, that a contract is intended, and for what.
    fn save(&self, record: &ContractRecord, of: For) -> Result<(), AgentError> {
        let contract = record.terms.id();
        if self.book.read(|book| book.contract(contract).is_none()) {
            let kind = (of == For::Slot).then_some(Event::ForSlot { contract });
            let events: Vec<Event> = std::iter::once(record.intended()).chain(kind).collect();
            self.book.record_all(&events)?;
            // What a repair must know of the others, their asks may not say any more.
            let provider = record.terms.prices.provider;
            if let Some(operator) = self.operator(provider)
                && self.book.read(|book| book.operator(provider) != Some(&operator))
            {
                self.book.record(&Event::OperatorSaid { provider, operator })?;
            }
        }
        Ok(())
    }
}

/// Returns the prices of these offers.
pub(crate) fn prices_of(offers: &[Offer]) -> Vec<PriceList> {
    offers.iter().map(|offer| offer.list.prices).collect()
}

/// Checks a list that its host has signed just now: one whose clock is off would refuse all terms, and cost a hold.
pub(crate) fn good_now(list: &SignedPriceList, now: Timestamp) -> Result<(), String> {
    let issued = list.prices.issued;
    let apart = issued.since(now).max(now.since(issued));
    match list.verify(now) {
        Err(PriceListError::Signature) => Err(PriceListError::Signature.to_string()),
        _ if apart > SKEW_MAX => {
            Err(format!("the clocks are too far apart: it says {issued}, here it is {now}"))
        }
        Err(error) => Err(error.to_string()),
        Ok(()) => Ok(()),
    }
}

/// The room in a contract for a share of this size.
pub(crate) fn size_max(share: Bytes) -> Bytes {
    let roomy = share.get().checked_add(share.get() / 8).map_or(Bytes::MAX, Bytes::new);
    roomy.checked_add(SLACK).unwrap_or(Bytes::MAX)
}

/// Returns how surely an object survives with the hosts that were chosen.
pub(crate) fn durability_of(
    placement: &Placement,
    offers: &[Offer],
    records: &Records,
) -> Result<Durability, AgentError> {
    let chosen = placement.providers.iter().map(|&index| &offers[index]);
    let hosts = chosen.map(|offer| (&offer.address, offer.operator.as_ref()));
    Durability::of(hosts, placement.k, records)
}

/// The code of a placement.
pub(crate) fn code_of(placement: &Placement) -> Result<Code, AgentError> {
    let n = u8::try_from(placement.providers.len())
        .map_err(|_| AgentError::Store("placement chose too many hosts".to_owned()))?;
    Code::new(placement.k, n)
        .map_err(|error| AgentError::Store(format!("placement chose no code: {error}")))
}

fn period(prices: &PriceList, epochs: u32) -> Duration {
    Duration::from_milliseconds(
        prices.epoch.milliseconds().saturating_mul(u64::from(epochs.max(1))),
    )
}

/// What a contract can cost at most in earnest: all written, kept for its whole period and read twice.
pub(crate) fn cost_max(prices: &PriceList, size_max: Bytes, epochs: u32) -> Option<Amount> {
    hold_max(prices, size_max, epochs, Bytes::ZERO)
}

/// The same, of a contract that pays for reading more than it keeps.
fn hold_max(prices: &PriceList, size_max: Bytes, epochs: u32, reads: Bytes) -> Option<Amount> {
    let meter = Meter {
        opened: true,
        written: size_max.get(),
        read: size_max.max(reads).get().saturating_mul(2),
        byte_epochs: u128::from(size_max.get()) * u128::from(epochs.max(1)),
    };
    Bill::of(prices, &meter).map(|bill| bill.total())
}

/// What a host could take and run with: the price to open, an epoch of keeping it all, and one step.
fn at_risk(prices: &PriceList, size_max: Bytes) -> Amount {
    let byte_epochs = size_max.get().into();
    let ahead = Bill::of(prices, &Meter { opened: true, byte_epochs, ..Meter::default() });
    ahead.and_then(|bill| bill.total().checked_add(exposure_max(prices))).unwrap_or(Amount::MAX)
}

/// The last moment at which the hold of a contract may yet be opened: some time after its command was made.
pub(crate) fn open_by(request: RequestId) -> Timestamp {
    request.made_at().after(OPEN_SPAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_units::Price;

    #[test]
    fn what_a_host_could_run_with_is_one_epoch_and_one_step() {
        let provider = EntityId::from_bytes([1; 32]);
        let prices = |open, store, write| PriceList {
            provider,
            currency: CurrencyId::issued_by(provider),
            open: Amount::new(open),
            store: Price::from_parts(store),
            write: Price::from_parts(write),
            read: Price::default(),
            capacity: Bytes::new(1 << 40),
            period_max: Duration::from_seconds(7200),
            epoch: Duration::from_seconds(3600),
            step_max: Bytes::new(1 << 18),
            issued: Timestamp::EPOCH,
            expires: Timestamp::from_milliseconds(9),
        };
        let unit_a_step = 1_000_000_000_000 / (1 << 18);
        for (prices, size, outcome) in [
            (prices(0, 0, 0), 1 << 30, 0),
            (prices(7, 0, 0), 1 << 30, 7),
            (prices(7, 1_000_000, 0), 5_000_000, 12),
            (prices(7, 1_000_000, unit_a_step), 5_000_000, 13),
            (prices(u64::MAX, 1_000_000, 0), 5_000_000, u64::MAX),
        ] {
            assert_eq!(at_risk(&prices, Bytes::new(size)), Amount::new(outcome));
        }
    }

    #[test]
    fn a_clock_that_is_off_is_named() {
        let key = SecretKey::from_bytes(&[1; 32]);
        let now = Timestamp::from_milliseconds(1_058_011_200_000);
        let (day, hour) = (Duration::from_seconds(86_400), Duration::from_seconds(3600));
        let list = |issued: Timestamp| {
            PriceList {
                provider: key.entity(),
                currency: CurrencyId::issued_by(key.entity()),
                open: Amount::new(1),
                store: Price::from_parts(1),
                write: Price::from_parts(1),
                read: Price::from_parts(1),
                capacity: Bytes::new(1),
                period_max: day,
                epoch: hour,
                step_max: Bytes::new(4096),
                issued,
                expires: issued.after(hour),
            }
            .sign(&key)
        };
        let before =
            |span: Duration| Timestamp::from_milliseconds(now.milliseconds() - span.milliseconds());
        assert_eq!(good_now(&list(now), now), Ok(()));
        assert_eq!(good_now(&list(now.after(SKEW_MAX)), now), Ok(()));
        // A day ahead, a day behind, and half an hour behind, whose list is still good.
        let half = Duration::from_seconds(1800);
        for issued in [now.after(day), before(day), before(half)] {
            let why = good_now(&list(issued), now).unwrap_err();
            assert!(why.starts_with("the clocks are too far apart: it says 2003-07-1"), "{why}");
        }
        let mut forged = list(before(day));
        forged.prices.open = Amount::ZERO;
        assert!(good_now(&forged, now).unwrap_err().contains("not signed"));
    }
}
