//! Accounts in memory, over the real core: for the example and for tests. Nothing is durable here.

use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_lcp::{Currency, Issuer, IssuerOptions, Request, RequestId, Response, classic::Answer};
use fondaco_lcp_wire::{Accounts, Answered, BoxFuture, Exchange, Unanswered};
use fondaco_units::{Amount, Scale, Timestamp};
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

const ZERO: fondaco_units::Duration = fondaco_units::Duration::ZERO;

/// An issuer that forgets everything when it ends.
pub(crate) struct Memory {
    issuer: Mutex<Issuer>,
    bank: EntityId,
    full_handshake_fee: Amount,
    /// Something may have arrived for somebody.
    arrived: Notify,
    /// Queries that were parked so far.
    parked: AtomicUsize,
}

impl Memory {
    /// Issues a currency of two decimals by `key`, with what a transfer and a full handshake cost.
    pub(crate) fn new(key: &SecretKey, transfer_fee: u64, full_handshake_fee: u64) -> Self {
        let bank = key.entity();
        let full_handshake_fee = Amount::new(full_handshake_fee);
        let currency = Currency {
            id: CurrencyId::issued_by(bank),
            name: Text::cut("harbour crown"),
            symbol: Text::cut("HCR"),
            scale: Scale::new(2).expect("2 is a scale"),
            transfer_fee: Amount::new(transfer_fee),
            full_handshake_fee,
            account_reserve: Amount::ZERO,
        };
        let issuer = Mutex::new(Issuer::new(currency, IssuerOptions::default()));
        Self {
            issuer,
            bank,
            full_handshake_fee,
            arrived: Notify::new(),
            parked: AtomicUsize::new(0),
        }
    }

    fn issuer(&self) -> MutexGuard<'_, Issuer> {
        self.issuer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes money for `to`, and forgets the notice of it.
    pub(crate) fn mint(&self, to: EntityId, amount: Amount) {
        let mut issuer = self.issuer();
        let mut random = [0; 10];
        random.copy_from_slice(&to.as_bytes()[..10]);
        let id = RequestId::at(now(), random);
        let minted = issuer.handle(now(), self.bank, &Request::Mint { id, to, amount });
        assert!(matches!(minted.response, Response::Minted { .. }), "{:?}", minted.response);
        let all = Request::Deposits { after: 0, wait: ZERO };
        let Response::Deposits { list, .. } = issuer.handle(now(), to, &all).response else {
            return;
        };
        if let Some(last) = list.as_slice().last() {
            let id = RequestId::at(now(), random);
            let ack = Request::AckDeposits { id, through: last.number };
            let acked = issuer.handle(now(), to, &ack);
            assert_eq!(acked.response, Response::Acked);
        }
        drop(issuer);
        self.arrived.notify_waiters();
    }

    /// What `holder` can spend.
    #[allow(dead_code, reason = "tests ask")]
    pub(crate) fn balance(&self, holder: EntityId) -> Amount {
        match self.issuer().handle(now(), holder, &Request::Balance).response {
            Response::Balance { available, .. } => available,
            other => panic!("{other:?}"),
        }
    }

    /// How many queries were parked so far.
    #[allow(dead_code, reason = "tests ask")]
    pub(crate) fn parked(&self) -> usize {
        self.parked.load(Ordering::Relaxed)
    }

    fn handle(&self, exchange: &Exchange) -> Answered {
        let surcharge = match exchange.full_handshake {
            true => self.full_handshake_fee,
            false => Amount::ZERO,
        };
        let Exchange { holder, connection, ask, .. } = exchange;
        self.issuer().accepted_classic(exchange.accepted);
        let handled = self.issuer().handle_classic(now(), *holder, *connection, surcharge, ask);
        self.arrived.notify_waiters();
        let took = match &handled.answer {
            Answer::Paid { .. } => true,
            Answer::Told { fee, .. } => !fee.is_zero(),
            Answer::Fault { .. } => false,
        };
        let surcharged = exchange.full_handshake && handled.record.is_some() && took;
        Answered { answer: handled.answer, surcharged }
    }
}

impl Accounts for Memory {
    fn classic(&self, exchange: Exchange) -> BoxFuture<'_, Result<Answered, Unanswered>> {
        Box::pin(async move {
            let deadline = Instant::now() + Duration::from_millis(exchange.wait.milliseconds());
            loop {
                // Before the look, or what arrives between the look and the wait is slept through.
                let arrived = self.arrived.notified();
                let Exchange { holder, connection, ask, .. } = &exchange;
                let waits = self.issuer().classic_waits(*holder, *connection, ask);
                self.parked
                    .fetch_add(usize::from(waits && exchange.wait > ZERO), Ordering::Relaxed);
                if !waits || timeout_at(deadline, arrived).await.is_err() {
                    return Ok(self.handle(&exchange));
                }
            }
        })
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_milliseconds(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
