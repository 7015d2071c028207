//! Which seeds a test runs, and how to run one of them again.

/// The seeds that a test runs.
#[derive(Debug)]
pub struct Seeds;

impl Seeds {
    /// Returns `FONDACO_SEEDS` seeds, or as many as the `default`, from `FONDACO_SEED` or 0 on.
    ///
    /// # Panics
    ///
    /// If one of them is set and no number: the test would not be the one that was asked for.
    pub fn from_environment(default: u64) -> std::ops::Range<u64> {
        let first = number("FONDACO_SEED").unwrap_or(0);
        first..first.saturating_add(number("FONDACO_SEEDS").unwrap_or(default))
    }

    /// Returns the command that runs `test` of this crate again, with this seed alone.
    pub fn replay(seed: u64, test: &str) -> String {
        format!("FONDACO_SEED={seed} FONDACO_SEEDS=1 cargo test -p fondaco-testkit --test {test}")
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}
