//! Loads: what is missing comes once and is seen in its place; what finds no room or does not come is an error.

use std::fs;

use forebay_block_store::Eviction;
use forebay_proto::{WireError, v1};
use forebay_runtime::Shutdown;
use forebay_types::{ErrorKind, VersionDescriptor};

use super::fixture::{House, MIB, Started, capability, content, load_request};

/// Each message of a load, and the error that ended it.
async fn load(
    worker: &Started,
    version: &VersionDescriptor,
    offset: u64,
    length: u64,
) -> (Vec<v1::LoadProgress>, Option<WireError>) {
    let request = v1::LoadRequest { offset, length, ..load_request(version) };
    let mut messages = Vec::new();
    let mut stream = match worker.client.clone().load(request).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (messages, Some(status.into())),
    };
    loop {
        match stream.message().await {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, None),
            Err(status) => return (messages, Some(status.into())),
        }
    }
}

/// The last message of a load that must succeed.
async fn loaded(worker: &Started, version: &VersionDescriptor, offset: u64, length: u64) -> v1::LoadProgress {
    let (messages, error) = load(worker, version, offset, length).await;
    assert_eq!(error, None);
    assert!(messages.iter().rev().skip(1).all(|message| !message.complete));
    assert!(messages.is_sorted_by_key(|message| message.cached_bytes));
    let last = *messages.last().expect("an outcome");
    assert!(last.complete);
    last
}

async fn is_complete(worker: &Started, version: &VersionDescriptor) -> bool {
    let request = v1::GetPresenceRequest {
        header: None,
        version: Some(version.into()),
        capability: Some((&capability(version)).into()),
    };
    worker.client.clone().get_presence(request).await.expect("answered").into_inner().complete
}

#[tokio::test]
async fn what_is_missing_is_brought_once_and_then_served_without_the_under_store() {
    let house = House::new().await;
    let bytes = content(19 * MIB + 5, 1);
    house.write("f", &bytes);
    let (version, worker) = (house.version("f", 1).await, house.start().await);
    let first = loaded(&worker, &version, 0, u64::MAX).await;
    let length = bytes.len() as u64;
    assert_eq!((first.cached_bytes, first.under_store_bytes, first.missing_bytes), (length, length, length));
    assert!(is_complete(&worker, &version).await);
    let second = loaded(&worker, &version, 0, length).await;
    assert_eq!((second.cached_bytes, second.under_store_bytes, second.missing_bytes), (length, 0, 0));
    fs::remove_file(house.source.path().join("f")).expect("removed");
    assert!(worker.read(&version, 0, length).await.expect("cached") == bytes);
    worker.stop().await;
}

#[tokio::test]
async fn a_part_of_a_file_and_holes_are_filled_by_whole_pages() {
    let house = House::new().await;
    house.write("f", &content(12 * MIB, 2));
    let (version, worker) = (house.version("f", 1).await, house.start().await);
    let part = loaded(&worker, &version, 5 * MIB + 1, MIB).await;
    assert_eq!(part.under_store_bytes, 2 * MIB, "the range touches two pages");
    let rest = loaded(&worker, &version, 0, 12 * MIB).await;
    assert_eq!((rest.cached_bytes, rest.missing_bytes), (12 * MIB, 10 * MIB));
    let beyond = loaded(&worker, &version, 20 * MIB, MIB).await;
    assert_eq!(beyond.cached_bytes, 0);
    worker.stop().await;
}

#[tokio::test]
async fn an_empty_file_is_loaded() {
    let house = House::new().await;
    house.write("f", b"");
    let (version, worker) = (house.version("f", 1).await, house.start().await);
    loaded(&worker, &version, 0, 0).await;
    assert!(is_complete(&worker, &version).await);
    worker.stop().await;
}

#[tokio::test]
async fn a_file_that_finds_no_room_is_an_error_and_no_silent_pass() {
    let mut house = House::new().await;
    house.capacity = 8 * MIB;
    house.write("f", &content(20 * MIB, 3));
    let (version, worker) = (house.version("f", 1).await, house.start().await);
    let (messages, error) = load(&worker, &version, 0, 20 * MIB).await;
    assert_eq!(error.expect("no room").kind, ErrorKind::NoSpace);
    assert!(messages.iter().all(|message| !message.complete));
    assert_eq!(worker.metric("forebay_worker_load_errors_total", Some("NO_SPACE")), 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_file_that_was_replaced_or_is_gone_is_stale() {
    let house = House::new().await;
    house.write("f", &content(MIB, 4));
    house.write("g", &content(MIB, 5));
    let (replaced, gone) = (house.version("f", 1).await, house.version("g", 2).await);
    house.write("f", &content(MIB + 1, 6));
    fs::remove_file(house.source.path().join("g")).expect("removed");
    let worker = house.start().await;
    for version in [replaced, gone] {
        let error = load(&worker, &version, 0, u64::MAX).await.1.expect("another version");
        assert!(matches!(error.kind, ErrorKind::Stale | ErrorKind::NotFound), "{error:?}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_load_without_the_right_to_read_is_refused() {
    let house = House::new().await;
    house.write("f", &content(MIB, 7));
    let (version, worker) = (house.version("f", 1).await, house.start().await);
    let other = VersionDescriptor { mount: forebay_types::MountId::new(9), ..version.clone() };
    let capability = Some((&capability(&other)).into());
    let request = v1::LoadRequest { capability, ..load_request(&version) };
    let refused = worker.client.clone().load(request).await.expect_err("forged");
    assert_eq!(WireError::from(refused).kind, ErrorKind::Unauthenticated);
    worker.stop().await;
}

#[tokio::test]
async fn loads_and_reads_of_one_file_at_once_fetch_each_page_once() {
    let house = House::new().await;
    let bytes = content(30 * MIB, 8);
    house.write("f", &bytes);
    let (version, worker) = (house.version("f", 1).await, house.start().await);
    let length = bytes.len() as u64;
    let (one, two, read) = tokio::join!(
        loaded(&worker, &version, 0, length),
        loaded(&worker, &version, 0, length),
        worker.read(&version, 0, length),
    );
    assert!(read.expect("served") == bytes);
    assert!(one.under_store_bytes + two.under_store_bytes <= length);
    assert_eq!(worker.metric("forebay_worker_under_store_read_bytes_total", None), length);
    worker.stop().await;
}

#[tokio::test]
async fn under_epoch_reads_pass_by_a_full_cache_and_a_load_is_stored() {
    let mut house = House::new().await;
    house.capacity = 8 * MIB;
    let shutdown = Shutdown::new();
    let mut settings = house.settings(&shutdown);
    settings.eviction = Eviction::Epoch;
    let worker = Started::with(settings, shutdown).await.expect("starts");
    worker.worker.ready().await.expect("serves");
    let mut versions = Vec::new();
    for counter in 1..=4_u8 {
        let name = format!("f{counter}");
        house.write(&name, &content(3 * MIB, counter));
        versions.push(house.version(&name, counter.into()).await);
    }
    for _ in 0..2 {
        for (counter, version) in (1..).zip(&versions) {
            let read = worker.read(version, 0, u64::MAX).await.expect("served");
            assert!(read == content(3 * MIB, counter));
        }
    }
    let read_from = |source| worker.metric("forebay_worker_read_bytes_total", Some(source));
    assert_eq!(read_from("uncached"), 4 * 3 * MIB);
    // A first read may find its last pages stored already, by the fetch ahead of it.
    assert!(read_from("cache") >= 2 * 3 * MIB);
    assert_eq!(worker.metric("forebay_worker_evictions_total", None), 0);
    assert!(worker.metric("forebay_worker_declined_fills_total", None) > 0);
    loaded(&worker, &versions[3], 0, u64::MAX).await;
    assert!(is_complete(&worker, &versions[3]).await);
    assert_eq!(worker.metric("forebay_worker_evictions_total", None), 1);
    worker.stop().await;
}
