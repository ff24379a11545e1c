//! Drives the engine of one job: carries out what it asks for and brings it what came of that.

use std::sync::Arc;

use forebay_jobs::{Action, Event, Fault, Found, Job, LoadJob, MetadataLoadJob, NamedFound, Page};
use forebay_metadata::{
    AdvanceJob, AdvanceMetadataLoad, Command, Edge, EndJob, EndMetadataLoad, JobKind, JobRecord, query,
};
use forebay_proto::{Entry, Named};
use forebay_runtime::BootInstant;
use forebay_types::{EntryKind, EntryName, Epoch, JobId, JobState, NamespacePath};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::admissions::{Admissions, Known};
use super::load::load;
use super::paths::PathLookup;
use crate::error::MasterError;
use crate::limits;
use crate::live_jobs::{Figures, LiveJob};
use crate::shared::Shared;
use crate::tree;

/// One job, its engine and what is under way for it. All of that ends with it.
struct Driver<'a> {
    shared: &'a Arc<Shared>,
    job: JobId,
    is_metadata_only: bool,
    lookup: Arc<PathLookup>,
    admissions: Arc<Admissions>,
    under_way: FuturesUnordered<BoxFuture<'static, Event>>,
    loading: mpsc::Sender<Event>,
    /// What the engine knows of the workers: the map, whether it is settled, and their room.
    known: Option<(Epoch, bool, u64)>,
}

/// Works on a job, as it is written down, until it is over, somebody stops it, or the process ends.
pub(super) async fn drive(shared: &Arc<Shared>, record: &JobRecord, live: &LiveJob) {
    let (job, is_metadata_only) = (record.id, record.kind != JobKind::Load);
    let (loading, mut news) = mpsc::channel(limits::JOB_NEWS_MAX);
    let (lookup, admissions) = (Arc::<PathLookup>::default(), Arc::<Admissions>::default());
    let under_way = FuturesUnordered::new();
    let mut driver =
        Driver { shared, job, is_metadata_only, lookup, admissions, under_way, loading, known: None };
    let mut engine = engine(record);
    let mut ticks = tokio::time::interval(limits::JOB_TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            () = live.token.cancelled() => return,
            _ = ticks.tick() => {
                *live.figures.lock() = Some(figures(&engine));
                driver.workers_or_tick()
            }
            Some(event) = driver.under_way.next(), if !driver.under_way.is_empty() => event,
            Some(event) = news.recv() => event,
        };
        for action in engine.handle(shared.clock.boot_instant().since_boot(), event) {
            if let Action::End { state, progress, directories_done, failures, reason } = action {
                let end = EndJob { job, state, progress: Some(progress), failures, reason };
                let counted = is_metadata_only.then_some(directories_done);
                tokio::select! {
                    () = live.token.cancelled() => {}
                    () = write_end(shared, end, counted) => {}
                }
                return;
            }
            driver.carry_out(action);
        }
    }
}

impl Driver<'_> {
    /// Tells the engine of the workers if that is news to it.
    fn workers_or_tick(&mut self) -> Event {
        let is_settled = self.shared.jobs.is_settled(self.shared.clock.boot_instant());
        let registry = self.shared.registry.lock();
        let room_bytes = registry.room();
        let before = self.known.replace((registry.epoch(), is_settled, room_bytes));
        if before.is_some_and(|(epoch, settled, _)| (epoch, settled) == (registry.epoch(), is_settled)) {
            return match before == self.known {
                true => Event::Tick,
                false => Event::Room { room_bytes },
            };
        }
        let map = registry.map();
        drop(registry);
        self.shared.jobs.channels.retain(&map);
        Event::Workers { map, is_settled, room_bytes }
    }

    fn carry_out(&self, action: Action) {
        let (shared, job) = (Arc::clone(self.shared), self.job);
        let admissions = Arc::clone(&self.admissions);
        let future: BoxFuture<'static, Event> = match action {
            Action::ReadPaths { request, row } => Box::pin(async move {
                let paths = shared.query(|state| Ok(query::job_paths(state, job, row)?)).await;
                Event::Paths { request, paths: paths.map_err(|error| fault(&error)) }
            }),
            Action::Resolve { request, path } => {
                let (lookup, is_metadata_only) = (Arc::clone(&self.lookup), self.is_metadata_only);
                Box::pin(async move {
                    let found = match is_metadata_only {
                        true => find_known(&shared, &lookup, &path).await,
                        false => lookup.find(&shared, &path).await,
                    };
                    let found = judged(&shared, &admissions, found, found_entry).await;
                    Event::Found { request, found: found.map_err(|error| fault(&error)) }
                })
            }
            Action::List { request, directory, after, begun, limit } => {
                let is_metadata_only = self.is_metadata_only;
                Box::pin(async move {
                    let (after, begun) = (after.as_ref(), BootInstant::from_boot(begun));
                    let page = match is_metadata_only {
                        true => tree::go_through_names(&shared, directory, after, limit, begun)
                            .await
                            .map(page_of_names),
                        false => {
                            let found = tree::go_through(&shared, directory, after, limit, begun).await;
                            judged(&shared, &admissions, found, page).await
                        }
                    };
                    Event::Listed { request, page: page.map_err(|error| fault(&error)) }
                })
            }
            Action::ListWhole { request, directory } => Box::pin(async move {
                let outcome = tree::list_whole(&shared, directory).await;
                Event::ListedWhole { request, outcome: outcome.map_err(|error| fault(&error)) }
            }),
            Action::Renew { request, inode } => Box::pin(async move {
                let found = tree::renew(&shared, inode).await;
                let found = judged(&shared, &admissions, found, found_entry).await;
                Event::Found { request, found: found.map_err(|error| fault(&error)) }
            }),
            Action::Load { task, worker, version, offset, length } => {
                let news = self.loading.clone();
                let tell = move |cached_bytes| drop(news.try_send(Event::Loading { task, cached_bytes }));
                Box::pin(async move {
                    let outcome = load(&shared, worker, &version, (offset, length), tell).await;
                    Event::Loaded { task, outcome }
                })
            }
            Action::Look { request, version } => {
                let is_whole = shared.registry.lock().locations.is_whole(&version);
                Box::pin(std::future::ready(Event::Looked { request, is_whole }))
            }
            Action::Persist { begins, progress, directories_done, failures } => {
                let advance = AdvanceJob { job, begins, progress, failures };
                let command = match self.is_metadata_only {
                    true => Command::AdvanceMetadataLoad(AdvanceMetadataLoad { advance, directories_done }),
                    false => Command::AdvanceJob(advance),
                };
                Box::pin(async move {
                    Event::Persisted { is_durable: shared.propose(None, command).await.is_ok() }
                })
            }
            Action::End { .. } => return,
        };
        self.under_way.push(future);
    }
}

/// The engine of a job, which goes on from what is written down of it.
fn engine(record: &JobRecord) -> Job {
    let before = record.progress;
    match record.kind {
        JobKind::Load => Job::Load(Box::new(LoadJob::resuming(before))),
        JobKind::MetadataLoad { directories_done } => {
            Job::MetadataLoad(Box::new(MetadataLoadJob::resuming(before, directories_done)))
        }
    }
}

fn figures(engine: &Job) -> Figures {
    Figures { progress: engine.progress(), directories_done: engine.directories_done() }
}

/// The entry at a path of a load of metadata. Of a file the directory that it lies in is listed, as each directory is: a
/// name that is known from before an outage is no name that was loaded.
async fn find_known(
    shared: &Arc<Shared>,
    lookup: &PathLookup,
    path: &NamespacePath,
) -> Result<Entry, MasterError> {
    let entry = lookup.find(shared, path).await?;
    if entry.kind == EntryKind::Directory {
        return Ok(entry);
    }
    tree::list_whole(shared, entry.directory).await?;
    lookup.find(shared, path).await
}

/// The last entry of a job; a load of metadata has `counted` its directories.
pub(crate) fn end_command(end: EndJob, counted: Option<u64>) -> Command {
    match counted {
        Some(directories_done) => Command::EndMetadataLoad(EndMetadataLoad { end, directories_done }),
        None => Command::EndJob(end),
    }
}

/// Writes down that the job is over. Until that is done it is not, so this is tried again.
async fn write_end(shared: &Shared, end: EndJob, counted: Option<u64>) {
    let job = end.job;
    let mut pause = limits::JOB_END_PAUSE_MIN;
    loop {
        match shared.propose(None, end_command(end.clone(), counted)).await {
            Ok(_) => break,
            // Somebody else ended it.
            Err(MasterError::Rejected(_)) => return,
            Err(error) => {
                tracing::warn!(job = %job, %error, "the end of a job could not be written down; this is tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(limits::JOBS_LOOK_INTERVAL);
            }
        }
    }
    shared.metrics.count_job(end.state);
    let failed = end.progress.map_or(0, |progress| progress.files_failed);
    if end.state == JobState::Failed {
        let reason = end.reason.as_deref().unwrap_or("the job names the files");
        tracing::warn!(job = %job, failed, reason, "job failed");
    } else {
        tracing::info!(job = %job, state = %end.state, "job is over");
    }
}

fn fault(error: &MasterError) -> Fault {
    Fault::new(error.kind(), error.to_string())
}

/// What was found, with what the mounts want cached of it.
async fn judged<T, U>(
    shared: &Shared,
    admissions: &Admissions,
    found: Result<T, MasterError>,
    judge: impl FnOnce(T, &Known) -> U + Send,
) -> Result<U, MasterError>
where
    T: Send,
{
    let found = found?;
    Ok(judge(found, &admissions.now(shared).await?))
}

fn found_entry(entry: Entry, known: &Known) -> Found {
    let version = entry.version.map(|(version, _)| version);
    let refused = version.as_ref().and_then(|version| known.refusal(version));
    Found { inode: entry.inode, kind: entry.kind, version, refused }
}

/// A load of metadata needs to know no more of a file than that it is there.
fn page_of_names((names, is_last): (Vec<(EntryName, Edge)>, bool)) -> Page {
    let named = |(name, edge): (EntryName, Edge)| NamedFound {
        name,
        found: Found { inode: edge.target, kind: edge.kind, version: None, refused: None },
    };
    Page { entries: names.into_iter().map(named).collect(), is_last }
}

fn page((entries, is_last): (Vec<Named>, bool), known: &Known) -> Page {
    let named = |Named { name, entry }| NamedFound { name, found: found_entry(entry, known) };
    Page { entries: entries.into_iter().map(named).collect(), is_last }
}
