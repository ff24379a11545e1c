//! Drives the real engine of loads, as master/server/src/jobs does, and checks what a load says that it did.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use forebay_jobs::{Action, Event, Fault, Found, LoadJob, Loaded, NamedFound, Page, TaskId};
use forebay_metadata::{AdvanceJob, Command, EndJob, JobRecord, query};
use forebay_types::{
    EntryKind, ErrorKind, FileId, InodeId, JobId, JobState, NamespacePath, PAGE_LENGTH, VersionDescriptor,
    WorkerId, limits::LISTING_PAGE_MAX,
};

use crate::executor::Signal;
use crate::limits::{JOB_TICK, LOAD_DEADLINE, WORKER_LOST_AFTER};
use crate::master::Master;
use crate::master::answers::Entry;
use crate::store::{Seen, entry_name};
use crate::world::World;

/// The jobs that a master works on.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    pub(crate) wake: Signal,
    live: RefCell<BTreeSet<JobId>>,
}

impl Jobs {
    /// None is worked on any more.
    pub(crate) fn stop_all(&self) {
        self.live.borrow_mut().clear();
    }
}

/// What came of what the engine asked for.
#[derive(Debug, Default)]
struct Inbox {
    events: RefCell<VecDeque<Event>>,
    came: Signal,
}

impl Inbox {
    fn put(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        self.came.raise();
    }
}

/// Begins to work on jobs as they come.
pub(crate) async fn work(world: &Rc<World>, master: &Rc<Master>) {
    loop {
        let seen = master.jobs.wake.count();
        let jobs = match master.confirm(world).await {
            Ok(_) => query::jobs(&*master.store.borrow()).expect("memory can be read"),
            Err(_) => Vec::new(),
        };
        for job in jobs.into_iter().filter(|job| !job.state.is_over() && job.is_listed) {
            if master.jobs.live.borrow_mut().insert(job.id) {
                // Where the reign ends first, all of them have stopped.
                master.during_reign(world, |master, world| async move {
                    drive(&world, &master, &job).await;
                    master.jobs.live.borrow_mut().remove(&job.id);
                });
            }
        }
        let second = Duration::from_secs(1);
        world.executor.within(second, master.jobs.wake.beyond(seen)).await;
    }
}

/// The files below a job's paths as they are now.
fn files_of(master: &Master, job: JobId) -> BTreeMap<FileId, VersionDescriptor> {
    let state = master.store.borrow();
    let mut files = BTreeMap::new();
    let paths = query::job_paths(&*state, job, 0).expect("memory can be read").unwrap_or_default();
    let mut open: Vec<InodeId> = Vec::new();
    for path in paths {
        let resolved = query::resolve(&*state, &path).expect("memory can be read");
        if resolved.rest.is_empty() {
            open.push(resolved.inode.id);
        }
    }
    while let Some(directory) = open.pop() {
        let page = query::list(&*state, directory, None, LISTING_PAGE_MAX).expect("memory can be read");
        for inode in page {
            match inode.version() {
                Some(version) => drop(files.insert(version.file, version)),
                None => open.push(inode.id),
            }
        }
    }
    files
}

async fn drive(world: &Rc<World>, master: &Rc<Master>, job: &JobRecord) {
    let (begun, at_begin) = (world.now(), files_of(master, job.id));
    world.note(format_args!("{} begins", job.id));
    let (mut engine, inbox) = (LoadJob::resuming(job.progress), Rc::<Inbox>::default());
    let mut known = None;
    loop {
        let seen = inbox.came.count();
        let event = inbox.events.borrow_mut().pop_front();
        let event = match event {
            Some(event) => event,
            None => match world.executor.within(JOB_TICK, inbox.came.beyond(seen)).await {
                Some(()) => continue,
                None => workers_or_tick(world, master, &mut known),
            },
        };
        for action in engine.handle(world.clock(master.node()), event) {
            if let Action::End { state, progress, failures, reason, .. } = action {
                let end = EndJob { job: job.id, state, progress: Some(progress), failures, reason };
                if state == JobState::Succeeded {
                    check_success(world, master, job.id, begun, &at_begin);
                }
                return write_end(world, master, end).await;
            }
            carry_out(world, master, job.id, &inbox, action);
        }
    }
}

fn workers_or_tick(world: &World, master: &Master, known: &mut Option<(u64, bool, u64)>) -> Event {
    let is_settled = world.now() - master.leads_since.get() >= WORKER_LOST_AFTER;
    let mut registry = master.registry.borrow_mut();
    registry.look(world.clock(master.node()));
    let room_bytes = registry.room();
    let now = (registry.epoch(), is_settled, room_bytes);
    let before = known.replace(now);
    match before {
        Some(before) if before == now => Event::Tick,
        Some((epoch, settled, _)) if (epoch, settled) == (now.0, is_settled) => Event::Room { room_bytes },
        _ => Event::Workers { map: registry.map(), is_settled, room_bytes },
    }
}

fn carry_out(world: &Rc<World>, master: &Rc<Master>, job: JobId, inbox: &Rc<Inbox>, action: Action) {
    let (world, master, inbox) = (Rc::clone(world), Rc::clone(master), Rc::clone(inbox));
    let of = Rc::clone(&world);
    of.executor.spawn(master.node(), async move {
        let event = match action {
            Action::ReadPaths { request, row } => {
                let confirmed = master.confirm(&world).await.map_err(fault);
                let paths =
                    || query::job_paths(&*master.store.borrow(), job, row).expect("memory can be read");
                Event::Paths { request, paths: confirmed.map(|_| paths()) }
            }
            Action::Resolve { request, path } => {
                let found = resolve(&world, &master, &path).await;
                Event::Found { request, found: found.map_err(fault) }
            }
            Action::List { request, directory, .. } => {
                let page = list(&world, &master, directory).await;
                Event::Listed { request, page: page.map_err(fault) }
            }
            Action::Renew { request, inode } => {
                let entry = master.renew_file(&world, inode).await;
                Event::Found { request, found: entry.map(|entry| found(&entry)).map_err(fault) }
            }
            Action::Load { task, worker, version, offset, length } => {
                load(&world, &master, (task, worker), version, (offset, length)).await
            }
            Action::Look { request, version } => {
                let is_whole = master.registry.borrow().is_whole(version.file);
                Event::Looked { request, is_whole }
            }
            Action::Persist { begins, progress, failures, .. } => {
                let command = Command::AdvanceJob(AdvanceJob { job, begins, progress, failures });
                Event::Persisted { is_durable: master.propose(&world, command, Vec::new()).await.is_ok() }
            }
            // Only loads of metadata ask for it, and nobody begins one here.
            Action::ListWhole { .. } | Action::End { .. } => return,
        };
        inbox.put(event);
    });
}

async fn load(
    world: &Rc<World>,
    master: &Master,
    (task, worker): (TaskId, WorkerId),
    version: VersionDescriptor,
    range: (u64, u64),
) -> Event {
    let away = || Event::Loaded { task, outcome: Err(fault(ErrorKind::Unavailable)) };
    let Some(node) = world.node_of(worker) else { return away() };
    let asking = world.call((master.node(), node), LOAD_DEADLINE, move |world| {
        let version = version.clone();
        Box::pin(async move { crate::worker::load(&world, node, &version, range).await })
    });
    let Ok(outcome) = asking.await else { return away() };
    let outcome =
        outcome.map(|(missing_bytes, under_store_bytes)| Loaded { under_store_bytes, missing_bytes });
    Event::Loaded { task, outcome: outcome.map_err(fault) }
}

async fn resolve(world: &Rc<World>, master: &Rc<Master>, path: &NamespacePath) -> Result<Found, ErrorKind> {
    let mount = world.mounts.iter().find(|mount| path.names().first() == mount.path.names().first());
    let mount = mount.ok_or(ErrorKind::NotFound)?;
    let mut at = Found { inode: mount.root, kind: EntryKind::Directory, version: None, refused: None };
    for name in &path.names()[1..] {
        let answer = master.lookup(world, at.inode, &name.to_string()).await?;
        at = found(&answer.of.ok_or(ErrorKind::NotFound)?);
    }
    Ok(at)
}

async fn list(world: &Rc<World>, master: &Rc<Master>, directory: InodeId) -> Result<Page, ErrorKind> {
    let answer = master.list(world, directory).await?;
    let named = |(name, entry): (String, Entry)| NamedFound { name: entry_name(&name), found: found(&entry) };
    Ok(Page { entries: answer.of.into_iter().map(named).collect(), is_last: true })
}

fn found(entry: &Entry) -> Found {
    let kind = if entry.seen == Seen::Directory { EntryKind::Directory } else { EntryKind::File };
    Found { inode: entry.inode, kind, version: entry.version.clone(), refused: None }
}

fn fault(kind: ErrorKind) -> Fault {
    Fault::new(kind, kind.to_string())
}

async fn write_end(world: &Rc<World>, master: &Rc<Master>, end: EndJob) {
    world.note(format_args!("{} ends: {:?} {:?}", end.job, end.state, end.failures));
    // Until it is written down it is not over.
    while let Err(ErrorKind::TimedOut) = master.propose(world, Command::EndJob(end.clone()), Vec::new()).await
    {
        world.sleep(JOB_TICK).await;
    }
}

/// Each page of each version that was there all the time must have been seen in its place since the job began.
fn check_success(
    world: &World,
    master: &Master,
    job: JobId,
    begun: Duration,
    at_begin: &BTreeMap<FileId, VersionDescriptor>,
) {
    world.oracle.count(|counts| counts.jobs += 1);
    let at_end = files_of(master, job);
    for (file, version) in at_begin.iter().filter(|(file, _)| at_end.contains_key(file)) {
        let pages = u32::try_from(version.length().get().div_ceil(PAGE_LENGTH).max(1)).expect("a few pages");
        if let Some(page) = (0..pages).find(|page| !world.oracle.is_confirmed(*file, *page, begun)) {
            let what = format!("{job} succeeded, and nobody has seen page {page} of {file} in its place");
            world.oracle.report(world, "loads-are-whole", what, &[format!("{file}"), format!("{job}")]);
            return;
        }
    }
}
