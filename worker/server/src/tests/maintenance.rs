//! A mount in maintenance: what is cached is read, and the under-store is not asked for the rest.

use forebay_proto::v1;
use forebay_types::ErrorKind;

use super::fixture::{House, MIB, Started, content, eventually, load_request};

/// Tells the worker of a mode, and waits until it knows.
async fn set_mode(house: &House, mode: v1::MountMode) {
    {
        let mut script = house.master.script.lock();
        script.mounts[0].mode = mode.into();
        script.mounts_revision += 1;
    }
    let knows = || {
        let script = house.master.script.lock();
        script.latest.mounts_revision == script.mounts_revision
    };
    eventually("the worker knows the mode", knows).await;
}

async fn load_error(
    worker: &Started,
    version: &forebay_types::VersionDescriptor,
) -> forebay_proto::WireError {
    let mut messages = worker.client.clone().load(load_request(version)).await.expect("begun").into_inner();
    loop {
        if let Err(status) = messages.message().await.map(|message| message.expect("no end without a word")) {
            return status.into();
        }
    }
}

#[tokio::test]
async fn in_maintenance_what_is_cached_is_read_and_the_rest_is_refused_at_once_without_a_request() {
    let house = House::new().await;
    let worker = house.start().await;
    house.write("f", &content(3 * MIB, 1));
    house.write("g", &content(MIB, 2));
    let (part, uncached) = (house.version("f", 1).await, house.version("g", 2).await);
    worker.read(&part, 0, MIB).await.expect("served");
    set_mode(&house, v1::MountMode::NoAccess).await;
    let asked = worker.requests();

    assert!(worker.read(&part, 0, MIB).await.expect("cached") == content(MIB, 1));
    for (version, offset) in [(&part, MIB), (&uncached, 0)] {
        let error = worker.read(version, offset, MIB).await.expect_err("not cached");
        assert_eq!(error.kind, ErrorKind::Maintenance, "{error}");
        assert!(error.message.contains("--mode normal"), "{error}");
    }
    let error = load_error(&worker, &uncached).await;
    assert_eq!(error.kind, ErrorKind::Maintenance, "{error}");
    assert_eq!(worker.requests(), asked, "nobody asked the under-store");
    assert!(worker.metric("forebay_worker_fetches_total", Some("refused")) >= 3);

    set_mode(&house, v1::MountMode::Normal).await;
    assert!(worker.read(&uncached, 0, MIB).await.expect("served") == content(MIB, 2));
    assert!(worker.read(&part, 0, u64::MAX).await.expect("served") == content(3 * MIB, 1));
    worker.stop().await;
}
