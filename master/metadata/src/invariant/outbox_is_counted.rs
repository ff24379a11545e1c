//! The outbox has the rows and versions that are counted, within its bounds, and nothing in it is a file's.

use std::collections::BTreeSet;

use forebay_types::FileId;

use super::Facts;
use crate::limits::{OUTBOX_ROW_VERSIONS_MAX, OUTBOX_VERSIONS_MAX};
use crate::state::{InodeBody, Task};

pub(super) const ID: &str = "outbox-is-counted";

pub(super) fn check(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    let counts = &facts.outbox_counts;
    let of_files: BTreeSet<FileId> = facts
        .inodes
        .values()
        .filter_map(|inode| match &inode.body {
            InodeBody::File(version) => Some(version.file),
            _ => None,
        })
        .collect();
    let mut versions = 0;
    for (sequence, row) in &facts.outbox {
        if !(counts.first..counts.next).contains(sequence) {
            problems.push(format!("{sequence} is not from {} to below {}", counts.first, counts.next));
        }
        let Task::FreeVersions(files) = &row.task;
        versions += files.len() as u64;
        if !(1..=OUTBOX_ROW_VERSIONS_MAX).contains(&files.len()) {
            problems.push(format!("{sequence} has {} versions to free", files.len()));
        }
        let in_use = files.iter().filter(|file| of_files.contains(file));
        problems.extend(in_use.map(|file| format!("{sequence} frees {file}, which is a file's")));
    }
    let rows = facts.outbox.len() as u64;
    if (rows, versions) != (counts.rows, counts.versions) {
        problems.push(format!(
            "{rows} rows with {versions} versions wait, counted are {} with {}",
            counts.rows, counts.versions
        ));
    }
    if versions > OUTBOX_VERSIONS_MAX {
        problems.push(format!("{versions} versions wait to be freed"));
    }
    problems
}
