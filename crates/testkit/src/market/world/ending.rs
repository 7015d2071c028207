//! The end of a run: fair weather, villains at their worst, and what must be true then.

use std::collections::{BTreeMap, BTreeSet};

use fondaco_agent::Share;
use fondaco_agent::auditing::Outcome;
use fondaco_agent::book::Stage;
use fondaco_contract::{ContractId, Ending};
use fondaco_crypto::EntityId;
use fondaco_ledger::HoldState;
use fondaco_ports::Clock as _;
use fondaco_transport::Climate;
use fondaco_units::Bytes;
use tokio::time::{sleep, timeout};

use super::super::buyer::Process;
use super::super::host::HostNode;
use super::super::roles::Role;
use super::{ACTION_MAX, HOUR, MINTED, World};

/// A shard of more bytes than this has more than two groups, of which any audit reads one by a part of it.
const SHORT_MAX: usize = 2 << 14;

impl World {
    /// Everything comes up again, and villains are at their worst.
    pub(super) async fn heal(&mut self, process: &mut Option<Process>) -> Result<(), String> {
        self.fabric.set_climate(Climate::FAIR);
        self.issuer.heal();
        self.buyer.heal();
        for (role, host) in &self.hosts {
            role.be_worst(&self.fabric, host);
        }
        // The longest pause of any fault.
        sleep(HOUR * 3).await;
        for (_, host) in &self.hosts {
            self.fabric.set_away(host.entity(), false);
            host.stay_down(false);
        }
        sleep(HOUR * 7).await;
        if let Some((role, _)) =
            self.hosts.iter().find(|(_, host)| !host.is_up() && !host.gave_up())
        {
            return Err(format!("a host ({role:?}) does not come up"));
        }
        if let Some(old) = process.take() {
            self.buyer.stop(old).await;
        }
        let mut present = self.start()?;
        self.buyer.resume(&present).await.map_err(|error| format!("the wallet: {error}"))?;
        let finished = self.buyer.finish_renewals(&mut present).await;
        finished.map_err(|error| format!("a renewal: {error}"))?;
        self.friend_hands_back(&mut present).await?;
        // Those who were caught take no part in the second.
        for _ in 0..2 {
            self.hosts.iter().for_each(|(_, host)| host.deeds().forget());
            self.last_audits =
                self.audit(&present, 1000).await?.ok_or("the buyer's disk failed")?;
        }
        self.look(Some(&present))?;
        self.buyer.stop(present).await;
        *process = Some(self.start()?);
        Ok(())
    }

    pub(super) async fn check(&mut self, process: Option<Process>) -> Result<(), String> {
        let mut process = process.ok_or("no buyer")?;
        self.liars_are_named(&process)?;
        self.who_does_not_serve_is_named(&process)?;
        self.none_is_given_up(&process)?;
        self.all_is_there(&process).await?;
        self.nobody_ended_early(&process)?;
        self.look(Some(&process))?;
        self.audit(&process, 1).await?;
        drop(self.buyer.end(&mut process).await);
        self.buyer.stop(process).await;
        self.friend_ends().await?;
        // What the hosts did not post at once, they post now.
        sleep(HOUR * 2).await;
        self.books_balance()
    }

    /// Who was audited in full and does not have what it should, or shows other bytes, is distrusted.
    fn liars_are_named(&mut self, process: &Process) -> Result<(), String> {
        let roles: BTreeMap<EntityId, (Role, HostNode)> =
            self.hosts.iter().map(|(role, host)| (host.entity(), (*role, host.clone()))).collect();
        let (now, told) = (self.buyer.clock.now().milliseconds(), self.oracle.contracts());
        let book = process.agent.book();
        let distrusted = |who| book.read(|book| book.distrusted(who).is_some());
        self.report.distrusted += roles.keys().filter(|who| distrusted(**who)).count() as u64;
        for object in &self.buyer.stored {
            let Some(place) = self.buyer.where_is(process, *object) else { continue };
            let length = self.buyer.bytes[object].len();
            let (is_empty, is_long) = (length == 0, length / place.needed > SHORT_MAX);
            for (contract, who, shard) in place.shards {
                // What is over need not be kept, and shows nobody for a liar.
                if !told.get(&contract).is_some_and(|told| told.is_paid_at(now)) {
                    continue;
                }
                let (role, host) = &roles[&who];
                let lies = match role {
                    Role::Lying => !is_empty,
                    // One that is paid no more, for what it took before, is not asked.
                    Role::Refusing => !is_empty && !is_paid_no_more(process, contract),
                    Role::Forgetful => !is_empty && !host.has(shard) && !host.gave_up(),
                    _ => false,
                };
                if lies && !distrusted(who) {
                    return Err(format!("a liar ({role:?}) was audited and is trusted"));
                }
                // A short shard is read in one piece, which looks like an audit to it.
                let is_met = *role != Role::AuditsOnly || is_long;
                if role.keeps_quiet() && !is_empty && is_met && self.has_passed(contract) {
                    return Err(format!("a host ({role:?}) serves nothing, and passed an audit"));
                }
            }
        }
        Ok(())
    }

    /// Sees that no honest host is paid no more for what lines and crashes have lost.
    fn none_is_given_up(&self, process: &Process) -> Result<(), String> {
        let contracts: Vec<(ContractId, EntityId)> = process.agent.book().read(|book| {
            let open = book.contracts().filter(|(_, record)| record.stage == Stage::Open);
            open.map(|(id, record)| (id, record.terms.prices.provider)).collect()
        });
        let given_up = contracts
            .iter()
            .find(|(id, who)| self.is_honest(*who) && is_paid_no_more(process, *id));
        match given_up {
            None => Ok(()),
            Some((contract, who)) => {
                let (who, lost) =
                    (who.short(), process.agent.book().read(|book| book.loss(*contract)));
                Err(format!(
                    "an honest host, {who}, is paid no more for what lines have lost: {lost:?}"
                ))
            }
        }
    }

    fn has_passed(&self, contract: ContractId) -> bool {
        let passed = |outcome: &Outcome| matches!(outcome, Outcome::Proven { .. });
        let mut audits = self.last_audits.iter();
        audits.any(|audited| audited.contract == contract && passed(&audited.outcome))
    }

    /// Who did something else than an honest host in the last audits did not pass them, and its record says so, or it was caught.
    fn who_does_not_serve_is_named(&mut self, process: &Process) -> Result<(), String> {
        let told = self.oracle.contracts();
        // Where nobody answers, nobody's silence counts.
        let is_answered =
            |outcome: &Outcome| matches!(outcome, Outcome::Proven { .. } | Outcome::Caught { .. });
        let is_heard = self.last_audits.iter().any(|audited| is_answered(&audited.outcome));
        let mut named = 0;
        for audited in &self.last_audits {
            let (contract, who) = (audited.contract, audited.provider);
            let Some((role, host)) = self.hosts.iter().find(|(_, host)| host.entity() == who)
            else {
                continue;
            };
            let given = |contract| process.agent.book().read(|book| book.given(contract));
            let acted = match role {
                Role::Honest
                | Role::FullDisk
                | Role::DayOff
                | Role::Forgetful
                // It denies what it has of a put, and nothing that it was paid to keep.
                | Role::Denying => false,
                Role::Stalling => true,
                // What it may have been given, it may have.
                Role::Inflating => told.get(&contract).is_some_and(|told| {
                    Bytes::new(told.claimed) > given(contract) && host.deeds().under(contract) > 0
                }),
                Role::Lying
                | Role::Truncating
                | Role::Silent
                | Role::StepTaking
                | Role::Refusing
                | Role::AuditsOnly
                | Role::GroupsOnly
                | Role::Dear => host.deeds().under(contract) > 0,
            };
            if !acted {
                continue;
            }
            if self.has_passed(contract) {
                return Err(format!("a host ({role:?}) did not serve in an audit, and passed it"));
            }
            let is_named = process.agent.book().read(|book| {
                let has_failed = book.record(who).is_some_and(|record| record.score() < Share::ONE);
                book.distrusted(who).is_some() || has_failed
            });
            let is_named = is_named || is_paid_no_more(process, contract);
            let is_unasked = matches!(audited.outcome, Outcome::Unasked { .. });
            if !is_named && is_heard && !is_unasked {
                return Err(format!(
                    "a host ({role:?}) did not serve in an audit, and is not named"
                ));
            }
            named += u64::from(is_named);
        }
        self.report.named += named;
        Ok(())
    }

    /// What was acknowledged is read as it was, while enough of its hosts are good.
    async fn all_is_there(&mut self, process: &Process) -> Result<(), String> {
        let good: BTreeSet<EntityId> = self
            .hosts
            .iter()
            .filter(|(role, _)| role.is_good())
            .map(|(_, host)| host.entity())
            .collect();
        for object in self.buyer.stored.clone() {
            let place = self.buyer.where_is(process, object).ok_or("an object is in no set")?;
            // Who was away for long may find that what it keeps was not paid for.
            let (now, told) = (self.buyer.clock.now().milliseconds(), self.oracle.contracts());
            // Nor is more paid where answers were lost so often that more than a step was paid for nothing.
            let is_due = |contract: &_| {
                told.get(contract).is_some_and(|told| told.is_paid_at(now))
                    && !is_paid_no_more(process, *contract)
            };
            let there = place.shards.iter();
            let there = there.filter(|(contract, who, _)| good.contains(who) && is_due(contract));
            let there = there.count();
            let length = self.buyer.bytes[&object].len() as u64;
            let read = timeout(ACTION_MAX, self.buyer.read(process, object, 0, length)).await;
            match read {
                Err(_) => return Err("a read never came to an end".to_owned()),
                Ok(Ok(true)) => self.report.read += 1,
                Ok(Ok(false)) => return Err(format!("{object:?} was read as other bytes")),
                Ok(Err(_)) if there < place.needed => self.report.beyond += 1,
                Ok(Err(error)) => {
                    let needed = place.needed;
                    return Err(format!(
                        "{object:?} of {length} bytes has {there} good hosts, needs {needed}, and is \
                         lost: {error}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// No honest host ended what was paid for.
    fn nobody_ended_early(&self, process: &Process) -> Result<(), String> {
        /// How far two clocks were apart.
        const SKEW: u64 = 300_000;
        let now = self.buyer.clock.now().milliseconds() + SKEW;
        let told = self.oracle.contracts();
        let honest: BTreeSet<EntityId> = self
            .hosts
            .iter()
            .filter(|(role, _)| role.is_good())
            .map(|(_, host)| host.entity())
            .collect();
        process.agent.book().read(|book| {
            for (id, contract) in book.contracts() {
                let Some(told) = told.get(&id) else { continue };
                let (ended, by_buyer) = match contract.stage {
                    Stage::Ended(end) => {
                        let why = end.state.and_then(|state| state.why());
                        (true, why == Some(Ending::Closed))
                    }
                    Stage::Intended | Stage::Open => (false, false),
                };
                let early = told.is_paid_at(now);
                if ended && !by_buyer && early && honest.contains(&told.provider) && !told.closed {
                    return Err(format!("{id:?} was ended before its time"));
                }
            }
            Ok(())
        })
    }

    /// Money is conserved, and went where it was signed to.
    fn books_balance(&mut self) -> Result<(), String> {
        let told = self.oracle.contracts();
        self.report.contracts = told.len() as u64;
        self.report.taken = told.values().map(|told| told.taken).sum();
        let minted = self.minted;
        let (paid_to, paid_by) = self.issuer.look(|issuer| {
            issuer.check().map_err(|error| format!("the issuer's books: {error}"))?;
            let ledger = issuer.ledger();
            let sum: u64 = ledger
                .books()
                .map(|(_, account)| account.available.get() + account.held.get())
                .sum();
            if (sum, ledger.supply().get()) != (minted, minted) {
                return Err(format!("{minted} were minted, {sum} are there"));
            }
            let (mut paid_to, mut paid_by) = (BTreeMap::new(), BTreeMap::new());
            for (id, hold) in ledger.holds() {
                let HoldState::Posted { paid } = hold.state else { continue };
                let contract =
                    told.values().find(|told| told.hold == id && told.buyer == hold.payer);
                let signed = contract.map_or(0, |told| told.signed);
                if paid.get() > signed {
                    return Err(format!("{} were paid of {signed} signed for", paid.get()));
                }
                *paid_to.entry(hold.payee).or_insert(0) += paid.get();
                *paid_by.entry(hold.payer).or_insert(0) += paid.get();
            }
            Ok((paid_to, paid_by))
        })??;
        self.report.paid = paid_to.values().sum();
        let has = |who| {
            self.issuer.look(|issuer| {
                let account = issuer.ledger().account(who);
                account.available.get() + account.held.get()
            })
        };
        for (_, host) in &self.hosts {
            let (has, paid) = (has(host.entity())?, *paid_to.get(&host.entity()).unwrap_or(&0));
            if has != paid {
                return Err(format!("a host has {has}, and was paid {paid}"));
            }
        }
        for who in [Some(&self.buyer), self.friend.as_ref()].into_iter().flatten() {
            let (left, paid) = (has(who.entity())?, *paid_by.get(&who.entity()).unwrap_or(&0));
            if left + paid != MINTED.get() {
                return Err(format!("a buyer has {left} and paid {paid}"));
            }
        }
        Ok(())
    }
}

/// Whether nothing more is paid under a contract, for what was paid for nothing.
fn is_paid_no_more(process: &Process, contract: ContractId) -> bool {
    process.agent.book().read(|book| {
        let prices = book.contract(contract).map(|record| record.terms.prices);
        prices.is_some_and(|prices| book.loss(contract).is_over(&prices))
    })
}
