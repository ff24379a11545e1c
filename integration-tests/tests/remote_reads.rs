//! Two workers on hosts of their own, and readers on a third or on the host of one: whichever way a byte takes, it is the
//! byte of the source.

use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{
    Fleet, READ_MODES, Sums, compare_many_readers, compare_random_and_mapped, content, drop_page_cache, map,
    sha256, wait_until, write_file, write_for_many_readers,
};

const MIB: usize = 1 << 20;
const BLOCK: usize = 64 * MIB;
const LENGTHS: [usize; 10] =
    [0, 1, 4095, MIB - 1, MIB, MIB + 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 12_345];
const RANDOM: (u64, usize) = (77, 20 * MIB + 4097);
const WITHIN: Duration = Duration::from_secs(10);

/// Two workers, and a source with a file of each length and what many readers read, mounted at `/data`.
fn start(source: &Path) -> (Fleet, Sums) {
    let sums = Sums::write(source, LENGTHS.map(|length| (format!("f{length}"), length)));
    write_file(&source.join("random"), RANDOM.0, RANDOM.1);
    write_for_many_readers(source);
    let fleet = Fleet::start(2);
    let mounted = fleet.run(&["mount", &format!("file://{}", source.display()), "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    (fleet, sums)
}

/// Reads all of it in each way, twice in a row.
fn read_in_each_way(root: &Path, sums: &Sums) {
    sums.expect_in(root);
    drop_page_cache();
    sums.expect_in(root);
    let by_mapping = |name: &str| {
        let file = std::fs::File::open(root.join(name))?;
        // Nothing cannot be mapped.
        if file.metadata()?.len() == 0 { Ok(Vec::new()) } else { Ok(map(&file).to_vec()) }
    };
    drop_page_cache();
    assert_eq!(sums.wrong_by(by_mapping), Vec::<String>::new(), "by mapping");
    let random = content(RANDOM.0, RANDOM.1);
    assert_eq!(compare_random_and_mapped(&root.join("random"), &random), Ok(()));
    assert_eq!(compare_many_readers(root), Ok(()));
}

fn reads(fleet: &Fleet, figure: &str) -> u64 {
    fleet.json(&["admin", "report"])["reads"][figure].as_u64().expect("a figure")
}

fn is_used(fleet: &Fleet, worker: usize) -> bool {
    let report = fleet.json(&["admin", "report"]);
    report["workers"][worker]["tiers"][0]["used_bytes"].as_u64() > Some(0)
}

#[test]
fn readers_on_a_host_without_a_worker_have_all_bytes_over_the_network() {
    let source = tempfile::tempdir().expect("a folder");
    let (mut fleet, sums) = start(source.path());
    for mode in READ_MODES {
        let root = fleet.mount("elsewhere", mode).join("data");
        read_in_each_way(&root, &sums);
    }
    wait_until("both workers report what they served", WITHIN, || {
        reads(&fleet, "remote_bytes") > 0 && is_used(&fleet, 0) && is_used(&fleet, 1)
    });
    assert_eq!(["short_circuit_bytes", "passthrough_opens"].map(|figure| reads(&fleet, figure)), [0, 0]);
}

#[test]
fn readers_on_the_host_of_one_worker_have_its_bytes_there_and_the_rest_over_the_network() {
    let source = tempfile::tempdir().expect("a folder");
    let (mut fleet, sums) = start(source.path());
    for mode in READ_MODES {
        let root = fleet.mount("host-0", mode).join("data");
        read_in_each_way(&root, &sums);
    }
    wait_until("both ways are reported", WITHIN, || {
        let local = reads(&fleet, "short_circuit_bytes") + reads(&fleet, "passthrough_opens");
        local > 0 && reads(&fleet, "remote_bytes") > 0 && is_used(&fleet, 0) && is_used(&fleet, 1)
    });
}

#[test]
fn a_byte_that_is_another_is_caught_by_the_sums_of_these_scenarios() {
    let source = tempfile::tempdir().expect("a folder");
    let sums = Sums::write(source.path(), [("same", 110_000), ("planted", BLOCK + 1)]);
    let planted = source.path().join("planted");
    let mut bytes = std::fs::read(&planted).expect("there");
    bytes[BLOCK] ^= 1;
    std::fs::write(&planted, &bytes).expect("written");
    let mut fleet = Fleet::start(2);
    let mounted = fleet.run(&["mount", &format!("file://{}", source.path().display()), "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = fleet.mount("elsewhere", "").join("data");
    assert_eq!(sums.wrong_in(&root), ["planted"]);
    assert_eq!(sha256(&std::fs::read(root.join("planted")).expect("read")), sha256(&bytes));
}
