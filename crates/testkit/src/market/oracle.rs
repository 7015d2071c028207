//! What everybody is owed, told from the frames alone.
//!
//! It watches the network and keeps books of its own, with arithmetic of its own: it shares the messages' formats with
//! what it judges, and no counting, pricing or rounding.
//!
//! For each contract it has two accounts. As the *provider* can know it: the highest voucher that has come, and what was
//! served. As the *buyer* can know it: the highest voucher that was signed, and what was received, or claimed.

mod taken;
mod used;

pub(super) use taken::Ended;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fondaco_audit::ShardId;
use fondaco_contract::{ContractId, Ending, Terms};
use fondaco_crypto::{Digest, EntityId};
use fondaco_ledger::HoldId;
use fondaco_ports::market::{Frame as _, Reason, Request, Response, Step};
use fondaco_transport::{Passing, Protocol, Tap};
use taken::OpenPut;
use tokio::time::Instant;
use used::{Charge, Keep, Side, Used};

/// What a right clock shows when a run begins.
pub(super) const BEGAN: u64 = 1_800_000_000_000;
/// Reads are charged by the whole unit.
const UNIT: u64 = 16 << 10;
/// In how many parts a unit of money is counted.
const PARTS: u128 = 1_000_000_000_000;

/// One contract.
#[derive(Clone, Debug)]
struct Account {
    terms: Terms,
    hold: HoldId,
    /// The highest voucher that has come to its provider.
    got: u64,
    served: Side,
    /// What came and was not answered with service.
    unserved: Used,
    /// Whether its provider crashed since it last said how the contract stands.
    crashed: bool,
    /// The highest voucher that its buyer signed.
    signed: u64,
    /// What its buyer knows to have been used, by what it got or by what it was told.
    known: Side,
    /// How many steps were paid for and not served, as far as the buyer knows.
    taken: u64,
    /// What was paid for and came: what was signed for beyond it, its provider has taken.
    came: Used,
    closed: bool,
    /// Whether another contract has taken its shards.
    renewed: bool,
    /// How long the longest shard is that was ever put.
    longest: u64,
    /// A read that was paid for.
    last_read: Option<Request>,
    /// Whether its buyer was told that it is over.
    is_over: bool,
    /// The part of a shard that was paid for last, as it is charged, until it comes.
    unread: Option<((ShardId, u64, u64), u64)>,
    /// The shards that the buyer sent to the end and has no receipt for, whatever the host says.
    handed: BTreeMap<ShardId, u64>,
    /// Whether somebody else was its buyer before, whose shards were not told of.
    was_anothers: bool,
    /// Since when what was signed for last is not answered, if it is not.
    waits: Option<Instant>,
    /// How often its buyer's power was cut meanwhile, so that it cannot know what became of it.
    cut_short: u64,
    /// The put that its provider has the beginning of, if it was paid for.
    open_put: Option<OpenPut>,
    /// How many bytes of each shard came to its provider, as far as the buyer knows.
    put: BTreeMap<ShardId, u64>,
}

impl Account {
    fn new(terms: &Terms, hold: HoldId) -> Self {
        Self {
            terms: *terms,
            hold,
            got: 0,
            served: Side::default(),
            unserved: Used::default(),
            crashed: false,
            signed: 0,
            known: Side::default(),
            taken: 0,
            came: Used::default(),
            closed: false,
            renewed: false,
            longest: 0,
            last_read: None,
            is_over: false,
            unread: None,
            handed: BTreeMap::new(),
            was_anothers: false,
            waits: None,
            cut_short: 0,
            open_put: None,
            put: BTreeMap::new(),
        }
    }
}

/// What a stream is about.
struct Exchange {
    contract: ContractId,
    put: Option<(Keep, u64)>,
    /// The part of a shard that is to be sent again.
    again: Option<(ShardId, u64, u64)>,
    deletes: Option<ShardId>,
    /// Whether it is about contracts of somebody else, whoever it is answered for.
    admits: bool,
    /// What was asked for last.
    charge: Option<Charge>,
    /// Vouchers on their way.
    vouchers: VecDeque<Option<u64>>,
    answers: VecDeque<Option<Box<Response>>>,
}

#[derive(Default)]
struct State {
    honest: BTreeSet<EntityId>,
    accounts: BTreeMap<ContractId, Account>,
    exchanges: BTreeMap<(u64, u64), Exchange>,
    /// The last connection that anything was asked over.
    connection: u64,
    /// The last before a provider lost its power: what its process says over it after that comes to nobody.
    dead: BTreeMap<EntityId, u64>,
    /// How long each shard is that was ever put: its name is of its content.
    sizes: BTreeMap<ShardId, u64>,
    /// How many bytes a host may have been meant to get at most, of puts that came to nothing.
    unhanded: u64,
    /// With how much money each buyer trusts a provider of which it knows nothing.
    caps: BTreeMap<EntityId, u64>,
    faults: Vec<String>,
    trace: Chain,
    frames: u64,
    began: Option<Instant>,
}

/// The running digest of all frames.
struct Chain(Digest);

impl Default for Chain {
    fn default() -> Self {
        Self(Digest::of(b"market"))
    }
}

/// What can be told of one contract at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) provider: EntityId,
    pub(super) buyer: EntityId,
    pub(super) hold: HoldId,
    pub(super) signed: u64,
    ends: u64,
    /// Whether its provider signed it.
    opened: bool,
    renewed: bool,
    /// When it lapses, unless it is paid for.
    lapses: u64,
    pub(super) taken: u64,
    pub(super) closed: bool,
    /// How many bytes its provider said last that it keeps, or took since.
    pub(super) claimed: u64,
}

impl Told {
    /// Whether its provider must still keep what it was given, at a moment in milliseconds.
    pub(super) fn is_paid_at(&self, now: u64) -> bool {
        self.opened && !self.renewed && now < self.lapses.min(self.ends)
    }
}

/// Who watches the network and keeps books. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Oracle(Arc<Mutex<State>>);

impl Oracle {
    /// Begins to watch. On a tokio runtime.
    pub(super) fn begin() -> Self {
        let oracle = Self::default();
        oracle.state().began = Some(Instant::now());
        oracle
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes every fault of this provider or buyer for one.
    pub(super) fn trust(&self, entity: EntityId) {
        self.state().honest.insert(entity);
    }

    /// Notes what is not as it must be.
    pub(super) fn fault(&self, what: String) {
        self.state().faults.push(what);
    }

    /// Something is put, and may come to nothing: a buyer may believe that a host has it, and nothing else.
    pub(super) fn came_to_nothing(&self, bytes: u64) {
        self.state().unhanded += bytes;
    }

    /// What was put has come to every host that it was meant for.
    pub(super) fn came_to_be(&self, bytes: u64) {
        self.state().unhanded -= bytes;
    }

    /// Returns the first thing that was not as it must be.
    pub(super) fn first_fault(&self) -> Option<String> {
        self.state().faults.first().cloned()
    }

    /// A provider lost its power, and with it what it had not made durable.
    pub(super) fn crashed(&self, provider: EntityId) {
        let mut state = self.state();
        let last = state.connection;
        state.dead.insert(provider, last);
        for account in state.accounts.values_mut() {
            if account.terms.prices.provider == provider {
                account.crashed = true;
            }
        }
    }

    pub(super) fn trace(&self) -> (Digest, u64) {
        let state = self.state();
        (state.trace.0, state.frames)
    }

    /// Adds something to the trace that went over no network.
    pub(super) fn note(&self, what: &str) {
        self.state().trace(what.as_bytes());
    }

    /// Returns a read that was paid for at this provider.
    pub(super) fn old_read(&self, provider: EntityId) -> Option<Request> {
        let state = self.state();
        let mut of_provider =
            state.accounts.values().filter(|account| account.terms.prices.provider == provider);
        of_provider.find_map(|account| account.last_read.clone())
    }

    pub(super) fn contracts(&self) -> BTreeMap<ContractId, Told> {
        let state = self.state();
        let told = |account: &Account| {
            let Account { terms, hold, signed, known, served, taken, closed, renewed, .. } =
                account;
            let epoch = terms.prices.epoch.milliseconds();
            let begins = terms.begins.milliseconds();
            Told {
                provider: terms.prices.provider,
                buyer: terms.buyer,
                hold: *hold,
                signed: *signed,
                ends: terms.ends.milliseconds(),
                opened: served.used.opened,
                renewed: *renewed,
                lapses: begins + epoch * (known.used.advanced + 2),
                taken: *taken,
                closed: *closed,
                claimed: known.stored,
            }
        };
        state.accounts.iter().map(|(id, account)| (*id, told(account))).collect()
    }
}

impl State {
    fn trace(&mut self, bytes: &[u8]) {
        let mut chain = self.trace.0.as_bytes().to_vec();
        chain.extend_from_slice(Digest::of(bytes).as_bytes());
        self.trace = Chain(Digest::of(&chain));
    }

    /// The buyer asks.
    fn asks(&mut self, at: (u64, u64), to: EntityId, frame: &[u8]) -> Option<()> {
        let voucher = match self.exchanges.get(&at) {
            None => self.begins(at, to, frame)?,
            Some(exchange) => {
                let Step { voucher, bytes } = Step::from_frame(frame).ok()?;
                let (contract, (keep, done)) = (exchange.contract, exchange.put?);
                let bytes = bytes.as_slice().len() as u64;
                let done = done + bytes;
                let kept = (done == keep.size).then_some(keep);
                if let Some(account) = self.accounts.get_mut(&contract) {
                    account.puts(keep.shard);
                    if kept.is_some() {
                        account.handed.insert(keep.shard, keep.size);
                    }
                }
                let exchange = self.exchanges.get_mut(&at)?;
                exchange.put = Some((keep, done));
                exchange.charge = Some(Charge::Write { bytes, keep: kept });
                Some(voucher.voucher.cumulative.get())
            }
        };
        let exchange = self.exchanges.get_mut(&at)?;
        exchange.vouchers.push_back(voucher);
        let (contract, charge) = (exchange.contract, exchange.charge);
        if let (Some(cumulative), Some(charge)) = (voucher, charge) {
            self.signs(contract, charge, cumulative);
        }
        Some(())
    }

    /// A stream begins.
    fn begins(&mut self, at: (u64, u64), to: EntityId, frame: &[u8]) -> Option<Option<u64>> {
        let request = Request::from_frame(frame).ok()?;
        let (mut put, mut again, mut deletes) = (None, None, None);
        let (mut charge, mut voucher) = (None, None);
        let contract = match &request {
            Request::Open { terms, voucher: signed, .. } => {
                charge = Some(Charge::Open);
                voucher = Some(signed.voucher.cumulative.get());
                self.opens(terms);
                let account = Account::new(terms, signed.voucher.hold);
                self.accounts.entry(terms.id()).or_insert(account);
                terms.id()
            }
            Request::Renew { terms, voucher: signed, .. } => {
                let old = self.accounts.get(&terms.renews?)?;
                charge = Some(Charge::Renew { bytes: old.served.stored });
                voucher = Some(signed.voucher.cumulative.get());
                let mut account = Account::new(terms, signed.voucher.hold);
                account.longest = old.longest;
                self.accounts.entry(terms.id()).or_insert(account);
                terms.id()
            }
            Request::Put { contract, shard, size, epoch } => {
                self.sizes.insert(*shard, size.get());
                let account = self.accounts.get_mut(contract)?;
                account.longest = account.longest.max(size.get());
                let keep = Keep { shard: *shard, size: size.get(), epoch: *epoch };
                put = Some((keep, 0));
                if size.get() == 0 {
                    charge = Some(Charge::Write { bytes: 0, keep: Some(keep) });
                }
                *contract
            }
            Request::Get { contract, shard, offset, length, voucher: signed } => {
                let account = self.accounts.get_mut(contract)?;
                let size = *self.sizes.get(shard).unwrap_or(&u64::MAX);
                let start = offset.get() / UNIT * UNIT;
                let end = (offset.get() + length.get()).div_ceil(UNIT) * UNIT;
                let bytes = end.min(size).saturating_sub(start);
                charge = Some(Charge::Read { bytes });
                voucher = Some(signed.voucher.cumulative.get());
                account.unread = Some(((*shard, offset.get(), length.get()), bytes));
                account.last_read = Some(request.clone());
                *contract
            }
            Request::Again { contract, shard, offset, length } => {
                again = Some((*shard, offset.get(), length.get()));
                *contract
            }
            Request::Advance { contract, voucher: signed } => {
                charge = Some(Charge::Advance);
                voucher = Some(signed.voucher.cumulative.get());
                *contract
            }
            Request::Delete { contract, shard } => {
                deletes = Some(*shard);
                self.accounts.get_mut(contract)?.forgets(*shard);
                *contract
            }
            Request::Close { contract } => {
                self.accounts.get_mut(contract)?.closed = true;
                *contract
            }
            Request::Status { contract } => *contract,
            Request::Admit { mandate } => {
                let is_one = |account: &&Account| {
                    account.terms.buyer == mandate.mandate.from
                        && account.terms.prices.provider == to
                };
                self.accounts.values().find(is_one)?.terms.id()
            }
            _ => return None,
        };
        let (vouchers, answers) = (VecDeque::new(), VecDeque::new());
        let admits = matches!(request, Request::Admit { .. });
        let exchange =
            Exchange { contract, put, again, deletes, admits, charge, vouchers, answers };
        self.exchanges.insert(at, exchange);
        self.connection = self.connection.max(at.0);
        Some(voucher)
    }

    /// A buyer signs for no more than it knows to be owed, and for what it asks for now.
    fn signs(&mut self, contract: ContractId, charge: Charge, cumulative: u64) {
        let Some(account) = self.accounts.get_mut(&contract) else { return };
        if !self.honest.contains(&account.terms.buyer) {
            account.signed = account.signed.max(cumulative);
            return;
        }
        let prices = &account.terms.prices;
        let handed: u64 = account.handed.values().sum();
        let (claimed, unhanded) = (account.known.stored, self.unhanded);
        // What its host claims to another process, or to a question that is not about money, it need not have heard.
        let kept = Used { kept: u128::from(handed + unhanded), advanced: 1, ..Used::default() };
        let fair = account.known.used.plus(&kept).cost(prices).max(account.signed);
        if matches!(charge, Charge::Advance)
            && claimed > handed + unhanded
            && cumulative > fair
            && !account.was_anothers
        {
            self.faults.push(format!(
                "a buyer paid for keeping {claimed} bytes of {handed} that it gave, and {unhanded} that it may have"
            ));
        }
        let owed = account.known.used.plus(&account.known.what(charge)).cost(prices);
        // A voucher that was signed, and whose stream could not be opened, was never sent; it is not taken back.
        let side = &account.known;
        let longest = u128::from(account.longest);
        let step = Used {
            written: prices.step_max.get(),
            read: prices.step_max.get() + 2 * UNIT,
            kept: u128::from(side.stored) + longest * u128::from(1 + side.used.advanced),
            ..Used::default()
        };
        let most = side.used.plus(&side.what(charge)).plus(&step).cost(prices);
        if cumulative > most.max(account.signed) {
            let known = account.known.used;
            let what = format!(
                "a buyer signed for {cumulative}, when {owed} were owed: {charge:?} after {known:?}"
            );
            self.faults.push(what);
        }
        let step = prices.step_max.get();
        let over = match charge {
            Charge::Write { bytes, .. } => bytes > step,
            Charge::Read { bytes } => bytes > step + 2 * UNIT,
            Charge::Open | Charge::Advance | Charge::Renew { .. } => false,
        };
        if over {
            self.faults.push(format!("more than a step was risked: {charge:?}"));
        }
        let is_new = cumulative > account.signed;
        if is_new && account.is_over {
            self.faults.push(format!("a buyer paid on under a contract that is over: {charge:?}"));
        }
        if is_new {
            account.signed = cumulative;
            account.taken += 1;
            account.waits = Some(Instant::now());
        }
        self.takes(contract);
        if is_new && matches!(charge, Charge::Write { .. } | Charge::Read { .. }) {
            self.loses(contract);
        }
    }

    /// A request has come to its provider.
    fn hears(&mut self, at: (u64, u64)) -> Option<()> {
        let exchange = self.exchanges.get_mut(&at)?;
        let voucher = exchange.vouchers.pop_front()?;
        let account = self.accounts.get_mut(&exchange.contract)?;
        account.got = account.got.max(voucher.unwrap_or(0));
        if let Some(shard) = exchange.deletes {
            account.served.delete(shard);
        }
        if let Some(charge) = exchange.charge {
            account.unserved = account.unserved.plus(&account.served.what(charge));
        }
        Some(())
    }

    /// The provider answers.
    fn answers(&mut self, at: (u64, u64), provider: EntityId, frame: &[u8]) -> Option<()> {
        if self.dead.get(&provider).is_some_and(|last| at.0 <= *last) {
            return None;
        }
        let exchange = self.exchanges.get_mut(&at)?;
        let response = Response::from_frame(frame).ok().map(Box::new);
        exchange.answers.push_back(response.clone());
        let (contract, charge) = (exchange.contract, exchange.charge);
        let account = self.accounts.get_mut(&contract)?;
        let (mut faults, mut moved) = (Vec::new(), None);
        let at_now = BEGAN + elapsed(self.began);
        let response = *response?;
        match response {
            Response::Opened { .. }
            | Response::Taken { .. }
            | Response::Stored
            | Response::Slice { .. }
            | Response::Renewed { .. }
            | Response::Advanced { .. } => {
                let charge = charge?;
                let is_new = match charge {
                    Charge::Open | Charge::Renew { .. } => !account.served.used.opened,
                    // It is answered when it is durable, and a status asked for meanwhile has told of it.
                    Charge::Advance => match response {
                        Response::Advanced { epochs_paid } => {
                            epochs_paid > account.served.used.advanced + 1
                        }
                        _ => true,
                    },
                    Charge::Write { .. } | Charge::Read { .. } => true,
                };
                if is_new {
                    let used = account.served.add(charge);
                    let left = &mut account.unserved;
                    left.written -= used.written.min(left.written);
                    left.read -= used.read.min(left.read);
                    left.kept -= used.kept.min(left.kept);
                    left.advanced -= used.advanced.min(left.advanced);
                    moved = account.terms.renews;
                }
                let owed = account.served.used.cost(&account.terms.prices);
                if owed > account.got && !account.crashed {
                    let got = account.got;
                    faults.push(format!("unpaid service: {owed} served for {got}: {charge:?}"));
                }
            }
            // The host has the first bytes from a put that broke off.
            Response::Resume { at } => {
                if let Some((_, done)) = &mut exchange.put {
                    *done = at.get();
                }
            }
            Response::Status { tab, voucher, state, .. } => {
                let told = Used::of(&tab);
                account.renewed |= state.why() == Some(Ending::Renewed);
                if account.crashed {
                    // What reads and broken puts came to, it may have lost; never what it acknowledged as stored.
                    account.served.used.written = account.served.used.written.min(told.written);
                    account.served.used.read = account.served.used.read.min(told.read);
                    account.crashed = false;
                }
                let (served, most) =
                    (account.served.used, account.served.used.plus(&account.unserved));
                if !served.is_within(&told) {
                    faults.push(format!("served and forgotten: {served:?}, told {told:?}"));
                }
                if !told.is_within(&most) {
                    faults.push(format!("counted and never asked for: {told:?}, most {most:?}"));
                }
                let shown = voucher.map_or(0, |signed| signed.voucher.cumulative.get());
                let owed = told.cost(&account.terms.prices);
                if owed > shown || shown > account.got {
                    let got = account.got;
                    faults.push(format!("{owed} owed, {shown} shown, {got} got"));
                }
                // What came and was never answered is now known to be counted or not.
                account.served.used = told;
                account.unserved = Used::default();
                account.served.stored = tab.stored.get();
                let kept: u64 = account.served.shards.values().sum();
                if tab.stored.get() < kept && !state.has_ended() {
                    let stored = tab.stored.get();
                    faults.push(format!("{kept} bytes are acknowledged, {stored} are kept"));
                }
            }
            Response::Refused { reason: Reason::Ended { why: Ending::Renewed } } => {
                account.renewed = true;
            }
            // It was told to nobody that it is over.
            Response::Refused { reason: Reason::UnknownContract }
                if account.served.used.opened && !account.closed && !exchange.admits =>
            {
                let (now, ends) = (at_now, account.terms.ends.milliseconds());
                if now < ends {
                    faults
                        .push(format!("a contract is forgotten {} ms before its end", ends - now));
                }
            }
            // As a status of each, told to who may not be its buyer.
            Response::Admitted { list } => {
                for line in list.as_slice() {
                    let Some(account) = self.accounts.get_mut(&line.terms.id()) else { continue };
                    account.served.used = Used::of(&line.tab);
                    account.served.stored = line.tab.stored.get();
                    account.unserved = Used::default();
                }
            }
            _ => {}
        }
        if let Some(from) = moved {
            self.moves(from, contract, |account| &mut account.served);
        }
        if self.honest.contains(&provider) {
            let who = provider.short();
            self.faults.extend(faults.into_iter().map(|what| format!("host {who}: {what}")));
        }
        Some(())
    }

    /// What was kept under a contract is kept under the one that renews it, as one side knows.
    fn moves(&mut self, from: ContractId, to: ContractId, side: fn(&mut Account) -> &mut Side) {
        let Some(old) = self.accounts.get_mut(&from) else { return };
        old.renewed = true;
        let (handed, buyer, was) =
            (std::mem::take(&mut old.handed), old.terms.buyer, old.was_anothers);
        let old = side(old);
        let (shards, stored) = (std::mem::take(&mut old.shards), std::mem::take(&mut old.stored));
        let Some(new) = self.accounts.get_mut(&to) else { return };
        new.handed.extend(handed);
        new.was_anothers |= was || buyer != new.terms.buyer;
        let new = side(new);
        new.shards.extend(shards);
        new.stored += stored;
    }

    /// An answer has come to its buyer.
    fn learns(&mut self, at: (u64, u64)) -> Option<()> {
        let exchange = self.exchanges.get_mut(&at)?;
        let response = exchange.answers.pop_front()??;
        let contract = exchange.contract;
        let account = self.accounts.get_mut(&contract)?;
        if let Some((Keep { shard, size, .. }, _)) = exchange.put {
            account.hears_of_put(shard, size, &response);
        }
        if let (Some(part), Response::Slice { .. }) = (exchange.again, &*response) {
            account.waits = None;
            account.hears_again(part);
        }
        match *response {
            Response::Opened { .. }
            | Response::Taken { .. }
            | Response::Stored
            | Response::Slice { .. }
            | Response::Renewed { .. }
            | Response::Advanced { .. } => {
                let charge = exchange.charge?;
                account.waits = None;
                if matches!(charge, Charge::Read { .. }) {
                    account.unread = None;
                }
                let is_new = !matches!(charge, Charge::Renew { .. }) || !account.known.used.opened;
                if is_new {
                    let used = account.known.add(charge);
                    account.came = account.came.plus(&used);
                }
                account.taken = account.taken.saturating_sub(1);
                if matches!(charge, Charge::Advance) {
                    account.pays_an_epoch();
                }
                if let Some(from) = account.terms.renews.filter(|_| is_new) {
                    self.moves(from, contract, |account| &mut account.known);
                }
            }
            Response::Deleted { .. } => {
                account.known.delete(exchange.deletes?);
                account.handed.remove(&exchange.deletes?);
            }
            Response::Status { tab, state, .. } => {
                account.is_over = state.has_ended();
                account.waits = None; // it is compared with what was known before
                let advanced = account.known.used.advanced;
                account.known.used = Used::of(&tab);
                account.known.stored = tab.stored.get();
                if account.known.used.advanced > advanced {
                    account.pays_an_epoch();
                }
                account.hears_of(&tab);
            }
            _ => {}
        }
        Some(())
    }
}

/// How many milliseconds of the run went by.
fn elapsed(began: Option<Instant>) -> u64 {
    began.map_or(0, |began| u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
}

impl Tap for Oracle {
    fn sent(&self, passing: Passing<'_>) {
        let mut state = self.state();
        let Passing { from, to, connection, stream, protocol, frame } = passing;
        let at = elapsed(state.began);
        let head = format!("{at}{from}{to}{connection}/{stream}");
        state.frames += 1;
        state.trace(head.as_bytes());
        state.trace(frame);
        if protocol != Protocol::Storage {
            return;
        }
        let at = (connection, stream);
        let is_answer = state.exchanges.get(&at).is_some_and(|exchange| {
            state
                .accounts
                .get(&exchange.contract)
                .is_some_and(|account| account.terms.prices.provider == from)
        });
        // What is no message of a contract is not watched.
        let _ = match is_answer {
            true => state.answers(at, from, frame),
            false => state.asks(at, to, frame),
        };
    }

    fn came(&self, passing: Passing<'_>) {
        let Passing { from, connection, stream, protocol, .. } = passing;
        if protocol != Protocol::Storage {
            return;
        }
        let mut state = self.state();
        let at = (connection, stream);
        let Some(exchange) = state.exchanges.get(&at) else { return };
        let Some(account) = state.accounts.get(&exchange.contract) else { return };
        let _ = match account.terms.prices.provider == from {
            true => state.learns(at),
            false => state.hears(at),
        };
    }
}
