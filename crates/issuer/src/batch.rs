//! A batch that the keeper is making: what is to be saved together, and the answers that leave when it is.

use crate::{
    history::Noted,
    metrics::{Metrics, Outcome},
};
use fondaco_crypto::EntityId;
use fondaco_lcp::{
    Refusal, Response,
    classic::{Answer, Fault},
};
use fondaco_lcp_wire::Answered as Told;
use fondaco_units::Timestamp;
use tokio::sync::oneshot;

/// The batch that is being made.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) now: Timestamp,
    pub(crate) answers: Vec<Ready>,
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) done: Vec<Noted>,
    pub(crate) bytes: usize,
    /// Who has something to ask for that had nothing before.
    pub(crate) fresh: Vec<EntityId>,
    /// Who was paid.
    pub(crate) paid: Vec<EntityId>,
    /// Keys that were given up.
    pub(crate) former: Vec<EntityId>,
    pub(crate) counts: Counts,
}

/// An answer that leaves when its batch is saved.
pub(crate) enum Ready {
    Lcp2(oneshot::Sender<Response>, Box<Response>),
    Classic(oneshot::Sender<Told>, Told),
}

#[derive(Default)]
pub(crate) struct Counts {
    done: usize,
    refused: usize,
    repeated: usize,
    queries: usize,
}

pub(crate) fn refuse_ready(ready: Ready) {
    let refusal = Refusal::Halted;
    match ready {
        Ready::Lcp2(answer, _) => drop(answer.send(Response::Refused { refusal })),
        Ready::Classic(answer, _) => {
            let fault = Fault::Refused { refusal };
            drop(answer.send(Told { answer: Answer::Fault { fault }, surcharged: false }));
        }
    }
}

impl Counts {
    pub(crate) const fn add(&mut self, query: bool, recorded: bool, refused: bool) {
        match (query, recorded, refused) {
            (true, ..) => self.queries += 1,
            (false, true, false) => self.done += 1,
            (false, true, true) => self.refused += 1,
            (false, false, _) => self.repeated += 1,
        }
    }

    pub(crate) fn tell(self, metrics: &Metrics) {
        let Self { done, refused, repeated, queries } = self;
        let outcomes = [
            (Outcome::Done, done),
            (Outcome::Refused, refused),
            (Outcome::Repeated, repeated),
            (Outcome::Query, queries),
        ];
        for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
            metrics.requests(outcome, count);
        }
    }
}
