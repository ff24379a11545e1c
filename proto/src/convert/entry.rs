//! A directory entry as clients see it.

use forebay_types::{
    BlockCapability, ByteCount, EntryKind, EntryName, InodeId, Timestamp, VersionDescriptor,
};
use prost::Message;

use super::{Validity, WireDefect};
use crate::v1;

/// One inode, with the right to read its version where it is a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The inode.
    pub inode: InodeId,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, where the under-store has them.
    pub mode: Option<u32>,
    /// Owner, where the under-store has one.
    pub uid: Option<u32>,
    /// Group, where the under-store has one.
    pub gid: Option<u32>,
    /// Last modification.
    pub modified: Timestamp,
    /// Of a file: its current version and the right to read it.
    pub version: Option<(VersionDescriptor, BlockCapability)>,
    /// Of a symbolic link: where it points.
    pub symlink_target: Vec<u8>,
    /// What workers report to hold of the version.
    pub cached: ByteCount,
    /// Where its content comes from, for people; empty where it lies in no mount.
    pub under_store_uri: String,
    /// The directory that it lies in; of the root, the root.
    pub directory: InodeId,
    /// It is a mount's directory that is as its source is: an answer about it has a validity and a grant of its own, and in a
    /// listing of the directory that it lies in it is as it was last known.
    pub own_grant: bool,
}

/// An entry under its name, as listings have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name in its directory.
    pub name: EntryName,
    /// The entry.
    pub entry: Entry,
}

impl Entry {
    /// Length in bytes: of the version of a file, of the target of a link; 0 for a directory.
    #[must_use]
    pub fn length(&self) -> ByteCount {
        match (&self.version, self.kind) {
            (Some((version, _)), _) => version.length(),
            (None, EntryKind::Symlink) => ByteCount::new(self.symlink_target.len() as u64),
            (None, _) => ByteCount::ZERO,
        }
    }
}

impl v1::Entry {
    /// The message as bytes, for whoever keeps very many.
    #[must_use]
    pub fn packed(&self) -> Box<[u8]> {
        self.encode_to_vec().into()
    }

    /// The message that was packed.
    ///
    /// # Errors
    /// [`WireDefect`] if the bytes are none.
    pub fn unpacked(bytes: &[u8]) -> Result<Self, WireDefect> {
        Self::decode(bytes).map_err(|error| WireDefect::invalid("entry")(&error))
    }
}

impl From<Entry> for v1::Entry {
    fn from(entry: Entry) -> Self {
        let (version, capability) = entry.version.unzip();
        Self {
            inode: entry.inode.get(),
            kind: v1::EntryKind::from(entry.kind).into(),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            modified_nanos: entry.modified.nanos(),
            version: version.as_ref().map(Into::into),
            capability: capability.as_ref().map(Into::into),
            symlink_target: entry.symlink_target.into(),
            cached_bytes: entry.cached.get(),
            under_store_uri: entry.under_store_uri,
            directory: entry.directory.get(),
            own_grant: entry.own_grant,
        }
    }
}

impl TryFrom<v1::Entry> for Entry {
    type Error = WireDefect;

    fn try_from(entry: v1::Entry) -> Result<Self, WireDefect> {
        let kind = EntryKind::try_from(entry.kind())?;
        let version = match kind {
            EntryKind::File => Some((
                WireDefect::required("version", entry.version)?.try_into()?,
                WireDefect::required("capability", entry.capability)?.try_into()?,
            )),
            EntryKind::Directory | EntryKind::Symlink => None,
        };
        Ok(Self {
            inode: InodeId::new(entry.inode),
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            modified: Timestamp::from_nanos(entry.modified_nanos),
            version,
            symlink_target: entry.symlink_target.to_vec(),
            cached: ByteCount::new(entry.cached_bytes),
            under_store_uri: entry.under_store_uri,
            directory: InodeId::new(entry.directory),
            own_grant: entry.own_grant,
        })
    }
}

impl From<Named> for v1::NamedEntry {
    fn from(named: Named) -> Self {
        Self { name: Vec::from(named.name).into(), entry: Some(named.entry.into()) }
    }
}

impl TryFrom<v1::NamedEntry> for Named {
    type Error = WireDefect;

    fn try_from(named: v1::NamedEntry) -> Result<Self, WireDefect> {
        Ok(Self {
            name: EntryName::new(named.name.to_vec()).map_err(|error| WireDefect::invalid("name")(&error))?,
            entry: WireDefect::required("entry", named.entry)?.try_into()?,
        })
    }
}

/// An entry with the time for which it may be used without asking again.
impl TryFrom<v1::EntryResponse> for (Entry, Validity) {
    type Error = WireDefect;

    fn try_from(response: v1::EntryResponse) -> Result<Self, WireDefect> {
        let entry = WireDefect::required("entry", response.entry)?.try_into()?;
        Ok((entry, Validity::from_nanos(response.valid_nanos, response.granted_nanos)))
    }
}
