//! A job's life: asked for in parts, worked on, begun anew, ended, and in the end forgotten.

use forebay_types::limits::{
    JOB_FAILURES_KEPT_MAX, JOB_PATHS_KEPT_MAX, LOAD_PATHS_PER_MESSAGE_MAX, REASON_LENGTH_MAX,
};
use forebay_types::{JobFailure, JobId, JobProgress, JobState, NamespacePath, Timestamp};

use crate::command::{
    AdvanceJob, AdvanceMetadataLoad, BeginLoad, BeginMetadataLoad, Command, EndJob, EndMetadataLoad,
    ExtendLoad,
};
use crate::limits::{JOBS_ACTIVE_MAX, JOBS_KEPT_MAX};
use crate::state::JobKind;
use crate::store::StateWriter;
use crate::testing::{World, path, stamp};
use crate::{Effect, Proposal, Rejection, Reply, Success, apply, invariant, query};

const JOB: JobId = JobId::new(1);

fn paths(texts: &[&str]) -> Vec<NamespacePath> {
    texts.iter().map(|text| path(text)).collect()
}

fn begin(texts: &[&str], last: bool) -> Command {
    Command::BeginLoad(BeginLoad { paths: paths(texts), last })
}

fn extend(paths_before: u64, texts: &[&str], last: bool) -> Command {
    Command::ExtendLoad(ExtendLoad { job: JOB, paths_before, paths: paths(texts), last })
}

fn failure(number: usize) -> JobFailure {
    JobFailure::new(path(&format!("/f/{number}")), "it is gone")
}

fn done(files_done: u64) -> JobProgress {
    JobProgress { files_done, ..JobProgress::default() }
}

fn advance(begins: bool, files_done: u64, failures: Vec<JobFailure>) -> Command {
    Command::AdvanceJob(AdvanceJob { job: JOB, begins, progress: done(files_done), failures })
}

fn end(job: JobId, state: JobState) -> Command {
    Command::EndJob(EndJob { job, state, progress: None, failures: Vec::new(), reason: None })
}

fn record(world: &World) -> crate::JobRecord {
    query::job(world.reader(), JOB).unwrap().expect("known")
}

/// Applies without the check of the whole state that each entry has otherwise, which a thousand entries would feel.
fn quickly(world: &mut World, command: Command) -> Reply {
    world.clock += 1;
    let proposal = Proposal { issued_at: Timestamp::from_nanos(world.clock), session: None, command };
    let index = world.index().next();
    let applied = apply(&world.store, index, &proposal).unwrap();
    world.store.commit(applied.mutations).unwrap();
    world.log.push((index, proposal));
    applied.reply
}

/// A state with one job that has all its paths.
fn with_job() -> World {
    let mut world = World::formatted();
    assert_eq!(world.apply(begin(&["/a"], true)), Ok(Success::LoadBegun { job: JOB }));
    world
}

#[test]
fn a_list_in_parts_is_kept_in_its_order_and_closed_by_the_last() {
    let mut world = World::formatted();
    world.apply(begin(&["/a", "/b"], false)).unwrap();
    assert_eq!(world.effects, [Effect::JobsChanged]);
    let early = world.apply(advance(true, 0, Vec::new()));
    assert_eq!(early, Err(Rejection::JobNotOpen { job: JOB, state: JobState::Pending }));
    world.apply(extend(2, &["/c"], false)).unwrap();
    world.apply(extend(3, &[], true)).unwrap();
    let rows = (0..4).map(|row| query::job_paths(world.reader(), JOB, row).unwrap());
    let expected = [Some(paths(&["/a", "/b"])), Some(paths(&["/c"])), Some(vec![]), None];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    let record = record(&world);
    assert_eq!((record.paths_total, record.is_listed, record.state), (3, true, JobState::Pending));
    assert!(matches!(world.apply(extend(3, &["/d"], true)), Err(Rejection::JobNotOpen { .. })));
}

#[test]
fn a_part_that_leaves_a_gap_is_refused() {
    let mut world = World::formatted();
    world.apply(begin(&["/a"], false)).unwrap();
    let refused = world.apply(extend(2, &["/c"], true));
    assert_eq!(refused, Err(Rejection::PathsOutOfOrder { job: JOB, expected: 1, found: 2 }));
    let missing =
        Command::ExtendLoad(ExtendLoad { job: JobId::new(9), paths_before: 0, paths: vec![], last: true });
    assert_eq!(world.apply(missing), Err(Rejection::JobMissing { job: JobId::new(9) }));
}

#[test]
fn more_paths_than_one_entry_may_carry_are_refused() {
    let mut world = World::formatted();
    let many = vec![path("/a"); LOAD_PATHS_PER_MESSAGE_MAX + 1];
    let long = vec![path(&"/abcdefg".repeat(500)); 300];
    for paths in [many, long] {
        let refused = world.apply(Command::BeginLoad(BeginLoad { paths, last: true }));
        assert!(matches!(refused, Err(Rejection::TooMany { .. })), "{refused:?}");
    }
    assert_eq!(query::job_counts(world.reader()).unwrap().next, JOB);
}

#[test]
fn a_retried_wish_is_one_job() {
    let mut world = World::formatted();
    let first = world.propose(Some(stamp(7, 1, 1)), begin(&["/a"], true));
    let again = world.propose(Some(stamp(7, 1, 1)), begin(&["/a"], true));
    assert_eq!((&first, first.is_ok()), (&again, true));
    assert_eq!(query::jobs(world.reader()).unwrap().len(), 1);
}

#[test]
fn progress_is_written_down_and_void_when_the_work_begins_anew() {
    let mut world = with_job();
    world.apply(advance(true, 1, vec![failure(1)])).unwrap();
    world.apply(advance(false, 2, vec![failure(2)])).unwrap();
    let begun = record(&world);
    assert_eq!((begun.state, begun.progress, begun.failures_kept), (JobState::Running, done(2), 2));
    assert_eq!(query::job_failures(world.reader(), JOB).unwrap(), [failure(1), failure(2)]);
    world.apply(advance(true, 0, Vec::new())).unwrap();
    let anew = record(&world);
    assert_eq!((anew.progress, anew.failures_kept, anew.started_at), (done(0), 0, begun.started_at));
    assert_eq!(query::job_failures(world.reader(), JOB).unwrap(), []);
}

#[test]
fn only_the_first_failures_are_kept_and_their_reasons_are_short() {
    let mut world = with_job();
    let most = JOB_FAILURES_KEPT_MAX;
    world.apply(advance(true, 0, (0..most - 1).map(failure).collect())).unwrap();
    let long = JobFailure { path: path("/long"), reason: "x".repeat(3 * REASON_LENGTH_MAX) };
    world.apply(advance(false, 0, vec![long, failure(most)])).unwrap();
    let kept = query::job_failures(world.reader(), JOB).unwrap();
    assert_eq!((kept.len(), kept[most - 1].reason.len()), (most, REASON_LENGTH_MAX));
}

#[test]
fn a_job_ends_once_and_stays_as_it_ended() {
    let mut world = with_job();
    world.apply(advance(true, 3, Vec::new())).unwrap();
    assert_eq!(world.apply(end(JOB, JobState::Cancelled)), Ok(Success::JobEnded { job: JOB }));
    assert_eq!(world.effects, [Effect::JobsChanged]);
    assert_eq!(world.apply(end(JOB, JobState::Cancelled)), Ok(Success::JobEnded { job: JOB }), "a retry");
    let over: Reply = Err(Rejection::JobNotOpen { job: JOB, state: JobState::Cancelled });
    for late in [end(JOB, JobState::Succeeded), advance(false, 9, Vec::new()), extend(1, &["/b"], true)] {
        assert_eq!(world.apply(late), over);
    }
    let record = record(&world);
    assert_eq!((record.progress, record.ended_at.is_some()), (done(3), true));
    let counts = query::job_counts(world.reader()).unwrap();
    assert_eq!((counts.active, counts.kept, counts.cancelled, counts.succeeded), (0, 1, 1, 0));
}

#[test]
fn a_load_of_metadata_counts_directories_and_is_else_as_any_load() {
    let mut world = World::formatted();
    let load = BeginLoad { paths: paths(&["/a"]), last: false };
    let begin = Command::BeginMetadataLoad(BeginMetadataLoad { load });
    assert_eq!(world.apply(begin), Ok(Success::LoadBegun { job: JOB }));
    world.apply(extend(1, &["/b"], true)).unwrap();
    assert_eq!(record(&world).kind, JobKind::MetadataLoad { directories_done: 0 });
    for (begins, directories_done) in [(true, 5), (false, 7), (true, 1)] {
        let advance = AdvanceJob { job: JOB, begins, progress: done(3), failures: vec![failure(1)] };
        let advance = AdvanceMetadataLoad { advance, directories_done };
        assert!(world.apply(Command::AdvanceMetadataLoad(advance)).is_ok());
        assert_eq!(record(&world).kind, JobKind::MetadataLoad { directories_done });
    }
    assert_eq!((record(&world).progress, record(&world).failures_kept), (done(3), 1));
    let end = EndJob { job: JOB, state: JobState::Succeeded, progress: None, failures: vec![], reason: None };
    let ended = Command::EndMetadataLoad(EndMetadataLoad { end, directories_done: 9 });
    assert_eq!(world.apply(ended), Ok(Success::JobEnded { job: JOB }));
    assert_eq!(record(&world).kind, JobKind::MetadataLoad { directories_done: 9 });
    assert_eq!((record(&world).state, record(&world).paths_total), (JobState::Succeeded, 2));
}

#[test]
fn a_load_of_data_has_no_count_of_directories() {
    let mut world = with_job();
    let advance = AdvanceJob { job: JOB, begins: true, progress: done(3), failures: vec![] };
    let counting = AdvanceMetadataLoad { advance, directories_done: 5 };
    world.apply(Command::AdvanceMetadataLoad(counting)).unwrap();
    assert_eq!((record(&world).kind, record(&world).progress), (JobKind::Load, done(3)));
}

#[test]
fn running_is_no_end() {
    let mut world = with_job();
    assert!(matches!(world.apply(end(JOB, JobState::Running)), Err(Rejection::JobNotOpen { .. })));
    assert_eq!(
        world.apply(end(JobId::new(5), JobState::Failed)),
        Err(Rejection::JobMissing { job: JobId::new(5) })
    );
}

#[test]
fn of_a_job_that_is_over_a_short_list_of_paths_is_kept() {
    let mut world = World::formatted();
    let many: Vec<_> = (0..JOB_PATHS_KEPT_MAX + 5).map(|number| path(&format!("/p/{number}"))).collect();
    world.apply(Command::BeginLoad(BeginLoad { paths: many.clone(), last: false })).unwrap();
    world.apply(extend(many.len() as u64, &["/last"], true)).unwrap();
    world.apply(end(JOB, JobState::Succeeded)).unwrap();
    assert_eq!(query::job_paths(world.reader(), JOB, 0).unwrap().unwrap(), many[..JOB_PATHS_KEPT_MAX]);
    assert_eq!(query::job_paths(world.reader(), JOB, 1).unwrap(), None);
    assert_eq!(record(&world).paths_total, many.len() as u64 + 1);
}

#[test]
fn the_oldest_jobs_that_are_over_go_and_those_under_way_stay() {
    let mut world = with_job();
    for number in 2..=JOBS_KEPT_MAX + 4 {
        quickly(&mut world, begin(&["/b"], true)).unwrap();
        let job = JobId::new(number);
        let fail =
            EndJob { job, state: JobState::Failed, progress: None, failures: vec![failure(1)], reason: None };
        quickly(&mut world, Command::EndJob(fail)).unwrap();
    }
    assert_eq!(invariant::check_all(world.reader()).unwrap(), []);
    let jobs = query::jobs(world.reader()).unwrap();
    assert_eq!(jobs.len() as u64, JOBS_KEPT_MAX + 1);
    assert_eq!((jobs[0].id, jobs[1].id), (JOB, JobId::new(5)));
    assert_eq!(query::job_failures(world.reader(), JobId::new(4)).unwrap(), []);
    assert_eq!(query::job_counts(world.reader()).unwrap().failed, JOBS_KEPT_MAX + 3);
}

#[test]
fn there_are_only_so_many_jobs_at_once() {
    let mut world = World::formatted();
    for _ in 0..JOBS_ACTIVE_MAX {
        quickly(&mut world, begin(&[], true)).unwrap();
    }
    assert!(matches!(world.apply(begin(&[], true)), Err(Rejection::TooMany { .. })));
    world.apply(end(JOB, JobState::Cancelled)).unwrap();
    assert!(world.apply(begin(&[], true)).is_ok());
}
