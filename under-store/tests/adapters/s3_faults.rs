//! Reads from a server that fails: each failure is told for what it is, and what passes is tried again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_types::{ByteCount, ErrorKind, FileOffset, Fingerprint, Timestamp, UnderStoreKey};
use forebay_under_store::{UnderStore, UnderStoreError};
use futures::TryStreamExt;

use crate::fault_server::{FaultServer, Reply, answer, error, raw};
use crate::open;

const BODY: [u8; 100] = [7; 100];
const WHOLE: &str = "ETag: \"right\"\r\nContent-Range: bytes 0-99/100\r\n";

fn version() -> Fingerprint {
    Fingerprint {
        tag: Some("right".to_owned()),
        version_id: None,
        length: ByteCount::new(100),
        modified: Timestamp::default(),
        local: None,
    }
}

fn open_on(server: &FaultServer, options: &[(&str, &str)]) -> Arc<dyn UnderStore> {
    let mut all =
        vec![("endpoint", &server.endpoint[..]), ("access_key_id", "key"), ("secret_access_key", "secret")];
    all.extend_from_slice(options);
    open("s3://bucket/dir", &all).expect("legal options")
}

async fn read_version(store: &dyn UnderStore, version: &Fingerprint) -> Result<Vec<u8>, UnderStoreError> {
    let key = UnderStoreKey::new(*b"a b").expect("short");
    let range = FileOffset::new(0)..FileOffset::new(100);
    let chunks: Vec<Bytes> = store.read(&key, range, version).await?.try_collect().await?;
    Ok(chunks.concat())
}

async fn read_from(
    script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
) -> Result<Vec<u8>, UnderStoreError> {
    let server = FaultServer::start(script).await;
    read_version(&*open_on(&server, &[]), &version()).await
}

#[tokio::test]
async fn a_sound_answer_is_read_whole() {
    assert_eq!(read_from(|_, _| answer("206 Partial Content", WHOLE, &BODY)).await.expect("sound"), BODY);
    assert_eq!(read_from(|_, _| answer("200 OK", "ETag: right\r\n", &BODY)).await.expect("sound"), BODY);
}

#[tokio::test]
async fn a_body_cut_short_is_an_error_however_it_is_cut() {
    let lengths = ["Content-Length: 100\r\n", "", "Transfer-Encoding: chunked\r\n"];
    for length in lengths {
        let headers = format!("{WHOLE}{length}");
        let body =
            if length.contains("chunked") { [b"64\r\n", &BODY[..60]].concat() } else { BODY[..60].to_vec() };
        let read = read_from(move |_, _| raw("206 Partial Content", &headers, &body)).await;
        let error = read.expect_err(length);
        assert_eq!(error.kind(), ErrorKind::UnderStore);
        let is_told = matches!(&error, UnderStoreError::CutShort { expected, received, .. }
            if expected.get() == 100 && received.get() == 60);
        assert!(is_told, "{length}: {error:?}");
        assert!(error.to_string().contains("s3://bucket/dir/a b"), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_goes_on_is_an_error() {
    let read = read_from(|_, _| raw("206 Partial Content", WHOLE, &[7; 101])).await;
    assert!(matches!(read, Err(UnderStoreError::TooLong { .. })), "{read:?}");
}

#[tokio::test]
async fn another_tag_or_length_is_told_although_the_condition_was_ignored() {
    let others = [
        "ETag: \"wrong\"\r\nContent-Range: bytes 0-99/100\r\n",
        "ETag: \"right\"\r\nContent-Range: bytes 0-99/101\r\n",
    ];
    for headers in others {
        let error =
            read_from(move |_, _| answer("206 Partial Content", headers, &BODY)).await.expect_err(headers);
        assert_eq!(error.kind(), ErrorKind::Stale);
        assert!(matches!(&error, UnderStoreError::Changed { found: Some(_), .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_say_what_it_is_is_not_taken() {
    let headers = [
        "Content-Range: bytes 0-99/100\r\n",
        "ETag: \"right\"\r\n",
        "ETag: \"right\"\r\nContent-Range: bytes 1-100/100\r\n",
    ];
    for headers in headers {
        let read = read_from(move |_, _| answer("206 Partial Content", headers, &BODY)).await;
        assert!(matches!(read, Err(UnderStoreError::Malformed { .. })), "{headers}: {read:?}");
    }
}

#[tokio::test]
async fn a_failed_condition_tells_what_is_there_now() {
    let script = |head: &str, _| match head.split_once(' ').expect("a method").0 {
        "HEAD" => raw("200 OK", "ETag: \"new\"\r\nContent-Length: 70\r\n", b""),
        _ => error("412 Precondition Failed", "PreconditionFailed"),
    };
    let read = read_from(script).await;
    let is_told = matches!(&read, Err(UnderStoreError::Changed { found: Some(found), .. })
        if found.tag.as_deref() == Some("new") && found.length.get() == 70);
    assert!(is_told, "{read:?}");
    let gone = read_from(|_, _| error("404 Not Found", "NoSuchKey")).await;
    assert!(matches!(gone, Err(UnderStoreError::Changed { found: None, .. })), "{gone:?}");
}

#[tokio::test]
async fn what_passes_is_tried_again_and_counted() {
    let server = FaultServer::start(|_, number| match number {
        0 => error("503 Slow Down", "SlowDown"),
        1 => raw("503 Service Unavailable", "", b""),
        _ => answer("206 Partial Content", WHOLE, &BODY),
    })
    .await;
    let store = open_on(&server, &[]);
    assert_eq!(read_version(&*store, &version()).await.expect("in the end"), BODY);
    let counts = store.statistics().counts();
    assert_eq!((counts.get_requests, counts.retries, counts.errors, counts.read_bytes), (3, 2, 0, 100));
}

#[tokio::test]
async fn what_does_not_pass_is_asked_once_and_told_with_the_way_out() {
    let cases = [
        ("403 Forbidden", "SignatureDoesNotMatch", ErrorKind::PermissionDenied, "secret_access_key"),
        ("403 Forbidden", "AccessDenied", ErrorKind::PermissionDenied, "let these credentials"),
        ("404 Not Found", "NoSuchBucket", ErrorKind::NotFound, "create the bucket"),
        ("301 Moved Permanently", "PermanentRedirect", ErrorKind::InvalidArgument, "set the option region"),
    ];
    for (status, code, kind, hint) in cases {
        let server = FaultServer::start(move |_, _| error(status, code)).await;
        let store = open_on(&server, &[]);
        for error in [read_version(&*store, &version()).await.map(drop), store.check().await] {
            let error = error.expect_err(code);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(hint) && error.to_string().contains("s3://bucket"), "{error}");
        }
        assert_eq!((server.requests().len(), store.statistics().counts().errors), (2, 2));
    }
}

#[tokio::test]
async fn requests_say_which_version_they_want_and_who_asks() {
    let server = FaultServer::start(|_, _| answer("206 Partial Content", WHOLE, &BODY)).await;
    let store = open_on(&server, &[("session_token", "session")]);
    read_version(&*store, &version()).await.expect("sound");
    let kept = Fingerprint { version_id: Some("v/1".to_owned()), ..version() };
    read_version(&*store, &kept).await.expect("the answer names no version, so the tag decides");
    let unsigned = open("s3://bucket/dir", &[("endpoint", &server.endpoint), ("skip_signature", "true")]);
    read_version(&*unsigned.expect("legal"), &version()).await.expect("sound");
    let requests: Vec<String> = server.requests().iter().map(|head| head.to_lowercase()).collect();
    assert!(requests[0].starts_with("get /bucket/dir/a%20b http/1.1\r\n"), "{}", requests[0]);
    for part in
        ["range: bytes=0-99", "if-match: \"right\"", "user-agent: forebay/", "x-amz-security-token: session"]
    {
        assert!(requests[0].contains(part), "{part} in {}", requests[0]);
    }
    assert!(requests[0].contains("authorization: aws4-hmac-sha256 credential=key/"), "{}", requests[0]);
    assert!(requests[1].starts_with("get /bucket/dir/a%20b?versionid=v%2f1 "), "{}", requests[1]);
    assert!(!requests[2].contains("authorization"), "{}", requests[2]);
}

/// A bucket that keeps versions: the first one until it was read once, then the second.
fn versioned(head: &str, number: usize) -> Reply {
    let of = |tag: &str, id: &str| {
        format!("ETag: \"{tag}\"\r\nx-amz-version-id: {id}\r\nContent-Range: bytes 0-99/100\r\n")
    };
    let head = head.to_lowercase();
    match (head.starts_with("head"), head.contains("?versionid=one "), number) {
        (false, true, _) | (false, _, 0) => answer("206 Partial Content", &of("right", "one"), &BODY),
        (true, ..) => raw("200 OK", &format!("{}Content-Length: 100\r\n", of("wrong", "two")), b""),
        (false, ..) => error("412 Precondition Failed", "PreconditionFailed"),
    }
}

#[tokio::test]
async fn what_was_read_from_a_bucket_that_keeps_versions_can_be_read_on_after_it_was_replaced() {
    let server = FaultServer::start(versioned).await;
    let store = open_on(&server, &[]);
    for _ in 0..3 {
        assert_eq!(read_version(&*store, &version()).await.expect("kept by the bucket"), BODY);
    }
    let other = open_on(&server, &[]);
    let read = read_version(&*other, &version()).await;
    assert!(matches!(read, Err(UnderStoreError::Changed { .. })), "its id was never told: {read:?}");
}

#[tokio::test]
async fn no_more_requests_run_at_once_than_allowed() {
    let server = FaultServer::start(|_, _| answer("206 Partial Content", WHOLE, &BODY)).await;
    let store = open_on(&server, &[("concurrency", "2")]);
    let version = version();
    futures::future::try_join_all((0..20).map(|_| read_version(&*store, &version))).await.expect("sound");
    assert_eq!(server.requests().len(), 20);
    assert!(server.at_once_max() <= 2, "{} at once", server.at_once_max());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_its_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let store = open("s3://bucket", &[("endpoint", &endpoint), ("skip_signature", "true")]).expect("legal");
    let error = store.check().await.expect_err("nobody listens");
    assert!(matches!(error, UnderStoreError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&endpoint) && error.to_string().contains("refused"), "{error}");
    assert!(store.statistics().counts().retries > 0);
}

#[tokio::test]
async fn a_server_that_never_answers_ends_with_the_budget() {
    let server = FaultServer::start(|_, _| Reply::Silence).await;
    let check = open_on(&server, &[]);
    // The product's bound is 5 s; the rest is for a busy machine.
    let ended = tokio::time::timeout(Duration::from_secs(60), check.check()).await.expect("it ends");
    // Whose fault it is, and not the cluster's, which would be told by `TimedOut`.
    assert_eq!(ended.expect_err("no answer").kind(), ErrorKind::UnderStore);
}

#[tokio::test]
async fn a_check_has_one_budget_for_all_that_it_asks() {
    let server = FaultServer::start(|head, _| match head.split_once(' ').expect("a method").0 {
        "HEAD" => Reply::Silence,
        _ => answer("200 OK", "", b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"),
    })
    .await;
    let begun = std::time::Instant::now();
    let error = open_on(&server, &[]).check().await.expect_err("half an answer");
    assert_eq!((error.kind(), server.requests().len()), (ErrorKind::UnderStore, 2));
    // The product's bound is 5 s, and room for a busy machine below the budget of another call, 30 s.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_in_trouble_is_given_up_with_its_own_words() {
    let server = FaultServer::start(|_, _| error("500 Internal Server Error", "InternalError")).await;
    let error = open_on(&server, &[]).check().await.expect_err("in trouble");
    assert_eq!(error.kind(), ErrorKind::UnderStore);
    assert!(
        error.to_string().contains("InternalError") && error.to_string().contains("as planned"),
        "{error}"
    );
    assert!(server.requests().len() > 1);
}

#[tokio::test]
async fn who_asks_a_silent_server_again_waits_less() {
    let server = FaultServer::start(|_, _| Reply::Silence).await;
    let store = open_on(&server, &[]);
    // The whole budget of a check, which is shorter than that of a read.
    store.check().await.expect_err("no answer");
    let begun = std::time::Instant::now();
    let error = read_version(&*store, &version()).await.expect_err("no answer");
    assert_eq!(error.kind(), ErrorKind::UnderStore);
    // A bound that the product promises, 3 s, and room for a busy machine below the whole budget of 30 s.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
