//! A data set that is opened again each epoch costs its under-store few requests, and no open waits for one of them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forebay_integration_tests::{Cluster, FaultProxy, Rclone, random_offsets, wait_until, write_file};

/// What each answer of the under-store takes after the first epoch; an open that took half of it would have waited for
/// one, as far as a busy machine can tell.
const SLOW: Duration = Duration::from_millis(1500);

/// How much is opened, and how often.
struct Scale {
    directories: usize,
    files: usize,
    epochs: u32,
    /// Also the time from one epoch to the next.
    freshness: Duration,
    /// Opens for each request, at the least.
    opens_per_request: usize,
}

impl Scale {
    /// What can be waited for in each run, or, with `FOREBAY_EPOCHS=full`, the figures that the product promises.
    fn chosen() -> Self {
        let is_full = std::env::var("FOREBAY_EPOCHS").is_ok_and(|value| value == "full");
        if is_full {
            let freshness = Duration::from_secs(60);
            Self { directories: 100, files: 1000, epochs: 5, freshness, opens_per_request: 500 }
        } else {
            let freshness = Duration::from_secs(8);
            Self { directories: 10, files: 60, epochs: 3, freshness, opens_per_request: 60 / 3 }
        }
    }

    fn opens(&self) -> usize {
        self.directories * self.files * self.epochs as usize
    }

    fn write(&self, bucket: &Path) {
        for directory in 0..self.directories {
            let folder = bucket.join(format!("d{directory:03}"));
            std::fs::create_dir_all(&folder).expect("made");
            (0..self.files).for_each(|file| drop(write_file(&folder.join(format!("f{file:04}")), 1, 10)));
        }
    }

    /// Opens each file once, directory after directory and in another order each time: so a directory is left alone
    /// for nearly an epoch. Gives the longest time that one took.
    fn open_all(&self, root: &Path, epoch: u64) -> Duration {
        let mut longest = Duration::ZERO;
        let shuffled = |seed: u64, count: usize| -> Vec<u64> {
            let keys = random_offsets(seed, count, u64::from(u32::MAX));
            let mut order: Vec<_> = keys.into_iter().zip(0..).collect();
            order.sort_unstable();
            order.into_iter().map(|(_, at)| at).collect()
        };
        for directory in shuffled(epoch, self.directories) {
            for file in shuffled(epoch + directory, self.files) {
                let path = root.join(format!("d{directory:03}/f{file:04}"));
                let begun = Instant::now();
                File::open(&path).expect("opened");
                longest = longest.max(begun.elapsed());
            }
        }
        longest
    }
}

fn mount(server: &FaultProxy, freshness: &str) -> (Cluster, PathBuf) {
    let cluster = Cluster::builder().fuse().start();
    let mounted = cluster.mount_s3("s3://bucket", "/data", &server.endpoint(), &["--freshness", freshness]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", Duration::from_secs(10), || root.exists());
    (cluster, root)
}

#[test]
fn after_the_first_epoch_no_open_waits_and_few_requests_are_made() {
    let scale = Scale::chosen();
    let server = Rclone::start("bucket", |bucket| scale.write(bucket));
    let proxy = FaultProxy::start(server.endpoint());
    let (_cluster, root) = mount(&proxy, &format!("{}s", scale.freshness.as_secs()));
    let begun = Instant::now();
    scale.open_all(&root, 0);
    proxy.delay(SLOW);
    proxy.forget();
    for epoch in 1..=scale.epochs {
        // The pace of the epochs, which is what is tested.
        std::thread::sleep((scale.freshness * epoch).saturating_sub(begun.elapsed()));
        let longest = scale.open_all(&root, u64::from(epoch));
        assert!(longest < SLOW / 2, "an open of epoch {epoch} took {longest:?}");
    }
    let (opens, requests) = (scale.opens(), proxy.exchanges().len());
    assert!(requests > 0, "what is in use is compared again");
    assert!(
        requests * scale.opens_per_request <= opens,
        "{requests} requests for {opens} opens: {:?}",
        proxy.exchanges()
    );
    println!("{requests} requests for {opens} opens");
}

#[test]
fn of_what_never_changes_nothing_is_asked_after_the_first_epoch() {
    let scale = Scale::chosen();
    let server = Rclone::start("bucket", |bucket| scale.write(bucket));
    let proxy = FaultProxy::start(server.endpoint());
    let (_cluster, root) = mount(&proxy, "immutable");
    scale.open_all(&root, 0);
    proxy.forget();
    for epoch in 1..=u64::from(scale.epochs) {
        scale.open_all(&root, epoch);
    }
    assert!(proxy.exchanges().is_empty(), "{:?}", proxy.exchanges());
}
