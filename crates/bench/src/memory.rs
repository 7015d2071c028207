//! `memory`: what a million accounts take up in memory, each case in a process of its own.

use std::{hint::black_box, path::Path, sync::Arc};

use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_issuer::{IssuerConfig, IssuerHandle, IssuerService};
use fondaco_lcp::{Issuer, IssuerOptions, Request, RequestId, Response};
use fondaco_ledger::Ledger;
use fondaco_store::SystemClock;
use fondaco_testkit::Rng;
use fondaco_units::Scale;
use serde_json::json;
use tokio::{runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    leftovers::Folder,
    processes::{memory, number, numbers, say},
    race::digits,
    report::{Bound, Goal, Report},
    served::{endpoint, issuer_key},
    town::{FEE, MINTED, currency, records},
};

const ACCOUNTS: usize = 1_000_000;
const MB: f64 = 1e6;

const RESIDENT: Goal = Goal {
    what: "memory of an issuer with a million accounts",
    bound: Bound::AtMost(100.0),
    unit: " MB",
};

/// What is in memory, by the name under which the process is told.
const CASES: [(&str, &str); 5] = [
    ("ledger", "the ledger alone"),
    ("few", "the core of the issuer, remembering 1 MiB of answers"),
    ("issuer", "the core of the issuer, as it is by default"),
    ("service", "the service, all minted over it, with its history"),
    ("again", "the service, opened again"),
];

/// How many mints are under way together.
const TOGETHER: usize = 8192;

pub(crate) fn run(report: &Report) {
    let accounts = report.size(ACCOUNTS, 20_000);
    let folder = Folder::new("memory");
    let title = format!("{accounts} accounts, minted to one by one");
    report.head(&title, &["what", "resident, MB", "at most so far, MB", "bytes an account"]);
    for (case, what) in CASES {
        let numbers =
            numbers("memory", &[case, &accounts.to_string(), &folder.path().to_string_lossy()]);
        let [resident, peak] = ["resident", "peak"].map(|name| number(&numbers, name));
        let account = resident / accounts as f64;
        let cells =
            [what.to_owned(), digits(resident / MB), digits(peak / MB), format!("{account:.0}")];
        let value = json!({ "table": "memory", "what": what, "accounts": accounts, "resident": resident, "peak": peak });
        report.row(&cells, &value);
        if case == "service" {
            report.goal(RESIDENT, resident / MB, &[]);
        }
    }
}

/// Fills the memory of this process, and says how full it is.
pub(crate) fn inside(arguments: &[String]) {
    let [case, accounts, folder] = arguments else { panic!("a case, accounts and a folder") };
    let accounts: u64 = accounts.parse().expect("a number of accounts");
    let mut rng = Rng::new(1);
    let bank = EntityId::from_bytes(rng.array());
    match &**case {
        "ledger" => {
            let mut ledger = Ledger::new(CurrencyId::issued_by(bank), 7);
            for _ in 0..accounts {
                ledger.mint(EntityId::from_bytes(rng.array()), MINTED).expect("room for money");
            }
            assert_eq!(ledger.accounts(), accounts);
            tell();
            black_box(ledger);
        }
        case @ ("service" | "again") => serve(Path::new(folder), accounts, case == "service"),
        case => {
            let mut options = IssuerOptions::default();
            if case == "few" {
                options.answers_bytes_max = 1 << 20;
            }
            let mut issuer = Issuer::new(currency(bank), options);
            for id in 1..=accounts {
                let (id, to) = (RequestId::new(id.into()), EntityId::from_bytes(rng.array()));
                let mint = (bank, Request::Mint { id, to, amount: MINTED });
                let known = (to, Request::AckDeposits { id, through: 1 });
                records(&mut issuer, [mint, known]);
            }
            assert_eq!(issuer.ledger().accounts(), accounts);
            tell();
            black_box(issuer);
        }
    }
}

/// Serves so many accounts, which are minted to first if they are not there yet.
fn serve(folder: &Path, accounts: u64, is_new: bool) {
    let key = issuer_key();
    if is_new {
        let scale = Scale::new(2).expect("two decimals");
        let config = IssuerConfig::new("harbour crown", "HCR", scale, FEE).expect("a currency");
        IssuerService::init(folder, &key, &config).expect("an empty folder");
    }
    let service = IssuerService::open(folder, &key, Arc::new(SystemClock)).expect("sound books");
    let handle = service.handle();
    Runtime::new().expect("a runtime").block_on(async {
        let stop = CancellationToken::new();
        let serving = tokio::spawn(service.serve(endpoint(&key).await, stop.clone()));
        if is_new {
            mint(&handle, accounts).await;
        }
        let asked = handle.call(Request::Describe).await;
        assert!(matches!(asked, Ok(Response::Described { .. })), "{asked:?}");
        tell();
        stop.cancel();
        serving.await.expect("no panic").expect("the issuer served");
    });
}

async fn mint(handle: &IssuerHandle, accounts: u64) {
    let (mut rng, mut mints) = (Rng::new(1), JoinSet::new());
    for id in 1..=accounts {
        if mints.len() >= TOGETHER {
            let minted = mints.join_next().await.expect("some are under way").expect("no panic");
            assert!(matches!(minted, Ok(Response::Minted { .. })), "{minted:?}");
        }
        let to = EntityId::from_bytes(rng.array());
        let (handle, id) = (handle.clone(), RequestId::new(id.into()));
        mints.spawn(async move { handle.call(Request::Mint { id, to, amount: MINTED }).await });
    }
    let minted = mints.join_all().await;
    assert!(minted.iter().all(|answer| matches!(answer, Ok(Response::Minted { .. }))));
}

fn tell() {
    let (resident, peak) = memory();
    say("resident", resident);
    say("peak", peak);
}
