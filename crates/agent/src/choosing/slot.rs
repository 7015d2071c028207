//! Choose the host for one lost slot as the hosts of a whole set are chosen: by price, among those with which the set
//! stays as durable as was promised.
//!
//! ```text
//! slots that live + slots still to be filled + one offer ──► too many with its operator: out
//!                                                       └──► exact durability under the common shocks
//! as promised ──► the cheapest first; then the others, the safest first: a slot that is filled is better than none
//! ```

use super::{Records, shocks};
use crate::AgentError;
use crate::opening::Offer;
use fondaco_contract::{Label, PriceList};
use fondaco_erasure::Code;
use fondaco_placement::{Candidate, group_shards_max, loss_under_shocks, operator_shards};
use fondaco_ports::Address;

/// What of a set stays as it is while one of its slots is filled.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    /// Its code.
    pub(crate) code: Code,
    /// The hosts of its other slots.
    pub(crate) kept: Vec<Candidate>,
    /// How many slots are still to be filled besides.
    pub(crate) missing: usize,
    /// How surely an object was to survive an epoch, if that is known.
    pub(crate) promised: Option<f64>,
}

impl Rest {
    /// What there is beside a contract that keeps nothing: no other slot, no promise, and room for any operator.
    pub(crate) fn of_no_set() -> Result<Self, AgentError> {
        let code = Code::new(u8::MAX / 2, u8::MAX);
        let code = code.map_err(|error| AgentError::Store(format!("placement: {error}")))?;
        Ok(Self { code, kept: Vec::new(), missing: 0, promised: None })
    }
}

/// An offer that may take the slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranked {
    /// Which offer.
    pub(crate) index: usize,
    /// How surely an object survives with it.
    pub(crate) survive: f64,
    /// Whether that is as was promised.
    pub(crate) is_as_promised: bool,
}

/// The offers for a slot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ranking {
    /// Those that may take it, the best first.
    pub(crate) fit: Vec<Ranked>,
    /// Those that may not, and why.
    pub(crate) out: Vec<(usize, String)>,
}

/// Makes a candidate of a host that has a slot.
pub(crate) fn kept(
    address: &Address,
    operator: Option<&Label>,
    records: &Records,
) -> Result<Candidate, AgentError> {
    super::host(address, operator, 0, records)
}

/// Ranks the offers that may take the slot, the best first, and says of the others why they may not. `epochs` is how many
/// epochs of a price list the slot is kept.
pub(crate) fn rank(
    offers: &[Offer],
    records: &Records,
    rest: &Rest,
    epochs: impl Fn(&PriceList) -> u32,
) -> Result<Ranking, AgentError> {
    let Rest { code, promised, .. } = *rest;
    let most = usize::from(group_shards_max(code.k(), code.n()));
    let (mut ranked, mut out) = (Vec::new(), Vec::new());
    let newcomer = Candidate::new(super::newcomer_loss(), 0)
        .map_err(|error| AgentError::Store(format!("placement: {error}")))?;
    for (index, offer) in offers.iter().enumerate() {
        let price = super::price(&offer.list.prices, epochs(&offer.list.prices));
        let this = super::candidate(offer, records, epochs(&offer.list.prices))?;
        let mut members = rest.kept.clone();
        members.push(this);
        let with_it = operator_shards(&members, members.len() - 1);
        if with_it > most {
            let n = code.n();
            out.push((
                index,
                format!("its operator would hold {with_it} of {n} shards, and at most {most} are safe with one"),
            ));
            continue;
        }
        members.extend(std::iter::repeat_n(newcomer, rest.missing));
        let survive = 1.0 - loss_under_shocks(&members, shocks()?, code.k());
        let is_as_promised = promised.is_none_or(|promised| survive >= promised);
        ranked.push((price, Ranked { index, survive, is_as_promised }));
    }
    ranked.sort_by(|(price, a), (other, b)| {
        let by_price = price.cmp(other).then(b.survive.total_cmp(&a.survive));
        let as_promised = b.is_as_promised.cmp(&a.is_as_promised);
        match a.is_as_promised && b.is_as_promised {
            true => by_price,
            false => as_promised.then(b.survive.total_cmp(&a.survive)).then(price.cmp(other)),
        }
    });
    Ok(Ranking { fit: ranked.into_iter().map(|(_, ranked)| ranked).collect(), out })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Book;
    use crate::choosing::{choose, host, newcomer_loss};
    use crate::opening::Wish;
    use fondaco_contract::PriceList;
    use fondaco_crypto::{CurrencyId, SecretKey};
    use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};
    use proptest::{collection::vec, prelude::*};

    fn records() -> Records {
        Records::of(&Book::default())
    }

    fn offer(name: u8, socket: &str, store: u64, operator: Option<&str>) -> Offer {
        let key = SecretKey::from_bytes(&[name; 32]);
        let prices = PriceList {
            provider: key.entity(),
            currency: CurrencyId::issued_by(key.entity()),
            open: Amount::new(10),
            store: Price::from_parts(store),
            write: Price::from_parts(1),
            read: Price::from_parts(1),
            capacity: Bytes::new(1 << 40),
            period_max: Duration::from_seconds(1 << 30),
            epoch: Duration::from_seconds(3600),
            step_max: Bytes::new(1 << 18),
            issued: Timestamp::EPOCH,
            expires: Timestamp::from_milliseconds(9),
        };
        let address = Address::new(key.entity(), [socket.parse().unwrap()]);
        let operator = operator.map(|operator| operator.parse().unwrap());
        Offer { address, list: prices.sign(&key), operator }
    }

    /// Hosts, what is said where they make no set, and what is to be done.
    #[test]
    fn why_no_set_is_to_be_had_is_said_in_words() {
        let wish = Wish { bytes: Bytes::new(1), survive: 0.999, epochs: 1, budget: None };
        let at = |sockets: &[&str], operator| -> Vec<Offer> {
            let all = (1..).zip(sockets);
            all.map(|(name, socket)| offer(name, socket, 1, operator)).collect()
        };
        let near = ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"];
        for (offers, said, hint) in [
            (at(&near[..1], None), "1 candidates; the goal needs at least 2", "more hosts"),
            (at(&near, None), "3 hosts answer, all in one network", "hosts elsewhere"),
            (at(&near, Some("me")), "3 hosts answer, all in one network", "hosts elsewhere"),
            (
                at(&["192.0.2.1:1", "198.51.100.1:1"], Some("me")),
                "all of one operator",
                "elsewhere",
            ),
            (
                at(&["192.0.2.1:1", "198.51.100.1:1"], None),
                "a survival of 0.999 is out",
                "--survive",
            ),
        ] {
            let error = choose(&offers, &records(), wish, &[]).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.hint().unwrap().contains(hint), "{error}");
        }
    }

    fn candidate(offer: &Offer) -> Candidate {
        host(&offer.address, offer.operator.as_ref(), 0, &records()).unwrap()
    }

    fn rest(kept: &[Offer], missing: usize, promised: f64) -> Rest {
        let n = kept.len() + missing + 1;
        let code = Code::new(2, u8::try_from(n).unwrap()).unwrap();
        let kept = kept.iter().map(candidate).collect();
        Rest { code, kept, missing, promised: Some(promised) }
    }

    /// The names of offers in the order they are tried, those that are as promised marked by `true`; and of those left out.
    fn order(rest: &Rest, offers: &[Offer]) -> (Vec<(u8, bool)>, Vec<u8>) {
        let Ranking { fit: ranked, out } = rank(offers, &records(), rest, |_| 1).unwrap();
        let name = |index: usize| u8::try_from(index).unwrap();
        let ranked = ranked.iter().map(|one| (name(one.index), one.is_as_promised));
        (ranked.collect(), out.iter().map(|(index, _)| name(*index)).collect())
    }

    #[test]
    fn a_slot_goes_to_the_cheapest_that_keeps_the_promise() {
        // A set of 2 of 4: two hosts in networks of their own, and one that is claire's.
        let here = |name, operator| offer(name, "127.0.0.1:1", 5, operator);
        let kept = [here(1, None), here(2, None), here(3, Some("claire"))];
        let offers = [
            offer(10, "127.0.0.1:1", 30, None),
            offer(11, "127.0.0.1:1", 20, Some("bob")),
            offer(12, "127.0.0.1:1", 1, Some("claire")),
            offer(13, "192.168.1.1:1", 10, None),
        ];
        let survive = |offer: &Offer| {
            let mut members: Vec<Candidate> = kept.iter().map(candidate).collect();
            members.push(candidate(offer));
            1.0 - loss_under_shocks(&members, shocks().unwrap(), 2)
        };
        let [alone, bob, _, near] = [0, 1, 2, 3].map(|index| survive(&offers[index]));
        assert!(alone > near && near > bob);
        // What was promised; which are tried in which order, and which never.
        let all = |first, second, third| (vec![first, second, third], vec![2]);
        for (promised, expected) in [
            (0.9, all((3, true), (1, true), (0, true))), // by price
            (bob, all((3, true), (1, true), (0, true))),
            (near, all((3, true), (0, true), (1, false))), // bob's shock is more than was promised
            (alone, all((0, true), (3, false), (1, false))),
            (0.999_999, all((0, false), (3, false), (1, false))), // the safest is better than none
        ] {
            assert_eq!(order(&rest(&kept, 0, promised), &offers), expected, "{promised}");
        }
        let unknown = Rest { promised: None, ..rest(&kept, 0, 0.5) };
        assert_eq!(order(&unknown, &offers), all((3, true), (1, true), (0, true)));
    }

    #[test]
    fn slots_that_are_still_to_be_filled_count_as_filled() {
        let kept = [offer(1, "127.0.0.1:1", 5, None), offer(2, "127.0.0.1:1", 5, None)];
        let offers = [offer(10, "127.0.0.1:1", 30, None)];
        let whole = 1.0 - fondaco_placement::loss_probability(&[newcomer_loss(); 4], 2);
        assert_eq!(order(&rest(&kept, 1, whole - 1e-9), &offers), (vec![(0, true)], vec![]));
        assert_eq!(order(&rest(&kept, 1, whole + 1e-9), &offers), (vec![(0, false)], vec![]));
    }

    proptest! {
        /// Whatever the set is like: what is taken first keeps the promise if anything does, and no operator comes to hold
        /// more than it may.
        #[test]
        fn the_first_is_as_good_as_any(
            kept in vec((0..4_u8, 0..4_u8), 1..12),
            offers in vec((0..4_u8, 0..4_u8, 1..50_u64), 1..12),
            missing in 0..3_usize,
            promised in 0.9..0.9999_f64,
        ) {
            let place = |network: u8| format!("198.51.{network}.1:1");
            let labels = [None, Some("a"), Some("b"), Some("c")];
            let of = |index: usize, network: u8, operator: u8, store: u64| {
                offer(u8::try_from(index + 1).unwrap(), &place(network), store, labels[usize::from(operator)])
            };
            let kept: Vec<Offer> =
                kept.iter().enumerate().map(|(index, &(at, by))| of(index, at, by, 1)).collect();
            let offers: Vec<Offer> = offers
                .iter().enumerate().map(|(index, &(at, by, price))| of(100 + index, at, by, price)).collect();
            let rest = rest(&kept, missing, promised);
            let Ranking { fit: ranked, out } = rank(&offers, &records(), &rest, |_| 1).unwrap();
            prop_assert_eq!(ranked.len() + out.len(), offers.len());
            let most = usize::from(group_shards_max(rest.code.k(), rest.code.n()));
            for one in &ranked {
                let mut members = rest.kept.clone();
                members.push(candidate(&offers[one.index]));
                prop_assert!(operator_shards(&members, members.len() - 1) <= most);
                prop_assert_eq!(one.is_as_promised, one.survive >= promised);
            }
            if let Some(first) = ranked.first() {
                let store = |one: &Ranked| offers[one.index].list.prices.store;
                let as_good = ranked.iter().filter(|one| one.is_as_promised);
                prop_assert_eq!(as_good.clone().count() > 0, first.is_as_promised);
                prop_assert!(as_good.into_iter().all(|one| store(one) >= store(first)));
                prop_assert!(first.is_as_promised || ranked.iter().all(|one| one.survive <= first.survive));
            }
        }
    }
}
