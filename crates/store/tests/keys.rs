//! Key files on the disk of the machine that runs the tests.

use fondaco_crypto::SecretKey;
use fondaco_store::{
    FileError, KeyError, KeyFile, Passphrase, read_key, reseal_key, save_key, write_atomic,
};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../../docs/formats/store.md");

/// A folder of its own for each test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fondaco-keys-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32])
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text).unwrap()
}

/// Reads a key file and opens it with `text` if it is sealed.
fn load(path: &Path, text: &str) -> Result<SecretKey, KeyError> {
    match read_key(path)? {
        KeyFile::Plain(key) => Ok(key),
        KeyFile::Sealed(sealed) => sealed.open(&passphrase(text)),
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keys_are_for_their_owner_alone() {
    let scratch = Scratch::new("owner");
    for protection in [None, Some(passphrase("horse"))] {
        let path = scratch.0.join(format!("key-{}", protection.is_some()));
        save_key(&path, &key(), protection.as_ref()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&path, "horse").unwrap().entity(), key().entity());
        let other = SecretKey::from_bytes(&[8; 32]);
        let twice = save_key(&path, &other, protection.as_ref());
        assert!(matches!(twice, Err(KeyError::Exists { .. })));
        assert_eq!(load(&path, "horse").unwrap().entity(), key().entity());
        for mode in [0o640, 0o604, 0o620, 0o610] {
            set_mode(&path, mode);
            let error = load(&path, "horse").unwrap_err();
            assert!(matches!(error, KeyError::OpenToOthers { mode: found, .. } if found == mode));
            assert!(error.hint().starts_with("chmod 600 "));
        }
        set_mode(&path, 0o400);
        assert!(load(&path, "horse").is_ok(), "its owner may not write it either");
    }
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 2, "no second copy is left");
}

#[test]
fn a_sealed_file_tells_nothing_and_can_be_resealed() {
    let scratch = Scratch::new("reseal");
    let path = scratch.0.join("key");
    save_key(&path, &key(), Some(&passphrase("horse"))).unwrap();
    let sealed = fs::read_to_string(&path).unwrap();
    assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
    assert!(!sealed.contains("0707"));
    let error = load(&path, "Horse").unwrap_err();
    assert!(matches!(error, KeyError::WrongPassphrase { .. }), "{error}");
    reseal_key(&path, &key(), Some(&passphrase("staple"))).unwrap();
    assert!(load(&path, "horse").is_err());
    assert_eq!(load(&path, "staple").unwrap().entity(), key().entity());
    reseal_key(&path, &key(), None).unwrap();
    assert!(matches!(read_key(&path), Ok(KeyFile::Plain(_))));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "no second copy is left");
}

#[test]
fn the_sealed_file_of_the_page_is_opened() {
    let begin = PAGE.find("-----BEGIN AGE").unwrap();
    let end = begin + PAGE[begin..].find("```").unwrap();
    let scratch = Scratch::new("page");
    let path = scratch.0.join("key");
    write_atomic(&path, &PAGE.as_bytes()[begin..end], 0o600).unwrap();
    let text = "correct horse battery staple";
    assert!(PAGE.contains(text));
    assert_eq!(load(&path, text).unwrap().entity(), key().entity());
}

#[test]
fn what_is_no_key_is_named() {
    let scratch = Scratch::new("foreign");
    let path = scratch.0.join("key");
    let line = "fondaco-secret-key-v1:07070707070707070707070707070707\
                070707070707070707070707070707071dda1716\n";
    let age = "-----BEGIN AGE ENCRYPTED FILE-----\n";
    let long = format!("{age}{}", "A".repeat(16 << 10));
    type Expected = fn(&KeyError) -> bool;
    let table: [(&str, String, Expected); 9] = [
        ("empty", String::new(), |error| matches!(error, KeyError::Damaged { .. })),
        ("cut", line[..40].to_owned(), |error| matches!(error, KeyError::Damaged { .. })),
        ("mistyped", line.replace("0707", "1707"), |error| {
            matches!(error, KeyError::Damaged { .. })
        }),
        ("later", line.replace("v1:", "v2:"), |error| matches!(error, KeyError::Newer { .. })),
        ("later age", format!("age-encryption.org/v9\n{}", "-".repeat(64)), |error| {
            matches!(error, KeyError::Newer { .. })
        }),
        ("other", "-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned(), |error| {
            matches!(error, KeyError::Foreign { .. })
        }),
        ("cut seal", age.to_owned(), |error| matches!(error, KeyError::Damaged { .. })),
        ("too long", long, |error| matches!(error, KeyError::Foreign { .. })),
        ("whole", line.to_owned(), |_| false),
    ];
    for (what, text, expected) in table {
        write_atomic(&path, text.as_bytes(), 0o600).unwrap();
        match load(&path, "horse") {
            Ok(_) => assert_eq!(what, "whole"),
            Err(error) => {
                assert!(expected(&error), "{what}: {error}");
                assert!(!format!("{error} {error:?}").contains("0707"), "no secret in an error");
            }
        }
    }
    let missing = load(&scratch.0.join("none"), "horse").unwrap_err();
    assert!(matches!(missing, KeyError::File(FileError::Missing { .. })));
    let folder = load(&scratch.0, "horse").unwrap_err();
    assert!(matches!(folder, KeyError::Foreign { .. }), "{folder}");
}
