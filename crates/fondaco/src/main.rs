//! Buy and sell storage among peers, in currencies that anyone may issue.
//!
//! The command: it reads arguments and files, wires the services to the network, the disk and the
//! clock, and says what happened. Everything that decides is in the crates below.

mod audits;
mod backup;
mod broker;
mod cli;
mod demo;
mod endpoints;
mod entities;
mod failure;
mod folders;
mod gateway;
mod hearing;
mod history;
mod holdings;
mod home;
mod invoices;
mod issuer;
mod keys;
mod offers;
mod payments;
mod refusals;
mod screen;
mod seeking;
mod seen;
mod sell;
mod selling;
mod services;
mod status;
mod trust;
mod wallet;

use clap::Parser as _;
use cli::{Cli, Command};
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    screen::start(cli.verbose);
    let json = cli.json;
    match run(cli) {
        Ok(code) => match screen::heard() {
            Ok(()) => code,
            Err(failure) => {
                screen::complain(&failure.to_string());
                failure.exit_code()
            }
        },
        Err(failure) => {
            if json {
                screen::say(&failure.json());
            }
            if !json || screen::heard().is_err() {
                screen::complain(&failure.to_string());
            }
            failure.exit_code()
        }
    }
}

/// Says what is wrong with the arguments: as JSON, if they ask for that.
fn misused(error: &clap::Error) -> ExitCode {
    let is_json = std::env::args_os().skip(1).any(|arg| arg == "--json");
    if !is_json || !error.use_stderr() {
        error.exit();
    }
    let failure = Failure::of_usage(&error.to_string());
    screen::say(&failure.json());
    failure.exit_code()
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start threads: {error}")))?;
    let passphrase = keys::PassphraseSource::new(cli.passphrase_file);
    let home = home::Home::new(cli.home, cli.identity, passphrase)?;
    let json = cli.json;
    if cli.stop_with_stdin {
        services::stop_with_stdin();
    }
    // A service ends in good order by itself; see `services::stop_switch`.
    let serves = matches!(
        cli.command,
        Command::Up(_)
            | Command::Issuer(cli::IssuerCommand::Up { .. })
            | Command::Backup(cli::BackupCommand::Mount(_))
            | Command::Broker(cli::BrokerCommand::Up { .. })
            | Command::Gateway(_)
    );
    let goes_on = match &cli.command {
        Command::Backup(cli::BackupCommand::Repair(args)) => args.again.goes_on(),
        Command::Delegate(cli::DelegateCommand::Tend(args)) => args.repair.again.goes_on(),
        _ => false,
    };
    let work = async {
        let done = match cli.command {
            Command::Init(args) => keys::init(&home, args, json),
            Command::Identity(command) => keys::run(&home, command, json),
            Command::Issuer(command) => issuer::run(&home, command, json).await,
            Command::Wallet(command) => wallet::run(&home, command, json).await,
            Command::Pay(args) => wallet::pay(&home, args, json).await,
            Command::Invoice(command) => invoices::run(&home, command, json).await,
            Command::Balance => holdings::balance(&home, json).await,
            Command::Deposits(args) => holdings::deposits(&home, args, json).await,
            Command::History(args) => history::history(&home, args, json).await,
            Command::Receipt(command) => history::receipt(&home, command, json).await,
            Command::Sell(command) => sell::sell(&home, command, json),
            Command::Up(args) => sell::up(&home, args, json).await,
            Command::Status => status::status(&home, json).await,
            Command::Broker(command) => broker::run(&home, command, json).await,
            Command::Offers(args) => offers::offers(&home, args, json).await,
            Command::Backup(command) => backup::run(&home, command, json).await,
            Command::Audit(args) => audits::run(&home, args, json).await,
            Command::Contracts(command) => backup::contracts(&home, command, json).await,
            Command::Delegate(command) => backup::delegate(&home, command, json).await,
            Command::Gateway(command) => gateway::run(&home, command, json).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Completions { shell } => {
                cli::completions(shell);
                Ok(())
            }
        };
        seeking::tell_named().await;
        done
    };
    let done = runtime.block_on(async {
        let done = tokio::select! {
            done = work => done,
            () = services::parent_gone(), if !serves && !goes_on => Err(Failure::new("the process that started this one is gone")),
        };
        endpoints::leave().await;
        done
    });
    // Whoever still waits in a thread (a library reading a disk that hangs) must not keep us here.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    done.map(|()| ExitCode::SUCCESS).map_err(|failure| home.naming_identity(failure))
}
