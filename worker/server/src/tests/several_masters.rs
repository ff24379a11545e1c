//! A worker of several masters: all hear what it has, the one that leads directs it, and none waits for another.

use std::time::Duration;

use forebay_proto::v1;
use forebay_types::{CapabilityKey, ErrorKind};

use super::fixture::{House, MIB, content, eventually};
use super::master::TestMaster;

/// A house whose master leads, and another master that follows it.
async fn two_masters() -> (House, TestMaster) {
    let house = House::new().await;
    let mounts = house.master.script.lock().mounts.clone();
    let other = TestMaster::start(mounts).await;
    other.script.lock().follows = true;
    tell_of_each_other(&house, &other);
    (house, other)
}

fn tell_of_each_other(house: &House, other: &TestMaster) {
    house.master.script.lock().others = Some(vec![other.address.to_string()]);
    other.script.lock().others = Some(vec![house.master.address.to_string()]);
}

fn has_all(master: &TestMaster, file: v1::FileId) -> bool {
    master.reported(file).is_some_and(|report| report.complete)
}

#[tokio::test]
async fn a_master_that_follows_hears_what_is_cached_and_directs_nothing() {
    let (house, other) = two_masters().await;
    other.script.lock().keys = vec![CapabilityKey::new(5, [1; 32])];
    let worker = house.start().await;
    house.write("f", &content(MIB, 1));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, u64::MAX).await.expect("served");
    eventually("both hear of it", || {
        has_all(&house.master, version.file.into()) && has_all(&other, version.file.into())
    })
    .await;
    other.next_beat().await;
    worker.read(&version, 0, MIB).await.expect("the keys are those of the leader");
    let latest = other.script.lock().latest.clone();
    assert!(
        latest.to_any_master && latest.tiers[0].used_bytes >= MIB && latest.mounts[0].cached_bytes == MIB
    );
    let registrations = other.script.lock().registrations.clone();
    assert_eq!((registrations.len(), registrations[0].worker), (1, 11));
    worker.stop().await;
}

#[tokio::test]
async fn a_new_leader_directs_with_its_next_answer_and_is_told_nothing_twice() {
    let (house, other) = two_masters().await;
    let worker = house.start().await;
    house.write("f", &content(MIB, 1));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, u64::MAX).await.expect("served");
    eventually("the follower hears of it", || has_all(&other, version.file.into())).await;
    house.master.script.lock().follows = true;
    {
        let mut script = other.script.lock();
        script.reports.clear();
        (script.follows, script.keys) = (false, vec![CapabilityKey::new(6, [1; 32])]);
    }
    other.next_beat().await;
    other.next_beat().await;
    let error = worker.read(&version, 0, MIB).await.expect_err("the key is no longer listed");
    assert_eq!(error.kind, ErrorKind::Unauthenticated);
    assert_eq!(other.script.lock().registrations.len(), 1);
    assert_eq!(house.master.script.lock().registrations.len(), 1);
    assert!(other.script.lock().reports.is_empty(), "it knew");
    worker.stop().await;
}

#[tokio::test]
async fn lists_of_two_masters_with_the_same_number_are_both_taken() {
    let (house, other) = two_masters().await;
    let worker = house.start().await;
    let gone = |master: &TestMaster, file: v1::FileId| {
        master.reported(file).is_some_and(|report| report.cached_bytes == 0)
    };
    for (name, counter, master) in [("one", 1, &house.master), ("two", 2, &other)] {
        house.write(name, &content(MIB, 1));
        let version = house.version(name, counter).await;
        worker.read(&version, 0, u64::MAX).await.expect("served");
        eventually("both hear of it", || {
            has_all(&house.master, version.file.into()) && has_all(&other, version.file.into())
        })
        .await;
        for of in [&house.master, &other] {
            of.script.lock().follows = of.address != master.address;
        }
        master.script.lock().tell_to_forget(vec![version.file.into()]);
        eventually("both hear that it went", || {
            gone(&house.master, version.file.into()) && gone(&other, version.file.into())
        })
        .await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_master_that_has_stopped_holds_up_no_other_and_hears_all_when_it_goes_on() {
    let (house, other) = two_masters().await;
    let worker = house.start().await;
    other.next_beat().await;
    other.script.lock().is_stopped = true;
    house.write("f", &content(MIB, 1));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, u64::MAX).await.expect("served");
    // The stopped one has far more time for an answer.
    let hears = async {
        eventually("the leader hears of it", || has_all(&house.master, version.file.into())).await;
        for _ in 0..20 {
            house.master.next_beat().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(4), hears).await.expect("nothing waits for the stopped one");
    other.script.lock().is_stopped = false;
    eventually("it is told, too", || has_all(&other, version.file.into())).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_master_of_another_life_is_not_followed_beside_the_one_that_leads() {
    let (house, other) = two_masters().await;
    let worker = house.start().await;
    {
        let mut script = other.script.lock();
        (script.follows, script.incarnation) = (false, 7);
        script.keys = vec![CapabilityKey::new(5, [1; 32])];
    }
    other.script.lock().register_again = true;
    eventually("it registers there", || other.script.lock().registrations.len() >= 2).await;
    for _ in 0..5 {
        house.master.next_beat().await;
    }
    house.write("f", &content(MIB, 1));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, MIB).await.expect("the keys are those of the one that is followed");
    worker.stop().await;
}

#[tokio::test]
async fn masters_that_are_not_of_the_cluster_any_more_are_not_reported_to() {
    let (house, other) = two_masters().await;
    let worker = house.start().await;
    other.next_beat().await;
    house.master.script.lock().others = Some(Vec::new());
    house.master.next_beat().await;
    house.master.next_beat().await;
    other.script.lock().latest = v1::HeartbeatRequest::default();
    for _ in 0..5 {
        house.master.next_beat().await;
    }
    assert_eq!(other.script.lock().latest.worker, 0, "nothing came since");
    worker.stop().await;
}
