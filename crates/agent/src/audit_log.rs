//! What every audit showed, in order, signed: what an owner can point at.
//!
//! Each entry names the one before it by digest and is signed by the owner, in a journal of its own, `agent/audits`; a
//! damaged log so hinders audits alone, and never a restore. How far it had come is noted in the book: a log that ends
//! before that was cut.
//!
//! ```text
//! Audited ──► entry{seq, previous, …} ──► signed ──► on disk ──► noted in the book
//! recovered: the book comes back, the log does not ──► its first entry, of that number, says so
//! ```
//!
//! # What always holds
//!
//! - An entry that was noted is there, unchanged and in its place, or the log is refused and the entry named.
//! - Only an entry that its owner has signed says that those before it were left behind, and how far they came.
//! - What cannot be logged is not asked: the log is opened before the first question.
//!
//! # What is not here
//!
//! Proof against the owner itself, who has the key: it can write another log from the beginning. Others believe as much of
//! it as they saw the digest of in time.

use crate::AgentError;
use crate::auditing::{Audited, Kind, Outcome};
use fondaco_codec::{Decode as _, Encode as _, Text, choice, record};
use fondaco_contract::ContractId;
use fondaco_crypto::{Digest, Domain, EntityId, SecretKey, Signature};
use fondaco_store::{DiskFile, Journal, OpenError};
use fondaco_units::Timestamp;
use std::path::{Path, PathBuf};

const ENTRY: Domain = Domain::new("fondaco 2026 audit log v1");
const LINK: Domain = Domain::new("fondaco 2026 audit log link v1");

/// The kind of an audit log, version 1.
const JOURNAL: fondaco_store::Kind = fondaco_store::Kind::new(*b"audits\0\0", 1);

/// What an audit showed, as the log keeps it. See [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// All was proven.
    Proven {
        /// How many places.
        samples: u32,
    },
    /// Something was not what it must be.
    Caught {
        /// What.
        what: Text<200>,
    },
    /// It was not asked, for a reason of our own.
    Unasked {
        /// Why.
        what: Text<200>,
    },
    /// There was no answer, twice.
    Silent {
        /// What happened.
        what: Text<200>,
    },
    /// No audit: the entries before this one were left behind with the machine that the book was recovered from.
    LeftBehind,
}
choice!(Finding {
    1 => Proven { samples },
    2 => Caught { what },
    3 => Unasked { what },
    4 => Silent { what },
    5 => LeftBehind,
});

impl From<&Outcome> for Finding {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Proven { samples } => {
                Self::Proven { samples: u32::try_from(*samples).unwrap_or(u32::MAX) }
            }
            Outcome::Caught { what } => Self::Caught { what: Text::cut(what) },
            Outcome::Unasked { what, .. } => Self::Unasked { what: Text::cut(what) },
            Outcome::Silent { what } => Self::Silent { what: Text::cut(what) },
        }
    }
}

/// One audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 0.
    pub seq: u64,
    /// The link of the entry before it; zero for the first.
    pub previous: Digest,
    /// When it was done.
    pub at: Timestamp,
    /// Of which contract.
    pub contract: ContractId,
    /// Of which provider.
    pub provider: EntityId,
    /// How it was asked.
    pub kind: Kind,
    /// What drew the places.
    pub nonce: [u8; 32],
    /// What it showed.
    pub finding: Finding,
    /// The digest of what was answered; zero for nothing.
    pub proof: Digest,
}
record!(Entry { seq, previous, at, contract, provider, kind, nonce, finding, proof });

/// An entry and its owner's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedEntry {
    /// What is signed.
    pub entry: Entry,
    /// Under `fondaco 2026 audit log v1`.
    pub signature: Signature,
}
record!(SignedEntry { entry, signature });

impl SignedEntry {
    /// Returns what the next entry names it by.
    pub fn link(&self) -> Digest {
        Digest::derive(LINK, &self.to_bytes())
    }
}

/// How far a log has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogHead {
    /// How many entries it has.
    pub entries: u64,
    /// The link of the last, if there is one.
    pub link: Option<Digest>,
}

/// Checks entries, one after the other.
#[derive(Debug)]
struct Chain {
    owner: EntityId,
    /// What the book says.
    noted: LogHead,
    /// How many entries were left behind before the first.
    left_behind: u64,
    head: LogHead,
}

impl Chain {
    fn new(owner: EntityId, noted: LogHead) -> Self {
        Self { owner, noted, left_behind: 0, head: LogHead::default() }
    }

    /// Takes the next entry, or says what is wrong with it.
    fn take(&mut self, record: &[u8]) -> Result<SignedEntry, String> {
        let signed = SignedEntry::from_bytes(record).map_err(|error| error.to_string())?;
        let SignedEntry { entry, signature } = &signed;
        let is_first = self.head == LogHead::default();
        if is_first && entry.finding == Finding::LeftBehind && entry.seq > 0 {
            let before = LogHead { entries: entry.seq, link: Some(entry.previous) };
            // A log that another machine began after a recovery is not this one's.
            let is_known = self.noted.entries > before.entries || self.noted == before;
            if !is_known {
                return Err(format!("it follows on {} that were not noted", entry.seq));
            }
            (self.head, self.left_behind) = (before, entry.seq);
        }
        if entry.seq != self.head.entries {
            return Err(format!("it calls itself entry {}", entry.seq));
        }
        if entry.previous != self.head.link.unwrap_or(Digest::ZERO) {
            return Err("it does not follow from the one before it".to_owned());
        }
        if self.owner.verify(ENTRY, &entry.to_bytes(), signature).is_err() {
            return Err("it is not signed by its owner".to_owned());
        }
        let link = Some(signed.link());
        let entries = self.head.entries + 1;
        if entries == self.noted.entries && link != self.noted.link {
            return Err("it is not the one that was noted".to_owned());
        }
        self.head = LogHead { entries, link };
        Ok(signed)
    }
}

/// The log on disk. One process at a time may hold it.
#[derive(Debug)]
pub struct AuditLog {
    journal: Journal<DiskFile>,
    head: LogHead,
}

impl AuditLog {
    /// Opens or begins the log at `path`, and checks all of it: links, signatures, and that nothing `noted` is missing.
    /// Each entry is given to `visit`.
    ///
    /// # Errors
    ///
    /// [`AgentError::AuditLog`] names the first entry that is damaged, rewritten or missing.
    pub fn open(
        path: &Path,
        owner: EntityId,
        noted: LogHead,
        mut visit: impl FnMut(SignedEntry),
    ) -> Result<Self, AgentError> {
        let disk = DiskFile::open(path)?;
        let mut chain = Chain::new(owner, noted);
        let opened = Journal::open(disk, JOURNAL, |record| {
            let taken = chain.take(record);
            taken.map(&mut visit).map_err(Refused)
        });
        let refused = |entry: u64, what: String| {
            let path = path.display().to_string();
            AgentError::AuditLog { path, entry, what }
        };
        let journal = opened.map_err(|error| match error {
            OpenError::Damaged { record, .. } => {
                refused(chain.left_behind + record, "it is damaged".to_owned())
            }
            OpenError::Replay { record, source } => refused(chain.left_behind + record, source.0),
            error @ OpenError::Disk { .. } => {
                AgentError::Store(format!("{}: {error}; {}", path.display(), error.hint()))
            }
            error => refused(chain.head.entries, error.to_string()),
        })?;
        if chain.head.entries < noted.entries {
            let what = format!("it is missing, and {} were noted", noted.entries);
            return Err(refused(chain.head.entries, what));
        }
        Ok(Self { journal, head: chain.head })
    }

    /// Returns how far it has come.
    pub const fn head(&self) -> LogHead {
        self.head
    }

    /// Signs and appends what audits showed; it is on disk when this returns. Returns how far the log has come then.
    pub fn append(&mut self, key: &SecretKey, audits: &[Audited]) -> Result<LogHead, AgentError> {
        let entry = |audited: &Audited| Entry {
            seq: 0,
            previous: Digest::ZERO,
            at: audited.at,
            contract: audited.contract,
            provider: audited.provider,
            kind: audited.kind,
            nonce: audited.nonce,
            finding: Finding::from(&audited.outcome),
            proof: audited.proof,
        };
        self.write(key, audits.iter().map(entry))
    }

    /// Gives entries their numbers and links, signs and appends them.
    fn write(
        &mut self,
        key: &SecretKey,
        entries: impl Iterator<Item = Entry>,
    ) -> Result<LogHead, AgentError> {
        let mut head = self.head;
        let mut records = Vec::new();
        for entry in entries {
            let (seq, previous) = (head.entries, head.link.unwrap_or(Digest::ZERO));
            let entry = Entry { seq, previous, ..entry };
            let signature = key.sign(ENTRY, &entry.to_bytes());
            let signed = SignedEntry { entry, signature };
            head = LogHead { entries: head.entries + 1, link: Some(signed.link()) };
            records.push(signed.to_bytes());
        }
        self.journal
            .append(&records)
            .map_err(|error| AgentError::Store(format!("the audit log: {error}")))?;
        self.head = head;
        Ok(head)
    }
}

/// What is wrong with an entry.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// What became of the log of before a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogBefore {
    /// It is here, and goes on.
    Kept,
    /// It is not here.
    Missing,
    /// It is here, and is not what was written.
    Refused {
        /// What is wrong with it.
        why: String,
        /// Where it is now.
        aside: PathBuf,
    },
}

/// Goes on with the log at `path` after the book was recovered, which has `noted` how far the log of then had come. That
/// log is hardly ever here: then another begins, and its first entry says what was left behind. Returns how far it has come, and what became
/// of the one of then.
pub(crate) fn recover(
    path: &Path,
    key: &SecretKey,
    noted: LogHead,
    now: Timestamp,
) -> Result<(LogHead, LogBefore), AgentError> {
    let owner = key.entity();
    let mut before = LogBefore::Missing;
    if path.exists() {
        match AuditLog::open(path, owner, noted, |_| ()) {
            Ok(log) => return Ok((log.head(), LogBefore::Kept)),
            Err(error @ AgentError::AuditLog { .. }) => {
                let why = error.to_string();
                before = LogBefore::Refused { why, aside: set_aside(path, now)? };
            }
            Err(error) => return Err(error),
        }
    }
    if noted == LogHead::default() {
        return Ok((noted, before));
    }
    let mut log = AuditLog::open(path, owner, LogHead::default(), |_| ())?;
    log.head = noted;
    let entry = Entry {
        seq: 0,
        previous: Digest::ZERO,
        at: now,
        contract: ContractId::from_digest(Digest::ZERO),
        provider: owner,
        kind: Kind::Sampled,
        nonce: [0; 32],
        finding: Finding::LeftBehind,
        proof: Digest::ZERO,
    };
    Ok((log.write(key, std::iter::once(entry))?, before))
}

/// Moves a log that is refused aside, so that another can begin. Returns where it is now.
pub(crate) fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, AgentError> {
    let aside = path.with_file_name(format!("audits-until-{}", now.milliseconds()));
    std::fs::rename(path, &aside).map_err(|error| AgentError::Invalid {
        what: format!("cannot move {} aside: {error}", path.display()),
        hint: "check who owns the folder, and whether there is a log at all".to_owned(),
    })?;
    Ok(aside)
}

#[cfg(test)]
mod tests;
