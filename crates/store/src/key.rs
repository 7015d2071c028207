//! The file that holds an entity's secret key, sealed with a passphrase; and the key as 24 words.
//!
//! # Words
//!
//! - **line**: the secret as text, with its version and a checksum.
//! - **sealed**: the line in an [age](https://age-encryption.org) file, encrypted with a passphrase. `age -d` opens it too.
//! - **plain**: the line as it is, for machines that start alone. Its permissions are all that guards it.
//!
//! ```text
//! fondaco-secret-key-v1:<64 hex digits of the secret><8 hex digits that check it>\n
//! ```
//!
//! # What always holds
//!
//! - A key that others than its owner can read or write is not used, sealed or not.
//! - [`save_key`] never writes over another key. A crash leaves the old file or the new one, never half.
//! - A file that was not written here is refused within 16 KiB, 1 GiB of memory and some seconds.
//! - Secrets, passphrases and words are wiped from memory by whatever holds them here; what the
//!   libraries below leave on the stack is not.
//!
//! ```
//! use fondaco_crypto::SecretKey;
//! use fondaco_store::{KeyFile, Passphrase, read_key, save_key};
//! # let folder = std::env::temp_dir().join(format!("fondaco-doc-key-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("key");
//! let key = SecretKey::from_bytes(&[7; 32]);
//! let passphrase = Passphrase::new("correct horse battery staple")?;
//! save_key(&path, &key, Some(&passphrase))?;
//! let KeyFile::Sealed(sealed) = read_key(&path)? else { return Err("it is plain".into()) };
//! assert_eq!(sealed.open(&passphrase)?.entity(), key.entity());
//! assert!(sealed.open(&Passphrase::new("tr0ub4dor")?).is_err());
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod passphrase;
mod record;
mod seal;
mod words;

pub use passphrase::{Passphrase, PassphraseError};
pub use words::{Words, WordsError};

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use fondaco_crypto::SecretKey;
use zeroize::Zeroizing;

use crate::{
    FileError, FileOperation,
    file::{sync_folder_of, write_atomic, write_new},
};
use record::RecordError;
use seal::SealError;

/// The most bytes of a key file that are read.
const FILE_BYTES_MAX: usize = 16 << 10;

/// Why a key was not read, opened or saved. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key is to be saved where a file is already.
    #[error("{} exists already, and a key is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file or its folder failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Others than its owner may read or write the file.
    #[error("{} has the permissions {mode:03o}: others than its owner can use it", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is something else: no key, or encrypted otherwise than with a passphrase.
    #[error("{} is no file of a secret key", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is of a later version of this format, or of age's.
    #[error("{} was written by a later version", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The file asks for more work than is done for one.
    #[error(
        "{} asks for scrypt work of 2^{found}, and more than 2^{} is not done",
        path.display(),
        seal::WORK_MAX
    )]
    TooMuchWork {
        /// The file.
        path: PathBuf,
        /// The logarithm of the work.
        found: u8,
    },
    /// The passphrase is another one. A damaged salt looks the same.
    #[error("this passphrase does not open {}", path.display())]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// Some of the file is missing, or a byte of it is wrong.
    #[error("{} is damaged: not all of it is as it was written", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl KeyError {
    /// Returns whether the same can succeed later, when somebody has made room or let go.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::File(error) => error.is_transient(),
            Self::Exists { .. }
            | Self::OpenToOthers { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::TooMuchWork { .. }
            | Self::WrongPassphrase { .. }
            | Self::Damaged { .. } => false,
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> String {
        match self {
            Self::Exists { .. } => "use that key, or name another file".to_owned(),
            Self::File(error) => error.hint().to_owned(),
            Self::OpenToOthers { path, .. } => format!("chmod 600 {}", path.display()),
            Self::Foreign { .. } => "put the right file there".to_owned(),
            Self::Newer { .. } => "use the version that wrote it, or a later one".to_owned(),
            Self::TooMuchWork { .. } => "put the file back from a copy you trust".to_owned(),
            Self::WrongPassphrase { .. } => {
                "try again; if it is lost, the 24 words make the key anew elsewhere".to_owned()
            }
            Self::Damaged { .. } => {
                "put the file back from a copy you trust, or make the key anew from its 24 words"
                    .to_owned()
            }
        }
    }

    fn of_record(path: &Path, error: RecordError) -> Self {
        let path = path.to_owned();
        match error {
            RecordError::Foreign => Self::Foreign { path },
            RecordError::Newer => Self::Newer { path },
            RecordError::Damaged => Self::Damaged { path },
        }
    }

    fn of_seal(path: &Path, error: SealError) -> Self {
        let path = path.to_owned();
        match error {
            SealError::Foreign => Self::Foreign { path },
            SealError::Newer => Self::Newer { path },
            SealError::Work { found } => Self::TooMuchWork { path, found },
            SealError::Passphrase => Self::WrongPassphrase { path },
            SealError::Damaged => Self::Damaged { path },
        }
    }
}

/// What a key file holds.
#[derive(Debug)]
pub enum KeyFile {
    /// The key, in the clear.
    Plain(SecretKey),
    /// The key, to be opened with its passphrase.
    Sealed(SealedKey),
}

/// A key that a passphrase opens.
#[derive(Clone, Debug)]
pub struct SealedKey {
    path: PathBuf,
    sealed: Vec<u8>,
}

impl SealedKey {
    /// Opens the key; takes about half a second and 128 MiB, and is meant to.
    ///
    /// # Errors
    ///
    /// The passphrase is another one, the file is damaged, asks for too much work, or holds something else.
    pub fn open(&self, passphrase: &Passphrase) -> Result<SecretKey, KeyError> {
        let plain = seal::open(&self.sealed, passphrase, record::LENGTH)
            .map_err(|error| KeyError::of_seal(&self.path, error))?;
        let secret =
            record::parse(&plain).map_err(|error| KeyError::of_record(&self.path, error))?;
        Ok(SecretKey::from_bytes(&secret))
    }

    /// Returns the file it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Saves `key` at `path`, durably, readable by its owner alone; sealed, unless there is no passphrase.
///
/// # Errors
///
/// Something is there already, whatever it is; or the disk is full, may not be written, or fails.
pub fn save_key(
    path: &Path,
    key: &SecretKey,
    passphrase: Option<&Passphrase>,
) -> Result<(), KeyError> {
    let exists = || KeyError::Exists { path: path.to_owned() };
    if fs::symlink_metadata(path).is_ok() {
        return Err(exists());
    }
    let text = write_out(path, key, passphrase)?;
    // A name of this process alone: two that save at once must not write into one file.
    let mut beside = OsString::from(".");
    beside.push(path.file_name().unwrap_or_default());
    beside.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(beside);
    write_new(&beside, &text, 0o600)?;
    // A link, unlike a rename, does not replace what came there in the meantime.
    let linked = fs::hard_link(&beside, path);
    let removed = fs::remove_file(&beside);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
        Err(error) => return Err(FileError::new(path, FileOperation::Rename, error).into()),
        Ok(()) => {}
    }
    removed.map_err(|source| FileError::new(&beside, FileOperation::Remove, source))?;
    sync_folder_of(path).map_err(|source| FileError::new(path, FileOperation::Sync, source))?;
    Ok(())
}

/// Writes `key` at `path` anew, under another passphrase or none; a crash leaves the old file or the new one.
///
/// The blocks of the old file stay on the disk until it uses them again.
///
/// # Errors
///
/// The disk is full, may not be written, or fails.
pub fn reseal_key(
    path: &Path,
    key: &SecretKey,
    passphrase: Option<&Passphrase>,
) -> Result<(), KeyError> {
    let text = write_out(path, key, passphrase)?;
    Ok(write_atomic(path, &text, 0o600)?)
}

/// Reads the key file at `path`.
///
/// # Errors
///
/// The file is missing or cannot be read, others can use it, or it is no key file.
pub fn read_key(path: &Path) -> Result<KeyFile, KeyError> {
    let at = |operation| move |source| FileError::new(path, operation, source);
    let mut file = File::open(path).map_err(at(FileOperation::Open))?;
    let metadata = file.metadata().map_err(at(FileOperation::Inspect))?;
    if !metadata.is_file() {
        return Err(KeyError::Foreign { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::OpenToOthers { path: path.to_owned(), mode });
    }
    // One byte more than it may have; never moved, so that no copy is left in memory.
    let mut text = Zeroizing::new(vec![0; FILE_BYTES_MAX + 1]);
    let mut length = 0;
    while length < text.len() {
        match file.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(at(FileOperation::Read)(error).into()),
        }
    }
    if length > FILE_BYTES_MAX {
        return Err(KeyError::Foreign { path: path.to_owned() });
    }
    let text = &text[..length];
    if seal::is_sealed(text) {
        seal::inspect(text).map_err(|error| KeyError::of_seal(path, error))?;
        return Ok(KeyFile::Sealed(SealedKey { path: path.to_owned(), sealed: text.to_vec() }));
    }
    let secret = record::parse(text).map_err(|error| KeyError::of_record(path, error))?;
    Ok(KeyFile::Plain(SecretKey::from_bytes(&secret)))
}

fn write_out(
    path: &Path,
    key: &SecretKey,
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let line = record::show(&key.to_bytes());
    match passphrase {
        None => Ok(Zeroizing::new(line.as_bytes().to_vec())),
        Some(passphrase) => {
            let sealed = seal::seal(line.as_bytes(), passphrase, seal::WORK);
            let sealed =
                sealed.map_err(|error| FileError::new(path, FileOperation::Write, error))?;
            Ok(Zeroizing::new(sealed))
        }
    }
}
