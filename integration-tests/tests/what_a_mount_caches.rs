//! A mount says what of it is cached: the requests that its bucket sees say whether that holds.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use forebay_integration_tests::{
    Cluster, FaultProxy, Output, Rclone, content, drop_page_cache, wait_until, write_file,
};
use serde_json::{Value, json};

const BUCKET: &str = "s3://bucket";
const WITHIN: Duration = Duration::from_secs(20);
const MIB: usize = 1 << 20;
/// Names, seeds and lengths.
const FILES: [(&str, u64, usize); 5] = [
    ("empty", 1, 0),
    ("small", 2, 50_000),
    ("large", 3, 9 * MIB + 5),
    ("train/a", 4, 300_000),
    ("train/b.tmp", 5, 300_000),
];

struct Scene {
    cluster: Cluster,
    proxy: FaultProxy,
    root: PathBuf,
    _server: Rclone,
}

fn start(further: &[&str]) -> Scene {
    let server = Rclone::start("bucket", |bucket| {
        std::fs::create_dir(bucket.join("train")).expect("made");
        for (name, seed, length) in FILES {
            write_file(&bucket.join(name), seed, length);
        }
    });
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().start();
    let mounted = cluster.mount_s3(BUCKET, "/data", &proxy.endpoint(), further);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", WITHIN, || root.exists());
    Scene { cluster, proxy, root, _server: server }
}

impl Scene {
    /// Reads a file through the mount and by the SDK, right in both, and says whether the bucket was asked for it.
    fn asks_for(&self, name: &str) -> (bool, bool) {
        let (_, seed, length) = FILES.into_iter().find(|(file, ..)| *file == name).expect("a file");
        drop_page_cache();
        self.proxy.forget();
        assert!(
            std::fs::read(self.root.join(name)).expect("read") == content(seed, length),
            "{name}, mounted"
        );
        let mounted = self.proxy.object_gets() > 0;
        self.proxy.forget();
        let bytes = self.cluster.run_for_bytes(&["fs", "cat", &format!("/data/{name}")]);
        assert!(bytes == content(seed, length), "{name}, by the SDK");
        (mounted, self.proxy.object_gets() > 0)
    }

    /// Whether a file is cached once it was read.
    fn is_cached(&self, name: &str) -> bool {
        self.asks_for(name);
        match self.asks_for(name) {
            (false, false) => true,
            (true, true) => false,
            odd => panic!("{name}: {odd:?}"),
        }
    }

    /// Those of the files that are cached once they were read, of all that have bytes.
    fn cached(&self) -> Vec<&'static str> {
        FILES
            .into_iter()
            .map(|(name, ..)| name)
            .filter(|name| *name != "empty" && self.is_cached(name))
            .collect()
    }

    fn mount_again(&self, further: &[&str]) -> Output {
        let mounted = self.cluster.run(&[&["mount", BUCKET, "/data"], further].concat());
        assert!(mounted.stderr.is_empty(), "all workers know: {}", mounted.stderr);
        mounted
    }

    fn shown(&self) -> Value {
        let mount = self.cluster.json(&["mounts"])["mounts"][0].clone();
        json!([mount["cache"], mount["cache_include"], mount["cache_exclude"]])
    }
}

#[test]
fn of_a_mount_that_says_none_nothing_is_stored_and_all_is_read() {
    let scene = start(&["--cache", "none"]);
    assert_eq!(scene.shown(), json!(["none", [], []]));
    assert_eq!(scene.asks_for("empty"), (false, false));
    assert_eq!(scene.cached(), Vec::<&str>::new());
    scene.proxy.forget();
    let loaded = scene.cluster.run(&["load", "/data"]);
    assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    for name in ["skipped: /data/large: the mount caches nothing", "5 files were skipped"] {
        assert!(loaded.stdout.contains(name), "{}", loaded.stdout);
    }
    assert_eq!(scene.proxy.object_gets(), 0);
    assert_eq!(scene.cluster.metric("forebay_worker_fill_bytes_total"), 0);
    assert!(scene.cluster.metric("forebay_worker_read_bytes_total{source=\"not_admitted\"}") > 0);
    let job = scene.cluster.json(&["job", "status", "1"]);
    assert_eq!((job["state"].as_str(), job["files_failed"].as_u64()), (Some("SUCCEEDED"), Some(0)));
    let skipped = job["skipped"].as_array().expect("a list");
    assert_eq!((skipped.len(), job["failures"].as_array().map(Vec::len)), (FILES.len(), Some(0)));
    wait_until("what was read is reported", WITHIN, || scene.cluster.reads("miss_bytes") > 0);
    assert_eq!(scene.cluster.reads("passthrough_opens"), 0, "nothing is complete");
    let known = scene.cluster.run(&["load", "--metadata-only", "/data"]);
    assert!(known.code == 0 && known.stdout.contains("5 files known"), "{}{}", known.stdout, known.stderr);
}

#[test]
fn a_rule_and_patterns_are_said_as_a_whole_and_change_by_mounting_again() {
    let scene = start(&["--cache", "small:64KiB"]);
    assert_eq!(scene.cached(), ["small"]);
    let loaded = scene.cluster.run(&["load", "/data/small", "/data/large"]);
    assert!(loaded.code == 0 && loaded.stdout.contains("1 of 1 files"), "{}{}", loaded.stdout, loaded.stderr);
    assert!(loaded.stdout.contains("skipped: /data/large: it has 9437189 bytes"), "{}", loaded.stdout);

    let changed = scene.mount_again(&["--cache-include", "train/**", "--cache-exclude", "**/*.tmp"]);
    assert!(changed.stdout.starts_with("changed: "), "{}", changed.stdout);
    assert_eq!(scene.shown(), json!(["all", ["train/**"], ["**/*.tmp"]]));
    assert!(scene.cluster.run(&["mounts"]).stdout.contains("all +train/** -**/*.tmp"));
    assert_eq!(scene.cached(), ["small", "train/a"], "what was cached before stays");

    scene.mount_again(&["--freshness", "2m"]);
    assert_eq!(scene.shown(), json!(["all", ["train/**"], ["**/*.tmp"]]), "what is not said stays");
    scene.mount_again(&["--cache", "all"]);
    assert_eq!(scene.shown(), json!(["all", [], []]));
    assert_eq!(scene.cached(), ["small", "large", "train/a", "train/b.tmp"]);
    scene.mount_again(&["--cache", "none"]);
    assert_eq!(scene.cached(), ["small", "large", "train/a", "train/b.tmp"], "it leaves by eviction");
}

#[test]
fn what_is_cached_of_a_mount_is_kept_over_a_restart() {
    let mut scene = start(&["--cache-exclude", "large"]);
    assert_eq!(scene.cached(), ["small", "train/a", "train/b.tmp"]);
    assert_eq!(scene.cluster.process().stop(), 0);
    scene.cluster.start();
    wait_until("the mount is seen", WITHIN, || scene.root.join("large").exists());
    assert_eq!(scene.shown(), json!(["all", [], ["large"]]));
    assert!(!scene.is_cached("large"));
}

#[test]
fn of_a_mount_that_says_random_what_is_read_in_order_is_not_stored() {
    let scene = start(&["--cache", "random"]);
    assert_eq!(scene.cached(), Vec::<&str>::new(), "all were read from their begin on");
    let large = File::open(scene.root.join("large")).expect("open");
    let expected = content(3, 9 * MIB + 5);
    let read = |at: usize| {
        let mut bytes = [0; 4096];
        large.read_exact_at(&mut bytes, at as u64).expect("read");
        assert!(bytes == expected[at..at + 4096], "at {at}");
    };
    let places = [5 * MIB, 2 * MIB + 300_000, 7 * MIB + 77];
    drop_page_cache();
    places.into_iter().for_each(read);
    drop_page_cache();
    scene.proxy.forget();
    places.into_iter().for_each(read);
    assert_eq!(scene.proxy.object_gets(), 0, "they are there");
}

#[test]
fn what_says_nothing_of_what_to_cache_is_refused_with_the_way_out() {
    let cluster = Cluster::builder().start();
    for (arguments, told) in [
        (["--cache", "most"], "all, none, random, or small:SIZE"),
        (["--cache", "small:big"], "small:64KiB"),
        (["--cache-include", "/train"], "begins with a slash"),
        (["--cache-exclude", "train/"], "`train/**`"),
        (["--cache-exclude", ""], "leave it away"),
    ] {
        let refused = cluster.run(&[&["mount", "file:///nowhere", "/data"], &arguments[..]].concat());
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(told) && refused.stderr.contains(arguments[0]), "{}", refused.stderr);
    }
}
