//! Where a passphrase comes from: a file, the environment, the system's credentials, a person.

use super::terminal::Terminal;
use crate::failure::{Code, Failure, io};
use fondaco_crypto::SecretKey;
use fondaco_store::{KeyError, Passphrase, SealedKey};
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const VARIABLE: &str = "FONDACO_PASSPHRASE";
const FILE_VARIABLE: &str = "FONDACO_PASSPHRASE_FILE";
/// The name of the passphrase among the credentials that systemd gives a service (`LoadCredential=`).
const CREDENTIAL: &str = "fondaco-passphrase";
/// How often a person may try.
const TRIES_MAX: u32 = 3;

/// Finds passphrases. The first that is there is taken, and no other tried: the file named on the command line, the
/// file that `FONDACO_PASSPHRASE_FILE` names, `FONDACO_PASSPHRASE`, the system's credential, the terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct PassphraseSource {
    file: Option<PathBuf>,
}

/// A passphrase, and what gave it.
struct Given {
    passphrase: Passphrase,
    by: String,
}

impl PassphraseSource {
    /// Takes what `--passphrase-file` says.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// Opens a key.
    pub(crate) fn open(&self, sealed: &SealedKey, whose: &str) -> Result<SecretKey, Failure> {
        if let Some(given) = self.given()? {
            let wrong = |error| {
                let failure = Failure::from(error);
                failure.during(&format!("with the passphrase of {}", given.by))
            };
            return sealed.open(&given.passphrase).map_err(wrong);
        }
        let Some(mut terminal) = Terminal::open() else {
            let what =
                format!("{} is encrypted, and no passphrase is given", sealed.path().display());
            return Err(Failure::new(what).code(Code::Usage).hint(how_to_give("")));
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let typed = terminal.ask(&format!("Passphrase of {whose}: "))?;
            let opened = match Passphrase::new(&typed) {
                Ok(passphrase) => sealed.open(&passphrase).map_err(|error| match error {
                    KeyError::WrongPassphrase { .. } if tries < TRIES_MAX => None,
                    error => Some(Failure::from(error)),
                }),
                Err(error) if tries < TRIES_MAX => {
                    terminal.say(&format!("{error}."));
                    continue;
                }
                Err(error) => Err(Some(Failure::new(error.to_string()).code(Code::Usage))),
            };
            match opened {
                Ok(key) => return Ok(key),
                Err(Some(failure)) => return Err(failure),
                Err(None) => terminal.say("That is not it."),
            }
        }
    }

    /// Finds the passphrase for a new key.
    pub(crate) fn choose(&self) -> Result<Passphrase, Failure> {
        match self.given()? {
            Some(given) => Ok(given.passphrase),
            None => ask_new(", or --no-passphrase for a machine that starts alone"),
        }
    }

    fn given(&self) -> Result<Option<Given>, Failure> {
        if let Some(path) = &self.file {
            return read(path).map(Some);
        }
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        if let Some(path) = set(FILE_VARIABLE) {
            return read(Path::new(&path)).map(Some);
        }
        if let Some(value) = set(VARIABLE) {
            return of_variable(value).map(Some);
        }
        match set("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(CREDENTIAL)) {
            Some(path) if path.exists() => read(&path).map(Some),
            Some(_) | None => Ok(None),
        }
    }
}

/// Asks a person for a passphrase that does not exist yet; twice.
pub(super) fn ask_new(otherwise: &str) -> Result<Passphrase, Failure> {
    let Some(mut terminal) = Terminal::open() else {
        let failure = Failure::new("no passphrase is given, and there is no terminal to ask at");
        return Err(failure.code(Code::Usage).hint(how_to_give(otherwise)));
    };
    for _ in 0..TRIES_MAX {
        let typed = terminal.ask("New passphrase: ")?;
        let passphrase = match Passphrase::new(&typed) {
            Ok(passphrase) => passphrase,
            Err(error) => {
                terminal.say(&format!("{error}."));
                continue;
            }
        };
        let again = terminal.ask("The same again: ")?;
        if *typed != *again {
            terminal.say("The two are not the same.");
            continue;
        }
        if passphrase.is_short() {
            terminal.say("Note: so short a passphrase can be guessed by whoever has the file.");
        }
        return Ok(passphrase);
    }
    Err(Failure::new("no passphrase was chosen").code(Code::Usage))
}

fn how_to_give(otherwise: &str) -> String {
    format!("use --passphrase-file FILE, or set {FILE_VARIABLE} or {VARIABLE}{otherwise}")
}

fn unusable(by: &str, what: impl std::fmt::Display) -> Failure {
    Failure::new(format!("the passphrase of {by}: {what}")).code(Code::Usage)
}

fn of_variable(value: OsString) -> Result<Given, Failure> {
    let text = value.into_string().map_err(|_| unusable(VARIABLE, "it is not UTF-8"))?;
    let passphrase = Passphrase::new(&Zeroizing::new(text));
    let passphrase = passphrase.map_err(|error| unusable(VARIABLE, error))?;
    Ok(Given { passphrase, by: VARIABLE.to_owned() })
}

/// Reads the one line of a file, which may be a pipe.
pub(super) fn read_file(path: &Path) -> Result<Passphrase, Failure> {
    read(path).map(|given| given.passphrase)
}

fn read(path: &Path) -> Result<Given, Failure> {
    let by = path.display().to_string();
    if by == "-" {
        let failure = unusable("-", "a passphrase is not read from standard input");
        return Err(failure.hint("name a file; /dev/fd/3 is one too"));
    }
    let failed = |error| io("read the passphrase of", path, &error);
    let mut file = File::open(path).map_err(failed)?;
    // The line, its end, and one byte more than that; never moved, so that no copy is left in memory.
    let mut bytes = Zeroizing::new([0; Passphrase::BYTES_MAX + 3]);
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let text =
        std::str::from_utf8(&bytes[..length]).map_err(|_| unusable(&by, "it is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let passphrase = Passphrase::new(line).map_err(|error| unusable(&by, error))?;
    Ok(Given { passphrase, by })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        let longest = "x".repeat(Passphrase::BYTES_MAX);
        let table = [
            ("horse".to_owned(), Some("horse")),
            ("horse\n".to_owned(), Some("horse")),
            ("horse\r\n".to_owned(), Some("horse")),
            (" horse ".to_owned(), Some(" horse ")),
            (format!("{longest}\r\n"), Some(longest.as_str())),
            (format!("{longest}x"), None),
            (format!("{longest}xyz and more"), None),
            ("one\ntwo\n".to_owned(), None),
            ("\n".to_owned(), None),
            (String::new(), None),
        ];
        for (text, outcome) in table {
            std::fs::write(&path, &text).unwrap();
            let found = read_file(&path).ok();
            let expected = outcome.map(|text| Passphrase::new(text).unwrap());
            let same = match (&found, &expected) {
                (Some(found), Some(expected)) => found.is(expected),
                (None, None) => true,
                _ => false,
            };
            assert!(same, "{text:?}");
        }
        assert!(read_file(Path::new("-")).is_err());
    }
}
