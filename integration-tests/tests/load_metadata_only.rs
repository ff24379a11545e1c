//! Loads of metadata: afterwards whoever looks waits for no under-store, no byte of a file was read, and what could not be
//! listed is named. And a load of data begins with what a listing has shown, not at its end.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use forebay_integration_tests::{Cluster, Exchange, Fault, FaultProxy, Output, Radosgw, wait_until};
use serde_json::{Value, json};

/// Directories `p00`, `p01`, ... of a tree, each with a directory of its own.
const PARTS: usize = 20;
/// Those, theirs, and the root.
const DIRECTORIES: usize = 2 * PARTS + 1;
const FILES: usize = 3 * PARTS;
const LONG: Duration = Duration::from_secs(120);

struct Scene {
    cluster: Cluster,
    proxy: FaultProxy,
}

fn start() -> Scene {
    let server = Radosgw::shared();
    let (bucket, mut client) = (server.bucket(), server.client());
    for part in 0..PARTS {
        for key in ["a", "b", "deep/c"] {
            client.put(&bucket, format!("tree/p{part:02}/{key}"), b"content");
        }
    }
    mounted(&format!("s3://{bucket}/tree"), &[])
}

/// A bucket behind a proxy, mounted at `/data`; fresh for so long that nothing is listed again meanwhile.
fn mounted(uri: &str, arguments: &[&str]) -> Scene {
    let proxy = FaultProxy::start(Radosgw::shared().endpoint());
    let builder = arguments.iter().fold(Cluster::builder().fuse(), |builder, more| builder.argument(more));
    let cluster = builder.start();
    let mounted = cluster.mount_s3(uri, "/data", &proxy.endpoint(), &["--freshness", "1h"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    wait_until("the mount is seen", Duration::from_secs(10), || cluster.fuse().join("data").exists());
    proxy.forget();
    Scene { cluster, proxy }
}

fn document(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn load(cluster: &Cluster, arguments: &[&str]) -> (Value, i32) {
    let output = cluster.run(&[&["load", "--metadata-only", "--output", "json"], arguments].concat());
    (document(&output), output.code)
}

fn figures(document: &Value) -> [u64; 7] {
    let keys = [
        "directories_done",
        "files_total",
        "files_done",
        "files_failed",
        "bytes_total",
        "bytes_done",
        "under_store_bytes",
    ];
    keys.map(|key| document[key].as_u64().unwrap_or_else(|| panic!("{key} in {document}")))
}

/// The files below a folder, each asked for its attributes.
fn walk(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("one").path());
    entries.map(|path| if std::fs::metadata(&path).expect("there").is_dir() { walk(&path) } else { 1 }).sum()
}

/// The directories that were listed, each page counted.
fn listed(exchanges: &[Exchange]) -> Vec<&str> {
    exchanges
        .iter()
        .map(|exchange| exchange.target.as_str())
        .filter(|target| target.contains("list-type"))
        .collect()
}

#[test]
fn after_a_load_of_metadata_a_walk_through_the_tree_sends_no_request_and_no_object_was_read() {
    let Scene { cluster, proxy } = start();
    let (loaded, code) = load(&cluster, &["/data"]);
    assert_eq!((code, &loaded["state"], &loaded["metadata_only"]), (0, &json!("SUCCEEDED"), &json!(true)));
    assert_eq!(figures(&loaded), [DIRECTORIES as u64, FILES as u64, FILES as u64, 0, 0, 0, 0]);
    assert_eq!(loaded["failures"], json!([]));
    let exchanges = proxy.exchanges();
    assert_eq!((proxy.object_gets(), listed(&exchanges).len()), (0, exchanges.len()), "{exchanges:?}");
    let once: BTreeSet<_> = listed(&exchanges).into_iter().collect();
    // The root may have been listed before, when the mount was looked at.
    assert!(
        once.len() == exchanges.len() && (DIRECTORIES - 1..=DIRECTORIES).contains(&once.len()),
        "{once:?}"
    );

    proxy.forget();
    assert_eq!(walk(&cluster.fuse().join("data")), FILES);
    assert!(!cluster.fuse().join("data/p00/missing").exists());
    for path in ["/data/p19/deep/c", "/data/p07"] {
        assert_eq!(cluster.run(&["fs", "stat", path]).code, 0);
    }
    assert_eq!(load(&cluster, &["/data", "/data/p01/a"]).1, 0, "all of it is fresh");
    assert!(proxy.exchanges().is_empty(), "{:?}", proxy.exchanges());
    let text = cluster.run(&["load", "--metadata-only", "/data/p03"]);
    assert!(text.stdout.contains("2 directories listed, 3 files known"), "{text:?}");
}

#[test]
fn a_directory_that_cannot_be_listed_is_named_and_the_next_load_lists_just_that() {
    let Scene { cluster, proxy } = start();
    proxy.fail("p03%2F", Fault::Status(403), None);
    let (failed, code) = load(&cluster, &["/data"]);
    assert_eq!((code, &failed["state"]), (1, &json!("FAILED")), "{failed}");
    let [directories, _, done, failures, ..] = figures(&failed);
    assert_eq!((directories, done, failures), (DIRECTORIES as u64 - 2, FILES as u64 - 3, 1));
    assert_eq!(failed["failures"].as_array().expect("a list").len(), 1);
    assert_eq!(failed["failures"][0]["path"], "/data/p03");
    assert!(failed["failures"][0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{failed}");
    let status = cluster.run(&["job", "status"]);
    assert!(status.code == 1 && status.stderr.contains("could not be listed"), "{status:?}");

    proxy.heal();
    proxy.forget();
    let (loaded, code) = load(&cluster, &["/data"]);
    assert_eq!((code, figures(&loaded)[0]), (0, DIRECTORIES as u64));
    let exchanges = proxy.exchanges();
    let again = listed(&exchanges);
    assert!(again.len() == 2 && again.iter().all(|target| target.contains("p03%2F")), "{again:?}");
}

#[test]
fn a_load_of_metadata_goes_on_after_the_master_was_killed_in_its_midst() {
    let Scene { mut cluster, proxy } = start();
    // It cannot end before this one is answered for.
    proxy.fail("p19%2F", Fault::Silence, None);
    let begun = cluster.json(&["load", "--metadata-only", "/data", "--detach"]);
    let id = begun["id"].to_string();
    let status = |cluster: &Cluster| document(&cluster.run(&["job", "status", &id, "--output", "json"]));
    wait_until("something is listed", LONG, || status(&cluster)["directories_done"].as_u64() > Some(0));
    assert_eq!(status(&cluster)["state"], "RUNNING");
    cluster.process().kill();
    cluster.start();
    let after = status(&cluster);
    assert!(after["state"] == "RUNNING" || after["state"] == "PENDING", "{after}");
    assert_eq!(after["metadata_only"], true);
    proxy.heal();
    let watched = cluster.run(&["job", "watch", &id, "--output", "json"]);
    assert_eq!(watched.code, 0, "{watched:?}");
    assert_eq!(figures(&document(&watched))[..3], [DIRECTORIES as u64, FILES as u64, FILES as u64]);
    assert_eq!(proxy.object_gets(), 0);
}

#[test]
fn of_a_manifest_the_directories_that_its_files_lie_in_are_listed() {
    let Scene { cluster, proxy } = start();
    let manifest = cluster.dir().join("manifest");
    std::fs::write(&manifest, "# the sampler's order\n/data/p05/a\n/data/p05/b\n/data/p06/deep/c\n")
        .expect("written");
    let (loaded, code) = load(&cluster, &["--manifest", manifest.to_str().expect("UTF-8")]);
    assert_eq!((code, figures(&loaded)[..4].to_vec()), (0, vec![0, 3, 3, 0]), "{loaded}");
    assert_eq!(proxy.object_gets(), 0);
    proxy.forget();
    assert!(cluster.fuse().join("data/p05/b").exists() && !cluster.fuse().join("data/p05/z").exists());
    assert!(proxy.exchanges().is_empty(), "{:?}", proxy.exchanges());
}

#[test]
fn a_load_of_metadata_is_cancelled_and_what_was_listed_stays_known() {
    let Scene { cluster, proxy } = start();
    proxy.fail("p19%2F", Fault::Silence, None);
    let id = cluster.json(&["load", "--metadata-only", "/data", "--detach"])["id"].to_string();
    let done = || cluster.json(&["job", "status", &id])["directories_done"].as_u64();
    wait_until("something is listed", LONG, || done() > Some(1));
    let cancelled = cluster.json(&["job", "cancel", &id]);
    assert_eq!((&cancelled["state"], &cancelled["metadata_only"]), (&json!("CANCELLED"), &json!(true)));
    assert!(cancelled["directories_done"].as_u64() > Some(1), "{cancelled}");
    assert_eq!(cluster.run(&["job", "watch", &id]).code, 1);
    proxy.heal();
}

#[test]
fn a_load_of_data_begins_with_the_first_page_of_a_directory_whose_second_does_not_come() {
    const KEYS: usize = 1_200;
    let server = Radosgw::shared();
    let bucket = server.bucket();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (bucket, mut client) = (&bucket, server.client());
            scope.spawn(move || {
                for number in (part..KEYS).step_by(4) {
                    client.put(bucket, format!("many/{number:05}"), b"x");
                }
            });
        }
    });
    let Scene { cluster, proxy } = mounted(&format!("s3://{bucket}"), &[]);
    proxy.fail("continuation-token", Fault::Silence, None);
    let id = cluster.json(&["load", "/data/many", "--detach"])["id"].to_string();
    wait_until("files are loaded", LONG, || proxy.object_gets() > 0);
    let is_further = |exchange: &&Exchange| exchange.target.contains("continuation-token");
    let answered = |exchanges: &[Exchange]| exchanges.iter().filter(is_further).any(|page| page.status != 0);
    assert!(!answered(&proxy.exchanges()), "the listing had not ended");
    proxy.heal();
    let watched = cluster.run(&["job", "watch", &id, "--output", "json"]);
    let ended = document(&watched);
    assert_eq!((watched.code, &ended["state"], &ended["files_done"]), (0, &json!("SUCCEEDED"), &json!(KEYS)));
    assert_eq!((&ended["metadata_only"], ended.get("directories_done")), (&json!(false), None));
}

#[test]
fn what_a_load_of_metadata_asks_is_capped_and_it_succeeds_nevertheless() {
    let server = Radosgw::shared();
    let (bucket, mut client) = (server.bucket(), server.client());
    (0..12).for_each(|part| client.put(&bucket, format!("p{part}/a"), b"content"));
    let uri = format!("s3://{bucket}");
    let Scene { cluster, proxy } = mounted(&uri, &["--requests-per-second-max", "8"]);
    let (loaded, code) = load(&cluster, &["/data"]);
    assert_eq!((code, figures(&loaded)[..3].to_vec()), (0, vec![13, 12, 12]), "{loaded}");
    assert!(proxy.exchanges().len() >= 12);
    assert!(cluster.metric("forebay_master_under_store_waits_total") > 0);
}
