//! The messages of 2003 on their way into the books. See [`classic`](crate::classic) for their rules.

use super::{Halted, HandledClassic, Issuer, Who, commands::Payment};
use crate::{
    DEPOSITS_PER_PAGE_MAX, EntryKind, Movement, Refusal, ReplayError,
    answers::{Encoded, RequestHash},
    classic::{
        Answer, Ask, AskBody, Fault,
        table::{Kept, Last, Place},
    },
    journal::{ClassicHead, Draft, Mark, Prices},
    notices::Notices,
};
use fondaco_codec::{Encode, List, Text};
use fondaco_crypto::EntityId;
use fondaco_ledger::{self as ledger, Terms};
use fondaco_units::{Amount, Timestamp};

/// A new message on its way into the books.
#[derive(Clone, Copy)]
struct Message<'a> {
    now: Timestamp,
    holder: EntityId,
    who: Who,
    prices: Prices,
    surcharge: Amount,
    ask: &'a Ask,
}

impl Issuer {
    /// Takes note that connections up to this number, of all holders together, are accepted. Call it before each message
    /// is handled, with the newest that was accepted when the message had been read.
    pub fn accepted_classic(&mut self, connection: u64) {
        self.fences.accepted(connection);
    }

    /// Answers one message of `holder`, whom the caller has authenticated, in the dialect of 2003.
    ///
    /// `connection` numbers the connections of all holders in the order of their acceptance; see
    /// [`Issuer::accepted_classic`]. `surcharge` is what this
    /// message costs beside the transfer fee: that of a full handshake, until it was charged once.
    ///
    /// The record is saved before the answer is sent. A message that was answered before, and one that is wrong in its
    /// counter or connection, has none.
    pub fn handle_classic(
        &mut self,
        now: Timestamp,
        holder: EntityId,
        connection: u64,
        surcharge: Amount,
        ask: &Ask,
    ) -> HandledClassic {
        let fault = |fault| HandledClassic { answer: Answer::Fault { fault }, record: None };
        let refused = |refusal| fault(Fault::Refused { refusal });
        let who = self.who(holder);
        if let Who::Rotated { to } = who {
            return refused(Refusal::Rotated { to });
        }
        if !self.fences.admit(holder, connection) {
            return fault(Fault::Fenced);
        }
        let draft = Draft::classic(ask);
        let hash = self.digests.request(draft.message());
        match self.place_of(who, holder, ask.counter, &hash) {
            Place::New => {}
            Place::Wrong(wrong) => return fault(wrong),
            Place::Repeated => {
                return match self.first_answer(who, holder) {
                    Some(answer) => HandledClassic { answer, record: None },
                    // What was kept here is told here: memory was damaged. Nothing new may be said of it.
                    None => {
                        self.halt();
                        refused(Refusal::Halted)
                    }
                };
            }
        }
        if let Some(refusal) = self.takes_nothing() {
            return refused(refusal);
        }
        let now = now.max(self.last);
        let prices = self.prices();
        match self.apply_classic(Message { now, holder, who, prices, surcharge, ask }, hash) {
            Ok((answer, mark)) => {
                let head = ClassicHead { now, holder, prices, surcharge, answer: mark };
                HandledClassic { answer, record: Some(draft.with_classic(self.journal, &head)) }
            }
            Err(Halted) => refused(Refusal::Halted),
        }
    }

    /// Returns whether this message is a query that has nothing to tell, so that it can be parked until something
    /// arrives. It is not handled by that: [`Issuer::handle_classic`] is called in the end, whatever has happened since.
    /// But its holder has spoken on this connection, and is shut out of all others that were accepted by now: or else
    /// the query that it repeats, waiting on a connection that broke, would take the answer.
    pub fn classic_waits(&mut self, holder: EntityId, connection: u64, ask: &Ask) -> bool {
        let who = self.who(holder);
        if self.fences.is_fenced(holder, connection)
            || !matches!(who, Who::Account(_) | Who::Stranger)
            || ask.body != AskBody::Query
        {
            return false;
        }
        let hash = self.digests.request(&ask.to_bytes());
        let told = self.last_of(who, holder).map_or(0, |last| last.told_through);
        let waits = self.place_of(who, holder, ask.counter, &hash) == Place::New
            && !self.known(who).is_some_and(|known| known.notices.wait_after(told));
        waits && self.fences.admit(holder, connection)
    }

    /// Returns whether `holder` may not speak on this connection any more.
    pub fn classic_fenced(&self, holder: EntityId, connection: u64) -> bool {
        self.fences.is_fenced(holder, connection)
    }

    fn last_of(&self, who: Who, holder: EntityId) -> Option<&Last> {
        match who {
            Who::Account(_) => self.known(who)?.classic.as_deref(),
            Who::Stranger => self.strangers.get(holder)?.classic.as_deref(),
            Who::Rotated { .. } => None,
        }
    }

    fn place_of(&self, who: Who, holder: EntityId, counter: u32, hash: &RequestHash) -> Place {
        let place = self.last_of(who, holder).map_or(Place::New, |last| last.place(counter, hash));
        #[cfg(test)]
        if self.forgets_answers && place == Place::Repeated {
            return Place::New;
        }
        place
    }

    fn first_answer(&self, who: Who, holder: EntityId) -> Option<Answer> {
        let none = Notices::default();
        let notices = self.known(who).map_or(&none, |known| &known.notices);
        self.last_of(who, holder)?.answer(notices)
    }

    /// Applies a record of the journal; the mark of the answer that it has now.
    pub(super) fn replay_classic(
        &mut self,
        head: &ClassicHead,
        ask: &Ask,
        bytes: &[u8],
    ) -> Result<Result<Mark, Halted>, ReplayError> {
        let ClassicHead { now, holder, prices, surcharge, .. } = *head;
        let who = self.who(holder);
        if let Who::Rotated { .. } = who {
            return Err(ReplayError::Rotated { holder });
        }
        let hash = self.digests.request(bytes);
        match self.place_of(who, holder, ask.counter, &hash) {
            Place::New => {}
            Place::Repeated | Place::Wrong(_) => {
                return Err(ReplayError::LateCounter { holder, counter: ask.counter });
            }
        }
        let message = Message { now, holder, who, prices, surcharge, ask };
        Ok(self.apply_classic(message, hash).map(|(_, mark)| mark))
    }

    /// Executes a new message and remembers its answer; the answer, and its mark for the journal.
    fn apply_classic(
        &mut self,
        message: Message<'_>,
        hash: RequestHash,
    ) -> Result<(Answer, Mark), Halted> {
        let Message { now, holder, who, ask, .. } = message;
        self.expire(now)?;
        self.ledger.forget_limits(now);
        self.forget_told(who);
        let answer = match &ask.body {
            AskBody::Transfer { to, amount, order } => {
                match self.pay_classic(&message, *to, *amount, order) {
                    Ok(answer) => answer,
                    Err(Refusal::Halted) => return Err(Halted),
                    Err(refusal) => Answer::Fault { fault: Fault::Refused { refusal } },
                }
            }
            AskBody::Query => self.tell(&message)?,
        };
        self.last = now;
        let encoding = answer.to_bytes();
        let mark = self.digests.answer(&encoding);
        let (told_through, kept) = match &answer {
            Answer::Told { deposits, fee, balance } if !deposits.as_slice().is_empty() => {
                let count = u16::try_from(deposits.as_slice().len()).unwrap_or(u16::MAX);
                let through = deposits.as_slice().last().map_or(0, |deposit| deposit.number);
                (through, Kept::Told { count, fee: *fee, balance: *balance })
            }
            Answer::Paid { .. } | Answer::Told { .. } | Answer::Fault { .. } => {
                (0, Kept::Whole { encoding: Encoded::new(&encoding) })
            }
        };
        let last = Last { counter: ask.counter, request: hash, told_through, answer: kept };
        let last = Some(Box::new(last));
        match who {
            Who::Account(at) => self.holders[at.get()].classic = last,
            Who::Stranger | Who::Rotated { .. } => self.strangers.hear(holder, now).classic = last,
        }
        Ok((answer, mark))
    }

    /// Forgets the notices that this holder's last query was told of: its next message has come, so it has them.
    fn forget_told(&mut self, who: Who) {
        let Who::Account(at) = who else { return };
        let Some(known) = self.holders.get_mut(at.get()) else { return };
        let told = known.classic.as_ref().map_or(0, |last| last.told_through);
        // They have arrived: they were told.
        let _ = known.notices.acknowledge(told);
    }

    fn pay_classic(
        &mut self,
        message: &Message<'_>,
        to: EntityId,
        amount: Amount,
        order: &Text<64>,
    ) -> Result<Answer, Refusal> {
        let Message { now, holder, prices, surcharge, .. } = *message;
        let terms = self.terms(holder, prices, surcharge);
        let balance =
            self.pay(Payment { now, from: holder, to, amount, terms, order, id: None })?;
        Ok(Answer::Paid { fee: terms.fee, balance })
    }

    /// Tells what waits; takes the surcharge when there is something to tell and the balance suffices.
    fn tell(&mut self, message: &Message<'_>) -> Result<Answer, Halted> {
        let Message { holder, who, surcharge, .. } = *message;
        let told = self.known(who).map(|known| known.notices.some(0, DEPOSITS_PER_PAGE_MAX));
        let deposits = List::<_, DEPOSITS_PER_PAGE_MAX>::new(told.unwrap_or_default())
            .expect("no more than a page was taken");
        let fee = match deposits.as_slice().is_empty() {
            true => Amount::ZERO,
            false => self.take_surcharge(holder, surcharge)?,
        };
        let balance = self.ledger.account(holder).available;
        Ok(Answer::Told { deposits, fee, balance })
    }

    /// Moves a query's fee to the issuer; what was moved: all or nothing.
    fn take_surcharge(&mut self, holder: EntityId, surcharge: Amount) -> Result<Amount, Halted> {
        let issuer = self.currency.id.issuer();
        if surcharge.is_zero() || holder == issuer {
            return Ok(Amount::ZERO);
        }
        let terms = Terms { fee: Amount::ZERO, reserve: Amount::ZERO };
        match self.ledger.transfer(holder, issuer, surcharge, terms) {
            Ok(_) => {}
            Err(ledger::Refusal::Halted) => return Err(Halted),
            // Who is short is told all the same: nobody must lose a notice over a fee.
            Err(_) => return Ok(Amount::ZERO),
        }
        self.movements.add(|| Movement {
            holder,
            kind: EntryKind::Sent,
            counterparty: Some(issuer),
            amount: Amount::ZERO,
            fee: surcharge,
            order: Text::default(),
            id: None,
        });
        Ok(surcharge)
    }

    /// Forgets the notices up to `through`, by the word of LCP/2.
    pub(super) fn acknowledge(&mut self, who: Who, through: u64) -> Result<(), Refusal> {
        let known = match who {
            Who::Account(at) => self.holders.get_mut(at.get()),
            Who::Stranger | Who::Rotated { .. } => None,
        };
        let Some(known) = known else {
            return Notices::default().acknowledge(through);
        };
        if through <= known.notices.last()
            && let Some(last) = &mut known.classic
        {
            last.detach(&known.notices, through);
        }
        known.notices.acknowledge(through)
    }
}
