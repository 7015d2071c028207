//! Run a command, say which, and say what became of it.
//!
//! A child never reads standard input, so that nothing here can wait for a person.

use std::{
    fmt,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::workspace::root;

/// A command that did not end well.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The command as a person would type it at the root of the workspace.
    pub(crate) command: String,
    /// How it ended.
    pub(crate) why: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.command, self.why)
    }
}

/// Reads a command from `line`: words between spaces, and before them any `NAME=value` for its environment.
///
/// There is no quoting; a word with a space in it is added with [`Command::arg`].
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace().peekable();
    let mut environment = Vec::new();
    while let Some(setting) = words.next_if(|word| word.contains('=')) {
        environment.extend(setting.split_once('='));
    }
    let mut command = Command::new(words.next().unwrap_or("true"));
    command.args(words).envs(environment).current_dir(root()).stdin(Stdio::null());
    // `cargo run` tells us about the package xtask. A build script that watches these names (ring's does)
    // would run again at each change between `cargo build` and `cargo xtask`.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Shows `command` and runs it to its end, with its output on ours; returns how long it took.
pub(crate) fn run(mut command: Command) -> Result<Duration, Failed> {
    let started = Instant::now();
    println!("    $ {}", written(&command));
    match command.status() {
        Ok(status) if status.success() => Ok(started.elapsed()),
        Ok(status) => Err(failed(&command, format!("ended with {status}"))),
        Err(error) => Err(failed(&command, format!("did not start: {error}"))),
    }
}

/// Runs `command` unseen and returns its standard output.
pub(crate) fn output(mut command: Command) -> Result<String, Failed> {
    match command.output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(output) => Err(failed(&command, last_words(&output))),
        Err(error) => Err(failed(&command, format!("did not start: {error}"))),
    }
}

/// Runs `command` unseen, and ends it when it takes longer than `limit`.
pub(crate) fn within(limit: Duration, mut command: Command) -> Result<(), Failed> {
    let started = Instant::now();
    let mut child = match command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return Err(failed(&command, format!("did not start: {error}"))),
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                let said = child.wait_with_output();
                let why =
                    said.map_or_else(|_| format!("ended with {status}"), |it| last_words(&it));
                return Err(failed(&command, why));
            }
            Ok(None) if started.elapsed() < limit => std::thread::sleep(Duration::from_millis(50)),
            Ok(None) => {
                let ended = child.kill().and_then(|()| child.wait());
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(failed(&command, format!("took over {} s ({how})", limit.as_secs())));
            }
            Err(error) => return Err(failed(&command, format!("was lost: {error}"))),
        }
    }
}

fn failed(command: &Command, why: String) -> Failed {
    Failed { command: written(command), why }
}

/// How a command ended, and the last line it said about that.
fn last_words(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.trim().lines().last().unwrap_or("it said nothing").trim();
    format!("ended with {}: {last}", output.status)
}

/// The command as a person would type it, with its own settings of the environment in front.
fn written(command: &Command) -> String {
    let settings = command.get_envs().filter_map(|(name, value)| {
        Some(format!("{}={}", name.to_string_lossy(), quoted(&value?.to_string_lossy())))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    settings.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_as_it_is_read() {
        let line = "RUSTDOCFLAGS=-Dwarnings cargo doc --workspace";
        assert_eq!(written(&command(line)), line);
    }

    #[test]
    fn a_word_that_the_shell_would_split_is_quoted() {
        let mut echo = command("echo");
        echo.arg("it's one word").arg("");
        assert_eq!(written(&echo), r"echo 'it'\''s one word' ''");
    }

    #[test]
    fn a_failure_names_its_command() {
        let failed = output(command("cargo --no-such-option")).unwrap_err();
        assert_eq!(failed.command, "cargo --no-such-option");
    }

    #[test]
    fn a_failure_says_its_last_words() {
        let mut speak = command("sh -c");
        speak.arg("echo first >&2; echo last >&2; exit 3");
        let failed = within(Duration::from_secs(30), speak).unwrap_err();
        assert_eq!(failed.why, "ended with exit status: 3: last");
    }

    #[test]
    fn a_slow_command_is_ended() {
        let failed = within(Duration::from_millis(100), command("sleep 30")).unwrap_err();
        assert!(failed.why.starts_with("took over"), "{failed}");
    }
}
