//! The suite `loaders`: an epoch of each loader of training code through FUSE, beside one of the same files in the directory
//! that they come from.
//!
//! First epoch: the cache is empty, and everything comes from the directory and is stored on the way. Second epoch: all of it
//! is cached on the same file system as the directory. Before each epoch the page cache is dropped, on both sides, but for the
//! programs; their start and imports are not measured.

use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Cluster, LOADERS, Loaders, wait_until};
use tempfile::TempDir;

use crate::comparison::{Effort, Row, Side};

const DIRECTORY: &str = "native directory";
const MIB: f64 = 1_048_576.0;
const SEEN_WITHIN: Duration = Duration::from_secs(10);

/// Runs the suite.
pub(crate) fn run(effort: Effort) -> Vec<Row> {
    let loaders = Loaders::install();
    let source = TempDir::new().expect("a folder");
    loaders.prepare(source.path(), effort.pick(4, 1));
    LOADERS.iter().flat_map(|loader| rows(effort, &loaders, loader, source.path())).collect()
}

fn rows(effort: Effort, loaders: &Loaders, loader: &str, source: &Path) -> [Row; 2] {
    // Of what was decoded.
    let rate = |folder: &Path, epoch: u32| {
        let epoch = loaders.cold_epoch(loader, folder, epoch);
        epoch.decoded.1 as f64 / MIB / epoch.seconds
    };
    let measure = |case: &str, measure: &mut dyn FnMut(Side) -> f64| {
        Row::measure(effort, &format!("{loader}, {case} epoch"), "MiB/s", DIRECTORY, measure)
    };
    let first = measure("first", &mut |side| match side {
        Side::Ours => rate(&cluster(source).fuse().join("data"), 0),
        Side::Baseline => rate(source, 0),
    });
    let cluster = cluster(source);
    let ours = cluster.fuse().join("data");
    let _ = loaders.epoch(loader, &ours, 0);
    let second = measure("second", &mut |side| rate(if side == Side::Ours { &ours } else { source }, 1));
    [first, second]
}

fn cluster(source: &Path) -> Cluster {
    let uri = format!("file://{}", source.display());
    let cluster = Cluster::builder().mount("/data", &uri).fuse().ram("0").tier("4GiB").start();
    wait_until("the mount is seen", SEEN_WITHIN, || cluster.fuse().join("data/images").exists());
    cluster
}
