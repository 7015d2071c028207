//! What a provider's record says of its loss, and how sure that is: a Beta posterior and its quantiles.
//!
//! A provider that lost `lost` of `lost + lived` contract-epochs is lost in the next with a probability of which all
//! we know is the distribution Beta(α₀ + lost, β₀ + lived). What is counted on is an upper quantile of it, not its
//! mean: whoever picks the best of many estimates picks the luckiest.
//!
//! ```text
//! Prior ──with(the group's record)──► Estimate ──as_prior(strength)──► Prior ──with(own record)──► Estimate ──► upper(0.9)
//! ```

use crate::EstimateError;

/// What is believed of a provider before anything was seen of it: a mean loss, worth so many epochs of seeing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    mean: f64,
    strength: f64,
}

/// The most that a record or a prior may count: beyond it the numbers say nothing more.
const COUNT_MAX: f64 = 1e6;

impl Prior {
    /// Creates the prior of this mean, above 0 and below 1, that counts as much as `strength` epochs seen, above 0 and
    /// at most a million.
    pub fn new(mean: f64, strength: f64) -> Result<Self, EstimateError> {
        if !(mean > 0.0 && mean < 1.0) {
            Err(EstimateError::MeanOutside { mean })
        } else if !(strength > 0.0 && strength <= COUNT_MAX) {
            Err(EstimateError::CountOutside { count: strength })
        } else {
            Ok(Self { mean, strength })
        }
    }

    /// Returns what is believed after `lost` and `lived` contract-epochs, each from 0 to a million; parts of one count, since
    /// old ones are forgotten little by little.
    pub fn with(self, lost: f64, lived: f64) -> Result<Estimate, EstimateError> {
        match [lost, lived].into_iter().find(|count| !(0.0..=COUNT_MAX).contains(count)) {
            Some(count) => Err(EstimateError::CountOutside { count }),
            None => Ok(Estimate {
                alpha: self.mean * self.strength + lost,
                beta: (1.0 - self.mean) * self.strength + lived,
            }),
        }
    }
}

/// What is known of a provider's loss: the distribution Beta(α, β).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    alpha: f64,
    beta: f64,
}

impl Estimate {
    /// Returns the mean of what the loss may be, above 0 and below 1.
    pub fn mean(self) -> f64 {
        inside(self.alpha / (self.alpha + self.beta))
    }

    /// Returns the loss that is exceeded with probability `1 − quantile` only; above 0 and below 1, for any quantile:
    /// one outside 0 to 1 is taken as the nearer end, and no number as 1.
    pub fn upper(self, quantile: f64) -> f64 {
        inside(beta_quantile(self.alpha, self.beta, quantile))
    }

    /// Makes the mean of this the prior of something of its kind, worth `strength` epochs: so is a provider's
    /// estimate shrunk to its group's.
    pub fn as_prior(self, strength: f64) -> Result<Prior, EstimateError> {
        Prior::new(self.mean(), strength)
    }
}

/// The nearest number that is a chance but no certainty.
fn inside(chance: f64) -> f64 {
    if chance.is_nan() { 0.5 } else { chance.clamp(1e-15, 1.0 - 1e-15) }
}

/// The x at which Beta(α, β) has `quantile` below it, to the last digits: by halving, which cannot fail.
fn beta_quantile(alpha: f64, beta: f64, quantile: f64) -> f64 {
    if quantile <= 0.0 {
        return 0.0;
    }
    if quantile.is_nan() || quantile >= 1.0 {
        return 1.0;
    }
    // Halved in the logarithm where x is tiny, so that a quantile of 10⁻⁹ has as many digits as one of 0.1.
    let below = |x: f64| beta_below(alpha, beta, x) < quantile;
    let mut low = 0.0_f64;
    let mut high = 1.0_f64;
    for _ in 0..200 {
        let middle = if high < 0.25 && low < high / 4.0 { high / 4.0 } else { (low + high) / 2.0 };
        if middle <= low || middle >= high {
            break;
        }
        if below(middle) { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The probability that Beta(α, β) is below `x`: the regularised incomplete beta function, by its continued fraction
/// (DLMF 8.17.22, evaluated by Lentz's method).
fn beta_below(alpha: f64, beta: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = ln_gamma(alpha + beta) - ln_gamma(alpha) - ln_gamma(beta)
        + alpha * x.ln()
        + beta * (-x).ln_1p();
    // The fraction converges fast on the near side of the mean only; on the other the complement is taken.
    if x < (alpha + 1.0) / (alpha + beta + 2.0) {
        (front.exp() * fraction(alpha, beta, x) / alpha).clamp(0.0, 1.0)
    } else {
        (1.0 - front.exp() * fraction(beta, alpha, 1.0 - x) / beta).clamp(0.0, 1.0)
    }
}

/// The continued fraction of the incomplete beta function.
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let guarded = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guarded(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    // About the square root of the greater parameter many terms are needed.
    for m in 1..20_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for term in [even, odd] {
            d = 1.0 / guarded(1.0 + term * d);
            c = guarded(1.0 + term / c);
            value *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    value
}

/// The logarithm of the gamma function for a positive argument: Stirling's series (DLMF 5.11.1) above 10, brought
/// there by Γ(x) = Γ(x + 1) / x.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    let series = inverse
        * (1.0 / 12.0
            - square
                * (1.0 / 360.0
                    - square
                        * (1.0 / 1260.0
                            - square
                                * (1.0 / 1680.0
                                    - square * (1.0 / 1188.0 - square * 691.0 / 360_360.0)))));
    (x - 0.5) * x.ln() - x + HALF_LN_TAU + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(found: f64, wanted: f64, within: f64) {
        assert!(
            (found - wanted).abs() <= within * wanted.abs().max(1e-300),
            "{found} for {wanted}"
        );
    }

    #[test]
    fn gamma_is_known_at_whole_and_half_numbers() {
        near(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln(), 1e-13);
        near(ln_gamma(5.0), 24.0_f64.ln(), 1e-13);
        near(ln_gamma(0.1), 2.252_712_651_734_206, 1e-13);
        near(ln_gamma(101.0), 363.739_375_555_563_5, 1e-13);
    }

    /// Cases with a closed form: Beta(1, β), Beta(α, 1), Beta(1/2, 1/2), and whole parameters by binomials.
    #[test]
    fn quantiles_agree_with_closed_forms() {
        for q in [0.001, 0.1, 0.5, 0.9, 0.95, 0.999] {
            for parameter in [0.5, 1.0, 3.0, 40.0, 1000.0] {
                let of = |alpha, beta| Estimate { alpha, beta }.upper(q);
                near(of(1.0, parameter), 1.0 - (1.0 - q).powf(1.0 / parameter), 1e-10);
                near(of(parameter, 1.0), q.powf(1.0 / parameter), 1e-10);
            }
            let arcsine = (std::f64::consts::FRAC_PI_2 * q).sin().powi(2);
            near(Estimate { alpha: 0.5, beta: 0.5 }.upper(q), arcsine, 1e-10);
        }
        // I_x(a, b) = P[Binomial(a + b − 1, x) ≥ a] for whole a and b.
        for (a, b) in [(2_u32, 3_u32), (5, 20), (10, 10), (3, 60)] {
            for x in [0.02_f64, 0.1, 0.3, 0.6] {
                let trials = a + b - 1;
                let mut choose = 1.0;
                let mut sum = 0.0;
                for hits in 0..=trials {
                    if hits >= a {
                        let misses = i32::try_from(trials - hits).unwrap();
                        sum +=
                            choose * x.powi(i32::try_from(hits).unwrap()) * (1.0 - x).powi(misses);
                    }
                    choose *= f64::from(trials - hits) / f64::from(hits + 1);
                }
                near(beta_below(a.into(), b.into(), x), sum, 1e-11);
            }
        }
    }

    #[test]
    fn a_record_moves_the_estimate_and_narrows_it() {
        let prior = Prior::new(0.02, 20.0).unwrap();
        let fresh = prior.with(0.0, 0.0).unwrap();
        let good = prior.with(0.0, 100.0).unwrap();
        let bad = prior.with(5.0, 95.0).unwrap();
        assert!(good.upper(0.9) < fresh.upper(0.9) && fresh.upper(0.9) < bad.upper(0.9));
        assert!(good.mean() < fresh.mean());
        // The same share of losses, seen for longer, is surer.
        let long = prior.with(50.0, 950.0).unwrap();
        assert!(long.upper(0.9) - long.mean() < bad.upper(0.9) - bad.mean());
        // Shrinking: a newcomer of a bad group is no better than its group.
        let group = bad.as_prior(20.0).unwrap().with(0.0, 0.0).unwrap();
        assert!((group.mean() - bad.mean()).abs() < 1e-12);
    }

    #[test]
    fn numbers_that_are_none_are_refused_by_name() {
        for mean in [0.0, 1.0, -0.1, f64::NAN, f64::INFINITY] {
            let refusal = Prior::new(mean, 1.0).unwrap_err();
            assert!(matches!(refusal, EstimateError::MeanOutside { .. }), "{refusal}");
        }
        let prior = Prior::new(0.5, 1.0).unwrap();
        for count in [-1.0, f64::NAN, f64::INFINITY, 1e7] {
            for refusal in [
                Prior::new(0.5, count).unwrap_err(),
                prior.with(count, 0.0).unwrap_err(),
                prior.with(0.0, count).unwrap_err(),
            ] {
                assert!(matches!(refusal, EstimateError::CountOutside { .. }), "{refusal}");
            }
        }
        assert!(Prior::new(0.5, 0.0).is_err());
    }

    proptest! {
        /// Whatever was counted and asked: a chance, never a certainty, and the more the higher the quantile.
        #[test]
        fn an_upper_quantile_is_a_chance(
            mean in 1e-9..0.999_999, strength in 1e-6..1e6, lost in 0.0..1e6, lived in 0.0..1e6, quantile: f64, low in 0.0..1.0,
        ) {
            let estimate = Prior::new(mean, strength).unwrap().with(lost, lived).unwrap();
            let upper = estimate.upper(quantile);
            prop_assert!(upper > 0.0 && upper < 1.0, "{upper}");
            prop_assert!(estimate.upper(low) <= estimate.upper(low + 0.5 * (1.0 - low)));
        }

        /// The quantile is where the distribution reaches it.
        #[test]
        fn a_quantile_is_the_inverse_of_the_distribution(alpha in 0.05..200.0, beta in 0.05..2000.0, quantile in 0.01..0.99) {
            let estimate = Estimate { alpha, beta };
            // It is between the numbers beside it; at an end, where no loss is nothing and none is certain, beyond that.
            let x = estimate.upper(quantile);
            let before = if x > 1e-15 { beta_below(alpha, beta, x.next_down()) } else { 0.0 };
            let after = if x < 1.0 - 1e-15 { beta_below(alpha, beta, x.next_up()) } else { 1.0 };
            prop_assert!(before - 1e-6 < quantile, "{before} for {quantile}");
            prop_assert!(quantile < after + 1e-6, "{after} for {quantile}");
        }
    }
}
