//! A worker: the real index of the block store over a disk in memory, with reads, loads and heartbeats around it.
//!
//! The disk stays when the worker crashes; the index is made anew from the records that are on it.

mod disk;
mod fill;

use std::cell::RefCell;
use std::rc::Rc;

use forebay_block_store::{
    CachedVersion, Changes, Demand, Eviction, Index, PageIndex, PageRange, TierKind, TierLimits,
};
use forebay_types::{ByteCount, ErrorKind, PAGE_LENGTH, VersionDescriptor, WorkerId};

use crate::executor::Node;
use crate::limits::{HEARTBEAT_INTERVAL, LOAD_ROUNDS_MAX};
use crate::plan::{Fault, Planted};
use crate::registry::{Beat, Report};
use crate::store::{Content, PageBytes, StoreFault};
use crate::world::World;

pub(crate) use disk::Disk;

/// What a worker may hold, in pages: not all that there is.
const CAPACITY_PAGES: u64 = 24;

/// Pages of the longest version that is kept whole: not of all that there are.
const WHOLE_PAGES_MAX: u64 = 1;
/// Pages of a segment of a longer one.
const SEGMENT_PAGES: u32 = 2;

/// One life of a worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) number: u8,
    pub(crate) index: RefCell<Index>,
}

impl Worker {
    /// Starts a worker on what its disk has.
    pub(crate) fn start(world: &Rc<World>, number: u8) -> Rc<Self> {
        let limits = TierLimits {
            kind: TierKind::Disk,
            capacity: capacity(),
            whole_file_max: ByteCount::new(WHOLE_PAGES_MAX * PAGE_LENGTH),
            free_bytes_floor: ByteCount::ZERO,
            free_inodes_floor: 0,
        };
        let mut index = Index::new(vec![limits], SEGMENT_PAGES, eviction(world, number));
        let actions = world.disks[usize::from(number)].recover(&mut index);
        let worker = Rc::new(Self { number, index: RefCell::new(index) });
        let (of, to) = (Rc::clone(world), Rc::clone(&worker));
        world.executor.spawn(worker.node(), async move {
            fill::perform(&of, &to, actions).await;
            for number in 0..of.plan.masters {
                let (world, worker) = (Rc::clone(&of), Rc::clone(&to));
                of.executor.spawn(to.node(), async move { worker.beat(&world, Node::Master(number)).await });
            }
        });
        worker
    }

    /// Where it is.
    pub(crate) fn node(&self) -> Node {
        Node::Worker(self.number)
    }

    /// Its id at the master.
    pub(crate) fn id(&self) -> WorkerId {
        WorkerId::new(u32::from(self.number) + 1)
    }

    /// The pages of a range of bytes.
    fn pages(offset: u64, end: u64) -> std::ops::Range<u32> {
        let page = |at: u64| u32::try_from(at / PAGE_LENGTH).expect("a few pages");
        page(offset)..page(end.saturating_add(PAGE_LENGTH - 1)).max(page(offset) + u32::from(end == 0))
    }

    fn missing(&self, version: &VersionDescriptor, pages: std::ops::Range<u32>) -> Vec<u32> {
        let pages = PageRange { first: PageIndex::new(pages.start), count: pages.end - pages.start };
        let missing = self.index.borrow().missing(version.file, version.length(), pages);
        missing.into_iter().map(PageIndex::get).collect()
    }

    /// Tells a master what changed, and drops what the one that leads says is to be forgotten: as each line of
    /// worker/server to a master, beside the others.
    async fn beat(self: &Rc<Self>, world: &Rc<World>, to: Node) {
        let mut cursor = self.index.borrow().cursor();
        let (mut told_all_to, mut taken) = (None, 0);
        loop {
            world.sleep(HEARTBEAT_INTERVAL).await;
            let (changed, next) = match self.index.borrow().changes_since(cursor) {
                Changes::Since { versions, next, .. } => (versions, next),
                Changes::TooOld => (Vec::new(), cursor),
            };
            let all = self.index.borrow().list(None, usize::MAX);
            let [all, changed] =
                [all, changed].map(|versions| versions.iter().map(report).collect::<Vec<_>>());
            let (id, known, at) = (self.id(), told_all_to, world.now());
            let asking = world.call((self.node(), to), HEARTBEAT_INTERVAL * 5, move |world| {
                let (all, changed) = (all.clone(), changed.clone());
                Box::pin(async move {
                    let master = world.master(to).ok_or(ErrorKind::Unavailable)?;
                    let life = master.began;
                    let is_all = known != Some(life) || !master.registry.borrow().knows(id);
                    let reports = if is_all { all } else { changed };
                    let beat = Beat { at, is_all };
                    let now = world.clock(to);
                    master.registry.borrow_mut().heard(id, capacity(), now, beat, &reports);
                    // One that follows directs nobody.
                    let forget = match master.confirm(&world).await {
                        // As one that registers anew says nothing of lists that it took in an earlier life.
                        Ok(_) => {
                            Some(master.registry.borrow_mut().forget_list(id, if is_all { 0 } else { taken }))
                        }
                        Err(ErrorKind::NotLeader) => None,
                        Err(kind) => return Err(kind),
                    };
                    Ok::<_, ErrorKind>((life, is_all, forget))
                })
            });
            let Ok(Ok((life, is_all, forget))) = asking.await else {
                // What was told may not have come, so all is told again.
                told_all_to = None;
                continue;
            };
            (told_all_to, cursor) = (Some(life), next);
            if is_all {
                taken = 0;
            }
            let Some(forget) = forget.filter(|forget| forget.sequence != taken) else { continue };
            for file in forget.files {
                let actions = self.index.borrow_mut().detach(file, forebay_block_store::Reason::Freed);
                fill::perform(world, self, actions).await;
            }
            taken = forget.sequence;
        }
    }

    /// Brings one page into the cache. Its bytes, also where there is no room for them.
    async fn fetch(
        self: &Rc<Self>,
        world: &Rc<World>,
        version: &VersionDescriptor,
        page: u32,
        demand: Demand,
    ) -> Result<PageBytes, ErrorKind> {
        let mount = world.mount_number(version.mount).ok_or(ErrorKind::NotFound)?;
        let key = String::from_utf8_lossy(version.key.as_bytes()).into_owned();
        let tag = Content::of(&version.fingerprint).tag;
        let bytes = match world.mounts[mount].store.get(world, &key, tag, page).await {
            Ok(bytes) => bytes,
            Err(StoreFault::Changed) => return Err(ErrorKind::Stale),
            Err(StoreFault::Failed | StoreFault::Cut(_)) => return Err(ErrorKind::UnderStore),
        };
        // Conditions are never trusted alone.
        if bytes.tag != tag && world.plan.planted != Some(Planted::MixedBytes) {
            return Err(ErrorKind::Stale);
        }
        fill::store(world, self, version, (page, bytes), demand).await;
        Ok(bytes)
    }

    /// A page from the disk, if it is there and has its checksum.
    async fn read_cached(
        self: &Rc<Self>,
        world: &Rc<World>,
        version: &VersionDescriptor,
        page: u32,
    ) -> Option<PageBytes> {
        let place = self.index.borrow().place(version.file, version.length(), PageIndex::new(page))?;
        let range = PageRange { first: place.page, count: 1 };
        let found = self.index.borrow().lookup(place.unit, range).filter(|found| found.readable == 1)?;
        self.index.borrow_mut().touch(place.unit, place.page);
        let key = found.location.key;
        disk::wait(world).await;
        match world.disks[usize::from(self.number)].read(key, place.page) {
            Ok(bytes) => Some(bytes),
            Err(()) => {
                world.note(format_args!("worker {} finds page {page} of {key} to be wrong", self.number));
                let actions = self.index.borrow_mut().lose_page(key, place.page);
                fill::perform(world, self, actions).await;
                None
            }
        }
    }

    /// Brings a range into the cache; gives the bytes that were missing, and those that were fetched.
    async fn load(
        self: &Rc<Self>,
        world: &Rc<World>,
        version: &VersionDescriptor,
        (offset, length): (u64, u64),
    ) -> Result<(u64, u64), ErrorKind> {
        let pages = Self::pages(offset, offset + length);
        let lie = (world.plan.planted == Some(Planted::LoadLies)
            && world.dice("planted", |random| random.chance(1, 4)))
        .then_some(pages.start);
        let bytes = |pages: usize| pages as u64 * PAGE_LENGTH;
        let (mut missing, mut fetched) = (None, 0);
        for _ in 0..LOAD_ROUNDS_MAX {
            let open: Vec<u32> =
                self.missing(version, pages.clone()).into_iter().filter(|page| Some(*page) != lie).collect();
            missing.get_or_insert(bytes(open.len()));
            for page in &open {
                self.fetch(world, version, *page, Demand::Load).await?;
                fetched += PAGE_LENGTH;
            }
            if open.is_empty() {
                break;
            }
        }
        let is_whole = lie.is_some() || self.missing(version, pages.clone()).is_empty();
        if !is_whole {
            return Err(ErrorKind::NoSpace);
        }
        self.check_load(world, version, pages);
        Ok((missing.unwrap_or_default(), fetched))
    }

    /// What is said to be loaded must be on the disk, as it was written.
    fn check_load(&self, world: &World, version: &VersionDescriptor, pages: std::ops::Range<u32>) {
        world.oracle.count(|counts| counts.loads += 1);
        let tag = Content::of(&version.fingerprint).tag;
        let disk = &world.disks[usize::from(self.number)];
        let absent = pages.clone().find(|page| !disk.has(version.file, PageBytes { tag, page: *page }));
        match absent {
            Some(page) => {
                let (file, number) = (version.file, self.number);
                let what =
                    format!("worker {number} says that {pages:?} of {file} are there, and {page} is not");
                world.oracle.report(world, "loads-are-whole", what, &[format!("{file}")]);
            }
            None => world.oracle.confirm(world, version.file, pages),
        }
    }
}

/// Serves a page to a reader.
pub(crate) async fn read(
    world: &Rc<World>,
    node: Node,
    version: &VersionDescriptor,
    page: u32,
) -> Result<PageBytes, ErrorKind> {
    let worker = world.worker(node).ok_or(ErrorKind::Unavailable)?;
    match worker.read_cached(world, version, page).await {
        Some(bytes) => Ok(bytes),
        None => worker.fetch(world, version, page, Demand::Read).await,
    }
}

/// Loads a range for a job.
pub(crate) async fn load(
    world: &Rc<World>,
    node: Node,
    version: &VersionDescriptor,
    range: (u64, u64),
) -> Result<(u64, u64), ErrorKind> {
    let worker = world.worker(node).ok_or(ErrorKind::Unavailable)?;
    worker.load(world, version, range).await
}

/// Each worker of a run evicts by another policy, and by the same one in each of its lives.
fn eviction(world: &World, number: u8) -> Eviction {
    let all = Eviction::ALL;
    let chosen = (world.plan.seed + u64::from(number)) % all.len() as u64;
    all[usize::try_from(chosen).expect("below their number")]
}

fn report(version: &CachedVersion) -> Report {
    let CachedVersion { file, cached, is_complete } = *version;
    Report { file, is_held: cached > ByteCount::ZERO || is_complete, is_whole: is_complete }
}

const fn capacity() -> ByteCount {
    // Beside each version's pages lies its index file.
    ByteCount::new(CAPACITY_PAGES * PAGE_LENGTH + (64 << 10))
}

/// What a rotten bit does to one page of a disk.
pub(crate) fn rot(world: &World, number: u8) {
    if world.plan.has(Fault::PageRots)
        && let Some(what) = world.dice("rot", |random| world.disks[usize::from(number)].rot(random))
    {
        world.note(format_args!("worker {number}: {what} rots"));
    }
}
