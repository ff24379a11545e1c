//! What is mounted where, from /proc/self/mountinfo, without touching the file systems themselves.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The type of our mounts.
pub(crate) const FILE_SYSTEM_TYPE: &str = "fuse.forebay";
const MOUNT_TABLE: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountLine {
    /// The kernel's number for the file system, `major:minor`; of one that lives, no other has it.
    pub(crate) device: String,
    pub(crate) mount_point: PathBuf,
    /// The file system's type.
    pub(crate) kind: String,
}

impl MountLine {
    pub(crate) fn is_forebay(&self) -> bool {
        self.kind == FILE_SYSTEM_TYPE
    }
}

/// The mount that one sees at `path`, which must be absolute and without links: the last one that lies there.
pub(crate) fn mount_at(path: &Path) -> io::Result<Option<MountLine>> {
    let table = std::fs::read(MOUNT_TABLE)?;
    let mut lines = table.split(|byte| *byte == b'\n').filter_map(parse);
    Ok(lines.rfind(|line| line.mount_point == path))
}

/// Whether anything is mounted on what lies below `path`, which must be absolute and without links.
pub(crate) fn has_mounts_below(path: &Path) -> io::Result<bool> {
    let table = std::fs::read(MOUNT_TABLE)?;
    let mut lines = table.split(|byte| *byte == b'\n').filter_map(parse);
    Ok(lines.any(|line| line.mount_point != path && line.mount_point.starts_with(path)))
}

/// `ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS`, as proc(5) has it.
fn parse(line: &[u8]) -> Option<MountLine> {
    let mut fields = line.split(|byte| *byte == b' ');
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let device = text(fields.nth(2)?);
    let mount_point = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    let kind = text(fields.skip_while(|field| *field != b"-").nth(1)?);
    Some(MountLine { device, mount_point, kind })
}

/// Blanks, tabs, line ends and backslashes of paths are written as three octal digits after a backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let digits =
            tail.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|digit| is_octal(*digit)));
        let code = digits.and_then(|digits| {
            u8::try_from(digits.iter().fold(0_u32, |code, digit| code * 8 + u32::from(digit - b'0'))).ok()
        });
        let (byte, length) = code.map_or((*first, 1), |code| (code, 4));
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}

const fn is_octal(digit: u8) -> bool {
    matches!(digit, b'0'..=b'7')
}

/// The path without links in all but its last part. That part may be a dead mount, which cannot be looked at.
pub(crate) fn without_links(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    // `DIR/.` names what lies at DIR.
    let cut = absolute.components().collect::<PathBuf>();
    match (cut.parent(), cut.file_name()) {
        (Some(parent), Some(name)) => {
            let whole = parent.canonicalize()?.join(name);
            // A link to a directory is followed; of all else the path stays as it is.
            let is_link = std::fs::symlink_metadata(&whole).is_ok_and(|metadata| metadata.is_symlink());
            if is_link { whole.canonicalize() } else { Ok(whole) }
        }
        _ if cut.as_os_str().as_bytes().ends_with(b"..") => absolute.canonicalize(),
        _ => Ok(cut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_and_without_tags_and_with_escaped_paths() {
        let line = b"36 35 0:98 / /mnt/a\\040b\\134 ro,noatime shared:1 master:2 - fuse.forebay forebay ro";
        let expected = MountLine {
            device: "0:98".to_owned(),
            mount_point: "/mnt/a b\\".into(),
            kind: "fuse.forebay".to_owned(),
        };
        assert_eq!(parse(line), Some(expected));
        let plain = parse(b"36 35 8:1 / / rw - ext4 /dev/sda1 rw").expect("legal");
        assert!(!plain.is_forebay() && plain.device == "8:1");
        assert_eq!(parse(b""), None);
        assert_eq!(unescape(b"\\999\\04"), b"\\999\\04");
    }

    #[test]
    fn the_file_system_of_proc_is_found_where_it_lies() {
        let line = mount_at(Path::new("/proc")).expect("readable").expect("mounted");
        assert_eq!(line.kind, "proc");
        assert_eq!(mount_at(Path::new("/proc/self/fd")).expect("readable"), None);
    }

    #[test]
    fn links_on_the_way_and_at_the_end_are_followed() {
        let folder = tempfile::tempdir().expect("made");
        let real = folder.path().canonicalize().expect("there");
        std::fs::create_dir(real.join("dir")).expect("made");
        std::os::unix::fs::symlink(real.join("dir"), real.join("link")).expect("made");
        for path in ["dir", "link", "dir/", "dir/."] {
            assert_eq!(without_links(&real.join(path)).expect("there"), real.join("dir"), "{path}");
        }
        assert_eq!(without_links(&real.join("link/new")).expect("there"), real.join("dir/new"));
        assert!(without_links(&real.join("no/new")).is_err());
    }
}
