//! The books of an issuer that did all that there is to do, as plain text: added up here, and by Beancount where
//! `FONDACO_BEAN_CHECK` names its `bean-check`.

use fondaco_codec::{List, Text};
use fondaco_crypto::{CurrencyId, Digest, SecretKey};
use fondaco_issuer::{IssuerConfig, IssuerService, operator_key};
use fondaco_lcp::{Request, RequestId, Response, Rotation, Step, StepResult};
use fondaco_ledger::{HoldId, PayWordChain, Voucher};
use fondaco_ports::{Address, Clock as _};
use fondaco_store::SystemClock;
use fondaco_transport::{Endpoint, LcpClient, Protocol};
use fondaco_units::{Amount, Duration, Scale};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

const FEE: u64 = 1;
const BANK: u8 = 1;
const ALICE: u8 = 2;
const BOB: u8 = 3;
const BOB_NEW: u8 = 4;
const CAROL: u8 = 5;
const DAVE: u8 = 6;
const ERIN: u8 = 7;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

const fn units(units: u64) -> Amount {
    Amount::new(units)
}

const fn id(number: u128) -> RequestId {
    RequestId::new(number)
}

/// Speaks for anybody.
struct Town {
    address: Address,
    clients: BTreeMap<u8, LcpClient>,
}

impl Town {
    async fn ask(&mut self, who: u8, request: Request) -> Response {
        if !self.clients.contains_key(&who) {
            let key = if who == BANK { operator_key(&key(BANK)) } else { key(who) };
            let endpoint = Endpoint::bind(&key, None, &[]).await.unwrap();
            self.clients.insert(who, LcpClient::new(endpoint, self.address.clone()));
        }
        self.clients[&who].call(&request).await.unwrap()
    }

    async fn pay(&mut self, number: u128, to: u8, amount: u64) {
        let (to, fee_max) = (key(to).entity(), units(FEE));
        let order = Text::cut("bread \"and\" salt\\");
        let pay = Request::Transfer { id: id(number), to, amount: units(amount), fee_max, order };
        let paid = self.ask(ALICE, pay).await;
        assert!(matches!(paid, Response::Transferred { .. }), "{paid:?}");
    }

    /// Alice sets money aside.
    async fn hold(&mut self, number: u128, payee: u8, amount: u64, span: Duration) -> HoldId {
        let expires = SystemClock.now().after(span);
        let open = Request::HoldOpen {
            id: id(number),
            payee: key(payee).entity(),
            amount_max: units(amount),
            order: Digest::of(b"order"),
            expires,
            open_by: expires,
        };
        match self.ask(ALICE, open).await {
            Response::HoldOpened { hold, .. } => hold,
            other => panic!("{other:?}"),
        }
    }

    /// Alice pays these in one batch; what became of each.
    async fn batch(&mut self, number: u128, steps: &[(u8, u64, bool)]) -> Vec<StepResult> {
        let step = |(to, amount, linked): &(u8, u64, bool)| Step {
            to: key(*to).entity(),
            amount: units(*amount),
            order: Text::cut("a pair"),
            linked: *linked,
        };
        let steps = List::new(steps.iter().map(step).collect()).unwrap();
        let batch = Request::Batch { id: id(number), fee_max: units(FEE), steps };
        match self.ask(ALICE, batch).await {
            Response::Batched { results, .. } => results.into_vec(),
            other => panic!("{other:?}"),
        }
    }
}

/// One thing of each kind that can stand in the journal but those of 2003, which foreign programs do.
async fn all_kinds(town: &mut Town) {
    let currency = CurrencyId::issued_by(key(BANK).entity());
    let day = Duration::from_seconds(86_400);
    for (number, to, amount) in [(1, ALICE, 100_000), (2, BANK, 500)] {
        let mint = Request::Mint { id: id(number), to: key(to).entity(), amount: units(amount) };
        assert!(matches!(town.ask(BANK, mint).await, Response::Minted { .. }));
    }
    let redeem = Request::Redeem { id: id(3), amount: units(300) };
    assert_eq!(town.ask(BANK, redeem).await, Response::Redeemed { supply: units(100_200) });
    town.pay(1, BOB, 1000).await;

    // A voucher, a word, a void, an expiry, and one that is open in the end.
    let hold = town.hold(2, BOB, 500, day).await;
    let voucher = Voucher { currency, hold, cumulative: units(200) }.sign(&key(ALICE));
    let posted = town.ask(BOB, Request::HoldPost { id: id(1), voucher }).await;
    assert_eq!(posted, Response::HoldPosted { paid: units(200), returned: units(300) });
    let hold = town.hold(3, DAVE, 1000, day).await;
    let chain = PayWordChain::new(&key(ALICE), currency, hold, units(10), units(50), 10).unwrap();
    let (anchor, word) = (chain.anchor().sign(&key(ALICE)), chain.word(6).unwrap());
    let posted = town.ask(DAVE, Request::HoldPostWord { id: id(1), anchor, word }).await;
    assert_eq!(posted, Response::HoldPosted { paid: units(310), returned: units(690) });
    let hold = town.hold(4, CAROL, 400, day).await;
    let voided = town.ask(CAROL, Request::HoldVoid { id: id(1), hold }).await;
    assert_eq!(voided, Response::HoldVoided { returned: units(400) });
    town.hold(5, CAROL, 300, Duration::from_milliseconds(300)).await;
    town.hold(6, BOB, 77, day).await;

    // Pairs: both, none, and each by itself.
    assert_eq!(town.batch(7, &[(BOB, 10, true), (CAROL, 20, false)]).await, [StepResult::Paid; 2]);
    let none = town.batch(8, &[(BOB, 10, true), (CAROL, 1_000_000, false)]).await;
    assert!(matches!(none[..], [StepResult::Undone, StepResult::Refused { .. }]), "{none:?}");
    let one = town.batch(9, &[(BOB, 3, false), (CAROL, 0, false)]).await;
    assert!(matches!(one[..], [StepResult::Paid, StepResult::Refused { .. }]), "{one:?}");

    // Bob has another key, and is paid by his first one; Dave leaves what he has, and begins anew.
    let (old, new) = (key(BOB), key(BOB_NEW));
    let rotation = Rotation { currency, old: old.entity(), new: new.entity() };
    let (by_old, by_new) = (rotation.sign(&old), rotation.sign(&new));
    let rotate = Request::Rotate { id: id(2), to: new.entity(), by_old, by_new };
    assert_eq!(town.ask(BOB, rotate).await, Response::Rotated { to: new.entity() });
    town.pay(10, BOB, 5).await;
    let close = Request::Close { id: id(2), forfeit_max: units(310) };
    assert_eq!(town.ask(DAVE, close).await, Response::Closed { forfeited: units(310) });
    town.pay(11, DAVE, 7).await;
    // Of limits there is nothing to be booked.
    let limit = Request::AcceptAhead { id: id(1), balance_max: units(40) };
    assert!(matches!(town.ask(ERIN, limit).await, Response::AcceptedAhead { .. }));
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while !matches!(
            town.ask(ALICE, Request::Balance).await,
            Response::Balance { held, .. } if held == units(77)
        ) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the hold expires");
}

#[tokio::test]
async fn the_books_of_all_kinds_of_records_balance() {
    let folder = std::env::temp_dir().join(format!("fondaco-export-{}", std::process::id()));
    let scale = Scale::new(2).unwrap();
    let config = IssuerConfig::new("harbour crown", "HCR", scale, units(FEE)).unwrap();
    IssuerService::init(&folder, &key(BANK), &config).unwrap();
    let service = IssuerService::open(&folder, &key(BANK), Arc::new(SystemClock)).unwrap();
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let endpoint = Endpoint::bind(&key(BANK), listen, &[Protocol::Lcp2]).await.unwrap();
    let (address, shutdown) = (endpoint.address(), CancellationToken::new());
    let serving = tokio::spawn(service.serve(endpoint, shutdown.clone()));
    let mut town = Town { address, clients: BTreeMap::new() };
    all_kinds(&mut town).await;
    shutdown.cancel();
    serving.await.unwrap().unwrap();

    let mut text = Vec::new();
    fondaco_issuer::export(&folder, &mut text).unwrap();
    let books = folder.join("books.beancount");
    fs::write(&books, &text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let (balances, titles) = added_up(&text);
    let kinds =
        ["forfeited", "hold opened", "hold posted", "hold returned", "mint", "redeem", "transfer"];
    assert_eq!(titles.iter().map(String::as_str).collect::<Vec<_>>(), kinds, "{text}");
    let has = |kind: &str, seed: u8| {
        let entity = key(seed).entity().to_string();
        balances.get(&format!("Liabilities:{kind}:F{}", &entity[1..])).copied().unwrap_or_default()
    };
    // Six transfers with a fee of 1, and what was forfeited; Bob's account has the name of its first key.
    let bob = 1000 + 200 + 10 + 3 + 5;
    let alice = 100_000 - bob - 310 - 20 - 7 - 6 - 77;
    let expected = [(ALICE, alice), (BOB, bob), (CAROL, 20), (DAVE, 7), (BANK, 200 + 310 + 6)];
    for (who, units) in expected {
        assert_eq!(has("Holders", who), -units, "{who} in\n{text}");
    }
    assert_eq!((has("Holders", BOB_NEW), has("Held", ALICE)), (0, -77));
    assert_eq!(balances["Equity:Issued"], 100_200);

    if let Some(program) = std::env::var_os("FONDACO_BEAN_CHECK") {
        let checked = Command::new(program).arg(&books).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success() && checked.stdout.is_empty(), "{said}\n{text}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

/// The balance of each account, in smallest units, and the titles of transactions. Each transaction must add up to
/// nothing, an account be open before it is used, and each assertion hold.
fn added_up(text: &str) -> (BTreeMap<String, i64>, BTreeSet<String>) {
    let units = |text: &str| {
        let (whole, cents) = text.split_once('.').expect("two decimals");
        let sign = if whole.starts_with('-') { -1 } else { 1 };
        100 * whole.parse::<i64>().unwrap() + sign * cents.parse::<i64>().unwrap()
    };
    let (mut balances, mut titles) = (BTreeMap::new(), BTreeSet::new());
    let (mut sum, mut asserted) = (0, 0);
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [_, "open", account, "HCR"] => {
                assert_eq!(balances.insert(account.to_owned(), 0), None, "opened twice: {line}");
            }
            [_, "*", ..] => {
                assert_eq!(sum, 0, "before {line}");
                titles.insert(line.split('"').nth(1).unwrap().to_owned());
            }
            [_, "balance", account, amount, "HCR"] => {
                assert_eq!(balances[account], units(amount), "{line}");
                asserted += 1;
            }
            [account, amount, "HCR"] => {
                sum += units(amount);
                *balances.get_mut(account).expect("it is open") += units(amount);
            }
            _ => {}
        }
    }
    assert_eq!(sum, 0, "in the end");
    assert!(asserted > 5, "{text}");
    (balances, titles)
}
