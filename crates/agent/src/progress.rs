//! How work is shown to a person, and where it is told what was left out.

use fondaco_units::Amount;
use std::fmt::Debug;
use std::sync::Arc;

/// A place where progress is shown: a terminal, a log, or nowhere.
pub trait Progress: Debug + Send + Sync {
    /// Begins a stage of the work that is measured in bytes.
    fn begin(&self, title: &str) -> Arc<dyn Stage>;

    /// Begins a stage that is measured in steps, or in nothing.
    fn begin_steps(&self, title: &str) -> Arc<dyn Stage>;

    /// Returns what was left out or went wrong without ending the work, since the last call.
    fn problems(&self) -> Vec<String>;

    /// Returns why the backup library gave up, where several of its threads did and one alone knows.
    fn gave_up(&self) -> Option<String> {
        None
    }
}

/// A stage of the work, measured in bytes or in steps.
pub trait Stage: Debug + Send + Sync {
    /// Sets how many there are in all.
    fn set_length(&self, count: u64);
    /// Tells that so many more are done.
    fn advance(&self, count: u64);
    /// Tells what this work has signed for so far, where whoever shows it cannot know.
    fn spent(&self, amount: Amount);
    /// Ends the stage.
    fn finish(&self);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn begin(&self, _title: &str) -> Arc<dyn Stage> {
        Arc::new(Self)
    }

    fn begin_steps(&self, _title: &str) -> Arc<dyn Stage> {
        Arc::new(Self)
    }

    fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Stage for Quiet {
    fn set_length(&self, _count: u64) {}
    fn advance(&self, _count: u64) {}
    fn spent(&self, _amount: Amount) {}
    fn finish(&self) {}
}
