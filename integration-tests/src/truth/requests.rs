//! Requests to a bucket beyond putting and deleting: copies within the server, and versions.

use std::io::BufReader;
use std::net::TcpStream;

use crate::http_message::{Head, read_body};
use crate::signature::sign;

/// Keeps each version of an object that is replaced or deleted.
const VERSIONING: &[u8] = b"<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
    <Status>Enabled</Status></VersioningConfiguration>";

/// Who makes them, one connection each.
#[derive(Clone, Debug)]
pub struct Requests {
    address: String,
    bucket: String,
}

impl Requests {
    /// Requests to a bucket of the server at an endpoint such as `http://127.0.0.1:9000`.
    ///
    /// # Panics
    /// When it is no such endpoint.
    #[must_use]
    pub fn new(endpoint: &str, bucket: &str) -> Self {
        let address = endpoint.strip_prefix("http://").expect("an endpoint without TLS");
        Self { address: address.to_owned(), bucket: bucket.to_owned() }
    }

    /// Has the server copy an object over another one, or to where there is none.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn copy(&self, from: &str, to: &str) {
        let mut request = Head::new(format!("PUT /{}/{to} HTTP/1.1", self.bucket));
        request.set("x-amz-copy-source", format!("/{}/{from}", self.bucket));
        self.must(request, b"");
    }

    /// Has the server keep all versions from now on.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn keep_versions(&self) {
        self.must(Head::new(format!("PUT /{}?versioning HTTP/1.1", self.bucket)), VERSIONING);
    }

    fn must(&self, mut request: Head, content: &[u8]) {
        request.set("Content-Length", content.len());
        request.set("Connection", "close");
        sign(&mut request, &self.address);
        let mut connection = BufReader::new(TcpStream::connect(&self.address).expect("the server listens"));
        request.write(connection.get_mut()).expect("sent");
        std::io::Write::write_all(connection.get_mut(), content).expect("sent");
        let answer = Head::read(&mut connection).expect("received").expect("an answer");
        let body = read_body(&answer, &mut connection).expect("received");
        let (status, body) = (answer.status().expect("a status"), String::from_utf8_lossy(&body));
        // A copy that fails late says so below a status that says it went well.
        let went_well = (200..300).contains(&status) && !body.contains("<Error>");
        assert!(went_well, "{}: {status} {body}", request.start);
    }
}
