//! What a person sees: lines on standard output, progress and complaints on standard error.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the one place that prints")]

use crate::failure::Failure;
use crate::home::CurrencyConfig;
use fondaco_agent::is_of_cache;
use fondaco_agent::progress::{Progress, Quiet, Stage};
use fondaco_units::{Amount, Bytes};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, WeakProgressBar};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::EnvFilter;

/// The most problems that are remembered for the report at the end.
const PROBLEMS_MAX: usize = 1000;

static PROBLEMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Why the first thread of the backup library gave up.
static GAVE_UP: Mutex<Option<String>> = Mutex::new(None);

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
            return usual(panic);
        }
        // Whichever of its threads is caught may be one that found the lock of the first broken.
        if let Some(text) = panic.payload_as_str()
            && !text.contains("PoisonError")
        {
            let mut gave_up = GAVE_UP.lock().unwrap_or_else(PoisonError::into_inner);
            gave_up.get_or_insert_with(|| text.to_owned());
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
            let told = record.args().to_string();
            // A full cache is told of for each thing that is not in it, and would leave no room for what is missing.
            if !(is_of_cache(&told) && problems.iter().any(|other| is_of_cache(other))) {
                problems.push(told);
            }
        }
    }

    fn flush(&self) {}
}

/// The first reason why a line could not be written to standard output.
static UNWRITTEN: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Writes a line to standard output. One that cannot be written is no reason to stop halfway: [`heard`] tells at the end.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        let mut unwritten = UNWRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
        unwritten.get_or_insert(error);
    }
}

/// Whether all that was said so far could be written. What was not must not be taken for told.
pub(crate) fn is_heard() -> bool {
    UNWRITTEN.lock().unwrap_or_else(PoisonError::into_inner).is_none()
}

/// Whether standard output was closed when the program began. Its runtime then puts a `/dev/null` there that is open for
/// reading, too; that of a shell's `>/dev/null`, which asks for nothing to be shown, is open for writing alone.
pub(crate) fn is_closed() -> bool {
    use rustix::fs::{OFlags, fcntl_getfl, fstat, stat};
    let out = std::io::stdout();
    let (Ok(there), Ok(null), Ok(flags)) = (fstat(&out), stat("/dev/null"), fcntl_getfl(&out))
    else {
        return false;
    };
    let is_null = (there.st_mode, there.st_rdev) == (null.st_mode, null.st_rdev);
    is_null && flags.contains(OFlags::RDWR)
}

/// Fails where what was said could not be written. Who closed the pipe wanted no more of it: that is no failure.
pub(crate) fn heard() -> Result<(), Failure> {
    match &*UNWRITTEN.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output cannot be written to: {error}")).hint(
                "what was asked for may be done all the same; what could not be shown counts as not told: run it again",
            ))
        }
        Some(_) | None => Ok(()),
    }
}

/// Says how many things there are: `1 error`, `2 errors`.
pub(crate) fn counted(number: impl TryInto<u64>, thing: &str) -> String {
    counted_as(number, thing, &format!("{thing}s"))
}

/// The same where more than one are not the one with an s.
pub(crate) fn counted_as(number: impl TryInto<u64>, one: &str, many: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A stranger's words, without what would move the cursor.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Writes a line to standard error.
pub(crate) fn complain(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// How long lines of progress in JSON are apart.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Tells what was spent so far, and the symbol of its currency; or nothing.
pub(crate) type Spent = Arc<dyn Fn() -> Option<(String, String)> + Send + Sync>;

/// Shows progress with rate, time left and money spent: as a bar on a terminal, as a line of JSON each second, and as
/// nothing elsewhere.
pub(crate) struct Bars {
    json: bool,
    spent: Spent,
    /// What the work itself says that it spent.
    told: Arc<AtomicU64>,
}

impl Bars {
    pub(crate) fn new(json: bool, spent: Spent) -> Arc<Self> {
        Arc::new(Self { json, spent, told: Arc::default() })
    }

    /// Shows of the money what the work tells.
    pub(crate) fn told(json: bool, currency: CurrencyConfig) -> Arc<Self> {
        let told = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&told);
        let spent: Spent = Arc::new(move || {
            let spent = Amount::new(heard.load(Ordering::Relaxed));
            Some((currency.plain(spent), currency.symbol.clone()))
        });
        Arc::new(Self { json, spent, told })
    }

    fn bar(&self, title: &str, style: &str) -> Arc<dyn Stage> {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let spent = Arc::clone(&self.spent);
        let write = move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
            let spent = spent().map(|(sum, symbol)| format!("{sum} {symbol}"));
            let _ = to.write_str(&spent.unwrap_or_default());
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.with_key("spent", write));
        }
        bar.set_message(title.trim_end_matches('.').to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|bar| bar.upgrade().is_some());
        shown.push(bar.downgrade());
        Arc::new(Bar { bar, told: Arc::clone(&self.told) })
    }
}

/// The bars that there are.
static SHOWN: Mutex<Vec<WeakProgressBar>> = Mutex::new(Vec::new());

/// Takes the bars away of work that nobody waits for any more: it goes on in its thread until the process ends, and would draw over
/// what is said last.
pub(crate) fn clear_bars() {
    let shown = std::mem::take(&mut *SHOWN.lock().unwrap_or_else(PoisonError::into_inner));
    shown.iter().filter_map(WeakProgressBar::upgrade).for_each(|bar| bar.finish_and_clear());
}

impl std::fmt::Debug for Bars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bars").field("json", &self.json).finish_non_exhaustive()
    }
}

impl Progress for Bars {
    fn begin(&self, title: &str) -> Arc<dyn Stage> {
        if self.json {
            return Arc::new(Lines::new(title, Arc::clone(&self.spent), Arc::clone(&self.told)));
        }
        let style = "{msg:24} {bar:24} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {spent}";
        self.bar(title, style)
    }

    fn begin_steps(&self, title: &str) -> Arc<dyn Stage> {
        if self.json || title.is_empty() {
            return Arc::new(Quiet);
        }
        self.bar(title, "{msg:24} {pos}  {elapsed}  {spent}")
    }

    fn problems(&self) -> Vec<String> {
        PROBLEMS.lock().map(|mut problems| std::mem::take(&mut *problems)).unwrap_or_default()
    }

    fn gave_up(&self) -> Option<String> {
        GAVE_UP.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    told: Arc<AtomicU64>,
}

impl Stage for Bar {
    fn set_length(&self, count: u64) {
        self.bar.set_length(count);
    }

    fn advance(&self, count: u64) {
        self.bar.inc(count);
    }

    fn spent(&self, amount: Amount) {
        self.told.store(amount.get(), Ordering::Relaxed);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Progress in bytes for scripts.
struct Lines {
    title: String,
    spent: Spent,
    began: Instant,
    told: Mutex<Instant>,
    all: AtomicU64,
    done: AtomicU64,
    heard: Arc<AtomicU64>,
}

impl Lines {
    fn new(title: &str, spent: Spent, heard: Arc<AtomicU64>) -> Self {
        let (title, began) = (title.trim_end_matches('.').to_owned(), Instant::now());
        let (all, done) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { title, spent, began, told: Mutex::new(began), all, done, heard }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("title", &self.title).finish_non_exhaustive()
    }
}

impl Stage for Lines {
    fn set_length(&self, count: u64) {
        self.all.store(count, Ordering::Relaxed);
    }

    #[allow(clippy::cast_precision_loss, reason = "for people")]
    fn advance(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        let Ok(mut told) = self.told.try_lock() else { return };
        if told.elapsed() < TOLD_EVERY {
            return;
        }
        *told = Instant::now();
        let all = self.all.load(Ordering::Relaxed);
        let rate = done as f64 / self.began.elapsed().as_secs_f64();
        let left = all.checked_sub(done).filter(|_| rate > 0.0).map(|left| left as f64 / rate);
        let (spent, currency) = (self.spent)().unzip();
        let line = serde_json::json!({
            "event": "progress", "what": self.title, "done": done, "bytes": all, "bytes_per_second": rate.round(),
            "seconds_left": left.map(f64::round), "spent": spent, "currency": currency,
        });
        say(&line.to_string());
    }

    fn spent(&self, amount: Amount) {
        self.heard.store(amount.get(), Ordering::Relaxed);
    }

    fn finish(&self) {}
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

/// A bar of things that are done one by one, shown when it takes over a second; nothing where nobody looks.
pub(crate) struct CountBar {
    bar: ProgressBar,
    json: bool,
}

/// Makes a bar of `all` things, which nobody sees yet.
pub(crate) fn count_bar(what: &'static str, all: usize, json: bool) -> CountBar {
    let bar = ProgressBar::with_draw_target(Some(all as u64), ProgressDrawTarget::hidden());
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}  {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    CountBar { bar, json }
}

impl CountBar {
    /// Works, and shows the bar from the second second on.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let done = tokio::time::timeout(Duration::from_secs(1), work.as_mut()).await;
        let done = match done {
            Ok(done) => done,
            Err(_) => {
                if !self.json {
                    self.bar.set_draw_target(ProgressDrawTarget::stderr());
                    self.bar.enable_steady_tick(Duration::from_millis(200));
                }
                work.await
            }
        };
        self.bar.finish_and_clear();
        done
    }

    /// One more is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }
}
