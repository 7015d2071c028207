//! How sums are told to people: in the currency, by whoever knows how that is written, and in units where nobody does.

use fondaco_crypto::CurrencyId;
use fondaco_units::Amount;
use std::fmt;
use std::sync::Arc;

type Show = dyn Fn(CurrencyId, Amount) -> Option<String> + Send + Sync;

/// Writes sums; in units, if nothing is said.
#[derive(Clone, Default)]
pub struct Money(Option<Arc<Show>>);

impl Money {
    /// Has `show` write sums, of the currencies that it knows.
    pub fn shown_by(
        show: impl Fn(CurrencyId, Amount) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(show)))
    }

    pub(crate) fn show(&self, currency: CurrencyId, amount: Amount) -> String {
        let shown = self.0.as_ref().and_then(|show| show(currency, amount));
        shown.unwrap_or_else(|| format!("{} units", amount.get()))
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Money").finish_non_exhaustive()
    }
}
