//! `fondaco up` hears what `fondaco sell` says while it runs: other prices, another size, other brokers, that it stops.
//!
//! What was signed stays as it was signed. Where the shards lie and in which currency is paid changes with a start only.

use crate::failure::Failure;
use crate::home::{CurrencyConfig, Home};
use crate::screen::{complain, say};
use crate::sell::{HostToml, host_toml};
use crate::selling::{self, Offer};
use fondaco_agent::posting::{Posting, Told};
use fondaco_contract::Factor;
use fondaco_ports::Address;
use fondaco_storage_host::{HostConfig, PriceBoard};
use fondaco_units::Timestamp;
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// What a service must have to hear.
pub(crate) struct Hearing {
    pub(crate) home: Home,
    pub(crate) currency: CurrencyConfig,
    pub(crate) board: PriceBoard,
    /// To who shows the offer at brokers.
    pub(crate) offers: watch::Sender<Offer>,
    /// The brokers that are known, and whether neighbours are looked for.
    pub(crate) around: (Vec<Address>, bool),
    /// What is sold now.
    pub(crate) known: HostToml,
    pub(crate) json: bool,
}

impl Hearing {
    /// Hears all that is said, until it is dropped.
    pub(crate) async fn go_on(mut self) {
        let mut tick = tokio::time::interval(LOOK);
        let mut refused = None;
        loop {
            tick.tick().await;
            // It is written whole, or not at all.
            let Ok(said) = host_toml(&self.home) else { continue };
            // Whatever else was said with it, and cannot be sold.
            if let Some(leaves) = said.leaves.filter(|_| said.leaves != self.known.leaves) {
                self.known.leaves = said.leaves;
                self.leave(Timestamp::from_milliseconds(leaves));
            }
            if said == self.known || refused.as_ref() == Some(&said) {
                continue;
            }
            match self.checked(&said) {
                Ok((config, offer)) => self.heard(said, config, offer),
                Err(failure) => {
                    self.tell_refused(&failure);
                    refused = Some(said);
                }
            }
        }
    }

    /// Checks what was said, as a start does.
    fn checked(&self, said: &HostToml) -> Result<(HostConfig, Offer), Failure> {
        if (&said.path, &said.currency) != (&self.known.path, &self.known.currency) {
            return Err(Failure::new("another folder or currency is for the next start")
                .hint("stop `fondaco up`, and start it again"));
        }
        let config = said.checked(&self.currency)?;
        let offer = said.offer.checked(&self.currency, &config)?;
        Ok((config, offer))
    }

    fn heard(&mut self, said: HostToml, config: HostConfig, offer: Offer) {
        self.known = said;
        self.board.sell(config);
        if !offer.follows() {
            self.board.set_factor(Factor::ONE);
        } else if offer.follows_nobody(&self.around.0, self.around.1) {
            selling::say_nobody_to_follow(self.json);
        }
        // Nobody hears of it where the service ends just now.
        self.offers.send_replace(offer);
        if self.json {
            let line = json!({ "event": "selling", "size": config.size.get() });
            say(&line.to_string());
        } else {
            say(&format!(
                "You offer {} now, as you said last; what is signed stays as it was signed.",
                config.size
            ));
        }
    }

    fn leave(&self, at: Timestamp) {
        self.board.leave(at);
        if self.json {
            say(&json!({ "event": "leaving", "at": at.to_string() }).to_string());
        } else {
            say(&format!(
                "You stop {at}: your buyers are told, and nothing is taken that lasts longer."
            ));
        }
    }

    fn tell_refused(&self, failure: &Failure) {
        let what = failure.what();
        if self.json {
            say(&json!({ "event": "not selling", "why": what }).to_string());
        } else {
            complain(&format!("What `fondaco sell` said last is not sold yet: {what}."));
        }
    }
}

/// Shows the offer at brokers until it is to end; one that is changed is shown anew at once.
pub(crate) async fn show(
    mut offers: watch::Receiver<Offer>,
    posting: impl Fn(Offer) -> Option<Posting>,
    end: CancellationToken,
    tell: impl Fn(Told),
) {
    while !end.is_cancelled() {
        let offer = offers.borrow_and_update().clone();
        let over = async {
            tokio::select! {
                () = end.cancelled() => {}
                Ok(()) = offers.changed() => {}
            }
        };
        match posting(offer) {
            Some(posting) => posting.run(over, &tell).await,
            None => over.await,
        }
    }
}
