//! The queries, which change nothing.

use super::{Issuer, Who};
use crate::{Limits, Refusal, Request, Response, holders::Holder};
use fondaco_codec::List;
use fondaco_crypto::EntityId;
use fondaco_ledger::{self as ledger, Account};

impl Issuer {
    /// Returns whether notices with a number over `after` wait for `holder`; if not, a query that may wait can be
    /// parked until something arrives.
    pub fn deposits_wait(&self, holder: EntityId, after: u64) -> bool {
        self.known(self.who(holder)).is_some_and(|known| known.notices.wait_after(after))
    }

    /// What is kept of an account's holder.
    pub(super) fn known(&self, who: Who) -> Option<&Holder> {
        match who {
            Who::Account(at) => self.holders.get(at.get()),
            Who::Stranger | Who::Rotated { .. } => None,
        }
    }

    /// Answers a query; changes nothing.
    pub(super) fn query(&self, holder: EntityId, who: Who, request: &Request) -> Response {
        let refused = |refusal| Response::Refused { refusal };
        if let (Who::Rotated { to }, false) = (who, matches!(request, Request::Describe)) {
            return refused(Refusal::Rotated { to });
        }
        match request {
            Request::Describe => Response::Described {
                currency: self.currency.clone(),
                limits: Limits::remembering(self.options.answers_bytes_max),
                supply: self.ledger.supply(),
                accounts: self.ledger.accounts(),
                head: None,
            },
            Request::Balance => {
                let Account { available, held } = self.ledger.account(holder);
                let deposits_waiting = self.known(who).map_or(0, |known| known.notices.waiting());
                Response::Balance { available, held, deposits_waiting }
            }
            Request::HoldInfo { hold: id } => match self.ledger.hold(*id) {
                Some(info) if self.may_see(holder, info) => Response::HoldInfo { info: *info },
                Some(_) | None => refused(ledger::Refusal::UnknownHold { hold: *id }.into()),
            },
            Request::Deposits { after, .. } => {
                let page = self.known(who).map(|known| known.notices.page(*after));
                let (list, more) = page.unwrap_or_else(|| {
                    (List::new(Vec::new()).expect("nothing fits everywhere"), false)
                });
                Response::Deposits { list, more }
            }
            Request::History { .. } | Request::Receipt { .. } => refused(Refusal::Unavailable),
            // Commands are not asked here; none of them has an answer without being applied.
            Request::Transfer { .. }
            | Request::Mint { .. }
            | Request::Redeem { .. }
            | Request::HoldOpen { .. }
            | Request::HoldPost { .. }
            | Request::HoldVoid { .. }
            | Request::AckDeposits { .. }
            | Request::Batch { .. }
            | Request::Accept { .. }
            | Request::AcceptAhead { .. }
            | Request::Rotate { .. }
            | Request::Close { .. }
            | Request::HoldPostWord { .. } => refused(Refusal::Halted),
        }
    }

    /// Whether the hold is any business of this holder's: under whichever key it became so.
    pub(super) fn may_see(&self, holder: EntityId, hold: &ledger::Hold) -> bool {
        let parties = [hold.payer, hold.payee].map(|party| self.ledger.current_key(party));
        parties.contains(&holder) || holder == self.currency.id.issuer()
    }
}
