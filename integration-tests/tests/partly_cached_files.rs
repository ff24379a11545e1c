//! Files that are cached in part are read where they lie, by the SDK and through a mount: every byte is right beside a
//! corrupter and an evictor, and across the death of the worker.
//!
//! The ends of the files are never read, so that none is ever complete: what rots under a hold is the disk's, but nothing
//! that is read of a file in part is believed without its checksum. `FOREBAY_TROUBLE_SECONDS=600` makes it longer.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay_client::{Client, ClientSettings};
use forebay_integration_tests::{
    Cluster, Fleet, cache_files, content, drop_page_cache, map, random_offsets, wait_until, write_file,
};
use forebay_types::{ByteCount, FileOffset, HostId, NamespacePath, Principal};
use rustix::fs::{Advice, fadvise};
use tokio::runtime::Runtime;

const MIB: usize = 1 << 20;
const LENGTH: usize = 16 * MIB;
/// What is read of each file: as much as must be here for a file to be read directly.
const READ: usize = 12 * MIB;
const FILES: usize = 6;
/// About half of what is read.
const TIER: &str = "40MiB";
const LONGEST_READ: usize = 300_000;
const READS_PER_OPEN: usize = 40;
const HOST: &str = "host-0";
const WITHIN: Duration = Duration::from_secs(20);

/// A client of the SDK on the machine of a worker.
struct Sdk {
    runtime: Runtime,
    client: Client,
}

impl Sdk {
    fn connect(master: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("started");
        let principal = Principal { name: "test".to_owned(), uid: 0, gids: vec![0] };
        let settings = ClientSettings::new(vec![master.to_owned()], HostId::new(HOST), principal);
        let client = runtime.block_on(Client::connect(settings)).expect("the cluster is there");
        Self { runtime, client }
    }

    fn reader(&self, file: usize) -> forebay_client::Reader {
        let path = NamespacePath::parse(format!("/data/f{file}").as_bytes()).expect("legal");
        let (entry, _) = self.runtime.block_on(self.client.resolve(&path)).expect("known");
        let (version, capability) = entry.version.expect("a file");
        self.client.reader(version, capability)
    }

    fn short_circuit_bytes(&self) -> ByteCount {
        self.client.counters().snapshot().short_circuit_bytes
    }
}

/// The files of a test and what is in them.
struct Files {
    source: tempfile::TempDir,
    contents: Vec<Vec<u8>>,
}

impl Files {
    fn write(count: usize) -> Self {
        let source = tempfile::tempdir().expect("a folder");
        let write = |file: usize| write_file(&source.path().join(format!("f{file}")), file as u64, LENGTH);
        let contents = (0..count).map(write).collect();
        Self { source, contents }
    }

    fn uri(&self) -> String {
        format!("file://{}", self.source.path().display())
    }
}

/// Numbers below what is asked for, the same in each run.
fn draws(seed: u64) -> impl FnMut(usize) -> usize {
    let mut draws = random_offsets(seed, 100_000, u64::MAX).into_iter().cycle();
    move |below| usize::try_from(draws.next().expect("endless") % below as u64).expect("small")
}

fn opened(path: &Path) -> File {
    let file = File::open(path).expect("opened");
    // Else the kernel reads on to the end.
    fadvise(&file, 0, None, Advice::Random).expect("a file");
    file
}

/// What all threads share.
struct Trouble<'a> {
    files: &'a Files,
    mounted: PathBuf,
    sdk: &'a Sdk,
    is_over: AtomicBool,
    reads: AtomicU64,
}

impl Trouble<'_> {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn expect(&self, file: usize, at: usize, bytes: &[u8], how: &str) {
        let right = &self.files.contents[file][at..at + bytes.len()];
        assert!(bytes == right, "{} bytes from {at} of f{file}, {how}", bytes.len());
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn read_by_sdk(&self, seed: u64) {
        let mut draw = draws(seed);
        while self.goes_on() {
            let file = draw(self.files.contents.len());
            let reader = self.sdk.reader(file);
            for _ in 0..READS_PER_OPEN {
                let length = 1 + draw(LONGEST_READ);
                let at = draw(READ - length);
                let mut buffer = vec![0; length];
                let read = reader.read_into(FileOffset::new(at as u64), &mut buffer);
                assert_eq!(self.sdk.runtime.block_on(read).expect("read"), length);
                self.expect(file, at, &buffer, "by the SDK");
            }
        }
    }

    fn read_by_mount(&self, seed: u64) {
        let mut draw = draws(seed);
        while self.goes_on() {
            let file = draw(self.files.contents.len());
            let open = opened(&self.mounted.join(format!("f{file}")));
            for _ in 0..READS_PER_OPEN {
                let length = 1 + draw(LONGEST_READ);
                let at = draw(READ - length);
                let mut buffer = vec![0; length];
                open.read_exact_at(&mut buffer, at as u64).expect("read");
                self.expect(file, at, &buffer, "through the mount");
            }
        }
    }

    /// Changes bytes of the worker's files while others read them.
    fn corrupt(&self, dir: &Path) {
        let mut draw = draws(99);
        while self.goes_on() {
            let (ending, length) = if draw(8) == 0 { ("index", 1500) } else { ("data", READ) };
            let files = cache_files(dir, ending);
            if let Some(path) = files.get(draw(files.len().max(1)))
                && let Ok(file) = OpenOptions::new().read(true).write(true).open(path)
            {
                let (mut byte, at) = ([0], draw(length) as u64);
                if file.read_exact_at(&mut byte, at).is_ok() {
                    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
                }
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}

fn duration() -> Duration {
    let seconds = std::env::var("FOREBAY_TROUBLE_SECONDS").ok();
    Duration::from_secs(seconds.map_or(8, |seconds| seconds.parse().expect("seconds")))
}

#[test]
fn every_byte_is_right_beside_a_corrupter_and_an_evictor() {
    let files = Files::write(FILES);
    let builder = Cluster::builder().mount("/data", &files.uri()).fuse().ram("0").tier(TIER);
    let builder = builder.argument("--eviction").argument("lru").argument("--host-id").argument(HOST);
    let cluster = builder.start();
    let sdk = Sdk::connect(cluster.address());
    let trouble = Trouble {
        files: &files,
        mounted: cluster.fuse().join("data"),
        sdk: &sdk,
        is_over: AtomicBool::new(false),
        reads: AtomicU64::new(0),
    };
    let (of, dir) = (&trouble, cluster.dir());
    std::thread::scope(|scope| {
        let mut threads: Vec<_> = (0..2).map(|seed| scope.spawn(move || of.read_by_sdk(seed))).collect();
        threads.extend((10..12).map(|seed| scope.spawn(move || of.read_by_mount(seed))));
        threads.push(scope.spawn(move || of.corrupt(dir)));
        let end = Instant::now() + duration();
        while Instant::now() < end && threads.iter().all(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        of.is_over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("no thread failed"));
    });
    let counters = sdk.client.counters().snapshot();
    let opens = |mode: &str| cluster.metric(&format!("forebay_fuse_opens_total{{mode=\"{mode}\"}}"));
    let held = cluster.metric("forebay_worker_hold_requests_total{outcome=\"held\"}");
    let lent = cluster.metric("forebay_worker_hold_requests_total{outcome=\"lent\"}");
    let (corrupt, evicted) = (
        cluster.metric("forebay_worker_corrupt_pages_total"),
        cluster.metric("forebay_worker_evictions_total"),
    );
    eprintln!(
        "{} reads, {} of the SDK's here, {} damaged; {} opens direct, {} buffered; {held} held, {lent} lent; \
         {corrupt} corrupt pages, {evicted} evictions",
        trouble.reads.load(Ordering::Relaxed),
        counters.short_circuit_bytes,
        counters.damaged_chunks,
        opens("direct"),
        opens("buffered"),
    );
    assert_eq!(held, 0, "no file was to become complete");
    assert!(counters.short_circuit_bytes > ByteCount::ZERO && lent > 0, "nothing was read here");
    assert!(opens("direct") > 0, "nothing was read directly");
    assert!(corrupt > 0 && counters.damaged_chunks > 0, "nothing was corrupted that mattered");
    assert!(evicted > 0, "all of it fits");
    wait_until("lends are given back", WITHIN, || {
        let used = cluster.metric("forebay_worker_tier_used_bytes");
        used <= 40 << 20
    });
}

/// Reads the first pages of a file, the last one first, so that nobody reads on.
fn cache_part(path: &Path, right: &[u8]) {
    let file = opened(path);
    for page in (0..READ / MIB).rev() {
        let mut bytes = vec![0; 4096];
        file.read_exact_at(&mut bytes, (page * MIB) as u64).expect("read");
        assert!(bytes == right[page * MIB..page * MIB + 4096]);
    }
}

#[test]
fn a_file_that_is_here_for_the_most_part_is_read_directly_and_mapped_and_then_passed_through() {
    let files = Files::write(1);
    let cluster = Cluster::builder().mount("/data", &files.uri()).fuse().ram("0").tier("64MiB").start();
    let opens = |mode: &str| cluster.metric(&format!("forebay_fuse_opens_total{{mode=\"{mode}\"}}"));
    let path = cluster.fuse().join("data/f0");
    cache_part(&path, &files.contents[0]);
    assert_eq!(opens("direct"), 0);
    drop_page_cache();
    let remote = cluster.metric("forebay_worker_read_bytes_total");
    wait_until("it is read directly", WITHIN, || {
        let file = opened(&path);
        let mut bytes = vec![0; READ];
        file.read_exact_at(&mut bytes, 0).expect("read");
        assert!(bytes == files.contents[0][..READ]);
        opens("direct") > 0
    });
    let served = cluster.metric("forebay_worker_read_bytes_total");
    eprintln!("the worker served {} bytes of {READ}", served - remote);
    // The mapping asks for the rest, which makes the file complete.
    let file = opened(&path);
    assert!(map(&file)[..] == files.contents[0][..]);
    drop(file);
    wait_until("it is passed through", WITHIN, || {
        assert!(std::fs::read(&path).expect("read") == files.contents[0]);
        opens("passthrough") > 0
    });
}

#[test]
fn reads_go_on_across_the_death_of_the_worker() {
    let files = Files::write(1);
    let mut fleet = Fleet::start(1);
    let mounted = fleet.run(&["mount", &files.uri(), "/data"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let data = fleet.mount(HOST, "passthrough=auto").join("data");
    cache_part(&data.join("f0"), &content(0, LENGTH));
    let sdk = Sdk::connect(fleet.address());
    let trouble = Trouble {
        files: &files,
        mounted: data,
        sdk: &sdk,
        is_over: AtomicBool::new(false),
        reads: AtomicU64::new(0),
    };
    let of = &trouble;
    std::thread::scope(|scope| {
        let threads = [scope.spawn(move || of.read_by_sdk(1)), scope.spawn(move || of.read_by_mount(2))];
        for round in 0..3 {
            let (reads, here) = (of.reads.load(Ordering::Relaxed), sdk.short_circuit_bytes());
            wait_until("it is read here", WITHIN, || {
                of.reads.load(Ordering::Relaxed) > reads + 100 && sdk.short_circuit_bytes() > here
            });
            fleet.workers[0].kill();
            fleet.workers[0] = fleet.start_worker(0);
            eprintln!("round {round}: {} reads", of.reads.load(Ordering::Relaxed));
        }
        let reads = of.reads.load(Ordering::Relaxed);
        wait_until("reads go on", WITHIN, || {
            of.reads.load(Ordering::Relaxed) > reads + 100
                || threads.iter().any(|thread| thread.is_finished())
        });
        of.is_over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("no thread failed"));
    });
    assert!(fleet.mount_metric(0, "forebay_fuse_opens_total{mode=\"direct\"}") > 0);
}
