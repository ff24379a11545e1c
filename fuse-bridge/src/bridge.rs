//! The kernel's requests, one function each, over the tables of nodes and handles and the port to the namespace.
//!
//! A function here only takes what it needs from memory and hands the rest to [`Answers`]; it never waits. What would
//! change something is refused.

mod directories;
mod extended;
mod files;
mod kept;
mod names;
mod session;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use forebay_client::{About, Entry, Standing};
use forebay_types::ErrorKind;
use tokio::sync::Notify;

use crate::answers::{Answers, Failure};
use crate::attributes::Appearance;
use crate::error::FuseError;
use crate::handles::HandleTable;
use crate::kernel_listings::KernelListings;
use crate::limits::{OUTLINES_BYTES_MAX, READ_DEADLINE_FACTOR};
use crate::listing::{Asking, OpenDirectory};
use crate::metrics::{Metrics, Operation, Question};
use crate::namespace::{Described, HeldFile, Namespace, NamespaceError, RestingFile};
use crate::node_id::NodeId;
use crate::nodes::{Content, NodeTable, NodeView, Verdict};
use crate::notices::{Busy, CanForget, Notices};
use crate::outline::OutlineMemory;
use crate::passthrough::{Backing, PassthroughState};
use crate::resting::RestingFiles;
use crate::settings::MountSettings;
use crate::ttl::{TtlRule, Validity};

pub(crate) use session::Bridge;

/// What the kernel reads a file of `N` by.
type BackingOf<N> = Backing<<<N as Namespace>::Hold as HeldFile>::Resting>;

/// What all requests of one mount share.
#[derive(Debug)]
pub(crate) struct Shared<N: Namespace> {
    namespace: Arc<N>,
    pub(crate) nodes: NodeTable<BackingOf<N>>,
    resting: RestingFiles<BackingOf<N>>,
    files: HandleTable<files::OpenFile<N::Reader>>,
    directories: HandleTable<OpenDirectory>,
    listings: KernelListings,
    /// The way to the kernel, once there is a session.
    pub(crate) notices: OnceLock<Arc<Notices>>,
    /// Changes were heard of.
    pub(crate) heard: Notify,
    ttl: TtlRule,
    deadline: Duration,
    read_deadline: Duration,
    pub(crate) busy: Arc<Busy>,
    pub(crate) can_forget: CanForget,
    pub(crate) passthrough: Arc<PassthroughState>,
    /// Whether files may be read past the page cache: the kernel can map them all the same.
    reads_directly: AtomicBool,
    /// Whether a version may have a second node.
    aliases: bool,
    pub(crate) answers: Arc<Answers>,
}

impl<N: Namespace> Shared<N> {
    /// State of a mount whose root is `root`, as the master said of it.
    pub(crate) fn new(
        settings: &MountSettings<N>,
        metrics: Metrics,
        root: &Described,
    ) -> Result<Self, FuseError> {
        let options = &settings.options;
        let ttl = TtlRule::new(options.freshness);
        let validity = ttl.validity(root.asked, root.valid);
        let root = &root.entry;
        let nodes = NodeTable::new(root, validity, Appearance::new(options), metrics.nodes.clone());
        let nodes = nodes.map_err(|_| FuseError::Root {
            inode: root.inode,
            kind: ErrorKind::NotADirectory,
            reason: "it is no directory; mount the directory that it lies in".to_owned(),
        })?;
        Ok(Self {
            namespace: Arc::clone(&settings.namespace),
            nodes,
            resting: RestingFiles::new(options.resting_files, metrics.resting_files.clone()),
            files: HandleTable::new(metrics.file_handles.clone()),
            directories: HandleTable::new(metrics.directory_handles.clone()),
            listings: KernelListings::new(OutlineMemory::new(OUTLINES_BYTES_MAX)),
            notices: OnceLock::new(),
            heard: Notify::new(),
            ttl,
            deadline: options.deadline,
            read_deadline: options.deadline.saturating_mul(READ_DEADLINE_FACTOR),
            busy: Arc::default(),
            can_forget: CanForget::default(),
            passthrough: Arc::new(PassthroughState::new(options.passthrough)),
            reads_directly: AtomicBool::new(false),
            aliases: options.aliases,
            answers: Arc::new(Answers::new(settings.runtime.clone(), metrics)),
        })
    }

    /// Gives up resting files that are wanted back, for as long as it is polled.
    pub(crate) async fn give_back_resting(self: Arc<Self>) {
        loop {
            self.namespace.resting_wanted_back().await;
            let gone = self.resting.keep_only(|file| file.hold.may_rest());
            // Each is a call into the kernel and a message.
            tokio::task::spawn_blocking(move || drop(gone));
        }
    }

    /// What the kernel is told of a request about a node that failed. A person is told where the node lies.
    fn refuse(&self, operation: Operation, node: NodeId, failure: &Failure) -> fuser::Errno {
        self.answers.refuse(operation, &self.nodes.path(node), failure)
    }

    /// For how long what a node remembers may be used from now on without asking.
    fn left(&self, view: &NodeView, now: Instant) -> Duration {
        self.left_of(view.facts.about(), view.validity, now)
    }

    /// The same for an answer.
    fn left_of(&self, about: About, validity: Validity, now: Instant) -> Duration {
        let by_itself = validity.left(now);
        match self.namespace.standing(about, validity.asked) {
            Standing::Void => Duration::ZERO,
            Standing::Granted(until) if self.ttl.is_the_masters() => {
                by_itself.max(until.saturating_duration_since(now))
            }
            Standing::Granted(_) | Standing::Unknown => by_itself,
        }
    }

    /// The same for the kernel, which must be told when a change is heard of. Where it cannot be, it asks every few
    /// seconds.
    fn ttl_of(&self, about: About, validity: Validity, now: Instant) -> Duration {
        let left = self.left_of(about, validity, now);
        if self.can_forget.get() { left } else { left.min(validity.left(now)) }
    }

    /// Who is asked for the pages of a directory.
    fn asking(&self) -> Asking<'_, N> {
        Asking {
            namespace: &*self.namespace,
            rule: self.ttl,
            metrics: &self.answers.metrics,
            listings: &self.listings,
        }
    }

    /// Counts an answer, as one that was remembered if it was asked for before `begun`.
    fn count_answer(&self, question: Question, asked: Instant, begun: Instant) {
        self.answers.metrics.answered(question, asked < begun);
        self.answers.metrics.remembered_bytes.set(self.namespace.remembered());
    }

    /// Takes an answer about a node over, for which the kernel asked at `asked`, if it is still about that node. If the
    /// node was superseded, or its file is gone, the verdict says whether to go on with what the node itself remembers.
    async fn judge(
        &self,
        view: &NodeView,
        pid: u32,
        asked: Instant,
        answer: Result<Described, NamespaceError>,
    ) -> Result<Judged, Failure> {
        let is_lost = match answer {
            Ok(Described { entry, asked, valid }) => {
                let facts = self.nodes.facts(&entry);
                if view.is_current_in(&facts) {
                    let validity = self.ttl.validity(asked, valid);
                    self.nodes.refresh(view.id, &facts, validity);
                    let view = NodeView { facts, validity, ..view.clone() };
                    return Ok(Judged::Current { view, entry: Box::new(entry) });
                }
                false
            }
            Err(error) if error.kind == ErrorKind::NotFound => self.is_lost(view).await,
            Err(error) => return Err(error.into()),
        };
        let verdict = if is_lost {
            self.nodes.verdict_of_lost(view.id, pid)
        } else {
            // The kernel's request came when it was asked about; a slow master must not make its last lookup look old.
            self.nodes.verdict(view.id, pid, asked)
        };
        match verdict {
            Verdict::Serve => Ok(Judged::Superseded),
            Verdict::Refuse => Err(crate::errno::STALE.into()),
        }
    }

    /// Whether a node that is gone is a directory or went with its own, as all of a mount does when it is unmounted. A
    /// file alone may be one that is replaced again and again, and is there each time that it is looked up.
    async fn is_lost(&self, view: &NodeView) -> bool {
        if matches!(view.facts.content, Content::Directory) {
            return true;
        }
        let Some(directory) = self.nodes.view(view.parent) else { return false };
        let answer = self.namespace.ask_attributes(directory.facts.inode).await;
        answer.is_err_and(|error| error.kind == ErrorKind::NotFound)
    }
}

/// What came of asking about a node.
enum Judged {
    /// The node is what its file is now; here with the newest of what was said of it.
    Current { view: NodeView, entry: Box<Entry> },
    /// It is not, and is to be served as it was.
    Superseded,
}
