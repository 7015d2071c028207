//! Texts and bytes: one form of each.

use super::*;
use fondaco_codec::{Decode, Encode};
use proptest::{collection::vec, prelude::*};

proptest! {
    #[test]
    fn hold_ids_survive_their_text_form(digest: [u8; 32]) {
        let id = HoldId::from_digest(Digest::from_bytes(digest));
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(HoldId::from_bytes(&id.to_bytes()), Ok(id));
    }

    /// Whatever bytes arrive, they are refused or they are the one encoding of what they say.
    #[test]
    fn encodings_are_canonical(bytes in vec(any::<u8>(), 0..120), tag in 0..20_u8) {
        let tagged = [&[tag], bytes.as_slice()].concat();
        for length in 0..tagged.len() {
            if let Ok(refusal) = Refusal::from_bytes(&tagged[..length]) {
                prop_assert_eq!(refusal.to_bytes(), &tagged[..length]);
            }
            if let Ok(posting) = Posting::from_bytes(&tagged[..length]) {
                prop_assert_eq!(posting.to_bytes(), &tagged[..length]);
            }
        }
    }

    /// Any bit of a signed voucher that is changed is found.
    #[test]
    fn a_changed_voucher_is_refused(cumulative: u64, bit in 0..136 * 8_usize) {
        let mut bytes = voucher(1, cumulative).sign(&key(ALICE)).to_bytes();
        prop_assert_eq!(bytes.len(), 136);
        prop_assert!(SignedVoucher::from_bytes(&bytes).unwrap().verify(entity(ALICE)).is_ok());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(SignedVoucher::from_bytes(&bytes).unwrap().verify(entity(ALICE)).is_err());
    }
}

#[test]
fn hold_ids_have_one_text_form() {
    let text = hold_id(1).to_string();
    assert_eq!(text.parse(), Ok(hold_id(1)));
    for wrong in [&text[5..], &text.to_uppercase(), &text[..68], &format!("{text}0"), "hold:"] {
        assert_eq!(wrong.parse::<HoldId>(), Err(ParseHoldIdError), "{wrong}");
    }
    assert_ne!(hold_id(1), HoldId::derive(currency(), entity(BOB), 1));
    assert_ne!(hold_id(1), HoldId::derive(CurrencyId::issued_by(entity(BOB)), entity(ALICE), 1));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pins the bytes that `docs/formats/ledger.md` shows.
#[test]
fn the_bytes_of_a_signed_voucher() {
    let signed = Voucher {
        currency: CurrencyId::issued_by(EntityId::from_bytes([0x11; 32])),
        hold: HoldId::from_digest(Digest::from_bytes([0x22; 32])),
        cumulative: units(1050),
    }
    .sign(&SecretKey::from_bytes(&[7; 32]));
    let hex = hex(&signed.to_bytes());
    let signature = "1aeb1f601da6eca1a5518c9446889ee100331a1a91aad419b014fa3298a623e8\
                     d606de05af92cc008e42369d3c86b9733a783a1d25c9250932d4c5e1ef4e1600";
    let expected = format!("{}{}1a04000000000000{signature}", "11".repeat(32), "22".repeat(32));
    assert_eq!(hex, expected);
}

/// Pins the bytes that `docs/formats/ledger.md` shows.
#[test]
fn the_bytes_of_a_signed_anchor_and_its_word() {
    let (payer, hold) = (SecretKey::from_bytes(&[7; 32]), Digest::from_bytes([0x22; 32]));
    let chain = PayWordChain::new(
        &payer,
        CurrencyId::issued_by(EntityId::from_bytes([0x11; 32])),
        HoldId::from_digest(hold),
        units(1050),
        units(3),
        1000,
    )
    .unwrap();
    let signed = chain.anchor().sign(&payer);
    let word = chain.word(2).unwrap();
    assert_eq!(signed.verify(payer.entity()), Ok(()));
    assert_eq!(chain.anchor().check(&word), Ok(units(1056)));
    let terms = "1a040000000000000300000000000000e8030000";
    let root = "80c4b30457931c0dc35416cf08d0536567724b61406e9106891ad5af92ec87c8";
    let signature = "f64318c1f068ec2f81e8bca25daff5aa301dd0ed91c332f87504eb4dec0f50aa\
                     4c318ab48f9bdab35146c761c7cef5fc028f38df4c953ecaf148eb1b06dcbc01";
    let expected = format!("{}{}{terms}{root}{signature}", "11".repeat(32), "22".repeat(32));
    assert_eq!(hex(&signed.to_bytes()), expected);
    let expected = "02000000\
                    124faef36bfb9501d04e0266c54e10703a59d8c84d42d38f350c079f4ea0db29";
    assert_eq!(hex(&word.to_bytes()), expected);
}

/// Pins the bytes that `docs/formats/ledger.md` shows.
#[test]
fn the_bytes_of_a_snapshot() {
    let [issuer, alice, alice_new] =
        [0x11, 0x22, 0x33].map(|byte| EntityId::from_bytes([byte; 32]));
    let mut ledger = Ledger::new(CurrencyId::issued_by(issuer), 7);
    ledger.mint(alice, units(1050)).unwrap();
    ledger.accept(alice, units(2000)).unwrap();
    ledger.rotate(alice, alice_new).unwrap();
    let [issuer, old, new] = ["11", "22", "33"].map(|byte| byte.repeat(32));
    let money = "1a040000000000000000000000000000";
    let head = format!("02d800000000000000{issuer}{money}{}00", "00".repeat(16));
    let slots = format!("0300000000000000{issuer}03{new}01{money}d007000000000000{old}0201000000");
    // Neither holds nor limits of those without an account.
    let none = "00".repeat(8);
    let seal = "55f1b8253f0cf8bf0fc52e2c49ddb0e1b9e22ce0e173bf8d23c3a961872cf72a";
    assert_eq!(hex(&bytes(&ledger)), format!("{head}{slots}{none}{none}{seal}"));
}
