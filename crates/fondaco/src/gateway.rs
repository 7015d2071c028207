//! `fondaco gateway restic`: plain restic, or what speaks its REST protocol, stores under the owner's contracts.
//!
//! ```text
//! HOME/gateway/token       the secret of the URL; only its owner can read it
//! HOME/gateway/repository  the whole URL, for `restic --repository-file`; so that no list of processes shows it
//! HOME/gateway/locks/      restic's locks
//! ```

mod carrying;
mod contracts;
mod market;

use crate::backup::{keep_books, open_seeking, say_progress};
use crate::cli::{GatewayCommand, ResticArgs};
use crate::failure::{Code, Failure, io};
use crate::home::Home;
use crate::offers::Whereabouts;
use crate::screen::{counted, say};
use crate::services::stop_switch;
use crate::wallet::random;
use contracts::{NewContracts, Wanted};
use fondaco_agent::{Agent, repository_password};
use fondaco_gateway::{Limits, Locks, LocksError, Server, Settings, StartError, Token};
use fondaco_store::write_atomic;
use fondaco_units::{Bytes, Timestamp};
use market::Market;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// The user in the URL; any would do.
const USER: &str = "fondaco";

pub(crate) async fn run(home: &Home, command: GatewayCommand, json: bool) -> Result<(), Failure> {
    match command {
        GatewayCommand::Restic(args) => restic(home, args, json).await,
    }
}

async fn restic(home: &Home, args: ResticArgs, json: bool) -> Result<(), Failure> {
    let wanted = Wanted::checked(home, &args)?;
    let stop = stop_switch()?;
    let mut whereabouts = Whereabouts::known(home, &args.find).await?;
    let agent = open_seeking(home, whereabouts.seek(home, json)).await?;
    whereabouts.heed_named(home, &agent, json).await?;
    let agent = match wanted.size {
        Some(_) => {
            let wallet = home.wallet()?;
            agent.with_trust(args.trust.read(wallet.find(args.currency.as_deref())?)?)
        }
        None => agent, // It opens none with hosts that it does not have.
    };
    let folder = home.folder("gateway")?;
    if let Some(path) = &args.password_file {
        save_password(path, &repository_password(agent.key()))?;
    }
    let token = token(&folder.join("token"), args.new_token)?;
    let locks = Locks::open(&folder.join("locks"))?;
    let contracts = NewContracts::new(home, whereabouts, wanted, json);
    let market = Arc::new(Market::new(agent, contracts));
    let settings = Settings {
        listen: args.listen,
        allow_remote: args.allow_remote,
        names: args.name.clone(),
        token: token.clone(),
        append_only: args.append_only,
        limits: Limits::default(),
    };
    // Before any money is spent.
    let server = Server::bind(Arc::clone(&market), locks, settings).await?;
    let agent = market.agent();
    // By an older copy of the book, clients would remove what the newest one needs.
    agent.check_newest(&agent.objects()).await?;
    let lost = agent.forget_lost().await?;
    if lost > 0 {
        let what = format!(
            "{} lay under contracts that have ended; `restic check` says what was there",
            counted(lost, "object")
        );
        say_progress(json, &what);
    }
    if agent.usable_set().is_none() || args.new_contracts {
        let contracts = market.contracts();
        let keep = (!args.new_contracts).then_some(Bytes::ZERO);
        contracts.open(agent, &BTreeSet::new(), keep).await?;
        contracts.keep_books(agent, &agent.objects()).await;
    }
    market.renew().await;
    market.carry_over().await;
    let address = server.address();
    let url = format!("rest:http://{USER}:{}@{address}/", token.secret());
    let repository = folder.join("repository");
    write_atomic(&repository, format!("{url}\n").as_bytes(), 0o600)?;
    let until = agent.kept_until().or_else(|| contracts_end(agent)).map(|it| it.to_string());
    if json {
        let line = json!({
            "event": "ready", "service": "gateway", "address": address.to_string(), "url": url,
            "repository_file": repository, "append_only": args.append_only, "kept_until": until,
        });
        say(&line.to_string());
    } else {
        say(&format!("The gateway is up; restic reaches it as\n  {url}"));
        say(&format!(
            "or, so that no list of processes shows the token, as\n  --repository-file {}",
            repository.display()
        ));
        if args.append_only {
            say("Nothing can be removed through it.");
        }
        if let Some(until) = until {
            say(&format!("Everything is kept until {until}."));
        }
        if let Some(path) = &args.password_file {
            let path = path.display();
            say(&format!("The password of what `fondaco backup create` makes is in {path}."));
        }
        say("Stop it with Ctrl-C.");
    }
    tokio::select! {
        () = server.serve(stop) => {}
        () = market.carry_later() => {}
    }
    let (sent, received) = market.traffic().await;
    if sent > 0 {
        keep_books(home, agent, &agent.objects(), json).await;
    }
    if json {
        say(&json!({ "event": "stopped", "sent": sent, "received": received }).to_string());
    }
    Ok(())
}

/// Returns when the first of the contracts ends under which objects will be stored.
fn contracts_end(agent: &Agent) -> Option<Timestamp> {
    let set = agent.usable_set()?;
    agent.book().read(|book| {
        let contracts = book.set(set)?.contracts.iter();
        contracts.filter_map(|&contract| book.contract(contract)).map(|it| it.terms.ends).min()
    })
}

/// Reads the token, or makes one.
fn token(path: &Path, anew: bool) -> Result<Token, Failure> {
    if !anew {
        match fs::read_to_string(path) {
            Ok(text) => {
                return text.trim().parse().map_err(|error| {
                    Failure::new(format!("{}: {error}", path.display()))
                        .hint("make another with --new-token")
                });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io("read", path, &error)),
        }
    }
    let token = Token::from_entropy(random()?);
    write_atomic(path, format!("{}\n", token.secret()).as_bytes(), 0o600)?;
    Ok(token)
}

/// Writes the repository's password to a file that only its owner can read, and that was not anything else.
fn save_password(path: &Path, password: &str) -> Result<(), Failure> {
    let text = format!("{password}\n");
    match fs::read_to_string(path) {
        Ok(there) if there == text => {}
        Ok(_) => {
            return Err(Failure::new(format!(
                "{} is there and has something else",
                path.display()
            ))
            .code(Code::Usage)
            .hint("name a new file with --password-file"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(io("write the password to", path, &error)),
    }
    // Written anew even if it is there: it may be open to others.
    Ok(write_atomic(path, text.as_bytes(), 0o600)?)
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match &error {
            StartError::Remote { .. } => Code::Usage,
            StartError::Listen { .. } => Code::Other,
        };
        Self::new(error.to_string()).hint(error.hint()).code(code)
    }
}

impl From<LocksError> for Failure {
    fn from(error: LocksError) -> Self {
        Self::new(format!("restic's locks: {error}")).hint(error.hint())
    }
}
