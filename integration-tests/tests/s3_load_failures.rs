//! A load tells which objects could not be had, and no others; when they can be had, the next load fetches just these.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, Exchange, Fault, FaultProxy, Output, Rclone, content, in_both_modes, wait_until, write_file,
};
use serde_json::Value;

const FILES: u64 = 30;
const LENGTH: usize = 110_000;
/// One that takes several requests.
const LARGE: (&str, usize) = ("large", (20 << 20) + 5);

fn fill(bucket: &Path) {
    for seed in 0..FILES {
        write_file(&bucket.join(format!("set/{seed:02}")), seed, LENGTH);
    }
    write_file(&bucket.join("set").join(LARGE.0), FILES, LARGE.1);
}

struct Scene {
    cluster: Cluster,
    proxy: FaultProxy,
    root: PathBuf,
    _server: Rclone,
}

fn start(mode: &str) -> Scene {
    let server = Rclone::start("bucket", fill);
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    let mounted = cluster.mount_s3("s3://bucket", "/data", &proxy.endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data/set");
    wait_until("the mount is seen", Duration::from_secs(10), || root.exists());
    Scene { cluster, proxy, root, _server: server }
}

fn load(cluster: &Cluster, paths: &[&str]) -> (Output, Value) {
    let mut arguments = vec!["load"];
    arguments.extend(paths);
    arguments.extend(["--output", "json"]);
    let output = cluster.run(&arguments);
    let document = serde_json::from_str(&output.stdout);
    (output.clone(), document.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

/// The objects that GETs asked for.
fn objects_of(exchanges: &[Exchange]) -> BTreeSet<&str> {
    let gets = exchanges.iter().filter(|exchange| exchange.is_object_get());
    gets.filter_map(|exchange| exchange.target.rsplit('/').next()).collect()
}

#[test]
fn a_load_names_just_what_failed_and_the_next_one_fetches_just_that() {
    in_both_modes(a_load_names_just_what_failed_and_the_next_one_fetches_just_that_in);
}

fn a_load_names_just_what_failed_and_the_next_one_fetches_just_that_in(mode: &str) {
    let scene = start(mode);
    scene.proxy.fail("/set/07", Fault::Status(403), None);
    scene.proxy.fail("/set/large", Fault::CutAfter(100_000), None);
    let (output, job) = load(&scene.cluster, &["/data/set"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(job["state"], "FAILED");
    let failures = job["failures"].as_array().expect("failures");
    let named: BTreeSet<_> =
        failures.iter().map(|failure| failure["path"].as_str().expect("a path")).collect();
    assert_eq!(named, BTreeSet::from(["/data/set/07", "/data/set/large"]), "{job}");
    assert!(failures.iter().all(|failure| !failure["reason"].as_str().expect("text").is_empty()), "{job}");
    let counts = ["files_total", "files_done", "files_failed"].map(|name| job[name].as_u64().expect(name));
    assert_eq!(counts, [FILES + 1, FILES - 1, 2], "{job}");

    // The others are all here.
    scene.proxy.forget();
    for seed in (0..FILES).filter(|seed| *seed != 7) {
        let bytes = std::fs::read(scene.root.join(format!("{seed:02}"))).expect("readable");
        assert_eq!(bytes, content(seed, LENGTH));
    }
    assert_eq!(scene.proxy.object_gets(), 0, "{:?}", scene.proxy.exchanges());

    scene.proxy.heal();
    scene.proxy.forget();
    let (output, job) = load(&scene.cluster, &["/data/set"]);
    assert_eq!((output.code, &job["state"]), (0, &Value::from("SUCCEEDED")), "{output:?}");
    assert_eq!(job["files_done"].as_u64(), Some(FILES + 1), "{job}");
    let exchanges = scene.proxy.exchanges();
    assert_eq!(objects_of(&exchanges), BTreeSet::from(["07", "large"]));
    assert!(scene.proxy.object_bytes() <= (LENGTH + LARGE.1) as u64, "what came before is not fetched again");
    assert_eq!(job["under_store_bytes"].as_u64(), Some(scene.proxy.object_bytes()), "{job}");

    scene.proxy.forget();
    assert_eq!(std::fs::read(scene.root.join(LARGE.0)).expect("readable"), content(FILES, LARGE.1));
    assert_eq!(std::fs::read(scene.root.join("07")).expect("readable"), content(7, LENGTH));
    let (output, job) = load(&scene.cluster, &["/data/set"]);
    assert_eq!((output.code, job["under_store_bytes"].as_u64()), (0, Some(0)), "{job}");
    assert_eq!(scene.proxy.object_gets(), 0, "a third load has nothing to do");
}

#[test]
fn a_load_of_what_is_not_there_says_so_and_loads_nothing() {
    let scene = start("passthrough=auto");
    scene.proxy.forget();
    let output = scene.cluster.run(&["load", "/data/no-such-thing", "--output", "json"]);
    assert_eq!(output.code, 1, "{output:?}");
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains("/data/no-such-thing"), "{said}");
    assert_eq!(scene.proxy.object_gets(), 0);
}
