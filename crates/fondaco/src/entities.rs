//! Entities and addresses as people write them on the command line.

use crate::failure::{Code, Failure};
use fondaco_crypto::{EntityId, parse_entity};
use fondaco_ports::Address;

/// Reads an entity: `fon1…` or 64 hex digits.
pub(crate) fn entity(text: &str) -> Result<EntityId, Failure> {
    parse_entity(text).map_err(|error| {
        Failure::new(format!("{text}: {error}"))
            .code(Code::Usage)
            .hint("its owner reads it with `fondaco identity show`")
    })
}

/// Reads an address, `ENTITY@IP:PORT`; `hint` says where one comes from.
pub(crate) fn address(text: &str, hint: &str) -> Result<Address, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(format!("{text}: {error}")).code(Code::Usage).hint(hint)
    };
    let Some((who, sockets)) = text.trim().split_once('@') else {
        return text.parse().map_err(|error| failed(&error));
    };
    let who = parse_entity(who).map_err(|error| failed(&error))?;
    format!("{who}@{sockets}").parse().map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_crypto::SecretKey;

    #[test]
    fn addresses_are_read_in_both_forms() {
        let id = SecretKey::from_bytes(&[7; 32]).entity();
        let known: Address = format!("{id}@192.0.2.7:4433").parse().unwrap();
        for who in [id.to_string(), id.to_hex(), id.to_string().to_uppercase()] {
            assert_eq!(address(&format!("{who}@192.0.2.7:4433"), "").unwrap(), known);
            assert_eq!(entity(&who).unwrap(), id);
            assert!(address(&who, "").is_err());
        }
    }
}
