//! Who opens the files of a directory in its order finds the next ones in the cache; who opens them in no order has none
//! brought that nobody asked for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_integration_tests::{Cluster, content, wait_until, write_file};

const FILES: usize = 120;
const LENGTH: usize = 70_000;
/// Files that are brought ahead at most.
const WINDOW: usize = 32;
const WITHIN: Duration = Duration::from_secs(10);

/// A directory of small files, mounted and listed.
fn start(source: &Path, options: &str) -> (Cluster, PathBuf) {
    (0..FILES).for_each(|file| drop(write_file(&source.join(name(file)), file as u64, LENGTH)));
    let cluster = Cluster::builder()
        .mount("/data", &format!("file://{}", source.display()))
        .fuse()
        .fuse_options(options)
        .start();
    let root = cluster.fuse().join("data");
    assert_eq!(std::fs::read_dir(&root).expect("listed").count(), FILES);
    (cluster, root)
}

fn name(file: usize) -> String {
    format!("f{file:04}")
}

fn read(root: &Path, file: usize) {
    assert!(std::fs::read(root.join(name(file))).expect("read") == content(file as u64, LENGTH));
}

fn cached_files(cluster: &Cluster) -> usize {
    let report = cluster.json(&["admin", "report"]);
    let bytes = report["mounts"][0]["cached_bytes"].as_u64().expect("a figure");
    usize::try_from(bytes).expect("small") / LENGTH
}

fn is_cached(cluster: &Cluster, file: usize) -> bool {
    let stat = cluster.json(&["fs", "stat", &format!("/data/{}", name(file))]);
    stat["cached_bytes"].as_u64() == Some(LENGTH as u64)
}

#[test]
fn who_goes_through_a_directory_finds_the_next_files_in_the_cache() {
    let source = tempfile::tempdir().expect("a folder");
    let (cluster, root) = start(source.path(), "look_ahead=32");
    let opened = FILES / 3;
    (0..opened).for_each(|file| read(&root, file));
    wait_until("the next files are brought", WITHIN, || is_cached(&cluster, opened + WINDOW / 2));
    assert!(cached_files(&cluster) <= opened + WINDOW, "{} files", cached_files(&cluster));
    assert!(!is_cached(&cluster, FILES - 1), "nobody is near it");
    (opened..FILES).for_each(|file| read(&root, file));
}

#[test]
fn opens_in_random_order_bring_nothing_that_nobody_opens() {
    let source = tempfile::tempdir().expect("a folder");
    let (cluster, root) = start(source.path(), "look_ahead=32");
    // Ten files that are far from each other, in no order.
    let order: Vec<_> = [7, 2, 9, 4, 0, 5, 1, 8, 3, 6].map(|tenth| tenth * FILES / 10).into();
    order.iter().for_each(|file| read(&root, *file));
    order
        .iter()
        .for_each(|file| wait_until("what was read is cached", WITHIN, || is_cached(&cluster, *file)));
    wait_until("it is counted", WITHIN, || cached_files(&cluster) >= order.len());
    assert_eq!(cached_files(&cluster), order.len());
}

#[test]
fn without_look_ahead_only_what_is_read_is_cached() {
    let source = tempfile::tempdir().expect("a folder");
    let (cluster, root) = start(source.path(), "look_ahead=0");
    (0..FILES / 3).for_each(|file| read(&root, file));
    wait_until("what was read is cached", WITHIN, || is_cached(&cluster, FILES / 3 - 1));
    wait_until("it is counted", WITHIN, || cached_files(&cluster) >= FILES / 3);
    assert_eq!(cached_files(&cluster), FILES / 3);
}
