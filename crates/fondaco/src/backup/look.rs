//! `fondaco backup list`, `ls` and `diff`.

use super::{blocking, open, repo};
use crate::cli::{DiffArgs, LsArgs, ReadArgs};
use crate::failure::Failure;
use crate::home::Home;
use crate::screen::{printable, say};
use fondaco_agent::{Change, Difference, Entry, EntryKind, SnapshotInfo};
use fondaco_units::Bytes;
use serde_json::json;
use std::sync::Arc;

pub(super) async fn list(home: &Home, args: ReadArgs, json: bool) -> Result<(), Failure> {
    let agent = open(home, &args.seek, json).await?;
    let objects = Arc::new(agent.objects());
    let repo = repo(home, &agent, &objects, args.no_cache, json);
    let snapshots = blocking(move || repo.snapshots()).await?;
    for snapshot in &snapshots {
        show_snapshot(snapshot, "snapshot", json);
    }
    if snapshots.is_empty() && !json {
        say(
            "There are no snapshots yet. Make one with `fondaco backup create FOLDER --host ADDRESS …`.",
        );
    }
    Ok(())
}

pub(super) fn show_snapshot(snapshot: &SnapshotInfo, event: &str, json: bool) {
    say(&line_of_snapshot(snapshot, event, json));
}

fn line_of_snapshot(snapshot: &SnapshotInfo, event: &str, json: bool) -> String {
    let SnapshotInfo { snapshot, time, paths, files, bytes } = snapshot;
    if json {
        let line = json!({
            "event": event, "snapshot": snapshot, "time": time, "paths": paths, "files": files, "bytes": bytes,
        });
        return line.to_string();
    }
    let unknown = || "-".to_owned();
    let word = if *files == Some(1) { "file " } else { "files" };
    let files = files.map_or_else(unknown, |files| files.to_string());
    let bytes = bytes.map_or_else(unknown, |bytes| Bytes::new(bytes).to_string());
    let paths = printable(paths);
    format!("{snapshot}  {time:.19}  {files:>8} {word}  {bytes:>10}  {paths}")
}

pub(super) async fn ls(home: &Home, args: LsArgs, json: bool) -> Result<(), Failure> {
    let LsArgs { snapshot, path, recursive, read } = args;
    let agent = open(home, &read.seek, json).await?;
    let objects = Arc::new(agent.objects());
    let repo = repo(home, &agent, &objects, read.no_cache, json);
    blocking(move || {
        repo.look(&snapshot, path.as_deref(), recursive, |entry| {
            say(&line_of_entry(&entry, json));
        })
    })
    .await
}

fn line_of_entry(entry: &Entry, json: bool) -> String {
    let Entry { path, kind, bytes, mode, modified, target } = entry;
    // Names that are not UTF-8 are shown as well as they can be.
    let (path, target) = (path.to_string_lossy(), target.as_ref().map(|to| to.to_string_lossy()));
    let (word, letter) = match kind {
        EntryKind::File => ("file", '-'),
        EntryKind::Folder => ("folder", 'd'),
        EntryKind::Link => ("link", 'l'),
        EntryKind::Special => ("special", 's'),
    };
    if json {
        let line = json!({
            "event": "entry", "path": path, "kind": word, "bytes": bytes, "mode": format!("{:04o}", mode & 0o7777),
            "modified": modified, "target": target,
        });
        return line.to_string();
    }
    let size = match kind {
        EntryKind::File => Bytes::new(*bytes).to_string(),
        EntryKind::Folder | EntryKind::Link | EntryKind::Special => String::new(),
    };
    let modified = modified.as_deref().unwrap_or_default();
    let target = target.map_or_else(String::new, |target| format!(" -> {target}"));
    let named = printable(&format!("{path}{target}"));
    format!("{letter}{:04o}  {size:>10}  {modified:19.19}  {named}", mode & 0o7777)
}

pub(super) async fn diff(home: &Home, args: DiffArgs, json: bool) -> Result<(), Failure> {
    let DiffArgs { first, second, read } = args;
    let agent = open(home, &read.seek, json).await?;
    let objects = Arc::new(agent.objects());
    let repo = repo(home, &agent, &objects, read.no_cache, json);
    let sums = blocking(move || {
        let mut sums = Sums::default();
        repo.diff(&first, &second, |difference| {
            sums.add(&difference);
            show_difference(&difference, json);
        })?;
        Ok(sums)
    })
    .await?;
    let Sums { added, removed, changed, bytes } = sums;
    if json {
        let line = json!({
            "event": "diff", "added": added, "removed": removed, "changed": changed, "bytes": bytes,
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "{added} added, {removed} removed, {changed} changed; {} in what is new or has other content.",
            Bytes::new(bytes)
        ));
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Sums {
    added: u64,
    removed: u64,
    changed: u64,
    bytes: u64,
}

impl Sums {
    fn add(&mut self, difference: &Difference) {
        match difference.change {
            Change::Added => self.added += 1,
            Change::Removed => self.removed += 1,
            Change::Kind | Change::Content | Change::Metadata => self.changed += 1,
        }
        if matches!(difference.change, Change::Added | Change::Content) {
            self.bytes += difference.bytes;
        }
    }
}

fn show_difference(difference: &Difference, json: bool) {
    let Difference { path, change, bytes } = difference;
    let path = path.to_string_lossy();
    let (word, sign) = match change {
        Change::Added => ("added", '+'),
        Change::Removed => ("removed", '-'),
        Change::Kind => ("kind", 'T'),
        Change::Content => ("content", 'M'),
        Change::Metadata => ("metadata", 'U'),
    };
    if json {
        let line = json!({ "event": "difference", "path": path, "change": word, "bytes": bytes });
        say(&line.to_string());
    } else {
        say(&format!("{sign}  {}", printable(&path)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line for each: how many files and bytes are noted; what is shown, and in JSON.
    #[test]
    fn a_count_that_is_not_noted_is_not_none() {
        for (count, shown, json) in [
            (None, "       - files           -  /a", "null"),
            (Some(0), "       0 files         0 B  /a", "0"),
            (Some(1), "       1 file          1 B  /a", "1"),
        ] {
            let snapshot = SnapshotInfo {
                snapshot: "12345678".to_owned(),
                time: "2022-08-01T10:00:00+02:00".to_owned(),
                paths: "/a".to_owned(),
                files: count,
                bytes: count,
            };
            let line = line_of_snapshot(&snapshot, "snapshot", false);
            assert_eq!(line, format!("12345678  2022-08-01T10:00:00  {shown}"));
            let line = line_of_snapshot(&snapshot, "snapshot", true);
            assert!(line.contains(&format!("\"files\":{json},")), "{line}");
            assert!(line.contains(&format!("\"bytes\":{json},")), "{line}");
        }
    }

    /// Whoever names a file does not write on the screen of who looks.
    #[test]
    fn a_name_does_not_move_the_cursor() {
        let entry = Entry {
            path: "a\nb\x1b[2J".into(),
            kind: EntryKind::Link,
            bytes: 0,
            mode: 0o120_777,
            modified: None,
            target: Some("c\rd".into()),
        };
        let line = line_of_entry(&entry, false);
        assert!(line.ends_with("a\u{fffd}b\u{fffd}[2J -> c\u{fffd}d"), "{line:?}");
        let line: serde_json::Value = serde_json::from_str(&line_of_entry(&entry, true)).unwrap();
        assert_eq!((&line["path"], &line["target"]), (&"a\nb\x1b[2J".into(), &"c\rd".into()));
    }
}
