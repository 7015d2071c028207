//! What a durability takes for granted, so that it can be said with it.

use std::fmt;

use crate::{Candidate, Shocks, alive::Alive, groups::Forest, groups::most};

/// The world in which the durability of a placement is exact.
///
/// Its text form is a few whole sentences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumptions {
    /// The chances with which whole groups are lost at once.
    pub shocks: Shocks,
    /// The least loss counted on among the providers chosen, common shocks apart.
    pub loss_least: f64,
    /// The greatest.
    pub loss_greatest: f64,
    /// How many operators the shards are with, as far as is known.
    pub operators: usize,
    /// The most shards that are with one of them.
    pub operator_shards: usize,
    /// How many subnets the shards are in, as far as is known.
    pub subnets: usize,
    /// The most shards that are in one of them.
    pub subnet_shards: usize,
    /// How many shards are with a provider of which neither operator nor subnet is known.
    pub unknown: usize,
    /// The loss of the object if there were no common shocks.
    pub loss_independent: f64,
}

impl Assumptions {
    /// Says what the durability of these providers, all of them, takes for granted: that of [`loss_under_shocks`].
    ///
    /// [`loss_under_shocks`]: crate::loss_under_shocks
    pub fn of_all(candidates: &[Candidate], shocks: Shocks, k: u8) -> Self {
        let all: Vec<usize> = (0..candidates.len()).collect();
        Self::of(candidates, &Forest::of(candidates, shocks), &all, k)
    }

    pub(crate) fn of(
        candidates: &[Candidate],
        forest: &Forest,
        providers: &[usize],
        k: u8,
    ) -> Self {
        let chosen = || providers.iter().map(|&i| candidates[i]);
        let losses = || chosen().map(Candidate::loss);
        let count = |mut groups: Vec<usize>| {
            groups.sort_unstable();
            let greatest = most(groups.iter().copied());
            groups.dedup();
            (groups.len(), greatest)
        };
        let subnets = providers.iter().filter_map(|&i| forest.subnet(i)).collect();
        let (operators, operator_shards) =
            count(providers.iter().map(|&i| forest.owner(i)).collect());
        let (subnets, subnet_shards) = count(subnets);
        Self {
            shocks: forest.shocks(),
            loss_least: losses().fold(1.0, f64::min),
            loss_greatest: losses().fold(0.0, f64::max),
            operators,
            operator_shards,
            subnets,
            subnet_shards,
            unknown: chosen().filter(|c| c.operator().is_none() && c.subnet().is_none()).count(),
            loss_independent: Alive::of(losses()).below(k.into()),
        }
    }
}

impl fmt::Display for Assumptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |chance: f64| {
            let text = format!("{:.3}", chance * 100.0);
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        };
        let (least, greatest) = (percent(self.loss_least), percent(self.loss_greatest));
        if least == greatest {
            write!(f, "Each host loses its shard in an epoch with {least}")?;
        } else {
            write!(f, "Each host loses its shard in an epoch with {least} to {greatest}")?;
        }
        write!(f, ", and what is lost is repaired before the next.")?;
        let counted = |count: usize, what: &str| {
            format!("{count} {what}{}", if count == 1 { "" } else { "s" })
        };
        if self.operators > self.unknown {
            let (operators, most) = (counted(self.operators, "operator"), self.operator_shards);
            write!(f, " The shards are with {operators}, at most {most} with one")?;
            let shock = percent(self.shocks.operator());
            if self.shocks.operator() > 0.0 {
                write!(f, "; a known operator is lost with all it has with {shock}")?;
            }
            write!(f, ".")?;
        }
        if self.subnets > 0 {
            let (most, shock) = (self.subnet_shards, percent(self.shocks.subnet()));
            let subnets = counted(self.subnets, "subnet");
            write!(f, " They are in {subnets}, at most {most} in one")?;
            if self.shocks.subnet() > 0.0 {
                write!(f, "; a subnet is lost as a whole with {shock}")?;
            }
            write!(f, ".")?;
        }
        if self.unknown > 0 {
            let hosts = counted(self.unknown, "host");
            let taken = if self.unknown == 1 { "it is" } else { "they are" };
            let why = "neither operator nor network is known";
            write!(f, " Of {hosts} {why}; {taken} taken as independent.")?;
        }
        write!(f, " Beyond that, hosts fail independently of each other.")
    }
}
