//! Seal a key with a passphrase: an age file (age-encryption.org/v1), ASCII-armoured, with one scrypt recipient.

use super::Passphrase;
use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor, scrypt};
use std::io::{Read as _, Write as _};
use std::iter;
use zeroize::Zeroizing;

/// What an age file begins with, armoured and not.
const FRONTS: [&str; 2] = ["-----BEGIN AGE ENCRYPTED FILE-----", "age-encryption.org/v"];

/// Two to this are the blocks of 1 KiB that scrypt fills for a new key: 128 MiB and about half a
/// second, which is the least that OWASP advises for passwords (Password Storage Cheat Sheet).
pub(super) const WORK: u8 = 17;

/// The most work that is done for a file that is read: 1 GiB and some seconds.
pub(super) const WORK_MAX: u8 = 20;

/// Why sealed bytes were not opened. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealError {
    /// It is not sealed with a passphrase.
    Foreign,
    /// It is an age file of a later version.
    Newer,
    /// Opening it would take too long.
    Work {
        /// The logarithm of it.
        found: u8,
    },
    /// The passphrase is another one; or the bytes that are to tell are damaged.
    Passphrase,
    /// Some byte is wrong or missing.
    Damaged,
}

impl From<DecryptError> for SealError {
    fn from(error: DecryptError) -> Self {
        match error {
            DecryptError::UnknownFormat => Self::Newer,
            DecryptError::ExcessiveWork { required, .. } => Self::Work { found: required },
            DecryptError::DecryptionFailed => Self::Passphrase,
            _ => Self::Damaged,
        }
    }
}

/// Returns whether `text` begins as an age file.
pub(super) fn is_sealed(text: &[u8]) -> bool {
    FRONTS.iter().any(|front| text.starts_with(front.as_bytes()))
}

/// Seals `plain`. `work` is the logarithm of scrypt's; below 64.
pub(super) fn seal(plain: &[u8], passphrase: &Passphrase, work: u8) -> std::io::Result<Vec<u8>> {
    let mut recipient = scrypt::Recipient::new(passphrase.secret());
    recipient.set_work_factor(work);
    let encryptor =
        Encryptor::with_recipients(iter::once(&recipient as _)).map_err(std::io::Error::other)?;
    let armour = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
    let mut writer = encryptor.wrap_output(armour)?;
    writer.write_all(plain)?;
    writer.finish()?.finish()
}

/// Checks what can be checked without the passphrase.
pub(super) fn inspect(sealed: &[u8]) -> Result<(), SealError> {
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(sealed))?;
    if decryptor.is_scrypt() { Ok(()) } else { Err(SealError::Foreign) }
}

/// Opens what was sealed, if it was at most `plain_max` bytes.
pub(super) fn open(
    sealed: &[u8],
    passphrase: &Passphrase,
    plain_max: usize,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut identity = scrypt::Identity::new(passphrase.secret());
    identity.set_max_work_factor(WORK_MAX);
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(sealed))?;
    if !decryptor.is_scrypt() {
        return Err(SealError::Foreign);
    }
    let mut reader = decryptor.decrypt(iter::once(&identity as _))?;
    // One byte more, so that the end is seen; never moved, so that no copy is left in memory.
    let mut plain = Zeroizing::new(vec![0; plain_max + 1]);
    let mut length = 0;
    while length < plain.len() {
        match reader.read(&mut plain[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(_) => return Err(SealError::Damaged),
        }
    }
    if length > plain_max {
        return Err(SealError::Damaged);
    }
    plain.truncate(length);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"a secret";
    const FAST: u8 = 1;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text).unwrap()
    }

    fn open_it(sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open(sealed, &passphrase("horse"), PLAIN.len())
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_passphrase_alone() {
        let sealed = seal(PLAIN, &passphrase("horse"), FAST).unwrap();
        assert!(is_sealed(&sealed) && inspect(&sealed).is_ok());
        assert_eq!(**open_it(&sealed).unwrap(), *PLAIN);
        for wrong in ["Horse", "horse ", "h"] {
            let opened = open(&sealed, &passphrase(wrong), PLAIN.len());
            assert_eq!(opened, Err(SealError::Passphrase), "{wrong:?}");
        }
        assert_eq!(open(&sealed, &passphrase("horse"), PLAIN.len() - 1), Err(SealError::Damaged));
        assert_ne!(sealed, seal(PLAIN, &passphrase("horse"), FAST).unwrap(), "salted");
    }

    #[test]
    fn a_cut_or_altered_file_is_never_opened() {
        let sealed = seal(PLAIN, &passphrase("horse"), FAST).unwrap();
        // The end of the last line is armour that may be missing.
        for length in 0..sealed.len() - 1 {
            assert!(open_it(&sealed[..length]).is_err(), "cut at {length}");
        }
        for at in 0..sealed.len() - 1 {
            for bit in [1, 0x20, 0x80] {
                let mut altered = sealed.clone();
                altered[at] ^= bit;
                assert!(open_it(&altered).is_err(), "bit {bit:#x} at {at}");
            }
        }
    }

    #[test]
    fn hostile_files_are_refused_before_any_work() {
        let binary = |header: &str| {
            let mac = "A".repeat(43);
            let mut file = format!("age-encryption.org/v1\n{header}\n--- {mac}\n").into_bytes();
            file.extend([0; 64]);
            file
        };
        let body = "A".repeat(43);
        let work = |log: &str| binary(&format!("-> scrypt AAAAAAAAAAAAAAAAAAAAAA {log}\n{body}"));
        let x25519 = format!("-> X25519 {body}\n{body}");
        let mut later = work("1");
        later["age-encryption.org/v".len()] = b'2';
        let table = [
            (work("21"), SealError::Work { found: 21 }),
            (work("63"), SealError::Work { found: 63 }),
            (work("64"), SealError::Work { found: 64 }),
            (work("255"), SealError::Work { found: 255 }),
            (work("256"), SealError::Damaged),
            (work("-1"), SealError::Damaged),
            (work("01"), SealError::Damaged),
            (work("1"), SealError::Passphrase),
            (binary(&format!("{x25519}\n{x25519}")), SealError::Foreign),
            (later, SealError::Newer),
        ];
        for (file, error) in table {
            assert_eq!(open_it(&file), Err(error), "{}", String::from_utf8_lossy(&file));
        }
        assert_eq!(inspect(&binary(&x25519)), Err(SealError::Foreign));
        assert_eq!(inspect(&work("255")), Ok(()));
    }
}
