//! `fondaco audit` and `fondaco audit log`: who keeps what it is paid for, and what was seen of it.

use crate::backup::open;
use crate::cli::{AuditArgs, AuditCommand, SAMPLES_MAX};
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::screen::{count_bar, counted, counted_as, say};
use fondaco_agent::audit_log::{Entry, Finding};
use fondaco_agent::auditing::{Kind, Outcome};
use fondaco_agent::{Agent, SignedEntry, Standing};
use fondaco_crypto::Digest;
use serde_json::json;

pub(crate) async fn run(home: &Home, args: AuditArgs, json: bool) -> Result<(), Failure> {
    match args.command {
        None => {
            let kind = if args.deep { Kind::Deep } else { Kind::Sampled };
            if let Some(samples) = args.samples.filter(|samples| *samples > SAMPLES_MAX)
                && kind == Kind::Sampled
            {
                return Err(Failure::new(format!(
                    "--samples {samples}: each place is read and paid for, {SAMPLES_MAX} at most"
                ))
                .code(Code::Usage)
                .hint("`fondaco audit --deep` checks more places by one proof of 8 KiB"));
            }
            let agent = open(home, &args.seek, json).await?;
            audit(agent, kind, args.samples.unwrap_or(kind.samples()), json).await
        }
        Some(AuditCommand::Log { begin_anew: true, .. }) => {
            let aside = open(home, &args.seek, json).await?.begin_audit_log_anew()?;
            if json {
                say(&json!({ "event": "audit-log-moved", "path": aside.display().to_string() })
                    .to_string());
            } else {
                say(&format!(
                    "The old log is {} now; the next audit begins another.",
                    aside.display()
                ));
            }
            Ok(())
        }
        Some(AuditCommand::Log { verify, begin_anew: false }) => {
            log(&open(home, &args.seek, json).await?, verify, json)
        }
    }
}

async fn audit(agent: Agent, kind: Kind, samples: u32, json: bool) -> Result<(), Failure> {
    let objects = agent.objects();
    if objects.sessions().is_empty() {
        return Err(Failure::new("there are no open contracts to audit").code(Code::NotFound));
    }
    agent.check_newest(&objects).await?;
    let bar = count_bar("auditing", objects.sessions().len(), json);
    let audited = bar.during(agent.audit(&objects, kind, samples, |_| bar.step())).await?;
    let (mut caught, mut lost) = (0_usize, 0);
    for each in audited {
        let (standing, words) = agent
            .book()
            .read(|book| (book.standing(each.provider), book.standing_in_words(each.provider)));
        let (outcome, detail) = match each.outcome {
            Outcome::Proven { samples } => ("proven", format!("{samples} places")),
            Outcome::Caught { what } => {
                caught += 1;
                ("caught", what)
            }
            Outcome::Unasked { what } => ("unasked", what),
            Outcome::Silent { what } => ("silent", what),
        };
        let provider = each.provider.short();
        if json {
            let line = json!({
                "event": "audit", "contract": each.contract.to_string(), "provider": provider,
                "kind": each.kind.to_string(), "outcome": outcome, "detail": detail,
                "standing": standing.to_string(), "why": words,
            });
            say(&line.to_string());
        } else {
            say(&format!("{provider}…  {outcome:<7}  {detail}"));
            if let Some(words) = words.as_ref().filter(|_| outcome != "caught") {
                say(&format!("{:16}{words}", ""));
            }
        }
        lost += u32::from(standing >= Standing::Repair && outcome != "caught");
    }
    if lost > 0 && !json {
        say("`fondaco backup repair` makes anew elsewhere what is to be.");
    }
    match caught {
        0 => Ok(()),
        _ => {
            let were = if caught == 1 { "was caught; it is" } else { "were caught; they are" };
            let hosts = counted(caught, "host");
            Err(Failure::new(format!("{hosts} {were} not dealt with again"))
                .code(Code::Verification)
                .hint("run `fondaco backup repair --now`: others take over what they kept"))
        }
    }
}

fn log(agent: &Agent, only_verify: bool, json: bool) -> Result<(), Failure> {
    // Nothing is shown of a log that is refused at its end.
    let mut entries = Vec::new();
    let log = agent.audit_log(|entry| entries.push(entry))?;
    let count = entries.len();
    let left_behind = entries.first().map_or(0, |first| first.entry.seq);
    if !only_verify {
        entries.iter().for_each(|entry| say(&line(entry, json)));
    }
    if json && only_verify {
        let link = log.head().link.map(|link| link.to_string());
        let line = json!({
            "event": "audit-log", "entries": count, "link": link, "left_behind": left_behind,
        });
        say(&line.to_string());
    } else if !json && only_verify {
        let end = match log.head().link {
            Some(link) => format!(", up to {link}"),
            None => String::new(),
        };
        let entries = counted_as(count, "entry", "entries");
        say(&format!("The log is whole: {entries}, each signed and in its place{end}."));
        if left_behind > 0 {
            say(&format!(
                "What came before entry {left_behind} was left behind with another machine."
            ));
        }
    } else if !json && count == 0 {
        say("There were no audits yet. Make one with `fondaco audit`.");
    }
    Ok(())
}

fn line(signed: &SignedEntry, json: bool) -> String {
    let Entry { seq, at, contract, provider, kind, nonce, finding, proof, .. } = &signed.entry;
    let (outcome, detail) = match finding {
        Finding::Proven { samples } => ("proven", format!("{samples} places")),
        Finding::Caught { what } => ("caught", what.to_string()),
        Finding::Unasked { what } => ("unasked", what.to_string()),
        Finding::Silent { what } => ("silent", what.to_string()),
        Finding::LeftBehind => return recovered(signed, json),
    };
    if json {
        let line = json!({
            "event": "audit-log-entry", "seq": seq, "time": at.to_string(), "contract": contract.to_string(),
            "provider": provider.to_string(), "kind": kind.to_string(), "outcome": outcome, "detail": detail,
            "nonce": Digest::from_bytes(*nonce).to_string(), "proof": proof.to_string(),
            "link": signed.link().to_string(),
        });
        return line.to_string();
    }
    format!("{seq:>6}  {at}  {}…  {kind:<7}  {outcome:<7}  {detail}", provider.short())
}

/// The entry that a recovery makes.
fn recovered(signed: &SignedEntry, json: bool) -> String {
    let Entry { seq, at, previous, .. } = &signed.entry;
    let detail =
        format!("the entries before it were left behind with another machine, up to {previous}");
    if json {
        let line = json!({
            "event": "audit-log-entry", "seq": seq, "time": at.to_string(), "outcome": "left-behind", "detail": detail,
            "link": signed.link().to_string(),
        });
        return line.to_string();
    }
    format!("{seq:>6}  {at}  recovered: {detail}")
}
