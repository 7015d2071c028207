//! The thread that adds to the history, behind the keeper.

use std::{
    sync::{
        Arc, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tracing::error;

use super::{Batch, History, HistoryError, Shared, Through, writer::Writer};

/// How many frames wait to be indexed. When so many do, [`Indexer::add`] waits.
pub(super) const QUEUE_FRAMES: usize = 16;

/// After so many records they are committed.
const COMMIT_RECORDS: u64 = 64 << 10;

/// After this time what came is committed, however little it is.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

/// After this time a commit is made durable. It is as much as is indexed again after a crash.
const DURABLE_EVERY: Duration = Duration::from_secs(10);

enum Message {
    Batch(Box<Batch>),
    /// Somebody waits for what came before.
    Commit,
    /// Make durable what came before.
    Sync(SyncSender<Result<Through, HistoryError>>),
}

/// A way to say that somebody waits.
pub(super) struct Nudge(SyncSender<Message>);

impl Nudge {
    pub(super) fn commit(&self) {
        // With a full queue, a commit is near.
        let _ = self.0.try_send(Message::Commit);
    }
}

/// Adds frames to a history, in a thread of its own. Dropped, it makes durable what it was given, and ends.
#[derive(Debug)]
pub struct Indexer {
    history: History,
    queue: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    /// Starts to add to `history`. One at a time.
    ///
    /// # Errors
    ///
    /// The history cannot be gone on with, or the system gives no thread.
    pub fn start(history: &History) -> Result<Self, HistoryError> {
        let writer = Writer::new(Arc::clone(&history.0))?;
        let (queue, waiting) = sync_channel(QUEUE_FRAMES);
        let shared = Arc::clone(&history.0);
        shared.progress.send_modify(|progress| progress.ended = false);
        let set_nudge = |nudge| {
            *history.0.nudge.lock().unwrap_or_else(PoisonError::into_inner) = nudge;
        };
        set_nudge(Some(Nudge(queue.clone())));
        let thread = thread::Builder::new().name("history".to_owned()).spawn(move || {
            let _ended = Ended(&shared);
            if let Err(error) = run(writer, &waiting) {
                error!(%error, hint = error.hint(), "the history is no longer kept");
                let mut failure = shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(error.to_string());
            }
        });
        match thread {
            Ok(thread) => {
                Ok(Self { history: history.clone(), queue: Some(queue), thread: Some(thread) })
            }
            Err(error) => {
                set_nudge(None);
                Err(HistoryError::Thread { detail: error.to_string() })
            }
        }
    }

    /// Adds a frame, which follows on the last one; those that the history has already are passed over. What fails is told
    /// later, by [`History::failure`].
    ///
    /// If 16 frames wait already, this waits too: the keeper cannot run away from its history. Call it before the
    /// answers of the frame leave, so that who then asks for its history finds it.
    ///
    /// # Errors
    ///
    /// [`HistoryError::Stopped`]: the history has failed before. The books need not stop for it.
    pub fn add(&self, batch: Batch) -> Result<(), HistoryError> {
        self.send(Message::Batch(Box::new(batch)))
    }

    /// Waits until everything added so far is durable: before a snapshot of the books at that head is saved. Returns how
    /// far that is.
    ///
    /// # Errors
    ///
    /// The history has failed.
    pub fn sync(&self) -> Result<Through, HistoryError> {
        let (answer, answered) = sync_channel(1);
        self.send(Message::Sync(answer))?;
        answered.recv().unwrap_or(Err(HistoryError::Stopped))
    }

    /// Makes durable what was added, and ends.
    ///
    /// # Errors
    ///
    /// The history has failed.
    pub fn stop(self) -> Result<Through, HistoryError> {
        self.sync()
    }

    fn send(&self, message: Message) -> Result<(), HistoryError> {
        let queue = self.queue.as_ref().ok_or(HistoryError::Stopped)?;
        queue.send(message).map_err(|_| HistoryError::Stopped)
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        *self.history.0.nudge.lock().unwrap_or_else(PoisonError::into_inner) = None;
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // It has told what it died of.
            let _ = thread.join();
        }
    }
}

/// However the thread ends, nobody waits for it any longer.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.progress.send_modify(|progress| progress.ended = true);
    }
}

fn run(mut writer: Writer, queue: &Receiver<Message>) -> Result<(), HistoryError> {
    let (mut committed, mut durable) = (Instant::now(), Instant::now());
    let mut undurable = false;
    loop {
        let due = if writer.pending() > 0 { COMMIT_EVERY } else { DURABLE_EVERY };
        let message = queue.recv_timeout(due.saturating_sub(committed.elapsed()));
        let idle = writer.pending() == 0;
        let mut answer = None;
        let mut now = false;
        match message {
            Ok(Message::Batch(batch)) => {
                writer.add(&batch)?;
                // The time counts from the first that waits.
                if idle {
                    committed = Instant::now();
                }
                now = writer.pending() >= COMMIT_RECORDS || committed.elapsed() >= COMMIT_EVERY;
            }
            Ok(Message::Commit) | Err(RecvTimeoutError::Timeout) => now = true,
            Ok(Message::Sync(sender)) => answer = Some(sender),
            Err(RecvTimeoutError::Disconnected) => return writer.commit(true),
        }
        let sync = answer.is_some();
        let old = durable.elapsed() >= DURABLE_EVERY && (undurable || !idle);
        if sync || old || (now && writer.pending() > 0) {
            writer.commit(sync || old)?;
            undurable = !(sync || old);
            if !undurable {
                durable = Instant::now();
            }
        }
        if now || sync || old {
            committed = Instant::now();
        }
        if let Some(sender) = answer {
            // Who asked may be gone.
            let _ = sender.send(Ok(writer.through()));
        }
    }
}
