//! The nodes that the kernel knows: which version or directory each id means, and what was said of it when.
//!
//! One node id names one version of a file, so what is open stays what it was when the name gets a new content. A
//! directory keeps its id for life, and so does a symbolic link. A node stays while the kernel holds lookups of it or
//! handles on it. Each lock guards one shard, is held for a few steps only, and never across an await.
//!
//! A version may have a second node, an alias: where the open handles of the first fix how it is read, new ones can be
//! read otherwise. A name means the alias from when one is wanted until the kernel has forgotten it.

mod path;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use forebay_client::{About, Entry};
use forebay_types::{BlockCapability, EntryKind, FileId, InodeId, VersionDescriptor};
use parking_lot::{Mutex, MutexGuard};
use prometheus::IntGauge;
use thiserror::Error;

use crate::attributes::{Appearance, Attributes};
use crate::limits::{LOOKUP_TRUST, REFUSED_MAX, SHARDS, SHRINK_MIN};
use crate::modes::{Candidate, Entered, Fixed, LiveHandles};
use crate::node_id::NodeId;
use crate::ttl::Validity;

/// A version and the right to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    pub(crate) descriptor: VersionDescriptor,
    pub(crate) capability: BlockCapability,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Directory,
    File(Arc<FileVersion>),
    Symlink(Arc<[u8]>),
}

/// What an entry says that a node remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) inode: InodeId,
    /// The directory that it lies in.
    pub(crate) directory: InodeId,
    pub(crate) attributes: Attributes,
    pub(crate) content: Content,
    /// Whether it comes from an under-store that could be named. The name itself is asked for when it is wanted.
    pub(crate) has_under_store: bool,
    /// Whether it has a grant of its own.
    pub(crate) own_grant: bool,
}

/// A copy of a node, so that no lock is held while it is used.
#[derive(Clone, Debug)]
pub(crate) struct NodeView {
    pub(crate) id: NodeId,
    pub(crate) parent: NodeId,
    pub(crate) facts: Facts,
    pub(crate) validity: Validity,
    pub(crate) handles: u64,
}

/// Where the kernel was told that a node lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) parent: NodeId,
    pub(crate) name: &'a [u8],
}

/// What to do about a request for a node that is not the file's version any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on with the node's own version.
    Serve,
    /// Send the kernel back to look the path up again.
    Refuse,
}

/// Two entries that claim the same node id, which the ids' making rules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{inode} would be {node}, which is another entry")]
pub(crate) struct Clash {
    node: NodeId,
    inode: InodeId,
}

/// All nodes. `B` is what keeps passthrough alive.
#[derive(Debug)]
pub(crate) struct NodeTable<B> {
    shards: Box<[Mutex<Shard<B>>]>,
    /// The directory that node 1 stands for.
    root: InodeId,
    appearance: Appearance,
    live: IntGauge,
    /// Nodes that want an alias, and aliases: most often there are none, and nobody has to look for them.
    aliases: AtomicUsize,
}

type Shard<B> = HashMap<NodeId, Node<B>>;

#[derive(Debug)]
struct Node<B> {
    parent: NodeId,
    /// For messages only. Of a file, of which there may be millions, it is empty: the key of its version says it.
    name: Box<[u8]>,
    /// How often the kernel was told of the node and has not forgotten it.
    lookups: u64,
    facts: Facts,
    validity: Validity,
    /// When the kernel was last told that a name means the node.
    looked_up: Instant,
    /// Threads that were sent back since then. One that comes again has no path to look up: it reopens a descriptor
    /// through /proc, and gets the old version.
    refused: Vec<u32>,
    handles: LiveHandles<B>,
    /// Until its handles are gone, new ones are to be had on its version's alias.
    wants_alias: bool,
}

impl Place<'_> {
    /// The root of the mount, which has no name.
    const ROOT: Self = Self { parent: NodeId::ROOT, name: b"" };
}

impl Content {
    /// What is remembered of a name under which this lies.
    fn kept_name<'a>(&self, name: &'a [u8]) -> &'a [u8] {
        if matches!(self, Self::File(_)) { b"" } else { name }
    }

    /// Whether `other` may take the place of this under the same node id.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(ours), Self::File(theirs)) => ours.descriptor.file == theirs.descriptor.file,
            (Self::Directory, Self::Directory) | (Self::Symlink(_), Self::Symlink(_)) => true,
            _ => false,
        }
    }
}

impl Facts {
    /// What an answer is about that says this.
    pub(crate) const fn about(&self) -> About {
        About::entry(self.inode, self.directory).with_own_grant(self.own_grant)
    }

    /// The version, where it is a file.
    pub(crate) const fn version(&self) -> Option<&Arc<FileVersion>> {
        match &self.content {
            Content::File(version) => Some(version),
            Content::Directory | Content::Symlink(_) => None,
        }
    }
}

impl NodeView {
    /// Whether `facts` are still of this node: of the same version, directory or link.
    pub(crate) fn is_current_in(&self, facts: &Facts) -> bool {
        self.facts.content.is_same(&facts.content)
    }
}

impl<B> NodeTable<B> {
    /// A table that knows the root only.
    ///
    /// # Errors
    /// [`Clash`] if the entry is no directory.
    pub(crate) fn new(
        root: &Entry,
        validity: Validity,
        appearance: Appearance,
        live: IntGauge,
    ) -> Result<Self, Clash> {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let table = Self { shards, root: root.inode, appearance, live, aliases: AtomicUsize::new(0) };
        if root.kind != EntryKind::Directory {
            return Err(Clash { node: NodeId::ROOT, inode: root.inode });
        }
        table.remember(&table.facts(root), Place::ROOT, validity, validity.asked)?;
        Ok(table)
    }

    /// What a node of this entry would remember.
    pub(crate) fn facts(&self, entry: &Entry) -> Facts {
        let content = match (entry.kind, &entry.version) {
            (EntryKind::File, Some((descriptor, capability))) => Content::File(Arc::new(FileVersion {
                descriptor: descriptor.clone(),
                capability: capability.clone(),
            })),
            (EntryKind::Symlink, _) => Content::Symlink(entry.symlink_target.as_slice().into()),
            // A file always has a version: the client refuses one without.
            (EntryKind::Directory | EntryKind::File, _) => Content::Directory,
        };
        Facts {
            inode: entry.inode,
            directory: entry.directory,
            attributes: self.appearance.attributes(entry),
            content,
            has_under_store: !entry.under_store_uri.is_empty(),
            own_grant: entry.own_grant,
        }
    }

    /// The id that the kernel has or would get for an entry.
    pub(crate) fn id_of(&self, entry: &Entry) -> NodeId {
        entry.version.as_ref().map_or_else(
            || self.id_of_inode(entry.inode),
            |(descriptor, _)| self.id_of_version(descriptor.file),
        )
    }

    /// Which of a version's nodes a name means that is looked up now.
    fn id_of_version(&self, file: FileId) -> NodeId {
        let (first, alias) = (NodeId::of_version(file), NodeId::alias_of_version(file));
        if self.aliases.load(Ordering::Relaxed) == 0 {
            return first;
        }
        let is_wanted = self.shard(first).get(&first).is_some_and(|node| node.wants_alias);
        if is_wanted || self.is_known(alias) { alias } else { first }
    }

    /// Has names mean the alias of a version, from their next lookup on, for as long as its first node has handles.
    pub(crate) fn want_alias(&self, id: NodeId) {
        if let Some(node) = self.shard(id).get_mut(&id)
            && node.handles.count() > 0
            && !node.wants_alias
        {
            node.wants_alias = true;
            self.aliases.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The id that the kernel has or would get for a directory.
    pub(crate) fn id_of_inode(&self, inode: InodeId) -> NodeId {
        if inode == self.root { NodeId::ROOT } else { NodeId::new(inode.get()) }
    }

    /// Counts a lookup of an entry: the kernel is told of it at `told`, and will forget it as often. Of an entry that
    /// was in memory for a while, `told` is when it was asked for.
    ///
    /// # Errors
    /// [`Clash`] if the id means something else already; nothing is counted then.
    pub(crate) fn remember(
        &self,
        facts: &Facts,
        place: Place<'_>,
        validity: Validity,
        told: Instant,
    ) -> Result<NodeId, Clash> {
        let id = match &facts.content {
            Content::File(version) => self.id_of_version(version.descriptor.file),
            Content::Directory | Content::Symlink(_) => self.id_of_inode(facts.inode),
        };
        let name = facts.content.kept_name(place.name);
        let mut shard = self.shard(id);
        if let Some(node) = shard.get_mut(&id) {
            if !node.facts.content.is_same(&facts.content) {
                return Err(Clash { node: id, inode: facts.inode });
            }
            node.lookups += 1;
            node.parent = place.parent;
            if *node.name != *name {
                node.name = name.into();
            }
            node.looked_up = node.looked_up.max(told);
            node.refused = Vec::new();
            node.update(facts, validity);
            return Ok(id);
        }
        let node = Node {
            parent: place.parent,
            name: name.into(),
            lookups: 1,
            facts: facts.clone(),
            validity,
            looked_up: told,
            refused: Vec::new(),
            handles: LiveHandles::default(),
            wants_alias: false,
        };
        if node.is_alias(id) {
            self.aliases.fetch_add(1, Ordering::Relaxed);
        }
        shard.insert(id, node);
        self.live.inc();
        Ok(id)
    }

    /// Takes over a newer answer about a node, without counting a lookup.
    pub(crate) fn refresh(&self, id: NodeId, facts: &Facts, validity: Validity) {
        if let Some(node) = self.shard(id).get_mut(&id)
            && node.facts.content.is_same(&facts.content)
        {
            node.update(facts, validity);
        }
    }

    /// Uncounts lookups that the kernel forgot.
    pub(crate) fn forget(&self, id: NodeId, lookups: u64) {
        let mut shard = self.shard(id);
        if let Some(node) = shard.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(lookups);
            self.remove_if_unused(&mut shard, id);
        }
    }

    /// Whether the kernel may remember something of a node.
    pub(crate) fn is_known(&self, id: NodeId) -> bool {
        self.shard(id).contains_key(&id)
    }

    /// A copy of a node.
    pub(crate) fn view(&self, id: NodeId) -> Option<NodeView> {
        self.shard(id).get(&id).map(|node| NodeView {
            id,
            parent: node.parent,
            facts: node.facts.clone(),
            validity: node.validity,
            handles: node.handles.count(),
        })
    }

    /// What to do about a request of thread `pid` for a node that was superseded.
    ///
    /// The kernel looks the path up again once after a refusal, so a node that it was told of just now must be served:
    /// refusing it again would be seen by the user.
    pub(crate) fn verdict(&self, id: NodeId, pid: u32, now: Instant) -> Verdict {
        let mut shard = self.shard(id);
        let Some(node) = shard.get_mut(&id) else { return Verdict::Refuse };
        let trusted = now.saturating_duration_since(node.looked_up) <= LOOKUP_TRUST;
        if trusted { Verdict::Serve } else { node.refuse_once(pid) }
    }

    /// The same for a node whose directory is gone, or that is one: the path leads to it no more, however short a time
    /// ago it did.
    pub(crate) fn verdict_of_lost(&self, id: NodeId, pid: u32) -> Verdict {
        self.shard(id).get_mut(&id).map_or(Verdict::Refuse, |node| node.refuse_once(pid))
    }

    /// What fixes the mode of a handle that is opened now.
    pub(crate) fn fixed(&self, id: NodeId) -> Fixed<B> {
        self.shard(id).get(&id).map_or(Fixed::Nothing, |node| node.handles.fixed())
    }

    /// Counts a handle and tells how it is to read. `None` if there is no such node.
    pub(crate) fn enter(&self, id: NodeId, candidate: Candidate<'_, B>) -> Option<Entered<B>> {
        self.shard(id).get_mut(&id).map(|node| node.handles.enter(candidate))
    }

    /// Uncounts a handle. What comes back with the last one that read by passthrough is to be dropped outside of any
    /// lock: that is a call into the kernel and perhaps a message to a worker.
    pub(crate) fn leave(&self, id: NodeId) -> Option<Arc<B>> {
        let mut shard = self.shard(id);
        let node = shard.get_mut(&id)?;
        let backing = node.handles.leave();
        if node.handles.count() == 0 && std::mem::take(&mut node.wants_alias) {
            self.aliases.fetch_sub(1, Ordering::Relaxed);
        }
        self.remove_if_unused(&mut shard, id);
        backing
    }

    fn shard(&self, id: NodeId) -> MutexGuard<'_, Shard<B>> {
        #[allow(clippy::cast_possible_truncation, reason = "a remainder of a small number")]
        let index = (id.get() % self.shards.len() as u64) as usize;
        self.shards[index].lock()
    }

    /// RELEASE and FORGET may overtake each other, so both end here.
    fn remove_if_unused(&self, shard: &mut Shard<B>, id: NodeId) {
        let unused = |node: &Node<B>| node.lookups == 0 && node.handles.count() == 0;
        if id == NodeId::ROOT || !shard.get(&id).is_some_and(unused) {
            return;
        }
        let gone = shard.remove(&id);
        self.live.dec();
        if gone.is_some_and(|node| node.is_alias(id)) {
            self.aliases.fetch_sub(1, Ordering::Relaxed);
        }
        if shard.capacity() > SHRINK_MIN && shard.len() < shard.capacity() / 4 {
            shard.shrink_to(shard.len() * 2);
        }
    }
}

impl<B> Node<B> {
    fn is_alias(&self, id: NodeId) -> bool {
        self.facts.version().is_some_and(|version| id == NodeId::alias_of_version(version.descriptor.file))
    }

    /// Sends each thread back once.
    fn refuse_once(&mut self, pid: u32) -> Verdict {
        if self.refused.contains(&pid) || self.refused.len() >= REFUSED_MAX {
            return Verdict::Serve;
        }
        self.refused.push(pid);
        Verdict::Refuse
    }

    /// Answers may overtake each other; the newest stays.
    fn update(&mut self, facts: &Facts, validity: Validity) {
        if validity.asked >= self.validity.asked {
            self.facts = facts.clone();
            self.validity = validity;
        }
    }
}
