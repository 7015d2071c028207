//! A secret key as 24 words, to be kept on paper (BIP-39, English list).
//!
//! The words are the 32 bytes of the key and 8 bits that check them: they give back the same key,
//! without a passphrase and without anything else.
//
// BIP-39 would have the words stretched to another secret. Then a key made before its words could have none.

use bip39::{Language, Mnemonic};
use fondaco_crypto::SecretKey;
use std::fmt;
use zeroize::Zeroizing;

/// The 24 words of a secret key. Wiped when dropped; shown by no formatter.
///
/// ```
/// use fondaco_crypto::SecretKey;
/// use fondaco_store::Words;
/// let key = SecretKey::from_bytes(&[0; 32]);
/// let words = Words::of(&key);
/// assert_eq!(words.iter().last(), Some("art"));
/// let paper: Vec<_> = words.iter().collect();
/// assert_eq!(Words::parse(&paper.join(" "))?.key().entity(), key.entity());
/// # Ok::<(), fondaco_store::WordsError>(())
/// ```
pub struct Words(Mnemonic);

/// Why a text is not the words of a key. Listed by precedence; tells no word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// There are more or fewer.
    #[error("a key has {} words, not {found}", Words::COUNT)]
    Count {
        /// How many there are.
        found: usize,
    },
    /// A word is not in the list.
    #[error("word {number} is not in the English list of BIP-39")]
    Unknown {
        /// Which, counted from 1.
        number: usize,
    },
    /// Each is in the list, and yet one is wrong, or they are in another order.
    #[error("the words do not check: one is not the right one, or the order is wrong")]
    Checksum,
}

impl WordsError {
    /// Returns whether the same words can be read later: never.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Count { .. } | Self::Unknown { .. } | Self::Checksum => false,
        }
    }

    /// Returns what to do next, for people.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Count { .. } => "write all of them in order, with spaces or line ends between",
            Self::Unknown { .. } => {
                "compare it with the paper; the first four letters tell each word"
            }
            Self::Checksum => "compare each word and the order with the paper",
        }
    }
}

impl Words {
    /// How many there are.
    pub const COUNT: usize = 24;

    /// Returns the words of `key`.
    pub fn of(key: &SecretKey) -> Self {
        // Refused are other lengths only.
        Self(Mnemonic::from_entropy(key.to_bytes().as_slice()).expect("32 bytes are 24 words"))
    }

    /// Reads words with any white space around and between them, in small letters or capitals.
    ///
    /// # Errors
    ///
    /// There are not 24, one is not in the list, or they do not check.
    pub fn parse(text: &str) -> Result<Self, WordsError> {
        let found = text.split_whitespace().count();
        if found != Self::COUNT {
            return Err(WordsError::Count { found });
        }
        let text = Zeroizing::new(text.to_ascii_lowercase());
        match Mnemonic::parse_in_normalized(Language::English, &text) {
            Ok(words) => Ok(Self(words)),
            Err(bip39::Error::UnknownWord(index)) => Err(WordsError::Unknown { number: index + 1 }),
            Err(bip39::Error::BadWordCount(found)) => Err(WordsError::Count { found }),
            Err(_) => Err(WordsError::Checksum),
        }
    }

    /// Returns the words in order.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.words()
    }

    /// Returns the key whose words these are.
    pub fn key(&self) -> SecretKey {
        let (bytes, _) = self.0.to_entropy_array();
        let bytes = Zeroizing::new(bytes);
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(&bytes[..32]);
        SecretKey::from_bytes(&secret)
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(words: &Words) -> String {
        words.iter().collect::<Vec<_>>().join(" ")
    }

    /// The vectors of 256 bits of the document of BIP-39, by its author (trezor/python-mnemonic, vectors.json).
    const VECTORS: [(&str, &str); 3] = [
        (
            "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "legal winner thank year wave sausage worth useful legal winner thank year wave sausage \
             worth useful legal winner thank year wave sausage worth title",
        ),
        (
            "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
            "hamster diagram private dutch cause delay private meat slide toddler razor book happy \
             fancy gospel tennis maple dilemma loan word shrug inflict delay length",
        ),
        (
            "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f",
            "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing \
             screen patrol group space point ten exist slush involve unfold",
        ),
    ];

    #[test]
    fn the_words_are_those_of_bip_39() {
        for (secret, text) in VECTORS {
            let secret: fondaco_crypto::Digest = secret.parse().unwrap();
            let key = SecretKey::from_bytes(secret.as_bytes());
            assert_eq!(joined(&Words::of(&key)), text);
            assert_eq!(*Words::parse(text).unwrap().key().to_bytes(), *secret.as_bytes());
        }
    }

    #[test]
    fn mistakes_are_named() {
        let text = VECTORS[1].1;
        let with = |number: usize, word: &str| {
            let mut words: Vec<&str> = text.split(' ').collect();
            words[number - 1] = word;
            words.join(" ")
        };
        let swapped = text.replace("hamster diagram", "diagram hamster");
        let cut = text.rsplit_once(' ').unwrap().0.to_owned();
        use WordsError as E;
        let table = [
            (text.to_uppercase(), None),
            (format!("\n  {}\t", text.replace(' ', "\r\n \t")), None),
            (String::new(), Some(E::Count { found: 0 })),
            (cut, Some(E::Count { found: 23 })),
            (format!("{text} zoo"), Some(E::Count { found: 25 })),
            (with(1, "hamsters"), Some(E::Unknown { number: 1 })),
            (with(24, "lenght"), Some(E::Unknown { number: 24 })),
            // The first of the Spanish and of the French list.
            (with(7, "ábaco"), Some(E::Unknown { number: 7 })),
            (with(8, "abaisser"), Some(E::Unknown { number: 8 })),
            (with(24, "zoo"), Some(E::Checksum)),
            (swapped, Some(E::Checksum)),
        ];
        for (text, error) in table {
            assert_eq!(Words::parse(&text).err(), error, "{text:?}");
        }
    }

    #[test]
    fn words_are_wiped_by_type_and_not_shown() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        let words = Words::of(&SecretKey::from_bytes(&[0; 32]));
        wiped(&words.0);
        assert!(!format!("{words:?}").contains("abandon"));
    }

    proptest! {
        #[test]
        fn words_give_the_key_back(secret: [u8; 32]) {
            let words = Words::of(&SecretKey::from_bytes(&secret));
            prop_assert_eq!(words.iter().count(), Words::COUNT);
            prop_assert_eq!(*Words::parse(&joined(&words)).unwrap().key().to_bytes(), secret);
        }

        #[test]
        fn any_text_is_words_or_refused(text in ".*") {
            let _ = Words::parse(&text);
        }
    }
}
