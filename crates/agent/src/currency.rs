//! One currency as its holder sees it: pay, be paid, look back, prove.
//!
//! ```text
//! describe ──► the head is signed, and goes on from the one seen last, or the issuer is caught
//! pay      ──► intent saved ──► sent until answered ──► saved
//! deposits ──► shown ──► acknowledged
//! history, receipt ──► told by the issuer; a receipt is signed by it, for anybody to check
//! ```

use crate::{AgentError, Wallet, entropy, wallet::accepted};
use fondaco_codec::{Decode, Encode, Text};
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp::{
    Currency, Deposit, Entry, Limits, Refusal, Request, RequestId, Response, Rotation, SignedHead,
    SignedReceipt,
};
use fondaco_ports::Clock;
use fondaco_transport::LcpClient;
use fondaco_units::{Amount, Duration, Timestamp};

/// What an issuer says of its currency.
#[derive(Clone, Debug)]
pub struct Description {
    /// The currency.
    pub currency: Currency,
    /// How much of everything the issuer takes.
    pub limits: Limits,
    /// How much of it there is.
    pub supply: Amount,
    /// How many accounts there are.
    pub accounts: u64,
    /// How far its journal has come, under its signature.
    pub head: SignedHead,
}

/// What one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// What can be spent.
    pub available: Amount,
    /// What open holds have set aside.
    pub held: Amount,
    /// How many notices of deposits wait.
    pub deposits_waiting: u64,
}

/// A payment that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid {
    /// The command that made it; it may be that of an earlier run.
    pub id: RequestId,
    /// What it cost on top of the amount.
    pub fee: Amount,
    /// What could be spent when it was done.
    pub balance: Amount,
    /// Whether it is one of an earlier run.
    pub taken_up: bool,
}

const NO_DEPOSITS: &str = "it does not say what you were paid";

/// Waits for up to `wait` until there are notices of deposits; whether there are. It needs no wallet: who waits long keeps
/// nobody else from it.
pub async fn await_deposits(client: &LcpClient, wait: Duration) -> Result<bool, AgentError> {
    let asked = accepted(client.call(&Request::Deposits { after: 0, wait }).await?)?;
    let (peer, what) = (client.issuer().entity(), NO_DEPOSITS.to_owned());
    let (list, _) = deposits_of(asked).ok_or(AgentError::Misanswer { peer, what })?;
    Ok(!list.is_empty())
}

fn deposits_of(response: Response) -> Option<(Vec<Deposit>, bool)> {
    match response {
        Response::Deposits { list, more } => Some((list.into_vec(), more)),
        _ => None,
    }
}

impl Wallet {
    /// Asks what the currency is. The journal's head must be signed by the issuer, and go on from the one seen last.
    ///
    /// # Errors
    ///
    /// The issuer cannot be reached, describes another currency, or shows a head that its earlier one contradicts: its
    /// books were set back, or it shows different people different books.
    pub async fn describe(&self) -> Result<Description, AgentError> {
        let Response::Described { currency, limits, supply, accounts, head } =
            self.ask(&Request::Describe).await?
        else {
            return Err(self.misanswer("it does not describe its currency"));
        };
        let head =
            head.ok_or_else(|| self.misanswer("it does not show the head of its journal"))?;
        let ours = self.currency();
        if currency.id != ours || head.head.currency != ours || head.verify().is_err() {
            return Err(self.misanswer("it does not sign as the issuer of this currency"));
        }
        self.see(head)?;
        Ok(Description { currency, limits, supply, accounts, head })
    }

    /// Asks what one has.
    pub async fn balance(&self) -> Result<Balance, AgentError> {
        match self.ask(&Request::Balance).await? {
            Response::Balance { available, held, deposits_waiting } => {
                Ok(Balance { available, held, deposits_waiting })
            }
            _ => Err(self.misanswer("it does not say what you hold")),
        }
    }

    /// Pays `to`; `fee_max` is the most that it may cost on top. A payment of the same that is still without an
    /// answer from an earlier run, or whose outcome nobody was told, is taken up instead: it is made once in all. Say
    /// [`Wallet::told`] when the outcome was told.
    pub async fn pay(
        &self,
        clock: &dyn Clock,
        to: EntityId,
        amount: Amount,
        fee_max: Amount,
        order: Text<64>,
    ) -> Result<Paid, AgentError> {
        let id = entropy::request_id(clock)?;
        let transfer = Request::Transfer { id, to, amount, fee_max, order: order.clone() };
        let same = |known: &Request| match known {
            Request::Transfer { to: payee, amount: sum, order: purpose, .. } => {
                (*payee, *sum) == (to, amount) && *purpose == order
            }
            _ => false,
        };
        match self.submit_once(transfer, same).await? {
            (paid, Response::Transferred { fee, balance }) => {
                Ok(Paid { id: paid, fee, balance, taken_up: paid != id })
            }
            _ => Err(self.misanswer("it does not confirm the transfer")),
        }
    }

    /// Asks what arrived after the notice numbered `after`; where nothing has, waits for up to `wait`. The notices, and
    /// whether there are more.
    pub async fn deposits(
        &self,
        after: u64,
        wait: Duration,
    ) -> Result<(Vec<Deposit>, bool), AgentError> {
        deposits_of(self.ask(&Request::Deposits { after, wait }).await?)
            .ok_or_else(|| self.misanswer(NO_DEPOSITS))
    }

    /// Has the issuer forget the notices numbered up to `through`: they are saved or shown here.
    pub async fn acknowledge(&self, clock: &dyn Clock, through: u64) -> Result<(), AgentError> {
        let id = entropy::request_id(clock)?;
        match self.submit(Request::AckDeposits { id, through }).await? {
            Response::Acked => Ok(()),
            _ => Err(self.misanswer("it does not confirm the acknowledgement")),
        }
    }

    /// Asks what happened to the account before the entry numbered `before`, or lately where that is 0: at most
    /// `count` entries, latest first, and whether there are more.
    pub async fn history(&self, before: u64, count: u16) -> Result<(Vec<Entry>, bool), AgentError> {
        match self.ask(&Request::History { before, count }).await? {
            Response::History { list, more } => Ok((list.into_vec(), more)),
            _ => Err(self.misanswer("it does not tell the history")),
        }
    }

    /// Asks for the receipt of an own command, and checks that its issuer has signed it.
    pub async fn receipt(&self, id: RequestId) -> Result<SignedReceipt, AgentError> {
        let Response::Receipt { receipt } = self.ask(&Request::Receipt { id }).await? else {
            return Err(self.misanswer("it does not give the receipt"));
        };
        let said = &receipt.receipt;
        if said.currency != self.currency() || said.request.id() != Some(id) {
            return Err(self.misanswer("the receipt is of something else"));
        }
        if receipt.verify().is_err() {
            return Err(self.misanswer("the receipt is not signed by it"));
        }
        Ok(*receipt)
    }

    /// Takes no more of the currency than `balance_max`: what would bring the account over it is refused to who pays.
    /// Without an account it is kept for the first payment, until the moment that is returned; say it again before.
    pub async fn accept(
        &self,
        clock: &dyn Clock,
        balance_max: Amount,
    ) -> Result<Option<Timestamp>, AgentError> {
        let id = entropy::request_id(clock)?;
        let same = |known: &Request| match known {
            Request::AcceptAhead { balance_max: known, .. } => *known == balance_max,
            _ => false,
        };
        match self.submit_once(Request::AcceptAhead { id, balance_max }, same).await? {
            (_, Response::Accepted) => Ok(None),
            (_, Response::AcceptedAhead { until }) => Ok(Some(until)),
            _ => Err(self.misanswer("it does not confirm the limit")),
        }
    }

    /// Gives the account to `new`, a key that has none: balance, holds, notices and limit go with it, and what is paid
    /// to the old key arrives there. Done once, it is done: the same again changes nothing.
    ///
    /// # Errors
    ///
    /// The account has another key already; a command of the old key cannot be settled; else as [`Wallet::submit`].
    pub async fn rotate(
        &self,
        clock: &dyn Clock,
        old: &SecretKey,
        new: &SecretKey,
    ) -> Result<(), AgentError> {
        let to = new.entity();
        // A command of a key that is gone is never settled, so that is asked before there is another.
        match self.balance().await {
            Err(AgentError::Issuer(Refusal::Rotated { to: found })) if found == to => return Ok(()),
            asked => drop(asked?),
        }
        // What is without an answer nobody could learn of by the old key any more.
        if !self.is_pending(|request| matches!(request, Request::Rotate { .. })) {
            self.resume().await?;
        }
        let id = entropy::request_id(clock)?;
        let rotation = Rotation { currency: self.currency(), old: old.entity(), new: to };
        let (by_old, by_new) = (rotation.sign(old), rotation.sign(new));
        let same = |known: &Request| match known {
            Request::Rotate { to: known, .. } => *known == to,
            _ => false,
        };
        let rotate = Request::Rotate { id, to, by_old, by_new };
        match self.submit_once(rotate, same).await? {
            (_, Response::Rotated { to: found }) if found == to => Ok(()),
            _ => Err(self.misanswer("it does not confirm the new key")),
        }
    }

    /// Closes the account; what is left in it, at most `forfeit_max`, goes to the issuer: how much that was.
    pub async fn close(
        &self,
        clock: &dyn Clock,
        forfeit_max: Amount,
    ) -> Result<Amount, AgentError> {
        let id = entropy::request_id(clock)?;
        let same = |known: &Request| match known {
            Request::Close { forfeit_max: known, .. } => *known == forfeit_max,
            _ => false,
        };
        match self.submit_once(Request::Close { id, forfeit_max }, same).await? {
            (_, Response::Closed { forfeited }) => Ok(forfeited),
            _ => Err(self.misanswer("it does not confirm that the account is closed")),
        }
    }

    /// Takes in a head that the issuer showed: the books that it is of must be those seen before, or go on from them.
    fn see(&self, head: SignedHead) -> Result<(), AgentError> {
        let path = self.head_path();
        let seen = std::fs::read(&path).ok();
        let seen = seen.and_then(|bytes| SignedHead::from_bytes(&bytes).ok());
        // What is damaged here proves nothing against anybody.
        if let Some(seen) = seen.filter(|seen| seen.verify().is_ok()) {
            let (was, is) = (seen.head, head.head);
            if is.records < was.records {
                return Err(self.misanswer(&format!(
                    "its books were set back from {} records to {}: payments may be undone",
                    was.records, is.records
                )));
            }
            if is.records == was.records && is.chain != was.chain {
                return Err(self.misanswer(&format!(
                    "it shows different books: two chains of {} records, both signed",
                    is.records
                )));
            }
            if is.records == was.records {
                return Ok(());
            }
        }
        Ok(fondaco_store::write_atomic(&path, &head.to_bytes(), 0o600)?)
    }

    /// Believes the issuer anew, whatever books it showed before.
    pub fn forget_head(&self) {
        // It may never have been there.
        let _ = std::fs::remove_file(self.head_path());
    }

    pub(crate) fn misanswer(&self, what: &str) -> AgentError {
        AgentError::Misanswer { peer: self.currency().issuer(), what: what.to_owned() }
    }
}
