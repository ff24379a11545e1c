//! Extended attributes: GETXATTR, LISTXATTR.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Instant;

use fuser::ReplyXattr;

use super::{Judged, Shared};
use crate::answers::Failure;
use crate::errno;
use crate::metrics::Operation;
use crate::modes::Fixed;
use crate::namespace::{Namespace, ReadSource};
use crate::node_id::NodeId;
use crate::nodes::NodeView;
use crate::xattr::{Attribute, Handover, hand_over, names};

impl<N: Namespace> Shared<N> {
    pub(super) fn getxattr(
        self: &Arc<Self>,
        node: NodeId,
        pid: u32,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        self.answers.metrics.request(Operation::Getxattr);
        let Some(view) = self.nodes.view(node) else { return reply.error(errno::STALE) };
        let Some(attribute) = Attribute::find(name, &view.facts) else {
            return reply.error(errno::NO_ATTRIBUTE);
        };
        let shared = Arc::clone(self);
        let work = async move { shared.value(&view, pid, attribute).await };
        let shared = Arc::clone(self);
        self.answers.answer(Operation::Getxattr, self.deadline, work, move |outcome| match outcome {
            Ok(value) => give(value.as_bytes(), size, reply),
            Err(failure) => reply.error(shared.refuse(Operation::Getxattr, node, &failure)),
        });
    }

    pub(super) fn listxattr(&self, node: NodeId, size: u32, reply: ReplyXattr) {
        self.answers.metrics.request(Operation::Listxattr);
        match self.nodes.view(node) {
            Some(view) => give(&names(&view.facts), size, reply),
            None => reply.error(errno::STALE),
        }
    }

    async fn value(&self, view: &NodeView, pid: u32, attribute: Attribute) -> Result<String, Failure> {
        if attribute == Attribute::FileId {
            let version = view.facts.version().ok_or(errno::NO_ATTRIBUTE)?;
            return Ok(version.descriptor.file.to_string());
        }
        let asked = Instant::now();
        // What workers hold changes all the time, and nobody tells of it.
        let answer = self.namespace.ask_attributes(view.facts.inode).await;
        // Nobody knows these of a version that was superseded.
        let Judged::Current { view, entry } = self.judge(view, pid, asked, answer).await? else {
            return Err(errno::NO_ATTRIBUTE.into());
        };
        match attribute {
            Attribute::FileId => Err(errno::NO_ATTRIBUTE.into()),
            Attribute::CachedBytes => Ok(entry.cached.get().to_string()),
            Attribute::UnderStoreUri if entry.under_store_uri.is_empty() => Err(errno::NO_ATTRIBUTE.into()),
            Attribute::UnderStoreUri => Ok(entry.under_store_uri),
            Attribute::ServedBy if self.would_pass_through(&view).await => Ok("passthrough".to_owned()),
            Attribute::ServedBy => Ok(match self.namespace.source(&entry).await? {
                ReadSource::ShortCircuit => "short-circuit",
                ReadSource::Remote => "remote",
                ReadSource::UnderStore => "under-store",
            }
            .to_owned()),
        }
    }

    /// Whether an open now would be asked by passthrough.
    async fn would_pass_through(&self, view: &NodeView) -> bool {
        let Some(version) = view.facts.version() else { return false };
        if !self.passthrough.is_allowed() {
            return false;
        }
        match self.nodes.fixed(view.id) {
            Fixed::Passthrough(_) => true,
            Fixed::Direct | Fixed::Buffered if !self.may_be_aliased(view) => false,
            Fixed::Direct | Fixed::Buffered | Fixed::Nothing => {
                let held = self.namespace.hold(&version.descriptor, &version.capability).await;
                held.is_ok_and(|hold| hold.is_some())
            }
        }
    }
}

fn give(value: &[u8], size: u32, reply: ReplyXattr) {
    match hand_over(value, size) {
        Ok(Handover::Length(length)) => reply.size(length),
        Ok(Handover::Value) => reply.data(value),
        Err(errno) => reply.error(errno),
    }
}
