//! Which start of this machine it is.

use fondaco_crypto::Digest;

/// What Linux says of it: another text after each start.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Returns what names this start of the machine; nothing where the system does not say. Since then, whatever was written to a
/// file is read, whether or not it was synced.
pub fn boot() -> Option<Digest> {
    let text = std::fs::read(BOOT).ok()?;
    (!text.is_empty()).then(|| Digest::of(&text))
}
