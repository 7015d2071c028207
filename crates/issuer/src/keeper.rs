//! The one thread that keeps the books: it takes a batch, applies it, saves it, and only then answers.
//!
//! ```text
//!           ┌──────────────── next batch ◄───────────────┐
//! Keeping ──┼─ saved ──► every answer leaves ────────────┘
//!           ├─ not saved ──► Halted: every answer, of this batch too, is Refused(Halted)
//!           ├─ the core halted itself ──► its answers leave, then Halted
//!           └─ Stop ──► the batch before it is finished ──► ended
//! ```

use crate::{
    IssuerError,
    known::{Known, named},
};
use fondaco_crypto::EntityId;
use fondaco_lcp::{Issuer, Refusal, Request, Response};
use fondaco_ports::{Clock, Disk};
use fondaco_store::{Journal, JournalError};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

/// The most requests that are made durable together.
pub const BATCH_MAX: usize = 8192;

/// The most requests that wait for the next batch.
pub const QUEUE_MAX: usize = 16_384;

/// The most bytes of records in one batch, well below what the journal takes at once.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// The most calls of [`Issuer::tick`] for one tick; the next one goes on.
const TICKS_MAX: usize = 64;

/// What the keeper is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Answer this.
    Job(Box<Job>),
    /// A second passed: let holds expire that are due.
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

/// Where records are saved: the journal, and in tests one that fails.
pub(crate) trait Save: Send {
    /// Makes all of these records durable, or fails for ever.
    fn save(&mut self, records: &[Vec<u8>]) -> Result<(), JournalError>;
}

impl<D: Disk> Save for Journal<D> {
    fn save(&mut self, records: &[Vec<u8>]) -> Result<(), JournalError> {
        self.append(records).map(drop)
    }
}

/// Keeps the books until it is told to stop. `halted` is told at once when they can no longer be kept; the keeper then goes
/// on to say so to whoever asks.
pub(crate) fn keep(
    mut issuer: Issuer,
    mut journal: Box<dyn Save>,
    clock: &dyn Clock,
    queue: &mut mpsc::Receiver<Message>,
    known: &Known,
    halted: oneshot::Sender<IssuerError>,
) {
    let Err(error) = run(&mut issuer, &mut *journal, clock, queue, known) else {
        info!("the books are closed");
        return;
    };
    error!(%error, hint = error.hint(), "THE ISSUER IS HALTED");
    // What is in memory may be ahead of the disk: nothing of it may be told.
    drop(issuer);
    // Its lock goes with the journal, so that another process can open the books at once.
    drop(journal);
    // Who started the keeper may be gone.
    let _ = halted.send(error);
    while let Some(message) = queue.blocking_recv() {
        match message {
            Message::Job(job) => refuse(*job),
            Message::Tick => {}
            Message::Stop => return,
        }
    }
}

fn refuse(job: Job) {
    // Who asked may be gone.
    let _ = job.answer.send(Response::Refused { refusal: Refusal::Halted });
}

/// Takes batch after batch; returns when told to stop, or why it can go on no longer.
fn run(
    issuer: &mut Issuer,
    journal: &mut dyn Save,
    clock: &dyn Clock,
    queue: &mut mpsc::Receiver<Message>,
    known: &Known,
) -> Result<(), IssuerError> {
    let mut answers = Vec::with_capacity(BATCH_MAX);
    let mut records = Vec::with_capacity(BATCH_MAX);
    let mut fresh = Vec::new();
    loop {
        let Some(first) = queue.blocking_recv() else { return Ok(()) };
        let now = clock.now();
        let (mut next, mut bytes, mut stop) = (Some(first), 0, false);
        while let Some(message) = next {
            match message {
                Message::Job(job) => {
                    let Job { holder, request, answer } = *job;
                    let handled = issuer.handle(now, holder, &request);
                    bytes += handled.record.as_ref().map_or(0, Vec::len);
                    records.extend(handled.record);
                    let named = named(&request, &handled.response);
                    fresh.extend(named.filter(|named| !known.contains(*named)));
                    answers.push((answer, handled.response));
                }
                Message::Tick => {
                    let ticks = std::iter::from_fn(|| issuer.tick(now)).take(TICKS_MAX);
                    records.extend(ticks.inspect(|record| bytes += record.len()));
                }
                Message::Stop => stop = true,
            }
            let full = answers.len() >= BATCH_MAX || bytes >= BATCH_BYTES_MAX;
            next = if stop || full { None } else { queue.try_recv().ok() };
        }
        if let Err(error) = journal.save(&records) {
            for (answer, _) in answers.drain(..) {
                let _ = answer.send(Response::Refused { refusal: Refusal::Halted });
            }
            return Err(error.into());
        }
        records.clear();
        // Before anybody can learn from an answer that it has something to ask for.
        if !fresh.is_empty() {
            known.add(fresh.drain(..));
        }
        for (answer, response) in answers.drain(..) {
            // Who asked may be gone: it asks again, and learns the same.
            let _ = answer.send(response);
        }
        if issuer.ledger().is_halted() {
            return Err(IssuerError::Halted);
        }
        if stop {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_codec::Text;
    use fondaco_crypto::CurrencyId;
    use fondaco_lcp::{Currency, IssuerOptions, RequestId};
    use fondaco_units::{Amount, Scale, Timestamp};

    const BANK: EntityId = EntityId::from_bytes([1; 32]);

    #[derive(Debug)]
    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_milliseconds(1)
        }
    }

    /// A journal that takes so many batches, then fails.
    struct Failing {
        left: usize,
        saved: Vec<usize>,
    }

    impl Save for Failing {
        fn save(&mut self, records: &[Vec<u8>]) -> Result<(), JournalError> {
            self.left = self.left.checked_sub(1).ok_or(JournalError::Halted)?;
            self.saved.push(records.len());
            Ok(())
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
        let mut journal = Failing { left: 9, saved: vec![] };
        let known = Known::default();
        run(&mut issuer(), &mut journal, &Stopped, &mut waiting, &known).unwrap();
        assert_eq!(journal.saved, [100]);
        assert!(known.contains(BANK));
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
        let mut journal = Failing { left: 9, saved: vec![] };
        run(&mut issuer(), &mut journal, &Stopped, &mut waiting, &Known::default()).unwrap();
        assert_eq!(journal.saved, [BATCH_MAX, 5]);
    }

    /// Nothing that the failed batch changed is seen by anybody: not by its commands, not by its queries.
    #[test]
    fn a_failed_save_is_told_to_all_of_its_batch() {
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        let mut answers =
            [ask(&queue, Request::Balance), ask(&queue, mint(1)), ask(&queue, Request::Balance)];
        let mut journal = Failing { left: 0, saved: vec![] };
        let error = run(&mut issuer(), &mut journal, &Stopped, &mut waiting, &Known::default())
            .unwrap_err();
        assert!(matches!(error, IssuerError::Journal(JournalError::Halted)));
        for answer in &mut answers {
            let refusal = Refusal::Halted;
            assert_eq!(answer.try_recv(), Ok(Response::Refused { refusal }));
        }
    }

    #[test]
    fn a_core_that_halts_ends_the_keeping() {
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        let mut halted = issuer();
        halted.halt();
        let mut answer = ask(&queue, mint(1));
        let mut journal = Failing { left: 9, saved: vec![] };
        let error =
            run(&mut halted, &mut journal, &Stopped, &mut waiting, &Known::default()).unwrap_err();
        assert!(matches!(error, IssuerError::Halted));
        assert_eq!(answer.try_recv(), Ok(Response::Refused { refusal: Refusal::Halted }));
    }
}
