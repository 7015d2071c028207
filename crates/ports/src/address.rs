//! Where an entity can be reached.

use fondaco_codec::{Decode, DecodeError, Encode, Reader, put_bytes};
use fondaco_crypto::{EntityId, ParseEntityIdError};
use std::{fmt, net::SocketAddr, str::FromStr};

/// An entity and the sockets at which it may be dialled. The key decides who answered; the sockets
/// are only hints.
///
/// Its text form is `fon1…@192.0.2.7:4433`, with more sockets after commas.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    entity: EntityId,
    sockets: Vec<SocketAddr>,
}

impl Address {
    /// The most sockets one address may name.
    pub const SOCKETS_MAX: usize = 8;

    /// Creates the address of `entity` at the first [`Address::SOCKETS_MAX`] of `sockets`.
    pub fn new(entity: EntityId, sockets: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { entity, sockets: sockets.into_iter().take(Self::SOCKETS_MAX).collect() }
    }

    /// Returns who should answer.
    pub const fn entity(&self) -> EntityId {
        self.entity
    }

    /// Returns where to dial.
    pub fn sockets(&self) -> &[SocketAddr] {
        &self.sockets
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.entity)?;
        for (index, socket) in self.sockets.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{socket}")?;
        }
        Ok(())
    }
}

/// Why a text is not an address. Listed by precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    /// There is no `@` between the entity and its sockets.
    #[error("an address is written ENTITY@HOST:PORT, as fon1…@192.0.2.7:4433")]
    Form,
    /// The part before the `@` is no entity.
    #[error(transparent)]
    Entity(#[from] ParseEntityIdError),
    /// A part after the `@` is no IP address and port.
    #[error("`{text}` is not an IP address and port, as 192.0.2.7:4433 or [2001:db8::7]:4433")]
    Socket {
        /// The part.
        text: String,
    },
    /// There are more sockets than [`Address::SOCKETS_MAX`].
    #[error("an address names at most {} sockets", Address::SOCKETS_MAX)]
    TooMany,
}

impl ParseAddressError {
    /// Returns whether the same text can be read later: never.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Form | Self::Entity(_) | Self::Socket { .. } | Self::TooMany => false,
        }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (entity, sockets) = text.split_once('@').ok_or(ParseAddressError::Form)?;
        let entity = entity.parse()?;
        let sockets: Vec<SocketAddr> = sockets
            .split(',')
            .map(|text| {
                text.parse().map_err(|_| ParseAddressError::Socket { text: text.to_owned() })
            })
            .collect::<Result<_, _>>()?;
        if sockets.len() > Self::SOCKETS_MAX {
            return Err(ParseAddressError::TooMany);
        }
        Ok(Self { entity, sockets })
    }
}

impl Encode for Address {
    /// Writes the text form: addresses are stored where people may look.
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.to_string().as_bytes());
    }
}

impl Decode for Address {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = input.at();
        let address: Self =
            input.text(1024)?.parse().map_err(|_| Reader::invalid(at, "Address"))?;
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_text_form() {
        let entity = EntityId::from_bytes([3; 32]);
        let address = Address::new(
            entity,
            ["127.0.0.1:4433".parse().unwrap(), "[::1]:4433".parse().unwrap()],
        );
        let text = format!("{entity}@127.0.0.1:4433,[::1]:4433");
        assert_eq!(address.to_string(), text);
        assert_eq!(text.parse(), Ok(address.clone()));
        assert_eq!(Address::from_bytes(&address.to_bytes()), Ok(address));
        let refused = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(refused(&entity.to_string()), ParseAddressError::Form);
        assert!(matches!(refused("fon1@1.2.3.4:5"), ParseAddressError::Entity(_)));
        assert!(matches!(refused(&format!("{entity}@")), ParseAddressError::Socket { .. }));
        assert!(matches!(refused(&format!("{entity}@host:1")), ParseAddressError::Socket { .. }));
    }
}
