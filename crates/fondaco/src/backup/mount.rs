//! `fondaco backup mount`: a snapshot as a folder, read from the hosts as far as somebody looks.

use super::reading::Reading;
use super::{in_thread, open};
use crate::cli::MountArgs;
use crate::failure::{Code, Failure, io};
use crate::home::Home;
use crate::screen::{complain, say};
use crate::services;
use fondaco_agent::{AgentError, Attributes, EntryKind, Special, TOP, View};
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, Request,
};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the kernel may remember what it was told: a snapshot never changes.
const TTL: Duration = Duration::from_secs(3600);

/// How many threads answer the kernel: one that waits for a host must not keep the others waiting.
const THREADS: usize = 4;

/// How long is waited in silence for what is open there.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often is looked whether somebody has unmounted it.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn mount(home: &Home, args: MountArgs, json: bool) -> Result<(), Failure> {
    let MountArgs { snapshot, folder, path, renew, read } = args;
    let allowance = Reading::allowed(home, "mount", renew.as_deref())?;
    let is_folder = std::fs::metadata(&folder).map_err(|error| unusable(&folder, &error))?;
    if !is_folder.is_dir() {
        return Err(Failure::new(format!("{} is not a folder", folder.display()))
            .code(Code::Usage)
            .hint("make an empty folder, and name that"));
    }
    let stop = services::stop_switch()?;
    let agent = open(home, &read.seek, json).await?;
    let objects = Arc::new(agent.objects());
    let reading = Reading::new(home, agent, "mount", allowance, json);
    // No bars: who reads in the folder does not look here.
    let repo = reading.repo(&objects, read.no_cache, true);
    let view = in_thread(move || repo.view(&snapshot, path.as_deref())).await?;
    let view = view.map_err(|error| reading.ended(error))?;
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::DefaultPermissions,
        MountOption::FSName("fondaco".to_owned()),
        MountOption::Subtype("fondaco".to_owned()),
    ];
    config.n_threads = Some(THREADS);
    let session = fuser::spawn_mount(Mounted { view, reading }, &folder, &config).map_err(|error| {
        match error.kind() {
            // The kernel may answer for a folder what it remembers of a mount that was killed.
            std::io::ErrorKind::NotConnected => unusable(&folder, &error),
            _ => io("mount on", &folder, &error).hint(
                "mounting needs /dev/fuse, and `fusermount3` unless you are root; `restore` needs neither",
            ),
        }
    })?;
    // Asked of the mount itself, which answers from threads of its own.
    let device = device_of(&folder).await;
    if json {
        let line = json!({ "event": "ready", "service": "mount", "folder": folder });
        say(&line.to_string());
    } else {
        say(&format!("The snapshot is in {}, to be read.", folder.display()));
        say("Unmount it with Ctrl-C.");
    }
    while !session.guard.is_finished() {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    let mut is_stopped = false;
    if !session.guard.is_finished() {
        // Who has unmounted it while something is open there has left only what is open.
        if device_of(&folder).await == device && !detach(&folder).await {
            let unmount = move || session.umount_and_join();
            let ended = tokio::task::spawn_blocking(unmount).await;
            let busy = |error| io("unmount", &folder, &error).hint("close what is open there");
            return ended
                .map_err(|error| Failure::new(format!("a thread failed: {error}")))?
                .map_err(busy);
        }
        let (again, began) = (services::stop_switch()?, Instant::now());
        let mut is_told = false;
        while !is_stopped && !session.guard.is_finished() {
            if !is_told && began.elapsed() > PATIENCE {
                is_told = true;
                complain(
                    "Unmounted; something is still open there, and is served until it is closed. Ctrl-C ends that now.",
                );
            }
            tokio::select! {
                () = again.cancelled() => is_stopped = true,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
    if is_stopped {
        // Nobody is told of the end of a mount that nobody waits for.
        std::mem::forget(session);
        return Ok(());
    }
    session.join().map_err(|error| io("read for", &folder, &error))
}

/// Returns the number of the file system that a folder is on.
async fn device_of(folder: &Path) -> Option<u64> {
    tokio::fs::metadata(folder).await.ok().map(|data| data.dev())
}

/// Takes a mount out of sight; what is open in it stays so until it is closed. Returns whether that could be done.
async fn detach(folder: &Path) -> bool {
    for (program, words) in
        [("fusermount3", ["-u", "-z"]), ("fusermount", ["-u", "-z"]), ("umount", ["-l", "--"])]
    {
        let mut command = tokio::process::Command::new(program);
        command.args(words).arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
        let ended = command.stderr(Stdio::null()).status().await;
        if ended.is_ok_and(|status| status.success()) {
            return true;
        }
    }
    false
}

/// Says why nothing can be mounted on a folder. What a mount leaves there that was killed answers nobody, and stays.
fn unusable(folder: &Path, error: &std::io::Error) -> Failure {
    if error.kind() != std::io::ErrorKind::NotConnected {
        return io("mount on", folder, error);
    }
    let folder = folder.display();
    Failure::new(format!("what was mounted on {folder} was killed, and is still mounted there"))
        .hint(format!("fusermount -u {folder}"))
}

/// A view, as the kernel asks for it.
struct Mounted {
    view: View,
    reading: Arc<Reading>,
}

impl Mounted {
    fn attributes(&self, number: INodeNo) -> Result<FileAttr, Errno> {
        let attributes = self.view.attributes(number.into()).ok_or(Errno::ENOENT)?;
        Ok(file_attr(number, &attributes))
    }

    /// A host that is away, or a shard that is lost, is an error of input to who reads; here it is told.
    fn failed(&self, error: AgentError) -> Errno {
        let failure = self.reading.ended(error);
        let hint = failure.what_to_do().unwrap_or_default();
        tracing::error!(error = failure.what(), hint, "the mounted snapshot cannot be read");
        Errno::EIO
    }
}

fn kind(attributes: &Attributes) -> (FileType, u32) {
    let device = |device: u64| u32::try_from(device).unwrap_or(0);
    match (attributes.kind, attributes.special) {
        (EntryKind::Folder, _) => (FileType::Directory, 0),
        (EntryKind::Link, _) => (FileType::Symlink, 0),
        (_, Some(Special::Pipe)) => (FileType::NamedPipe, 0),
        (_, Some(Special::Socket)) => (FileType::Socket, 0),
        (_, Some(Special::Block(number))) => (FileType::BlockDevice, device(number)),
        (_, Some(Special::Character(number))) => (FileType::CharDevice, device(number)),
        (EntryKind::File | EntryKind::Special, None) => (FileType::RegularFile, 0),
    }
}

fn file_attr(ino: INodeNo, attributes: &Attributes) -> FileAttr {
    let (kind, rdev) = kind(attributes);
    let size = match &attributes.target {
        Some(target) => target.as_os_str().len() as u64,
        None => attributes.bytes,
    };
    let at = attributes.modified;
    FileAttr {
        ino,
        size,
        blocks: size.div_ceil(512),
        atime: at,
        mtime: at,
        ctime: at,
        crtime: at,
        kind,
        perm: attributes.mode,
        nlink: attributes.links,
        uid: attributes.user,
        gid: attributes.group,
        rdev,
        flags: 0,
        blksize: 128 << 10,
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = match self.view.child(parent.into(), name) {
            Ok(Some(number)) => self.attributes(INodeNo(number)),
            Ok(None) => Err(Errno::ENOENT),
            Err(error) => Err(self.failed(error)),
        };
        match found {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        match self.attributes(number) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        let target = self.view.attributes(number.into()).and_then(|attributes| attributes.target);
        match target {
            Some(target) => reply.data(target.as_os_str().as_bytes()),
            None => reply.error(Errno::EINVAL),
        }
    }

    fn read(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.view.read(number.into(), offset, size) {
            Ok(Some(bytes)) => reply.data(&bytes),
            Ok(None) => reply.error(Errno::EINVAL),
            Err(error) => reply.error(self.failed(error)),
        }
    }

    fn release(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.view.release(number.into());
        reply.ok();
    }

    fn readdir(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let children = match self.view.children(number.into()) {
            Ok(Some(children)) => children,
            Ok(None) => return reply.error(Errno::ENOTDIR),
            Err(error) => return reply.error(self.failed(error)),
        };
        let parent = self.view.parent(number.into()).unwrap_or(TOP);
        let dots = [(OsStr::new("."), number.into()), (OsStr::new(".."), parent)];
        let named = children.iter().map(|(name, number)| (name.as_os_str(), *number));
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (place, (name, number)) in dots.into_iter().chain(named).enumerate().skip(skipped) {
            let Some(attributes) = self.view.attributes(number) else { continue };
            // True when there is no more room in this answer; the kernel asks again from here.
            if reply.add(INodeNo(number), place as u64 + 1, kind(&attributes).0, name) {
                break;
            }
        }
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_was_killed_can_be_taken_away() {
        // As the system says it: 107 is ENOTCONN, 13 is EACCES.
        for (number, is_dead) in [(107, true), (13, false)] {
            let failure = unusable(Path::new("/a/b"), &std::io::Error::from_raw_os_error(number));
            let hint = failure.what_to_do().unwrap_or_default();
            assert_eq!(hint == "fusermount -u /a/b", is_dead, "{hint}");
            assert_eq!(failure.what().contains("was killed"), is_dead, "{}", failure.what());
        }
    }
}
