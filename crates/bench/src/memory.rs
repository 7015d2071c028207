//! `memory`: what a million accounts take up in memory, each case in a process of its own.

use std::hint::black_box;

use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_lcp::{Issuer, IssuerOptions, Request, RequestId};
use fondaco_ledger::Ledger;
use fondaco_testkit::Rng;
use serde_json::json;

use crate::{
    processes::{memory, number, numbers, say},
    race::digits,
    report::{Bound, Goal, Report},
    town::{MINTED, currency, records},
};

const ACCOUNTS: usize = 1_000_000;
const MB: f64 = 1e6;

const RESIDENT: Goal = Goal {
    what: "memory of an issuer with a million accounts",
    bound: Bound::AtMost(100.0),
    unit: " MB",
};

/// What is in memory, by the name under which the process is told.
const CASES: [(&str, &str); 3] = [
    ("ledger", "the ledger alone"),
    ("few", "the issuer, remembering 1 MiB of answers"),
    ("issuer", "the issuer, as it is by default"),
];

pub(crate) fn run(report: &Report) {
    let accounts = report.size(ACCOUNTS, 20_000);
    let title = format!("{accounts} accounts, minted to one by one, with no notice left");
    report.head(&title, &["what", "resident, MB", "at most so far, MB", "bytes an account"]);
    for (case, what) in CASES {
        let numbers = numbers("memory", &[case, &accounts.to_string()]);
        let [resident, peak] = ["resident", "peak"].map(|name| number(&numbers, name));
        let account = resident / accounts as f64;
        let cells =
            [what.to_owned(), digits(resident / MB), digits(peak / MB), format!("{account:.0}")];
        let value = json!({ "table": "memory", "what": what, "accounts": accounts, "resident": resident, "peak": peak });
        report.row(&cells, &value);
        if case == "issuer" {
            report.goal(RESIDENT, resident / MB, &[]);
        }
    }
}

/// Fills the memory of this process, and says how full it is.
pub(crate) fn inside(arguments: &[String]) {
    let [case, accounts] = arguments else { panic!("a case and a number of accounts") };
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

fn tell() {
    let (resident, peak) = memory();
    say("resident", resident);
    say("peak", peak);
}
