//! A receipt as a file that can be sent by mail, and be read by who has neither account nor connection.
//!
//! ```text
//! fondaco receipt v1
//! base64 of the encoding, in lines of 76
//! ```

use fondaco_codec::{Decode, DecodeError, Encode};
use fondaco_lcp::{RESPONSE_BYTES_MAX, SignedReceipt};

/// The first line.
const HEAD: &str = "fondaco receipt v1";

/// The longest text that is read.
pub const RECEIPT_TEXT_BYTES_MAX: usize = RESPONSE_BYTES_MAX * 3 / 2;

/// Writes a receipt as text.
pub fn receipt_to_text(receipt: &SignedReceipt) -> String {
    let body = data_encoding::BASE64.encode(&receipt.to_bytes());
    let mut text = format!("{HEAD}\n");
    for line in body.as_bytes().chunks(76) {
        // Base64 is ASCII.
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text
}

/// Reads a receipt from text. Whether its issuer has signed it is yet to be asked.
///
/// # Errors
///
/// The text is too long, of another version, or no receipt.
pub fn receipt_from_text(text: &[u8]) -> Result<SignedReceipt, ReceiptError> {
    if text.len() > RECEIPT_TEXT_BYTES_MAX {
        return Err(ReceiptError::TooLong { length: text.len() });
    }
    let text = std::str::from_utf8(text).map_err(|_| ReceiptError::Foreign)?;
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default().trim_end();
    if head != HEAD {
        let version = head.strip_prefix("fondaco receipt v").is_some();
        return Err(if version { ReceiptError::Version } else { ReceiptError::Foreign });
    }
    let body: String = lines.map(str::trim).collect();
    let bytes = data_encoding::BASE64.decode(body.as_bytes()).map_err(|_| ReceiptError::Text)?;
    Ok(SignedReceipt::from_bytes(&bytes)?)
}

/// Why a text is no receipt. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is longer than a receipt can be.
    #[error("the file has {length} bytes, more than a receipt can have")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It is something else.
    #[error("the file is no receipt of fondaco")]
    Foreign,
    /// It is in another version.
    #[error("the receipt is in another version of the format, most likely a newer one")]
    Version,
    /// Its lines are not whole.
    #[error("the receipt is damaged: its text is not Base64")]
    Text,
    /// What it says is not whole.
    #[error("the receipt is damaged: {0}")]
    Decode(#[from] DecodeError),
}

impl ReceiptError {
    /// Returns whether the same text can be read later: never, here.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::TooLong { .. } | Self::Foreign | Self::Version | Self::Text | Self::Decode(_) => {
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_codec::Text;
    use fondaco_crypto::{CurrencyId, Digest, SecretKey};
    use fondaco_lcp::{Receipt, Request, RequestId, Response};
    use fondaco_units::{Amount, Timestamp};

    fn receipt() -> SignedReceipt {
        let [bank, alice, bob] = [1, 2, 3].map(|seed| SecretKey::from_bytes(&[seed; 32]));
        let (id, to, amount) = (RequestId::new(7), bob.entity(), Amount::new(5));
        let receipt = Receipt {
            currency: CurrencyId::issued_by(bank.entity()),
            holder: alice.entity(),
            at: Timestamp::from_milliseconds(1),
            request: Request::Transfer {
                id,
                to,
                amount,
                fee_max: Amount::ZERO,
                order: Text::cut("bread"),
            },
            response: Response::Transferred { fee: Amount::ZERO, balance: Amount::new(9) },
            record: 12,
            chain: Digest::of(b"chain"),
        };
        receipt.sign(&bank)
    }

    #[test]
    fn a_receipt_survives_its_text() {
        let receipt = receipt();
        let text = receipt_to_text(&receipt);
        assert!(text.lines().all(|line| line.len() <= 76));
        assert_eq!(receipt_from_text(text.as_bytes()), Ok(receipt.clone()));
        assert!(receipt.verify().is_ok());
        // As mail programs leave it.
        let mailed = text.replace('\n', "\r\n  ");
        assert_eq!(receipt_from_text(mailed.as_bytes()), Ok(receipt));
    }

    #[test]
    fn what_is_no_receipt_is_refused() {
        let text = receipt_to_text(&receipt());
        for length in 0..text.trim_end().len() {
            assert!(receipt_from_text(&text.as_bytes()[..length]).is_err(), "{length}");
        }
        for (text, expected) in [
            (&b"\xff"[..], ReceiptError::Foreign),
            (b"fondaco receipt v2\nAAAA", ReceiptError::Version),
            (b"fondaco receipt v1\n!!!!", ReceiptError::Text),
        ] {
            assert_eq!(receipt_from_text(text), Err(expected));
        }
        let long = vec![b'A'; RECEIPT_TEXT_BYTES_MAX + 1];
        assert!(matches!(receipt_from_text(&long), Err(ReceiptError::TooLong { .. })));
        // Any other byte is noticed by the signature, if not before.
        for at in 20..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert!(!receipt_from_text(&other).is_ok_and(|found| found.verify().is_ok()), "{at}");
        }
    }
}
