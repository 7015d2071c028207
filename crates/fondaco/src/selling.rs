//! How what is sold is made known: brokers, labels, prices that follow; and what the seller is told of it.

use crate::cli::OfferArgs;
use crate::failure::{Code, Failure};
use crate::home::CurrencyConfig;
use crate::offers::{self, merged, per_gib};
use crate::screen::{complain, say};
use fondaco_agent::posting::{Neighbours, Posting, Prices, Standing, Told};
use fondaco_contract::{AutoPrice, Factor, Label, PriceList, Rank, SignedPriceList};
use fondaco_crypto::SecretKey;
use fondaco_ports::Address;
use fondaco_storage_host::{HostConfig, PriceBoard};
use fondaco_store::SystemClock;
use fondaco_transport::Endpoint;
use fondaco_units::{Bytes, Price, Scale};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;

/// What prices are per, for people.
pub(crate) const GIB: Bytes = Bytes::new(1 << 30);

/// The part of `HOME/host/host.toml` about being found: in the words of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfferToml {
    #[serde(default)]
    broker: Vec<String>,
    #[serde(default)]
    auto_price: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price_floor: Option<String>,
    #[serde(default)]
    announce: Vec<SocketAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
}

/// The same, checked.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    brokers: Vec<Address>,
    auto: Option<AutoPrice>,
    announced: Vec<SocketAddr>,
    operator: Option<Label>,
    region: Option<Label>,
}

impl OfferToml {
    /// Takes what was said on the command line.
    pub(crate) fn new(args: OfferArgs) -> Result<Self, Failure> {
        let OfferArgs { broker, auto_price, price_floor, announce, operator, region } = args;
        let hint = "`fondaco broker up` prints the address to give here";
        let broker = merged(&[], &broker, hint)?.iter().map(Address::to_string).collect();
        Ok(Self { broker, auto_price, price_floor, announce, operator, region })
    }

    /// Checks every field.
    pub(crate) fn checked(
        &self,
        currency: &CurrencyConfig,
        config: &HostConfig,
    ) -> Result<Offer, Failure> {
        let label = |name: &str, text: &Option<String>| {
            let parse = |text: &String| {
                text.parse::<Label>().map_err(|error| {
                    Failure::new(format!("--{name} {text}: {error}"))
                        .code(Code::Usage)
                        .hint("write it as claire or eu-south, or leave it out")
                })
            };
            text.as_ref().map(parse).transpose()
        };
        let floor = match &self.price_floor {
            None => Factor::FLOOR,
            Some(text) => {
                let failed = |error: &dyn std::fmt::Display| {
                    Failure::new(format!("--price-floor {text}: {error}")).code(Code::Usage)
                };
                let amount = currency.scale()?.parse(text).map_err(|error| failed(&error))?;
                let price = Price::of(amount, GIB)
                    .ok_or_else(|| failed(&"it is too dear to be counted"))?;
                if price.parts() > config.store.parts() {
                    return Err(failed(&"it is over the price of --store").hint(
                        "give --store the price to start with, and --price-floor a lower one",
                    ));
                }
                Factor::between(config.store, price)
            }
        };
        Ok(Offer {
            brokers: merged(&[], &self.broker, "run `fondaco sell storage` again")?,
            auto: self.auto_price.then_some(AutoPrice { floor }),
            announced: self.announce.clone(),
            operator: label("operator", &self.operator)?,
            region: label("region", &self.region)?,
        })
    }
}

impl Offer {
    /// Whether the prices follow others at all.
    pub(crate) const fn follows(&self) -> bool {
        self.auto.is_some()
    }

    /// Whether the prices follow others, and none are in sight: no broker named, none `known`, and nobody nearby.
    pub(crate) const fn follows_nobody(&self, known: &[Address], local: bool) -> bool {
        self.auto.is_some() && self.brokers.is_empty() && known.is_empty() && !local
    }

    /// Makes what shows the offer at brokers, and looks at those of others; nothing if there is nobody to show it to or to
    /// look at. Brokers that are only `known` are looked at, if the prices follow, and shown nothing.
    pub(crate) fn posting(
        self,
        key: SecretKey,
        endpoint: Endpoint,
        board: PriceBoard,
        (known, local): (Vec<Address>, bool),
    ) -> Option<Posting> {
        let Self { brokers, auto, announced, operator, region } = self;
        let watched = if auto.is_some() { known } else { Vec::new() };
        let neighbours: Option<Neighbours> = local.then(|| Arc::new(neighbours) as Neighbours);
        (local || !brokers.is_empty() || !watched.is_empty()).then(|| Posting {
            watched,
            neighbours,
            key,
            endpoint,
            clock: Arc::new(SystemClock),
            brokers,
            prices: Arc::new(Board(board)),
            auto,
            announced,
            operator,
            region,
        })
    }
}

/// Who announces himself on the local network; nobody, where that does not work.
fn neighbours() -> (Vec<Address>, Vec<Address>) {
    offers::listen().unwrap_or_else(|error| {
        tracing::info!(%error, "nobody is found on the local network");
        Default::default()
    })
}

/// Says that there is nobody to follow.
pub(crate) fn say_nobody_to_follow(json: bool) {
    let what = "nobody's prices are in sight, so yours stay as they are written";
    let hint = "name brokers with `fondaco sell storage … --auto-price --broker ADDRESS` or `fondaco offers --broker \
                ADDRESS`; on a local network start with `fondaco up --local`";
    if json {
        say(&json!({ "event": "not following", "why": what, "hint": hint }).to_string());
    } else {
        complain(&format!("--auto-price: {what}\n Hint: {hint}"));
    }
}

/// The prices of this host, as the posting wants to see them.
struct Board(PriceBoard);

impl Prices for Board {
    fn signed(&self) -> SignedPriceList {
        self.0.prices()
    }

    fn list(&self) -> PriceList {
        self.0.list()
    }

    fn factor(&self) -> Factor {
        self.0.factor()
    }

    fn set_factor(&self, factor: Factor) {
        self.0.set_factor(factor);
    }
}

/// Says what became of the offer.
pub(crate) fn say_told(told: &Told, scale: Scale, symbol: &str, json: bool) {
    let line = match told {
        Told::Shown { broker } if json => {
            json!({ "event": "shown", "broker": broker.to_string() }).to_string()
        }
        Told::Shown { broker } => format!("Your offer is shown at {}….", broker.short()),
        Told::Away { broker, why } if json => {
            json!({ "event": "not shown", "broker": broker.to_string(), "why": why }).to_string()
        }
        Told::Away { broker, why } => {
            format!("Your offer is not shown at {}…: {why}. It is tried again.", broker.short())
        }
        Told::Standing { is_news: false, .. } => return,
        Told::Standing { standing: Standing { rank, factor, prices }, .. } => {
            let store = scale.show(per_gib(prices.store)).to_string();
            match rank {
                _ if json => json!({
                    "event": "rank", "rank": rank.map(|rank| rank.rank),
                    "of": rank.map(|rank| rank.of), "store": store,
                    "factor_millionths": factor.millionths(),
                })
                .to_string(),
                Some(Rank { rank, of }) => format!(
                    "rank {rank} of {of} at this price: {store} {symbol} for a GiB and epoch"
                ),
                None => format!(
                    "no rank: there is no room left for a GiB; the price is {store} {symbol}"
                ),
            }
        }
    };
    say(&line);
}
