//! Judge a provider by one's own audits and deals with it.
//!
//! A *record* is what one buyer knows of one provider; nobody else's word enters it, so nobody can be praised or
//! slandered by strangers. It answers three questions: what is to be done about the provider (its *standing*), how
//! often it loses what it keeps (two counts, from which placement makes an estimate), and, beside it, how much
//! it is trusted with at once (its *exposure*).
//!
//! ```text
//! audit ──► α ← λα + w(1+v)/2, β ← λβ + w(1−v)/2 ──► score α/(α+β)
//!
//!            0.975         0.968             0.964         0.960
//! Good ──────► Warn ─────────► StopPaying ─────► Repair ─────► Replace
//!      ◄──────      ◄─────────            ◄─────        ◄─────
//!            0.978         0.971             0.967         0.963        caught at a lie: Replace, for good
//! ```
//!
//! # What always holds
//!
//! - Counts are whole numbers of 10⁻⁹: the same verdicts in the same order give the same record on every machine.
//! - A provider is warned, unpaid and repaired before it is cut off, unless it is caught at a lie.
//! - A newcomer has a good score and a small exposure, so that coming back under a new key gains nothing.
//!
//! # What is not here
//!
//! Asking and checking (see `audit`); asking a silent provider again before its silence counts, which is the caller's;
//! what an estimate is made of the counts (see `placement`).
//!
//! ```
//! use fondaco_reputation::{Policy, Record, Standing, Verdict};
//!
//! let mut record = Record::new(&Policy::DEFAULT);
//! assert_eq!(record.audited(&Policy::DEFAULT, Verdict::Proven), Standing::Good);
//! assert_eq!(record.audited(&Policy::DEFAULT, Verdict::Failed), Standing::Good); // One failure is none.
//! assert_eq!(record.audited(&Policy::DEFAULT, Verdict::Caught), Standing::Replace);
//! ```

mod count;
mod exposure;
mod record;
mod standing;

pub use count::{Count, Share};
pub use exposure::{Exposure, Limits, LimitsError};
pub use record::{Record, Verdict};
pub use standing::{Policy, PolicyError, Standing};

#[cfg(test)]
mod tests;
