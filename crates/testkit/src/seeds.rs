//! Which seeds a test runs, and how to run one of them again.

use std::fmt::Display;
use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The seeds that a test runs.
#[derive(Debug)]
pub struct Seeds;

impl Seeds {
    /// Returns `FONDACO_SEEDS` seeds, or as many as the `default`, from `FONDACO_SEED` or 0 on.
    ///
    /// # Panics
    ///
    /// If one of them is set and no number: the test would not be the one that was asked for.
    pub fn from_environment(default: u64) -> Range<u64> {
        let first = number("FONDACO_SEED").unwrap_or(0);
        first..first.saturating_add(number("FONDACO_SEEDS").unwrap_or(default))
    }

    /// Runs each of `seeds`, on as many threads as there are processors, and adds up what they gave.
    ///
    /// # Panics
    ///
    /// If one of them fails: with the first that does, and the command that runs `test` with it again.
    pub fn run_all<R: Default + Send, E: Display + Send>(
        seeds: Range<u64>,
        test: &str,
        run: impl Fn(u64) -> Result<R, E> + Sync,
        add: impl Fn(&mut R, R) + Sync,
    ) -> R {
        let next = AtomicU64::new(seeds.start);
        let worker = || {
            let mut sum = R::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return Ok(sum);
                }
                add(&mut sum, run(seed).map_err(|error| (seed, error))?);
            }
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let done: Vec<Result<R, (u64, E)>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker")).collect()
        });
        let (mut sum, mut failed) = (R::default(), Vec::new());
        for each in done {
            match each {
                Ok(report) => add(&mut sum, report),
                Err(failure) => failed.push(failure),
            }
        }
        if let Some((seed, error)) = failed.into_iter().min_by_key(|(seed, _)| *seed) {
            panic!("{error}\n{}", Self::replay(seed, test));
        }
        sum
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
