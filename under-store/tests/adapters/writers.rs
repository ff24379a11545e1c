//! Writers that go behind an under-store's back: into its directory, or into its bucket by signed requests.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use forebay_under_store::conformance::RawWriter;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, StatusCode, Uri};
use object_store::ClientOptions;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Writes files below a directory; a file is replaced by rename.
pub(crate) struct DirectoryWriter {
    root: PathBuf,
    next: AtomicU64,
}

impl DirectoryWriter {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, next: AtomicU64::new(0) }
    }
}

#[async_trait]
impl RawWriter for DirectoryWriter {
    async fn put(&self, key: &[u8], content: Bytes) {
        let path = self.root.join(OsStr::from_bytes(key));
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("folders");
        let fresh = self.root.with_extension(format!("new-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        std::fs::write(&fresh, content).expect("written");
        std::fs::rename(fresh, path).expect("renamed");
    }

    async fn delete(&self, key: &[u8]) {
        std::fs::remove_file(self.root.join(OsStr::from_bytes(key))).expect("deleted");
    }
}

/// How often a write is sent at most.
const ATTEMPTS: usize = 5;

/// Writes objects into a bucket.
pub(crate) struct BucketWriter {
    base: String,
    client: HttpClient,
    credential: AwsCredential,
}

impl BucketWriter {
    /// `base` is the URL of the bucket, perhaps with a prefix.
    pub(crate) fn new(base: String, key_id: &str, secret_key: &str) -> Self {
        let options = ClientOptions::new().with_allow_http(true);
        Self {
            base,
            client: ReqwestConnector::default().connect(&options).expect("a client"),
            credential: AwsCredential { key_id: key_id.into(), secret_key: secret_key.into(), token: None },
        }
    }

    /// Sends one request; `target` follows the base URL. A server's own trouble is met as S3 clients meet it, by asking
    /// again: rclone answers 500 to some of many writes that come at once into a new folder.
    pub(crate) async fn send(&self, method: Method, target: &str, content: Bytes) {
        let mut answers = Vec::new();
        while answers.len() < ATTEMPTS {
            let (status, body) = self.attempt(&method, target, content.clone()).await;
            if status.is_success() {
                return;
            }
            answers.push(format!("{status} {body}"));
            if !status.is_server_error() {
                break;
            }
        }
        panic!("{target}: {answers:?}");
    }

    async fn attempt(&self, method: &Method, target: &str, content: Bytes) -> (StatusCode, String) {
        let length = HeaderValue::from(content.len());
        let mut request = HttpRequest::new(HttpRequestBody::from(content));
        request.headers_mut().insert(CONTENT_LENGTH, length);
        *request.method_mut() = method.clone();
        *request.uri_mut() = format!("{}{target}", self.base).parse::<Uri>().expect("a legal URI");
        AwsAuthorizer::new(&self.credential, "s3", "us-east-1")
            .try_authorize(&mut request, None)
            .expect("signed");
        let answer =
            self.client.execute(request).await.unwrap_or_else(|problem| panic!("{target}: {problem:?}"));
        let (head, body) = answer.into_parts();
        let body = body.bytes().await.expect("a body");
        (head.status, String::from_utf8_lossy(&body).into_owned())
    }

    fn target(key: &[u8]) -> String {
        const ESCAPED: AsciiSet =
            NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');
        format!("/{}", percent_encode(key, &ESCAPED))
    }
}

#[async_trait]
impl RawWriter for BucketWriter {
    async fn put(&self, key: &[u8], content: Bytes) {
        self.send(Method::PUT, &Self::target(key), content).await;
    }

    async fn delete(&self, key: &[u8]) {
        self.send(Method::DELETE, &Self::target(key), Bytes::new()).await;
    }
}
