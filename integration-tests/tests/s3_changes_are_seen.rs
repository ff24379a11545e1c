//! What changes in a bucket behind the cluster's back is seen within the mount's freshness, and no read mixes two
//! versions; also where something on the way leaves the conditions of reads away.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, FaultProxy, MappedReads, READ_MODES, Radosgw, S3Client, content, in_both_modes,
    read_mapped_until, stamped, version_of, wait_until,
};

/// The bound that the mounts here are given, with room for a busy machine.
const WITHIN: Duration = Duration::from_secs(2 + 8);
const MIB: usize = 1 << 20;
/// More than one request fetches.
const LENGTH: usize = 9 * MIB + 17;
/// An object is replaced at least so often, and until its reader has seen so many versions; then once more by the last.
const REPLACEMENTS_MIN: u8 = 30;
const SEEN_MIN: usize = 3;
/// Time between two replacements, as long as readers keep up.
const PACE: Duration = Duration::from_millis(250);
const LAST: u8 = u8::MAX;

/// A mount of a bucket of the gateway.
struct Mounted {
    bucket: String,
    client: S3Client,
    root: PathBuf,
    proxy: FaultProxy,
}

/// Mounts a new bucket with these objects, through a proxy.
fn mount(cluster: &Cluster, name: &str, freshness: &str, objects: &[(&str, &[u8])]) -> Mounted {
    let server = Radosgw::shared();
    let (bucket, mut client) = (server.bucket(), server.client());
    objects.iter().for_each(|(key, bytes)| client.put(&bucket, key, bytes));
    let proxy = FaultProxy::start(server.endpoint());
    let (uri, path) = (format!("s3://{bucket}"), format!("/{name}"));
    let mounted = cluster.mount_s3(&uri, &path, &proxy.endpoint(), &["--freshness", freshness]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join(name);
    wait_until("the mount is seen", WITHIN, || root.exists());
    Mounted { bucket, client, root, proxy }
}

impl Mounted {
    fn put(&mut self, key: &str, bytes: &[u8]) {
        self.client.put(&self.bucket, key, bytes);
    }

    fn shows(&self, key: &str, bytes: &[u8]) -> bool {
        std::fs::read(self.root.join(key)).is_ok_and(|read| read == bytes)
    }
}

#[test]
fn replaced_deleted_and_added_objects_are_seen_within_freshness() {
    in_both_modes(replaced_deleted_and_added_objects_are_seen_within_freshness_in);
}

fn replaced_deleted_and_added_objects_are_seen_within_freshness_in(mode: &str) {
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    std::thread::scope(|scope| {
        for (name, strips) in [("direct", false), ("stripped", true)] {
            let cluster = &cluster;
            scope.spawn(move || changes_are_seen(cluster, name, strips));
        }
    });
}

fn changes_are_seen(cluster: &Cluster, name: &str, strips: bool) {
    let (same, other) = (content(1, LENGTH), content(2, LENGTH));
    let objects: [(&str, &[u8]); 5] = [
        ("same", &same),
        ("shorter", &same),
        ("longer", b"x"),
        ("deleted", b"gone soon"),
        ("folder/only", b"gone soon"),
    ];
    let mut mounted = mount(cluster, name, "2s", &objects);
    mounted.proxy.strip_conditions(strips);
    for (key, bytes) in objects {
        assert!(mounted.shows(key, bytes), "{name}/{key}");
    }

    mounted.put("same", &other);
    wait_until("a replaced object of the same size", WITHIN, || mounted.shows("same", &other));
    mounted.put("shorter", &other[..MIB]);
    wait_until("a shorter object", WITHIN, || mounted.shows("shorter", &other[..MIB]));
    mounted.put("longer", &other);
    wait_until("a longer object", WITHIN, || mounted.shows("longer", &other));
    mounted.put("new/deep/object", b"new");
    wait_until("a new object in new folders", WITHIN, || mounted.shows("new/deep/object", b"new"));
    for key in ["deleted", "folder/only"] {
        mounted.client.delete(&mounted.bucket, key);
    }
    wait_until("a deleted object is gone", WITHIN, || !mounted.root.join("deleted").exists());
    wait_until("an empty folder is gone", WITHIN, || !mounted.root.join("folder").exists());
    wait_until("the listing has it too", WITHIN, || {
        names(&mounted.root) == ["longer", "new", "same", "shorter"]
    });
    let conditional = mounted.proxy.exchanges().iter().any(|exchange| exchange.has_condition);
    assert!(conditional, "reads are conditional, so that stripping changes them");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("listed");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("one").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn no_read_mixes_versions_while_an_object_is_replaced_again_and_again() {
    // One after the other: the readers of one take all that the machine has.
    READ_MODES.into_iter().for_each(no_read_mixes_versions_in);
}

fn no_read_mixes_versions_in(mode: &str) {
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    let mut mounts = [("direct", false), ("stripped", true)].map(|(name, strips)| {
        let mounted = mount(&cluster, name, "2s", &[("object", &stamped(0, LENGTH))]);
        mounted.proxy.strip_conditions(strips);
        mounted
    });
    for mounted in &mounts {
        let first = read_mapped_until(&mounted.root.join("object"), 0);
        assert!(first.mixed.is_none(), "{first:?}");
    }
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for (mounted, count) in mounts.iter().zip(&counts) {
            let path = mounted.root.join("object");
            let mapped = path.clone();
            let read = scope.spawn(move || read_until(&path, LAST, count));
            readers.push((read, scope.spawn(move || read_mapped_until(&mapped, LAST))));
        }
        let least_seen = || counts.iter().map(|seen| seen.load(Ordering::Relaxed)).min().unwrap_or(0);
        let (mut pace, mut seen) = (PACE, 0);
        for version in 1..LAST {
            put_in_all(&mut mounts, version);
            // The pace of the changes, not a wait for one of them: readers are to meet each phase of them. On a machine
            // that is too busy to read a version before it is replaced, it becomes slower.
            std::thread::sleep(pace);
            if version >= REPLACEMENTS_MIN && least_seen() >= SEEN_MIN {
                break;
            }
            if version.is_multiple_of(REPLACEMENTS_MIN) {
                pace = if least_seen() > seen { PACE } else { pace * 2 };
                seen = least_seen();
            }
        }
        put_in_all(&mut mounts, LAST);
        for (read, mapped) in readers {
            let (read, mapped): (BTreeSet<u8>, MappedReads) =
                (read.join().expect("no mixed read"), mapped.join().expect("maps"));
            assert_eq!(mapped.mixed, None, "a map showed several versions");
            println!("{mode}: read {read:?}, mapped {:?}, lost {}", mapped.versions, mapped.lost);
            assert!(read.len() > SEEN_MIN && mapped.versions.contains(&LAST), "{read:?} {mapped:?}");
        }
    });
}

fn put_in_all(mounts: &mut [Mounted], version: u8) {
    let bytes = stamped(version, LENGTH);
    mounts.iter_mut().for_each(|mounted| mounted.put("object", &bytes));
}

/// Reads a file by `read` until it shows version `last`; the versions that it showed, whose number goes into `count`.
fn read_until(path: &Path, last: u8, count: &AtomicUsize) -> BTreeSet<u8> {
    let mut seen = BTreeSet::new();
    while !seen.contains(&last) {
        match std::fs::read(path) {
            Ok(bytes) => {
                assert_eq!(bytes.len(), LENGTH);
                seen.insert(version_of(&bytes).unwrap_or_else(|mixed| panic!("a mixed read: {mixed:?}")));
                count.store(seen.len(), Ordering::Relaxed);
            }
            // What is neither cached nor in the bucket any more cannot be had.
            Err(error) => assert_eq!(error.raw_os_error(), Some(116), "{error}"),
        }
    }
    seen
}

#[test]
fn a_server_that_lies_about_versions_is_caught_by_the_check_of_these_scenarios() {
    in_both_modes(a_server_that_lies_is_caught_in);
}

fn a_server_that_lies_is_caught_in(mode: &str) {
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    let length = 40 * MIB;
    let mut mounted = mount(&cluster, "lies", "60s", &[("object", &stamped(1, length))]);
    mounted.proxy.strip_conditions(true);
    mounted.proxy.freeze_tags(true);
    let file = File::open(mounted.root.join("object")).expect("open");
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes[..MIB], 0).expect("the first version's");
    mounted.put("object", &stamped(2, length));
    file.read_exact_at(&mut bytes[MIB..], MIB as u64).expect("the second version's, in disguise");
    assert!(version_of(&bytes).is_err(), "the check does not see what was planted");
}
