//! What an operator watches, in the text format of OpenMetrics, which Prometheus reads.
//!
//! Nothing here names a holder: who scrapes the figures learns nothing of anybody's account.

use fondaco_store::Head;
use fondaco_units::Amount;
use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::{sync::Arc, time::Duration};

/// The content type of [`Metrics::text`].
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

/// The figures of one issuer. Clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Label, Counter>,
    connections: Family<Label, Gauge>,
    records: Counter,
    batch_records: Histogram,
    save_seconds: Histogram,
    supply: Gauge,
    accounts: Gauge,
    parked: Gauge,
    journal_bytes: Gauge,
    journal_records: Gauge,
    snapshot_records: Gauge,
    halted: Gauge,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A command was executed.
    Done,
    /// A command was refused, and its refusal is remembered.
    Refused,
    /// A command was answered as it was before, or not taken up.
    Repeated,
    /// A query was answered.
    Query,
    /// There was no room, or the holder commands too fast.
    Busy,
}

/// Over what a holder speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// LCP/2, over QUIC.
    Lcp2,
    /// LCP-2003, over TLS.
    Lcp2003,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("fondaco_issuer");
        let requests = Family::default();
        registry.register("requests", "Requests, by what became of them", requests.clone());
        let connections = Family::default();
        registry.register("connections", "Open connections, by dialect", connections.clone());
        let records = Counter::default();
        registry.register("saved_records", "Records made durable", records.clone());
        let batch_records = Histogram::new(exponential_buckets(1.0, 4.0, 8));
        registry.register("batch_records", "Records saved together", batch_records.clone());
        let save_seconds = Histogram::new(exponential_buckets(0.000_1, 2.0, 14));
        registry.register("save_seconds", "Time to make a batch durable", save_seconds.clone());
        let mut gauge = |name, help| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            requests,
            connections,
            records,
            batch_records,
            save_seconds,
            supply: gauge("supply_units", "Money there is, in smallest units"),
            accounts: gauge("accounts", "Accounts"),
            parked: gauge("parked", "Queries that wait for a deposit"),
            journal_bytes: gauge("journal_bytes", "Length of the journal, without room ahead"),
            journal_records: gauge("journal_records", "Records in the journal"),
            snapshot_records: gauge("snapshot_records", "Records that the last snapshot covers"),
            halted: gauge("halted", "1 when the books can no longer be kept, until a restart"),
            registry: Arc::new(registry),
        }
    }
}

impl Metrics {
    /// Returns all figures as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub(crate) fn requests(&self, outcome: Outcome, count: usize) {
        let outcome = match outcome {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Repeated => "repeated",
            Outcome::Query => "query",
            Outcome::Busy => "busy",
        };
        self.requests.get_or_create(&[("outcome", outcome)]).inc_by(count as u64);
    }

    /// Says how many connections there are.
    pub(crate) fn connections(&self, dialect: Dialect, open: usize) {
        self.of(dialect).set(gauge(open as u64));
    }

    /// Says that there is one connection more, or less.
    pub(crate) fn connection(&self, dialect: Dialect, change: i64) {
        self.of(dialect).inc_by(change);
    }

    fn of(&self, dialect: Dialect) -> Gauge {
        let dialect = match dialect {
            Dialect::Lcp2 => "lcp2",
            Dialect::Lcp2003 => "lcp2003",
        };
        self.connections.get_or_create_owned(&[("dialect", dialect)])
    }

    pub(crate) fn saved(&self, records: usize, took: Duration, head: Head) {
        self.records.inc_by(records as u64);
        self.batch_records.observe(records as f64);
        self.save_seconds.observe(took.as_secs_f64());
        self.journal_bytes.set(gauge(head.bytes.get()));
        self.journal_records.set(gauge(head.records));
    }

    pub(crate) fn books(&self, supply: Amount, accounts: u64, parked: usize) {
        self.supply.set(gauge(supply.get()));
        self.accounts.set(gauge(accounts));
        self.parked.set(gauge(parked as u64));
    }

    pub(crate) fn snapshot(&self, records: u64) {
        self.snapshot_records.set(gauge(records));
    }

    pub(crate) fn halted(&self) {
        self.halted.set(1);
    }
}

/// A gauge has 63 bits; what has more is shown as the most.
fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_crypto::Digest;
    use fondaco_units::Bytes;

    #[test]
    fn the_text_says_what_was_counted() {
        let metrics = Metrics::default();
        metrics.requests(Outcome::Done, 3);
        metrics.requests(Outcome::Busy, 1);
        metrics.connection(Dialect::Lcp2003, 2);
        metrics.connection(Dialect::Lcp2003, -1);
        let head = Head { records: 7, frames: 2, chain: Digest::of(b"x"), bytes: Bytes::new(900) };
        metrics.saved(3, Duration::from_millis(2), head);
        metrics.books(Amount::MAX, 5, 1);
        let text = metrics.text();
        for line in [
            "# TYPE fondaco_issuer_requests counter",
            "fondaco_issuer_requests_total{outcome=\"done\"} 3",
            "fondaco_issuer_requests_total{outcome=\"busy\"} 1",
            "fondaco_issuer_connections{dialect=\"lcp2003\"} 1",
            "fondaco_issuer_saved_records_total 3",
            "fondaco_issuer_save_seconds_count 1",
            "fondaco_issuer_journal_records 7",
            "fondaco_issuer_supply_units 9223372036854775807",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
