//! A PostgreSQL server of our own: made, started, stopped and taken away by this program.

use std::{
    env, fs, io,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Signal, geteuid};

use crate::{
    leftovers::{self, Folder, Started},
    processes,
};

/// The one user of the server.
pub(crate) const USER: &str = "bench";

/// The variable that names the folder of `initdb` and `postgres`; `cargo xtask bench` sets it.
const PROGRAMS: &str = "FONDACO_POSTGRES";

/// How long the server may take to start.
const START_MAX: Duration = Duration::from_secs(60);

/// What differs from the defaults: memory for all of the data, a log that is not cut short during a run, and no replicas
/// to write for. Durability is as it is by default, and written down.
const SETTINGS: &str = "
listen_addresses = ''
max_connections = 64
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 1GB
work_mem = 64MB
maintenance_work_mem = 256MB
wal_level = minimal
max_wal_senders = 0
wal_buffers = 64MB
min_wal_size = 4GB
max_wal_size = 16GB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
jit = off
";

/// A server; stopped and taken away when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    // In this order: the folders go when the server has stopped.
    server: Started,
    socket: Folder,
    folder: Folder,
}

/// Whom the server runs as; it refuses to be root.
#[derive(Clone, Copy)]
struct Unprivileged {
    user: u32,
    group: u32,
}

impl Cluster {
    /// Makes a server beside the build, on the disk that has our journals too.
    ///
    /// # Errors
    ///
    /// Why it cannot be had here.
    pub(crate) fn start() -> Result<Self, String> {
        let programs = env::var_os(PROGRAMS).map(PathBuf::from);
        let programs =
            programs.ok_or_else(|| format!("{PROGRAMS} is not set. Hint: cargo xtask bench"))?;
        let who = if geteuid().is_root() { Some(unprivileged()?) } else { None };
        let program = env::current_exe().map_err(|error| error.to_string())?;
        let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
        stop_left_over(&target.join("postgres/data/postmaster.pid"));
        let folder = own(target.join("postgres"), who)?;
        // A socket's path has 107 bytes at most: the build may be too deep for it.
        let socket = format!("fondaco-postgres-{}", std::process::id());
        let socket = own(env::temp_dir().join(socket), who)?;
        let data = folder.file("data");
        let command = |name: &str| {
            let mut command = Command::new(programs.join(name));
            if let Some(Unprivileged { user, group }) = who {
                command.uid(user).gid(group);
            }
            command.arg("-D").arg(&data).current_dir(folder.path()).stdin(Stdio::null());
            command
        };
        let mut init = command("initdb");
        init.args(["--username", USER, "--auth=trust", "--no-locale", "--encoding=UTF8"]);
        let init = init.output().map_err(|error| format!("initdb: {error}"))?;
        if !init.status.success() {
            return Err(format!("initdb: {}", String::from_utf8_lossy(&init.stderr).trim()));
        }
        let settings = data.join("postgresql.conf");
        let read = fs::read_to_string(&settings).map_err(|error| error.to_string())?;
        let sockets = format!("unix_socket_directories = '{}'\n", socket.path().display());
        fs::write(&settings, read + SETTINGS + &sockets).map_err(|error| error.to_string())?;
        let log = fs::File::create(folder.file("log")).map_err(|error| error.to_string())?;
        let mut server = command("postgres");
        server.stdout(Stdio::null()).stderr(log);
        // An interrupt is its *fast shutdown*: it ends its connections, and leaves its files in order.
        let server = server.spawn().map_err(|error| format!("postgres: {error}"))?;
        let mut cluster = Self { server: Started::new(server, Signal::INT), socket, folder };
        cluster.wait()?;
        Ok(cluster)
    }

    fn wait(&mut self) -> Result<(), String> {
        let since = Instant::now();
        let pid = self.folder.file("data").join("postmaster.pid");
        loop {
            // It says so on the eighth line.
            let said = fs::read_to_string(&pid).unwrap_or_default();
            if said.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            let ended = self.server.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || since.elapsed() > START_MAX {
                let log = fs::read_to_string(self.folder.file("log")).unwrap_or_default();
                return Err(format!("postgres did not start: {}", log.trim()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where its socket is.
    pub(crate) fn socket_folder(&self) -> &Path {
        self.socket.path()
    }

    /// The CPU time of all its processes so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        processes::cpu_seconds(self.server.child.id())
    }
}

/// Ends the server that a killed benchmark left behind: it would write into the new one's files.
fn stop_left_over(pid: &Path) {
    let said = fs::read_to_string(pid).unwrap_or_default();
    let Some(pid) = said.lines().next().and_then(|line| line.trim().parse().ok()) else { return };
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if program.trim() == "postgres" {
        leftovers::end(pid, Signal::INT);
    }
}

/// The first of the users that are there for this.
fn unprivileged() -> Result<Unprivileged, String> {
    let users = fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let find = |wanted: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut fields = line.split(':').skip(2).map(|field| field.parse().ok());
        Some(Unprivileged { user: fields.next()??, group: fields.next()?? })
    };
    let found = find("postgres").or_else(|| find("nobody"));
    found.ok_or_else(|| {
        "it refuses to run as root, and there is no user postgres or nobody".to_owned()
    })
}

/// Makes an empty folder that the server may write.
fn own(path: PathBuf, who: Option<Unprivileged>) -> Result<Folder, String> {
    let folder = Folder::at(path);
    let given: io::Result<()> = who.map_or(Ok(()), |Unprivileged { user, group }| {
        chown(folder.path(), Some(user), Some(group))
    });
    given.map_err(|error| format!("{}: {error}", folder.path().display()))?;
    Ok(folder)
}
