//! A key file that something wrote is read as a key, waits for its passphrase, or is refused by name; a key that was read
//! is written so that it is read again.
#![no_main]

use fondaco_store::{KeyError, KeyFile, read_key, reseal_key};
use libfuzzer_sys::fuzz_target;
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::LazyLock};

/// A file of this process, which only its owner can use.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("fondaco-fuzz-key-{}", std::process::id()));
    fs::write(&path, b"").expect("a folder for what is temporary");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    path
});

fuzz_target!(|bytes: &[u8]| {
    let path = &*FILE;
    fs::write(path, bytes).expect("room for a short file");
    match read_key(path) {
        Ok(KeyFile::Plain(key)) => {
            reseal_key(path, &key, None).expect("room for a key");
            let Ok(KeyFile::Plain(again)) = read_key(path) else { panic!("it was just written") };
            assert_eq!(again.entity(), key.entity());
        }
        Ok(KeyFile::Sealed(sealed)) => assert_eq!(sealed.path(), path),
        Err(KeyError::Foreign { .. } | KeyError::Newer { .. } | KeyError::Damaged { .. }) => {}
        Err(KeyError::TooMuchWork { .. }) => {}
        Err(error) => panic!("{error}"),
    }
});
