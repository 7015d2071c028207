//! Run Fondaco and its peers in turn, and report what that showed as a row of a table.

use std::{hint::black_box, time::Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::report::Report;

/// How often each side runs, after once to warm up.
const RUNS: usize = 7;

/// What one run took, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    wall: f64,
    /// Of this process, in user and system, and of those that worked for it.
    cpu: f64,
}

impl Sample {
    /// The CPU time, in seconds.
    pub(crate) const fn cpu(self) -> f64 {
        self.cpu
    }

    /// Adds what other processes took of the processors meanwhile, in seconds.
    pub(crate) const fn with_cpu(self, seconds: f64) -> Self {
        Self { cpu: self.cpu + seconds, ..self }
    }
}

/// Measures `work`; what it returns is dropped later.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> Sample {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    let result = black_box(work());
    let sample = Sample { cpu: cpu_seconds() - cpu, wall: wall.elapsed().as_secs_f64() };
    drop(result);
    sample
}

/// Measures `work` on all of `items`.
pub(crate) fn timed_each<T, R>(
    items: impl IntoIterator<Item = T>,
    mut work: impl FnMut(T) -> R,
) -> Sample {
    timed(|| {
        for item in items {
            black_box(work(item));
        }
    })
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Which of the two times says how fast something is.
#[derive(Clone, Copy)]
pub(crate) enum Clock {
    /// It only computes.
    Cpu,
    /// It waits for a disk or a socket.
    Wall,
}

/// How speed is shown.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Things per second.
    Things,
    /// Bytes per second.
    Bytes,
    /// Seconds for one thing; the smaller, the faster.
    Seconds,
}

/// Somebody else's way to do the same, or the least that it must cost.
pub(crate) struct Peer<'a> {
    name: &'a str,
    run: Box<dyn FnMut() -> Sample + 'a>,
}

/// Names a peer.
pub(crate) fn peer<'a>(name: &'a str, run: impl FnMut() -> Sample + 'a) -> Peer<'a> {
    Peer { name, run: Box::new(run) }
}

/// A table, reported row by row.
pub(crate) struct Table<'a> {
    report: &'a Report,
    title: String,
    clock: Clock,
    unit: Unit,
    runs: usize,
}

/// What a row showed.
pub(crate) struct Outcome {
    /// The speed of Fondaco.
    pub(crate) own: Spread,
    /// The ratio to each peer, by name.
    pub(crate) peers: Vec<(String, Spread)>,
}

impl<'a> Table<'a> {
    /// Prints the head of a table.
    pub(crate) fn begin(report: &'a Report, title: &str, clock: Clock, unit: Unit) -> Self {
        let runs = report.size(RUNS, 1);
        let time = match clock {
            Clock::Cpu => "CPU time",
            Clock::Wall => "wall time",
        };
        let head = format!("{title}; by {time}; median (min–max) of {runs} runs");
        let columns =
            ["what", "Fondaco", "peer", "the peer", "ratio", "CPU s per run, Fondaco : peer"];
        report.head(&head, &columns);
        Self { report, title: title.to_owned(), clock, unit, runs }
    }

    /// Runs all in turn, each of them `work` things or bytes a time, and reports a row for each peer.
    pub(crate) fn row<const PEERS: usize>(
        &self,
        what: &str,
        work: u64,
        ours: impl FnMut() -> Sample,
        peers: [Peer<'_>; PEERS],
    ) -> Outcome {
        self.row_of(what, work, ours, peers.into())
    }

    /// The same, with as many peers as there are on this machine.
    pub(crate) fn row_of(
        &self,
        what: &str,
        work: u64,
        mut ours: impl FnMut() -> Sample,
        mut peers: Vec<Peer<'_>>,
    ) -> Outcome {
        let mut round = || -> (Sample, Vec<Sample>) {
            (ours(), peers.iter_mut().map(|peer| (peer.run)()).collect())
        };
        round();
        let rounds: Vec<(Sample, Vec<Sample>)> = (0..self.runs).map(|_| round()).collect();
        let speeds = |sample: Sample| work as f64 / self.seconds(sample);
        let own = Spread::of(rounds.iter().map(|(own, _)| speeds(*own)));
        let own_cpu = Spread::of(rounds.iter().map(|(own, _)| own.cpu)).median;
        let mut outcome = Outcome { own, peers: Vec::new() };
        if peers.is_empty() {
            let cells = [what, &self.show(own), "", "", ""].map(str::to_owned);
            let cells = [&cells[..], &[format!("{own_cpu:.4}")]].concat();
            self.report.row(&cells, &self.value(what, own, own_cpu, Value::Null));
        }
        for (place, peer) in peers.iter().enumerate() {
            let theirs = || rounds.iter().map(|(own, peers)| (*own, peers[place]));
            let speed = Spread::of(theirs().map(|(_, peer)| speeds(peer)));
            let ratio = Spread::of(theirs().map(|(own, peer)| speeds(own) / speeds(peer)));
            let cpu = Spread::of(theirs().map(|(_, peer)| peer.cpu)).median;
            let Spread { min, median, max } = ratio;
            let cells = [
                what.to_owned(),
                self.show(own),
                peer.name.to_owned(),
                self.show(speed),
                format!("**{}** ({}–{})", digits(median), digits(min), digits(max)),
                format!("{own_cpu:.4} : {cpu:.4}"),
            ];
            let told = json!({
                "name": peer.name, "speed": speed.value(), "cpu_seconds": cpu, "ratio": ratio.value(),
            });
            self.report.row(&cells, &self.value(what, own, own_cpu, told));
            outcome.peers.push((peer.name.to_owned(), ratio));
        }
        outcome
    }

    /// A row as a program reads it.
    fn value(&self, what: &str, own: Spread, cpu: f64, peer: Value) -> Value {
        let clock = match self.clock {
            Clock::Cpu => "cpu",
            Clock::Wall => "wall",
        };
        let unit = match self.unit {
            Unit::Things | Unit::Seconds => "1/s",
            Unit::Bytes => "B/s",
        };
        json!({
            "table": self.title, "what": what, "clock": clock, "unit": unit, "runs": self.runs,
            "fondaco": { "speed": own.value(), "cpu_seconds": cpu }, "peer": peer,
        })
    }

    fn seconds(&self, sample: Sample) -> f64 {
        match self.clock {
            Clock::Cpu => sample.cpu,
            Clock::Wall => sample.wall,
        }
    }

    /// Writes a speed as `1.23 (1.19–1.25) GB/s`.
    fn show(&self, speed: Spread) -> String {
        let (Spread { min, median, max }, unit) = match self.unit {
            Unit::Things => (speed, "/s"),
            Unit::Bytes => (speed, "B/s"),
            Unit::Seconds => {
                let Spread { min, median, max } = speed;
                (Spread { min: 1.0 / max, median: 1.0 / median, max: 1.0 / min }, "s")
            }
        };
        let (scale, prefix) = match median {
            1e9.. => (1e9, "G"),
            1e6.. => (1e6, "M"),
            1e3.. => (1e3, "k"),
            1.0.. => (1.0, ""),
            1e-3.. => (1e-3, "m"),
            _ => (1e-6, "µ"),
        };
        let [min, median, max] = [min, median, max].map(|value| digits(value / scale));
        format!("{median} ({min}–{max}) {prefix}{unit}")
    }
}

/// The middle and the ends of what several runs showed.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn value(self) -> Value {
        json!({ "min": self.min, "median": self.median, "max": self.max })
    }

    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        Self { min: values[0], median: values[values.len() / 2], max: values[values.len() - 1] }
    }
}

/// Writes three digits, or all those before the point.
pub(crate) fn digits(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        0.01.. => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_shown_with_three_digits() {
        let spread = Spread::of([2.0e9, 1.0e9, 1.234e9].into_iter());
        for (unit, text) in [
            (Unit::Things, "1.23 (1.00–2.00) G/s"),
            (Unit::Bytes, "1.23 (1.00–2.00) GB/s"),
            (Unit::Seconds, "0.0008 (0.0005–0.0010) µs"),
        ] {
            let report = Report::new(false, false);
            let table =
                Table { report: &report, title: String::new(), clock: Clock::Cpu, unit, runs: 1 };
            assert_eq!(table.show(spread), text);
        }
        let table = [(0.0314, "0.031"), (0.314, "0.31"), (31.4, "31.4"), (3141.5, "3142")];
        for (value, text) in table {
            assert_eq!(digits(value), text);
        }
    }
}
