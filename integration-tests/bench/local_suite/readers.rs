//! Many readers at once: they finish, and are together no slower than a few.

use std::path::Path;

use forebay_integration_tests::Cluster;

use super::Files;
use crate::comparison::{Effort, Row, Side};
use crate::files::{read_each, sequential_by_many};

const FEW: usize = 8;
const OF_ONE_FILE: usize = 64;
const OF_MANY_FILES: usize = 256;
const BY_FEW: &str = "by 8 readers";

pub(super) fn rows(effort: Effort, cluster: &Cluster, native: &Files) -> Vec<Row> {
    let folder = native.large.parent().expect("a folder");
    let ours = native.under(folder, &cluster.fuse().join("data"));
    let file: &[&Path] = &[&ours.large];
    let one = Row::measure(effort, "64 readers of one file, hot", "MiB/s", BY_FEW, |side| {
        sequential_by_many(file, if side == Side::Ours { OF_ONE_FILE } else { FEW })
    });
    let many = Row::measure(effort, "256 readers of small files, hot", "files/s", BY_FEW, |side| {
        read_each(&ours.small, if side == Side::Ours { OF_MANY_FILES } else { FEW })
    });
    vec![one, many]
}
