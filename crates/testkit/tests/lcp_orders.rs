//! Orders and their payments, in every order that a bad network, a stranger and a crash can give them.
//!
//! A seller with invoices, a buyer who pays them and his rent, a stranger who learns orders and pays under them what he
//! likes, two issuers whose notices stay until they are acknowledged, requests that are lost and sent again. The seller
//! runs the production machine, [`fondaco_lcp::Invoices`]; all else is the model's, in `lcp_orders/`, and it judges by
//! what happened in truth. What always holds (repairs 4 and 6 of the draft of 2003):
//!
//! 1. an order is settled only by a deposit that is all that it asked for: currency, payer, amount, in time;
//! 2. an order is settled by one deposit at most, and a deposit settles one order at most;
//! 3. who was never shown an order does not settle it;
//! 4. a payment that is all that an order asked for is with its issuer until the seller has it on disk;
//! 5. a payment of which its payer is told that it was made was made: an order that repeats is another payment.
//!
//! Each rule that gives it is taken away in a test of its own. A rule of the machine is taken away by having it see the
//! deposit as the seller would who does not look at that part.
//!
//! # What is not here
//!
//! Counters and connections: the model `lcp_model`. Cancelling and forgetting of invoices: the tests of the crate `lcp`.
//! The bytes, and guessing of 128 random bits.

use stateright::{Checker, HasDiscoveries, Model};
use std::collections::BTreeSet;

#[path = "lcp_orders/model.rs"]
mod model;

use model::{Market, Without};

const ALL: &str = "an order is settled by all that it asked for";
const ONCE: &str = "one deposit settles one order, once";
const SHOWN: &str = "who settles an order was shown it";
const KEPT: &str = "no payment is lost by a crash";
const MADE: &str = "a payment that is said to be made was made";

#[test]
fn orders_are_settled_by_their_payments_alone() {
    let checker = Market::new(Without::Nothing).checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.state_count() >= 200_000, "{}", checker.state_count());
}

/// Without this rule there is a way to break `property`, and the checker finds it.
fn caught(without: Without, property: &'static str) {
    let finish = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = Market::new(without).checker().finish_when(finish).spawn_bfs().join();
    checker.assert_any_discovery(property);
}

#[test]
fn mutant_that_looks_at_the_order_alone() {
    caught(Without::Terms, ALL);
}

#[test]
fn mutant_that_does_not_look_at_the_currency() {
    caught(Without::Currency, ALL);
}

#[test]
fn mutant_that_does_not_look_at_the_payer() {
    caught(Without::Payer, ALL);
}

#[test]
fn mutant_that_does_not_look_at_the_amount() {
    caught(Without::Amount, ALL);
}

#[test]
fn mutant_that_does_not_look_at_the_time() {
    caught(Without::Time, ALL);
}

#[test]
fn mutant_whose_nonce_can_be_guessed() {
    caught(Without::RandomNonce, SHOWN);
}

#[test]
fn mutant_whose_nonce_repeats() {
    caught(Without::FreshNonce, ONCE);
}

#[test]
fn mutant_that_acknowledges_before_it_has_saved() {
    caught(Without::SaveFirst, KEPT);
}

#[test]
fn mutant_that_takes_the_order_for_the_payments_name() {
    caught(Without::RequestId, MADE);
}
