//! What happened to accounts, for their history: collected when somebody keeps one.

use crate::{EntryKind, Movement, RequestId};
use fondaco_codec::Text;
use fondaco_crypto::EntityId;
use fondaco_ledger::{HoldId, Ledger};
use fondaco_units::Amount;

/// The movements since the last look, if anybody looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Movements(Option<Vec<Movement>>);

/// One movement of money from one account to another.
#[derive(Clone, Copy)]
pub(crate) struct Paid<'a> {
    pub(crate) from: EntityId,
    pub(crate) to: EntityId,
    pub(crate) amount: Amount,
    pub(crate) fee: Amount,
    pub(crate) order: &'a Text<64>,
    pub(crate) id: Option<RequestId>,
}

impl Movements {
    pub(crate) fn new(collect: bool) -> Self {
        Self(collect.then(Vec::new))
    }

    pub(crate) fn drain(&mut self) -> Vec<Movement> {
        let Some(list) = &mut self.0 else { return Vec::new() };
        // They wait for the history by the thousand: room for four where there is one would be most of it.
        let mut drained = Vec::with_capacity(list.len());
        drained.append(list);
        drained
    }

    /// Adds what `movement` returns, which is not asked when nobody collects.
    pub(crate) fn add(&mut self, movement: impl FnOnce() -> Movement) {
        if let Some(list) = &mut self.0 {
            list.push(movement());
        }
    }

    /// Adds both sides of a transfer.
    pub(crate) fn paid(&mut self, ledger: &Ledger, paid: Paid<'_>) {
        let Paid { from, to, amount, fee, order, id } = paid;
        let Some(list) = &mut self.0 else { return };
        let to = ledger.current_key(to);
        let sides =
            [(from, EntryKind::Sent, to, fee), (to, EntryKind::Received, from, Amount::ZERO)];
        list.extend(sides.map(|(holder, kind, other, fee)| Movement {
            holder,
            kind,
            counterparty: Some(other),
            amount,
            fee,
            order: order.clone(),
            id,
        }));
    }

    /// Adds what became of a hold, on the side of `holder`.
    pub(crate) fn hold(
        &mut self,
        ledger: &Ledger,
        hold: HoldId,
        (holder, kind): (EntityId, EntryKind),
        amount: Amount,
        id: Option<RequestId>,
    ) {
        let Some(list) = &mut self.0 else { return };
        let Some(known) = ledger.hold(hold) else { return };
        let other = match kind {
            EntryKind::HoldReceived => known.payer,
            _ => known.payee,
        };
        list.push(Movement {
            holder: ledger.current_key(holder),
            kind,
            counterparty: Some(ledger.current_key(other)),
            amount,
            fee: Amount::ZERO,
            order: Text::cut(&known.order.to_string()),
            id,
        });
    }

    /// Adds what came back to the payer of a hold, if anything.
    pub(crate) fn returned(
        &mut self,
        ledger: &Ledger,
        hold: HoldId,
        payer: EntityId,
        amount: Amount,
        id: Option<RequestId>,
    ) {
        if !amount.is_zero() {
            self.hold(ledger, hold, (payer, EntryKind::HoldReturned), amount, id);
        }
    }
}
