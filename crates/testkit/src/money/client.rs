//! A client of 2003: one key on two devices, a counter of one bit, and every message sent until it is answered.

use std::collections::BTreeMap;

use fondaco_codec::Text;
use fondaco_crypto::EntityId;
use fondaco_lcp::{
    Deposit,
    classic::{Answer, Ask, AskBody, Fault},
};
use fondaco_units::Amount;

use super::{Directory, ISSUER, Place, Wire, issuer::IssuerNode, oracle};
use crate::Rng;

/// One connection of a device, and how many messages went over it.
#[derive(Clone, Copy, Debug)]
struct Line {
    connection: u64,
    sent: u64,
}

/// Its memory is one for both devices, and does not fail.
pub(super) struct ClassicNode {
    place: Place,
    entity: EntityId,
    rng: Rng,
    lines: [Option<Line>; 2],
    counter: u32,
    pending: Option<Ask>,
    /// Where the pending message went: connection and place.
    sent: Vec<(u64, u64)>,
    /// What was asked and answered, in order.
    settled: Vec<(Ask, Answer)>,
    deposits: BTreeMap<u64, Deposit>,
    transfers_left: u64,
}

type Sent = Vec<(Place, Place, Wire)>;

impl ClassicNode {
    pub(super) fn new(place: Place, entity: EntityId, mut rng: Rng) -> Self {
        Self {
            place,
            entity,
            lines: [None; 2],
            counter: 0,
            pending: None,
            sent: Vec::new(),
            settled: Vec::new(),
            deposits: BTreeMap::new(),
            transfers_left: rng.below(40),
            rng,
        }
    }

    pub(super) fn for_oracle(&self) -> oracle::Client<'_> {
        oracle::Client { entity: self.entity, settled: &self.settled, deposits: &self.deposits }
    }

    /// What is left to be sent or told.
    pub(super) fn unrest(&self, issuer: &IssuerNode) -> Option<String> {
        if let Some(ask) = &self.pending {
            return Some(format!("client {} has {ask:?} to send", self.place));
        }
        let (arrived, known) = (issuer.deposits_of(self.entity), self.deposits.len());
        (arrived != known)
            .then(|| format!("client {} was told of {known} of {arrived} deposits", self.place))
    }

    /// Acts, most often not at all; with `is_wanting`, on new wishes too.
    pub(super) fn turn(
        &mut self,
        issuer: &mut IssuerNode,
        directory: &Directory,
        is_wanting: bool,
        sent: &mut Sent,
    ) {
        let hurry = if is_wanting { 40 } else { 100 };
        let rests = !is_wanting && self.unrest(issuer).is_none();
        if self.pending.is_none() && !rests && self.rng.chance(hurry) {
            self.want(directory, is_wanting);
        }
        let Some(ask) = self.pending.clone().filter(|_| self.rng.chance(hurry)) else { return };
        let device = self.rng.index(2);
        if self.lines[device].is_none() || self.rng.chance(40) {
            self.lines[device] = issuer.accept().map(|connection| Line { connection, sent: 0 });
        }
        let Some(line) = &mut self.lines[device] else { return };
        line.sent += 1;
        let Line { connection, sent: sequence } = *line;
        self.sent.push((connection, sequence));
        let wire = Wire::Classic { by: self.entity, connection, sequence, ask };
        sent.push((self.place, ISSUER, wire));
    }

    fn want(&mut self, directory: &Directory, is_wanting: bool) {
        let rng = &mut self.rng;
        let body = match is_wanting && self.transfers_left > 0 && rng.chance(60) {
            true => {
                self.transfers_left -= 1;
                let amount =
                    Amount::new(if rng.chance(10) { rng.below(5000) } else { rng.below(150) });
                let order = Text::cut(&format!("client:{}:{}", self.place, self.settled.len()));
                AskBody::Transfer { to: directory.any_payee(rng), amount, order }
            }
            false => AskBody::Query,
        };
        self.counter = 1 - self.counter;
        self.pending = Some(Ask { counter: self.counter, body });
        self.sent.clear();
    }

    pub(super) fn hear(&mut self, wire: Wire) -> Result<(), String> {
        let Wire::ClassicAnswer { connection, sequence, answer } = wire else { return Ok(()) };
        let lines = self.lines.iter_mut();
        let Some(line) =
            lines.into_iter().find(|line| line.is_some_and(|line| line.connection == connection))
        else {
            // That connection is closed.
            return Ok(());
        };
        if !self.sent.contains(&(connection, sequence)) {
            return Ok(());
        }
        match &answer {
            Answer::Fault { fault: Fault::Fenced } => {
                *line = None;
                return Ok(());
            }
            Answer::Fault { fault: Fault::Refused { refusal } } if refusal.is_transient() => {
                return Ok(());
            }
            Answer::Fault {
                fault: fault @ (Fault::OtherContent { .. } | Fault::StaleCounter { .. }),
            } => {
                return Err(format!("client {}: {fault}", self.place));
            }
            Answer::Told { deposits, .. } => {
                for deposit in deposits.as_slice() {
                    let known =
                        self.deposits.entry(deposit.number).or_insert_with(|| deposit.clone());
                    if known != deposit {
                        return Err(format!("client {} was told two stories", self.place));
                    }
                }
            }
            Answer::Paid { .. } | Answer::Fault { .. } => {}
        }
        let Some(ask) = self.pending.take() else { return Ok(()) };
        self.sent.clear();
        self.settled.push((ask, answer));
        Ok(())
    }
}
