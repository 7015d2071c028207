//! The two numbers of an erasure code.

use std::fmt;

/// How many shards an object is cut into, and how many of them give it back: 1 ≤ `k` ≤ `n`.
///
/// `1 of n` is plain replication; `n of n` has no parity and survives no loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    k: u8,
    n: u8,
}

impl Code {
    /// Creates the code that rebuilds an object from any `k` of its `n` shards.
    pub const fn new(k: u8, n: u8) -> Result<Self, CodeError> {
        if k == 0 {
            Err(CodeError::NoData)
        } else if k > n {
            Err(CodeError::MoreDataThanShards { k, n })
        } else {
            Ok(Self { k, n })
        }
    }

    /// Returns how many shards are enough; also the number of data shards.
    pub const fn k(self) -> u8 {
        self.k
    }

    /// Returns how many shards there are, data and parity.
    pub const fn n(self) -> u8 {
        self.n
    }

    /// Returns how many shards may be lost, `n − k`; also the number of parity shards.
    pub const fn parity(self) -> u8 {
        self.n - self.k
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.k, self.n)
    }
}

/// Why two numbers are no code. Listed by precedence: only the first that applies is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// `k` is zero.
    #[error("an object cannot be rebuilt from no shards")]
    NoData,

    /// `k` is above `n`.
    #[error("{k} shards are needed, but only {n} are made")]
    MoreDataThanShards {
        /// Shards needed.
        k: u8,
        /// Shards made.
        n: u8,
    },
}

impl CodeError {
    /// Returns whether the same numbers can be a code later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::NoData | Self::MoreDataThanShards { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_needs_at_least_one_shard_and_at_most_all() {
        for (k, n, outcome) in [
            (5, 8, Ok("5 of 8")),
            (1, 1, Ok("1 of 1")),
            (255, 255, Ok("255 of 255")),
            (0, 8, Err(CodeError::NoData)),
            (0, 0, Err(CodeError::NoData)),
            (9, 8, Err(CodeError::MoreDataThanShards { k: 9, n: 8 })),
            (1, 0, Err(CodeError::MoreDataThanShards { k: 1, n: 0 })),
        ] {
            assert_eq!(Code::new(k, n).map(|code| code.to_string()), outcome.map(str::to_owned));
        }
    }
}
