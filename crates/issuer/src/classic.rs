//! The dialect of 2003, on its way to the keeper.

use crate::{
    keeper::{ClassicJob, Message},
    metrics::Outcome,
    server::{Asker, Server},
};
use fondaco_lcp_wire::{Accounts, Answered, BoxFuture, Exchange, Unavailable};
use fondaco_units::Amount;
use tokio::sync::oneshot;
use tracing::debug;

impl Accounts for Server {
    fn classic(&self, exchange: Exchange) -> BoxFuture<'_, Result<Answered, Unavailable>> {
        let Exchange { holder, from, connection, accepted, full_handshake, ask, wait } = exchange;
        Box::pin(async move {
            let known = self.knows(holder);
            // Every message consumes a counter and is recorded, a query too.
            let asker = Asker { peer: holder, known, from };
            if holder != self.issuer && !self.may_command(asker, 1) {
                debug!(peer = %holder.short(), known, "asks too fast");
                self.metrics().requests(Outcome::Busy, 1);
                return Err(Unavailable);
            }
            let surcharge = match full_handshake && holder != self.issuer {
                true => self.full_handshake_fee,
                false => Amount::ZERO,
            };
            let (answer, answered) = oneshot::channel();
            let job = ClassicJob { holder, connection, accepted, surcharge, ask, wait, answer };
            self.send(Message::Classic(Box::new(job))).await.ok_or(Unavailable)?;
            answered.await.map_err(|_| Unavailable)
        })
    }
}
