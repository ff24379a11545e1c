//! Files that change in the under-store are seen within the mount's freshness, and no read mixes two contents.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, content, in_both_modes, stamped, version_of, wait_until, write_file,
};

/// The bound that the mounts here are given, with room for a busy machine.
const WITHIN: Duration = Duration::from_secs(2 + 8);

/// The content is replaced until a reader has seen so many versions, and then once more by the last.
const SEEN_MIN: usize = 3;
const LAST: u8 = u8::MAX;

fn start(source: &Path, mode: &str) -> Cluster {
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    let uri = format!("file://{}", source.display());
    let mounted = cluster.run(&["mount", &uri, "/data", "--freshness", "2s"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    wait_until("the mount is seen", WITHIN, || cluster.fuse().join("data").exists());
    cluster
}

#[test]
fn new_files_appear_and_deleted_ones_go() {
    in_both_modes(new_files_appear_and_deleted_ones_go_in);
}

fn new_files_appear_and_deleted_ones_go_in(mode: &str) {
    let source = tempfile::tempdir().expect("a folder");
    write_file(&source.path().join("old"), 1, 10);
    let cluster = start(source.path(), mode);
    let data = cluster.fuse().join("data");
    assert!(data.join("old").exists() && !data.join("new").exists());
    write_file(&source.path().join("new"), 2, 20);
    std::fs::remove_file(source.path().join("old")).expect("removed");
    wait_until("the new name is seen", WITHIN, || data.join("new").exists());
    wait_until("the old name is gone", WITHIN, || !data.join("old").exists());
    let names: Vec<_> =
        std::fs::read_dir(&data).expect("listed").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names, ["new"]);
}

#[test]
fn a_replaced_file_is_a_new_version_and_an_open_handle_keeps_the_old_one() {
    in_both_modes(a_replaced_file_is_a_new_version_and_an_open_handle_keeps_the_old_one_in);
}

fn a_replaced_file_is_a_new_version_and_an_open_handle_keeps_the_old_one_in(mode: &str) {
    let source = tempfile::tempdir().expect("a folder");
    let path = source.path().join("f");
    let length = 3 << 20;
    let old = write_file(&path, 1, length);
    let cluster = start(source.path(), mode);
    let shown = cluster.fuse().join("data/f");
    assert_eq!(std::fs::read(&shown).expect("read"), old);
    let handle = File::open(&shown).expect("open");
    let node = handle.metadata().expect("there").ino();
    // The same size, within the same second, by rename and in place.
    write_file(&source.path().join("g"), 2, length);
    std::fs::rename(source.path().join("g"), &path).expect("replaced");
    let new = content(2, length);
    wait_until("the new content is seen", WITHIN, || std::fs::read(&shown).is_ok_and(|bytes| bytes == new));
    let mut bytes = vec![0; length];
    handle.read_exact_at(&mut bytes, 0).expect("an open handle goes on");
    assert_eq!(bytes, old);
    assert_ne!(std::fs::metadata(&shown).expect("there").ino(), node, "one node, one version");
    let third = write_file(&path, 3, length);
    wait_until("the third content is seen", WITHIN, || {
        std::fs::read(&shown).is_ok_and(|bytes| bytes == third)
    });
}

#[test]
fn no_read_ever_mixes_two_contents() {
    in_both_modes(no_read_ever_mixes_two_contents_in);
}

fn no_read_ever_mixes_two_contents_in(mode: &str) {
    let source = tempfile::tempdir().expect("a folder");
    let path = source.path().join("f");
    let length = 5 << 20;
    std::fs::write(&path, stamped(0, length)).expect("written");
    let cluster = start(source.path(), mode);
    let shown = cluster.fuse().join("data/f");
    let seen_so_far = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !seen.contains(&LAST) {
                match std::fs::read(&shown) {
                    Ok(bytes) => {
                        assert_eq!(bytes.len(), length);
                        seen.insert(version_of(&bytes).unwrap_or_else(|mixed| panic!("{mixed:?}")));
                        seen_so_far.store(seen.len(), Ordering::Relaxed);
                    }
                    // What is neither cached nor in the under-store any more cannot be had.
                    Err(error) => assert_eq!(error.raw_os_error(), Some(116), "{error}"),
                }
            }
            seen
        });
        let replace = |version| {
            let new = source.path().join("next");
            std::fs::write(&new, stamped(version, length)).expect("written");
            std::fs::rename(&new, &path).expect("replaced");
        };
        wait_until("the first content is seen", WITHIN, || {
            seen_so_far.load(Ordering::Relaxed) > 0 || reader.is_finished()
        });
        for version in 1..LAST {
            replace(version);
            // The pace of the changes: what changes faster than it can be read is seen by nobody.
            std::thread::sleep(Duration::from_millis(700));
            if seen_so_far.load(Ordering::Relaxed) >= SEEN_MIN || reader.is_finished() {
                break;
            }
        }
        replace(LAST);
        let seen = reader.join().expect("no mixed read");
        assert!(seen.len() > SEEN_MIN, "{seen:?}");
    });
}
