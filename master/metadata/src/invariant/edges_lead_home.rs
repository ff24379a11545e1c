//! Each name leads to an inode that knows this directory, this name and this kind; and the other way round.

use forebay_types::{EntryKind, InodeId};

use super::Facts;
use crate::state::NOWHERE;

pub(super) const ID: &str = "edges-lead-home";

pub(super) fn check(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    for ((directory, name), edge) in &facts.edges {
        let at = format!("{directory}/{name}");
        let Some(inode) = facts.inodes.get(&edge.target) else {
            problems.push(format!("{at} leads to {}, which does not exist", edge.target));
            continue;
        };
        if inode.parent != *directory || inode.name.as_ref() != Some(name) {
            problems.push(format!(
                "{at} leads to {}, which says it is {}/{:?}",
                inode.id, inode.parent, inode.name
            ));
        }
        if inode.kind() != edge.kind {
            problems.push(format!("{at} is a {} and leads to a {}", edge.kind, inode.kind()));
        }
        if facts.inodes.get(directory).map(|parent| parent.kind()) != Some(EntryKind::Directory) {
            problems.push(format!("{at} lies in what is no directory"));
        }
    }
    for (id, inode) in &facts.inodes {
        if inode.id != *id {
            problems.push(format!("the row of {id} says it is {}", inode.id));
        }
        let named = inode.name.clone().and_then(|name| facts.edges.get(&(inode.parent, name)));
        let apart = *id == InodeId::ROOT || inode.parent == NOWHERE;
        if !apart && named.map(|edge| edge.target) != Some(*id) {
            problems.push(format!("{id} has no edge at {}/{:?}", inode.parent, inode.name));
        }
    }
    problems
}
