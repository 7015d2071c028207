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

use crate::AgentError;
use crate::book::{Book, Coding, ContractRecord, Event, Stage};
use crate::entropy;
use crate::journal::BookFile;
use crate::session::{Session, offer};
use crate::wallet::Wallet;
use fondaco_codec::List;
use fondaco_contract::{Bill, ContractId, Meter, PriceList, SKEW_MAX, SignedPriceList, Tab, Terms};
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_erasure::Code;
use fondaco_lcp::{Request, RequestId, Response};
use fondaco_placement::{Candidate, Goal, Placement, place};
use fondaco_ports::{Address, Clock};
use fondaco_transport::Endpoint;
use fondaco_units::{Amount, Bytes, Duration, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The chance that a host of which nothing is known loses its shard within an epoch. A deliberately
/// dark view: hosts are strangers.
pub const NEWCOMER_LOSS: f64 = 0.05;

/// The most hosts of one set. More would make each object slower to store and no safer in earnest.
const SHARDS_WANTED_MAX: u8 = 80;

/// Room in each contract for indexes, snapshots and the rounding of shards.
const SLACK: Bytes = Bytes::new(32 << 20);

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
    /// The exact probability with which an object survives, given [`NEWCOMER_LOSS`].
    pub survive: f64,
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
}

struct Offer {
    address: Address,
    list: SignedPriceList,
}

/// Who is to blame for a contract that did not come about.
enum Blame {
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
        loop {
            let placement = choose(&offers, wish, &passed_over)?;
            let share = Bytes::new(wish.bytes.get().div_ceil(u64::from(placement.k)));
            match self.open_chosen(&offers, &placement, share, wish).await? {
                Ok((code, held, size_max)) => {
                    for (index, offer) in offers.iter().enumerate() {
                        if !placement.providers.contains(&index) {
                            let why = "the others together are cheaper".to_owned();
                            passed_over.push((offer.list.prices.provider, why));
                        }
                    }
                    let survive = placement.survive;
                    return Ok(Opened { code, survive, held, size_max, passed_over });
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
        offers: &[Offer],
        placement: &Placement,
        share: Bytes,
        wish: Wish,
    ) -> Result<Result<(Code, Amount, Bytes), (usize, String)>, AgentError> {
        let size_max =
            Bytes::new(share.get() + share.get() / 8).checked_add(SLACK).unwrap_or(Bytes::MAX);
        let mut held = Amount::ZERO;
        let mut records = Vec::new();
        for &index in &placement.providers {
            let offer = &offers[index];
            let record = match self.take_up(offer, share, wish.epochs) {
                Some(record) => record,
                None if offer.list.prices.capacity < size_max => {
                    let room = offer.list.prices.capacity;
                    return Ok(Err((index, format!("it has room for {room}, not for {size_max}"))));
                }
                None => self.intend(offer, size_max, wish.epochs)?,
            };
            held = held.checked_add(record.hold_max).unwrap_or(Amount::MAX);
            records.push(record);
        }
        let strays_hold = self.close_strays(&records).await?;
        held = held.checked_add(strays_hold).unwrap_or(Amount::MAX);
        if let Some(budget) = wish.budget
            && held > budget
        {
            return Err(AgentError::Invalid {
                what: format!(
                    "these contracts may cost up to {} units, the budget is {}",
                    held.get(),
                    budget.get()
                ),
                hint: "raise --budget, lower --survive or --epochs, or name cheaper hosts"
                    .to_owned(),
            });
        }
        for (record, &index) in records.iter().zip(&placement.providers) {
            match self.complete(record).await {
                Ok(()) => {}
                Err(Blame::Host(error)) => return Ok(Err((index, error.to_string()))),
                Err(Blame::Other(error)) => return Err(error),
            }
        }
        let contracts: Vec<ContractId> = records.iter().map(|record| record.terms.id()).collect();
        let n = u8::try_from(contracts.len())
            .map_err(|_| AgentError::Store("placement chose too many hosts".to_owned()))?;
        let code = Code::new(placement.k, n)
            .map_err(|error| AgentError::Store(format!("placement chose no code: {error}")))?;
        let contracts = List::new(contracts).expect("n is a byte");
        let coding = Coding::Cauchy8;
        self.book.record(&Event::SetFormed { coding, k: placement.k, contracts })?;
        Ok(Ok((code, held, size_max)))
    }

    /// Asks every host for its prices at once; those that do not fit are passed over.
    async fn ask(&self, hosts: &[Address], wish: Wish) -> (Vec<Offer>, Vec<(EntityId, String)>) {
        let mut asking = JoinSet::new();
        for (index, address) in hosts.iter().enumerate() {
            let (endpoint, address) = (self.endpoint.clone(), address.clone());
            asking.spawn(async move {
                let prices = offer(&endpoint, &address).await;
                (index, address, prices)
            });
        }
        let mut answers = asking.join_all().await;
        answers.sort_by_key(|(index, _, _)| *index);
        let (mut offers, mut passed_over) = (Vec::new(), Vec::new());
        for (_, address, prices) in answers {
            let provider = address.entity();
            let fit = match prices {
                Err(error) => Err(error.to_string()),
                Ok(signed) => match signed.verify(self.now) {
                    Err(error) => Err(error.to_string()),
                    Ok(()) => self.fits(provider, signed, wish),
                },
            };
            match fit {
                Ok(list) => offers.push(Offer { address, list }),
                Err(why) => passed_over.push((provider, why)),
            }
        }
        (offers, passed_over)
    }

    fn fits(
        &self,
        provider: EntityId,
        list: SignedPriceList,
        wish: Wish,
    ) -> Result<SignedPriceList, String> {
        let prices = &list.prices;
        if prices.provider != provider {
            return Err("its price list is another's".to_owned());
        }
        if let Some(why) = self.book.read(|book| book.distrusted(provider).map(str::to_owned)) {
            return Err(format!("it was caught before: {why}"));
        }
        if prices.currency != self.currency {
            return Err("it wants to be paid in another currency".to_owned());
        }
        if prices.period_max < period(prices, wish.epochs) {
            return Err(format!("it takes contracts of at most {}", prices.period_max));
        }
        Ok(list)
    }

    /// Ends contracts that were opened for a choice that came to nothing, so that their holds return; returns what
    /// is still held for those whose hosts cannot be reached.
    async fn close_strays(&self, wanted: &[ContractRecord]) -> Result<Amount, AgentError> {
        let wanted: BTreeSet<ContractId> = wanted.iter().map(|record| record.terms.id()).collect();
        let strays: Vec<ContractRecord> = self.book.read(|book| {
            let in_sets = in_sets(book);
            book.contracts()
                .filter(|(id, record)| {
                    record.stage == Stage::Open
                        && record.terms.ends > self.now
                        && record.terms.prices.currency == self.currency
                        && !in_sets.contains(id)
                        && !wanted.contains(id)
                })
                .map(|(_, record)| record.clone())
                .collect()
        });
        let mut held = Amount::ZERO;
        for record in strays {
            let (key, endpoint) = (self.key.clone(), self.endpoint.clone());
            let session = Session::new(key, endpoint, Arc::clone(self.clock), &record, Bytes::ZERO);
            match session.close().await {
                Ok((tab, paid)) => {
                    let contract = record.terms.id();
                    self.book.record(&Event::ContractEnded { contract, tab, paid })?;
                }
                Err(error) => {
                    tracing::info!(%error, "a contract that is not wanted could not be ended");
                    held = held.checked_add(record.hold_max).unwrap_or(Amount::MAX);
                }
            }
        }
        Ok(held)
    }

    /// Finds a contract that an earlier run left half opened with the same provider, and that still will do.
    fn take_up(&self, offer: &Offer, share: Bytes, epochs: u32) -> Option<ContractRecord> {
        self.book.read(|book: &Book| {
            let in_sets = in_sets(book);
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
                })
                .map(|(_, record)| record.clone())
        })
    }

    /// Makes terms for a new contract; nothing is saved or asked for yet.
    fn intend(
        &self,
        offer: &Offer,
        size_max: Bytes,
        epochs: u32,
    ) -> Result<ContractRecord, AgentError> {
        let prices = offer.list.prices;
        let span = period(&prices, epochs);
        let buyer = self.key.entity();
        let nonce = u128::from_le_bytes(entropy::random()?);
        let terms = Terms::new(buyer, &offer.list, size_max, self.now, span, nonce);
        let hold_max = cost_max(&prices, size_max, epochs).ok_or_else(|| AgentError::Invalid {
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
        match self.book.read(|book| book.contract(contract).map(|record| record.stage)) {
            Some(Stage::Open) => return Ok(()),
            Some(Stage::Intended | Stage::Ended { .. }) => {}
            None => self.book.record(&Event::ContractIntended {
                terms: record.terms,
                address: record.address.clone(),
                hold_request: record.hold_request,
                hold_max: record.hold_max,
                hold_expires: record.hold_expires,
            })?,
        }
        // A refusal for good: another try needs another hold, and so another contract.
        let refused = || {
            let (tab, paid) = (Tab::default(), Amount::ZERO);
            self.book.record(&Event::ContractEnded { contract, tab, paid })
        };
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
            Ok(Response::HoldOpened { .. }) => {}
            Ok(_) => {
                let (peer, what) = (self.currency.issuer(), "no hold was confirmed".to_owned());
                return Err(AgentError::Misanswer { peer, what }.into());
            }
            Err(error) => {
                if matches!(&error, AgentError::Issuer(refusal) if !refusal.is_transient()) {
                    refused()?;
                }
                return Err(error.into());
            }
        }
        let clock = Arc::clone(self.clock);
        let (key, endpoint) = (self.key.clone(), self.endpoint.clone());
        match Session::new(key, endpoint, clock, record, Bytes::ZERO).open().await {
            Ok(provider_signature) => {
                Ok(self.book.record(&Event::ContractOpened { contract, provider_signature })?)
            }
            Err(error) => {
                if matches!(&error, AgentError::Provider { reason, .. } if !reason.is_transient()) {
                    refused()?;
                }
                Err(Blame::Host(error))
            }
        }
    }
}

/// Returns the contracts that hold shards, or may.
fn in_sets(book: &Book) -> BTreeSet<ContractId> {
    let sets = (0..book.set_count()).filter_map(|set| book.set(set));
    sets.flat_map(|set| set.contracts.iter().copied()).collect()
}

/// Chooses the providers and the code.
fn choose(
    offers: &[Offer],
    wish: Wish,
    passed_over: &[(EntityId, String)],
) -> Result<Placement, AgentError> {
    let candidates = offers
        .iter()
        .map(|offer| {
            let prices = offer.list.prices;
            let parts = u128::from(prices.store.parts()) * u128::from(wish.epochs)
                + u128::from(prices.write.parts())
                + u128::from(prices.read.parts());
            let price = u64::try_from(parts).unwrap_or(u64::MAX);
            Candidate::new(NEWCOMER_LOSS, price)
                .map_err(|error| AgentError::Store(format!("placement: {error}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let invalid = |error: String| AgentError::Invalid {
        what: error,
        hint: "a probability is written as --survive 0.999".to_owned(),
    };
    let goal = Goal::new(wish.survive, SHARDS_WANTED_MAX, 1)
        .map_err(|error| invalid(error.to_string()))?;
    place(&candidates, goal).map_err(|error| {
        let away: Vec<String> =
            passed_over.iter().map(|(host, why)| format!("\n   {}: {why}", host.short())).collect();
        AgentError::Placement {
            what: format!("{error}{}", away.concat()),
            hint: "name more hosts with --host ADDRESS, or ask for less with --survive".to_owned(),
        }
    })
}

fn period(prices: &PriceList, epochs: u32) -> Duration {
    Duration::from_milliseconds(
        prices.epoch.milliseconds().saturating_mul(u64::from(epochs.max(1))),
    )
}

/// What a contract can cost at most in earnest: all written, kept for its whole period and read twice.
fn cost_max(prices: &PriceList, size_max: Bytes, epochs: u32) -> Option<Amount> {
    let meter = Meter {
        opened: true,
        written: size_max.get(),
        read: size_max.get().saturating_mul(2),
        byte_epochs: u128::from(size_max.get()) * u128::from(epochs.max(1)),
    };
    Bill::of(prices, &meter).map(|bill| bill.total())
}

/// The last moment at which the hold of a contract may yet be opened: some time after its command was made.
fn open_by(request: RequestId) -> Timestamp {
    request.made_at().after(OPEN_SPAN)
}
