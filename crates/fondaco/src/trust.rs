//! How much a buyer lets hosts have that it does not know yet: the options, and what they mean.

use crate::failure::{Code, Failure};
use crate::home::CurrencyConfig;
use clap::Args;
use fondaco_agent::{MoneyLimits, Share, Trust};
use fondaco_units::{Amount, Bytes};

#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// How much may be put on a host before it was audited well for an epoch, as 200G, or "any"; it grows with each epoch
    /// that audits prove
    #[arg(long, default_value = "64G", value_name = "SIZE")]
    newcomer_room: String,
    /// How much a host may be paid ahead before any contract with it was kept to its end; what it then earned comes on
    /// top. "any" for no bound [default: four times what is usual among the hosts asked]
    #[arg(long, value_name = "AMOUNT")]
    newcomer_prepaid: Option<String>,
}

impl TrustArgs {
    /// Returns what they come to, for contracts in `currency`.
    pub(crate) fn read(&self, currency: &CurrencyConfig) -> Result<Trust, Failure> {
        let newcomer = match self.newcomer_room.as_str() {
            "any" => None,
            text => Some(Bytes::parse(text).ok_or_else(|| {
                Failure::new(format!("--newcomer-room {text} is no size"))
                    .code(Code::Usage)
                    .hint("write 200G, or any")
            })?),
        };
        let trust = Trust { newcomer, ..Trust::DEFAULT };
        match self.newcomer_prepaid.as_deref() {
            None => Ok(trust),
            Some("any") => Ok(Trust { usual_times: None, ..trust }),
            Some(text) => {
                let wrong = |error: &dyn std::fmt::Display| {
                    Failure::new(format!("--newcomer-prepaid {text}: {error}")).code(Code::Usage)
                };
                let newcomer = currency.scale()?.parse(text).map_err(|error| wrong(&error))?;
                // That a new identity costs its owner more is the owner's word, who named the sum.
                let identity = newcomer.checked_add(Amount::new(1)).unwrap_or(Amount::MAX);
                let limits = MoneyLimits::new(newcomer, Amount::MAX, Share::ONE, identity);
                Ok(Trust { limits: Some(limits.map_err(|error| wrong(&error))?), ..trust })
            }
        }
    }
}
