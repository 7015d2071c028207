//! What an issuer says of its currency, and the notice of a payment.

use crate::{DEPOSITS_WAITING_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, STEPS_MAX};
use fondaco_codec::{Text, record};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_ledger::{HOLD_SPAN_MAX, HOLDS_PER_PAYER_MAX};
use fondaco_units::{Amount, Duration, Scale, Timestamp};

/// What an issuer says of its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currency {
    /// The currency; its issuer's key.
    pub id: CurrencyId,
    /// Its name, for people. Nobody vouches that it is the only one of this name.
    pub name: Text<64>,
    /// Its sign or short name, for people.
    pub symbol: Text<12>,
    /// How many decimals people see.
    pub scale: Scale,
    /// What a transfer costs its payer, on top of the amount. The issuer's own are free.
    pub transfer_fee: Amount,
    /// What a full handshake of the dialect of 2003 costs on top, once: sessions are to be resumed.
    pub full_handshake_fee: Amount,
    /// The least that opens an account: the first transfer to a key must bring as much.
    pub account_reserve: Amount,
}
record!(Currency { id, name, symbol, scale, transfer_fee, full_handshake_fee, account_reserve });

/// How much of everything this issuer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame of a request, in bytes.
    pub request_bytes_max: u32,
    /// The longest frame of a response, in bytes.
    pub response_bytes_max: u32,
    /// The most steps of one batch.
    pub steps_max: u32,
    /// The most notices that wait for one holder before transfers and mints to it are refused.
    pub deposits_waiting_max: u32,
    /// The most holds that one payer may have open.
    pub holds_open_max: u32,
    /// The longest that a hold may be open.
    pub hold_span_max: Duration,
    /// How much of first answers, of all holders together, is remembered before the oldest are forgotten.
    pub answers_bytes_max: u64,
}
record!(Limits {
    request_bytes_max,
    response_bytes_max,
    steps_max,
    deposits_waiting_max,
    holds_open_max,
    hold_span_max,
    answers_bytes_max,
});

impl Limits {
    /// Returns the limits of this version, for an issuer that remembers so much of first answers.
    pub const fn remembering(answers_bytes_max: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "constants far below 2^32")]
        Self {
            request_bytes_max: REQUEST_BYTES_MAX as u32,
            response_bytes_max: RESPONSE_BYTES_MAX as u32,
            steps_max: STEPS_MAX as u32,
            deposits_waiting_max: DEPOSITS_WAITING_MAX as u32,
            holds_open_max: HOLDS_PER_PAYER_MAX,
            hold_span_max: HOLD_SPAN_MAX,
            answers_bytes_max: answers_bytes_max as u64,
        }
    }
}

/// The notice that money arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Its place among all of this holder, from 1, without gaps.
    pub number: u64,
    /// Who paid; nobody when it was minted.
    pub payer: Option<EntityId>,
    /// What arrived.
    pub amount: Amount,
    /// What the payer said it is for; of a hold, its order in 64 hex digits; of a mint, nothing.
    pub order: Text<64>,
    /// When it arrived, by the issuer's clock.
    pub at: Timestamp,
}
record!(Deposit { number, payer, amount, order, at });
