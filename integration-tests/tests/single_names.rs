//! A directory that takes longer to list than its freshness: whoever asks for a name waits for that name alone, and is told
//! what the under-store has.

use std::fs;
use std::time::Duration;

use forebay_integration_tests::{Cluster, FaultProxy, Radosgw, wait_until};

/// What each page of a listing takes, while questions about a name are answered at once.
const LISTING: Duration = Duration::from_secs(2);
const FRESHNESS: &str = "1s";
/// Which requests are pages of listings: a question whether a directory is there asks for one key.
const PAGE: &str = "max-keys=1000";
const LONG: Duration = Duration::from_secs(60);

fn pages(proxy: &FaultProxy) -> usize {
    proxy.exchanges().iter().filter(|exchange| exchange.target.contains(PAGE)).count()
}

#[test]
fn known_new_replaced_and_removed_names_of_a_directory_that_is_slow_to_list_are_told_without_listing_it() {
    let server = Radosgw::shared();
    let (bucket, mut client) = (server.bucket(), server.client());
    for key in ["dear/gone", "dear/kept", "dear/kind/below", "dear/replaced"] {
        client.put(&bucket, key, b"content");
    }
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().start();
    let uri = format!("s3://{bucket}");
    let mounted = cluster.mount_s3(&uri, "/data", &proxy.endpoint(), &["--freshness", FRESHNESS]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    proxy.delay_those(PAGE, LISTING);
    let dear = cluster.fuse().join("data/dear");
    let listed = || fs::read_dir(&dear).map_or(0, Iterator::count);
    wait_until("the directory is listed", LONG, || listed() == 4);
    assert!(dear.join("gone").exists() && dear.join("kind").is_dir());

    // A listing for whoever looked last may still be under way.
    wait_until("all listings are answered", LONG, || {
        proxy.exchanges().iter().all(|exchange| exchange.status != 0)
    });
    proxy.forget();
    client.put(&bucket, "dear/new", b"content");
    client.put(&bucket, "dear/replaced", b"longer content");
    client.delete(&bucket, "dear/gone");
    client.delete(&bucket, "dear/kind/below");
    client.put(&bucket, "dear/kind", b"content");
    wait_until("the new name is there", LONG, || dear.join("new").exists());
    wait_until("the removed name is not", LONG, || !dear.join("gone").exists());
    wait_until("the file has its new content", LONG, || {
        fs::read(dear.join("replaced")).is_ok_and(|content| content == b"longer content")
    });
    wait_until("the directory is a file", LONG, || dear.join("kind").is_file());
    assert_eq!(fs::read(dear.join("kept")).expect("there"), b"content");
    assert!(!dear.join("never").exists());
    for (of, code) in [("new", 0), ("kept", 0), ("gone", 1), ("never", 1)] {
        let looked = cluster.run(&["fs", "stat", &format!("/data/dear/{of}")]);
        assert_eq!(looked.code, code, "{of}: {}", looked.stderr);
    }
    assert_eq!(pages(&proxy), 0, "{:?}", proxy.exchanges());
    assert!(cluster.metric("forebay_master_single_names_total") > 0);

    // A listing shows the same.
    let names = |entries: fs::ReadDir| {
        let names = entries.map(|entry| entry.expect("listed").file_name().into_string().expect("text"));
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(fs::read_dir(&dear).expect("listed")), ["kept", "kind", "new", "replaced"]);
}

#[test]
fn with_a_freshness_of_zero_a_lookup_in_a_directory_of_many_names_lists_none_of_them() {
    const FILES: usize = 50;
    let server = Radosgw::shared();
    let (bucket, mut client) = (server.bucket(), server.client());
    (0..FILES).for_each(|number| client.put(&bucket, format!("many/{number:03}"), b"content"));
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().start();
    let uri = format!("s3://{bucket}");
    let mounted = cluster.mount_s3(&uri, "/data", &proxy.endpoint(), &["--freshness", "0s"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let many = cluster.fuse().join("data/many");
    wait_until("the mount is seen", Duration::from_secs(10), || many.is_dir());
    assert_eq!(fs::read_dir(&many).expect("listed").count(), FILES);
    proxy.forget();
    for number in 0..FILES {
        assert_eq!(fs::read(many.join(format!("{number:03}"))).expect("there"), b"content");
    }
    client.put(&bucket, "many/new", b"content");
    client.delete(&bucket, "many/000");
    assert!(
        many.join("new").exists() && !many.join("000").exists(),
        "made and removed before it was asked for"
    );
    assert_eq!(pages(&proxy), 0, "{:?}", proxy.exchanges());
}
