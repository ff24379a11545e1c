//! A version that may be read: its descriptor, which was checked, and the mount that leads to its bytes.

use std::sync::Arc;

use forebay_block_store::{PageIndex, VersionSource};
use forebay_types::{Admission, BlockId, FileId, FileOffset, NotAdmitted, PAGE_LENGTH, VersionDescriptor};
use tracing::field::DisplayValue;

use crate::mounts::ConnectedMount;

/// A version and where it comes from.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) descriptor: VersionDescriptor,
    pub(crate) mount: Arc<ConnectedMount>,
}

impl Version {
    pub(crate) const fn file(&self) -> FileId {
        self.descriptor.file
    }

    pub(crate) const fn length(&self) -> u64 {
        self.descriptor.fingerprint.length.get()
    }

    /// Whether a mount that says this wants the version cached, or some of it.
    pub(crate) fn judge(&self, admission: &Admission) -> Result<(), NotAdmitted> {
        admission.judge(self.descriptor.key.as_bytes(), self.descriptor.fingerprint.length)
    }

    /// The version as the store names it.
    pub(crate) fn source(&self) -> VersionSource<'_> {
        VersionSource { descriptor: &self.descriptor, mount_uri: &self.mount.place }
    }

    /// The block of the byte at `offset`, for the log.
    pub(crate) fn block_at(&self, offset: u64) -> Option<DisplayValue<BlockId>> {
        self.descriptor.block_at(FileOffset::new(offset)).map(tracing::field::display)
    }

    /// Where a page ends: at its full length, or where the file does.
    pub(crate) fn page_end(&self, page: PageIndex) -> u64 {
        (page.offset().get() + PAGE_LENGTH).min(self.length())
    }

    /// Its full URI, for people.
    pub(crate) fn object(&self) -> String {
        self.mount.under_store().uri().display_key(&self.descriptor.key)
    }
}
