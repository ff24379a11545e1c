//! Open directories: OPENDIR, READDIR, READDIRPLUS, RELEASEDIR.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_client::About;
use forebay_types::ErrorKind;
use fuser::{FileHandle, FileType, INodeNo, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyOpen};

use super::Shared;
use super::kept::SHOWN;
use super::names::GENERATION;
use crate::answers::Failure;
use crate::attributes::file_type;
use crate::errno;
use crate::listing::{FIRST_NAME, Offset, OpenDirectory, Reading};
use crate::metrics::Operation;
use crate::namespace::Namespace;
use crate::node_id::NodeId;
use crate::nodes::{Place, Verdict};

impl<N: Namespace> Shared<N> {
    /// Has the kernel show what it keeps, or asks for the first page at once. A directory that is gone sends the kernel back
    /// to look its path up again.
    pub(super) fn opendir(self: &Arc<Self>, node: NodeId, pid: u32, reply: ReplyOpen) {
        self.answers.metrics.request(Operation::Opendir);
        let Some(view) = self.nodes.view(node) else { return reply.error(errno::STALE) };
        let shared = Arc::clone(self);
        let work = async move {
            if let Some(directory) = shared.open_to_show(&view, pid) {
                return Ok((directory, SHOWN));
            }
            let directory = OpenDirectory::new(node, view.facts.inode, view.parent);
            match directory.begin(&shared.asking()).await {
                Err(error) if error.kind == ErrorKind::NotFound => {
                    match shared.nodes.verdict_of_lost(node, pid) {
                        Verdict::Serve => Err(error.into()),
                        Verdict::Refuse => Err(errno::STALE.into()),
                    }
                }
                outcome => {
                    outcome?;
                    Ok(shared.open_to_gather(&view, pid, directory))
                }
            }
        };
        let shared = Arc::clone(self);
        self.answers.answer(Operation::Opendir, self.deadline, work, move |outcome| match outcome {
            Ok((directory, flags)) => reply.opened(shared.directories.insert(directory), flags),
            Err(failure) => reply.error(shared.refuse(Operation::Opendir, node, &failure)),
        });
    }

    pub(super) fn readdir(self: &Arc<Self>, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.answers.metrics.request(Operation::Readdir);
        let Some(directory) = self.directories.get(handle) else { return reply.error(errno::BAD_HANDLE) };
        let node = directory.node;
        let (shared, listed) = (Arc::clone(self), Arc::clone(&directory));
        let work = async move { shared.page(&listed, offset).await };
        let shared = Arc::clone(self);
        self.answers.answer(Operation::Readdir, self.deadline, work, move |outcome| match outcome {
            Ok(reading) => {
                shared.fill(&directory, &reading, &mut reply);
                reply.ok();
            }
            Err(failure) => reply.error(shared.refuse(Operation::Readdir, node, &failure)),
        });
    }

    pub(super) fn readdirplus(
        self: &Arc<Self>,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.answers.metrics.request(Operation::Readdirplus);
        let Some(directory) = self.directories.get(handle) else { return reply.error(errno::BAD_HANDLE) };
        let node = directory.node;
        let (shared, listed) = (Arc::clone(self), Arc::clone(&directory));
        let (work, waits) = (async move { shared.page(&listed, offset).await }, self.busy.waits(node));
        let shared = Arc::clone(self);
        self.answers.answer(Operation::Readdirplus, self.deadline, work, move |outcome| {
            let _waits = waits;
            let filled = outcome.and_then(|reading| shared.fill_plus(&directory, &reading, &mut reply));
            match filled {
                Ok(()) => reply.ok(),
                Err(failure) => reply.error(shared.refuse(Operation::Readdirplus, node, &failure)),
            }
        });
    }

    pub(super) fn releasedir(&self, handle: FileHandle, reply: ReplyEmpty) {
        self.answers.metrics.request(Operation::Releasedir);
        if let Some(directory) = self.directories.remove(handle)
            && let Some(unfinished) = directory.unfinished()
        {
            self.listings.close(directory.node, directory.is_shown, unfinished);
        }
        reply.ok();
    }

    /// A directory that goes away meanwhile is stale: programs take "not found" here for the end of the listing. Of the
    /// end the kernel hears only after it is settled what it may keep.
    async fn page(&self, directory: &OpenDirectory, offset: u64) -> Result<Reading, Failure> {
        if let Some(left) = directory.begun_again(offset) {
            self.gather_again(directory, left).await?;
        }
        let reading = directory.page_at(&self.asking(), offset).await;
        let reading = reading.map_err(|error| match error.kind {
            ErrorKind::NotFound => errno::STALE.into(),
            _ => Failure::from(error),
        })?;
        if reading.is_end() {
            self.end(directory, reading.at).await?;
        }
        Ok(reading)
    }

    /// Names with their node ids, as many as fit. An answer never reaches into the next page: the kernel asks again.
    fn fill(&self, directory: &OpenDirectory, reading: &Reading, reply: &mut ReplyDirectory) {
        for (next, name, node) in dots(directory, reading.at) {
            if reply.add(INodeNo(node.get()), next, FileType::Directory, name) {
                return;
            }
        }
        if !reading.is_end() {
            directory.without_attributes();
        }
        for (next, named) in reading.entries() {
            let id = INodeNo(self.nodes.id_of(&named.entry).get());
            let name = OsStr::from_bytes(named.name.as_bytes());
            if reply.add(id, next, file_type(named.entry.kind), name) {
                return;
            }
        }
    }

    /// The same with attributes. Each name but the dots counts as a lookup that the kernel will forget one day.
    fn fill_plus(
        &self,
        directory: &OpenDirectory,
        reading: &Reading,
        reply: &mut ReplyDirectoryPlus,
    ) -> Result<(), Failure> {
        for (next, name, node) in dots(directory, reading.at) {
            let known = self.nodes.view(node).or_else(|| self.nodes.view(NodeId::ROOT));
            let Some(attributes) = known.map(|view| view.facts.attributes.of_node(node)) else { continue };
            if reply.add(attributes.ino, next, name, &Duration::ZERO, &attributes, GENERATION) {
                return Ok(());
            }
        }
        let (now, mut is_any_counted) = (Instant::now(), false);
        for (next, named) in reading.entries() {
            let facts = self.nodes.facts(&named.entry);
            let name = OsStr::from_bytes(named.name.as_bytes());
            // Only what fits is counted, and before the kernel hears of it.
            let place = Place { parent: directory.node, name: named.name.as_bytes() };
            let validity = reading.page.validity_of(named);
            let id = match self.nodes.remember(&facts, place, validity, validity.asked) {
                Ok(id) => id,
                // The kernel would hear of none of those that are counted already, and so forget none. It gets them,
                // and is told of this one when it asks for what follows.
                Err(_) if is_any_counted => return Ok(()),
                Err(clash) => return Err(clash.into()),
            };
            let about = About::entry(facts.inode, directory.inode).with_own_grant(facts.own_grant);
            let ttl = self.ttl_of(about, validity, now);
            let attributes = facts.attributes.of_node(id);
            if reply.add(attributes.ino, next, name, &ttl, &attributes, GENERATION) {
                self.nodes.forget(id, 1);
                return Ok(());
            }
            is_any_counted = true;
        }
        Ok(())
    }
}

/// `.` and `..` as far as they come at or after an offset, each with the offset after it.
fn dots(directory: &OpenDirectory, from: Offset) -> impl Iterator<Item = (u64, &'static str, NodeId)> {
    let both = [(0, ".", directory.node), (1, "..", directory.parent)];
    let left = both.into_iter().filter(move |(at, _, _)| *at >= from.index && *at < FIRST_NAME);
    left.map(move |(at, name, node)| (from.with_index(at + 1).get(), name, node))
}
