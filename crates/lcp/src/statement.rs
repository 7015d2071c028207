//! What an issuer says of the past: entries of an account's history, receipts, the head of its journal.

use crate::{Request, RequestId, Response};
use fondaco_codec::{Decode, DecodeError, Encode, Reader, Text, choice, record};
use fondaco_crypto::{CurrencyId, Digest, Domain, EntityId, SecretKey, Signature, SignatureError};
use fondaco_units::{Amount, Timestamp};

const RECEIPT: Domain = Domain::new("fondaco 2026 lcp receipt v1");
const HEAD: Domain = Domain::new("fondaco 2026 lcp head v1");

/// What happened to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// It paid.
    Sent,
    /// It was paid.
    Received,
    /// It was given new money.
    Minted,
    /// It gave money back: the issuer's own account only.
    Redeemed,
    /// It set money aside.
    HoldOpened,
    /// A hold of its own was cashed: money set aside left it.
    HoldPaid,
    /// It cashed a hold.
    HoldReceived,
    /// What it had set aside came back: the rest of a post, or all by a void or an expiry.
    HoldReturned,
    /// It was closed, and its rest went to the issuer.
    Forfeited,
    /// It got another key: `counterparty` is the one it had.
    RotatedFrom,
}
choice!(EntryKind {
    1 => Sent,
    2 => Received,
    3 => Minted,
    4 => Redeemed,
    5 => HoldOpened,
    6 => HoldPaid,
    7 => HoldReceived,
    8 => HoldReturned,
    9 => Forfeited,
    10 => RotatedFrom,
});

/// One line of an account's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place among all of this account, from 1.
    pub number: u64,
    /// When, by the issuer's clock.
    pub at: Timestamp,
    /// The number of the journal's record that has it.
    pub record: u64,
    /// What happened.
    pub kind: EntryKind,
    /// The other side, where there is one.
    pub counterparty: Option<EntityId>,
    /// How much, without the fee.
    pub amount: Amount,
    /// What this account paid on top of it.
    pub fee: Amount,
    /// What it was for.
    pub order: Text<64>,
    /// The command; of the dialect of 2003, and of an expiry, nothing.
    pub id: Option<RequestId>,
}
record!(Entry { number, at, record, kind, counterparty, amount, fee, order, id });

/// One line for the history of one account, as the core tells it: the caller numbers, dates and stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Whose account it is, by its key of that time.
    pub holder: EntityId,
    /// What happened.
    pub kind: EntryKind,
    /// The other side, where there is one.
    pub counterparty: Option<EntityId>,
    /// How much, without the fee.
    pub amount: Amount,
    /// What this account paid on top of it.
    pub fee: Amount,
    /// What it was for.
    pub order: Text<64>,
    /// The command; of the dialect of 2003, and of an expiry, nothing.
    pub id: Option<RequestId>,
}

/// What an issuer was asked by whom, what it answered, and where its journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The currency, and so who signs.
    pub currency: CurrencyId,
    /// Who asked.
    pub holder: EntityId,
    /// When, by the issuer's clock.
    pub at: Timestamp,
    /// What was asked: a command.
    pub request: Request,
    /// What was answered: to a command.
    pub response: Response,
    /// The number of the journal's record that has it.
    pub record: u64,
    /// The journal's chain digest after the frame that has it.
    pub chain: Digest,
}

impl Encode for Receipt {
    fn encode(&self, out: &mut Vec<u8>) {
        self.currency.encode(out);
        self.holder.encode(out);
        self.at.encode(out);
        self.request.encode(out);
        self.response.encode(out);
        self.record.encode(out);
        self.chain.encode(out);
    }
}

impl Decode for Receipt {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let currency = CurrencyId::decode(input)?;
        let holder = EntityId::decode(input)?;
        let at = Timestamp::decode(input)?;
        let place = input.at();
        let request = Request::decode(input)?;
        if request.id().is_none() {
            return Err(Reader::invalid(place, "command of a receipt"));
        }
        // A receipt of a receipt of a receipt would be decoded to the end of the stack.
        let place = input.at();
        if u8::decode(&mut input.clone())? < Response::TO_COMMANDS {
            return Err(Reader::invalid(place, "answer of a receipt"));
        }
        let response = Response::decode(input)?;
        let record = u64::decode(input)?;
        let chain = Digest::decode(input)?;
        Ok(Self { currency, holder, at, request, response, record, chain })
    }
}

impl Receipt {
    /// Signs the encoding under `fondaco 2026 lcp receipt v1`.
    pub fn sign(self, issuer: &SecretKey) -> SignedReceipt {
        let signature = issuer.sign(RECEIPT, &self.to_bytes());
        SignedReceipt { receipt: self, signature }
    }
}

/// A receipt and what may be its issuer's signature: [`SignedReceipt::verify`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    /// What was signed.
    pub receipt: Receipt,
    /// The signature.
    pub signature: Signature,
}
record!(SignedReceipt { receipt, signature });

impl SignedReceipt {
    /// Checks that the issuer of the receipt's currency signed it.
    ///
    /// # Errors
    ///
    /// It is no signature of this key and receipt.
    pub fn verify(&self) -> Result<(), SignatureError> {
        let issuer = self.receipt.currency.issuer();
        issuer.verify(RECEIPT, &self.receipt.to_bytes(), &self.signature)
    }
}

impl Encode for Box<SignedReceipt> {
    fn encode(&self, out: &mut Vec<u8>) {
        SignedReceipt::encode(self, out);
    }
}

impl Decode for Box<SignedReceipt> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        SignedReceipt::decode(input).map(Self::new)
    }
}

/// How far an issuer's journal has come: who has two heads that do not lie on one chain has caught it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The currency, and so who signs.
    pub currency: CurrencyId,
    /// How many records the journal has.
    pub records: u64,
    /// The digest of all of them, in order.
    pub chain: Digest,
    /// How much money there is.
    pub supply: Amount,
    /// When, by the issuer's clock.
    pub at: Timestamp,
}
record!(Head { currency, records, chain, supply, at });

impl Head {
    /// Signs the encoding under `fondaco 2026 lcp head v1`.
    pub fn sign(self, issuer: &SecretKey) -> SignedHead {
        SignedHead { head: self, signature: issuer.sign(HEAD, &self.to_bytes()) }
    }
}

/// A head and what may be its issuer's signature: [`SignedHead::verify`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// What was signed.
    pub head: Head,
    /// The signature.
    pub signature: Signature,
}
record!(SignedHead { head, signature });

impl SignedHead {
    /// Checks that the issuer of the head's currency signed it.
    ///
    /// # Errors
    ///
    /// It is no signature of this key and head.
    pub fn verify(&self) -> Result<(), SignatureError> {
        self.head.currency.issuer().verify(HEAD, &self.head.to_bytes(), &self.signature)
    }
}
