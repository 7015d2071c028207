//! What an issuer decides once, for ever: its currency.

use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_lcp::Currency;
use fondaco_units::{Amount, Scale};

/// A currency, before it has an issuer. Made once; there is no changing it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    name: Text<64>,
    symbol: Text<12>,
    scale: Scale,
    transfer_fee: Amount,
}

impl IssuerConfig {
    /// Checks what people will see of a currency: `transfer_fee` is in smallest units.
    ///
    /// # Errors
    ///
    /// The name is empty, too long, or has control characters or spaces at its ends; the symbol is not 1 to 12 of
    /// `A`–`Z`, `a`–`z` and `0`–`9`.
    pub fn new(
        name: &str,
        symbol: &str,
        scale: Scale,
        transfer_fee: Amount,
    ) -> Result<Self, ConfigError> {
        let name_ok =
            !name.is_empty() && name.trim() == name && !name.chars().any(char::is_control);
        let symbol_ok = !symbol.is_empty() && symbol.bytes().all(|c| c.is_ascii_alphanumeric());
        let name = Text::new(name).filter(|_| name_ok).ok_or(ConfigError::Name)?;
        let symbol = Text::new(symbol).filter(|_| symbol_ok).ok_or(ConfigError::Symbol)?;
        Ok(Self { name, symbol, scale, transfer_fee })
    }

    /// Returns the currency that `issuer` makes of it.
    pub(crate) fn currency(&self, issuer: EntityId) -> Currency {
        let Self { name, symbol, scale, transfer_fee } = self.clone();
        Currency {
            id: CurrencyId::issued_by(issuer),
            name,
            symbol,
            scale,
            transfer_fee,
            full_handshake_fee: Amount::ZERO,
            account_reserve: Amount::ZERO,
        }
    }
}

/// Why a currency cannot be called so. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The name.
    #[error("a currency's name has 1 to 64 bytes, no control characters and no spaces around it")]
    Name,
    /// The symbol.
    #[error("a currency's symbol is 1 to 12 letters and digits, as HCR")]
    Symbol,
}

impl ConfigError {
    /// Returns whether the same can be accepted later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Name | Self::Symbol => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_symbols() {
        let long = "x".repeat(65);
        let table = [
            ("harbour crown", "HCR", Ok(())),
            ("Krone", "kr", Ok(())),
            ("мера", "M1", Ok(())),
            ("", "HCR", Err(ConfigError::Name)),
            (&long, "HCR", Err(ConfigError::Name)),
            (" crown", "HCR", Err(ConfigError::Name)),
            ("crown\u{1b}[31m", "HCR", Err(ConfigError::Name)),
            ("crown", "", Err(ConfigError::Symbol)),
            ("crown", "THIRTEENCHARS", Err(ConfigError::Symbol)),
            ("crown", "H C", Err(ConfigError::Symbol)),
            ("crown", "€", Err(ConfigError::Symbol)),
        ];
        for (name, symbol, wanted) in table {
            let made = IssuerConfig::new(name, symbol, Scale::default(), Amount::ZERO);
            assert_eq!(made.map(|_| ()), wanted, "{name:?} {symbol:?}");
        }
    }
}
