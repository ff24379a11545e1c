//! `forebay local` over a folder: every byte that comes out by FUSE is the byte in the folder.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, READ_MODES, Sums, compare_many_readers, compare_random_and_mapped, content, sha256, wait_until,
    write_file, write_for_many_readers,
};

const MIB: usize = 1 << 20;
const BLOCK: usize = 64 * MIB;

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
    for mode in READ_MODES {
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
    for mode in READ_MODES {
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
    for mode in READ_MODES {
        let cluster = start(source.path(), mode);
        let compared = compare_random_and_mapped(&cluster.fuse().join("data/f"), &bytes);
        assert_eq!(compared, Ok(()), "{mode}");
    }
}

#[test]
fn many_readers_and_many_descriptors_do_not_hang() {
    let source = tempfile::tempdir().expect("a folder");
    write_for_many_readers(source.path());
    for mode in READ_MODES {
        let cluster = start(source.path(), mode);
        assert_eq!(compare_many_readers(&cluster.fuse().join("data")), Ok(()), "{mode}");
    }
}

#[test]
fn a_byte_that_is_another_is_caught_by_the_checks_of_these_scenarios() {
    let source = tempfile::tempdir().expect("a folder");
    write_for_many_readers(source.path());
    let sums = Sums::write(source.path(), [("same", 110_000), ("planted", 3 * MIB + 17)]);
    // What is shown is the source as it is now, which is not what was noted.
    for (name, at) in [("planted", 2 * MIB), ("many/f5", 299_999)] {
        let path = source.path().join(name);
        let mut bytes = std::fs::read(&path).expect("there");
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("written");
    }
    for mode in READ_MODES {
        let cluster = start(source.path(), mode);
        let root = cluster.fuse().join("data");
        assert_eq!(sums.wrong_in(&root), ["planted"], "{mode}");
        let by_command = |name: &str| Ok(cluster.run_for_bytes(&["fs", "cat", &format!("/data/{name}")]));
        assert_eq!(sums.wrong_by(by_command), ["planted"]);
        let noted = content(2, 3 * MIB + 17);
        assert!(compare_random_and_mapped(&root.join("planted"), &noted).is_err(), "{mode}");
        assert!(compare_many_readers(&root).is_err(), "{mode}");
    }
}
