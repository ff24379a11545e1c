//! What log lines say: which request, mount, block and worker they belong to; and that none is repeated for ever.

use std::fs;
use std::io;
use std::sync::{Arc, LazyLock};

use forebay_local::{LEVEL, LocalSocket, Request};
use forebay_runtime::Shutdown;
use parking_lot::Mutex;
use serde_json::Value;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing_subscriber::EnvFilter;

use super::fixture::{House, MIB, content};
use crate::limits::ACCEPT_WARNING_INTERVAL;
use crate::local_socket::LocalServer;
use crate::local_socket::reactor::{register, when_ready};

/// The log lines of this test, as long as the guard lives. The runtime of a test has one thread, which makes all of
/// the worker's lines but those of its disk pool.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where there is but one subscriber, tracing asks the thread that meets a place in the code first whether anybody wants
/// its lines, and remembers a no. The threads of other tests want none, so there is a second subscriber.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

impl Lines {
    pub(super) fn keep(filter: &str) -> (Self, DefaultGuard) {
        LazyLock::force(&SECOND);
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(move || writer.clone())
            .json()
            .flatten_event(true)
            .finish();
        let kept = tracing::subscriber::set_default(subscriber);
        // Of the places that others met before there were two.
        tracing::callsite::rebuild_interest_cache();
        (lines, kept)
    }

    /// The lines with this message.
    pub(super) fn of(&self, message: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().clone()).expect("text");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.filter(|line| line["message"] == message).collect()
    }
}

#[tokio::test]
async fn a_fetch_that_failed_says_its_request_mount_and_block() {
    let (lines, _logging) = Lines::keep("debug");
    let house = House::new().await;
    house.write("f", &content(MIB, 1));
    let (version, worker) = (house.version("f", 1).await, house.start().await);
    fs::remove_file(house.source.path().join("f")).expect("removed");
    worker.read(&version, 0, MIB).await.expect_err("it is gone");
    let line = lines.of("a version was replaced before it was cached").pop().expect("a line");
    let block = version.block_at(forebay_types::FileOffset::new(0)).expect("the first").to_string();
    assert_eq!(line["block"], block.as_str(), "{line}");
    assert_eq!(line["mount"], version.mount.to_string().as_str(), "{line}");
    assert_eq!(line["span"]["rpc"], "Blocks/Read", "{line}");
    let line = lines.of("the worker serves").pop().expect("a line");
    assert_eq!(line["worker"], "worker:11", "{line}");
    worker.stop().await;
}

#[tokio::test]
async fn a_socket_that_nobody_can_connect_to_is_warned_of_once_a_minute() {
    let (lines, _logging) = Lines::keep("warn");
    let house = House::new().await;
    let worker = house.start().await;
    // A connected socket accepts nothing, and is ready for good while nobody reads what came.
    let socket = LocalSocket::connect(&house.folder.path().join("worker/worker.sock")).expect("listens");
    let socket = register(socket).expect("a socket");
    let hello = Request::Hello { level: LEVEL };
    when_ready(&socket, true, |socket| socket.send(&hello, &[])).await.expect("sent");
    let _ = socket.readable().await.expect("answered");
    let core = Arc::clone(worker.worker.blocks.core.get().expect("it serves"));
    tokio::time::pause();
    let stage = Shutdown::new().stage("test");
    let serving = LocalServer::new(core).serve(socket.into_inner(), stage);
    let ended = tokio::time::timeout(ACCEPT_WARNING_INTERVAL * 5 / 2, serving).await;
    assert!(ended.is_err(), "it goes on");
    tokio::time::resume();
    let said = lines.of("a process of this host cannot connect");
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0]["unsaid"] == 0 && said[1]["unsaid"].as_u64() > Some(100), "{said:?}");
    worker.stop().await;
}
