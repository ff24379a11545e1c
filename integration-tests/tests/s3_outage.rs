//! An under-store that is down costs what it alone has: what is cached is read on, the rest is an error in time, and
//! all is well again when it comes back.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forebay_integration_tests::{
    Cluster, Fault, FaultProxy, Rclone, content, in_both_modes, wait_until, write_file,
};

const WITHIN: Duration = Duration::from_secs(20);
/// The whole wait of one read, and room for a busy machine.
const READ_DEADLINE: Duration = Duration::from_secs(60 + 15);
/// How long a read of what is cached may take while the bucket is asked in vain whether it is still the same.
const STALL_MAX: Duration = Duration::from_secs(10);
const LENGTH: usize = 300_000;
/// The under-store fails.
const EREMOTEIO: i32 = 121;
/// The under-store refuses.
const EACCES: i32 = 13;

fn fill(bucket: &Path) {
    for (name, seed) in [("cached", 1), ("uncached", 2), ("later", 3)] {
        write_file(&bucket.join(name), seed, LENGTH);
    }
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
    let mounted = cluster.mount_s3("s3://bucket", "/data", &proxy.endpoint(), &["--freshness", "2s"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", WITHIN, || root.exists());
    Scene { cluster, proxy, root, _server: server }
}

impl Scene {
    fn state(&self) -> String {
        self.cluster.json(&["mounts"])["mounts"][0]["state"].as_str().expect("a state").to_owned()
    }

    fn read(&self, name: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.root.join(name))
    }
}

#[test]
fn cached_data_is_read_on_while_the_bucket_is_down_and_the_rest_when_it_is_back() {
    in_both_modes(cached_data_is_read_on_while_the_bucket_is_down_and_the_rest_when_it_is_back_in);
}

fn cached_data_is_read_on_while_the_bucket_is_down_and_the_rest_when_it_is_back_in(mode: &str) {
    let mut scene = start(mode);
    assert_eq!(scene.read("cached").expect("read"), content(1, LENGTH));
    assert_eq!(scene.state(), "READY");
    scene.proxy.go_down();
    let mut longest = Duration::ZERO;
    let mut reads = 0;
    let mut read_cached = |scene: &Scene| {
        let begin = Instant::now();
        assert_eq!(scene.read("cached").expect("what is cached is read on"), content(1, LENGTH));
        longest = longest.max(begin.elapsed());
        reads += 1;
    };
    wait_until("the mount is told to be unreachable", WITHIN, || {
        read_cached(&scene);
        scene.state() == "UNREACHABLE"
    });
    // The freshness is over now, or nobody would have asked the bucket.
    for _ in 0..20 {
        read_cached(&scene);
    }
    std::thread::scope(|scope| {
        let begin = Instant::now();
        let uncached = scope.spawn(|| scene.read("uncached"));
        while !uncached.is_finished() {
            read_cached(&scene);
            std::thread::sleep(Duration::from_millis(20));
            assert!(begin.elapsed() < READ_DEADLINE, "a read of what is not cached hangs");
        }
        let error = uncached.join().expect("it ends").expect_err("it cannot be had");
        assert_eq!(error.raw_os_error(), Some(EREMOTEIO), "{error}");
        println!("{mode}: the error took {:?}", begin.elapsed());
    });
    println!("{mode}: {reads} cached reads, the longest took {longest:?}");
    assert!(longest < STALL_MAX, "a cached read took {longest:?}");
    assert_eq!(scene.state(), "UNREACHABLE");

    scene.proxy.come_back();
    wait_until("what was not cached is read", WITHIN, || {
        scene.read("uncached").is_ok_and(|bytes| bytes == content(2, LENGTH))
    });
    wait_until("the mount is ready", WITHIN, || {
        let _ = scene.read("later");
        scene.state() == "READY"
    });
    assert_eq!(scene.read("later").expect("read"), content(3, LENGTH));
}

#[test]
fn a_busy_server_is_asked_again_without_an_error() {
    in_both_modes(a_busy_server_is_asked_again_without_an_error_in);
}

fn a_busy_server_is_asked_again_without_an_error_in(mode: &str) {
    let scene = start(mode);
    scene.proxy.fail("/uncached", Fault::Status(503), Some(2));
    scene.proxy.forget();
    assert_eq!(scene.read("uncached").expect("the third attempt has it"), content(2, LENGTH));
    let gets = scene.proxy.exchanges().into_iter().filter(|exchange| exchange.is_object_get());
    assert_eq!(gets.map(|exchange| exchange.status).collect::<Vec<_>>(), [503, 503, 200]);
}

#[test]
fn a_body_that_is_cut_short_is_fetched_again_without_an_error() {
    in_both_modes(a_body_that_is_cut_short_is_fetched_again_without_an_error_in);
}

fn a_body_that_is_cut_short_is_fetched_again_without_an_error_in(mode: &str) {
    let scene = start(mode);
    scene.proxy.fail("/uncached", Fault::CutAfter(100_000), Some(2));
    assert_eq!(scene.read("uncached").expect("the third attempt has it"), content(2, LENGTH));
    scene.proxy.fail("/later", Fault::CutAfter(0), Some(1));
    assert_eq!(scene.read("later").expect("the second attempt has it"), content(3, LENGTH));
}

#[test]
fn what_the_server_refuses_is_a_refused_read() {
    in_both_modes(what_the_server_refuses_is_a_refused_read_in);
}

fn what_the_server_refuses_is_a_refused_read_in(mode: &str) {
    let scene = start(mode);
    scene.proxy.fail("/uncached", Fault::Status(403), None);
    let error = scene.read("uncached").expect_err("the server refuses it");
    assert_eq!(error.raw_os_error(), Some(EACCES), "{mode}: {error}");
    assert_eq!(scene.read("later").expect("nothing else is refused"), content(3, LENGTH));
    scene.proxy.heal();
    assert_eq!(scene.read("uncached").expect("it is not refused any more"), content(2, LENGTH));
}

#[test]
fn a_server_that_never_answers_is_an_error_in_time() {
    in_both_modes(a_server_that_never_answers_is_an_error_in_time_in);
}

fn a_server_that_never_answers_is_an_error_in_time_in(mode: &str) {
    let scene = start(mode);
    scene.proxy.fail("/uncached", Fault::Silence, None);
    let mut file = File::open(scene.root.join("uncached")).expect("the open needs no object");
    let begin = Instant::now();
    let error = file.read(&mut [0; 100]).expect_err("nobody answers");
    println!("{mode}: the error took {:?}", begin.elapsed());
    assert_eq!(error.raw_os_error(), Some(EREMOTEIO), "{error}");
    assert!(begin.elapsed() < READ_DEADLINE, "it took {:?}", begin.elapsed());
    scene.proxy.heal();
    assert_eq!(scene.read("uncached").expect("it answers again"), content(2, LENGTH));
}
