//! The calls of `forebay.v1.Namespace` that change directories outside of mounts.

use forebay_metadata::{
    Command, MakeDirectory, MountRecord, RemoveDirectory, Rename, ResealedMount, SetAttributes, StateReader,
    Success, query,
};
use forebay_proto::v1;
use forebay_types::NamespacePath;
use tonic::Status;

use super::mounts::check_all_text;
use super::{path, stamp};
use crate::error::MasterError;
use crate::shared::Shared;

pub(super) async fn make(
    shared: &Shared,
    request: v1::MakeDirectoryRequest,
) -> Result<v1::MakeDirectoryResponse, Status> {
    let v1::MakeDirectoryRequest { header, path: at, parents, mode, uid, gid } = request;
    let command = Command::MakeDirectory(MakeDirectory { path: path(&at)?, parents, mode, uid, gid });
    match shared.propose(Some(stamp(header)?), command).await? {
        Success::DirectoryMade { inode, already } => {
            Ok(v1::MakeDirectoryResponse { inode: inode.get(), already })
        }
        _ => Err(MasterError::WrongAnswer("make a directory").into()),
    }
}

pub(super) async fn remove(
    shared: &Shared,
    request: v1::RemoveDirectoryRequest,
) -> Result<v1::RemoveDirectoryResponse, Status> {
    let command = Command::RemoveDirectory(RemoveDirectory { path: path(&request.path)? });
    match shared.propose(Some(stamp(request.header)?), command).await? {
        Success::DirectoryRemoved { .. } => Ok(v1::RemoveDirectoryResponse {}),
        _ => Err(MasterError::WrongAnswer("remove a directory").into()),
    }
}

pub(super) async fn rename(
    shared: &Shared,
    request: v1::RenameRequest,
) -> Result<v1::RenameResponse, Status> {
    let (from, to) = (path(&request.from)?, path(&request.to)?);
    let stamp = stamp(request.header)?;
    let resealed = shared.query(|state| reseal(shared, state, &from, &to)).await?;
    match shared.propose(Some(stamp), Command::Rename(Rename { from, to, resealed })).await? {
        Success::Renamed { mounts } => Ok(v1::RenameResponse { mounts }),
        _ => Err(MasterError::WrongAnswer("rename").into()),
    }
}

/// The credentials of the mounts that move, sealed for the paths that they get: a sealed value is bound to its mount's path.
fn reseal(
    shared: &Shared,
    state: &dyn StateReader,
    from: &NamespacePath,
    to: &NamespacePath,
) -> Result<Vec<ResealedMount>, MasterError> {
    let mounts = query::mounts(state)?;
    let moved = |mount: &MountRecord| mount.path.moved(from, to).unwrap_or_else(|| mount.path.clone());
    check_all_text(from, mounts.iter().map(|mount| (moved(mount), mount)))?;
    let mut resealed = Vec::new();
    for mount in mounts.iter().filter(|mount| mount.path.starts_with(from)) {
        let path = moved(mount);
        let options = shared.under_stores.reseal(&mount.path, &path, &mount.options)?;
        if !options.is_empty() {
            resealed.push(ResealedMount { mount: mount.id, path, options });
        }
    }
    Ok(resealed)
}

pub(super) async fn set_attributes(
    shared: &Shared,
    request: v1::SetAttributesRequest,
) -> Result<v1::SetAttributesResponse, Status> {
    let v1::SetAttributesRequest { header, path: at, mode, uid, gid } = request;
    let command = Command::SetAttributes(SetAttributes { path: path(&at)?, mode, uid, gid });
    match shared.propose(Some(stamp(header)?), command).await? {
        Success::AttributesSet { changed } => Ok(v1::SetAttributesResponse { changed }),
        _ => Err(MasterError::WrongAnswer("set attributes").into()),
    }
}
