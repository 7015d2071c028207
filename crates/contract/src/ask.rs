//! A provider's ask: its price list, where it is dialled, and what it says of itself; signed, and good for hours.
//!
//! An ask is public. Whoever passes it on can hold it back, and change nothing in it: the key that signs it is the key
//! that must answer at its sockets.

use crate::{PriceListError, SignedPriceList};
use fondaco_codec::{Decode, DecodeError, Encode, List, Reader, choice, put_bytes, record};
use fondaco_crypto::{Digest, Domain, EntityId, SecretKey, Signature};
use fondaco_units::Timestamp;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{fmt, str::FromStr};

/// Under which a provider signs an ask.
const ASK: Domain = Domain::new("fondaco 2026 storage ask v1");

/// The most sockets that an ask names.
pub const ASK_SOCKETS_MAX: usize = 8;

/// The longest signed ask, in bytes.
pub const ASK_BYTES_MAX: usize = 502;

/// A word that a provider says of itself, and nobody proves: 1 to 32 of `a-z 0-9 - . _`, a letter or digit in front.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(String);

impl Label {
    /// The most characters of a label.
    pub const LENGTH_MAX: usize = 32;

    /// Returns the word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a label has 1 to 32 small letters, digits, `-`, `.` or `_`, a letter or digit in front")]
pub struct ParseLabelError;

impl FromStr for Label {
    type Err = ParseLabelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = |byte: u8| plain(byte) || b"-._".contains(&byte);
        let front = text.bytes().next().is_some_and(plain);
        if front && text.len() <= Self::LENGTH_MAX && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseLabelError)
        }
    }
}

impl Encode for Label {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.0.as_bytes());
    }
}

impl Decode for Label {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = input.at();
        let text = input.text(Self::LENGTH_MAX)?;
        text.parse().map_err(|_| Reader::invalid(at, "Label"))
    }
}

/// An IP address and a UDP port that one can dial: no port 0, no address of everybody or nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket(SocketAddr);

impl Socket {
    /// Takes a socket; nothing if it cannot be dialled, or only together with an interface.
    pub fn new(socket: SocketAddr) -> Option<Self> {
        let ip = socket.ip().to_canonical();
        let dialled = match ip {
            IpAddr::V4(ip) => !ip.is_link_local() && ip != Ipv4Addr::BROADCAST,
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        };
        let fits = dialled && !ip.is_unspecified() && !ip.is_multicast() && socket.port() != 0;
        fits.then(|| Self((ip, socket.port()).into()))
    }

    /// Returns the address and port.
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

impl Encode for Socket {
    fn encode(&self, out: &mut Vec<u8>) {
        match self.0.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                ip.octets().encode(out);
            }
            IpAddr::V6(ip) => {
                out.push(6);
                ip.octets().encode(out);
            }
        }
        self.0.port().encode(out);
    }
}

impl Decode for Socket {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = input.at();
        let invalid = || Reader::invalid(at, "Socket");
        let ip: IpAddr = match u8::decode(input)? {
            4 => Ipv4Addr::from(input.array::<4>()?).into(),
            6 => Ipv6Addr::from(input.array::<16>()?).into(),
            _ => return Err(invalid()),
        };
        // An IPv4 address in the clothes of an IPv6 one would be a second form of the same.
        let socket = Self::new((ip, u16::decode(input)?).into()).ok_or_else(invalid)?;
        if socket.0.ip() == ip { Ok(socket) } else { Err(invalid()) }
    }
}

/// What a provider tells everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What it sells and at what price. Its times are the ask's, and its provider who must answer at the sockets.
    pub prices: SignedPriceList,
    /// Where it is dialled.
    pub sockets: List<Socket, ASK_SOCKETS_MAX>,
    /// Who runs it, for a buyer that wants several.
    pub operator: Option<Label>,
    /// Where it stands.
    pub region: Option<Label>,
}
record!(Ask { prices, sockets, operator, region });

impl Ask {
    /// Signs the ask. `key` must be the provider's, or nobody will take it.
    pub fn sign(self, key: &SecretKey) -> SignedAsk {
        SignedAsk { signature: key.sign(ASK, &self.to_bytes()), ask: self }
    }
}

/// An ask with a signature, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAsk {
    /// The ask.
    pub ask: Ask,
    /// The provider's, under `fondaco 2026 storage ask v1`.
    pub signature: Signature,
}
record!(SignedAsk { ask, signature });

impl SignedAsk {
    /// Returns who asks.
    pub const fn provider(&self) -> EntityId {
        self.ask.prices.prices.provider
    }

    /// Checks both signatures and all limits, at `now`.
    ///
    /// # Errors
    ///
    /// The first that applies of [`AskError`].
    pub fn check(self, now: Timestamp) -> Result<CheckedAsk, AskError> {
        let bytes = self.ask.to_bytes();
        self.provider().verify(ASK, &bytes, &self.signature).map_err(|_| AskError::Signature)?;
        if self.ask.sockets.as_slice().is_empty() {
            return Err(AskError::NoSocket);
        }
        self.ask.prices.verify(now).map_err(|why| AskError::Prices { why })?;
        Ok(CheckedAsk { digest: Digest::of(&self.to_bytes()), signed: self })
    }
}

/// An ask that its provider signed, and that was good when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedAsk {
    signed: SignedAsk,
    digest: Digest,
}

impl CheckedAsk {
    /// Returns the ask with its signature, to be passed on.
    pub const fn signed(&self) -> &SignedAsk {
        &self.signed
    }

    /// Returns the ask.
    pub const fn ask(&self) -> &Ask {
        &self.signed.ask
    }

    /// Returns its price list.
    pub const fn prices(&self) -> &crate::PriceList {
        &self.signed.ask.prices.prices
    }

    /// Returns who asks.
    pub const fn provider(&self) -> EntityId {
        self.signed.provider()
    }

    /// Returns when it was made: of two of one provider, the later one counts.
    pub const fn issued(&self) -> Timestamp {
        self.prices().issued
    }

    /// Returns from when it is void.
    pub const fn expires(&self) -> Timestamp {
        self.prices().expires
    }

    /// Returns the digest of all its bytes, which orders what is alike otherwise.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns whether this takes the place of `other`, of the same provider.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.issued() > other.issued()
    }
}

/// Why an ask is not taken. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The provider of its price list did not sign it.
    #[error("the ask is not signed by its provider")]
    Signature,
    /// It says nowhere to dial.
    #[error("the ask names no socket")]
    NoSocket,
    /// Its price list is not to be taken.
    #[error(transparent)]
    Prices {
        /// Why.
        why: PriceListError,
    },
}
choice!(AskError {
    1 => Signature,
    2 => NoSocket,
    3 => Prices { why },
});

impl AskError {
    /// Returns whether the same ask can be taken later.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Prices { why } => why.is_transient(),
            Self::Signature | Self::NoSocket => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::prices::tests::{NOON, prices, provider};
    use fondaco_units::Duration;
    use proptest::prelude::*;

    pub(crate) fn socket(text: &str) -> Socket {
        Socket::new(text.parse().unwrap()).unwrap()
    }

    pub(crate) fn ask() -> Ask {
        Ask {
            prices: prices().sign(&provider()),
            sockets: List::new(vec![socket("192.0.2.7:4433"), socket("[2001:db8::7]:4433")])
                .unwrap(),
            operator: Some("claire".parse().unwrap()),
            region: Some("eu-south".parse().unwrap()),
        }
    }

    type Edit = fn(&mut Ask);

    #[test]
    fn an_ask_is_refused_for_the_first_of_its_faults() {
        let signed = |edit: Edit| {
            let mut ask = ask();
            edit(&mut ask);
            ask.sign(&provider())
        };
        let other = SecretKey::from_bytes(&[2; 32]);
        let table: &[(&str, Edit, AskError)] = &[
            ("nowhere", |ask| ask.sockets = List::new(vec![]).unwrap(), AskError::NoSocket),
            (
                "a list that another signed",
                |ask| ask.prices = prices().sign(&SecretKey::from_bytes(&[2; 32])),
                AskError::Prices { why: PriceListError::Signature },
            ),
            (
                "expired",
                |ask| {
                    let mut list = prices();
                    list.expires = NOON;
                    list.issued = Timestamp::from_milliseconds(NOON.milliseconds() - 1);
                    ask.prices = list.sign(&provider());
                },
                AskError::Prices { why: PriceListError::Expired { expires: NOON, now: NOON } },
            ),
            (
                "the list of another",
                |ask| {
                    let other = SecretKey::from_bytes(&[2; 32]);
                    let mut list = prices();
                    list.provider = other.entity();
                    ask.prices = list.sign(&other);
                },
                AskError::Signature,
            ),
        ];
        assert!(ask().sign(&provider()).check(NOON).is_ok());
        assert_eq!(ask().sign(&other).check(NOON), Err(AskError::Signature));
        for (name, edit, refusal) in table {
            assert_eq!(signed(*edit).check(NOON), Err(*refusal), "{name}");
            assert_eq!(AskError::from_bytes(&refusal.to_bytes()), Ok(*refusal), "{name}");
        }
        let early = Timestamp::from_milliseconds(NOON.milliseconds() - 301_000);
        assert!(ask().sign(&provider()).check(early).unwrap_err().is_transient());
    }

    #[test]
    fn sockets_that_nobody_can_dial() {
        for text in [
            "0.0.0.0:1",
            "[::]:1",
            "192.0.2.7:0",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "169.254.1.1:1",
            "[fe80::1]:1",
            "[ff02::1]:1",
        ] {
            assert_eq!(Socket::new(text.parse().unwrap()), None, "{text}");
        }
        for text in ["127.0.0.1:1", "10.0.0.1:65535", "[::1]:4433"] {
            assert_eq!(socket(text).get().to_string(), text);
        }
        // One form of an address: the IPv4 one in the clothes of IPv6 is changed here, and refused from outside.
        assert_eq!(socket("[::ffff:192.0.2.7]:1"), socket("192.0.2.7:1"));
        let mut dressed = vec![6];
        Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets().encode(&mut dressed);
        1_u16.encode(&mut dressed);
        assert!(Socket::from_bytes(&dressed).is_err());
    }

    #[test]
    fn labels_cannot_disturb_a_screen() {
        for text in ["a", "eu-south.1", "0", "a_b", &"x".repeat(32)] {
            assert_eq!(text.parse::<Label>().unwrap().as_str(), text);
        }
        for text in ["", "A", "-a", ".", "a b", "\u{1b}[2J", "é", &"x".repeat(33)] {
            assert_eq!(text.parse::<Label>(), Err(ParseLabelError), "{text:?}");
            let mut bytes = vec![];
            put_bytes(&mut bytes, text.as_bytes());
            assert!(Label::from_bytes(&bytes).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_longest_ask_is_as_long_as_is_said() {
        let six: Vec<Socket> =
            (1..=8).map(|port| socket(&format!("[2001:db8::7]:{port}"))).collect();
        let label: Label = "x".repeat(32).parse().unwrap();
        let longest = Ask {
            sockets: List::new(six).unwrap(),
            operator: Some(label.clone()),
            region: Some(label),
            ..ask()
        };
        let bytes = longest.sign(&provider()).to_bytes();
        assert_eq!(bytes.len(), ASK_BYTES_MAX);
        assert!(bytes.len() <= 1024, "docs/formats/offers.md promises a kilobyte");
    }

    /// The example of `docs/formats/offers.md`.
    #[test]
    fn the_format_is_pinned() {
        let bytes = ask().sign(&provider()).to_bytes();
        let hex: String = bytes[208..bytes.len() - 64].iter().map(|b| format!("{b:02x}")).collect();
        let dump = concat!(
            "02000000",                               // two sockets
            "04c00002075111",                         // 192.0.2.7:4433
            "0620010db80000000000000000000000075111", // [2001:db8::7]:4433
            "0106000000636c61697265",                 // operator: claire
            "010800000065752d736f757468",             // region: eu-south
        );
        assert_eq!(hex, dump);
        assert_eq!(bytes.len(), 208 + dump.len() / 2 + 64);
        assert_eq!(
            Digest::of(&bytes).to_string(),
            "5026f694fe779754c1bbf99b01fba8f5852f822dd01c9660deecec79bcf35b5a"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_ask_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(ask) = SignedAsk::from_bytes(&bytes) {
                prop_assert_eq!(ask.to_bytes(), bytes);
                prop_assert!(ask.check(NOON).is_err());
            }
        }

        /// Nobody on the way changes a byte of it.
        #[test]
        fn a_changed_ask_is_not_taken(at in 0_usize..326, bit in 0_u8..8) {
            let signed = ask().sign(&provider());
            let mut bytes = signed.to_bytes();
            bytes[at] ^= 1 << bit;
            let later = NOON.after(Duration::from_seconds(1));
            if let Ok(changed) = SignedAsk::from_bytes(&bytes) {
                prop_assert!(changed.check(later).is_err());
            }
        }
    }
}
