//! The suite `local`: cached files through FUSE and by the SDK, beside the same files in the directory that they come
//! from.
//!
//! Cache and directory lie on one file system, and paths have as many names on both sides. Before a case with the page cache dropped, everything that the kernel
//! knows of files is dropped, names too; before a hot one both sides are gone through once.

mod direct;
mod elsewhere;
mod many;
mod readers;
mod sdk;

use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_integration_tests::{Cluster, drop_page_cache, random_offsets, wait_until, write_file};
use rustix::fs::getxattr;
use tempfile::TempDir;

use crate::comparison::{Effort, Row, Side};
use crate::files::{Aligned, mapped, open_each, random, random_by_many, read_each, sequential, stat_each};

const MIB: usize = 1 << 20;
const JOBS: usize = 8;
const SMALL_LENGTH: usize = 110_000;
const DIRECTORY: &str = "native directory";
/// Random but the same in each run.
const SEED: u64 = 7;
const CACHED_WITHIN: Duration = Duration::from_secs(60);

/// What of the suite is measured where not all of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Tiers,
    Elsewhere,
    Direct,
    Many,
}

/// Where the worker keeps the files.
#[derive(Clone, Copy, Debug)]
enum Tier {
    Disk,
    Ram,
}

/// What the page cache has before a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageCache {
    Dropped,
    Hot,
}

/// The files of the suite in one folder, here or there.
struct Files {
    large: PathBuf,
    /// In the order in which they are read.
    small: Vec<PathBuf>,
}

/// One tier's cases under way.
struct Bench<'a> {
    effort: Effort,
    tier: Tier,
    ours: Files,
    native: &'a Files,
    rows: Vec<Row>,
}

impl Part {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "tiers" => Self::Tiers,
            "elsewhere" => Self::Elsewhere,
            "direct" => Self::Direct,
            "many" => Self::Many,
            _ => return None,
        })
    }
}

/// Runs the suite, or a part of it.
pub(crate) fn run(effort: Effort, part: Option<Part>) -> Vec<Row> {
    let is_asked = |of: Part| part.is_none_or(|part| part == of);
    let mut rows = Vec::new();
    if part != Some(Part::Many) {
        let folder = TempDir::new().expect("a folder");
        let source = as_deep_as_ours(&folder);
        let native = write_all(&source, effort);
        if is_asked(Part::Tiers) {
            rows.extend(tiers(effort, &source, &native));
        }
        if is_asked(Part::Elsewhere) {
            rows.extend(elsewhere::rows(effort, &source, &native));
        }
        if is_asked(Part::Direct) {
            rows.extend(direct::rows(effort, &source, &native));
        }
    }
    if is_asked(Part::Many) {
        rows.extend(many::rows(effort));
    }
    rows
}

fn tiers(effort: Effort, source: &Path, native: &Files) -> Vec<Row> {
    let mut rows = Vec::new();
    for tier in [Tier::Disk, Tier::Ram] {
        let cluster = cluster(source, tier);
        let ours = native.under(source, &cluster.fuse().join("data"));
        warm(&ours);
        let mut bench = Bench { effort, tier, ours, native, rows: Vec::new() };
        bench.large_file();
        bench.small_files();
        rows.append(&mut bench.rows);
        if matches!(tier, Tier::Disk) {
            rows.extend(sdk::rows(effort, &cluster, &native.large));
            rows.extend(readers::rows(effort, &cluster, native));
        }
    }
    rows
}

/// A place whose path has as many names as that of our mount: the kernel looks each of them up.
fn as_deep_as_ours(folder: &TempDir) -> PathBuf {
    let source = folder.path().join("native/data");
    std::fs::create_dir_all(&source).expect("made");
    source
}

fn write_all(folder: &Path, effort: Effort) -> Files {
    let large = folder.join("large");
    write_file(&large, SEED, effort.pick(1024, 128) * MIB);
    let count = effort.pick(2000_u64, 400);
    let mut small: Vec<_> = (0..count).map(|index| folder.join(format!("small/f{index}"))).collect();
    (0..).zip(&small).for_each(|(index, path)| drop(write_file(path, index, SMALL_LENGTH)));
    let order = random_offsets(SEED, small.len(), u64::MAX);
    let mut ordered: Vec<_> = order.into_iter().zip(small.drain(..)).collect();
    ordered.sort();
    Files { large, small: ordered.into_iter().map(|(_, path)| path).collect() }
}

fn cluster(source: &Path, tier: Tier) -> Cluster {
    let uri = format!("file://{}", source.display());
    let builder = Cluster::builder().mount("/data", &uri).fuse().argument("--host-id").argument(sdk::HOST);
    match tier {
        Tier::Disk => builder.ram("0").tier("4GiB").start(),
        Tier::Ram => builder.ram("2GiB").tier("1GiB").start(),
    }
}

/// Reads everything once and waits until the kernel reads all of it from the cache, or never will.
fn warm(files: &Files) {
    let mut buffer = Aligned::new(MIB);
    sequential(&files.large, &mut buffer);
    read_each(&files.small, 1);
    for file in files.small.iter().chain([&files.large]) {
        let length = std::fs::metadata(file).expect("there").len();
        wait_until("a file is cached", CACHED_WITHIN, || {
            attribute(file, "user.forebay.cached_bytes") == length.to_string()
        });
    }
    eprintln!("cached; read by {}", attribute(&files.large, "user.forebay.served_by"));
}

fn attribute(file: &Path, name: &str) -> String {
    let mut value = [0; 64];
    let length = getxattr(file, name, &mut value[..]).expect("an attribute of ours");
    String::from_utf8_lossy(&value[..length]).into_owned()
}

impl Files {
    /// The same files in another folder.
    fn under(&self, from: &Path, to: &Path) -> Self {
        let moved = |path: &PathBuf| to.join(path.strip_prefix(from).expect("written there"));
        Self { large: moved(&self.large), small: self.small.iter().map(moved).collect() }
    }
}

impl Bench<'_> {
    fn large_file(&mut self) {
        let mut buffer = Aligned::new(MIB);
        let (many, few) = (self.effort.pick(200_000, 20_000), self.effort.pick(4000, 500));
        for state in [PageCache::Dropped, PageCache::Hot] {
            self.row("fuse sequential 1 MiB", "MiB/s", state, |files| sequential(&files.large, &mut buffer));
            let small_reads = if state == PageCache::Hot { many } else { few };
            self.row("fuse random 4 KiB", "reads/s", state, |files| {
                random(&files.large, &mut buffer, 4 << 10, small_reads, SEED)
            });
            self.row("fuse random 4 KiB, 8 readers", "reads/s", state, |files| {
                random_by_many(&files.large, 4 << 10, small_reads, JOBS, SEED)
            });
            self.row("fuse random 128 KiB", "reads/s", state, |files| {
                random(&files.large, &mut buffer, 128 << 10, few, SEED)
            });
            self.row("fuse mmap scan", "MiB/s", state, |files| mapped(&files.large));
        }
    }

    fn small_files(&mut self) {
        for state in [PageCache::Dropped, PageCache::Hot] {
            self.row("fuse small files, 1 reader", "files/s", state, |files| read_each(&files.small, 1));
        }
        self.row("fuse small files, 4 readers", "files/s", PageCache::Hot, |files| {
            read_each(&files.small, 4)
        });
        let rounds = self.effort.pick(5, 2);
        self.row("fuse open and close", "opens/s", PageCache::Hot, |files| open_each(&files.small, rounds));
        self.row("fuse stat", "stats/s", PageCache::Hot, |files| stat_each(&files.small, 10 * rounds));
    }

    fn row(&mut self, what: &str, unit: &'static str, state: PageCache, mut work: impl FnMut(&Files) -> f64) {
        let tier = match self.tier {
            Tier::Disk => "disk tier",
            Tier::Ram => "RAM tier",
        };
        let cache = match state {
            PageCache::Dropped => "page cache dropped",
            PageCache::Hot => "hot",
        };
        let case = format!("{what}, {tier}, {cache}");
        let (ours, native) = (&self.ours, self.native);
        self.rows.push(Row::measure(self.effort, &case, unit, DIRECTORY, |side| {
            let files = if side == Side::Ours { ours } else { native };
            match state {
                PageCache::Dropped => drop_page_cache(),
                // Also takes what one side left behind in the processor's caches out of the other's time.
                PageCache::Hot => drop(work(files)),
            }
            work(files)
        }));
    }
}
