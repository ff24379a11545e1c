//! Files are read by the page cache or by passthrough, and nobody can tell from the bytes which it was.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use forebay_fuse::{FuseOptions, MountSettings, Passthrough, ReadMode, mount};
use forebay_types::ByteCount;
use prometheus::Registry;
use rustix::fs::{Advice, OFlags, sendfile};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::fixture::{
    Fixture, PATIENCE, content, count, errno, eventually, expect_mounts, runtime, settings,
};
use crate::tree::Tree;

/// Reads the whole file through a mapping.
#[allow(unsafe_code, reason = "a mapping cannot be read otherwise")]
pub(crate) fn mapped(file: &File, length: usize) -> Vec<u8> {
    // SAFETY: the mapping is of `length` bytes, which is what the slice covers while the mapping lives; the file is
    // never changed or cut.
    unsafe {
        let at =
            mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0).expect("mapped");
        let bytes = std::slice::from_raw_parts(at.cast::<u8>(), length).to_vec();
        munmap(at, length).expect("unmapped");
        bytes
    }
}

fn all_of(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("read");
    bytes
}

const LENGTHS: [usize; 6] = [0, 1, 4096, 131_073, 1 << 20, (3 << 20) + 17];

fn reads_right(tree: &std::sync::Arc<Tree>, fixture: &Fixture) {
    for (seed, length) in (1_u8..).zip(LENGTHS) {
        let expected = content(length, seed);
        let version = tree.write(&format!("f{length}"), expected.clone());
        if seed % 2 == 0 {
            tree.complete(version);
        }
        let file = File::open(fixture.path(&format!("f{length}"))).expect("opened");
        assert!(all_of(&file) == expected, "{length} bytes, whole");
        for (at, part) in [(0, 10), (length / 2, 5000), (length.saturating_sub(3), 100), (length + 5, 10)] {
            let mut bytes = vec![0; part];
            let read = file.read_at(&mut bytes, at as u64).expect("read");
            let end = (at + part).min(length);
            assert!(bytes[..read] == expected[at.min(end)..end], "{length} bytes, {part} at {at}");
        }
        if length > 0 {
            assert!(mapped(&file, length) == expected, "{length} bytes, mapped");
        }
    }
}

#[test]
fn bytes_are_right_whole_in_parts_and_mapped_by_both_ways_of_reading() {
    let tree = Tree::new();
    let fixture = Fixture::new(&tree);
    assert_eq!(fixture.mounted.as_ref().expect("mounted").read_mode(), ReadMode::Allowed);
    reads_right(&tree, &fixture);
    assert_eq!(count(&tree.counts.passthrough_opens), 3);
}

#[test]
fn a_file_can_be_sent_and_read_past_the_page_cache_by_both_ways_of_reading() {
    let tree = Tree::new();
    let fixture = Fixture::new(&tree);
    let expected = content(1 << 20, 1);
    for (name, is_complete) in [("buffered", false), ("complete", true)] {
        let version = tree.write(name, expected.clone());
        if is_complete {
            tree.complete(version);
        }
        let file = File::open(fixture.path(name)).expect("opened");
        let (sender, mut receiver) = UnixStream::pair().expect("made");
        let received = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            receiver.read_to_end(&mut bytes).map(|_| bytes)
        });
        let mut sent = 0;
        while sent < expected.len() {
            sent += sendfile(&sender, &file, None, expected.len() - sent).expect("sent");
        }
        drop(sender);
        assert!(received.join().expect("no panic").expect("received") == expected, "{name}, sent");

        let flags = i32::try_from(OFlags::DIRECT.bits()).expect("a small flag");
        let direct =
            File::options().read(true).custom_flags(flags).open(fixture.path(name)).expect("accepted");
        // As direct reads of a disk want it.
        let mut buffer = vec![0; 16 << 10];
        let begin = buffer.as_ptr().align_offset(4 << 10);
        let aligned = &mut buffer[begin..begin + (8 << 10)];
        direct.read_exact_at(aligned, 64 << 10).expect("read");
        assert!(aligned[..] == expected[64 << 10..72 << 10], "{name}, directly");
    }
    assert_eq!(count(&tree.counts.passthrough_opens), 2, "both of the complete file");
}

#[test]
fn a_hold_that_an_old_right_does_not_give_is_asked_for_with_the_new_one() {
    let tree = Tree::new();
    let version = tree.write("f", content(1000, 1));
    tree.complete(version);
    let fixture = Fixture::new(&tree);
    assert_eq!(fixture.mounted.as_ref().expect("mounted").read_mode(), ReadMode::Allowed);
    for (refusals, passthrough_opens) in [(1, 1), (2, 1), (0, 2)] {
        tree.counts.refusals.store(refusals, Ordering::SeqCst);
        assert_eq!(std::fs::read(fixture.path("f")).expect("read").len(), 1000);
        assert_eq!(count(&tree.counts.passthrough_opens), passthrough_opens, "after {refusals} refusals");
        assert_eq!(count(&tree.counts.refusals), 0);
        // The next open is a first one again once this one's release has come.
        eventually("the file is closed", || fixture.metric("forebay_fuse_handles_live{kind=\"file\"}") == 0);
    }
    eventually("the holds are given back", || count(&tree.counts.holds) == 0);
}

#[test]
fn with_passthrough_off_all_goes_through_the_page_cache() {
    let tree = Tree::new();
    let options = FuseOptions { passthrough: Passthrough::Off, ..FuseOptions::default() };
    let fixture = Fixture::with(&tree, options);
    assert_eq!(fixture.mounted.as_ref().expect("mounted").read_mode().to_string(), "off");
    reads_right(&tree, &fixture);
    assert_eq!((count(&tree.counts.passthrough_opens), count(&tree.counts.holds)), (0, 0));
}

#[test]
fn a_complete_file_is_read_without_us_and_held_exactly_while_it_is_open() {
    let tree = Tree::new();
    let version = tree.write("f", content(1 << 20, 1));
    tree.complete(version);
    let fixture = Fixture::new(&tree);
    let first = File::open(fixture.path("f")).expect("opened");
    let second = File::open(fixture.path("f")).expect("opened");
    assert_eq!(std::fs::read(fixture.path("f")).expect("read").len(), 1 << 20);
    assert_eq!((count(&tree.counts.reads), count(&tree.counts.holds)), (0, 1));
    drop(first);
    assert_eq!(mapped(&second, 1 << 20).len(), 1 << 20);
    assert_eq!(count(&tree.counts.holds), 1);
    drop(second);
    eventually("the hold is given back", || count(&tree.counts.holds) == 0);
    assert_eq!(fixture.metric("forebay_fuse_opens_total{mode=\"passthrough\"}"), 3);
    assert_eq!(fixture.metric("forebay_fuse_read_bytes_total"), 0);
}

#[test]
fn the_kernel_keeps_the_pages_of_a_version_from_one_open_to_the_next() {
    let tree = Tree::new();
    tree.write("f", content(1 << 20, 1));
    let fixture = Fixture::new(&tree);
    assert_eq!(std::fs::read(fixture.path("f")).expect("read").len(), 1 << 20);
    let asked = count(&tree.counts.reads);
    assert!(asked > 0);
    assert_eq!(std::fs::read(fixture.path("f")).expect("read").len(), 1 << 20);
    assert_eq!(count(&tree.counts.reads), asked);
}

#[test]
fn a_file_that_is_here_for_the_most_part_is_read_past_the_page_cache_and_can_be_mapped() {
    let tree = Tree::new();
    let expected = content(300_000, 1);
    let version = tree.write("f", expected.clone());
    tree.cache_part(version, ByteCount::new(225_000));
    let fixture = Fixture::new(&tree);
    let opens = |mode: &str| fixture.metric(&format!("forebay_fuse_opens_total{{mode=\"{mode}\"}}"));
    let first = File::open(fixture.path("f")).expect("opened");
    assert!(all_of(&first) == expected);
    let asked = count(&tree.counts.reads);
    let mut bytes = [0; 100];
    first.read_exact_at(&mut bytes, 1000).expect("read");
    assert!(bytes[..] == expected[1000..1100]);
    assert_eq!(count(&tree.counts.reads), asked + 1, "the kernel keeps nothing");
    assert!(mapped(&first, 300_000) == expected);
    // As it is, it stays: also when the file becomes complete.
    tree.complete(version);
    let second = File::open(fixture.path("f")).expect("a second open while the file is read directly");
    assert!(mapped(&second, 300_000) == expected && all_of(&second) == expected);
    assert_eq!((opens("direct"), opens("passthrough"), opens("buffered")), (2, 0, 0));
    drop((first, second));
    eventually("a new open is passed through", || {
        let third = File::open(fixture.path("f")).expect("opened");
        assert!(mapped(&third, 300_000) == expected && all_of(&third) == expected);
        opens("passthrough") > 0
    });
}

#[test]
fn an_open_asks_the_worker_once_however_much_of_the_file_is_here() {
    let tree = Tree::new();
    let whole = tree.write("whole", content(300_000, 1));
    tree.complete(whole);
    let part = tree.write("part", content(300_000, 2));
    tree.cache_part(part, ByteCount::new(1000));
    tree.write("nothing", content(300_000, 3));
    let fixture = Fixture::new(&tree);
    for name in ["whole", "part", "nothing"] {
        let before = count(&tree.counts.worker_asked);
        assert_eq!(std::fs::read(fixture.path(name)).expect("read").len(), 300_000);
        assert_eq!(count(&tree.counts.worker_asked), before + 1, "{name}");
    }
}

#[test]
fn the_mode_of_live_handles_stays_when_the_file_becomes_complete() {
    let tree = Tree::new();
    let expected = content(300_000, 1);
    let version = tree.write("f", expected.clone());
    let fixture = Fixture::new(&tree);
    let first = File::open(fixture.path("f")).expect("opened");
    tree.complete(version);
    let second =
        File::open(fixture.path("f")).expect("a second open while the file is read by the page cache");
    assert!(mapped(&first, 300_000) == expected && mapped(&second, 300_000) == expected);
    assert_eq!(count(&tree.counts.passthrough_opens), 0);
    drop((first, second));
    eventually("a new open is passed through", || {
        assert!(std::fs::read(fixture.path("f")).expect("read") == expected);
        count(&tree.counts.passthrough_opens) > 0
    });
}

#[test]
fn the_kernel_refuses_no_open_while_the_cache_comes_and_goes() {
    let tree = Tree::new();
    let expected = content(20_000, 1);
    let version = tree.write("f", expected.clone());
    let fixture = Fixture::new(&tree);
    let over = AtomicBool::new(false);
    let (expected, over, path) = (&expected, &over, &fixture.path("f"));
    std::thread::scope(|scope| {
        let check = move || {
            for turn in 0_u32.. {
                let file = File::open(path).expect("no open is refused");
                if turn % 2 == 0 {
                    assert!(&mapped(&file, 20_000) == expected);
                } else {
                    assert!(&all_of(&file) == expected);
                }
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(check)).collect();
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            tree.complete(version);
            std::thread::sleep(Duration::from_millis(2));
            tree.evict(version);
            std::thread::sleep(Duration::from_millis(2));
            tree.cache_part(version, ByteCount::new(19_000));
            std::thread::sleep(Duration::from_millis(2));
            tree.cache_part(version, ByteCount::ZERO);
        }
        over.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().expect("no reader failed");
        }
    });
    let opens = |mode: &str| fixture.metric(&format!("forebay_fuse_opens_total{{mode=\"{mode}\"}}"));
    assert!(["passthrough", "direct", "buffered"].iter().all(|mode| opens(mode) > 0), "each way was used");
    eventually("the holds are given back", || count(&tree.counts.holds) == 0);
}

/// An overlay over two directories, taken off at its end.
pub(crate) struct Overlay(tempfile::TempDir);

impl Overlay {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("made");
        for part in ["lower", "upper", "work", "merged"] {
            std::fs::create_dir(folder.path().join(part)).expect("made");
        }
        let lower = folder.path().join("lower");
        Self::mount(folder, &lower)
    }

    /// An overlay over a directory that there is.
    pub(crate) fn over(lower: &Path) -> Self {
        let folder = tempfile::tempdir().expect("made");
        for part in ["upper", "work", "merged"] {
            std::fs::create_dir(folder.path().join(part)).expect("made");
        }
        Self::mount(folder, lower)
    }

    fn mount(folder: tempfile::TempDir, lower: &Path) -> Self {
        let part = |part: &str| folder.path().join(part).display().to_string();
        let data =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), part("upper"), part("work"));
        let data = CString::new(data).expect("no zero bytes");
        rustix::mount::mount(
            "overlay",
            part("merged"),
            "overlay",
            MountFlags::empty(),
            Some(data.as_c_str()),
        )
        .expect("mounted");
        Self(folder)
    }

    pub(crate) fn merged(&self) -> PathBuf {
        self.0.path().join("merged")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        rustix::mount::unmount(self.merged(), UnmountFlags::DETACH).ok();
    }
}

/// Reads a file whose cache lies on overlayfs, and gives how complete files are read after that.
fn read_from_overlay(overlay: &Overlay, is_known: bool) -> ReadMode {
    let tree = Tree::new();
    let version = tree.write("f", content(20_000, 1));
    tree.complete_in(version, &overlay.merged());
    let (runtime, folder) = (runtime(), tempfile::tempdir().expect("made"));
    let settings = settings(&tree, folder.path(), FuseOptions::default(), &runtime, &Registry::new());
    let cache_directories = if is_known { vec![overlay.merged()] } else { Vec::new() };
    let mounted = runtime.block_on(mount(MountSettings { cache_directories, ..settings })).expect("mounted");
    let bytes = std::fs::read(folder.path().join("f")).expect("read");
    let mode = mounted.read_mode();
    runtime.block_on(mounted.unmount(PATIENCE)).expect("unmounted");
    assert!(bytes == content(20_000, 1));
    assert_eq!(count(&tree.counts.passthrough_opens), u64::from(is_known));
    mode
}

#[test]
fn a_cache_on_overlayfs_is_passed_through_where_it_is_known_and_read_by_us_where_not() {
    expect_mounts();
    let overlay = Overlay::new();
    assert_eq!(read_from_overlay(&overlay, true), ReadMode::Allowed);
    assert_eq!(read_from_overlay(&overlay, false), ReadMode::StackedCache);
}

#[test]
fn many_handles_at_once_are_no_trouble() {
    let tree = Tree::new();
    for at in 0..64_u8 {
        let version = tree.write(&format!("f{at}"), content(10_000, at));
        if at % 2 == 0 {
            tree.complete(version);
        }
    }
    let fixture = Fixture::new(&tree);
    let open = |at: u8| (at, File::open(fixture.path(&format!("f{}", at % 64))).expect("opened"));
    let files: Vec<_> = (0..=255_u8).map(open).collect();
    assert_eq!(fixture.metric("forebay_fuse_handles_live{kind=\"file\"}"), 256);
    std::thread::scope(|scope| {
        for part in files.chunks(32) {
            scope.spawn(move || {
                for (at, file) in part {
                    assert!(all_of(file) == content(10_000, at % 64));
                }
            });
        }
    });
    drop(files);
    eventually("all handles are released", || {
        fixture.metric("forebay_fuse_handles_live{kind=\"file\"}") == 0 && count(&tree.counts.holds) == 0
    });
}

#[test]
fn readahead_on_a_passthrough_handle_is_answered() {
    let tree = Tree::new();
    let expected = content(1 << 20, 1);
    let version = tree.write("f", expected.clone());
    tree.complete(version);
    let fixture = Fixture::new(&tree);
    let file = File::open(fixture.path("f")).expect("opened");
    rustix::fs::fadvise(&file, 0, None, Advice::WillNeed).expect("advised");
    assert!(all_of(&file) == expected);
}

#[test]
fn an_answer_that_is_too_short_is_an_error_and_no_zeroes() {
    let tree = Tree::new();
    tree.write("f", content(10_000, 1));
    let fixture = Fixture::new(&tree);
    tree.counts.reads_short.store(true, Ordering::SeqCst);
    assert_eq!(errno(std::fs::read(fixture.path("f"))), Errno::IO);
    tree.counts.reads_short.store(false, Ordering::SeqCst);
    assert!(std::fs::read(fixture.path("f")).expect("read") == content(10_000, 1));
    assert!(fixture.metric("forebay_fuse_errors_total{operation=\"read\"}") >= 1);
}

#[test]
fn an_open_that_nobody_answers_fails_by_its_deadline_and_keeps_nobody_else_waiting() {
    let tree = Tree::new();
    tree.write("f", content(10, 1));
    tree.write("g", content(10, 1));
    let options = FuseOptions { deadline: Duration::from_millis(300), threads: 2, ..FuseOptions::default() };
    let fixture = Fixture::with(&tree, options);
    tree.set_valid(Duration::ZERO);
    let open = File::open(fixture.path("g")).expect("opened");
    tree.set_stalled(true);
    std::thread::scope(|scope| {
        // More than there are threads that read requests.
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| File::open(fixture.path("f")))).collect();
        eventually("all opens wait", || count(&tree.counts.opens) >= 9);
        assert_eq!(open.metadata().expect("answered").len(), 10);
        for opened in waiting {
            assert_eq!(errno(opened.join().expect("ended")), Errno::TIMEDOUT);
        }
    });
    tree.set_stalled(false);
    assert_eq!(std::fs::read(fixture.path("f")).expect("read").len(), 10);
    drop(open);
    eventually("no handle is left", || fixture.metric("forebay_fuse_handles_live{kind=\"file\"}") == 0);
}
