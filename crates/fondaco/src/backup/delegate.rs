//! `fondaco delegate`: somebody else audits, repairs and renews while the owner is away.

use super::sums::in_currency;
use super::used_up::Allowance;
use super::{contracts, open, open_seeking, open_with, repair, say_progress, state};
use crate::cli::{
    AcceptArgs, DelegateCommand, EntrustArgs, HandBackArgs, ReclaimArgs, RevokeArgs, SeekArgs,
    TendArgs,
};
use crate::entities::entity;
use crate::failure::{Code, Failure, io};
use crate::home::{CurrencyConfig, Home};
use crate::offers::Whereabouts;
use crate::screen::{counted, counted_as, say};
use crate::wallet;
use fondaco_agent::book::{Book, HoldsBefore};
use fondaco_agent::delegate::{
    DELEGATE_FILE_BYTES_MAX, DelegateFileError, Entrusted, LeftOut, SignedHandedBack, Watched,
};
use fondaco_agent::{Agent, AgentError};
use fondaco_contract::Takes;
use fondaco_crypto::CurrencyId;
use fondaco_ports::Clock as _;
use fondaco_ports::market::Reason;
use fondaco_store::SystemClock;
use fondaco_units::{Amount, Duration, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

/// Contracts of the delegate's own that end sooner than this many epochs are renewed.
const RENEW_WITHIN: f64 = 0.5;

pub(crate) async fn delegate(
    home: &Home,
    command: DelegateCommand,
    json: bool,
) -> Result<(), Failure> {
    match command {
        DelegateCommand::Entrust(args) => entrust(home, args, json).await,
        DelegateCommand::Accept(args) => accept(home, args, json).await,
        DelegateCommand::Tend(args) => tend(home, args, json).await,
        DelegateCommand::HandBack(args) => hand_back(home, args, json).await,
        DelegateCommand::Reclaim(args) => reclaim(home, args, json).await,
        DelegateCommand::Revoke(args) => revoke(home, &args, json).await,
    }
}

/// Reads what this identity looks after, if it is a delegate's.
pub(super) fn entrusted(home: &Home) -> Result<Option<Entrusted>, Failure> {
    let path = home.join("delegate").join("entrusted");
    if !path.exists() {
        return Ok(None);
    }
    read(&path).map(Some)
}

fn is_delegate(home: &Home) -> Result<Entrusted, Failure> {
    entrusted(home)?.ok_or_else(|| {
        Failure::new("nothing is entrusted to this identity")
            .code(Code::NotFound)
            .hint("accept a file of its owner with `fondaco delegate accept FILE`")
    })
}

fn read(path: &Path) -> Result<Entrusted, Failure> {
    Entrusted::from_text(&bytes(path)?).map_err(|error| wrong(path, &error))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| io("read", path, &error);
    let mut bytes = Vec::new();
    // One byte more than a file has tells that it is none.
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(DELEGATE_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn wrong(path: &Path, error: &DelegateFileError) -> Failure {
    Failure::new(format!("{}: {error}", path.display())).code(Code::Verification).hint(error.hint())
}

fn after(span: std::time::Duration) -> Timestamp {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    SystemClock.now().after(Duration::from_milliseconds(span))
}

async fn entrust(home: &Home, args: EntrustArgs, json: bool) -> Result<(), Failure> {
    let agent = open(home, &SeekArgs::default(), json).await?;
    let to = entity(&args.delegate)?;
    if to == agent.key().entity() {
        return Err(Failure::new("you cannot be your own delegate")
            .code(Code::Usage)
            .hint("another identity of yours can: `fondaco --identity NAME init`"));
    }
    let until = after(args.until);
    let takes = if args.take_over { Takes::Always } else { Takes::AtEnd };
    let entrusted = agent.entrust(to, takes, until)?;
    let sets = entrusted.sets.as_slice();
    if sets.is_empty() {
        return Err(Failure::new("nothing is stored that could be looked after")
            .code(Code::NotFound)
            .hint("back something up first: `fondaco backup create DIR`"));
    }
    // A book that hosts give back knows of the mandate, too.
    state::keep(home, &agent, &agent.objects(), json).await;
    fondaco_store::write_atomic(&args.out, entrusted.to_text().as_bytes(), 0o600)?;
    let objects: usize = sets.iter().map(|set| set.objects.as_slice().len()).sum();
    if json {
        let line = json!({
            "event": "entrusted", "to": to.to_string(), "until": until.to_string(), "sets": sets.len(),
            "objects": objects, "file": args.out,
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "{} in {} {} in {}.",
            counted(objects, "object"),
            counted(sets.len(), "set"),
            if objects == 1 { "is" } else { "are" },
            args.out.display()
        ));
        say(&format!(
            "Send it to {}… as you send a letter. Who has it can look after your backup until {until}, and read nothing of it.",
            to.short()
        ));
    }
    Ok(())
}

/// The currencies that the hosts of these sets are paid in, each as the wallet has it.
fn currencies(home: &Home, entrusted: &Entrusted) -> Result<Vec<CurrencyConfig>, Failure> {
    let wallet = home.wallet()?;
    let slots = entrusted.sets.as_slice().iter().flat_map(|set| set.slots.as_slice());
    let issuers: BTreeSet<CurrencyId> = slots.map(|slot| slot.terms.prices.currency).collect();
    let find = |id: &CurrencyId| wallet.find(Some(&id.issuer().to_string())).cloned();
    issuers.iter().map(find).collect()
}

async fn accept(home: &Home, args: AcceptArgs, json: bool) -> Result<(), Failure> {
    let entrusted = read(&args.file)?;
    let owner = entrusted.mandate.mandate.from;
    let before = self::entrusted(home)?;
    if let Some(before) = before.as_ref().map(|before| before.mandate.mandate.from)
        && before != owner
    {
        return Err(Failure::new(format!(
            "this identity looks after what {}… keeps, and the file is of {}…",
            before.short(),
            owner.short()
        ))
        .code(Code::Usage)
        .hint("take another: `fondaco --identity NAME init`"));
    }
    let agent = open_with(home, Some(&entrusted), &args.seek, json).await?;
    if before.is_none() && agent.book().read(|book| book.set_count()) > 0 {
        return Err(Failure::new("this identity has a backup of its own")
            .code(Code::Usage)
            .hint("take one of its own for each owner: `fondaco --identity NAME init`"));
    }
    // Before all that could be mended here: who it is not for can do nothing.
    agent.check(&entrusted)?;
    let currencies = currencies(home, &entrusted)?;
    let is_older =
        |before: &Entrusted| before.mandate.mandate.issued > entrusted.mandate.mandate.issued;
    if before.as_ref().is_some_and(is_older) {
        return Err(Failure::new("you have a newer file of its owner already")
            .code(Code::Usage)
            .hint("ask for another if this is what is to be looked after now"));
    }
    // What was begun can be gone on with only by who knows what it was.
    let kept = home.folder("delegate")?.join("entrusted");
    fondaco_store::write_atomic(&kept, entrusted.to_text().as_bytes(), 0o600)?;
    let (mut opened, mut objects, mut left_out) = (0, 0, Vec::new());
    for currency in &currencies {
        let wallet = wallet::open(home, currency).await?;
        let accepted = agent.accept(&wallet, &entrusted).await;
        let accepted = accepted.map_err(|error| super::sums::in_currency(error, currency))?;
        opened += accepted.opened;
        objects += accepted.objects;
        left_out.extend(accepted.left_out);
    }
    let until = entrusted.mandate.mandate.until;
    left_out.iter().for_each(|one| tell_left_out(one, json));
    if json {
        let line = json!({
            "event": "accepted", "owner": owner.to_string(), "until": until.to_string(), "opened": opened,
            "objects": objects, "left_out": left_out.len(),
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "You look after {} of {}… until {until}; {} opened for reading.",
            counted(objects, "object"),
            owner.short(),
            counted_as(opened, "contract was", "contracts were")
        ));
        if !left_out.is_empty() {
            say(&format!(
                "{} left out. A repair gives each to another host, unless its own is back before.",
                counted_as(left_out.len(), "slot is", "slots are")
            ));
        }
        say("Now let it run: `fondaco delegate tend --every 6h`");
    }
    Ok(())
}

/// Tells of a slot that could not be taken care of.
fn tell_left_out(one: &LeftOut, json: bool) {
    let LeftOut { slot: (set, index), provider, why } = one;
    if json {
        let line = json!({
            "event": "left_out", "set": set, "slot": index, "provider": provider.to_string(), "why": why,
        });
        say(&line.to_string());
    } else {
        say(&format!("set {set}, slot {index}, {}…: {why}", provider.short()));
    }
}

async fn tend(home: &Home, args: TendArgs, json: bool) -> Result<(), Failure> {
    repair::again(args.repair.again.every()?, json, || tend_once(home, &args, json)).await
}

async fn tend_once(home: &Home, args: &TendArgs, json: bool) -> Result<(), Failure> {
    let entrusted = is_delegate(home)?;
    let currencies = currencies(home, &entrusted)?;
    let mut allowance = repair::allowed(home, &args.repair)?;
    let mut short = None;
    {
        let whereabouts = Whereabouts::known(home, &args.repair.find).await?;
        let agent = open_seeking(home, whereabouts.seek(home, json)).await?;
        for currency in &currencies {
            let left = left_in(&agent, &allowance, currency)?;
            let before = agent.book().read(Book::holds_before);
            let wallet = wallet::open(home, currency).await?;
            let watched = agent.watch(&wallet, &entrusted, args.epochs, left).await?;
            drop(wallet);
            let is_short = |one: &Watched| matches!(one.taken, Err(AgentError::OverBudget { .. }));
            let is_too_little = watched.iter().any(is_short);
            tell(watched, "taken_over", "was taken over before it ended", currency, json);
            take_held(&agent, &mut allowance, currency, &before)?;
            let before = agent.book().read(Book::holds_before);
            let most = left_in(&agent, &allowance, currency)?;
            let (within, epochs) = (RENEW_WITHIN, args.epochs);
            let done = contracts::renew(home, &agent, currency, within, epochs, most, json).await?;
            take_held(&agent, &mut allowance, currency, &before)?;
            let is_funds = |failure: &Failure| failure.ends_with() == Code::Funds;
            if allowance.is_some() && (is_too_little || done.failures.iter().any(is_funds)) {
                short = short.or(Some(&currency.symbol));
            }
        }
    }
    repair::once(home, &args.repair, allowance, json).await?;
    match short {
        None => Ok(()),
        Some(symbol) => Err(Failure::new(format!(
            "not all that ends soon was renewed in {symbol}: --budget names too little for that"
        ))
        .code(Code::Funds)
        .hint("name a larger sum with --budget; a contract that ends takes what is kept under it along")),
    }
}

/// What is left in a currency of what may be spent, if that was said; a sum in another currency is none in this one.
fn left_in(
    agent: &Agent,
    allowance: &Option<Allowance>,
    currency: &CurrencyConfig,
) -> Result<Option<Amount>, Failure> {
    let Some(allowance) = allowance else { return Ok(None) };
    Ok(Some(allowance.for_renewals(agent, currency)?.unwrap_or_default()))
}

/// Takes out of what may be spent what was opened since.
fn take_held(
    agent: &Agent,
    allowance: &mut Option<Allowance>,
    currency: &CurrencyConfig,
    before: &HoldsBefore,
) -> Result<(), Failure> {
    let Some(allowance) = allowance else { return Ok(()) };
    let held = agent.book().read(|book| book.held_since(before));
    allowance.take(currency, held)
}

/// Tells of each slot that changed hands, or could not; returns the first that could not, and why.
fn tell(
    watched: Vec<Watched>,
    event: &str,
    what: &str,
    currency: &CurrencyConfig,
    json: bool,
) -> Option<((u32, u8), Failure)> {
    let mut first = None;
    for Watched { slot: (set, index), provider, taken } in watched {
        match taken {
            Ok(None) => {}
            Ok(Some(contract)) if json => {
                let line = json!({
                    "event": event, "set": set, "slot": index, "provider": provider.to_string(),
                    "contract": contract.to_string(),
                });
                say(&line.to_string());
            }
            Ok(Some(_)) => {
                say(&format!("set {set}, slot {index}: what {}… keeps {what}", provider.short()));
            }
            Err(error) => {
                let failure = in_currency(error, currency);
                let why = failure.what();
                if json {
                    let line = json!({
                        "event": format!("not_{event}"), "set": set, "slot": index,
                        "provider": provider.to_string(), "why": why,
                    });
                    say(&line.to_string());
                } else {
                    say(&format!("set {set}, slot {index}, {}…: {why}", provider.short()));
                }
                first = first.or(Some(((set, index), failure)));
            }
        }
    }
    first
}

async fn hand_back(home: &Home, args: HandBackArgs, json: bool) -> Result<(), Failure> {
    let entrusted = is_delegate(home)?;
    let owner = entrusted.mandate.mandate.from;
    let agent = open(home, &SeekArgs::default(), json).await?;
    let handed = agent.hand_back(&entrusted, after(args.until))?;
    let (slots, sequence) = (handed.handed.slots.as_slice().len(), handed.handed.sequence);
    fondaco_store::write_atomic(&args.out, handed.to_text().as_bytes(), 0o600)?;
    if json {
        let line = json!({
            "event": "handed_back", "to": owner.to_string(), "slots": slots, "sequence": sequence,
            "file": args.out,
        });
        say(&line.to_string());
    } else {
        say(&format!(
            "{} in {}. Send it to {}…",
            counted_as(
                slots,
                "slot that you have come to keep is",
                "slots that you have come to keep are"
            ),
            args.out.display(),
            owner.short()
        ));
    }
    Ok(())
}

async fn reclaim(home: &Home, args: ReclaimArgs, json: bool) -> Result<(), Failure> {
    let file = &args.file;
    let handed = SignedHandedBack::from_text(&bytes(file)?).map_err(|error| wrong(file, &error))?;
    let agent = open(home, &args.seek, json).await?;
    agent.check_handed(&handed).map_err(|error| wrong(file, &error))?;
    let mut failed = None;
    let mut reclaimed = 0;
    for currency in &home.wallet()?.currency {
        let wallet = wallet::open(home, currency).await?;
        let done = agent.reclaim(&wallet, &handed, args.epochs).await?;
        reclaimed += done.iter().filter(|one| matches!(one.taken, Ok(Some(_)))).count();
        let first = tell(done, "reclaimed", "is yours again", currency, json);
        failed = failed.or(first);
    }
    let objects = Arc::new(agent.objects());
    state::keep(home, &agent, &objects, json).await;
    if let Some(((set, index), error)) = failed {
        return Err(error
            .during(&format!("set {set}, slot {index}"))
            .hint("the same command goes on with what is left"));
    }
    let taken = counted_as(reclaimed, "slot was", "slots were");
    say_progress(json, &format!("{taken} taken back."));
    Ok(())
}

async fn revoke(home: &Home, args: &RevokeArgs, json: bool) -> Result<(), Failure> {
    let to = entity(&args.delegate)?;
    let agent = open(home, &args.seek, json).await?;
    let waiting = |hosts: usize, pause: std::time::Duration| {
        let seconds = pause.as_secs_f64().ceil();
        let what = format!(
            "{}, and takes one mandate of the same two in ten seconds; asked again in {seconds} s",
            match hosts {
                1 => "1 host was told of this delegate just now".to_owned(),
                _ => format!("Each of {hosts} hosts was told of this delegate just now"),
            }
        );
        say_progress(json, &what);
    };
    let (mut told, mut busy, mut away) = (0, 0, 0);
    for (provider, answer) in agent.revoke(to, waiting).await {
        let why = answer.err().map(|error| match error {
            AgentError::Provider { reason: Reason::Busy, .. } => {
                busy += 1;
                "it takes no further mandate of yours now".to_owned()
            }
            error => {
                away += 1;
                error.to_string()
            }
        });
        told += 1;
        if json {
            let line =
                json!({ "event": "revoked", "provider": provider.to_string(), "why_not": why });
            say(&line.to_string());
        } else if let Some(why) = why {
            say(&format!("{}… could not be told: {why}", provider.short()));
        }
    }
    match busy + away {
        0 if told == 0 => Err(Failure::new("you have no open contract with any host")
            .code(Code::NotFound)
            .hint("what is not kept by hosts nobody can take over")),
        0 => {
            say_progress(json, "Every host was told.");
            Ok(())
        }
        count => Err(Failure::new(format!("{} could not be told", counted(count, "host")))
            .code(Code::Unreachable)
            .hint(match away {
                0 => "run the same again in a minute; a host takes eight mandates of one owner, and no ninth",
                _ => "run the same again when they are there",
            })),
    }
}
