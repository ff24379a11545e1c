//! `fs get` replaces regular files as a whole, writes into what is none, and bears any name.

use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use forebay_integration_tests::{Cluster, forebay, write_file};

fn start(source: &Path) -> Cluster {
    Cluster::builder().mount("/data", &format!("file://{}", source.display())).start()
}

#[test]
fn a_device_is_written_into_a_link_is_followed_and_a_mode_is_kept() {
    let (source, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let bytes = write_file(&source.path().join("f"), 1, 1000);
    let cluster = start(source.path());
    let at = |name: &str| target.path().join(name);
    let get = |to: &Path| cluster.run(&["fs", "get", "/data/f", &to.display().to_string()]);

    // A device of our own: the machine's null must outlive a failure of this test.
    let made = Command::new("mknod")
        .arg(at("null"))
        .args(["c", "1", "3"])
        .status()
        .expect("mknod is part of Debian");
    assert!(made.success());
    assert_eq!(get(&at("null")).code, 0);
    assert!(at("null").metadata().expect("there").file_type().is_char_device());

    std::fs::write(at("old"), b"old").expect("written");
    std::fs::set_permissions(at("old"), Permissions::from_mode(0o600)).expect("our own file");
    symlink(at("old"), at("link")).expect("made");
    assert_eq!(get(&at("link")).code, 0);
    assert!(at("link").symlink_metadata().expect("there").is_symlink());
    assert_eq!(std::fs::read(at("old")).expect("there"), bytes);
    assert_eq!(at("old").metadata().expect("there").permissions().mode() & 0o777, 0o600);

    let left: Vec<_> = std::fs::read_dir(target.path()).expect("listed").map_while(Result::ok).collect();
    assert_eq!(left.len(), 3, "nothing else is left: {left:?}");
}

#[test]
fn the_longest_names_and_names_that_are_not_utf8_come_out() {
    let (source, target) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (long, odd) = ("n".repeat(255), std::ffi::OsStr::from_bytes(b"caf\xe9"));
    let first = write_file(&source.path().join(&long), 1, 1000);
    let second = write_file(&source.path().join(odd), 2, 1000);
    let cluster = start(source.path());
    let all = cluster.run(&["fs", "get", "-r", "/data", &target.path().display().to_string()]);
    assert_eq!(all.code, 0, "{}", all.stderr);
    assert_eq!(std::fs::read(target.path().join(&long)).expect("there"), first);
    assert_eq!(std::fs::read(target.path().join(odd)).expect("there"), second);
    let typed = Command::new(forebay())
        .args(["fs", "cat"])
        .arg(std::ffi::OsStr::from_bytes(b"/data/caf\xe9"))
        .args(["--masters", cluster.address()])
        .output()
        .expect("the binary starts");
    assert_eq!(typed.stdout, second);
}

#[test]
fn control_characters_of_names_do_not_reach_the_terminal() {
    let source = tempfile::tempdir().expect("a folder");
    write_file(&source.path().join("new\nline\u{1b}[31m"), 1, 1);
    let listed = start(source.path()).run(&["fs", "ls", "/data"]).stdout;
    assert_eq!(listed.lines().count(), 1, "{listed:?}");
    assert!(listed.contains("new\\nline\\u{1b}[31m"), "{listed:?}");
}
