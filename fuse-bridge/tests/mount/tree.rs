//! A namespace in memory that a test can change, slow down and look into.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay_client::{About, Change, Entry, Named, Standing};
use forebay_fuse::{
    AtHand, Changes, Described, Found, HeldFile, LentFile, Listed, Namespace, NamespaceError, ReadSource,
    RestingFile, Room, VersionReader,
};
use forebay_types::{
    BLOCK_LENGTH_DEFAULT, BlockCapability, ByteCount, CapabilityKey, EntryKind, EntryName, ErrorKind, FileId,
    FileOffset, Fingerprint, Incarnation, InodeId, ListingPosition, MountId, Rights, Timestamp,
    UnderStoreKey, VersionDescriptor,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};

/// The namespace. Its paths are relative, with `/` between names.
#[derive(Debug)]
pub(crate) struct Tree {
    state: Mutex<State>,
    /// Questions asked so far.
    pub(crate) counts: Arc<Counts>,
    /// While true, opens and look-ups of `slow` are not answered.
    stalled: watch::Sender<bool>,
    /// What the mount is told of changes; the receiver until it is taken.
    told: mpsc::UnboundedSender<Vec<Change>>,
    changes: Mutex<Option<TreeChanges>>,
}

/// A name that is looked up in vain, and without an answer while the tree is stalled.
const SLOW: &[u8] = b"slow";

/// What a mount is told of changes.
#[derive(Debug)]
pub(crate) struct TreeChanges(mpsc::UnboundedReceiver<Vec<Change>>);

impl Changes for TreeChanges {
    async fn next(&mut self) -> (Vec<Change>, Duration) {
        match self.0.recv().await {
            Some(changes) => (changes, Duration::ZERO),
            None => std::future::pending().await,
        }
    }
}

#[derive(Debug)]
struct State {
    entries: BTreeMap<InodeId, Entry>,
    children: BTreeMap<InodeId, BTreeMap<EntryName, InodeId>>,
    /// All versions there ever were.
    versions: BTreeMap<FileId, Bytes>,
    /// Files of versions that are wholly in the cache of this machine.
    complete: BTreeMap<FileId, Arc<std::fs::File>>,
    /// How much of versions is there that are not wholly.
    partly: BTreeMap<FileId, ByteCount>,
    next: u64,
    valid: Duration,
    /// Answers may be used for so much longer while no change is heard of.
    granted: Duration,
    granted_own: Duration,
    /// How long ago the master was asked for names that are told now.
    age: Duration,
    /// When each entry was last changed; answers from before are void.
    changed: BTreeMap<InodeId, Instant>,
    /// The same of the names of each directory.
    renamed: BTreeMap<InodeId, Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) lookups: AtomicU64,
    pub(crate) attributes: AtomicU64,
    pub(crate) lists: AtomicU64,
    pub(crate) opens: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) passthrough_opens: AtomicU64,
    /// Questions for what this machine's cache has.
    pub(crate) worker_asked: AtomicU64,
    /// Those that live.
    pub(crate) holds: AtomicU64,
    /// Those that were given.
    pub(crate) holds_given: AtomicU64,
    /// Whether they may rest; else they are wanted back.
    may_rest: AtomicBool,
    /// Whether their files were changed by somebody.
    pub(crate) files_changed: AtomicBool,
    wanted_back: Notify,
    /// So many holds are refused before one is given.
    pub(crate) refusals: AtomicU64,
    /// Reads come one byte short.
    pub(crate) reads_short: AtomicBool,
}

/// Keeps a count of itself.
#[derive(Debug)]
pub(crate) struct TreeHold {
    file: Arc<std::fs::File>,
    counts: Arc<Counts>,
}

impl HeldFile for TreeHold {
    type Resting = Self;

    fn rest(self) -> Self {
        self
    }
}

/// What there is in the cache of a version that is not complete.
#[derive(Debug)]
pub(crate) struct TreeLend(ByteCount);

impl LentFile for TreeLend {
    fn cached(&self) -> ByteCount {
        self.0
    }
}

impl RestingFile for TreeHold {
    fn may_rest(&self) -> bool {
        self.counts.may_rest.load(Ordering::SeqCst)
    }

    fn is_unchanged(&self) -> bool {
        !self.counts.files_changed.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
pub(crate) struct TreeReader {
    content: Bytes,
    counts: Arc<Counts>,
}

impl AsFd for TreeHold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for TreeHold {
    fn drop(&mut self) {
        self.counts.holds.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) fn name(text: impl AsRef<[u8]>) -> EntryName {
    EntryName::new(text.as_ref()).expect("a legal name")
}

impl Tree {
    /// An empty root, whose answers hold for an hour.
    pub(crate) fn new() -> Arc<Self> {
        let root = InodeId::ROOT;
        let state = State {
            entries: BTreeMap::from([(root, bare(root, EntryKind::Directory))]),
            children: BTreeMap::from([(root, BTreeMap::new())]),
            versions: BTreeMap::new(),
            complete: BTreeMap::new(),
            partly: BTreeMap::new(),
            next: 1,
            valid: Duration::from_secs(3600),
            granted: Duration::ZERO,
            granted_own: Duration::ZERO,
            age: Duration::ZERO,
            changed: BTreeMap::new(),
            renamed: BTreeMap::new(),
        };
        let (told, changes) = mpsc::unbounded_channel();
        Arc::new(Self {
            told,
            changes: Mutex::new(Some(TreeChanges(changes))),
            state: Mutex::new(state),
            counts: Arc::default(),
            stalled: watch::Sender::new(false),
        })
    }

    pub(crate) fn set_valid(&self, valid: Duration) {
        self.state.lock().valid = valid;
    }

    /// Names that are told from now on were asked for so long ago.
    pub(crate) fn set_age(&self, age: Duration) {
        self.state.lock().age = age;
    }

    /// For how long answers about entries with a grant of their own are granted.
    pub(crate) fn set_granted_own(&self, granted: Duration) {
        self.state.lock().granted_own = granted;
    }

    /// Says how the root is.
    pub(crate) fn edit_root(&self, change: impl FnOnce(&mut Entry)) {
        change(self.state.lock().entries.get_mut(&InodeId::ROOT).expect("always there"));
    }

    /// Grants what is answered for so long.
    pub(crate) fn set_granted(&self, granted: Duration) {
        self.state.lock().granted = granted;
    }

    /// Lets holds rest from now on, or wants all of them back.
    pub(crate) fn set_may_rest(&self, may_rest: bool) {
        self.counts.may_rest.store(may_rest, Ordering::SeqCst);
        self.counts.wanted_back.notify_one();
    }

    /// Tells the mount of changes.
    pub(crate) fn tell(&self, changes: Vec<Change>) {
        self.told.send(changes).expect("the mount lives");
    }

    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }

    /// Makes the directory and all above it.
    pub(crate) fn directory(&self, path: &str) -> InodeId {
        let mut state = self.state.lock();
        path.split('/').filter(|part| !part.is_empty()).fold(InodeId::ROOT, |parent, part| {
            let known = state.children[&parent].get(&name(part)).copied();
            known.unwrap_or_else(|| {
                let inode = InodeId::new(state.number());
                state.entries.insert(inode, bare(inode, EntryKind::Directory));
                state.children.insert(inode, BTreeMap::new());
                state.children.get_mut(&parent).expect("a directory").insert(name(part), inode);
                inode
            })
        })
    }

    /// Gives the file a new content. The inode stays, the version is new.
    pub(crate) fn write(&self, path: &str, content: impl Into<Bytes>) -> FileId {
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
        self.write_in(self.directory(directory), name(file), content.into())
    }

    pub(crate) fn write_in(&self, directory: InodeId, file: EntryName, content: Bytes) -> FileId {
        let mut state = self.state.lock();
        let inode = match state.children[&directory].get(&file) {
            Some(inode) => *inode,
            None => InodeId::new(state.number()),
        };
        let counter = state.number();
        let descriptor = VersionDescriptor {
            file: FileId { incarnation: Incarnation::new(1), counter },
            mount: MountId::new(1),
            key: UnderStoreKey::new(file.as_bytes()).expect("short"),
            fingerprint: Fingerprint {
                tag: Some(counter.to_string()),
                version_id: None,
                length: ByteCount::new(content.len() as u64),
                modified: Timestamp::from_parts(1_700_000_000, 5),
                local: None,
            },
            block_length: ByteCount::new(BLOCK_LENGTH_DEFAULT),
        };
        let end = Timestamp::from_nanos(i64::MAX);
        let capability = CapabilityKey::new(1, [7; 32]).sign(&descriptor, Rights::Read, end);
        let id = descriptor.file;
        state.versions.insert(id, content);
        let entry = Entry {
            modified: Timestamp::from_parts(1_700_000_000, 5),
            version: Some((descriptor, capability)),
            under_store_uri: format!("s3://bucket/{file}"),
            directory,
            ..bare(inode, EntryKind::File)
        };
        state.entries.insert(inode, entry);
        state.children.get_mut(&directory).expect("a directory").insert(file, inode);
        state.changed(inode, directory);
        id
    }

    pub(crate) fn symlink(&self, path: &str, target: &str) {
        let mut state = self.state.lock();
        let inode = InodeId::new(state.number());
        let entry = Entry { symlink_target: target.as_bytes().to_vec(), ..bare(inode, EntryKind::Symlink) };
        state.entries.insert(inode, entry);
        state.children.get_mut(&InodeId::ROOT).expect("there").insert(name(path), inode);
    }

    /// The inode of a name in a directory.
    pub(crate) fn inode(&self, path: &str) -> InodeId {
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.directory(directory);
        self.state.lock().children[&directory][&name(file)]
    }

    /// Changes what is said of an entry of the root.
    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(&mut Entry)) {
        let mut state = self.state.lock();
        let inode = state.children[&InodeId::ROOT][&name(file)];
        change(state.entries.get_mut(&inode).expect("there"));
    }

    /// Takes a name away, with what lies below it.
    pub(crate) fn remove(&self, path: &str) {
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.directory(directory);
        let mut state = self.state.lock();
        let inode =
            state.children.get_mut(&directory).expect("a directory").remove(&name(file)).expect("there");
        state.entries.remove(&inode);
        state.children.remove(&inode);
        state.changed(inode, directory);
    }

    /// Puts a version wholly into the cache of this machine.
    pub(crate) fn complete(&self, version: FileId) {
        self.complete_in(version, &std::env::temp_dir());
    }

    /// The same, with the cache in the directory.
    pub(crate) fn complete_in(&self, version: FileId, cache: &Path) {
        let mut state = self.state.lock();
        let mut file = tempfile::tempfile_in(cache).expect("made");
        file.write_all(&state.versions[&version]).expect("written");
        state.complete.insert(version, Arc::new(file));
    }

    /// Puts so much of a version into the cache of this machine.
    pub(crate) fn cache_part(&self, version: FileId, cached: ByteCount) {
        self.state.lock().partly.insert(version, cached);
    }

    /// Takes a version out of the cache. Those who hold it keep it.
    pub(crate) fn evict(&self, version: FileId) {
        self.state.lock().complete.remove(&version);
    }

    async fn unstalled(&self) {
        self.stalled.subscribe().wait_for(|stalled| !stalled).await.expect("the tree lives");
    }

    fn ask(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

impl State {
    /// One counter for inodes and versions, as the master has it.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn changed(&mut self, inode: InodeId, directory: InodeId) {
        let now = Instant::now();
        self.changed.insert(inode, now);
        self.renamed.insert(directory, now);
    }

    fn entry(&self, inode: InodeId, asked: Instant) -> Result<Described, NamespaceError> {
        let entry = self.entries.get(&inode).cloned();
        entry.map(|entry| Described { entry, asked, valid: self.valid }).ok_or_else(|| missing(inode))
    }
}

impl Namespace for Tree {
    type Reader = TreeReader;
    type Hold = TreeHold;
    type Lend = TreeLend;
    type Changes = TreeChanges;

    fn follow_changes(&self) -> TreeChanges {
        self.changes.lock().take().unwrap_or_else(|| TreeChanges(mpsc::unbounded_channel().1))
    }

    fn standing(&self, about: About, asked: Instant) -> Standing {
        let About { entry, directory, own_grant } = about;
        let state = self.state.lock();
        let changed = entry.map_or_else(|| state.renamed.get(&directory), |entry| state.changed.get(&entry));
        if changed.is_some_and(|changed| asked <= *changed) {
            return Standing::Void;
        }
        match if own_grant { state.granted_own } else { state.granted } {
            Duration::ZERO => Standing::Unknown,
            granted => Standing::Granted(asked + granted),
        }
    }

    async fn lookup(&self, parent: InodeId, name: &EntryName) -> Result<Found, NamespaceError> {
        Self::ask(&self.counts.lookups);
        let asked = Instant::now();
        if name.as_bytes() == SLOW {
            self.unstalled().await;
        }
        let state = self.state.lock();
        let children = state.children.get(&parent).ok_or_else(|| missing(parent))?;
        let entry = children.get(name).and_then(|inode| state.entries.get(inode)).cloned();
        Ok(Found { entry, asked: asked - state.age, valid: state.valid })
    }

    fn remembered(&self) -> ByteCount {
        ByteCount::ZERO
    }

    async fn attributes(&self, inode: InodeId) -> Result<Described, NamespaceError> {
        self.ask_attributes(inode).await
    }

    async fn ask_attributes(&self, inode: InodeId) -> Result<Described, NamespaceError> {
        Self::ask(&self.counts.attributes);
        let asked = Instant::now();
        self.state.lock().entry(inode, asked)
    }

    async fn list(
        &self,
        directory: InodeId,
        after: Option<&ListingPosition>,
        limit: usize,
    ) -> Result<Listed, NamespaceError> {
        Self::ask(&self.counts.lists);
        let asked = Instant::now();
        // As a question to a master would: never answered on the spot.
        tokio::task::yield_now().await;
        let state = self.state.lock();
        let children = state.children.get(&directory).ok_or_else(|| missing(directory))?;
        let named = |(name, inode): (&EntryName, &InodeId)| Named {
            name: name.clone(),
            entry: state.entries[inode].clone(),
        };
        let place = |of: &Named| ListingPosition::of(&of.name, of.entry.kind);
        let rest = children.iter().map(named).filter(|of| after.is_none_or(|after| place(of) > *after));
        let mut rest: Vec<_> = rest.collect();
        rest.sort_by_key(place);
        let mut rest = rest.into_iter();
        let entries = rest.by_ref().take(limit).collect();
        Ok(Listed { entries, complete: rest.next().is_none(), asked: asked - state.age, valid: state.valid })
    }

    async fn open(&self, inode: InodeId) -> Result<Described, NamespaceError> {
        Self::ask(&self.counts.opens);
        let asked = Instant::now();
        self.unstalled().await;
        self.state.lock().entry(inode, asked)
    }

    async fn room(&self) -> Result<Room, NamespaceError> {
        Ok(Room {
            capacity: ByteCount::new(1 << 30),
            used: ByteCount::new(1 << 28),
            files: 5,
            directories: 2,
        })
    }

    fn reader(
        &self,
        _inode: InodeId,
        version: &VersionDescriptor,
        _capability: &BlockCapability,
        _at_hand: AtHand<TreeHold, TreeLend>,
    ) -> TreeReader {
        let content = self.state.lock().versions[&version.file].clone();
        TreeReader { content, counts: Arc::clone(&self.counts) }
    }

    async fn hold(
        &self,
        version: &VersionDescriptor,
        _capability: &BlockCapability,
    ) -> Result<Option<TreeHold>, NamespaceError> {
        Self::ask(&self.counts.worker_asked);
        let take_one = |left: u64| left.checked_sub(1);
        if self.counts.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).is_ok() {
            let message = "the capability is over".to_owned();
            return Err(NamespaceError { kind: ErrorKind::Unauthenticated, message });
        }
        let Some(file) = self.state.lock().complete.get(&version.file).cloned() else { return Ok(None) };
        self.counts.holds.fetch_add(1, Ordering::SeqCst);
        Self::ask(&self.counts.holds_given);
        Ok(Some(TreeHold { file, counts: Arc::clone(&self.counts) }))
    }

    async fn at_hand(
        &self,
        version: &VersionDescriptor,
        capability: &BlockCapability,
    ) -> Result<AtHand<TreeHold, TreeLend>, NamespaceError> {
        if let Some(hold) = self.hold(version, capability).await? {
            return Ok(AtHand::Hold(hold));
        }
        let lent = self.state.lock().partly.get(&version.file).copied().map(TreeLend);
        Ok(lent.map_or(AtHand::Nothing, AtHand::Lend))
    }

    async fn resting_wanted_back(&self) {
        self.counts.wanted_back.notified().await;
    }

    async fn source(&self, entry: &Entry) -> Result<ReadSource, NamespaceError> {
        let length = entry.length();
        Ok(if entry.cached < length { ReadSource::UnderStore } else { ReadSource::Remote })
    }

    fn note_open(&self, _: InodeId) {}

    fn count_passthrough_open(&self, _length: ByteCount) {
        Self::ask(&self.counts.passthrough_opens);
    }
}

impl VersionReader for TreeReader {
    async fn read_at(&self, offset: FileOffset, length: ByteCount) -> Result<Bytes, NamespaceError> {
        Tree::ask(&self.counts.reads);
        let begin = usize::try_from(offset.get()).expect("a small file");
        let length = usize::try_from(length.get()).expect("a small file");
        let short = usize::from(self.counts.reads_short.load(Ordering::SeqCst));
        Ok(self.content.slice(begin..begin + length - short))
    }
}

fn bare(inode: InodeId, kind: EntryKind) -> Entry {
    Entry {
        inode,
        kind,
        mode: None,
        uid: None,
        gid: None,
        modified: Timestamp::from_parts(1_600_000_000, 0),
        version: None,
        symlink_target: Vec::new(),
        cached: ByteCount::ZERO,
        under_store_uri: String::new(),
        directory: InodeId::ROOT,
        own_grant: false,
    }
}

fn missing(inode: InodeId) -> NamespaceError {
    NamespaceError { kind: ErrorKind::NotFound, message: format!("there is no {inode}") }
}
