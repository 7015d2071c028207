//! What goes wrong with an issuer's books and disk, by the real command: each is named, and none moves money.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn command(home: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
    command.arg("--home").arg(home).args(args.split(' ')).stdin(Stdio::null());
    command
}

fn succeed(home: &Path, args: &str) -> String {
    let Output { status, stdout, stderr } = command(home, args).output().unwrap();
    assert!(status.success(), "{args}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Runs what must fail with this code, and say all of this.
fn fail(home: &Path, args: &str, code: i32, says: &[&str]) {
    let Output { status, stderr, .. } = command(home, args).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{args}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for part in says {
        assert!(said.contains(part), "{args} says {said:?}, and not {part:?}");
    }
}

fn issuer(home: &Path) {
    succeed(home, "init --no-passphrase");
    succeed(home, "issuer init --name Test --symbol TST --scale 0");
}

/// A running issuer; killed when dropped.
struct Up(std::process::Child);

impl Up {
    fn start(home: &Path) -> Self {
        let mut up = command(home, "issuer up --listen 127.0.0.1:0 --soap none");
        let child = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (address, started) = (home.join("issuer").join("address"), Instant::now());
        while !address.exists() {
            assert!(started.elapsed() < Duration::from_secs(30), "the issuer does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(child)
    }
}

impl Up {
    /// Stops it in order.
    fn end(mut self) {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

#[test]
fn books_that_are_in_use_or_damaged_are_refused_by_name() {
    let top = tempfile::tempdir().unwrap();
    let home = &top.path().join("home");
    issuer(home);
    {
        let _up = Up::start(home);
        let holder = succeed(home, "identity show --hex");
        for _ in 0..3 {
            succeed(home, &format!("issuer mint 5 --to {}", holder.trim()));
        }
        fail(home, "issuer up --listen 127.0.0.1:0", 4, &["in use by another process", "Hint:"]);
        fail(home, "issuer audit", 4, &["in use by another process"]);
    }
    assert!(succeed(home, "--json issuer audit").contains("\"balanced\":true"));

    // One bit of the first frame, before the last: nothing is cut off, and the place is named.
    let journal = home.join("issuer").join("journal");
    let sound = std::fs::read(&journal).unwrap();
    let mut damaged = sound.clone();
    damaged[100] ^= 1;
    std::fs::write(&journal, &damaged).unwrap();
    for args in ["issuer audit", "issuer up --listen 127.0.0.1:0"] {
        fail(home, args, 8, &["damaged at byte", "Hint:"]);
    }
    assert_eq!(std::fs::read(&journal).unwrap(), damaged, "what is damaged is not touched");
    std::fs::write(&journal, sound).unwrap();
    assert!(succeed(home, "--json issuer audit").contains("\"balanced\":true"));
}

/// The last frame, damaged at rest, looks torn; history and snapshot know that it was acknowledged.
#[test]
fn a_damaged_last_record_is_kept_for_whoever_can_mend_it() {
    let top = tempfile::tempdir().unwrap();
    let home = &top.path().join("home");
    issuer(home);
    {
        let up = Up::start(home);
        let holder = succeed(home, "identity show --hex");
        for _ in 0..3 {
            succeed(home, &format!("issuer mint 5 --to {}", holder.trim()));
        }
        up.end();
    }
    let folder = home.join("issuer");
    let journal = folder.join("journal");
    let sound = std::fs::read(&journal).unwrap();
    let end = sound.iter().rposition(|byte| *byte != 0).unwrap();
    let mut damaged = sound.clone();
    damaged[end - 40..end - 33].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(&journal, &damaged).unwrap();
    for args in ["issuer up --listen 127.0.0.1:0 --soap none", "issuer audit"] {
        fail(home, args, 8, &["acknowledged records are lost", "Hint:"]);
    }
    let books = home.join("books");
    fail(home, &format!("issuer export --to {}", books.display()), 8, &["records are lost"]);
    let copy = top.path().join("copy");
    fail(
        home,
        &format!("issuer backup --to {}", copy.display()),
        8,
        &["records are lost", "Hint:"],
    );
    assert!(!copy.join("journal").exists(), "nobody takes it for a sound copy");
    assert_eq!(std::fs::read(&journal).unwrap(), damaged, "what is damaged is not touched");

    // Where nobody knows better, it is told as what it looks like, and still not touched.
    for behind in ["history.redb", "snapshot"] {
        let _ = std::fs::rename(folder.join(behind), folder.join(format!("{behind}.away")));
    }
    assert!(!succeed(home, "--json issuer audit").contains("\"torn_bytes\":0"));
    assert!(succeed(home, "issuer audit").contains("not whole"));
    assert_eq!(std::fs::read(&journal).unwrap(), damaged);

    std::fs::write(&journal, &sound).unwrap();
    assert!(succeed(home, "--json issuer audit").contains("\"torn_bytes\":0"));
}

/// What was exported before stays until there is a new one, which is its owner's alone.
#[test]
fn an_export_replaces_a_file_when_it_is_whole() {
    use std::os::unix::fs::PermissionsExt as _;
    let top = tempfile::tempdir().unwrap();
    let (home, file) = (&top.path().join("home"), top.path().join("books.beancount"));
    let export = format!("issuer export --to {}", file.display());
    std::fs::write(&file, "of last year").unwrap();
    succeed(home, "init --no-passphrase");
    fail(home, &export, 3, &["no books"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "of last year");
    succeed(home, "issuer init --name Test --symbol TST --scale 0");
    succeed(home, &export);
    assert!(std::fs::read_to_string(&file).unwrap().contains("TST"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 2, "nothing else is left");
    succeed(home, "issuer export --to /dev/stdout");
    let folder = format!("issuer export --to {}", top.path().display());
    fail(home, &folder, 1, &["Is a directory", "Hint: it is a folder: name a file in it"]);
    assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 2, "nothing else is left");
}

/// Without a key, or the passphrase that opens it, nothing is restored, and with one it is.
#[test]
fn a_restore_asks_for_the_key_first() {
    let top = tempfile::tempdir().unwrap();
    let [home, copy, new] = &["home", "copy", "new"].map(|name| top.path().join(name));
    issuer(home);
    succeed(home, &format!("issuer backup --to {}", copy.display()));
    let restore = format!("issuer restore --from {}", copy.display());
    fail(new, &restore, 3, &["there is no key"]);
    assert!(!new.join("issuer").exists());
    let with = |passphrase: &str, args: &str| {
        command(new, args).env("FONDACO_PASSPHRASE", passphrase).output().unwrap()
    };
    assert!(with("right", "init").status.success());
    let refused = with("wrong", &restore);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(8), "{said}");
    assert!(said.contains("passphrase") && said.contains("Hint:"), "{said}");
    assert!(!new.join("issuer").exists(), "nothing was changed");
    let restored = with("right", &restore);
    assert!(String::from_utf8(restored.stdout).unwrap().contains("restore its key"));
}

/// What a script said on its two outputs.
struct Said {
    out: String,
    err: String,
}

impl Said {
    fn has(&self, out: &[&str], err: &[&str]) {
        for (parts, said, of) in [(out, &self.out, "out"), (err, &self.err, "err")] {
            for part in parts {
                assert!(
                    said.contains(part),
                    "no {part:?} on std{of}, but {}\n{}",
                    self.out,
                    self.err
                );
            }
        }
    }
}

/// Runs a script, where `$H` is the home and `$F` the command, with mounts of its own. Nothing where the system has none.
#[allow(clippy::print_stderr)] // what cannot be shown here is said
fn with_mounts(home: &Path, script: &str) -> Option<Said> {
    let can = Command::new("unshare").args(["-rm", "true"]).output();
    if !can.is_ok_and(|can| can.status.success()) {
        eprintln!("SKIPPED: no mounts of its own can be had here (unshare -rm)");
        return None;
    }
    let mut shell = Command::new("unshare");
    shell.args(["-rm", "sh", "-euc", script]).env("H", home);
    shell.env("F", format!("{} --home {}", env!("CARGO_BIN_EXE_fondaco"), home.display()));
    let Output { status, stdout, stderr } = shell.stdin(Stdio::null()).output().unwrap();
    let [out, err] = [stdout, stderr].map(|said| String::from_utf8(said).unwrap());
    assert!(status.success(), "{out}\n{err}");
    Some(Said { out, err })
}

#[test]
fn a_read_only_folder_is_named() {
    let top = tempfile::tempdir().unwrap();
    let home = &top.path().join("home");
    issuer(home);
    let said = with_mounts(
        home,
        "mount --bind $H $H; mount -o remount,ro,bind $H
         $F issuer up --listen 127.0.0.1:0 && exit 9 || echo code $?",
    );
    if let Some(said) = said {
        said.has(&["code 1"], &["issuer/journal", "may not be written", "Hint:"]);
    }
}

/// With a full disk money does not move, who asks is told why, what there is can be asked for; with room it goes on.
#[test]
fn a_full_disk_is_outlived() {
    let top = tempfile::tempdir().unwrap();
    let home = &top.path().join("home");
    std::fs::create_dir(home).unwrap();
    let said = with_mounts(
        home,
        "mount -t tmpfs -o size=8m none $H
         $F init --no-passphrase; $F issuer init --name Test --symbol TST --scale 0
         $F issuer up --listen 127.0.0.1:0 --soap none & up=$!
         trap 'kill -9 $up' EXIT
         for i in $(seq 100); do [ -e $H/issuer/address ] && break; sleep 0.1; done
         me=$($F identity show --hex)
         $F issuer mint 5 --to $me && exit 9 || echo refused $?
         $F init --no-passphrase --identity other
         $F --identity other wallet add $(cat $H/issuer/address); $F --identity other balance
         other=$($F identity show --hex --identity other)
         $F --identity other pay $me 3 && exit 9 || echo unpaid $?
         $F --identity other wallet add $(cat $H/issuer/address) --trust 50 && exit 9 || echo untold $?
         echo limited $($F --json --identity other balance); $F --identity other deposits --wait 1s
         for who in third fourth; do
             $F init --no-passphrase --identity $who; $F --identity $who wallet add $(cat $H/issuer/address)
             $F --identity $who pay $me 2 && exit 9 || echo unpaid $?
         done
         mount -o remount,size=64m $H
         sleep 1.2
         $F issuer mint 5 --to $me; echo supply $($F --json issuer mint 6 --to $me)
         $F issuer mint 5 --to $other
         $F --identity other history >/dev/null; $F --identity other deposits >/dev/null
         echo looked $($F --json --identity other balance)
         $F --identity other pay $me 1
         echo paid $($F --json --identity other balance)
         $F issuer mint 50 --to $other && exit 9 || echo over $?
         $F issuer mint 3 --to $($F identity show --hex --identity third)
         $F issuer mint 2 --to $($F identity show --hex --identity fourth)
         $F init --no-passphrase --identity next; $F --identity third wallet rotate --to next
         echo rotated $($F --json --identity next balance)
         $F --identity fourth wallet close",
    );
    if let Some(said) = said {
        said.has(
            &["refused 6", "0 TST", "\"11\""],
            &["no room left", "free some space on its disk"],
        );
        // What was not done yet is said to be saved. Looking does not pay it; paying does, and says so.
        said.has(&["unpaid 6"], &["not done yet", "saved here", "note: the payment of 3 TST to"]);
        // So do those that end what this key can do.
        assert_eq!(said.err.matches("note: the payment of 2 TST to").count(), 2, "{}", said.err);
        said.has(&["0 TST went to its issuer"], &[]);
        // A limit that cannot be told keeps nobody from looking, and is told by a later look.
        said.has(
            &["You accept Test (TST)", "untold 6"],
            &["not told of your limit", "nothing new"],
        );
        said.has(
            &["over 5"],
            &["note: the issuer was not told of your limit of 50 TST: not done yet"],
        );
        let after = |word: &str| said.out.lines().find(|line| line.starts_with(word)).unwrap();
        for (word, has) in [("limited", 0), ("looked", 5), ("paid {", 1), ("rotated", 1)] {
            assert!(after(word).contains(&format!("\"available\":\"{has}\"")), "{}", said.out);
        }
    }
}
