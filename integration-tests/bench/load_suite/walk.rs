//! Small files that nobody loaded, read through FUSE in the order of their directory, from a server that is far away.

use std::time::{Duration, Instant};

use forebay_integration_tests::{Cluster, FaultProxy, Rclone, S3Client, wait_until};

use super::{BUCKET, SMALL_LENGTH};
use crate::comparison::{Effort, Row, Side};

/// How long the server lets each request wait, as one in another region does.
const DISTANCE: Duration = Duration::from_millis(50);
const WITHIN: Duration = Duration::from_secs(60);

/// One reader, who waits for each file before the next one, beside a program that downloads one object after the other.
pub(super) fn row(effort: Effort, server: &Rclone) -> Row {
    let count = effort.pick(500_u64, 100);
    let proxy = FaultProxy::start(server.endpoint());
    proxy.delay(DISTANCE);
    let case = "first walk through small files, 1 reader through FUSE, server 50 ms away";
    Row::measure(effort, case, "files/s", "one download after the other", |side| {
        let seconds = match side {
            Side::Ours => walk(&proxy, count),
            Side::Baseline => download(&proxy, count),
        };
        count as f64 / seconds
    })
}

fn walk(proxy: &FaultProxy, count: u64) -> f64 {
    let cluster = Cluster::builder().fuse().ram("0").tier("4GiB").start();
    let mounted = cluster.mount_s3(&format!("s3://{BUCKET}"), "/data", &proxy.endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let folder = cluster.fuse().join("data/small");
    wait_until("the mount is seen", WITHIN, || folder.exists());
    // Its worker has learned of the mount then.
    assert_eq!(std::fs::read(cluster.fuse().join("data").join(super::FIRST)).expect("read").len(), 1);
    let begun = Instant::now();
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("named").path()).collect();
    files.sort();
    for file in files.iter().take(usize::try_from(count).expect("small")) {
        assert_eq!(std::fs::read(file).expect("read").len(), SMALL_LENGTH);
    }
    begun.elapsed().as_secs_f64()
}

fn download(proxy: &FaultProxy, count: u64) -> f64 {
    let begun = Instant::now();
    let mut client = S3Client::new(&proxy.endpoint());
    for index in 0..count {
        let mut length = 0;
        client.get_range(BUCKET, format!("small/f{index}"), 0..SMALL_LENGTH as u64, |_, piece| {
            length += piece.len();
        });
        assert_eq!(length, SMALL_LENGTH);
    }
    begun.elapsed().as_secs_f64()
}
