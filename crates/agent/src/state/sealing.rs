//! Sealing a state, and opening one: AES-256-GCM under a key of its own for each blob.
//!
//! ```text
//! magic 8 │ version u8 │ sequence u64 │ salt 32 │ ciphertext │ tag 16
//! └──────────── authenticated ─────────────────┘
//! ```

use super::State;
use crate::AgentError;
use fondaco_codec::{Decode as _, Encode as _};
use fondaco_crypto::{Domain, Hasher};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

const MAGIC: &[u8; 8] = b"fondstat";
const VERSION: u8 = 1;
const HEADER: usize = 8 + 1 + 8 + 32;
const KEY: Domain = Domain::new("fondaco 2026 state key v1");

/// Why bytes are no state of this key. Listed by precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    /// It does not begin as one.
    #[error("it is no state of an agent")]
    Foreign,
    /// It is of another version.
    #[error("it is of version {found}; this is version {VERSION}")]
    Version {
        /// Its version.
        found: u8,
    },
    /// It was sealed under another key, or altered.
    #[error("it was sealed under another key, or altered")]
    Sealed,
    /// What was sealed is no state of this version.
    #[error("what was sealed is no state: {0}")]
    Content(#[from] fondaco_codec::DecodeError),
}

/// Each blob has a key of its own, by its salt, so the nonce may be the same in all.
fn key(secret: &[u8; 32], salt: &[u8; 32]) -> Result<LessSafeKey, AgentError> {
    let mut hasher = Hasher::new(KEY);
    hasher.update(secret).update(salt);
    let key = UnboundKey::new(&AES_256_GCM, hasher.finish().as_bytes())
        .map_err(|_| AgentError::Store("a key of 32 bytes was refused".to_owned()))?;
    Ok(LessSafeKey::new(key))
}

const fn nonce() -> [u8; NONCE_LEN] {
    [0; NONCE_LEN]
}

pub(super) fn seal(
    secret: &[u8; 32],
    salt: [u8; 32],
    state: &State,
) -> Result<Vec<u8>, AgentError> {
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    header.push(VERSION);
    header.extend_from_slice(&state.sequence.to_le_bytes());
    header.extend_from_slice(&salt);
    let mut content = state.to_bytes();
    key(secret, &salt)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce()),
            Aad::from(&header),
            &mut content,
        )
        .map_err(|_| AgentError::Store("the state is too long to be sealed".to_owned()))?;
    header.append(&mut content);
    Ok(header)
}

pub(super) fn open(secret: &[u8; 32], blob: &[u8]) -> Result<State, OpenError> {
    let (header, sealed) = blob.split_at_checked(HEADER).ok_or(OpenError::Foreign)?;
    let rest = header.strip_prefix(MAGIC.as_slice()).ok_or(OpenError::Foreign)?;
    if rest[0] != VERSION {
        return Err(OpenError::Version { found: rest[0] });
    }
    let mut salt = [0; 32];
    salt.copy_from_slice(&rest[9..]);
    let mut content = sealed.to_vec();
    let content = key(secret, &salt)
        .map_err(|_| OpenError::Sealed)?
        .open_in_place(Nonce::assume_unique_for_key(nonce()), Aad::from(header), &mut content)
        .map_err(|_| OpenError::Sealed)?;
    let state = State::from_bytes(content)?;
    // The number outside is the one inside, or the sealer was no agent.
    if state.sequence.to_le_bytes() == rest[1..9] { Ok(state) } else { Err(OpenError::Foreign) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Event;
    use crate::state::Note;
    use fondaco_codec::{List, Text};
    use fondaco_units::Timestamp;
    use proptest::prelude::*;

    fn state() -> State {
        let note = Note { name: Text::cut("wallet.toml"), text: Text::cut("symbol = \"CLR\"") };
        State {
            sequence: 7,
            made: Timestamp::from_milliseconds(9),
            notes: List::new(vec![note]).unwrap(),
            events: List::new(vec![Event::StateNumbered { sequence: 7 }]).unwrap(),
        }
    }

    /// The hexdump of `docs/formats/state.md`: a change of it is a new version.
    #[test]
    fn the_format_is_pinned() {
        let blob = seal(&[1; 32], [0x5a; 32], &state()).unwrap();
        let header = ["666f6e6473746174", "01", "0700000000000000", &"5a".repeat(32)].concat();
        let hex: String = blob.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex[..2 * HEADER], header);
        assert_eq!(blob.len(), HEADER + state().to_bytes().len() + 16);
        assert_eq!(fondaco_audit::ShardId::of(&blob).to_string(), PINNED);
        assert_eq!(open(&[1; 32], &blob), Ok(state()));
    }

    const PINNED: &str = "shard:ab68ff738e9a227bdcf7bb3ec8fedc1306aa74dcab4dc3e30b700b2e0ce4fb43";

    #[test]
    fn only_the_same_key_opens_the_same_bytes() {
        let blob = seal(&[1; 32], [2; 32], &state()).unwrap();
        assert_eq!(open(&[2; 32], &blob), Err(OpenError::Sealed));
        for at in 0..blob.len() {
            let mut altered = blob.clone();
            altered[at] ^= 1;
            let expected = match at {
                0..8 => OpenError::Foreign,
                8 => OpenError::Version { found: 0 },
                _ => OpenError::Sealed,
            };
            assert_eq!(open(&[1; 32], &altered), Err(expected), "byte {at}");
            assert!(open(&[1; 32], &blob[..at]).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_open_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&[1; 32], &bytes).is_err());
            let framed = [MAGIC.as_slice(), &[VERSION], &bytes].concat();
            prop_assert!(open(&[1; 32], &framed).is_err());
        }
    }
}
