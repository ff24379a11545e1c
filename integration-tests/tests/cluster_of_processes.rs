//! One master, two workers and a mount, each a process on a host of its own: bytes travel by gRPC, and a process that
//! dies costs no error while another can serve.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use forebay_integration_tests::{Fleet, READ_MODES, content, in_both_modes, sha256, wait_until, write_file};

const MIB: usize = 1 << 20;

/// One small file, one of several pages and one of two blocks, mounted at /data.
fn fleet(workers: usize, source: &Path) -> Fleet {
    write_file(&source.join("small"), 1, 110_000);
    write_file(&source.join("pages"), 2, 5 * MIB + 1);
    write_file(&source.join("blocks"), 3, 64 * MIB + 12_345);
    let fleet = Fleet::start(workers);
    let uri = format!("file://{}", source.display());
    let mounted = fleet.run(&["mount", &uri, "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    fleet
}

/// What is mounted at /data, seen through a mount of each mode of reading.
fn mount_in_both_modes(fleet: &mut Fleet, host: &str) -> [PathBuf; 2] {
    READ_MODES.map(|mode| fleet.mount(host, mode).join("data"))
}

fn expect_all(root: &Path) {
    for (name, seed, length) in
        [("small", 1, 110_000), ("pages", 2, 5 * MIB + 1), ("blocks", 3, 64 * MIB + 12_345)]
    {
        let read = std::fs::read(root.join(name)).expect("readable");
        assert_eq!(sha256(&read), sha256(&content(seed, length)), "{name}");
    }
}

#[test]
fn bytes_from_two_other_hosts_are_those_of_the_source_by_mount_and_by_command() {
    in_both_modes(bytes_from_two_other_hosts_are_those_of_the_source_in);
}

fn bytes_from_two_other_hosts_are_those_of_the_source_in(mode: &str) {
    let source = tempfile::tempdir().expect("a folder");
    // Each is a block, and which worker owns a block is as good as drawn by lot.
    (0..20).for_each(|number| drop(write_file(&source.path().join(format!("many/{number}")), number, 1000)));
    let mut fleet = fleet(2, source.path());
    let root = fleet.mount("elsewhere", mode).join("data");
    expect_all(&root);
    expect_all(&root);
    let target = fleet.dir().join("got");
    let got =
        fleet.run(&["fs", "get", "-r", "/data", &target.display().to_string(), "--host-id", "elsewhere"]);
    assert_eq!(got.code, 0, "{}", got.stderr);
    expect_all(&target);
    wait_until("both workers report that they hold and served some of it", Duration::from_secs(10), || {
        let report = fleet.json(&["admin", "report"]);
        let used = |worker: usize| report["workers"][worker]["tiers"][0]["used_bytes"].as_u64();
        report["reads"]["remote_bytes"].as_u64() > Some(0) && used(0) > Some(0) && used(1) > Some(0)
    });
}

#[test]
fn a_worker_on_the_same_host_gives_descriptors() {
    in_both_modes(a_worker_on_the_same_host_gives_descriptors_in);
}

fn a_worker_on_the_same_host_gives_descriptors_in(mode: &str) {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(1, source.path());
    let root = fleet.mount("host-0", mode).join("data");
    expect_all(&root);
    expect_all(&root);
    wait_until("local reads are reported", Duration::from_secs(10), || {
        let reads = &fleet.json(&["admin", "report"])["reads"];
        reads["passthrough_opens"].as_u64() > Some(0) || reads["short_circuit_bytes"].as_u64() > Some(0)
    });
}

#[test]
fn a_worker_that_dies_costs_no_error_and_comes_back_under_its_id() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(2, source.path());
    let open = mount_in_both_modes(&mut fleet, "elsewhere").map(|root| {
        expect_all(&root);
        let mut open = std::fs::File::open(root.join("blocks")).expect("open");
        let mut start = vec![0; MIB];
        open.read_exact(&mut start).expect("the first worker lives");
        open
    });
    fleet.workers[0].kill();
    for mut open in open {
        let mut rest = Vec::new();
        open.read_to_end(&mut rest).expect("another serves");
        assert!(rest == content(3, 64 * MIB + 12_345)[MIB..], "what another serves is the same");
    }
    let again = mount_in_both_modes(&mut fleet, "elsewhere-too");
    again.iter().for_each(|root| expect_all(root));
    let ids = |fleet: &Fleet| {
        let report = fleet.json(&["admin", "report"]);
        report["workers"]
            .as_array()
            .map(|workers| workers.iter().map(|worker| worker["id"].clone()).collect::<Vec<_>>())
    };
    let before = ids(&fleet);
    fleet.workers[0] = fleet.start_worker(0);
    assert_eq!(ids(&fleet), before);
    again.iter().for_each(|root| expect_all(root));
}

#[test]
fn a_master_that_was_killed_has_its_mounts_and_workers_again() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(1, source.path());
    let roots = mount_in_both_modes(&mut fleet, "host-0");
    roots.iter().for_each(|root| expect_all(root));
    let mounts = fleet.json(&["mounts"]);
    fleet.master.kill();
    fleet.restart_master();
    assert_eq!(fleet.json(&["mounts"]), mounts);
    wait_until("the worker registers again", Duration::from_secs(20), || {
        fleet.json(&["admin", "report"])["workers"][0]["state"] == "LIVE"
    });
    roots.iter().for_each(|root| expect_all(root));
}

#[test]
fn each_process_stops_with_exit_code_0() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(1, source.path());
    fleet.mount("host-0", "");
    assert_eq!(fleet.mounts[0].stop(), 0);
    assert_eq!(fleet.workers[0].stop(), 0);
    assert_eq!(fleet.master.stop(), 0);
}

#[test]
fn a_mount_point_that_a_killed_process_left_is_cleaned_by_the_next_mount() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(1, source.path());
    for (number, mode) in READ_MODES.into_iter().enumerate() {
        let at = fleet.mount("host-0", mode);
        fleet.mounts[number].kill();
        assert!(std::fs::read_dir(&at).is_err(), "the mount point is dead");
        fleet.mounts[number] = fleet.mount_at(&at, "host-0", mode);
        expect_all(&at.join("data"));
    }
}

#[test]
fn other_users_read_what_root_mounted() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(1, source.path());
    // The folder of a test is its user's alone; a mount is for all.
    let everybody: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(fleet.dir(), everybody).expect("our own folder");
    for root in mount_in_both_modes(&mut fleet, "host-0") {
        let read = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat"])
            .arg(root.join("small"))
            .output()
            .expect("setpriv is part of each Debian");
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        assert_eq!(read.stdout, content(1, 110_000));
    }
}

#[test]
fn passthrough_can_be_left_off_and_the_bytes_are_the_same() {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(1, source.path());
    let root = fleet.mount("host-0", "passthrough=off").join("data");
    expect_all(&root);
    expect_all(&root);
    assert_eq!(fleet.json(&["admin", "report"])["reads"]["passthrough_opens"], 0);
}

#[test]
fn each_process_serves_its_pages() {
    let source = tempfile::tempdir().expect("a folder");
    let fleet = fleet(1, source.path());
    let worker =
        fleet.json(&["admin", "report"])["workers"][0]["address"].as_str().expect("an address").to_owned();
    for address in [fleet.address(), &worker] {
        for page in ["/healthz", "/readyz", "/metrics"] {
            let answer = forebay_integration_tests::http_get(address, page);
            assert!(answer.starts_with("HTTP/1.1 200"), "{address}{page}: {answer}");
        }
    }
}
