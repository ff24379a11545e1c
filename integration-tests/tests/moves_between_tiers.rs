//! A data set that is larger than the RAM tier and smaller than both tiers: what leaves memory is found on the disk, so the
//! second epoch asks the bucket for nothing, and no byte is wrong, also not of files that are open all the time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, FaultProxy, READ_MODES, Rclone, Sums, content, drop_page_cache, random_offsets, wait_until,
};

const MIB: usize = 1 << 20;
const WITHIN: Duration = Duration::from_secs(30);
const READERS: usize = 4;
const LARGE: (usize, usize) = (24, 2 * MIB + 70_000);
const SMALL: (usize, usize) = (200, 110_000);
/// A third of the files' bytes, and more than all of them.
const RAM: &str = "24MiB";
const TIER: &str = "160MiB";
/// Files that are open from before the first epoch to the end.
const HELD: [(&str, u64, usize); 4] = [
    ("large/0", 1, LARGE.1),
    ("large/23", 24, LARGE.1),
    ("small/0", 25, SMALL.1),
    ("small/199", 224, SMALL.1),
];

const DEMOTIONS: &str = "forebay_worker_demotions_total";
const PROMOTIONS: &str = "forebay_worker_promotions_total";
const EVICTIONS: &str = "forebay_worker_evictions_total";

/// A file that is held open by passthrough or the bridge, and what it must have.
struct Held {
    file: File,
    bytes: Vec<u8>,
}

impl Held {
    fn open(root: &Path, (name, seed, length): (&str, u64, usize)) -> Self {
        let file = File::open(root.join(name)).expect("opened");
        Self { file, bytes: content(seed, length) }
    }

    fn expect_at(&self, offset: u64) {
        let begin = usize::try_from(offset).expect("within the file");
        let expected = &self.bytes[begin..self.bytes.len().min(begin + 10_000)];
        let mut read = vec![0; expected.len()];
        self.file.read_exact_at(&mut read, offset).expect("read");
        assert!(read == expected, "a wrong byte in the 10,000 from {offset} on");
    }
}

#[test]
fn a_data_set_larger_than_memory_and_smaller_than_both_tiers_is_fetched_once() {
    let mut sums = Sums::default();
    let server = Rclone::start("bucket", |bucket| {
        let large = (0..LARGE.0).map(|file| (format!("large/{file}"), LARGE.1));
        let small = (0..SMALL.0).map(|file| (format!("small/{file}"), SMALL.1));
        sums = Sums::write(&bucket.join("train"), large.chain(small));
    });
    READ_MODES.into_iter().for_each(|mode| train(&server, &sums, mode));
}

fn train(server: &Rclone, sums: &Sums, mode: &str) {
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().fuse_options(mode).ram(RAM).tier(TIER).start();
    let mounted =
        cluster.mount_s3("s3://bucket/train", "/data", &proxy.endpoint(), &["--freshness", "immutable"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", WITHIN, || root.exists());

    // What was read once is opened by passthrough, where that is on.
    HELD.iter()
        .for_each(|(name, ..)| assert!(sums.are_of(name, &std::fs::read(root.join(name)).expect("read"))));
    let held = HELD.map(|of| Held::open(&root, of));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (held, seed) in held.iter().zip(1..) {
            let is_over = &is_over;
            scope.spawn(move || {
                let offsets = random_offsets(seed, 1000, held.bytes.len() as u64);
                let goes_on = |_: &u64| !is_over.load(Ordering::Relaxed);
                offsets.into_iter().cycle().take_while(goes_on).for_each(|offset| held.expect_at(offset));
            });
        }
        let epochs = std::panic::catch_unwind(AssertUnwindSafe(|| {
            read_epoch(&root, sums, 0);
            wait_until("memory is relieved", WITHIN, || cluster.metric(DEMOTIONS) > 0);
            proxy.forget();
            (1..=2).for_each(|epoch| read_epoch(&root, sums, epoch));
        }));
        is_over.store(true, Ordering::Relaxed);
        assert!(epochs.is_ok(), "{mode}: an epoch failed");
    });
    eprintln!(
        "{mode}: {} demotions, {} promotions, {} evictions; {} bytes from the bucket after the first epoch",
        cluster.metric(DEMOTIONS),
        cluster.metric(PROMOTIONS),
        cluster.metric(EVICTIONS),
        proxy.object_bytes(),
    );
    assert_eq!((proxy.object_bytes(), cluster.metric(EVICTIONS)), (0, 0), "{mode}");
}

/// Reads all files once, each epoch in another order, by some readers at once.
fn read_epoch(root: &Path, sums: &Sums, epoch: u64) {
    drop_page_cache();
    let names: Vec<_> = sums.names().collect();
    let mut order: Vec<_> = random_offsets(epoch, names.len(), u64::MAX).into_iter().zip(names).collect();
    order.sort_unstable();
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let mine = order.iter().skip(reader).step_by(READERS);
            scope.spawn(move || {
                for (_, name) in mine {
                    let read = std::fs::read(root.join(name)).expect("readable");
                    assert!(sums.are_of(name, &read), "{name} is not what the bucket has");
                }
            });
        }
    });
}
