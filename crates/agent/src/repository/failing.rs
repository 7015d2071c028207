//! Why a repository could not do what was asked, in words of ours.

use super::{Repo, short};
use crate::AgentError;
use crate::book::ObjectKind;
use rustic_core::repofile::{Node, SnapshotFile};
use rustic_core::{IndexedTree, Open, Repository, RusticError};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a repository could not do what was asked. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// There is no such snapshot.
    #[error("there is no snapshot {name:?}")]
    NoSnapshot {
        /// What was asked for.
        name: String,
    },
    /// Several snapshots have names that begin like that.
    #[error("the names of {count} snapshots begin with {name:?}")]
    ManySnapshots {
        /// What was asked for.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// A snapshot has nothing there.
    #[error("snapshot {snapshot} has no {path:?}")]
    NoEntry {
        /// The snapshot's name.
        snapshot: String,
        /// What was asked for, as it would be in the snapshot.
        path: String,
    },
    /// It was made with a password that does not follow from the owner's key.
    #[error("this repository has a password of its own, and not yet that of your key")]
    OtherPassword,
    /// What is restored could not be written.
    #[error("cannot write below {}: {why}", folder.display())]
    Unwritable {
        /// Where it is restored to.
        folder: PathBuf,
        /// What the system says.
        why: Error,
    },
    /// Anything else, as the library says it.
    #[error("{0}")]
    Other(String),
}

impl RepositoryError {
    pub(super) fn of(error: &RusticError) -> Self {
        match error.is_incorrect_password() {
            true => Self::OtherPassword,
            false => Self::Other(error.display_log()),
        }
    }

    /// Returns the next thing to do, where one is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoSnapshot { .. } => "`fondaco backup list` shows which there are",
            Self::ManySnapshots { .. } => "write more of the name that you mean",
            Self::NoEntry { snapshot, .. } => {
                return Some(format!(
                    "`fondaco backup ls {snapshot} --recursive` shows what it has"
                ));
            }
            Self::OtherPassword => {
                "with `fondaco gateway restic --password-file FILE` running, `restic key add --new-password-file FILE` gives \
                 it that of your key as well"
            }
            Self::Unwritable { why, .. } => match why.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "free some space and run this again: what is there already is not fetched anew; or name a place with more \
                     of it with --to"
                }
                ErrorKind::FileTooLarge => "raise the limit: `ulimit -f unlimited`",
                ErrorKind::PermissionDenied => {
                    "see whether you may make files there (`ls -ld`, `lsattr -d`), or name another place with --to"
                }
                ErrorKind::ReadOnlyFilesystem => "name a place that can be written with --to",
                _ => "see that folder, or name another with --to",
            },
            Self::Other(_) => return None,
        };
        Some(hint.to_owned())
    }
}

impl From<RepositoryError> for AgentError {
    fn from(error: RepositoryError) -> Self {
        Self::Repository(error)
    }
}

/// Says in our words what kept the library from writing below a folder: it tells that only in the text of an error, or of a panic.
pub(super) fn below(folder: &Path, error: AgentError) -> AgentError {
    match error {
        AgentError::Repository(RepositoryError::Other(text)) => match system_error(&text) {
            Some(why) => RepositoryError::Unwritable { folder: folder.to_owned(), why }.into(),
            None => RepositoryError::Other(text).into(),
        },
        error => error,
    }
}

/// Finds the system's number of an error, as it is written for people or for programmers.
fn system_error(text: &str) -> Option<Error> {
    let number = ["Os { code: ", "(os error "].into_iter().find_map(|front| {
        let rest = &text[text.find(front)? + front.len()..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })?;
    Some(Error::from_raw_os_error(number))
}

/// Says so if a word cannot name one of the snapshots.
fn must_name(names: &[String], word: &str) -> Result<(), RepositoryError> {
    let name = word.to_owned();
    let among_latest = match word.strip_prefix("latest") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix('~').and_then(|number| number.parse::<usize>().ok()),
        None => None,
    };
    let count = match among_latest {
        Some(number) => usize::from(number < names.len()),
        None => names.iter().filter(|name| name.starts_with(word)).count(),
    };
    match count {
        0 => Err(RepositoryError::NoSnapshot { name }),
        1 => Ok(()),
        _ => Err(RepositoryError::ManySnapshots { name, count }),
    }
}

impl Repo {
    /// Says so if a word names no snapshot, or several.
    pub(super) fn must_be_snapshot(&self, word: &str) -> Result<(), AgentError> {
        let snapshots = self.objects.list(ObjectKind::Snapshot);
        let names: Vec<_> = snapshots.iter().map(|(object, _)| object.name.to_string()).collect();
        Ok(must_name(&names, word)?)
    }

    /// Looks a snapshot up: by its name, the front of it, `latest` or `latest~1`.
    pub(super) fn snapshot<S: Open>(
        &self,
        repository: &Repository<S>,
        word: &str,
    ) -> Result<SnapshotFile, AgentError> {
        self.must_be_snapshot(word)?;
        repository.get_snapshot_from_str(word, |_| true).map_err(|error| self.explain(&error))
    }

    /// Looks up what is at a path of a snapshot.
    pub(super) fn node(
        &self,
        repository: &Repository<impl IndexedTree>,
        snapshot: &SnapshotFile,
        path: &Path,
    ) -> Result<Node, AgentError> {
        repository.node_from_path(snapshot.tree, path).map_err(|error| {
            let told = error.display_log();
            let is_missing =
                ["not found in tree", "is not a directory"].iter().any(|word| told.contains(word));
            match self.explain(&error) {
                AgentError::Repository(_) if is_missing => {
                    let (snapshot, path) = (short(snapshot), path.display().to_string());
                    RepositoryError::NoEntry { snapshot, path }.into()
                }
                other => other,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_names_one_snapshot() {
        let names = ["aa11", "aa22", "bb33"].map(str::to_owned);
        // One line for each: the word, and what is said of it.
        let table = [
            ("aa1", "Ok"),
            ("bb33", "Ok"),
            ("latest", "Ok"),
            ("latest~2", "Ok"),
            ("latest~3", "there is no snapshot \"latest~3\""),
            ("latest~x", "there is no snapshot \"latest~x\""),
            ("newest", "there is no snapshot \"newest\""),
            ("cc", "there is no snapshot \"cc\""),
            ("aa", "the names of 2 snapshots begin with \"aa\""),
            ("", "the names of 3 snapshots begin with \"\""),
        ];
        for (word, expected) in table {
            let said =
                must_name(&names, word).map_or_else(|error| error.to_string(), |()| "Ok".into());
            assert_eq!(said, expected, "{word}");
        }
        assert!(must_name(&[], "latest").is_err());
    }

    /// As version 0.13 of the library says it.
    #[test]
    fn a_full_disk_is_told_in_words() {
        // One line for each: the text, the system's word, and a part of the hint.
        let table = [
            (
                "the backup library gave up: called `Result::unwrap()` on an `Err` value: CouldNotWriteToBuffer(Os { \
                 code: 28, kind: StorageFull, message: \"No space left on device\" })",
                ErrorKind::StorageFull,
                "free some space",
            ),
            (
                "Error: Failed to set the length of the file `a`. (kind: related to input/output operations): caused by: \
                 opening file failed: `Os { code: 1, kind: PermissionDenied, message: \"Operation not permitted\" }`",
                ErrorKind::PermissionDenied,
                "lsattr",
            ),
            (
                "Error: no: caused by: File too large (os error 27)",
                ErrorKind::FileTooLarge,
                "ulimit",
            ),
        ];
        for (text, kind, part) in table {
            let error = below(Path::new("/a/to"), RepositoryError::Other(text.to_owned()).into());
            let AgentError::Repository(error) = error else { panic!("{error}") };
            assert!(
                matches!(&error, RepositoryError::Unwritable { why, .. } if why.kind() == kind)
            );
            assert!(error.hint().unwrap().contains(part), "{:?}", error.hint());
            let told = error.to_string();
            assert!(told.starts_with("cannot write below /a/to: "), "{told}");
            assert!(!told.contains("code:") && !told.contains("unwrap"), "{told}");
        }
        assert!(system_error("no number: Os { code: x").is_none());
    }
}
