//! Disks that are full, folders that may not be written to, and machines without FUSE: bytes stay right, errors name the
//! place, and nothing is left behind.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, Nobody, Output, Process, READ_MODES, SmallDisk, Sums, drop_page_cache, forebay, run, wait_until,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

const MIB: usize = 1 << 20;
const WITHIN: Duration = Duration::from_secs(30);
/// The user that owns nothing.
const NOBODY: u32 = 65_534;

fn source() -> (tempfile::TempDir, Sums) {
    let source = tempfile::tempdir().expect("a folder");
    let files = [("read/a", 110_000), ("read/b", 3 * MIB + 17), ("new/c", 110_000), ("new/d", 5 * MIB + 1)];
    let sums = Sums::write(source.path(), files);
    (source, sums)
}

fn uri(source: &Path) -> String {
    format!("file://{}", source.display())
}

fn output(command: &mut Command) -> Output {
    let output = command.output().expect("it starts");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn last_line(output: &Output) -> &str {
    output.stderr.lines().next_back().unwrap_or_default()
}

#[test]
fn a_disk_that_somebody_else_fills_up_costs_the_cache_and_no_byte() {
    READ_MODES.into_iter().for_each(a_disk_that_somebody_else_fills_up_costs_the_cache_and_no_byte_in);
}

fn a_disk_that_somebody_else_fills_up_costs_the_cache_and_no_byte_in(mode: &str) {
    let (source, sums) = source();
    let disk = SmallDisk::mount();
    let builder = Cluster::builder().mount("/data", &uri(source.path())).fuse().fuse_options(mode);
    let builder = builder.ram("0").tier("256MiB").tier_folder(&disk.path().join("tier"));
    let cluster = builder.start();
    let root = cluster.fuse().join("data");
    let by_command = |name: &str| Ok(cluster.run_for_bytes(&["fs", "cat", &format!("/data/{name}")]));
    let used = || cluster.json(&["admin", "report"])["workers"][0]["tiers"][0]["used_bytes"].as_u64();
    for name in ["read/a", "read/b"] {
        fs::read(root.join(name)).expect("readable");
    }
    wait_until("what was read is cached", WITHIN, || used() > Some(3 * MIB as u64));

    disk.fill();
    for _ in 0..2 {
        sums.expect_in(&root);
        drop_page_cache();
        assert_eq!(sums.wrong_by(by_command), Vec::<String>::new());
    }
    let loaded = cluster.run(&["load", "/data/new", "--output", "json"]);
    let job: serde_json::Value = serde_json::from_str(&loaded.stdout).expect("a document");
    assert_eq!((loaded.code, &job["state"]), (1, &"FAILED".into()), "{job}");
    // What fits where something else was cached is loaded; this one is larger than all of that. A load that the master
    // knows to be too large by then is refused as a whole.
    let failures = job["failures"].as_array().expect("a list");
    let says = |why: &serde_json::Value, what: &str| why.as_str().is_some_and(|why| why.contains(what));
    let is_named = failures.iter().any(|failure| failure["path"] == "/data/new/d");
    let is_refused = failures.is_empty() && says(&job["reason"], "are missing");
    assert!(is_named || is_refused, "{job}");
    assert!(failures.iter().all(|failure| says(&failure["reason"], "no room")), "{job}");
    sums.expect_in(&root);

    disk.make_room();
    wait_until("there is room again", WITHIN, || cluster.run(&["load", "/data"]).code == 0);
    drop_page_cache();
    let fetched = "forebay_worker_under_store_read_bytes_total";
    let before = cluster.metric(fetched);
    sums.expect_in(&root);
    assert_eq!(cluster.metric(fetched), before, "all is cached");
    // The mount of the disk is let go before the disk is.
    drop(cluster);
}

/// Arguments of a cluster in `dir` with its disk tier at `tier`.
fn local(dir: &Path, tier: &Path) -> [String; 9] {
    let (dir, tier) = (dir.join("state").display().to_string(), format!("{}:64MiB", tier.display()));
    ["local", "--dir", &dir, "--ram", "0", "--listen", "127.0.0.1:0", "--tier", &tier].map(str::to_owned)
}

#[test]
fn a_tier_that_a_user_may_not_use_is_named() {
    let nobody = Nobody::new();
    let closed = nobody.dir().join("closed");
    fs::create_dir(&closed).expect("made");
    // Whose user it is does not count, only what he may do.
    std::os::unix::fs::chown(&closed, Some(NOBODY), Some(NOBODY)).expect("we are root");
    let foreign = tempfile::tempdir().expect("a folder");
    let cases = [(closed.clone(), 0o000), (closed, 0o500), (foreign.path().join("below"), 0o700)];
    for (tier, mode) in cases {
        if tier.exists() {
            fs::set_permissions(&tier, Permissions::from_mode(mode)).expect("we are root");
        }
        let refused = output(nobody.command().args(local(nobody.dir(), &tier)));
        let said = last_line(&refused);
        assert_eq!(refused.code, 1, "{mode:o}: {}", refused.stderr);
        assert!(said.starts_with("error: ") && said.contains("Permission denied"), "{said}");
        assert!(said.contains(&tier.display().to_string()), "{said}");
        if let Ok(left) = fs::read_dir(&tier) {
            assert_eq!(left.count(), 0, "nothing is left in it");
        }
    }
}

#[test]
fn a_tier_on_a_file_system_that_is_read_only_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = dir.path().join("read-only");
    fs::create_dir(&at).expect("made");
    mount("forebay-test", &at, "tmpfs", MountFlags::RDONLY, c"size=128m").expect("we are root");
    for tier in [at.clone(), at.join("below")] {
        let arguments = local(dir.path(), &tier);
        let refused = run(&arguments.each_ref().map(String::as_str));
        let said = last_line(&refused);
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        assert!(said.starts_with("error: ") && said.contains("Read-only file system"), "{said}");
        assert!(said.contains(&tier.display().to_string()), "{said}");
    }
    unmount(&at, UnmountFlags::DETACH).expect("mounted here");
}

#[test]
fn without_root_the_ram_tier_lies_in_shared_memory_and_serves() {
    let nobody = Nobody::new();
    let (source, sums) = source();
    fs::set_permissions(source.path(), Permissions::from_mode(0o755)).expect("our own folder");
    let mut command = nobody.command();
    command.args(["local", "--ram", "64MiB", "--listen", "127.0.0.1:0", "--dir"]);
    command.arg(nobody.dir().join("state")).args(["--mount", &format!("/data={}", uri(source.path()))]);
    let logs = tempfile::tempdir().expect("a folder");
    let (mut process, ready) = Process::start_command("nobody", command, logs.path());
    let masters = ready.value("listen").to_owned();
    let report = || {
        let report = run(&["admin", "report", "--output", "json", "--masters", &masters]);
        serde_json::from_str::<serde_json::Value>(&report.stdout).expect("a document")
    };
    let target = logs.path().join("got");
    let get = run(&["fs", "get", "-r", "/data", &target.display().to_string(), "--masters", &masters]);
    assert_eq!(get.code, 0, "{}", get.stderr);
    sums.expect_in(&target);
    wait_until("it is cached", WITHIN, || {
        report()["workers"][0]["tiers"][0]["used_bytes"].as_u64() > Some(8 * MIB as u64)
    });
    let folder = PathBuf::from(report()["workers"][0]["tiers"][0]["directory"].as_str().expect("a folder"));
    assert_eq!(process.stop(), 0);
    assert!(folder.starts_with("/dev/shm"), "{}", folder.display());
    let found = fs::metadata(&folder).expect("it outlives the process");
    assert_eq!((found.uid(), found.mode() & 0o777), (NOBODY, 0o700));
    fs::remove_dir_all(&folder).expect("removed");
}

/// Runs the binary where there are no devices, and then shows what is mounted there. Only `/dev` is made private, since
/// the root of a chroot is no mount whose propagation could be changed.
fn run_without_devices(arguments: &[&str]) -> Output {
    let script = "mount --make-private /dev && mount -t tmpfs none /dev && \
                  { \"$@\"; code=$?; cat /proc/self/mounts; exit $code; }";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "unchanged", "sh", "-c", script, "sh"])
        .arg(forebay())
        .args(arguments);
    output(&mut command)
}

#[test]
fn without_dev_fuse_the_way_out_is_told_and_nothing_is_left() {
    let (source, _) = source();
    let running = Cluster::builder().mount("/data", &uri(source.path())).start();
    let dir = tempfile::tempdir().expect("a folder");
    let at = dir.path().join("shown");
    let shown = at.display().to_string();
    let arguments = local(dir.path(), &dir.path().join("tier"));
    let mut as_local: Vec<&str> = arguments.iter().map(String::as_str).collect();
    as_local.extend(["--fuse", &shown]);
    for arguments in [&as_local[..], &["fuse", "mount", &shown, "--masters", running.address()]] {
        let refused = run_without_devices(arguments);
        let said = last_line(&refused);
        assert_eq!(refused.code, 1, "{arguments:?}: {}", refused.stderr);
        assert!(said.starts_with("error: ") && said.contains("/dev/fuse"), "{said}");
        assert!(said.contains("modprobe fuse") && said.contains("--device /dev/fuse"), "the way out: {said}");
        assert!(
            refused.stdout.contains(" /dev tmpfs") && !refused.stdout.contains(&shown),
            "{}",
            refused.stdout
        );
        assert!(!refused.stdout.contains("ready "), "{}", refused.stdout);
        assert!(fs::read_dir(&at).map_or(true, |left| left.count() == 0), "the folder is as it was");
    }
    // What was begun is no obstacle to the next start.
    let again: Vec<_> = as_local.iter().map(|argument| (*argument).to_owned()).collect();
    let (mut process, _) = Process::start("again", &again, &[], dir.path());
    assert!(at.read_dir().is_ok_and(|mut entries| entries.next().is_none()), "an empty tree is shown");
    assert_eq!(process.stop(), 0);
}
