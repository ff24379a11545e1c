//! The suite `truth`: what it costs to show what the under-stores hold.
//!
//! The bucket lies on a real radosgw. Each turn mounts it anew at another path, so that nothing of it is known.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forebay_integration_tests::{Cluster, FaultProxy, Radosgw, S3Client, wait_until, write_file};
use tempfile::TempDir;

use crate::comparison::{Effort, Row, Side};
use crate::files::open_each;

const BY_LISTING: &str = "plain paged listing";
/// Who fills the bucket.
const WRITERS: usize = 8;
/// How long the server lets each request wait in the rows where it is far away; a page of S3 takes about as long.
const DISTANCE: Duration = Duration::from_millis(50);
const FAR: &str = ", server 50 ms away";
const WITHIN: Duration = Duration::from_secs(120);

/// A bucket of one large directory, and a cluster that mounts it again and again.
struct Large {
    bucket: String,
    keys: usize,
    /// Where the server is reached.
    endpoint: String,
    cluster: Cluster,
    mounts: AtomicUsize,
}

/// Runs the suite.
pub(crate) fn run(effort: Effort, keys: Option<usize>) -> Vec<Row> {
    let mut large = Large::new(keys.unwrap_or(effort.pick(50_000, 3000)));
    let mut rows = listings(effort, &large, "");
    // The server is on the same cores: what it takes of them is seen beside a client that lists without us.
    rows.push(large.percentile_row(effort, "", true));
    let proxy = FaultProxy::start(&large.endpoint);
    proxy.delay(DISTANCE);
    large.endpoint = proxy.endpoint();
    rows.extend(listings(effort, &large, FAR));
    rows.push(large.percentile_row(effort, FAR, true));
    rows.extend(opens(effort));
    rows
}

/// How the directory is listed by us and by a plain client, where the server is as far away as `distance` says.
fn listings(effort: Effort, large: &Large, distance: &str) -> Vec<Row> {
    let keys = large.keys as f64;
    let case = |case: &str| format!("{case}{distance}");
    vec![
        Row::measure(effort, &case("first names of a large directory"), "1/s", "plain first page", |side| {
            1.0 / match side {
                Side::Ours => seconds(large.mount(), |folder| drop(first_name(folder))),
                Side::Baseline => seconds((), |()| drop(large.page(None))),
            }
        }),
        Row::measure(
            effort,
            &case("load --metadata-only of a large directory"),
            "names/s",
            BY_LISTING,
            |side| {
                keys / match side {
                    Side::Ours => seconds(large.mount(), |folder| large.load_metadata(&folder)),
                    Side::Baseline => seconds((), |()| large.list()),
                }
            },
        ),
        Row::measure(effort, &case("all names of a large directory"), "names/s", BY_LISTING, |side| {
            keys / match side {
                Side::Ours => seconds(large.mount(), |folder| assert_eq!(names(folder), large.keys)),
                Side::Baseline => seconds((), |()| large.list()),
            }
        }),
        large.percentile_row(effort, distance, false),
    ]
}

/// Opens that a grant covers, beside opens of what never changes, which need none.
fn opens(effort: Effort) -> Vec<Row> {
    let count = effort.pick(2000, 200);
    let folders = ["granted", "immutable"].map(|_| TempDir::new().expect("a folder"));
    for folder in &folders {
        (0..count).for_each(|file| drop(write_file(&folder.path().join(format!("f{file}")), 1, 1000)));
    }
    let cluster = Cluster::builder().fuse().start();
    let files = ["60s", "immutable"].map(|freshness| {
        let folder = if freshness == "immutable" { &folders[1] } else { &folders[0] };
        let (uri, at) = (format!("file://{}", folder.path().display()), format!("/{freshness}"));
        let mounted = cluster.run(&["mount", &uri, &at, "--freshness", freshness]);
        assert_eq!(mounted.code, 0, "{}", mounted.stderr);
        let root = cluster.fuse().join(freshness);
        wait_until("the mount is seen", WITHIN, || root.exists());
        let files: Vec<_> = (0..count).map(|file| root.join(format!("f{file}"))).collect();
        // Into the cache, so that all of them are opened alike.
        files.iter().for_each(|file| drop(std::fs::read(file).expect("read")));
        files
    });
    let rounds = effort.pick(10, 3);
    vec![Row::measure(effort, "opens under a grant", "opens/s", "opens of what never changes", |side| {
        match side {
            Side::Ours => open_each(&files[0], rounds),
            Side::Baseline => open_each(&files[1], rounds),
        }
    })]
}

impl Large {
    fn new(keys: usize) -> Self {
        let server = Radosgw::shared();
        let bucket = server.bucket();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let bucket = &bucket;
                scope.spawn(move || {
                    let mut client = S3Client::new(server.endpoint());
                    for key in (writer..keys).step_by(WRITERS) {
                        client.put(bucket, format!("large/file-{key:07}"), b"");
                    }
                });
            }
        });
        let cluster = Cluster::builder().fuse().start();
        let endpoint = server.endpoint().to_owned();
        Self { bucket, keys, endpoint, cluster, mounts: AtomicUsize::new(0) }
    }

    /// Mounts the directory at a path of its own; gives where it is seen.
    fn mount(&self) -> PathBuf {
        // Of one directory there may be only one mount at a time.
        let number = self.mounts.fetch_add(1, Ordering::Relaxed);
        if let Some(before) = number.checked_sub(1) {
            let unmounted = self.cluster.run(&["unmount", &format!("/m{before}")]);
            assert_eq!(unmounted.code, 0, "{}", unmounted.stderr);
            // Else deleting what was known of it is measured with what comes next.
            wait_until("what was unmounted is deleted", WITHIN, || {
                self.cluster.json(&["admin", "report"])["namespace"]["files"] == 0
            });
        }
        let (uri, at) = (format!("s3://{}/large", self.bucket), format!("/m{number}"));
        let mounted = self.cluster.mount_s3(&uri, &at, &self.endpoint, &[]);
        assert_eq!(mounted.code, 0, "{}", mounted.stderr);
        let folder = self.cluster.fuse().join(&at[1..]);
        wait_until("the mount is seen", WITHIN, || folder.exists());
        folder
    }

    fn page(&self, after: Option<&str>) -> (usize, Option<String>) {
        S3Client::new(&self.endpoint).list_page(&self.bucket, "large/", after)
    }

    fn list(&self) {
        let mut client = S3Client::new(&self.endpoint);
        let (mut count, mut after) = client.list_page(&self.bucket, "large/", None);
        while let Some(token) = after.take() {
            let (more, next) = client.list_page(&self.bucket, "large/", Some(&token));
            (count, after) = (count + more, next);
        }
        assert_eq!(count, self.keys);
    }

    /// Has all names below a mount known.
    fn load_metadata(&self, folder: &Path) {
        let at = format!("/{}", folder.file_name().expect("a mount").display());
        let loaded = self.cluster.run(&["load", "--metadata-only", &at]);
        assert_eq!(loaded.code, 0, "{}", loaded.stderr);
    }

    /// How long questions take while a job loads the names: beside a machine at rest, or one on which a plain client
    /// lists. With a 99th percentile of twice as long the ratio is 0.5.
    fn percentile_row(&self, effort: Effort, distance: &str, is_listed: bool) -> Row {
        let case =
            format!("99th percentile of a question about a name, during load --metadata-only{distance}");
        let beside = if is_listed { "the same while a plain client lists" } else { "the same at rest" };
        Row::measure(effort, &case, "1/s", beside, |side| {
            let folder = self.mount();
            match side {
                Side::Ours => self.percentile_during(|| self.load_metadata(&folder)),
                Side::Baseline if is_listed => self.percentile_during(|| self.list()),
                Side::Baseline => self.percentile_during(|| ()),
            }
        })
    }

    fn percentile_during(&self, work: impl FnOnce() + Send) -> f64 {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                work();
                is_over.store(true, Ordering::Relaxed);
            });
            self.percentile_of_questions(&is_over)
        })
    }

    /// The 99th percentile, as a rate, of questions that no kernel answers from memory: for a name that is missing
    /// where a mount could appear. They are asked until `is_over`, a thousand times at least.
    fn percentile_of_questions(&self, is_over: &AtomicBool) -> f64 {
        let missing = self.cluster.fuse().join("missing");
        let mut times = Vec::new();
        while times.len() < 1000 || !is_over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            assert!(!missing.exists());
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        1.0 / times[times.len() * 99 / 100].as_secs_f64()
    }
}

fn seconds<T>(prepared: T, act: impl FnOnce(T)) -> f64 {
    let begun = Instant::now();
    act(prepared);
    begun.elapsed().as_secs_f64()
}

fn first_name(folder: PathBuf) -> std::ffi::OsString {
    std::fs::read_dir(folder).expect("listed").next().expect("not empty").expect("read").file_name()
}

fn names(folder: impl AsRef<Path>) -> usize {
    std::fs::read_dir(folder).expect("listed").inspect(|entry| assert!(entry.is_ok(), "{entry:?}")).count()
}
