//! Prove the house rules that no compiler knows.
//!
//! Every rule is a pure function from text to [`Fault`]s, and has a canary: a test that plants the fault and
//! sees it caught. All faults are collected, so that one run tells everything.
//!
//! | module | rule |
//! |---|---|
//! | [`floors`] | every edge between crates falls; the pure floors use no clock, chance or runtime |
//! | [`names`] | folder, package, sentence, README and map say the same; the lints are kept |
//! | [`sources`] | files stay short and finished; the pure floors stay pure |
//! | [`lock`] | crates that must not come in, at any depth, have not |

mod floors;
mod lock;
mod names;
mod sources;

use std::{fmt, fs, path::Path};

use crate::workspace::{Workspace, root};

/// One thing that is wrong, in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The file to open, below the root.
    file: String,
    /// What is wrong there.
    what: String,
    /// What to do about it.
    hint: String,
}

impl Fault {
    fn new(file: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { file: file.into(), what: what.into(), hint: hint.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. Hint: {}", self.file, self.what, self.hint)
    }
}

/// Prints every fault, one a line; fails when there is one.
pub(crate) fn command() -> Result<(), String> {
    let workspace = Workspace::load()?;
    let files = sources::files()?;
    let crates = &workspace.crates;
    let mut faults = Vec::new();
    faults.extend(floors::stated(crates));
    faults.extend(floors::edges(crates));
    faults.extend(floors::foreign(crates));
    faults.extend(names::root_lints(&text("Cargo.toml")?));
    for each in crates {
        let sources = ["src/lib.rs", "src/main.rs"].map(|name| each.file(name));
        let main = sources.iter().find_map(|path| Some((&**path, text(path).ok()?)));
        faults.extend(names::package(each));
        faults.extend(names::sentence(each, main.as_ref().map(|(path, text)| (*path, &**text))));
        faults.extend(names::lints(each, &text(&each.file("Cargo.toml"))?));
    }
    if crates.iter().any(|each| each.is_ours()) {
        faults.extend(names::readme(crates, &text("README.md").unwrap_or_default()));
        faults.extend(names::map(crates, &text("ARCHITECTURE.md").unwrap_or_default()));
    }
    for file in &files {
        faults.extend(sources::length(file));
        faults.extend(sources::finished(file));
        faults.extend(sources::pure(crates, file));
    }
    faults.extend(lock::banned(&text("Cargo.lock")?));

    for fault in &faults {
        println!("{fault}");
    }
    match faults.len() {
        0 => {
            println!("tidy: {} crates and {} files keep the rules.", crates.len(), files.len());
            Ok(())
        }
        1 => Err("tidy: 1 fault".to_owned()),
        many => Err(format!("tidy: {many} faults")),
    }
}

fn text(file: &str) -> Result<String, String> {
    let path: &Path = &root().join(file);
    fs::read_to_string(path).map_err(|error| format!("{file}: {error}"))
}

/// Whether `word` stands in `text` by itself: `lcp` is not in `lcp-wire`.
fn has_word(text: &str, word: &str) -> bool {
    let part_of_a_name = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(part_of_a_name)
            && !text[at + word.len()..].starts_with(part_of_a_name)
    })
}

/// What the canaries of all rules share.
#[cfg(test)]
mod planted {
    use super::Fault;
    use crate::workspace::{Crate, Floor, Kind, Use};

    /// A crate in `crates/<name>` with nothing wrong.
    pub(super) fn sound(name: &str, floor: Floor) -> Crate {
        Crate {
            name: if name == "fondaco" { name.to_owned() } else { format!("fondaco-{name}") },
            folder: format!("crates/{name}"),
            floor: Ok(floor),
            description: format!("Do what {name} does."),
            is_library: true,
            uses: Vec::new(),
        }
    }

    /// The same, using the package `fondaco-<used>`.
    pub(super) fn with_use(mut user: Crate, kind: Kind, used: &str) -> Crate {
        user.uses.push(Use { package: used.to_owned(), kind });
        user
    }

    /// What the faults say, without place and hint.
    pub(super) fn said(faults: impl IntoIterator<Item = Fault>) -> Vec<String> {
        faults.into_iter().map(|fault| fault.what).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line() {
        let fault = Fault::new("a.rs", "it is wrong", "mend it");
        assert_eq!(fault.to_string(), "a.rs: it is wrong. Hint: mend it");
    }

    #[test]
    fn words() {
        let cases = [
            ("lcp", "lcp  settlement", true),
            ("lcp", "(lcp)", true),
            ("lcp", "lcp-wire", false),
            ("host", "cache-host", false),
            ("host", "cache-host host", true),
        ];
        for (word, text, expected) in cases {
            assert_eq!(has_word(text, word), expected, "{word} in {text}");
        }
    }
}
