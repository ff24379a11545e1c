//! Adopting what is here under an id of another life.
//!
//! The index finds a candidate by a digest, which is enough to drop bytes and not to serve them: the identity is
//! compared in full with the header on the disk.

use super::Inner;
use crate::index::Location;
use crate::io::open_for_reading;
use crate::layout::{FileKind, read_header, relative_path};
use crate::source::VersionSource;

impl Inner {
    pub(super) fn candidate(&self, source: &VersionSource<'_>) -> Option<Location> {
        let digest = source.digest();
        self.state.lock().index.candidate(source.file(), digest)
    }

    pub(super) fn adopt(&self, source: &VersionSource<'_>) -> bool {
        let mut looked_at = None;
        // Between two of these steps it may have been moved to another tier.
        loop {
            let found = self.candidate(source).filter(|found| Some(*found) != looked_at);
            let Some(found) = found else { return false };
            if self.is_same(found, source) && self.state.lock().index.adopt(found.key, source.file()) {
                self.statistics.adopted_versions.add(1);
                return true;
            }
            looked_at = Some(found);
        }
    }

    /// Whether the files there are of this content, or of a segment of it. Unreadable ones are not.
    fn is_same(&self, location: Location, source: &VersionSource<'_>) -> bool {
        let path = relative_path(location.key, FileKind::Index);
        let Ok(directory) = self.directory(location.tier) else { return false };
        let Ok(index) = open_for_reading(directory.root(), &path) else { return false };
        let Some((header, _)) = read_header(&index) else { return false };
        header.key == location.key
            && header.cluster == self.cluster
            && header.uri == source.uri()
            && header.fingerprint.is_same_content(&source.descriptor.fingerprint)
    }
}
