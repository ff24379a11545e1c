//! The system calls of mounting and unmounting, and fusermount3 for users who may not make them.
//!
//! `fuser` could mount too, but unmounts by path when its session ends, also when somebody has mounted there anew in
//! the meantime; so it is given a mount that we made.

use std::ffi::{CString, OsStr};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::errno;
use crate::error::FuseError;
use crate::limits::FUSERMOUNT_DEADLINE;
use crate::mount_table::FILE_SYSTEM_TYPE;
use crate::settings::{FileRights, FuseOptions};

const DEVICE: &str = "/dev/fuse";
/// How the mount is called in the first column of `mount` and `df`.
const SOURCE: &str = "forebay";
/// `S_IFDIR` in the octal digits that the kernel wants.
const ROOT_MODE: &str = "40000";
/// The number of the descriptor over which fusermount3 hands the device back: its standard input, since a child
/// inherits that one without further ado.
const DEVICE_SOCKET: (&str, &str) = ("_FUSE_COMMFD", "0");
/// The newer name first.
const FUSERMOUNT: [&str; 2] = ["fusermount3", "fusermount"];

/// How an unmount treats those who still use the mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmount {
    /// It fails for them.
    Gently,
    /// It goes from the tree at once; they may go on.
    Lazily,
}

/// Mounts at `target`; the kernel then waits at the device for the session to begin.
pub(crate) fn mount(target: &Path, options: &FuseOptions) -> Result<OwnedFd, FuseError> {
    match mount_directly(target, options) {
        Ok(device) => Ok(device),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FuseError::NoDevice { source: error }),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => mount_by_fusermount(target, options)
            .map_err(|by_fusermount| FuseError::NotPermitted {
                mount_point: target.to_owned(),
                reason: format!("mount: {error}; fusermount3: {by_fusermount}"),
            }),
        Err(error) => Err(FuseError::io("mounting", target)(error)),
    }
}

fn mount_directly(target: &Path, options: &FuseOptions) -> io::Result<OwnedFd> {
    let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut data = format!(
        "fd={},rootmode={ROOT_MODE},user_id={user},group_id={group},default_permissions",
        device.as_fd().as_raw_fd()
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let data = CString::new(data).expect("numbers and words without zero bytes");
    rustix::mount::mount(SOURCE, target, FILE_SYSTEM_TYPE, flags(options.rights), Some(data.as_c_str()))?;
    Ok(device)
}

fn flags(rights: FileRights) -> MountFlags {
    let mut flags = MountFlags::RDONLY | MountFlags::NOATIME;
    flags.set(MountFlags::NOSUID, !rights.suid);
    flags.set(MountFlags::NODEV, !rights.dev);
    flags.set(MountFlags::NOEXEC, !rights.exec);
    flags
}

/// The same in the words of fusermount3, which leaves a wish out that this user may not have.
fn words(options: &FuseOptions) -> String {
    let FileRights { exec, suid, dev } = options.rights;
    let mut words = vec!["ro", "noatime", "fsname=forebay", "subtype=forebay", "default_permissions"];
    words.push(if suid { "suid" } else { "nosuid" });
    words.push(if dev { "dev" } else { "nodev" });
    words.push(if exec { "exec" } else { "noexec" });
    words.extend(options.allow_other.then_some("allow_other"));
    words.join(",")
}

/// As a user: the set-uid helper mounts and sends the device over a socket.
fn mount_by_fusermount(target: &Path, options: &FuseOptions) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    let options = words(options);
    let arguments: [&OsStr; 4] = ["-o".as_ref(), options.as_ref(), "--".as_ref(), target.as_ref()];
    let mut command = Command::new(fusermount()?);
    command.args(arguments).env(DEVICE_SOCKET.0, DEVICE_SOCKET.1);
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // It holds the other end of the socket, without which we would wait in vain if fusermount3 failed.
    drop(command);
    let device = receive_device(&ours, FUSERMOUNT_DEADLINE);
    if device.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    match device {
        Ok(Some(device)) if output.status.success() => Ok(device),
        Err(error) => Err(error),
        Ok(_) => Err(fusermount_failure(&output.stderr)),
    }
}

/// The device, or nothing if the other side ends without one.
fn receive_device(socket: &UnixStream, deadline: Duration) -> io::Result<Option<OwnedFd>> {
    socket.set_read_timeout(Some(deadline))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC);
    received.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "it gave no answer in time"),
        _ => error.into(),
    })?;
    let device = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(device)
}

/// Unmounts what lies on top at `target`.
pub(crate) fn unmount(target: &Path, how: Unmount) -> io::Result<()> {
    let flags = match how {
        Unmount::Gently => UnmountFlags::NOFOLLOW,
        Unmount::Lazily => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    match rustix::mount::unmount(target, flags).map_err(io::Error::from) {
        Err(error) if errno::is_not_permitted(&error) => unmount_by_fusermount(target, how),
        outcome => outcome,
    }
}

fn unmount_by_fusermount(target: &Path, how: Unmount) -> io::Result<()> {
    let mut command = Command::new(fusermount()?);
    command.arg("-u").args((how == Unmount::Lazily).then_some("-z")).arg("--").arg(target);
    // Its messages are read below.
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null()).output()?;
    if output.status.success() { Ok(()) } else { Err(fusermount_failure(&output.stderr)) }
}

fn fusermount() -> io::Result<&'static str> {
    let is_there = |name: &&str| {
        let mut asked = Command::new(name);
        asked.arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    FUSERMOUNT.into_iter().find(is_there).ok_or_else(|| io::Error::other("not installed"))
}

fn fusermount_failure(stderr: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(stderr);
    let kind = if text.contains("busy") { io::ErrorKind::ResourceBusy } else { io::ErrorKind::Other };
    io::Error::new(kind, text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount_table::mount_at;

    /// Makes a mount that nobody serves and takes it down again. Gives its line in the mount table.
    fn mounts_and_unmounts(mount: impl FnOnce(&Path) -> io::Result<OwnedFd>) -> String {
        let folder = tempfile::tempdir().expect("made");
        let target = folder.path().canonicalize().expect("there");
        let device = mount(&target).expect("mounted");
        let line = mount_at(&target).expect("readable").expect("mounted");
        let table = std::fs::read_to_string("/proc/self/mountinfo").expect("readable");
        let unmounted = unmount(&target, Unmount::Lazily);
        drop(device);
        assert!(line.is_forebay(), "{line:?}");
        unmounted.expect("unmounted");
        assert_eq!(mount_at(&target).expect("readable"), None);
        let place = format!(" {} ", target.display());
        table.lines().find(|line| line.contains(&place)).expect("listed").to_owned()
    }

    #[test]
    fn both_ways_of_mounting_give_a_mount_of_our_type_with_the_rights_that_were_asked_for() {
        if !rustix::process::geteuid().is_root() || !Path::new(DEVICE).exists() {
            eprintln!("not tested: needs root and {DEVICE}");
            return;
        }
        let all_but_exec = FileRights { exec: false, suid: true, dev: true };
        for (rights, flags) in [
            (FileRights::default(), " ro,nosuid,nodev,noatime "),
            (FileRights { exec: false, ..FileRights::default() }, " ro,nosuid,nodev,noexec,noatime "),
            (all_but_exec, " ro,noexec,noatime "),
        ] {
            let options = FuseOptions { rights, ..FuseOptions::default() };
            for line in [
                mounts_and_unmounts(|target| mount_directly(target, &options)),
                mounts_and_unmounts(|target| mount_by_fusermount(target, &options)),
            ] {
                assert!(line.contains(flags), "{flags}: {line}");
            }
        }
    }

    #[test]
    fn a_fusermount_that_gives_no_answer_is_not_waited_for_for_ever() {
        let (ours, theirs) = UnixStream::pair().expect("made");
        let error = receive_device(&ours, Duration::from_millis(10)).expect_err("nothing was sent");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
        let nothing = receive_device(&ours, Duration::from_secs(20)).expect("the other side ended");
        assert!(nothing.is_none());
    }

    #[test]
    fn the_words_of_fusermount_are_understood() {
        assert!(errno::is_busy(&fusermount_failure(
            b"fusermount3: failed to unmount /x: Device or resource busy\n"
        )));
        let other = fusermount_failure(b"fusermount3: entry for /x not found in /etc/mtab\n");
        assert!(!errno::is_busy(&other) && other.to_string().starts_with("fusermount3: entry"));
    }
}
