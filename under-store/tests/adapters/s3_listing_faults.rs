//! Listings from a server that fails: a broken page is tried again or an error, never a shorter listing.

use forebay_types::{ErrorKind, UnderStoreKey};
use forebay_under_store::UnderStoreError;

use crate::fault_server::{FaultServer, Reply, answer, error};
use crate::open;

fn page(keys: &[&str], next: Option<&str>) -> Reply {
    let contents: String = keys
        .iter()
        .map(|key| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2024-01-02T03:04:05Z</LastModified><ETag>\"t\"</ETag>\
                 <Size>1</Size></Contents>"
            )
        })
        .collect();
    let next = next.map(|token| format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
         xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name><IsTruncated>{}</IsTruncated>{}\
         <EncodingType>url</EncodingType>{contents}</ListBucketResult>",
        next.is_some(),
        next.unwrap_or_default()
    );
    answer("200 OK", "Content-Type: application/xml\r\n", body.as_bytes())
}

async fn list_all(server: &FaultServer) -> Result<(Vec<String>, u64), UnderStoreError> {
    let store = open("s3://bucket", &[("endpoint", &server.endpoint), ("skip_signature", "true")])?;
    let (mut names, mut skipped, mut token) = (Vec::new(), 0, None);
    loop {
        let page = store.list(&UnderStoreKey::new(*b"d").expect("short"), token).await?;
        names.extend(page.entries.iter().map(|entry| entry.name.to_string()));
        skipped += page.skipped;
        token = match page.next {
            None => return Ok((names, skipped)),
            next => next,
        };
    }
}

#[tokio::test]
async fn pages_follow_the_servers_token() {
    let server = FaultServer::start(|head, _| match head.contains("continuation-token=to%2Bken%2F%3D") {
        false => page(&["d/a", "d/b"], Some("to+ken/=")),
        true => page(&["d/c"], None),
    })
    .await;
    assert_eq!(list_all(&server).await.expect("listed"), (vec!["a".into(), "b".into(), "c".into()], 0));
    let first = &server.requests()[0];
    assert!(first.starts_with("GET /bucket?list-type=2&encoding-type=url&delimiter=%2F"), "{first}");
    assert!(first.contains("&prefix=d%2F "), "{first}");
}

#[tokio::test]
async fn odd_objects_are_counted_and_a_bucket_of_nothing_else_can_be_mounted() {
    let whole = |keys: &[&str], next, part: &str, odd: &str| match page(keys, next) {
        Reply::Bytes(bytes) => {
            let text = String::from_utf8(bytes).expect("text").replace(part, odd);
            answer("200 OK", "", text.split_once("\r\n\r\n").expect("a head").1.as_bytes())
        }
        silence @ Reply::Silence => silence,
    };
    let long = format!("<ETag>\"{}\"</ETag>", "t".repeat(602));
    let server = FaultServer::start(move |head, _| match head.contains("continuation-token=") {
        false => whole(&["d/long", "d/longer"], Some("next"), "<ETag>\"t\"</ETag>", &long),
        true => whole(&["d/untold"], None, "2024-01-02T03:04:05Z", "some day"),
    })
    .await;
    assert_eq!(list_all(&server).await.expect("no error"), (vec![], 3));
    let store = open("s3://bucket/d", &[("endpoint", &server.endpoint), ("skip_signature", "true")]);
    store.expect("legal").check().await.expect("it can be mounted");
}

#[tokio::test]
async fn a_page_cut_in_the_middle_is_asked_for_again() {
    let server = FaultServer::start(|_, number| match (page(&["d/a"], None), number) {
        (Reply::Bytes(bytes), 0) => Reply::Bytes(bytes[..bytes.len() - 40].to_vec()),
        (whole, _) => whole,
    })
    .await;
    assert_eq!(list_all(&server).await.expect("in the end").0, ["a"]);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_page_that_fails_for_good_is_an_error_and_no_end_of_the_listing() {
    let server = FaultServer::start(|_, number| match number {
        0 => page(&["d/a", "d/b"], Some("next")),
        _ => error("403 Forbidden", "AccessDenied"),
    })
    .await;
    assert_eq!(list_all(&server).await.expect_err("denied").kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_page_of_something_else_is_not_an_empty_directory() {
    let server =
        FaultServer::start(|_, _| answer("200 OK", "", b"<html><body>Please sign in</body></html>")).await;
    let error = list_all(&server).await.expect_err("no listing");
    assert!(
        matches!(error, UnderStoreError::Malformed { .. }) && error.to_string().contains("s3://bucket/d"),
        "{error}"
    );
}
