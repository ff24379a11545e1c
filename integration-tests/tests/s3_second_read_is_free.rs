//! What was read once from a bucket is read again without asking the bucket for one byte.

use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Cluster, FaultProxy, READ_MODES, Rclone, Sums, drop_page_cache, wait_until};

const SMALL_FILES: u64 = 200;
const SMALL_LENGTH: usize = 110_000;
const LARGE_LENGTH: usize = 130 << 20;
const ALL_BYTES: u64 = SMALL_FILES * SMALL_LENGTH as u64 + LARGE_LENGTH as u64;

fn fill(bucket: &Path) -> Sums {
    let small = (0..SMALL_FILES).map(|number| (format!("small/{number:03}"), SMALL_LENGTH));
    Sums::write(&bucket.join("train"), small.chain([("large".to_owned(), LARGE_LENGTH)]))
}

#[test]
fn the_second_epoch_asks_the_bucket_for_nothing() {
    let mut sums = Sums::default();
    let server = Rclone::start("bucket", |bucket| sums = fill(bucket));
    READ_MODES.into_iter().for_each(|mode| the_second_epoch_is_free(&server, &sums, mode));
}

fn the_second_epoch_is_free(server: &Rclone, sums: &Sums, mode: &str) {
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    let mounted = cluster.mount_s3("s3://bucket/train", "/data", &proxy.endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", Duration::from_secs(10), || root.exists());

    sums.expect_in(&root);
    let counted = "forebay_worker_under_store_read_bytes_total";
    let asked = "forebay_worker_under_store_requests_total";
    assert_eq!(proxy.object_bytes(), ALL_BYTES, "each byte is fetched once");
    assert_eq!(cluster.metric(counted), ALL_BYTES);
    let requests = cluster.metric(asked);
    assert!(requests >= SMALL_FILES, "{requests} requests");

    drop_page_cache();
    proxy.forget();
    sums.expect_in(&root);
    for name in ["small/007", "large"] {
        let at = format!("/data/{name}");
        let copy = cluster.dir().join("copy");
        let got = cluster.run(&["fs", "get", &at, &copy.display().to_string()]);
        assert_eq!(got.code, 0, "{}", got.stderr);
        assert!(sums.are_of(name, &std::fs::read(&copy).expect("copied")), "fs get {name}");
        std::fs::remove_file(&copy).expect("deleted");
        assert!(sums.are_of(name, &cluster.run_for_bytes(&["fs", "cat", &at])), "fs cat {name}");
    }
    let again: Vec<_> = proxy.exchanges().into_iter().filter(|exchange| exchange.is_object_get()).collect();
    assert!(again.is_empty(), "{again:?}");
    assert_eq!((cluster.metric(counted), cluster.metric(asked)), (ALL_BYTES, requests));
    wait_until("the report has it too", Duration::from_secs(10), || {
        cluster.reads("under_store_bytes") == ALL_BYTES
    });
    assert_eq!((proxy.object_gets(), proxy.object_bytes()), (0, 0));
}
