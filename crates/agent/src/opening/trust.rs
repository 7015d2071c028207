//! How much a host may have at once: what it has shown so far decides.
//!
//! ```text
//! room      newcomer's room · (1 + epochs proven to have been lived through) ── halved for each deal that was not kept
//! ahead     as much grows what it may be ahead by: some times what is usual among the hosts asked, unless the owner
//!           says how much money a newcomer may have (then `fondaco_reputation::Limits`)
//! ```
//!
//! Currencies have no common measure, so a sum of money cannot be the rule where nobody chose one. What is usual is what
//! the middle one of all hosts asked would be ahead by, for the same room. Who has most of the hosts sets that; the budget
//! bounds it then.

use super::at_risk;
use crate::book::{Book, Stage};
use crate::money::Money;
use fondaco_contract::PriceList;
use fondaco_crypto::EntityId;
use fondaco_reputation::Limits;
use fondaco_units::{Amount, Bytes, Timestamp};

/// How much a host may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// How much may be put on a newcomer; nothing if that is not bounded.
    pub newcomer: Option<Bytes>,
    /// How many times what is usual a newcomer may be ahead by; nothing if that is not bounded, or by `limits`.
    pub usual_times: Option<u32>,
    /// How much money hosts may be ahead by.
    pub limits: Option<Limits>,
}

impl Trust {
    /// As much as one contract needs.
    pub const ANY: Self = Self { newcomer: None, usual_times: None, limits: None };

    /// What is used unless the owner says otherwise: a first backup of some 100 GiB goes to newcomers as before.
    pub const DEFAULT: Self =
        Self { newcomer: Some(Bytes::new(64 << 30)), usual_times: Some(4), limits: None };

    /// Says why a host cannot have a contract of this size, if so. `asked` is what hosts are to be compared with.
    pub(super) fn refusal(
        &self,
        book: &Book,
        asked: &[PriceList],
        (prices, size_max): (&PriceList, Bytes),
        now: Timestamp,
        money: &Money,
    ) -> Option<String> {
        let (provider, ahead) = (prices.provider, at_risk(prices, size_max));
        if let Some(newcomer) = self.newcomer {
            let has = has(book, provider, now);
            let (cap, would) =
                (grown(book, provider, newcomer.get()), has.saturating_add(size_max.get()));
            if would > cap {
                let (cap, would) = (Bytes::new(cap), Bytes::new(would));
                return Some(format!(
                    "it would be trusted with {would}, and by what it has shown so far it is with {cap}; --newcomer-room \
                     lets newcomers have more"
                ));
            }
        }
        let cap = match (self.limits, self.usual_times) {
            (Some(limits), _) => book.exposure(provider).cap(&limits).get(),
            (None, Some(times)) => {
                let usual = usual(asked, size_max).get();
                grown(book, provider, usual.saturating_mul(times.into()))
            }
            (None, None) => return None,
        };
        (ahead.get() > cap).then(|| {
            let show = |amount| money.show(prices.currency, amount);
            let (ahead, cap) = (show(ahead), show(Amount::new(cap)));
            match self.limits {
                Some(_) => format!(
                    "it would be trusted with {ahead} at once, and has earned {cap}; --newcomer-prepaid lets newcomers have \
                     more"
                ),
                None => format!(
                    "it would be trusted with {ahead} at once, and by what others ask and it has shown so far it is \
                     with {cap}; --newcomer-prepaid lets newcomers have more"
                ),
            }
        })
    }
}

/// What a newcomer may have, grown by what this host has shown.
fn grown(book: &Book, provider: EntityId, newcomer: u64) -> u64 {
    let lived = book.record(provider).map_or(0, |record| record.losses().1.rounded());
    let cap = newcomer.saturating_mul(lived.saturating_add(1));
    cap.checked_shr(book.exposure(provider).not_kept()).unwrap_or(0)
}

/// What a host has of the owner's.
fn has(book: &Book, provider: EntityId, now: Timestamp) -> u64 {
    let of_it = book.contracts().filter(|(_, record)| {
        let is_open = record.stage == Stage::Open && record.terms.ends > now;
        is_open && record.terms.prices.provider == provider
    });
    of_it.fold(0, |sum: u64, (contract, _)| sum.saturating_add(book.given(contract).get()))
}

/// What the middle one of these hosts would be ahead by; of two, the cheaper.
fn usual(asked: &[PriceList], size_max: Bytes) -> Amount {
    let mut ahead: Vec<Amount> = asked.iter().map(|prices| at_risk(prices, size_max)).collect();
    ahead.sort_unstable();
    ahead.get(ahead.len().saturating_sub(1) / 2).copied().unwrap_or(Amount::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::{intended_by, opened_by, terms_by};
    use crate::book::{Event, Verdict};
    use fondaco_reputation::Share;
    use proptest::{collection::vec, prelude::*};

    const NOW: Timestamp = Timestamp::from_milliseconds(1);
    const ROOM: Bytes = Bytes::new(1 << 30);

    /// A host that asks so much to open a contract.
    fn prices(host: u8, open: u64) -> PriceList {
        PriceList { open: Amount::new(open), ..terms_by(host).prices }
    }

    /// A book in which a host was proven to live through so many epochs, and did not keep so many deals.
    fn book(host: u8, lived: u64, not_kept: u32) -> Book {
        let mut book = Book::default();
        book.apply(&intended_by(host)).unwrap();
        book.apply(&opened_by(host)).unwrap();
        let terms = terms_by(host);
        if not_kept > 0 || lived > 0 {
            let mut record = fondaco_reputation::Record::new(&fondaco_reputation::Policy::DEFAULT);
            (0..lived).for_each(|_| {
                record.lived(&fondaco_reputation::Policy::DEFAULT, fondaco_reputation::Count::ONE);
            });
            let mut exposure = fondaco_reputation::Exposure::NEWCOMER;
            (0..not_kept).for_each(|_| exposure.bad());
            let (provider, record) = (terms.prices.provider, Some(record));
            let kept = Event::TrustKept { provider, record, exposure: Some(exposure) };
            book.apply(&kept).unwrap();
        }
        book
    }

    /// Why a host may not have that, if so, in a currency that is written like this.
    fn refused(
        trust: &Trust,
        book: &Book,
        asked: &[PriceList],
        prices: &PriceList,
        size_max: Bytes,
    ) -> Option<String> {
        let money = Money::shown_by(|_, amount| Some(format!("{}.00 CLR", amount.get())));
        trust.refusal(book, asked, (prices, size_max), NOW, &money)
    }

    #[test]
    fn room_grows_with_what_was_proven() {
        let trust = Trust { newcomer: Some(ROOM), ..Trust::ANY };
        // Epochs lived through, deals not kept, the size in GiB; whether it may have that.
        for (lived, not_kept, size, may) in [
            (0, 0, 1, true),
            (0, 0, 2, false),
            (1, 0, 2, true),
            (1, 0, 3, false),
            (9, 0, 10, true),
            (9, 1, 5, true),
            (9, 1, 6, false),
            (9, 64, 1, false),
        ] {
            let book = book(1, lived, not_kept);
            let refusal = refused(&trust, &book, &[], &prices(1, 1), Bytes::new(size << 30));
            assert_eq!(refusal.is_none(), may, "{lived} {not_kept} {size}: {refusal:?}");
        }
        assert_eq!(
            refused(&trust, &book(1, 0, 0), &[], &prices(1, 1), Bytes::new(2 << 30)).unwrap(),
            "it would be trusted with 2.0 GiB, and by what it has shown so far it is with 1.0 GiB; --newcomer-room lets \
             newcomers have more"
        );
    }

    #[test]
    fn more_than_half_an_epoch_of_good_audits_is_enough_to_be_known() {
        let mut book = book(1, 0, 0);
        let (contract, epoch) = (terms_by(1).id(), terms_by(1).prices.epoch.milliseconds());
        assert_eq!(grown(&book, terms_by(1).prices.provider, 7), 7);
        for (part, cap) in [(epoch / 4, 7), (epoch * 3 / 5, 14), (epoch, 14)] {
            let at = Timestamp::from_milliseconds(part);
            book.apply(&Event::Audited { contract, at, verdict: Verdict::Proven }).unwrap();
            assert_eq!(grown(&book, terms_by(1).prices.provider, 7), cap, "{part}");
        }
    }

    #[test]
    fn nobody_is_ahead_by_much_more_than_is_usual() {
        let trust = Trust { usual_times: Some(4), ..Trust::ANY };
        let asked = |opens: &[u64]| opens.iter().map(|&open| prices(9, open)).collect::<Vec<_>>();
        let size = Bytes::new(1); // what it costs beside the opening comes to two units, rounded up
        let usual = usual(&asked(&[10, 10, 10]), size).get();
        for (opens, open, may) in [
            (&[10, 10, 10, 10, 10][..], 10, true),
            (&[10, 10, 10, 10, 39], 4 * usual - (usual - 10), true),
            (&[10, 10, 10, 10, 41], 4 * usual, false),
            (&[41], 41, true), // there is nothing to compare it with
            (&[1, 1000], 1000, false),
            (&[1000, 1000, 1000, 1], 1000, true),
        ] {
            let refusal = refused(&trust, &Book::default(), &asked(opens), &prices(1, open), size);
            assert_eq!(refusal.is_none(), may, "{opens:?} {open}: {refusal:?}");
        }
        // Money that the owner names counts instead.
        let limits =
            Limits::new(Amount::new(20), Amount::MAX, Share::ONE, Amount::new(21)).unwrap();
        let trust = Trust { limits: Some(limits), ..trust };
        for (open, may) in [(15, true), (21, false)] {
            let refusal =
                refused(&trust, &Book::default(), &asked(&[1000]), &prices(1, open), size);
            assert!(refusal.iter().all(|why| why.contains("20.00 CLR") && !why.contains("units")));
            assert_eq!(refusal.is_none(), may, "{open}: {refusal:?}");
        }
    }

    proptest! {
        /// Hosts that ask about the same are never refused for it, whatever is usual: a first backup works.
        #[test]
        fn alike_hosts_are_never_in_the_way(
            base in 1..1_000_000_u64, spread in vec(0..100_u64, 1..40), size in 1..1_u64 << 35,
        ) {
            let asked: Vec<PriceList> =
                spread.iter().map(|percent| prices(1, base + base * percent / 100)).collect();
            for prices in &asked {
                let refusal = refused(&Trust::DEFAULT, &Book::default(), &asked, prices, Bytes::new(size));
                prop_assert_eq!(refusal, None);
            }
        }

        /// More proven never means less trust, and a deal that was not kept never more.
        #[test]
        fn trust_follows_what_was_shown(lived in 0..60_u64, not_kept in 0..5_u32) {
            let cap = |lived, not_kept| grown(&book(1, lived, not_kept), terms_by(1).prices.provider, 1 << 20);
            prop_assert!(cap(lived + 1, not_kept) >= cap(lived, not_kept));
            prop_assert!(cap(lived, not_kept + 1) < cap(lived, not_kept));
        }
    }
}
