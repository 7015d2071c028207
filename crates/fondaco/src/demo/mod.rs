//! `fondaco demo`: the whole market at work on a folder, each party a process of its own.
//!
//! Every step is an ordinary command of this program, run by an ordinary owner in a folder of its own;
//! the demo only starts them, kills some, alters the disk of one, has one cheat, and adds up what they say.

mod bill;
mod compare;
mod misfortune;
mod running;
mod world;

use crate::cli::DemoArgs;
use crate::failure::{Code, Failure, io};
use crate::folders;
use crate::screen::{complain, printable, say};
use crate::services::stop_switch;
use compare::{LeftOut, compare};
use fondaco_units::{Amount, Bytes, Scale};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use world::World;

const SYMBOL: &str = "CLR";
const DECIMALS: u8 = 6;
/// What the buyer is given, in whole coins.
const ALLOWANCE: &str = "100";
/// One is killed, one lies, and one refuses.
const SPARE_MIN: usize = 3;
/// With fewer, no code survives the loss of so many.
const HOSTS_MIN: u8 = 5;
/// How long an offer may take to be shown.
const SHOWN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the lines are that are broken.
const WIDTH: usize = 110;
/// The least room that a host sells, beside what the folder needs.
const ROOM: u64 = 1 << 30;

pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let stop = stop_switch()?;
    let folder = args.folder.clone().unwrap_or_else(|| PathBuf::from("."));
    let folder = std::fs::canonicalize(&folder).map_err(|error| io("back up", &folder, &error))?;
    if !folder.is_dir() {
        return Err(Failure::new(format!("{} is not a folder", folder.display()))
            .code(Code::Usage)
            .hint("name a folder to back up, as `fondaco demo ~/Pictures`"));
    }
    if args.hosts < HOSTS_MIN {
        let what = format!("{} hosts are too few to lose {SPARE_MIN}", args.hosts);
        return Err(Failure::new(what)
            .code(Code::Usage)
            .hint(format!("start at least {HOSTS_MIN} with --hosts")));
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find this program: {error}")))?;
    let keep = args.keep;
    let mut world = World::new(program, keep)?;
    let mut demo = Demo {
        args,
        folder,
        world: &mut world,
        began: Instant::now(),
        step: 0,
        doing: "",
        issuer: String::new(),
        broker: String::new(),
        hosts: Vec::new(),
    };
    let done = tokio::select! {
        done = demo.steps() => done,
        () = stop.cancelled() => {
            Err(Failure::new("interrupted; every process was stopped").code(Code::Interrupted))
        }
    };
    let (step, doing) = (demo.step, demo.doing);
    let kept = keep.then(|| world.path().to_owned());
    let left = world.end_at_once().await;
    if let (Some(path), Err(_)) = (kept, &done) {
        say(&format!("\nEverything is stopped, and left in {}", path.display()));
    }
    if let (Some(failure), Err(_)) = (&left, &done) {
        complain(&failure.to_string());
    }
    done.map_err(|failure| failure.during(&format!("step {step}, {doing}")))?;
    left.map_or(Ok(()), Err)
}

struct Demo<'a> {
    args: DemoArgs,
    folder: PathBuf,
    world: &'a mut World,
    began: Instant,
    step: u32,
    doing: &'static str,
    /// Addresses of services.
    issuer: String,
    broker: String,
    /// The hosts' names and addresses, in the order in which they started.
    hosts: Vec<(String, String)>,
}

/// What the backup of the folder came to.
struct BackedUp {
    /// The hosts with a contract.
    chosen: Vec<Contract>,
    /// How many of them can be lost.
    spare: usize,
    /// What could not be read, and why.
    left_out: Vec<String>,
}

/// A contract of the buyer's, after the backup.
struct Contract {
    host: String,
    owed: Amount,
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
            "An issuer, a broker, {hosts} storage hosts and a buyer on this machine, each a process of its own,\n\
             with a key, a folder and a socket of its own. Nothing else is involved.\n   Folder to back up: {}\n   \
             Everything else:   {}",
            self.folder.display(),
            self.world.path().display()
        ));
        self.issue().await?;
        self.sell(hosts).await?;
        let mut backed_up = self.back_up().await?;
        let left_out = std::mem::take(&mut backed_up.left_out);
        let fates = self.misfortune(backed_up).await?;
        self.audit(&fates).await?;
        self.repair(&fates).await?;
        self.restore(left_out).await?;
        self.settle(&fates).await?;
        self.balance(&fates).await?;
        if self.args.keep {
            self.leave_running().await?;
        }
        let seconds = self.began.elapsed().as_secs_f64();
        say(&format!(
            "\nDone in {seconds:.1} s: all that was acknowledged came back, and every book balances."
        ));
        Ok(())
    }

    /// Returns the name of the host whose entity, or the beginning of it, this is.
    fn host_of(&self, entity: &str) -> String {
        let found = self.hosts.iter().find(|(_, address)| address.starts_with(entity));
        found.map_or_else(|| entity.to_owned(), |(name, _)| name.clone())
    }

    /// Returns where a host listens, or listened: the buyer knows no other place.
    fn socket_of(&self, host: &str) -> String {
        let found = self.hosts.iter().find(|(name, _)| name == host);
        let address = found.map(|(_, address)| address.as_str()).unwrap_or_default();
        address.rsplit('@').next().unwrap_or_default().to_owned()
    }

    async fn issue(&mut self) -> Result<(), Failure> {
        self.step("the issuer starts, and pays the buyer an allowance; and a broker");
        self.world.ask("issuer", ["init", "--no-passphrase"]).await?;
        let define =
            ["issuer", "init", "--name", "Claire dollar", "--symbol", SYMBOL, "--scale", "6"];
        self.world.ask("issuer", define).await?;
        let up = ["issuer", "up", "--listen", "127.0.0.1:0"];
        let issuer = self.world.start("issuer", up).await?;
        self.world.ask("broker", ["init", "--no-passphrase"]).await?;
        let up = ["broker", "up", "--listen", "127.0.0.1:0"];
        self.broker = self.world.start("broker", up).await?;
        let buyer = text(&self.world.ask("buyer", ["init", "--no-passphrase"]).await?, "entity")?;
        self.world.ask("buyer", ["wallet", "add", &issuer]).await?;
        let minted =
            self.world.ask("issuer", ["issuer", "mint", ALLOWANCE, "--to", &buyer]).await?;
        say(&format!("   issuer   pid {:<7} {issuer}", self.world.pid("issuer")));
        say(&format!("   broker   pid {:<7} {}", self.world.pid("broker"), self.broker));
        say(&format!("   buyer    {buyer}"));
        say(&format!(
            "   minted   {} {SYMBOL}, which is the whole supply",
            text(&minted, "supply")?
        ));
        self.issuer = issuer;
        Ok(())
    }

    async fn sell(&mut self, count: usize) -> Result<(), Failure> {
        self.step("the hosts start, and show their signed price lists at the broker");
        self.start(1..=count).await
    }

    /// Starts hosts by their numbers, and waits until the broker shows what they offer.
    async fn start(&mut self, numbers: RangeInclusive<usize>) -> Result<(), Failure> {
        let size = folders::size(&self.folder, true).get() * 2 + ROOM;
        let size = size.to_string();
        for number in numbers {
            let name = format!("host-{number}");
            self.world.ask(&name, ["init", "--no-passphrase"]).await?;
            self.world.ask(&name, ["wallet", "add", &self.issuer]).await?;
            let path = self.world.home(&name).join("shards");
            let path =
                path.to_str().ok_or_else(|| Failure::new("the temporary folder is not UTF-8"))?;
            // Every host has prices of its own: from the first, the cheapest, each is dearer by a tenth.
            let store = format!("0.{:06}", 20_000 + 2_000 * (number - 1));
            let sell = [
                "sell",
                "storage",
                "--path",
                path,
                "--size",
                &size,
                "--accept",
                SYMBOL,
                "--store",
                &store,
                "--broker",
                &self.broker,
            ];
            self.world.ask(&name, sell).await?;
            let address = self.world.start(&name, ["up", "--listen", "127.0.0.1:0"]).await?;
            let pid = self.world.pid(&name);
            say(&format!(
                "   {name:<8} pid {pid:<7} {}…  {store} {SYMBOL} a GiB and epoch",
                &address[..16]
            ));
            self.hosts.push((name, address));
        }
        let began = Instant::now();
        while self.offers().await? < self.hosts.len() as u64 {
            if began.elapsed() > SHOWN_TIMEOUT {
                let what = format!("the broker does not show all offers in {SHOWN_TIMEOUT:?}");
                return Err(Failure::new(what));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn offers(&self) -> Result<u64, Failure> {
        number(&self.world.ask("broker", ["broker", "status"]).await?, "offers")
    }

    async fn back_up(&mut self) -> Result<BackedUp, Failure> {
        self.step("the buyer finds hosts at the broker, and backs the folder up");
        let folder =
            self.folder.to_str().ok_or_else(|| Failure::new("the folder's path is not UTF-8"))?;
        let survive = self.args.survive.to_string();
        let args = [
            "backup",
            "create",
            folder,
            "--exclude-caches",
            "--survive",
            &survive,
            "--broker",
            &self.broker,
        ];
        let began = Instant::now();
        // What cannot be read is left out, and said; the rest is a backup all the same.
        let lines = self.world.run_to_any("buyer", args, &[0, Code::Other as i32]).await?;
        let took = began.elapsed();
        let find = |event: &str| lines.iter().rev().find(|line| line["event"] == event);
        let found = find("found").ok_or_else(|| Failure::new("no broker was asked"))?;
        let opened = find("contracts").ok_or_else(|| Failure::new("no contracts were opened"))?;
        let (k, n) = (number(opened, "k")?, number(opened, "n")?);
        say(&format!("   found    {} hosts at the broker", number(found, "hosts")?));
        say(&format!(
            "   chose    {k} of {n} shards, each on a host of its own: an object survives with {}",
            text(opened, "survive")?
        ));
        say_assumed(opened)?;
        let spare = usize::try_from(n.saturating_sub(k)).unwrap_or_default();
        if spare < SPARE_MIN {
            return Err(Failure::new(format!(
                "the code chosen survives the loss of {spare} hosts, and {SPARE_MIN} at least will be lost"
            ))
            .hint("ask for more with --survive, or start more --hosts"));
        }
        say(&format!(
            "   opened   {n} contracts, on holds of {} {SYMBOL} in all",
            text(opened, "held")?
        ));
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
        let problems = backup["problems"].as_array().into_iter().flatten();
        let left_out: Vec<String> =
            problems.filter_map(|problem| problem.as_str().map(str::to_owned)).collect();
        for problem in &left_out {
            say(&format!("   left out {}", printable(problem)));
        }
        let lines = self.world.run("buyer", ["contracts", "list"]).await?;
        let chosen = lines.iter().filter(|line| line["event"] == "contract").map(|line| {
            let host = self.host_of(&text(line, "provider")?);
            Ok(Contract { host, owed: amount(line, "owed")? })
        });
        Ok(BackedUp { chosen: chosen.collect::<Result<_, Failure>>()?, spare, left_out })
    }

    async fn restore(&mut self, told: Vec<String>) -> Result<(), Failure> {
        self.step("the folder is restored, and compared byte for byte");
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
            let left_out = LeftOut { mark: folders::CACHE_MARK, told: &told };
            compare(&folder, &restored, Some(left_out))
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
}

/// Says what a durability takes for granted, in lines as long as the others.
fn say_assumed(line: &Value) -> Result<(), Failure> {
    let mut row = "   assumed ".to_owned();
    for word in text(line, "assumed")?.split(' ') {
        if row.len() + word.len() >= WIDTH {
            say(&std::mem::replace(&mut row, " ".repeat("   assumed ".len())));
        }
        row.push(' ');
        row.push_str(word);
    }
    say(&row);
    Ok(())
}

/// Reads a sum of money.
fn amount(line: &Value, field: &str) -> Result<Amount, Failure> {
    let scale = Scale::new(DECIMALS).unwrap_or_default();
    scale.parse(&text(line, field)?).map_err(|error| Failure::new(error.to_string()))
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
