//! The issuer's machine: books, first answers, notices.

use crate::{
    ANSWERS_BYTES_MAX, Currency, Movement, Refusal, ReplayError, Request, RequestId, Response,
    answers::{Answered, Answers, Encoded, RequestHash},
    classic::{Answer, fences::Fences},
    holders::{Holder, Strangers},
    journal::{
        ClassicHead, CommandHead, Digests, Draft, Mark, Prices, Record, Tick, journal_mark,
        read_record, tick_record,
    },
    movements::Movements,
};
use fondaco_codec::{Decode, Encode};
use fondaco_crypto::EntityId;
use fondaco_ledger::{Account, AccountIndex, Imbalance, Ledger, Terms};
use fondaco_units::{Amount, Timestamp};

mod batch;
mod classic;
mod commands;
mod past;
mod queries;
mod snapshot;

pub use past::Recorded;
pub use snapshot::SnapshotError;

/// The books of one currency and what was answered to whom. See the [crate](crate) for the rules it keeps.
///
/// Two are equal when they will answer alike: fences, collected movements and a full disk, which are of this process only,
/// do not count.
#[derive(Clone, Debug)]
pub struct Issuer {
    pub(crate) currency: Currency,
    options: IssuerOptions,
    journal: Mark,
    digests: Digests,
    ledger: Ledger,
    /// By account index, as many as the ledger has.
    holders: Vec<Holder>,
    strangers: Strangers,
    answers: Answers,
    /// When the last record was made.
    last: Timestamp,
    fences: Fences,
    movements: Movements,
    /// Whether the caller has no room to save records in.
    full: bool,
    /// The planted fault that the simulation must catch: every command is taken for a new one.
    #[cfg(test)]
    pub(crate) forgets_answers: bool,
}

impl PartialEq for Issuer {
    fn eq(&self, other: &Self) -> bool {
        self.currency == other.currency
            && self.last == other.last
            && self.ledger == other.ledger
            && self.holders == other.holders
            && self.strangers == other.strangers
            && self.answers == other.answers
    }
}

impl Eq for Issuer {}

/// The outcome of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Handled {
    /// What to answer, once the record is saved.
    pub response: Response,
    /// What to save first; nothing when nothing changed.
    pub record: Option<Vec<u8>>,
}

/// A command and the first answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstAnswer {
    /// Who asked.
    pub holder: EntityId,
    /// The command.
    pub id: RequestId,
    /// What was answered.
    pub response: Response,
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

/// What an issuer is told beside its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerOptions {
    /// Chance that nobody else knows: it keeps strangers from choosing keys and ids that slow the tables down. No answer
    /// depends on it.
    pub seed: u64,
    /// How much of first answers is remembered before the oldest are forgotten, in bytes. Over the life of a journal it
    /// may become smaller, never greater: what was told to be too old to be done would be done.
    pub answers_bytes_max: usize,
}

impl Default for IssuerOptions {
    fn default() -> Self {
        Self { seed: 0, answers_bytes_max: ANSWERS_BYTES_MAX }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// The holder of an account, open or closed.
    Account(AccountIndex),
    /// Somebody who was never paid.
    Stranger,
    /// A key that an account had before.
    Rotated { to: EntityId },
}

/// A command on its way into the books.
#[derive(Clone, Copy)]
struct Command<'a> {
    now: Timestamp,
    holder: EntityId,
    who: Who,
    prices: Prices,
    id: RequestId,
    request: &'a Request,
}

/// The ledger is halted: nothing was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Halted;

impl Issuer {
    /// Creates an issuer without money or history; `replay` brings back what it had.
    pub fn new(currency: Currency, options: IssuerOptions) -> Self {
        let ledger = Ledger::new(currency.id, options.seed);
        let answers = Answers::new(options.seed, options.answers_bytes_max);
        Self {
            journal: journal_mark(currency.id),
            digests: Digests::new(),
            holders: vec![Holder::default(); ledger.indexes()],
            ledger,
            strangers: Strangers::default(),
            answers,
            last: Timestamp::EPOCH,
            fences: Fences::default(),
            movements: Movements::default(),
            full: false,
            #[cfg(test)]
            forgets_answers: false,
            currency,
            options,
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

    /// Returns the accounts, in the order in which they were opened; the issuer's is the first.
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

    /// Takes note that there is no room to save records in, or that there is again: until then every new command is
    /// refused with [`Refusal::NoSpace`]; queries and repeated commands are still answered.
    pub const fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Why no new command can be taken at all.
    const fn takes_nothing(&self) -> Option<Refusal> {
        match (self.ledger.is_halted(), self.full) {
            (true, _) => Some(Refusal::Halted),
            (false, true) => Some(Refusal::NoSpace),
            (false, false) => None,
        }
    }

    /// Begins, or ends, to collect [`Movement`]s, for the history of each account.
    pub fn collect_movements(&mut self, collect: bool) {
        self.movements = Movements::new(collect);
    }

    /// Takes what was collected since the last call, in order: by each command and tick, also during replay.
    pub fn drain_movements(&mut self) -> Vec<Movement> {
        self.movements.drain()
    }

    /// Answers one request of `holder`, whom the caller has authenticated.
    ///
    /// The record is saved before the response is sent. A query, and a command that was handled before, has none.
    pub fn handle(&mut self, now: Timestamp, holder: EntityId, request: &Request) -> Handled {
        let refused = |refusal| Handled { response: Response::Refused { refusal }, record: None };
        let who = self.who(holder);
        let Some(id) = request.id() else {
            let response = self.query(holder, who, request);
            return Handled { response, record: None };
        };
        let draft = Draft::command(request);
        let hash = self.digests.request(draft.message());
        match self.answered(holder, who, request, id) {
            Ok(None) => {}
            Ok(Some(answered)) if answered.request != hash => {
                return refused(Refusal::OtherContent { id });
            }
            Ok(Some(answered)) => {
                return match Response::from_bytes(answered.answer.as_slice()) {
                    Ok(response) => Handled { response, record: None },
                    // What was encoded here decodes here: memory was damaged. Nothing new may be said of it.
                    Err(_) => {
                        self.halt();
                        refused(Refusal::Halted)
                    }
                };
            }
            Err(refusal) => return refused(refusal),
        }
        if let Some(refusal) = self.takes_nothing() {
            return refused(refusal);
        }
        let now = now.max(self.last);
        let prices = self.prices();
        match self.apply(&Command { now, holder, who, prices, id, request }, hash) {
            Ok((response, answer)) => {
                let head = CommandHead { now, holder, prices, answer };
                Handled { response, record: Some(draft.with_command(self.journal, &head)) }
            }
            Err(Halted) => refused(Refusal::Halted),
        }
    }

    /// Expires holds that are due at `now`, at most [`EXPIRED_PER_CALL_MAX`](fondaco_ledger::EXPIRED_PER_CALL_MAX) of
    /// them; the record to be saved, or nothing when none was due. Call it again until there is none.
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
        self.replay_answer(record).map(drop)
    }

    /// Applies one record of the journal as [`Issuer::replay`] does; the first answer that was given by it, if it is of a
    /// command of LCP/2.
    ///
    /// # Errors
    ///
    /// As [`Issuer::replay`].
    pub fn replay_answer(&mut self, record: &[u8]) -> Result<Option<FirstAnswer>, ReplayError> {
        let mut first = None;
        let record = read_record(self.journal, record)?;
        let now = match &record {
            Record::Command { head, .. } => head.now,
            Record::Classic { head, .. } => head.now,
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
            Record::Command { head, request, bytes } => {
                let CommandHead { holder, prices, answer, .. } = head;
                let who = self.who(holder);
                if let Who::Rotated { .. } = who {
                    return Err(ReplayError::Rotated { holder });
                }
                let id = request.id().ok_or(ReplayError::NotACommand)?;
                // Not whether it was forgotten: the memory of then may have been greater.
                if self.remembered(who, holder, id).is_some() {
                    return Err(ReplayError::Repeated { holder, id });
                }
                let hash = self.digests.request(bytes);
                let command = Command { now, holder, who, prices, id, request: &request };
                self.apply(&command, hash).is_ok_and(|(response, found)| {
                    first = Some(FirstAnswer { holder, id, response });
                    found == answer
                })
            }
            Record::Classic { head, ask, bytes } => {
                let ClassicHead { answer, .. } = head;
                self.replay_classic(&head, &ask, bytes)? == Ok(answer)
            }
        };
        if same {
            return Ok(first);
        }
        self.halt();
        Err(ReplayError::Diverged { now })
    }

    const fn prices(&self) -> Prices {
        let Currency { transfer_fee, account_reserve, .. } = self.currency;
        Prices { transfer_fee, account_reserve }
    }

    /// What `holder` is asked for a transfer: the issuer's own are free.
    fn terms(&self, holder: EntityId, prices: Prices, surcharge: Amount) -> Terms {
        let fee = match holder == self.currency.id.issuer() {
            true => Amount::ZERO,
            // A fee that does not fit is more than anybody has.
            false => prices.transfer_fee.checked_add(surcharge).unwrap_or(Amount::MAX),
        };
        Terms { fee, reserve: prices.account_reserve }
    }

    fn who(&self, holder: EntityId) -> Who {
        match self.ledger.find(holder) {
            Some((at, key)) if key == holder => Who::Account(at),
            Some((_, to)) => Who::Rotated { to },
            None => Who::Stranger,
        }
    }

    /// The first answer to this command, if there was one; or why that cannot be told.
    fn answered(
        &self,
        holder: EntityId,
        who: Who,
        request: &Request,
        id: RequestId,
    ) -> Result<Option<&Answered>, Refusal> {
        if let Who::Rotated { to } = who {
            // Only its rotation is still answered to a key that is gone: that answer may have been lost.
            let at = self.ledger.index_of(to).filter(|_| matches!(request, Request::Rotate { .. }));
            let answered = at.and_then(|at| self.answers.find(at, id));
            return answered.map(Some).ok_or(Refusal::Rotated { to });
        }
        if let Some(answered) = self.remembered(who, holder, id) {
            return Ok(Some(answered));
        }
        let floor = match who {
            Who::Account(at) => self.holders.get(at.get()).and_then(Holder::floor),
            Who::Stranger | Who::Rotated { .. } => match self.strangers.get(holder) {
                Some(stranger) => stranger.floor,
                None => self.strangers.newcomers_floor(),
            },
        };
        match floor {
            Some(floor) if id <= floor => Err(Refusal::Forgotten { floor }),
            Some(_) | None => Ok(None),
        }
    }

    fn remembered(&self, who: Who, holder: EntityId, id: RequestId) -> Option<&Answered> {
        #[cfg(test)]
        if self.forgets_answers {
            return None;
        }
        match who {
            Who::Account(at) => self.answers.find(at, id),
            Who::Stranger => self.strangers.get(holder)?.find(id),
            Who::Rotated { .. } => None,
        }
    }

    /// Executes a new command and remembers its answer; the answer, and its mark for the journal.
    fn apply(
        &mut self,
        command: &Command<'_>,
        hash: RequestHash,
    ) -> Result<(Response, Mark), Halted> {
        self.expire(command.now)?;
        self.ledger.forget_limits(command.now);
        let response = match self.execute(command) {
            Ok(response) => response,
            Err(Refusal::Halted) => return Err(Halted),
            Err(refusal) => Response::Refused { refusal },
        };
        self.last = command.now;
        let answer = response.to_bytes();
        let mark = self.digests.answer(&answer);
        let answered = Answered { id: command.id, request: hash, answer: Encoded::new(&answer) };
        self.remember(command, answered);
        Ok((response, mark))
    }

    fn remember(&mut self, command: &Command<'_>, answered: Answered) {
        let Command { now, holder, who, .. } = *command;
        // A stranger's own command may have brought it an account: by a voucher.
        let at = match who {
            Who::Account(at) => Some(at),
            Who::Stranger | Who::Rotated { .. } => self.ledger.index_of(holder),
        };
        match at {
            Some(at) => {
                self.answers.add(at, answered);
                while let Some((at, id)) = self.answers.prune() {
                    if let Some(holder) = self.holders.get_mut(at) {
                        holder.raise_floor(Some(id));
                    }
                }
            }
            None => self.strangers.hear(holder, now).remember(answered),
        }
    }

    fn expire(&mut self, now: Timestamp) -> Result<u64, Halted> {
        if self.ledger.is_halted() {
            return Err(Halted);
        }
        let expired = self.ledger.expire(now).map_err(|_| Halted)?;
        for each in &expired {
            self.movements.returned(&self.ledger, each.hold, each.payer, each.returned, None);
        }
        Ok(expired.len() as u64)
    }

    /// Makes the list of holders as long as the ledger's, and takes over what was known of `holder` as a stranger.
    fn welcome(&mut self, holder: EntityId) -> Option<AccountIndex> {
        let floor = self.strangers.newcomers_floor();
        self.holders.resize_with(self.ledger.indexes(), || Holder::above(floor));
        let at = self.ledger.index_of(holder)?;
        let Some(stranger) = self.strangers.take(holder) else { return Some(at) };
        let known = &mut self.holders[at.get()];
        known.raise_floor(stranger.floor);
        known.classic = known.classic.take().or(stranger.classic);
        for answered in stranger.answers {
            // After a rotation the account has answers of its own; they come first.
            self.answers.take_back(at, answered);
        }
        Some(at)
    }
}
