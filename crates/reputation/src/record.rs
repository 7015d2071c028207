//! The record of one provider.

use fondaco_codec::record;

use crate::{Count, Policy, Share, Standing};

/// How an audit of a provider came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every place that was asked for was proven.
    Proven,
    /// It did not prove what it must keep: it was silent although asked again, or said that it has lost it.
    Failed,
    /// It was caught at a lie: what it sent is not what it was given.
    Caught,
}

/// What is known of a provider, from own audits and own contracts only.
///
/// # What always holds
///
/// - The same verdicts in the same order give the same record, on every machine.
/// - A provider that was caught stays [`Standing::Replace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    good: Count,
    bad: Count,
    standing: Standing,
    caught: bool,
    audits: u64,
    lived: Count,
    lost: Count,
}

record!(Record { good, bad, standing, caught, audits, lived, lost });

impl Record {
    /// The record of a provider of which nothing is known: trusted, in small things (see [`Exposure`](crate::Exposure)).
    pub const fn new(policy: &Policy) -> Self {
        Self {
            good: policy.start,
            bad: Count::ZERO,
            standing: Standing::Good,
            caught: false,
            audits: 0,
            lived: Count::ZERO,
            lost: Count::ZERO,
        }
    }

    /// Takes in how an audit came out; returns what is now to be done about the provider.
    ///
    /// The beta reputation of Jøsang and Ismail 2002 with forgetting: α ← λα + w(1 + v)/2, β ← λβ + w(1 − v)/2, with
    /// v = 1 for a proof and −1 for none, and w = 1.
    pub fn audited(&mut self, policy: &Policy, verdict: Verdict) -> Standing {
        self.audited_among(policy, verdict, 1)
    }

    /// The same of an audit that is one `of` so many of the provider at one time: with w = 1 ⁄ `of`, and as much forgotten, so
    /// that they count as one together.
    pub fn audited_among(&mut self, policy: &Policy, verdict: Verdict, of: u32) -> Standing {
        let part = Count::fraction(1, of.max(1).into());
        let (good, bad) = match verdict {
            Verdict::Proven => (part, Count::ZERO),
            Verdict::Failed | Verdict::Caught => (Count::ZERO, part),
        };
        let memory = kept(policy.memory, part);
        self.good = self.good.faded(memory) + good;
        self.bad = self.bad.faded(memory) + bad;
        self.caught |= verdict == Verdict::Caught;
        self.audits = self.audits.saturating_add(1);
        self.standing = if self.caught {
            Standing::Replace
        } else {
            policy.standing(self.standing, self.score())
        };
        self.standing
    }

    /// Takes in that a contract was lived through for so much of an epoch, or so many.
    pub fn lived(&mut self, policy: &Policy, epochs: Count) {
        self.fade(policy, epochs);
        self.lived = self.lived + epochs;
    }

    /// Takes in that what was kept under a contract was lost.
    pub fn lost(&mut self, policy: &Policy) {
        self.fade(policy, Count::ONE);
        self.lost = self.lost + Count::ONE;
    }

    /// Forgets a little with each epoch seen.
    fn fade(&mut self, policy: &Policy, epochs: Count) {
        let memory = kept(policy.epoch_memory, epochs.min(Count::ONE));
        self.lived = self.lived.faded(memory);
        self.lost = self.lost.faded(memory);
    }

    /// Returns the share of audits that came out well, the older ones counting less.
    pub fn score(&self) -> Share {
        self.good.share(self.bad).unwrap_or(Share::ONE)
    }

    /// Returns what is to be done about the provider.
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// Returns whether it was ever caught at a lie.
    #[cfg(test)]
    pub(crate) const fn was_caught(&self) -> bool {
        self.caught
    }

    /// Returns how many audits there were.
    pub const fn audits(&self) -> u64 {
        self.audits
    }

    /// Returns the contract-epochs that were lost and that were lived through, as far as they are remembered: what
    /// placement makes its estimate from.
    pub const fn losses(&self) -> (Count, Count) {
        (self.lost, self.lived)
    }
}

/// What is remembered after a part of what makes forget: 1 − (1 − λ)·part.
fn kept(memory: Share, part: Count) -> Share {
    let forgotten = Share::ONE.millionths() - memory.millionths();
    let forgotten = u64::from(forgotten) * part.parts() / Count::ONE.parts();
    let memory = Share::ONE.millionths() - u32::try_from(forgotten).unwrap_or(0);
    Share::from_millionths(memory).unwrap_or(Share::ONE)
}
