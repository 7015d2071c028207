//! `fondaco backup` and all its words, on a market of real processes.

mod market;
mod parts;

use fondaco_agent::BookFile;
use market::{Noise, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn find<'a>(lines: &'a [Value], event: &str) -> &'a Value {
    lines.iter().rev().find(|line| line["event"] == event).unwrap()
}

#[allow(clippy::print_stderr)] // what cannot be shown here is said
fn not_mounted() {
    eprintln!("SKIPPED: nothing can be mounted here (/dev/fuse)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_of_backups() {
    let mut market = market(5).await;
    let source = market.source.clone();
    fs::create_dir_all(source.join("letters")).unwrap();
    fs::write(source.join("letters/one"), b"dear all").unwrap();
    fs::write(source.join("empty"), b"").unwrap();
    fs::hard_link(source.join("letters/one"), source.join("twin")).unwrap();
    symlink("letters/one", source.join("link")).unwrap();
    symlink("../nowhere", source.join("dangling")).unwrap();
    fs::write(source.join(OsStr::from_bytes(b"not \xff utf-8")), b"odd").unwrap();
    let sparse = fs::File::create_new(source.join("sparse")).unwrap();
    sparse.set_len(256 << 20).unwrap();
    sparse.write_all_at(b"an island", 1 << 27).unwrap();
    drop(sparse);

    // What it would cost; nothing is opened or held.
    let args = market.create_args(&["--budget", "90 TST/month", "--dry-run"]);
    let quoted = market.world.run("buyer", args).await.unwrap();
    let quote = find(&quoted, "dry-run");
    let n = usize::try_from(quote["n"].as_u64().unwrap()).unwrap();
    assert_eq!(quote["currency"], "TST");
    assert_eq!(quoted.iter().filter(|line| line["chosen"] == true).count(), n);
    let failure = market
        .world
        .run("buyer", market.create_args(&["--budget", "0.000001 TST/month"]))
        .await
        .unwrap_err()
        .to_string();
    assert!(failure.contains("budget"), "{failure}");
    let balance = market.world.ask("buyer", ["balance"]).await.unwrap();
    assert_eq!(balance["held"], "0.000000");

    let made = market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let first = find(&made, "backup")["snapshot"].as_str().unwrap().to_owned();
    let opened = find(&made, "contracts");
    assert_eq!(opened["held"], quote["held"], "the quote is what was then asked");
    market.restored_equals_the_source("buyer", "restored").await;

    // What is in it.
    let listed = market.backup("buyer", &["ls", "latest", "letters"]).await;
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["path"], &listed[0]["bytes"]), (&"one".into(), &8.into()));
    let all = market.backup("buyer", &["ls", &first, "--recursive"]).await;
    assert_eq!(all.len(), 8, "{all:?}");
    // A folder in it, and a file.
    for (path, file) in [("letters", "one"), ("letters/one", "one")] {
        let to = market.world.home("part");
        market.backup("buyer", &["restore", &first, path, "--to", to.to_str().unwrap()]).await;
        assert_eq!(fs::read(to.join(file)).unwrap(), b"dear all");
        fs::remove_dir_all(&to).unwrap();
    }
    // A link on the spot is not written through.
    let to = market.world.home("part");
    fs::create_dir(&to).unwrap();
    symlink(&source, to.join("one")).unwrap();
    let args = ["backup", "restore", &first, "letters", "--to", to.to_str().unwrap()];
    let failure = market.world.run("buyer", args).await.unwrap_err().to_string();
    assert!(failure.contains("is a link"), "{failure}");

    // As a folder, where this machine lets anybody mount.
    if Path::new("/dev/fuse").exists() {
        let to = market.world.home("mounted");
        fs::create_dir(&to).unwrap();
        let path = to.to_str().unwrap();
        market
            .world
            .start("buyer", ["backup", "mount", "latest", path, "--no-cache"])
            .await
            .unwrap();
        let (source, mounted) = (source.clone(), to.clone());
        let compared = tokio::task::spawn_blocking(move || {
            fs::remove_file(mounted.join("empty")).unwrap_err(); // it is there to be read
            compare::compare(&source, &mounted, None)
        });
        let compared = compared.await.unwrap();
        market.world.stop("buyer").await;
        compared.unwrap();
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0, "it is unmounted");
        // One that is killed leaves what answers nobody, until it is taken away.
        let mount = ["backup", "mount", "latest", path, "--no-cache"];
        market.world.start("buyer", mount).await.unwrap();
        market.world.kill("buyer").await.unwrap();
        let failed = market.world.run_to("buyer", mount, 1).await.unwrap().pop().unwrap();
        assert_eq!(failed["hint"], format!("fusermount -u {path}"), "{failed}");
        if let Ok(status) = Command::new("fusermount").args(["-u", path]).status() {
            assert!(status.success(), "the hint is wrong");
            assert_eq!(fs::read_dir(&to).unwrap().count(), 0, "it is free again");
        } else {
            // Nothing is left on a machine that has no `fusermount`.
            let _ = Command::new("umount").arg(path).status();
        }
    } else {
        not_mounted();
    }

    // Something changes, and much of it goes again.
    let noise = Noise::new().bytes(8 << 20);
    fs::write(source.join("noise"), noise).unwrap();
    fs::write(source.join("letters/one"), b"dear all, again").unwrap();
    let made = market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let second = find(&made, "backup")["snapshot"].as_str().unwrap().to_owned();
    let diff = market.backup("buyer", &["diff", &first, &second]).await;
    let sums = find(&diff, "diff");
    assert_eq!((&sums["added"], &sums["removed"]), (&1.into(), &0.into()), "{diff:?}");
    assert!(diff.iter().any(|line| line["path"] == "letters/one" && line["change"] == "content"));
    fs::remove_file(source.join("noise")).unwrap();
    let made = market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let third = find(&made, "backup")["snapshot"].as_str().unwrap().to_owned();

    let before = stored(&market.backup("buyer", &["cost"]).await);
    let would = market.backup("buyer", &["forget", "--keep-last", "1", "--dry-run"]).await;
    assert_eq!(find(&would, "forget")["forgotten"], 2);
    assert_eq!(market.backup("buyer", &["list"]).await.len(), 3);
    let done = market.backup("buyer", &["forget", "--keep-last", "1", "--prune"]).await;
    assert!(find(&done, "prune")["removed"].as_u64().unwrap() > 8 << 20, "{done:?}");
    let left = market.backup("buyer", &["list"]).await;
    assert_eq!((left.len(), &left[0]["snapshot"]), (1, &third.as_str().into()));
    let after = stored(&market.backup("buyer", &["cost"]).await);
    assert!(after + (16 << 20) < before, "{before} were kept, and now {after}");
    market.backup("buyer", &["prune"]).await;

    let would = market.backup("buyer", &["forget", "--all", "--dry-run"]).await;
    assert_eq!(
        (&find(&would, "forget")["forgotten"], &find(&would, "forget")["kept"]),
        (&1.into(), &0.into())
    );

    let checked = market.backup("buyer", &["check", "--read-data", "--no-cache"]).await;
    assert_eq!(find(&checked, "check")["errors"], Value::Array(Vec::new()));
    market.restored_equals_the_source("buyer", "restored-again").await;
    // With the hosts gone a check says so.
    for host in &market.hosts.clone() {
        market.world.kill(host).await.unwrap();
    }
    // Also where the cache has what shows what there should be: that hosts are away is no damage.
    for args in [&["--read-data", "--no-cache"][..], &["--read-data"], &[]] {
        let args = [&["backup", "check"], args].concat();
        let lines = market.world.run_to("buyer", args, 6).await.unwrap();
        let hint = lines.last().unwrap()["hint"].as_str().unwrap();
        assert!(hint.contains("start the missing hosts"), "{lines:?}");
    }
    let costs = market.backup("buyer", &["cost"]).await;
    assert_eq!(costs.iter().filter(|line| line["answers"] == false).count(), n);
    market.world.end().await;
}

/// Whoever backs up may not be allowed to read everything: the rest goes on, and what is missing is named.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named() {
    let market = market(5).await;
    fs::write(market.source.join("open"), b"for everybody").unwrap();
    fs::write(market.source.join("secret"), b"for nobody").unwrap();
    fs::create_dir(market.source.join("closed")).unwrap();
    fs::write(market.source.join("closed/inside"), b"unseen").unwrap();
    for name in ["secret", "closed"] {
        fs::set_permissions(market.source.join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Root may read all, so it must be somebody else who backs up.
    let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
    let home = market.world.home("buyer");
    if fs::metadata(&home).unwrap().uid() == 0 {
        let top = market.world.path();
        // Where the program was built may be closed to others.
        let program = top.join("fondaco");
        fs::copy(env!("CARGO_BIN_EXE_fondaco"), &program).unwrap();
        command = Command::new(program);
        fs::set_permissions(top, fs::Permissions::from_mode(0o755)).unwrap();
        give(&home, NOBODY);
        command.uid(NOBODY).gid(NOBODY);
    }
    command.arg("--home").arg(&home).arg("--json").args(market.create_args(&[]));
    let output = command.stdin(Stdio::null()).output().unwrap();
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(output.status.code(), Some(1), "{lines:?}");
    let backup = find(&lines, "backup");
    let problems = backup["problems"].to_string();
    assert!(
        problems.contains("/source/secret") && problems.contains("/source/closed"),
        "{problems}"
    );
    assert_eq!(backup["files"], 1, "{backup}");
    let error = lines.last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains("2 things could not be read"), "{error}");
    give(&home, 0);
    let listed = market.backup("buyer", &["ls", "latest", "--recursive"]).await;
    assert!(listed.iter().any(|line| line["path"] == "open"), "{listed:?}");
    for name in ["secret", "closed"] {
        fs::set_permissions(market.source.join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
    market.world.end().await;
}

const NOBODY: u32 = 65534;

/// Gives a folder and all in it to a user; only root may, and only root need.
fn give(path: &Path, user: u32) {
    let _ = chown(path, Some(user), Some(user));
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// What all hosts together keep.
fn stored(lines: &[Value]) -> u64 {
    find(lines, "cost")["stored"].as_u64().unwrap()
}

/// It is away for one backup, and comes back: one contract was opened in place of its, nothing was sent in vain, nothing counts as
/// lost, and nothing is done again.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_away_for_one_backup_has_lost_nothing() {
    // More than the books and the small objects come to; less than a shard of what is backed up.
    const LITTLE: u64 = 512 << 10;
    let mut market = market(5).await;
    market.write_noise(4);
    let made = market.world.run("buyer", market.create_args(&["--survive", "0.99"])).await.unwrap();
    assert!(find(&made, "contracts")["n"].as_u64().unwrap() < 5, "one host is left over");
    let before = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let away = market.host_of(before[0]["provider"].as_str().unwrap());
    let socket = market.world.address(&away).unwrap().rsplit('@').next().unwrap().to_owned();
    market.world.stop(&away).await;

    market.write_noise(5);
    let source = market.source.to_str().unwrap().to_owned();
    let create = ["backup", "create", &source, "--survive", "0.99"];
    let without = market.world.run("buyer", create).await.unwrap();
    let (contracts, backup) = (find(&without, "contracts"), find(&without, "backup"));
    let (k, n) = (contracts["k"].as_u64().unwrap(), contracts["n"].as_u64().unwrap());
    assert_eq!(contracts["kept"].as_u64(), Some(n - 1), "{contracts}");
    let (sent, new) = (backup["sent"].as_u64().unwrap(), backup["added"].as_u64().unwrap());
    assert!((4 << 20..5 << 20).contains(&new), "only the fifth file is new: {backup}");
    assert!(sent < new * n / k + LITTLE, "it is sent once, {k} of {n}: {backup}");
    market.world.start(&away, ["up", "--listen", &socket]).await.unwrap();
    let written = |lines: &[Value], contract: &Value| {
        let line = lines.iter().find(|line| line["contract"] == *contract).unwrap();
        line["written"].as_u64().unwrap()
    };
    let after = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    assert_eq!(after.len(), before.len() + 1, "one is opened: {after:?}");
    for (line, share) in before.iter().zip([0].into_iter().chain([new / k; 254])) {
        let more = written(&after, &line["contract"]) - line["written"].as_u64().unwrap();
        assert!(more < share + LITTLE, "{more} bytes were written in vain: {line}");
    }

    let book = BookFile::open(&market.world.home("buyer").join("agent/journal")).unwrap();
    book.read(|book| {
        let mut contracts = book.contracts();
        assert!(contracts.all(|(contract, _)| !book.is_lost(contract)));
        assert!(book.records().all(|(_, record)| record.losses().0.is_zero()));
    });
    drop(book);
    let looked = market.backup("buyer", &["repair", "--now"]).await;
    let sets: Vec<_> = looked.iter().filter(|line| line["event"] == "health").collect();
    assert!(sets.iter().all(|set| set["live"] == set["n"]), "{looked:?}");
    assert!(!looked.iter().any(|line| line["event"] == "repaired"), "{looked:?}");
    let again = market.world.run("buyer", create).await.unwrap();
    assert!(!again.iter().any(|line| line["event"] == "contracts"), "{again:?}");
    assert!(find(&again, "backup")["sent"].as_u64().unwrap() < LITTLE, "{again:?}");
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}
