//! `forebay local` over a folder: every byte that comes out by FUSE is the byte in the folder.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Cluster, content, random_offsets, sha256, wait_until, write_file};

const MIB: usize = 1 << 20;
const BLOCK: usize = 64 * MIB;
/// The kernel reads whole files itself, or asks us for each byte: what comes out must be the same.
const BOTH_MODES: [&str; 2] = ["passthrough=auto", "passthrough=off"];

fn file_uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

#[test]
fn files_of_all_sizes_have_the_sums_of_their_source() {
    let source = tempfile::tempdir().expect("a folder");
    let lengths = [0, 1, 4095, MIB - 1, MIB, MIB + 1, BLOCK - 1, BLOCK, BLOCK + 1];
    let written: Vec<_> = (0_u64..)
        .zip(lengths)
        .map(|(seed, length)| (length, write_file(&source.path().join(format!("f{length}")), seed, length)))
        .collect();
    for mode in BOTH_MODES {
        let cluster = start(source.path(), mode);
        for epoch in ["first", "second"] {
            for (length, bytes) in &written {
                let read = std::fs::read(cluster.fuse().join(format!("data/f{length}"))).expect("readable");
                assert_eq!(sha256(&read), sha256(bytes), "{mode}, {epoch} read of {length} bytes");
            }
        }
        for (length, bytes) in &written {
            let path = format!("/data/f{length}");
            assert_eq!(
                sha256(&cluster.run_for_bytes(&["fs", "cat", &path])),
                sha256(bytes),
                "fs cat of {length}"
            );
            let target = cluster.dir().join("got");
            let got = cluster.run(&["fs", "get", &path, &target.display().to_string()]);
            assert_eq!(got.code, 0, "{}", got.stderr);
            assert_eq!(sha256(&std::fs::read(target).expect("there")), sha256(bytes), "fs get of {length}");
        }
        wait_until("the reads are reported", Duration::from_secs(10), || {
            ["passthrough_open_bytes", "short_circuit_bytes", "remote_bytes"]
                .iter()
                .any(|of| cluster.reads(of) > 0)
        });
    }
}

/// The source mounted at /data and shown by FUSE.
fn start(source: &Path, mode: &str) -> Cluster {
    Cluster::builder().mount("/data", &file_uri(source)).fuse().fuse_options(mode).start()
}

#[test]
fn a_file_of_one_gibibyte_has_the_sum_of_its_source_cold_and_cached() {
    let source = tempfile::tempdir().expect("a folder");
    let sum = sha256(&write_file(&source.path().join("f"), 11, 1 << 30));
    for mode in BOTH_MODES {
        let cluster = start(source.path(), mode);
        for epoch in ["first", "second"] {
            let file = File::open(cluster.fuse().join("data/f")).expect("open");
            assert_eq!(sha256(&forebay_integration_tests::map(&file)), sum, "{mode}, {epoch} read");
        }
    }
}

#[test]
fn random_reads_and_mappings_see_the_same_bytes() {
    let source = tempfile::tempdir().expect("a folder");
    let bytes = write_file(&source.path().join("f"), 7, 20 * MIB + 4097);
    for mode in BOTH_MODES {
        let cluster = start(source.path(), mode);
        check_random_reads(&cluster, &bytes);
    }
}

fn check_random_reads(cluster: &Cluster, bytes: &[u8]) {
    let file = File::open(cluster.fuse().join("data/f")).expect("open");
    for offset in random_offsets(1, 500, bytes.len() as u64) {
        let mut buffer = [0; 4096];
        let count = file.read_at(&mut buffer, offset).expect("read");
        let start = usize::try_from(offset).expect("small");
        let end = (start + 4096).min(bytes.len());
        assert!(count > 0 && count <= end - start);
        assert_eq!(buffer[..count], bytes[start..start + count], "at {offset}");
    }
    let mapped = forebay_integration_tests::map(&file);
    assert_eq!(sha256(&mapped), sha256(bytes));
}

#[test]
fn many_readers_and_many_descriptors_do_not_hang() {
    let source = tempfile::tempdir().expect("a folder");
    let one = write_file(&source.path().join("one"), 1, 9 * MIB);
    for index in 0..64 {
        write_file(&source.path().join(format!("many/f{index}")), 100 + index, 300_000);
    }
    for mode in BOTH_MODES {
        let cluster = start(source.path(), mode);
        check_many_readers(&cluster.fuse().join("data"), &one);
    }
}

fn check_many_readers(root: &Path, one: &[u8]) {
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_eq!(sha256(&std::fs::read(root.join("one")).expect("read")), sha256(one)));
        }
        for index in 0..64 {
            let path = root.join(format!("many/f{index}"));
            scope
                .spawn(move || assert_eq!(std::fs::read(path).expect("read"), content(100 + index, 300_000)));
        }
    });
    let open: Vec<_> =
        (0..256).map(|index| File::open(root.join(format!("many/f{}", index % 64))).expect("open")).collect();
    for (index, file) in (0_u64..).zip(&open) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, 299_999).expect("read");
        assert_eq!(byte[0], content(100 + index % 64, 300_000)[299_999]);
    }
}
