//! Each inode hangs below the root, or below a detached directory that the reaper knows; nothing is left behind.

use std::collections::{BTreeMap, BTreeSet};

use forebay_types::{EntryKind, InodeId};

use super::Facts;
use crate::state::NOWHERE;

pub(super) const ID: &str = "inodes-are-reachable";

pub(super) fn check(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    for id in facts.orphans.keys() {
        match facts.inodes.get(id) {
            None => problems.push(format!("the reaper waits for {id}, which does not exist")),
            Some(inode)
                if inode.parent != NOWHERE
                    || inode.name.is_some()
                    || inode.kind() != EntryKind::Directory =>
            {
                problems.push(format!("the reaper waits for {id}, which is no detached directory"));
            }
            Some(_) => {}
        }
    }
    let mut children: BTreeMap<InodeId, Vec<InodeId>> = BTreeMap::new();
    for ((directory, _), edge) in &facts.edges {
        children.entry(*directory).or_default().push(edge.target);
    }
    let mut reached: BTreeSet<InodeId> = BTreeSet::new();
    let mut open: Vec<InodeId> = facts.orphans.keys().copied().chain([InodeId::ROOT]).collect();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(children.remove(&id).unwrap_or_default());
        } else {
            problems.push(format!("{id} is reached twice"));
        }
    }
    let lost = facts.inodes.keys().filter(|id| !reached.contains(id));
    problems.extend(lost.map(|id| format!("{id} is not reached from the root or a detached directory")));
    problems
}
