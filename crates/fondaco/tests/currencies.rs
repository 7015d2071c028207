//! Several currencies in one wallet, by the real command: side by side, told apart, and each refused payment by its name.

mod parts;

use fondaco_store::DiskFile;
use parts::{failure, world};
use serde_json::Value;
use std::io::BufRead as _;
use std::path::PathBuf;
use world::World;

/// Starts an issuer of this symbol; its address.
async fn issuer(world: &mut World, who: &str, symbol: &str) -> String {
    world.ask(who, ["init", "--no-passphrase"]).await.unwrap();
    let define = ["issuer", "init", "--name", who, "--symbol", symbol, "--transfer-fee", "0.10"];
    world.ask(who, define).await.unwrap();
    let up = ["issuer", "up", "--listen", "127.0.0.1:0", "--soap", "none"];
    world.start(who, up).await.unwrap()
}

async fn holder(world: &World, who: &str, issuers: &[&str]) -> String {
    let made = world.ask(who, ["init", "--no-passphrase"]).await.unwrap();
    for issuer in issuers {
        world.ask(who, ["wallet", "add", issuer]).await.unwrap();
    }
    made["entity"].as_str().unwrap().to_owned()
}

fn world() -> World {
    World::new(PathBuf::from(env!("CARGO_BIN_EXE_fondaco")), false).unwrap()
}

/// What a person reads of a command: what was asked for, and what is said beside it.
fn both_outputs(world: &World, who: &str, args: &[&str]) -> (String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fondaco"));
    let output = command.arg("--home").arg(world.home(who)).args(args).output().unwrap();
    [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).into()
}

fn on_screen(world: &World, who: &str, args: &[&str]) -> String {
    both_outputs(world, who, args).0
}

fn entity(address: &str) -> &str {
    address.split('@').next().unwrap()
}

/// What a command that failed said in the end.
fn said(lines: &[Value]) -> &str {
    lines.last().unwrap()["error"].as_str().unwrap()
}

/// One issuer that is away hides nothing of what the others say, and is named.
#[tokio::test(flavor = "multi_thread")]
async fn currencies_stand_side_by_side() {
    let mut world = world();
    let north = issuer(&mut world, "north", "CLR").await;
    let south = issuer(&mut world, "south", "CLR").await;
    let alice = holder(&world, "alice", &[&north, &south]).await;
    let bob = holder(&world, "bob", &[&south]).await;
    for (who, amount) in [("north", "7"), ("south", "50")] {
        world.ask(who, ["issuer", "mint", amount, "--to", &alice]).await.unwrap();
    }

    // Two of one symbol are told apart by their issuers' keys.
    let both = world.run("alice", ["balance"]).await.unwrap();
    let told: Vec<_> = both.iter().map(|line| (&line["issuer"], &line["available"])).collect();
    let (north_key, south_key) = (Value::from(entity(&north)), Value::from(entity(&south)));
    assert_eq!(told, [(&north_key, &"7.00".into()), (&south_key, &"50.00".into())]);
    let refused = world.run_to("alice", ["pay", &bob, "1", "CLR"], 1).await.unwrap();
    assert!(said(&refused).contains("more than one currency is called CLR"), "{refused:?}");
    assert!(refused[0]["hint"].as_str().unwrap().contains(entity(&south)), "{refused:?}");
    let refused = world.run_to("alice", ["pay", &bob, "1"], 1).await.unwrap();
    assert!(said(&refused).contains("more than one currency"), "{refused:?}");
    let refused = world.run_to("alice", ["pay", &bob, "1", "XYZ"], 3).await.unwrap();
    assert!(said(&refused).contains("no currency XYZ"), "{refused:?}");
    let paid = world.ask("alice", ["pay", &bob, "1", entity(&south)]).await.unwrap();
    assert_eq!(paid["balance"], "48.90");
    // Of a currency that the payee does not know of, he has it all the same; of the other he has nothing.
    let there = world.run("bob", ["balance"]).await.unwrap();
    assert_eq!((there.len(), &there[0]["available"]), (1, &"1.00".into()));

    world.kill("north").await.unwrap();
    let started = std::time::Instant::now();
    let lines = world.run_to("alice", ["balance"], 6).await.unwrap();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let north_line = lines.iter().find(|line| line["issuer"] == north_key).unwrap();
    assert_eq!(north_line["code"], 6, "{lines:?}");
    assert!(north_line["error"].as_str().unwrap().contains("nobody answers"), "{lines:?}");
    let south_line = lines.iter().find(|line| line["issuer"] == south_key).unwrap();
    assert_eq!(south_line["available"], "48.90");
    assert!(said(&lines).contains("1 of 2 issuers"), "{lines:?}");
    // Who is away is waited for once, and not as a payment is; the other for a second, though it comes after, and is first.
    let looked = std::time::Instant::now();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fondaco"));
    let command = command.arg("--home").arg(world.home("alice")).args(["--json", "balance"]);
    let mut balance = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(balance.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let waited = looked.elapsed();
    let second: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&first["issuer"], &second["issuer"]), (&south_key, &north_key));
    assert_eq!(balance.wait().unwrap().code(), Some(6));
    assert!(looked.elapsed().as_secs() < 15, "{:?}", looked.elapsed());
    let a_second = std::time::Duration::from_secs(1);
    assert!(a_second < waited && waited + a_second < looked.elapsed(), "{waited:?}");

    // Of both what arrived is there; the one who is away keeps it, and is named.
    let lines = world.run_to("alice", ["deposits"], 6).await.unwrap();
    assert_eq!((&lines[0]["event"], &lines[0]["issuer"]), (&"deposit".into(), &south_key));
    assert!(lines.iter().any(|line| line["issuer"] == north_key && line["code"] == 6), "{lines:?}");
    assert!(said(&lines).contains("1 of 2 issuers"), "{lines:?}");
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    // Who waits is told at once of what comes from the others.
    let (waited, paid) = tokio::join!(
        world.run_to("alice", ["deposits", "--wait", "60s"], 6),
        world.ask("south", ["issuer", "mint", "2", "--to", &alice]),
    );
    paid.unwrap();
    assert_eq!(waited.unwrap()[0]["issuer"], south_key);

    let socket = north.rsplit('@').next().unwrap();
    let up = ["issuer", "up", "--listen", socket, "--soap", "none"];
    world.start("north", up).await.unwrap();
    let lines = world.run("alice", ["deposits"]).await.unwrap();
    assert_eq!((lines.len(), &lines[0]["issuer"]), (1, &north_key), "{lines:?}");
    world.end().await;
}

/// What could not be written was not told: a notice stays, a payment can be learnt of, and the command fails.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_not_told() {
    let mut world = world();
    let north = issuer(&mut world, "north", "NOR").await;
    let alice = holder(&world, "alice", &[&north]).await;
    let bob = holder(&world, "bob", &[&north]).await;
    world.ask("north", ["issuer", "mint", "9", "--to", &alice]).await.unwrap();
    let full = |args: &[&str]| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fondaco"));
        let command = command.arg("--home").arg(world.home("alice")).args(args).stdout(full);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for args in [&["deposits"][..], &["--json", "deposits"], &["pay", &bob, "2"], &["balance"]] {
        let (code, said) = full(args);
        assert_eq!(code, Some(1), "{args:?}: {said}");
        assert!(said.contains("standard output") && said.contains("Hint:"), "{args:?}: {said}");
    }
    // Nor is anybody told by an output that was closed.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec \"$@\" >&-", "sh", env!("CARGO_BIN_EXE_fondaco"), "--home"]);
    let output = shell.arg(world.home("alice")).arg("deposits").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("output is closed") && said.contains("Hint:"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    // Whoever closed the pipe saw nothing either.
    let (theirs, ours) = std::io::pipe().unwrap();
    drop(theirs);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fondaco"));
    let command = command.arg("--home").arg(world.home("alice")).arg("deposits").stdout(ours);
    assert!(command.output().unwrap().stderr.is_empty());
    let notices = world.run("alice", ["deposits"]).await.unwrap();
    assert_eq!((notices.len(), &notices[0]["amount"]), (1, &"9.00".into()), "{notices:?}");
    assert_eq!(world.run("alice", ["deposits"]).await.unwrap().len(), 0);
    // The payment was made, and is told now.
    let paid = world.ask("alice", ["pay", &bob, "2"]).await.unwrap();
    assert_eq!((&paid["taken_up"], &paid["balance"]), (&true.into(), &"6.90".into()), "{paid}");
    world.end().await;
}

/// What anybody may know of a currency is shown; and one that is left is forgotten, also when its issuer is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_currency_is_shown_and_forgotten() {
    let mut world = world();
    let north = issuer(&mut world, "north", "NOR").await;
    let south = issuer(&mut world, "south", "SUD").await;
    let alice = holder(&world, "alice", &[&north, &south]).await;
    world.ask("north", ["issuer", "mint", "9", "--to", &alice]).await.unwrap();
    let mut shown = world.ask("alice", ["wallet", "show", "NOR"]).await.unwrap();
    let (chain, at) = (shown["head"].take(), shown["at"].take());
    assert_eq!(chain.as_str().map(str::len), Some(64), "{chain}");
    assert!(at.as_str().is_some_and(|at| at.ends_with('Z')), "{at}");
    let expected = serde_json::json!({
        "currency": "NOR", "name": "north", "issuer": entity(&north), "address": north, "scale": 2, "trust": null,
        "supply": "9.00", "accounts": 1, "transfer_fee": "0.10", "full_handshake_fee": "0.00", "account_reserve": "0.00",
        "records": 2, "head": null, "at": null, "unanswered": [],
    });
    assert_eq!(shown, expected);
    let screen = on_screen(&world, "alice", &["wallet", "show", "NOR"]);
    for part in [
        &format!("north (NOR), issued by {}\n", entity(&north)),
        &format!("   reached at  {north}\n"),
        "   supply      9.00 NOR in accounts: 1\n",
        "   a transfer  costs 0.10 NOR\n",
        "   an account  is made by a first payment of 0.00 NOR at least\n",
        "   you accept  any amount\n",
        &format!("chain {}, signed by it\n", chain.as_str().unwrap()),
    ] {
        assert!(screen.contains(part), "no {part:?} in {screen}");
    }

    // Of several accounts one has another key now: what to do is said of that one.
    world.ask("south", ["issuer", "mint", "1", "--to", &alice]).await.unwrap();
    world.ask("alice", ["init", "--no-passphrase", "--identity", "next"]).await.unwrap();
    world.ask("alice", ["wallet", "rotate", "SUD", "--to", "next"]).await.unwrap();
    let moved = "for SUD that is your identity next: say `fondaco --identity next …`";
    let asks: [&[&str]; 5] = [
        &["pay", &alice, "1", "SUD"],
        &["history", "SUD"],
        &["wallet", "close", "SUD"],
        &["wallet", "add", &south, "--trust", "5"],
        &["balance"],
    ];
    for args in asks {
        let lines = world.run_to("alice", args.iter().copied(), 1).await.unwrap();
        let line = lines.iter().find(|line| line["currency"] == "SUD").unwrap();
        assert_eq!(line["hint"], moved, "{args:?}: {lines:?}");
    }
    world.ask("alice", ["--identity", "next", "wallet", "forget", "SUD", "--yes"]).await.unwrap();
    let lines = world.run_to("alice", ["pay", &alice, "1", "SUD"], 1).await.unwrap();
    let hint = lines[0]["hint"].as_str().unwrap();
    let accept = format!("accept SUD by `fondaco --identity next wallet add {south}`");
    assert!(hint.contains(&accept), "{hint}");

    let refused = world.run_to("alice", ["wallet", "forget", "NOR"], 5).await.unwrap();
    assert!(said(&refused).contains("you have 9.00 NOR there"), "{refused:?}");
    assert_eq!(world.ask("alice", ["wallet", "forget", "SUD"]).await.unwrap()["forgotten"], "SUD");
    world.kill("north").await.unwrap();
    world.run_to("alice", ["wallet", "forget", "NOR"], 6).await.unwrap();
    world.ask("alice", ["wallet", "forget", "NOR", "--yes"]).await.unwrap();
    assert_eq!(world.run("alice", ["wallet", "list"]).await.unwrap().len(), 0);
    world.end().await;
}

/// Who waits for deposits keeps his wallet free for other commands.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_can_pay() {
    let mut world = world();
    let north = issuer(&mut world, "north", "NOR").await;
    let alice = holder(&world, "alice", &[&north]).await;
    let bob = holder(&world, "bob", &[&north]).await;
    world.ask("north", ["issuer", "mint", "9", "--to", &alice]).await.unwrap();
    world.ask("alice", ["deposits"]).await.unwrap();
    assert_eq!(both_outputs(&world, "alice", &["deposits"]), ("".into(), "nothing new\n".into()));
    let pays = async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        world.ask("alice", ["pay", &bob, "1"]).await.unwrap();
        world.ask("alice", ["balance"]).await.unwrap();
        world.ask("north", ["issuer", "mint", "2", "--to", &alice]).await.unwrap();
    };
    let wait = ["deposits", "--wait", "60s"];
    let (waited, ()) = tokio::join!(world.run("alice", wait), pays);
    let waited = waited.unwrap();
    assert_eq!((waited.len(), &waited[0]["amount"]), (1, &"2.00".into()), "{waited:?}");

    // Another command that has the wallet is waited for, too, as long as was asked for; then it is told.
    world.ask("north", ["issuer", "mint", "3", "--to", &alice]).await.unwrap();
    let journal = world.home("alice").join("agent").join(format!("wallet-{}", entity(&north)));
    let held = DiskFile::open(&journal).unwrap();
    let is_done = async {
        let told = world.run_to("alice", ["deposits", "--wait", "1s"], 4).await.unwrap();
        assert!(said(&told).contains("another fondaco command works with"), "{told:?}");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        drop(held);
    };
    let (waited, ()) = tokio::join!(world.run("alice", wait), is_done);
    assert_eq!(waited.unwrap()[0]["amount"], "3.00");

    // A last record that is not whole is cut off and kept, and that is said once: what it said was not done, or must be looked for.
    let mut bytes = std::fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes[end - 40..end - 33].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(&journal, &bytes).unwrap();
    let (balance, told) = both_outputs(&world, "alice", &["balance"]);
    assert!(
        balance.contains("12.90 NOR") && told.starts_with("note: the last "),
        "{balance} {told}"
    );
    let kept = journal.with_added_extension("torn");
    assert!(told.contains(journal.to_str().unwrap()) && told.contains("fondaco history"), "{told}");
    assert!(told.contains(&format!("kept in {}.", kept.display())), "{told}");
    let torn = std::fs::read(&kept).unwrap();
    assert!(told.contains(&format!("the last {} bytes", torn.len())), "{told}");
    assert!(torn.len() > 40 && bytes[..end].ends_with(&torn));
    assert_eq!(both_outputs(&world, "alice", &["balance"]), (balance, String::new()));
    world.end().await;
}

/// An issuer that is away may be back; one whose books were set back is worse, and gives the command its code.
#[tokio::test(flavor = "multi_thread")]
async fn the_gravest_of_several_failures_is_the_code() {
    let mut world = world();
    let north = issuer(&mut world, "north", "NOR").await;
    let south = issuer(&mut world, "south", "SUD").await;
    let alice = holder(&world, "alice", &[&north, &south]).await;
    let (books, old) = (world.home("south").join("issuer"), world.home("south").join("old"));
    let socket = south.rsplit('@').next().unwrap();
    let up = ["issuer", "up", "--listen", socket, "--soap", "none"];
    world.stop("south").await;
    copy(&books, &old);
    world.start("south", up).await.unwrap();
    world.ask("south", ["issuer", "mint", "5", "--to", &alice]).await.unwrap();
    assert_eq!(world.run("alice", ["balance"]).await.unwrap().len(), 2);
    world.stop("south").await;
    std::fs::remove_dir_all(&books).unwrap();
    std::fs::rename(&old, &books).unwrap();
    world.start("south", up).await.unwrap();
    world.kill("north").await.unwrap();
    let lines = world.run_to("alice", ["balance"], 1).await.unwrap();
    let of = |code: i32| lines.iter().find(|line| line["code"] == code).unwrap();
    assert_eq!(of(6)["currency"], "NOR", "{lines:?}");
    assert!(of(1)["error"].as_str().unwrap().contains("set back"), "{lines:?}");
    assert!(said(&lines).contains("2 of 2 issuers"), "{lines:?}");
    world.end().await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// Whatever cannot be paid is refused by its own name, and no money moves.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_paid_is_refused_by_name() {
    let mut world = world();
    let issuer = issuer(&mut world, "issuer", "CLR").await;
    let alice = holder(&world, "alice", &[&issuer]).await;
    let bob = holder(&world, "bob", &[&issuer]).await;
    world.ask("issuer", ["issuer", "mint", "10", "--to", &alice]).await.unwrap();
    let table = [
        ("alice", &bob, "0", 2, "the amount is zero"),
        ("alice", &bob, "0.00", 2, "the amount is zero"),
        ("alice", &alice, "1", 2, "the payee is you"),
        ("alice", &bob, "10", 5, "you have 10.00 CLR, and 10.10 CLR are needed, fee included"),
        ("alice", &bob, "184467440737095516.15", 5, "you have 10.00 CLR"),
        ("alice", &bob, "184467440737095516.16", 2, "184467440737095516.16: "),
        ("alice", &bob, "1.001", 2, "1.001: "),
        ("bob", &alice, "1", 5, "you have no account of CLR there yet"),
        ("bob", &bob, "1", 2, "the payee is you"),
    ];
    for (who, to, amount, code, says) in table {
        let refused = world.run_to(who, ["pay", to, amount, "CLR"], code).await.unwrap();
        assert!(said(&refused).contains(says), "{who} pays {amount}: {refused:?}");
        assert!(refused[0]["hint"].is_string() || code == 2, "{refused:?}");
        for (who, has) in [("alice", "10.00"), ("bob", "0.00")] {
            let balance = world.ask(who, ["balance"]).await.unwrap();
            assert_eq!(balance["available"], has, "{who}, after {amount}");
        }
    }
    // Who had an account is told what is in it.
    world.ask("alice", ["pay", &bob, "9.90"]).await.unwrap();
    let refused = world.run_to("alice", ["pay", &bob, "1"], 5).await.unwrap();
    assert!(said(&refused).contains("you have 0.00 CLR"), "{refused:?}");
    world.stop("issuer").await;
    let audit = world.ask("issuer", ["issuer", "audit"]).await.unwrap();
    assert_eq!((&audit["balanced"], &audit["supply"]), (&true.into(), &"10.00".into()));
    world.end().await;
}

/// What an issuer refuses is told in the currency, with a hint that whoever asked can follow.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_in_the_currency() {
    let mut world = world();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = "issuer init --name Claire --symbol CLR --transfer-fee 0.10 --account-reserve 1";
    world.ask("issuer", define.split(' ')).await.unwrap();
    let up = ["issuer", "up", "--listen", "127.0.0.1:0", "--soap", "none"];
    let issuer = world.start("issuer", up).await.unwrap();
    let alice = holder(&world, "alice", &[&issuer]).await;
    let bob = holder(&world, "bob", &[&issuer]).await;
    world.ask("bob", ["wallet", "add", &issuer, "--trust", "5"]).await.unwrap();
    world.ask("issuer", ["issuer", "mint", "20", "--to", &alice]).await.unwrap();
    let table: [(&str, &[&str], &str, &str); 5] = [
        ("issuer", &["issuer", "mint", "6", "--to", &bob], "at most 5.00 CLR", "mint less"),
        (
            "issuer",
            &["issuer", "redeem", "3"],
            "own account has 0.00 CLR, and 3.00 CLR were to be redeemed",
            "pay to the issuer",
        ),
        ("alice", &["pay", &bob, "0.50"], "1.00 CLR at least make one", "pay that much"),
        ("alice", &["pay", &bob, "6"], "accepts 5.00 CLR at most", "ask the payee"),
        (
            "alice",
            &["wallet", "close"],
            "20.00 CLR are left, and at most 0.00 CLR are given up",
            "--forfeit",
        ),
    ];
    for (who, args, says, hint) in table {
        let refused = world.run_to(who, args.iter().copied(), 5).await.unwrap();
        let told = refused.last().unwrap()["hint"].as_str().unwrap();
        assert!(said(&refused).contains(says) && told.contains(hint), "{args:?}: {refused:?}");
        assert!(!said(&refused).contains("units") && !told.contains("balance"), "{refused:?}");
    }
    let file = world.home("file");
    std::fs::write(&file, format!("{bob},6,bread")).unwrap();
    let pay = ["pay", "--file", file.to_str().unwrap()];
    let refused = world.run_to("alice", pay, 5).await.unwrap();
    let why = refused.iter().find_map(|line| line["why"].as_str()).unwrap();
    assert!(why.ends_with("wants to have at most 5.00 CLR"), "{why}");
    world.stop("issuer").await;
    let told = on_screen(&world, "issuer", &["issuer", "audit"]);
    assert!(told.contains("supply 20.00 CLR, 0.00 of them held"), "{told}");
    world.end().await;
}

/// What another calls a payment does not write on the screen of who looks back.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_stays_in_its_line() {
    let mut world = world();
    let issuer = issuer(&mut world, "issuer", "CLR").await;
    let alice = holder(&world, "alice", &[&issuer]).await;
    let bob = holder(&world, "bob", &[&issuer]).await;
    world.ask("issuer", ["issuer", "mint", "20", "--to", &alice]).await.unwrap();
    let (bell, forged) = ("bread\x1b[2J\u{7}", "jam\n2026-01-01T00:00:00Z  +1000.00 CLR  received");
    let file = world.home("file");
    std::fs::write(&file, format!("{bob},2,{bell}")).unwrap();
    let paid = on_screen(&world, "alice", &["pay", "--file", file.to_str().unwrap()]);
    assert!(paid.starts_with("1 payment of 2.00 CLR in all"), "{paid}");
    assert!(paid.contains("Made 1 payment of 2.00 CLR in all"), "{paid}");
    world.ask("alice", ["pay", &bob, "1", "--order", forged]).await.unwrap();
    for (who, entries) in [("alice", 3), ("bob", 2)] {
        let history = on_screen(&world, who, &["history"]);
        assert!(!history.contains(['\x1b', '\u{7}']), "{history:?}");
        assert_eq!(history.lines().count(), entries, "{history:?}");
        let lines = world.run(who, ["history"]).await.unwrap();
        assert_eq!((&lines[0]["order"], &lines[1]["order"]), (&forged.into(), &bell.into()));
    }
    world.end().await;
}
