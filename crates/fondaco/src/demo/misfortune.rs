//! What befalls the hosts, how the buyer finds out, and who takes their place.

use super::{BackedUp, Contract, Demo, SYMBOL, number, say_assumed, seconds, text};
use crate::failure::{Code, Failure, io};
use crate::screen::say;
use fondaco_units::Bytes;
use std::path::Path;
use std::time::Instant;

/// What became of the hosts that had a contract.
pub(super) struct Fates {
    /// How many those are.
    all: usize,
    /// Killed, and not seen again before the end.
    pub(super) killed: Vec<String>,
    /// It lies: what it kept is altered on its disk.
    pub(super) liar: Contract,
    /// It takes the money for what it is asked, and refuses.
    pub(super) refuser: Contract,
}

impl Fates {
    /// Returns how many hosts are lost.
    fn lost(&self) -> usize {
        self.killed.len() + 2
    }

    fn expected(&self, host: &str) -> &'static str {
        if host == self.liar.host || host == self.refuser.host {
            "caught"
        } else if self.killed.iter().any(|killed| killed == host) {
            "silent"
        } else {
            "proven"
        }
    }
}

impl Demo<'_> {
    /// Loses as many hosts as the code survives: a liar and a refuser among them.
    pub(super) async fn misfortune(&mut self, backed_up: BackedUp) -> Result<Fates, Failure> {
        let BackedUp { mut chosen, spare, .. } = backed_up;
        self.step("as many hosts go bad as the code survives");
        let all = chosen.len();
        let bad: Vec<Contract> = chosen.drain(..spare.min(chosen.len())).collect();
        let mut bad = bad.into_iter();
        let (Some(liar), Some(refuser)) = (bad.next_back(), bad.next_back()) else {
            return Err(Failure::new("too few hosts have a contract"));
        };
        let mut killed = Vec::new();
        for Contract { host, .. } in bad {
            let pid = self.world.kill(&host).await?;
            say(&format!("   {host:<8} pid {pid} killed with kill -9"));
            killed.push(host);
        }
        let altered = alter_shards(&self.world.home(&liar.host).join("shards"))?;
        say(&format!(
            "   {:<8} lies: {altered} shards altered on its disk, one bit in every 16 KiB",
            liar.host
        ));
        self.world.stop(&refuser.host).await;
        let socket = self.socket_of(&refuser.host);
        let cheat = ["up", "--listen", &socket, "--misbehave", "refuse-reads"];
        self.world.start(&refuser.host, cheat).await?;
        say(&format!(
            "   {:<8} cheats as pid {}: it takes the money for reads, and says that it is busy",
            refuser.host,
            self.world.pid(&refuser.host)
        ));
        Ok(Fates { all, killed, liar, refuser })
    }

    pub(super) async fn audit(&mut self, fates: &Fates) -> Result<(), Failure> {
        self.step("the buyer audits: each host must prove 44 places it could not foresee");
        // A liar among them is an error of its own, with a code of its own.
        let lines = self.world.run_to("buyer", ["audit"], Code::Verification as i32).await?;
        let mut audited: Vec<(String, String, String)> = Vec::new();
        for line in lines.iter().filter(|line| line["event"] == "audit") {
            let detail = line["detail"].as_str().unwrap_or_default();
            let host = self.host_of(&text(line, "provider")?);
            audited.push((host, text(line, "outcome")?, detail.to_owned()));
        }
        let place = |host: &str| self.hosts.iter().position(|(name, _)| name == host);
        audited.sort_by_key(|(host, ..)| place(host));
        for (host, outcome, detail) in &audited {
            // Who nobody answers for was named before.
            let detail = detail.split(" at fon1").next().unwrap_or_default();
            say(&format!("   {host:<8} {outcome:<7}  {detail}"));
        }
        match audited.iter().find(|(host, outcome, _)| outcome != fates.expected(host)) {
            None => Ok(()),
            Some((host, outcome, _)) => Err(Failure::new(format!(
                "{host} should be {}, and is {outcome}",
                fates.expected(host)
            ))
            .code(Code::Verification)),
        }
    }

    /// Has what the bad ones kept made anew by others.
    pub(super) async fn repair(&mut self, fates: &Fates) -> Result<(), Failure> {
        self.step("others take their place: what they kept is made anew from the rest");
        let (idle, first) = (self.hosts.len().saturating_sub(fates.all), self.hosts.len() + 1);
        let fresh = fates.lost().saturating_sub(idle);
        self.start(first..=self.hosts.len() + fresh).await?;
        let began = Instant::now();
        let lines = self.world.run("buyer", ["backup", "repair", "--now"]).await?;
        let took = began.elapsed();
        let mut replaced = 0;
        for line in lines.iter().filter(|line| line["event"] == "repaired") {
            let slots = line["replaced"].as_array().map(Vec::as_slice).unwrap_or_default();
            for slot in slots {
                let (from, to) = (text(slot, "from")?, text(slot, "to")?);
                let (from, to) = (self.host_of(&from), self.host_of(&to));
                say(&format!("   slot {:<3} was {from}'s, and is {to}'s", number(slot, "slot")?));
            }
            replaced += slots.len();
            let (read, sent) = (number(line, "read")?, number(line, "sent")?);
            say(&format!(
                "   repaired {replaced} slots in {}: {} read, {} sent, for {} {SYMBOL}",
                seconds(took),
                Bytes::new(read),
                Bytes::new(sent),
                text(line, "cost")?
            ));
            say(&format!(
                "   live     {} before, {} now: an object survives with {}, and did with {}",
                number(line, "live_before")?,
                number(line, "live")?,
                text(line, "survive")?,
                text(line, "survive_before")?
            ));
            say_assumed(line)?;
        }
        if replaced != fates.lost() {
            let what = format!("{replaced} slots were repaired, and {} are lost", fates.lost());
            return Err(Failure::new(what).code(Code::Verification));
        }
        Ok(())
    }
}

/// Turns one bit in every 16 KiB of every file below `path`; returns how many files.
fn alter_shards(path: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::FileExt as _;
    let mut altered = 0;
    for entry in std::fs::read_dir(path).map_err(|error| io("read", path, &error))?.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            altered += alter_shards(&path)?;
            continue;
        }
        let open = || {
            let file = std::fs::File::options().read(true).write(true).open(&path)?;
            for at in (0..file.metadata()?.len()).step_by(16 << 10) {
                let mut byte = [0];
                file.read_exact_at(&mut byte, at)?;
                file.write_all_at(&[byte[0] ^ 1], at)?;
            }
            Ok(())
        };
        open().map_err(|error: std::io::Error| io("alter", &path, &error))?;
        altered += 1;
    }
    Ok(altered)
}
