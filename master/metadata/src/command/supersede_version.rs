//! Takes over that an under-store has another content for a file, or none.

use forebay_types::{FileId, Fingerprint, InodeId};
use serde::{Deserialize, Serialize};

use crate::reply::{Rejection, Reply, Success};
use crate::state::{Edge, Inode, InodeBody, Tombstone, Transition, Version, edge_key, tombstone_key};
use crate::store::{StoreError, Table};
use crate::tree;

/// Gives a file a new version, or removes it. Of several that saw the same version only the first does anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupersedeVersion {
    /// The file.
    pub inode: InodeId,
    /// The version that was compared with the under-store.
    pub seen: FileId,
    /// What the under-store has now; `None` when the object is gone.
    pub fingerprint: Option<Fingerprint>,
}

impl SupersedeVersion {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let lineage = tree::lineage(state.reader(), self.inode)?;
        let Some(inode) = lineage.and_then(|lineage| lineage.into_iter().next()) else {
            return Ok(Err(Rejection::InodeMissing { inode: self.inode }));
        };
        let (InodeBody::File(version), Some(name)) = (&inode.body, &inode.name) else {
            return Ok(Err(Rejection::NotAFile { inode: self.inode }));
        };
        if version.file != self.seen {
            return Ok(Ok(Success::Superseded { current: Some(version.file) }));
        }
        let Some(edge) = state.edge(inode.parent, name)? else {
            let key = edge_key(inode.parent, name);
            return Err(StoreError::corrupt(Table::Children, &key, "a file has no edge"));
        };
        let Some(fingerprint) = &self.fingerprint else {
            tree::cut(state, inode.parent, name, &edge)?;
            state.write(tombstone_key(inode.parent, name), &Tombstone { gone_at: state.index() });
            state.name_changed(inode.parent, name, Some(inode.id));
            return Ok(Ok(Success::Superseded { current: None }));
        };
        if version.fingerprint.is_same_content(fingerprint) {
            return Ok(Ok(Success::Superseded { current: Some(version.file) }));
        }
        let file = replace_version(state, &inode, version, fingerprint)?;
        state.write(edge_key(inode.parent, name), &Edge { changed_at: state.index(), ..edge });
        state.name_changed(inode.parent, name, Some(inode.id));
        Ok(Ok(Success::Superseded { current: Some(file) }))
    }
}

/// Gives the file `inode` a version of its own for `fingerprint`; the one that it had is forgotten.
pub(super) fn replace_version(
    state: &mut Transition<'_, '_>,
    inode: &Inode,
    version: &Version,
    fingerprint: &Fingerprint,
) -> Result<FileId, StoreError> {
    let file = state.next_file()?;
    let body = Version { file, fingerprint: fingerprint.clone(), block_length: version.block_length };
    let after = Inode { modified: fingerprint.modified, body: InodeBody::File(body), ..inode.clone() };
    state.replace_inode(inode, &after)?;
    state.forget_version(version.file);
    Ok(file)
}

#[cfg(test)]
mod tests;
