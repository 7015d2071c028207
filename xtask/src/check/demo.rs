//! Run `fondaco demo` as a newcomer would, on a folder with everything in it that backups get wrong.
//!
//! Once as it is, and once in a network namespace with nothing but loopback: the demo's promise is that it
//! needs no server, no account and no network.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
};

use super::{COMMAND, Done};
use crate::{
    shell::{self, Failed},
    workspace::Workspace,
};

/// What follows the program's name on the command line, before the folder.
const ARGUMENTS: [&str; 1] = ["demo"];

/// How much of the folder is pseudo-random.
const RANDOM_BYTES: usize = 3 << 20;

/// How long the sparse file is; almost none of it is stored.
const SPARSE_BYTES: u64 = 16 << 20;

/// Brings loopback up inside a new namespace, then becomes the command that follows.
const LOOPBACK_BY_IP: &str = "ip link set lo up && exec \"$0\" \"$@\"";

/// The same where there is no `ip`: SIOCSIFFLAGS with IFF_UP and IFF_RUNNING.
const LOOPBACK_BY_PYTHON: &str = "python3 -c 'import fcntl, socket, struct; \
    fcntl.ioctl(socket.socket(), 0x8914, struct.pack(\"16sH22x\", b\"lo\", 0x41))' \
    && exec \"$0\" \"$@\"";

/// The demo with whatever network there is.
pub(super) fn step(workspace: &Workspace) -> Result<Done, Failed> {
    let Some(program) = program(workspace)? else { return Ok(super::not_yet()) };
    let folder = sample(workspace)?;
    let mut demo = shell::command(&program.to_string_lossy());
    demo.args(ARGUMENTS).arg(folder);
    shell::run(demo).map(|_| Done::Passed)
}

/// The demo with no network but loopback.
pub(super) fn step_offline(workspace: &Workspace) -> Result<Done, Failed> {
    let Some(program) = program(workspace)? else { return Ok(super::not_yet()) };
    if let Err(failed) = shell::output(shell::command("unshare -rn true")) {
        return Ok(Done::Skipped { why: failed.to_string() });
    }
    let folder = sample(workspace)?;
    let mut demo = offline()?;
    demo.arg(program).args(ARGUMENTS).arg(folder);
    shell::run(demo).map(|_| Done::Passed)
}

/// A command that runs the words added to it in a namespace with loopback alone.
fn offline() -> Result<Command, Failed> {
    let works = |line: &str| shell::output(shell::command(line)).is_ok();
    let script = if works("ip -V") {
        LOOPBACK_BY_IP
    } else if works("python3 --version") {
        LOOPBACK_BY_PYTHON
    } else {
        shell::run(shell::command("apt-get install --yes --no-install-recommends iproute2"))?;
        LOOPBACK_BY_IP
    };
    let mut command = shell::command("unshare -rn sh -c");
    command.arg(script);
    Ok(command)
}

/// The program, built if it is not, so that a step can be replayed alone; none if there is no such package.
pub(super) fn program(workspace: &Workspace) -> Result<Option<PathBuf>, Failed> {
    match super::build(workspace)? {
        Done::Skipped { .. } => Ok(None),
        Done::Passed | Done::PassedWithout { .. } => {
            Ok(Some(workspace.target.join("release").join(COMMAND)))
        }
    }
}

/// Makes the sample folder anew below `target/check`.
pub(super) fn sample(workspace: &Workspace) -> Result<PathBuf, Failed> {
    let folder = workspace.target.join("check").join("sample");
    let failed = |error: io::Error| Failed {
        command: format!("mkdir {}", folder.display()),
        why: format!("and filling it failed: {error}"),
    };
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(failed)?;
    }
    fill(&folder).map_err(failed)?;
    Ok(folder)
}

/// Fills a new `folder` with what backups get wrong.
fn fill(folder: &Path) -> io::Result<()> {
    let deep = folder.join("nested/a/b/c/d/e");
    fs::create_dir_all(&deep)?;
    fs::create_dir(folder.join("empty-folder"))?;
    fs::write(deep.join("leaf.txt"), "at the bottom\n")?;
    fs::write(folder.join("empty"), "")?;
    fs::write(folder.join("plain.txt"), "twice under two names\n")?;
    fs::hard_link(folder.join("plain.txt"), folder.join("hard-link.txt"))?;
    symlink("plain.txt", folder.join("symlink.txt"))?;
    symlink("nowhere", folder.join("dangling-symlink"))?;
    let odd: [&[u8]; 6] = [
        b"name with  spaces ",
        "h\u{f8}st \u{1f9fa} e\u{301}".as_bytes(),
        b"--leading-dash",
        b"line\nbreak",
        b"not \xff\xfe utf-8",
        b"quote'\"\\$(x)",
    ];
    for name in odd {
        fs::write(folder.join(OsStr::from_bytes(name)), name)?;
    }
    fill_sparse(&folder.join("sparse"))?;
    fill_random(&folder.join("random"))?;
    let read_only = folder.join("read-only");
    fs::write(&read_only, "look, do not touch\n")?;
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o444))
}

/// A long file with a few bytes in its middle and a hole on either side.
fn fill_sparse(path: &Path) -> io::Result<()> {
    let file = File::create_new(path)?;
    file.set_len(SPARSE_BYTES)?;
    file.write_all_at(b"an island", SPARSE_BYTES / 2)
}

/// Bytes that do not compress, the same each time (xorshift64, Marsaglia 2003).
fn fill_random(path: &Path) -> io::Result<()> {
    let mut file = io::BufWriter::new(File::create_new(path)?);
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..RANDOM_BYTES / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_sample_has_a_hole_a_twin_and_an_odd_name() {
        let folder = std::env::temp_dir().join(format!("fondaco-xtask-{}", std::process::id()));
        fill(&folder).unwrap();
        let sparse = fs::metadata(folder.join("sparse")).unwrap();
        assert_eq!(sparse.len(), SPARSE_BYTES);
        assert!(sparse.blocks() * 512 < SPARSE_BYTES / 2, "the file system keeps no holes");
        assert_eq!(fs::metadata(folder.join("plain.txt")).unwrap().nlink(), 2);
        assert!(folder.join(OsStr::from_bytes(b"not \xff\xfe utf-8")).is_file());
        assert!(fs::symlink_metadata(folder.join("dangling-symlink")).unwrap().is_symlink());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn offline_there_is_loopback_and_nothing_else() {
        if shell::output(shell::command("unshare -rn true")).is_err() {
            return;
        }
        for script in [LOOPBACK_BY_IP, LOOPBACK_BY_PYTHON] {
            let mut seen = shell::command("unshare -rn sh -c");
            seen.arg(script).args(["cat", "/proc/net/dev", "/proc/net/if_inet6"]);
            let Ok(seen) = shell::output(seen) else { continue };
            let devices = seen.lines().filter(|line| line.contains(':'));
            assert_eq!(devices.count(), 1, "{seen}");
        }
    }
}
