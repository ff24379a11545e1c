//! A cluster that speaks IPv6 only: each address that one process tells another is one that can be dialled.

use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Cluster, Fleet, READ_MODES, Sums, http_get, wait_until};

const MIB: usize = 1 << 20;
const ANY_PORT: &str = "[::1]:0";

fn source() -> (tempfile::TempDir, Sums) {
    let source = tempfile::tempdir().expect("a folder");
    let sums = Sums::write(source.path(), [("empty", 0), ("small", 110_000), ("blocks", 64 * MIB + 12_345)]);
    (source, sums)
}

fn uri(source: &Path) -> String {
    format!("file://{}", source.display())
}

#[test]
fn a_local_cluster_serves_by_mount_command_load_and_page() {
    let (source, sums) = source();
    for mode in READ_MODES {
        let builder = Cluster::builder().listen(ANY_PORT).mount("/data", &uri(source.path()));
        let cluster = builder.fuse().fuse_options(mode).start();
        assert!(cluster.address().starts_with("[::1]:"), "{}", cluster.address());
        sums.expect_in(&cluster.fuse().join("data"));
        let loaded = cluster.run(&["load", "/data"]);
        assert_eq!(loaded.code, 0, "{}", loaded.stderr);
        let by_command = |name: &str| Ok(cluster.run_for_bytes(&["fs", "cat", &format!("/data/{name}")]));
        assert_eq!(sums.wrong_by(by_command), Vec::<String>::new());
        assert!(http_get(cluster.address(), "/readyz").starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_master_and_two_workers_serve_a_third_host_and_a_load() {
    let (source, sums) = source();
    let mut fleet = Fleet::start_on(ANY_PORT, 2);
    let mounted = fleet.run(&["mount", &uri(source.path()), "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    sums.expect_in(&fleet.mount("elsewhere", "").join("data"));
    let loaded = fleet.run(&["load", "/data"]);
    assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    sums.expect_in(&fleet.mount("host-0", "").join("data"));
    let report = fleet.json(&["admin", "report"]);
    for worker in 0..2 {
        let address = report["workers"][worker]["address"].as_str().expect("an address");
        assert!(address.starts_with("[::1]:"), "{address}");
        assert!(http_get(address, "/healthz").starts_with("HTTP/1.1 200"), "{address}");
    }
    wait_until("bytes came from other hosts", Duration::from_secs(10), || {
        fleet.json(&["admin", "report"])["reads"]["remote_bytes"].as_u64() > Some(0)
    });
    fleet.master.kill();
    fleet.restart_master();
    wait_until("the workers register again", Duration::from_secs(20), || {
        let report = fleet.json(&["admin", "report"]);
        (0..2).all(|worker| report["workers"][worker]["state"] == "LIVE")
    });
}
