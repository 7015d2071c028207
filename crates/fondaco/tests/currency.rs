//! A currency by the real command: an issuer, holders in both dialects, and what they are told when something is wrong.

mod parts;

use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, EntityId, SecretKey, parse_entity};
use fondaco_lcp::Outbox;
use fondaco_lcp_wire::{ClientTls, SoapClient, soap::Reply};
use fondaco_store::{DiskFile, Journal, Kind};
use fondaco_units::{Amount, Duration, Scale};
use parts::{failure, world};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use world::World;

async fn issuer(world: &mut World) -> String {
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = "issuer init --name Claire --symbol CLR --scale 2 --transfer-fee 0.10 --full-handshake-fee 0.05 \
                  --account-reserve 1";
    world.ask("issuer", define.split(' ')).await.unwrap();
    world.start("issuer", up("127.0.0.1:0")).await.unwrap()
}

fn up(socket: &str) -> Vec<String> {
    ["issuer", "up", "--listen", socket, "--soap", "127.0.0.1:0"].map(str::to_owned).to_vec()
}

async fn holder(world: &World, who: &str, issuer: &str) -> String {
    world.ask(who, ["init", "--no-passphrase"]).await.unwrap();
    world.ask(who, ["wallet", "add", issuer, "--trust", "500"]).await.unwrap();
    let shown = world.ask(who, ["identity", "show"]).await.unwrap();
    shown["entity"].as_str().unwrap().to_owned()
}

/// How many commands of a wallet are without an answer.
fn pending(world: &World, who: &str, entity: &str, issuer: &str) -> usize {
    let of = parse_entity(issuer.split('@').next().unwrap()).unwrap();
    let path = world.home(who).join("agent").join(format!("wallet-{of}"));
    let mut outbox = Outbox::new(CurrencyId::issued_by(of), parse_entity(entity).unwrap());
    let kind = Kind::new(*b"wallet\0\0", 1);
    Journal::open(DiskFile::open(&path).unwrap(), kind, |record| outbox.replay(record)).unwrap();
    outbox.pending().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_pay_each_other() {
    let mut world = World::new(PathBuf::from(env!("CARGO_BIN_EXE_fondaco")), false).unwrap();
    let issuer = issuer(&mut world).await;
    let alice = holder(&world, "alice", &issuer).await;
    let bob = holder(&world, "bob", &issuer).await;
    // Bob has no account yet, and already nobody makes him hold more than he accepts; who has none can change it.
    let refused = world.run_to("issuer", ["issuer", "mint", "501", "--to", &bob], 5).await.unwrap();
    assert!(refused[0]["error"].as_str().unwrap().contains("500"), "{refused:?}");
    let ahead = world.ask("bob", ["wallet", "add", &issuer, "--trust", "200"]).await.unwrap();
    assert_eq!((&ahead["limited"], ahead["limited_until"].is_string()), (&true.into(), true));
    world.run_to("issuer", ["issuer", "mint", "201", "--to", &bob], 5).await.unwrap();
    world.ask("bob", ["wallet", "add", &issuer, "--trust", "500"]).await.unwrap();

    world.ask("issuer", ["issuer", "mint", "400", "--to", &alice]).await.unwrap();
    let noticed = world.ask("alice", ["deposits"]).await.unwrap();
    assert_eq!((&noticed["amount"], &noticed["payer"]), (&"400.00".into(), &Value::Null));

    // Under the reserve nobody gets an account; over it one does, and the one who waits is told at once.
    let refused = world.run_to("alice", ["pay", &bob, "0.99"], 5).await.unwrap();
    assert!(refused[0]["error"].as_str().unwrap().contains("1"), "{refused:?}");
    let waiting = world.ask("bob", ["deposits", "--wait", "30s"]);
    let receipt = world.home("receipt");
    let paying = async {
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        let to = receipt.to_str().unwrap();
        world.run("alice", ["pay", &bob, "10", "CLR", "--order", "bread", "--receipt", to]).await
    };
    let (noticed, paid) = tokio::join!(waiting, paying);
    let noticed = noticed.unwrap();
    assert_eq!((&noticed["amount"], &noticed["order"]), (&"10.00".into(), &"bread".into()));
    let paid = paid.unwrap();
    assert_eq!((&paid[0]["fee"], &paid[0]["balance"]), (&"0.10".into(), &"389.90".into()));

    // The receipt proves it to anybody, and nothing else does.
    let shown = world.ask("bob", ["receipt", "verify", receipt.to_str().unwrap()]).await.unwrap();
    assert_eq!((&shown["valid"], &shown["known"]), (&true.into(), &true.into()));
    assert!(shown["what"].as_str().unwrap().contains(&bob), "{shown}");
    let text = std::fs::read_to_string(&receipt).unwrap();
    let forged = world.home("forged");
    std::fs::write(&forged, text.replacen('A', "B", 2)).unwrap();
    world.run_to("bob", ["receipt", "verify", forged.to_str().unwrap()], 8).await.unwrap();

    // Bob's limit holds from his first look on.
    let refused = world.run_to("issuer", ["issuer", "mint", "500", "--to", &bob], 5).await.unwrap();
    assert!(refused[0]["error"].as_str().unwrap().contains("500"), "{refused:?}");

    // Accepting the currency again keeps the limit, and says so; `any` lifts it.
    let again = world.ask("bob", ["wallet", "add", &issuer]).await.unwrap();
    assert_eq!((&again["trust"], &again["limited"]), (&"500.00".into(), &true.into()));
    world.run_to("issuer", ["issuer", "mint", "500", "--to", &bob], 5).await.unwrap();
    let lifted = world.ask("bob", ["wallet", "add", &issuer, "--trust", "any"]).await.unwrap();
    assert_eq!(lifted["trust"], Value::Null);
    world.ask("bob", ["wallet", "add", &issuer, "--trust", "500"]).await.unwrap();

    // The account goes to another key, with all that was.
    world.ask("bob", ["init", "--no-passphrase", "--identity", "next"]).await.unwrap();
    let rotated = world.ask("bob", ["wallet", "rotate", "CLR", "--to", "next"]).await.unwrap();
    let next = rotated["to"].as_str().unwrap().to_owned();
    // What was accepted is accepted by the other identity, with its limit.
    let [mine, theirs] = [
        world.ask("bob", ["wallet", "list"]).await.unwrap(),
        world.ask("bob", ["--identity", "next", "wallet", "list"]).await.unwrap(),
    ];
    assert_eq!(mine, theirs);
    world.ask("alice", ["pay", &bob, "1"]).await.unwrap();
    let history = world.run("bob", ["--identity", "next", "history"]).await.unwrap();
    let kinds: Vec<_> = history.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["received", "another key", "received"]);
    // What is named as an own command has a receipt; what another did has none for who was paid.
    let (to, mut theirs) = (world.home("of-history"), 0);
    let to = to.to_str().unwrap();
    let of_alice = world.run("alice", ["history"]).await.unwrap();
    let all = history.iter().map(|entry| ("next", entry));
    for (name, entry) in all.chain(of_alice.iter().map(|entry| ("default", entry))) {
        let who = if name == "next" { "bob" } else { "alice" };
        let get = |id| ["--identity", name, "receipt", "get", id, "--to", to];
        if let Some(id) = entry["id"].as_str() {
            world.run(who, get(id)).await.unwrap();
        }
        if let Some(id) = entry["their_id"].as_str() {
            let refused = world.run_to(who, get(id), 3).await.unwrap();
            assert!(refused[0]["error"].as_str().unwrap().contains("no command of yours"));
            theirs += 1;
        }
        assert!(entry["id"].is_string() != entry["their_id"].is_string(), "{entry}");
    }
    assert!(theirs > 0, "{history:?}");
    // The key of before is told who has the account, whatever it asks; to change it again changes nothing.
    world.ask("bob", ["init", "--no-passphrase", "--identity", "third"]).await.unwrap();
    for asks in [
        &["pay", &alice, "1"][..],
        &["balance"],
        &["wallet", "close"],
        &["wallet", "rotate", "CLR", "--to", "third"],
        &["pay", &alice, "1"],
    ] {
        let refused = world.run_to("bob", asks.iter().copied(), 1).await.unwrap();
        let (said, hint) = (refused[0]["error"].as_str(), refused[0]["hint"].as_str());
        assert!(said.is_some_and(|said| said.contains(&next)), "{asks:?}: {refused:?}");
        let hint = hint.unwrap();
        assert!(hint.contains("your identity next: say `fondaco --identity next …`"), "{hint}");
    }
    let again = world.ask("bob", ["wallet", "rotate", "CLR", "--to", "next"]).await.unwrap();
    assert_eq!(again["to"], next);
    assert_eq!(pending(&world, "bob", &bob, &issuer), 0, "what was refused is not asked for ever");
    world.run_to("bob", ["--identity", "next", "wallet", "close"], 5).await.unwrap();
    let balance = ["--identity", "next", "pay", &alice, "10.90"];
    world.ask("bob", balance).await.unwrap();
    world.ask("bob", ["--identity", "next", "wallet", "close"]).await.unwrap();
    assert_ne!(next, bob);

    // Copied while it runs, restored elsewhere, proved there.
    let backup = world.home("backup");
    let to = backup.to_str().unwrap();
    let copied = world.ask("issuer", ["issuer", "backup", "--to", to]).await.unwrap();
    world.stop("issuer").await;
    world.ask("again", ["init", "--no-passphrase"]).await.unwrap();
    let restored = world.ask("again", ["issuer", "restore", "--from", to]).await.unwrap();
    assert_eq!((&restored["records"], &restored["key"]), (&copied["records"], &false.into()));
    let audit = world.ask("issuer", ["issuer", "audit"]).await.unwrap();
    assert_eq!((&audit["balanced"], &audit["head"]), (&true.into(), &copied["head"]));
    let books = world.home("books");
    world.ask("issuer", ["issuer", "export", "--to", books.to_str().unwrap()]).await.unwrap();
    assert!(std::fs::read_to_string(&books).unwrap().contains("balance Equity:Issued  400.00 CLR"));

    // An issuer whose books were set back is caught by whoever saw more of them.
    let journal = world.home("issuer").join("issuer");
    std::fs::remove_dir_all(&journal).unwrap();
    let old = world.home("old");
    std::fs::create_dir_all(&old).unwrap();
    std::fs::create_dir_all(&journal).unwrap();
    let define = "issuer init --name Claire --symbol CLR --scale 2";
    world.ask("issuer", define.split(' ')).await.unwrap();
    let socket = issuer.rsplit('@').next().unwrap();
    world.start("issuer", up(socket)).await.unwrap();
    let caught = world.run_to("alice", ["pay", &next, "1"], 1).await.unwrap();
    assert!(caught[0]["error"].as_str().unwrap().contains("set back"), "{caught:?}");
    world.end().await;
}

/// A seller knows for what a payment came: order, currency, payer and amount are all those that it asked for.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_paid_by_who_was_asked_and_by_nothing_else() {
    let mut world = World::new(PathBuf::from(env!("CARGO_BIN_EXE_fondaco")), false).unwrap();
    let issuer = issuer(&mut world).await;
    let alice = holder(&world, "alice", &issuer).await;
    let mallory = holder(&world, "mallory", &issuer).await;
    let bob = holder(&world, "bob", &issuer).await;
    for who in [&alice, &mallory] {
        world.ask("issuer", ["issuer", "mint", "100", "--to", who]).await.unwrap();
    }
    let create = ["invoice", "create", "10", "CLR", "--from", &alice, "--for", "two loaves"];
    let made = world.ask("bob", create).await.unwrap();
    let (invoice, order) = (made["invoice"].as_str().unwrap(), made["order"].as_str().unwrap());
    let other = world.ask("bob", create).await.unwrap();
    assert_ne!(other["order"], made["order"], "nobody can tell the next order from this one");

    // What it says can be read by whoever has it, and be changed by nobody.
    let shown = world.ask("mallory", ["invoice", "show", invoice]).await.unwrap();
    assert_eq!((&shown["amount"], &shown["payee"]), (&"10.00".into(), &bob.as_str().into()));
    let forged = format!("{}{}", &invoice[..60], invoice[60..].replacen('A', "B", 1));
    world.run_to("alice", ["pay", &forged], 8).await.unwrap();
    world.run_to("alice", ["pay", &invoice[..100]], 8).await.unwrap();
    world.run_to("alice", ["pay", invoice, "10"], 2).await.unwrap();
    let refused = world.run_to("mallory", ["pay", invoice], 1).await.unwrap();
    assert!(refused[0]["error"].as_str().unwrap().contains(&alice), "{refused:?}");
    let own = world.run_to("bob", ["pay", invoice], 1).await.unwrap();
    assert_eq!(own[0]["hint"], "send it to who is to pay");

    // A stranger who knows the order pays a little under it, then all; then the buyer pays, and means it once.
    world.ask("mallory", ["pay", &bob, "1", "--order", order]).await.unwrap();
    world.ask("mallory", ["pay", &bob, "10", "--order", order]).await.unwrap();
    let paid = world.ask("alice", ["pay", invoice]).await.unwrap();
    assert_eq!((&paid["balance"], &paid["taken_up"]), (&"89.90".into(), &false.into()));
    let again = world.ask("alice", ["pay", invoice]).await.unwrap();
    assert_eq!((&again["id"], &again["taken_up"]), (&paid["id"], &true.into()));
    assert_eq!(world.ask("alice", ["balance"]).await.unwrap()["available"], "89.90");

    // Whatever comes again, as after a crash before it was acknowledged, is told alike.
    for look in [&["deposits", "--keep"][..], &["deposits"]] {
        let told = world.run("bob", look.iter().copied()).await.unwrap();
        let told: Vec<_> = told.iter().map(|deposit| &deposit["invoice"]).collect();
        let states: Vec<_> = told.iter().map(|invoice| &invoice["state"]).collect();
        assert_eq!(states, ["astray", "astray", "paid"], "{told:?}");
        assert!(told.iter().all(|invoice| invoice["for"] == "two loaves"), "{told:?}");
    }
    // Paid under another order by hand, it pays what has that order; twice, it is astray; cancelled, too.
    let order = other["order"].as_str().unwrap();
    for sum in ["10", "10"] {
        world.ask("alice", ["pay", &bob, sum, "--order", order]).await.unwrap();
    }
    let third = world.ask("bob", create).await.unwrap();
    let order = third["order"].as_str().unwrap();
    world.ask("bob", ["invoice", "cancel", order]).await.unwrap();
    world.ask("alice", ["pay", third["invoice"].as_str().unwrap()]).await.unwrap();
    world.ask("alice", ["pay", &bob, "2", "--order", "bread"]).await.unwrap();
    let told = world.run("bob", ["deposits"]).await.unwrap();
    let states: Vec<_> = told.iter().map(|deposit| &deposit["invoice"]["state"]).collect();
    assert_eq!(states, [&Value::from("paid"), &"astray".into(), &"astray".into(), &Value::Null]);
    world.run_to("bob", ["invoice", "cancel", other["order"].as_str().unwrap()], 1).await.unwrap();
    let listed = world.run("bob", ["invoice", "list", "--all"]).await.unwrap();
    let states: Vec<_> = listed.iter().map(|invoice| &invoice["state"]).collect();
    assert_eq!(states, ["paid", "cancelled", "paid"], "the first done first");

    // What is overdue is not paid any more; what nobody can pay is not asked for.
    let late = ["invoice", "create", "10", "--within", "1s"];
    let late = world.ask("bob", late).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let late = world.run_to("alice", ["pay", late["invoice"].as_str().unwrap()], 1).await.unwrap();
    assert!(late[0]["error"].as_str().unwrap().contains("due"), "{late:?}");
    let overdue = world.run("bob", ["invoice", "list"]).await.unwrap();
    assert_eq!(overdue[0]["state"], "overdue");
    for (asked, code) in [
        (&["invoice", "create", "0"][..], 2),
        (&["invoice", "create", "1e3"], 2),
        (&["invoice", "create", "1", "--within", "0s"], 2),
        (&["invoice", "create", "1", "--from", &bob], 2),
        (&["invoice", "create", "1", "USD"], 3),
        (&["invoice", "cancel", "bread"], 2),
        (&["invoice", "cancel", &"0".repeat(64)], 3),
    ] {
        world.run_to("bob", asked.iter().copied(), code).await.unwrap();
    }
    world.end().await;
}

/// One account in both dialects: SOAP over TLS pays, waits and is charged for its handshake once.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_of_2003_is_as_good_as_any() {
    let mut world = World::new(PathBuf::from(env!("CARGO_BIN_EXE_fondaco")), false).unwrap();
    let issuer = issuer(&mut world).await;
    let soap = |world: &World| -> SocketAddr {
        let url = world.told("issuer", "soap").unwrap();
        url.split('/').nth(2).unwrap().parse().unwrap()
    };
    let issuer_key: EntityId = issuer.split('@').next().unwrap().parse().unwrap();
    let (scale, carol) = (Scale::new(2).unwrap(), SecretKey::from_bytes(&[77; 32]));
    let dave = holder(&world, "dave", &issuer).await;
    let carol_id = carol.entity().to_string();
    world.ask("issuer", ["issuer", "mint", "100", "--to", &carol_id]).await.unwrap();

    let tls = ClientTls::with_certificates(&carol, issuer_key);
    let mut client = SoapClient::connect(&tls, soap(&world), scale).await.unwrap();
    assert!(!client.is_resumed());
    let told = client.query(0, Duration::ZERO).await.unwrap();
    let Reply::Told { deposits, fee, balance } = told else { panic!("{told:?}") };
    assert_eq!((deposits.len(), fee, balance), (1, Amount::new(5), Amount::new(9995)));
    let to = parse_entity(&dave).unwrap();
    // The order of an invoice is what a client of 2003 gives as its transaction id.
    let create = ["invoice", "create", "10", "--from", &carol_id];
    let asked = world.ask("dave", create).await.unwrap();
    let order = Text::cut(asked["order"].as_str().unwrap());
    let paid = client.transfer(1, to, Amount::new(1000), order.clone()).await.unwrap();
    assert!(matches!(paid, Reply::Paid { fee } if fee == Amount::new(10)), "{paid:?}");
    assert_eq!(client.transfer(1, to, Amount::new(1000), order).await.unwrap(), paid);
    drop(client);
    let noticed = world.ask("dave", ["deposits"]).await.unwrap();
    assert_eq!(noticed["payer"].as_str(), Some(carol_id.as_str()));
    assert_eq!(noticed["invoice"]["state"], "paid");

    // A resumed session is the same account, costs nothing, and is told at once what arrives.
    let mut client = SoapClient::connect(&tls, soap(&world), scale).await.unwrap();
    assert!(client.is_resumed());
    let waiting = client.query(0, Duration::from_seconds(30));
    let paying = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        world.ask("dave", ["pay", &carol_id, "2"]).await
    };
    let (told, paid) = tokio::join!(waiting, paying);
    paid.unwrap();
    let told = told.unwrap();
    let Reply::Told { deposits, fee, balance } = told else { panic!("{told:?}") };
    assert_eq!((deposits.len(), fee, balance), (1, Amount::ZERO, Amount::new(9185)));
    drop(client);

    // What the issuer knows survives kill -9: the same counter, the same answer.
    world.kill("issuer").await.unwrap();
    let socket = issuer.rsplit('@').next().unwrap();
    world.start("issuer", up(socket)).await.unwrap();
    let mut client = SoapClient::connect(&tls, soap(&world), scale).await.unwrap();
    let again = client.query(0, Duration::ZERO).await.unwrap();
    let Reply::Told { deposits: found, balance, .. } = again else { panic!("{again:?}") };
    assert_eq!((found, balance), (deposits, Amount::new(9185)));
    world.end().await;
}
