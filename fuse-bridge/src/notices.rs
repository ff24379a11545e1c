//! Tells the kernel to ask again: about one name, the listing of a directory, or all that it remembers.
//!
//! Notices are written to the device by hand, since fuser has no call for those about names that neither unmount nor hide
//! what is in use. A notice about a name waits in the kernel for look-ups in its directory that are unanswered, so it is
//! sent by a thread of its own, and only while there is none; see [`Busy`]. Layouts: `struct fuse_out_header`,
//! `struct fuse_notify_inval_entry_out` and `struct fuse_notify_inval_inode_out` of linux/fuse.h.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::mount_table;
use crate::node_id::NodeId;

/// `FUSE_NOTIFY_INVAL_INODE`.
const INVALIDATE_INODE: i32 = 2;
/// `FUSE_NOTIFY_INVAL_ENTRY`.
const INVALIDATE_ENTRY: i32 = 3;
/// `FUSE_NOTIFY_INC_EPOCH`, of Linux 6.16 and later: every name that is remembered is asked for again.
const NEXT_EPOCH: i32 = 8;
/// `FUSE_EXPIRE_ONLY`: the name is asked for again, and stays what it is for those who use it.
const EXPIRE_ONLY: u32 = 1;
const HEADER_LENGTH: u32 = 16;

/// The way to the kernel of one mount.
#[derive(Debug)]
pub(crate) struct Notices {
    device: File,
    mount_point: PathBuf,
}

/// Whether the kernel can be told that all it remembers is void: only then it may remember for longer than a client may
/// lag behind.
#[derive(Debug, Default)]
pub(crate) struct CanForget(AtomicBool);

/// Directories in which the kernel waits for an answer of ours.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    /// Held for a few steps only.
    directories: Mutex<HashMap<NodeId, usize>>,
}

/// One such wait, until it is dropped. The answer must have been given before.
#[derive(Debug)]
pub(crate) struct Waits {
    busy: Arc<Busy>,
    directory: NodeId,
}

impl Notices {
    /// The way to the kernel over the session's device.
    pub(crate) fn new(device: impl AsFd, mount_point: PathBuf) -> io::Result<Self> {
        Ok(Self { device: device.as_fd().try_clone_to_owned()?.into(), mount_point })
    }

    /// The kernel asks again for a name, and for nothing else. Waits for look-ups in the directory that are unanswered.
    pub(crate) fn expire(&self, directory: NodeId, name: &[u8]) -> io::Result<()> {
        let name_length = u32::try_from(name.len()).map_err(io::Error::other)?;
        let mut body = Vec::with_capacity(name.len() + 17);
        body.extend(directory.get().to_ne_bytes());
        body.extend(name_length.to_ne_bytes());
        body.extend(EXPIRE_ONLY.to_ne_bytes());
        body.extend(name);
        body.push(0);
        match self.send(INVALIDATE_ENTRY, &body) {
            // It does not remember the name.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// The kernel drops the listing of a directory that it keeps. It never waits for an answer of ours.
    pub(crate) fn drop_listing(&self, directory: NodeId) -> io::Result<()> {
        let mut body = Vec::with_capacity(24);
        body.extend(directory.get().to_ne_bytes());
        // All of it: from the begin on, without an end.
        body.extend(0_i64.to_ne_bytes());
        body.extend(0_i64.to_ne_bytes());
        match self.send(INVALIDATE_INODE, &body) {
            // It does not remember the directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// The kernel asks again for every name. It never waits. What others have mounted below would be unmounted by it,
    /// so then it is refused.
    pub(crate) fn forget_all(&self) -> io::Result<()> {
        if mount_table::has_mounts_below(&self.mount_point)? {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "something is mounted below the mount point",
            ));
        }
        self.send(NEXT_EPOCH, &[])
    }

    /// `struct fuse_out_header`: the whole length, the notice's code where an answer has its error, and no request.
    fn send(&self, code: i32, body: &[u8]) -> io::Result<()> {
        let length = HEADER_LENGTH + u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(body.len() + 16);
        message.extend(length.to_ne_bytes());
        message.extend(code.to_ne_bytes());
        message.extend(0_u64.to_ne_bytes());
        message.extend(body);
        (&self.device).write_all(&message)
    }
}

impl CanForget {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, can: bool) {
        self.0.store(can, Ordering::Relaxed);
    }
}

impl Busy {
    /// The kernel waits for an answer about a name of the directory.
    pub(crate) fn waits(self: &Arc<Self>, directory: NodeId) -> Waits {
        *self.directories.lock().entry(directory).or_default() += 1;
        Waits { busy: Arc::clone(self), directory }
    }

    pub(crate) fn is_busy(&self, directory: NodeId) -> bool {
        self.directories.lock().contains_key(&directory)
    }

    fn leave(&self, directory: NodeId) {
        let mut directories = self.directories.lock();
        if let Some(count) = directories.get_mut(&directory) {
            *count -= 1;
            if *count == 0 {
                directories.remove(&directory);
            }
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.busy.leave(self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_busy_until_the_last_answer_about_it_was_given() {
        let busy = Arc::<Busy>::default();
        let (one, other) = (NodeId::new(5), NodeId::new(6));
        let first = busy.waits(one);
        let second = busy.waits(one);
        drop(first);
        assert!(busy.is_busy(one) && !busy.is_busy(other));
        drop(second);
        assert!(!busy.is_busy(one) && busy.directories.lock().is_empty());
    }
}
