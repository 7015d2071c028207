//! The file that holds an entity's secret key.
//!
//! **The key stands in it unencrypted**: whoever can read the file, or a copy of it in a backup,
//! is the entity. Encryption at rest is not here yet. Until then the file's permissions are all
//! that guards it, so a file that others can read is refused.
//!
//! ```text
//! fondaco-secret-key-v1:<64 hex digits of the secret><8 hex digits that check it>\n
//! ```
//!
//! # What always holds
//!
//! - A key is never written over another.
//! - A key that [`save_key`] has returned for survives a crash, and one that was mistyped is refused.
//!
//! ```
//! use fondaco_crypto::SecretKey;
//! use fondaco_store::{load_key, save_key};
//! # let folder = std::env::temp_dir().join(format!("fondaco-doc-key-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("key");
//! let key = SecretKey::from_bytes(&[7; 32]);
//! save_key(&path, &key)?;
//! assert_eq!(load_key(&path)?.entity(), key.entity());
//! assert!(save_key(&path, &key).is_err());
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use fondaco_crypto::{Digest, Domain, SecretKey};
use zeroize::Zeroizing;

use crate::{
    FileError, FileOperation,
    file::{sync_folder_of, write_new},
};

const CHECK: Domain = Domain::new("fondaco 2026 key file v1");
const PREFIX: &str = "fondaco-secret-key-v1:";
const LENGTH: usize = PREFIX.len() + 64 + 8 + 1;

/// Why a key was not loaded or saved. Listed by precedence.
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
    /// The file is no key, is of a later version, or a character of it is wrong.
    #[error("{} does not hold a secret key, or not all of it", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl KeyError {
    /// Returns whether the same can succeed later, when somebody has made room or let go.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::File(error) => error.is_transient(),
            Self::Exists { .. } | Self::OpenToOthers { .. } | Self::Malformed { .. } => false,
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> String {
        match self {
            Self::Exists { .. } => "use that key, or name another file".to_owned(),
            Self::File(error) => error.hint().to_owned(),
            Self::OpenToOthers { path, .. } => format!("chmod 600 {}", path.display()),
            Self::Malformed { .. } => "put the file back from a copy you trust".to_owned(),
        }
    }
}

/// Saves `key` at `path`, durably, readable by its owner alone.
///
/// # Errors
///
/// Something is there already, whatever it is; or the disk is full, may not be written, or fails.
pub fn save_key(path: &Path, key: &SecretKey) -> Result<(), KeyError> {
    let exists = || KeyError::Exists { path: path.to_owned() };
    if fs::symlink_metadata(path).is_ok() {
        return Err(exists());
    }
    // A name of this process alone: two that save at once must not write into one file.
    let mut beside = OsString::from(".");
    beside.push(path.file_name().unwrap_or_default());
    beside.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(beside);
    write_new(&beside, show(&key.to_bytes()).as_bytes(), 0o600)?;
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

/// Loads the key at `path`.
///
/// # Errors
///
/// The file is missing or cannot be read, others can use it, or it does not hold a key.
pub fn load_key(path: &Path) -> Result<SecretKey, KeyError> {
    let at = |operation| move |source| FileError::new(path, operation, source);
    let mut file = File::open(path).map_err(at(FileOperation::Open))?;
    let metadata = file.metadata().map_err(at(FileOperation::Inspect))?;
    if !metadata.is_file() {
        return Err(KeyError::Malformed { path: path.to_owned() });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::OpenToOthers { path: path.to_owned(), mode });
    }
    // One byte more than it should have; never moved, so that no copy is left in memory.
    let mut text = Zeroizing::new([0; LENGTH + 1]);
    let mut length = 0;
    while length < text.len() {
        match file.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(at(FileOperation::Read)(error).into()),
        }
    }
    let text = std::str::from_utf8(&text[..length]).ok();
    match text.and_then(parse) {
        Some(secret) => Ok(SecretKey::from_bytes(&secret)),
        None => Err(KeyError::Malformed { path: path.to_owned() }),
    }
}

fn check(secret: &[u8; 32]) -> String {
    format!("{:.8}", Digest::derive(CHECK, secret))
}

fn show(secret: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(LENGTH));
    text.push_str(PREFIX);
    for byte in secret {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).unwrap_or_default());
        }
    }
    text.push_str(&check(secret));
    text.push('\n');
    text
}

fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits = text.strip_prefix(PREFIX)?.strip_suffix('\n')?.as_bytes();
    let (digits, stated) = digits.split_at_checked(64)?;
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut secret = Zeroizing::new([0; 32]);
    for (byte, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    (check(&secret).as_bytes() == stated).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form that `docs/formats/store.md` shows.
    const TEXT: &str = concat!(
        "fondaco-secret-key-v1:",
        "0707070707070707070707070707070707070707070707070707070707070707",
        "1dda1716\n"
    );

    #[test]
    fn the_text_form_is_the_documented_one() {
        assert_eq!(&*show(&[7; 32]), TEXT);
        assert_eq!(*parse(TEXT).unwrap(), [7; 32]);
    }

    #[test]
    fn a_wrong_character_is_found() {
        for at in 0..TEXT.len() {
            for other in ["0", "a", "Z", "\n", " "] {
                let mut text = TEXT.to_owned();
                text.replace_range(at..=at, other);
                assert_eq!(parse(&text).is_some(), text == TEXT, "{other:?} at {at}");
            }
            assert!(parse(&TEXT[..at]).is_none());
        }
        assert!(parse(&format!("{TEXT}\n")).is_none());
    }
}
