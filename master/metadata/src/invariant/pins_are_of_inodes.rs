//! Each pin is of an inode that is there, and keeps the directory that it must.

use forebay_types::EntryKind;

use super::Facts;
use crate::limits::PINS_MAX;

pub(super) const ID: &str = "pins-are-of-inodes";

pub(super) fn check(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    for (id, pin) in &facts.pins {
        let kept = facts.inodes.get(id).map(|inode| match inode.kind() {
            EntryKind::Directory => inode.id,
            EntryKind::File | EntryKind::Symlink => inode.parent,
        });
        if kept != Some(pin.directory) {
            problems.push(format!("{id} is pinned and keeps {}, not {kept:?}", pin.directory));
        }
    }
    if facts.pins.len() > PINS_MAX {
        problems.push(format!("there are {} pins", facts.pins.len()));
    }
    problems
}
