//! Readers beside an evictor, a corrupter and a replacer: every byte that is read is of one version of the file that was
//! opened, for as long as it goes on.
//!
//! A byte that rots while a file is open is the disk's, so the corrupter works while nobody has one open: what it did is
//! to be found at the next open. `FOREBAY_TROUBLE_SECONDS=600` makes it longer.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay_integration_tests::{
    Cluster, cache_files, drop_page_cache, map, random_offsets, stamped, version_of, wait_until,
};

const MIB: usize = 1 << 20;
const FILES: usize = 16;
/// The first of them are replaced, the others are mapped: a page of a mapping that is not there any more is a signal.
const REPLACED: usize = 8;
const LENGTHS: [usize; 4] = [3_000, 110_000, MIB, 3 * MIB + 17];
/// A disk for about half of what the files take; and memory beside a disk to which it can be relieved.
const TIERS: [(&str, &str); 2] = [("0", "9MiB"), ("4MiB", "14MiB")];
const READERS: u64 = 6;
const ESTALE: i32 = 116;

/// What all threads share.
struct Trouble<'a> {
    source: &'a Path,
    mounted: PathBuf,
    cluster: &'a Cluster,
    /// Held for reading while a file is open, and for writing while bytes are changed on the worker's disk.
    nobody_reads: RwLock<()>,
    is_over: AtomicBool,
    reads: AtomicU64,
    stale: AtomicU64,
    replaced: AtomicU64,
    flipped: AtomicU64,
}

#[test]
fn every_byte_is_right_beside_an_evictor_a_corrupter_and_a_replacer() {
    for (eviction, passthrough) in
        [("lru", "auto"), ("s3-fifo", "auto"), ("epoch", "auto"), ("s3-fifo", "off")]
    {
        read_beside_trouble(eviction, passthrough, TIERS[0]);
    }
}

#[test]
fn every_byte_is_right_while_files_also_move_between_memory_and_a_disk() {
    for (eviction, passthrough) in [("lru", "auto"), ("s3-fifo", "off")] {
        read_beside_trouble(eviction, passthrough, TIERS[1]);
    }
}

fn read_beside_trouble(eviction: &str, passthrough: &str, (ram, tier): (&str, &str)) {
    let source = tempfile::tempdir().expect("a folder");
    (0..FILES).for_each(|file| write_version(source.path(), file, 0));
    let uri = format!("file://{}", source.path().display());
    let cluster = Cluster::builder().mount("/data", &uri).fuse().ram(ram).tier(tier);
    let cluster = cluster.argument("--eviction").argument(eviction);
    let cluster = cluster.fuse_options(&format!("passthrough={passthrough}")).start();
    let trouble = Trouble {
        source: source.path(),
        mounted: cluster.fuse().join("data"),
        cluster: &cluster,
        nobody_reads: RwLock::new(()),
        is_over: AtomicBool::new(false),
        reads: AtomicU64::new(0),
        stale: AtomicU64::new(0),
        replaced: AtomicU64::new(0),
        flipped: AtomicU64::new(0),
    };
    let of = &trouble;
    std::thread::scope(|scope| {
        let mut threads: Vec<_> = (0..READERS).map(|reader| scope.spawn(move || of.read(reader))).collect();
        threads.push(scope.spawn(move || of.replace()));
        threads.push(scope.spawn(move || of.corrupt()));
        threads.push(scope.spawn(move || of.evict()));
        let end = Instant::now() + duration();
        while Instant::now() < end && threads.iter().all(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        of.is_over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("no thread failed"));
    });
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let metric = |name: &str| cluster.metric(name);
    eprintln!(
        "{eviction}, passthrough={passthrough}: {} reads, {} of them stale; {} replaced, {} flipped, {} corrupt pages, \
         {} evictions, {} declined; {} demotions, {} promotions, {} aborted moves",
        count(&trouble.reads),
        count(&trouble.stale),
        count(&trouble.replaced),
        count(&trouble.flipped),
        metric("forebay_worker_corrupt_pages_total"),
        metric("forebay_worker_evictions_total"),
        metric("forebay_worker_declined_fills_total"),
        metric("forebay_worker_demotions_total"),
        metric("forebay_worker_promotions_total"),
        metric("forebay_worker_aborted_moves_total"),
    );
    assert!(count(&trouble.reads) > count(&trouble.stale) && count(&trouble.replaced) > 0);
    assert!(metric("forebay_worker_corrupt_pages_total") > 0, "nothing was corrupted that mattered");
    let left = ["evictions", "declined_fills", "demotions"];
    let made_room: u64 = left.iter().map(|what| metric(&format!("forebay_worker_{what}_total"))).sum();
    assert!(made_room > 0, "all of it fits");
}

/// How long each combination goes on.
fn duration() -> Duration {
    let seconds = std::env::var("FOREBAY_TROUBLE_SECONDS").ok();
    Duration::from_secs(seconds.map_or(5, |seconds| seconds.parse::<u64>().expect("seconds") / 4))
}

fn length_of(file: usize) -> usize {
    LENGTHS[file % LENGTHS.len()]
}

/// The content says which file it is of.
fn write_version(source: &Path, file: usize, version: usize) {
    let content = stamped(stamp(file, version), length_of(file));
    let temporary = source.join(format!(".new-{file}"));
    fs::write(&temporary, content).expect("written");
    fs::rename(temporary, source.join(format!("f{file}"))).expect("replaced");
}

fn stamp(file: usize, version: usize) -> u8 {
    u8::try_from(file + FILES * (version % FILES)).expect("small")
}

impl Trouble<'_> {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn read(&self, seed: u64) {
        let mut draws = random_offsets(seed, 100_000, u64::MAX).into_iter().cycle();
        let mut draw = |below: usize| {
            let drawn = draws.next().expect("endless");
            usize::try_from(drawn % below as u64).expect("small")
        };
        while self.goes_on() {
            let (file, way) = (draw(FILES), draw(3));
            let nobody = self.nobody_reads.read().expect("no thread failed");
            let opened = File::open(self.mounted.join(format!("f{file}"))).expect("opened");
            let read = match way {
                0 if file >= REPLACED => Ok(map(&opened).to_vec()),
                1 => in_pieces(&opened, length_of(file)),
                _ => whole(&opened),
            };
            drop(opened);
            drop(nobody);
            self.reads.fetch_add(1, Ordering::Relaxed);
            match read {
                Ok(bytes) => {
                    assert_eq!(bytes.len(), length_of(file), "f{file}");
                    let version = version_of(&bytes).unwrap_or_else(|mixed| panic!("f{file}: {mixed:?}"));
                    assert_eq!(usize::from(version) % FILES, file, "the bytes are of another file");
                }
                Err(error) if error.raw_os_error() == Some(ESTALE) && file < REPLACED => {
                    self.stale.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => panic!("f{file}: {error}"),
            }
        }
    }

    fn replace(&self) {
        for version in 1.. {
            if !self.goes_on() {
                return;
            }
            (0..REPLACED).for_each(|file| write_version(self.source, file, version));
            self.replaced.fetch_add(REPLACED as u64, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Changes a byte in each other file of the cache.
    fn corrupt(&self) {
        for round in 0.. {
            if !self.goes_on() {
                return;
            }
            let nobody = self.nobody_reads.write().expect("no thread failed");
            // The kernel tells of a close when it likes; until then a file is open, and shared by the next to open it.
            let open = || self.cluster.metric("forebay_fuse_handles_live{kind=\"file\"}");
            wait_until("all files are closed", Duration::from_secs(20), || open() == 0);
            for path in cache_files(self.cluster.dir(), "data").iter().skip(round % 2).step_by(2) {
                // It may be evicted at this moment.
                let Ok(file) = File::options().read(true).write(true).open(path) else { continue };
                let (mut byte, at) = ([0], file.metadata().expect("open").len() / 2);
                if file.read_exact_at(&mut byte, at).is_ok() {
                    file.write_all_at(&[!byte[0]], at).expect("written");
                    self.flipped.fetch_add(1, Ordering::Relaxed);
                }
            }
            // Else the kernel has what was read before.
            drop_page_cache();
            drop(nobody);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn evict(&self) {
        while self.goes_on() {
            let freed = self.cluster.run(&["fs", "free", "/data"]);
            assert_eq!(freed.code, 0, "{}", freed.stderr);
            std::thread::sleep(Duration::from_millis(700));
        }
    }
}

fn whole(mut file: &File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map(|_| bytes)
}

/// From the end to the begin.
fn in_pieces(file: &File, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    for begin in (0..length).step_by(100_000).rev() {
        let end = length.min(begin + 100_000);
        file.read_exact_at(&mut bytes[begin..end], begin as u64)?;
    }
    Ok(bytes)
}
