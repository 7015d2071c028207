//! What a book says of a provider and of a set: what is to be done, what was promised, and in which words its owner is told.

use super::{Book, BookError, POLICY, Verdict};
use fondaco_contract::{ContractId, Label};
use fondaco_crypto::EntityId;
use fondaco_reputation::{Count, Record, Standing, Verdict as Judged};
use fondaco_units::Timestamp;

impl Book {
    /// Takes in how an audit of a contract came out, one `of` so many of its provider at that time.
    pub(super) fn audited(
        &mut self,
        contract: ContractId,
        at: Timestamp,
        verdict: Verdict,
        of: u32,
    ) -> Result<(), BookError> {
        let terms = self.known(contract)?.terms;
        let record = self.records.entry(terms.prices.provider);
        let record = record.or_insert_with(|| Record::new(&POLICY));
        match verdict {
            Verdict::Failed => {
                record.audited_among(&POLICY, Judged::Failed, of);
            }
            Verdict::Proven => {
                self.unanswered.remove(&contract);
                record.audited_among(&POLICY, Judged::Proven, of);
                let proven = self.proven.entry(contract).or_insert(terms.begins);
                let until = at.min(terms.ends).max(*proven);
                let (span, epoch) = (until.since(*proven), terms.prices.epoch);
                let epochs = Count::fraction(span.milliseconds(), epoch.milliseconds());
                // An epoch is as short as the provider says, so that one proof shows one at most.
                record.lived(&POLICY, epochs.min(Count::ONE));
                *proven = until;
            }
        }
        Ok(())
    }

    /// Returns what is to be done about a provider: nothing about one of which nothing was seen.
    pub fn standing(&self, provider: EntityId) -> Standing {
        self.record(provider).map_or(Standing::Good, Record::standing)
    }

    /// Returns whether a provider is given anything new under the contracts it has, and is paid for further epochs. One that
    /// is not is still paid for what it sends back, step by step: how else could it prove anything, or be repaired from?
    pub fn is_paid(&self, provider: EntityId) -> bool {
        self.standing(provider) < Standing::StopPaying
    }

    /// Returns who runs a provider, by its own word, if it ever said so.
    pub fn operator(&self, provider: EntityId) -> Option<&Label> {
        self.operators.get(&provider)
    }

    /// Returns how surely an object of a set was to survive an epoch when it was formed, if that is known.
    pub fn promised(&self, set: u32) -> Option<f64> {
        self.promises.get(&set).map(|&bits| f64::from_bits(bits))
    }

    /// Says what is done about a provider that stands worse than good, and why.
    pub fn standing_in_words(&self, provider: EntityId) -> Option<String> {
        let record = self.record(provider)?;
        if let Some(why) = self.distrusted(provider) {
            return Some(format!("it was caught, and is not dealt with again: {why}"));
        }
        let done = match record.standing() {
            Standing::Good => return None,
            Standing::Warn => "it is given nothing new",
            Standing::StopPaying => {
                "it is given nothing new, and paid for no further epoch until it proves again what it keeps"
            }
            Standing::Repair => "what it keeps is to be made anew elsewhere while it can be read",
            Standing::Replace => "what it keeps counts as lost, and its contracts are to end",
        };
        // Rounded down: what is not whole must not look whole.
        let score = record.score().millionths() / 1000;
        Some(format!("it proved only {}.{} % of its audits: {done}", score / 10, score % 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::{intended, opened, terms};
    use crate::book::{Event, Verdict};
    use fondaco_units::Timestamp;

    /// How a provider stands after so many audits in a row without an answer.
    #[test]
    fn who_does_not_answer_is_warned_unpaid_repaired_and_replaced() {
        use Standing::*;
        let provider = terms(1).prices.provider;
        // The audits without an answer; the standing, whether it is paid, and the last words that are said of it.
        let table = [
            (0, Good, true, None),
            (1, Good, true, None),
            (25, Good, true, None),
            (26, Warn, true, Some("nothing new")),
            (33, StopPaying, false, Some("until it proves again what it keeps")),
            (37, Repair, false, Some("while it can be read")),
            (41, Replace, false, Some("its contracts are to end")),
        ];
        for (audits, standing, is_paid, words) in table {
            let mut book = Book::default();
            for event in [intended(1), opened(1)] {
                book.apply(&event).unwrap();
            }
            let (contract, at) = (terms(1).id(), Timestamp::EPOCH);
            let failed = Event::Audited { contract, at, verdict: Verdict::Failed };
            (0..audits).for_each(|_| book.apply(&failed).unwrap());
            assert_eq!((book.standing(provider), book.is_paid(provider)), (standing, is_paid));
            let said = book.standing_in_words(provider);
            assert_eq!(said.is_some(), words.is_some(), "{audits}: {said:?}");
            let ends = words.is_none_or(|words| said.as_ref().unwrap().ends_with(words));
            assert!(ends, "{audits}: {said:?}");
        }
    }

    /// A provider with one contract and one with ten, which answer and are away at the same times, stand the same.
    #[test]
    fn one_absence_counts_once_however_many_contracts_there_are() {
        let audits = |contracts: u8, verdicts: &[Verdict]| {
            let mut book = Book::default();
            for nonce in 1..=contracts {
                for event in [intended(nonce.into()), opened(nonce.into())] {
                    book.apply(&event).unwrap();
                }
            }
            for &verdict in verdicts {
                for nonce in 1..=contracts {
                    let (contract, at, of) =
                        (terms(nonce.into()).id(), Timestamp::EPOCH, contracts.into());
                    book.apply(&Event::AuditedAmong { contract, at, verdict, of }).unwrap();
                }
            }
            let provider = terms(1).prices.provider;
            let score = book.record(provider).unwrap().score().millionths();
            (book.standing(provider), score)
        };
        let away = |hours| vec![Verdict::Failed; hours];
        let (back, good) = ([away(20), vec![Verdict::Proven; 9]].concat(), Standing::Good);
        for (verdicts, standing) in [
            (away(1), good),
            (away(25), good), // one with ten contracts was replaced after five
            (away(27), Standing::Warn),
            (away(42), Standing::Replace),
            (back, good),
        ] {
            let (one, ten) = (audits(1, &verdicts), audits(10, &verdicts));
            assert_eq!((one.0, ten.0), (standing, standing), "{}", verdicts.len());
            assert!(one.1.abs_diff(ten.1) <= 100, "{one:?} {ten:?}");
        }
    }

    #[test]
    fn who_was_caught_is_not_paid() {
        let mut book = Book::default();
        let provider = terms(1).prices.provider;
        let why = fondaco_codec::Text::cut("it lied");
        book.apply(&Event::ProviderDistrusted { provider, why }).unwrap();
        assert!(!book.is_paid(provider));
        let said = book.standing_in_words(provider).unwrap();
        assert_eq!(said, "it was caught, and is not dealt with again: it lied");
    }
}
