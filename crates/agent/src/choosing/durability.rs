//! How surely an object outlives an epoch with some hosts, and what that takes for granted: one formula for those that are
//! chosen, and for those that keep a set.

use super::{Records, kept, shocks};
use crate::AgentError;
use crate::book::Book;
use crate::choosing::LOSS_QUANTILE;
use fondaco_contract::Label;
use fondaco_erasure::Code;
use fondaco_placement::{Assumptions, Candidate, loss_under_shocks};
use fondaco_ports::Address;
use std::collections::BTreeSet;

/// How surely an object outlives an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Durability {
    /// The exact probability that it does, under `assumptions`.
    pub survive: f64,
    /// The probability that it does not, exact also where `survive` rounds to 1.
    pub loss: f64,
    /// What that takes for granted.
    pub assumptions: Assumptions,
    /// How many hosts it counts with.
    pub hosts: usize,
    /// Of how many of them nothing was ever seen.
    pub newcomers: usize,
}

impl Durability {
    /// Works it out for hosts of which any `k` give an object back, by where they are and who runs them.
    pub(crate) fn of<'a>(
        hosts: impl IntoIterator<Item = (&'a Address, Option<&'a Label>)>,
        k: u8,
        records: &Records,
    ) -> Result<Self, AgentError> {
        let (mut members, mut newcomers): (Vec<Candidate>, usize) = (Vec::new(), 0);
        for (address, operator) in hosts {
            members.push(kept(address, operator, records)?);
            newcomers += usize::from(records.seen(address.entity()).is_nothing());
        }
        let shocks = shocks()?;
        let loss = loss_under_shocks(&members, shocks, k);
        let assumptions = Assumptions::of_all(&members, shocks, k);
        Ok(Self { survive: 1.0 - loss, loss, assumptions, hosts: members.len(), newcomers })
    }

    /// Works it out for the slots of a set that live: all but those `lost`.
    pub(crate) fn of_set(
        book: &Book,
        records: &Records,
        (set, code): (u32, Code),
        lost: &BTreeSet<u8>,
    ) -> Result<Self, AgentError> {
        let slots = book.set(set).map(|set| set.contracts.as_slice()).unwrap_or_default();
        let live = (0..).zip(slots).filter(|(index, _)| !lost.contains(index));
        let hosts = live.filter_map(|(_, &contract)| {
            let record = book.contract(contract)?;
            Some((&record.address, book.operator(record.terms.prices.provider)))
        });
        Self::of(hosts, code.k(), records)
    }

    /// Says in whole sentences what it takes for granted.
    pub fn assumed(&self) -> String {
        if self.hosts == 0 {
            return "No host is left to count with.".to_owned();
        }
        let sure = LOSS_QUANTILE * 100.0;
        let rest = match self.newcomers {
            0 => "all are known by their record".to_owned(),
            all if all == self.hosts => "nothing was seen of any of them yet".to_owned(),
            some => format!("of {some} of them nothing was seen yet"),
        };
        format!(
            "{} A host's loss is what it exceeds with a chance of {:.0} % only; {rest}.",
            self.assumptions,
            100.0 - sure
        )
    }
}

/// Shows a probability with as many nines as it has, and two digits more.
pub fn probability(survive: f64) -> String {
    let (mut digits, mut rest) = (2, 1.0 - survive);
    while rest < 0.1 && digits < 15 {
        rest *= 10.0;
        digits += 1;
    }
    format!("{survive:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::terms_by;
    use crate::book::{Coding, Event, Verdict};
    use crate::choosing::{choose, newcomer_loss};
    use crate::opening::{Offer, Wish};
    use fondaco_codec::List;
    use fondaco_contract::{ContractId, Terms};
    use fondaco_crypto::{SecretKey, Signature};
    use fondaco_lcp::RequestId;
    use fondaco_units::{Amount, Bytes, Duration, Timestamp};

    const OPERATOR: f64 = 0.01;
    const SUBNET: f64 = 0.005;

    fn key(number: u8) -> SecretKey {
        SecretKey::from_bytes(&[number; 32])
    }

    fn address(number: u8, socket: &str) -> Address {
        Address::new(key(number).entity(), [socket.parse().unwrap()])
    }

    fn terms(number: u8) -> Terms {
        let mut terms = terms_by(number);
        terms.prices.period_max = Duration::from_seconds(1 << 30);
        terms
    }

    fn id(number: u8) -> ContractId {
        terms(number).id()
    }

    /// What a host of this number is: where it is, and who is said to run it.
    type Host<'a> = (u8, &'a str, Option<&'a str>);

    fn opened(&(number, socket, operator): &Host<'_>) -> Vec<Event> {
        let terms = terms(number);
        let mut events = vec![
            Event::ContractIntended {
                terms,
                address: address(number, socket),
                hold_request: RequestId::new(number.into()),
                hold_max: Amount::new(100),
                hold_expires: Timestamp::EPOCH,
            },
            Event::ContractOpened {
                contract: terms.id(),
                provider_signature: Signature::from_bytes([5; 64]),
            },
        ];
        events.extend(operator.map(|operator| Event::OperatorSaid {
            provider: terms.prices.provider,
            operator: operator.parse().unwrap(),
        }));
        events
    }

    fn formed(numbers: impl IntoIterator<Item = u8>, k: u8) -> Event {
        let contracts = List::new(numbers.into_iter().map(id).collect()).unwrap();
        Event::SetFormed { coding: Coding::Cauchy8, k, contracts }
    }

    /// A book with a set at these hosts, after what was seen of them before.
    fn book(hosts: &[Host<'_>], k: u8, seen: &[Event]) -> Book {
        let mut book = Book::default();
        let set = formed(hosts.iter().map(|&(number, ..)| number), k);
        let events = hosts.iter().flat_map(opened).chain(seen.iter().cloned()).chain([set]);
        events.for_each(|event| book.apply(&event).unwrap());
        book
    }

    fn now(book: &Book, code: Code, lost: &[u8]) -> Durability {
        let lost = lost.iter().copied().collect();
        Durability::of_set(book, &Records::of(book), (0, code), &lost).unwrap()
    }

    fn lived(number: u8, epochs: u64) -> Vec<Event> {
        let audited = |epoch| Event::Audited {
            contract: id(number),
            at: Timestamp::EPOCH.after(Duration::from_seconds(3600 * epoch)),
            verdict: Verdict::Proven,
        };
        (1..=epochs).map(audited).collect()
    }

    /// Against formulas written out by hand for each case.
    #[test]
    fn what_falls_together_and_what_was_lost_counts() {
        let p = newcomer_loss();
        let pair = |shock: f64| shock + (1.0 - shock) * p * p;
        let here = |number| (number, "127.0.0.1:1", None);
        let by = |number, operator| (number, "127.0.0.1:1", Some(operator));
        let house = |number| (number, "192.168.1.1:1", None);
        let public = |number| (number, "192.0.2.1:1", None);
        // The hosts, the k that give an object back, the slots lost; with which chance it is lost.
        type Line<'a> = (&'a [Host<'a>], u8, &'a [u8], f64);
        let table: &[Line<'_>] = &[
            (&[here(1), here(2)], 1, &[], p * p),
            (&[here(1), here(2)], 1, &[0], p),
            (&[here(1), here(2)], 1, &[0, 1], 1.0),
            (&[here(1), here(2)], 2, &[], 1.0 - (1.0 - p) * (1.0 - p)),
            (&[here(1), here(2), here(3)], 2, &[2], 1.0 - (1.0 - p) * (1.0 - p)),
            (&[here(1), here(2), here(3)], 2, &[1, 2], 1.0),
            (&[by(1, "claire"), by(2, "claire")], 1, &[], pair(OPERATOR)),
            (&[by(1, "claire"), by(2, "bob")], 1, &[], {
                let alone = OPERATOR + (1.0 - OPERATOR) * p;
                alone * alone
            }),
            (&[house(1), house(2)], 1, &[], pair(SUBNET)),
            (&[public(1), public(2)], 1, &[], OPERATOR + (1.0 - OPERATOR) * pair(SUBNET)),
        ];
        for (hosts, k, lost, loss) in table {
            let code = Code::new(*k, u8::try_from(hosts.len()).unwrap()).unwrap();
            let found = now(&book(hosts, *k, &[]), code, lost);
            assert!((found.loss - loss).abs() < 1e-12, "{hosts:?} {lost:?}: {found:?} {loss}");
            assert_eq!(found.survive, 1.0 - found.loss);
            assert_eq!(found.hosts, hosts.len() - lost.len());
        }
        // A record counts: of the hosts that keep it, and of others.
        let code = Code::new(1, 2).unwrap();
        let hosts = [here(1), here(2)];
        let strangers = now(&book(&hosts, 1, &[]), code, &[]);
        let known = now(&book(&hosts, 1, &lived(1, 100)), code, &[]);
        assert!(known.loss < strangers.loss, "{known:?}");
        assert_eq!((strangers.newcomers, known.newcomers), (2, 1));
        let one_was_lost = [Event::ContractLost { contract: id(1) }];
        let worse = now(&book(&hosts, 1, &one_was_lost), code, &[0]);
        assert!(worse.loss > p, "what one host lost is feared of the other: {worse:?}");
    }

    /// What is said when hosts are chosen, and what is shown for the set that came of it, are one number to the last bit.
    #[test]
    fn right_after_the_choice_a_set_is_as_durable_as_was_said() {
        let hosts: Vec<Host<'_>> = vec![
            (1, "127.0.0.1:1", None),
            (2, "192.0.2.1:1", Some("claire")),
            (3, "192.0.2.2:1", None),
            (4, "198.51.100.1:1", Some("claire")),
            (5, "192.168.1.1:1", None),
            (6, "192.168.1.2:1", Some("bob")),
            (7, "203.0.113.1:1", None),
            (8, "127.0.0.1:1", Some("bob")),
            (9, "127.0.0.1:1", None),
            (10, "127.0.0.1:1", None),
        ];
        let seen = || {
            let good = (1..=5).flat_map(|number| lived(number, 20 * u64::from(number)));
            let bad = Event::ContractLost { contract: id(6) };
            good.chain([bad]).collect::<Vec<Event>>()
        };
        for survive in [0.9, 0.97, 0.985] {
            let mut book = Book::default();
            let events = hosts.iter().flat_map(opened).chain(seen());
            events.for_each(|event| book.apply(&event).unwrap());
            let offers: Vec<Offer> = hosts
                .iter()
                .map(|&(number, socket, operator)| Offer {
                    address: address(number, socket),
                    list: terms(number).prices.sign(&key(number)),
                    operator: operator.map(|operator| operator.parse().unwrap()),
                })
                .collect();
            let wish = Wish { bytes: Bytes::new(1 << 20), survive, epochs: 1, budget: None };
            let records = Records::of(&book);
            let placement = choose(&offers, &records, wish, &[]).unwrap();
            let chosen = placement.providers.iter().map(|&index| &offers[index]);
            let hosts_of = chosen.map(|offer| (&offer.address, offer.operator.as_ref()));
            let said = Durability::of(hosts_of, placement.k, &records).unwrap();
            // Hosts that were not chosen may join the groups of those that were, in the choice only.
            assert!(said.survive >= survive, "{said:?}");
            let is_whole = placement.providers.len() == offers.len();
            assert!(!is_whole || said.survive.to_bits() == placement.survive.to_bits());
            let set = formed(placement.providers.iter().map(|&index| hosts[index].0), placement.k);
            book.apply(&set).unwrap();
            let code = Code::new(placement.k, placement.n()).unwrap();
            assert_eq!(now(&book, code, &[]), said, "{survive}");
        }
    }
}
