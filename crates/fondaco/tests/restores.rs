//! What a restore does with the folder that it writes into, with one file alone, and where it cannot write.

mod market;
mod parts;

use market::{Market, market};
use parts::{compare, failure, world};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, getxattr, mknodat, setxattr};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

const ATTRIBUTE: &str = "user.fondaco";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn attribute(path: &Path) -> Option<Vec<u8>> {
    let mut value = [0; 16];
    let length = getxattr(path, ATTRIBUTE, &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

impl Market {
    /// Restores, and returns what is told at the end.
    async fn restore(&self, what: &[&str], to: &Path) -> Value {
        let end = ["--no-cache", "--to", to.to_str().unwrap()];
        let args = [&["restore"], what, &end].concat();
        let lines = self.backup("buyer", &args).await;
        lines.into_iter().find(|line| line["event"] == "restore").unwrap()
    }

    /// Runs a command that is to fail; returns its last line.
    async fn fails(&self, args: &[&str], code: i32) -> Value {
        let args = ["backup"].iter().chain(args);
        self.world.run_to("buyer", args.copied(), code).await.unwrap().pop().unwrap()
    }
}

/// A folder that was closed to others stays so, whatever it is restored into, unless that is somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn the_folder_itself_is_restored_and_one_file_alone() {
    let market = market(4).await;
    let source = market.source.clone();
    fs::create_dir(source.join("docs")).unwrap();
    fs::write(source.join("docs/one"), b"dear all").unwrap();
    symlink("docs/one", source.join("link")).unwrap();
    mknodat(CWD, source.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    // Not all file systems have attributes.
    let has_attributes = setxattr(&source, ATTRIBUTE, b"top", XattrFlags::empty()).is_ok();
    fs::set_permissions(&source, Permissions::from_mode(0o700)).unwrap();
    let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(&source).unwrap().set_modified(old).unwrap();
    market.world.run("buyer", market.create_args(&["--survive", "0.9"])).await.unwrap();
    let is_restored = |to: &Path| {
        compare::compare(&source, to, None).unwrap();
        assert_eq!(mode(to), 0o700);
        assert_eq!(attribute(to).is_some(), has_attributes);
    };

    // A folder that is not there, nor what it is in; one that is empty; and one that was restored before.
    let to = market.world.home("a").join("b");
    let told = market.restore(&["latest"], &to).await;
    let none = Value::Array(Vec::new());
    assert_eq!((&told["problems"], &told["entries"]), (&none, &5.into()));
    is_restored(&to);
    let empty = market.world.home("empty");
    fs::create_dir(&empty).unwrap();
    market.restore(&["latest"], &empty).await;
    is_restored(&empty);
    let told = market.restore(&["latest"], &empty).await;
    assert_eq!((&told["problems"], &told["unmade"]), (&none, &none), "{told}");
    is_restored(&empty);
    // Where something else lies in the way of a pipe or a link, not all is restored.
    for name in ["pipe", "link"] {
        fs::remove_file(empty.join(name)).unwrap();
        fs::write(empty.join(name), b"mine").unwrap();
    }
    let args = ["backup", "restore", "latest", "--no-cache", "--to", empty.to_str().unwrap()];
    let lines = market.world.run_to("buyer", args, 1).await.unwrap();
    let told = lines.iter().find(|line| line["event"] == "restore").unwrap();
    let unmade: Vec<&str> =
        told["unmade"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(unmade[0].contains("link") && unmade[1].contains("pipe"), "{told}");
    let error = lines.last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains("something else lies there, and so with 1 more"), "{error}");
    assert_eq!((fs::read(empty.join("pipe")).unwrap(), unmade.len()), (b"mine".to_vec(), 2));
    // What is somebody else's keeps its permissions, and that is told.
    let used = market.world.home("used");
    fs::create_dir(&used).unwrap();
    fs::write(used.join("other"), b"other").unwrap();
    fs::set_permissions(&used, Permissions::from_mode(0o750)).unwrap();
    let told = market.restore(&["latest"], &used).await;
    assert!(told["problems"].to_string().contains("stays 750"), "{told}");
    assert_eq!((mode(&used), attribute(&used)), (0o750, None));

    // One file, and one link: into a folder as any that is made, without a false alarm.
    let usual = market.world.home("usual");
    fs::create_dir(&usual).unwrap();
    for (path, name) in [("docs/one", "one"), ("link", "link")] {
        let to = market.world.home(&format!("only-{name}"));
        let told = market.restore(&["latest", path], &to).await;
        assert_eq!((&told["problems"], &told["entries"]), (&Value::Array(Vec::new()), &1.into()));
        assert_eq!(mode(&to), mode(&usual));
        assert_eq!(to.read_dir().unwrap().count(), 1);
        // And beside others.
        let beside = market.world.home(&format!("beside-{name}"));
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("other"), b"other").unwrap();
        let told = market.restore(&["latest", path], &beside).await;
        assert_eq!(told["problems"], Value::Array(Vec::new()));
    }
    assert_eq!(fs::read(market.world.home("only-one").join("one")).unwrap(), b"dear all");
    let link = market.world.home("only-link").join("link");
    assert_eq!(fs::read_link(link).unwrap(), Path::new("docs/one"));
    market.world.end().await;
}

/// What is named and is not there has its own exit code, and what shows what is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told() {
    let market = market(4).await;
    fs::create_dir(market.source.join("docs")).unwrap();
    fs::write(market.source.join("docs/one"), b"dear all").unwrap();
    market.world.run("buyer", market.create_args(&["--survive", "0.9"])).await.unwrap();
    let to = market.world.home("none").join("at").join("all");
    let into = ["--to", to.to_str().unwrap()];
    let table: [(&[&str], &str); 6] = [
        (&["restore", "latest", "nope"], "backup ls"),
        (&["restore", "latest", "docs/one/nope"], "backup ls"),
        (&["restore", "zzzz"], "backup list"),
        (&["ls", "zzzz"], "backup list"),
        (&["diff", "latest", "latest~7"], "backup list"),
        (&["forget", "zzzz"], "backup list"),
    ];
    for (args, hint) in table {
        let into: &[&str] = if args[0] == "restore" { &into } else { &[] };
        let failed = market.fails(&[args, into].concat(), 3).await;
        assert!(failed["hint"].as_str().unwrap().contains(hint), "{failed}");
        assert!(!failed["error"].as_str().unwrap().contains("kind:"), "{failed}");
    }
    assert!(!market.world.home("none").exists());
    market.world.end().await;
}

/// Nothing in a folder is something to back up: that there is one, and whose.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_is_listed_restored_and_compared() {
    let market = market(4).await;
    fs::set_permissions(&market.source, Permissions::from_mode(0o710)).unwrap();
    market.world.run("buyer", market.create_args(&["--survive", "0.9"])).await.unwrap();
    assert_eq!(market.backup("buyer", &["list"]).await.len(), 1);
    assert!(market.backup("buyer", &["ls", "latest", "--recursive"]).await.is_empty());
    let to = market.world.home("restored");
    market.restore(&["latest"], &to).await;
    compare::compare(&market.source, &to, None).unwrap();
    assert_eq!(mode(&to), 0o710);
    let diff = market.backup("buyer", &["diff", "latest", "latest"]).await;
    assert_eq!(diff.last().unwrap()["changed"], 0);
    market.backup("buyer", &["check", "--read-data"]).await;
    // What changed is the folder itself.
    fs::set_permissions(&market.source, Permissions::from_mode(0o750)).unwrap();
    market.world.run("buyer", market.create_args(&["--survive", "0.9"])).await.unwrap();
    let diff = market.backup("buyer", &["diff", "latest~1", "latest"]).await;
    assert_eq!((&diff[0]["path"], &diff[0]["change"]), (&".".into(), &"metadata".into()));
    assert_eq!(diff.last().unwrap()["changed"], 1, "{diff:?}");
    market.world.end().await;
}

/// A name is bytes, and need not be text: it is found by what it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_no_text_is_listed_restored_and_compared() {
    let market = market(4).await;
    let name = OsStr::from_bytes(b"caf\xe9");
    let source = market.source.join(name);
    fs::create_dir(&source).unwrap();
    fs::write(source.join("one"), b"dear all").unwrap();
    // As it would be shown: another name, and another folder.
    fs::create_dir(market.source.join("caf\u{fffd}")).unwrap();
    let create = market.create_args(&["--survive", "0.9"]);
    market.world.run("buyer", create.clone()).await.unwrap();
    let run = async |args: &[&OsStr]| {
        let args = [&[OsStr::new("backup")], args].concat();
        market.world.run("buyer", args).await.unwrap()
    };
    let [ls, restore, latest, to] = ["ls", "restore", "latest", "--to"].map(OsStr::new);
    let listed = run(&[ls, latest, name]).await;
    assert_eq!((listed.len(), &listed[0]["path"]), (1, &"one".into()), "{listed:?}");
    let into = market.world.home("restored");
    run(&[restore, latest, name, to, into.as_os_str()]).await;
    compare::compare(&source, &into, None).unwrap();
    let one = Path::new(name).join("one");
    let into = market.world.home("only-one");
    run(&[restore, latest, one.as_os_str(), to, into.as_os_str()]).await;
    assert_eq!(fs::read(into.join("one")).unwrap(), b"dear all");
    fs::write(source.join("one"), b"dear all, again").unwrap();
    market.world.run("buyer", create).await.unwrap();
    let diff = market.backup("buyer", &["diff", "latest~1", "latest"]).await;
    let content = |line: &&Value| line["change"] == "content";
    assert_eq!(diff.iter().find(content).unwrap()["path"], "caf\u{fffd}/one", "{diff:?}");
    market.world.end().await;
}

fn fondaco(home: &Path, to: &Path) -> String {
    let program = env!("CARGO_BIN_EXE_fondaco");
    let (home, to) = (home.display(), to.display());
    format!("exec {program} --home {home} --json backup restore latest --no-cache --to {to}")
}

/// Runs a line of a shell that is to end with 1; returns the last line that it wrote.
fn told(program: &mut Command) -> Value {
    let output = program.stdin(Stdio::null()).output().unwrap();
    let (out, complaint) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(1), "{} {complaint}", String::from_utf8_lossy(&out));
    assert!(!complaint.contains("panicked"), "{complaint}");
    let text = String::from_utf8(out).unwrap() + &complaint;
    let last = text.lines().rev().find(|line| line.contains("\"error\"")).unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("{text}"))
}

#[allow(clippy::print_stderr)] // what cannot be shown here is said
fn can_mount() -> bool {
    let can = Command::new("unshare").args(["-rm", "true"]).output();
    let can = can.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("SKIPPED: no mounts of one's own can be had here (unshare -rm)");
    }
    can
}

/// A disk that fills up, and a limit on the length of files, are told in words, with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_written_is_told() {
    let market = market(4).await;
    market.write_noise(2);
    market.world.run("buyer", market.create_args(&["--survive", "0.9"])).await.unwrap();
    let home = market.world.home("buyer");
    let place = |name: &str| -> PathBuf { market.world.home(name) };
    let no_internals = |failed: &Value| {
        let error = failed["error"].as_str().unwrap();
        assert!(error.starts_with("cannot write below "), "{error}");
        for word in ["Os {", "unwrap", "rustic", "kind"] {
            assert!(!error.contains(word), "{error}");
        }
    };

    // In blocks of 512 bytes: less than a file, and more than any of the buyer's own.
    let short = place("short");
    for is_there in [false, true] {
        if is_there {
            fs::create_dir(&short).unwrap();
        }
        let line = format!("umask 022; ulimit -f 6000; {}", fondaco(&home, &short));
        let failed = told(Command::new("sh").args(["-c", &line]));
        no_internals(&failed);
        assert!(failed["hint"].as_str().unwrap().contains("ulimit -f"), "{failed}");
        // What was written before that is for its owner alone.
        let written: Vec<_> = fs::read_dir(&short).unwrap().map(Result::unwrap).collect();
        assert!(!written.is_empty(), "something was written");
        for entry in written {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{entry:?}");
        }
        fs::remove_dir_all(&short).unwrap();
    }

    if can_mount() {
        for (options, hint) in [("size=3m", "free some space"), ("size=64m,ro", "can be written")] {
            let to = place("full");
            fs::create_dir_all(&to).unwrap();
            let line = format!(
                "mount -t tmpfs -o {options} none {} && {}",
                to.display(),
                fondaco(&home, &to)
            );
            let failed = told(Command::new("unshare").args(["-rm", "sh", "-c", &line]));
            no_internals(&failed);
            assert!(failed["hint"].as_str().unwrap().contains(hint), "{failed}");
        }
    }
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}
