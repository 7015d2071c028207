//! The issuer's machine: books, first answers, notices.

use crate::{
    ANSWERS_BYTES_MAX, Currency, DEPOSITS_WAITING_MAX, Limits, Movement, Refusal, ReplayError,
    Request, RequestId, Response,
    classic::{Answer, Ask, Fault},
    journal::{
        CommandHead, Mark, Record, Tick, answer_mark, command_record, journal_mark, read_record,
        tick_record,
    },
    notices::Notices,
};
use fondaco_codec::{Decode, DecodeError, Encode, Text};
use fondaco_crypto::{Digest, Domain, EntityId};
use fondaco_ledger::{self as ledger, Account, HoldId, Imbalance, Ledger};
use fondaco_units::{Amount, Timestamp};
use std::collections::BTreeMap;

const REQUEST: Domain = Domain::new("fondaco 2026 lcp request v1");

/// The books of one currency and what was answered to whom. See the [crate](crate) for the rules it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    pub(crate) currency: Currency,
    options: IssuerOptions,
    journal: Mark,
    ledger: Ledger,
    holders: BTreeMap<EntityId, Holder>,
    /// When the last record was made.
    last: Timestamp,
    /// The planted fault that the simulation must catch: every command is taken for a new one.
    #[cfg(test)]
    pub(crate) forgets_answers: bool,
}

/// What is kept of one holder beside its account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Holder {
    answers: BTreeMap<RequestId, Answered>,
    notices: Notices,
}

/// The first answer to a command, encoded: it is kept for ever, and a quarter as large as the value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answered {
    request: Digest,
    answer: Box<[u8]>,
}

/// The outcome of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Handled {
    /// What to answer, once the record is saved.
    pub response: Response,
    /// What to save first; nothing when nothing changed.
    pub record: Option<Vec<u8>>,
}

/// The outcome of one message of the dialect of 2003.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct HandledClassic {
    /// What to answer, once the record is saved.
    pub answer: Answer,
    /// What to save first; nothing when nothing changed.
    pub record: Option<Vec<u8>>,
}

/// What an issuer may be told beside its currency; neither changes an answer, but that old ones are forgotten sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerOptions {
    /// Chance that nobody else knows: it keeps strangers from choosing keys that slow the tables down.
    pub seed: u64,
    /// How much of first answers is remembered before the oldest are forgotten, in bytes.
    pub answers_bytes_max: usize,
}

impl Default for IssuerOptions {
    fn default() -> Self {
        Self { seed: 0, answers_bytes_max: ANSWERS_BYTES_MAX }
    }
}

/// Why bytes are no snapshot of an issuer. Listed by precedence. Replay the journal from its beginning instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is in another version.
    #[error("the snapshot is in version {found}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// It is no encoding.
    #[error("the snapshot cannot be read: {error}")]
    Decode {
        /// Where, and why not.
        error: DecodeError,
    },
    /// The books in it do not balance.
    #[error("the books of the snapshot do not balance: {imbalance}")]
    Imbalance {
        /// How.
        imbalance: Imbalance,
    },
}

impl SnapshotError {
    /// Returns whether the same bytes can be restored later: never, here.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Version { .. } | Self::Decode { .. } | Self::Imbalance { .. } => false,
        }
    }
}

/// A command on its way into the books.
struct Command<'a> {
    now: Timestamp,
    holder: EntityId,
    transfer_fee: Amount,
    id: RequestId,
    request: &'a Request,
}

impl Issuer {
    /// Creates an issuer without money or history; `replay` brings back what it had.
    pub fn new(currency: Currency, options: IssuerOptions) -> Self {
        Self {
            options,
            journal: journal_mark(currency.id),
            ledger: Ledger::new(currency.id, options.seed),
            holders: BTreeMap::new(),
            last: Timestamp::EPOCH,
            #[cfg(test)]
            forgets_answers: false,
            currency,
        }
    }

    /// Returns what it says of its currency.
    pub const fn currency(&self) -> &Currency {
        &self.currency
    }

    /// Returns the books.
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns the accounts, by entity.
    pub fn books(&self) -> impl Iterator<Item = (EntityId, Account)> + '_ {
        self.ledger.books()
    }

    /// Returns the time of the books: when the last record was made.
    pub const fn last(&self) -> Timestamp {
        self.last
    }

    /// Recounts the books from scratch; see [`Ledger::check`].
    ///
    /// # Errors
    ///
    /// They do not balance: [`Issuer::halt`], and find out.
    pub fn check(&self) -> Result<(), Imbalance> {
        self.ledger.check()
    }

    /// Refuses every new command from now on; queries and repeated commands are still answered.
    pub const fn halt(&mut self) {
        self.ledger.halt();
    }

    /// Answers one request of `holder`, whom the caller has authenticated.
    ///
    /// The record is saved before the response is sent. A query, and a command that was handled before, has none.
    pub fn handle(&mut self, now: Timestamp, holder: EntityId, request: &Request) -> Handled {
        let refused = |refusal| Handled { response: Response::Refused { refusal }, record: None };
        let Some(id) = request.id() else {
            let response = self.query(holder, request);
            return Handled { response, record: None };
        };
        let bytes = request.to_bytes();
        let hash = Digest::derive(REQUEST, &bytes);
        if let Some(answered) = self.answered(holder, id) {
            if answered.request != hash {
                return refused(Refusal::OtherContent { id });
            }
            return match Response::from_bytes(&answered.answer) {
                Ok(response) => Handled { response, record: None },
                // What was encoded here decodes here: memory was damaged. Nothing new may be said of it.
                Err(_) => {
                    self.halt();
                    refused(Refusal::Halted)
                }
            };
        }
        let now = now.max(self.last);
        let transfer_fee = self.currency.transfer_fee;
        match self.apply(Command { now, holder, transfer_fee, id, request }, hash) {
            Ok((response, answer)) => {
                let head = CommandHead { now, holder, transfer_fee, answer };
                let record = command_record(self.journal, &head, &bytes);
                Handled { response, record: Some(record) }
            }
            Err(refusal) => refused(refusal),
        }
    }

    /// Answers one message of `holder` in the dialect of 2003; see [`classic`](crate::classic).
    ///
    /// `connection` numbers the connections of all holders in the order of their acceptance. `surcharge` is what this
    /// message costs beside the transfer fee: that of a full handshake, until it was charged once.
    pub fn handle_classic(
        &mut self,
        now: Timestamp,
        holder: EntityId,
        connection: u64,
        surcharge: Amount,
        ask: &Ask,
    ) -> HandledClassic {
        let _ = (now, holder, connection, surcharge, ask);
        let fault = Fault::Refused { refusal: Refusal::Unavailable };
        HandledClassic { answer: Answer::Fault { fault }, record: None }
    }

    /// Returns whether notices with a number over `after` wait for `holder`; if not, a query that may wait can be
    /// parked until something arrives.
    pub fn deposits_wait(&self, holder: EntityId, after: u64) -> bool {
        self.holders.get(&holder).is_some_and(|known| known.notices.last() > after)
    }

    /// Returns whether this message would be a query with nothing to tell, which can be parked until something
    /// arrives. It is not handled by that: [`Issuer::handle_classic`] is called in the end, whatever happened.
    pub fn classic_waits(&self, holder: EntityId, connection: u64, ask: &Ask) -> bool {
        let _ = (holder, connection, ask);
        false
    }

    /// Returns all that the issuer knows, so that the journal up to here need not be replayed.
    pub fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes up where `snapshot` was made; the records after it are still to be replayed.
    ///
    /// # Errors
    ///
    /// It is no snapshot of this version, or was damaged.
    pub fn restore(
        seed: u64,
        answers_bytes_max: usize,
        snapshot: &[u8],
    ) -> Result<Self, SnapshotError> {
        let _ = IssuerOptions { seed, answers_bytes_max };
        Err(SnapshotError::Version { found: snapshot.first().copied().unwrap_or_default() })
    }

    /// Begins, or ends, to collect [`Movement`]s, for the history of each account.
    pub fn collect_movements(&mut self, collect: bool) {
        let _ = collect;
    }

    /// Takes what was collected since the last call, in order: by each command and tick, also during replay.
    pub fn drain_movements(&mut self) -> Vec<Movement> {
        Vec::new()
    }

    /// Expires holds that are due at `now`, at most [`ledger::EXPIRED_PER_CALL_MAX`] of them; the record to be
    /// saved, or nothing when none was due. Call it again until there is none.
    pub fn tick(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        let now = now.max(self.last);
        let expired = self.expire(now).ok().filter(|expired| *expired > 0)?;
        self.last = now;
        Some(tick_record(self.journal, Tick { now, expired }))
    }

    /// Applies one record of the journal: the same state and the same answers as when it was made.
    ///
    /// # Errors
    ///
    /// The record cannot have come from this issuer's journal at this place. Stop: do not serve from what was replayed.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), ReplayError> {
        let record = read_record(self.journal, record)?;
        let now = match &record {
            Record::Command { head, .. } => head.now,
            Record::Tick(tick) => tick.now,
        };
        if self.ledger.is_halted() {
            return Err(ReplayError::Halted);
        }
        if now < self.last {
            return Err(ReplayError::BackInTime { now, last: self.last });
        }
        let same = match record {
            Record::Tick(Tick { expired, .. }) => {
                let done = self.expire(now);
                self.last = now;
                expired > 0 && done == Ok(expired)
            }
            Record::Command { head, request } => {
                let id = request.id().ok_or(ReplayError::NotACommand)?;
                let CommandHead { holder, transfer_fee, answer, .. } = head;
                if self.answered(holder, id).is_some() {
                    return Err(ReplayError::Repeated { holder, id });
                }
                let hash = Digest::derive(REQUEST, &request.to_bytes());
                let command = Command { now, holder, transfer_fee, id, request: &request };
                self.apply(command, hash).is_ok_and(|(_, found)| found == answer)
            }
        };
        if same {
            return Ok(());
        }
        self.halt();
        Err(ReplayError::Diverged { now })
    }

    fn answered(&self, holder: EntityId, id: RequestId) -> Option<&Answered> {
        #[cfg(test)]
        if self.forgets_answers {
            return None;
        }
        self.holders.get(&holder)?.answers.get(&id)
    }

    /// Executes a new command and remembers its answer; the answer, and its mark for the journal.
    fn apply(&mut self, command: Command<'_>, hash: Digest) -> Result<(Response, Mark), Refusal> {
        self.expire(command.now).map_err(|Halted| Refusal::Halted)?;
        let response = match self.execute(&command) {
            Ok(response) => response,
            Err(refusal @ (Refusal::Halted | Refusal::Unavailable)) => return Err(refusal),
            Err(refusal) => Response::Refused { refusal },
        };
        self.last = command.now;
        let answer = response.to_bytes().into_boxed_slice();
        let mark = answer_mark(&answer);
        let holder = self.holders.entry(command.holder).or_default();
        holder.answers.insert(command.id, Answered { request: hash, answer });
        Ok((response, mark))
    }

    fn expire(&mut self, now: Timestamp) -> Result<u64, Halted> {
        if self.ledger.is_halted() {
            return Err(Halted);
        }
        self.ledger.expire(now).map(|expired| expired.len() as u64).map_err(|_| Halted)
    }

    /// Decides one command. A refusal changes nothing.
    fn execute(&mut self, command: &Command<'_>) -> Result<Response, Refusal> {
        let Command { now, holder, transfer_fee, id, request } = *command;
        let issuer = self.currency.id.issuer();
        let issuer_only = match holder == issuer {
            true => Ok(()),
            false => Err(Refusal::NotIssuer { issuer }),
        };
        match request {
            Request::Describe
            | Request::Balance
            | Request::HoldInfo { .. }
            | Request::Deposits { .. }
            | Request::History { .. }
            | Request::Receipt { .. } => Ok(self.query(holder, request)),
            Request::Transfer { to, amount, fee_max, order, .. } => {
                let (to, amount, fee_max) = (*to, *amount, *fee_max);
                let fee = if holder == issuer { Amount::ZERO } else { transfer_fee };
                if fee > fee_max {
                    return Err(Refusal::FeeOverMax { fee, fee_max });
                }
                self.has_room(to)?;
                let terms = ledger::Terms { fee, reserve: Amount::ZERO };
                let done = self.ledger.transfer(holder, to, amount, terms)?;
                self.notify(now, to, Some(holder), amount, order.clone());
                Ok(Response::Transferred { fee, balance: done.balance })
            }
            Request::Mint { to, amount, .. } => {
                issuer_only?;
                self.has_room(*to)?;
                let done = self.ledger.mint(*to, *amount)?;
                self.notify(now, *to, None, *amount, Text::default());
                Ok(Response::Minted { supply: done.supply })
            }
            Request::Redeem { amount, .. } => {
                issuer_only?;
                let done = self.ledger.redeem(issuer, *amount)?;
                Ok(Response::Redeemed { supply: done.supply })
            }
            Request::HoldOpen { payee, amount_max, order, expires, open_by, .. } => {
                if now > *open_by {
                    return Err(Refusal::TooLate { open_by: *open_by, now });
                }
                let hold = HoldId::derive(self.currency.id, holder, id.get());
                let (payee, amount_max, expires) = (*payee, *amount_max, *expires);
                self.ledger.hold_open(hold, holder, payee, amount_max, *order, expires, now)?;
                Ok(Response::HoldOpened { hold, expires })
            }
            Request::HoldPost { voucher, .. } => {
                let hold = voucher.voucher.hold;
                let done = self.ledger.hold_post(now, holder, voucher);
                let done = done.map_err(|refusal| self.concealed(holder, hold, refusal))?;
                // The order in hex is as long as an order may be.
                let order = self.ledger.hold(hold).map(|hold| hold.order.to_string());
                let order = Text::cut(&order.unwrap_or_default());
                self.notify(now, holder, Some(done.payer), done.paid, order);
                Ok(Response::HoldPosted { paid: done.paid, returned: done.returned })
            }
            Request::HoldVoid { hold, .. } => {
                let done = self.ledger.hold_void(holder, *hold);
                let done = done.map_err(|refusal| self.concealed(holder, *hold, refusal))?;
                Ok(Response::HoldVoided { returned: done.returned })
            }
            Request::AckDeposits { through, .. } => {
                self.holders.entry(holder).or_default().notices.acknowledge(*through)?;
                Ok(Response::Acked)
            }
            Request::Batch { .. }
            | Request::Accept { .. }
            | Request::Rotate { .. }
            | Request::Close { .. } => Err(Refusal::Unavailable),
        }
    }

    /// Answers a query; changes nothing.
    fn query(&self, holder: EntityId, request: &Request) -> Response {
        match request {
            Request::Describe => Response::Described {
                currency: self.currency.clone(),
                limits: Limits::remembering(self.options.answers_bytes_max),
                supply: self.ledger.supply(),
                accounts: self.ledger.accounts(),
                head: None,
            },
            Request::Balance => {
                let Account { available, held } = self.ledger.account(holder);
                let notices = self.holders.get(&holder).map(|known| known.notices.waiting());
                Response::Balance { available, held, deposits_waiting: notices.unwrap_or(0) }
            }
            Request::HoldInfo { hold: id } => match self.ledger.hold(*id) {
                Some(info) if self.may_see(holder, info) => Response::HoldInfo { info: *info },
                Some(_) | None => Response::Refused { refusal: unknown(*id).into() },
            },
            Request::Deposits { after, .. } => {
                let page = self.holders.get(&holder).map(|known| known.notices.page(*after));
                let (list, more) = page.unwrap_or_else(|| Notices::default().page(0));
                Response::Deposits { list, more }
            }
            Request::History { .. } | Request::Receipt { .. } => {
                Response::Refused { refusal: Refusal::Unavailable }
            }
            // Commands are not asked here; none of them has an answer without being applied.
            Request::Transfer { .. }
            | Request::Mint { .. }
            | Request::Redeem { .. }
            | Request::HoldOpen { .. }
            | Request::HoldPost { .. }
            | Request::HoldVoid { .. }
            | Request::AckDeposits { .. }
            | Request::Batch { .. }
            | Request::Accept { .. }
            | Request::Rotate { .. }
            | Request::Close { .. } => Response::Refused { refusal: Refusal::Halted },
        }
    }

    fn may_see(&self, holder: EntityId, hold: &ledger::Hold) -> bool {
        [hold.payer, hold.payee, self.currency.id.issuer()].contains(&holder)
    }

    /// Turns the refusal that would tell a stranger of a hold into the one for a hold that is not there.
    ///
    /// The ledger asks who the payee is before it looks at anything else of the hold.
    fn concealed(&self, holder: EntityId, id: HoldId, refusal: ledger::Refusal) -> Refusal {
        let stranger = self.ledger.hold(id).is_some_and(|hold| !self.may_see(holder, hold));
        match refusal {
            ledger::Refusal::WrongPayee { .. } if stranger => unknown(id).into(),
            refusal => refusal.into(),
        }
    }

    fn has_room(&self, payee: EntityId) -> Result<(), Refusal> {
        if self.holders.get(&payee).is_some_and(|known| known.notices.is_full()) {
            let deposits_max = DEPOSITS_WAITING_MAX as u64;
            return Err(Refusal::DepositsFull { payee, deposits_max });
        }
        Ok(())
    }

    fn notify(
        &mut self,
        at: Timestamp,
        payee: EntityId,
        payer: Option<EntityId>,
        amount: Amount,
        order: Text<64>,
    ) {
        self.holders.entry(payee).or_default().notices.add(at, payer, amount, order);
    }
}

/// The ledger is halted: nothing was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Halted;

const fn unknown(hold: HoldId) -> ledger::Refusal {
    ledger::Refusal::UnknownHold { hold }
}
