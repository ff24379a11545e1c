//! A tree in memory, workers that cache versions, and a shell for the engine whose every outcome a test can choose.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use forebay_types::{
    BLOCK_LENGTH_DEFAULT, ByteCount, ClusterMap, EntryKind, Epoch, ErrorKind, FileId, Fingerprint, HostId,
    Incarnation, InodeId, JobFailure, JobProgress, JobState, ListingPosition, MountId, NamespacePath,
    NotAdmitted, Timestamp, UnderStoreKey, VersionDescriptor, WorkerEntry, WorkerId, WorkerState,
};

use crate::{Action, Event, Fault, Found, LoadJob, Loaded, NamedFound, Page};

pub(super) const MIB: u64 = 1 << 20;

/// What a file does when it is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trick {
    Fail(ErrorKind),
    /// Its content is replaced by one of this length, so that this load fails.
    Change(u64),
    /// It is gone, so that this load fails.
    Vanish,
    /// It is loaded, and then evicted.
    Evict,
}

#[derive(Clone, Debug)]
struct Node {
    inode: InodeId,
    version: Option<VersionDescriptor>,
    refused: Option<NotAdmitted>,
}

#[derive(Debug)]
pub(super) struct World {
    nodes: BTreeMap<NamespacePath, Node>,
    next_id: u64,
    pub(super) lists: Vec<Vec<NamespacePath>>,
    pub(super) tricks: BTreeMap<NamespacePath, VecDeque<Trick>>,
    /// Kinds of faults that listings of a directory meet.
    pub(super) list_faults: BTreeMap<NamespacePath, VecDeque<ErrorKind>>,
    /// By version and offset.
    cached: BTreeSet<(FileId, u64)>,
    /// The same, the longest unused first.
    by_use: VecDeque<(FileId, u64)>,
    /// How many of them there is room for.
    pub(super) cached_max: usize,
    /// What the workers say that they can hold, if that is not what their quotas say.
    pub(super) room: Option<u64>,
    /// Workers that refuse each load, and how.
    pub(super) refusing: BTreeMap<WorkerId, ErrorKind>,
    pub(super) map: ClusterMap,
    pub(super) now: Duration,
    pub(super) engine: LoadJob,
    pub(super) waiting: Vec<Action>,
    pub(super) under_way_max: usize,
    pub(super) loads: Vec<(NamespacePath, WorkerId, u64)>,
    /// What is written down.
    pub(super) durable: (JobProgress, Vec<JobFailure>),
    pub(super) persists: usize,
    /// Which directories were read, each part of them, and when their first part was asked for.
    pub(super) begun: Vec<(InodeId, Duration)>,
    /// How many entries come at once, if that is fewer than are asked for.
    pub(super) part_max: Option<usize>,
    pub(super) end: Option<(JobState, Option<String>)>,
}

pub(super) fn path(text: &str) -> NamespacePath {
    text.parse().unwrap()
}

pub(super) fn worker(id: u32, capacity: u64) -> WorkerEntry {
    WorkerEntry {
        id: WorkerId::new(id),
        address: format!("worker:{id}"),
        host: HostId::new("host"),
        local_socket: String::new(),
        group: String::new(),
        capacity: ByteCount::new(capacity),
        state: WorkerState::Live,
    }
}

impl World {
    pub(super) fn new(workers: &[(u32, u64)]) -> Self {
        let workers = workers.iter().map(|(id, capacity)| worker(*id, *capacity)).collect();
        let mut world = Self {
            nodes: BTreeMap::new(),
            next_id: 2,
            lists: Vec::new(),
            tricks: BTreeMap::new(),
            list_faults: BTreeMap::new(),
            cached: BTreeSet::new(),
            by_use: VecDeque::new(),
            cached_max: usize::MAX,
            room: None,
            refusing: BTreeMap::new(),
            map: ClusterMap { epoch: Epoch::new(1), workers },
            now: Duration::from_secs(100),
            engine: LoadJob::new(),
            waiting: Vec::new(),
            under_way_max: 0,
            loads: Vec::new(),
            durable: (JobProgress::default(), Vec::new()),
            persists: 0,
            begun: Vec::new(),
            part_max: None,
            end: None,
        };
        world.directory("/");
        world
    }

    pub(super) fn directory(&mut self, at: &str) {
        let at = path(at);
        if let Some(parent) = at.parent()
            && !self.nodes.contains_key(&parent)
        {
            self.directory(&parent.to_string());
        }
        let inode = self.new_inode();
        self.nodes.insert(at, Node { inode, version: None, refused: None });
    }

    pub(super) fn file(&mut self, at: &str, length: u64) {
        let parent = path(at).parent().unwrap();
        if !self.nodes.contains_key(&parent) {
            self.directory(&parent.to_string());
        }
        let inode = self.new_inode();
        let version = self.new_version(length);
        self.nodes.insert(path(at), Node { inode, version: Some(version), refused: None });
    }

    /// The mount does not want it cached.
    pub(super) fn refuse(&mut self, at: &str) {
        self.nodes.get_mut(&path(at)).unwrap().refused = Some(NotAdmitted::None);
    }

    fn new_inode(&mut self) -> InodeId {
        self.next_id += 1;
        InodeId::new(self.next_id)
    }

    fn new_version(&mut self, length: u64) -> VersionDescriptor {
        self.next_id += 1;
        VersionDescriptor {
            file: FileId { incarnation: Incarnation::new(1), counter: self.next_id },
            mount: MountId::new(1),
            key: UnderStoreKey::default(),
            fingerprint: Fingerprint {
                tag: None,
                version_id: None,
                length: ByteCount::new(length),
                modified: Timestamp::default(),
                local: None,
            },
            block_length: ByteCount::new(BLOCK_LENGTH_DEFAULT),
        }
    }

    pub(super) fn trick(&mut self, at: &str, tricks: &[Trick]) {
        self.tricks.insert(path(at), tricks.iter().cloned().collect());
    }

    pub(super) fn version(&self, at: &str) -> FileId {
        self.nodes[&path(at)].version.as_ref().unwrap().file
    }

    /// Whether all blocks of the file that is now at a path are cached.
    pub(super) fn is_cached(&self, at: &str) -> bool {
        let version = self.version(at);
        self.cached.iter().any(|(file, _)| *file == version)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.durable.1.iter().map(|failure| failure.path.to_string()).collect()
    }

    /// Begins with what the shell says first.
    pub(super) fn begin(&mut self, paths: &[&str]) {
        self.lists = vec![paths.iter().map(|text| path(text)).collect()];
        self.durable.0 = JobProgress::default();
        self.restart();
    }

    /// A new master begins anew.
    pub(super) fn restart(&mut self) {
        self.engine = LoadJob::resuming(self.durable.0);
        self.waiting.clear();
        self.tell_workers(true);
    }

    pub(super) fn tell_workers(&mut self, is_settled: bool) {
        let live = self.map.workers.iter().filter(|worker| worker.state == WorkerState::Live);
        let quota = live.map(|worker| worker.capacity.get()).sum();
        let room_bytes = self.room.unwrap_or(quota);
        self.tell(Event::Workers { map: self.map.clone(), is_settled, room_bytes });
    }

    /// A worker is lost with all that it holds.
    pub(super) fn lose(&mut self, id: u32) {
        let loads = self.loads.iter().filter(|(_, worker, _)| worker.get() == id);
        let lost: BTreeSet<_> = loads.map(|(path, ..)| self.version(&path.to_string())).collect();
        self.cached.retain(|(file, _)| !lost.contains(file));
        let worker = self.map.workers.iter_mut().find(|worker| worker.id.get() == id).unwrap();
        worker.state = WorkerState::Lost;
        self.map.epoch = self.map.epoch.next();
        self.tell_workers(true);
    }

    pub(super) fn remove(&mut self, at: &NamespacePath) {
        self.nodes.remove(at);
    }

    /// Somebody writes another content of this length.
    pub(super) fn replace(&mut self, at: &str, length: u64) {
        let version = self.new_version(length);
        self.nodes.get_mut(&path(at)).unwrap().version = Some(version);
    }

    pub(super) fn tell(&mut self, event: Event) {
        for action in self.engine.handle(self.now, event) {
            assert!(self.end.is_none(), "no action follows the end: {action:?}");
            match action {
                Action::End { state, progress, failures, reason, .. } => {
                    self.durable.0 = progress;
                    self.durable.1.extend(failures);
                    self.end = Some((state, reason));
                }
                other => self.waiting.push(other),
            }
        }
        let loads = self.waiting.iter().filter(|action| matches!(action, Action::Load { .. }));
        self.under_way_max = self.under_way_max.max(loads.count());
    }

    /// Carries out the action at a place in the queue.
    pub(super) fn step(&mut self, place: usize) {
        let action = self.waiting.remove(place);
        let event = self.carry_out(action);
        self.tell(event);
    }

    /// Carries out all actions in order, and lets time pass when there are none, until the job is over.
    pub(super) fn run(&mut self) -> JobState {
        for _ in 0..200_000 {
            if let Some((state, _)) = &self.end {
                return *state;
            }
            if self.waiting.is_empty() {
                self.now += Duration::from_millis(100);
                self.tell(Event::Tick);
            } else {
                self.step(0);
            }
        }
        panic!("the job does not end");
    }

    fn carry_out(&mut self, action: Action) -> Event {
        match action {
            Action::ReadPaths { request, row } => {
                Event::Paths { request, paths: Ok(self.lists.get(row as usize).cloned()) }
            }
            Action::Resolve { request, path } => {
                let found = self.nodes.get(&path).map(Self::found);
                Event::Found {
                    request,
                    found: found.ok_or_else(|| Fault::new(ErrorKind::NotFound, "no such path")),
                }
            }
            Action::Renew { request, inode } => {
                let found = self.nodes.values().find(|node| node.inode == inode).map(Self::found);
                Event::Found {
                    request,
                    found: found.ok_or_else(|| Fault::new(ErrorKind::NotFound, "it is gone")),
                }
            }
            Action::List { request, directory, after, begun, limit } => {
                self.begun.push((directory, begun));
                Event::Listed { request, page: self.list(directory, after.as_ref(), limit) }
            }
            Action::Load { task, worker, version, offset, length } => {
                let outcome = self.load(worker, &version, offset, length);
                Event::Loaded { task, outcome }
            }
            Action::Look { request, version } => {
                let is_whole = self.cached.iter().any(|(file, _)| *file == version.file);
                Event::Looked { request, is_whole }
            }
            Action::ListWhole { .. } => unreachable!("a load of data reads what is there so far"),
            Action::Persist { begins, progress, failures, .. } => {
                if begins {
                    self.durable.1.clear();
                }
                self.durable.0 = progress;
                self.durable.1.extend(failures);
                self.persists += 1;
                Event::Persisted { is_durable: true }
            }
            Action::End { .. } => unreachable!("taken where it is told"),
        }
    }

    fn found(node: &Node) -> Found {
        let kind = if node.version.is_some() { EntryKind::File } else { EntryKind::Directory };
        Found { inode: node.inode, kind, version: node.version.clone(), refused: node.refused.clone() }
    }

    fn list(
        &mut self,
        directory: InodeId,
        after: Option<&ListingPosition>,
        limit: usize,
    ) -> Result<Page, Fault> {
        let Some(at) = self.nodes.iter().find(|(_, node)| node.inode == directory).map(|(at, _)| at.clone())
        else {
            return Err(Fault::new(ErrorKind::NotFound, "no such directory"));
        };
        if let Some(kind) = self.list_faults.get_mut(&at).and_then(VecDeque::pop_front) {
            return Err(Fault::new(kind, "as the test wants it"));
        }
        let below = self.nodes.iter().filter(|(path, _)| path.parent().as_ref() == Some(&at));
        let mut entries: Vec<_> = below
            .map(|(path, node)| NamedFound {
                name: path.names().last().unwrap().clone(),
                found: Self::found(node),
            })
            .filter(|entry| after.is_none_or(|after| entry.position() > *after))
            .collect();
        entries.sort_by_cached_key(NamedFound::position);
        // Of a directory that is being listed little comes at first.
        let limit = self.part_max.unwrap_or(limit);
        let is_last = entries.len() <= limit;
        entries.truncate(limit);
        Ok(Page { entries, is_last })
    }

    fn load(
        &mut self,
        worker: WorkerId,
        version: &VersionDescriptor,
        offset: u64,
        length: u64,
    ) -> Result<Loaded, Fault> {
        let of_version = |node: &Node| node.version.as_ref().is_some_and(|known| known.file == version.file);
        let at = self.nodes.iter().find(|(_, node)| of_version(node)).map(|(at, _)| at.clone());
        let Some(at) = at else {
            return Err(Fault::new(ErrorKind::Stale, "it was replaced"));
        };
        self.loads.push((at.clone(), worker, offset));
        if let Some(kind) = self.refusing.get(&worker) {
            return Err(Fault::new(*kind, format!("{}: says this worker", kind.name())));
        }
        let is_missing = self.cache((version.file, offset));
        let fetched = if is_missing { length } else { 0 };
        let loaded = Loaded { under_store_bytes: fetched, missing_bytes: fetched };
        match self.tricks.get_mut(&at).and_then(VecDeque::pop_front) {
            None => return Ok(loaded),
            Some(Trick::Evict) => {
                self.cached.remove(&(version.file, offset));
                return Ok(loaded);
            }
            Some(Trick::Fail(kind)) => {
                self.cached.remove(&(version.file, offset));
                return Err(Fault::new(kind, "as the test wants it"));
            }
            Some(Trick::Change(length)) => {
                let version = self.new_version(length);
                self.nodes.get_mut(&at).unwrap().version = Some(version);
            }
            Some(Trick::Vanish) => drop(self.nodes.remove(&at)),
        }
        self.cached.remove(&(version.file, offset));
        Err(Fault::new(ErrorKind::Stale, "it was replaced"))
    }

    /// Caches a block, for which the longest unused one may have to go; whether it was missing.
    fn cache(&mut self, block: (FileId, u64)) -> bool {
        self.by_use.retain(|used| *used != block);
        self.by_use.push_back(block);
        let is_missing = self.cached.insert(block);
        while self.by_use.len() > self.cached_max {
            let Some(gone) = self.by_use.pop_front() else { break };
            self.cached.remove(&gone);
        }
        is_missing
    }
}
