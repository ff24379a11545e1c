//! Lends over the local socket: the files of what is here in part, as a reader that verifies sees them.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use forebay_local::{LEVEL, LocalError, NotHeldReason, Reply, Request};
use forebay_runtime::Shutdown;
use forebay_types::{
    ErrorKind, GRANULE_LENGTH, PAGE_LENGTH, PageRecord, RECORD_LENGTH, RecordSeed, Rights, Timestamp,
    VersionDescriptor, crc32c,
};

use super::fixture::{House, MIB, Started, capability, content, eventually};
use super::holding::Peer;
use super::master::key;
use crate::core::WorkerCore;
use crate::limits::DISK_CALLS_MAX;
use crate::settings::WorkerSettings;

/// What came with a lend.
struct Lent {
    lend: u64,
    data: File,
    index: File,
    records: u64,
    seed: RecordSeed,
}

impl Lent {
    fn of((reply, descriptors): (Reply, Vec<OwnedFd>)) -> Self {
        let Reply::Lent { lend, records, seed, .. } = reply else { panic!("lent, not {reply:?}") };
        let [data, index] = <[OwnedFd; 2]>::try_from(descriptors).expect("two").map(File::from);
        Self { lend, data, index, records, seed: RecordSeed::from_number(seed) }
    }

    fn record(&self, page: u32, granules: usize) -> PageRecord {
        let mut bytes = [0; RECORD_LENGTH];
        let at = self.records + u64::from(page) * RECORD_LENGTH as u64;
        let had = self.index.read_at(&mut bytes, at).expect("readable");
        PageRecord::decode(&bytes[..had], self.seed, page, granules)
    }
}

async fn lend(peer: &Peer, request: u64, version: &VersionDescriptor) -> (Reply, Vec<OwnedFd>) {
    let (version, capability) = (version.clone(), capability(version));
    peer.send(&Request::Lend { request, version, capability }).await;
    peer.receive().await.expect("answered")
}

/// Asks for whatever is there.
async fn open(peer: &Peer, request: u64, version: &VersionDescriptor) -> (Reply, Vec<OwnedFd>) {
    let (version, capability) = (version.clone(), capability(version));
    peer.send(&Request::Open { request, version, capability }).await;
    peer.receive().await.expect("answered")
}

/// A lend of a version that the worker was told to forget, and that it wants back.
async fn lent_of_what_left(house: &House, worker: &Started) -> (Peer, Lent) {
    house.write("f", &content(3 * MIB, 2));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, MIB).await.expect("served");
    let peer = Peer::greeted(house).await;
    let lent = Lent::of(lend(&peer, 1, &version).await);
    house.master.script.lock().tell_to_forget(vec![version.file.into()]);
    let (wanted, _) = peer.receive().await.expect("told");
    assert_eq!(wanted, Reply::WantedBack { holds: vec![lent.lend] });
    (peer, lent)
}

#[tokio::test]
async fn a_lend_shows_which_pages_are_here_and_what_their_checksums_are() {
    let house = House::new().await;
    let worker = house.start().await;
    let bytes = content(3 * MIB + 1, 1);
    house.write("f", &bytes);
    let version = house.version("f", 1).await;
    let peer = Peer::greeted(&house).await;
    let (nothing, none) = lend(&peer, 1, &version).await;
    assert_eq!(nothing, Reply::NotHeld { request: 1, reason: NotHeldReason::Incomplete });
    assert!(none.is_empty());

    worker.read(&version, MIB, MIB).await.expect("served");
    let lent = Lent::of(lend(&peer, 2, &version).await);
    assert_eq!(lent.data.metadata().expect("a file").len(), version.length().get());
    assert_eq!([lent.record(0, 16), lent.record(2, 16), lent.record(3, 1)], [PageRecord::Absent; 3]);
    let PageRecord::Present(checksums) = lent.record(1, 16) else { panic!("here") };
    let [page_length, granule] =
        [PAGE_LENGTH, GRANULE_LENGTH].map(|length| usize::try_from(length).expect("small"));
    let mut page = vec![0; page_length];
    lent.data.read_exact_at(&mut page, PAGE_LENGTH).expect("readable");
    let computed: Vec<u32> = page.chunks(granule).map(crc32c::crc32c).collect();
    assert_eq!(computed, checksums);
    assert!(page == bytes[page_length..2 * page_length]);
    assert!(lent.data.write_at(b"x", 0).is_err() && lent.index.write_at(b"x", 0).is_err(), "only to read");

    worker.read(&version, 0, u64::MAX).await.expect("a lent version is filled on");
    assert!(matches!(lent.record(3, 1), PageRecord::Present(_)), "what comes later is seen");
    assert_eq!(worker.metric("forebay_worker_hold_requests_total", Some("lent")), 1);
    worker.stop().await;
}

#[tokio::test]
async fn one_message_gives_a_hold_or_else_a_lend_or_says_that_nothing_is_here() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(3 * MIB, 2));
    let version = house.version("f", 1).await;
    let peer = Peer::greeted(&house).await;
    let (nothing, none) = open(&peer, 1, &version).await;
    assert_eq!(nothing, Reply::NotHeld { request: 1, reason: NotHeldReason::Incomplete });
    assert!(none.is_empty());
    worker.read(&version, 0, MIB).await.expect("served");
    let lent = Lent::of(open(&peer, 2, &version).await);
    assert!(matches!(lent.record(0, 16), PageRecord::Present(_)));
    worker.read(&version, 0, u64::MAX).await.expect("served");
    let (held, descriptors) = open(&peer, 3, &version).await;
    assert!(matches!(held, Reply::HeldAt { request: 3, .. }), "{held:?}");
    assert_eq!(descriptors.len(), 1);
    worker.stop().await;
}

/// Keeps a disk call of the worker until what comes back is dropped.
fn take_turn(core: &Arc<WorkerCore>) -> Sender<()> {
    let (end, ended) = channel();
    let core = Arc::clone(core);
    tokio::spawn(async move { core.disk.run(move || ended.recv().is_err()).await });
    end
}

#[tokio::test]
async fn whoever_opens_what_takes_long_to_verify_gets_a_lend_meanwhile() {
    let house = House::new().await;
    let shutdown = Shutdown::new();
    let settings = WorkerSettings { hold_patience: Duration::ZERO, ..house.settings(&shutdown) };
    let worker = Started::with(settings, shutdown).await.expect("starts");
    worker.worker.ready().await.expect("serves");
    house.write("f", &content(3 * MIB, 2));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, u64::MAX).await.expect("served");
    let peer = Peer::greeted(&house).await;
    // Verification waits for its turn at the disk, as long as somebody else has all of them.
    let core = Arc::clone(worker.worker.blocks.core.get().expect("open"));
    let turns: Vec<_> = (0..DISK_CALLS_MAX).map(|_| take_turn(&core)).collect();
    eventually("no turn is left", || core.disk.free_calls() == 0).await;
    let ask = |version: VersionDescriptor| (capability(&version), version);
    let (capability, of) = ask(version.clone());
    peer.send(&Request::Open { request: 1, version: of, capability }).await;
    house.write("other", b"not here");
    let (capability, of) = ask(house.version("other", 2).await);
    peer.send(&Request::Hold { request: 2, version: of, capability }).await;
    let (second, _) = peer.receive().await.expect("answered");
    assert!(matches!(second, Reply::NotHeld { request: 2, .. }), "the first was looked at: {second:?}");
    drop(turns);
    let lent = Lent::of(peer.receive().await.expect("answered"));
    assert!((0..3).all(|page| matches!(lent.record(page, 16), PageRecord::Present(_))));
    worker.stop().await;
}

#[tokio::test]
async fn a_lend_of_a_version_that_left_is_wanted_back_and_takes_its_room_until_then() {
    let house = House::new().await;
    let worker = house.start().await;
    let (peer, lent) = lent_of_what_left(&house, &worker).await;
    let used = || worker.metric("forebay_worker_tier_used_bytes", None);
    assert!(used() >= MIB, "the files are open");
    peer.send(&Request::Release { hold: lent.lend }).await;
    eventually("the room is given back", || used() == 0).await;
    worker.stop().await;
}

#[tokio::test]
async fn who_does_not_give_a_lend_back_is_cut_off() {
    let house = House::new().await;
    let worker = house.start().await;
    let (peer, _lent) = lent_of_what_left(&house, &worker).await;
    // Nothing happens until it is overdue.
    tokio::time::pause();
    assert!(matches!(peer.receive().await, Err(LocalError::Closed)));
    tokio::time::resume();
    let used = || worker.metric("forebay_worker_tier_used_bytes", None);
    eventually("the room is given back", || used() == 0).await;
    worker.stop().await;
}

#[tokio::test]
async fn nobody_is_lent_what_it_has_no_right_to_read() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(3 * MIB, 2));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, MIB).await.expect("served");
    let peer = Peer::greeted_at(&house, LEVEL).await;
    let expired = key().sign(&version, Rights::Read, Timestamp::from_nanos(1));
    peer.send(&Request::Lend { request: 1, version: version.clone(), capability: expired }).await;
    let (reply, descriptors) = peer.receive().await.expect("answered");
    assert!(
        matches!(reply, Reply::Refused { request: 1, kind: ErrorKind::Unauthenticated, .. }),
        "{reply:?}"
    );
    assert!(descriptors.is_empty());
    worker.stop().await;
}
