//! Looks up many paths, most of which lie in few directories: each directory is looked up once.

use std::collections::BTreeMap;
use std::sync::Arc;

use forebay_proto::Entry;
use forebay_types::{ErrorKind, InodeId, NamespacePath};
use parking_lot::Mutex;

use crate::error::MasterError;
use crate::limits;
use crate::shared::Shared;
use crate::tree;

/// The directories that were looked up.
#[derive(Debug, Default)]
pub(crate) struct PathLookup {
    directories: Mutex<BTreeMap<NamespacePath, InodeId>>,
}

impl PathLookup {
    /// The entry at a path, within its mount's freshness.
    pub(crate) async fn find(
        &self,
        shared: &Arc<Shared>,
        path: &NamespacePath,
    ) -> Result<Entry, MasterError> {
        let (Some(above), Some(name)) = (path.parent(), path.names().last()) else {
            return Ok(tree::resolve(shared, path).await?.0);
        };
        let known = self.directories.lock().get(&above).copied();
        if let Some(directory) = known {
            match tree::lookup_of_many(shared, directory, name).await {
                Ok((Some(entry), _)) => return Ok(entry),
                Ok((None, _)) => {
                    let (path, missing) = (path.clone(), name.clone());
                    return Err(MasterError::NoPath { path, missing, directory: above });
                }
                // The directory is another one by now.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    self.directories.lock().remove(&above);
                }
                Err(error) => return Err(error),
            }
        }
        let (directory, _) = tree::resolve(shared, &above).await?;
        let found = tree::lookup_of_many(shared, directory.inode, name).await?.0;
        let mut directories = self.directories.lock();
        if directories.len() >= limits::DIRECTORIES_LOOKED_UP_MAX {
            directories.clear();
        }
        directories.insert(above.clone(), directory.inode);
        drop(directories);
        found.ok_or_else(|| MasterError::NoPath {
            path: path.clone(),
            missing: name.clone(),
            directory: above,
        })
    }
}
