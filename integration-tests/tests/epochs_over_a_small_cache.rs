//! Training over twice what the cache holds: each file once an epoch, each epoch in another order, read through FUSE from
//! a bucket.
//!
//! Reads by passthrough are seen by nobody but the kernel, so what was hit is counted at the other end: whatever was read
//! and not asked of the bucket came from the cache. The kernel's own cache is emptied before each epoch, since a data set
//! that does not fit the disks does not fit the memory either. `--nocapture` shows the figures.

use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, FaultProxy, READ_MODES, Rclone, drop_page_cache, random_offsets, wait_until, write_file,
};

const LARGE: (usize, usize) = (200, 1 << 20);
const SMALL: (usize, usize) = (1900, 110_000);
/// Half of the files' bytes.
const TIER: &str = "200MiB";
const ALL_BYTES: u64 = (LARGE.0 * LARGE.1 + SMALL.0 * SMALL.1) as u64;
/// As many as a loader has processes.
const READERS: usize = 4;
/// Epochs that fill the cache, and epochs of which the hits count.
const EPOCHS: (u64, u64) = (1, 2);
/// Nobody can hit more than is cached: a half. What lies on disk beside the bytes takes a part of it, and of four readers
/// each may be in the middle of something when an epoch ends.
const HITS_AT_LEAST: f64 = 0.45;
const HITS_AT_MOST: f64 = 0.51;

/// What came of the epochs that count.
struct Outcome {
    /// Part of the bytes that did not have to come from the bucket.
    hits: f64,
    /// Part of the bytes that were written to the cache.
    stored: f64,
}

#[test]
fn random_epochs_over_twice_the_cache_hit_nearly_half_of_it_with_epoch() {
    let server = Rclone::start("bucket", |bucket| write_all(&bucket.join("train")));
    for mode in READ_MODES {
        let outcome = train(&server, "epoch", mode);
        assert!((HITS_AT_LEAST..HITS_AT_MOST).contains(&outcome.hits), "{mode}: {}", outcome.hits);
        assert!(
            outcome.stored < 0.1,
            "hardly anything is written once the cache is full: {}",
            outcome.stored
        );
    }
}

#[test]
fn random_epochs_over_twice_the_cache_hit_less_with_policies_that_store_what_was_read_last() {
    let server = Rclone::start("bucket", |bucket| write_all(&bucket.join("train")));
    for policy in ["s3-fifo", "lru"] {
        let outcome = train(&server, policy, READ_MODES[0]);
        assert!((0.05..HITS_AT_LEAST).contains(&outcome.hits), "{policy}: {}", outcome.hits);
        assert!(outcome.stored > 0.5, "{policy}: {}", outcome.stored);
    }
}

fn files() -> impl Iterator<Item = (String, usize)> {
    let large = (0..LARGE.0).map(|file| (format!("large/{file}"), LARGE.1));
    large.chain((0..SMALL.0).map(|file| (format!("small/{file}"), SMALL.1)))
}

fn write_all(root: &Path) {
    (1..).zip(files()).for_each(|(seed, (name, length))| drop(write_file(&root.join(name), seed, length)));
}

/// All names, in an order that follows from the epoch.
fn shuffled(epoch: u64) -> Vec<String> {
    let names: Vec<_> = files().map(|(name, _)| name).collect();
    let mut order: Vec<_> = random_offsets(epoch, names.len(), u64::MAX).into_iter().zip(names).collect();
    order.sort();
    order.into_iter().map(|(_, name)| name).collect()
}

fn train(server: &Rclone, policy: &str, mode: &str) -> Outcome {
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().fuse_options(mode).ram("0").tier(TIER);
    let cluster = cluster.argument("--eviction").argument(policy).start();
    // The names are listed once, so that an epoch asks for bytes and nothing else.
    let immutable = ["--freshness", "immutable"];
    let mounted = cluster.mount_s3("s3://bucket/train", "/data", &proxy.endpoint(), &immutable);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", Duration::from_secs(10), || root.exists());
    let source = server.folder().join("bucket/train");

    let stored = || cluster.metric("forebay_worker_fill_bytes_total");
    let fetched = || cluster.metric("forebay_worker_under_store_read_bytes_total");
    let expect_counted = |before: u64| {
        wait_until("the worker counts what the bucket sent", Duration::from_secs(10), || {
            fetched() - before == proxy.object_bytes()
        });
    };
    (0..EPOCHS.0).for_each(|epoch| read_epoch(&source, &root, epoch));
    expect_counted(0);
    let before = (stored(), fetched());
    proxy.forget();
    (EPOCHS.0..EPOCHS.0 + EPOCHS.1).for_each(|epoch| read_epoch(&source, &root, epoch));
    expect_counted(before.1);
    let (read, missed) = (ALL_BYTES * EPOCHS.1, proxy.object_bytes());
    let part = |bytes: u64| bytes as f64 / read as f64;
    let outcome = Outcome { hits: 1.0 - part(missed), stored: part(stored() - before.0) };
    eprintln!(
        "{policy}, {mode}: hits {:.3}, stored {:.3} of {read} bytes; {} requests for {missed} bytes, {} evictions, {} declined",
        outcome.hits,
        outcome.stored,
        proxy.object_gets(),
        cluster.metric("forebay_worker_evictions_total"),
        cluster.metric("forebay_worker_declined_fills_total"),
    );
    outcome
}

/// Reads all files once; each byte is compared with the bucket's.
fn read_epoch(source: &Path, root: &Path, epoch: u64) {
    drop_page_cache();
    let order = shuffled(epoch);
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let mine = order.iter().skip(reader).step_by(READERS);
            scope.spawn(move || {
                for name in mine {
                    let read = std::fs::read(root.join(name)).expect("readable");
                    let written = std::fs::read(source.join(name)).expect("there");
                    assert!(read == written, "{name} is not what the bucket has");
                }
            });
        }
    });
}
