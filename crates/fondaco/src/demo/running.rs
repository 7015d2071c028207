//! What `--keep` leaves: every service goes on, as a process that nobody holds any more.
//!
//! While the demo runs, each service ends with it. So they are stopped in good order, and started again at their
//! sockets, free of it; until all are ready, they are still stopped with it.

use super::Demo;
use crate::failure::{Failure, io};
use crate::screen::say;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Processes that are killed when this is dropped, unless they are let go.
#[derive(Default)]
struct Freed(Vec<Child>);

impl Freed {
    fn let_go(mut self) {
        self.0.clear();
    }
}

impl Drop for Freed {
    fn drop(&mut self) {
        for child in &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Demo<'_> {
    pub(super) async fn leave_running(&mut self) -> Result<(), Failure> {
        self.step("every service starts again, and goes on without the demo");
        // The issuer was stopped to have its books looked at; the others need it.
        let socket = self.issuer.rsplit('@').next().unwrap_or_default().to_owned();
        let mut services = vec![(
            "issuer".to_owned(),
            ["issuer", "up", "--listen", &socket].map(OsString::from).to_vec(),
        )];
        for (who, mut args) in self.world.running() {
            let address = self.world.address(&who).unwrap_or_default();
            let socket = address.rsplit('@').next().unwrap_or_default().to_owned();
            if let Some(listen) = args.iter().position(|arg| arg == "--listen")
                && let Some(at) = args.get_mut(listen + 1)
            {
                *at = socket.into();
            }
            services.push((who, args));
        }
        let mut freed = Freed::default();
        for (who, args) in services {
            self.world.stop(&who).await;
            let home = self.world.home(&who);
            let log = home.join("log");
            let file = File::create(&log).map_err(|error| io("write", &log, &error))?;
            let errors = file.try_clone().map_err(|error| io("write", &log, &error))?;
            let child = Command::new(self.world.program())
                .arg("--home")
                .arg(&home)
                .arg("--json")
                .args(args)
                .stdin(Stdio::null())
                .stdout(file)
                .stderr(errors)
                // Ctrl-C in this terminal is not for it.
                .process_group(0)
                .spawn()
                .map_err(|error| Failure::new(format!("cannot start {who}: {error}")))?;
            freed.0.push(child);
            wait_until_ready(&who, &log).await?;
        }
        let pids: Vec<String> = freed.0.iter().map(|child| child.id().to_string()).collect();
        let (top, list) = (self.world.path().to_owned(), self.world.path().join("pids"));
        std::fs::write(&list, pids.join("\n") + "\n")
            .map_err(|error| io("write", &list, &error))?;
        freed.let_go();
        let fondaco = self.world.program().display();
        let home = |who: &str| self.world.home(who).display().to_string();
        say(&format!(
            "   {} processes run, each with its log in its folder below {}",
            pids.len(),
            top.display()
        ));
        say("   Their contracts have ended and were paid, so begin with a backup:");
        let (buyer, seller) = (home("buyer"), home(self.hosts.last().map_or("", |(name, _)| name)));
        for (as_whom, words) in [
            (&buyer, "offers"),
            (&buyer, "backup create FOLDER --survive 0.999"),
            (&buyer, "backup list"),
            (&buyer, "audit"),
            (&buyer, "balance"),
            (&seller, "status"),
        ] {
            say(&format!("      {fondaco} --home {as_whom} {words}"));
        }
        say("   Stop them all, and remove what they wrote, with");
        say(&format!("      xargs kill < {}; rm -r {}", list.display(), top.display()));
        Ok(())
    }
}

async fn wait_until_ready(who: &str, log: &Path) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let said = std::fs::read_to_string(log).map_err(|error| io("read", log, &error))?;
        if said.contains("\"ready\"") {
            return Ok(());
        }
        if said.contains("\"error\"") || began.elapsed() > READY_TIMEOUT {
            return Err(Failure::new(format!("{who} does not start again: {}", said.trim())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
