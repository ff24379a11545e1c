//! A server that answers what a test tells it to: cut bodies, wrong tags, errors, silence.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to answer one request with.
pub(crate) enum Reply {
    /// These bytes, head and body as they are; then the connection is closed.
    Bytes(Vec<u8>),
    /// Nothing, for ever.
    Silence,
}

/// A running server. It is stopped when this is dropped.
pub(crate) struct FaultServer {
    pub(crate) endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
    at_once_max: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// An answer with its length told rightly.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Reply {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

/// An answer whose headers are as given, right or not.
pub(crate) fn raw(status: &str, headers: &str, body: &[u8]) -> Reply {
    Reply::Bytes(
        [format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").as_bytes(), body].concat(),
    )
}

/// An S3 server's error.
pub(crate) fn error(status: &str, code: &str) -> Reply {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as planned</Message></Error>");
    answer(status, "Content-Type: application/xml\r\n", body.as_bytes())
}

impl FaultServer {
    /// Starts one that answers a request, given its head and its number from 0, with what `script` says.
    pub(crate) async fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (at_once, at_once_max) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (script, log, peak) = (Arc::new(script), Arc::clone(&requests), Arc::clone(&at_once_max));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("accepted");
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                let (at_once, peak) = (Arc::clone(&at_once), Arc::clone(&peak));
                connections.spawn(async move {
                    peak.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    serve(stream, &*script, &log, &at_once).await;
                });
            }
        });
        Self { endpoint, requests, at_once_max, task }
    }

    /// The heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }

    /// Most requests that were open at once.
    pub(crate) fn at_once_max(&self) -> usize {
        self.at_once_max.load(Ordering::SeqCst)
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &(impl Fn(&str, usize) -> Reply + Send + Sync),
    log: &Mutex<Vec<String>>,
    at_once: &AtomicUsize,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => {
                at_once.fetch_sub(1, Ordering::SeqCst);
                return;
            }
        }
    }
    let head = String::from_utf8(head).expect("heads are ASCII");
    let number = {
        let mut log = log.lock().expect("not poisoned");
        log.push(head.clone());
        log.len() - 1
    };
    match script(&head, number) {
        Reply::Silence => std::future::pending().await,
        Reply::Bytes(bytes) => {
            // Not open any more once the client may know: what follows is the client's next request.
            let (last, first) = bytes.split_last().expect("an answer has bytes");
            let sent = stream.write_all(first).await;
            at_once.fetch_sub(1, Ordering::SeqCst);
            if sent.is_ok() {
                let _ = stream.write_all(&[*last]).await;
                let _ = stream.shutdown().await;
            }
        }
    }
}
