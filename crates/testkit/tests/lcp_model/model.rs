//! The states and the steps of the model.
//!
//! ```text
//!   holder                                 wire                            issuer
//!   saved: bit, one operation in doubt  ── requests, a queue each ──►  fence, then bit, then hash
//!   unsaved: the connection in use      ◄── answers, on that one ───   money, notices, one answer kept
//! ```

use std::collections::VecDeque;

use stateright::{Model, Property};

/// The holder's transfers, by what they move; the transfer's index is its request's hash.
const AMOUNTS: [u8; 2] = [2, 1];
/// What the issuer takes for a transfer, on top.
const TRANSFER_FEE: u8 = 1;
/// What the issuer takes for a query that shows a deposit.
const QUERY_FEE: u8 = 1;
/// What the holder's purse has at first: enough for either transfer, not for both.
const OPENING: u8 = 3;
/// What each deposit brings.
const DEPOSIT: u8 = 3;
/// What the payers of the holder have at first.
const PAYERS: u8 = 12;

/// One rule of the protocol taken away, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// The protocol as repaired.
    Nothing,
    /// No connection shuts out another.
    Fence,
    /// A connection shuts out older ones only, also when its holder goes on over an older one.
    FenceOnNewerToo,
    /// A connection is as new as its authentication is, not as its acceptance is.
    FenceByAcceptance,
    /// The fence is looked at when a request comes in, not when it executes.
    FenceAtExecution,
    /// Only the bit is kept: a request that comes again is answered by a fault.
    KeptAnswer,
    /// The bit alone says that a request comes again.
    Hash,
    /// A query that comes again is answered from the deposits of now.
    SameAnswer,
    /// Notices are deleted as they are sent.
    NoticesUntilNext,
    /// A failed request that comes again is tried again.
    KeptFailure,
    /// The fee of a query is taken for each time that it is answered.
    FeeOnce,
    /// The holder saves the bit first and what the answer says afterwards.
    OneSave,
    /// A holder that was told that its bit is taken goes on with the next one.
    Stop,
}

/// What the holder asks. The bit beside it completes the request's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// Pay: the index of one intention.
    Transfer(usize),
    /// Ask for deposits.
    Query,
}

/// A request as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    bit: bool,
    operation: Operation,
}

/// What the issuer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// The transfer was executed.
    Paid,
    /// The transfer was not executed for want of funds.
    Failed,
    /// The deposits not yet confirmed (a bit each), what was charged, and what the purse has.
    Deposits { notices: u8, fee: u8, balance: u8 },
    /// This bit is another request's.
    Conflict,
    /// This bit was used: all that an issuer without a kept answer can say.
    Duplicate,
}

/// What the holder believes of one intention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Belief {
    /// Not asked for.
    Open,
    /// Asked for, no answer yet: neither paid nor not paid.
    Doubt,
    Paid,
    NotPaid,
}

/// The holder: all is on its disk but `connection` and `unsaved`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Holder {
    bit: bool,
    doubt: Option<Operation>,
    beliefs: [Belief; 2],
    queries: u8,
    /// The notices that it has, a bit each.
    notices: u8,
    /// It was told that its bit is taken: a person must look.
    stopped: bool,
    connection: Option<usize>,
    /// Only [`Without::OneSave`].
    unsaved: Option<(Operation, Answer)>,
}

/// What the issuer keeps of the holder's last request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kept {
    request: Request,
    answer: Answer,
}

/// Where a holder spoke last, and the newest connection that was accepted by then: of those up to that, only this one
/// may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Line {
    connection: usize,
    newest: usize,
}

impl Line {
    const fn shuts_out(self, connection: usize) -> bool {
        connection != self.connection && connection <= self.newest
    }
}

/// The issuer: all is on its disk, each request in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Issuer {
    kept: Option<Kept>,
    /// The notices that it holds, a bit each.
    notices: u8,
    purse: u8,
    payee: u8,
    payers: u8,
    fees: u8,
    /// Where the holder spoke last.
    line: Option<Line>,
    /// Only [`Without::FenceByAcceptance`].
    authenticated: [bool; CONNECTIONS],
    /// Only [`Without::FenceAtExecution`]: the first request of the queue has passed the fence.
    admitted: [bool; CONNECTIONS],
}

/// What happened, in truth: nobody in the model reads it, the properties do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Truth {
    executed: [u8; 2],
    deposits: u8,
    query_fees: u8,
    /// Where a request was served last.
    served: Option<Line>,
    stale_executed: bool,
    replay_differed: bool,
}

/// The most connections that a holder opens in one run: A, B, and one more.
pub(crate) const CONNECTIONS: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    holder: Holder,
    issuer: Issuer,
    truth: Truth,
    /// Accepted connections, in the order of acceptance; all but the holder's own are left ones,
    /// whose requests may still come in.
    opened: usize,
    requests: [VecDeque<Request>; CONNECTIONS],
    /// Answers on the holder's connection: it reads no other.
    answers: VecDeque<(Request, Answer)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Somebody pays the holder.
    Deposit,
    /// The holder decides, and saves what it will ask.
    Decide(Operation),
    /// The holder opens a connection, and leaves the one that it had.
    Connect,
    /// The holder goes on over a connection that it had left.
    Return(usize),
    /// The holder sends what is in doubt, for the first time or again.
    Send,
    /// The first request of a connection passes the fence ([`Without::FenceAtExecution`]).
    Admit(usize),
    /// The first request of a connection reaches the issuer.
    Deliver(usize),
    LoseRequest(usize),
    LoseAnswer,
    /// The holder reads an answer, and saves what it says.
    Read,
    /// The second of two saves ([`Without::OneSave`]).
    Save,
    /// The holder crashes; what was saved is there again.
    Crash,
    /// The holder crashes, and its last save, a decision, was not on the disk yet.
    CrashAndForget,
}

/// The protocol, and how much of it happens in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) without: Without,
    /// Connections opened in one run, at most [`CONNECTIONS`].
    pub(crate) connections: usize,
    /// Queries in one run.
    pub(crate) queries: u8,
    /// Deposits in one run, at most 4.
    pub(crate) deposits: u8,
    /// Requests and answers under way on one connection.
    pub(crate) under_way: usize,
}

impl Protocol {
    fn fenced(&self, state: &State, connection: usize) -> bool {
        let Some(line) = state.issuer.line else { return false };
        match self.without {
            Without::Fence => false,
            Without::FenceOnNewerToo => connection < line.connection,
            Without::FenceByAcceptance => {
                state.issuer.authenticated[connection] && connection != line.connection
            }
            _ => line.shuts_out(connection),
        }
    }

    /// A request reaches the issuer.
    fn deliver(&self, state: &mut State, connection: usize) {
        let Some(request) = state.requests[connection].pop_front() else { return };
        let admitted = std::mem::take(&mut state.issuer.admitted[connection]);
        if !admitted && self.fenced(state, connection) {
            return;
        }
        if !admitted {
            self.raise_fence(state, connection);
        }
        let answer = match &state.issuer.kept {
            Some(kept) if kept.request.bit == request.bit => {
                let (same, kept) = (kept.request == request, kept.answer);
                self.answer_again(state, request, same, kept)
            }
            _ => {
                if state.truth.served.is_some_and(|served| served.shuts_out(connection)) {
                    state.truth.stale_executed = true;
                }
                self.execute(state, request)
            }
        };
        state.truth.served = Some(Line { connection, newest: state.opened - 1 });
        if state.holder.connection == Some(connection) {
            state.answers.push_back((request, answer));
        }
    }

    fn raise_fence(&self, state: &mut State, connection: usize) {
        // Only the mutant looks at it.
        state.issuer.authenticated[connection] = self.without == Without::FenceByAcceptance;
        state.issuer.line = Some(Line { connection, newest: state.opened - 1 });
    }

    /// The bit is that of the last request.
    fn answer_again(
        &self,
        state: &mut State,
        request: Request,
        same: bool,
        kept: Answer,
    ) -> Answer {
        if !same {
            return if self.without == Without::Hash { kept } else { Answer::Conflict };
        }
        let answer = match (self.without, kept) {
            (Without::KeptAnswer, _) => Answer::Duplicate,
            (Without::SameAnswer | Without::NoticesUntilNext, Answer::Deposits { fee, .. }) => {
                let Issuer { notices, purse: balance, .. } = state.issuer;
                Answer::Deposits { notices, fee, balance }
            }
            (Without::KeptFailure, Answer::Failed) => self.execute(state, request),
            (Without::FeeOnce, Answer::Deposits { fee, .. }) => {
                let fee = fee.min(state.issuer.purse);
                state.issuer.purse -= fee;
                state.issuer.fees += fee;
                kept
            }
            _ => kept,
        };
        if answer != kept {
            state.truth.replay_differed = true;
        }
        answer
    }

    /// The bit is the next one: the holder has the last answer, so the notices in it may go.
    fn execute(&self, state: &mut State, request: Request) -> Answer {
        let issuer = &mut state.issuer;
        if let Some(Kept { answer: Answer::Deposits { notices, .. }, .. }) = issuer.kept {
            issuer.notices &= !notices;
        }
        let answer = match request.operation {
            Operation::Transfer(intention) => {
                let amount = AMOUNTS[intention];
                match issuer.purse.checked_sub(amount + TRANSFER_FEE) {
                    None => Answer::Failed,
                    Some(rest) => {
                        issuer.purse = rest;
                        issuer.payee += amount;
                        issuer.fees += TRANSFER_FEE;
                        state.truth.executed[intention] += 1;
                        Answer::Paid
                    }
                }
            }
            Operation::Query => {
                let notices = issuer.notices;
                let fee = if notices == 0 { 0 } else { QUERY_FEE.min(issuer.purse) };
                issuer.purse -= fee;
                issuer.fees += fee;
                state.truth.query_fees += fee;
                if self.without == Without::NoticesUntilNext {
                    issuer.notices = 0;
                }
                Answer::Deposits { notices, fee, balance: issuer.purse }
            }
        };
        issuer.kept = Some(Kept { request, answer });
        answer
    }

    /// The holder reads an answer. Those to requests that are answered already say nothing new.
    fn read(&self, holder: &mut Holder, request: Request, answer: Answer) {
        if holder.doubt != Some(request.operation) || holder.bit != request.bit {
            return;
        }
        holder.doubt = None;
        if answer == Answer::Conflict && self.without != Without::Stop {
            holder.stopped = true;
        } else {
            holder.bit = !holder.bit;
        }
        if self.without == Without::OneSave {
            holder.unsaved = Some((request.operation, answer));
        } else {
            Self::believe(holder, request.operation, answer);
        }
    }

    fn believe(holder: &mut Holder, operation: Operation, answer: Answer) {
        match (operation, answer) {
            (Operation::Transfer(intention), Answer::Paid) => {
                holder.beliefs[intention] = Belief::Paid;
            }
            (
                Operation::Transfer(intention),
                Answer::Failed | Answer::Conflict | Answer::Duplicate,
            ) => holder.beliefs[intention] = Belief::NotPaid,
            (Operation::Query, Answer::Deposits { notices, .. }) => holder.notices |= notices,
            (Operation::Query, Answer::Conflict | Answer::Duplicate) => {}
            // The answer to another kind of request.
            (Operation::Transfer(_), Answer::Deposits { .. })
            | (Operation::Query, Answer::Paid | Answer::Failed) => holder.stopped = true,
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            holder: Holder {
                bit: false,
                doubt: None,
                beliefs: [Belief::Open; 2],
                queries: self.queries,
                notices: 0,
                stopped: false,
                connection: None,
                unsaved: None,
            },
            issuer: Issuer {
                kept: None,
                notices: 0,
                purse: OPENING,
                payee: 0,
                payers: PAYERS,
                fees: 0,
                line: None,
                authenticated: [false; CONNECTIONS],
                admitted: [false; CONNECTIONS],
            },
            truth: Truth {
                executed: [0; 2],
                deposits: 0,
                query_fees: 0,
                served: None,
                stale_executed: false,
                replay_differed: false,
            },
            opened: 0,
            requests: Default::default(),
            answers: VecDeque::new(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let State { holder, truth, requests, .. } = state;
        if truth.deposits < self.deposits {
            actions.push(Action::Deposit);
        }
        if holder.doubt.is_none() && holder.unsaved.is_none() && !holder.stopped {
            for (intention, belief) in holder.beliefs.iter().enumerate() {
                if *belief == Belief::Open {
                    actions.push(Action::Decide(Operation::Transfer(intention)));
                }
            }
            if holder.queries > 0 {
                actions.push(Action::Decide(Operation::Query));
            }
        }
        if state.opened < self.connections {
            actions.push(Action::Connect);
        }
        let left = (0..state.opened).filter(|left| holder.connection.is_some_and(|it| it != *left));
        actions.extend(left.map(Action::Return));
        if let Some(connection) = holder.connection
            && holder.doubt.is_some()
            && requests[connection].len() + state.answers.len() < self.under_way
        {
            actions.push(Action::Send);
        }
        for (connection, queue) in requests.iter().enumerate() {
            if queue.is_empty() {
                continue;
            }
            let admitted = state.issuer.admitted[connection];
            if self.without == Without::FenceAtExecution
                && !admitted
                && !self.fenced(state, connection)
            {
                actions.push(Action::Admit(connection));
            } else {
                actions.push(Action::Deliver(connection));
            }
            if !admitted {
                actions.push(Action::LoseRequest(connection));
            }
        }
        if !state.answers.is_empty() {
            actions.push(Action::Read);
            actions.push(Action::LoseAnswer);
        }
        if holder.unsaved.is_some() {
            actions.push(Action::Save);
        }
        if holder.connection.is_some() || holder.unsaved.is_some() {
            actions.push(Action::Crash);
        }
        if holder.doubt.is_some() {
            actions.push(Action::CrashAndForget);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let State { holder, issuer, truth, opened, requests, answers } = &mut state;
        match action {
            Action::Deposit => {
                issuer.notices |= 1 << truth.deposits;
                truth.deposits += 1;
                issuer.payers -= DEPOSIT;
                issuer.purse += DEPOSIT;
            }
            Action::Decide(operation) => {
                holder.doubt = Some(operation);
                match operation {
                    Operation::Transfer(intention) => holder.beliefs[intention] = Belief::Doubt,
                    Operation::Query => holder.queries -= 1,
                }
            }
            Action::Connect => {
                holder.connection = Some(*opened);
                *opened += 1;
                answers.clear();
            }
            Action::Return(connection) => {
                holder.connection = Some(connection);
                answers.clear();
            }
            Action::Send => {
                let request = Request { bit: holder.bit, operation: holder.doubt? };
                requests[holder.connection?].push_back(request);
            }
            Action::Admit(connection) => {
                issuer.admitted[connection] = true;
                self.raise_fence(&mut state, connection);
            }
            Action::Deliver(connection) => self.deliver(&mut state, connection),
            Action::LoseRequest(connection) => {
                requests[connection].pop_front()?;
            }
            Action::LoseAnswer => {
                answers.pop_front()?;
            }
            Action::Read => {
                let (request, answer) = answers.pop_front()?;
                self.read(holder, request, answer);
            }
            Action::Save => {
                let (operation, answer) = holder.unsaved.take()?;
                Self::believe(holder, operation, answer);
            }
            Action::Crash | Action::CrashAndForget => {
                holder.connection = None;
                holder.unsaved = None;
                answers.clear();
                if action == Action::CrashAndForget {
                    match holder.doubt.take()? {
                        Operation::Transfer(intention) => {
                            holder.beliefs[intention] = Belief::Open;
                        }
                        Operation::Query => holder.queries += 1,
                    }
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(super::ONCE, |_, state: &State| {
                state.truth.executed.iter().all(|times| *times <= 1)
            }),
            Property::always(super::NOT_PAID, |_, state: &State| {
                state.intentions().all(|(belief, times)| belief != Belief::NotPaid || times == 0)
            }),
            Property::always(super::PAID, |_, state: &State| {
                state.intentions().all(|(belief, times)| belief != Belief::Paid || times > 0)
            }),
            Property::always(super::SAME, |_, state: &State| !state.truth.replay_differed),
            Property::always(super::NOTICES, |_, state: &State| state.notices_lost() == 0),
            Property::always(super::MONEY, |_, state: &State| state.conserves_money()),
            Property::always(super::STALE, |_, state: &State| !state.truth.stale_executed),
            // What never happens was not tested.
            Property::sometimes("both paid, all seen", |protocol: &Protocol, state: &State| {
                state.holder.beliefs == [Belief::Paid; 2]
                    && state.holder.notices.count_ones() == u32::from(protocol.deposits)
            }),
            Property::sometimes(
                "a query is answered twice, with a deposit between",
                |_, state: &State| {
                    let mut answers = state.answers.iter().map(|(_, answer)| *answer);
                    match (answers.next(), answers.next()) {
                        (Some(Answer::Deposits { notices, .. }), Some(second)) => {
                            matches!(second, Answer::Deposits { .. })
                                && state.issuer.notices != notices
                        }
                        _ => false,
                    }
                },
            ),
            Property::sometimes(
                "a failed transfer comes again when there is money",
                |_, state: &State| {
                    state.requests.iter().flatten().any(|request| {
                        state.issuer.purse >= OPENING
                            && state.issuer.kept
                                == Some(Kept { request: *request, answer: Answer::Failed })
                    })
                },
            ),
            Property::sometimes("only the fence stops a request", |_, state: &State| {
                let line = state.issuer.line;
                let queues = state.requests.iter().enumerate();
                let stopped = queues.filter(|(at, _)| line.is_some_and(|line| line.shuts_out(*at)));
                stopped.filter_map(|(_, queue)| queue.front()).any(|request| {
                    matches!(&state.issuer.kept, Some(kept) if kept.request.bit != request.bit)
                        && matches!(request.operation, Operation::Transfer(intention)
                            if state.holder.beliefs[intention] == Belief::Paid)
                })
            }),
            Property::sometimes("an older connection goes on", |_, state: &State| {
                let line = state.truth.served;
                line.is_some_and(|line| line.connection < line.newest)
                    && state.holder.beliefs == [Belief::Paid; 2]
            }),
            Property::sometimes("a forgotten request meets another", |_, state: &State| {
                state.holder.stopped && state.holder.beliefs.contains(&Belief::NotPaid)
            }),
        ]
    }
}

impl State {
    fn intentions(&self) -> impl Iterator<Item = (Belief, u8)> {
        self.holder.beliefs.into_iter().zip(self.truth.executed)
    }

    /// The notices that neither the issuer nor the holder has, and that are not under way.
    fn notices_lost(&self) -> u8 {
        let unsaved = self.holder.unsaved.iter().map(|(_, answer)| answer);
        let under_way = self.answers.iter().map(|(_, answer)| answer).chain(unsaved);
        let mut found = self.issuer.notices | self.holder.notices;
        for answer in under_way {
            if let Answer::Deposits { notices, .. } = answer {
                found |= notices;
            }
        }
        ((1 << self.truth.deposits) - 1) & !found
    }

    /// No unit appears or goes, and each account has what the executed requests explain.
    fn conserves_money(&self) -> bool {
        let Self { issuer, truth, .. } = self;
        let times = truth.executed.iter().sum::<u8>();
        let moved = AMOUNTS.iter().zip(truth.executed).map(|(amount, times)| amount * times);
        let moved = moved.sum::<u8>();
        let fees = times * TRANSFER_FEE + truth.query_fees;
        issuer.payee == moved
            && issuer.fees == fees
            && issuer.payers + truth.deposits * DEPOSIT == PAYERS
            && issuer.purse + moved + fees == OPENING + truth.deposits * DEPOSIT
    }
}
