//! What a mount is told to do while its under-store is away, and an under-store that is taken down with notice: an outage
//! is served or is an error, as the mount says; in maintenance nobody sends it a request.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use forebay_integration_tests::{
    Cluster, FaultProxy, Output, Rclone, S3Client, content, in_both_modes, wait_until, write_file,
};

/// How old what is shown may be.
const FRESHNESS: Duration = Duration::from_secs(2);
const WITHIN: Duration = Duration::from_secs(20);
/// What is refused in maintenance is refused at once: neither a retry nor a deadline takes so short.
const AT_ONCE: Duration = Duration::from_secs(4);
const LENGTH: usize = 300_000;
/// The under-store fails, or is in maintenance.
const EREMOTEIO: i32 = 121;
const BUCKET: &str = "s3://bucket";

struct Scene {
    cluster: Cluster,
    proxy: FaultProxy,
    root: PathBuf,
    server: Rclone,
}

/// A bucket whose `cached` was read and whose directory `unseen` nobody looked into.
/// Longer than what is told of a mount, or of what lies in none, may be used.
const REMEMBERED_FOR: Duration = Duration::from_secs(4);

fn start(mode: &str, further: &[&str]) -> Scene {
    let server = Rclone::start("bucket", |bucket| {
        write_file(&bucket.join("cached"), 1, LENGTH);
        write_file(&bucket.join("uncached"), 2, LENGTH);
        std::fs::create_dir(bucket.join("unseen")).expect("made");
        write_file(&bucket.join("unseen/f"), 3, LENGTH);
    });
    let proxy = FaultProxy::start(server.endpoint());
    let cluster = Cluster::builder().fuse().fuse_options(mode).start();
    let arguments = [&["--freshness", "2s"], further].concat();
    let mounted = cluster.mount_s3(BUCKET, "/data", &proxy.endpoint(), &arguments);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", WITHIN, || root.exists());
    let scene = Scene { cluster, proxy, root, server };
    assert_eq!(scene.read("cached").expect("read"), content(1, LENGTH));
    assert_eq!(scene.names(), ["cached", "uncached", "unseen"]);
    scene
}

impl Scene {
    fn read(&self, name: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.root.join(name))
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).expect("listed");
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("read").file_name();
        let mut names: Vec<_> = entries.map(|entry| name(entry).into_string().expect("text")).collect();
        names.sort();
        names
    }

    fn mount(&self) -> serde_json::Value {
        self.cluster.json(&["mounts"])["mounts"][0].clone()
    }

    fn state(&self) -> String {
        self.mount()["state"].as_str().expect("a state").to_owned()
    }

    fn set_mode(&self, mode: &str) {
        let set = self.cluster.run(&["mount", BUCKET, "/data", "--mode", mode]);
        assert!(set.code == 0 && set.stdout.starts_with("changed: "), "{}{}", set.stdout, set.stderr);
        assert!(set.stderr.is_empty(), "all workers know: {}", set.stderr);
    }

    fn put(&self, key: &str, seed: u64) {
        S3Client::new(self.server.endpoint()).put("bucket", key, &content(seed, LENGTH));
    }

    /// Each way to ask for what is known, which must end as in an outage.
    fn expect_failures(&self) {
        let errors = [
            self.read("cached").map(drop),
            std::fs::metadata(self.root.join("cached")).map(drop),
            std::fs::metadata(self.root.join("none")).map(drop),
            std::fs::read_dir(&self.root)
                .and_then(|mut entries| entries.next().expect("something").map(drop)),
        ];
        assert!(self.root.is_dir(), "the mount point itself is always there");
        for error in errors.map(|outcome| outcome.expect_err("past the freshness")) {
            assert_eq!(error.raw_os_error(), Some(EREMOTEIO), "{error}");
        }
    }
}

fn expect_refusal(output: &Output, told: &[&str]) {
    let said = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, 1, "{said}");
    assert!(told.iter().all(|told| said.contains(told)), "{told:?}: {said}");
}

#[test]
fn where_an_outage_is_to_fail_nothing_is_told_past_the_freshness_until_the_bucket_is_back() {
    in_both_modes(where_an_outage_is_to_fail_nothing_is_told_past_the_freshness_in);
}

fn where_an_outage_is_to_fail_nothing_is_told_past_the_freshness_in(mode: &str) {
    let mut scene = start(mode, &["--on-outage", "fail"]);
    let open = File::open(scene.root.join("cached")).expect("open");
    scene.proxy.go_down();
    wait_until("what is known is too old", WITHIN, || scene.read("cached").is_err());
    for _ in 0..20 {
        scene.expect_failures();
    }
    let mut bytes = vec![0; LENGTH];
    open.read_exact_at(&mut bytes, 0).expect("an open file is one version, and it is cached");
    assert_eq!(bytes, content(1, LENGTH));
    let unseen = std::fs::read_dir(scene.root.join("unseen")).expect_err("nobody knows");
    assert_ne!(unseen.kind(), ErrorKind::NotFound);

    let told = ["/data", BUCKET, "is away since 20", "`forebay mounts`"];
    for command in [["fs", "cat", "/data/cached"], ["fs", "stat", "/data/cached"], ["fs", "ls", "/data"]] {
        expect_refusal(&scene.cluster.run(&command), &told);
    }
    let mount = scene.mount();
    assert_eq!((mount["state"].as_str(), mount["on_outage"].as_str()), (Some("UNREACHABLE"), Some("FAIL")));
    assert!(mount["unreachable_since"].is_string() && mount["reason"].is_string(), "{mount}");
    wait_until("the outage is counted", WITHIN, || {
        scene.cluster.metric("forebay_master_mounts_unreachable_count") == 1
    });

    scene.proxy.come_back();
    wait_until("all goes on by itself", WITHIN, || scene.read("uncached").is_ok());
    assert_eq!(scene.read("cached").expect("read"), content(1, LENGTH));
    assert_eq!(scene.state(), "READY");
}

#[test]
fn where_an_outage_is_to_fail_whoever_lengthened_the_freshness_of_a_mount_point_is_still_answered() {
    let mut scene = start("freshness=1h", &["--on-outage", "fail"]);
    // What it was told before it heard of the mount it does not remember.
    let metric = |name: &str| scene.cluster.metric(name);
    // What is told of a directory outside of mounts is used for a second, so one that is asked for less often is in one.
    let (mut looked_up, mut since) = (0, Instant::now());
    wait_until("the kernel heard of the mount and remembers what it is told", WITHIN, || {
        assert_eq!(scene.read("cached").expect("read").len(), LENGTH);
        let now = metric("forebay_fuse_requests_total{operation=\"lookup\"}");
        if now != looked_up {
            (looked_up, since) = (now, Instant::now());
        }
        metric("forebay_fuse_notices_total{kind=\"all\"}") >= 1 && since.elapsed() > REMEMBERED_FOR
    });
    scene.proxy.go_down();
    wait_until("what is known is too old", WITHIN, || {
        scene.cluster.run(&["fs", "stat", "/data/cached"]).code == 1
    });
    assert_eq!(std::fs::metadata(scene.root.join("cached")).expect("the kernel knows").len(), LENGTH as u64);
    assert_eq!(scene.read("cached").expect("and so it is read").len(), LENGTH);
    scene.proxy.come_back();
}

#[test]
fn where_an_outage_is_served_what_is_known_is_shown_to_be_past_its_freshness() {
    let mut scene = start("passthrough=auto", &["--option", "on_outage=serve"]);
    let stat = |scene: &Scene, path: &str| scene.cluster.json(&["fs", "stat", path]);
    let fresh = stat(&scene, "/data/cached");
    assert_eq!((fresh["mount"].as_str(), fresh["stale"].as_bool()), (Some("/data"), Some(false)), "{fresh}");
    scene.proxy.go_down();
    wait_until("it is said to be old", WITHIN, || stat(&scene, "/data/cached")["stale"] == true);
    for path in ["/data/cached", "/data"] {
        let stale = stat(&scene, path);
        assert_eq!(stale["mount_state"], "UNREACHABLE", "{stale}");
        assert!(stale["stale_since"].is_string() && stale["unreachable_since"].is_string(), "{stale}");
    }
    assert_eq!(scene.read("cached").expect("served"), content(1, LENGTH));
    let unseen = std::fs::read_dir(scene.root.join("unseen")).expect_err("nobody knows");
    assert_ne!(unseen.kind(), ErrorKind::NotFound);
    // From now on it is to fail, while the bucket is away still.
    let changed = scene.cluster.run(&["mount", BUCKET, "/data", "--on-outage", "fail"]);
    assert_eq!(changed.code, 0, "{}", changed.stderr);
    wait_until("clients notice", WITHIN, || scene.read("cached").is_err());
    scene.expect_failures();
    scene.proxy.come_back();
    wait_until("it is read again", WITHIN, || scene.read("cached").is_ok());
}

#[test]
fn in_maintenance_what_is_known_and_cached_is_served_and_the_bucket_gets_no_request() {
    in_both_modes(in_maintenance_what_is_known_and_cached_is_served_in);
}

fn in_maintenance_what_is_known_and_cached_is_served_in(mode: &str) {
    let mut scene = start(mode, &[]);
    scene.set_mode("no-access");
    scene.proxy.forget();
    scene.put("cached", 4);
    scene.put("new", 5);
    expect_maintenance(&scene);

    // A new master and a new worker know of it as well.
    scene.cluster.process().kill();
    scene.cluster.start();
    wait_until("the mount is seen", WITHIN, || scene.root.exists());
    expect_maintenance(&scene);
    assert_eq!(scene.proxy.exchanges().len(), 0, "{:?}", scene.proxy.exchanges());

    scene.set_mode("normal");
    wait_until("what was changed meanwhile is seen", WITHIN, || {
        scene.read("cached").is_ok_and(|bytes| bytes == content(4, LENGTH))
    });
    assert_eq!(scene.read("uncached").expect("read"), content(2, LENGTH));
    assert_eq!(scene.read("unseen/f").expect("read"), content(3, LENGTH));
    assert_eq!(scene.names(), ["cached", "new", "uncached", "unseen"]);
    assert_eq!((scene.state().as_str(), scene.mount()["mode"].as_str()), ("READY", Some("NORMAL")));
    scene.set_mode("read-only");
    assert_eq!(scene.read("new").expect("it is only read"), content(5, LENGTH));
    let mount = scene.mount();
    assert_eq!((mount["mode"].as_str(), mount["read_only"].as_bool()), (Some("READ_ONLY"), Some(true)));
}

fn expect_maintenance(scene: &Scene) {
    let begin = Instant::now();
    while begin.elapsed() < FRESHNESS * 2 {
        assert_eq!(scene.read("cached").expect("it is cached"), content(1, LENGTH));
        assert_eq!(scene.names(), ["cached", "uncached", "unseen"]);
    }
    let begin = Instant::now();
    let uncached = scene.read("uncached").expect_err("it is not cached");
    let unseen = std::fs::read_dir(scene.root.join("unseen")).expect_err("nobody knows");
    for error in [uncached, unseen] {
        assert_eq!(error.raw_os_error(), Some(EREMOTEIO), "{error}");
    }
    assert!(begin.elapsed() < AT_ONCE, "it took {:?}", begin.elapsed());
    let told = ["is in maintenance", "--mode normal"];
    for command in [
        &["fs", "cat", "/data/uncached"][..],
        &["fs", "ls", "/data/unseen"],
        &["fs", "refresh", "/data"],
        &["fs", "check-consistency", "/data"],
    ] {
        expect_refusal(&scene.cluster.run(command), &told);
    }
    let load = scene.cluster.run(&["load", "/data", "--output", "json"]);
    let job: serde_json::Value = serde_json::from_str(&load.stdout).expect("a document");
    assert_eq!((load.code, job["state"].as_str()), (1, Some("FAILED")), "{job}");
    for failure in job["failures"].as_array().expect("a list") {
        assert!(failure["reason"].as_str().is_some_and(|why| why.contains("is in maintenance")), "{job}");
    }
    let stat = scene.cluster.json(&["fs", "stat", "/data/cached"]);
    assert_eq!((stat["mount_state"].as_str(), stat["stale"].as_bool()), (Some("MAINTENANCE"), Some(true)));
    let mount = scene.mount();
    assert_eq!((mount["state"].as_str(), mount["mode"].as_str()), (Some("MAINTENANCE"), Some("NO_ACCESS")));
    wait_until("it is counted", WITHIN, || {
        scene.cluster.metric("forebay_master_mounts_maintenance_count") == 1
    });
    assert_eq!(scene.cluster.metric("forebay_master_mounts_unreachable_count"), 0);
}
