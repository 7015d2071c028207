//! What a person does wrong, and what they are told: a sentence, a hint, an exit code.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
    // What whoever runs the tests has set is not to give the passphrases of the tests.
    for name in ["FONDACO_PASSPHRASE", "FONDACO_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(name);
    }
    command.arg("--home").arg(home).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Runs a command that must fail; returns its exit code and what it said.
fn fail(home: &Path, args: &[&str]) -> (i32, String) {
    let output = run(home, args);
    assert!(!output.status.success(), "{args:?} succeeded");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().unwrap(), said)
}

fn succeed(home: &Path, args: &[&str]) -> String {
    let output = run(home, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn mistakes_are_named() {
    let top = tempfile::tempdir().unwrap();
    let home = &top.path().join("home");
    let folder = top.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let folder = folder.to_str().unwrap();
    let file = top.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let file = file.to_str().unwrap();

    // Before there is a key.
    let (code, said) = fail(home, &["balance"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("Hint:") && said.contains("fondaco init"), "{said}");
    succeed(home, &["init", "--no-passphrase"]);
    let (code, said) = fail(home, &["init"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("there is a key already: fon1"), "{said}");

    // An entity, but nobody's address: nothing listens on port 9 of this machine.
    let other = succeed(&top.path().join("other"), &["--json", "init", "--no-passphrase"]);
    let other: serde_json::Value = serde_json::from_str(&other).unwrap();
    let entity = other["entity"].as_str().unwrap();
    let nobody = &format!("{entity}@127.0.0.1:9");
    let hex = other["hex"].as_str().unwrap();
    let nobody_in_hex = &format!("{hex}@127.0.0.1:9");
    let mistyped = &format!("{}{}", &entity[..61], if entity.ends_with('q') { "p" } else { "q" });
    let no_key = &"02".repeat(32);

    // One line for each: arguments, exit code, what must be said.
    let table: &[(&[&str], i32, &str)] = &[
        (&["nonsense"], 2, "unrecognized subcommand"),
        (&["backup"], 2, "Usage: fondaco backup"),
        (&["backup", "create"], 2, "required"),
        (&["demo", "/no/such/folder"], 3, "No such file"),
        (&["demo", file], 2, "is not a folder"),
        (&["demo", folder, "--hosts", "3"], 2, "3 hosts are too few to lose 3"),
        (&["backup", "create", "/no/such/folder"], 3, "No such file"),
        (&["backup", "create", file], 2, "is not a folder"),
        (&["backup", "create", folder], 3, "no currency is accepted here yet"),
        (&["backup", "create", folder, "--host", "fon1"], 2, "ENTITY@HOST:PORT"),
        (&["balance"], 3, "fondaco wallet add"),
        (&["pay", "fon1x", "10"], 2, "62 characters, not 5"),
        (&["pay", mistyped, "10"], 2, "checksum"),
        (&["pay", &hex[1..], "10"], 2, "64 digits, not 63"),
        (&["pay", no_key, "10"], 2, "no usable public key"),
        (&["pay", "claire", "10"], 2, "64 hex digits"),
        (&["pay", hex, "10"], 3, "no currency"),
        (&["backup", "create", folder, "--budget", "5 CLR/year"], 2, "5 CLR/month"),
        (&["backup", "create", folder, "--epochs", "0"], 2, "0 is not in"),
        (&["gateway", "restic", "--size", "1G", "--epochs", "0"], 2, "0 is not in"),
        (&["backup", "restore", "latest", "--to", folder], 1, "nothing was backed up"),
        (&["backup", "ls", "latest"], 1, "nothing was backed up"),
        // By a variable that is not set: not all of it is meant.
        (&["backup", "ls", "latest", ""], 2, "a value is required"),
        (&["backup", "diff", "latest", "latest"], 1, "nothing was backed up"),
        (&["backup", "check"], 1, "nothing was backed up"),
        (&["backup", "prune"], 1, "nothing was backed up"),
        (&["backup", "recover"], 2, "no storage host is named"),
        (&["backup", "recover", "--host", nobody], 1, "no host gave back a state"),
        (&["backup", "recover", "--broker", "there"], 2, "ENTITY@HOST:PORT"),
        (&["backup", "recover", "--broker", nobody], 6, "no broker answered"),
        (&["backup", "repair"], 3, "nothing is stored that could be repaired"),
        (&["backup", "repair", "--samples", "0"], 2, "0 is not in"),
        (&["backup", "repair", "--samples", "1001"], 2, "1001 is not in"),
        (&["backup", "repair", "--every", "0s"], 2, "less than a minute"),
        (&["backup", "repair", "--every", "59s"], 2, "less than a minute"),
        (&["backup", "repair", "--every", "often"], 2, "invalid value"),
        (&["delegate", "tend", "--every", "0s"], 2, "less than a minute"),
        (&["audit", "--samples", "1001"], 2, "fondaco audit --deep"),
        (&["audit", "--samples", "1000"], 3, "no open contracts"),
        (&["audit", "--deep", "--samples", "10000"], 3, "no open contracts"),
        (&["audit", "--deep", "--samples", "10001"], 2, "10001 is not in"),
        (&["backup", "repair", "--budget", "5 CLR/month"], 2, "a repair is paid for once"),
        (&["backup", "repair", "--host", "nonsense"], 2, "ENTITY@HOST:PORT"),
        (&["backup", "forget"], 2, "required"),
        (&["backup", "forget", "latest", "--keep-last", "1"], 2, "cannot be used"),
        (&["backup", "forget", "--keep-last", "1"], 1, "nothing was backed up"),
        (&["backup", "forget", "--keep-last", "0"], 2, "fondaco backup forget --all"),
        (
            &["backup", "forget", "--keep-daily", "0", "--keep-yearly", "0"],
            2,
            "no snapshot is kept",
        ),
        (
            &["backup", "forget", "--keep-last", "0", "--keep-daily", "1"],
            1,
            "nothing was backed up",
        ),
        (&["backup", "forget", "--all", "--keep-last", "1"], 2, "cannot be used"),
        (&["backup", "forget", "--all", "latest"], 2, "cannot be used"),
        (&["audit"], 3, "no open contracts"),
        (&["contracts", "end"], 2, "--yes"),
        (&["contracts", "renew", "--epochs", "0"], 2, "0 is not in"),
        (&["offers", "--epochs", "0"], 2, "0 is not in"),
        (&["sell", "storage", "--path", folder, "--size", "0"], 2, "sells nothing"),
        (&["sell", "storage", "--path", folder, "--size", "0G"], 2, "fondaco sell stop"),
        (&["sell", "storage", "--path", folder, "--size", "much"], 2, "is no size"),
        (&["up", "--listen", "127.0.0.1:0"], 3, "fondaco sell storage"),
        (&["up", "--listen", "nowhere"], 2, "invalid"),
        (&["sell", "storage", "--path", folder, "--size", "1G"], 3, "no currency"),
        (&["sell", "storage", "--path", folder, "--size", "1G", "--auto-price"], 3, "no currency"),
        (&["sell", "storage", "--path", folder, "--size", "1G", "--price-floor", "1"], 2, "--auto"),
        (&["offers"], 3, "no broker is known here yet"),
        (&["offers", "--broker", "there"], 2, "ENTITY@HOST:PORT"),
        (&["broker", "status"], 3, "fondaco broker up"),
        (&["broker", "status", nobody], 6, "nobody answers"),
        (&["issuer", "up", "--listen", "127.0.0.1:0"], 3, "no books"),
        (&["issuer", "mint", "1", "--to", entity], 3, "issuer has never run"),
        (&["issuer", "init", "--name", "", "--symbol", "X"], 2, "name"),
        (&["issuer", "init", "--name", "X", "--symbol", "X Y"], 2, "symbol"),
        (&["issuer", "init", "--name", "X", "--symbol", "X", "--scale", "13"], 2, "12 decimals"),
        (&["issuer", "init", "--name", "X", "--symbol", "X", "--transfer-fee", "1e3"], 2, "digits"),
        (&["issuer", "audit"], 3, "no books"),
        (&["wallet", "add", "there"], 2, "ENTITY@HOST:PORT"),
        (&["wallet", "add", nobody], 6, "Hint:"),
        (&["wallet", "add", nobody_in_hex], 6, "Hint:"),
        (&["balance", "--identity", "shop"], 3, "fondaco init --identity shop"),
        (&["balance", "--identity", "../shop"], 2, "small letters"),
        (&["init", "--identity", "shop"], 2, "--passphrase-file"),
        (&["init", "--identity", "shop", "--passphrase-file", "-"], 2, "/dev/fd/3"),
        (&["init", "--identity", "shop", "--passphrase-file", "/no/such/file"], 3, "No such file"),
        (&["init", "--identity", "shop", "--passphrase-file", "/dev/null"], 2, "cannot be empty"),
        (
            &["init", "--identity", "shop", "--passphrase-file", file, "--no-passphrase"],
            2,
            "cannot be used",
        ),
        (&["init", "--identity", "shop", "--restore", "--no-passphrase"], 2, "24 words, not 0"),
        (&["identity", "show", "--identity", "shop"], 3, "there is no key"),
        (&["identity", "passphrase"], 2, "--new-passphrase-file"),
        (&["init", "--home", "/proc/fondaco"], 3, "/proc/fondaco"),
    ];
    for (args, code, words) in table {
        let (found, said) = fail(home, args);
        assert_eq!(found, *code, "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }

    // The same, for scripts.
    let output = run(home, &["--json", "audit"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((line["code"].as_u64(), output.status.code()), (Some(3), Some(3)));
}

/// A script reads what is wrong with its arguments where it reads all else.
#[test]
fn wrong_usage_is_told_to_scripts() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path();
    for (args, says, hint) in [
        (&["--json", "pay", "--nonsense"][..], "'--nonsense'", "Usage: fondaco pay"),
        (&["blance", "--json"], "'blance'", "'balance'"),
        (&["--json", "wallet", "rotate"], "--to", "Usage: fondaco wallet rotate"),
        (&["--json", "balance", "--identity", "-"], "--identity", "fondaco help"),
        (&["--json"], "requires a subcommand", "Usage: fondaco"),
        (&["--json", "wallet"], "no command is named", "Usage: fondaco wallet"),
    ] {
        let output = run(home, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}");
        let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let (error, told) = (line["error"].as_str().unwrap(), line["hint"].as_str().unwrap());
        assert!(error.contains(says) && !error.starts_with("error"), "{args:?}: {line}");
        assert!(told.contains(hint), "{args:?}: {line}");
        assert_eq!(line["code"], 2);
    }
    // People, and who asks for help, hear what they did before.
    let (code, said) = fail(home, &["pay", "--nonsense"]);
    assert!(code == 2 && said.starts_with("error: ") && said.contains("Usage:"), "{said}");
    assert!(succeed(home, &["--json", "--version"]).starts_with("fondaco "));
}

#[test]
fn a_busy_port_is_named() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path();
    succeed(home, &["init", "--no-passphrase"]);
    succeed(home, &["issuer", "init", "--name", "Test", "--symbol", "TST"]);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = taken.local_addr().unwrap().to_string();
    let (code, said) = fail(home, &["issuer", "up", "--listen", &socket]);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains(&socket) && said.contains("in use") && said.contains("Hint:"), "{said}");
}

#[test]
fn a_socket_that_is_not_of_this_machine_is_named_once() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path();
    succeed(home, &["init", "--no-passphrase"]);
    // An address for documents, which no machine has.
    let (code, said) = fail(home, &["broker", "up", "--listen", "192.0.2.1:4433"]);
    assert_eq!(code, 6, "{said}");
    assert_eq!(said.matches("cannot listen on 192.0.2.1:4433").count(), 1, "{said}");
}

#[test]
fn damaged_books_are_named() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path();
    succeed(home, &["init", "--no-passphrase"]);
    fail(home, &["audit"]);
    let notes = b"somebody's notes\n".repeat(300);
    std::fs::write(home.join("agent/journal"), &notes).unwrap();
    for args in [&["audit"][..], &["backup", "list"], &["contracts", "list"]] {
        let (code, said) = fail(home, args);
        assert_eq!(code, 8, "{said}");
        assert!(said.contains("agent/journal") && said.contains("backup recover"), "{said}");
    }
    // An issuer's, and what a backup of it would be.
    succeed(home, &["issuer", "init", "--name", "Test", "--symbol", "TST"]);
    std::fs::write(home.join("issuer/journal"), &notes).unwrap();
    let (to, other) = (home.join("copy"), home.join("other"));
    let (code, said) = fail(home, &["issuer", "backup", "--to", to.to_str().unwrap()]);
    assert_eq!(code, 8, "{said}");
    assert!(said.contains("Hint:"), "{said}");
    succeed(&other, &["init", "--no-passphrase"]);
    let from = home.join("issuer");
    let (code, said) = fail(&other, &["issuer", "restore", "--from", from.to_str().unwrap()]);
    assert_eq!(code, 8, "{said}");
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    // Root may write anywhere but here; others may not write here either.
    let (code, said) = fail(Path::new("/proc/fondaco"), &["init"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("/proc/fondaco"), "{said}");
}

#[test]
fn a_damaged_key_is_named() {
    let top = tempfile::tempdir().unwrap();
    succeed(top.path(), &["init", "--no-passphrase"]);
    let path = top.path().join("key");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut mistyped = text.clone();
    mistyped.replace_range(30..31, if &text[30..31] == "0" { "1" } else { "0" });
    let age = "-----BEGIN AGE ENCRYPTED FILE-----\n";
    // One line for each: what is in the file, its permissions, exit code, what must be said.
    let table = [
        (mistyped, 0o600, 8, "24 words"),
        (text[..50].to_owned(), 0o600, 8, "damaged"),
        (age.to_owned(), 0o600, 8, "damaged"),
        ("somebody's notes\n".to_owned(), 0o600, 8, "no file of a secret key"),
        (text.replace("v1:", "v2:"), 0o600, 1, "later version"),
        (text.clone(), 0o644, 1, "chmod 600"),
    ];
    for (text, mode, code, words) in table {
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let (found, said) = fail(top.path(), &["issuer", "init", "--name", "X", "--symbol", "X"]);
        assert_eq!(found, code, "{said}");
        assert!(said.contains(words) && said.contains("Hint:"), "{said}");
    }
    // A key that is whole, but another one.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let other = top.path().join("other");
    succeed(&other, &["init", "--no-passphrase"]);
    std::fs::copy(other.join("key"), &path).unwrap();
    let (code, said) = fail(top.path(), &["issuer", "init", "--name", "X", "--symbol", "X"]);
    assert_eq!(code, 8, "{said}");
    assert!(said.contains("put the right key back"), "{said}");
}

#[test]
fn completions_are_printed() {
    let top = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(succeed(top.path(), &["completions", shell]).contains("fondaco"));
    }
}
