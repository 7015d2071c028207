//! A buyer, its delegate, hosts and an issuer on a network in memory, for weeks of virtual time.
//!
//! The agent, the hosts' service, the issuer's machine and the transport above its sockets are the production code.
//! Network, disks, clock and chance are simulated, from one seed; tokio's clock is paused, so that waiting takes no time.
//!
//! ```text
//! World::new ─► chaos: each turn arms faults, then the buyer stores, reads, audits, renews, repairs or rests for hours
//!                 │    faults: power cut at a write or anywhere, kill, cut, absence, slowness, move, wrong clock, full disk, loss
//!                 └─► heal: fair weather, all machines up ──► audit all ──► read all ──► end all ──► check
//! ```
//!
//! # What is checked
//!
//! At every frame, by books that share no counting with those of the parties (`oracle`):
//!
//! - no honest host serves what no voucher that has come to it covers, forgets what it acknowledged, or counts twice;
//! - the buyer signs for no more than what is owed and the one step it asks for;
//! - it pays for keeping no more than it gave, and what it cannot know that a host did not get;
//! - no host is trusted with more than its owner lets a newcomer have, or has taken more.
//! - under no contract more was lost than a step, and one more for every 64, when its buyer paid on; whatever process it was, and however
//!   it ended: only where its power was cut may a step have been under way of which nobody knows.
//!
//! At the end:
//!
//! - what was acknowledged is in the book, and is read byte for byte while k honest hosts keep it;
//! - no honest host was ever distrusted or paid no more, and none ended a contract that was paid for;
//! - who lied and was audited is distrusted; who did not serve in an audit did not pass it, and its record says so;
//! - money is conserved; each hold paid at most what was signed for; who sold has what was paid.
//!
//! # What is not here
//!
//! QUIC, files and threads: those are tested on sockets and disks. The repository on top of objects (see `fondaco`).

mod bad_days;
mod buyer;
mod host;
mod issuer;
mod oracle;
mod roles;
mod villains;
mod world;

use std::fmt;

use fondaco_agent::planted::Fault;
use fondaco_crypto::Digest;

/// A fault of the program, put in to see that the checks catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// None: the production code as it is.
    Nothing,
    /// Hosts acknowledge before anything is durable.
    HostsAcknowledgeEarly,
    /// The buyer's book says that it has saved, and has not.
    BuyerForgets,
    /// The issuer answers before anything is durable.
    IssuerAnswersEarly,
    /// A host counts what it reads twice.
    CountsTwice,
    /// A host serves reads that no voucher pays for.
    ServesUnpaid,
    /// The buyer takes slices as they come.
    SkipsChecks,
    /// The buyer pays for keeping whatever a host says that it keeps.
    BelievesHosts,
    /// The buyer's audits ask what no restore does.
    AuditsApart,
    /// The buyer takes for a failed audit, many times over, that a host kept a read waiting.
    JudgesByReads,
    /// The buyer passes over in silence that a host did not answer an audit.
    OverlooksSilence,
    /// The buyer does not write down what it paid for nothing.
    ForgetsLosses,
    /// The buyer does not look at what its process before was killed with.
    ForgetsSteps,
    /// The buyer does not look at the puts that its machine lost its power in.
    ForgetsPuts,
    /// The buyer gives hosts whatever they ask for.
    TrustsAnybody,
    /// A liar is taken for an honest host: it must be missed among those.
    TrustsLiars,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// After how many milliseconds of the run.
    pub after_milliseconds: u64,
    /// What is not as it must be.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} ms: {}", self.after_milliseconds, self.what)
    }
}

/// What happened in a run that was as it must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects that were acknowledged.
    pub stored: u64,
    /// Puts that came to nothing.
    pub failed: u64,
    /// Reads that gave the right bytes.
    pub read: u64,
    /// Objects of which too few honest hosts were left.
    pub beyond: u64,
    /// Audits of one contract that were passed.
    pub proven: u64,
    /// Audits that caught somebody.
    pub caught: u64,
    /// Audits of one contract that found a host to claim more than it was given.
    pub overstated: u64,
    /// Providers that were distrusted at the end.
    pub distrusted: u64,
    /// Audits of one contract at the end that named a host which did not serve.
    pub named: u64,
    /// Times that a machine lost its power or its process.
    pub crashes: u64,
    /// Contracts that were opened.
    pub contracts: u64,
    /// Contracts that follow on others.
    pub renewed: u64,
    /// Slots that others took.
    pub replaced: u64,
    /// Contracts that a delegate took over, or its owner took back.
    pub taken_over: u64,
    /// Steps that were paid for and not served, as far as the buyer learnt.
    pub taken: u64,
    /// Units of money that were paid out.
    pub paid: u64,
    /// Virtual hours.
    pub hours: u64,
    /// Frames that were sent.
    pub frames: u64,
    /// The digest of all that was sent, and when.
    pub trace: Option<Digest>,
}

impl Report {
    /// Adds another run; traces are not added.
    pub const fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.failed += other.failed;
        self.read += other.read;
        self.beyond += other.beyond;
        self.proven += other.proven;
        self.caught += other.caught;
        self.overstated += other.overstated;
        self.distrusted += other.distrusted;
        self.named += other.named;
        self.crashes += other.crashes;
        self.contracts += other.contracts;
        self.renewed += other.renewed;
        self.replaced += other.replaced;
        self.taken_over += other.taken_over;
        self.taken += other.taken;
        self.paid += other.paid;
        self.hours += other.hours;
        self.frames += other.frames;
    }
}

/// Runs one seed, on this thread.
///
/// # Errors
///
/// Something was not as it must be.
pub fn run(seed: u64, planted: Planted) -> Result<Report, Violation> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without sockets needs nothing of the system");
    let mut chance = crate::Rng::new(seed ^ 0x6d61_726b_6574);
    fondaco_agent::entropy::repeat(Some(Box::new(move |bytes| chance.fill(bytes))));
    plant(planted);
    let done = runtime.block_on(world::run(seed, planted));
    drop(runtime);
    plant(Planted::Nothing);
    fondaco_agent::entropy::repeat(None);
    done
}

/// Has this thread's buyers do what is planted, and nothing else.
fn plant(planted: Planted) {
    let fault = match planted {
        Planted::SkipsChecks => Fault::SkipsChecks,
        Planted::BelievesHosts => Fault::Believes,
        Planted::AuditsApart => Fault::AuditsApart,
        Planted::JudgesByReads => Fault::JudgesByReads,
        Planted::OverlooksSilence => Fault::Overlooks,
        Planted::ForgetsLosses => Fault::ForgetsLosses,
        Planted::ForgetsSteps => Fault::ForgetsSteps,
        Planted::ForgetsPuts => Fault::ForgetsPuts,
        _ => return fondaco_agent::planted::plant(None),
    };
    fondaco_agent::planted::plant(Some(fault));
}
