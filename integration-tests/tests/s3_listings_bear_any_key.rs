//! Buckets have more keys than one answer holds, and keys that are no paths: neither breaks the listing of the others.

use std::time::Duration;

use forebay_integration_tests::{Cluster, Exchange, Fault, FaultProxy, READ_MODES, Radosgw, wait_until};

const WITHIN: Duration = Duration::from_secs(10);

/// A key, and where it is shown below the mount; `None` where it cannot be.
const KEYS: [(&str, Option<&str>); 18] = [
    ("odd/neighbour", Some("neighbour")),
    ("odd/a", None), // there is a directory of this name
    ("odd/a/b", Some("a/b")),
    ("odd/a//b", None),
    ("odd//b", None),
    ("odd/marked/", None), // only says that the directory exists
    ("odd/marked/c", Some("marked/c")),
    ("odd/s p/a c e", Some("s p/a c e")),
    ("odd/pl+us", Some("pl+us")),
    ("odd/per%cent", Some("per%cent")),
    ("odd/per%20cent", Some("per%20cent")),
    ("odd/q?a=b&c#d", Some("q?a=b&c#d")),
    ("odd/\u{e4}\u{f6}/\u{6587}\u{5b57}\u{1f600}", Some("\u{e4}\u{f6}/\u{6587}\u{5b57}\u{1f600}")),
    ("odd/<&>\"'", Some("<&>\"'")),
    ("odd/../up", None),
    ("odd/.", None),
    ("odd/..", None),
    ("odd/a-", Some("a-")),
];

#[test]
fn odd_keys_do_not_hide_their_neighbours() {
    let server = Radosgw::shared();
    let (bucket, mut client) = (server.bucket(), server.client());
    KEYS.iter().for_each(|(key, _)| client.put(&bucket, key, key.as_bytes()));
    let long = format!("odd/{}", "n".repeat(300));
    client.put(&bucket, &long, b"");
    client.put(&bucket, b"odd/no\xc3\xa9text\x01", b"");
    READ_MODES.into_iter().for_each(|mode| odd_keys_are_shown(&bucket, mode));
}

fn odd_keys_are_shown(bucket: &str, mode: &str) {
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    let endpoint = Radosgw::shared().endpoint();
    let mounted = cluster.mount_s3(&format!("s3://{bucket}/odd"), "/data", endpoint, &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", WITHIN, || root.exists());

    for (key, shown) in KEYS {
        let Some(shown) = shown else { continue };
        assert_eq!(std::fs::read(root.join(shown)).expect(key), key.as_bytes(), "{key}");
        let at = format!("/data/{shown}");
        assert_eq!(cluster.run_for_bytes(&["fs", "cat", &at]), key.as_bytes(), "fs cat {key}");
    }
    let listed = |path: &str| {
        let listing = cluster.json(&["fs", "ls", path]);
        let entries = listing["entries"].as_array().expect("entries").clone();
        let mut names: Vec<_> =
            entries.iter().map(|entry| entry["name"].as_str().expect("text").to_owned()).collect();
        names.sort();
        names
    };
    let mut first: Vec<_> = KEYS.iter().filter_map(|(_, shown)| shown.as_ref()?.split('/').next()).collect();
    // A control character is legal in a name, and a key may have it.
    first.push("no\u{e9}text\u{1}");
    first.sort_unstable();
    first.dedup();
    assert_eq!(listed("/data"), first);
    assert_eq!(listed("/data/a"), ["b"]);
    assert_eq!(listed("/data/marked"), ["c"]);
    assert_eq!(std::fs::read_dir(&root).expect("listed").count(), first.len());
    // `a//b`, `/b`, `../up`, `.`, `..`, the long one, and the file beside the directory `a`.
    assert!(cluster.metric("forebay_master_skipped_entries_total") >= 7, "what is not shown is counted");
}

/// A bucket with so many keys below `many/keys/`, written by several at once.
fn many_keys(count: usize) -> String {
    let server = Radosgw::shared();
    let bucket = server.bucket();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (bucket, mut client) = (&bucket, server.client());
            scope.spawn(move || {
                for number in (part..count).step_by(4) {
                    client.put(bucket, format!("many/keys/{number:05}"), b"x");
                }
            });
        }
    });
    bucket
}

#[test]
fn a_mount_shows_the_first_names_of_a_large_directory_while_the_rest_does_not_come() {
    const KEYS: usize = 1_200;
    const FIRST: usize = 500;
    let bucket = many_keys(KEYS);
    let proxy = FaultProxy::start(Radosgw::shared().endpoint());
    let cluster = Cluster::builder().fuse().start();
    let mounted = cluster.mount_s3(&format!("s3://{bucket}/many"), "/data", &proxy.endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let directory = cluster.fuse().join("data/keys");
    wait_until("the directory is seen", WITHIN, || directory.exists());
    proxy.fail("continuation-token", Fault::Silence, None);
    let is_further =
        |exchange: &Exchange| exchange.target.contains("continuation-token") && exchange.status != 0;
    let entries = std::fs::read_dir(&directory).expect("opened").take(FIRST);
    let first: Vec<_> =
        entries.map(|entry| entry.expect("one").file_name().into_string().expect("text")).collect();
    assert!(!proxy.exchanges().iter().any(is_further), "the listing had not ended");
    assert_eq!(first, (0..FIRST).map(|number| format!("{number:05}")).collect::<Vec<_>>());
    assert_eq!(std::fs::read(directory.join("00007")).expect("its place was passed"), b"x");
    proxy.heal();
    wait_until("all names are shown", Duration::from_secs(60), || {
        let names = std::fs::read_dir(&directory).map(|entries| entries.flatten().count());
        names.is_ok_and(|names| names == KEYS)
    });
}

#[test]
fn a_prefix_of_more_keys_than_one_answer_holds_is_listed_whole_and_without_what_is_beside_it() {
    const KEYS: usize = 2_500;
    let (server, bucket) = (Radosgw::shared(), many_keys(KEYS));
    server.client().put(&bucket, "many/keys-beside", b"x");
    server.client().put(&bucket, "manya", b"x");
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().start();
    let mounted = cluster.mount_s3(&format!("s3://{bucket}/many"), "/data", &proxy.endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", WITHIN, || root.exists());
    proxy.forget();

    let mut names: Vec<_> = std::fs::read_dir(root.join("keys"))
        .expect("listed")
        .map(|entry| entry.expect("one").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    assert!(names.iter().eq(&(0..KEYS).map(|number| format!("{number:05}")).collect::<Vec<_>>()));
    let pages = proxy.exchanges().iter().filter(|exchange| exchange.target.contains("keys%2F")).count();
    assert_eq!(pages, 3, "1,000 keys a page, each page once");
    assert_eq!(cluster.json(&["fs", "ls", "/data"])["entries"].as_array().expect("entries").len(), 2);
    assert_eq!(std::fs::read(root.join("keys/02499")).expect("the last"), b"x");
}
