//! An entry as it is kept in memory: as the bytes of its message, since there may be very many.

use forebay_proto::{Entry, WireDefect, v1};
use forebay_types::{EntryKind, InodeId};

use super::Remembered;

/// An entry in few bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackedEntry {
    inode: InodeId,
    kind: EntryKind,
    is_of_under_store: bool,
    own_grant: bool,
    message: Box<[u8]>,
}

impl PackedEntry {
    /// Packs a message.
    ///
    /// # Errors
    /// [`WireDefect`] if it does not say what kind of entry it is.
    pub(crate) fn new(entry: &v1::Entry) -> Result<Self, WireDefect> {
        Ok(Self {
            inode: InodeId::new(entry.inode),
            kind: EntryKind::try_from(entry.kind())?,
            is_of_under_store: !entry.under_store_uri.is_empty(),
            own_grant: entry.own_grant,
            message: entry.packed(),
        })
    }

    /// The entry.
    ///
    /// # Errors
    /// [`WireDefect`] if the message that was packed was no entry.
    pub(crate) fn entry(&self) -> Result<Entry, WireDefect> {
        v1::Entry::unpacked(&self.message)?.try_into()
    }
}

impl Remembered for PackedEntry {
    fn inode(&self) -> InodeId {
        self.inode
    }

    fn kind(&self) -> EntryKind {
        self.kind
    }

    fn is_of_under_store(&self) -> bool {
        self.is_of_under_store
    }

    fn own_grant(&self) -> bool {
        self.own_grant
    }

    fn heap_bytes(&self) -> usize {
        self.message.len()
    }
}
