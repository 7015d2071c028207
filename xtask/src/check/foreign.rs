//! Programs that nobody here wrote speak the protocol of 2003 with an issuer.
//!
//! Each client is a holder: it reads the description, shows its certificate, asks what arrived, pays the next one, and
//! says each message twice. So every client but the first is told of what the one before it paid, in its own words.
//!
//! In the end the issuer's books are exported, and Beancount proves them; and those of a test with records of all kinds.
//!
//! The clients' packages are installed once, below `target/foreign`, from the versions pinned in
//! `crates/lcp-wire/foreign`; without Python or Node, or a registry, the step is skipped.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::Done;
use crate::{
    shell::{self, Failed},
    workspace::{Workspace, root},
};

/// The clients, in order. The first comes again at the end, to be told of what the last one paid.
const CLIENTS: [Client; 6] = [
    Client { name: "suds", program: Program::Python("suds_client.py"), literal: false },
    Client { name: "zeep", program: Program::Python("zeep_client.py"), literal: false },
    Client { name: "zeep literal", program: Program::Python("zeep_client.py"), literal: true },
    Client { name: "soap", program: Program::Node("soap_client.js"), literal: false },
    Client { name: "soap literal", program: Program::Node("soap_client.js"), literal: true },
    Client { name: "suds again", program: Program::Python("suds_client.py"), literal: false },
];

/// How many accounts they need.
const HOLDERS: usize = CLIENTS.len() - 1;

/// What each client pays, as all of them write it.
const PAID: f64 = 100.0;
/// What for.
const ORDER: &str = "bob1234567890";

/// How long one client may take.
const CLIENT_TIMEOUT: &str = "timeout 120";

struct Client {
    name: &'static str,
    program: Program,
    /// Whether it reads the literal description.
    literal: bool,
}

enum Program {
    Python(&'static str),
    Node(&'static str),
}

/// Lets every client speak with one issuer.
pub(super) fn step(workspace: &Workspace) -> Result<Done, Failed> {
    let packages = workspace.target.join("foreign");
    // Without an interpreter or a registry there are no clients; a pin that cannot be installed is a failure.
    for tool in ["python3 --version", "npm --version", "npm ping", "python3 -m pip --version"] {
        if let Err(failed) = shell::output(shell::command(tool)) {
            return Ok(Done::Skipped { why: failed.to_string() });
        }
    }
    let (python, node) = installed(&packages)?;
    let issuer = Issuer::start(workspace)?;
    for (number, client) in CLIENTS.iter().enumerate() {
        let (program, script) = match client.program {
            Program::Python(script) => (&python, script),
            Program::Node(script) => (&node, script),
        };
        let mut command = shell::command(CLIENT_TIMEOUT);
        command.arg(program).arg(scripts().join(script));
        command.env("NODE_PATH", packages.join("node/node_modules"));
        let command = issuer.introduce(command, number % HOLDERS, client.literal);
        let said = shell::output(command)?;
        println!("    {}: {}", client.name, said.trim());
        judge(&said, number > 0).map_err(|why| Failed { command: client.name.to_owned(), why })?;
    }
    issuer.books(workspace, &packages)?;
    all_kinds(&packages)?;
    Ok(Done::Passed)
}

/// Has Beancount prove books with all that the clients cannot do: holds, vouchers, words, pairs, other keys.
fn all_kinds(packages: &Path) -> Result<(), Failed> {
    let mut test = shell::command("cargo test --locked -p fondaco-issuer --test export");
    test.env("FONDACO_BEAN_CHECK", packages.join("venv/bin/bean-check"));
    shell::run(test).map(|_| ())
}

/// The folder of the clients and the pins of their packages.
fn scripts() -> PathBuf {
    root().join("crates/lcp-wire/foreign")
}

/// The programs that run the clients, after their packages were installed.
fn installed(packages: &Path) -> Result<(PathBuf, PathBuf), Failed> {
    let io = |error: std::io::Error| Failed {
        command: format!("mkdir {}", packages.display()),
        why: error.to_string(),
    };
    let node = packages.join("node");
    fs::create_dir_all(&node).map_err(io)?;
    let python = packages.join("venv/bin/python");
    install(packages, "python.done", &["requirements.txt"], || {
        let mut venv = shell::command("python3 -m venv --clear");
        venv.arg(packages.join("venv"));
        shell::run(venv)?;
        let mut pip = Command::new(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ]);
        pip.arg(scripts().join("requirements.txt"));
        shell::run(pip).map(|_| ())
    })?;
    install(packages, "node.done", &["package.json", "package-lock.json"], || {
        for name in ["package.json", "package-lock.json"] {
            fs::copy(scripts().join(name), node.join(name)).map_err(io)?;
        }
        let mut npm = shell::command("npm ci --no-audit --no-fund --ignore-scripts --prefix");
        npm.arg(&node);
        shell::run(npm).map(|_| ())
    })?;
    Ok((python, PathBuf::from("node")))
}

/// Runs `how` unless it ran before with the same `pins`, of which a copy in `mark` is the proof.
fn install(
    packages: &Path,
    mark: &str,
    pins: &[&str],
    how: impl FnOnce() -> Result<(), Failed>,
) -> Result<(), Failed> {
    let read = |name: &&str| fs::read_to_string(scripts().join(name)).unwrap_or_default();
    let wanted: String = pins.iter().map(read).collect();
    let mark = packages.join(mark);
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    how()?;
    fs::write(&mark, wanted).map_err(|error| Failed {
        command: format!("write {}", mark.display()),
        why: error.to_string(),
    })
}

/// An issuer that is running, and the folder with what its clients need. Ended when dropped.
struct Issuer {
    child: Child,
    folder: PathBuf,
    wsdl: String,
}

impl Issuer {
    /// Starts an issuer whose holders 0 to [`HOLDERS`] have more than they pay, and have been told so.
    ///
    /// This is the one place that knows which program is the issuer. It leaves in its folder `issuer.crt`, and for each
    /// holder `holder-N.key`, `holder-N.crt` and `holder-N.hex`.
    fn start(workspace: &Workspace) -> Result<Self, Failed> {
        let program = workspace.target.join("release/fondaco");
        let folder = workspace.target.join("check/foreign");
        let failed = |why: String| Failed { command: "fondaco issuer up".to_owned(), why };
        let io = |error: std::io::Error| failed(error.to_string());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(io)?;
        }
        fs::create_dir_all(&folder).map_err(io)?;
        let of = |who: &str, words: &str| {
            let mut command = Command::new(&program);
            command.arg("--json").arg("--home").arg(folder.join(who)).args(words.split(' '));
            command
        };
        let run = |who: &str, words: &str| -> Result<Value, Failed> {
            let said = shell::output(of(who, words))?;
            Ok(said
                .lines()
                .last()
                .and_then(|line| serde_json::from_str(line).ok())
                .unwrap_or_default())
        };
        run("issuer", "init --no-passphrase")?;
        run("issuer", "issuer init --name Crown --symbol CRN --scale 2 --transfer-fee 1.20")?;
        let mut up = of("issuer", "--stop-with-stdin issuer up --listen 127.0.0.1:0");
        up.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = up.spawn().map_err(io)?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or_else(|| failed("it has no output".to_owned()))?;
        let mut issuer = Self { child, folder: folder.clone(), wsdl: String::new() };
        BufReader::new(stdout).read_line(&mut line).map_err(io)?;
        let ready: Value =
            serde_json::from_str(&line).map_err(|_| failed(format!("it said {line:?}")))?;
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        issuer.wsdl = text("wsdl");
        fs::copy(text("certificate"), folder.join("issuer.crt")).map_err(io)?;
        for holder in 0..HOLDERS {
            let who = format!("holder-{holder}");
            run(&who, "init --no-passphrase")?;
            let shown = run(&who, "identity show")?;
            let known = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
            fs::write(folder.join(format!("{who}.hex")), known("hex")).map_err(io)?;
            let pem = folder.join(&who).join("tls");
            run(&who, &format!("identity export-tls --to {}", pem.display()))?;
            fs::copy(pem.join("key.pem"), folder.join(format!("{who}.key"))).map_err(io)?;
            fs::copy(pem.join("cert.pem"), folder.join(format!("{who}.crt"))).map_err(io)?;
            run("issuer", &format!("issuer mint 1000 --to {}", known("entity")))?;
            // Told of it in the other dialect, it is not told again.
            run(&who, &format!("wallet add {}", text("address")))?;
            run(&who, "deposits")?;
        }
        Ok(issuer)
    }

    /// Has Beancount prove the books that the clients left: each transaction, and the balances that the ledger states.
    fn books(mut self, workspace: &Workspace, packages: &Path) -> Result<(), Failed> {
        let failed = |error: std::io::Error| Failed {
            command: "fondaco issuer up".to_owned(),
            why: error.to_string(),
        };
        // Its standard input ends, and so it does, in good order.
        drop(self.child.stdin.take());
        self.child.wait().map_err(failed)?;
        let books = self.folder.join("books.beancount");
        let mut export = Command::new(workspace.target.join("release/fondaco"));
        export.arg("--home").arg(self.folder.join("issuer")).args(["issuer", "export", "--to"]);
        shell::run({
            export.arg(&books);
            export
        })?;
        let mut check = Command::new(packages.join("venv/bin/bean-check"));
        check.arg(&books);
        shell::run(check).map(|_| ())
    }

    /// Tells a client where the issuer is, who it is itself, and whom it pays.
    fn introduce(&self, mut client: Command, holder: usize, literal: bool) -> Command {
        let own = |kind: &str| self.folder.join(format!("holder-{holder}.{kind}"));
        let next = self.folder.join(format!("holder-{}.hex", (holder + 1) % HOLDERS));
        let wsdl = match literal {
            true => self.wsdl.replace("lcp.wsdl", "lcp-literal.wsdl"),
            false => self.wsdl.clone(),
        };
        client.arg(wsdl).arg(own("crt")).arg(own("key")).arg(self.folder.join("issuer.crt"));
        client.arg(fs::read_to_string(next).unwrap_or_default().trim());
        client
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is to be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks what a client says that happened. All but the first were paid before.
fn judge(said: &str, was_paid: bool) -> Result<(), String> {
    let said: Value = serde_json::from_str(said).map_err(|error| error.to_string())?;
    let number = |pointer: &str| {
        said.pointer(pointer).and_then(Value::as_f64).ok_or(format!("there is no {pointer}"))
    };
    let expect = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let deposits = &said["before"]["deposits"];
    let wanted = match was_paid {
        true => serde_json::json!([{ "amount": PAID, "id": ORDER }]),
        false => serde_json::json!([]),
    };
    // Node writes 100 where Python writes 100.0.
    let alike = deposits.as_array().map(Vec::len) == wanted.as_array().map(Vec::len)
        && (!was_paid
            || (number("/before/deposits/0/amount")? == PAID && deposits[0]["id"] == ORDER));
    expect(alike, &format!("it was told of {deposits}, not of {wanted}"))?;
    expect(said["before"] == said["before_again"], "the same query was answered differently")?;
    expect(said["paid"]["result"] == "success", "it was not paid")?;
    expect(said["paid"] == said["again"], "the same transfer was answered differently")?;
    expect(said["other"]["fault"] == "OtherContent", "its counter was used for two transfers")?;
    expect(said["broke"]["fault"] == "InsufficientFunds", "it paid what it does not have")?;
    let spent = number("/before/balance")? - number("/after/balance")?;
    let once = PAID + number("/paid/fee")?;
    expect((spent - once).abs() < 0.001, &format!("it spent {spent}, not {once}"))?;
    expect(said["after"]["deposits"] == serde_json::json!([]), "it was told twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
        "before": {"balance": 1000, "fee": 0, "deposits": [{"amount": 100, "id": "bob1234567890"}]},
        "before_again": {"balance": 1000, "fee": 0, "deposits": [{"amount": 100, "id": "bob1234567890"}]},
        "paid": {"result": "success", "fee": 1.2}, "again": {"result": "success", "fee": 1.2},
        "other": {"fault": "OtherContent"}, "after": {"balance": 898.8, "fee": 0, "deposits": []},
        "broke": {"fault": "InsufficientFunds"}}"#;

    #[test]
    fn a_good_story_is_believed_and_each_lie_is_caught() {
        assert_eq!(judge(GOOD, true), Ok(()));
        assert!(judge(GOOD, false).is_err());
        for (truth, lie) in [
            ("898.8", "797.6"),
            (
                r#""again": {"result": "success", "fee": 1.2}"#,
                r#""again": {"result": "success", "fee": 0}"#,
            ),
            ("OtherContent", "success"),
            ("InsufficientFunds", "success"),
            ("\"deposits\": []", "\"deposits\": [1]"),
            ("bob1234567890", "eve"),
        ] {
            assert!(judge(&GOOD.replacen(truth, lie, 1), true).is_err(), "{lie}");
        }
    }

    #[test]
    fn every_client_has_its_script() {
        for client in &CLIENTS {
            let (Program::Python(script) | Program::Node(script)) = client.program;
            assert!(scripts().join(script).is_file(), "{script}");
        }
    }
}
