//! The calls of `forebay.v1.Namespace` about what is to stay known.

use std::sync::Arc;

use forebay_metadata::{Command, Pin, StateReader, Success, Unpin, query};
use forebay_proto::v1;
use forebay_types::InodeId;
use forebay_types::limits::PATH_LENGTH_MAX;
use tonic::Status;

use super::{path, stamp};
use crate::answer_room::AnswerRoom;
use crate::error::MasterError;
use crate::limits;
use crate::shared::Shared;
use crate::tree;

pub(super) async fn pin(shared: &Arc<Shared>, request: v1::PinRequest) -> Result<v1::PinResponse, Status> {
    let (path, stamp) = (path(&request.path)?, stamp(request.header)?);
    // What was never asked for is not known, and cannot be pinned before it is.
    tree::resolve(shared, &path).await?;
    match shared.propose(Some(stamp), Command::Pin(Pin { path })).await? {
        Success::Pinned { inode, already } => Ok(v1::PinResponse { inode: inode.get(), already }),
        _ => Err(MasterError::WrongAnswer("pin").into()),
    }
}

pub(super) async fn unpin(shared: &Shared, request: v1::UnpinRequest) -> Result<v1::UnpinResponse, Status> {
    let command = Command::Unpin(Unpin { path: path(&request.path)? });
    match shared.propose(Some(stamp(request.header)?), command).await? {
        Success::Unpinned { .. } => Ok(v1::UnpinResponse {}),
        _ => Err(MasterError::WrongAnswer("unpin").into()),
    }
}

pub(super) async fn list(
    shared: &Shared,
    request: v1::ListPinsRequest,
) -> Result<v1::ListPinsResponse, Status> {
    let page = |state: &dyn StateReader| page(state, InodeId::new(request.after));
    Ok(shared.query(page).await?)
}

/// One page of pins, as long as a message can be. What is detached only waits to be reaped, and what moved out of the reach of
/// paths has none.
fn page(state: &dyn StateReader, after: InodeId) -> Result<v1::ListPinsResponse, MasterError> {
    let pins = query::pins(state, after, limits::PINS_PAGE)?;
    let (found, mut room) = (pins.len(), AnswerRoom::new());
    let (mut paths, mut seen) = (Vec::new(), 0);
    let mut last = after;
    for (inode, path) in pins {
        let path = path.map(|path| path.to_bytes()).filter(|path| path.len() <= PATH_LENGTH_MAX);
        if !room.admits(path.as_ref().map_or(0, Vec::len) + PATH_FRAME) {
            break;
        }
        (last, seen) = (inode, seen + 1);
        paths.extend(path.map(Into::into));
    }
    let is_last = found < limits::PINS_PAGE && seen == found;
    Ok(v1::ListPinsResponse { paths, next: if is_last { 0 } else { last.get() } })
}

/// Most bytes that frame one path.
const PATH_FRAME: usize = 16;
