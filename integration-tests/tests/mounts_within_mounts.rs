//! Mounts nest, and none hides anything.

use std::fs;
use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Cluster, wait_until, write_file};

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
    wait_until("the inner one is seen", Duration::from_secs(10), || data.join("way/inner").exists());
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
    wait_until("the inner one is gone", Duration::from_secs(10), || names(&data) == ["g", "taken"]);
}
