//! Tell what was measured: tables in Markdown as they come and the goals at the end, or a line of JSON for each.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the report is what is printed")]

use std::{cell::RefCell, fs};

use serde_json::{Value, json};

use crate::race::{Outcome, digits};

/// Where results go.
pub(crate) struct Report {
    json: bool,
    quick: bool,
    goals: RefCell<Vec<Line>>,
}

/// What the currency is to reach, on two cores that do nothing else.
#[derive(Clone, Copy)]
pub(crate) struct Goal {
    /// What is measured.
    pub(crate) what: &'static str,
    pub(crate) bound: Bound,
    /// What the numbers count, as it is written behind them.
    pub(crate) unit: &'static str,
}

#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// A goal and what was measured.
struct Line {
    goal: Goal,
    measured: f64,
    /// The ratios to peers and limits, by name.
    ratios: Vec<(String, f64)>,
}

/// How long single things took, in milliseconds.
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) longest: f64,
    count: usize,
}

impl Times {
    /// The columns of a table of these.
    pub(crate) const COLUMNS: [&str; 5] = ["what", "p50", "p99", "longest", "of so many"];

    /// Takes seconds, in any order.
    pub(crate) fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let count = seconds.len();
        // The least that so many of a hundred do not exceed.
        let at = |percent: usize| seconds[(count * percent).div_ceil(100) - 1] * 1e3;
        Self { p50: at(50), p99: at(99), longest: at(100), count }
    }
}

impl Report {
    pub(crate) const fn new(json: bool, quick: bool) -> Self {
        Self { json, quick, goals: RefCell::new(Vec::new()) }
    }

    /// Returns `full`, or less of it when it is only to be seen whether all of it runs.
    pub(crate) const fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Begins a table.
    pub(crate) fn head(&self, title: &str, columns: &[&str]) {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default();
        if self.json {
            println!("{}", json!({ "table": title, "load_before": load, "quick": self.quick }));
            return;
        }
        let warning = if self.quick { "; **quick: says nothing about speed**" } else { "" };
        println!("\n{title}; load before: {load}{warning}:\n");
        println!("| {} |", columns.join(" | "));
        let ruler: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(at, _)| if at == 0 { "---" } else { "---:" })
            .collect();
        println!("|{}|", ruler.join("|"));
    }

    /// A row of a table: as people and as programs read it.
    pub(crate) fn row(&self, cells: &[String], value: &Value) {
        if self.json {
            println!("{value}");
        } else {
            println!("| {} |", cells.join(" | "));
        }
    }

    /// A row of how long single things took.
    pub(crate) fn times(&self, table: &str, what: &str, times: &Times) {
        let Times { p50, p99, longest, count } = *times;
        let [a, b, c] = [p50, p99, longest].map(digits);
        let cells = [what.to_owned(), a, b, c, number(count as f64)];
        let value = json!({
            "table": table, "what": what, "p50_ms": p50, "p99_ms": p99, "longest_ms": longest, "count": count,
        });
        self.row(&cells, &value);
    }

    /// Says loudly that something was not measured.
    pub(crate) fn skip(&self, what: &str, why: &str) {
        if self.json {
            println!("{}", json!({ "skipped": what, "why": why }));
        }
        eprintln!("SKIPPED {what}: {why}");
    }

    /// Says what is under way where that takes long.
    pub(crate) fn progress(&self, what: &str) {
        eprintln!("... {what}");
    }

    /// Notes what was measured of a goal, and the ratios to what is beside it.
    pub(crate) fn goal(&self, goal: Goal, measured: f64, ratios: &[(&str, f64)]) {
        let ratios = ratios.iter().map(|(name, ratio)| ((*name).to_owned(), *ratio)).collect();
        self.goals.borrow_mut().push(Line { goal, measured, ratios });
    }

    /// Notes a row as what was measured of a goal, with its ratio to each peer.
    pub(crate) fn goal_of(&self, goal: Goal, row: &Outcome) {
        let ratios: Vec<_> =
            row.peers.iter().map(|(name, ratio)| (&**name, ratio.median)).collect();
        self.goal(goal, row.own.median, &ratios);
    }

    /// Prints every goal of which something was measured.
    pub(crate) fn goals(&self) {
        let goals = self.goals.borrow();
        if goals.is_empty() {
            return;
        }
        self.head(
            "Goals",
            &["what", "goal", "measured", "reached", "ratio to the peer, or to the limit"],
        );
        for Line { goal, measured, ratios } in goals.iter() {
            let (sign, wanted, reached) = match goal.bound {
                Bound::AtLeast(wanted) => ("≥", wanted, *measured >= wanted),
                Bound::AtMost(wanted) => ("≤", wanted, *measured <= wanted),
            };
            let told: Vec<_> =
                ratios.iter().map(|(name, ratio)| format!("{} {name}", digits(*ratio))).collect();
            let unit = goal.unit;
            let cells = [
                goal.what.to_owned(),
                format!("{sign} {}{unit}", number(wanted)),
                format!("{}{unit}", number(*measured)),
                match (self.quick, reached) {
                    (true, _) => "not told",
                    (false, true) => "yes",
                    (false, false) => "**no**",
                }
                .to_owned(),
                told.join(", "),
            ];
            let ratios: serde_json::Map<_, _> =
                ratios.iter().map(|(name, ratio)| (name.clone(), json!(ratio))).collect();
            let value = json!({
                "goal": goal.what, "bound": sign, "wanted": wanted, "unit": unit.trim(), "measured": measured,
                "reached": reached && !self.quick, "quick": self.quick,
                "ratios": ratios,
            });
            self.row(&cells, &value);
        }
    }
}

/// Writes a number with three digits at least, and a comma before each three of those before the point.
pub(crate) fn number(value: f64) -> String {
    if value < 1000.0 {
        return digits(value);
    }
    let whole = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        for (count, p50, p99) in
            [(1_u32, 1.0, 1.0), (2, 1.0, 2.0), (100, 50.0, 99.0), (1000, 500.0, 990.0)]
        {
            let times = Times::of((1..=count).rev().map(|n| f64::from(n) / 1e3).collect());
            let found = [times.p50, times.p99, times.longest].map(f64::round);
            assert_eq!(found, [p50, p99, f64::from(count)], "{count}");
        }
    }

    #[test]
    fn numbers_for_people() {
        for (value, text) in [
            (0.5, "0.50"),
            (12.0, "12.0"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (1_234_567.8, "1,234,568"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
