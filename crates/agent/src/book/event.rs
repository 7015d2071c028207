//! What happened to a buyer, as its journal keeps it: the format of each record is in `docs/formats/agent.md`.

use crate::losses::{BegunPut, BrokenPut, BrokenRead, Loss};
use fondaco_audit::ShardId;
use fondaco_codec::{List, Text, choice, record};
use fondaco_contract::{ContractId, Label, SignedDeletion, State, Tab, Terms};
use fondaco_crypto::{Digest, EntityId, Signature};
use fondaco_lcp::RequestId;
use fondaco_ports::Address;
use fondaco_reputation::{Exposure, Record};
use fondaco_units::{Amount, Bytes, Timestamp};

/// The greatest number of shards of an object.
pub const SHARDS_MAX: usize = 255;

/// What kind of thing a repository object is; the restic format has five.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// The one configuration of a repository.
    Config,
    /// A key, itself encrypted under the password.
    Key,
    /// A snapshot.
    Snapshot,
    /// An index of packs.
    Index,
    /// A pack of blobs.
    Pack,
}
choice!(ObjectKind { 1 => Config, 2 => Key, 3 => Snapshot, 4 => Index, 5 => Pack });

/// Names an object of a repository: its kind, and the SHA-256 that the restic format names it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name; zero for the configuration.
    pub name: Digest,
}
record!(ObjectId { kind, name });

/// How objects are cut into shards: part of the format, since shards outlive programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Reed–Solomon over GF(2⁸) with a scaled Cauchy matrix, as the crate `erasure` codes it.
    Cauchy8,
}
choice!(Coding { 2 => Cauchy8 }); // 1 was of a code that is gone

/// How an audit came out. One that showed a lie is told by [`Event::ProviderDistrusted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every place asked for was proven.
    Proven,
    /// The provider did not answer, although it was asked again.
    Failed,
}
choice!(Verdict { 1 => Proven, 2 => Failed });

/// Something that happened to a buyer, as its journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one at a time, and soon written
pub enum Event {
    /// Terms were made and a hold is about to be asked for; both may be asked for again.
    ContractIntended {
        /// The terms as signed.
        terms: Terms,
        /// Where the provider is.
        address: Address,
        /// The id of the request that opens the hold.
        hold_request: RequestId,
        /// The most that the hold may pay.
        hold_max: Amount,
        /// When the hold expires.
        hold_expires: Timestamp,
    },
    /// The provider signed.
    ContractOpened {
        /// Which contract.
        contract: ContractId,
        /// The provider's signature of the terms.
        provider_signature: Signature,
    },
    /// The contract is over, or came to nothing: as [`Event::ContractOver`] tells it now.
    ContractEnded {
        /// Which contract.
        contract: ContractId,
        /// What was used, as both sides counted it.
        tab: Tab,
        /// What was paid for it.
        paid: Amount,
    },
    /// Contracts were put together to hold the shards of objects.
    SetFormed {
        /// How objects are cut.
        coding: Coding,
        /// How many shards rebuild an object.
        k: u8,
        /// The contract for each shard.
        contracts: List<ContractId, SHARDS_MAX>,
    },
    /// Every shard of an object was acknowledged as stored.
    ObjectStored {
        /// Which object.
        object: ObjectId,
        /// Its length.
        length: Bytes,
        /// The index of its set.
        set: u32,
        /// Its shards, in the order of the set's contracts.
        shards: List<ShardId, SHARDS_MAX>,
    },
    /// An object is no longer wanted.
    ObjectRemoved {
        /// Which object.
        object: ObjectId,
    },
    /// A backup began; until it finishes there may be packs that no index names.
    BackupStarted,
    /// The backup's snapshot was stored.
    BackupFinished,
    /// A provider was caught and is not dealt with again.
    ProviderDistrusted {
        /// Which provider.
        provider: EntityId,
        /// What it did.
        why: Text<200>,
    },
    /// Every shard of an object, each with its tags behind it, was acknowledged as stored.
    TaggedObjectStored {
        /// Which object.
        object: ObjectId,
        /// Its length.
        length: Bytes,
        /// The index of its set.
        set: u32,
        /// How many shards rebuild it.
        k: u8,
        /// Its shards, in the order of the set's contracts.
        shards: List<ShardId, SHARDS_MAX>,
        /// What it is tagged as; see [`object_tag`](crate::tagging::object_tag).
        tagged: Digest,
    },
    /// The audit log has come so far.
    AuditsLogged {
        /// How many entries it has.
        entries: u64,
        /// The link of the last; zero if there is none.
        link: Digest,
    },
    /// As `TaggedObjectStored`, of an object without tags.
    ObjectCoded {
        /// Which object.
        object: ObjectId,
        /// Its length.
        length: Bytes,
        /// The index of its set.
        set: u32,
        /// How many shards rebuild it.
        k: u8,
        /// Its shards, in the order of the set's contracts.
        shards: List<ShardId, SHARDS_MAX>,
    },
    /// The book is about to be given to the hosts under this number, which is never used again.
    StateNumbered {
        /// The number: higher than all before.
        sequence: u64,
    },
    /// A slot is lost; its shards are about to be made anew under another contract.
    SlotIntended {
        /// The index of the set.
        set: u32,
        /// Which slot of it.
        index: u8,
        /// The contract that is to take it.
        contract: ContractId,
    },
    /// Every object of the set has its shard under the contract intended, which takes the slot.
    SlotReplaced {
        /// The index of the set.
        set: u32,
        /// Which slot of it.
        index: u8,
        /// The contract that takes it.
        contract: ContractId,
    },
    /// The provider was audited under a contract.
    Audited {
        /// Which contract.
        contract: ContractId,
        /// When.
        at: Timestamp,
        /// How it came out.
        verdict: Verdict,
    },
    /// What was kept under a contract counts as lost, and others take the provider's place.
    ContractLost {
        /// Which contract.
        contract: ContractId,
    },
    /// What is known of a provider, as a whole: in a book that the hosts kept, instead of all that led to it.
    TrustKept {
        /// Which provider.
        provider: EntityId,
        /// Its record.
        record: Option<Record>,
        /// What it has earned of trust.
        exposure: Option<Exposure>,
    },
    /// Until when a contract was proven to be kept, and whether it counts as lost: as `TrustKept`.
    ProofKept {
        /// Which contract.
        contract: ContractId,
        /// Until when; nothing if it was never audited.
        proven: Option<Timestamp>,
        /// Whether it counts as lost.
        lost: bool,
    },
    /// Which contract a slot of a set has now: in a book that the hosts kept, instead of all that led to it; and of a contract that was
    /// taken over, in each set but the first that shares it.
    SlotTaken {
        /// The index of the set.
        set: u32,
        /// The number of the slot.
        index: u8,
        /// The contract.
        contract: ContractId,
    },
    /// The shards of a slot are tagged under a contract that is not its own: in the book of a delegate, its owner's; and where a set
    /// keeps a contract of another, the one that its slot had first there.
    SlotTagged {
        /// The index of the set.
        set: u32,
        /// The number of the slot.
        index: u8,
        /// The contract that the slot had first.
        origin: ContractId,
    },
    /// A contract that is intended renews another's, and is for this slot.
    SlotTaking {
        /// The index of the set.
        set: u32,
        /// The number of the slot.
        index: u8,
        /// The contract intended.
        contract: ContractId,
    },
    /// A provider signed that it keeps a shard no longer.
    ShardDeleted {
        /// The receipt, verified.
        receipt: SignedDeletion,
    },
    /// A provider signed a contract that takes over all shards of another.
    ContractRenewed {
        /// The one that is over.
        from: ContractId,
        /// What was used under it.
        tab: Tab,
        /// What it pays.
        paid: Amount,
        /// The one that follows.
        to: ContractId,
        /// The provider's signature of its terms.
        provider_signature: Signature,
    },
    /// A provider was paid more for nothing than is risked with it: in books of before `LossKept`.
    LossNoted {
        /// Under which contract.
        contract: ContractId,
        /// How much, in all.
        lost: Amount,
    },
    /// As `LossKept`, but for a read: in books of before that.
    PutLossKept {
        /// Under which contract.
        contract: ContractId,
        /// How much, in all, in 10⁻¹² of a unit.
        lost: u128,
        /// What it took back of what the put was charged, in the same.
        behind: u128,
        /// The account as it was confirmed before a request of which nobody knows whether it was counted.
        broke: Option<Tab>,
        /// A put that broke off.
        put: Option<BrokenPut>,
    },
    /// As `LossKept`, but for whether a put was asked for: in books of before that.
    ReadLossKept {
        /// Under which contract.
        contract: ContractId,
        /// As in `PutLossKept`.
        lost: u128,
        /// As in `PutLossKept`.
        behind: u128,
        /// As in `PutLossKept`.
        broke: Option<Tab>,
        /// As in `PutLossKept`.
        put: Option<BrokenPut>,
        /// A read that was not answered.
        read: Option<BrokenRead>,
    },
    /// As `LossKept`, but for how many epochs were paid for when a put was asked for: in books of before that.
    AskedLossKept {
        /// Under which contract.
        contract: ContractId,
        /// As in `PutLossKept`.
        lost: u128,
        /// As in `PutLossKept`.
        behind: u128,
        /// As in `PutLossKept`.
        broke: Option<Tab>,
        /// As in `PutLossKept`.
        put: Option<BrokenPut>,
        /// As in `ReadLossKept`.
        read: Option<BrokenRead>,
        /// Until when its provider is held to the put, if it was asked for it.
        until: Option<Timestamp>,
    },
    /// What a provider was paid for nothing, and what is not known yet of that.
    LossKept {
        /// Under which contract.
        contract: ContractId,
        /// All that is known.
        loss: Loss,
    },
    /// A put was under way when the power was cut, or may have been. An event `LossKept` says what has become of it.
    PutCut {
        /// Under which contract.
        contract: ContractId,
        /// Of what.
        put: BegunPut,
    },
    /// How surely an object of a set was to survive an epoch when it was formed.
    SetPromised {
        /// The index of the set.
        set: u32,
        /// The probability, above 0 and below 1, as the bits of an IEEE 754 double.
        survive: u64,
    },
    /// A delegate is about to hand back under this number, which is never used again.
    HandedBack {
        /// The number: higher than all before.
        sequence: u64,
    },
    /// An owner begins to take back by a file of its delegate.
    Reclaimed {
        /// Whose file.
        delegate: EntityId,
        /// Its number: none that is lower is taken any more.
        sequence: u64,
    },
    /// A shard of so many bytes may come to lie under a contract, of which no object tells: it is about to be put, or was
    /// another's.
    Giving {
        /// Which contract.
        contract: ContractId,
        /// How many bytes.
        bytes: Bytes,
    },
    /// A shard of so many bytes each is about to be put under every contract of a set; an object that is stored says so then.
    GivingAll {
        /// The index of the set.
        set: u32,
        /// How many bytes each.
        bytes: Bytes,
    },
    /// The host has marked a shard, and dropped the one that it had marked before.
    StateMarked {
        /// Under which contract.
        contract: ContractId,
        /// How long the shard is.
        bytes: Bytes,
    },
    /// What may lie under a contract beside its objects: in a book that the hosts kept, instead of all that led to it.
    GivenKept {
        /// Which contract.
        contract: ContractId,
        /// What was acknowledged as parts of objects, and not deleted.
        given: Bytes,
        /// What no object tells of.
        giving: Bytes,
        /// How much of that is marked.
        marked: Bytes,
    },
    /// The contract is over, or came to nothing: all that was known of it then.
    ContractOver {
        /// Which contract.
        contract: ContractId,
        /// When it ended, and why.
        state: State,
        /// What was used, if that is known.
        tab: Option<Tab>,
        /// The highest that was signed for, or what its provider says that it was paid, if that is known.
        paid: Option<Amount>,
        /// Whether it counts as a deal that its provider has kept.
        kept: bool,
    },
    /// The issuer says what the hold of a contract that is over has paid.
    HoldClosed {
        /// Which contract.
        contract: ContractId,
        /// How much its provider got.
        paid: Amount,
    },
    /// What a provider says of who runs it.
    OperatorSaid {
        /// Which provider.
        provider: EntityId,
        /// Its word, which nobody proves.
        operator: Label,
    },
    /// A host was reached at another address than before: its key has answered there.
    HostMoved {
        /// Whose, and where.
        address: Address,
    },
    /// A provider did not answer a read, which is to be asked again by the next audit of the contract.
    ReadUnanswered {
        /// Under which contract.
        contract: ContractId,
        /// Of which shard.
        shard: ShardId,
        /// From where.
        offset: Bytes,
        /// How many bytes.
        length: Bytes,
    },
    /// The same as [`Event::Audited`], of one contract among several that one provider was audited under at one time.
    AuditedAmong {
        /// Which contract.
        contract: ContractId,
        /// When.
        at: Timestamp,
        /// How it came out.
        verdict: Verdict,
        /// How many there were.
        of: u32,
    },
    /// A provider says that it has renewed the contract with another buyer: a delegate, which this book has not heard of yet.
    ContractPassedOn {
        /// Which contract.
        contract: ContractId,
    },
    /// The same, and when this was heard first.
    PassedOnSince {
        /// Which contract.
        contract: ContractId,
        /// When.
        at: Timestamp,
    },
    /// A mandate is about to be given.
    Entrusted {
        /// To whom.
        to: EntityId,
        /// Until when it is good.
        until: Timestamp,
    },
    /// A provider that was asked for the account of a contract has shown it, and it is not the one seen last.
    AccountSeen {
        /// Which contract.
        contract: ContractId,
        /// The account.
        tab: Tab,
    },
    /// So many receipts for deletions there are of a contract, in the journal of a book that hosts kept, and they freed so much.
    DeletionsCounted {
        /// Which contract.
        contract: ContractId,
        /// How many.
        count: u64,
        /// What they freed.
        bytes: Bytes,
    },
    /// A provider has acknowledged that so many epochs are paid for.
    EpochsPaid {
        /// Which contract.
        contract: ContractId,
        /// How many, from the first.
        epochs: u64,
    },
    /// A contract that is intended is to take a lost slot: what its hold comes to counts against later repairs, too.
    ForSlot {
        /// Which contract.
        contract: ContractId,
    },
}
choice!(Event {
    1 => ContractIntended { terms, address, hold_request, hold_max, hold_expires },
    2 => ContractOpened { contract, provider_signature },
    3 => ContractEnded { contract, tab, paid },
    4 => SetFormed { coding, k, contracts },
    5 => ObjectStored { object, length, set, shards },
    6 => ObjectRemoved { object },
    7 => BackupStarted,
    8 => BackupFinished,
    9 => ProviderDistrusted { provider, why },
    23 => ObjectCoded { object, length, set, k, shards },
    24 => StateNumbered { sequence },
    27 => SlotIntended { set, index, contract },
    28 => SlotReplaced { set, index, contract },
    10 => Audited { contract, at, verdict },
    11 => ContractLost { contract },
    33 => TrustKept { provider, record, exposure },
    34 => ProofKept { contract, proven, lost },
    35 => SlotTaken { set, index, contract },
    36 => SlotTagged { set, index, origin },
    37 => SlotTaking { set, index, contract },
    17 => ShardDeleted { receipt },
    18 => ContractRenewed { from, tab, paid, to, provider_signature },
    19 => LossNoted { contract, lost },
    55 => PutLossKept { contract, lost, behind, broke, put },
    65 => ReadLossKept { contract, lost, behind, broke, put, read },
    69 => AskedLossKept { contract, lost, behind, broke, put, read, until },
    71 => LossKept { contract, loss },
    68 => PutCut { contract, put },
    40 => SetPromised { set, survive },
    41 => OperatorSaid { provider, operator },
    42 => HandedBack { sequence },
    43 => Reclaimed { delegate, sequence },
    44 => Giving { contract, bytes },
    45 => GivingAll { set, bytes },
    46 => StateMarked { contract, bytes },
    47 => GivenKept { contract, given, giving, marked },
    48 => ContractOver { contract, state, tab, paid, kept },
    49 => HoldClosed { contract, paid },
    50 => HostMoved { address },
    51 => AuditedAmong { contract, at, verdict, of },
    60 => ReadUnanswered { contract, shard, offset, length },
    61 => ContractPassedOn { contract },
    80 => PassedOnSince { contract, at },
    81 => Entrusted { to, until },
    64 => AccountSeen { contract, tab },
    66 => EpochsPaid { contract, epochs },
    67 => DeletionsCounted { contract, count, bytes },
    70 => ForSlot { contract },
    13 => TaggedObjectStored { object, length, set, k, shards, tagged },
    14 => AuditsLogged { entries, link },
});
