//! The books on disk: a journal whose first record defines the currency.
//!
//! ```text
//! journal   definition | record of lcp | record of lcp | …
//! ```

use crate::{IssuerConfig, IssuerError, RecordError};
use fondaco_codec::{Decode, Encode, Reader};
use fondaco_crypto::{Digest, EntityId};
use fondaco_lcp::{Currency, Issuer, IssuerOptions};
use fondaco_store::{DiskFile, Journal, Kind};
use fondaco_units::{Amount, Bytes};
use std::{fs, path::Path};

const JOURNAL: &str = "journal";
const KIND: Kind = Kind::new(*b"issuer\0\0", 1);

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

/// Opens the books in `folder` and replays all records; the books in memory, and the journal behind them.
pub(crate) fn open(folder: &Path) -> Result<(Issuer, Journal<DiskFile>), IssuerError> {
    let missing = || IssuerError::NoIssuer { folder: folder.to_owned() };
    let path = folder.join(JOURNAL);
    // Opening a file creates it: a mistyped folder must not become an issuer's.
    if !path.is_file() {
        return Err(missing());
    }
    let mut issuer: Option<Issuer> = None;
    let journal = Journal::open(DiskFile::open(path)?, KIND, |record| match &mut issuer {
        None => {
            issuer = Some(Issuer::new(read_definition(record)?, IssuerOptions::default()));
            Ok::<(), RecordError>(())
        }
        Some(issuer) => Ok(issuer.replay(record)?),
    })?;
    let issuer = issuer.ok_or_else(missing)?;
    Ok((issuer, journal))
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
}

/// Reads the whole journal in `folder` and takes all sums anew. It needs no key, and changes nothing, but that the end of
/// a frame torn by a crash is cut off.
///
/// # Errors
///
/// The issuer runs ([`FileError::Locked`](fondaco_store::FileError::Locked)): ask it with `Describe`. There is none,
/// or its journal is damaged.
pub fn audit(folder: &Path) -> Result<Report, IssuerError> {
    let (issuer, journal) = open(folder)?;
    let head = journal.head();
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
