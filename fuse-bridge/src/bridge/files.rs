//! Open files: OPEN, READ, RELEASE.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use forebay_types::{ByteCount, ErrorKind, FileId, FileOffset};
use fuser::{FileHandle, FopenFlags, OpenAccMode, OpenFlags, ReplyData, ReplyEmpty, ReplyOpen};

use super::{BackingOf, Judged, Shared};
use crate::answers::Failure;
use crate::errno;
use crate::limits::{ALIAS_LENGTH_MIN, CAPABILITY_TRUST};
use crate::metrics::{Operation, Question};
use crate::modes::{Candidate, Entered, Fixed, Mode, choose};
use crate::namespace::{AtHand, HeldFile, LentFile, Namespace, NamespaceError, RestingFile, VersionReader};
use crate::node_id::NodeId;
use crate::nodes::{FileVersion, NodeView, Verdict};
use crate::passthrough::Backing;

/// A handle of a version.
#[derive(Debug)]
pub(super) struct OpenFile<R> {
    node: NodeId,
    version: FileId,
    length: u64,
    /// Also of a handle that reads by passthrough: the kernel sends reads for `readahead` and `posix_fadvise`.
    reader: R,
}

/// What an open has found out before its mode is fixed.
struct Prepared<N: Namespace> {
    node: NodeId,
    view: NodeView,
    version: Arc<FileVersion>,
    way: Way<N>,
}

/// What the worker said while the master was asked.
struct Early<N: Namespace> {
    version: Arc<FileVersion>,
    at_hand: HandOf<N>,
}

type HandOf<N> = AtHand<<N as Namespace>::Hold, <N as Namespace>::Lend>;

/// How the handle could be read.
enum Way<N: Namespace> {
    /// By passthrough of the file that live handles of the node read, or that handles before them did.
    Shared(Arc<BackingOf<N>>),
    /// By passthrough of this file, if the kernel takes it.
    Held(N::Hold),
    /// Past the page cache, from what is at hand, or as other handles of the node do.
    Direct(HandOf<N>),
    /// Through the page cache, from what is at hand as far as it goes.
    Buffered(HandOf<N>),
}

impl<N: Namespace> Shared<N> {
    pub(super) fn open(self: &Arc<Self>, node: NodeId, pid: u32, flags: OpenFlags, reply: ReplyOpen) {
        self.answers.metrics.request(Operation::Open);
        if flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(errno::READ_ONLY);
        }
        let Some(view) = self.nodes.view(node) else { return reply.error(errno::STALE) };
        let shared = Arc::clone(self);
        let work = async move { shared.prepare(view, pid).await };
        let shared = Arc::clone(self);
        self.answers.answer(Operation::Open, self.deadline, work, move |outcome| match outcome {
            Ok(prepared) => shared.finish_open(prepared, reply),
            Err(failure) => reply.error(shared.refuse(Operation::Open, node, &failure)),
        });
    }

    /// Asks for the right to read, and for the file to pass through. Nothing is counted yet, so this may be given up.
    async fn prepare(&self, view: NodeView, pid: u32) -> Result<Prepared<N>, Failure> {
        let asked = Instant::now();
        let answer;
        let mut early = None;
        if self.is_granted(&view, asked) {
            if let Some(prepared) = self.prepare_by_grant(&view).await {
                self.answers.metrics.answered(Question::Open, true);
                return self.unless_aliased(prepared, pid, asked);
            }
            answer = self.namespace.open(view.facts.inode).await;
        } else {
            // The node's version is most often still the current one, so the worker is asked for it meanwhile.
            (answer, early) = tokio::join!(self.namespace.open(view.facts.inode), self.look_early(&view));
        }
        self.answers.metrics.answered(Question::Open, false);
        let view = match self.judge(&view, pid, asked, answer).await? {
            Judged::Current { view, .. } => view,
            Judged::Superseded => view,
        };
        let version = view.facts.version().map(Arc::clone).ok_or(errno::of(ErrorKind::IsADirectory))?;
        let way = match self.way(&view, &version, early).await {
            Ok(way) => way,
            Err(error) => {
                tracing::debug!(file = %version.descriptor.file, %error, "the local worker gave nothing");
                Way::Buffered(AtHand::Unasked)
            }
        };
        self.unless_aliased(Prepared { node: view.id, view, version, way }, pid, asked)
    }

    /// Sends the kernel back to look for the version's alias where only the handles that are open already keep a new one from
    /// being passed through; but not one that has been back, and has no path to look up.
    fn unless_aliased(
        &self,
        prepared: Prepared<N>,
        pid: u32,
        asked: Instant,
    ) -> Result<Prepared<N>, Failure> {
        if !matches!(prepared.way, Way::Direct(AtHand::Hold(_)) | Way::Buffered(AtHand::Hold(_))) {
            return Ok(prepared);
        }
        self.nodes.want_alias(prepared.node);
        match self.nodes.verdict(prepared.node, pid, asked) {
            Verdict::Serve => Ok(prepared),
            Verdict::Refuse => Err(errno::STALE.into()),
        }
    }

    /// Whether a file that is read otherwise may have a second node to be passed through: it is open for long, it is not the
    /// alias itself, and nothing of it is strict, since whoever compares numbers of nodes would see two.
    pub(super) fn may_be_aliased(&self, view: &NodeView) -> bool {
        self.aliases
            && view.facts.version().is_some_and(|version| {
                version.descriptor.length().get() >= ALIAS_LENGTH_MIN
                    && view.id == NodeId::of_version(version.descriptor.file)
                    && !self.left(view, Instant::now()).is_zero()
            })
    }

    /// Whether a node may be opened without asking whether it still is its file's version.
    fn is_granted(&self, view: &NodeView, now: Instant) -> bool {
        let age = now.saturating_duration_since(view.validity.asked);
        age < CAPABILITY_TRUST && !self.left(view, now).is_zero()
    }

    /// The same without asking the master; `None` if the right that the node remembers is not good enough.
    async fn prepare_by_grant(&self, view: &NodeView) -> Option<Prepared<N>> {
        let version = Arc::clone(view.facts.version()?);
        let way = self.way(view, &version, None).await.ok()?;
        Some(Prepared { node: view.id, view: view.clone(), version, way })
    }

    /// Asks for the file of the version that the node is known to be; `None` if that says nothing.
    async fn look_early(&self, view: &NodeView) -> Option<Early<N>> {
        let version = Arc::clone(view.facts.version()?);
        let is_fixed = !matches!(self.nodes.fixed(view.id), Fixed::Nothing);
        if !self.passthrough.is_allowed() || is_fixed || self.resting.has(version.descriptor.file) {
            return None;
        }
        // A refusal may be due to a right that is over; the master is about to give a new one.
        let at_hand = self.namespace.at_hand(&version.descriptor, &version.capability).await.ok()?;
        Some(Early { version, at_hand })
    }

    /// How a version is read if it is opened now. Asks the worker once at most. Fails where the right to read it is not
    /// accepted.
    async fn way(
        &self,
        view: &NodeView,
        version: &FileVersion,
        early: Option<Early<N>>,
    ) -> Result<Way<N>, NamespaceError> {
        if !self.passthrough.is_allowed() {
            return Ok(Way::Buffered(AtHand::Unasked));
        }
        match self.nodes.fixed(view.id) {
            Fixed::Passthrough(backing) => return Ok(Way::Shared(backing)),
            Fixed::Direct => return Ok(Way::Direct(self.beside_others(view, version).await?)),
            Fixed::Buffered => return Ok(Way::Buffered(self.beside_others(view, version).await?)),
            Fixed::Nothing => {}
        }
        if let Some(backing) = self.rested(version.descriptor.file) {
            return Ok(Way::Shared(backing));
        }
        let early = early.filter(|early| early.version.descriptor == version.descriptor);
        let at_hand = match early {
            Some(early) => early.at_hand,
            None => self.namespace.at_hand(&version.descriptor, &version.capability).await?,
        };
        // Where a file that is read directly cannot be mapped, none is.
        let may_be_direct = self.reads_directly.load(Ordering::Relaxed);
        let here = match at_hand {
            AtHand::Hold(hold) => return Ok(Way::Held(hold)),
            AtHand::Lend(ref lend) => lend.cached(),
            AtHand::Nothing | AtHand::Unasked => ByteCount::ZERO,
        };
        Ok(match choose(here, version.descriptor.length()) {
            Mode::Direct if may_be_direct => Way::Direct(at_hand),
            Mode::Direct | Mode::Passthrough | Mode::Buffered => Way::Buffered(at_hand),
        })
    }

    /// What is at hand for a handle whose mode others have fixed. A reader asks itself, but where a hold would get it another
    /// node.
    async fn beside_others(
        &self,
        view: &NodeView,
        version: &FileVersion,
    ) -> Result<HandOf<N>, NamespaceError> {
        if !self.may_be_aliased(view) {
            return Ok(AtHand::Unasked);
        }
        self.namespace.at_hand(&version.descriptor, &version.capability).await
    }

    /// What the last handle of a version was read by, if that is as good as it was.
    fn rested(&self, version: FileId) -> Option<Arc<BackingOf<N>>> {
        self.resting.take(version).filter(|backing| backing.hold.may_rest() && backing.hold.is_unchanged())
    }

    /// Fixes the mode, counts the handle and answers, in this order: the kernel may release it at once.
    fn finish_open(&self, prepared: Prepared<N>, reply: ReplyOpen) {
        let Prepared { node, view, version, way } = prepared;
        let length = version.descriptor.length();
        let mut backing = None;
        let (is_direct, at_hand) = match way {
            Way::Shared(shared) => {
                backing = Some(shared);
                (false, AtHand::Unasked)
            }
            Way::Held(hold) => match reply.open_backing(&hold) {
                Ok(id) => {
                    backing = Some(Arc::new(Backing::new(id, hold.rest())));
                    (false, AtHand::Unasked)
                }
                Err(error) => {
                    self.passthrough.refused(&error, &self.nodes.path(node));
                    (false, AtHand::Hold(hold))
                }
            },
            Way::Direct(at_hand) => (true, at_hand),
            Way::Buffered(at_hand) => (false, at_hand),
        };
        let candidate = match &backing {
            Some(backing) => Candidate::Passthrough(backing),
            None if is_direct => Candidate::Direct,
            None => Candidate::Buffered,
        };
        let Some(entered) = self.nodes.enter(node, candidate) else {
            return reply.error(errno::STALE);
        };
        self.namespace.note_open(view.facts.inode);
        let reader =
            self.namespace.reader(view.facts.inode, &version.descriptor, &version.capability, at_hand);
        let handle = self.files.insert(OpenFile {
            node,
            version: version.descriptor.file,
            length: length.get(),
            reader,
        });
        // Closing a file of ours has nothing to write back, so the kernel need not tell.
        match entered {
            Entered::Passthrough(backing) => {
                self.answers.metrics.opened(Mode::Passthrough);
                self.namespace.count_passthrough_open(length);
                reply.opened_passthrough(handle, FopenFlags::FOPEN_NOFLUSH, &backing.id);
            }
            Entered::Direct => {
                self.answers.metrics.opened(Mode::Direct);
                reply.opened(handle, FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
            }
            Entered::Buffered => {
                self.answers.metrics.opened(Mode::Buffered);
                reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH);
            }
        }
    }

    pub(super) fn read(self: &Arc<Self>, handle: FileHandle, offset: u64, size: u32, reply: ReplyData) {
        self.answers.metrics.request(Operation::Read);
        let Some(file) = self.files.get(handle) else { return reply.error(errno::BAD_HANDLE) };
        let length = file.length.saturating_sub(offset).min(u64::from(size));
        if length == 0 {
            return reply.data(&[]);
        }
        let node = file.node;
        let work = async move { read_exactly(&file.reader, offset, length).await };
        let shared = Arc::clone(self);
        self.answers.answer(Operation::Read, self.read_deadline, work, move |outcome| match outcome {
            Ok(bytes) => {
                shared.answers.metrics.read(ByteCount::new(bytes.len() as u64));
                reply.data(&bytes);
            }
            Err(failure) => reply.error(shared.refuse(Operation::Read, node, &failure)),
        });
    }

    pub(super) fn release(&self, handle: FileHandle, reply: ReplyEmpty) {
        self.answers.metrics.request(Operation::Release);
        let _entered = self.answers.enter();
        if let Some(file) = self.files.remove(handle)
            && let Some(backing) = self.nodes.leave(file.node)
        {
            self.resting.put(file.version, backing, |file| file.hold.may_rest());
        }
        reply.ok();
    }
}

/// The kernel fills what a short answer lacks with zeroes, so there must be none within the file.
async fn read_exactly<R: VersionReader>(reader: &R, offset: u64, length: u64) -> Result<Bytes, Failure> {
    let bytes = reader.read_at(FileOffset::new(offset), ByteCount::new(length)).await?;
    if bytes.len() as u64 == length {
        return Ok(bytes);
    }
    let message = format!("{} bytes instead of {length} came from offset {offset}", bytes.len());
    Err(NamespaceError { kind: ErrorKind::Internal, message }.into())
}
