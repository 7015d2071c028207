//! All that a provider wants to know of its contracts at one glance.

use super::Host;
use super::contract::post_at;
use fondaco_contract::{ContractId, State};
use fondaco_units::{Amount, Bytes, Timestamp};

/// What a provider has sold, keeps, and is owed. See [`Host::overview`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Contracts that are open, those that are ending included.
    pub open: u64,
    /// Contracts that end because the provider has announced that it leaves.
    pub ending: u64,
    /// Contracts that have ended and whose money is still to be got.
    pub unposted_ended: u64,
    /// How many buyers the open contracts are of.
    pub buyers: u64,
    /// The shards kept.
    pub shards: u64,
    /// All the room there is for sale.
    pub size: Bytes,
    /// The room promised.
    pub sold: Bytes,
    /// The bytes kept, counted once for each contract that has them.
    pub kept: Bytes,
    /// The room neither sold nor kept, as far as the disk has it.
    pub free: Bytes,
    /// What the buyers of open contracts may still store.
    pub to_come: Bytes,
    /// The vouchers that were not posted yet, added up: what is earned and still to be got.
    pub unposted: Amount,
    /// What the issuer has paid out for contracts that ended, as far as they are remembered.
    pub paid: Amount,
    /// When the next voucher is posted at the latest.
    pub next_posting: Option<Timestamp>,
    /// The open contract that ends first, and when.
    pub ends_first: Option<(ContractId, Timestamp)>,
}

impl Host {
    /// Adds everything up as of `now`.
    pub fn overview(&self, now: Timestamp) -> Overview {
        let mut all = Overview {
            size: self.config.size,
            sold: self.promised(|_| true),
            free: self.free(),
            to_come: self.to_come(),
            shards: self.references.len() as u64,
            ..Overview::default()
        };
        let mut buyers = std::collections::BTreeSet::new();
        for (id, contract) in &self.contracts {
            if let Some(paid) = contract.paid {
                all.paid = all.paid.checked_add(paid).unwrap_or(Amount::MAX);
                continue;
            }
            all.unposted = all
                .unposted
                .checked_add(contract.voucher.voucher.cumulative)
                .unwrap_or(Amount::MAX);
            all.kept = all.kept.checked_add(contract.tab.stored).unwrap_or(Bytes::MAX);
            let terms = &contract.terms;
            let ends = match contract.state_at(now) {
                State::Ending { at } => {
                    all.ending += 1;
                    Some(at.min(terms.ends))
                }
                State::Offered | State::Open | State::Renewing { .. } => Some(terms.ends),
                State::Ended { .. } | State::Defaulted { .. } | State::Cancelled { .. } => None,
            };
            let posts = match ends {
                None => {
                    all.unposted_ended += 1;
                    now
                }
                Some(ends) => {
                    all.open += 1;
                    buyers.insert(terms.buyer);
                    if all.ends_first.is_none_or(|(_, first)| ends < first) {
                        all.ends_first = Some((*id, ends));
                    }
                    let lapses = terms.lapses_at(contract.tab.epochs_paid);
                    ends.min(lapses).min(post_at(terms.begins, contract.expires))
                }
            };
            all.next_posting = Some(all.next_posting.map_or(posts, |next| next.min(posts)));
        }
        all.buyers = buyers.len() as u64;
        all
    }
}
