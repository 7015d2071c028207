//! Hosts that sell and do not serve, and buyers that take and do not pay.
//!
//! A villain's host is the production service behind a relay, which has its frames in hand: what the villain does to
//! them is its [`Mischief`], one file for each; the relay writes down under which contracts it did something. Two have no
//! relay: one loses shards, and one has a slow line. Villainous buyers are clients that say what no buyer says.

mod audits_only_host;
mod dear_host;
mod denying_host;
mod double_spender;
mod forgetful_host;
mod garbage_buyer;
mod inflating_host;
mod lying_host;
mod planted;
mod refusing_host;
mod relay;
mod silent_host;
mod stalling_host;
mod step_taker;
mod truncating_host;
mod voucher_replayer;

pub(super) use audits_only_host::AuditsOnlyHost;
pub(super) use dear_host::DearHost;
pub(super) use denying_host::DenyingHost;
pub(super) use double_spender::DoubleSpender;
pub(super) use forgetful_host::ForgetfulHost;
pub(super) use garbage_buyer::GarbageBuyer;
pub(super) use inflating_host::InflatingHost;
pub(super) use lying_host::LyingHost;
pub(super) use planted::{CountsTwice, ServesUnpaid};
pub(super) use refusing_host::RefusingHost;
pub(super) use relay::{Deeds, Relay};
pub(super) use silent_host::SilentHost;
pub(super) use stalling_host::StallingHost;
pub(super) use step_taker::StepTaker;
pub(super) use truncating_host::TruncatingHost;
pub(super) use voucher_replayer::VoucherReplayer;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// It goes on, as it is now.
    Pass,
    /// Nothing more is said on this stream.
    Fall,
    /// The connection is closed.
    Go,
}

/// What a villain's host does to frames.
pub(super) trait Mischief: Send {
    /// A frame from the buyer.
    fn asked(&mut self, frame: &mut Vec<u8>) -> Act;
    /// The answer to it. `payload` says whether it carries bytes of a shard.
    fn answered(&mut self, frame: &mut Vec<u8>, payload: bool) -> Act;
    /// From now on, whenever it can.
    fn be_worst(&mut self);
    /// Another hand of the same villain.
    fn twin(&self) -> Box<dyn Mischief>;
}
