//! Choose hosts and a code by price, by what is known of each host, and by what falls together.
//!
//! ```text
//! book ──► contract-epochs lived and lost ──► Beta posterior, shrunk to its network's, that to the market's ──► loss
//! address ──► network ──► common shock; unless private, an operator that may hold only so many shards
//! price list ──► price of a byte, kept for all epochs, written once and read once
//! ```
//!
//! Who operates a host, its ask may say; nobody proves it. Whoever does not say so is taken to be of the operator of its public
//! network (/24 of IPv4, /48 of IPv6): many hosts in one are most likely one party's, and those are joined whatever they say. Hosts of a private network share its shock only: they are
//! of one house, but often of the buyer's own. Hosts on this machine itself are no group at all: who tries things
//! out on one machine knows that it is one.

use std::collections::BTreeMap;
use std::net::IpAddr;

mod durability;
mod slot;

pub use durability::{Durability, probability};
pub(crate) use slot::{Ranked, Ranking, Rest, kept, rank};

use fondaco_contract::{Label, PriceList};
use fondaco_crypto::{Digest, EntityId};
use fondaco_placement::{
    Candidate, Estimate, EstimateError, Goal, Group, Placement, PlacementError, Prior, Shocks,
    place,
};
use fondaco_ports::Address;
use fondaco_reputation::Record;

use crate::AgentError;
use crate::book::Book;
use crate::opening::{Offer, Wish};

/// The most hosts of one set. More would make each object slower to store and no safer in earnest.
const SHARDS_WANTED_MAX: u8 = 80;

/// How many hosts of a set must be expendable at least.
const LOST_MIN: u8 = 1;

/// The mean loss of a host within an epoch, before anything is known of any: hosts are strangers.
const PRIOR_MEAN: f64 = 0.02;

/// How many epochs of seeing that is worth; and so is what is known of a network, or of all hosts, to one host.
const PRIOR_STRENGTH: f64 = 36.0;

/// A host's loss is taken to be what it exceeds with one chance in ten only.
pub const LOSS_QUANTILE: f64 = 0.9;

/// The chance that all hosts of one operator are gone within an epoch.
const OPERATOR_SHOCK: f64 = 0.01;

/// The chance that all hosts of one network are.
const SUBNET_SHOCK: f64 = 0.005;

/// Returns the loss that is counted on with a host of which, as of all others, nothing is known: about 5 %.
pub fn newcomer_loss() -> f64 {
    let prior = Prior::new(PRIOR_MEAN, PRIOR_STRENGTH);
    prior
        .and_then(|prior| prior.with(0.0, 0.0))
        .map_or(1.0, |estimate| estimate.upper(LOSS_QUANTILE))
}

/// What was seen of hosts: contract-epochs lost and lived through.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) lost: f64,
    pub(crate) lived: f64,
}

impl Seen {
    pub(crate) fn is_nothing(self) -> bool {
        self.lost == 0.0 && self.lived == 0.0
    }

    fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.lived += other.lived;
    }

    fn less(self, other: Self) -> Self {
        Self { lost: (self.lost - other.lost).max(0.0), lived: (self.lived - other.lived).max(0.0) }
    }

    /// What it says of others: of one host, no more than the prior does, however long it was seen.
    fn of_others(self) -> Self {
        let share = (PRIOR_STRENGTH / (self.lost + self.lived)).min(1.0);
        if share.is_nan() {
            self
        } else {
            Self { lost: self.lost * share, lived: self.lived * share }
        }
    }

    fn after(self, prior: Prior) -> Result<Estimate, EstimateError> {
        const MOST: f64 = 1e6;
        prior.with(self.lost.min(MOST), self.lived.min(MOST))
    }
}

/// What hosts are known by: their records, and those of their networks and of the whole market.
#[derive(Debug)]
pub(crate) struct Records {
    hosts: BTreeMap<EntityId, Seen>,
    networks: BTreeMap<Group, Seen>,
    all: Seen,
}

impl Records {
    /// Looks up what the book knows.
    pub(crate) fn of(book: &Book) -> Self {
        let mut networks_of: BTreeMap<EntityId, Group> = BTreeMap::new();
        for (_, record) in book.contracts() {
            if let Some(network) = Network::of(&record.address) {
                networks_of.insert(record.terms.prices.provider, network.group);
            }
        }
        let seen = |record: &Record| {
            let (lost, lived) = record.losses();
            Seen { lost: lost.get(), lived: lived.get() }
        };
        let hosts: BTreeMap<EntityId, Seen> =
            book.records().map(|(host, record)| (host, seen(record))).collect();
        let (mut networks, mut all) = (BTreeMap::<Group, Seen>::new(), Seen::default());
        for (host, seen) in &hosts {
            all.add(seen.of_others());
            if let Some(network) = networks_of.get(host) {
                networks.entry(*network).or_default().add(seen.of_others());
            }
        }
        Self { hosts, networks, all }
    }

    pub(crate) fn seen(&self, host: EntityId) -> Seen {
        self.hosts.get(&host).copied().unwrap_or_default()
    }

    /// Estimates the loss of a host. What was seen of it counts in full; what was seen of others moves the mean that it
    /// is shrunk to, and is never counted twice.
    pub(crate) fn loss(&self, address: &Address) -> Result<f64, EstimateError> {
        let own = self.seen(address.entity());
        let network = Network::of(address).and_then(|network| self.networks.get(&network.group));
        let near = network.copied().unwrap_or_default();
        let near = near.less(own.of_others());
        let far = self.all.less(near).less(own.of_others());
        let market = far.after(Prior::new(PRIOR_MEAN, PRIOR_STRENGTH)?)?;
        let network = near.after(market.as_prior(PRIOR_STRENGTH)?)?;
        let host = own.after(network.as_prior(PRIOR_STRENGTH)?)?;
        Ok(host.upper(LOSS_QUANTILE))
    }
}

/// The network that a host is in, as far as its address tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    group: Group,
    /// Whether it is a network of the internet, and not one of a house.
    public: bool,
}

impl Network {
    /// Returns the network of the first socket that is not on this machine.
    pub(crate) fn of(address: &Address) -> Option<Self> {
        address.sockets().iter().find_map(|socket| match socket.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                let group = Group::new(u64::from_be_bytes([4, 0, 0, 0, 0, a, b, c]));
                let public = !(ip.is_private() || ip.is_link_local());
                let elsewhere = !(ip.is_loopback() || ip.is_unspecified());
                elsewhere.then_some(Self { group, public })
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, ..] = ip.octets();
                let group = Group::new(u64::from_be_bytes([6, 0, a, b, c, d, e, f]));
                let public = !(ip.is_unique_local() || ip.is_unicast_link_local());
                let elsewhere = !(ip.is_loopback() || ip.is_unspecified());
                elsewhere.then_some(Self { group, public })
            }
        })
    }
}

/// The group of all hosts whose provider says that this operator runs them; none of it is the number of a network.
fn group_of(operator: &Label) -> Group {
    let digest = Digest::of(operator.as_str().as_bytes());
    let [_, a, b, c, d, e, f, g, ..] = *digest.as_bytes();
    Group::new(u64::from_be_bytes([1, a, b, c, d, e, f, g]))
}

/// What stands in for the operator of a host that does not name one, and its network.
fn network_groups(address: &Address) -> (Option<Group>, Option<Group>) {
    let network = Network::of(address);
    let stands_in = network.filter(|network| network.public).map(|network| network.group);
    (stands_in, network.map(|network| network.group))
}

/// The price of a byte: kept for all epochs, written once and read once.
fn price(prices: &PriceList, epochs: u32) -> u64 {
    let parts = u128::from(prices.store.parts()) * u128::from(epochs)
        + u128::from(prices.write.parts())
        + u128::from(prices.read.parts());
    u64::try_from(parts).unwrap_or(u64::MAX)
}

fn shocks() -> Result<Shocks, AgentError> {
    Shocks::new(OPERATOR_SHOCK, SUBNET_SHOCK)
        .map_err(|error| AgentError::Store(format!("placement: {error}")))
}

/// Makes a candidate of an offer.
fn candidate(offer: &Offer, records: &Records, epochs: u32) -> Result<Candidate, AgentError> {
    let price = price(&offer.list.prices, epochs);
    host(&offer.address, offer.operator.as_ref(), price, records)
}

/// Makes a candidate of a host.
fn host(
    address: &Address,
    operator: Option<&Label>,
    price: u64,
    records: &Records,
) -> Result<Candidate, AgentError> {
    let refused = |error: &dyn std::fmt::Display| AgentError::Store(format!("placement: {error}"));
    let loss = records.loss(address).map_err(|error| refused(&error))?;
    let candidate = Candidate::new(loss, price).map_err(|error| refused(&error))?;
    let (stands_in, network) = network_groups(address);
    Ok(candidate.operated_by(operator.map(group_of).or(stands_in)).in_subnet(network))
}

/// Chooses the providers and the code.
pub(crate) fn choose(
    offers: &[Offer],
    records: &Records,
    wish: Wish,
    passed_over: &[(EntityId, String)],
) -> Result<Placement, AgentError> {
    let candidates = offers
        .iter()
        .map(|offer| candidate(offer, records, wish.epochs))
        .collect::<Result<Vec<_>, _>>()?;
    let invalid = |error: String| AgentError::Invalid {
        what: error,
        hint: "a probability is written as --survive 0.999".to_owned(),
    };
    let goal = Goal::new(wish.survive, SHARDS_WANTED_MAX, LOST_MIN)
        .map_err(|error| invalid(error.to_string()))?
        .under(shocks()?);
    place(&candidates, goal).map_err(|error| {
        let away: Vec<String> =
            passed_over.iter().map(|(host, why)| format!("\n   {}: {why}", host.short())).collect();
        let networks: std::collections::BTreeSet<_> =
            candidates.iter().filter_map(|candidate| candidate.subnet()).collect();
        let crowded = candidates.iter().filter(|candidate| candidate.subnet().is_some()).count();
        let what = match error {
            PlacementError::TooFewOperators { candidates, needed, .. } => {
                let of = match networks.len() {
                    1 => "in one network, which counts as one operator",
                    _ => "of one operator",
                };
                format!(
                    "{candidates} hosts answer, all {of}, and one alone may not hold a set: it takes {needed}"
                )
            }
            error => error.to_string(),
        };
        let hint = if matches!(error, PlacementError::TooFewOperators { .. }) {
            "name hosts elsewhere with --host ADDRESS, or other brokers with --broker ADDRESS; a lower --survive does not help"
                .to_owned()
        } else if networks.len() < crowded {
            let networks = match networks.len() {
                1 => "one network".to_owned(),
                more => format!("{more} networks"),
            };
            format!(
                "{crowded} hosts are in {networks}, and hosts of one network fall together: name hosts elsewhere with \
                 --host ADDRESS, or ask for less with --survive"
            )
        } else {
            "name more hosts with --host ADDRESS, or ask for less with --survive".to_owned()
        };
        AgentError::Placement { what: format!("{what}{}", away.concat()), hint }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(name: u8, sockets: &[&str]) -> Address {
        Address::new(EntityId::from_bytes([name; 32]), sockets.iter().map(|s| s.parse().unwrap()))
    }

    #[test]
    fn networks_are_told_by_addresses() {
        let of = |sockets: &[&str]| Network::of(&address(1, sockets));
        let near = of(&["192.0.2.7:1"]);
        for (sockets, same) in [
            (["192.0.2.8:2"].as_slice(), true),
            (&["[::ffff:192.0.2.9]:2"], true),
            (&["127.0.0.1:2", "192.0.2.9:1"], true),
            (&["192.0.3.7:1"], false),
            (&["[2001:db8::1]:1"], false),
        ] {
            assert_eq!(of(sockets) == near, same, "{sockets:?}");
        }
        assert_eq!(of(&["[2001:db8:1::1]:1"]), of(&["[2001:db8:1:ffff::9]:7"]));
        assert_ne!(of(&["[2001:db8:1::1]:1"]), of(&["[2001:db8:2::1]:1"]));
        for here in ["127.0.0.1:1", "[::1]:1", "0.0.0.0:1", "127.3.4.5:1"] {
            assert_eq!(of(&[here]), None, "{here}");
        }
        assert_eq!(of(&[]), None);
        assert!(near.unwrap().public && !of(&["192.168.1.2:1"]).unwrap().public);
        assert!(!of(&["[fd00::1]:1"]).unwrap().public);
    }

    #[test]
    fn a_newcomer_counts_as_it_always_did() {
        assert!((newcomer_loss() - 0.05).abs() < 0.001, "{}", newcomer_loss());
        let records = Records::of(&Book::default());
        let loss = records.loss(&address(1, &["192.0.2.7:1"])).unwrap();
        assert!((loss - newcomer_loss()).abs() < 1e-9);
    }

    #[test]
    fn a_record_counts_for_its_host_its_network_and_all_in_this_order() {
        let [known, near, far] = [
            address(1, &["192.0.2.1:1"]),
            address(2, &["192.0.2.2:1"]),
            address(3, &["198.51.100.1:1"]),
        ];
        for (seen, better) in
            [(Seen { lost: 0.0, lived: 200.0 }, true), (Seen { lost: 20.0, lived: 180.0 }, false)]
        {
            let group = Network::of(&known).unwrap().group;
            let records = Records {
                hosts: [(known.entity(), seen)].into(),
                networks: [(group, seen.of_others())].into(),
                all: seen.of_others(),
            };
            let [known, near, far] = [&known, &near, &far].map(|host| records.loss(host).unwrap());
            assert_eq!(better, known < newcomer_loss(), "{known}");
            assert_eq!(better, near < newcomer_loss(), "{near}");
            assert_eq!(better, far < newcomer_loss(), "{far}");
            // Of a good host the most is known of itself.
            assert!(!better || known < near, "{known} {near}");
        }
    }
}
