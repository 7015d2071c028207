//! A small market of real processes: an issuer, hosts and a buyer.

use crate::compare;
use crate::world::World;
use serde_json::Value;
use std::path::PathBuf;

/// An issuer, some hosts, and a buyer with a hundred coins.
pub(crate) struct Market {
    pub(crate) world: World,
    pub(crate) hosts: Vec<String>,
    pub(crate) issuer: String,
    /// The folder to back up; empty at first.
    pub(crate) source: PathBuf,
}

pub(crate) async fn market(hosts: usize) -> Market {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_fondaco"));
    let mut world = World::new(program, false).unwrap();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--scale", "6"];
    world.ask("issuer", define).await.unwrap();
    let issuer = world.start("issuer", ["issuer", "up", "--listen", "127.0.0.1:0"]).await.unwrap();
    let buyer = world.ask("buyer", ["init", "--no-passphrase", "--show-words"]).await.unwrap();
    let buyer = buyer["entity"].as_str().unwrap();
    world.ask("buyer", ["wallet", "add", &issuer]).await.unwrap();
    world.ask("issuer", ["issuer", "mint", "100", "--to", buyer]).await.unwrap();
    let mut names = Vec::new();
    for number in 0..hosts {
        let name = format!("host-{number}");
        world.ask(&name, ["init", "--no-passphrase"]).await.unwrap();
        world.ask(&name, ["wallet", "add", &issuer]).await.unwrap();
        let path = world.home(&name).join("shards");
        let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
        world.ask(&name, sell).await.unwrap();
        world.start(&name, ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
        names.push(name);
    }
    let source = world.home("source");
    std::fs::create_dir_all(&source).unwrap();
    Market { world, hosts: names, issuer, source }
}

impl Market {
    /// The words that back the source up on all hosts, and `more`.
    pub(crate) fn create_args(&self, more: &[&str]) -> Vec<String> {
        let source = self.source.to_str().unwrap();
        let mut args: Vec<String> = ["backup", "create", source].map(str::to_owned).into();
        for host in &self.hosts {
            args.push("--host".to_owned());
            args.push(self.world.address(host).unwrap().to_owned());
        }
        args.extend(more.iter().map(|&word| word.to_owned()));
        args
    }

    /// Runs `fondaco backup …` as `who`; returns the lines it wrote.
    pub(crate) async fn backup(&self, who: &str, args: &[&str]) -> Vec<Value> {
        let args = ["backup"].iter().chain(args);
        self.world.run(who, args.copied()).await.unwrap()
    }

    /// Restores `latest` from the hosts alone, and compares.
    pub(crate) async fn restored_equals_the_source(&self, who: &str, to: &str) {
        let to = self.world.home(to);
        let path = to.to_str().unwrap();
        self.backup(who, &["restore", "latest", "--no-cache", "--to", path]).await;
        compare::compare(&self.source, &to, None).unwrap();
    }
}
