//! Measures how long a store with many small versions takes to open: the time in which a restarted worker is not ready.
//!
//! `restart fill DIR COUNT LENGTH` stores COUNT versions of LENGTH bytes through the store and ends cleanly; `restart add
//! DIR FIRST COUNT LENGTH` stores more of them, from the number FIRST on, and ends as a process that is killed, without a
//! word of them in the catalogues. `restart open DIR` opens the store again, and `restart open-cold DIR` does so after the
//! kernel was made to forget what it knows of the disk (as root). `restart note DIR` opens it and ends cleanly.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay_block_store::limits::SEGMENT_LENGTH_DEFAULT;
use forebay_block_store::{
    BlockStore, Eviction, FreeFloor, PageIndex, StoreError, StoreSettings, TierKind, TierSettings,
    VersionSource,
};
use forebay_types::{
    BLOCK_LENGTH_DEFAULT, ByteCount, ClusterId, FileId, Fingerprint, Incarnation, MountId, Timestamp,
    UnderStoreKey, VersionDescriptor,
};

const USAGE: &str = "usage: restart fill DIR COUNT LENGTH | restart add DIR FIRST COUNT LENGTH | restart open DIR | \
    restart open-cold DIR | restart note DIR";
const THREADS: u64 = 4;
/// More than catalogues take.
const PATIENCE: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["fill", directory, count, length] => match (count.parse(), length.parse()) {
            (Ok(count), Ok(length)) => fill(directory, 1, count, length).map(|store| note(&store)),
            _ => return wrong_usage(),
        },
        ["add", directory, first, count, length] => match (first.parse(), count.parse(), length.parse()) {
            (Ok(first), Ok(count), Ok(length)) => fill(directory, first, count, length).map(drop),
            _ => return wrong_usage(),
        },
        ["open", directory] => open(directory).map(drop),
        ["note", directory] => open(directory).map(|store| note(&store)),
        ["open-cold", directory] => {
            if let Err(error) = forget_disk() {
                eprintln!("error: the kernel's caches cannot be dropped: {error}");
                return ExitCode::FAILURE;
            }
            open(directory).map(drop)
        }
        _ => return wrong_usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wrong_usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn settings(directory: &str) -> StoreSettings {
    let capacity = ByteCount::new(1 << 40);
    let mut tier = TierSettings::new("disk", directory, TierKind::Disk, capacity);
    tier.free_floor = FreeFloor::NOTHING;
    StoreSettings {
        cluster: ClusterId::new([7; 16]),
        tiers: vec![tier],
        eviction: Eviction::default(),
        segment_length: SEGMENT_LENGTH_DEFAULT,
        format: false,
    }
}

fn fill(directory: &str, first: u64, count: u64, length: u64) -> Result<BlockStore, StoreError> {
    let (store, _) = BlockStore::open(settings(directory))?;
    let (next, begin) = (AtomicU64::new(first), Instant::now());
    let bytes = vec![7; usize::try_from(length).unwrap_or(usize::MAX)];
    std::thread::scope(|scope| {
        let work = || -> Result<(), StoreError> {
            loop {
                let counter = next.fetch_add(1, Ordering::Relaxed);
                if counter >= first + count {
                    return Ok(());
                }
                let descriptor = descriptor(counter, length);
                let source =
                    VersionSource { descriptor: &descriptor, mount_uri: "s3://bucket/training/images" };
                store.put_page(&source, PageIndex::new(0), &bytes)?;
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    println!("stored {count} versions of {length} bytes in {:.2} s", begin.elapsed().as_secs_f64());
    Ok(store)
}

fn descriptor(counter: u64, length: u64) -> VersionDescriptor {
    let key = format!("class{:04}/image{counter:012}.jpeg", counter % 1000);
    VersionDescriptor {
        file: FileId { incarnation: Incarnation::new(1_700_000_000), counter },
        mount: MountId::new(1),
        key: UnderStoreKey::new(key.into_bytes()).expect("a short key"),
        fingerprint: Fingerprint {
            tag: Some(format!("{counter:032x}")),
            version_id: None,
            length: ByteCount::new(length),
            modified: Timestamp::from_nanos(1_700_000_000_000_000_000),
            local: None,
        },
        block_length: ByteCount::new(BLOCK_LENGTH_DEFAULT),
    }
}

fn open(directory: &str) -> Result<BlockStore, StoreError> {
    let begin = Instant::now();
    let (store, report) = BlockStore::open(settings(directory))?;
    let (versions, catalogued) = (report.versions, report.catalogued_versions);
    println!(
        "opened {versions} versions, {catalogued} by catalogues, in {:.2} s",
        begin.elapsed().as_secs_f64()
    );
    Ok(store)
}

fn note(store: &BlockStore) {
    let begin = Instant::now();
    store.write_catalogues(begin + PATIENCE);
    println!("wrote the catalogues in {:.2} s", begin.elapsed().as_secs_f64());
}

fn forget_disk() -> std::io::Result<()> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3")
}
