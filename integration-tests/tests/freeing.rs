//! `fs free` empties the cache of a tree, and what was freed is read from the under-store again.

use std::time::Duration;

use forebay_integration_tests::{Cluster, wait_until, write_file};

#[test]
fn what_is_freed_leaves_the_cache_and_can_be_read_again() {
    let source = tempfile::tempdir().expect("a folder");
    let one = write_file(&source.path().join("sub/one"), 1, 3_000_000);
    let two = write_file(&source.path().join("two"), 2, 1000);
    let uri = format!("file://{}", source.path().display());
    let cluster = Cluster::builder().mount("/data", &uri).start();
    let read = || {
        for (path, bytes) in [("/data/sub/one", &one), ("/data/two", &two)] {
            assert_eq!(&cluster.run_for_bytes(&["fs", "cat", path]), bytes);
        }
    };
    let cached = || cluster.json(&["fs", "cached", "/data"])["cached_bytes"].as_u64();
    read();
    wait_until("what was read is cached", Duration::from_secs(10), || cached() == Some(3_001_000));
    let freed = cluster.json(&["fs", "free", "/data/sub"]);
    assert_eq!((freed["files"].as_u64(), freed["freed_bytes"].as_u64()), (Some(1), Some(3_000_000)));
    wait_until("what was freed is gone", Duration::from_secs(10), || cached() == Some(1000));
    let fetched = cluster.metric("forebay_worker_under_store_read_bytes_total");
    read();
    assert_eq!(cluster.metric("forebay_worker_under_store_read_bytes_total"), fetched + 3_000_000);
    assert_eq!(cluster.run(&["fs", "free", "/data/missing"]).code, 1);
}
