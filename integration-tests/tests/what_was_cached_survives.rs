//! What was cached is served from the cache after a crash; what rotted there is noticed, never served, and healed.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Cluster, READ_MODES, Sums, cache_files, wait_until};

const MIB: usize = 1 << 20;
/// Where the cache lies, and who reads it: the kernel itself, or we for it.
const SETUPS: [(&str, &str); 4] = [
    ("64MiB", "passthrough=auto"),
    ("64MiB", "passthrough=off"),
    ("0", "passthrough=auto"),
    ("0", "passthrough=off"),
];
const FETCHED: &str = "forebay_worker_under_store_read_bytes_total";

fn file_uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Three files, one of several pages; in the RAM tier (which is filled first) or on disk.
fn cached(ram: &str, mode: &str) -> (tempfile::TempDir, Sums, Cluster) {
    let source = tempfile::tempdir().expect("a folder");
    let lengths = [100, 110_000, 3 * MIB + 17];
    let sums = Sums::write(source.path(), lengths.map(|length| (format!("f{length}"), length)));
    let builder = Cluster::builder().mount("/data", &file_uri(source.path())).fuse().ram(ram);
    let cluster = builder.fuse_options(mode).start();
    read_all(&cluster, &sums);
    (source, sums, cluster)
}

fn read_all(cluster: &Cluster, sums: &Sums) {
    sums.expect_in(&cluster.fuse().join("data"));
}

#[test]
fn a_killed_cluster_serves_from_its_cache_again_without_the_under_store() {
    for (ram, mode) in SETUPS {
        let (source, sums, mut cluster) = cached(ram, mode);
        let mounts = cluster.json(&["mounts"]);
        cluster.process().kill();
        cluster.start();
        assert_eq!(cluster.json(&["mounts"])["mounts"][0]["uri"], mounts["mounts"][0]["uri"]);
        read_all(&cluster, &sums);
        assert_eq!(cluster.metric(FETCHED), 0, "ram {ram}");
        drop(source);
    }
}

#[test]
fn a_stopped_cluster_finds_its_cache_by_catalogues_and_notices_what_rotted_meanwhile() {
    let (_source, sums, mut cluster) = cached("0", "passthrough=auto");
    assert_eq!(cluster.process().stop(), 0);
    let files = cache_files(cluster.dir(), "data");
    let data = OpenOptions::new().read(true).write(true).open(&files[0]).expect("open");
    let mut byte = [0];
    data.read_exact_at(&mut byte, 7).expect("read");
    data.write_all_at(&[!byte[0]], 7).expect("written");
    cluster.start();
    let found = files.len() as u64;
    assert_eq!(cluster.metric("forebay_worker_recovered_versions_total"), found);
    assert_eq!(cluster.metric("forebay_worker_catalogued_versions_total"), found);
    read_all(&cluster, &sums);
    assert_eq!(cluster.metric("forebay_worker_corrupt_pages_total"), 1);
    assert!(cluster.metric(FETCHED) > 0, "what rotted is fetched again");
}

#[test]
fn a_flipped_byte_in_each_cache_file_is_noticed_and_healed() {
    for (ram, mode) in SETUPS {
        let (_source, sums, mut cluster) = cached(ram, mode);
        cluster.process().kill();
        let files = cache_files(cluster.dir(), "data");
        assert_eq!(files.len(), sums.names().count());
        for path in &files {
            let file = OpenOptions::new().read(true).write(true).open(path).expect("open");
            let middle = file.metadata().expect("there").len() / 2;
            let mut byte = [0];
            file.read_exact_at(&mut byte, middle).expect("read");
            file.write_all_at(&[!byte[0]], middle).expect("written");
        }
        cluster.start();
        read_all(&cluster, &sums);
        assert!(cluster.metric(FETCHED) > 0, "what was flipped is fetched again");
        assert_eq!(
            cluster.metric("forebay_worker_corrupt_pages_total"),
            files.len() as u64,
            "each is counted once"
        );
        read_all(&cluster, &sums);
    }
}

#[test]
fn truncated_and_deleted_files_and_a_broken_index_cost_a_fetch_and_no_error() {
    type Damage = fn(&Path);
    let damages: [(&str, &str, Damage); 5] = [
        ("truncated data", "data", |path| {
            OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(7)).expect("truncated");
        }),
        ("deleted data", "data", |path| std::fs::remove_file(path).expect("deleted")),
        ("deleted index", "index", |path| std::fs::remove_file(path).expect("deleted")),
        ("truncated index", "index", |path| {
            OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(20)).expect("truncated");
        }),
        ("index of nonsense", "index", |path| std::fs::write(path, [0x5a; 4096]).expect("written")),
    ];
    for ((what, ending, damage), mode) in
        damages.into_iter().flat_map(|one| READ_MODES.map(|mode| (one, mode)))
    {
        let (_source, sums, mut cluster) = cached("0", mode);
        cluster.process().kill();
        let files = cache_files(cluster.dir(), ending);
        assert_eq!(files.len(), sums.names().count(), "{what}");
        files.iter().for_each(|path| damage(path));
        cluster.start();
        read_all(&cluster, &sums);
        assert!(cluster.metric(FETCHED) > 0, "{what}, {mode}");
    }
}

#[test]
fn the_second_read_asks_the_under_store_for_nothing() {
    READ_MODES.into_iter().for_each(the_second_read_asks_the_under_store_for_nothing_in);
}

fn the_second_read_asks_the_under_store_for_nothing_in(mode: &str) {
    let (_source, sums, cluster) = cached("64MiB", mode);
    let requests = "forebay_worker_under_store_requests_total";
    let before = (cluster.metric(FETCHED), cluster.metric(requests));
    assert!(before.0 > 0);
    read_all(&cluster, &sums);
    assert_eq!((cluster.metric(FETCHED), cluster.metric(requests)), before);
    wait_until("the report has it too", Duration::from_secs(10), || {
        cluster.reads("under_store_bytes") == before.0
    });
}
