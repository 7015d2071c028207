//! What is wrong with a gateway is said before it serves anybody, and before any money is spent.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
    for name in ["FONDACO_PASSPHRASE", "FONDACO_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(name);
    }
    command.arg("--home").arg(home).args(args).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn mistakes_with_a_gateway_are_named() {
    let top = tempfile::tempdir().unwrap();
    let home = &top.path().join("home");
    assert!(run(home, &["init", "--no-passphrase"]).status.success());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = &taken.local_addr().unwrap().to_string();
    let password = top.path().join("password");
    let other = top.path().join("other");
    fs::write(&other, "something else").unwrap();
    let (password, other) = (password.to_str().unwrap(), other.to_str().unwrap());
    let here = "127.0.0.1:0";

    // One line for each: arguments, exit code, what must be said.
    let table: &[(&[&str], i32, &str)] = &[
        (&["--survive", "2"], 2, "no probability below 1"),
        (&["--size", "much"], 2, "--size much is no size"),
        (&["--new-contracts"], 2, "--size"),
        (&["--listen", "0.0.0.0:0"], 2, "--allow-remote"),
        (&["--listen", "[::]:0"], 2, "ssh -L"),
        (&["--listen", taken], 1, "--listen"),
        (&["--listen", here], 3, "--size 20G --broker"),
        (&["--listen", here, "--size", "1G"], 3, "no currency is accepted here yet"),
        (&["--listen", here, "--password-file", other], 2, "has something else"),
        (&["--listen", here, "--password-file", password], 3, "--size 20G"),
        (&["--listen", here, "--password-file", password], 3, "--size 20G"),
    ];
    for (args, code, text) in table {
        let output = run(home, &[&["gateway", "restic"], *args].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {said}");
        assert!(said.contains(text) && !said.contains("panicked"), "{args:?}: {said}");
    }
    assert_eq!(fs::read_to_string(other).unwrap(), "something else");
    let secret = fs::read_to_string(password).unwrap();
    assert_eq!((secret.len(), secret.trim_end().len()), (65, 64));
    let token = home.join("gateway/token");
    for path in [&token, Path::new(password)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
    }
    fs::write(&token, "not a token").unwrap();
    let output = run(home, &["gateway", "restic", "--listen", here]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("--new-token"), "{said}");
}
