//! The books on disk: a journal whose first record defines the currency, and a snapshot that spares reading most of it.
//!
//! ```text
//! journal    definition | record of lcp | record of lcp | … | … | …
//! snapshot   all of what the records up to here led to ──┘   └── replayed when the books are opened
//! ```
//!
//! The journal alone is the truth: without its snapshot it is replayed whole. [`audit`] asks the snapshot only how far
//! it had come.

use crate::{
    IssuerConfig, IssuerError, RecordError,
    history::{self, Noted},
};
use fondaco_codec::{Decode, Encode, Reader};
use fondaco_crypto::{Digest, EntityId};
use fondaco_lcp::{ANSWERS_BYTES_MAX, Currency, Issuer, IssuerOptions};
use fondaco_store::{
    Appended, DiskFile, FileError, Head, Journal, Kind, OpenError, Spill, copy_journal,
    journal::Records, load_snapshot,
};
use fondaco_units::{Amount, Bytes, Timestamp};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tracing::{info, warn};

const JOURNAL: &str = "journal";
const SNAPSHOT: &str = "snapshot";
pub(crate) const KIND: Kind = Kind::new(*b"issuer\0\0", 2);

const DEFINITION_VERSION: u8 = 2;
/// Records of `lcp` have the kinds from 1 on.
const DEFINITION_KIND: u8 = 0;

/// Begins the books of the currency that `config` describes and `issuer` issues.
pub(crate) fn create(
    folder: &Path,
    issuer: EntityId,
    config: &IssuerConfig,
) -> Result<(), IssuerError> {
    // What cannot be created shows when the journal is opened, with the reason.
    let _ = fs::create_dir_all(folder);
    let mut any = false;
    let ignore = |_: &[u8]| {
        any = true;
        Ok::<(), RecordError>(())
    };
    let mut journal = Journal::open(DiskFile::open(folder.join(JOURNAL))?, KIND, ignore)?;
    // An empty journal is what a crash left between here and the append.
    if any {
        return Err(IssuerError::AlreadyThere { folder: folder.to_owned() });
    }
    journal.append(&[definition(&config.currency(issuer))])?;
    Ok(())
}

/// Where the journal of the books in `folder` is.
pub(crate) fn journal_path(folder: &Path) -> PathBuf {
    folder.join(JOURNAL)
}

/// What one frame of the journal did, as it is replayed.
pub(crate) trait Visit {
    /// Whether it wants to be told at all; if not, nothing is collected.
    const WANTED: bool;

    /// Takes in a frame: where it is, and what each of its records did.
    fn frame(
        &mut self,
        issuer: &Issuer,
        at: &Appended,
        done: Vec<Noted>,
    ) -> Result<(), RecordError>;
}

/// Nobody wants to be told.
impl Visit for () {
    const WANTED: bool = false;

    fn frame(&mut self, _: &Issuer, _: &Appended, _: Vec<Noted>) -> Result<(), RecordError> {
        Ok(())
    }
}

/// The books of one currency, open.
pub(crate) struct Books {
    pub(crate) issuer: Issuer,
    pub(crate) journal: Journal<DiskFile>,
    /// How many records the snapshot covers that they were opened from.
    pub(crate) covered: u64,
}

/// Opens the books in `folder`: from the snapshot, if it covers no more than `covered` records, else from the beginning;
/// each frame that was replayed is shown to `visit`. The history has `indexed` records: books with fewer, or with fewer
/// than the snapshot, are not opened, and stay as they are.
pub(crate) fn open<V: Visit>(
    folder: &Path,
    covered: u64,
    indexed: u64,
    seed: u64,
    visit: &mut V,
) -> Result<Books, IssuerError> {
    let missing = || IssuerError::NoIssuer { folder: folder.to_owned() };
    let path = journal_path(folder);
    // Opening a file creates it: a mistyped folder must not become an issuer's.
    if !path.is_file() {
        return Err(missing());
    }
    // The lock is taken before the snapshot is read, which another process may be replacing.
    let disk = DiskFile::open(path)?;
    let start = last_snapshot(folder, seed);
    let known = start.as_ref().map_or(0, |(head, _)| head.records);
    let start = start.filter(|(head, _)| head.records <= covered);
    let covered = start.as_ref().map_or(0, |(head, _)| head.records);
    let (start, mut issuer) = start.unzip();
    if let Some(issuer) = &mut issuer {
        issuer.collect_movements(V::WANTED);
    }
    // A snapshot that is not used knows this all the same.
    let least = known.max(indexed);
    let journal = Journal::open_through(disk, KIND, start, least, |at, records| {
        replay(&mut issuer, seed, at, records, visit)
    });
    let journal = match journal {
        Err(OpenError::Fewer { found, .. }) => {
            let (behind, known) =
                if found < known { (SNAPSHOT, known) } else { (history::FILE, indexed) };
            return Err(IssuerError::Lost { behind, known, found });
        }
        opened => opened?,
    };
    let issuer = issuer.ok_or_else(missing)?;
    Ok(Books { issuer, journal, covered })
}

/// Replays one frame; the first record of all makes the issuer.
fn replay<V: Visit>(
    issuer: &mut Option<Issuer>,
    seed: u64,
    at: &Appended,
    records: &mut Records<'_>,
    visit: &mut V,
) -> Result<(), RecordError> {
    let mut done = Vec::new();
    for record in records.by_ref() {
        let Some(issuer) = issuer else {
            let options = IssuerOptions { seed, ..IssuerOptions::default() };
            let mut new = Issuer::new(read_definition(record)?, options);
            new.collect_movements(V::WANTED);
            *issuer = Some(new);
            done.push(Noted::nothing(Timestamp::EPOCH));
            continue;
        };
        match V::WANTED {
            true => done.push(Noted::replayed(issuer, record)?),
            false => issuer.replay(record)?,
        }
    }
    match issuer {
        Some(issuer) if V::WANTED => visit.frame(issuer, at, done),
        _ => Ok(()),
    }
}

/// The books of one currency, looked at.
pub(crate) struct Looked {
    pub(crate) issuer: Issuer,
    pub(crate) head: Head,
    /// What follows of a frame that is not whole.
    pub(crate) torn: Bytes,
}

/// Replays the books in `folder`, shows each frame to `visit`, and changes nothing. Books that have not all of what the
/// snapshot or the history was made of, as far as those can be read, are refused.
pub(crate) fn look<V: Visit>(folder: &Path, visit: &mut V) -> Result<Looked, IssuerError> {
    let missing = || IssuerError::NoIssuer { folder: folder.to_owned() };
    let path = journal_path(folder);
    if !path.is_file() {
        return Err(missing());
    }
    // Locked: whoever writes to it meanwhile would seem to have torn it.
    let disk = DiskFile::open(path)?;
    let known = known(folder);
    let (mut issuer, mut parted) = (None, None);
    let (head, torn) = Journal::look(&disk, KIND, |at, records| {
        let (first, next) = (at.records.start, at.records.end);
        for (behind, records, chain) in &known {
            if next == *records && at.chain != *chain || first < *records && *records < next {
                parted.get_or_insert((*behind, *records));
            }
        }
        replay(&mut issuer, 0, at, records, visit)
    })?;
    let found = head.records;
    let fewer = known.iter().find(|(_, records, _)| found < *records);
    let fewer = fewer.map(|(behind, records, _)| (*behind, *records));
    if let Some((behind, known)) = fewer.or(parted) {
        return Err(IssuerError::Lost { behind, known, found });
    }
    Ok(Looked { issuer: issuer.ok_or_else(missing)?, head, torn })
}

/// What the snapshot and the history were made of, as far as those can be read: their names, and how many records of which chain. The
/// history of books in use is another process's.
fn known(folder: &Path) -> Vec<(&'static str, u64, Digest)> {
    let snapshot = load_snapshot(&folder.join(SNAPSHOT), KIND).ok().flatten();
    let snapshot = snapshot.map(|(head, _)| (SNAPSHOT, head.records, head.chain));
    let indexed = history::seen(folder).map(|it| (history::FILE, it.records, it.chain));
    snapshot.into_iter().chain(indexed).collect()
}

/// The snapshot, if there is one that can be used. One that cannot is no loss, but of time.
fn last_snapshot(folder: &Path, seed: u64) -> Option<(Head, Issuer)> {
    let loaded = load_snapshot(&folder.join(SNAPSHOT), KIND);
    let loaded = loaded.inspect_err(|error| {
        warn!(%error, "the snapshot cannot be used; the journal is replayed whole");
    });
    let (head, body) = loaded.ok().flatten()?;
    let restored = Issuer::restore(seed, ANSWERS_BYTES_MAX, &body).inspect_err(|error| {
        warn!(%error, "the snapshot cannot be used; the journal is replayed whole");
    });
    let restored = restored.ok()?;
    info!(records = head.records, "the books go on from their snapshot");
    Some((head, restored))
}

/// Lays out all of what the issuer is, beside its memory: [`save`] makes the snapshot of it.
pub(crate) fn spill(folder: &Path, issuer: &Issuer) -> Result<Spill, FileError> {
    let mut spill = Spill::begin(&folder.join(SNAPSHOT))?;
    issuer.snapshot_in_pieces(|piece| spill.write(piece))?;
    Ok(spill)
}

/// Saves what the issuer was at `head`.
pub(crate) fn save(head: Head, spill: Spill) -> Result<(), FileError> {
    spill.save(KIND, head)
}

/// Makes the snapshot of the books in `folder`, which no other process may have open, so that they open quickly.
///
/// # Errors
///
/// As [`audit`], or the disk fails.
pub fn snapshot(folder: &Path) -> Result<(), IssuerError> {
    let Books { issuer, journal, .. } = open(folder, u64::MAX, 0, 0, &mut ())?;
    Ok(save(journal.head(), spill(folder, &issuer)?)?)
}

/// Copies the books in `folder` to the folder `to`, which must not have any; whoever has them open goes on meanwhile. Every
/// frame is verified on the way; `progress` is told how many bytes are copied, of about how many.
///
/// # Errors
///
/// There are none in `folder`, or some in `to` already, they are damaged, have not all of what the snapshot or the history was made
/// of, or a disk fails. Nothing is left at `to` then.
pub fn backup(
    folder: &Path,
    to: &Path,
    progress: impl FnMut(Bytes, Bytes),
) -> Result<Head, IssuerError> {
    let from = journal_path(folder);
    if !from.is_file() {
        return Err(IssuerError::NoIssuer { folder: folder.to_owned() });
    }
    if journal_path(to).exists() {
        return Err(IssuerError::AlreadyThere { folder: to.to_owned() });
    }
    // Before the copy, which has all that was there when it began.
    let known = known(folder);
    // What cannot be created shows when the journal is copied, with the reason.
    let _ = fs::create_dir_all(to);
    let copied = journal_path(to);
    let head = copy_journal(&from, &copied, KIND, progress)?;
    let found = head.records;
    if let Some((behind, known, _)) = known.into_iter().find(|(_, records, _)| found < *records) {
        // A copy without them would be taken for a sound one.
        let _ = fs::remove_file(&copied);
        return Err(IssuerError::Lost { behind, known, found });
    }
    Ok(head)
}

fn definition(currency: &Currency) -> Vec<u8> {
    let mut record = vec![DEFINITION_VERSION, DEFINITION_KIND];
    currency.encode(&mut record);
    record
}

fn read_definition(record: &[u8]) -> Result<Currency, RecordError> {
    let mut input = Reader::new(record);
    let mut read = || Ok((u8::decode(&mut input)?, u8::decode(&mut input)?));
    let (found, kind) = read().map_err(RecordError::Definition)?;
    if (found, kind) != (DEFINITION_VERSION, DEFINITION_KIND) {
        return Err(RecordError::Version { found, kind });
    }
    let currency = Currency::decode(&mut input).map_err(RecordError::Definition)?;
    input.finish().map_err(RecordError::Definition)?;
    Ok(currency)
}

/// What the books say, taken from the journal alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The currency, as it was defined.
    pub currency: Currency,
    /// How many records there are, the definition included.
    pub records: u64,
    /// What the journal takes up on disk, without the room ahead.
    pub bytes: Bytes,
    /// The digest of all of it, in order: two copies with the same one are the same.
    pub chain: Digest,
    /// How much of the currency there is.
    pub supply: Amount,
    /// How many accounts there are.
    pub accounts: u64,
    /// What all open holds have set aside.
    pub held: Amount,
    /// Whether all sums, taken from scratch, agree.
    pub balanced: bool,
    /// How many bytes follow of a frame that is not whole: one that a crash tore before it was acknowledged, unless it was
    /// damaged since. The next start cuts them off.
    pub torn: Bytes,
}

/// Reads the whole journal in `folder` and takes all sums anew. It needs no key, and changes nothing.
///
/// # Errors
///
/// The issuer runs ([`FileError::Locked`](fondaco_store::FileError::Locked)): ask it with `Describe`. There is none,
/// or its journal is damaged, or has not all that its snapshot or history was made of.
pub fn audit(folder: &Path) -> Result<Report, IssuerError> {
    let Looked { issuer, head, torn } = look(folder, &mut ())?;
    // The sum of parts of the supply fits; if it did not, the books would not balance.
    let held =
        issuer.books().try_fold(Amount::ZERO, |sum, (_, account)| sum.checked_add(account.held));
    Ok(Report {
        currency: issuer.currency().clone(),
        records: head.records,
        bytes: head.bytes,
        chain: head.chain,
        supply: issuer.ledger().supply(),
        accounts: issuer.ledger().accounts(),
        held: held.unwrap_or(Amount::MAX),
        balanced: held.is_some() && issuer.check().is_ok(),
        torn,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_units::Scale;

    fn crown() -> Currency {
        let config =
            IssuerConfig::new("crown", "HCR", Scale::new(2).unwrap(), Amount::new(1)).unwrap();
        config.currency(EntityId::from_bytes([3; 32]))
    }

    /// The hexdump of `docs/formats/issuer.md`.
    #[test]
    fn the_layout_of_a_definition() {
        #[rustfmt::skip]
        let dump = [
            &[0x02, 0x00][..],                                            // version 2, a definition
            &[0x03; 32],                                                  // the issuer's key
            &[0x05, 0, 0, 0, 0x63, 0x72, 0x6f, 0x77, 0x6e],               // name: crown
            &[0x03, 0, 0, 0, 0x48, 0x43, 0x52],                           // symbol: HCR
            &[0x02],                                                      // two decimals
            &[0x01, 0, 0, 0, 0, 0, 0, 0],                                 // a transfer costs 1
            &[0; 8],                                                      // a full handshake costs nothing
            &[0; 8],                                                      // an account may be opened with anything
        ]
        .concat();
        assert_eq!(definition(&crown()), dump);
        assert_eq!(read_definition(&dump), Ok(crown()));
    }

    #[test]
    fn other_first_records_are_refused() {
        let good = definition(&crown());
        let with = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            read_definition(&bad).unwrap_err()
        };
        assert_eq!(with(0, 1), RecordError::Version { found: 1, kind: 0 });
        assert_eq!(with(1, 1), RecordError::Version { found: 2, kind: 1 });
        for length in 0..good.len() {
            assert!(matches!(read_definition(&good[..length]), Err(RecordError::Definition(_))));
        }
        let longer = [&good[..], &[0]].concat();
        assert!(matches!(read_definition(&longer), Err(RecordError::Definition(_))));
    }
}
