//! What pjdfstest says of a mount: the part of it that judges file systems that are read-only.
//!
//! pjdfstest makes the files that it needs where it judges, so on a mount that nobody can write to it does not begin, and of
//! its 398 checks those can run that make their files, ask for the file system to be read-only from then on, and expect
//! EROFS. Here they make their files in the directory that Forebay shows, and are then given Forebay's view of it in its
//! place (see suites/pjdfstest/mount). The other checks are of writing, or of names and rights of files that they make by
//! writing; what a reader sees of names and rights is tested in `what_stat_shows.rs` and beside the FUSE bridge.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use forebay_integration_tests::{Cluster, READ_MODES};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// All checks of read-only file systems, with what comes of them. A check that fails by design stands in settings.toml
/// with its reason, and here as `failed as expected`.
const CHECKS: [(&str, &str); 13] = [
    ("chmod::erofs_named", "ok"),
    ("chown::erofs_named", "ok"),
    ("chown::lchown::erofs_named", "ok"),
    ("link::erofs_named", "ok"),
    ("mkdir::erofs_new_file", "ok"),
    ("mkfifo::erofs_new_file", "ok"),
    ("open::erofs_named", "ok"),
    ("open::erofs_new_file", "ok"),
    ("rename::erofs_named", "ok"),
    ("rmdir::erofs_named", "ok"),
    ("symlink::erofs_new_file", "ok"),
    ("truncate::erofs_named", "ok"),
    ("unlink::erofs_named", "ok"),
];

/// A file system of the test's own, whose root the checks take for the mount point; unmounted at the end.
struct Source(tempfile::TempDir);

impl Source {
    fn mount() -> Self {
        let source = Self(tempfile::tempdir().expect("a folder"));
        mount("forebay-test", source.0.path(), "tmpfs", MountFlags::empty(), c"size=16m")
            .expect("we are root");
        source
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[test]
fn each_check_of_a_read_only_file_system_says_what_it_is_known_to_say() {
    for mode in READ_MODES {
        let source = Source::mount();
        let cluster = Cluster::builder().fuse().fuse_options(mode).start();
        let uri = format!("file://{}", source.0.path().display());
        // What was made is to be seen at once.
        let mounted = cluster.run(&["mount", &uri, "/data", "--freshness", "0"]);
        assert_eq!(mounted.code, 0, "{}", mounted.stderr);
        let judged = pjdfstest(source.0.path(), &cluster.fuse().join("data"), &["erofs"]);
        let said = String::from_utf8_lossy(&judged.stdout).into_owned();
        let known = CHECKS.map(|(name, verdict)| (name.to_owned(), verdict.to_owned()));
        assert_eq!(verdicts(&said), BTreeMap::from(known), "{mode}: {said}");
        assert!(judged.status.success(), "{mode}: {said}");
    }
}

#[test]
fn the_other_checks_begin_by_writing_and_are_refused() {
    let source = tempfile::tempdir().expect("a folder");
    let uri = format!("file://{}", source.path().display());
    let cluster = Cluster::builder().mount("/data", &uri).fuse().start();
    let view = cluster.fuse().join("data");
    let judged = pjdfstest(&view, &view, &[]);
    let said = String::from_utf8_lossy(&judged.stderr);
    assert!(!judged.status.success() && said.contains("Read-only file system"), "{said}");
    assert_eq!(judged.stdout, b"", "nothing was checked");
}

/// Runs checks with files in `at`, of which Forebay's view is `view`, in a mount namespace of their own: what is laid over
/// `at` is not seen by Forebay, and goes with the last process.
fn pjdfstest(at: &Path, view: &Path, checks: &[&str]) -> Output {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/pjdfstest");
    let path = std::env::var("PATH").expect("there is one");
    Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(installed())
        .arg("--configuration-file")
        .arg(suite.join("settings.toml"))
        .arg("--path")
        .arg(at)
        .args(checks)
        .env("PATH", format!("{}:{path}", suite.display()))
        .env("FOREBAY_VIEW", view)
        .output()
        .expect("unshare is part of each Debian")
}

/// The checks and what is said of each, but for the summary.
fn verdicts(said: &str) -> BTreeMap<String, String> {
    let of_checks = said.lines().filter(|line| line.contains("::") && !line.starts_with(char::is_whitespace));
    let split = |line: &str| {
        let (name, verdict) = line.split_once(' ').expect("a name and what is said of it");
        (name.to_owned(), verdict.trim().to_owned())
    };
    of_checks.map(split).collect()
}

fn installed() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/install-pjdfstest.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().expect("the script runs");
    assert!(output.status.success(), "{script} failed");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
}
