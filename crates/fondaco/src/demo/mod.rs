//! `fondaco demo`: the whole market at work on a folder, each party a process of its own.
//!
//! Every step is an ordinary command of this program, run by an ordinary owner in a folder of its own;
//! the demo only starts them, kills some, alters the disk of one, and adds up what they say.

mod compare;
mod world;

use crate::cli::DemoArgs;
use crate::failure::{Code, Failure, io};
use crate::folders;
use crate::screen::say;
use compare::compare;
use fondaco_units::{Amount, Bytes, Scale};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use world::World;

const SYMBOL: &str = "CLR";
const DECIMALS: u8 = 6;
/// What the buyer is given, in whole coins.
const ALLOWANCE: &str = "100";
/// How many hosts are killed; one more alters its shards.
const KILLED: usize = 2;
/// With fewer, no code of the default durability survives the loss of three.
const HOSTS_MIN: u8 = 5;

pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let folder = args.folder.clone().unwrap_or_else(|| PathBuf::from("."));
    let folder = std::fs::canonicalize(&folder).map_err(|error| io("back up", &folder, &error))?;
    if !folder.is_dir() {
        return Err(Failure::new(format!("{} is not a folder", folder.display()))
            .code(Code::Usage)
            .hint("name a folder to back up, as `fondaco demo ~/Pictures`"));
    }
    if args.hosts < HOSTS_MIN {
        return Err(Failure::new(format!("{} hosts are too few to lose three", args.hosts))
            .code(Code::Usage)
            .hint(format!("start at least {HOSTS_MIN} with --hosts")));
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find this program: {error}")))?;
    let mut world = World::new(program, args.keep)?;
    let mut demo = Demo {
        args,
        folder,
        world: &mut world,
        began: Instant::now(),
        step: 0,
        doing: "",
        addresses: Vec::new(),
    };
    let done = tokio::select! {
        done = demo.steps() => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted; every process was stopped")),
    };
    let (step, doing) = (demo.step, demo.doing);
    let kept = demo.args.keep.then(|| world.path().to_owned());
    world.end().await;
    if let Some(path) = kept {
        say(&format!("\nEverything is left in {}", path.display()));
    }
    done.map_err(|failure| failure.during(&format!("step {step}, {doing}")))
}

struct Demo<'a> {
    args: DemoArgs,
    folder: PathBuf,
    world: &'a mut World,
    began: Instant,
    step: u32,
    doing: &'static str,
    /// The hosts' names and addresses.
    addresses: Vec<(String, String)>,
}

impl Demo<'_> {
    fn step(&mut self, doing: &'static str) {
        self.step += 1;
        self.doing = doing;
        let seconds = self.began.elapsed().as_secs_f64();
        say(&format!("\n{}  {doing}  [{seconds:.1} s]", self.step));
    }

    async fn steps(&mut self) -> Result<(), Failure> {
        let hosts = usize::from(self.args.hosts);
        say(&format!(
            "An issuer, {hosts} storage hosts and a buyer on this machine, each a process of its own,\n\
             with a key, a folder and a socket of its own. Nothing else is involved.\n   Folder to back up: {}\n   \
             Everything else:   {}",
            self.folder.display(),
            self.world.path().display()
        ));
        let issuer = self.issue().await?;
        let hosts = self.sell(&issuer, hosts).await?;
        self.back_up(&hosts).await?;
        let (killed, liar) = self.misfortune(&hosts).await?;
        self.audit(liar).await?;
        let fresh = self.repair(&issuer, hosts.len()).await?;
        self.restore().await?;
        self.settle(&killed).await?;
        self.balance(&[hosts, fresh].concat()).await?;
        let seconds = self.began.elapsed().as_secs_f64();
        say(&format!(
            "\nDone in {seconds:.1} s: all that was acknowledged came back, and every book balances."
        ));
        Ok(())
    }

    async fn issue(&mut self) -> Result<String, Failure> {
        self.step("the issuer starts, and pays the buyer an allowance");
        self.world.ask("issuer", ["init", "--no-passphrase"]).await?;
        let define =
            ["issuer", "init", "--name", "Claire dollar", "--symbol", SYMBOL, "--scale", "6"];
        self.world.ask("issuer", define).await?;
        let up = ["issuer", "up", "--listen", "127.0.0.1:0"];
        let issuer = self.world.start("issuer", up).await?;
        let buyer = text(&self.world.ask("buyer", ["init", "--no-passphrase"]).await?, "entity")?;
        self.world.ask("buyer", ["wallet", "add", &issuer]).await?;
        let minted =
            self.world.ask("issuer", ["issuer", "mint", ALLOWANCE, "--to", &buyer]).await?;
        say(&format!("   issuer   pid {:<7} {issuer}", self.world.pid("issuer")));
        say(&format!("   buyer    {buyer}"));
        say(&format!(
            "   minted   {} {SYMBOL}, which is the whole supply",
            text(&minted, "supply")?
        ));
        Ok(issuer)
    }

    async fn sell(&mut self, issuer: &str, count: usize) -> Result<Vec<String>, Failure> {
        self.step("the hosts start, each with a signed price list");
        self.start(issuer, 1..=count).await
    }

    /// Starts hosts by their numbers.
    async fn start(
        &mut self,
        issuer: &str,
        numbers: RangeInclusive<usize>,
    ) -> Result<Vec<String>, Failure> {
        let size = folders::size(&self.folder, true).get() * 2 + (1 << 30);
        let size = size.to_string();
        let mut hosts = Vec::new();
        for number in numbers {
            let name = format!("host-{number}");
            self.world.ask(&name, ["init", "--no-passphrase"]).await?;
            self.world.ask(&name, ["wallet", "add", issuer]).await?;
            let path = self.world.home(&name).join("shards");
            let path =
                path.to_str().ok_or_else(|| Failure::new("the temporary folder is not UTF-8"))?;
            // Every host has prices of its own: from the first, the cheapest, each is dearer by a tenth.
            let store = format!("0.{:06}", 20_000 + 2_000 * (number - 1));
            let sell = [
                "sell", "storage", "--path", path, "--size", &size, "--accept", SYMBOL, "--store",
                &store,
            ];
            self.world.ask(&name, sell).await?;
            let address = self.world.start(&name, ["up", "--listen", "127.0.0.1:0"]).await?;
            let pid = self.world.pid(&name);
            say(&format!(
                "   {name:<8} pid {pid:<7} {}…  {store} {SYMBOL} a GiB and epoch",
                &address[..16]
            ));
            self.addresses.push((name.clone(), address));
            hosts.push(name);
        }
        Ok(hosts)
    }

    async fn back_up(&mut self, hosts: &[String]) -> Result<(), Failure> {
        self.step("the buyer opens contracts and backs the folder up");
        let folder =
            self.folder.to_str().ok_or_else(|| Failure::new("the folder's path is not UTF-8"))?;
        let survive = self.args.survive.to_string();
        let mut args = vec!["backup", "create", folder, "--exclude-caches", "--survive", &survive];
        for host in hosts {
            args.push("--host");
            args.push(self.world.address(host).unwrap_or_default());
        }
        let began = Instant::now();
        // What cannot be read is left out, and said; the rest is a backup all the same.
        let lines = self.world.run_to_any("buyer", args, &[0, Code::Other as i32]).await?;
        let took = began.elapsed();
        let find = |event: &str| lines.iter().rev().find(|line| line["event"] == event);
        if let Some(opened) = find("contracts") {
            say(&format!(
                "   chose    {} of {} shards, each on a host of its own: an object survives with {}",
                number(opened, "k")?,
                number(opened, "n")?,
                text(opened, "survive")?
            ));
            let spare = number(opened, "n")? - number(opened, "k")?;
            if spare <= KILLED as u64 {
                return Err(Failure::new(format!(
                    "the code chosen survives the loss of {spare} hosts, and three will be lost"
                ))
                .hint("ask for more with --survive, or start more --hosts"));
            }
            say(&format!(
                "   opened   {} contracts, on holds of {} {SYMBOL} in all",
                number(opened, "n")?,
                text(opened, "held")?
            ));
        }
        let backup = find("backup").ok_or_else(|| Failure::new("the backup did not report"))?;
        let (bytes, sent) = (number(backup, "bytes")?, number(backup, "sent")?);
        say(&format!(
            "   backed up {} files, {} in {}: {}",
            number(backup, "files")?,
            Bytes::new(bytes),
            seconds(took),
            rate(bytes, took)
        ));
        say(&format!(
            "   stored   {} new after deduplication and compression, {} as shards",
            Bytes::new(number(backup, "added")?),
            Bytes::new(sent)
        ));
        say(&format!(
            "   paid     {} {SYMBOL} so far, one voucher for each step",
            text(backup, "owed")?
        ));
        for problem in backup["problems"].as_array().into_iter().flatten() {
            say(&format!("   left out {}", problem.as_str().unwrap_or_default()));
        }
        Ok(())
    }

    async fn misfortune(&mut self, hosts: &[String]) -> Result<(Vec<String>, usize), Failure> {
        self.step("two hosts are killed with kill -9, a third alters its shards");
        let killed: Vec<String> = hosts.iter().take(KILLED).cloned().collect();
        for name in &killed {
            let pid = self.world.kill(name).await?;
            say(&format!("   {name:<8} pid {pid} killed"));
        }
        let liar = KILLED;
        let altered = alter_shards(&self.world.home(&hosts[liar]).join("shards"))?;
        say(&format!(
            "   {:<8} {altered} shards altered on its disk, one bit in every 16 KiB",
            hosts[liar]
        ));
        Ok((killed, liar))
    }

    async fn audit(&mut self, liar: usize) -> Result<(), Failure> {
        self.step("the buyer audits: each host must prove 44 places it could not foresee");
        // A liar among them is an error of its own, with a code of its own.
        let lines = self.world.run_to("buyer", ["audit"], Code::Verification as i32).await?;
        let (mut proven, mut caught, mut silent) = (0, 0, 0);
        for line in lines.iter().filter(|line| line["event"] == "audit") {
            let outcome = text(line, "outcome")?;
            match outcome.as_str() {
                "proven" => proven += 1,
                "caught" => caught += 1,
                _ => silent += 1,
            }
            let detail = line["detail"].as_str().unwrap_or_default();
            let provider = text(line, "provider")?;
            let host = self.addresses.iter().find(|(_, address)| address.starts_with(&provider));
            let name = host.map_or(provider.as_str(), |(name, _)| name.as_str());
            say(&format!("   {name:<8} {outcome:<7}  {detail}"));
        }
        if (caught, silent) != (1, KILLED) {
            return Err(Failure::new(format!(
                "host-{} altered its shards and {KILLED} are dead, but {caught} were caught and {silent} were silent ({proven} proven)",
                liar + 1
            )).code(Code::Verification));
        }
        Ok(())
    }

    /// Has what the killed and the liar kept made anew by others; returns who they are.
    async fn repair(&mut self, issuer: &str, hosts: usize) -> Result<Vec<String>, Failure> {
        self.step("others take the place of the three: what they kept is made anew from the rest");
        let fresh = self.start(issuer, hosts + 1..=hosts + KILLED + 1).await?;
        let mut args = vec!["backup", "repair", "--now"];
        for host in &fresh {
            args.push("--host");
            args.push(self.world.address(host).unwrap_or_default());
        }
        let began = Instant::now();
        let lines = self.world.run("buyer", args).await?;
        let took = began.elapsed();
        let mut replaced = 0;
        for line in lines.iter().filter(|line| line["event"] == "repaired") {
            replaced += line["replaced"].as_array().map_or(0, Vec::len);
            let (read, sent) = (number(line, "read")?, number(line, "sent")?);
            say(&format!(
                "   repaired {replaced} slots in {}: {} read, {} sent, for {} {SYMBOL}",
                seconds(took),
                Bytes::new(read),
                Bytes::new(sent),
                text(line, "cost")?
            ));
            say(&format!(
                "   live     {} of {} before, {} now: an object survives with {}",
                number(line, "live_before")?,
                number(line, "live")?,
                number(line, "live")?,
                text(line, "survive")?
            ));
        }
        // Which of the three had a slot depends on the code that was chosen.
        if replaced == 0 {
            return Err(Failure::new("nothing was repaired").code(Code::Verification));
        }
        Ok(fresh)
    }

    async fn restore(&mut self) -> Result<(), Failure> {
        self.step(
            "the folder is restored from the hosts that are left, and compared byte for byte",
        );
        let to = self.world.home("restored");
        let path = to.to_str().ok_or_else(|| Failure::new("the temporary folder is not UTF-8"))?;
        let began = Instant::now();
        let restored = self
            .world
            .ask("buyer", ["backup", "restore", "latest", "--no-cache", "--to", path])
            .await?;
        let took = began.elapsed();
        let bytes = number(&restored, "bytes")?;
        say(&format!(
            "   restored {} in {}: {}; {} reads had to be rebuilt from other shards",
            Bytes::new(bytes),
            seconds(took),
            rate(bytes, took),
            number(&restored, "rebuilt")?
        ));
        let (folder, restored) = (self.folder.clone(), to);
        let compared = tokio::task::spawn_blocking(move || {
            compare(&folder, &restored, Some(folders::CACHE_MARK))
        })
        .await
        .map_err(|error| Failure::new(error.to_string()))?
        .map_err(|difference| {
            Failure::new(format!("the restored folder is not the same: {difference}"))
                .code(Code::Verification)
                .hint("did something change the folder meanwhile? If not, this is a bug")
        })?;
        say(&format!(
            "   equal    {} files, {} folders, {} links, {}: names, contents, permissions, times",
            compared.files,
            compared.folders,
            compared.links,
            Bytes::new(compared.bytes)
        ));
        Ok(())
    }

    async fn settle(&mut self, killed: &[String]) -> Result<(), Failure> {
        self.step("the killed hosts come back, contracts end, every host posts its voucher");
        for name in killed {
            // At the old socket: the buyer knows no other.
            let config =
                std::fs::read_to_string(self.world.home(name).join("host").join("address"))
                    .map_err(|error| io("read the address of", Path::new(name), &error))?;
            let socket = config.trim().rsplit('@').next().unwrap_or_default().to_owned();
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

    async fn balance(&mut self, hosts: &[String]) -> Result<(), Failure> {
        self.step("the bill, and the books");
        let scale = Scale::new(DECIMALS).unwrap_or_default();
        let amount = |line: &Value, field: &str| {
            scale.parse(&text(line, field)?).map_err(|error| Failure::new(error.to_string()))
        };
        let lines = self.world.run("buyer", ["contracts", "list"]).await?;
        let mut billed = Amount::ZERO;
        say("   provider       written       stored·epochs    read          owed         paid");
        for line in lines.iter().filter(|line| line["event"] == "contract") {
            let (owed, paid) = (amount(line, "owed")?, amount(line, "paid")?);
            say(&format!(
                "   {}…  {:>12}  {:>12}  {:>12}  {:>11}  {:>11}",
                &text(line, "provider")?[..10],
                Bytes::new(number(line, "written")?).to_string(),
                Bytes::new(number(line, "byte_epochs")?).to_string(),
                Bytes::new(number(line, "read")?).to_string(),
                scale.show(owed),
                scale.show(paid)
            ));
            if paid < owed {
                return Err(
                    Failure::new("a host was paid less than it is owed").code(Code::Verification)
                );
            }
            billed = billed.checked_add(paid).unwrap_or(Amount::MAX);
        }
        say(&format!("   {:>72}  {:>11}", "in all", scale.show(billed).to_string()));
        let buyer = self.world.ask("buyer", ["balance"]).await?;
        let mut earned = Amount::ZERO;
        for host in hosts {
            let line = self.world.ask(host, ["balance"]).await?;
            earned = earned.checked_add(amount(&line, "available")?).unwrap_or(Amount::MAX);
        }
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
}

fn text(line: &Value, field: &str) -> Result<String, Failure> {
    match &line[field] {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(Failure::new(format!("`{field}` is missing in {line}"))),
    }
}

fn number(line: &Value, field: &str) -> Result<u64, Failure> {
    line[field].as_u64().ok_or_else(|| Failure::new(format!("`{field}` is missing in {line}")))
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn rate(bytes: u64, took: Duration) -> String {
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    format!("{}/s", Bytes::new(bytes.saturating_mul(1000) / milliseconds))
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
