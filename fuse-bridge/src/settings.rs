//! What the user may say about a mount point, as flags or in the form of `-o allow_other,freshness=2h`.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use forebay_types::{ByteCount, InodeId, UnitError, parse_duration, parse_positive_duration};
use prometheus::Registry;
use tokio::runtime::Handle;

use crate::error::FuseError;
use crate::limits::{
    ANSWER_DEADLINE_DEFAULT, DIRECTORY_MEMORY_DEFAULT, LOOK_AHEAD_DEFAULT, READ_AHEAD_KIB_DEFAULT,
    READAHEAD_MEMORY_DEFAULT, RESTING_FILES_DEFAULT, THREADS_DEFAULT_MAX, THREADS_DEFAULT_MIN, THREADS_MAX,
};

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

/// What the kernel lets processes do with the files of a mount, whatever the files' modes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRights {
    /// Run programs.
    pub exec: bool,
    /// Become another user by a set-user-id or set-group-id bit.
    pub suid: bool,
    /// Open device files.
    pub dev: bool,
}

impl Default for FileRights {
    /// An under-store may be filled by anybody, so its files may be run but give no rights.
    fn default() -> Self {
        Self { exec: true, suid: false, dev: false }
    }
}

/// The options of a mount point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuseOptions {
    /// Whether other users than the mounting one may enter.
    pub allow_other: bool,
    /// What may be done with files.
    pub rights: FileRights,
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
    /// What all open files may have read ahead in memory, in bytes; nothing with 0. Whoever makes the namespace sees to it.
    pub readahead_memory: ByteCount,
    /// What may be remembered of directories beside what the kernel does, so that what it has forgotten costs no message;
    /// nothing with 0. Whoever makes the namespace sees to it.
    pub directory_memory: ByteCount,
    /// How many files may rest after their last close, so that the next open of them asks no worker; none with 0.
    pub resting_files: usize,
    /// How many small files are brought into the cache ahead of somebody who goes through a directory; none with 0. Whoever
    /// makes the namespace sees to it.
    pub look_ahead: usize,
    /// Whether a long file that somebody has open from before it was complete gets a second node to be passed through. Not
    /// below an overlay, which takes another node for another file.
    pub aliases: bool,
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
            rights: FileRights::default(),
            uid: None,
            gid: None,
            umask: 0o022,
            passthrough: Passthrough::Auto,
            freshness: None,
            readahead_memory: ByteCount::new(READAHEAD_MEMORY_DEFAULT),
            directory_memory: ByteCount::new(DIRECTORY_MEMORY_DEFAULT),
            resting_files: RESTING_FILES_DEFAULT,
            look_ahead: LOOK_AHEAD_DEFAULT,
            aliases: false,
            read_ahead_kib: READ_AHEAD_KIB_DEFAULT,
            // Threads never wait for anybody, so more than the cores help only while some are in a page fault.
            threads: (cores * 2).clamp(THREADS_DEFAULT_MIN, THREADS_DEFAULT_MAX),
            deadline: ANSWER_DEADLINE_DEFAULT,
        }
    }
}

impl FromStr for FuseOptions {
    type Err = FuseError;

    /// Reads a list such as `allow_other,uid=1000,freshness=2h`; an empty one gives the defaults, and of words that
    /// contradict each other the last one counts. What mount(8) and fstab have for all file systems is accepted.
    fn from_str(text: &str) -> Result<Self, FuseError> {
        let mut options = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                Some((key, value)) => options.set_value(key, value),
                None => options.set_word(word),
            }
            .map_err(|reason| FuseError::Option { option: word.to_owned(), reason })?;
        }
        Ok(options)
    }
}

impl FileRights {
    /// What mount(8) makes of `user`: of a mount that any user may make, nothing is to be feared.
    const NONE: Self = Self { exec: false, suid: false, dev: false };
}

/// Words of mount(8) and fstab that are for others to act on, or that say nothing of a file system which nobody writes
/// to and which keeps no times of access.
const WITHOUT_MEANING: [&str; 27] = [
    "ro",
    "defaults",
    "auto",
    "noauto",
    "nouser",
    "nofail",
    "_netdev",
    "default_permissions",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "iversion",
    "noiversion",
    "mand",
    "nomand",
    "silent",
    "loud",
];

impl FuseOptions {
    /// Takes a word without a value over, or says why not.
    fn set_word(&mut self, word: &str) -> Result<(), String> {
        let rights = &mut self.rights;
        match word {
            "allow_other" => self.allow_other = true,
            "noallow_other" => self.allow_other = false,
            "exec" => rights.exec = true,
            "noexec" => rights.exec = false,
            "suid" => rights.suid = true,
            "nosuid" => rights.suid = false,
            "dev" => rights.dev = true,
            "nodev" => rights.dev = false,
            "user" | "users" => *rights = FileRights::NONE,
            "owner" | "group" => *rights = FileRights { exec: rights.exec, ..FileRights::NONE },
            "rw" => return Err("a mount point is read-only in this version; write ro or nothing".to_owned()),
            _ if WITHOUT_MEANING.contains(&word) || is_comment(word) => {}
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// Takes `key=value` over, or says why not.
    fn set_value(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<u32>().map_err(|_| "write a number".to_owned());
        match key {
            "uid" => self.uid = Some(number()?),
            "gid" => self.gid = Some(number()?),
            "umask" => {
                let bits = u16::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o777);
                self.umask = bits.ok_or("write up to three octal digits, such as 022")?;
            }
            "passthrough" => {
                self.passthrough = match value {
                    "auto" => Passthrough::Auto,
                    "off" => Passthrough::Off,
                    _ => return Err("write auto or off".to_owned()),
                }
            }
            "freshness" => self.freshness = Some(parse_duration(value).map_err(|error| error.to_string())?),
            "readahead_memory" => {
                self.readahead_memory = value.parse().map_err(|error: UnitError| error.to_string())?;
            }
            "directory_memory" => {
                self.directory_memory = value.parse().map_err(|error: UnitError| error.to_string())?;
            }
            "resting_files" => {
                self.resting_files = value.parse().map_err(|_| "write a number".to_owned())?;
            }
            "look_ahead" => self.look_ahead = value.parse().map_err(|_| "write a number".to_owned())?,
            "aliases" => {
                self.aliases = match value {
                    "on" => true,
                    "off" => false,
                    _ => return Err("write on or off".to_owned()),
                }
            }
            "read_ahead_kib" => self.read_ahead_kib = number()?,
            "threads" => {
                let threads = value.parse().ok().filter(|threads| (1..=THREADS_MAX).contains(threads));
                self.threads = threads.ok_or_else(|| format!("write a number from 1 to {THREADS_MAX}"))?;
            }
            "deadline" => {
                self.deadline = parse_positive_duration(value).map_err(|error| error.to_string())?;
            }
            // Whose mount it is, as mount(8) writes it down.
            "user" | "comment" => {}
            _ if is_comment(key) => {}
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

/// Words that mount(8) leaves to whoever knows them, such as `x-systemd.automount`.
fn is_comment(key: &str) -> bool {
    key.starts_with("x-") || key.starts_with("X-")
}

fn unknown() -> String {
    format!(
        "there is no such option; write allow_other, noallow_other, uid=, gid=, umask=, freshness=, \
         passthrough=auto|off, readahead_memory=, directory_memory=, resting_files=, look_ahead=, aliases=on|off, read_ahead_kib=, threads=, deadline=, \
         exec, noexec, suid, nosuid, dev, nodev, or of what fstab has for all file systems: user, users, owner, group, x-..., {}",
        WITHOUT_MEANING.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_mount_writes_them() {
        let options: FuseOptions =
            "ro,_netdev,x-systemd.automount,noallow_other,uid=7,gid=8,umask=077,freshness=2h,passthrough=off,\
             readahead_memory=5MiB,directory_memory=1GiB,resting_files=9,look_ahead=3,aliases=on"
                .parse()
                .expect("legal");
        let expected = FuseOptions {
            allow_other: false,
            uid: Some(7),
            gid: Some(8),
            umask: 0o077,
            freshness: Some(Duration::from_secs(7200)),
            readahead_memory: ByteCount::new(5 << 20),
            directory_memory: ByteCount::new(1 << 30),
            resting_files: 9,
            look_ahead: 3,
            aliases: true,
            passthrough: Passthrough::Off,
            ..FuseOptions::default()
        };
        assert_eq!(options, expected);
        assert_eq!("".parse::<FuseOptions>().expect("nothing"), FuseOptions::default());
    }

    #[test]
    fn a_freshness_of_zero_needs_no_unit() {
        for text in ["freshness=0", "freshness=0s"] {
            assert_eq!(text.parse::<FuseOptions>().expect(text).freshness, Some(Duration::ZERO));
        }
    }

    #[test]
    fn the_last_word_about_a_right_counts_and_user_takes_them_all() {
        let rights = |text: &str| {
            let FileRights { exec, suid, dev } = text.parse::<FuseOptions>().expect(text).rights;
            (exec, suid, dev)
        };
        assert_eq!(rights(""), (true, false, false));
        assert_eq!(rights("defaults"), (true, false, false), "as for all of FUSE");
        assert_eq!(rights("noexec"), (false, false, false));
        assert_eq!(rights("noexec,exec,suid,dev"), (true, true, true));
        assert_eq!(rights("suid,dev,nosuid,nodev"), (true, false, false));
        assert_eq!(rights("exec,suid,dev,user"), (false, false, false));
        assert_eq!(rights("users,exec"), (true, false, false));
        assert_eq!(rights("suid,dev,owner"), (true, false, false));
        assert_eq!(rights("noexec,dev,group"), (false, false, false));
    }

    #[test]
    fn words_that_fstab_has_for_all_file_systems_change_nothing() {
        let others = ["x-systemd.requires=net.target", "X-mount.mkdir", "comment=ours", "user=me"];
        for word in WITHOUT_MEANING.into_iter().chain(others) {
            assert_eq!(word.parse::<FuseOptions>().expect(word), FuseOptions::default(), "{word}");
        }
    }

    #[test]
    fn what_is_no_option_is_named_with_the_way_out() {
        for text in [
            "rw",
            "uid=root",
            "umask=999",
            "umask=7777",
            "freshness=soon",
            "freshness=101years",
            "passthrough=yes",
            "readahead_memory=much",
            "aliases=yes",
            "directory_memory=much",
            "resting_files=-1",
            "look_ahead=some",
            "threads=0",
            "threads=33",
            "deadline=0s",
            "deadline=0",
            "deadline=500000000000000m",
            "colour=red",
            "colour",
            "noexec=1",
            "allow_other=yes",
            "uid",
        ] {
            let error = text.parse::<FuseOptions>().expect_err(text).to_string();
            assert!(error.contains(text) && error.contains("write"), "{error}");
        }
        let unknown = "colour".parse::<FuseOptions>().expect_err("unknown").to_string();
        for known in ["noexec", "freshness=", "_netdev", "relatime", "x-..."] {
            assert!(unknown.contains(known), "{known} is not in: {unknown}");
        }
    }
}
