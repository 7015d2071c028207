//! Getting the money: asking the issuer for holds, and posting vouchers when contracts end.

use super::shards::REMOVAL_PAUSE;
use super::waiting::earned;
use super::{Shared, State, block_in_place, wait};
use crate::{Closing, Host, Settle};
use fondaco_contract::ContractId;
use fondaco_crypto::Digest;
use fondaco_lcp as lcp;
use fondaco_ledger::{Hold, HoldId, Refusal};
use fondaco_ports::market::{Reason, Response};
use fondaco_units::Amount;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A round of settling under way.
struct Round<'a>(&'a AtomicBool);

impl Drop for Round<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A contract that has ended, whoever ended it.
pub(super) struct Ended {
    pub(super) settle: Settle,
    /// Tells when the end is durable, and all that went before it.
    pub(super) durable: oneshot::Receiver<()>,
}

impl State {
    /// Ends a contract, or finds it ended. In one go under the lock, and never without something to wait for: whoever finds it
    /// so must not overtake the event that says it, or a crash could leave a contract open whose hold is posted.
    pub(super) fn end(
        &mut self,
        end: impl FnOnce(&mut Host) -> Result<Closing, Reason>,
    ) -> Result<Ended, Reason> {
        let Closing { event, settle } = end(&mut self.host)?;
        let durable = match event {
            Some(event) => self.save(event),
            None => self.barrier(),
        };
        Ok(Ended { settle, durable })
    }
}

impl Shared {
    /// Asks the issuer for a hold; nothing if it knows of none.
    pub(super) async fn ask_hold(&self, hold: HoldId) -> Result<Option<Hold>, Reason> {
        match self.issuer.call(&lcp::Request::HoldInfo { hold }).await {
            Ok(lcp::Response::HoldInfo { info }) => Ok(Some(info)),
            Ok(lcp::Response::Refused {
                refusal: lcp::Refusal::Ledger { refusal: Refusal::UnknownHold { .. } },
            }) => Ok(None),
            // Whatever else it says, it has not said that there is none.
            Ok(other) => {
                tracing::warn!(?other, "the issuer does not tell of a hold");
                Err(Reason::IssuerUnreachable)
            }
            Err(error) => {
                tracing::warn!(%error, "the issuer cannot be asked");
                Err(Reason::IssuerUnreachable)
            }
        }
    }

    /// Posts the vouchers of contracts that have ended, or whose holds are about to.
    pub(super) async fn settle_due(self: Arc<Self>) {
        if self.settling.swap(true, Ordering::AcqRel) {
            return; // The last round is still waiting for the issuer.
        }
        let _round = Round(&self.settling);
        while block_in_place(|| self.remove_file()) {
            tokio::time::sleep(REMOVAL_PAUSE).await;
        }
        self.settle_all().await;
    }

    async fn settle_all(&self) {
        let now = self.clock.now();
        let due = {
            let mut state = self.lock();
            state.host.forget(now);
            let mut due = state.host.due(now);
            due.retain(|contract| !state.waiting.is_early(*contract, Instant::now()));
            due
        };
        for contract in due {
            let ended = self.end(|host| host.close_due(now, contract));
            if let Ok(ended) = ended
                && self.settle(contract, ended).await.is_none()
            {
                return;
            }
        }
    }

    /// Ends a contract, or finds it ended.
    pub(super) fn end(
        &self,
        end: impl FnOnce(&mut Host) -> Result<Closing, Reason>,
    ) -> Result<Ended, Reason> {
        self.lock().end(end)
    }

    /// Gets the money of a contract that has ended. A hold is closed once, whatever the command is called: asked again,
    /// after a crash too, the issuer says how it was closed. While it is open nothing is lost, whatever the issuer refuses.
    pub(super) async fn settle(&self, contract: ContractId, ended: Ended) -> Option<Response> {
        self.lock().give_up_of(contract);
        wait(Some(ended.durable)).await?;
        let (hold, request) = match ended.settle {
            Settle::Done(response) => return Some(response),
            Settle::Post(voucher) => {
                let hold = voucher.voucher.hold;
                (hold, lcp::Request::HoldPost { id: self.request_id(hold), voucher })
            }
            Settle::Void(hold) => {
                (hold, lcp::Request::HoldVoid { id: self.request_id(hold), hold })
            }
        };
        let unreachable = Some(Response::Refused { reason: Reason::IssuerUnreachable });
        if self.lock().waiting.is_early(contract, Instant::now()) {
            return unreachable;
        }
        let paid = match self.issuer.call(&request).await {
            Err(error) => {
                tracing::warn!(%contract, %error, "the issuer cannot be reached; the voucher will be posted later");
                return unreachable;
            }
            Ok(lcp::Response::HoldPosted { paid, .. }) => paid,
            Ok(lcp::Response::HoldVoided { .. }) => Amount::ZERO,
            Ok(lcp::Response::Refused { refusal }) if refusal.is_transient() => return unreachable,
            // Refused for good: what the issuer says of the hold is what this contract earned.
            Ok(lcp::Response::Refused { refusal }) => {
                let Ok(info) = self.ask_hold(hold).await else { return unreachable };
                let Some(paid) = earned(info.as_ref()) else {
                    let is_new = self.lock().waiting.refused(contract, refusal, Instant::now());
                    if is_new {
                        tracing::warn!(%contract, %refusal, "a voucher waits: its hold is open, and it is not taken yet");
                    }
                    return unreachable;
                };
                if paid.is_zero() {
                    tracing::error!(%contract, %refusal, "the hold of a contract was lost");
                }
                paid
            }
            Ok(other) => {
                tracing::error!(%contract, ?other, "the issuer answers something else");
                return unreachable;
            }
        };
        self.lock().waiting.done(contract);
        self.decide(|host| host.close_finish(contract, paid)).await
    }

    /// The id of a command on a hold: of now, so that it is over all that the issuer may have forgotten, and of no
    /// other hold.
    fn request_id(&self, hold: HoldId) -> lcp::RequestId {
        const DOMAIN: fondaco_crypto::Domain =
            fondaco_crypto::Domain::new("fondaco 2026 host request v1");
        let digest = Digest::derive(DOMAIN, hold.digest().as_bytes());
        let mut own = [0; 10];
        own.copy_from_slice(&digest.as_bytes()[..10]);
        lcp::RequestId::at(self.clock.now(), own)
    }
}
