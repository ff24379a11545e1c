//! What the tests of this crate share: a clock that they set, nodes in temporary directories, commands.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use forebay_metadata::{Command, Mount, MountOptions, Proposal};
use forebay_types::{ClusterId, Incarnation, NamespacePath, Timestamp};
use tokio::time::Instant;

use crate::types::{EncodedProposal, ProposalBatch};
use crate::{Clock, Effects, RaftNode, RaftSettings};

pub(crate) const CLUSTER: ClusterId = ClusterId::new([7; 16]);
pub(crate) const SECRET: [u8; 32] = [9; 32];

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
pub(crate) struct SetClock(AtomicI64, AtomicU64);

impl SetClock {
    pub(crate) fn set(&self, nanos: i64) {
        self.0.store(nanos, Ordering::Relaxed);
    }

    pub(crate) fn suspend(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).expect("some years");
        self.1.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn suspended(&self) -> Duration {
        Duration::from_nanos(self.1.load(Ordering::Relaxed))
    }
}

/// Long enough for a busy machine.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) fn settings(dir: &Path) -> RaftSettings {
    RaftSettings::new(dir, "master-0:1")
}

/// A node that has closed its databases when it is gone: a process that ends under their threads may be aborted.
#[derive(Debug)]
pub(crate) struct ClosedNode(pub(crate) RaftNode);

impl Deref for ClosedNode {
    type Target = RaftNode;

    fn deref(&self) -> &RaftNode {
        &self.0
    }
}

impl Drop for ClosedNode {
    fn drop(&mut self) {
        let shutdown = self.0.shutdown(soon());
        let stopped = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(shutdown));
        assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
    }
}

/// A thread that has ended when this is gone. What keeps it running must be dropped before.
#[derive(Debug)]
pub(crate) struct Joined(Option<JoinHandle<()>>);

impl Joined {
    pub(crate) const fn new(thread: JoinHandle<()>) -> Self {
        Self(Some(thread))
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let ended = self.0.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))) || std::thread::panicking(), "the thread panicked");
    }
}

pub(crate) async fn start(settings: RaftSettings) -> (ClosedNode, Effects) {
    let (node, effects) = RaftNode::start(settings, soon()).await.expect("the node starts");
    (ClosedNode(node), effects)
}

/// A node that leads a formatted cluster of its own.
pub(crate) async fn formed(settings: RaftSettings) -> (ClosedNode, Effects) {
    let (node, effects) = start(settings).await;
    node.form(CLUSTER, Incarnation::new(1), SECRET, soon()).await.expect("the cluster is formed");
    (node, effects)
}

/// A command that mounts `/m<number>`.
pub(crate) fn mount(number: usize) -> Command {
    Command::Mount(Mount {
        path: NamespacePath::parse(format!("/m{number}").as_bytes()).expect("a path"),
        uri: format!("file:///under/m{number}").parse().expect("a URI"),
        options: MountOptions::default(),
    })
}

pub(crate) fn encoded(command: Command) -> EncodedProposal {
    let proposal = Proposal { issued_at: Timestamp::from_nanos(1), session: None, command };
    let bytes = proposal.encode().expect("a short proposal");
    EncodedProposal { proposal, bytes }
}

pub(crate) fn batch(commands: impl IntoIterator<Item = Command>) -> ProposalBatch {
    ProposalBatch(commands.into_iter().map(encoded).collect::<Vec<_>>().into())
}

/// Copies a directory as it is at this moment: what a process that is killed now would leave.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let source = entry.unwrap().path();
        let target = to.join(source.file_name().unwrap());
        if source.is_dir() {
            copy_dir(&source, &target);
        } else if source.file_name().unwrap() != "LOCK" {
            fs::copy(&source, &target).unwrap();
        }
    }
}

/// An `Arc` of a clock, as the settings take it.
pub(crate) fn set_clock() -> Arc<SetClock> {
    Arc::new(SetClock::default())
}
