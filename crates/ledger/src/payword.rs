//! Paywords: payments on a hold for one hash each, after Rivest and Shamir, "PayWord and MicroMint" (1996), section 3.
//!
//! A payer who pays for every megabyte would sign a thousand vouchers a second. Instead it signs one [`Anchor`], which
//! names the end of a chain of hashes, and then gives away the chain backwards, word by word:
//!
//! ```text
//! secret ─► word(length) ──hash──► word(length - 1) ──► … ──► word(1) ──hash──► root, in the anchor
//!                                    each word is worth one unit more ◄──────
//! ```
//!
//! # What always holds
//!
//! - A [`PayWord`] is worth `base + unit * index`. Whoever has it has had it from the payer: to make it from the words
//!   before is to find what BLAKE3 hashed.
//! - A step is one hash under one domain, without the hold or the index in it, so that it is as cheap as can be. That
//!   is safe: the anchor is signed and names the hold; the index is how often one hashes to come to the root; and
//!   though a thief may attack all chains at once, a million chains take 20 of 256 bits. What must not be is one chain
//!   under two anchors: [`PayWordChain`] derives its secret from all that its anchor says.
//! - What a peer says costs at most [`PAYWORD_LENGTH_MAX`] hashes, about four milliseconds.
//!
//! # What is not here
//!
//! Whether the hold is there and holds enough: ask its issuer before you believe an anchor.

use crate::HoldId;
use fondaco_codec::{Encode, record};
use fondaco_crypto::{
    CurrencyId, Digest, Domain, EntityId, HashChain, Hasher, SecretKey, Signature,
};
use fondaco_units::Amount;
use std::fmt;
use zeroize::Zeroizing;

/// The most words of one chain.
pub const PAYWORD_LENGTH_MAX: u32 = 65_536;

const ANCHOR: Domain = Domain::new("fondaco 2026 payword v1");
const STEP: Domain = Domain::new("fondaco 2026 payword step v1");
const SECRET: Domain = Domain::new("fondaco 2026 payword secret v1");
const FIRST: Domain = Domain::new("fondaco 2026 payword first v1");

/// How many words are between two that a chain remembers: any other costs fewer hashes than this.
const CHECKPOINT: u32 = 256;

/// Why a payword, or its anchor, is worth nothing. Listed by precedence: only the first that applies is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayWordError {
    /// The chain has no words, or more than one may have.
    #[error("a chain has 1 to {PAYWORD_LENGTH_MAX} words, not {length}")]
    Length {
        /// How many it has.
        length: u32,
    },
    /// The chain has no such word.
    #[error("word {index} is none of the words 1 to {length}")]
    Index {
        /// Which one it is said to be.
        index: u32,
        /// How many there are.
        length: u32,
    },
    /// What the word is worth does not fit 64 bits.
    #[error("{} units and {index} times {} are more than can be counted", .base.get(), .unit.get())]
    Overflow {
        /// What was owed before the first word, in smallest units.
        base: Amount,
        /// What each word adds, in smallest units.
        unit: Amount,
        /// Which word.
        index: u32,
    },
    /// A word as high is there already.
    #[error("word {index} is not newer than word {last}")]
    NotNewer {
        /// Which word it is.
        index: u32,
        /// The highest so far.
        last: u32,
    },
    /// The payer did not sign the anchor.
    #[error("the anchor on {hold} is not signed by {payer}")]
    BadSignature {
        /// The hold.
        hold: HoldId,
        /// Who should have signed.
        payer: EntityId,
    },
    /// The word does not lead to the root of its chain in as many steps as it says.
    #[error("word {index} is not of this chain")]
    BadWord {
        /// Which word it is said to be.
        index: u32,
    },
}

impl PayWordError {
    /// Returns whether the same word or anchor, offered again, can be taken later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Length { .. }
            | Self::Index { .. }
            | Self::Overflow { .. }
            | Self::NotNewer { .. }
            | Self::BadSignature { .. }
            | Self::BadWord { .. } => false,
        }
    }
}

/// What the words of one chain pay for. Worth nothing until the payer signs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The currency, and so the issuer, that the hold is in.
    pub currency: CurrencyId,
    /// The hold that is paid from.
    pub hold: HoldId,
    /// What the payee had earned before the first word, in smallest units: by a voucher, or by a chain that is used up.
    pub base: Amount,
    /// What each word adds, in smallest units.
    pub unit: Amount,
    /// How many words there are: 1 to [`PAYWORD_LENGTH_MAX`].
    pub length: u32,
    /// What the first word hashes to.
    pub root: Digest,
}
record!(Anchor { currency, hold, base, unit, length, root });

impl Anchor {
    /// Signs the encoding of this anchor under `fondaco 2026 payword v1`.
    pub fn sign(self, payer: &SecretKey) -> SignedAnchor {
        SignedAnchor { anchor: self, signature: payer.sign(ANCHOR, &self.to_bytes()) }
    }

    /// Returns what the payee has earned in all when it has word `index`: `base + unit * index`.
    ///
    /// # Errors
    ///
    /// There is no such word, or it is worth more than can be counted.
    pub fn worth(&self, index: u32) -> Result<Amount, PayWordError> {
        let Self { base, unit, length, .. } = *self;
        if !(1..=PAYWORD_LENGTH_MAX).contains(&length) {
            return Err(PayWordError::Length { length });
        }
        if !(1..=length).contains(&index) {
            return Err(PayWordError::Index { index, length });
        }
        let added = unit.get().checked_mul(u64::from(index)).map(Amount::new);
        let overflow = PayWordError::Overflow { base, unit, index };
        added.and_then(|added| base.checked_add(added)).ok_or(overflow)
    }

    /// Checks that `word` leads to the root, in `word.index` hashes; what it is worth.
    ///
    /// # Errors
    ///
    /// There is no such word, or it is another.
    pub fn check(&self, word: &PayWord) -> Result<Amount, PayWordError> {
        let PayWord { index, word } = *word;
        let worth = self.worth(index)?;
        let end = HashChain::new(STEP).walk(word, index);
        if end == self.root { Ok(worth) } else { Err(PayWordError::BadWord { index }) }
    }
}

/// An anchor and what may be its payer's signature: [`SignedAnchor::verify`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedAnchor {
    /// What was signed.
    pub anchor: Anchor,
    /// The signature.
    pub signature: Signature,
}
record!(SignedAnchor { anchor, signature });

impl SignedAnchor {
    /// Checks that `payer` signed this anchor.
    ///
    /// # Errors
    ///
    /// It is no signature of this key and anchor, or the key is none.
    pub fn verify(&self, payer: EntityId) -> Result<(), PayWordError> {
        let hold = self.anchor.hold;
        let signed = payer.verify(ANCHOR, &self.anchor.to_bytes(), &self.signature);
        signed.map_err(|_| PayWordError::BadSignature { hold, payer })
    }
}

/// One word of a chain: worth what its [`Anchor`] says, to the payee of the hold alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PayWord {
    /// Which one: how many hashes lead from it to the root. Never 0.
    pub index: u32,
    /// The word.
    pub word: Digest,
}
record!(PayWord { index, word });

impl fmt::Debug for PayWord {
    /// Leaves the word out: it is money until it is posted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayWord({})", self.index)
    }
}

/// The payee's side of a chain: takes words, and remembers the highest, so that each costs only what is new.
#[derive(Clone, Debug)]
pub struct PayWordMeter {
    signed: SignedAnchor,
    steps: HashChain,
    last: Option<PayWord>,
}

impl PayWordMeter {
    /// Begins to take words on an anchor by the payer of its hold.
    ///
    /// # Errors
    ///
    /// The anchor has a length that none may have, or is not signed by `payer`.
    pub fn new(signed: SignedAnchor, payer: EntityId) -> Result<Self, PayWordError> {
        signed.anchor.worth(1)?;
        signed.verify(payer)?;
        Ok(Self { signed, steps: HashChain::new(STEP), last: None })
    }

    /// Takes a word that is newer than the last one; what was earned in all. Costs a hash for each index between them.
    ///
    /// # Errors
    ///
    /// It is not newer, or not of this chain. The meter stays as it was.
    pub fn accept(&mut self, word: &PayWord) -> Result<Amount, PayWordError> {
        let index = word.index;
        let worth = self.signed.anchor.worth(index)?;
        let (last, known) = self.last.map_or((0, self.signed.anchor.root), |w| (w.index, w.word));
        let steps = index.checked_sub(last).filter(|steps| *steps > 0);
        let steps = steps.ok_or(PayWordError::NotNewer { index, last })?;
        if self.steps.walk(word.word, steps) != known {
            return Err(PayWordError::BadWord { index });
        }
        self.last = Some(*word);
        Ok(worth)
    }

    /// Returns the anchor, to be posted with [`PayWordMeter::last`].
    pub const fn anchor(&self) -> &SignedAnchor {
        &self.signed
    }

    /// Returns the highest word so far. To go on after a restart, give it to a new meter.
    pub const fn last(&self) -> Option<&PayWord> {
        self.last.as_ref()
    }

    /// Returns what was earned in all: the base before the first word.
    pub fn worth(&self) -> Amount {
        let anchor = &self.signed.anchor;
        self.last.and_then(|word| anchor.worth(word.index).ok()).unwrap_or(anchor.base)
    }
}

/// The payer's side of a chain: makes its words. What it remembers is wiped when it is dropped; shown by no formatter.
///
/// The same key and terms make the same chain: it need not be saved, only the index of the last word given away.
pub struct PayWordChain {
    anchor: Anchor,
    steps: HashChain,
    /// The words `length`, `length - 256`, … down to the last above 0.
    checkpoints: Zeroizing<Vec<[u8; 32]>>,
}

impl PayWordChain {
    /// Makes a chain of `length` words, each of them worth `unit` more than `base`. Costs a hash for each.
    ///
    /// # Errors
    ///
    /// No chain has such a length, or its last word would be worth more than can be counted.
    pub fn new(
        payer: &SecretKey,
        currency: CurrencyId,
        hold: HoldId,
        base: Amount,
        unit: Amount,
        length: u32,
    ) -> Result<Self, PayWordError> {
        let root = Digest::ZERO;
        let mut anchor = Anchor { currency, hold, base, unit, length, root };
        // A chain of no words has no last one either.
        anchor.worth(length)?;
        let steps = HashChain::new(STEP);
        let mut first = Hasher::new(FIRST);
        first.update(payer.derive(SECRET).as_slice()).update(&anchor.to_bytes());
        let mut word = first.finish();
        // Reserved at once: a list that grows leaves copies of secrets behind.
        let checkpoints = Vec::with_capacity(length.div_ceil(CHECKPOINT) as usize);
        let mut checkpoints = Zeroizing::new(checkpoints);
        let mut index = length;
        while index > 0 {
            checkpoints.push(*word.as_bytes());
            let count = index.min(CHECKPOINT);
            word = steps.walk(word, count);
            index -= count;
        }
        anchor.root = word;
        Ok(Self { anchor, steps, checkpoints })
    }

    /// Returns the anchor, to be signed.
    pub const fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// Returns word `index`; costs fewer than 256 hashes. To give it away is to pay all words up to it.
    ///
    /// # Errors
    ///
    /// There is no such word.
    pub fn word(&self, index: u32) -> Result<PayWord, PayWordError> {
        let length = self.anchor.length;
        let above = (1..=length).contains(&index).then(|| length - index);
        let known = above.and_then(|above| self.checkpoints.get((above / CHECKPOINT) as usize));
        let (Some(above), Some(known)) = (above, known) else {
            return Err(PayWordError::Index { index, length });
        };
        let word = self.steps.walk(Digest::from_bytes(*known), above % CHECKPOINT);
        Ok(PayWord { index, word })
    }
}

impl fmt::Debug for PayWordChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayWordChain({:?})", self.anchor)
    }
}
