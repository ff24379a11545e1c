//! What the first open of a small file costs, before any of it is here.

use std::fs::File;
use std::io::Read;

use forebay_integration_tests::{Cluster, write_file};

const FILES: u64 = 50;
const LENGTH: usize = 110_000;

/// Without look-ahead, so that nothing is here when it is opened.
#[test]
fn the_first_open_and_read_of_a_small_file_asks_the_worker_once_for_what_it_has() {
    let source = tempfile::tempdir().expect("a folder");
    let files: Vec<_> = (0..=FILES).map(|file| format!("f{file}")).collect();
    let contents: Vec<_> =
        (0..).zip(&files).map(|(seed, file)| write_file(&source.path().join(file), seed, LENGTH)).collect();
    let uri = format!("file://{}", source.path().display());
    let cluster = Cluster::builder().mount("/data", &uri).fuse().fuse_options("look_ahead=0").start();
    let read = |file: usize| {
        let mut bytes = Vec::new();
        let mut opened = File::open(cluster.fuse().join("data").join(&files[file])).expect("opened");
        opened.read_to_end(&mut bytes).expect("read");
        assert!(bytes == contents[file], "{}", files[file]);
    };
    // The connection to the worker learns from its first answer what the worker knows.
    read(0);
    let asked = || cluster.metric("forebay_worker_hold_requests_total");
    let before = asked();
    (1..files.len()).for_each(read);
    assert_eq!(asked() - before, FILES);
}
