//! Reading that goes on when holds are used up, for a command that was told with `--renew` what renewing them may cost.

use super::used_up::{self, Allowance};
use super::{repo, state};
use crate::failure::Failure;
use crate::home::Home;
use fondaco_agent::{Agent, AgentError, Objects, Renews, Repo};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long nothing is renewed after that was in vain: whoever reads much would ask for it over and over.
const PAUSE: Duration = Duration::from_secs(60);

/// Who reads, and what renewing may cost.
pub(super) struct Reading {
    home: Home,
    pub(super) agent: Agent,
    json: bool,
    /// What is done, as `restore`.
    doing: &'static str,
    allowance: Option<tokio::sync::Mutex<Allowance>>,
    in_vain: Mutex<Option<InVain>>,
}

/// When nothing could be renewed, and why.
struct InVain {
    at: Instant,
    failures: Vec<Failure>,
}

impl Reading {
    /// Reads what `--renew` says, before anything is done.
    pub(super) fn allowed(
        home: &Home,
        doing: &str,
        sum: Option<&str>,
    ) -> Result<Option<Allowance>, Failure> {
        let once = format!("a {doing} is paid for once");
        sum.map(|text| Allowance::of(home, "--renew", text, &once)).transpose()
    }

    pub(super) fn new(
        home: &Home,
        agent: Agent,
        doing: &'static str,
        allowance: Option<Allowance>,
        json: bool,
    ) -> Arc<Self> {
        let allowance = allowance.map(tokio::sync::Mutex::new);
        let (home, in_vain) = (home.clone(), Mutex::default());
        Arc::new(Self { home, agent, json, doing, allowance, in_vain })
    }

    /// Brings the repository together, as [`repo`] does; `quiet` without progress.
    pub(super) fn repo(
        self: &Arc<Self>,
        objects: &Arc<Objects>,
        no_cache: bool,
        quiet: bool,
    ) -> Repo {
        let repo = repo(&self.home, &self.agent, objects, no_cache, quiet);
        match self.allowance {
            Some(_) => repo.renewing(Arc::clone(self) as Arc<dyn Renews>),
            None => repo,
        }
    }

    /// Says why reading ended: if holds are used up, by what means it goes on, or what was in the way of renewing them.
    pub(super) fn ended(&self, error: AgentError) -> Failure {
        if !matches!(error, AgentError::Unreadable { spent: true, .. }) {
            return error.into();
        }
        if self.allowance.is_none() {
            let doing = self.doing;
            return Failure::from(error).hint(format!(
                "`fondaco contracts renew` lets new contracts, with holds of their own, take over what is there; with --renew \
                 \"5 CLR\" a {doing} does so itself, and goes on"
            ));
        }
        let in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = in_vain.as_ref().map_or_else(Vec::new, |vain| vain.failures.clone());
        used_up::not_renewed(error, failures, "--renew")
    }

    async fn renew_or_tell(&self, objects: &Objects) -> Result<bool, Failure> {
        let Some(allowance) = &self.allowance else { return Ok(false) };
        let Self { home, agent, json, .. } = self;
        let was_in_vain = {
            let in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
            in_vain.as_ref().is_some_and(|vain| vain.at.elapsed() < PAUSE)
        };
        if was_in_vain {
            return Ok(false);
        }
        let mut allowance = allowance.lock().await;
        let done = used_up::renew(home, agent, objects, &mut allowance, *json).await?;
        agent.read_on(objects, &done.renewed);
        let goes_on = !done.renewed.is_empty();
        if goes_on {
            // What was opened must not be forgotten.
            state::keep_meanwhile(home, agent, objects, *json).await;
        } else {
            self.note_in_vain(done.failures);
        }
        Ok(goes_on)
    }

    fn note_in_vain(&self, failures: Vec<Failure>) {
        let in_vain = InVain { at: Instant::now(), failures };
        *self.in_vain.lock().unwrap_or_else(PoisonError::into_inner) = Some(in_vain);
    }
}

impl Renews for Reading {
    fn renew<'a>(
        &'a self,
        objects: &'a Objects,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async {
            match self.renew_or_tell(objects).await {
                Ok(goes_on) => goes_on,
                Err(failure) => {
                    self.note_in_vain(vec![failure]);
                    false
                }
            }
        })
    }
}
