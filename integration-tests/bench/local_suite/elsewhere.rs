//! A mount on a machine without a worker: the kernel's page cache serves the second epoch.

use std::path::Path;

use forebay_integration_tests::{Fleet, drop_page_cache};

use super::{DIRECTORY, Files, MIB};
use crate::comparison::{Effort, Row, Side};
use crate::files::{Aligned, read_each, sequential};

pub(super) fn rows(effort: Effort, source: &Path, native: &Files) -> Vec<Row> {
    let mut fleet = Fleet::start(1);
    let mounted = fleet.run(&["mount", &format!("file://{}", source.display()), "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = fleet.mount("elsewhere", "");
    let ours = native.under(source, &root.join("data"));
    drop_page_cache();
    for files in [&ours, native] {
        sequential(&files.large, &mut Aligned::new(MIB));
        read_each(&files.small, 1);
    }
    let read = |fleet: &Fleet| fleet.mount_metric(0, "forebay_fuse_read_bytes_total");
    let before = read(&fleet);
    let side_of = |side| if side == Side::Ours { &ours } else { native };
    let large = Row::measure(effort, "second epoch without a worker, 1 MiB", "MiB/s", DIRECTORY, |side| {
        sequential(&side_of(side).large, &mut Aligned::new(MIB))
    });
    let small =
        Row::measure(effort, "second epoch without a worker, small files", "files/s", DIRECTORY, |side| {
            read_each(&side_of(side).small, 1)
        });
    eprintln!("bytes that came over the network in those: {}", read(&fleet) - before);
    vec![large, small]
}
