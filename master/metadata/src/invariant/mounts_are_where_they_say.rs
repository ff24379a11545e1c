//! Each mount's path leads to its root, no two show the same object, and each directory knows how many lie below it.

use std::collections::BTreeMap;

use forebay_types::{InodeId, NamespacePath};

use super::Facts;
use crate::state::EdgeOrigin;

pub(super) const ID: &str = "mounts-are-where-they-say";

pub(super) fn check(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    let mut below: BTreeMap<InodeId, u32> = BTreeMap::new();
    for mount in facts.mounts.values() {
        let above = follow(facts, &mount.path);
        if above.last() != Some(&mount.root) {
            problems.push(format!("{} is not at {}", mount.id, mount.path));
        }
        for directory in above.iter().filter(|id| **id != mount.root) {
            *below.entry(*directory).or_default() += 1;
        }
        let root = facts.inodes.get(&mount.root);
        if root.is_none_or(|root| root.mount != Some(mount.id) || !root.key.as_bytes().is_empty()) {
            problems.push(format!("{}, the root of {}, is not its content", mount.root, mount.id));
        }
        let others =
            facts.mounts.values().filter(|other| other.id > mount.id && other.uri.overlaps(&mount.uri));
        problems.extend(others.map(|other| format!("{} and {} show the same objects", mount.id, other.id)));
    }
    for (id, inode) in &facts.inodes {
        let count = below.get(id).copied().unwrap_or_default();
        if inode.mounts_below() != count {
            problems
                .push(format!("{id} counts {} mount points below, and has {count}", inode.mounts_below()));
        }
    }
    problems.extend(check_edges(facts));
    problems
}

/// Names that the under-store does not have lead to mounts, and those that it has do not begin one.
fn check_edges(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    for ((directory, name), edge) in &facts.edges {
        let Some(inode) = facts.inodes.get(&edge.target) else { continue };
        let parent_mount = facts.inodes.get(directory).and_then(|parent| parent.mount);
        let begins = facts.mounts.values().any(|mount| mount.root == inode.id);
        let fits = match edge.origin {
            EdgeOrigin::MountPoint => begins,
            EdgeOrigin::Synthetic => inode.mount.is_none() && inode.mounts_below() > 0,
            EdgeOrigin::Made => inode.mount.is_none() && is_made(facts, *directory),
            EdgeOrigin::Loaded => !begins && inode.mount.is_some() && inode.mount == parent_mount,
        };
        if !fits {
            problems.push(format!("{directory}/{name} is {:?}, and what it leads to is not", edge.origin));
        }
    }
    problems
}

/// Whether a directory stays: that in which somebody made something does.
fn is_made(facts: &Facts, directory: InodeId) -> bool {
    let Some(inode) = facts.inodes.get(&directory) else { return false };
    let edge = inode.name.as_ref().and_then(|name| facts.edges.get(&(inode.parent, name.clone())));
    directory == InodeId::ROOT || edge.is_some_and(|edge| edge.origin == EdgeOrigin::Made)
}

/// The inodes from the root along a path, as far as it leads.
fn follow(facts: &Facts, path: &NamespacePath) -> Vec<InodeId> {
    let mut found = vec![InodeId::ROOT];
    for name in path.names() {
        let last = found[found.len() - 1];
        match facts.edges.get(&(last, name.clone())) {
            Some(edge) => found.push(edge.target),
            None => break,
        }
    }
    found
}
