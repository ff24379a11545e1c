//! A bucket whose server a test slows down and breaks: real HTTP on loopback, and of S3 what a listing needs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// The bucket; clones share it.
#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    keys: Mutex<BTreeSet<String>>,
    /// Keys of one page.
    page_length: Mutex<usize>,
    /// Objects are answered for without what tells their versions.
    is_odd: Mutex<bool>,
    /// Listings whose content is settled, sent or not.
    settled: watch::Sender<usize>,
    /// Listings that may be sent.
    sent: Semaphore,
}

impl Bucket {
    /// A bucket that sends so many listings and holds the others back.
    pub(super) async fn new(listings: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            keys: Mutex::default(),
            page_length: Mutex::new(1000),
            is_odd: Mutex::new(false),
            settled: watch::channel(0).0,
            sent: Semaphore::new(listings),
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(Arc::clone(&serving), stream));
            }
        });
        Self { address, state }
    }

    pub(super) fn put(&self, key: &str) {
        self.state.keys.lock().insert(key.to_owned());
    }

    pub(super) fn remove(&self, key: &str) {
        self.state.keys.lock().remove(key);
    }

    /// Lists so many keys at a time. Of a listing each page counts as one.
    pub(super) fn set_page_length(&self, keys: usize) {
        *self.state.page_length.lock() = keys;
    }

    pub(super) fn be_odd(&self, is_odd: bool) {
        *self.state.is_odd.lock() = is_odd;
    }

    /// Lets so many more listings go.
    pub(super) fn send(&self, listings: usize) {
        self.state.sent.add_permits(listings);
    }

    /// Waits until the content of so many listings is settled: what is put later is in none of them.
    pub(super) async fn settled(&self, listings: usize) {
        let mut settled = self.state.settled.subscribe();
        settled.wait_for(|settled| *settled >= listings).await.expect("the bucket is there");
    }
}

async fn answer(state: Arc<State>, mut stream: TcpStream) {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => head.extend_from_slice(&buffer[..read]),
        }
    }
    let answer = if head.starts_with(b"HEAD ") {
        let tag = if *state.is_odd.lock() { "" } else { "ETag: \"t\"\r\n" };
        format!("{tag}Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 1\r\n\r\n")
    } else {
        let head = String::from_utf8_lossy(&head);
        let after = head.split("continuation-token=").nth(1).and_then(|rest| rest.split(['&', ' ']).next());
        let listed = listing(&state.keys.lock(), after.unwrap_or_default(), *state.page_length.lock());
        state.settled.send_modify(|settled| *settled += 1);
        state.sent.acquire().await.expect("never closed").forget();
        format!("Content-Length: {}\r\n\r\n{listed}", listed.len())
    };
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{answer}");
    // Whoever asked may have gone.
    drop(stream.write_all(answer.as_bytes()).await);
}

fn listing(keys: &BTreeSet<String>, after: &str, page_length: usize) -> String {
    let following = || keys.iter().filter(|key| key.as_str() > after);
    let contents: String = following()
        .take(page_length)
        .map(|key| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>\
                 <ETag>\"t\"</ETag><Size>1</Size></Contents>"
            )
        })
        .collect();
    let next = following().nth(page_length).and_then(|_| following().nth(page_length - 1));
    let next = next
        .map_or_else(String::new, |token| format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    let is_truncated = !next.is_empty();
    format!("<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>{next}{contents}</ListBucketResult>")
}
