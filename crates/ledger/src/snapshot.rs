//! The whole ledger as bytes, and back.

use crate::{
    ACCOUNTS_MAX, Account, AccountIndex, Hold, HoldId, HoldState, Imbalance, Ledger,
    accounts::{Accounts, Role, Slot},
    ahead::Ahead,
};
use fondaco_codec::{Decode, DecodeError, Encode, Reader};
use fondaco_crypto::{CurrencyId, Digest, Domain, EntityId, Hasher};
use fondaco_units::Amount;
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

const SNAPSHOT: Domain = Domain::new("fondaco 2026 ledger snapshot v2");
const VERSION: u8 = 2;

/// How much is handed out at once.
const PIECE: usize = 1 << 20;

/// The fewest bytes of an account, and of a hold with its id: what is reserved is never more than what came.
const SLOT_BYTES_MIN: usize = 33;

/// Why bytes are no snapshot of a ledger. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It is of another version.
    #[error("the snapshot of the ledger has version {found}; this is version {VERSION}")]
    Version {
        /// Its version.
        found: u8,
    },
    /// It is cut off.
    #[error("the snapshot of the ledger is cut off: {0}")]
    Truncated(DecodeError),
    /// A byte was changed after it was made.
    #[error("the snapshot of the ledger was altered")]
    Altered,
    /// It was made so.
    #[error("the snapshot of the ledger has no such value: {0}")]
    Decode(#[from] DecodeError),
    /// Its books do not balance.
    #[error("the books in the snapshot do not balance: {0}")]
    Imbalance(#[from] Imbalance),
}

impl SnapshotError {
    /// Returns whether the same bytes, read again, can succeed: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Version { .. }
            | Self::Truncated(_)
            | Self::Altered
            | Self::Decode(_)
            | Self::Imbalance(_) => false,
        }
    }
}

impl Ledger {
    /// Appends the ledger as it is to `out`: the same ledger, the same bytes. See `docs/formats/ledger.md`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        let length_at = out.len();
        0_u64.encode(out);
        let body_at = out.len();
        let Ok(()) = self.encode_body(out, &mut |_| Ok::<(), Infallible>(()));
        let length = (out.len() - body_at) as u64;
        out[length_at..body_at].copy_from_slice(&length.to_le_bytes());
        Digest::derive(SNAPSHOT, &out[body_at..]).encode(out);
    }

    /// Does as [`Ledger::encode`], but hands out what `out` has whenever that is a piece: the whole, which may be many millions
    /// of accounts, is never in memory. The last piece is left in `out`.
    ///
    /// # Errors
    ///
    /// Those of `write`.
    pub fn encode_in_pieces<E>(
        &self,
        out: &mut Vec<u8>,
        write: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut length, mut counted) = (0, Vec::with_capacity(PIECE));
        let mut count = |piece: &mut Vec<u8>| {
            if piece.len() >= PIECE {
                length += piece.len() as u64;
                piece.clear();
            }
            Ok::<(), Infallible>(())
        };
        // It is laid out twice, because its length comes first: that costs less than the memory.
        let Ok(()) = self.encode_body(&mut counted, &mut count);
        out.push(VERSION);
        (length + counted.len() as u64).encode(out);
        write(out)?;
        out.clear();
        let mut whole = Hasher::new(SNAPSHOT);
        let mut step = |piece: &mut Vec<u8>| {
            if piece.len() >= PIECE {
                whole.update(piece);
                write(piece)?;
                piece.clear();
            }
            Ok(())
        };
        self.encode_body(out, &mut step)?;
        whole.update(out).finish().encode(out);
        Ok(())
    }

    /// Appends the body; `step` is called after each account and each hold.
    fn encode_body<E>(
        &self,
        out: &mut Vec<u8>,
        step: &mut impl FnMut(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.currency.encode(out);
        self.issued.encode(out);
        self.redeemed.encode(out);
        self.halted.encode(out);
        (self.accounts.slots.len() as u64).encode(out);
        for slot in &self.accounts.slots {
            encode_slot(slot, out);
            step(out)?;
        }
        (self.holds.len() as u64).encode(out);
        for (id, hold) in &self.holds {
            id.encode(out);
            hold.encode(out);
            step(out)?;
        }
        self.accounts.ahead.encode(out);
        Ok(())
    }

    /// Reads a ledger back, and recounts it; the seed may be another: see [`Ledger::new`].
    ///
    /// # Errors
    ///
    /// The bytes are none that [`Ledger::encode`] made, or of books that do not balance or are halted.
    pub fn decode(input: &mut Reader<'_>, seed: u64) -> Result<Self, SnapshotError> {
        let found = u8::decode(input).map_err(SnapshotError::Truncated)?;
        if found != VERSION {
            return Err(SnapshotError::Version { found });
        }
        let length = u64::decode(input).map_err(SnapshotError::Truncated)?;
        // A length that memory cannot have is longer than the input.
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let body = input.take(length).map_err(SnapshotError::Truncated)?;
        let digest = Digest::decode(input).map_err(SnapshotError::Truncated)?;
        if Digest::derive(SNAPSHOT, body) != digest {
            return Err(SnapshotError::Altered);
        }
        let mut body = Reader::new(body);
        let ledger = Self::decode_body(&mut body, seed)?;
        body.finish()?;
        ledger.check()?;
        Ok(ledger)
    }

    fn decode_body(input: &mut Reader<'_>, seed: u64) -> Result<Self, SnapshotError> {
        let currency = CurrencyId::decode(input)?;
        let (issued, redeemed) = (u128::decode(input)?, u128::decode(input)?);
        let halted = bool::decode(input)?;
        let accounts = decode_accounts(input, seed)?;
        let (holds, due) = (BTreeMap::new(), BTreeSet::new());
        let mut ledger = Self { currency, issued, redeemed, accounts, holds, due, halted };
        // Before anything follows an alias. All else about the keys, the recount finds.
        ledger.check_aliases()?;
        ledger.decode_holds(input)?;
        ledger.accounts.ahead = Ahead::decode(input)?;
        Ok(ledger)
    }

    fn decode_holds(&mut self, input: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let mut last = None;
        for _ in 0..u64::decode(input)? {
            let at = input.at();
            let (id, hold) = (HoldId::decode(input)?, Hold::decode(input)?);
            if last.replace(id).is_some_and(|last| last >= id) {
                return Err(Reader::invalid(at, "holds in order").into());
            }
            if hold.state == HoldState::Open {
                self.due.insert((hold.expires, id));
                let payer = self.accounts.resolve(&hold.payer);
                let payer = payer.ok_or(Imbalance::Index { key: hold.payer })?;
                // What is no account has nothing held, and the recount finds that.
                if let Role::Account { holds_open } = &mut self.accounts.at_mut(payer).role {
                    *holds_open = holds_open.saturating_add(1);
                }
            }
            self.holds.insert(id, hold);
        }
        Ok(())
    }
}

fn encode_slot(slot: &Slot, out: &mut Vec<u8>) {
    let Slot { key, account: Account { available, held }, balance_max, role } = *slot;
    key.encode(out);
    match role {
        // How many holds are open, the holds say.
        Role::Account { holds_open: _ } => {
            out.push(1);
            [available, held, balance_max].iter().for_each(|amount| amount.encode(out));
        }
        Role::Alias { of } => {
            out.push(2);
            of.number().encode(out);
        }
        Role::Closed => out.push(3),
    }
}

fn decode_slot(input: &mut Reader<'_>) -> Result<Slot, DecodeError> {
    let key = EntityId::decode(input)?;
    let at = input.at();
    match u8::decode(input)? {
        1 => {
            let account =
                Account { available: Amount::decode(input)?, held: Amount::decode(input)? };
            let balance_max = Amount::decode(input)?;
            Ok(Slot { key, account, balance_max, role: Role::Account { holds_open: 0 } })
        }
        2 => Ok(Slot::alias(key, AccountIndex::new(u32::decode(input)?))),
        3 => Ok(Slot::closed(key)),
        _ => Err(Reader::invalid(at, "account")),
    }
}

fn decode_accounts(input: &mut Reader<'_>, seed: u64) -> Result<Accounts, DecodeError> {
    let at = input.at();
    let count = usize::try_from(u64::decode(input)?).unwrap_or(usize::MAX);
    let length_max = ACCOUNTS_MAX as usize;
    if count > length_max {
        return Err(DecodeError::TooLong { at, length: count, length_max });
    }
    let mut accounts = Accounts::with_capacity(seed, count.min(input.left() / SLOT_BYTES_MIN));
    for _ in 0..count {
        accounts.add(decode_slot(input)?);
    }
    Ok(accounts)
}
