//! Disks that fail while a worker uses them: no read fails, no byte is wrong, the other tiers work on, and a disk that is
//! back is used again.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_integration_tests::{Cluster, READ_MODES, SmallDisk, Sums, drop_page_cache, wait_until};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

const MIB: usize = 1 << 20;
/// A disk is down half a minute after its probes began to fail; a busy machine may be slower.
const WITHIN: Duration = Duration::from_secs(180);

/// A tmpfs of the test's own, unmounted at the end.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let disk = Self { dir: tempfile::tempdir().expect("a folder") };
        fs::create_dir(disk.at()).expect("made");
        disk.plug_in();
        disk
    }

    fn at(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn tier(&self) -> PathBuf {
        self.at().join("tier")
    }

    fn plug_in(&self) {
        mount("forebay-test", self.at(), "tmpfs", MountFlags::empty(), c"size=256m").expect("we are root");
    }

    fn pull_out(&self) {
        unmount(self.at(), UnmountFlags::DETACH).expect("mounted here");
    }

    fn set_read_only(&self, is_read_only: bool) {
        let flags = if is_read_only { MountFlags::RDONLY } else { MountFlags::empty() };
        mount_remount(self.at(), flags, c"").expect("nobody has a file open for writing");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(self.at(), UnmountFlags::DETACH);
    }
}

/// What is read from the begin, and what is read first while the disk fails.
fn source() -> (tempfile::TempDir, Sums, Sums) {
    let source = tempfile::tempdir().expect("a folder");
    let early = Sums::write(source.path(), [("a", 110_000), ("b", 3 * MIB + 17), ("c", 7)]);
    let late = Sums::write(source.path(), [("d", 110_000), ("e", 2 * MIB + 1)]);
    (source, early, late)
}

fn cluster(source: &Path, tier: &Path, mode: &str) -> Cluster {
    let uri = format!("file://{}", source.display());
    let builder = Cluster::builder().mount("/data", &uri).fuse().fuse_options(mode);
    builder.ram("0").tier("128MiB").tier_folder(tier).start()
}

/// The same with a tier that does not fail, behind the one that does.
fn cluster_with_another(source: &Path, tier: &Path, other: &Path, mode: &str) -> Cluster {
    let uri = format!("file://{}", source.display());
    let builder = Cluster::builder().mount("/data", &uri).fuse().fuse_options(mode);
    let other = format!("{}:128MiB", other.display());
    builder.ram("0").tier("128MiB").tier_folder(tier).argument("--tier").argument(&other).start()
}

fn healths(cluster: &Cluster) -> Vec<String> {
    let report = cluster.json(&["admin", "report"]);
    let tiers = report["workers"][0]["tiers"].as_array().cloned().unwrap_or_default();
    tiers.iter().map(|tier| tier["health"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Reads everything by the mount and from the worker's port, again and again, until the tiers' health is as said.
fn read_until(cluster: &Cluster, sums: &[&Sums], expected: &[&str]) {
    let root = cluster.fuse().join("data");
    wait_until(&format!("the tiers are {expected:?}"), WITHIN, || {
        for sums in sums {
            drop_page_cache();
            sums.expect_in(&root);
            let by_command = |name: &str| Ok(cluster.run_for_bytes(&["fs", "cat", &format!("/data/{name}")]));
            assert_eq!(sums.wrong_by(by_command), Vec::<String>::new());
        }
        healths(cluster) == expected
    });
}

/// The log's lines of a tier's change.
fn changes_in_log(cluster: &mut Cluster) -> Vec<String> {
    let log = cluster.process().log_text();
    log.lines().filter(|line| line.contains("a tier is")).map(str::to_owned).collect()
}

#[test]
fn a_disk_that_turns_read_only_is_unstable_then_down_and_used_again_when_it_is_writable() {
    for mode in READ_MODES {
        let (disk, other) = (SmallDisk::mount(), tempfile::tempdir().expect("a folder"));
        let (source, early, late) = source();
        let tier = disk.path().join("tier");
        let mut cluster = cluster_with_another(source.path(), &tier, other.path(), mode);
        early.expect_in(&cluster.fuse().join("data"));
        assert_eq!(healths(&cluster), ["UP", "UP"]);
        disk.abort();
        read_until(&cluster, &[&early, &late], &["DOWN", "UP"]);
        assert_eq!(cluster.metric("forebay_worker_tier_health"), 2);
        wait_until("nobody uses the disk any more", WITHIN, || disk.try_unmount());
        read_until(&cluster, &[&early, &late], &["DOWN", "UP"]);
        assert!(!tier.exists(), "the folder below belongs to another disk");
        disk.mount_again();
        read_until(&cluster, &[&early, &late], &["UP", "UP"]);
        let changes = changes_in_log(&mut cluster);
        let said = |what: &str| changes.iter().filter(|line| line.contains(what)).count();
        assert_eq!(
            (said("a tier is unstable"), said("a tier is down"), said("a tier is up again")),
            (1, 1, 1),
            "{changes:?}"
        );
    }
}

#[test]
fn a_disk_that_is_pulled_out_is_down_and_nothing_is_put_in_its_place() {
    for mode in READ_MODES {
        let (disk, other) = (Disk::new(), tempfile::tempdir().expect("a folder"));
        let (source, early, late) = source();
        let cluster = cluster_with_another(source.path(), &disk.tier(), other.path(), mode);
        early.expect_in(&cluster.fuse().join("data"));
        disk.pull_out();
        read_until(&cluster, &[&early, &late], &["DOWN", "UP"]);
        wait_until("the other tier takes over", WITHIN, || {
            [&early, &late].iter().for_each(|sums| sums.expect_in(&cluster.fuse().join("data")));
            let used = |tier: usize| {
                cluster.json(&["admin", "report"])["workers"][0]["tiers"][tier]["used_bytes"].as_u64()
            };
            used(0) == Some(0) && used(1) > Some(5 * MIB as u64)
        });
        assert!(!disk.tier().exists(), "the folder below belongs to another disk");
        // Another, empty disk.
        disk.plug_in();
        read_until(&cluster, &[&early, &late], &["UP", "UP"]);
        assert!(disk.tier().join("format").exists());
        drop(cluster);
    }
}

#[test]
fn a_disk_that_gives_errors_costs_no_read_even_when_it_is_the_only_one() {
    for mode in READ_MODES {
        let disk = SmallDisk::mount();
        let (source, early, late) = source();
        let mut cluster = cluster(source.path(), &disk.path().join("tier"), mode);
        early.expect_in(&cluster.fuse().join("data"));
        disk.cut_short();
        read_until(&cluster, &[&early, &late], &["DOWN"]);
        assert!(cluster.metric("forebay_worker_disk_errors_total") > 0);
        assert!(cluster.process().log_text().contains("no tier is left"), "{}", cluster.process().log_text());
        drop(cluster);
    }
}

#[test]
fn a_disk_that_is_broken_at_the_start_keeps_no_worker_from_serving() {
    for mode in READ_MODES {
        let disk = Disk::new();
        let (source, early, late) = source();
        let mut cluster = cluster(source.path(), &disk.tier(), mode);
        early.expect_in(&cluster.fuse().join("data"));
        assert_eq!(cluster.process().stop(), 0);
        disk.set_read_only(true);
        cluster.start();
        read_until(&cluster, &[&early, &late], &["DOWN"]);
        assert!(cluster.process().log_text().contains("no tier is left"), "{}", cluster.process().log_text());
        let fetched = "forebay_worker_under_store_read_bytes_total";
        assert!(cluster.metric(fetched) > 0, "everything is read past the cache");
        disk.set_read_only(false);
        read_until(&cluster, &[&early, &late], &["UP"]);
        let before = cluster.metric(fetched);
        early.expect_in(&cluster.fuse().join("data"));
        assert_eq!(cluster.metric(fetched), before, "what the disk held is found again");
        drop(cluster);
    }
}

#[test]
fn rot_that_nobody_reads_is_found_by_the_scrubber_and_healed_by_the_next_read() {
    let (source, early, _) = source();
    let disk = Disk::new();
    let mut cluster = cluster(source.path(), &disk.tier(), READ_MODES[0]);
    early.expect_in(&cluster.fuse().join("data"));
    cluster.process().kill();
    let mut flipped = 0;
    for folder in fs::read_dir(disk.tier().join("blocks")).expect("there").flatten() {
        for file in fs::read_dir(folder.path()).expect("there").flatten() {
            if file.path().extension().is_some_and(|extension| extension == "data") {
                let data = OpenOptions::new().read(true).write(true).open(file.path()).expect("open");
                let mut byte = [0];
                data.read_exact_at(&mut byte, 5).expect("read");
                data.write_all_at(&[!byte[0]], 5).expect("written");
                flipped += 1;
            }
        }
    }
    assert_eq!(flipped, 3);
    cluster.start();
    let corrupt = "forebay_worker_corrupt_pages_total";
    wait_until("the rot is found", WITHIN, || cluster.metric(corrupt) == flipped);
    assert_eq!(cluster.metric("forebay_worker_reads_total"), 0, "nobody read");
    early.expect_in(&cluster.fuse().join("data"));
    assert!(cluster.metric("forebay_worker_under_store_read_bytes_total") > 0, "it is fetched again");
    assert_eq!(cluster.metric(corrupt), flipped);
}
