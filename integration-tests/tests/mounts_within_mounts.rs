//! Mounts nest, and none hides anything.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Cluster, by_nobody, wait_until, write_file};

const WITHIN: Duration = Duration::from_secs(10);

fn uri(folder: &Path) -> String {
    format!("file://{}", folder.display())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("listed");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("one").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_mount_within_another_is_shown_and_one_that_would_hide_something_is_refused() {
    let [outer, inner, third] = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let of_outer = write_file(&outer.path().join("taken/f"), 1, 1000);
    write_file(&outer.path().join("g"), 2, 1000);
    let of_inner = write_file(&inner.path().join("h"), 3, 1000);
    let cluster = Cluster::builder().mount("/data", &uri(outer.path())).fuse().start();
    let data = cluster.fuse().join("data");
    assert_eq!(names(&data), ["g", "taken"]);
    let mounted = cluster.run(&["mount", &uri(inner.path()), "/data/way/inner"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    wait_until("the inner one is seen", WITHIN, || data.join("way/inner").exists());
    assert_eq!(fs::read(data.join("way/inner/h")).expect("read"), of_inner);
    assert_eq!(fs::read(data.join("taken/f")).expect("read"), of_outer);
    assert_eq!(
        (names(&data), names(&data.join("way"))),
        (vec!["g".into(), "taken".into(), "way".into()], vec!["inner".into()])
    );

    let before = cluster.json(&["mounts"]);
    let overlapping = uri(&outer.path().join("taken"));
    for (under_store, at, why) in [
        (uri(third.path()), "/data/taken", "hide"),
        (uri(third.path()), "/data/g", "hide"),
        (uri(third.path()), "/data/way", "/data/way/inner"),
        (uri(third.path()), "/data/way/inner", "/data/way/inner"),
        (uri(third.path()), "/", "/"),
        (overlapping, "/other", "overlaps"),
    ] {
        let refused = cluster.run(&["mount", &under_store, at]);
        assert!(refused.code == 1 && refused.stderr.contains(why), "{at}: {}", refused.stderr);
    }
    let refused = cluster.run(&["unmount", "/data"]);
    assert!(refused.code == 1 && refused.stderr.contains("/data/way/inner"), "{}", refused.stderr);
    assert_eq!(cluster.json(&["mounts"]), before);

    assert_eq!(cluster.run(&["unmount", "/data/way/inner"]).code, 0);
    wait_until("the inner one is gone", WITHIN, || names(&data) == ["g", "taken"]);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("our own");
}

fn may_list(path: &Path) -> bool {
    by_nobody("ls", path).status.success()
}

#[test]
fn a_mount_within_another_is_as_private_as_its_own_source() {
    let [outer, private, open] = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    for (source, mode) in [(&outer, 0o755), (&private, 0o700), (&open, 0o755)] {
        write_file(&source.path().join("f"), 1, 1000);
        set_mode(source.path(), mode);
    }
    let cluster = Cluster::builder().mount("/data", &uri(outer.path())).fuse().start();
    set_mode(cluster.dir(), 0o755);
    let data = cluster.fuse().join("data");
    for (source, at) in [(&private, "/data/private"), (&open, "/data/way/open")] {
        let mounted = cluster.run(&["mount", &uri(source.path()), at, "--freshness", "2s"]);
        assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    }
    let seen = |at: &str| may_list(&data.join(at));
    wait_until("they are seen", WITHIN, || {
        data.join("way/open/f").exists() && data.join("private/f").exists()
    });
    assert_eq!(["", "private", "way", "way/open"].map(seen), [true, false, true, true]);
    for (source, mode) in [(&private, 0o755), (&open, 0o700)] {
        set_mode(source.path(), mode);
    }
    wait_until("it is seen", WITHIN, || ["private", "way/open"].map(seen) == [true, false]);
    // Whoever is kept from the outer one is kept from what is mounted below it.
    set_mode(outer.path(), 0o700);
    assert_eq!(cluster.run(&["fs", "refresh", "/data"]).code, 0);
    wait_until("it is seen", WITHIN, || ["", "private"].map(seen) == [false, false]);
}
