//! Many files: 50,000 small ones, and a tree of 100,000 names.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_integration_tests::{Cluster, drop_page_cache, random_offsets, wait_until, write_file};
use tempfile::TempDir;

use super::{DIRECTORY, PageCache, SEED, SMALL_LENGTH, as_deep_as_ours};
use crate::comparison::{Effort, Row, Side};
use crate::files::{find, find_and_stat, read_each};

const PER_DIRECTORY: usize = 1000;
const CACHED_WITHIN: Duration = Duration::from_secs(600);

pub(super) fn rows(effort: Effort) -> Vec<Row> {
    let mut rows = small_files(effort, effort.pick(50_000, 2000));
    rows.extend(names(effort, effort.pick(100, 5)));
    rows
}

fn small_files(effort: Effort, count: usize) -> Vec<Row> {
    let folder = TempDir::new().expect("a folder");
    let source = as_deep_as_ours(&folder);
    let mut native: Vec<PathBuf> =
        (0..count).map(|file| source.join(format!("d{}/f{file}", file / PER_DIRECTORY))).collect();
    (0..).zip(&native).for_each(|(seed, path)| drop(write_file(path, seed, SMALL_LENGTH)));
    let mut order: Vec<_> = random_offsets(SEED, count, u64::MAX).into_iter().zip(native.drain(..)).collect();
    order.sort();
    let native: Vec<_> = order.into_iter().map(|(_, path)| path).collect();
    let uri = format!("file://{}", source.display());
    let cluster = Cluster::builder().mount("/data", &uri).fuse().ram("0").tier("16GiB").start();
    let root = cluster.fuse().join("data");
    let here = |path: &PathBuf| root.join(path.strip_prefix(&source).expect("written there"));
    let ours: Vec<_> = native.iter().map(here).collect();
    read_each(&ours, 4);
    let bytes = (count * SMALL_LENGTH) as u64;
    wait_until("all files are cached", CACHED_WITHIN, || {
        cluster.json(&["fs", "cached", "/data"])["cached_bytes"].as_u64() == Some(bytes)
    });
    let row = |cache: PageCache| {
        let state = if cache == PageCache::Hot { "hot" } else { "page cache dropped" };
        let case = format!("fuse {count} small files, 1 reader, disk tier, {state}");
        Row::measure(effort, &case, "files/s", DIRECTORY, |side| {
            let files = if side == Side::Ours { &ours } else { &native };
            match cache {
                PageCache::Dropped => drop_page_cache(),
                PageCache::Hot => drop(read_each(files, 1)),
            }
            read_each(files, 1)
        })
    };
    vec![row(PageCache::Dropped), row(PageCache::Hot)]
}

/// The second time, within freshness, so that the kernel or the bridge could remember.
fn names(effort: Effort, directories: usize) -> Vec<Row> {
    let folder = TempDir::new().expect("a folder");
    let source = as_deep_as_ours(&folder);
    for directory in 0..directories {
        let folder = source.join(format!("d{directory}"));
        fs::create_dir(&folder).expect("made");
        (0..PER_DIRECTORY).for_each(|file| fs::write(folder.join(format!("f{file}")), b"").expect("written"));
    }
    let uri = format!("file://{}", source.display());
    let cluster = Cluster::builder().mount("/data", &uri).fuse().start();
    let ours = cluster.fuse().join("data");
    let count = directories * PER_DIRECTORY;
    let row = |case: &str, cache: PageCache, first: fn(&Path) -> f64, second: fn(&Path) -> f64| {
        let case = case.replace("{}", &count.to_string());
        Row::measure(effort, &case, "names/s", DIRECTORY, |side| {
            let folder = if side == Side::Ours { &ours } else { &source };
            if cache == PageCache::Dropped {
                drop_page_cache();
            }
            first(folder);
            second(folder)
        })
    };
    // With nothing in memory but what the first walk leaves, which has asked for no attributes.
    let after_names = "find with stat of each over {} names, after a find without";
    vec![
        row("find over {} names, second time", PageCache::Hot, find, find),
        row(after_names, PageCache::Dropped, find, find_and_stat),
        row(
            "find with stat of each over {} names, second time",
            PageCache::Hot,
            find_and_stat,
            find_and_stat,
        ),
    ]
}
