//! What lies in memory and what on a disk, as a worker that runs keeps it.

use forebay_block_store::FreeFloor;
use forebay_runtime::Shutdown;
use forebay_types::{ByteCount, VersionDescriptor};

use super::fixture::{House, MIB, Started, content, eventually};
use crate::{TierKind, TierSettings};

const LENGTH: u64 = MIB + 70_000;
const FILES: u8 = 24;
const DEMOTIONS: &str = "forebay_worker_demotions_total";

/// A worker with 12 MiB of memory and a disk.
async fn start(house: &House, tier_moves: bool) -> Started {
    let shutdown = Shutdown::new();
    let mut settings = house.settings(&shutdown);
    settings.tier_moves = tier_moves;
    let directory = house.folder.path().join("memory");
    let mut memory = TierSettings::new("memory", directory, TierKind::Ram, ByteCount::new(12 * MIB));
    memory.free_floor = FreeFloor::NOTHING;
    settings.tiers.insert(0, memory);
    let started = Started::with(settings, shutdown).await.expect("starts");
    started.worker.ready().await.expect("serves");
    started
}

async fn read_all(started: &Started, versions: &[VersionDescriptor]) {
    for (version, seed) in versions.iter().zip(0..) {
        assert!(started.read(version, 0, LENGTH).await.expect("read") == content(LENGTH, seed));
    }
}

#[tokio::test]
async fn memory_that_fills_up_is_relieved_and_nothing_is_fetched_twice() {
    let house = House::new().await;
    let mut versions = Vec::new();
    for seed in 0..FILES {
        house.write(&format!("f{seed}"), &content(LENGTH, seed));
        versions.push(house.version(&format!("f{seed}"), seed.into()).await);
    }
    let started = start(&house, true).await;
    read_all(&started, &versions).await;
    eventually("memory is relieved", || started.metric(DEMOTIONS, None) > 0).await;
    let fetched = started.requests();
    read_all(&started, &versions).await;
    let moved = started.metric("forebay_worker_demoted_bytes_total", None);
    assert_eq!((started.requests(), moved % LENGTH), (fetched, 0));
    assert_eq!(started.metric("forebay_worker_evictions_total", None), 0);
    started.stop().await;

    let started = start(&house, false).await;
    read_all(&started, &versions).await;
    let moves = ["forebay_worker_demotions_total", "forebay_worker_promotions_total"];
    assert_eq!((moves.map(|name| started.metric(name, None)), started.requests()), ([0, 0], 0));
    started.stop().await;
}
