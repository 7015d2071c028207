//! Read every file of the workspace: short, finished, and pure where it must be.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Fault;
use crate::workspace::{Crate, root};

/// Where the project's own files are.
const FOLDERS: [&str; 2] = ["crates", "xtask"];

/// The longest a file may be; near 800 lines it is time to look for the smaller machine inside.
const LINES_MAX: usize = 900;

/// Marks of unfinished work. Cut in two, or this file would report itself.
const UNFINISHED: [&str; 4] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("FIX", "ME"),
    concat!("#[ig", "nore"),
];

/// What the code of floors 0 to 2 has no use for, and what it does instead.
const IMPURE: [(&str, &str); 8] = [
    ("SystemTime::now", "take `now` as an argument"),
    ("Instant::now", "take `now` as an argument"),
    ("std::env::", "take the setting as an argument"),
    ("HashMap", "use BTreeMap: replicas must iterate alike"),
    ("HashSet", "use BTreeSet: replicas must iterate alike"),
    ("async fn", "return what is wanted as a value; an adapter waits for it"),
    ("println!", "return it; an app prints"),
    ("thread_rng", "take the entropy as an argument"),
];

/// A file of text.
pub(super) struct File {
    /// Its path below the root.
    path: String,
    /// All of it.
    text: String,
}

/// Every text file of the project, in the order of their paths.
pub(super) fn files() -> Result<Vec<File>, String> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        walk(&root().join(folder), &mut paths)?;
    }
    paths.sort();
    let read = |path: PathBuf| {
        let below = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned();
        match fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => Some(Ok(File { path: below, text })),
            Ok(Err(_)) => None,
            Err(error) => Some(Err(format!("{below}: {error}"))),
        }
    };
    paths.into_iter().filter_map(read).collect()
}

/// The file is short enough to be one thing.
pub(super) fn length(file: &File) -> Option<Fault> {
    let lines = file.text.lines().count();
    let what = format!("{lines} lines, of {LINES_MAX} at most");
    let hint = "find the smaller machine inside it and give it a name";
    (lines > LINES_MAX).then(|| Fault::new(&file.path, what, hint))
}

/// Nothing in the file is left for later.
pub(super) fn finished(file: &File) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, line) in numbered(&file.text) {
        for mark in UNFINISHED.into_iter().filter(|mark| line.contains(mark)) {
            let place = format!("{}:{number}", file.path);
            let hint = "finish it, or take it out and write an issue";
            faults.push(Fault::new(place, format!("{mark} marks unfinished work"), hint));
        }
    }
    faults
}

/// The code of floors 0 to 2 depends on its arguments alone. Comments and tests are free.
pub(super) fn pure(crates: &[Crate], file: &File) -> Vec<Fault> {
    let is_pure = crates.iter().filter(|each| each.is_pure()).any(|each| {
        let below =
            file.path.strip_prefix(&each.folder).and_then(|rest| rest.strip_prefix("/src/"));
        below.is_some_and(|path| path.ends_with(".rs") && !is_test_file(path))
    });
    let mut faults = Vec::new();
    for (number, line) in without_tests(&file.text).into_iter().filter(|_| is_pure) {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for (word, remedy) in IMPURE.into_iter().filter(|(word, _)| line.contains(word)) {
            let place = format!("{}:{number}", file.path);
            faults.push(Fault::new(place, format!("{word} on a pure floor"), remedy));
        }
    }
    faults
}

/// Whether a path below `src` is a module that is declared under `#[cfg(test)]`, by its name.
fn is_test_file(path: &str) -> bool {
    path == "tests.rs" || path.ends_with("/tests.rs") || path.split('/').any(|part| part == "tests")
}

/// The lines of `text` that are not in an item under a line that is exactly `#[cfg(test)]`.
///
/// Leans on rustfmt, which the check runs: such an item ends at the first line that is `}` or, when it is
/// declared elsewhere, ends in `;`.
fn without_tests(text: &str) -> Vec<(usize, &str)> {
    let mut lines = numbered(text);
    let mut kept = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line != "#[cfg(test)]" {
            kept.push((number, line));
            continue;
        }
        let head = lines.by_ref().map(|(_, line)| line).find(|line| !line.starts_with("#["));
        if head.is_some_and(|head| head.ends_with('{')) {
            lines.by_ref().find(|(_, line)| *line == "}");
        }
    }
    kept
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(told)? {
        let entry = entry.map_err(told)?;
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        let kind = entry.file_type().map_err(told)?;
        if kind.is_dir() && !hidden && name != "target" && name != "node_modules" {
            walk(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::planted::{said, sound},
        *,
    };
    use crate::workspace::Floor;

    fn file(text: &str) -> File {
        File { path: "crates/ledger/src/lib.rs".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn canary_length() {
        assert_eq!(length(&file(&"\n".repeat(LINES_MAX))), None);
        assert!(length(&file(&"\n".repeat(LINES_MAX + 1))).is_some());
    }

    #[test]
    fn canary_finished() {
        for mark in UNFINISHED {
            let planted = file(&format!("fn f() {{\n    {mark}\n}}\n"));
            assert_eq!(said(finished(&planted)), [format!("{mark} marks unfinished work")]);
        }
        assert_eq!(finished(&file("#[test]\nfn finished() {}")), []);
    }

    #[test]
    fn canary_pure() {
        let cases = [
            ("let now = Instant::now();", 1),
            ("use std::collections::{HashMap, HashSet};", 2),
            ("pub async fn ask() {}", 1),
            ("    eprintln!(\"x\");", 1),
            ("/// Not a `HashMap`, which iterates at random.", 0),
            ("#[cfg(test)]\nmod tests {\n    use std::env::args;\n    fn f() {\n    }\n}\n", 0),
            ("#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nlet a = thread_rng();", 1),
            ("#[cfg(test)]\nmod oracle;\nlet a = SystemTime::now();", 1),
            ("#[cfg(test)]\n#[path = \"t.rs\"]\nmod tests;\nlet a = std::env::var(\"A\");", 1),
        ];
        let crates = [sound("ledger", Floor::Number(1))];
        for (text, expected) in cases {
            assert_eq!(pure(&crates, &file(text)).len(), expected, "{text}");
        }
    }

    #[test]
    fn only_the_sources_of_the_pure_floors_are_pure() {
        let cases = [
            ("crates/ledger/src/book/entry.rs", 2, 1),
            ("crates/ledger/src/lib.rs", 3, 0),
            ("crates/ledger/src/tests.rs", 1, 0),
            ("crates/ledger/tests/journal.rs", 1, 0),
            ("crates/ledger-old/src/lib.rs", 1, 0),
        ];
        for (path, floor, expected) in cases {
            let crates = [sound("ledger", Floor::Number(floor))];
            let planted = File { path: path.to_owned(), text: "HashMap".to_owned() };
            assert_eq!(pure(&crates, &planted).len(), expected, "{path} on floor {floor}");
        }
    }
}
