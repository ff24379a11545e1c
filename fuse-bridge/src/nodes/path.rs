//! Where a node lies below the mount point, in words for a person.
//!
//! Nothing is made before it is written out, since most failures are not. What the kernel has forgotten on the way up
//! is left out.

use std::fmt;

use super::{Content, Node, NodeTable};
use crate::limits::SHOWN_DEPTH_MAX;
use crate::node_id::NodeId;

/// The path of a node, as far as it is known when it is shown.
#[derive(Debug)]
pub(crate) struct NodePath<'a, B> {
    table: &'a NodeTable<B>,
    node: NodeId,
}

impl<B> NodeTable<B> {
    /// The path of a node, to be shown.
    pub(crate) const fn path(&self, node: NodeId) -> NodePath<'_, B> {
        NodePath { table: self, node }
    }

    /// The name of a node and the directory that it lies in.
    fn step(&self, id: NodeId) -> Option<(String, NodeId)> {
        self.shard(id).get(&id).map(|node| (node.shown_name(), node.parent))
    }
}

impl<B> Node<B> {
    fn shown_name(&self) -> String {
        let name = match &self.facts.content {
            Content::File(version) => {
                let key = version.descriptor.key.as_bytes();
                key.rsplit(|byte| *byte == b'/').next().unwrap_or(key)
            }
            Content::Directory | Content::Symlink(_) => &self.name,
        };
        String::from_utf8_lossy(name).into_owned()
    }
}

impl<B> fmt::Display for NodePath<'_, B> {
    /// `/a/b` below the mount point; `.../b` where the rest is not known; `node:7` where nothing is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut names, mut at) = (Vec::new(), self.node);
        // One lock at a time. Directories that were moved meanwhile may lead round in a circle.
        while at != NodeId::ROOT && names.len() < SHOWN_DEPTH_MAX {
            let Some((name, parent)) = self.table.step(at) else { break };
            names.push(name);
            at = parent;
        }
        match (at == NodeId::ROOT, names.is_empty()) {
            (true, true) => return f.write_str("/"),
            (true, false) => {}
            (false, true) => return write!(f, "{}", self.node),
            (false, false) => f.write_str("...")?,
        }
        names.iter().rev().try_for_each(|name| write!(f, "/{name}"))
    }
}
