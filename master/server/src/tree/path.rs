//! Where a path leads, name by name.
//!
//! The directories that the namespace itself has are as they are, so one look at the state goes through all of them;
//! what lies in a mount is answered within its freshness.

use std::sync::Arc;

use forebay_metadata::{StateReader, query};
use forebay_proto::{Entry, Validity};
use forebay_types::{ErrorKind, InodeId, NamespacePath};

use super::describing::Describing;
use super::{existing, lookup};
use crate::error::MasterError;
use crate::freshness::SYNTHETIC;
use crate::shared::Shared;

/// The entry at `path`. A directory on the way that turns out to be gone is looked for once more, to say what is missing.
pub(crate) async fn resolve(
    shared: &Arc<Shared>,
    path: &NamespacePath,
) -> Result<(Entry, Validity), MasterError> {
    match walk(shared, path).await {
        Err(MasterError::NoInode(_) | MasterError::Listing { kind: ErrorKind::NotFound, .. }) => {
            walk(shared, path).await
        }
        outcome => outcome,
    }
}

async fn walk(shared: &Arc<Shared>, path: &NamespacePath) -> Result<(Entry, Validity), MasterError> {
    match shared.query(|state| through_own(shared, state, path)).await? {
        OwnWay::Whole(entry) => Ok((*entry, SYNTHETIC)),
        // Boxed, since what may list a directory is far larger than what most questions need.
        OwnWay::Until { passed, directory } => Box::pin(walk_on(shared, path, passed, directory)).await,
    }
}

/// Goes on from the directory that the first names of the path led to.
async fn walk_on(
    shared: &Arc<Shared>,
    path: &NamespacePath,
    passed: usize,
    mut directory: InodeId,
) -> Result<(Entry, Validity), MasterError> {
    let (own, within) = path.names().split_at(passed);
    let mut above = own.iter().cloned().fold(NamespacePath::root(), |path, name| path.join(name));
    let mut answer = None;
    for name in within {
        let (found, valid) = lookup(shared, directory, name).await?;
        let Some(entry) = found else {
            return Err(MasterError::NoPath { path: path.clone(), missing: name.clone(), directory: above });
        };
        directory = entry.inode;
        above = above.join(name.clone());
        answer = Some((entry, valid));
    }
    answer.ok_or(MasterError::NoInode(directory))
}

/// How far a path leads through directories that lie in no mount.
enum OwnWay {
    /// To its end, which is this.
    Whole(Box<Entry>),
    /// So many names, to this directory.
    Until { passed: usize, directory: InodeId },
}

fn through_own(
    shared: &Shared,
    state: &dyn StateReader,
    path: &NamespacePath,
) -> Result<OwnWay, MasterError> {
    let (mut passed, mut last) = (0, existing(state, InodeId::ROOT)?);
    for name in path.names() {
        match query::lookup(state, last.id, name)? {
            Some(found) if found.mount.is_none() => (passed, last) = (passed + 1, found),
            // What is missing is looked for by whoever says so.
            _ => break,
        }
    }
    if passed < path.names().len() {
        return Ok(OwnWay::Until { passed, directory: last.id });
    }
    let entry = Describing::new(shared, state).entry(&last)?;
    Ok(OwnWay::Whole(Box::new(entry)))
}
