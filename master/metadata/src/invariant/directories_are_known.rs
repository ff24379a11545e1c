//! What is known of a directory belongs to a directory of a mount, and no name is both there and known to be gone.

use forebay_types::EntryKind;

use super::Facts;

pub(super) const ID: &str = "directories-are-known";

pub(super) fn check(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    let of_a_mount = |id| {
        let inode = facts.inodes.get(id);
        inode.is_some_and(|inode| inode.kind() == EntryKind::Directory && inode.mount.is_some())
    };
    let listed = facts.directories.keys().filter(|id| !of_a_mount(id));
    problems.extend(listed.map(|id| format!("{id} was listed, and is no directory of a mount")));
    for (directory, name) in facts.tombstones.keys() {
        if !of_a_mount(directory) {
            problems
                .push(format!("{directory}/{name} is known to be gone from what is no directory of a mount"));
        }
        if facts.edges.contains_key(&(*directory, name.clone())) {
            problems.push(format!("{directory}/{name} is there and known to be gone"));
        }
    }
    problems
}
