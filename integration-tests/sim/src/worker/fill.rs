//! Storing a page as worker/block-store/src/store/fill.rs does: reserve, write the data, write its record, publish.

use std::rc::Rc;
use std::time::Duration;

use forebay_block_store::{
    Committed, Demand, GenerationKey, IndexAction, PageIndex, Reason, Reservation, Slot, VersionSource,
    Wanted,
};
use forebay_types::{Timestamp, VersionDescriptor};

use super::disk::{HEADER_LENGTH, RECORDS, wait};
use super::{Disk, Worker};
use crate::store::PageBytes;
use crate::world::World;

/// Pause before a reservation that has to wait is tried again.
const PAUSE: Duration = Duration::from_millis(5);
/// Attempts at one reservation.
const ATTEMPTS_MAX: u32 = 2000;

/// Stores a page, if there is room for it and nobody else does.
pub(super) async fn store(
    world: &Rc<World>,
    worker: &Rc<Worker>,
    version: &VersionDescriptor,
    (page, bytes): (u32, PageBytes),
    demand: Demand,
) {
    let source = VersionSource { descriptor: version, mount_uri: "s3://simulated" };
    let wanted = Wanted {
        file: version.file,
        identity: source.digest(),
        length: version.length(),
        header_length: HEADER_LENGTH,
        demand,
    };
    let Some(slot) = reserve(world, worker, &wanted, page).await else { return };
    let (key, disk) = (slot.location.key, &world.disks[usize::from(worker.number)]);
    if !open_files(world, worker, &wanted, slot).await {
        // Somebody let the version go since the place was reserved.
        let mut actions = worker.index.borrow_mut().abort(key, slot.page);
        actions.extend(worker.index.borrow_mut().detach_generation(key, Reason::Vanished));
        return perform(world, worker, actions).await;
    }
    wait(world).await;
    disk.write(key, (slot.page, bytes), world.now());
    wait(world).await;
    disk.set_record(key, slot.page, true);
    wait(world).await;
    let changed = Timestamp::from_nanos(i64::try_from(world.now().as_nanos()).expect("a short run"));
    let committed = worker.index.borrow_mut().commit(key, slot.page, changed);
    if let Committed::Superseded(actions) = committed {
        perform(world, worker, actions).await;
    }
}

/// Makes the files of a new version, or looks for those of an older one.
async fn open_files(world: &Rc<World>, worker: &Worker, wanted: &Wanted, slot: Slot) -> bool {
    let (key, disk): (GenerationKey, &Disk) = (slot.location.key, &world.disks[usize::from(worker.number)]);
    wait(world).await;
    if slot.records.is_some() {
        return disk.has_files(key);
    }
    disk.create(key, (wanted.identity, slot.length, wanted.length), world.now());
    worker.index.borrow_mut().created(key, RECORDS);
    true
}

/// The right to write a page; `None` where it is here or there is no room.
async fn reserve(world: &Rc<World>, worker: &Rc<Worker>, wanted: &Wanted, page: u32) -> Option<Slot> {
    for _ in 0..ATTEMPTS_MAX {
        let answer = worker.index.borrow_mut().reserve(wanted, PageIndex::new(page));
        match answer {
            Reservation::Granted(slot) => return Some(slot),
            Reservation::First(actions) => perform(world, worker, actions).await,
            Reservation::Wait | Reservation::InProgress => world.sleep(PAUSE).await,
            Reservation::Present
            | Reservation::NoSpace
            | Reservation::Declined
            | Reservation::TooLarge(_)
            | Reservation::NoSuchPage => return None,
        }
    }
    None
}

/// Does what the index says, and tells it.
pub(super) async fn perform(world: &Rc<World>, worker: &Rc<Worker>, actions: Vec<IndexAction>) {
    let mut open = actions;
    while let Some(action) = open.pop() {
        wait(world).await;
        let disk = &world.disks[usize::from(worker.number)];
        match action {
            IndexAction::Remove(location, reason) => {
                world.note(format_args!("worker {} removes {} ({reason:?})", worker.number, location.key));
                disk.remove(location.key);
                worker.index.borrow_mut().removed(location.key);
            }
            IndexAction::ClearRecord(location, page, _) => {
                disk.set_record(location.key, page, false);
                open.extend(worker.index.borrow_mut().abort(location.key, page));
            }
        }
    }
}
