//! Whether this book is an older copy: a host shows what this buyer has signed since, and so need not be believed.
//!
//! A machine that is set back, or one that another has taken the place of by `recover`, asks for what its buyer has deleted.
//! A host that says so is no liar; and who stores, deletes or pays by such a book spoils the newer one.

use super::Session;
use super::asking::is_refusal_for_good;
use super::marking::mine_over;
use crate::AgentError;
use fondaco_ports::market::Mine;
use fondaco_transport::Connection;
use std::time::Duration;
use tokio::time::timeout;

/// How long a host may take to show its marks.
const PATIENCE: Duration = Duration::from_secs(5);

impl Session {
    /// Sees that the host has no mark of a newer book.
    ///
    /// # Errors
    ///
    /// [`AgentError::OlderBook`]; or the host could not be asked.
    pub(crate) async fn has_newest_book(&self) -> Result<(), AgentError> {
        let mut state = self.lock().await?;
        let connection = self.connected(&mut state).await?;
        let done = self.compare_books(&connection).await;
        self.after(&mut state, done)
    }

    /// Says what a host is guilty of that does not have what it was paid to keep, by this book: of nothing, if it shows that
    /// the book is an older one. Who does not answer that is silent, for now.
    pub(super) async fn caught_unless_older(
        &self,
        connection: &Connection,
        what: String,
    ) -> AgentError {
        match self.compare_books(connection).await {
            Err(error) if !is_refusal_for_good(&error) => error,
            Ok(()) | Err(_) => self.caught(what),
        }
    }

    /// Asks for the marks. The state of this session must not be waited for here.
    async fn compare_books(&self, connection: &Connection) -> Result<(), AgentError> {
        let Some(book) = &self.book else { return Ok(()) };
        let provider = self.provider();
        let late = AgentError::Late { provider, seconds: PATIENCE.as_secs() };
        let asked = timeout(PATIENCE, mine_over(connection, provider)).await;
        let all = asked.unwrap_or(Err(late))?;
        // A book that was begun anew under the same key has contracts of its own, and is no copy of the one before.
        let is_known = |mine: &Mine| {
            let known = |contract| book.read(|book| book.contract(contract).is_some());
            known(mine.terms.id()) || mine.terms.renews.is_some_and(known)
        };
        let signed = all.iter().filter_map(|mine| {
            let signed = mine.mark?;
            let is_ours = signed.mark.contract == mine.terms.id()
                && signed.verify(self.key.entity()).is_ok()
                && is_known(mine);
            is_ours.then_some(signed.mark.sequence)
        });
        let newest = signed.max().unwrap_or(0);
        // Read after the answer: a number is in the book before any host has it.
        let ours = book.read(|book| book.sequence());
        match newest > ours {
            true => Err(AgentError::OlderBook { provider, newest, ours }),
            false => Ok(()),
        }
    }
}
