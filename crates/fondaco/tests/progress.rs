//! What a person sees of work that takes a while: on a terminal, and nowhere else.

mod market;
mod parts;

use market::{Market, Noise, market};
use parts::{compare, failure, world};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};

/// What a command wrote.
struct Said {
    stdout: String,
    /// To its terminal, with all that moves the cursor.
    terminal: String,
}

fn command(market: &Market, more: &[&str], args: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
    command.arg("--home").arg(market.world.home("buyer")).args(more).args(args);
    command.env("TERM", "xterm").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// Runs a command of the buyer with a terminal as its standard error.
fn on_terminal(market: &Market, more: &[&str], args: &[String]) -> Said {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let place = OsStr::from_bytes(name.as_bytes());
    let terminal = File::options().read(true).write(true).open(place).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    let mut command = command(market, more, args);
    let child = command.stdout(Stdio::piped()).stderr(terminal).spawn().unwrap();
    // Ours is the last copy now, beside the child's.
    drop(command);
    let reading = std::thread::spawn(move || {
        let (mut master, mut bytes) = (File::from(master), Vec::new());
        // A terminal that nobody has open any more ends in an error.
        let _ = master.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let output = child.wait_with_output().unwrap();
    let terminal = reading.join().unwrap();
    assert!(output.status.success(), "{terminal}");
    Said { stdout: String::from_utf8(output.stdout).unwrap(), terminal }
}

/// Whether a text is a bar of bytes with rate, time left and money spent.
fn is_bar_of(text: &str, title: &str) -> bool {
    text.starts_with(title)
        && text.contains("B/s")
        && text.contains(" left")
        && text.contains("TST")
}

/// What is shown of a bar each time that it is drawn.
fn drawn(terminal: &str) -> Vec<&str> {
    terminal.split(['\r', '\n']).map(|text| text.trim_start_matches("\u{1b}[2K")).collect()
}

/// Sees that a bar was there, and that nothing of any is left at the end.
fn appears_and_ends(said: &Said, title: &str) {
    let Said { terminal, stdout } = said;
    assert!(drawn(terminal).iter().any(|text| is_bar_of(text, title)), "{title}: {terminal:?}");
    let last_bar = terminal.rfind(" left").unwrap();
    let cleared = terminal.rfind("\u{1b}[2K").unwrap();
    assert!(cleared > last_bar, "the last bar is wiped away: {terminal:?}");
    assert_eq!(terminal[cleared + 4..].trim(), "", "{terminal:?}");
    assert!(!stdout.contains("B/s") && !stdout.contains('\u{1b}'), "{stdout}");
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_for_terminals_and_leaves_nothing_behind() {
    let market = market(5).await;
    market.write_noise(16);
    let create = market.create_args(&[]);
    let said = on_terminal(&market, &[], &create);
    appears_and_ends(&said, "backing up");
    assert!(said.stdout.contains("Snapshot"), "{}", said.stdout);

    let to = market.world.home("restored");
    let to = to.to_str().unwrap();
    let restore = words(&["backup", "restore", "latest", "--no-cache", "--to", to]);
    let check = words(&["backup", "check", "--read-data", "--no-cache"]);
    appears_and_ends(&on_terminal(&market, &[], &restore), "restoring file contents");
    appears_and_ends(&on_terminal(&market, &[], &check), "reading pack data");

    // Not where nobody looks, and not among lines for scripts.
    market.write_noise(17);
    for args in [&create, &restore, &check] {
        let output = command(&market, &[], args).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && told.is_empty(), "{told}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(!stdout.contains("B/s") && !stdout.contains('\u{1b}'), "{stdout}");
    }
    // What takes no second is not told of.
    market.write_noise(40);
    let mut told = 0;
    for args in [&create, &restore, &check] {
        let said = on_terminal(&market, &["--json"], args);
        assert_eq!(said.terminal, "");
        for line in said.stdout.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            if line["event"] == "progress" && line["done"].is_u64() {
                let spent: f64 = line["spent"].as_str().unwrap().parse().unwrap();
                assert!(spent >= 0.0 && line["currency"] == "TST", "{line}");
                told += 1;
            }
        }
    }
    assert!(told > 0, "nothing was told of 160 MiB that were sent, and read twice");

    // Ctrl-C is answered, and the same command goes on.
    let more: Vec<u8> = Noise::new().bytes(160 << 20).iter().map(|byte| !byte).collect();
    std::fs::write(market.source.join("more"), more).unwrap();
    let mut child = command(&market, &["--json"], &create).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("backing up")), "it ended before it told of anything");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let last: serde_json::Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
    assert_eq!((child.wait().unwrap().code(), &last["code"]), (Some(130), &130.into()), "{last}");
    assert!(last["error"].as_str().unwrap().contains("what was stored by now stays"), "{last}");
    assert!(last["hint"].as_str().unwrap().contains("goes on from there"), "{last}");
    market.world.run("buyer", create.clone()).await.unwrap();
    market.world.end().await;
}

/// By itself: who read all of it so often has holds that are used up.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_shows_what_it_spends() {
    let mut market = market(5).await;
    market.write_noise(16);
    on_terminal(&market, &[], &market.create_args(&[]));
    market.world.kill("host-1").await.unwrap();
    let fresh = market.fresh_host("fresh").await;
    let repair = words(&["backup", "repair", "--now", "--host", &fresh]);
    let said = on_terminal(&market, &[], &repair);
    appears_and_ends(&said, "repairing");
    let spends = |text: &&str| is_bar_of(text, "repairing") && !text.contains(" 0.000000 TST");
    assert!(drawn(&said.terminal).iter().any(spends), "{:?}", said.terminal);
    market.world.end().await;
}
