//! A secret that an option refers to is rotated while the worker runs: it is read anew when the under-store refuses the
//! old one, and the reader notices nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use forebay_proto::{OptionSource, v1};
use forebay_types::{
    BLOCK_LENGTH_DEFAULT, ByteCount, ErrorKind, FileId, Fingerprint, Incarnation, MountId, Timestamp,
    UnderStoreKey, VersionDescriptor,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::fixture::{House, MIB, MOUNT, content};
use super::log_lines::Lines;

/// A server with one object, that takes the requests of one access key.
struct Bucket {
    object: Bytes,
    taken: Mutex<&'static str>,
    /// How the others are refused: the status line and the code.
    refusal: (&'static str, &'static str),
    refused: AtomicU64,
}

impl Bucket {
    /// Serves; gives where.
    async fn serve(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let bucket = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let bucket = Arc::clone(&bucket);
                tokio::spawn(async move { bucket.answer(stream).await });
            }
        });
        format!("http://{address}")
    }

    async fn answer(&self, mut stream: TcpStream) {
        let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
        while !head.ends_with(b"\r\n\r\n") {
            let had = stream.read(&mut buffer).await.expect("a request");
            head.extend_from_slice(&buffer[..had]);
            if had == 0 {
                return;
            }
        }
        let head = String::from_utf8(head).expect("text");
        let is_taken = head.contains(&format!("Credential={}/", *self.taken.lock()));
        let (head, body) = if is_taken {
            let range = head.split("bytes=").nth(1).and_then(|rest| rest.split("\r\n").next());
            let (first, last) = range.and_then(|range| range.split_once('-')).expect("a range");
            let at = |text: &str| text.parse::<usize>().expect("a number");
            let body = self.object.slice(at(first)..=at(last));
            let whole = self.object.len();
            (
                format!("206 Partial Content\r\netag: \"t\"\r\ncontent-range: bytes {first}-{last}/{whole}"),
                body,
            )
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let (status, code) = self.refusal;
            let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
            (format!("{status}\r\ncontent-type: application/xml"), body.into())
        };
        let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(&body).await.expect("sent");
    }
}

/// A house whose mount is that bucket, with the access key in a file that holds `old`.
async fn house_over(bucket: &Arc<Bucket>) -> (House, PathBuf, VersionDescriptor) {
    let house = House::new().await;
    let path = house.folder.path().join("access_key_id");
    std::fs::write(&path, "old\n").expect("written");
    let reference = OptionSource::Reference(format!("file:{}", path.display()));
    let options = [
        ("endpoint", OptionSource::Plain(bucket.serve().await)),
        ("access_key_id", reference),
        ("secret_access_key", OptionSource::Secret("secret".to_owned())),
    ];
    let options = options.into_iter().map(|(name, source)| (name.to_owned(), source.into())).collect();
    let uri = "s3://bucket".to_owned();
    let mount = v1::MountCredentials { mount: MOUNT, uri, options, ..Default::default() };
    house.master.script.lock().mounts = vec![mount];
    let version = VersionDescriptor {
        file: FileId { incarnation: Incarnation::new(1), counter: 1 },
        mount: MountId::new(MOUNT),
        key: UnderStoreKey::new(*b"f").expect("short"),
        fingerprint: Fingerprint {
            tag: Some("t".to_owned()),
            version_id: None,
            length: ByteCount::new(bucket.object.len() as u64),
            modified: Timestamp::from_nanos(1),
            local: None,
        },
        block_length: ByteCount::new(BLOCK_LENGTH_DEFAULT),
    };
    (house, path, version)
}

fn bucket(refusal: (&'static str, &'static str)) -> Arc<Bucket> {
    Arc::new(Bucket {
        object: content(20 * MIB, 1).into(),
        taken: Mutex::new("old"),
        refusal,
        refused: AtomicU64::new(0),
    })
}

#[tokio::test]
async fn a_secret_that_was_rotated_is_used_by_the_read_that_meets_the_refusal() {
    for refusal in [("403 Forbidden", "InvalidAccessKeyId"), ("400 Bad Request", "ExpiredToken")] {
        let bucket = bucket(refusal);
        let (house, path, version) = house_over(&bucket).await;
        let worker = house.start().await;
        assert!(worker.read(&version, 0, MIB).await.expect("served") == bucket.object[..1 << 20]);
        let asked = worker.requests();
        std::fs::write(&path, "new\n").expect("written");
        *bucket.taken.lock() = "new";
        let read = worker.read(&version, MIB, u64::MAX).await.expect("served with the new secret");
        assert!(read == bucket.object[1 << 20..]);
        assert!(bucket.refused.load(Ordering::Relaxed) > 0);
        assert!(worker.requests() > asked, "what the old connection asked is counted still");
        assert_eq!(worker.metric("forebay_worker_under_store_read_bytes_total", None), 20 * MIB);
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_refusal_of_a_secret_that_is_the_same_still_is_told_with_its_mount_and_request() {
    let (lines, _logging) = Lines::keep("debug");
    let bucket = bucket(("403 Forbidden", "AccessDenied"));
    *bucket.taken.lock() = "another";
    let (house, _, version) = house_over(&bucket).await;
    let worker = house.start().await;
    let error = worker.read(&version, 0, MIB).await.expect_err("refused");
    assert_eq!((error.kind, bucket.refused.load(Ordering::Relaxed)), (ErrorKind::PermissionDenied, 1));
    let line = lines.of("a fetch from the under-store failed").pop().expect("a line");
    assert_eq!((&line["mount"], &line["span"]["rpc"]), (&"mount:4".into(), &"Blocks/Read".into()), "{line}");
    worker.stop().await;
}
