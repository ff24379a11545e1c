//! Many readers at once: they finish, and are together no slower than a few.
//!
//! What many readers cost a processor by themselves, of its caches and its scheduler, shows in the same rows of the
//! native directory.

use forebay_integration_tests::Cluster;

use super::Files;
use crate::comparison::{Effort, Row, Side};
use crate::files::{read_each_by_many, sequential_by_many};

const FEW: usize = 8;
const OF_ONE_FILE: usize = 64;
const OF_MANY_FILES: usize = 256;
const BY_FEW: &str = "by 8 readers";

pub(super) fn rows(effort: Effort, cluster: &Cluster, native: &Files) -> Vec<Row> {
    let folder = native.large.parent().expect("a folder");
    let ours = native.under(folder, &cluster.fuse().join("data"));
    let rounds = effort.pick(80, 10);
    let mut rows = Vec::new();
    for (files, place) in [(&ours, "fuse"), (native, "native directory")] {
        let readers_of = |side, many| if side == Side::Ours { many } else { FEW };
        let case = format!("64 readers of one file, {place}, hot");
        rows.push(Row::measure(effort, &case, "MiB/s", BY_FEW, |side| {
            sequential_by_many(&files.large, readers_of(side, OF_ONE_FILE))
        }));
        let small = &files.small[..OF_MANY_FILES];
        let case = format!("256 readers of 256 small files, {place}, hot");
        rows.push(Row::measure(effort, &case, "files/s", BY_FEW, |side| {
            read_each_by_many(small, readers_of(side, OF_MANY_FILES), rounds)
        }));
    }
    rows
}
