//! `forebay load` from an S3 server into an empty cache, beside a plain parallel download of the same objects.
//!
//! Both write to the same file system. The download knows all keys and lengths beforehand, which `load` has to list. Small
//! objects are downloaded with object_store. It refuses ranges of this server, which sends them with the status 200, so
//! the large object is downloaded in ranges by a client that does nothing but that.

mod walk;

use std::fs::{File, create_dir_all};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use forebay_integration_tests::{Cluster, KEY_ID, Rclone, S3Client, SECRET_KEY, write_file};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use tempfile::TempDir;

use crate::comparison::{Effort, Row, Side};

const MIB: u64 = 1 << 20;
const BUCKET: &str = "bench";
/// Read before a load begins, since a worker learns of a new mount within a second and that is no part of a load.
const FIRST: &str = "first";
const SMALL_LENGTH: usize = 110_000;
/// Requests of the download at a time; more are no faster here.
const REQUESTS: usize = 16;
/// Larger objects are downloaded in ranges of this length.
const RANGE_LENGTH: u64 = 16 * MIB;
const BY_OBJECT_STORE: &str = "parallel object_store download to files";
const BY_RANGES: &str = "parallel download of ranges to a file";

/// One object, or a range of it.
#[derive(Clone)]
struct Part {
    key: String,
    offset: u64,
    length: u64,
}

/// Measures one large object, then many small ones, then small ones that are read before anybody loads them.
pub(crate) fn run(effort: Effort) -> Vec<Row> {
    let large_length = effort.pick(1024, 64) * MIB;
    let small_count = effort.pick(2000_u64, 200);
    let server = Rclone::start(BUCKET, |folder| {
        write_file(&folder.join(FIRST), 0, 1);
        write_file(&folder.join("large/object"), 1, usize::try_from(large_length).expect("small"));
        for index in 0..small_count {
            write_file(&folder.join(format!("small/f{index}")), index, SMALL_LENGTH);
        }
    });
    let large: Vec<_> = (0..large_length.div_ceil(RANGE_LENGTH))
        .map(|range| range * RANGE_LENGTH)
        .map(|offset| {
            let length = RANGE_LENGTH.min(large_length - offset);
            Part { key: "large/object".to_owned(), offset, length }
        })
        .collect();
    let small: Vec<_> = (0..small_count)
        .map(|index| Part { key: format!("small/f{index}"), offset: 0, length: SMALL_LENGTH as u64 })
        .collect();
    // The server computes the sum of each object when it is first asked for.
    download_ranges(&server, &large);
    download_objects(&server, &small);
    let row = |case, folder, unit, amount: f64, parts: &[Part], by, download: Download| {
        Row::measure(effort, case, unit, by, |side| {
            let seconds = match side {
                Side::Ours => load(&server, folder, parts.iter().map(|part| part.length).sum()),
                Side::Baseline => download(&server, parts),
            };
            amount / seconds
        })
    };
    let length = large_length as f64 / MIB as f64;
    vec![
        row("load of one large object", "large", "MiB/s", length, &large, BY_RANGES, download_ranges),
        row(
            "load of small objects",
            "small",
            "files/s",
            small_count as f64,
            &small,
            BY_OBJECT_STORE,
            download_objects,
        ),
        walk::row(effort, &server),
    ]
}

/// Seconds for all parts.
type Download = fn(&Rclone, &[Part]) -> f64;

/// Seconds from the job's begin to its end, as the job itself says.
fn load(server: &Rclone, folder: &str, length: u64) -> f64 {
    let cluster = Cluster::builder().ram("0").tier("4GiB").start();
    let mounted = cluster.mount_s3(&format!("s3://{BUCKET}"), "/data", server.endpoint(), &[]);
    assert_eq!(mounted.code, 0, "{}", mounted.stderr);
    assert_eq!(cluster.run_for_bytes(&["fs", "cat", &format!("/data/{FIRST}")]).len(), 1);
    let job = cluster.json(&["load", &format!("/data/{folder}")]);
    assert_eq!((&job["state"], &job["bytes_done"]), (&"SUCCEEDED".into(), &length.into()), "{job}");
    job["seconds"].as_f64().expect("a number")
}

/// Each part is a whole object, written to a file by a program that does nothing else.
fn download_objects(server: &Rclone, parts: &[Part]) -> f64 {
    let folder = TempDir::new().expect("a folder");
    let files: Vec<_> = parts.iter().map(|part| created(&folder.path().join(&part.key))).collect();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let store = AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_allow_http(true)
        .with_bucket_name(BUCKET)
        .with_region("us-east-1")
        .with_access_key_id(KEY_ID)
        .with_secret_access_key(SECRET_KEY)
        .build()
        .expect("a client");
    let begun = Instant::now();
    let parts = parts.iter().cloned().zip(files);
    let fetches = parts.map(|(part, file)| tokio::spawn(fetch(store.clone(), part, file)));
    runtime.block_on(async {
        stream::iter(fetches).buffer_unordered(REQUESTS).try_collect::<()>().await.expect("no panic");
    });
    begun.elapsed().as_secs_f64()
}

async fn fetch(store: AmazonS3, part: Part, file: File) {
    let answer = store.get(&part.key.as_str().into()).await.expect("there");
    let (mut pieces, mut at) = (answer.into_stream(), 0);
    while let Some(piece) = pieces.try_next().await.expect("whole") {
        file.write_all_at(&piece, at).expect("room");
        at += piece.len() as u64;
    }
    assert_eq!(at, part.length, "{}", part.key);
}

/// Each part is a range, written to its place in a file.
fn download_ranges(server: &Rclone, parts: &[Part]) -> f64 {
    let folder = TempDir::new().expect("a folder");
    let files: Vec<_> = parts.iter().map(|part| created(&folder.path().join(&part.key))).collect();
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..REQUESTS {
            scope.spawn(|| {
                let mut client = S3Client::new(server.endpoint());
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(Part { key, offset, length }) = parts.get(index) else { return };
                    client.get_range(BUCKET, key, *offset..offset + length, |at, piece| {
                        files[index].write_all_at(piece, at).expect("room");
                    });
                }
            });
        }
    });
    begun.elapsed().as_secs_f64()
}

fn created(path: &Path) -> File {
    create_dir_all(path.parent().expect("a file lies in a folder")).expect("made");
    File::options().create(true).truncate(false).write(true).open(path).expect("a file")
}
