//! What clients are told of an inode.

use forebay_metadata::{Inode, MountRecord, StateReader, query};
use forebay_proto::Entry;
use forebay_types::ByteCount;

use crate::error::MasterError;
use crate::listing::is_root_with_owner;
use crate::shared::Shared;

/// The mode of a mount's directory of whose source nothing is known: nobody but root may enter it.
const CLOSED: u32 = 0o700;

/// Makes entries from inodes; reads each mount once.
pub(super) struct Describing<'a> {
    pub(super) shared: &'a Shared,
    pub(super) state: &'a dyn StateReader,
    pub(super) mount: Option<MountRecord>,
}

impl<'a> Describing<'a> {
    pub(super) const fn new(shared: &'a Shared, state: &'a dyn StateReader) -> Self {
        Self { shared, state, mount: None }
    }

    pub(super) fn entry(&mut self, inode: &Inode) -> Result<Entry, MasterError> {
        if let Some(id) = inode.mount
            && self.mount.as_ref().is_none_or(|mount| mount.id != id)
        {
            self.mount = query::mount(self.state, id)?;
        }
        let mount = self.mount.as_ref().filter(|mount| Some(mount.id) == inode.mount);
        let version = inode.version();
        let cached = version
            .as_ref()
            .map_or(ByteCount::ZERO, |version| self.shared.registry.lock().locations.cached(version.file));
        let sign = |version| {
            let capability = self.shared.capabilities.sign(&version, self.shared.clock.now());
            (version, capability)
        };
        let own_grant = mount.is_some_and(|mount| is_root_with_owner(inode, mount));
        let (mode, uid, gid) = match inode.mode {
            // Its source was not asked yet, and may be anybody's.
            None if own_grant => (Some(CLOSED), Some(0), Some(0)),
            mode => (mode, inode.uid, inode.gid),
        };
        Ok(Entry {
            inode: inode.id,
            kind: inode.kind(),
            mode,
            uid,
            gid,
            modified: inode.modified,
            version: version.map(sign),
            symlink_target: inode.symlink_target().unwrap_or_default().to_vec(),
            cached,
            under_store_uri: mount.map_or_else(String::new, |mount| mount.uri.display_key(&inode.key)),
            directory: inode.parent,
            own_grant,
        })
    }
}
