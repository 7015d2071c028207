//! Pay exactly once, whatever crashes: intents are on disk before they are sent.

use crate::{AgentError, Paid};
use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_lcp::{Outbox, OutboxError, Refusal, Request, RequestId, Response, Step};
use fondaco_ports::Disk;
use fondaco_store::{DiskFile, Journal, Kind, OpenError};
use fondaco_transport::LcpClient;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The kind of a wallet's journal, version 1.
const KIND: Kind = Kind::new(*b"wallet\0\0", 1);

/// What to do about a journal that cannot be read.
const DAMAGED: &str = "put a sound copy of this file back; without one move it away: `fondaco history` tells what was paid, and \
                       what had no answer then is not sent again";

/// How long to wait between tries of an issuer that cannot be reached.
const PAUSES_SECONDS: [u64; 5] = [1, 2, 4, 8, 8];

/// An owner's dealings with one issuer: an [`Outbox`] on disk, and the way to the issuer.
#[derive(Debug)]
pub struct Wallet {
    inner: Mutex<Inner>,
    client: LcpClient,
    folder: PathBuf,
    pauses: &'static [u64],
    torn: Option<Torn>,
}

/// The end of a wallet's journal that was no whole record when it was opened. A power cut leaves such, and then nothing was
/// sent of it; a last record that was damaged at rest looks alike, and nothing here knows better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The journal that it was cut off.
    pub journal: PathBuf,
    /// How many bytes it had.
    pub bytes: usize,
    /// The file that has them now, at its end.
    pub kept: PathBuf,
}

/// What became of commands that were sent again: each that was settled, with its answer, and what was in the way of the others.
#[derive(Debug)]
pub struct Resumed {
    /// Those that were settled, in the order in which they were meant.
    pub settled: Vec<(Request, Response)>,
    /// The first thing in the way.
    pub in_the_way: Option<AgentError>,
}

struct Inner {
    outbox: Outbox,
    journal: Journal<Box<dyn Disk>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("outbox", &self.outbox).finish_non_exhaustive()
    }
}

impl Wallet {
    /// Opens or creates the wallet of the issuer that `client` speaks to, in `folder`.
    pub fn open(folder: &Path, client: LcpClient) -> Result<Self, AgentError> {
        // A journal for each issuer: what one of them has not answered yet must not be sent to another.
        let path = folder.join(format!("wallet-{}", client.issuer().entity()));
        let disk = Box::new(DiskFile::open(&path)?);
        let mut kept = path.clone();
        kept.as_mut_os_string().push(".torn");
        let mut torn = None;
        let keep = |_, bytes: &[u8]| {
            torn = Some(Torn { journal: path.clone(), bytes: bytes.len(), kept: kept.clone() });
            append(&kept, bytes)
        };
        let wallet = Self::open_named(disk, &path.display().to_string(), folder, client, keep)?;
        Ok(Self { torn, ..wallet })
    }

    /// Opens or creates the wallet of the issuer that `client` speaks to, its journal on `disk`; what else it keeps is in
    /// `folder`.
    pub fn open_on(
        disk: Box<dyn Disk>,
        folder: &Path,
        client: LcpClient,
    ) -> Result<Self, AgentError> {
        Self::open_named(disk, "the wallet's journal", folder, client, |_, _| Ok(()))
    }

    fn open_named(
        disk: Box<dyn Disk>,
        name: &str,
        folder: &Path,
        client: LcpClient,
        keep: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> Result<Self, AgentError> {
        let currency = CurrencyId::issued_by(client.issuer().entity());
        let mut outbox = Outbox::new(currency, client.holder());
        let journal = Journal::open_keeping(disk, KIND, keep, |record| outbox.replay(record));
        let journal = journal.map_err(|error| match error {
            OpenError::Disk { .. } => {
                AgentError::Store(format!("{name}: {error}; {}", error.hint()))
            }
            error => AgentError::Damaged {
                path: name.to_owned(),
                what: error.to_string(),
                hint: match error {
                    OpenError::Version { .. } | OpenError::Replay { .. } => error.hint(),
                    _ => DAMAGED,
                },
            },
        })?;
        let folder = folder.to_owned();
        let inner = Mutex::new(Inner { outbox, journal });
        Ok(Self { inner, client, folder, pauses: &PAUSES_SECONDS, torn: None })
    }

    /// Returns what was cut off its journal when it was opened, if anything was.
    pub const fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// Asks an issuer that is away once, and does not wait for it to come back: for who only looks.
    #[must_use]
    pub fn impatient(mut self) -> Self {
        self.pauses = &[];
        self
    }

    /// Returns the currency of the wallet's issuer.
    pub fn currency(&self) -> CurrencyId {
        CurrencyId::issued_by(self.client.issuer().entity())
    }

    /// Returns whose wallet it is.
    pub fn holder(&self) -> EntityId {
        self.client.holder()
    }

    /// Returns the payment that was made to `to` for this order, if it is remembered.
    pub(crate) fn paid_for(&self, to: EntityId, order: &Text<64>) -> Option<Paid> {
        let inner = self.inner.lock().expect("no panic under this lock");
        let (id, fee, balance) = inner.outbox.paid_for(to, order)?;
        Some(Paid { id, fee, balance, taken_up: true })
    }

    /// Returns the last batch of these payments that is remembered, however linked, and whether nobody was told yet what became of it.
    pub(crate) fn batch(&self, steps: &[Step]) -> Option<(Request, bool)> {
        let inner = self.inner.lock().expect("no panic under this lock");
        let (id, is_untold) = inner.outbox.batch(steps)?;
        Some((inner.outbox.request(id)?.clone(), is_untold))
    }

    /// Where the head of the issuer's journal is kept that was seen last.
    pub(crate) fn head_path(&self) -> PathBuf {
        self.folder.join(format!("head-{}", self.client.issuer().entity()))
    }

    /// Sends a command with an id, after saving that it will be sent, and returns the issuer's answer.
    ///
    /// Given the same request again, it returns the first answer without asking, or asks again if
    /// there was none.
    ///
    /// # Errors
    ///
    /// A refusal is an error. When the issuer cannot be reached the outcome is not known yet: the
    /// intent stays, and [`Wallet::resume`] learns it.
    pub async fn submit(&self, request: Request) -> Result<Response, AgentError> {
        let Some(id) = request.id() else { return self.ask(&request).await };
        let (answered, is_fresh) = {
            let mut inner = self.inner.lock().expect("no panic under this lock");
            inner.check()?;
            let answered = inner.outbox.outcome(id).cloned();
            let is_fresh = inner.outbox.request(id) != Some(&request);
            if is_fresh {
                let record = inner.outbox.prepare(request.clone()).map_err(refused)?;
                inner.append(&record)?;
            }
            (answered, is_fresh)
        };
        match answered {
            Some(response) => accepted(response),
            None => accepted(self.settle(id, &request, is_fresh).await?),
        }
    }

    /// Sends a command once: where one that is the `same` is still without an answer from an earlier run, or was a payment
    /// whose outcome nobody was told, that one is meant, and not `fresh`. Returns under which id, and the answer.
    ///
    /// # Errors
    ///
    /// As [`Wallet::submit`].
    pub async fn submit_once(
        &self,
        fresh: Request,
        same: impl Fn(&Request) -> bool,
    ) -> Result<(RequestId, Response), AgentError> {
        let known = {
            let inner = self.inner.lock().expect("no panic under this lock");
            let (pending, untold) = (inner.outbox.pending(), inner.outbox.untold());
            pending.chain(untold).map(|(_, request)| request).find(|known| same(known)).cloned()
        };
        let request = known.unwrap_or(fresh);
        let id = request.id().unwrap_or(RequestId::new(0));
        Ok((id, self.submit(request).await?))
    }

    /// Asks something that changes nothing.
    pub async fn ask(&self, request: &Request) -> Result<Response, AgentError> {
        accepted(self.client.call(request).await?)
    }

    /// Sends again whatever was never answered, in the order in which it was meant; returns how many answers were learnt.
    ///
    /// Do this before anything new: a limit, say, that was meant before another must not come after it.
    ///
    /// # Errors
    ///
    /// The first thing in the way; all else that could be learnt was, but for an issuer that cannot be reached.
    pub async fn resume(&self) -> Result<usize, AgentError> {
        let Resumed { settled, in_the_way } = self.resume_and_tell().await;
        in_the_way.map_or(Ok(settled.len()), Err)
    }

    /// As [`Wallet::resume`], and returns what became of each: whoever let it be sent again can say what that paid.
    pub async fn resume_and_tell(&self) -> Resumed {
        self.resume_some(|_| true).await
    }

    /// Sends again what moves no money: limits and acknowledgements.
    ///
    /// # Errors
    ///
    /// As [`Wallet::resume`].
    pub async fn resume_upkeep(&self) -> Result<(), AgentError> {
        let is_upkeep = |request: &Request| {
            matches!(
                request,
                Request::Accept { .. } | Request::AcceptAhead { .. } | Request::AckDeposits { .. }
            )
        };
        self.resume_some(is_upkeep).await.in_the_way.map_or(Ok(()), Err)
    }

    async fn resume_some(&self, wanted: impl Fn(&Request) -> bool) -> Resumed {
        let mut resumed = Resumed { settled: Vec::new(), in_the_way: None };
        let pending: Vec<(RequestId, Request)> = {
            let inner = self.inner.lock().expect("no panic under this lock");
            if let Err(error) = inner.check() {
                resumed.in_the_way = Some(error);
                return resumed;
            }
            let wanted = inner.outbox.pending().filter(|(_, request)| wanted(request));
            wanted.map(|(id, request)| (*id, request.clone())).collect()
        };
        for (id, request) in pending {
            match self.settle(id, &request, false).await {
                Ok(response) => resumed.settled.push((request, response)),
                Err(error) => {
                    // Each of the others would find the same.
                    let is_over = matches!(error, AgentError::Transport(_) | AgentError::Store(_));
                    resumed.in_the_way.get_or_insert(error);
                    if is_over {
                        break;
                    }
                }
            }
        }
        resumed
    }

    /// Returns what is without an answer, in the order in which it was meant.
    pub fn unanswered(&self) -> Vec<Request> {
        let inner = self.inner.lock().expect("no panic under this lock");
        inner.outbox.pending().map(|(_, request)| request.clone()).collect()
    }

    /// Returns how many commands are without an answer.
    pub fn pending(&self) -> usize {
        self.inner.lock().expect("no panic under this lock").outbox.pending().count()
    }

    /// Returns whether a command like this is without an answer.
    pub(crate) fn is_pending(&self, like: impl Fn(&Request) -> bool) -> bool {
        let inner = self.inner.lock().expect("no panic under this lock");
        inner.outbox.pending().any(|(_, request)| like(request))
    }

    /// Takes note that the owner was told the outcome of a payment: the same, asked for again, is another one.
    pub fn told(&self, id: RequestId) -> Result<(), AgentError> {
        let mut inner = self.inner.lock().expect("no panic under this lock");
        inner.check()?;
        let record = inner.outbox.tell(id).map_err(refused)?;
        inner.append(&record)
    }

    /// An issuer that is away may be restarting; the request carries an id, so asking again is safe. Returns the answer, and
    /// whether it was asked again.
    async fn call_patiently(&self, request: &Request) -> Result<(Response, bool), AgentError> {
        let mut pauses = self.pauses.iter();
        let mut is_again = false;
        loop {
            match self.client.call_counted(request).await {
                Ok((response, again)) => return Ok((response, again || is_again)),
                Err(error) if error.is_transient() => {
                    let Some(seconds) = pauses.next() else { return Err(error.into()) };
                    tracing::info!(%error, "the issuer is away; trying again");
                    tokio::time::sleep(std::time::Duration::from_secs(*seconds)).await;
                    is_again = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a command until there is an answer, and saves that. With `is_fresh`, it was not sent before.
    async fn settle(
        &self,
        id: RequestId,
        request: &Request,
        is_fresh: bool,
    ) -> Result<Response, AgentError> {
        let (response, is_again) = self.call_patiently(request).await?;
        let mut inner = self.inner.lock().expect("no panic under this lock");
        let record = match inner.outbox.settle(id, &response) {
            Ok(record) => record,
            // Its key was gone when it was sent first: nobody has done it, and nobody will.
            Err(OutboxError::NotYet { refusal: Refusal::Rotated { to }, .. })
                if is_fresh && !is_again || inner.outbox.is_after_rotation(id) =>
            {
                inner.outbox.gone(id, to).map_err(refused)?
            }
            // It may have been done before the account went to another key, and this one is not told.
            Err(OutboxError::NotYet { refusal: refusal @ Refusal::Rotated { .. }, .. }) => {
                return Err(AgentError::Issuer(refusal));
            }
            Err(OutboxError::NotYet { refusal, .. }) => return Err(AgentError::NotYet(refusal)),
            Err(error) => {
                let (peer, what) = (self.client.issuer().entity(), error.to_string());
                return Err(AgentError::Misanswer { peer, what });
            }
        };
        inner.append(&record)?;
        Ok(response)
    }
}

impl Inner {
    /// After a failed write, memory may be ahead of the disk: nothing may be sent from it any more.
    fn check(&self) -> Result<(), AgentError> {
        if self.journal.is_halted() {
            return Err(AgentError::Store(
                "the wallet's journal has failed; start again".to_owned(),
            ));
        }
        Ok(())
    }

    fn append(&mut self, record: &[u8]) -> Result<(), AgentError> {
        self.journal
            .append(&[record])
            .map(drop)
            .map_err(|error| AgentError::Store(format!("the wallet's journal: {error}")))
    }
}

/// Adds bytes to the end of a file, durably; nobody but its owner may read it.
fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("{} cannot be written: {error}", path.display()))
    };
    let written = || {
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // Its name may be new.
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    written().map_err(named)
}

fn refused(error: OutboxError) -> AgentError {
    AgentError::Store(error.to_string())
}

pub(crate) fn accepted(response: Response) -> Result<Response, AgentError> {
    match response {
        Response::Refused { refusal } => Err(AgentError::Issuer(refusal)),
        response => Ok(response),
    }
}
