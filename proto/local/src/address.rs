//! From a path to the address of a unix socket, also where the path is longer than such an address may be.
//!
//! A long path is reached through its folder's descriptor: `/proc/self/fd/N/name`.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::SocketAddrUnix;

use crate::error::LocalError;
use crate::limits::SOCKET_PATH_LENGTH_MAX;

/// An address and what must stay open while it is used.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) unix: SocketAddrUnix,
    _folder: Option<OwnedFd>,
}

impl Address {
    /// The address of `path`.
    pub(crate) fn new(path: &Path) -> Result<Self, LocalError> {
        let too_long = || LocalError::PathTooLong { path: path.to_owned() };
        if path.as_os_str().len() <= SOCKET_PATH_LENGTH_MAX {
            let unix = SocketAddrUnix::new(path).map_err(|_| too_long())?;
            return Ok(Self { unix, _folder: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(too_long()) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(parent, flags, Mode::empty()).map_err(|error| LocalError::Path {
            action: "open the folder of",
            path: path.to_owned(),
            source: error.into(),
        })?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        if short.as_os_str().len() > SOCKET_PATH_LENGTH_MAX {
            return Err(too_long());
        }
        let unix = SocketAddrUnix::new(&short).map_err(|_| too_long())?;
        Ok(Self { unix, _folder: Some(folder) })
    }
}
