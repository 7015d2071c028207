//! What providers and buyers ask of a broker, and what it answers.
//!
//! A broker keeps the asks of providers in memory and shows them to whoever asks. One request opens one stream; each
//! message is one frame: the version, then the message. The transport says who sent it.
//!
//! ```text
//! provider                                          broker
//! Post{ask} ──────────────────────────────────────► Posted{expires}
//! Withdraw ───────────────────────────────────────► Withdrawn
//! buyer
//! Query{sought, limit, after} ────────────────────► Asks{list, next, count}
//! Everybody{limit, after} ────────────────────────► Providers{list, next, count}
//! Find{provider} ─────────────────────────────────► Found{ask}
//! anybody
//! Status ─────────────────────────────────────────► Status{…}
//! any of them ────────────────────────────────────► Refused{reason}
//! ```
//!
//! # What always holds
//!
//! - Every frame has a maximum length, stated here, and is decoded within it.
//! - Nobody needs to believe a broker: each ask is signed by its provider. It can hold asks back, so one asks two.
//!
//! # What is not here
//!
//! The asks and the order they are sorted in (see `contract`), and how a broker decides (see `broker`).
//!
//! ```
//! use fondaco_ports::{market::Frame as _, offers::{Request, VERSION}};
//! let frame = Request::Withdraw.to_frame();
//! assert_eq!(frame, [VERSION, 3]);
//! assert_eq!(Request::from_frame(&frame), Ok(Request::Withdraw));
//! ```

use crate::market::Frame;
use fondaco_codec::{List, choice};
use fondaco_contract::{ASK_BYTES_MAX, AskError, Place, SignedAsk, Sought};
use fondaco_crypto::EntityId;
use fondaco_units::{Duration, Timestamp};

/// The first byte of every frame.
pub const VERSION: u8 = 1;

/// The most asks in one answer.
pub const PAGE_MAX: usize = 64;

/// What is asked of a broker. It opens a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one for each stream, and soon taken apart
pub enum Request {
    /// Show this to buyers, in place of what you have of me. Only its provider posts an ask.
    Post {
        /// The ask.
        ask: SignedAsk,
    },
    /// What is for sale?
    Query {
        /// What is wanted of each provider.
        sought: Sought,
        /// At most so many; no more than [`PAGE_MAX`] are sent.
        limit: u8,
        /// Only those after this place.
        after: Option<Place>,
    },
    /// Show what you have of me no longer.
    Withdraw,
    /// How are you?
    Status,
    /// Who sells anything, for whatever money? So asks who has lost all but a key, and so does not know in which currency.
    Everybody {
        /// At most so many; no more than [`PAGE_MAX`] are sent.
        limit: u8,
        /// Only providers after this one.
        after: Option<EntityId>,
    },
    /// Where is this provider? So asks who has a contract with it, and does not reach it where it was.
    Find {
        /// Which.
        provider: EntityId,
    },
}
choice!(Request {
    1 => Post { ask },
    2 => Query { sought, limit, after },
    3 => Withdraw,
    4 => Status,
    5 => Everybody { limit, after },
    6 => Find { provider },
});

impl Frame for Request {
    const FRAME_MAX: usize = ASK_BYTES_MAX + 2;
    const VERSION: u8 = VERSION;
}

/// What a broker answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // as with requests
pub enum Response {
    /// To [`Request::Post`].
    Posted {
        /// Until when it is shown.
        expires: Timestamp,
    },
    /// To [`Request::Query`].
    Asks {
        /// The asks, the cheapest first; then the oldest, then by digest.
        list: List<SignedAsk, PAGE_MAX>,
        /// After which to ask on, if there are more.
        next: Option<Place>,
        /// How many fit in all.
        count: u32,
    },
    /// To [`Request::Withdraw`], also if there was none.
    Withdrawn,
    /// To [`Request::Status`].
    Status {
        /// For how long it has been up.
        up: Duration,
        /// How many asks it has.
        asks: u32,
        /// How many it takes.
        asks_max: u32,
        /// In how many currencies.
        currencies: u32,
        /// How many posts it took since it is up.
        posted: u64,
        /// How many queries it answered.
        queries: u64,
        /// How many requests it refused.
        refused: u64,
    },
    /// To anything that is not done.
    Refused {
        /// Why.
        reason: Reason,
    },
    /// To [`Request::Everybody`].
    Providers {
        /// The asks, by provider.
        list: List<SignedAsk, PAGE_MAX>,
        /// After which to ask on, if there are more.
        next: Option<EntityId>,
        /// How many there are in all.
        count: u32,
    },
    /// To [`Request::Find`].
    Found {
        /// What the provider asks, and so where it is; nothing if the broker has no ask of it that is good now.
        ask: Option<SignedAsk>,
    },
}
choice!(Response {
    1 => Posted { expires },
    2 => Asks { list, next, count },
    3 => Withdrawn,
    4 => Status { up, asks, asks_max, currencies, posted, queries, refused },
    5 => Refused { reason },
    6 => Providers { list, next, count },
    7 => Found { ask },
});

impl Frame for Response {
    const FRAME_MAX: usize = PAGE_MAX * ASK_BYTES_MAX + 67;
    const VERSION: u8 = VERSION;
}

/// Why a broker refuses. Listed by precedence. A refusal changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Too many requests came from this key, this network, or everybody.
    #[error("the broker is asked too often")]
    Busy,
    /// The broker speaks another version of this protocol.
    #[error("the broker speaks version {spoken} of the protocol of offers")]
    Version {
        /// The one it speaks.
        spoken: u8,
    },
    /// The frame holds no request.
    #[error("the message cannot be read")]
    Malformed,
    /// The ask is another provider's than the one that posts it.
    #[error("an ask is posted by its provider alone")]
    NotYours,
    /// The ask is not good.
    #[error("the ask is refused: {why}")]
    Ask {
        /// What is wrong with it.
        why: AskError,
    },
    /// A newer one of this provider is there, or another of the same time.
    #[error("an ask of this provider from {issued} is there already")]
    Stale {
        /// When the one that is there was made.
        issued: Timestamp,
    },
    /// The broker has as many asks as it takes.
    #[error("the broker has {asks_max} asks, and takes no more")]
    Full {
        /// How many that is.
        asks_max: u32,
    },
    /// The broker has as many asks of one network as it takes.
    #[error("the broker has {asks_max} asks of this network, and takes no more of it")]
    NetworkFull {
        /// How many that is.
        asks_max: u32,
    },
}
choice!(Reason {
    1 => Version { spoken },
    2 => Malformed,
    10 => Busy,
    11 => NotYours,
    12 => Ask { why },
    13 => Stale { issued },
    14 => Full { asks_max },
    15 => NetworkFull { asks_max },
});

impl Reason {
    /// Returns whether the same request, sent again unchanged, can succeed later.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Ask { why } => why.is_transient(),
            Self::Busy | Self::Full { .. } | Self::NetworkFull { .. } => true,
            Self::Version { .. } | Self::Malformed | Self::NotYours | Self::Stale { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::FrameError;
    use fondaco_codec::{Decode as _, Reader};
    use fondaco_contract::{Ask, PriceList, Rate, Socket};
    use fondaco_crypto::{CurrencyId, Digest, SecretKey};
    use fondaco_units::{Amount, Bytes, Price};
    use proptest::{collection::vec, prelude::*};
    use std::collections::BTreeSet;

    /// The longest ask there is.
    fn ask() -> SignedAsk {
        let key = SecretKey::from_bytes(&[1; 32]);
        let issued = Timestamp::from_milliseconds(1_058_011_200_000);
        let list = PriceList {
            provider: key.entity(),
            currency: sought().currency,
            open: Amount::new(1),
            store: Price::from_parts(2),
            write: Price::from_parts(3),
            read: Price::from_parts(4),
            capacity: Bytes::new(1 << 40),
            period_max: Duration::from_seconds(7200),
            epoch: Duration::from_seconds(3600),
            step_max: Bytes::new(1 << 18),
            issued,
            expires: issued.after(Duration::from_seconds(3600)),
        };
        let sockets = (1..=8)
            .map(|port| Socket::new(format!("[2001:db8::7]:{port}").parse().unwrap()).unwrap());
        let label: fondaco_contract::Label = "x".repeat(32).parse().unwrap();
        let ask = Ask {
            prices: list.sign(&key),
            sockets: List::new(sockets.collect()).unwrap(),
            operator: Some(label.clone()),
            region: Some(label),
        };
        ask.sign(&key)
    }

    fn sought() -> Sought {
        let currency = CurrencyId::issued_by(SecretKey::from_bytes(&[9; 32]).entity());
        Sought { currency, size: Bytes::new(1 << 30), epochs: 12 }
    }

    fn place() -> Place {
        let issued = Timestamp::from_milliseconds(1);
        Place { rate: Rate::from_parts(7), issued, digest: Digest::from_bytes([5; 32]) }
    }

    fn provider() -> EntityId {
        SecretKey::from_bytes(&[1; 32]).entity()
    }

    fn requests() -> Vec<Request> {
        vec![
            Request::Post { ask: ask() },
            Request::Query { sought: sought(), limit: 64, after: Some(place()) },
            Request::Query { sought: sought(), limit: 0, after: None },
            Request::Withdraw,
            Request::Status,
            Request::Everybody { limit: 64, after: None },
            Request::Everybody { limit: 1, after: Some(provider()) },
            Request::Find { provider: provider() },
        ]
    }

    fn responses() -> Vec<Response> {
        let mut all = vec![
            Response::Posted { expires: Timestamp::EPOCH },
            Response::Asks {
                list: List::new(vec![ask(); PAGE_MAX]).unwrap(),
                next: Some(place()),
                count: u32::MAX,
            },
            Response::Withdrawn,
            Response::Status {
                up: Duration::from_seconds(9),
                asks: 1,
                asks_max: 2,
                currencies: 3,
                posted: 4,
                queries: 5,
                refused: 6,
            },
        ];
        all.extend(reasons().map(|reason| Response::Refused { reason }));
        all.push(Response::Providers {
            list: List::new(vec![ask(); PAGE_MAX]).unwrap(),
            next: Some(provider()),
            count: u32::MAX,
        });
        all.extend([Some(ask()), None].map(|ask| Response::Found { ask }));
        all
    }

    /// One of every reason, made from its tag.
    fn reasons() -> impl Iterator<Item = Reason> {
        (0..=u8::MAX).filter_map(|tag| {
            let mut bytes = [1; 64];
            bytes[0] = tag;
            Reason::decode(&mut Reader::new(&bytes)).ok()
        })
    }

    fn survives<T: Frame + PartialEq + std::fmt::Debug>(message: &T) {
        let frame = message.to_frame();
        assert!(frame.len() <= T::FRAME_MAX, "{message:?} takes {} bytes", frame.len());
        assert_eq!(T::from_frame(&frame).as_ref(), Ok(message));
        let mut newer = frame.clone();
        newer[0] = 2;
        assert_eq!(T::from_frame(&newer), Err(FrameError::Version { found: 2 }));
        assert!(T::from_frame(&[&frame[..], &[0]].concat()).is_err());
        assert!(T::from_frame(&frame[..frame.len() - 1]).is_err());
    }

    #[test]
    fn the_largest_of_each_message_fits_its_frame() {
        requests().iter().for_each(survives);
        responses().iter().for_each(survives);
        // As docs/formats/offers.md says.
        assert_eq!((Request::FRAME_MAX, Response::FRAME_MAX), (504, 32_195));
        assert_eq!(requests()[0].to_frame().len(), Request::FRAME_MAX);
        assert_eq!(responses()[1].to_frame().len(), Response::FRAME_MAX);
    }

    #[test]
    fn every_reason_says_something_of_its_own() {
        let sentences: BTreeSet<String> = reasons().map(|reason| reason.to_string()).collect();
        assert_eq!((reasons().count(), sentences.len()), (8, 8));
        assert!(reasons().any(Reason::is_transient));
    }

    /// The hexdump of `docs/formats/offers.md`.
    #[test]
    fn the_format_is_pinned() {
        let query = &requests()[2];
        let hex: String = query.to_frame().iter().map(|byte| format!("{byte:02x}")).collect();
        let currency: String = sought()
            .currency
            .issuer()
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let dump = ["01", "02", &currency, "0000004000000000", "0c000000", "00", "00"].concat();
        assert_eq!(hex, dump);
        let mut hasher =
            fondaco_crypto::Hasher::new(fondaco_crypto::Domain::new("fondaco 2026 test offers v1"));
        requests().iter().for_each(|each| _ = hasher.update(&each.to_frame()));
        responses().iter().for_each(|each| _ = hasher.update(&each.to_frame()));
        assert_eq!(
            hasher.finish().to_string(),
            "7be616350e9559d7a22d69dd7d28ffcbff83e7a67180e078747e73061342dd19"
        );
    }

    proptest! {
        #[test]
        fn any_frame_is_a_message_or_refused(frame in vec(prop_oneof![any::<u8>(), 0..6_u8], 0..600)) {
            let versioned = [&[VERSION], &frame[..]].concat();
            if let Ok(request) = Request::from_frame(&versioned) {
                prop_assert_eq!(request.to_frame(), versioned);
            } else if let Ok(response) = Response::from_frame(&versioned) {
                prop_assert_eq!(response.to_frame(), versioned);
            }
        }
    }
}
