//! Keys as a person uses them: passphrases from everywhere, words on paper, several identities, a real terminal.

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

const PASSPHRASE: &str = "correct horse battery staple";
/// BIP-39's own vector for 32 bytes of 7f.
const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank year \
                     wave sausage worth useful legal winner thank year wave sausage worth title";

/// A run of the command, with a passphrase in the environment or none.
struct Run<'a> {
    home: &'a Path,
    variables: Vec<(&'a str, &'a str)>,
    input: &'a str,
}

impl<'a> Run<'a> {
    fn new(home: &'a Path) -> Self {
        Self { home, variables: Vec::new(), input: "" }
    }

    fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn reading(mut self, input: &'a str) -> Self {
        self.input = input;
        self
    }

    /// Returns the exit code, and what was said on standard output and error.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
        // What whoever runs the tests has set is not to give the passphrases of the tests.
        for name in ["FONDACO_PASSPHRASE", "FONDACO_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY"] {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().copied());
        command.arg("--home").arg(self.home).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(self.input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn succeed(&self, args: &[&str]) -> String {
        let (code, out, said) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {out}{said}");
        out
    }

    fn json(&self, args: &[&str]) -> Value {
        let args = [&["--json"], args].concat();
        serde_json::from_str(&self.succeed(&args)).unwrap()
    }

    fn fail(&self, args: &[&str]) -> (i32, String) {
        let (code, out, said) = self.run(args);
        assert_ne!(code, 0, "{args:?}: {out}");
        (code, said)
    }
}

#[test]
fn a_passphrase_comes_from_the_first_place_that_has_one() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path();
    let file = |name: &str, text: &str| {
        std::fs::write(home.join(name), text).unwrap();
        home.join(name).to_str().unwrap().to_owned()
    };
    let (right, wrong) = (file("right", &format!("{PASSPHRASE}\n")), file("wrong", "horse\n"));
    file("fondaco-passphrase", PASSPHRASE);
    let made = Run::new(home).with("FONDACO_PASSPHRASE", PASSPHRASE).json(&["init"]);
    assert_eq!(made["encrypted"], true);
    assert!(made.get("words").is_none(), "words only when asked for");
    let key = std::fs::read_to_string(home.join("key")).unwrap();
    assert!(key.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));

    // Without the passphrase one can be known, but nothing done.
    assert_eq!(Run::new(home).json(&["identity", "show"])["entity"], made["entity"]);
    let (code, said) = Run::new(home).fail(&["identity", "export-words"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("Hint:") && said.contains("FONDACO_PASSPHRASE"), "{said}");

    let words = ["identity", "export-words"];
    let by_file = |file: &str| -> Vec<String> {
        ["identity", "export-words", "--passphrase-file", file].map(str::to_owned).to_vec()
    };
    let credentials = ("CREDENTIALS_DIRECTORY", home.to_str().unwrap());
    let (variable, file_variable) = ("FONDACO_PASSPHRASE", "FONDACO_PASSPHRASE_FILE");
    // What is set, which file is named, whether the key opens.
    type Variables<'a> = &'a [(&'a str, &'a str)];
    let table: [(Variables<'_>, Option<&str>, bool); 7] = [
        (&[credentials], None, true),
        (&[(variable, PASSPHRASE), (file_variable, "")], None, true),
        (&[(variable, "horse"), credentials], None, false),
        (&[(file_variable, &right), (variable, "horse")], None, true),
        (&[(file_variable, &wrong), (variable, PASSPHRASE)], None, false),
        (&[(file_variable, &wrong)], Some(&right), true),
        (&[(variable, PASSPHRASE)], Some(&wrong), false),
    ];
    for (variables, named, opens) in table {
        let run = Run { home, variables: variables.to_vec(), input: "" };
        let named = named.map(by_file);
        let args: Vec<&str> = match &named {
            Some(args) => args.iter().map(String::as_str).collect(),
            None => words.to_vec(),
        };
        let (code, _, said) = run.run(&args);
        assert_eq!(code, if opens { 0 } else { 8 }, "{variables:?} {named:?}: {said}");
        assert_eq!(said.contains("does not open"), !opens, "{said}");
    }
}

#[test]
fn a_key_comes_back_from_its_words_and_changes_its_passphrase() {
    let top = tempfile::tempdir().unwrap();
    let (first, second) = (&top.path().join("first"), &top.path().join("second"));
    let made = Run::new(first).json(&["init", "--no-passphrase", "--show-words"]);
    let words: Vec<&str> =
        made["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words.len(), 24);
    let paper = words.join("\n").to_uppercase();
    let restored = Run::new(second).reading(&paper).json(&["init", "--restore", "--no-passphrase"]);
    assert_eq!(restored["entity"], made["entity"]);
    let keys = [first, second].map(|home| std::fs::read(home.join("key")).unwrap());
    assert_eq!(keys[0], keys[1], "the same key to the last byte");

    let new = top.path().join("new");
    std::fs::write(&new, PASSPHRASE).unwrap();
    let new = new.to_str().unwrap();
    Run::new(second).succeed(&["identity", "passphrase", "--new-passphrase-file", new]);
    assert_eq!(Run::new(second).fail(&["identity", "export-words"]).0, 2);
    let opened = Run::new(second).with("FONDACO_PASSPHRASE", PASSPHRASE);
    let exported = opened.json(&["identity", "export-words"]);
    assert_eq!(exported["words"], made["words"]);
    let said = opened.succeed(&["identity", "passphrase", "--no-passphrase"]);
    assert!(said.contains("NOT ENCRYPTED"), "{said}");
    assert_eq!(Run::new(second).json(&["identity", "export-words"])["words"], made["words"]);
}

#[test]
fn wrong_words_are_named_and_leave_no_key() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path();
    let table = [
        (WORDS.replace("sausage", "sausages"), "word 6 is not in the English list"),
        (WORDS.replace("title", "zoo"), "do not check"),
        (WORDS.replace(" title", ""), "24 words, not 23"),
        (WORDS.replace("title", "titre"), "word 24 is not"),
        ("x".repeat(5000), "4 KiB"),
    ];
    for (words, expected) in table {
        let run = Run::new(home).reading(&words);
        let (code, said) = run.fail(&["init", "--restore", "--no-passphrase"]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("sausages") && !said.contains("titre"), "no word is told: {said}");
        assert!(!home.join("key").exists());
    }
    let said = Run::new(home).reading(WORDS).succeed(&["init", "--restore", "--no-passphrase"]);
    assert!(said.contains("NOT ENCRYPTED") && !said.contains("legal"), "{said}");
    let shown = Run::new(home).succeed(&["identity", "export-words"]);
    assert!(shown.contains("   1 legal        2 winner       3 thank        4 year\n"), "{shown}");
}

#[test]
fn identities_are_apart() {
    let top = tempfile::tempdir().unwrap();
    let run = Run::new(top.path());
    assert!(run.succeed(&["identity", "list"]).contains("no identity yet"));
    let first = run.json(&["init", "--no-passphrase"]);
    let said = run.succeed(&["init", "--identity", "shop", "--no-passphrase"]);
    assert!(said.contains("no terminal") && said.contains("--identity shop"), "{said}");
    let shop = run.json(&["identity", "show", "--identity", "shop"]);
    assert_ne!(first["entity"], shop["entity"]);
    assert_eq!(run.succeed(&["identity", "show", "--hex"]).trim(), first["hex"].as_str().unwrap());
    let list = run.succeed(&["--json", "identity", "list"]);
    let list: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let pairs: Vec<_> = list.iter().map(|line| (&line["identity"], &line["entity"])).collect();
    let expected = [(&"default".into(), &first["entity"]), (&"shop".into(), &shop["entity"])];
    assert_eq!(pairs, expected);
    // What one defines the other does not have.
    let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--identity", "shop"];
    run.succeed(&define);
    run.succeed(&["issuer", "audit", "--identity", "shop"]);
    assert_eq!(run.fail(&["issuer", "audit"]).0, 3);
}

/// Runs the command at a pseudo-terminal of its own, made by `script` of util-linux; types each answer when its
/// question is there. Returns what the terminal showed.
fn at_a_terminal(home: &Path, args: &str, answers: &[(&str, &str)]) -> String {
    let line = format!("'{}' --home '{}' {args}", env!("CARGO_BIN_EXE_fondaco"), home.display());
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_remove("FONDACO_PASSPHRASE")
        .env_remove("FONDACO_PASSPHRASE_FILE")
        .env_remove("CREDENTIALS_DIRECTORY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("util-linux has `script`");
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut from) = (Vec::new(), 0);
    let mut bytes = [0; 4096];
    for (question, answer) in answers {
        while !String::from_utf8_lossy(&shown[from..]).contains(question) {
            let count = stdout.read(&mut bytes).unwrap();
            assert_ne!(count, 0, "{question:?} was not asked: {}", String::from_utf8_lossy(&shown));
            shown.extend_from_slice(&bytes[..count]);
        }
        from = shown.len();
        stdin.write_all(answer.as_bytes()).unwrap();
    }
    stdout.read_to_end(&mut shown).unwrap();
    child.wait().unwrap();
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn a_person_is_asked_and_nothing_is_shown() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path();
    let stopped = at_a_terminal(home, "init", &[("New passphrase: ", "hor\x03")]);
    assert!(stopped.contains("stopped at the terminal"), "{stopped}");
    assert!(!home.join("key").exists() && !home.join("entity").exists(), "no half key");
    let typed = format!("{PASSPHRASE}\r");
    let new = [
        ("New passphrase: ", "\r"),
        ("New passphrase: ", "one\r"),
        ("again: ", "other\r"),
        ("New passphrase: ", &typed),
        ("again: ", &typed),
    ];
    let shown = at_a_terminal(home, "init", &new);
    assert!(shown.contains("cannot be empty") && shown.contains("not the same"), "{shown}");
    assert!(shown.contains("24 words") && shown.contains("  24 "), "{shown}");
    assert!(!shown.contains("horse") && !shown.contains("other\r"), "{shown}");

    let mended = "wrong\x15correct horse battery staplr\x7fe\r";
    let tries = [("Passphrase of fon1", "horse\r"), ("Passphrase of fon1", mended)];
    let shown = at_a_terminal(home, "identity export-words", &tries);
    assert!(shown.contains("That is not it.") && shown.contains("  24 "), "{shown}");
    assert!(!shown.contains("horse"), "{shown}");

    let stopped = at_a_terminal(home, "identity export-words", &[("Passphrase of fon1", "x\x03")]);
    assert!(stopped.contains("stopped at the terminal"), "{stopped}");
}
