//! How many shards live: the Poisson–binomial distribution, exactly, and what common shocks make of it.
//!
//! Hong, "On computing the distribution function for the Poisson binomial distribution", 2013: one
//! provider after another. All terms are positive and only added and multiplied, so even a tail of 10⁻³⁰ is
//! right to within a few times `n` rounding errors; 1 − (the rest) would leave nothing of it. A shock mixes the
//! distribution of its group with "none lives", groups are convolved: that too only adds and multiplies.

/// The probabilities that exactly 0, 1, 2 … of the providers taken so far keep their shard.
#[derive(Clone, Debug)]
pub(crate) struct Alive(Vec<f64>);

impl Alive {
    /// The distribution over providers with these losses, taken in this order.
    pub(crate) fn of(losses: impl IntoIterator<Item = f64>) -> Self {
        let mut alive = Self(vec![1.0]);
        losses.into_iter().for_each(|loss| alive.add(loss));
        alive
    }

    /// Takes one more provider, independent of those before.
    pub(crate) fn add(&mut self, loss: f64) {
        let mut one_fewer = 0.0;
        self.0.push(0.0);
        for chance in &mut self.0 {
            let kept = one_fewer * (1.0 - loss);
            one_fewer = *chance;
            *chance = *chance * loss + kept;
        }
    }

    /// Takes a whole group, independent of those before.
    pub(crate) fn join(&mut self, group: &Self) {
        let mut joined = vec![0.0; self.0.len() + group.0.len() - 1];
        for (alive, &chance) in self.0.iter().enumerate() {
            for (sum, &other) in joined[alive..].iter_mut().zip(&group.0) {
                *sum += chance * other;
            }
        }
        self.0 = joined;
    }

    /// Lets all of these providers be lost together with probability `shock`, whatever else happens.
    pub(crate) fn shock(&mut self, shock: f64) {
        self.0.iter_mut().for_each(|chance| *chance *= 1.0 - shock);
        self.0[0] += shock;
    }

    /// The probability that fewer than `k` shards live, summed from its smallest end.
    pub(crate) fn below(&self, k: usize) -> f64 {
        match self.0.get(..k) {
            Some(tail) => tail.iter().sum::<f64>().min(1.0),
            None => 1.0,
        }
    }
}

/// Returns the probability that fewer than `k` shards live, if each is lost with its own probability of
/// `losses`, 0 to 1 inclusive, independently of the others.
///
/// Exact but for rounding, also where it is tiny. Takes time quadratic in the number of shards.
pub fn loss_probability(losses: &[f64], k: u8) -> f64 {
    Alive::of(losses.iter().copied()).below(k.into())
}
