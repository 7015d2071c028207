//! The one thread that keeps the books: it takes a batch, applies it, saves it, and only then answers.
//!
//! ```text
//!           ┌──────────────── next batch ◄───────────────┐
//! Keeping ──┼─ saved ──► every answer leaves ────────────┘
//!           ├─ no room on the disk ──► new commands are Refused(NoSpace), all else answered, until there is room
//!           ├─ not saved ──► Halted: every answer, of this batch too, is Refused(Halted)
//!           ├─ the core halted itself ──► its answers leave, then Halted
//!           └─ Stop ──► the batch before it is finished ──► ended
//!
//! a query that may wait ──► parked ──► its holder is paid, its time is over, or Stop ──► in the batch of that moment
//! ```

use crate::{
    IssuerError,
    batch::{Batch, Ready, refuse_ready},
    history::{Answered, Noted},
    known::{Known, named},
    metrics::Metrics,
    parked::Parked,
    past::Past,
};
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp::{
    EntryKind, Issuer, Movement, REQUEST_BYTES_MAX, Refusal, Request, Response, SignedHead,
    classic::{Answer, Ask, AskBody, Fault},
};
use fondaco_lcp_wire::Answered as Told;
use fondaco_ports::{Clock, Disk};
use fondaco_store::{Appended, Head, Journal, JournalError};
use fondaco_units::{Amount, Bytes, Duration, Timestamp};
use std::{sync::Arc, time::Instant};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

/// The most requests that are made durable together.
pub const BATCH_MAX: usize = 8192;

/// The most requests that wait for the next batch.
pub const QUEUE_MAX: usize = 16_384;

/// The longest that a query waits for something to tell, whatever it asks for.
pub const WAIT_MAX: Duration = Duration::from_seconds(60);

/// The most bytes of records in one batch, well below what the journal takes at once.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// What a batch takes up in the journal at most: its records, the last of which may come on top, and their frame.
const ROOM: Bytes = Bytes::new((BATCH_BYTES_MAX + REQUEST_BYTES_MAX + (256 << 10)) as u64);

/// How long a full disk is left alone before room is asked for again.
const ROOM_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// The most calls of [`Issuer::tick`] for one tick; the next one goes on.
const TICKS_MAX: usize = 64;

/// How long a signed head is shown before a new one is signed.
const HEAD_SPAN: Duration = Duration::from_seconds(1);

/// What the keeper is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Answer this.
    Job(Box<Job>),
    /// Answer this, in the dialect of 2003.
    Classic(Box<ClassicJob>),
    /// The service stops soon: answer the queries that wait with what there is, and let none wait any more.
    Leave,
    /// A moment passed: let holds expire that are due, and answer queries that waited long enough.
    Tick,
    /// End after what came before.
    Stop,
}

/// One request of one holder, whose key was proved.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) holder: EntityId,
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Response>,
}

/// One message of one holder in the dialect of 2003.
#[derive(Debug)]
pub(crate) struct ClassicJob {
    pub(crate) holder: EntityId,
    /// The number of its connection, in order of acceptance.
    pub(crate) connection: u64,
    /// The newest connection, of anybody, when this had been read.
    pub(crate) accepted: u64,
    pub(crate) surcharge: Amount,
    pub(crate) ask: Ask,
    /// How long a query may wait for something to tell.
    pub(crate) wait: Duration,
    pub(crate) answer: oneshot::Sender<Told>,
}

/// A query that waits.
#[derive(Debug)]
pub(crate) enum Waiting {
    Lcp2(Job),
    Classic(ClassicJob),
}

/// Where records are saved: the journal, and in tests one that fails.
pub(crate) trait Save: Send {
    /// Makes room for so many bytes; whether there is.
    fn reserve(&mut self, bytes: Bytes) -> Result<bool, JournalError>;

    /// Makes all of these records durable, or fails for ever.
    fn save(&mut self, records: &[Vec<u8>]) -> Result<(), JournalError>;

    /// Returns how far it has come.
    fn head(&self) -> Head;
}

impl<D: Disk> Save for Journal<D> {
    fn reserve(&mut self, bytes: Bytes) -> Result<bool, JournalError> {
        self.reserve(bytes)
    }

    fn save(&mut self, records: &[Vec<u8>]) -> Result<(), JournalError> {
        self.append(records).map(drop)
    }

    fn head(&self) -> Head {
        self.head()
    }
}

/// What was made durable together, for whoever stands behind the journal.
pub(crate) struct Saved<'a> {
    /// Where it is in the journal.
    pub(crate) frame: Appended,
    /// The journal's head after it.
    pub(crate) after: Head,
    /// What each record did, in order.
    pub(crate) done: Vec<Noted>,
    /// The books after them.
    pub(crate) issuer: &'a Issuer,
}

/// What stands behind the journal: history and snapshots. It learns of what is durable, and of nothing else.
pub(crate) trait Behind: Send {
    /// Takes in what was saved, before its answers leave. It may make the keeper wait.
    fn saved(&mut self, saved: Saved<'_>);

    /// The books are closed in good order, with `head` as the last.
    fn closed(&mut self, issuer: &Issuer, head: Head);
}

/// Nothing behind.
impl Behind for () {
    fn saved(&mut self, _: Saved<'_>) {}
    fn closed(&mut self, _: &Issuer, _: Head) {}
}

/// What the keeper has beside the books.
pub(crate) struct Keeper {
    pub(crate) issuer: Issuer,
    pub(crate) journal: Box<dyn Save>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) key: SecretKey,
    pub(crate) known: Known,
    pub(crate) metrics: Metrics,
    pub(crate) behind: Box<dyn Behind>,
    pub(crate) past: Option<Past>,
    /// Where keys go that an account had and gave up, once that is durable.
    pub(crate) former: mpsc::UnboundedSender<EntityId>,
    /// Whether the service stops soon.
    pub(crate) leaving: bool,
    /// When the disk was found full; nothing when there is room.
    pub(crate) full_since: Option<Instant>,
}

/// Keeps the books until it is told to stop. `halted` is told at once when they can no longer be kept; the keeper then goes
/// on to say so to whoever asks.
pub(crate) fn keep(
    mut keeper: Keeper,
    queue: &mut mpsc::Receiver<Message>,
    halted: oneshot::Sender<IssuerError>,
) {
    let Err(error) = keeper.run(queue) else {
        info!("the books are closed");
        return;
    };
    error!(%error, hint = error.hint(), "THE ISSUER IS HALTED");
    keeper.metrics.halted();
    // What is in memory may be ahead of the disk: nothing of it may be told. The journal's lock goes with it, so
    // that another process can open the books at once.
    drop(keeper);
    // Who started the keeper may be gone.
    let _ = halted.send(error);
    while let Some(message) = queue.blocking_recv() {
        match message {
            Message::Job(job) => refuse(Waiting::Lcp2(*job)),
            Message::Classic(job) => refuse(Waiting::Classic(*job)),
            Message::Tick | Message::Leave => {}
            Message::Stop => return,
        }
    }
}

/// Says that the issuer is halted. Who asked may be gone.
fn refuse(waiting: Waiting) {
    let refusal = Refusal::Halted;
    match waiting {
        Waiting::Lcp2(job) => drop(job.answer.send(Response::Refused { refusal })),
        Waiting::Classic(job) => {
            let fault = Fault::Refused { refusal };
            drop(job.answer.send(Told { answer: Answer::Fault { fault }, surcharged: false }));
        }
    }
}

impl Keeper {
    /// Takes batch after batch; returns when told to stop, or why it can go on no longer.
    fn run(&mut self, queue: &mut mpsc::Receiver<Message>) -> Result<(), IssuerError> {
        let mut parked = Parked::default();
        let ended = self.batches(queue, &mut parked);
        parked.all().into_iter().for_each(refuse);
        if ended.is_ok() {
            self.behind.closed(&self.issuer, self.journal.head());
        }
        ended
    }

    pub(crate) fn batches(
        &mut self,
        queue: &mut mpsc::Receiver<Message>,
        parked: &mut Parked<Waiting>,
    ) -> Result<(), IssuerError> {
        let mut shown = None;
        self.issuer.collect_movements(true);
        loop {
            let Some(first) = queue.blocking_recv() else { return Ok(()) };
            self.make_room()?;
            let mut batch = Batch { now: self.clock.now(), ..Batch::default() };
            let (mut next, mut stop) = (Some(first), false);
            while let Some(message) = next {
                match message {
                    Message::Job(job) => self.take(&mut batch, parked, Waiting::Lcp2(*job)),
                    Message::Classic(job) => self.take(&mut batch, parked, Waiting::Classic(*job)),
                    Message::Tick => self.tick(&mut batch, parked),
                    Message::Leave => {
                        self.leaving = true;
                        for waiting in parked.all() {
                            self.answer(&mut batch, waiting);
                        }
                    }
                    Message::Stop => stop = true,
                }
                let full = batch.answers.len() >= BATCH_MAX || batch.bytes >= BATCH_BYTES_MAX;
                next = if stop || full { None } else { queue.try_recv().ok() };
            }
            if stop {
                // Each is answered with what there is.
                for waiting in parked.all() {
                    self.answer(&mut batch, waiting);
                }
            }
            self.finish(batch, &mut shown)?;
            let (supply, accounts) =
                (self.issuer.ledger().supply(), self.issuer.ledger().accounts());
            self.metrics.books(supply, accounts, parked.len());
            if self.issuer.ledger().is_halted() {
                return Err(IssuerError::Halted);
            }
            if stop {
                return Ok(());
            }
        }
    }

    /// Sees to it that the next batch has room on the disk, or takes note that it has none.
    fn make_room(&mut self) -> Result<(), IssuerError> {
        if self.full_since.is_some_and(|since| since.elapsed() < ROOM_AGAIN) {
            return Ok(());
        }
        let (was_full, has_room) = (self.full_since.is_some(), self.journal.reserve(ROOM)?);
        self.full_since = (!has_room).then(Instant::now);
        self.issuer.set_full(!has_room);
        match (was_full, has_room) {
            (false, false) => error!(
                "THE DISK IS FULL: there is no room for {ROOM}, which one batch of commands may take up, so that none are \
                 taken. Hint: free at least so much"
            ),
            (true, true) => info!("there is room on the disk again"),
            (false, true) | (true, false) => {}
        }
        Ok(())
    }

    /// Answers or parks what came, and answers those that it wakes.
    fn take(&mut self, batch: &mut Batch, parked: &mut Parked<Waiting>, waiting: Waiting) {
        match waiting {
            Waiting::Lcp2(job) => {
                let wait = match &job.request {
                    Request::Deposits { after, wait } if *wait > Duration::default() => {
                        let there = self.issuer.deposits_wait(job.holder, *after);
                        if there { None } else { Some(*wait) }
                    }
                    _ => None,
                };
                match wait {
                    Some(wait) => self.park(batch, parked, job.holder, wait, Waiting::Lcp2(job)),
                    None => self.answer(batch, Waiting::Lcp2(job)),
                }
            }
            Waiting::Classic(job) => {
                let (holder, connection) = (job.holder, job.connection);
                self.issuer.accepted_classic(job.accepted);
                let waits = matches!(job.ask.body, AskBody::Query)
                    && job.wait > Duration::default()
                    && self.issuer.classic_waits(holder, connection, &job.ask);
                let wait = job.wait;
                match waits {
                    true => self.park(batch, parked, holder, wait, Waiting::Classic(job)),
                    false => self.answer(batch, Waiting::Classic(job)),
                }
                // A query that still waits on a connection that is shut out by now would answer nobody.
                let issuer = &self.issuer;
                let fenced = |waiting: &Waiting| match waiting {
                    Waiting::Classic(other) => issuer.classic_fenced(holder, other.connection),
                    Waiting::Lcp2(_) => false,
                };
                for waiting in parked.wake(holder, fenced) {
                    self.answer(batch, waiting);
                }
            }
        }
        while let Some(payee) = batch.paid.pop() {
            let issuer = &self.issuer;
            let ready = |waiting: &Waiting| match waiting {
                Waiting::Lcp2(job) => match &job.request {
                    Request::Deposits { after, .. } => issuer.deposits_wait(job.holder, *after),
                    _ => true,
                },
                Waiting::Classic(_) => true,
            };
            for waiting in parked.wake(payee, ready) {
                self.answer(batch, waiting);
            }
        }
    }

    fn park(
        &mut self,
        batch: &mut Batch,
        parked: &mut Parked<Waiting>,
        holder: EntityId,
        wait: Duration,
        waiting: Waiting,
    ) {
        let until = batch.now.after(wait.min(WAIT_MAX));
        // Without room, or time, it is answered at once: that nothing is there.
        let kept = if self.leaving { Err(waiting) } else { parked.park(holder, until, waiting) };
        if let Err(waiting) = kept {
            self.answer(batch, waiting);
        }
    }

    fn tick(&mut self, batch: &mut Batch, parked: &mut Parked<Waiting>) {
        let ticks = if self.full_since.is_some() { 0 } else { TICKS_MAX };
        for _ in 0..ticks {
            let Some(record) = self.issuer.tick(batch.now) else { break };
            self.record(batch, record, None);
        }
        for waiting in parked.due(batch.now) {
            self.answer(batch, waiting);
        }
    }

    /// Has the core answer, and puts the answer with its record into the batch.
    fn answer(&mut self, batch: &mut Batch, waiting: Waiting) {
        match waiting {
            Waiting::Lcp2(Job { holder, request, answer }) => {
                let handled = self.issuer.handle(batch.now, holder, &request);
                let named = named(&request, &handled.response);
                batch.fresh.extend(named.filter(|named| !self.known.contains(*named)));
                batch.counts.add(request.id().is_none(), handled.record.is_some(), {
                    matches!(handled.response, Response::Refused { .. })
                });
                if let Some(record) = handled.record {
                    let response = handled.response.clone();
                    let answered = request.id().map(|id| Answered { holder, id, response });
                    self.record(batch, record, answered);
                }
                batch.answers.push(Ready::Lcp2(answer, Box::new(handled.response)));
            }
            Waiting::Classic(job) => {
                let ClassicJob { holder, connection, surcharge, ask, answer, .. } = job;
                let now = batch.now;
                let handled = self.issuer.handle_classic(now, holder, connection, surcharge, &ask);
                let refused = matches!(handled.answer, Answer::Fault { .. });
                let new = handled.record.is_some();
                batch.counts.add(false, new, refused);
                if let Some(record) = handled.record {
                    self.record(batch, record, None);
                }
                // A stored answer takes nothing, whatever fee it names.
                let surcharged = new
                    && surcharge > Amount::ZERO
                    && match &handled.answer {
                        Answer::Paid { .. } => true,
                        Answer::Told { fee, .. } => *fee > Amount::ZERO,
                        Answer::Fault { .. } => false,
                    };
                let told = Told { answer: handled.answer, surcharged };
                batch.answers.push(Ready::Classic(answer, told));
            }
        }
    }

    fn record(&mut self, batch: &mut Batch, record: Vec<u8>, answered: Option<Answered>) {
        let movements = self.issuer.drain_movements();
        let paid = |movement: &&Movement| {
            use EntryKind::{HoldReceived, Minted, Received};
            matches!(movement.kind, Received | Minted | HoldReceived)
        };
        batch.paid.extend(movements.iter().filter(paid).map(|movement| movement.holder));
        let holders = movements.iter().map(|movement| movement.holder);
        batch.fresh.extend(holders.filter(|holder| !self.known.contains(*holder)));
        let rotated = movements.iter().filter(|movement| movement.kind == EntryKind::RotatedFrom);
        batch.former.extend(rotated.filter_map(|movement| movement.counterparty));
        batch.bytes += record.len();
        batch.records.push(record);
        batch.done.push(Noted { at: self.issuer.last(), answered, movements });
    }

    /// Makes the batch durable, and lets its answers leave.
    fn finish(&mut self, batch: Batch, shown: &mut Option<SignedHead>) -> Result<(), IssuerError> {
        let Batch { now, answers, records, done, fresh, former, counts, .. } = batch;
        let (before, started) = (self.journal.head(), Instant::now());
        if let Err(error) = self.journal.save(&records) {
            for ready in answers {
                refuse_ready(ready);
            }
            return Err(error.into());
        }
        let after = self.journal.head();
        if !records.is_empty() {
            self.metrics.saved(records.len(), started.elapsed(), after);
            let records = before.records..after.records;
            let frame = Appended { at: before.bytes, records, chain: after.chain };
            if let Some(past) = &self.past {
                past.answered(after.records);
            }
            self.behind.saved(Saved { frame, after, done, issuer: &self.issuer });
        }
        // Before anybody can learn from an answer that it has something to ask for.
        if !fresh.is_empty() {
            self.known.add(fresh.into_iter());
        }
        for key in former {
            // Who listens ends with the service.
            let _ = self.former.send(key);
        }
        counts.tell(&self.metrics);
        for ready in answers {
            // Who asked may be gone: it asks again, and learns the same.
            match ready {
                Ready::Lcp2(answer, mut response) => {
                    if let Response::Described { head, .. } = &mut *response {
                        *head = Some(self.head(now, after, shown));
                    }
                    drop(answer.send(*response));
                }
                Ready::Classic(answer, told) => drop(answer.send(told)),
            }
        }
        Ok(())
    }

    /// The head, signed: that shown last, while it is fresh.
    fn head(&self, now: Timestamp, after: Head, shown: &mut Option<SignedHead>) -> SignedHead {
        if let Some(shown) = shown
            && shown.head.records == after.records
            && now.since(shown.head.at) < HEAD_SPAN
        {
            return *shown;
        }
        let head = fondaco_lcp::Head {
            currency: self.issuer.currency().id,
            records: after.records,
            chain: after.chain,
            supply: self.issuer.ledger().supply(),
            at: now,
        };
        *shown.insert(head.sign(&self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_codec::Text;
    use fondaco_crypto::{CurrencyId, Digest};
    use fondaco_lcp::{Currency, IssuerOptions, RequestId};
    use fondaco_units::Scale;
    use std::sync::Mutex;

    const BANK: EntityId = EntityId::from_bytes([1; 32]);

    #[derive(Debug)]
    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_milliseconds(1)
        }
    }

    /// A journal that takes so many batches, then fails.
    #[derive(Clone)]
    struct Failing(Arc<Mutex<Inner>>);

    struct Inner {
        full: bool,
        left: usize,
        saved: Vec<usize>,
    }

    fn failing(left: usize) -> Failing {
        Failing(Arc::new(Mutex::new(Inner { full: false, left, saved: vec![] })))
    }

    fn keeper(journal: &Failing) -> Keeper {
        Keeper {
            issuer: issuer(),
            journal: Box::new(journal.clone()),
            clock: Arc::new(Stopped),
            key: SecretKey::from_bytes(&[1; 32]),
            known: Known::default(),
            metrics: Metrics::default(),
            behind: Box::new(()),
            past: None,
            former: mpsc::unbounded_channel().0,
            leaving: false,
            full_since: None,
        }
    }

    impl Save for Failing {
        fn reserve(&mut self, _: Bytes) -> Result<bool, JournalError> {
            Ok(!self.0.lock().unwrap().full)
        }

        fn save(&mut self, records: &[Vec<u8>]) -> Result<(), JournalError> {
            let mut inner = self.0.lock().unwrap();
            inner.left = inner.left.checked_sub(1).ok_or(JournalError::Halted)?;
            inner.saved.push(records.len());
            Ok(())
        }

        fn head(&self) -> Head {
            let inner = self.0.lock().unwrap();
            let records = inner.saved.iter().sum::<usize>() as u64;
            let frames = inner.saved.len() as u64;
            Head { records, frames, chain: Digest::of(b"chain"), bytes: Bytes::new(records) }
        }
    }

    fn issuer() -> Issuer {
        let currency = Currency {
            id: CurrencyId::issued_by(BANK),
            name: Text::cut("crown"),
            symbol: Text::cut("C"),
            scale: Scale::default(),
            transfer_fee: Amount::ZERO,
            full_handshake_fee: Amount::ZERO,
            account_reserve: Amount::ZERO,
        };
        Issuer::new(currency, IssuerOptions::default())
    }

    fn ask(queue: &mpsc::Sender<Message>, request: Request) -> oneshot::Receiver<Response> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Job { holder: BANK, request, answer });
        queue.try_send(Message::Job(job)).unwrap();
        answered
    }

    fn mint(id: u128) -> Request {
        Request::Mint { id: RequestId::new(id), to: BANK, amount: Amount::new(1) }
    }

    fn balance(available: u64, deposits_waiting: u64) -> Response {
        let available = Amount::new(available);
        Response::Balance { available, held: Amount::ZERO, deposits_waiting }
    }

    #[test]
    fn what_waits_is_one_batch_with_one_save() {
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        let mut answers: Vec<_> = (0..100).map(|id| ask(&queue, mint(id))).collect();
        answers.push(ask(&queue, Request::Balance));
        queue.try_send(Message::Stop).unwrap();
        let journal = failing(9);
        let mut keeper = keeper(&journal);
        keeper.run(&mut waiting).unwrap();
        assert_eq!(journal.0.lock().unwrap().saved, [100]);
        assert!(keeper.known.contains(BANK));
        assert_eq!(answers.pop().unwrap().try_recv(), Ok(balance(100, 100)));
        for (mut answer, supply) in answers.into_iter().zip(1..) {
            assert_eq!(answer.try_recv(), Ok(Response::Minted { supply: Amount::new(supply) }));
        }
    }

    #[test]
    fn a_batch_has_a_maximum() {
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        for id in 0..BATCH_MAX as u128 + 5 {
            drop(ask(&queue, mint(id)));
        }
        queue.try_send(Message::Stop).unwrap();
        let journal = failing(9);
        keeper(&journal).run(&mut waiting).unwrap();
        assert_eq!(journal.0.lock().unwrap().saved, [BATCH_MAX, 5]);
    }

    /// Nothing that the failed batch changed is seen by anybody: not by its commands, not by its queries.
    #[test]
    fn a_failed_save_is_told_to_all_of_its_batch() {
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        let mut answers =
            [ask(&queue, Request::Balance), ask(&queue, mint(1)), ask(&queue, Request::Balance)];
        let error = keeper(&failing(0)).run(&mut waiting).unwrap_err();
        assert!(matches!(error, IssuerError::Journal(JournalError::Halted)));
        for answer in &mut answers {
            let refusal = Refusal::Halted;
            assert_eq!(answer.try_recv(), Ok(Response::Refused { refusal }));
        }
    }

    /// On a full disk nothing is done, everybody is told so, and what is there can be asked for; with room it goes on.
    #[test]
    fn a_full_disk_refuses_commands_and_answers_queries() {
        let journal = failing(9);
        let mut keeper = keeper(&journal);
        let run = |keeper: &mut Keeper| {
            let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
            let mut answers = [ask(&queue, mint(1)), ask(&queue, Request::Balance)];
            queue.try_send(Message::Stop).unwrap();
            keeper.run(&mut waiting).unwrap();
            answers.each_mut().map(|answer| answer.try_recv().unwrap())
        };
        journal.0.lock().unwrap().full = true;
        let refused = Response::Refused { refusal: Refusal::NoSpace };
        assert_eq!(run(&mut keeper), [refused, balance(0, 0)]);
        assert_eq!(journal.0.lock().unwrap().saved, [0]);
        journal.0.lock().unwrap().full = false;
        keeper.full_since = None;
        let minted = Response::Minted { supply: Amount::new(1) };
        assert_eq!(run(&mut keeper), [minted, balance(1, 1)]);
    }

    #[test]
    fn a_core_that_halts_ends_the_keeping() {
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        let mut halted = keeper(&failing(9));
        halted.issuer.halt();
        let mut answer = ask(&queue, mint(1));
        let error = halted.run(&mut waiting).unwrap_err();
        assert!(matches!(error, IssuerError::Halted));
        assert_eq!(answer.try_recv(), Ok(Response::Refused { refusal: Refusal::Halted }));
    }

    /// A query that may wait is answered when its holder is paid, when its time is over, or when the keeper stops.
    #[test]
    fn a_query_waits_until_there_is_something_to_tell() {
        let wait = Duration::from_seconds(9);
        let query = |after| Request::Deposits { after, wait };
        let told = |list: usize| {
            move |response: Response| match response {
                Response::Deposits { list: found, .. } => assert_eq!(found.as_slice().len(), list),
                other => panic!("{other:?}"),
            }
        };
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        let mut paid = ask(&queue, query(0));
        let mut patient = ask(&queue, query(1));
        drop(ask(&queue, mint(1)));
        let mut at_once = ask(&queue, query(0));
        let journal = failing(9);
        let mut keeper = keeper(&journal);
        let mut parked = Parked::default();
        queue.try_send(Message::Tick).unwrap();
        drop(queue);
        keeper.batches(&mut waiting, &mut parked).unwrap();
        told(1)(paid.try_recv().unwrap());
        told(1)(at_once.try_recv().unwrap());
        assert!(patient.try_recv().is_err(), "it still waits");
        assert_eq!(parked.len(), 1);
        let late = Timestamp::from_milliseconds(1).after(wait);
        let mut batch = Batch { now: late, ..Batch::default() };
        keeper.tick(&mut batch, &mut parked);
        keeper.finish(batch, &mut None).unwrap();
        told(0)(patient.try_recv().unwrap());

        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        let mut stopped = ask(&queue, query(1));
        queue.try_send(Message::Leave).unwrap();
        let mut late = ask(&queue, query(1));
        drop(queue);
        keeper.run(&mut waiting).unwrap();
        told(0)(stopped.try_recv().unwrap());
        told(0)(late.try_recv().unwrap());
    }

    /// A query of 2003 that is sent again on a new connection is answered there, and not on the one that broke.
    #[test]
    fn a_query_that_is_sent_again_waits_where_it_was_sent_last() {
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        let send = |connection: u64| {
            let (answer, answered) = oneshot::channel();
            let job = ClassicJob {
                holder: BANK,
                connection,
                accepted: connection,
                surcharge: Amount::ZERO,
                ask: Ask { counter: 1, body: AskBody::Query },
                wait: Duration::from_seconds(9),
                answer,
            };
            queue.try_send(Message::Classic(Box::new(job))).unwrap();
            answered
        };
        let (mut broken, mut second) = (send(1), send(2));
        drop(ask(&queue, mint(1)));
        queue.try_send(Message::Stop).unwrap();
        keeper(&failing(9)).run(&mut waiting).unwrap();
        let answer = |answered: &mut oneshot::Receiver<Told>| answered.try_recv().unwrap().answer;
        assert_eq!(answer(&mut broken), Answer::Fault { fault: Fault::Fenced });
        let Answer::Told { deposits, .. } = answer(&mut second) else { panic!("no notice") };
        assert_eq!(deposits.as_slice().len(), 1);
    }
}
