//! `fondaco audit` and `fondaco audit log`: who keeps what it is paid for, and what was seen of it.

use crate::backup::open;
use crate::cli::{AuditArgs, AuditCommand, SAMPLES_MAX};
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::screen::{count_bar, counted, counted_as, say};
use fondaco_agent::audit_log::{Entry, Finding};
use fondaco_agent::auditing::{Audited, Because, Kind, Outcome};
use fondaco_agent::book::Book;
use fondaco_agent::{Agent, SignedEntry, Standing};
use fondaco_contract::ContractId;
use fondaco_crypto::{Digest, EntityId};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

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
    let (mut seen, mut lost) = (Seen::default(), 0);
    for each in audited {
        let (standing, words) = agent
            .book()
            .read(|book| (book.standing(each.provider), book.standing_in_words(each.provider)));
        let place = agent.book().read(|book| place(book, each.contract));
        seen.note(&each, place.is_some());
        let (outcome, detail) = match each.outcome {
            Outcome::Proven { samples } => ("proven", counted(samples, "place")),
            Outcome::Caught { what } => ("caught", what),
            Outcome::Unasked { what, .. } => ("unasked", what),
            Outcome::Silent { what } => ("silent", what),
        };
        let provider = each.provider.short();
        if json {
            let line = json!({
                "event": "audit", "contract": each.contract.to_string(), "provider": provider,
                "set": place.map(|(set, _)| set), "slot": place.map(|(_, slot)| slot),
                "kind": each.kind.to_string(), "outcome": outcome, "detail": detail,
                "standing": standing.to_string(), "why": words,
            });
            say(&line.to_string());
        } else {
            let place = match place {
                Some((set, slot)) => format!("set {set}, slot {slot}"),
                None => format!("{:.14}…", each.contract),
            };
            say(&format!("{provider}…  {place:<15}  {outcome:<7}  {detail}"));
            if let Some(words) = words.as_ref().filter(|_| outcome != "caught") {
                say(&format!("{:16}{words}", ""));
            }
        }
        lost += u32::from(standing >= Standing::Repair && outcome != "caught");
    }
    if lost > 0 && !json {
        say("`fondaco backup repair` makes anew elsewhere what is to be.");
    }
    seen.end()
}

/// Which slot of which set a contract has, if any.
fn place(book: &Book, contract: ContractId) -> Option<(u32, usize)> {
    (0..book.set_count()).find_map(|set| {
        let slot = book.set(set)?.contracts.iter().position(|other| *other == contract)?;
        Some((set, slot))
    })
}

/// What counts for the exit code, the gravest first: that a lie was told hides nothing that waiting mends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flaw {
    Caught,
    Spent,
    Withdrawn,
    Silent,
    PassedOn,
}

impl Flaw {
    const fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Caught { .. } => Some(Self::Caught),
            Outcome::Silent { .. } => Some(Self::Silent),
            Outcome::Unasked { because: Because::Spent, .. } => Some(Self::Spent),
            Outcome::Unasked { because: Because::Withdrawn, .. } => Some(Self::Withdrawn),
            Outcome::Unasked { because: Because::PassedOn, .. } => Some(Self::PassedOn),
            Outcome::Unasked { because: Because::Other, .. } | Outcome::Proven { .. } => None,
        }
    }

    /// Says it of so many hosts.
    fn failure(self, hosts: usize) -> Failure {
        let (what, code, hint) = match self {
            Self::Caught => (
                match hosts {
                    1 => "was caught; it is not dealt with again",
                    _ => "were caught; they are not dealt with again",
                },
                Code::Verification,
                "run `fondaco backup repair --now`: others take over what they kept",
            ),
            Self::Spent => (
                "could not be audited, because holds are used up",
                Code::Funds,
                "`fondaco contracts renew` lets new contracts, with holds of their own, take over what is there",
            ),
            Self::Withdrawn => (
                "let nothing be read: its owner has taken the mandate back, or has removed what was there",
                Code::NotFound,
                "ask its owner for a newer file: `fondaco delegate entrust`",
            ),
            Self::Silent => (
                "did not answer, or proved nothing",
                Code::Unreachable,
                "audit again when they can be reached; one that moved is named with --host ADDRESS",
            ),
            Self::PassedOn => (
                "proved nothing: a delegate has what they keep, as they say",
                Code::Unreachable,
                "`fondaco delegate reclaim FILE` takes it back; after an epoch `fondaco backup repair` makes it anew elsewhere",
            ),
        };
        Failure::new(format!("{} {what}", counted(hosts, "host"))).code(code).hint(hint)
    }
}

/// The hosts with each flaw. Of contracts that hold no slot, only lies count.
#[derive(Debug, Default)]
struct Seen(BTreeMap<Flaw, BTreeSet<EntityId>>);

impl Seen {
    fn note(&mut self, audited: &Audited, has_slot: bool) {
        let flaw = Flaw::of(&audited.outcome);
        if let Some(flaw) = flaw.filter(|flaw| has_slot || *flaw == Flaw::Caught) {
            self.0.entry(flaw).or_default().insert(audited.provider);
        }
    }

    /// Says what is gravest.
    fn end(&self) -> Result<(), Failure> {
        match self.0.first_key_value() {
            None => Ok(()),
            Some((flaw, hosts)) => Err(flaw.failure(hosts.len())),
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
        Finding::Proven { samples } => ("proven", counted(*samples, "place")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_units::Timestamp;

    /// What contracts with hosts showed, and whether they have a slot; the code, and how many hosts are told of.
    #[test]
    fn an_audit_ends_with_what_is_gravest_and_counts_hosts() {
        use Code::{Funds, NotFound, Unreachable, Verification};
        let what = String::new;
        let unasked = |because| Outcome::Unasked { what: what(), because };
        let proven = || Outcome::Proven { samples: 44 };
        let (caught, silent) =
            (|| Outcome::Caught { what: what() }, || Outcome::Silent { what: what() });
        type Row = (u8, Outcome, bool);
        type Ends = Option<(Code, &'static str)>;
        let table: Vec<(Vec<Row>, Ends)> = vec![
            (vec![(1, proven(), true)], None),
            (vec![(1, proven(), true), (2, unasked(Because::Other), true)], None),
            (vec![(1, silent(), false)], None), // it holds nothing
            (vec![(1, silent(), true), (2, proven(), true)], Some((Unreachable, "1 host "))),
            (vec![(1, silent(), true), (1, silent(), true)], Some((Unreachable, "1 host "))),
            (vec![(1, unasked(Because::PassedOn), true)], Some((Unreachable, "1 host "))),
            (
                vec![(1, silent(), true), (2, unasked(Because::Withdrawn), true)],
                Some((NotFound, "1 host ")),
            ),
            (
                vec![(1, silent(), true), (2, unasked(Because::Spent), true)],
                Some((Funds, "1 host ")),
            ),
            (
                vec![(1, caught(), true), (1, caught(), true), (2, silent(), true)],
                Some((Verification, "1 host was")),
            ),
            (vec![(1, caught(), false), (2, caught(), true)], Some((Verification, "2 hosts were"))),
        ];
        for (audits, expected) in table {
            let mut seen = Seen::default();
            for (host, outcome, has_slot) in audits.clone() {
                let audited = Audited {
                    contract: ContractId::from_digest(Digest::ZERO),
                    provider: EntityId::from_bytes([host; 32]),
                    kind: Kind::Deep,
                    at: Timestamp::EPOCH,
                    nonce: [0; 32],
                    outcome,
                    proof: Digest::ZERO,
                };
                seen.note(&audited, has_slot);
            }
            match (seen.end(), expected) {
                (Ok(()), None) => {}
                (Err(failure), Some((code, words))) => {
                    assert_eq!(failure.ends_with(), code, "{audits:?}");
                    assert!(failure.what().starts_with(words), "{audits:?}: {}", failure.what());
                }
                (ended, _) => panic!("{audits:?}: {ended:?}"),
            }
        }
    }
}
