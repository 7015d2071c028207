//! The dialect of 2003, on its way to the keeper.

use crate::{
    keeper::{ClassicJob, Message},
    metrics::Outcome,
    server::{Asker, Server},
};
use fondaco_lcp_wire::{Accounts, Answered, BoxFuture, Exchange, Unanswered};
use fondaco_units::Amount;
use tokio::sync::oneshot;
use tracing::debug;

impl Accounts for Server {
    fn classic(&self, exchange: Exchange) -> BoxFuture<'_, Result<Answered, Unanswered>> {
        let Exchange { holder, from, connection, accepted, full_handshake, ask, wait } = exchange;
        Box::pin(async move {
            let known = self.knows(holder);
            // Every message consumes a counter and is recorded, a query too.
            let asker = Asker { peer: holder, known, from };
            if holder != self.issuer && !self.may_command(asker, 1) {
                debug!(peer = %holder.short(), known, "asks too fast");
                self.metrics().requests(Outcome::Busy, 1);
                return Err(Unanswered::Busy);
            }
            let surcharge = match full_handshake && holder != self.issuer {
                true => self.full_handshake_fee,
                false => Amount::ZERO,
            };
            let (answer, answered) = oneshot::channel();
            let job = ClassicJob { holder, connection, accepted, surcharge, ask, wait, answer };
            self.send(Message::Classic(Box::new(job))).await.ok_or(Unanswered::Busy)?;
            answered.await.map_err(|_| Unanswered::Unavailable)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{known::Known, metrics::Metrics};
    use fondaco_crypto::EntityId;
    use fondaco_lcp::{
        Refusal,
        classic::{Answer, Ask, AskBody, Fault},
    };
    use fondaco_units::Duration;
    use tokio::sync::mpsc;

    /// Who asks too fast is told that nothing was done; whose message was taken in and got no answer is not.
    #[tokio::test]
    async fn what_was_not_taken_in_is_told_apart() {
        let key = |byte| EntityId::from_bytes([byte; 32]);
        let (queue, mut waiting) = mpsc::channel(1);
        let (known, metrics) = (Known::default(), Metrics::default());
        let server = Server::new(queue, key(1), key(2), known, metrics);
        let ask = Ask { counter: 0, body: AskBody::Query };
        let exchange = |holder| Exchange {
            holder,
            from: None,
            connection: 1,
            accepted: 1,
            full_handshake: false,
            ask: ask.clone(),
            wait: Duration::ZERO,
        };
        let keeper = tokio::spawn(async move {
            let mut taken = 0;
            while let Some(Message::Classic(job)) = waiting.recv().await {
                // The issuer's own is lost on the way back.
                if job.holder == key(1) {
                    continue;
                }
                taken += 1;
                let answer = Answer::Fault { fault: Fault::Refused { refusal: Refusal::Halted } };
                drop(job.answer.send(Answered { answer, surcharged: false }));
            }
            taken
        });
        let lost = server.classic(exchange(key(1))).await;
        assert_eq!(lost, Err(Unanswered::Unavailable));
        let (mut answered, mut busy) = (0, 0);
        for _ in 0..300 {
            match server.classic(exchange(key(3))).await {
                Ok(_) => answered += 1,
                Err(Unanswered::Busy) => busy += 1,
                Err(Unanswered::Unavailable) => panic!("nothing was lost"),
            }
        }
        assert!(answered >= 20 && busy >= 200, "{answered}, {busy}");
        drop(server);
        assert_eq!(keeper.await.unwrap(), answered, "what is too fast does not reach the books");
    }
}
