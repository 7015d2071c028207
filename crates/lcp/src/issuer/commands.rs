//! The commands: who may, what it moves, who is told.

use super::{Command, Issuer, Who};
use crate::{
    DEPOSITS_WAITING_MAX, EntryKind, Movement, Refusal, Request, RequestId, Response, Rotation,
    movements::Paid,
};
use fondaco_codec::Text;
use fondaco_crypto::{EntityId, Signature};
use fondaco_ledger::{self as ledger, AccountIndex, HoldId, Posted, Terms};
use fondaco_units::{Amount, Timestamp};

/// One payment on its way into the books.
#[derive(Clone, Copy)]
pub(super) struct Payment<'a> {
    pub(super) now: Timestamp,
    pub(super) from: EntityId,
    pub(super) to: EntityId,
    pub(super) amount: Amount,
    pub(super) terms: Terms,
    pub(super) order: &'a Text<64>,
    pub(super) id: Option<RequestId>,
}

impl Issuer {
    /// Decides one command. A refusal changes nothing.
    pub(super) fn execute(&mut self, command: &Command<'_>) -> Result<Response, Refusal> {
        let Command { now, holder, who, prices, id, request } = *command;
        let issuer = self.currency.id.issuer();
        let issuer_only = match holder == issuer {
            true => Ok(()),
            false => Err(Refusal::NotIssuer { issuer }),
        };
        match request {
            Request::Describe
            | Request::Balance
            | Request::HoldInfo { .. }
            | Request::Deposits { .. }
            | Request::History { .. }
            | Request::Receipt { .. } => Ok(self.query(holder, who, request)),
            Request::Transfer { to, amount, fee_max, order, .. } => {
                let terms = self.terms(holder, prices, Amount::ZERO);
                let (to, amount, fee_max, fee) = (*to, *amount, *fee_max, terms.fee);
                if fee > fee_max {
                    return Err(Refusal::FeeOverMax { fee, fee_max });
                }
                let payment = Payment { now, from: holder, to, amount, terms, order, id: Some(id) };
                let balance = self.pay(payment)?;
                Ok(Response::Transferred { fee, balance })
            }
            Request::Batch { fee_max, steps, .. } => {
                let terms = self.terms(holder, prices, Amount::ZERO);
                let (fee, fee_max) = (terms.fee, *fee_max);
                if fee > fee_max {
                    return Err(Refusal::FeeOverMax { fee, fee_max });
                }
                self.batch(now, holder, terms, steps.as_slice(), id)
            }
            Request::Mint { to, amount, .. } => {
                issuer_only?;
                self.mint(now, *to, *amount, id)
            }
            Request::Redeem { amount, .. } => {
                issuer_only?;
                let done = self.ledger.redeem(issuer, *amount)?;
                let (kind, counterparty) = (EntryKind::Redeemed, None);
                self.note(issuer, kind, counterparty, *amount, id);
                Ok(Response::Redeemed { supply: done.supply })
            }
            Request::HoldOpen { payee, amount_max, order, expires, open_by, .. } => {
                let (payee, amount_max, expires) = (*payee, *amount_max, *expires);
                if now > *open_by {
                    return Err(Refusal::TooLate { open_by: *open_by, now });
                }
                let hold = HoldId::derive(self.currency.id, holder, id.get());
                self.ledger.hold_open(hold, holder, payee, amount_max, *order, expires, now)?;
                let side = (holder, EntryKind::HoldOpened);
                self.movements.hold(&self.ledger, hold, side, amount_max, Some(id));
                Ok(Response::HoldOpened { hold, expires })
            }
            Request::HoldPost { voucher, .. } => {
                let hold = voucher.voucher.hold;
                let done = self.ledger.hold_post(now, holder, voucher, prices.account_reserve);
                self.posted(command, hold, done)
            }
            Request::HoldPostWord { anchor, word, .. } => {
                let hold = anchor.anchor.hold;
                let done =
                    self.ledger.hold_post_word(now, holder, anchor, word, prices.account_reserve);
                self.posted(command, hold, done)
            }
            Request::HoldVoid { hold, .. } => {
                let done = self.ledger.hold_void(holder, *hold);
                let done = done.map_err(|refusal| self.concealed(holder, *hold, refusal))?;
                let (payer, returned) = (done.payer, done.returned);
                self.movements.returned(&self.ledger, *hold, payer, returned, Some(id));
                Ok(Response::HoldVoided { returned })
            }
            Request::AckDeposits { through, .. } => {
                self.acknowledge(who, *through)?;
                Ok(Response::Acked)
            }
            Request::Accept { balance_max, .. } => {
                self.ledger.accept(holder, *balance_max)?;
                Ok(Response::Accepted)
            }
            Request::AcceptAhead { balance_max, .. } => {
                let until = self.ledger.accept_ahead(holder, *balance_max, now)?;
                Ok(until.map_or(Response::Accepted, |until| Response::AcceptedAhead { until }))
            }
            Request::Rotate { to, by_old, by_new, .. } => {
                self.rotate(holder, *to, by_old, by_new, id)
            }
            Request::Close { forfeit_max, .. } => {
                let forfeited = self.ledger.close(holder, *forfeit_max)?.forfeited;
                self.note(holder, EntryKind::Forfeited, Some(issuer), forfeited, id);
                if !forfeited.is_zero() {
                    self.note(issuer, EntryKind::Received, Some(holder), forfeited, id);
                }
                Ok(Response::Closed { forfeited })
            }
        }
    }

    /// Pays, and tells the payee; what the payer can spend then.
    pub(super) fn pay(&mut self, payment: Payment<'_>) -> Result<Amount, Refusal> {
        let Payment { from, to, amount, terms, .. } = payment;
        let payee = self.ledger.index_of(to);
        self.has_room(to, payee)?;
        let done = self.ledger.transfer(from, to, amount, terms)?;
        self.paid(&payment, payee);
        Ok(done.balance)
    }

    /// Tells the payee, and the histories, of a payment that was made.
    pub(super) fn paid(&mut self, payment: &Payment<'_>, payee: Option<AccountIndex>) {
        let Payment { now, from, to, amount, terms: Terms { fee, .. }, order, id } = *payment;
        self.notify(now, to, payee, Some(from), amount, order.as_str());
        self.movements.paid(&self.ledger, Paid { from, to, amount, fee, order, id });
    }

    fn mint(
        &mut self,
        now: Timestamp,
        to: EntityId,
        amount: Amount,
        id: RequestId,
    ) -> Result<Response, Refusal> {
        let payee = self.ledger.index_of(to);
        self.has_room(to, payee)?;
        let done = self.ledger.mint(to, amount)?;
        self.notify(now, to, payee, None, amount, "");
        self.note(self.ledger.current_key(to), EntryKind::Minted, None, amount, id);
        Ok(Response::Minted { supply: done.supply })
    }

    /// Ends a post, by voucher or word.
    fn posted(
        &mut self,
        command: &Command<'_>,
        hold: HoldId,
        done: Result<Posted, ledger::Refusal>,
    ) -> Result<Response, Refusal> {
        let Command { now, holder, who, id, .. } = *command;
        let done = done.map_err(|refusal| self.concealed(holder, hold, refusal))?;
        let Posted { payer, paid, returned, .. } = done;
        // The order in hex is as long as an order may be.
        let order = self.ledger.hold(hold).map(|hold| hold.order.to_string());
        let payee = match who {
            Who::Account(at) => Some(at),
            // It has an account by now, and no place here yet.
            Who::Stranger | Who::Rotated { .. } => None,
        };
        self.notify(now, holder, payee, Some(payer), paid, &order.unwrap_or_default());
        let ledger = &self.ledger;
        for (who, kind) in [(payer, EntryKind::HoldPaid), (holder, EntryKind::HoldReceived)] {
            self.movements.hold(ledger, hold, (who, kind), paid, Some(id));
        }
        self.movements.returned(ledger, hold, payer, returned, Some(id));
        Ok(Response::HoldPosted { paid, returned })
    }

    fn rotate(
        &mut self,
        old: EntityId,
        new: EntityId,
        by_old: &Signature,
        by_new: &Signature,
        id: RequestId,
    ) -> Result<Response, Refusal> {
        let rotation = Rotation { currency: self.currency.id, old, new };
        rotation.verify(by_old, by_new).map_err(|_| Refusal::BadRotation)?;
        self.ledger.rotate(old, new)?;
        self.welcome(new);
        self.note(new, EntryKind::RotatedFrom, Some(old), Amount::ZERO, id);
        Ok(Response::Rotated { to: new })
    }

    /// Turns the refusal that would tell a stranger of a hold into the one for a hold that is not there.
    ///
    /// The ledger asks who the payee is before it looks at anything else of the hold.
    fn concealed(&self, holder: EntityId, hold: HoldId, refusal: ledger::Refusal) -> Refusal {
        let stranger = self.ledger.hold(hold).is_some_and(|hold| !self.may_see(holder, hold));
        match refusal {
            ledger::Refusal::WrongPayee { .. } if stranger => {
                ledger::Refusal::UnknownHold { hold }.into()
            }
            refusal => refusal.into(),
        }
    }

    fn has_room(&self, payee: EntityId, at: Option<AccountIndex>) -> Result<(), Refusal> {
        match self.room(at) {
            0 => {
                let deposits_max = DEPOSITS_WAITING_MAX as u64;
                Err(Refusal::DepositsFull { payee, deposits_max })
            }
            _ => Ok(()),
        }
    }

    /// How many notices more this holder can be sent.
    pub(super) fn room(&self, at: Option<AccountIndex>) -> usize {
        let known = at.and_then(|at| self.holders.get(at.get()));
        known.map_or(DEPOSITS_WAITING_MAX, |known| known.notices.room())
    }

    /// Leaves a notice; `at` is where the payee was found before it was paid.
    fn notify(
        &mut self,
        now: Timestamp,
        payee: EntityId,
        at: Option<AccountIndex>,
        payer: Option<EntityId>,
        amount: Amount,
        order: &str,
    ) {
        let at = match at {
            Some(at) => Some(at),
            None => self.welcome(payee),
        };
        if let Some(known) = at.and_then(|at| self.holders.get_mut(at.get())) {
            known.notices.add(now, payer, amount, order);
        }
    }

    /// Adds a line to a history that has no order.
    fn note(
        &mut self,
        holder: EntityId,
        kind: EntryKind,
        counterparty: Option<EntityId>,
        amount: Amount,
        id: RequestId,
    ) {
        let (fee, order) = (Amount::ZERO, Text::default());
        let id = Some(id);
        self.movements.add(|| Movement { holder, kind, counterparty, amount, fee, order, id });
    }
}
