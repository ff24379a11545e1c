//! Files that change while somebody reads them, where what was not read in time cannot be had any more.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, HeldMapping, drop_page_cache, in_both_modes, wait_until, write_file,
};
use rustix::process::Signal;

const WITHIN: Duration = Duration::from_secs(2 + 8);
/// Larger than what is fetched ahead of a read.
const LENGTH: usize = 60 << 20;
const READ_FIRST: usize = 1 << 20;
/// The version that was opened cannot be had any more.
const ESTALE: i32 = 116;

fn start(source: &Path, mode: &str) -> (Cluster, PathBuf) {
    start_with(source, mode, "2s")
}

fn start_with(source: &Path, mode: &str, freshness: &str) -> (Cluster, PathBuf) {
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    let uri = format!("file://{}", source.display());
    let mounted = cluster.run(&["mount", &uri, "/data", "--freshness", freshness]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let shown = cluster.fuse().join("data/f");
    wait_until("the file is seen", WITHIN, || shown.exists());
    (cluster, shown)
}

#[test]
fn of_a_file_that_was_replaced_while_it_is_open_what_is_cached_is_read_and_the_rest_is_an_error() {
    in_both_modes(of_a_file_that_was_replaced_while_it_is_open_in);
}

fn of_a_file_that_was_replaced_while_it_is_open_in(mode: &str) {
    let source = tempfile::tempdir().expect("a folder");
    let old = write_file(&source.path().join("f"), 1, LENGTH);
    let (_cluster, shown) = start(source.path(), mode);
    let handle = File::open(&shown).expect("opened");
    let mut first = vec![0; READ_FIRST];
    handle.read_exact_at(&mut first, 0).expect("read");
    let mapping = HeldMapping::of(&shown);

    let new = write_file(&source.path().join("next"), 2, LENGTH / 2);
    fs::rename(source.path().join("next"), source.path().join("f")).expect("replaced");
    wait_until("the new content is read", WITHIN, || fs::read(&shown).is_ok_and(|bytes| bytes == new));
    // What the kernel has of it is not what is asked for here.
    drop_page_cache();
    handle.read_exact_at(&mut first, 0).expect("it is cached");
    assert!(first == old[..READ_FIRST], "{mode}");
    let last = (LENGTH - READ_FIRST) as u64;
    let error = handle.read_exact_at(&mut first, last).expect_err("nobody has it any more");
    assert_eq!(error.raw_os_error(), Some(ESTALE), "{mode}: {error}");
    assert_eq!(mapping.look_at_end(), Err(Signal::BUS), "{mode}");
}

#[test]
fn a_file_that_is_written_all_the_time_cannot_be_read_until_it_rests() {
    in_both_modes(a_file_that_is_written_all_the_time_cannot_be_read_in);
}

fn a_file_that_is_written_all_the_time_cannot_be_read_in(mode: &str) {
    let source = tempfile::tempdir().expect("a folder");
    let path = source.path().join("f");
    let begin = write_file(&path, 1, 1 << 20);
    let (_cluster, shown) = start(source.path(), mode);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = File::options().append(true).open(&path).expect("our own file");
            while !is_over.load(Ordering::Relaxed) {
                log.write_all(b"one line more\n").expect("written");
            }
        });
        let _over = Over(&is_over);
        let mut failures = 0;
        wait_until("reads fail", WITHIN * 3, || {
            match fs::read(&shown) {
                // A busy machine may have kept the writer from writing just then.
                Ok(bytes) => assert!(bytes.starts_with(&begin), "{mode}"),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(ESTALE), "{mode}: {error}");
                    failures += 1;
                }
            }
            failures >= 3
        });
    });
    let rests = fs::read(&path).expect("there");
    wait_until("it is read", WITHIN, || fs::read(&shown).is_ok_and(|bytes| bytes == rests));
}

/// Tells the writer when it is dropped, also by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_replaced_file_can_be_read_again_once_one_reader_has_found_out() {
    in_both_modes(a_replaced_file_can_be_read_again_in);
}

fn a_replaced_file_can_be_read_again_in(mode: &str) {
    let source = tempfile::tempdir().expect("a folder");
    let file = source.path().join("f");
    write_file(&file, 0, 100_000);
    let (cluster, shown) = start_with(source.path(), mode, "1h");
    assert!(shown.exists(), "its name and version are known now");
    for round in 1..4 {
        let new = write_file(&source.path().join("new"), round, 100_000);
        fs::rename(source.path().join("new"), &file).expect("replaced");
        // Else the old one is read, as it may be. What was not cached yet cannot be freed.
        let cached = || cluster.json(&["fs", "cached", "/data"])["cached_bytes"].as_u64();
        wait_until("it is known what is cached", WITHIN, || round == 1 || cached() == Some(100_000));
        assert_eq!(cluster.run(&["fs", "free", "/data"]).code, 0);
        wait_until("it is freed", WITHIN, || cached() == Some(0));
        drop_page_cache();
        wait_until("the new content is read", WITHIN, || match fs::read(&shown) {
            Ok(read) => read == new,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(ESTALE), "{error}");
                false
            }
        });
    }
}
