//! Reads by RPC: right bytes from wherever they come, each page fetched once, nothing without a right to it.

use std::fs;

use forebay_proto::v1;
use forebay_types::{CapabilityKey, ErrorKind, Rights, Timestamp};
use futures::future::join_all;

use super::fixture::{House, MIB, MOUNT, capability, content, eventually};
use super::master::key;

#[tokio::test]
async fn a_cold_read_equals_the_source_and_the_second_asks_the_under_store_nothing() {
    let house = House::new().await;
    let worker = house.start().await;
    let lengths = [1, 4095, MIB - 1, MIB, MIB + 1, 3 * MIB + 7, 40 * MIB + 12_345];
    for (counter, length) in (1..).zip(lengths) {
        let (name, bytes) = (format!("f{length}"), content(length, 1));
        house.write(&name, &bytes);
        let version = house.version(&name, counter).await;
        assert!(worker.read(&version, 0, u64::MAX).await.expect("served") == bytes, "cold, {length} bytes");
        let asked = worker.requests();
        assert!(worker.read(&version, 0, length).await.expect("served") == bytes, "warm, {length} bytes");
        assert_eq!(worker.requests(), asked, "{length} bytes");
        let status = worker
            .client
            .clone()
            .get_presence(v1::GetPresenceRequest {
                header: None,
                version: Some((&version).into()),
                capability: Some((&capability(&version)).into()),
            })
            .await
            .expect("answered")
            .into_inner();
        assert_eq!((status.cached_bytes, status.complete), (length, true));
    }
    worker.stop().await;
}

#[tokio::test]
async fn any_range_is_served_and_ends_with_the_file() {
    let house = House::new().await;
    let worker = house.start().await;
    let bytes = content(2 * MIB + 100, 2);
    house.write("f", &bytes);
    let version = house.version("f", 1).await;
    let length = bytes.len() as u64;
    for (offset, count) in [
        (MIB - 3, 7),
        (5, 0),
        (0, 1),
        (65_535, 65_538),
        (MIB + 1, MIB),
        (length - 1, 1),
        (length - 1, 500),
        (length, 10),
        (length + MIB, 10),
        (u64::MAX, u64::MAX),
    ] {
        let begin = usize::try_from(offset.min(length)).expect("short");
        let end = usize::try_from(offset.saturating_add(count).min(length)).expect("short");
        let expected = bytes.get(begin..end).unwrap_or_default();
        assert!(
            worker.read(&version, offset, count).await.expect("served") == expected,
            "{count} at {offset}"
        );
    }
    worker.stop().await;
}

#[tokio::test]
async fn an_empty_file_has_no_bytes_and_asks_nothing() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("empty", b"");
    let version = house.version("empty", 1).await;
    assert_eq!(worker.read(&version, 0, 100).await.expect("served"), b"");
    assert_eq!(worker.requests(), 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_readers_of_one_cold_page_fetch_it_once() {
    let house = House::new().await;
    let worker = house.start().await;
    let bytes = content(MIB, 3);
    house.write("f", &bytes);
    let version = house.version("f", 1).await;
    let reads = join_all((0..16).map(|_| worker.read(&version, 0, MIB))).await;
    assert!(reads.into_iter().all(|read| read.expect("served") == bytes));
    assert_eq!(worker.requests(), 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_that_begin_anywhere_in_a_cold_file_fetch_each_byte_once() {
    let house = House::new().await;
    let worker = house.start().await;
    let bytes = content(30 * MIB + 5, 4);
    house.write("f", &bytes);
    let version = house.version("f", 1).await;
    let offsets: Vec<u64> = (0..12).map(|n| n * 5 * MIB / 2 + n).collect();
    let reads = join_all(offsets.iter().map(|offset| worker.read(&version, *offset, u64::MAX))).await;
    for (read, offset) in reads.into_iter().zip(offsets) {
        assert!(read.expect("served") == bytes[usize::try_from(offset).expect("short")..], "from {offset}");
    }
    assert_eq!(worker.metric("forebay_worker_under_store_read_bytes_total", None), bytes.len() as u64);
    worker.stop().await;
}

#[tokio::test]
async fn a_long_cold_range_is_fetched_by_few_large_requests() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(64 * MIB, 5));
    let version = house.version("f", 1).await;
    worker.read(&version, 0, 64 * MIB).await.expect("served");
    assert_eq!(worker.requests(), 8);
    worker.stop().await;
}

#[tokio::test]
async fn a_forged_or_expired_capability_reads_nothing() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(100, 6));
    let (version, other) = (house.version("f", 1).await, house.version("f", 2).await);
    let sound = capability(&version);
    let unlisted = CapabilityKey::new(key().id + 1, [7; 32]).sign(&version, Rights::Read, sound.expires_at);
    let guessed = CapabilityKey::new(key().id, [8; 32]).sign(&version, Rights::Read, sound.expires_at);
    let expired = key().sign(&version, Rights::Read, Timestamp::from_nanos(1));
    for (name, wrong) in [
        ("of another version", capability(&other)),
        ("unlisted", unlisted),
        ("guessed", guessed),
        ("expired", expired),
    ] {
        let (bytes, _, error) = worker.read_as(&version, &wrong, 0, 100, 0).await;
        let kind = error.expect(name).kind;
        assert_eq!((bytes.len(), kind), (0, ErrorKind::Unauthenticated), "{name}");
    }
    assert_eq!(worker.requests(), 0);
    assert!(worker.read_as(&version, &sound, 0, 100, 0).await.2.is_none());
    worker.stop().await;
}

#[tokio::test]
async fn a_file_replaced_under_us_is_stale_and_its_bytes_are_never_mixed_in() {
    let house = House::new().await;
    let worker = house.start().await;
    let old = content(20 * MIB, 7);
    house.write("f", &old);
    let version = house.version("f", 1).await;
    worker.read(&version, 0, MIB).await.expect("served");
    house.write("f", &content(20 * MIB, 8));

    let (bytes, _, error) = worker.read_as(&version, &capability(&version), 0, 20 * MIB, 0).await;
    assert_eq!(error.expect("replaced").kind, ErrorKind::Stale);
    assert!(bytes == old[..usize::try_from(MIB).expect("short")], "only what was cached of the old version");
    assert!(worker.metric("forebay_worker_fetches_total", Some("changed")) > 0);

    let new = house.version("f", 2).await;
    assert!(worker.read(&new, 0, u64::MAX).await.expect("served") == content(20 * MIB, 8));
    assert!(worker.read(&version, 10, 20).await.expect("still cached") == old[10..30]);
    worker.stop().await;
}

#[tokio::test]
async fn what_is_cached_is_served_when_the_under_store_is_gone() {
    let house = House::new().await;
    let worker = house.start().await;
    let bytes = content(2 * MIB, 9);
    house.write("f", &bytes);
    let version = house.version("f", 1).await;
    worker.read(&version, 0, MIB).await.expect("served");
    fs::remove_dir_all(house.source.path()).expect("removed");
    assert!(
        worker.read(&version, 0, MIB).await.expect("cached") == bytes[..usize::try_from(MIB).expect("short")]
    );
    assert!(worker.read(&version, MIB, MIB).await.is_err());
    worker.stop().await;
}

#[tokio::test]
async fn of_a_version_larger_than_the_cache_a_part_is_kept_and_the_rest_is_served_past_it() {
    let mut house = House::new().await;
    house.capacity = 4 * MIB;
    let worker = house.start().await;
    let bytes = content(23 * MIB + 9, 10);
    house.write("f", &bytes);
    let version = house.version("f", 1).await;
    for _ in 0..2 {
        assert!(worker.read(&version, 0, u64::MAX).await.expect("served") == bytes);
        assert!(worker.read(&version, 12_345, 10).await.expect("served") == bytes[12_345..12_355]);
    }
    let uncached = worker.metric("forebay_worker_read_bytes_total", Some("uncached"));
    // Which pages find room, and which are still on their way to somebody, depends on who comes first.
    assert!(uncached >= bytes.len() as u64, "{uncached}");
    assert!(worker.metric("forebay_worker_read_bytes_total", Some("cache")) >= 2 * MIB);
    let used = worker.metric("forebay_worker_tier_used_bytes", None);
    assert!((2 * MIB..=house.capacity).contains(&used), "{used}");
    worker.stop().await;
}

#[tokio::test]
async fn a_cache_smaller_than_what_is_read_evicts_and_goes_on() {
    let mut house = House::new().await;
    house.capacity = 8 * MIB;
    let worker = house.start().await;
    for round in 0..2 {
        for counter in 1..=6 {
            let (name, bytes) =
                (format!("f{counter}"), content(3 * MIB, u8::try_from(counter).expect("small")));
            if round == 0 {
                house.write(&name, &bytes);
            }
            let version = house.version(&name, counter).await;
            assert!(worker.read(&version, 0, u64::MAX).await.expect("served") == bytes);
        }
    }
    assert!(worker.metric("forebay_worker_evictions_total", None) > 0);
    assert!(worker.metric("forebay_worker_tier_used_bytes", None) <= 8 * MIB);
    worker.stop().await;
}

#[tokio::test]
async fn a_byte_that_rots_in_a_cache_file_is_found_and_fetched_again() {
    let house = House::new().await;
    let bytes = content(2 * MIB, 11);
    house.write("f", &bytes);
    let version = house.version("f", 1).await;
    let worker = house.start().await;
    worker.read(&version, 0, u64::MAX).await.expect("served");
    worker.stop().await;

    let is_data = |path: &&std::path::PathBuf| fs::metadata(path).expect("there").len() == 2 * MIB;
    let data = house.cache_files().into_iter().find(|path| is_data(&path)).expect("the cached file");
    let mut rotten = fs::read(&data).expect("readable");
    assert!(rotten == bytes);
    rotten[1_500_000] ^= 1;
    fs::write(&data, rotten).expect("written");

    let worker = house.start().await;
    assert!(worker.read(&version, 0, u64::MAX).await.expect("served") == bytes);
    assert_eq!(worker.metric("forebay_worker_corrupt_pages_total", None), 1);
    assert_eq!(
        worker.metric("forebay_worker_under_store_read_bytes_total", None),
        MIB,
        "one page was fetched"
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_page_is_a_hit_when_it_was_there_before_the_handle_was_opened() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(2 * MIB, 12));
    let version = house.version("f", 1).await;
    let counts = || {
        let of = |name| worker.metric(name, Some(&MOUNT.to_string()));
        (of("forebay_worker_mount_hit_bytes_total"), of("forebay_worker_mount_miss_bytes_total"))
    };
    let right = capability(&version);
    let (_, opened_at, _) = worker.read_as(&version, &right, 0, MIB, 0).await;
    assert_eq!(counts(), (0, MIB));
    worker.read_as(&version, &right, 0, MIB, opened_at).await;
    assert_eq!(counts(), (0, 2 * MIB), "the same handle made it come");
    worker.read(&version, 0, MIB).await.expect("served");
    assert_eq!(counts(), (MIB, 2 * MIB), "a later handle finds it");
    let remote = worker.metric("forebay_worker_read_bytes_total", None);
    assert_eq!(remote, 3 * MIB);
    worker.stop().await;
}

#[tokio::test]
async fn the_port_shows_the_pages_for_machines_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let house = House::new().await;
    let worker = house.start().await;
    assert!(worker.readiness.unmet().is_empty());
    for (page, expected) in
        [("/readyz", "ready"), ("/healthz", "ok"), ("/metrics", "forebay_worker_tier_capacity_bytes")]
    {
        let mut stream = tokio::net::TcpStream::connect(worker.worker.address()).await.expect("served");
        let request = format!("GET {page} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{answer}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_fetch_goes_on_when_its_reader_has_gone() {
    let house = House::new().await;
    let worker = house.start().await;
    let bytes = content(8 * MIB, 13);
    house.write("f", &bytes);
    let version = house.version("f", 1).await;
    let request = v1::ReadRequest {
        header: None,
        version: Some((&version).into()),
        capability: Some((&capability(&version)).into()),
        offset: 0,
        length: 8 * MIB,
        opened_at_fill: 0,
    };
    let mut stream = worker.client.clone().read(request).await.expect("served").into_inner();
    stream.message().await.expect("served").expect("a piece");
    drop(stream);
    eventually("all of it is cached", || worker.metric("forebay_worker_fill_bytes_total", None) == 8 * MIB)
        .await;
    assert!(worker.read(&version, 0, 8 * MIB).await.expect("served") == bytes);
    assert_eq!(worker.requests(), 1);
    worker.stop().await;
}
