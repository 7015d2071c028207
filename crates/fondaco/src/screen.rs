//! What a person sees: lines on standard output, progress and complaints on standard error.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use fondaco_agent::progress::{Progress, Stage};
use fondaco_units::Bytes;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// The most problems that are remembered for the report at the end.
const PROBLEMS_MAX: usize = 1000;

static PROBLEMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Sets up logging, and quiet panics for threads of the backup library, which [`Progress`] reports.
pub(crate) fn start(verbose: u8) {
    let filter = match verbose {
        0 => "error,fondaco_gateway=warn,iroh=off,noq=off",
        1 => {
            "warn,fondaco=info,fondaco_issuer=info,fondaco_storage_host=info,fondaco_agent=info,fondaco_gateway=info,fondaco_transport=info"
        }
        _ => {
            "info,fondaco=debug,fondaco_issuer=debug,fondaco_storage_host=debug,fondaco_agent=debug,fondaco_gateway=debug,fondaco_transport=debug"
        }
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if log::set_logger(&Collector).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The restore of the backup library unwraps errors of disk and market in its threads. Each is
        // caught and told as an error by the agent, so the raw text would only be in the way.
        let file = panic.location().map_or("", std::panic::Location::file);
        if !file.contains("rustic_core") {
            usual(panic);
        }
    }));
}

/// Collects the warnings of the backup library: files it could not read, above all.
struct Collector;

impl log::Log for Collector {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn && metadata.target().starts_with("rustic_core")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Ok(mut problems) = PROBLEMS.lock()
            && problems.len() < PROBLEMS_MAX
        {
            problems.push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Writes a line to standard output. A closed pipe is not our failure.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Writes a line to standard error.
pub(crate) fn complain(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Shows progress as a bar on a terminal, and nothing elsewhere.
#[derive(Debug)]
pub(crate) struct Bars {
    shown: bool,
}

impl Bars {
    pub(crate) fn new(shown: bool) -> Arc<Self> {
        Arc::new(Self { shown })
    }
}

impl Progress for Bars {
    fn begin(&self, title: &str) -> Arc<dyn Stage> {
        let target =
            if self.shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = "{msg:24} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(title.trim_end_matches('.').to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Arc::new(Bar(bar))
    }

    fn problems(&self) -> Vec<String> {
        PROBLEMS.lock().map(|mut problems| std::mem::take(&mut *problems)).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Bar(ProgressBar);

impl Stage for Bar {
    fn set_length(&self, bytes: u64) {
        self.0.set_length(bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// A bar of bytes that are copied, with rate and time left; nothing where nobody looks.
pub(crate) struct BytesBar(ProgressBar);

/// Shows a bar of bytes, unless the output is for scripts.
pub(crate) fn bytes_bar(what: &'static str, json: bool) -> BytesBar {
    let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = "{msg} {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(what);
    BytesBar(bar)
}

impl BytesBar {
    pub(crate) fn at(&self, done: Bytes, all: Bytes) {
        self.0.set_length(all.get());
        self.0.set_position(done.get());
    }

    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}
