//! Run a part of this program in a process of its own, and read what the system says of a process.

use std::{
    env, fs,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use crate::leftovers::Started;

/// The word that makes this program run one part of itself.
pub(crate) const INSIDE: &str = "--inside";

/// The time of one tick in `/proc/PID/stat`: a hundredth of a second in every Linux that programs can see.
const TICK_SECONDS: f64 = 0.01;

/// How often a process is looked at while it runs: what its memory grows by in its last moment is not seen.
const LOOK: Duration = Duration::from_millis(5);

/// What a process took from its start to its end.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    /// In seconds.
    pub(crate) wall: f64,
    /// In seconds, user and system.
    pub(crate) cpu: f64,
    /// The most memory that it had in use, in bytes.
    pub(crate) peak: f64,
}

/// Runs a program to its end; an interrupt of this one ends it too.
pub(crate) fn run(command: &mut Command) -> (ExitStatus, Used) {
    let since = Instant::now();
    let mut process = Started::new(command.spawn().expect("it starts"), Signal::INT);
    let pid = process.child.id();
    let id = Pid::from_child(&process.child);
    let mut peak = 0.0;
    loop {
        peak = f64::max(peak, memory_of(&pid.to_string()).1);
        // Not waited for: what a process took can be read until it is.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if waitid(WaitId::Pid(id), look).expect("it is our child").is_some() {
            break;
        }
        thread::sleep(LOOK);
    }
    let used = Used { wall: since.elapsed().as_secs_f64(), cpu: cpu_seconds(pid), peak };
    (process.child.wait().expect("it has ended"), used)
}

/// Prepares to run this part in a process of its own; its standard output is read.
pub(crate) fn inside(part: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::current_exe().expect("a program has a path"));
    command.arg(INSIDE).arg(part).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Runs this part in a process of its own to its end; the numbers that it printed, by name.
pub(crate) fn numbers(part: &str, arguments: &[&str]) -> Vec<(String, f64)> {
    let output = inside(part, arguments).output().expect("this program starts");
    assert!(output.status.success(), "{part}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let read = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(read).collect()
}

/// What was printed under a name.
pub(crate) fn number(numbers: &[(String, f64)], name: &str) -> f64 {
    let found = numbers.iter().find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("the process did not say its {name}")).1
}

/// Prints a number for [`numbers`].
#[allow(clippy::print_stdout, reason = "the process that started this one reads it")]
pub(crate) fn say(name: &str, value: f64) {
    println!("{name} {value}");
}

/// Returns the memory of this process that is in use now, and the most that ever was, in bytes.
pub(crate) fn memory() -> (f64, f64) {
    memory_of("self")
}

/// Returns the same of any process; no number of one that is gone.
pub(crate) fn memory_of(pid: &str) -> (f64, f64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    let bytes = |name| kib(name).unwrap_or(f64::NAN) * 1024.0;
    (bytes("VmRSS:"), bytes("VmHWM:"))
}

/// Returns the CPU time that a process and its children, living and dead, have used so far, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let read = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let own = |stat: &str, dead_children: bool| -> f64 {
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        // utime, stime, and those of children that were waited for: fields 14 to 17, the state being the third.
        let fields = fields.get(11..if dead_children { 15 } else { 13 }).unwrap_or_default();
        fields.iter().filter_map(|field| field.parse::<f64>().ok()).sum()
    };
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let living: f64 = children.split_whitespace().map(|child| own(&read(child), true)).sum();
    (own(&read(&pid.to_string()), true) + living) * TICK_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_this_process() {
        let (now, most) = memory();
        assert!(now > 0.0 && most >= now);
        assert!(cpu_seconds(std::process::id()) >= 0.0);
    }

    #[test]
    fn what_a_process_took_is_known_at_its_end() {
        let mut busy = Command::new("sh");
        busy.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 3"]);
        let (status, used) = run(&mut busy);
        assert_eq!(status.code(), Some(3));
        assert!(used.cpu > 0.0 && used.cpu < used.wall + 2.0 * TICK_SECONDS, "{}", used.cpu);
        assert!(used.peak > 0.0);
    }
}
