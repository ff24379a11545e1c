//! What a mount does not want cached is read past the cache, right and shared, and what is cached stays.

use forebay_proto::v1;
use forebay_types::{Admission, AdmissionRule, ErrorKind, VersionDescriptor};
use futures::StreamExt;
use futures::future::join_all;

use super::fixture::{House, MIB, Started, content, eventually, load_request};

/// Tells the worker what to cache, and waits until it knows.
async fn set(house: &House, rule: &str, include: &[&str], exclude: &[&str]) {
    let rule: AdmissionRule = rule.parse().expect("a rule");
    let admission = Admission::new(rule, include.iter().copied(), exclude.iter().copied()).expect("legal");
    {
        let mut script = house.master.script.lock();
        script.mounts[0].admission = Some((&admission).into());
        script.mounts_revision += 1;
    }
    let knows = || {
        let script = house.master.script.lock();
        script.latest.mounts_revision == script.mounts_revision
    };
    eventually("the worker knows", knows).await;
}

async fn version(house: &House, name: &str, counter: u64, length: u64) -> (VersionDescriptor, Vec<u8>) {
    let bytes = content(length, u8::try_from(counter).expect("small"));
    house.write(name, &bytes);
    (house.version(name, counter).await, bytes)
}

/// Reads all of a version twice; whether the second read asks for it again.
async fn is_cached(worker: &Started, (version, bytes): &(VersionDescriptor, Vec<u8>)) -> bool {
    assert!(worker.read(version, 0, u64::MAX).await.expect("served") == *bytes);
    let before = worker.requests();
    assert!(worker.read(version, 0, u64::MAX).await.expect("served") == *bytes);
    worker.requests() == before
}

/// How a load ends: with nothing missing, or an error.
async fn load(worker: &Started, version: &VersionDescriptor, guess: bool) -> Result<(), ErrorKind> {
    let request = v1::LoadRequest { guess, ..load_request(version) };
    let mut messages = worker.client.clone().load(request).await.expect("begun").into_inner();
    while let Some(message) = messages.next().await {
        match message {
            Ok(progress) if progress.complete => return Ok(()),
            Ok(_) => {}
            Err(status) => return Err(forebay_proto::WireError::from(status).kind),
        }
    }
    panic!("no end without a word")
}

#[tokio::test]
async fn none_stores_nothing_and_what_was_there_before_is_served_on() {
    let house = House::new().await;
    let worker = house.start().await;
    let (old, new) =
        (version(&house, "old", 1, 3 * MIB + 1).await, version(&house, "new", 2, 5 * MIB + 1).await);
    worker.read(&old.0, 0, 2 * MIB).await.expect("served");
    set(&house, "none", &[], &[]).await;
    assert!(!is_cached(&worker, &new).await);
    let stored = worker.metric("forebay_worker_fill_bytes_total", None);
    assert!(!is_cached(&worker, &old).await, "a part of it is not there");
    assert_eq!(worker.metric("forebay_worker_fill_bytes_total", None), stored);
    let asked = worker.requests();
    worker.read(&old.0, 0, 2 * MIB).await.expect("served");
    assert_eq!(worker.requests(), asked, "that part is");
    let uncached = worker.metric("forebay_worker_read_bytes_total", Some("not_admitted"));
    assert_eq!(uncached, 2 * (5 * MIB + 1) + 2 * (MIB + 1));
    set(&house, "all", &[], &[]).await;
    assert!(is_cached(&worker, &new).await && is_cached(&worker, &old).await);
    worker.stop().await;
}

#[tokio::test]
async fn length_and_path_say_what_is_stored() {
    let house = House::new().await;
    let worker = house.start().await;
    let (small, large, odd) = (
        version(&house, "small", 1, MIB).await,
        version(&house, "large", 2, MIB + 1).await,
        version(&house, "small.tmp", 3, 10).await,
    );
    set(&house, "small:1MiB", &["small*"], &["*.tmp"]).await;
    for (file, expected) in [(&small, true), (&large, false), (&odd, false)] {
        assert_eq!(is_cached(&worker, file).await, expected, "{:?}", file.0.key);
    }
    worker.stop().await;
}

#[tokio::test]
async fn random_stores_what_is_read_at_random() {
    let house = House::new().await;
    let worker = house.start().await;
    let file = version(&house, "f", 1, 20 * MIB).await;
    set(&house, "random", &[], &[]).await;
    assert!(!is_cached(&worker, &file).await);
    let at = 5 * MIB + 77;
    for is_there in [false, true] {
        let before = worker.requests();
        let read = worker.read(&file.0, at, 1000).await.expect("served");
        let begin = usize::try_from(at).expect("short");
        assert!(read == file.1[begin..begin + 1000]);
        assert_eq!(worker.requests() == before, is_there);
    }
    // What goes on from there is read in order.
    let before = worker.metric("forebay_worker_fill_bytes_total", None);
    for part in 1..3000 {
        worker.read(&file.0, at + part * 1000, 1000).await.expect("served");
    }
    assert_eq!(worker.metric("forebay_worker_fill_bytes_total", None), before);
    worker.stop().await;
}

#[tokio::test]
async fn a_guess_brings_only_what_a_read_in_order_would_store() {
    let house = House::new().await;
    let worker = house.start().await;
    let file = version(&house, "f", 1, MIB).await;
    for rule in ["none", "small:10", "random"] {
        set(&house, rule, &[], &[]).await;
        assert_eq!(load(&worker, &file.0, true).await, Err(ErrorKind::InvalidArgument), "{rule}");
    }
    assert_eq!(worker.requests(), 0);
    // The master has left out what is not to be loaded, by what it knows.
    assert_eq!(load(&worker, &file.0, false).await, Ok(()));
    set(&house, "all", &[], &[]).await;
    assert_eq!(load(&worker, &version(&house, "g", 2, MIB).await.0, true).await, Ok(()));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_of_what_is_not_stored_share_what_they_ask_for() {
    let house = House::new().await;
    let worker = house.start().await;
    let file = version(&house, "f", 1, 20 * MIB).await;
    set(&house, "none", &[], &[]).await;
    for read in join_all((0..8).map(|_| worker.read(&file.0, 0, u64::MAX))).await {
        assert!(read.expect("served") == file.1);
    }
    let asked = worker.metric("forebay_worker_under_store_read_bytes_total", None);
    assert!((20 * MIB..8 * 20 * MIB).contains(&asked), "{asked}: some of them at least were there together");
    worker.stop().await;
}
