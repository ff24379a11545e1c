//! `kill -9` of the only worker while its files are read in every way: nobody gets an error, who needs it waits for it, and
//! soon after it is back files are read from its disk as before.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use forebay_integration_tests::{
    Fleet, READ_MODES, content, drop_page_cache, http_get, map, wait_until, write_file,
};
use rustix::fs::{Advice, fadvise, getxattr};

const MIB: usize = 1 << 20;
const LENGTH: usize = 24 * MIB;
const SMALL: (usize, usize) = (40, 110_000);
const WITHIN: Duration = Duration::from_secs(20);
/// Files are read from the worker's disk 2 s after it says that it is ready; this machine may be busy.
const BACK_WITHIN: Duration = Duration::from_secs(2 + 8);
const KILLS: usize = 3;
const ETIMEDOUT: i32 = 110;

/// One worker and a large file that is read before, some small ones too, and large ones that nobody has read.
fn fleet(source: &Path) -> Fleet {
    write_file(&source.join("cached"), 1, LENGTH);
    (0..KILLS)
        .for_each(|kill| drop(write_file(&source.join(format!("cold-{kill}")), cold_seed(kill), LENGTH)));
    (0..SMALL.0)
        .for_each(|file| drop(write_file(&source.join(format!("small/{file}")), small_seed(file), SMALL.1)));
    let fleet = Fleet::start(1);
    let mounted = fleet.run(&["mount", &format!("file://{}", source.display()), "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    fleet
}

const fn cold_seed(kill: usize) -> u64 {
    1000 + kill as u64
}

const fn small_seed(file: usize) -> u64 {
    2000 + file as u64
}

/// Where it is read, with which option, and what serves a file then that is cached.
const WAYS: [(&str, &str, &str); 3] = [
    ("host-0", READ_MODES[0], "passthrough"),
    ("host-0", READ_MODES[1], "short-circuit"),
    ("elsewhere", READ_MODES[0], "remote"),
];

/// Whether an open now would be served so. Nobody knows while the worker is away.
fn is_served_by(path: &Path, way: &str) -> bool {
    let mut value = [0; 32];
    let length = getxattr(path, "user.forebay.served_by", &mut value);
    length.is_ok_and(|length| value[..length] == *way.as_bytes())
}

fn warm(root: &Path, way: &str) {
    let whole = content(1, LENGTH);
    wait_until("all of it is cached", WITHIN, || {
        assert!(fs::read(root.join("cached")).expect("read") == whole);
        is_served_by(&root.join("cached"), way)
    });
    (0..SMALL.0).for_each(|file| read_small(root, file).expect("read"));
}

fn read_small(root: &Path, file: usize) -> std::io::Result<()> {
    let read = fs::read(root.join(format!("small/{file}")))?;
    assert!(read == content(small_seed(file), SMALL.1), "small/{file}");
    Ok(())
}

/// The sum of a metric of the worker since it began; 0 while nothing was counted.
fn of_worker(fleet: &Fleet, name: &str) -> u64 {
    let report = fleet.json(&["admin", "report"]);
    let address = report["workers"][0]["address"].as_str().expect("one").to_owned();
    let text = http_get(&address, "/metrics");
    let of_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    text.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Tells the readers to stop when a test ends, also by a panic: it would wait for them for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Readers that go on until they are told to stop, and count what they have read.
struct Readers<'a> {
    root: PathBuf,
    is_over: &'a AtomicBool,
    /// Of each way of reading.
    rounds: &'a [AtomicU64; 4],
}

impl Readers<'_> {
    fn go_on(&self, way: usize, mut read: impl FnMut(usize)) {
        for round in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            read(round);
            self.rounds[way].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By a handle that stays open; the kernel is made to ask again each time.
    fn by_one_handle(&self) {
        let (file, whole) = (File::open(self.root.join("cached")).expect("opened"), content(1, LENGTH));
        let mut piece = vec![0; MIB];
        self.go_on(0, |round| {
            let at = round % (LENGTH / MIB) * MIB;
            fadvise(&file, 0, None, Advice::DontNeed).expect("advised");
            file.read_exact_at(&mut piece, at as u64).expect("an open file is read on");
            assert!(piece == whole[at..at + MIB], "{at}");
        });
    }

    /// By a mapping that stays.
    fn by_one_mapping(&self) {
        let file = File::open(self.root.join("cached")).expect("opened");
        let (mapping, whole) = (map(&file), content(1, LENGTH));
        self.go_on(1, |round| {
            let at = round % (LENGTH / MIB) * MIB;
            fadvise(&file, 0, None, Advice::DontNeed).expect("advised");
            assert!(mapping[at..at + MIB] == whole[at..at + MIB], "{at}");
        });
    }

    /// By opening one small file after the other.
    fn by_opening(&self) {
        self.go_on(2, |round| read_small(&self.root, round % SMALL.0).expect("each open and read succeeds"));
    }

    /// All at once, again and again.
    fn by_whole_files(&self) {
        let whole = content(1, LENGTH);
        self.go_on(3, |_| assert!(fs::read(self.root.join("cached")).expect("read") == whole));
    }
}

#[test]
fn a_worker_that_is_killed_while_its_files_are_read_costs_no_error() {
    for (host, mode, way) in WAYS {
        a_worker_that_is_killed_while_its_files_are_read_costs_no_error_to(host, mode, way);
    }
}

fn a_worker_that_is_killed_while_its_files_are_read_costs_no_error_to(host: &str, mode: &str, way: &str) {
    let source = tempfile::tempdir().expect("a folder");
    let mut fleet = fleet(source.path());
    let root = fleet.mount(host, mode).join("data");
    warm(&root, way);
    let (is_over, rounds) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 4]);
    let readers = Readers { root: root.clone(), is_over: &is_over, rounds: &rounds };
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        let readers = &readers;
        let mut threads = vec![
            scope.spawn(|| readers.by_one_handle()),
            scope.spawn(|| readers.by_one_mapping()),
            scope.spawn(|| readers.by_opening()),
            scope.spawn(|| readers.by_whole_files()),
        ];
        for kill in 0..KILLS {
            let cold = root.join(format!("cold-{kill}"));
            let (begun, has_begun) = mpsc::channel();
            let fetching = scope.spawn(move || {
                let (mut read, file) = (vec![0; LENGTH], File::open(&cold).expect("opened"));
                file.read_exact_at(&mut read[..MIB], 0).expect("its begin is fetched");
                begun.send(()).expect("waited for");
                file.read_exact_at(&mut read[MIB..], MIB as u64).expect("the next worker fetches the rest");
                assert!(read == content(cold_seed(kill), LENGTH), "cold-{kill}");
            });
            has_begun.recv().expect("it reads");
            fleet.workers[0].kill();
            fleet.workers[0] = fleet.start_worker(0);
            fetching.join().expect("read to its end");
            let before = rounds.each_ref().map(|rounds| rounds.load(Ordering::Relaxed));
            wait_until("each of them reads on", WITHIN, || {
                let of_each = rounds.iter().zip(before);
                let read_on =
                    of_each.filter(|(now, before)| now.load(Ordering::Relaxed) > *before + 2).count();
                read_on == rounds.len() || threads.iter().any(|thread| thread.is_finished())
            });
        }
        drop(over);
        threads.drain(..).for_each(|thread| thread.join().expect("no reader met an error or a wrong byte"));
    });
}

#[test]
fn soon_after_a_killed_worker_is_back_files_are_read_from_its_disk_again() {
    let whole = content(1, LENGTH);
    for (host, mode, way) in WAYS.into_iter().filter(|(.., way)| *way != "remote") {
        let source = tempfile::tempdir().expect("a folder");
        let mut fleet = fleet(source.path());
        let root = fleet.mount(host, mode).join("data");
        warm(&root, way);
        for _ in 0..KILLS {
            fleet.workers[0].kill();
            fleet.workers[0] = fleet.start_worker(0);
            let ready = Instant::now();
            // Whatever is not read from the disk by the kernel or by the mount is asked of the worker's port.
            wait_until("all is read from its disk", BACK_WITHIN, || {
                let asked = of_worker(&fleet, "forebay_worker_reads_total");
                drop_page_cache();
                assert!(fs::read(root.join("cached")).expect("read") == whole);
                (0..SMALL.0).for_each(|file| read_small(&root, file).expect("read"));
                of_worker(&fleet, "forebay_worker_reads_total") == asked
            });
            eprintln!("{way} after {:?}", ready.elapsed());
            let fetched = of_worker(&fleet, "forebay_worker_under_store_read_bytes_total");
            assert_eq!(fetched, 0, "{way}: all of it was in the cache");
        }
    }
}

#[test]
fn while_no_worker_is_left_reads_wait_and_go_on_when_one_is_back() {
    for host in ["host-0", "elsewhere"] {
        for mode in READ_MODES {
            let source = tempfile::tempdir().expect("a folder");
            let mut fleet = fleet(source.path());
            let root = fleet.mount(host, mode).join("data");
            // Known, and so open without the worker, but none of its bytes are anywhere.
            let open = File::open(root.join("cold-0")).expect("opened");
            fleet.workers[0].kill();
            std::thread::scope(|scope| {
                let reading = scope.spawn(|| {
                    let mut read = vec![0; LENGTH];
                    open.read_exact_at(&mut read, 0).map(|()| read)
                });
                let opening = scope.spawn(|| fs::read(root.join("cold-1")));
                fleet.workers[0] = fleet.start_worker(0);
                let read = reading.join().expect("no panic").expect("answered once a worker is back");
                assert!(read == content(cold_seed(0), LENGTH), "{host}, {mode}");
                let read = opening.join().expect("no panic").expect("answered once a worker is back");
                assert!(read == content(cold_seed(1), LENGTH), "{host}, {mode}");
            });
        }
    }
}

#[test]
fn while_no_worker_is_left_a_read_waits_up_to_its_deadline_and_names_are_answered() {
    for mode in READ_MODES {
        let source = tempfile::tempdir().expect("a folder");
        let mut fleet = fleet(source.path());
        let root = fleet.mount("host-0", &format!("{mode},deadline=1s")).join("data");
        let open = File::open(root.join("cold-0")).expect("opened");
        fleet.workers[0].kill();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| open.read_exact_at(&mut [0; 4096], 0));
            assert_eq!(fs::read_dir(&root).expect("listed").count(), KILLS + 2);
            assert_eq!(fs::metadata(root.join("cold-2")).expect("there").len(), LENGTH as u64);
            assert!(!reading.is_finished(), "names need no worker");
            let error = reading.join().expect("no panic").expect_err("nobody has it");
            assert_eq!(error.raw_os_error(), Some(ETIMEDOUT), "{mode}: {error}");
        });
        // A read may take four times the deadline.
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(4) && waited < Duration::from_secs(4) + WITHIN, "{waited:?}");
        fleet.workers[0] = fleet.start_worker(0);
        wait_until("a read later finds the worker", WITHIN, || open.read_exact_at(&mut [0; 4096], 0).is_ok());
    }
}
