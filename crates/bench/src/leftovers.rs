//! What must not stay behind when this program is ended by a signal: folders, and processes that it started.
#![allow(clippy::exit, reason = "a signal leaves nothing to return to")]

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

static LEFT: Mutex<Vec<Left>> = Mutex::new(Vec::new());

/// How long a process may take to end when it is asked to.
const END_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq)]
enum Left {
    Folder(PathBuf),
    Process { pid: u32, by: Signal },
}

/// From now on, an interrupt or a request to end takes away what is left, then ends this program.
pub(crate) fn go_with_a_signal() {
    thread::spawn(|| {
        let runtime = runtime::Builder::new_current_thread().enable_io().build();
        let Ok(runtime) = runtime else { return };
        let signalled = runtime.block_on(async {
            let (mut interrupt, mut end) =
                (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = end.recv() => {}
            }
            Ok::<_, io::Error>(())
        });
        if signalled.is_ok() {
            clear();
            process::exit(130);
        }
    });
}

/// Ends processes first, the latest first: they write into the folders.
fn clear() {
    let left: Vec<Left> = LEFT.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
    for each in left.iter().rev() {
        if let Left::Process { pid, by } = each {
            end(*pid, *by);
        }
    }
    for each in left.iter().rev() {
        if let Left::Folder(path) = each {
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn note(left: Left) {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(left);
}

fn forget(left: &Left) {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).retain(|each| each != left);
}

/// Asks a process to end, and waits until it has.
pub(crate) fn end(pid: u32, by: Signal) {
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    if kill_process(id, by).is_err() {
        return;
    }
    let since = Instant::now();
    while runs(pid) && since.elapsed() < END_MAX {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is there that is not a dead child.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which may have brackets and spaces in it.
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// A process that this one started; it is ended when it is dropped, or when a signal ends this one.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: process::Child,
    left: Left,
}

impl Started {
    /// Keeps `child`, which ends in good order when it gets the signal `by`.
    pub(crate) fn new(child: process::Child, by: Signal) -> Self {
        let left = Left::Process { pid: child.id(), by };
        note(left.clone());
        Self { child, left }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Left::Process { pid, by } = self.left {
            end(pid, by);
        }
        let _ = self.child.wait();
        forget(&self.left);
    }
}

/// A folder beside this program, on the disk that has it, which goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    left: Left,
}

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let program = env::current_exe().expect("a program has a path");
        Self::at(program.with_file_name(format!("bench-{name}-{}", process::id())))
    }

    /// Makes a folder here, empty.
    pub(crate) fn at(path: PathBuf) -> Self {
        let left = Left::Folder(path.clone());
        note(left.clone());
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder that can be made");
        Self { path, left }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        forget(&self.left);
    }
}
