//! Names and what `stat` shows: LOOKUP, FORGET, GETATTR, READLINK, STATFS.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_client::About;
use forebay_types::limits::NAME_LENGTH_MAX;
use forebay_types::{EntryName, ErrorKind, NameError};
use fuser::{FileAttr, Generation, ReplyAttr, ReplyData, ReplyEntry, ReplyStatfs};

use super::{Judged, Shared};
use crate::answers::Failure;
use crate::attributes::nothing;
use crate::errno;
use crate::metrics::{Operation, Question};
use crate::namespace::{Namespace, NamespaceError, Room};
use crate::node_id::NodeId;
use crate::nodes::{Clash, Content, NodeView, Place};
use crate::ttl::Validity;

/// A node id means the same for ever, so there are no generations of it.
pub(super) const GENERATION: Generation = Generation(0);
/// The unit in which `df` is told of room.
const ROOM_UNIT: u32 = 4096;

impl From<Clash> for Failure {
    fn from(clash: Clash) -> Self {
        Self::Failed(NamespaceError { kind: ErrorKind::Internal, message: clash.to_string() })
    }
}

impl<N: Namespace> Shared<N> {
    pub(super) fn lookup(self: &Arc<Self>, parent: NodeId, pid: u32, name: &OsStr, reply: ReplyEntry) {
        self.answers.metrics.request(Operation::Lookup);
        self.note_lookup(parent, pid);
        let name = match EntryName::new(name.as_bytes()) {
            Ok(name) => name,
            Err(NameError::TooLong(_)) => return reply.error(errno::NAME_TOO_LONG),
            Err(_) => return reply.error(errno::NO_ENTRY),
        };
        let Some(directory) = self.nodes.view(parent) else { return reply.error(errno::STALE) };
        let (shared, waits) = (Arc::clone(self), self.busy.waits(parent));
        let work = async move { shared.look_up(&directory, &name).await };
        let shared = Arc::clone(self);
        self.answers.answer(Operation::Lookup, self.deadline, work, move |outcome| {
            let _waits = waits;
            match outcome {
                Ok((attributes, ttl)) => {
                    // Without leave to remember that the name is missing, it is an error and no answer.
                    if attributes.ino.0 == 0 && ttl.is_zero() {
                        return reply.error(errno::NO_ENTRY);
                    }
                    reply.entry(&ttl, &attributes, GENERATION);
                }
                Err(failure) => reply.error(shared.refuse(Operation::Lookup, parent, &failure)),
            }
        });
    }

    /// The attributes of the name, with the node id 0 where there is none, and for how long the kernel may remember
    /// that. Counts a lookup as the last step, so that none is counted that the kernel will not be told of.
    async fn look_up(&self, directory: &NodeView, name: &EntryName) -> Result<(FileAttr, Duration), Failure> {
        let begun = Instant::now();
        let found = self.namespace.lookup(directory.facts.inode, name).await;
        let found = found.map_err(|error| match error.kind {
            // The directory is, and what has taken its place may have the name.
            ErrorKind::NotFound => errno::STALE.into(),
            _ => Failure::from(error),
        })?;
        self.count_answer(Question::Lookup, found.asked, begun);
        let validity = self.ttl.validity(found.asked, found.valid);
        let Some(entry) = found.entry else {
            // Where a mount may appear, its name is not remembered to be missing.
            if !directory.facts.has_under_store {
                return Ok((nothing(), Duration::ZERO));
            }
            let ttl = self.ttl_of(About::names(directory.facts.inode), validity, Instant::now());
            return Ok((nothing(), ttl));
        };
        let facts = self.nodes.facts(&entry);
        let place = Place { parent: directory.id, name: name.as_bytes() };
        // What was remembered may be superseded: an open that finds it so must look again.
        let told = if found.asked < begun { found.asked } else { Instant::now() };
        let id = self.nodes.remember(&facts, place, validity, told)?;
        let ttl = self.ttl_of(facts.about(), validity, Instant::now());
        Ok((facts.attributes.of_node(id), ttl))
    }

    pub(super) fn forget(&self, node: NodeId, lookups: u64) {
        self.answers.metrics.request(Operation::Forget);
        self.nodes.forget(node, lookups);
        if !self.nodes.is_known(node) {
            self.listings.forget(node);
        }
    }

    pub(super) fn getattr(self: &Arc<Self>, node: NodeId, pid: u32, reply: ReplyAttr) {
        self.answers.metrics.request(Operation::Getattr);
        let Some(view) = self.nodes.view(node) else { return reply.error(errno::STALE) };
        let waits = self.busy.waits(view.parent);
        let ttl = self.ttl(&view);
        // What is open is what it was when it was opened, whatever the name means now.
        if view.handles > 0 || !ttl.is_zero() {
            return reply.attr(&ttl, &view.facts.attributes.of_node(node));
        }
        let shared = Arc::clone(self);
        let work = async move {
            let asked = Instant::now();
            let answer = shared.namespace.attributes(view.facts.inode).await;
            if let Ok(answer) = &answer {
                shared.count_answer(Question::Attributes, answer.asked, asked);
            }
            match shared.judge(&view, pid, asked, answer).await? {
                Judged::Current { view, .. } => Ok(view),
                Judged::Superseded => Ok(NodeView { validity: Validity::already_over(asked), ..view }),
            }
        };
        let shared = Arc::clone(self);
        self.answers.answer(Operation::Getattr, self.deadline, work, move |outcome| {
            let _waits = waits;
            match outcome {
                Ok(view) => reply.attr(&shared.ttl(&view), &view.facts.attributes.of_node(view.id)),
                Err(failure) => reply.error(shared.refuse(Operation::Getattr, node, &failure)),
            }
        });
    }

    /// For how long the kernel may remember what a node shows.
    fn ttl(&self, view: &NodeView) -> Duration {
        let now = Instant::now();
        let ttl = self.ttl_of(view.facts.about(), view.validity, now);
        // The kernel has no name of what it mounted, which it could be told to ask for again.
        let is_told = view.id != NodeId::ROOT || !view.facts.own_grant;
        if is_told { ttl } else { ttl.min(view.validity.left(now)) }
    }

    pub(super) fn readlink(&self, node: NodeId, reply: ReplyData) {
        self.answers.metrics.request(Operation::Readlink);
        match self.nodes.view(node).map(|view| view.facts.content) {
            Some(Content::Symlink(target)) => reply.data(&target),
            Some(Content::File(_) | Content::Directory) => reply.error(errno::of(ErrorKind::InvalidArgument)),
            None => reply.error(errno::STALE),
        }
    }

    pub(super) fn statfs(self: &Arc<Self>, reply: ReplyStatfs) {
        self.answers.metrics.request(Operation::Statfs);
        let shared = Arc::clone(self);
        let work = async move { Ok(shared.namespace.room().await?) };
        let shared = Arc::clone(self);
        self.answers.answer(Operation::Statfs, self.deadline, work, move |outcome| match outcome {
            Ok(room) => show_room(room, reply),
            Err(failure) => reply.error(shared.refuse(Operation::Statfs, NodeId::ROOT, &failure)),
        });
    }
}

fn show_room(room: Room, reply: ReplyStatfs) {
    let units = |bytes: u64| bytes / u64::from(ROOM_UNIT);
    let free = units(room.capacity.get().saturating_sub(room.used.get()));
    let files = room.files.saturating_add(room.directories);
    let name_length = u32::try_from(NAME_LENGTH_MAX).expect("a small constant");
    reply.statfs(units(room.capacity.get()), free, free, files, 0, ROOM_UNIT, name_length, ROOM_UNIT);
}
