//! The end of the demo: everybody is paid what is owed, nobody more, and every book is added up.

use super::misfortune::Fates;
use super::{ALLOWANCE, Contract, DECIMALS, Demo, SYMBOL, amount, number, text};
use crate::failure::{Code, Failure};
use crate::screen::say;
use fondaco_units::{Amount, Bytes, Scale};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a host may take until its status tells of all that has ended.
const TOLD_TIMEOUT: Duration = Duration::from_secs(30);

/// What a host's own books say at the end.
struct HostBooks {
    /// What it was paid for contracts.
    paid: Amount,
    /// What the issuer holds for it.
    available: Amount,
}

impl Demo<'_> {
    pub(super) async fn settle(&mut self, fates: &Fates) -> Result<(), Failure> {
        self.step("the killed hosts come back, contracts end, every host posts its voucher");
        for name in &fates.killed {
            let socket = self.socket_of(name);
            self.world.start(name, ["up", "--listen", &socket]).await?;
            say(&format!(
                "   {name:<8} is back as pid {}, with its books as they were",
                self.world.pid(name)
            ));
        }
        let lines = self.world.run("buyer", ["contracts", "end", "--yes"]).await?;
        let ended = lines.iter().filter(|line| line["event"] == "ended").count();
        say(&format!("   {ended} contracts ended, {ended} vouchers posted at the issuer"));
        let lines = self.world.run("buyer", ["contracts", "list"]).await?;
        let is_open = |line: &&Value| line["event"] == "contract" && line["stage"] != "ended";
        if let Some(open) = lines.iter().find(is_open) {
            return Err(Failure::new(format!("not every contract could be ended: {open}")));
        }
        Ok(())
    }

    pub(super) async fn balance(&mut self, fates: &Fates) -> Result<(), Failure> {
        self.step("the bill, and the books");
        let scale = Scale::new(DECIMALS).unwrap_or_default();
        let lines = self.world.run("buyer", ["contracts", "list"]).await?;
        let mut billed = Amount::ZERO;
        let mut by_host: BTreeMap<String, Amount> = BTreeMap::new();
        say(
            "   provider       written   stored·epochs            read          owed          paid",
        );
        for line in lines.iter().filter(|line| line["event"] == "contract") {
            let (owed, paid) = (amount(line, "owed")?, amount(line, "paid")?);
            let host = self.host_of(&text(line, "provider")?);
            say(&format!(
                "   {:<9} {:>12}    {:>12}    {:>12}   {:>11}   {:>11}",
                host,
                Bytes::new(number(line, "written")?).to_string(),
                Bytes::new(number(line, "byte_epochs")?).to_string(),
                Bytes::new(number(line, "read")?).to_string(),
                scale.show(owed).to_string(),
                scale.show(paid).to_string()
            ));
            // What a cheat got for nothing is looked at by itself.
            let is_cheat = [&fates.liar.host, &fates.refuser.host].contains(&&host);
            if paid < owed || (paid > owed && !is_cheat) {
                let (owed, paid) = (scale.show(owed), scale.show(paid));
                let what = format!("{host} is owed {owed} {SYMBOL}, and was paid {paid}");
                return Err(Failure::new(what).code(Code::Verification));
            }
            billed = billed.checked_add(paid).unwrap_or(Amount::MAX);
            let of_host = by_host.entry(host).or_default();
            *of_host = of_host.checked_add(paid).unwrap_or(Amount::MAX);
        }
        say(&format!("   {:>71} {:>13}", "in all", scale.show(billed).to_string()));
        self.unpaid(&lines, &fates.liar, "lied")?;
        self.unpaid(&lines, &fates.refuser, "refused")?;
        let buyer = self.world.ask("buyer", ["balance"]).await?;
        let mut earned = Amount::ZERO;
        for (host, _) in &self.hosts {
            let HostBooks { paid, available } = self.books_of(host).await?;
            let billed = by_host.get(host).copied().unwrap_or_default();
            if paid != billed || available != billed {
                let what = format!(
                    "the books of {host} differ: it was paid {} by the bill, {} by its own books, and has {}",
                    scale.show(billed),
                    scale.show(paid),
                    scale.show(available)
                );
                return Err(Failure::new(what).code(Code::Verification));
            }
            earned = earned.checked_add(available).unwrap_or(Amount::MAX);
        }
        say(&format!(
            "   the own books of all {} hosts say the same to the last unit: nothing is open, nothing unposted",
            self.hosts.len()
        ));
        let (left, held) = (amount(&buyer, "available")?, amount(&buyer, "held")?);
        let sum = left.checked_add(held).and_then(|sum| sum.checked_add(earned));
        let supply = scale.parse(ALLOWANCE).map_err(|error| Failure::new(error.to_string()))?;
        say(&format!(
            "   supply {} = buyer {} + held {} + hosts {}",
            scale.show(supply),
            scale.show(left),
            scale.show(held),
            scale.show(earned)
        ));
        if sum != Some(supply) || earned != billed || !held.is_zero() {
            return Err(Failure::new(format!(
                "the books do not balance: billed {}, earned {}",
                scale.show(billed),
                scale.show(earned)
            ))
            .code(Code::Verification));
        }
        self.world.stop("issuer").await;
        let audit = self.world.ask("issuer", ["issuer", "audit"]).await?;
        say(&format!(
            "   the issuer's journal, replayed: {} records, every hash holds, balanced: {}",
            number(&audit, "records")?,
            audit["balanced"]
        ));
        Ok(())
    }

    /// Asks a host for its own books, once its service has told of all that has ended.
    async fn books_of(&self, host: &str) -> Result<HostBooks, Failure> {
        let began = Instant::now();
        loop {
            let status = self.world.ask(host, ["status"]).await?;
            let (contracts, wallet) = (&status["contracts"], &status["wallet"]);
            let left = number(contracts, "open")? + number(contracts, "unposted_ended")?;
            if left == 0 && amount(wallet, "unposted")?.is_zero() {
                let (paid, available) = (amount(wallet, "paid")?, amount(wallet, "available")?);
                return Ok(HostBooks { paid, available });
            }
            if began.elapsed() > TOLD_TIMEOUT {
                let what = format!("{host} still has contracts to be paid out: {contracts}");
                return Err(Failure::new(what).code(Code::Verification));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Looks that a host that was caught got one step at most for what it did not serve, and nothing after that.
    fn unpaid(&self, lines: &[Value], cheat: &Contract, what: &str) -> Result<(), Failure> {
        let scale = Scale::new(DECIMALS).unwrap_or_default();
        let of_cheat = |line: &&Value| {
            let provider = line["provider"].as_str().unwrap_or_default();
            line["event"] == "contract" && self.host_of(provider) == cheat.host
        };
        let line = lines.iter().find(of_cheat).ok_or_else(|| Failure::new("a bill is missing"))?;
        let got = amount(line, "paid")?.saturating_sub(cheat.owed);
        let step = amount(line, "step")?;
        say(&format!(
            "   {:<8} {what}, and got {} {SYMBOL} for it until it was caught; the most is one step, {}",
            cheat.host,
            scale.show(got),
            scale.show(step)
        ));
        if got > step {
            let what = format!("{} got more than a step for nothing", cheat.host);
            return Err(Failure::new(what).code(Code::Verification));
        }
        Ok(())
    }
}
