//! Which log lines of a served request say what they belong to: asked over a real connection, read from real lines.

use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body as Page;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing_subscriber::EnvFilter;

use crate::transport::serve;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A page that logs when it is asked for, when its body is made, and from a task that it leaves behind.
async fn page() -> Page {
    tracing::error!("asked");
    let left = tokio::spawn(tracing::Instrument::in_current_span(async { tracing::error!("left behind") }));
    let body = async move {
        left.await.expect("no panic");
        tracing::error!("made");
        Ok::<_, io::Error>("text")
    };
    Page::from_stream(futures::stream::once(body))
}

/// The lines, each with the `rpc` of its innermost span, that a request for `path` makes under `filter`.
async fn lines_of(path: &str, filter: &str) -> Vec<(String, Option<String>)> {
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(move || writer.clone())
        .json()
        .flatten_event(true)
        .finish();
    // The runtime of a test has one thread, so all of the server is seen.
    let _logging = tracing::subscriber::set_default(subscriber);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (address, cancel) = (listener.local_addr().expect("bound"), CancellationToken::new());
    let routes = Router::new().route("/forebay.v1.Blocks/Read", get(page)).route("/metrics", get(page));
    let server = tokio::spawn(serve(listener, Routes::from(routes), cancel.clone()));
    let mut stream = TcpStream::connect(address).await.expect("serves");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text"), "{answer}");
    cancel.cancel();
    server.await.expect("no panic").expect("a clean end");
    let bytes = sink.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).expect("text");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let word = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    lines
        .filter(|line| line["level"] == "ERROR")
        .map(|line| (word(&line["message"]).expect("a message"), word(&line["span"]["rpc"])))
        .collect()
}

/// One test, since tracing remembers for the whole process which places in the code anybody wants lines of.
#[tokio::test]
async fn each_line_of_a_request_says_its_rpc_to_the_end_of_the_body_where_somebody_asked_for_that_level() {
    let rpc = "/forebay.v1.Blocks/Read";
    for (path, filter, expected) in
        [(rpc, "debug", Some("Blocks/Read")), (rpc, "info", None), ("/metrics", "debug", None)]
    {
        let expected =
            ["asked", "left behind", "made"].map(|message| (message.to_owned(), expected.map(str::to_owned)));
        assert_eq!(lines_of(path, filter).await, expected, "{path}");
    }
}
