//! A writer of buckets: puts and deletes objects behind the cluster's back, under any key that a server takes.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;

use crate::http_message::{Head, read_body};
use crate::signature::sign;

/// How much of a body is received at once.
const PIECE_LENGTH: usize = 1 << 20;

/// One connection to a server, opened when it is needed.
#[derive(Debug)]
pub struct S3Client {
    address: String,
    connection: Option<BufReader<TcpStream>>,
}

impl S3Client {
    /// A client of the server at an endpoint such as `http://127.0.0.1:9000`.
    ///
    /// # Panics
    /// When it is no such endpoint.
    #[must_use]
    pub fn new(endpoint: &str) -> Self {
        let address = endpoint.strip_prefix("http://").expect("an endpoint without TLS").to_owned();
        Self { address, connection: None }
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create_bucket(&mut self, bucket: &str) {
        self.must("PUT", bucket, b"", &[]);
    }

    /// Writes an object, instead of what was there.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn put(&mut self, bucket: &str, key: impl AsRef<[u8]>, content: &[u8]) {
        self.must("PUT", bucket, key.as_ref(), content);
    }

    /// Deletes an object.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn delete(&mut self, bucket: &str, key: impl AsRef<[u8]>) {
        self.must("DELETE", bucket, key.as_ref(), &[]);
    }

    /// Reads a part of an object and gives it to `take` piece by piece, with the place of each in the object.
    ///
    /// # Panics
    /// When the server refuses or sends less.
    pub fn get_range(
        &mut self,
        bucket: &str,
        key: impl AsRef<[u8]>,
        range: std::ops::Range<u64>,
        mut take: impl FnMut(u64, &[u8]),
    ) {
        let mut request = Head::new(format!("GET /{bucket}/{} HTTP/1.1", escaped(key.as_ref())));
        request.set("Range", format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        sign(&mut request, &self.address);
        let mut connection = self.connection.take().unwrap_or_else(|| {
            BufReader::new(TcpStream::connect(&self.address).expect("the server listens"))
        });
        request.write(connection.get_mut()).expect("sent");
        let answer = Head::read(&mut connection).expect("received").expect("an answer");
        assert_eq!(answer.content_length(), Some(range.end - range.start), "{}", answer.start);
        let (mut at, mut piece) = (range.start, vec![0; PIECE_LENGTH]);
        while at < range.end {
            let most = piece.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
            let had = connection.read(&mut piece[..most]).expect("received");
            assert!(had > 0, "the body of {} ended early", answer.start);
            take(at, &piece[..had]);
            at += had as u64;
        }
        self.connection = (!answer.is_last()).then_some(connection);
    }

    /// One page of the names below a prefix that ends in a slash: how many keys it has, and what to ask for the next one
    /// with; nothing to begin.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn list_page(&mut self, bucket: &str, prefix: &str, after: Option<&str>) -> (usize, Option<String>) {
        let prefix = escaped(prefix.as_bytes()).replace('/', "%2F");
        let mut target = format!("/{bucket}?delimiter=%2F&list-type=2&max-keys=1000&prefix={prefix}");
        if let Some(after) = after {
            let token = escaped(after.as_bytes()).replace('/', "%2F");
            target.push_str(&format!("&continuation-token={token}"));
        }
        let (status, body) = self.send("GET", &target, b"").unwrap_or_else(|_| {
            self.connection = None;
            self.send("GET", &target, b"").expect("the server answers")
        });
        let body = String::from_utf8_lossy(&body);
        assert!((200..300).contains(&status), "{target}: {status} {body}");
        let next = body.split("<NextContinuationToken>").nth(1).and_then(|rest| rest.split('<').next());
        (body.matches("<Key>").count(), next.map(str::to_owned))
    }

    fn must(&mut self, method: &str, bucket: &str, key: &[u8], content: &[u8]) {
        let target = match key {
            b"" => format!("/{bucket}"),
            _ => format!("/{bucket}/{}", escaped(key)),
        };
        // A kept connection may have been ended by the server meanwhile; all of these may be sent twice.
        let (status, body) = self.send(method, &target, content).unwrap_or_else(|_| {
            self.connection = None;
            self.send(method, &target, content).expect("the server answers")
        });
        let body = String::from_utf8_lossy(&body);
        assert!((200..300).contains(&status), "{method} {target}: {status} {body}");
    }

    fn send(&mut self, method: &str, target: &str, content: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut request = Head::new(format!("{method} {target} HTTP/1.1"));
        request.set("Content-Length", content.len());
        sign(&mut request, &self.address);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(TcpStream::connect(&self.address)?),
        };
        connection.get_ref().set_nodelay(true)?;
        request.write(connection.get_mut())?;
        connection.get_mut().write_all(content)?;
        let answer = Head::read(&mut connection)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = answer.status()?;
        let body = if status == 204 { Vec::new() } else { read_body(&answer, &mut connection)? };
        self.connection = (!answer.is_last()).then_some(connection);
        Ok((status, body))
    }
}

/// A key as it stands in a URL.
fn escaped(key: &[u8]) -> String {
    let part = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
            char::from(*byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    key.iter().map(part).collect()
}
