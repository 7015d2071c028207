//! Crates that must not come in, at any depth.
//!
//! `deny.toml` bans the same, but needs cargo-deny; this needs only `Cargo.lock`.

use std::collections::BTreeSet;

use super::Fault;

/// What is banned, and why.
const BANNED: [(&[&str], &str); 6] = [
    (
        &["bincode"],
        "its format is its own source code: formats are written out, by the crate codec",
    ),
    (&["tokio-tar"], "it is unmaintained and can be made to unpack outside its folder"),
    (&["sled"], "its file format is unstable: the crate store keeps the disk"),
    (&["openssl-sys"], "TLS is rustls with ring: choose the feature that says so"),
    (&["native-tls"], "TLS is rustls with ring: choose the feature that says so"),
    (&["aws-lc-sys", "ring"], "one TLS stack, ring: turn the other's features off"),
];

/// No banned crate is in the text of `Cargo.lock`, and no banned pair is there together.
pub(super) fn banned(lock: &str) -> Vec<Fault> {
    let name = |line: &'_ str| Some(line.strip_prefix("name = \"")?.strip_suffix('"')?.to_owned());
    let present: BTreeSet<String> = lock.lines().filter_map(name).collect();
    let found = |(names, _): &(&[&str], &str)| names.iter().all(|name| present.contains(*name));
    let fault = |(names, why): (&[&str], &str)| {
        let what = format!("{} came in; {why}", names.join(" and "));
        let hint = format!("cargo tree --workspace --target all --invert {}", names[0]);
        Fault::new("Cargo.lock", what, hint)
    };
    BANNED.into_iter().filter(found).map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canary_banned() {
        let cases: [(&[&str], usize); 6] = [
            (&[], 0),
            (&["ring", "bincode-derive"], 0),
            (&["aws-lc-sys"], 0),
            (&["aws-lc-sys", "ring"], 1),
            (&["bincode"], 1),
            (&["tokio-tar", "sled", "openssl-sys", "native-tls"], 4),
        ];
        for (names, expected) in cases {
            let lock: String = names
                .iter()
                .map(|name| format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n\n"))
                .collect();
            assert_eq!(banned(&lock).len(), expected, "{names:?}");
        }
    }
}
