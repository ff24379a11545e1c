//! A bucket whose server a test slows down and breaks: real HTTP on loopback, and of S3 what a listing needs.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Keys, and the tags of their objects.
    keys: Mutex<BTreeMap<String, String>>,
    /// Keys of one page.
    page_length: Mutex<usize>,
    /// Objects are answered for without what tells their versions.
    is_odd: Mutex<bool>,
    /// Listings are refused.
    is_refusing: Mutex<bool>,
    /// Listings whose content is settled, sent or not.
    settled: watch::Sender<usize>,
    /// Listings that may be sent.
    sent: Semaphore,
    /// Whether answers about single names are held back, and how many were settled.
    holds_back: watch::Sender<bool>,
    asked: watch::Sender<usize>,
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
            is_refusing: Mutex::new(false),
            settled: watch::channel(0).0,
            sent: Semaphore::new(listings),
            holds_back: watch::channel(false).0,
            asked: watch::channel(0).0,
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
        self.put_as(key, "t");
    }

    /// An object with another tag is another version.
    pub(super) fn put_as(&self, key: &str, tag: &str) {
        self.state.keys.lock().insert(key.to_owned(), tag.to_owned());
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

    /// Refuses all listings that are not sent yet.
    pub(super) fn refuse(&self, is_refusing: bool) {
        *self.state.is_refusing.lock() = is_refusing;
    }

    /// Lets so many more listings go.
    pub(super) fn send(&self, listings: usize) {
        self.state.sent.add_permits(listings);
    }

    /// Whether answers about single names, which are settled, wait.
    pub(super) fn hold_back(&self, holds_back: bool) {
        self.state.holds_back.send_replace(holds_back);
    }

    /// Waits until so many questions about single names are settled.
    pub(super) async fn asked(&self, questions: usize) {
        let mut asked = self.state.asked.subscribe();
        asked.wait_for(|asked| *asked >= questions).await.expect("the bucket is there");
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
    let head = String::from_utf8_lossy(&head).into_owned();
    let after = |name: &str| head.split(name).nth(1).and_then(|rest| rest.split(['&', ' ']).next());
    let (prefix, page_length) =
        (after("prefix=").unwrap_or_default().replace("%2F", "/"), *state.page_length.lock());
    let (status, answer) = if head.starts_with("HEAD ") {
        let key = head.split([' ', '?']).nth(1).and_then(|target| target.strip_prefix("/bucket/"));
        let tag = state.keys.lock().get(key.unwrap_or_default()).cloned();
        let told = if *state.is_odd.lock() {
            String::new()
        } else {
            format!("ETag: \"{}\"\r\n", tag.as_deref().unwrap_or("t"))
        };
        settle_question(&state).await;
        let answer =
            format!("{told}Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 1\r\n\r\n");
        if tag.is_some() {
            ("200 OK", answer)
        } else {
            ("404 Not Found", "Content-Length: 0\r\n\r\n".to_owned())
        }
    } else if head.contains("max-keys=1&") {
        let listed = listing(&state.keys.lock(), &prefix, "", 1);
        settle_question(&state).await;
        ("200 OK", format!("Content-Length: {}\r\n\r\n{listed}", listed.len()))
    } else {
        let listed = listing(
            &state.keys.lock(),
            &prefix,
            after("continuation-token=").unwrap_or_default(),
            page_length,
        );
        state.settled.send_modify(|settled| *settled += 1);
        state.sent.acquire().await.expect("never closed").forget();
        let status = if *state.is_refusing.lock() { "403 Forbidden" } else { "200 OK" };
        (status, format!("Content-Length: {}\r\n\r\n{listed}", listed.len()))
    };
    let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{answer}");
    // Whoever asked may have gone.
    drop(stream.write_all(answer.as_bytes()).await);
}

/// What a question is answered is settled; it may wait to be sent.
async fn settle_question(state: &State) {
    state.asked.send_modify(|asked| *asked += 1);
    let mut holds_back = state.holds_back.subscribe();
    holds_back.wait_for(|holds_back| !holds_back).await.expect("the bucket is there");
}

/// A page of the keys after one that begin with a prefix; what follows a slash is rolled up.
fn listing(keys: &BTreeMap<String, String>, prefix: &str, after: &str, page_length: usize) -> String {
    let mut directories = BTreeSet::new();
    let mut entries = Vec::new();
    for (key, tag) in keys.iter().filter(|(key, _)| key.starts_with(prefix)) {
        match key[prefix.len()..].split_once('/') {
            Some((directory, _)) => {
                let rolled_up = format!("{prefix}{directory}/");
                if directories.insert(rolled_up.clone()) {
                    entries.push((
                        rolled_up.clone(),
                        format!("<CommonPrefixes><Prefix>{rolled_up}</Prefix></CommonPrefixes>"),
                    ));
                }
            }
            None => entries.push((
                key.clone(),
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>\
                     <ETag>\"{tag}\"</ETag><Size>1</Size></Contents>"
                ),
            )),
        }
    }
    entries.retain(|(key, _)| key.as_str() > after);
    let next = entries.get(page_length).map(|_| entries[page_length - 1].0.clone());
    let contents: String = entries.into_iter().take(page_length).map(|(_, entry)| entry).collect();
    let is_truncated = next.is_some();
    let next = next
        .map_or_else(String::new, |token| format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    format!("<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>{next}{contents}</ListBucketResult>")
}
