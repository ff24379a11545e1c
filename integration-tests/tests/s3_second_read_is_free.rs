//! What was read once from a bucket is read again without asking the bucket for one byte.

use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, FaultProxy, Rclone, content, drop_page_cache, sha256, wait_until, write_file,
};

const SMALL_FILES: u64 = 200;
const SMALL_LENGTH: usize = 110_000;
const LARGE_LENGTH: usize = 130 << 20;
const ALL_BYTES: u64 = SMALL_FILES * SMALL_LENGTH as u64 + LARGE_LENGTH as u64;

fn fill(bucket: &Path) {
    for seed in 0..SMALL_FILES {
        write_file(&bucket.join(format!("train/small/{seed:03}")), seed, SMALL_LENGTH);
    }
    write_file(&bucket.join("train/large"), SMALL_FILES, LARGE_LENGTH);
}

/// The names below the mount with the sums of their contents.
fn expected() -> Vec<(String, String)> {
    let small =
        (0..SMALL_FILES).map(|seed| (format!("small/{seed:03}"), sha256(&content(seed, SMALL_LENGTH))));
    small.chain([("large".to_owned(), sha256(&content(SMALL_FILES, LARGE_LENGTH)))]).collect()
}

fn read_epoch(root: &Path, expected: &[(String, String)]) {
    for (name, sum) in expected {
        let bytes = std::fs::read(root.join(name)).expect("readable");
        assert_eq!(&sha256(&bytes), sum, "{name}");
    }
}

#[test]
fn the_second_epoch_asks_the_bucket_for_nothing() {
    let server = Rclone::start("bucket", fill);
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().start();
    let mounted = cluster.mount_s3("s3://bucket/train", "/data", &proxy.endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", Duration::from_secs(10), || root.exists());
    let expected = expected();

    read_epoch(&root, &expected);
    let counted = "forebay_worker_under_store_read_bytes_total";
    let asked = "forebay_worker_under_store_requests_total";
    assert_eq!(proxy.object_bytes(), ALL_BYTES, "each byte is fetched once");
    assert_eq!(cluster.metric(counted), ALL_BYTES);
    let requests = cluster.metric(asked);
    assert!(requests >= SMALL_FILES, "{requests} requests");

    drop_page_cache();
    proxy.forget();
    read_epoch(&root, &expected);
    for (name, sum) in [&expected[7], &expected[200]] {
        let at = format!("/data/{name}");
        let copy = cluster.dir().join("copy");
        let got = cluster.run(&["fs", "get", &at, &copy.display().to_string()]);
        assert_eq!(got.code, 0, "{}", got.stderr);
        assert_eq!(&sha256(&std::fs::read(&copy).expect("copied")), sum, "fs get {name}");
        std::fs::remove_file(&copy).expect("deleted");
        assert_eq!(&sha256(&cluster.run_for_bytes(&["fs", "cat", &at])), sum, "fs cat {name}");
    }
    let again: Vec<_> = proxy.exchanges().into_iter().filter(|exchange| exchange.is_object_get()).collect();
    assert!(again.is_empty(), "{again:?}");
    assert_eq!((cluster.metric(counted), cluster.metric(asked)), (ALL_BYTES, requests));
    wait_until("the report has it too", Duration::from_secs(10), || {
        cluster.reads("under_store_bytes") == ALL_BYTES
    });
    assert_eq!((proxy.object_gets(), proxy.object_bytes()), (0, 0));
}
