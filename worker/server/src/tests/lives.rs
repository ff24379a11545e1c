//! Another life of the master's state, or another cluster: ids mean other things, and no wrong byte is served for it.

use std::time::Duration;

use forebay_proto::v1;
use forebay_types::{
    BlockCapability, CapabilityKey, ClusterId, ErrorKind, FileId, Incarnation, Rights, Timestamp,
    VersionDescriptor, WorkerId,
};

use super::fixture::{House, MIB, MOUNT, Started, content, eventually};

const NEW_KEY: [u8; 32] = [99; 32];

/// The master's state begins another life: other ids, other keys, the mount's number may mean another folder.
fn begin_life(house: &House, incarnation: u32, change: impl FnOnce(&mut Vec<v1::MountCredentials>)) {
    let mut script = house.master.script.lock();
    script.incarnation = incarnation;
    script.keys = vec![CapabilityKey::new(5, NEW_KEY)];
    change(&mut script.mounts);
    script.register_again = true;
}

/// The version of a name as a life of this number names it.
async fn version_in(house: &House, name: &str, incarnation: u32, counter: u64) -> VersionDescriptor {
    let file = FileId { incarnation: Incarnation::new(incarnation), counter };
    VersionDescriptor { file, ..house.version(name, counter).await }
}

fn new_capability(version: &VersionDescriptor) -> BlockCapability {
    CapabilityKey::new(5, NEW_KEY).sign(version, Rights::Read, Timestamp::from_nanos(i64::MAX))
}

/// Reads as clients do: again, while the worker says that it is about to know the mount or its keys.
async fn read(worker: &Started, version: &VersionDescriptor) -> Result<Vec<u8>, ErrorKind> {
    let capability = new_capability(version);
    let reading = async {
        loop {
            let (bytes, _, error) = worker.read_as(version, &capability, 0, u64::MAX, 0).await;
            match error.map(|error| error.kind) {
                None => return Ok(bytes),
                Some(ErrorKind::Unavailable) => tokio::task::yield_now().await,
                Some(kind) => return Err(kind),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("the worker gets to know")
}

async fn registrations(house: &House, count: usize) {
    eventually("it registers again", || house.master.script.lock().registrations.len() >= count).await;
}

fn under_store_bytes(worker: &Started) -> u64 {
    worker.metric("forebay_worker_under_store_read_bytes_total", None)
}

#[tokio::test]
async fn what_is_the_same_content_in_another_life_is_served_without_the_under_store() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("kept", &content(3 * MIB, 1));
    house.write("replaced", &content(2 * MIB, 2));
    for (name, counter) in [("kept", 1), ("replaced", 2)] {
        let version = house.version(name, counter).await;
        worker.read(&version, 0, u64::MAX).await.expect("served");
    }
    house.write("replaced", &content(2 * MIB, 3));
    assert_eq!(under_store_bytes(&worker), 5 * MIB);
    begin_life(&house, 7, |_| {});
    registrations(&house, 2).await;
    // The numbers are swapped, so that nothing fits but the identity.
    let kept = version_in(&house, "kept", 7, 2).await;
    assert_eq!(read(&worker, &kept).await.expect("served"), content(3 * MIB, 1));
    assert_eq!(under_store_bytes(&worker), 5 * MIB);
    assert_eq!(worker.metric("forebay_worker_adopted_versions_total", None), 1);
    let replaced = version_in(&house, "replaced", 7, 1).await;
    assert_eq!(read(&worker, &replaced).await.expect("served"), content(2 * MIB, 3));
    assert_eq!(under_store_bytes(&worker), 7 * MIB, "counted on, although the mount is a new one");
    eventually("what was adopted is reported under its new id", || {
        house.master.reported(kept.file.into()).is_some_and(|report| report.complete)
    })
    .await;
    worker.stop().await;

    let worker = house.start().await;
    assert_eq!(read(&worker, &kept).await.expect("served"), content(3 * MIB, 1));
    assert_eq!(
        worker.metric("forebay_worker_adopted_versions_total", None),
        1,
        "found again after a restart"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_mount_number_that_means_another_folder_serves_nothing_of_the_old_one() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 1));
    let old = house.version("f", 1).await;
    worker.read(&old, 0, MIB).await.expect("served");
    let other = tempfile::tempdir().expect("a folder");
    std::fs::write(other.path().join("f"), content(MIB, 9)).expect("written");
    begin_life(&house, 7, |mounts| mounts[0].uri = format!("file://{}", other.path().display()));
    registrations(&house, 2).await;

    let mut new = House::version_at(other.path(), "f", 1).await;
    // Also if the id were the same.
    for incarnation in [7, 1] {
        new.file.incarnation = Incarnation::new(incarnation);
        assert_eq!(read(&worker, &new).await.expect("served"), content(MIB, 9));
    }
    let error = worker.read(&old, 0, MIB).await.expect_err("the keys of the old life are void");
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert_eq!(house.master.script.lock().latest.mounts[0].mount, MOUNT);
    worker.stop().await;
}

#[tokio::test]
async fn until_the_mounts_of_a_new_life_are_told_nothing_is_read_through_the_old_ones() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 1));
    let version = version_in(&house, "f", 7, 1).await;
    // A revision of 0 is never sent.
    house.master.script.lock().mounts_revision = 0;
    begin_life(&house, 7, |_| {});
    registrations(&house, 2).await;
    house.master.next_beat().await;
    let capability = new_capability(&version);
    let (bytes, _, error) = worker.read_as(&version, &capability, 0, u64::MAX, 0).await;
    assert_eq!((bytes, error.map(|error| error.kind)), (Vec::new(), Some(ErrorKind::Unavailable)));
    house.master.script.lock().mounts_revision = 2;
    assert_eq!(read(&worker, &version).await.expect("served"), content(MIB, 1));
    worker.stop().await;
}

#[tokio::test]
async fn whoever_comes_with_a_capability_of_the_new_life_first_is_not_refused() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 1));
    let version = version_in(&house, "f", 7, 1).await;
    house.master.next_beat().await;
    // The worker does not know yet when the read comes.
    begin_life(&house, 7, |_| {});
    assert_eq!(read(&worker, &version).await.expect("served"), content(MIB, 1));
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_follows_its_master_to_another_cluster_with_what_it_holds() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(3 * MIB, 5));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, u64::MAX).await.expect("served");
    let files = house.cache_files().len();
    house.master.script.lock().cluster = ClusterId::new([9; 16]);
    begin_life(&house, 8, |_| {});
    registrations(&house, 2).await;
    let moved = version_in(&house, "f", 8, 2).await;
    assert_eq!(read(&worker, &moved).await.expect("served"), content(3 * MIB, 5));
    assert_eq!(worker.metric("forebay_worker_adopted_versions_total", None), 1);
    house.master.next_beat().await;
    assert_eq!(house.master.script.lock().latest.worker, 12, "it has an id of the new cluster");
    worker.stop().await;

    let worker = house.start().await;
    assert_eq!(worker.worker.ready().await.expect("serves"), WorkerId::new(12));
    let last = house.master.script.lock().registrations.last().cloned().expect("registered");
    assert_eq!((last.worker, &last.cluster_id[..]), (12, &[9; 16][..]));
    assert_eq!(read(&worker, &moved).await.expect("served"), content(3 * MIB, 5));
    assert_eq!(house.cache_files().len(), files, "nothing was deleted or fetched again");
    worker.stop().await;
}

#[tokio::test]
async fn a_stopped_worker_comes_back_to_another_cluster() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 5));
    worker.read(&house.version("f", 1).await, 0, u64::MAX).await.expect("served");
    worker.stop().await;
    house.master.script.lock().cluster = ClusterId::new([9; 16]);
    begin_life(&house, 8, |_| {});
    let worker = house.start().await;
    let moved = version_in(&house, "f", 8, 2).await;
    assert_eq!(read(&worker, &moved).await.expect("served"), content(MIB, 5));
    assert_eq!(under_store_bytes(&worker), 0);
    worker.stop().await;
}
