//! New contracts: at the start, when a host fails that is stored to, and in place of those whose holds are used up.

use crate::backup::{Renewing, budget_of, keep_books, open_contracts, renew_within};
use crate::cli::ResticArgs;
use crate::failure::{Code, Failure};
use crate::home::Home;
use crate::offers::Whereabouts;
use fondaco_agent::book::{Book, For};
use fondaco_agent::{Agent, Beside, Objects, Wish};
use fondaco_crypto::EntityId;
use fondaco_units::{Amount, Bytes};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long nothing is renewed after it was tried in vain: whoever reads on would have it tried again each time.
const REST: Duration = Duration::from_secs(60);

/// What new contracts are to be like, if some are needed, and where hosts for them are found.
pub(super) struct NewContracts {
    home: Home,
    whereabouts: Whereabouts,
    wanted: Wanted,
    json: bool,
    left: Mutex<Left>,
}

/// What was said of them, checked before anything is done.
pub(super) struct Wanted {
    pub(super) size: Option<Bytes>,
    survive: f64,
    epochs: u32,
    budget: Option<Amount>,
    currency: Option<String>,
}

/// What changes from one opening to the next.
#[derive(Debug, Default)]
struct Left {
    /// What was held for those that were opened.
    held: Amount,
    /// Who failed, and is not taken again.
    failed: BTreeSet<EntityId>,
    /// When nothing could be renewed, and why.
    in_vain: Option<(Instant, Failure)>,
}

impl Wanted {
    pub(super) fn checked(home: &Home, args: &ResticArgs) -> Result<Self, Failure> {
        let size = match &args.size {
            None => None,
            Some(text) => Some(Bytes::parse(text).ok_or_else(|| {
                Failure::new(format!("--size {text} is no size"))
                    .code(Code::Usage)
                    .hint("write 500M or 200G")
            })?),
        };
        if !(args.survive > 0.0 && args.survive < 1.0) {
            return Err(Failure::new(format!(
                "--survive {} is no probability below 1",
                args.survive
            ))
            .code(Code::Usage)
            .hint("0.999 is usual: one object in a thousand may be lost in an epoch"));
        }
        let currency = args.currency.clone();
        let budget = match &args.budget {
            None => None,
            Some(text) => {
                let wallet = home.wallet()?;
                let once = "a gateway's contracts are paid for once";
                Some(budget_of(text, once, wallet.find(currency.as_deref())?)?)
            }
        };
        Ok(Self { size, survive: args.survive, epochs: args.epochs, budget, currency })
    }
}

impl NewContracts {
    pub(super) fn new(home: &Home, whereabouts: Whereabouts, wanted: Wanted, json: bool) -> Self {
        Self { home: home.clone(), whereabouts, wanted, json, left: Mutex::default() }
    }

    /// Whether contracts may be opened at all: somebody said how much room they are to have.
    pub(super) const fn may_be(&self) -> bool {
        self.wanted.size.is_some()
    }

    /// Whether contracts whose holds are used up may be followed by others: somebody said what that may cost.
    pub(super) const fn may_renew(&self) -> bool {
        self.wanted.budget.is_some()
    }

    /// Renews the contracts of which `objects` found the holds to be used up, within what is left of the budget.
    ///
    /// # Errors
    ///
    /// Nothing was renewed, now or a short while ago.
    pub(super) async fn renew(&self, agent: &Agent, objects: &Objects) -> Result<(), Failure> {
        if let Some((when, why)) = &self.left().in_vain
            && when.elapsed() < REST
        {
            return Err(why.clone());
        }
        let done = self.try_to_renew(agent, objects).await;
        let mut left = self.left();
        let done = done.and_then(|Renewing { held, any, failure }| {
            left.held = left.held.checked_add(held).unwrap_or(Amount::MAX);
            match (any, failure) {
                (true, _) => Ok(()),
                (false, Some(failure)) => Err(failure),
                (false, None) => {
                    let what = "there is nothing to be renewed in the currency of --budget";
                    Err(Failure::new(what).code(Code::Funds))
                }
            }
        });
        left.in_vain = done.as_ref().err().map(|why| (Instant::now(), why.clone()));
        done
    }

    async fn try_to_renew(&self, agent: &Agent, objects: &Objects) -> Result<Renewing, Failure> {
        let Wanted { budget, currency, .. } = &self.wanted;
        let wallet = self.home.wallet()?;
        let currency = wallet.find(currency.as_deref())?;
        let idle = agent.idle(For::Set, currency.issuer()?.entity());
        let left = budget.unwrap_or(Amount::ZERO).saturating_sub(self.left().held);
        let left = left.saturating_sub(idle);
        renew_within(&self.home, agent, objects, (currency, left), self.json).await
    }

    pub(super) const fn json(&self) -> bool {
        self.json
    }

    /// Opens contracts for a new set, with none of those that `failed`, now or before. Those that fail now are left alone from
    /// then on only if others were found: where all fail at once, it may be this machine that nobody hears. The newest contracts of
    /// others are kept if it is said how much they are to take next, and they last for half as long as new ones.
    pub(super) async fn open(
        &self,
        agent: &Agent,
        failed: &BTreeSet<EntityId>,
        keep: Option<Bytes>,
    ) -> Result<(), Failure> {
        let Wanted { size, survive, epochs, budget, currency } = &self.wanted;
        let bytes = size.ok_or_else(|| {
            Failure::new("there are no contracts to store anything under")
                .code(Code::NotFound)
                .hint("say how much there will be: `fondaco gateway restic --size 20G --broker ADDRESS …`, or --host ADDRESS …")
        })?;
        let wallet = self.home.wallet()?;
        let currency = wallet.find(currency.as_deref())?;
        let (held, without) = {
            let left = self.left();
            (left.held, left.failed.union(failed).copied().collect::<BTreeSet<EntityId>>())
        };
        let budget = budget.map(|all| all.saturating_sub(held));
        let wish = Wish { bytes, survive: *survive, epochs: *epochs, budget };
        let mut hosts = self.whereabouts.find(agent, currency, &wish, self.json).await?;
        hosts.retain(|host| !without.contains(&host.entity()));
        let before = agent.book().read(Book::holds_before);
        let (without, epochs) = (&without, f64::from(*epochs) / 2.0);
        let beside = keep.map(|object| Beside { without, object, epochs });
        let opened =
            open_contracts(&self.home, agent, currency, &hosts, (wish, beside), self.json).await;
        // Whether or not enough were found.
        let held = agent.book().read(|book| book.held_since(&before));
        let mut left = self.left();
        left.held = left.held.checked_add(held).unwrap_or(Amount::MAX);
        opened?;
        left.failed.extend(failed);
        Ok(())
    }

    /// Has the hosts keep the books: what is held for contracts must not be forgotten with this machine.
    pub(super) async fn keep_books(&self, agent: &Agent, objects: &Objects) {
        keep_books(&self.home, agent, objects, self.json).await;
    }

    fn left(&self) -> std::sync::MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
