//! The dialect of 2003, with its repairs, in every order that a bad network and a crash can give it.
//!
//! One holder with one bit, an issuer, and connections whose requests stall, get lost and come late.
//! The model is checked exhaustively within its bounds; its states and steps are in `lcp_model/`.
//! What always holds (the drafts of 2003 promise none of it):
//!
//! 1. an intended transfer is executed at most once;
//! 2. the payer never believes "not paid" of a transfer that was executed, or is later;
//! 3. the payer never believes "paid" of one that was not;
//! 4. a request that comes again gets the same answer to the byte, whatever came between;
//! 5. each notice of a deposit is with the issuer, with the holder, or on its way to a holder who reads;
//! 6. money is conserved, and each account has what the executed requests explain, fees once each;
//! 7. once a request was served, none executes on another connection that had been accepted by then.
//!
//! The rules that give it, each of which is taken away in a test of its own:
//!
//! - the last answer is kept with its request's hash, a failure like any other; notices go when the
//!   next bit comes; a query's fee is taken when it executes, not when its answer is sent again;
//! - the connection that a holder speaks on shuts out all others that had been accepted by then, and this and the
//!   execution are one step. To shut out older ones alone will not do: a holder may go on over an older one, while a
//!   request lingers on the newer. Nor will the order of authentication: the last flight of a handshake can stall
//!   with a request in it;
//! - the holder saves the bit and the answer as one. It saves before it sends; where its disk loses
//!   that save, the hash finds it out, and the holder must stop: the next bit would delete notices
//!   that it never saw.
//!
//! # What is not here
//!
//! Liveness; the issuer's own crashes (a request is one transaction there, and connections end with
//! the process: see the test `journal` for the disk); two holders; resumed sessions; the bytes. A
//! holder whose disk lost more than its last decision may pay twice: one bit cannot tell. The
//! production code of the dialect is not run.

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model};

#[path = "lcp_model/model.rs"]
mod model;

use model::{Protocol, Without};

const ONCE: &str = "a transfer is executed at most once";
const NOT_PAID: &str = "what is believed not paid was not paid";
const PAID: &str = "what is believed paid was paid";
const SAME: &str = "the same request has the same answer";
const NOTICES: &str = "no notice is lost";
const MONEY: &str = "money is conserved";
const STALE: &str = "no request executes on a connection that is shut out";

/// Bounds in which every mutant below is caught, and the whole takes seconds.
const SMALL: Protocol =
    Protocol { without: Without::Nothing, connections: 2, queries: 1, deposits: 1, under_way: 2 };

/// Checks all that can happen within the bounds, and says how many states were generated.
fn safe(protocol: Protocol) -> usize {
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    checker.state_count()
}

#[test]
fn the_repaired_protocol_is_safe() {
    let wide = Protocol { queries: 2, deposits: 2, ..SMALL };
    let long = Protocol { connections: 3, ..SMALL };
    let deep = Protocol { under_way: 3, ..SMALL };
    let generated = [SMALL, wide, long, deep].map(safe).iter().sum::<usize>();
    assert!(generated >= 3_000_000, "{generated}");
}

/// Without this rule there is a way to break `property`, and the checker finds it.
fn caught(without: Without, property: &'static str) {
    let finish = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = Protocol { without, ..SMALL }.checker().finish_when(finish).spawn_bfs().join();
    checker.assert_any_discovery(property);
}

#[test]
fn mutant_without_a_fence() {
    caught(Without::Fence, ONCE);
    caught(Without::Fence, STALE);
}

#[test]
fn mutant_that_shuts_out_older_connections_only() {
    caught(Without::FenceOnNewerToo, ONCE);
    caught(Without::FenceOnNewerToo, STALE);
}

#[test]
fn mutant_whose_fence_follows_authentication() {
    caught(Without::FenceByAcceptance, ONCE);
    caught(Without::FenceByAcceptance, STALE);
}

#[test]
fn mutant_that_admits_before_the_fence_and_executes_after() {
    caught(Without::FenceAtExecution, ONCE);
    caught(Without::FenceAtExecution, STALE);
}

#[test]
fn mutant_that_answers_a_duplicate_with_a_fault() {
    caught(Without::KeptAnswer, NOT_PAID);
}

#[test]
fn mutant_that_does_not_compare_the_hash() {
    caught(Without::Hash, PAID);
}

#[test]
fn mutant_that_answers_a_query_afresh() {
    caught(Without::SameAnswer, SAME);
}

#[test]
fn mutant_that_deletes_notices_as_it_sends_them() {
    caught(Without::NoticesUntilNext, NOTICES);
}

#[test]
fn mutant_that_tries_a_failed_transfer_again() {
    caught(Without::KeptFailure, NOT_PAID);
}

#[test]
fn mutant_that_charges_for_each_answer() {
    caught(Without::FeeOnce, MONEY);
}

#[test]
fn mutant_whose_holder_saves_the_bit_before_the_answer() {
    caught(Without::OneSave, NOTICES);
}

#[test]
fn mutant_whose_holder_goes_on_after_a_conflict() {
    caught(Without::Stop, NOTICES);
}
