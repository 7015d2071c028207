//! Tending a repository: check it, forget snapshots, and give up the room that nothing needs any more.
//!
//! One process at a time works with an owner's book, so nothing that is not in use now can come into use meanwhile, and
//! packs are removed at once.

use super::backend::Unread;
use super::{Repo, SnapshotInfo};
use crate::AgentError;
use fondaco_units::Timestamp;
use rustic_core::jiff;
use rustic_core::{
    CheckOptions, ForgetGroups, Grouped, KeepOptions, PruneOptions, RusticError,
    SnapshotGroupCriterion,
};

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// How many snapshots were looked at.
    pub snapshots: usize,
    /// What is wrong.
    pub errors: Vec<String>,
    /// What is odd and does no harm.
    pub warnings: Vec<String>,
    /// How many of the errors say more than that something could not be read now.
    pub wrong: usize,
    /// Why something could not be read.
    pub unread: Vec<AgentError>,
}

/// How many snapshots of each folder to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// So many of the latest.
    pub last: Option<u32>,
    /// The last of so many hours, of those that have any.
    pub hourly: Option<u32>,
    /// The same with days.
    pub daily: Option<u32>,
    /// The same with weeks.
    pub weekly: Option<u32>,
    /// The same with months.
    pub monthly: Option<u32>,
    /// The same with years.
    pub yearly: Option<u32>,
}

/// Which snapshots to forget.
#[derive(Clone, Debug)]
pub enum Forget {
    /// These: names, fronts of names, or `latest`.
    These(Vec<String>),
    /// All but those that are to be kept.
    AllBut(Keep),
}

/// What was forgotten.
#[derive(Clone, Debug, Default)]
pub struct ForgetReport {
    /// These snapshots, oldest first.
    pub forgotten: Vec<SnapshotInfo>,
    /// How many are left.
    pub kept: usize,
}

/// What a prune gave up, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Bytes that no snapshot needed and that are gone.
    pub removed: u64,
    /// Bytes that were read and stored again, since what lay beside them went.
    pub repacked: u64,
    /// Bytes that are left, those in packs too full to be worth repacking included.
    pub kept: u64,
}

impl Repo {
    /// Checks that all that snapshots name is there; with `read_data`, also reads and hashes every byte of it.
    pub fn check(&self, read_data: bool) -> Result<CheckReport, AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        self.guard(|| {
            let repository = self.opened()?;
            let mut options = CheckOptions::default();
            options.read_data = read_data;
            let snapshots = repository.get_all_snapshots().map_err(explain)?.len();
            self.backend.note_unread();
            let checked = repository.check(options);
            let unread = self.backend.take_unread();
            let results = match checked {
                Ok(results) => results.0,
                Err(_) if !unread.is_empty() => Vec::new(),
                Err(error) => return Err(explain(error)),
            };
            // What could not be read is among the results, and logged; here it is told once.
            drop(self.progress.problems());
            let mut report = CheckReport { snapshots, ..CheckReport::default() };
            for (level, what) in results {
                let what = what.to_string();
                let told = told(&what);
                if format!("{level:?}") == "Warn" {
                    if !report.warnings.contains(&told) {
                        report.warnings.push(told);
                    }
                } else if !report.errors.contains(&told) {
                    report.errors.push(told);
                    report.wrong += usize::from(!is_of(&what, &unread));
                }
            }
            if report.errors.is_empty() {
                report.errors.extend(unread.keys().next().cloned());
            }
            report.unread = unread.into_values().collect();
            Ok(report)
        })
    }

    /// Forgets snapshots; what only they needed stays until [`Repo::prune`]. With `dry_run`, only says which.
    pub fn forget(
        &self,
        which: &Forget,
        now: Timestamp,
        dry_run: bool,
    ) -> Result<ForgetReport, AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        self.guard(|| {
            let repository = self.opened()?;
            let mut all = repository.get_all_snapshots().map_err(explain)?;
            all.sort_by(|one, other| one.time.cmp(&other.time));
            let ids = match which {
                Forget::These(names) => {
                    names.iter().try_for_each(|name| self.must_be_snapshot(name))?;
                    let found =
                        repository.get_snapshots_from_strs(names, |_| true).map_err(explain)?;
                    found.into_iter().map(|snapshot| snapshot.id).collect()
                }
                Forget::AllBut(keep) => {
                    // By folder alone: a backup goes on from another machine after a recovery.
                    let by = SnapshotGroupCriterion::new().paths(true);
                    let groups = Grouped::from_items(all.clone(), by);
                    ForgetGroups::from_grouped_snapshots_with_retention(
                        groups,
                        &keep_options(*keep),
                        &zoned(now)?,
                    )
                    .map_err(explain)?
                    .into_forget_ids()
                }
            };
            let (forgotten, kept): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|snapshot| ids.contains(&snapshot.id));
            if !dry_run {
                repository.delete_snapshots(&ids).map_err(explain)?;
            }
            let forgotten = forgotten.iter().map(SnapshotInfo::of).collect();
            Ok(ForgetReport { forgotten, kept: kept.len() })
        })
    }

    /// Removes what no snapshot needs. Packs of which little is needed are written anew without the rest; new indexes
    /// are stored before the old are removed, and packs last, so that a prune may be cut off anywhere. With `dry_run`,
    /// only says how much.
    pub fn prune(&self, dry_run: bool) -> Result<PruneReport, AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        self.guard(|| {
            let repository = self.opened()?;
            let mut options = PruneOptions::default();
            options.instant_delete = true;
            let plan = repository.prune_plan(&options).map_err(explain)?;
            let size = plan.stats.size_sum();
            let report = PruneReport {
                removed: size.remove + size.repackrm + plan.stats.size_unref,
                repacked: size.repack.saturating_sub(size.repackrm),
                kept: size.total_after_prune(),
            };
            if !dry_run {
                repository.prune(&options, plan).map_err(explain)?;
            }
            Ok(report)
        })
    }
}

/// Whether the library tells of nothing but that something could not be read: what it was told of that is a line of its own.
fn is_of(text: &str, unread: &Unread) -> bool {
    text.lines().any(|line| unread.contains_key(line))
}

/// Says in one line what the library found. An error within tells its own name first, and what happened under a headline.
fn told(text: &str) -> String {
    let first = |text: &str| text.lines().next().unwrap_or_default().trim_end().to_owned();
    match (text.split_once("`rustic_core` experienced"), text.split_once("\nMessage:\n")) {
        (Some((what, _)), Some((_, why))) => format!("{what}{}", first(why)),
        _ => first(text),
    }
}

fn keep_options(keep: Keep) -> KeepOptions {
    let count = |count: Option<u32>| count.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
    let mut options = KeepOptions::default();
    options.keep_last = count(keep.last);
    options.keep_hourly = count(keep.hourly);
    options.keep_daily = count(keep.daily);
    options.keep_weekly = count(keep.weekly);
    options.keep_monthly = count(keep.monthly);
    options.keep_yearly = count(keep.yearly);
    options
}

fn zoned(now: Timestamp) -> Result<jiff::Zoned, AgentError> {
    let milliseconds = i64::try_from(now.milliseconds()).unwrap_or(i64::MAX);
    let at =
        jiff::Timestamp::from_millisecond(milliseconds).map_err(|error| AgentError::Invalid {
            what: format!("the clock shows {now}: {error}"),
            hint: "set the clock of this machine".to_owned(),
        })?;
    Ok(at.to_zoned(jiff::tz::TimeZone::UTC))
}
