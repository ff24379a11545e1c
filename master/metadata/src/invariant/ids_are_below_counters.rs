//! No id in use can be given again: each is below its counter, and no version has the number of an inode.

use std::collections::BTreeSet;

use forebay_types::FileId;

use super::Facts;
use crate::state::InodeBody;

pub(super) const ID: &str = "ids-are-below-counters";

pub(super) fn check(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    let own = facts.identity.incarnation;
    let next = facts.next_ids.entry;
    let inodes = facts.inodes.keys().map(|id| (id.get(), id.to_string()));
    // A version of an earlier incarnation is told apart by that; only this one's numbers are from this counter.
    let files = versions(facts).filter(|file| file.incarnation == own);
    let files = files.map(|file| (file.counter, format!("the version {file}")));
    let mut used = BTreeSet::new();
    for (number, what) in inodes.chain(files) {
        if number >= next {
            problems.push(format!("{what} is not below the counter, {next}"));
        }
        if !used.insert(number) {
            problems.push(format!("{what} has a number that something else has too"));
        }
    }
    let to_come = versions(facts).filter(|file| file.incarnation > own);
    problems.extend(to_come.map(|file| format!("the version {file} is of an incarnation to come")));
    let mounts = facts.mounts.keys().filter(|id| id.get() >= facts.next_ids.mount);
    problems.extend(mounts.map(|id| format!("{id} is not below the counter, {}", facts.next_ids.mount)));
    problems
}

fn versions(facts: &Facts) -> impl Iterator<Item = FileId> {
    facts.inodes.values().filter_map(|inode| match &inode.body {
        InodeBody::File(version) => Some(version.file),
        _ => None,
    })
}
