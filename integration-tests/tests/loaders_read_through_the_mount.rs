//! The loaders that training code uses decode through the mount what they decode of the plain directory, and in the second
//! epoch the bucket is asked for nothing.

use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, FaultProxy, LOADERS, LoaderEpoch, Loaders, READ_MODES, Rclone, drop_page_cache, wait_until,
};

#[test]
fn each_loader_decodes_the_same_through_the_mount_and_the_second_epoch_asks_the_bucket_for_nothing() {
    let loaders = Loaders::install();
    let server = Rclone::start("bucket", |bucket| {
        std::fs::create_dir(bucket.join("train")).expect("made");
        loaders.prepare(&bucket.join("train"), 1);
    });
    let plain = epoch_of_each(&loaders, &server.folder().join("bucket/train"), 0);
    for mode in READ_MODES {
        let proxy = FaultProxy::start(server.endpoint());
        let cluster = Cluster::builder().fuse().fuse_options(mode).start();
        let mounted = cluster.mount_s3("s3://bucket/train", "/data", &proxy.endpoint(), &[]);
        assert_eq!(mounted.code, 0, "{}", mounted.stderr);
        let root = cluster.fuse().join("data");
        wait_until("the mount is seen", Duration::from_secs(10), || root.exists());
        let first = epoch_of_each(&loaders, &root, 0);
        expect_same(&plain, &first);
        assert!(proxy.object_gets() > 0);
        drop_page_cache();
        proxy.forget();
        let second = epoch_of_each(&loaders, &root, 1);
        expect_same(&plain, &second);
        let again: Vec<_> =
            proxy.exchanges().into_iter().filter(|exchange| exchange.is_object_get()).collect();
        assert!(again.is_empty(), "{mode}: {again:?}");
        for (loader, ((plain, first), second)) in LOADERS.iter().zip(plain.iter().zip(&first).zip(&second)) {
            let (samples, bytes, _) = &plain.decoded;
            eprintln!(
                "{loader}, {mode}: {samples} samples, {bytes} bytes; plain {:.2} s, first epoch {:.2} s, second {:.2} s",
                plain.seconds, first.seconds, second.seconds
            );
        }
    }
}

fn epoch_of_each(loaders: &Loaders, root: &Path, epoch: u32) -> Vec<LoaderEpoch> {
    LOADERS.iter().map(|loader| loaders.epoch(loader, root, epoch)).collect()
}

fn expect_same(plain: &[LoaderEpoch], mounted: &[LoaderEpoch]) {
    for ((loader, plain), mounted) in LOADERS.iter().zip(plain).zip(mounted) {
        assert!(plain.decoded.0 > 0, "{loader}");
        assert_eq!(plain.decoded, mounted.decoded, "{loader}: samples, bytes and their sum");
    }
}
