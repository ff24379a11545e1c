//! Of a mount with more files than may be known, those that nobody used for longest are forgotten: all of them are still
//! there for whoever asks, and what is cached of them is not fetched again.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use forebay_integration_tests::{Cluster, drop_page_cache, wait_until, write_file};

const DIRECTORIES: u64 = 4;
const FILES: u64 = 30;
/// A directory counts as in use for 10 s, and it is looked every 5 s.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn what_was_forgotten_is_found_again_and_its_cached_bytes_are_not_fetched_again() {
    let source = tempfile::tempdir().expect("a folder");
    let files: Vec<_> = (0..DIRECTORIES * FILES)
        .map(|number| {
            let name = format!("d{}/f{number:03}", number % DIRECTORIES);
            let content = write_file(&source.path().join(&name), number, 5000);
            (name, content)
        })
        .collect();
    let uri = format!("file://{}", source.path().display());
    // Nothing is renewed in the background, so whatever is listed was asked for.
    let cluster = Cluster::builder().fuse().argument("--loaded-entries-max").argument("40").start();
    let mounted = cluster.run(&["mount", &uri, "/data", "--freshness", "immutable"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let root = cluster.fuse().join("data");
    wait_until("the mount is seen", Duration::from_secs(10), || root.exists());
    let read_all = || {
        for (name, content) in &files {
            assert_eq!(&fs::read(root.join(name)).expect("there"), content, "{name}");
        }
    };
    read_all();
    let open = fs::File::open(root.join(&files[0].0)).expect("opened");
    let node = |path: &str| fs::metadata(root.join(path)).expect("there").ino();
    let nodes = || (0..4).map(|at| [node(&format!("d{at}")), node(&files[at].0)]).collect::<Vec<_>>();
    let before = nodes();
    let known = || cluster.json(&["admin", "report"])["namespace"]["files"].as_u64().expect("a number");
    assert_eq!(known(), DIRECTORIES * FILES);
    let fetched = cluster.metric("forebay_worker_under_store_read_bytes_total");
    wait_until("most of it is forgotten", FORGOTTEN_WITHIN, || known() <= 40);
    let forgotten = cluster.metric("forebay_master_forgotten_entries_total");
    assert!(forgotten >= DIRECTORIES * FILES - 40);
    wait_until("the worker has heard of it", Duration::from_secs(10), || {
        cluster.metric("forebay_worker_disowned_versions_total") == forgotten
    });
    let mut still_open = vec![0; files[0].1.len()];
    open.read_exact_at(&mut still_open, 0).expect("an open file goes on");
    assert_eq!(still_open, files[0].1);
    let names = |directory: u64| {
        let listed = fs::read_dir(root.join(format!("d{directory}"))).expect("listed");
        listed.inspect(|entry| assert!(entry.is_ok(), "{entry:?}")).count() as u64
    };
    (0..DIRECTORIES).for_each(|directory| assert_eq!(names(directory), FILES));
    read_all();
    assert_eq!(
        cluster.metric("forebay_worker_under_store_read_bytes_total"),
        fetched,
        "nothing is fetched again"
    );
    assert_eq!(cluster.metric("forebay_worker_adopted_versions_total"), forgotten);
    // Names that the kernel remembers are not seen again.
    drop_page_cache();
    let (mut directories, mut seen_anew) = (0, 0);
    for ([directory, file], [directory_now, file_now]) in before.into_iter().zip(nodes()) {
        directories += u64::from(directory == directory_now);
        seen_anew += u64::from(file != file_now);
    }
    assert_eq!(directories, DIRECTORIES, "directories keep their numbers");
    assert!(seen_anew >= forgotten / FILES, "files that were forgotten do not: {seen_anew}");
}

#[test]
fn what_is_pinned_stays_known_and_the_rest_is_forgotten() {
    let source = tempfile::tempdir().expect("a folder");
    for number in 0..DIRECTORIES * FILES {
        write_file(&source.path().join(format!("d{}/f{number:03}", number % DIRECTORIES)), number, 10);
    }
    let uri = format!("file://{}", source.path().display());
    let cluster = Cluster::builder().argument("--loaded-entries-max").argument("10").start();
    let mounted = cluster.run(&["mount", &uri, "/data", "--freshness", "immutable"]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    let done = |arguments: &[&str], said: &str| {
        let done = cluster.run(arguments);
        assert_eq!((done.code, done.stdout.trim_end()), (0, said), "{}", done.stderr);
    };
    // Nobody listed it yet.
    done(&["fs", "pin", "/data/d0"], "pinned: /data/d0");
    done(&["fs", "pin", "/data/d1/f001"], "pinned: /data/d1/f001");
    done(&["fs", "pin", "/data/d1/f001/"], "was pinned before: /data/d1/f001");
    done(&["fs", "pins"], "/data/d0\n/data/d1/f001");
    for (command, at, told) in [
        ("pin", "/data/d0/none", "/data/d0/none does not exist"),
        ("pin", "/none", "/none does not exist"),
        ("unpin", "/data/d1", "/data/d1 is not pinned itself; `forebay fs pins` shows what is"),
        ("unpin", "/none", "/none is not pinned"),
    ] {
        let refused = cluster.run(&["fs", command, at]);
        assert!(refused.code == 1 && refused.stderr.contains(told), "{command} {at}: {}", refused.stderr);
    }
    let all = cluster.json(&["fs", "du", "/data"]);
    assert_eq!(all["files"], DIRECTORIES * FILES);
    let known = || cluster.json(&["admin", "report"])["namespace"]["files"].as_u64().expect("a number");
    wait_until("the rest is forgotten", FORGOTTEN_WITHIN, || known() == 2 * FILES);
    done(&["fs", "unpin", "/data/d0"], "unpinned: /data/d0");
    wait_until("it is not pinned any more", FORGOTTEN_WITHIN, || known() == FILES);
    assert_eq!(cluster.json(&["fs", "pins"])["paths"], serde_json::json!(["/data/d1/f001"]));
}
