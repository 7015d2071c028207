//! The thread that adds to the history, behind the keeper.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tracing::error;

use super::{Batch, History, HistoryError, Shared, Through, writer::Writer};

/// How many frames wait to be indexed. When so many do, [`Indexer::add`] waits.
pub(super) const QUEUE_FRAMES: usize = 16;

/// How many records wait to be indexed, in frames of any size; a frame with more waits alone.
const QUEUE_RECORDS: usize = 32 << 10;

/// After so many records they are committed. Each commit writes anew the last rows of all accounts that it touches, so
/// that a few large ones cost much less than many small ones.
const COMMIT_RECORDS: u64 = 256 << 10;

/// After this time what came is committed, however little it is and whoever waits or not.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// Between two commits passes this many times what the first took, so that those who wait one after the other cannot
/// make it commit all the time.
const PAUSE: u32 = 2;

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
    room: Arc<Room>,
    thread: Option<JoinHandle<()>>,
}

/// The room for records that wait: nothing once nobody takes them any more.
#[derive(Debug)]
struct Room {
    waiting: Mutex<Option<usize>>,
    fewer: Condvar,
}

impl Room {
    fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::new(Some(0)), fewer: Condvar::new() })
    }

    fn waiting(&self) -> MutexGuard<'_, Option<usize>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many more have room.
    fn take(&self, records: usize) {
        let full = |waiting: &mut Option<usize>| {
            waiting.is_some_and(|waiting| waiting > 0 && waiting + records > QUEUE_RECORDS)
        };
        let waited = self.fewer.wait_while(self.waiting(), full);
        if let Some(waiting) = &mut *waited.unwrap_or_else(PoisonError::into_inner) {
            *waiting += records;
        }
    }

    fn give_back(&self, records: usize) {
        if let Some(waiting) = &mut *self.waiting() {
            *waiting = waiting.saturating_sub(records);
        }
        self.fewer.notify_all();
    }

    fn close(&self) {
        *self.waiting() = None;
        self.fewer.notify_all();
    }
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
        let (shared, room) = (Arc::clone(&history.0), Room::new());
        let taken = Arc::clone(&room);
        shared.progress.send_modify(|progress| progress.ended = false);
        let set_nudge = |nudge| {
            *history.0.nudge.lock().unwrap_or_else(PoisonError::into_inner) = nudge;
        };
        set_nudge(Some(Nudge(queue.clone())));
        let thread = thread::Builder::new().name("history".to_owned()).spawn(move || {
            let _ended = Ended(&shared, &taken);
            if let Err(error) = run(writer, &waiting, &taken) {
                error!(%error, hint = error.hint(), "the history is no longer kept");
                let mut failure = shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(error.to_string());
            }
        });
        match thread {
            Ok(thread) => {
                let history = history.clone();
                Ok(Self { history, queue: Some(queue), room, thread: Some(thread) })
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
    /// If 16 frames wait already, or 32,768 records, this waits too: the keeper cannot run away from its history. Call it before the
    /// answers of the frame leave, so that who then asks for its history finds it.
    ///
    /// # Errors
    ///
    /// [`HistoryError::Stopped`]: the history has failed before. The books need not stop for it.
    pub fn add(&self, batch: Batch) -> Result<(), HistoryError> {
        self.room.take(batch.records.len());
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
struct Ended<'a>(&'a Shared, &'a Room);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut failure = self.0.failure.lock().unwrap_or_else(PoisonError::into_inner);
            *failure = Some("the thread that keeps the history died".to_owned());
        }
        self.0.progress.send_modify(|progress| progress.ended = true);
        self.1.close();
    }
}

fn run(mut writer: Writer, queue: &Receiver<Message>, room: &Room) -> Result<(), HistoryError> {
    let mut pace = Pace::new(Instant::now());
    loop {
        let wait = pace.wait(Instant::now(), writer.pending());
        let mut answer = None;
        match queue.recv_timeout(wait) {
            Ok(Message::Batch(batch)) => {
                let was_idle = writer.pending() == 0;
                writer.add(&batch)?;
                room.give_back(batch.records.len());
                if was_idle {
                    pace.since = Instant::now();
                }
            }
            Ok(Message::Commit) => pace.is_wanted = writer.pending() > 0,
            Ok(Message::Sync(sender)) => answer = Some(sender),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return writer.commit(true),
        }
        let now = Instant::now();
        let durable = answer.is_some() || pace.is_undurable(now, writer.pending());
        if durable || pace.is_due(now, writer.pending()) {
            writer.commit(durable)?;
            pace.committed(now, Instant::now(), durable);
        }
        if let Some(sender) = answer {
            // Who asked may be gone.
            let _ = sender.send(Ok(writer.through()));
        }
    }
}

/// When to commit.
struct Pace {
    /// When the first record came that waits.
    since: Instant,
    /// No commit before this, but of as many records as one commit has.
    pause_until: Instant,
    /// Somebody waits.
    is_wanted: bool,
    durable: Instant,
    /// Something is visible that is not durable.
    is_ahead: bool,
}

impl Pace {
    const fn new(now: Instant) -> Self {
        Self { since: now, pause_until: now, is_wanted: false, durable: now, is_ahead: false }
    }

    /// How long nothing is to be done, if nothing comes.
    fn wait(&self, now: Instant, pending: u64) -> Duration {
        let durable = (self.durable + DURABLE_EVERY).saturating_duration_since(now);
        let commit = match (pending, self.is_wanted) {
            (0, _) => DURABLE_EVERY,
            (_, true) => self.pause_until.saturating_duration_since(now),
            (_, false) => (self.since + COMMIT_EVERY).saturating_duration_since(now),
        };
        match pending > 0 || self.is_ahead {
            true => commit.min(durable),
            false => commit,
        }
    }

    fn is_due(&self, now: Instant, pending: u64) -> bool {
        let in_time = now >= self.since + COMMIT_EVERY || self.is_wanted;
        pending >= COMMIT_RECORDS || (pending > 0 && in_time && now >= self.pause_until)
    }

    fn is_undurable(&self, now: Instant, pending: u64) -> bool {
        now >= self.durable + DURABLE_EVERY && (pending > 0 || self.is_ahead)
    }

    fn committed(&mut self, began: Instant, now: Instant, durable: bool) {
        (self.since, self.is_wanted, self.is_ahead) = (now, false, !durable);
        self.pause_until = now + (now - began) * PAUSE;
        if durable {
            self.durable = now;
        }
    }
}
