//! What the user may say about a mount point, as flags or in the form of `-o allow_other,freshness=2h`.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use forebay_types::InodeId;
use prometheus::Registry;
use tokio::runtime::Handle;

use crate::error::FuseError;
use crate::limits::{ANSWER_DEADLINE_DEFAULT, READ_AHEAD_KIB_DEFAULT, THREADS_MAX};

/// Everything that a mount needs.
#[derive(Debug)]
pub struct MountSettings<N> {
    /// The directory to mount on. It is created if it is missing.
    pub mount_point: PathBuf,
    /// The directory of the namespace that becomes the root of the mount.
    pub root: InodeId,
    /// What the user chose.
    pub options: FuseOptions,
    /// Where names and bytes come from.
    pub namespace: Arc<N>,
    /// Where answers that must wait are worked out. It must not be a runtime that ends before the mount.
    pub runtime: Handle,
    /// Where the metrics are registered.
    pub registry: Registry,
    /// Directories that cache files of this machine's worker lie in, as far as they are known. If one of them is on
    /// overlayfs the kernel is told so, since it refuses to pass such files through otherwise.
    pub cache_directories: Vec<PathBuf>,
}

/// Whether complete files are read by the kernel without us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passthrough {
    /// Where the kernel and our rights allow it.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// The options of a mount point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuseOptions {
    /// Whether other users than the mounting one may enter.
    pub allow_other: bool,
    /// Owner of what has none; the mounting user if `None`.
    pub uid: Option<u32>,
    /// Group of what has none; the mounting user's if `None`.
    pub gid: Option<u32>,
    /// Permission bits that files (0666) and directories (0777) without a mode lack.
    pub umask: u16,
    /// Whether complete files are read by the kernel without us.
    pub passthrough: Passthrough,
    /// For how long the kernel remembers names and attributes, in place of the mounts' own freshness.
    pub freshness: Option<Duration>,
    /// The kernel's readahead for buffered files; set where we are root.
    pub read_ahead_kib: u32,
    /// Threads that read requests from the kernel.
    pub threads: usize,
    /// Longest wait for any answer but that of a read.
    pub deadline: Duration,
}

impl Default for FuseOptions {
    /// The defaults for this user: root shares the mount with all users.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            allow_other: rustix::process::geteuid().is_root(),
            uid: None,
            gid: None,
            umask: 0o022,
            passthrough: Passthrough::Auto,
            freshness: None,
            read_ahead_kib: READ_AHEAD_KIB_DEFAULT,
            // Threads never wait for anybody, so more than the cores help only while some are in a page fault.
            threads: (cores * 2).clamp(2, 8),
            deadline: ANSWER_DEADLINE_DEFAULT,
        }
    }
}

impl FromStr for FuseOptions {
    type Err = FuseError;

    /// Reads a list such as `allow_other,uid=1000,freshness=2h`; an empty one gives the defaults. Generic words that
    /// mount(8) adds on its own (`ro`, `_netdev`, `noauto`, ...) are accepted.
    fn from_str(text: &str) -> Result<Self, FuseError> {
        let mut options = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            options.set(word)?;
        }
        Ok(options)
    }
}

/// Words of fstab that mean nothing to us, or what we do anyway.
const IGNORED: [&str; 18] = [
    "ro",
    "defaults",
    "auto",
    "noauto",
    "user",
    "users",
    "nofail",
    "_netdev",
    "noatime",
    "nodev",
    "nosuid",
    "exec",
    "async",
    "relatime",
    "default_permissions",
    "nouser",
    "owner",
    "group",
];

impl FuseOptions {
    fn set(&mut self, word: &str) -> Result<(), FuseError> {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let refuse = |reason: &str| FuseError::Option { option: word.to_owned(), reason: reason.to_owned() };
        let number = || value.parse::<u32>().map_err(|_| refuse("write a number"));
        let duration =
            || humantime::parse_duration(value).map_err(|_| refuse("write a duration such as 5s or 2h"));
        match key {
            "allow_other" => self.allow_other = true,
            "noallow_other" => self.allow_other = false,
            "uid" => self.uid = Some(number()?),
            "gid" => self.gid = Some(number()?),
            "umask" => {
                let bits = u16::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o777);
                self.umask = bits.ok_or_else(|| refuse("write up to three octal digits, such as 022"))?;
            }
            "passthrough" => {
                self.passthrough = match value {
                    "auto" => Passthrough::Auto,
                    "off" => Passthrough::Off,
                    _ => return Err(refuse("write auto or off")),
                }
            }
            "freshness" => self.freshness = Some(duration()?),
            "read_ahead_kib" => self.read_ahead_kib = number()?,
            "threads" => {
                let threads = value.parse().ok().filter(|threads| (1..=THREADS_MAX).contains(threads));
                self.threads = threads.ok_or_else(|| refuse("write a number from 1 to 32"))?;
            }
            "deadline" => {
                let deadline = duration()?;
                if deadline.is_zero() {
                    return Err(refuse("write a duration longer than nothing"));
                }
                self.deadline = deadline;
            }
            "rw" => return Err(refuse("a mount point is read-only in this version; write ro or nothing")),
            _ if IGNORED.contains(&word) || key.starts_with("x-") || key == "comment" => {}
            _ => {
                return Err(refuse(
                    "write allow_other, uid=, gid=, umask=, freshness=, passthrough=auto|off, read_ahead_kib=, \
                     threads= or deadline=",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_mount_writes_them() {
        let options: FuseOptions =
            "ro,_netdev,x-systemd.automount,noallow_other,uid=7,gid=8,umask=077,freshness=2h,passthrough=off"
                .parse()
                .expect("legal");
        let expected = FuseOptions {
            allow_other: false,
            uid: Some(7),
            gid: Some(8),
            umask: 0o077,
            freshness: Some(Duration::from_secs(7200)),
            passthrough: Passthrough::Off,
            ..FuseOptions::default()
        };
        assert_eq!(options, expected);
        assert_eq!("".parse::<FuseOptions>().expect("nothing"), FuseOptions::default());
    }

    #[test]
    fn what_is_no_option_is_named_with_the_way_out() {
        for text in [
            "rw",
            "uid=root",
            "umask=999",
            "umask=7777",
            "freshness=soon",
            "passthrough=yes",
            "threads=0",
            "threads=33",
            "deadline=0s",
            "colour=red",
        ] {
            let error = text.parse::<FuseOptions>().expect_err(text).to_string();
            assert!(error.contains(text) && error.contains("write"), "{error}");
        }
    }
}
