//! File systems that lie below a local under-store: a mount of Forebay itself, and one whose server has died.

use std::path::Path;

use forebay_integration_tests::{Fleet, write_file};
use rustix::mount::{UnmountFlags, unmount};

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("listed");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("listed").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_mount_below_its_own_source_is_not_shown_in_itself_and_harms_nobody_when_dead() {
    let source = tempfile::tempdir().expect("a folder");
    write_file(&source.path().join("f"), 1, 10);
    let below = source.path().join("mnt");
    let uri = format!("file://{}", source.path().display());
    let fleet = Fleet::start(1);
    for (under_store, at) in [(&uri[..], "/data"), ("file:///etc/apt", "/other")] {
        let mounted = fleet.run(&["mount", under_store, at, "--freshness", "0s"]);
        assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    }

    let mut bridge = fleet.mount_at(&below, "host-0", "");
    assert_eq!(names(&below), ["data", "other"]);
    assert_eq!(names(&below.join("data")), ["f"], "it does not hold itself");
    assert!(!below.join("data/mnt").exists(), "nor when it is asked for by its name");

    let own_mount = ["mnt", "mnt/other"].map(|inside| format!("{uri}/{inside}"));
    let own_folder = format!("file://{}", fleet.dir().join("master").display());
    for (refused, why) in [(&own_mount[0], "overlaps"), (&own_folder, "keeps its own files")] {
        let output = fleet.run(&["mount", refused, "/again"]);
        assert!(output.code == 1 && output.stderr.contains(why), "{refused}: {}", output.stderr);
    }
    assert_eq!(fleet.run(&["unmount", "/data"]).code, 0);
    for refused in &own_mount {
        let output = fleet.run(&["mount", refused, "/again"]);
        assert!(output.code == 1 && output.stderr.contains("cannot hold itself"), "{}", output.stderr);
    }

    bridge.kill();
    let dead = std::fs::read_dir(&below).expect_err("its server has died");
    assert_eq!(dead.raw_os_error(), Some(rustix::io::Errno::NOTCONN.raw_os_error()));
    let mounted = fleet.run(&["mount", &uri, "/data", "--freshness", "0s"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let listed = fleet.json(&["fs", "ls", "/data"]);
    let shown = listed["entries"].as_array().expect("a list");
    assert_eq!(shown.iter().map(|entry| &entry["name"]).collect::<Vec<_>>(), ["f"]);
    for (of, code) in [("/data/f", 0), ("/data/mnt", 1)] {
        let looked = fleet.run(&["fs", "stat", of]);
        assert_eq!(looked.code, code, "{of}: {}", looked.stderr);
    }
    assert_eq!(fleet.json(&["mounts"])["mounts"][0]["state"], "READY", "the dead mount is no outage");
    unmount(&below, UnmountFlags::DETACH).expect("taken away");
}
