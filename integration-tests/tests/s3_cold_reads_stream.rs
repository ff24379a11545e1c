//! A cold object is read while it comes: its first bytes do not wait for its last, and no page of it is asked for twice.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, FaultProxy, READ_MODES, Rclone, content, sha256, wait_until, write_file,
};

const MIB: usize = 1 << 20;
const WITHIN: Duration = Duration::from_secs(10);

struct Scene {
    cluster: Cluster,
    proxy: FaultProxy,
    object: PathBuf,
}

/// A server with a bucket of the file `object`, and that file's sum.
fn serve(length: usize) -> (Rclone, String) {
    let mut sum = String::new();
    let fill = |bucket: &Path| sum = sha256(&write_file(&bucket.join("object"), 1, length));
    (Rclone::start("bucket", fill), sum)
}

/// A mount of that bucket.
fn start(server: &Rclone, mode: &str) -> Scene {
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    let mounted = cluster.mount_s3("s3://bucket", "/data", &proxy.endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let object = cluster.fuse().join("data/object");
    wait_until("the object is seen", WITHIN, || object.exists());
    Scene { cluster, proxy, object }
}

#[test]
fn the_first_bytes_of_a_large_object_arrive_long_before_its_last() {
    let length = 256 * MIB;
    let (server, sum) = serve(length);
    for mode in READ_MODES {
        let scene = start(&server, mode);
        scene.proxy.throttle(Some(32 << 20));
        let mut file = File::open(&scene.object).expect("open");
        let mut first = [0; 4096];
        file.read_exact(&mut first).expect("read");
        let fetched = scene.proxy.object_bytes();
        assert_eq!(first[..], content(1, 4096));
        assert!(fetched < length as u64 / 4, "{fetched} bytes came before the first could be read");
        scene.proxy.throttle(None);
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).expect("read");
        assert_eq!(sha256(&[&first[..], &rest].concat()), sum);
        assert_eq!(scene.proxy.object_bytes(), length as u64, "each byte is fetched once");
    }
}

#[test]
fn a_read_in_the_middle_of_a_cold_object_does_not_fetch_all_of_it() {
    let length = 128 * MIB;
    let (server, _) = serve(length);
    for mode in READ_MODES {
        let scene = start(&server, mode);
        let file = File::open(&scene.object).expect("open");
        let mut bytes = [0; 4096];
        file.read_exact_at(&mut bytes, 100 * MIB as u64).expect("read");
        assert_eq!(bytes[..], content(1, 100 * MIB + 4096)[100 * MIB..]);
        let fetched = scene.proxy.object_bytes();
        assert!(fetched <= 16 * MIB as u64, "{fetched} bytes for a read of 4096");
    }
}

#[test]
fn many_cold_readers_of_one_object_fetch_each_page_once() {
    let length = 64 * MIB + 4321;
    let (server, sum) = serve(length);
    for mode in READ_MODES {
        let scene = start(&server, mode);
        scene.proxy.throttle(Some(64 << 20));
        std::thread::scope(|scope| {
            let by_fuse = (0..8).map(|_| scope.spawn(|| std::fs::read(&scene.object).expect("readable")));
            let by_command =
                (0..8).map(|_| scope.spawn(|| scene.cluster.run_for_bytes(&["fs", "cat", "/data/object"])));
            let readers: Vec<_> = by_fuse.chain(by_command).collect();
            for reader in readers {
                assert_eq!(sha256(&reader.join().expect("read")), sum);
            }
        });
        assert_eq!(scene.proxy.object_bytes(), length as u64, "each page is fetched once");
    }
}
