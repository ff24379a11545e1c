//! One place below the root of a local under-store, and how it is opened without ever leaving the root.
//!
//! The kernel resolves the whole path with openat2 and refuses symbolic links in it; where openat2 is not to be had
//! (old kernels, some seccomp filters) each part is opened by itself with O_NOFOLLOW, which comes to the same.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use forebay_types::{UnderStoreKey, UnderStoreUri};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;

use super::own_mounts::{self, MountRoot};
use super::status;
use crate::error::UnderStoreError;
use crate::port::ObjectStatus;

/// A key of one under-store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    root: PathBuf,
    root_uri: String,
    key: UnderStoreKey,
    object: String,
}

impl Place {
    pub(super) fn new(uri: &UnderStoreUri, key: &UnderStoreKey) -> Self {
        Self {
            root: PathBuf::from(format!("/{}", uri.path())),
            root_uri: uri.to_string(),
            key: key.clone(),
            object: uri.display_key(key),
        }
    }

    /// The full URI, for people.
    pub(super) fn object(&self) -> &str {
        &self.object
    }

    /// Opens it; `Ok(None)` when nothing is there, or only behind a file or symbolic link. The root must be there.
    pub(super) fn open(
        &self,
        flags: OFlags,
        action: &'static str,
    ) -> Result<Option<OwnedFd>, UnderStoreError> {
        let root_flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(&self.root, root_flags, Mode::empty())
            .map_err(|errno| local_error(&self.root_uri, "open", errno))?;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match open_below(&root, self.key.as_bytes(), flags) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(local_error(&self.object, action, errno)),
        }
    }

    /// What it is, as a listing of its directory shows it.
    pub(super) fn status(&self) -> Result<Option<ObjectStatus>, UnderStoreError> {
        let Some(opened) = self.open(OFlags::PATH, "look at")? else { return Ok(None) };
        let is_root = self.key.as_bytes().is_empty();
        let mount = if is_root { MountRoot::None } else { own_mounts::root_of(&opened) };
        if mount == MountRoot::Forebay {
            return Ok(None);
        }
        let found = match rustix::fs::fstat(&opened) {
            Err(Errno::NOTCONN | Errno::ACCESS) if mount == MountRoot::Other => return Ok(None),
            found => found.map_err(|errno| local_error(&self.object, "look at", errno))?,
        };
        let target = || rustix::fs::readlinkat(&opened, "", Vec::new()).map(std::ffi::CString::into_bytes);
        status::of(&found, target).map_err(|errno| local_error(&self.object, "read the link", errno))
    }
}

/// The error for a system call on `object`.
pub(super) fn local_error(object: &str, action: &'static str, errno: Errno) -> UnderStoreError {
    let object = object.to_owned();
    match errno {
        Errno::NOENT => UnderStoreError::NotFound { object },
        Errno::NOTDIR | Errno::LOOP => UnderStoreError::NotADirectory { object },
        Errno::ACCESS | Errno::PERM => UnderStoreError::Denied {
            object,
            reason: format!("cannot {action} it: {errno}"),
            way_out: "let the user that runs forebay read it and search its folders",
        },
        _ => UnderStoreError::Local { object, action, source: io::Error::from(errno) },
    }
}

fn open_below(root: &OwnedFd, key: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if key.is_empty() {
        return openat(root, ".", flags, Mode::empty());
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, OsStr::from_bytes(key), flags, Mode::empty(), resolve) {
        // Filters that do not know the call answer EPERM, which it never answers itself for these flags.
        Err(Errno::NOSYS | Errno::PERM) => open_part_by_part(root, key, flags),
        result => result,
    }
}

/// Opens `key` one part at a time. Its parts were checked, so that none is `..`.
pub(super) fn open_part_by_part(root: &OwnedFd, key: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut parts = key.split(|byte| *byte == b'/').map(OsStr::from_bytes).peekable();
    let mut directory: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_some() { step } else { flags };
        directory = Some(openat(directory.as_ref().unwrap_or(root), part, flags, Mode::empty())?);
    }
    directory.ok_or(Errno::INVAL)
}
