//! A file that is longer than what is kept whole is cached in segments: read, loaded, found again after a crash, and
//! healed where it rotted.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use forebay_integration_tests::{Cluster, READ_MODES, Sums, cache_files, content};
use serde_json::{Value, json};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
/// Longest file that is kept whole here.
const WHOLE_FILE_MAX: &str = "8MiB";
/// What the product cuts longer ones into.
const SEGMENT: u64 = 1 << 30;
/// Reaches into a second segment.
const LENGTH: u64 = SEGMENT + 13 * MIB + 17;
/// Where the long file is not zero: its begin, the border of its segments, and its end.
const WRITTEN: [(u64, u64); 3] = [(0, 2 * MIB), (SEGMENT - MIB - 5, 3 * MIB), (LENGTH - MIB, MIB)];
const FETCHED: &str = "forebay_worker_under_store_read_bytes_total";
const CORRUPT: &str = "forebay_worker_corrupt_pages_total";
const PASSED_THROUGH: &str = "forebay_fuse_opens_total{mode=\"passthrough\"}";

/// A folder with one long, mostly sparse file.
fn long_file() -> TempDir {
    let source = tempfile::tempdir().expect("a folder");
    let file = File::create(source.path().join("long")).expect("made");
    file.set_len(LENGTH).expect("its length");
    for (seed, (begin, length)) in (1..).zip(WRITTEN) {
        let bytes = content(seed, usize::try_from(length).expect("a few MiB"));
        file.write_all_at(&bytes, begin).expect("written");
    }
    source
}

/// Reads all of the long file in order, and compares each byte.
fn expect_long(path: &Path) {
    let mut file = File::open(path).expect("open");
    assert_eq!(file.metadata().expect("there").len(), LENGTH);
    let mut expected = Vec::new();
    let mut read = Vec::new();
    for begin in (0..LENGTH).step_by(8 << 20) {
        let end = (begin + 8 * MIB).min(LENGTH);
        expected.clear();
        expected.resize(usize::try_from(end - begin).expect("8 MiB"), 0);
        for (seed, (from, length)) in (1..).zip(WRITTEN) {
            let (first, last) = (from.max(begin), (from + length).min(end));
            if first < last {
                let at = |position: u64| usize::try_from(position).expect("a few MiB");
                let bytes = content(seed, at(length));
                expected[at(first - begin)..at(last - begin)]
                    .copy_from_slice(&bytes[at(first - from)..at(last - from)]);
            }
        }
        read.resize(expected.len(), 0);
        file.read_exact(&mut read).expect("read");
        assert!(read == expected, "wrong bytes within {begin}..{end}");
    }
}

fn cluster(source: &Path, ram: &str, mode: &str) -> Cluster {
    let builder = Cluster::builder().mount("/data", &format!("file://{}", source.display())).fuse();
    let builder = builder.ram(ram).fuse_options(mode).argument("--whole-file-max").argument(WHOLE_FILE_MAX);
    builder.start()
}

/// The data files of one segment.
fn segment_files(cluster: &Cluster, number: u32) -> Vec<PathBuf> {
    let mark = format!(".s{number}.");
    let mut files = cache_files(cluster.dir(), "data");
    files.retain(|path| path.to_string_lossy().contains(&mark));
    files
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("open");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[!byte[0]], offset).expect("written");
}

fn load(cluster: &Cluster) -> (Value, i32) {
    let output = cluster.run(&["load", "--output", "json", "/data"]);
    (serde_json::from_str(&output.stdout).expect("a document"), output.code)
}

#[test]
fn a_file_of_two_segments_outlives_a_crash_and_a_flipped_byte_in_it_heals() {
    let source = long_file();
    let mut cluster = cluster(source.path(), "0", "passthrough=auto");
    let path = cluster.fuse().join("data/long");
    expect_long(&path);
    assert!(cluster.metric(FETCHED) >= LENGTH);
    assert_eq!([0, 1].map(|number| segment_files(&cluster, number).len()), [1, 1]);

    cluster.process().kill();
    cluster.start();
    expect_long(&path);
    assert_eq!(cluster.metric(FETCHED), 0, "all of it was found again");

    cluster.process().kill();
    flip(&segment_files(&cluster, 0)[0], SEGMENT - 3);
    flip(&segment_files(&cluster, 1)[0], 7);
    cluster.start();
    expect_long(&path);
    assert_eq!(cluster.metric(CORRUPT), 2);
    let healed = cluster.metric(FETCHED);
    assert!((1..=32 * MIB).contains(&healed), "a page of each is fetched again, not a segment: {healed}");
    expect_long(&path);
    assert_eq!(cluster.metric(FETCHED), healed);
}

#[test]
fn a_load_of_a_file_of_two_segments_is_done_when_all_of_it_is_here() {
    let source = long_file();
    let cluster = cluster(source.path(), "0", "passthrough=off");
    let (done, code) = load(&cluster);
    assert_eq!(
        (code, &done["state"], &done["bytes_done"]),
        (0, &json!("SUCCEEDED"), &json!(LENGTH)),
        "{done}"
    );
    assert_eq!(done["under_store_bytes"], LENGTH);
    let fetched = cluster.metric(FETCHED);
    let (again, code) = load(&cluster);
    assert_eq!((code, &again["under_store_bytes"]), (0, &json!(0)), "{again}");
    expect_long(&cluster.fuse().join("data/long"));
    assert_eq!(cluster.metric(FETCHED), fetched);
}

#[test]
fn only_what_is_kept_whole_is_passed_through_and_all_of_it_is_right() {
    for (ram, mode) in ["64MiB", "0"].into_iter().flat_map(|ram| READ_MODES.map(|mode| (ram, mode))) {
        let source = tempfile::tempdir().expect("a folder");
        let sums = Sums::write(source.path(), [("large", 20 << 20), ("small", 110_000)]);
        let mut cluster = cluster(source.path(), ram, mode);
        let root = cluster.fuse().join("data");
        sums.expect_in(&root);
        cluster.process().kill();
        segment_files(&cluster, 0).iter().for_each(|path| flip(path, 9 * MIB));
        cluster.start();
        sums.expect_in(&root);
        assert_eq!(cluster.metric(CORRUPT), 1, "{ram} {mode}");
        sums.expect_in(&root);
        let served_by = |name: &str| {
            let mut value = [0; 64];
            let length = rustix::fs::getxattr(root.join(name), "user.forebay.served_by", &mut value[..]);
            String::from_utf8_lossy(&value[..length.expect("a file has it")]).into_owned()
        };
        assert_eq!(served_by("large"), "remote", "by the worker of this machine, from several files");
        assert_ne!(served_by("small"), "remote");
        let passed = cluster.metric(PASSED_THROUGH);
        assert_eq!(passed > 0, mode == "passthrough=auto", "{ram} {mode}");
        let files = cache_files(cluster.dir(), "data").len();
        assert_eq!((files, segment_files(&cluster, 0).len()), (2, 1), "{ram} {mode}");
        drop(source);
    }
}
