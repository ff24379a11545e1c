//! In a bucket that keeps versions, what is being read is read to its end although it was replaced or deleted.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use forebay_integration_tests::{Cluster, Radosgw, Requests, content, in_both_modes, wait_until};

const WITHIN: Duration = Duration::from_secs(2 + 8);
/// Larger than what is fetched ahead of a read.
const LENGTH: usize = 60 << 20;
const READ_FIRST: usize = 1 << 20;

#[test]
fn a_handle_is_read_to_its_end_after_its_object_was_replaced_or_deleted() {
    in_both_modes(a_handle_is_read_to_its_end_in);
}

fn a_handle_is_read_to_its_end_in(mode: &str) {
    let server = Radosgw::shared();
    let bucket = server.bucket();
    Requests::new(server.endpoint(), &bucket).keep_versions();
    let mut client = server.client();
    let old = content(1, LENGTH);
    for name in ["replaced", "deleted"] {
        client.put(&bucket, name, &old);
    }
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    let uri = format!("s3://{bucket}");
    let mounted = cluster.mount_s3(&uri, "/data", server.endpoint(), &["--freshness", "2s"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", WITHIN, || root.exists());
    let handles = ["replaced", "deleted"].map(|name| {
        let handle = File::open(root.join(name)).expect("opened");
        let mut first = vec![0; READ_FIRST];
        handle.read_exact_at(&mut first, 0).expect("read");
        assert!(first == old[..READ_FIRST]);
        handle
    });
    let new = content(2, LENGTH / 2);
    client.put(&bucket, "replaced", &new);
    client.delete(&bucket, "deleted");
    wait_until("the deletion is seen", WITHIN, || !root.join("deleted").exists());
    wait_until("the new content is read", WITHIN, || {
        std::fs::read(root.join("replaced")).is_ok_and(|bytes| bytes == new)
    });
    for handle in handles {
        let mut rest = vec![0; LENGTH - READ_FIRST];
        handle.read_exact_at(&mut rest, READ_FIRST as u64).expect("kept by the bucket");
        assert!(rest == old[READ_FIRST..], "the bytes are those of the version that was opened");
    }
}
