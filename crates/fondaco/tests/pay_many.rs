//! Many payments by one command, with the payer and the issuer killed in the midst: each is made once, and told.

mod parts;

use fondaco_crypto::SecretKey;
use parts::{failure, world};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::{Child, Command};
use world::World;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fondaco");
/// Enough that what the command says of them does not fit a pipe that nobody reads.
const MANY: u64 = 2000;

/// An issuer, and holders who accept its currency.
async fn town(holders: &[&str]) -> (World, Vec<String>) {
    let mut world = World::new(PathBuf::from(PROGRAM), false).unwrap();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = "issuer init --name Claire --symbol CLR --scale 2 --transfer-fee 0.01";
    world.ask("issuer", define.split(' ')).await.unwrap();
    let issuer = world.start("issuer", up("127.0.0.1:0")).await.unwrap();
    let mut entities = Vec::new();
    for who in holders {
        world.ask(who, ["init", "--no-passphrase"]).await.unwrap();
        world.ask(who, ["wallet", "add", &issuer]).await.unwrap();
        let shown = world.ask(who, ["identity", "show"]).await.unwrap();
        entities.push(shown["entity"].as_str().unwrap().to_owned());
    }
    (world, entities)
}

fn up(socket: &str) -> Vec<String> {
    ["issuer", "up", "--listen", socket, "--soap", "127.0.0.1:0"].map(str::to_owned).to_vec()
}

async fn balance(world: &World, who: &str) -> String {
    let balance = world.ask(who, ["balance"]).await.unwrap();
    balance["available"].as_str().unwrap().to_owned()
}

fn payee(seed: u8) -> String {
    SecretKey::from_bytes(&[seed; 32]).entity().to_string()
}

/// Payments of 0.03 each to twenty keys, with orders that begin so.
fn wages(path: &Path, order: &str, count: u64) {
    let payees: Vec<_> = (100..120).map(payee).collect();
    let mut text = "to,amount,order\n".to_owned();
    for number in 0..count {
        let to = &payees[usize::try_from(number % 20).unwrap()];
        writeln!(text, "{to},0.03,{order}-{number}").unwrap();
    }
    fs::write(path, text).unwrap();
}

/// Whether a file of the wallet has these bytes: the intent is written.
fn is_in_wallet(home: &Path, bytes: &[u8]) -> bool {
    let files = fs::read_dir(home.join("agent")).into_iter().flatten().flatten();
    files.into_iter().any(|file| {
        let is_wallet = file.file_name().to_string_lossy().starts_with("wallet-");
        is_wallet
            && fs::read(file.path())
                .is_ok_and(|found| found.windows(bytes.len()).any(|window| window == bytes))
    })
}

/// A run of this command that is never through with telling what became of the payments, since nobody reads what it says; its
/// intent, in which is `order`, is saved.
async fn unread(home: &Path, pay: &[&str], order: &str) -> Child {
    let child = Command::new(PROGRAM)
        .arg("--home")
        .arg(home)
        .arg("--json")
        .args(pay)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let written = async {
        while !is_in_wallet(home, order.as_bytes()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), written).await.expect("an intent is saved");
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_paid_once_whoever_is_killed() {
    let (mut world, alice) = town(&["alice"]).await;
    world.ask("issuer", ["issuer", "mint", "1000", "--to", &alice[0]]).await.unwrap();
    let socket = world.address("issuer").unwrap().split('@').nth(1).unwrap().to_owned();
    let socket = socket.split(',').next().unwrap().to_owned();
    let (home, file) = (world.home("alice"), world.home("wages.csv"));
    let pay = ["pay", "--file", file.to_str().unwrap()];
    let mut ids = Vec::new();
    for (round, delay) in [0, 1, 4, 10, 30, 200].into_iter().enumerate() {
        let order = format!("round-{round}-");
        wages(&file, &order, MANY);
        let mut child = unread(&home, &pay, &order).await;
        tokio::time::sleep(Duration::from_millis(delay)).await;
        let is_issuer_killed = round % 2 == 1;
        if is_issuer_killed {
            world.kill("issuer").await.unwrap();
        }
        child.kill().await.unwrap();
        if is_issuer_killed {
            world.start("issuer", up(&socket)).await.unwrap();
        }
        // The same again learns the outcome; once it was told, the same are other payments, which must be wanted.
        let lines = world.run("alice", pay).await.unwrap();
        let done = lines.last().unwrap();
        assert_eq!(done["taken_up"], true, "{round}: {done}");
        assert_eq!((&done["paid"], &done["not_paid"]), (&MANY.into(), &0.into()), "{done}");
        assert_eq!(done["fees"], Value::Null, "of so many the most is told: {done}");
        let told = lines.iter().filter(|line| line["outcome"] == "paid");
        assert_eq!(told.count() as u64, MANY);
        ids.push(done["id"].clone());
        let refused = world.run_to("alice", pay, 1).await.unwrap();
        let error = refused.iter().find_map(|line| line["error"].as_str()).unwrap();
        assert!(error.contains(done["id"].as_str().unwrap()), "{error}");
    }
    let spent = ids.len() as u64 * MANY * 4;
    let has = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
    assert_eq!(balance(&world, "alice").await, has(100_000 - spent));
    ids.sort_by_key(Value::to_string);
    ids.dedup();
    assert_eq!(ids.len(), 6, "each round was a command of its own");

    // Wanted once more, they are made once more; 8,000 are one command, and more are none.
    let again = world.ask("alice", [&pay[..], &["--again"]].concat()).await.unwrap();
    assert_eq!((&again["paid"], &again["taken_up"]), (&MANY.into(), &false.into()));
    wages(&file, "most", 8001);
    world.run_to("alice", pay, 2).await.unwrap();
    wages(&file, "most", 8000);
    let receipt = world.home("receipt");
    let with_receipt = [&pay[..], &["--receipt", receipt.to_str().unwrap()]].concat();
    let lines = world.run("alice", with_receipt).await.unwrap();
    let done = lines.iter().find(|line| line["event"] == "done").unwrap();
    assert_eq!(done["paid"], 8000);
    let shown = world.ask("alice", ["receipt", "verify", receipt.to_str().unwrap()]).await.unwrap();
    assert_eq!(shown["valid"], true);
    assert_eq!(balance(&world, "alice").await, has(100_000 - spent - MANY * 4 - 8000 * 4));
    world.stop("issuer").await;
    let audit = world.ask("issuer", ["issuer", "audit"]).await.unwrap();
    assert_eq!(audit["balanced"], true);
    world.end().await;
}

/// Whether all are made or none does not make them other payments.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_payments_linked_otherwise_are_the_same() {
    let (world, alice) = town(&["alice"]).await;
    world.ask("issuer", ["issuer", "mint", "1000", "--to", &alice[0]]).await.unwrap();
    let (home, file) = (world.home("alice"), world.home("wages.csv"));
    let plain = ["pay", "--file", file.to_str().unwrap()];
    let linked = [&plain[..], &["--all-or-none"]].concat();
    for (round, first, second) in [(0, &plain[..], &linked[..]), (1, &linked[..], &plain[..])] {
        let order = format!("turn-{round}-");
        wages(&file, &order, MANY);
        let mut child = unread(&home, first, &order).await;
        child.kill().await.unwrap();
        let done = world.ask("alice", second.to_vec()).await.unwrap();
        assert_eq!((&done["paid"], &done["taken_up"]), (&MANY.into(), &true.into()), "{done}");
        assert_eq!(done["all_or_none"], first == linked, "{done}");
        for again in [first, second] {
            let refused = world.run_to("alice", again.to_vec(), 1).await.unwrap();
            let error = refused.iter().find_map(|line| line["error"].as_str()).unwrap();
            assert!(error.contains(done["id"].as_str().unwrap()), "{error}");
        }
        let cents = 100_000 - (round + 1) * MANY * 4;
        let left = format!("{}.{:02}", cents / 100, cents % 100);
        assert_eq!(balance(&world, "alice").await, left);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_in_the_midst_is_refused() {
    let (world, entities) = town(&["alice", "bob"]).await;
    let [alice, bob] = &entities[..] else { panic!("two holders") };
    world.ask("issuer", ["issuer", "mint", "10", "--to", alice]).await.unwrap();
    let issuer = world.address("issuer").unwrap().to_owned();
    world.ask("bob", ["wallet", "add", &issuer, "--trust", "5"]).await.unwrap();
    let (carol, dave) = (payee(120), payee(121));
    let (file, left) = (world.home("file"), world.home("left"));
    let (named, left_named) =
        (file.to_str().unwrap().to_owned(), left.to_str().unwrap().to_owned());
    let pay = ["pay", "--file", &named];

    // All is looked at before anything is sent.
    let too_much = format!("{carol},1\n{dave},9\n");
    let own = format!("{carol},1\n{alice},1\n");
    let wrong = format!("{carol},1\n{dave},1,x\n{bob},1.001\n");
    for (text, code) in [(wrong, 2), (own, 2), (too_much, 5)] {
        fs::write(&file, &text).unwrap();
        let lines = world.run_to("alice", pay, code).await.unwrap();
        assert!(lines.iter().any(|line| line["error"].is_string()), "{text}: {lines:?}");
        assert_eq!(balance(&world, "alice").await, "10.00", "{text}");
    }

    // All or none, as the payer says.
    let text = format!(
        r#"[{{"to":"{carol}","amount":"1","order":"c"}},{{"to":"{bob}","amount":"6"}},{{"to":"{dave}","amount":"1"}}]"#
    );
    fs::write(&file, text).unwrap();
    let outcomes = |lines: &[Value]| {
        let outcomes = lines.iter().filter_map(|line| line["outcome"].as_str());
        outcomes.map(str::to_owned).collect::<Vec<_>>()
    };
    let all = [&pay[..], &["--all-or-none"]].concat();
    let lines = world.run_to("alice", all, 5).await.unwrap();
    assert_eq!(outcomes(&lines), ["undone", "refused", "undone"]);
    let fees =
        |lines: &[Value]| lines.iter().find_map(|line| line["fees"].as_str().map(str::to_owned));
    assert_eq!(fees(&lines).unwrap(), "0.00");
    assert_eq!(balance(&world, "alice").await, "10.00");
    let with_left = [&pay[..], &["--left", &left_named]].concat();
    let lines = world.run_to("alice", with_left, 5).await.unwrap();
    assert_eq!(outcomes(&lines), ["paid", "refused", "paid"]);
    assert_eq!(fees(&lines).unwrap(), "0.02");
    let why = lines.iter().find_map(|line| line["why"].as_str()).unwrap();
    assert!(why.ends_with("at most 5.00 CLR"), "{why}");
    assert_eq!(balance(&world, "alice").await, "7.98");
    world.run_to("alice", pay, 1).await.unwrap();

    // What is left can be paid when its payee takes it.
    world.ask("bob", ["wallet", "add", &issuer, "--trust", "any"]).await.unwrap();
    let done = world.ask("alice", ["pay", "--file", &left_named]).await.unwrap();
    assert_eq!((&done["paid"], &done["balance"]), (&1.into(), &"1.97".into()));
    assert_eq!(balance(&world, "bob").await, "6.00");
    world.end().await;
}
