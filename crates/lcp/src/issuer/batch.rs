//! Batches: many payments by one command, in chains that are done whole or not at all.

use super::{Issuer, commands::Payment};
use crate::{DEPOSITS_WAITING_MAX, Refusal, RequestId, Response, STEPS_MAX, Step, StepResult};
use fondaco_codec::List;
use fondaco_crypto::EntityId;
use fondaco_ledger::{AccountIndex, Leg, LegRefused, Terms};
use fondaco_units::Timestamp;
use std::collections::BTreeMap;

/// A step that was refused, by its place in its chain.
struct Broken {
    at: usize,
    refusal: Refusal,
}

impl Issuer {
    /// Does chain after chain: what one leaves, the next can spend.
    pub(super) fn batch<'a>(
        &mut self,
        now: Timestamp,
        from: EntityId,
        terms: Terms,
        steps: &'a [Step],
        id: RequestId,
    ) -> Result<Response, Refusal> {
        let mut results = Vec::with_capacity(steps.len());
        let mut rest = steps;
        while !rest.is_empty() {
            let end = rest.iter().position(|step| !step.linked).map_or(rest.len(), |at| at + 1);
            let (chain, after) = rest.split_at(end);
            let payment = |step: &'a Step| Payment {
                now,
                from,
                to: step.to,
                amount: step.amount,
                terms,
                order: &step.order,
                id: Some(id),
            };
            match self.chain(chain, payment) {
                Ok(()) => results.extend(chain.iter().map(|_| StepResult::Paid)),
                Err(Broken { refusal: Refusal::Halted, .. }) => return Err(Refusal::Halted),
                Err(Broken { at: broken, refusal }) => {
                    results.extend((0..chain.len()).map(|at| match at == broken {
                        true => StepResult::Refused { refusal },
                        false => StepResult::Undone,
                    }));
                }
            }
            rest = after;
        }
        let balance = self.ledger.account(from).available;
        let results = List::<_, STEPS_MAX>::new(results).expect("one for each step");
        Ok(Response::Batched { balance, results })
    }

    /// Does one chain, whole or not at all.
    fn chain<'a>(
        &mut self,
        chain: &'a [Step],
        payment: impl Fn(&'a Step) -> Payment<'a>,
    ) -> Result<(), Broken> {
        if let [step] = chain {
            return match self.pay(payment(step)) {
                Ok(_) => Ok(()),
                Err(refusal) => Err(Broken { at: 0, refusal }),
            };
        }
        self.chain_has_room(chain)?;
        let leg = |step| {
            let Payment { from, to, amount, terms, .. } = payment(step);
            Leg { from, to, amount, terms }
        };
        // Before they are paid: who has no place yet may have been heard as a stranger.
        let payees: Vec<_> = chain.iter().map(|step| self.ledger.index_of(step.to)).collect();
        let legs: Vec<Leg> = chain.iter().map(leg).collect();
        let done = self.ledger.transfer_linked(&legs);
        done.map_err(|LegRefused { leg, refusal }| Broken { at: leg, refusal: refusal.into() })?;
        for (step, payee) in chain.iter().zip(payees) {
            self.paid(&payment(step), payee);
        }
        Ok(())
    }

    /// Finds the first step whose payee has no room for its notice, after those of the steps before it.
    fn chain_has_room(&self, chain: &[Step]) -> Result<(), Broken> {
        let mut counts = BTreeMap::<AccountIndex, usize>::new();
        for (at, step) in chain.iter().enumerate() {
            let Some(payee) = self.ledger.index_of(step.to) else { continue };
            let room = self.room(Some(payee));
            // Counted only where it may matter: hardly ever.
            if room >= chain.len() {
                continue;
            }
            let count = counts.entry(payee).or_default();
            if *count >= room {
                let deposits_max = DEPOSITS_WAITING_MAX as u64;
                let refusal = Refusal::DepositsFull { payee: step.to, deposits_max };
                return Err(Broken { at, refusal });
            }
            *count += 1;
        }
        Ok(())
    }
}
