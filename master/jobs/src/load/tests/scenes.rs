//! One scene for each thing that can become of a load.

use std::time::Duration;

use forebay_types::{ErrorKind, JobState, WorkerState};

use super::world::{MIB, Trick, World, path, worker};
use crate::limits::{PART_LENGTH_MAX, PATIENCE, TASKS_MAX, TASKS_PER_WORKER_MAX};
use crate::{Action, Event};

const ROOM: u64 = 1 << 40;

fn tree() -> World {
    let mut world = World::new(&[(1, ROOM)]);
    for file in ["/d/a", "/d/b/x", "/d/b/y", "/d/c", "/e/z"] {
        world.file(file, 3 * MIB);
    }
    world
}

#[test]
fn all_files_below_are_loaded_in_the_order_of_the_list_and_depth_first() {
    let mut world = tree();
    world.begin(&["/e", "/d"]);
    assert_eq!(world.run(), JobState::Succeeded);
    let first: Vec<_> = world.loads.iter().take(5).map(|(path, ..)| path.to_string()).collect();
    assert_eq!(first, ["/e/z", "/d/a", "/d/b/x", "/d/b/y", "/d/c"]);
    let progress = world.durable.0;
    assert_eq!((progress.files_total, progress.files_done, progress.files_failed), (5, 5, 0));
    assert_eq!(
        (progress.bytes_total, progress.bytes_done, progress.under_store_bytes),
        (15 * MIB, 15 * MIB, 15 * MIB)
    );
}

#[test]
fn what_a_mount_does_not_want_cached_is_skipped_and_named_and_fails_nothing() {
    let mut world = tree();
    world.refuse("/d/b/x");
    world.refuse("/e/z");
    world.begin(&["/e/z", "/d"]);
    assert_eq!(world.run(), JobState::Succeeded);
    let loaded: Vec<_> = world.loads.iter().map(|(path, ..)| path.to_string()).collect();
    assert!(!loaded.iter().any(|path| path == "/d/b/x" || path == "/e/z"), "{loaded:?}");
    let (progress, told) = world.durable.clone();
    assert_eq!((progress.files_total, progress.files_done, progress.files_failed), (3, 3, 0));
    assert_eq!(progress.bytes_total, 9 * MIB);
    let told: Vec<_> = told.iter().map(|one| (one.path.to_string(), one.skip_reason().is_some())).collect();
    assert_eq!(
        told,
        [("/e/z".to_owned(), true), ("/d/b/x".to_owned(), true)],
        "each once, in however many passes"
    );
    let reason = world.end.clone().and_then(|(_, reason)| reason).expect("it says so");
    assert!(reason.starts_with("2 files were skipped"), "{reason}");
}

#[test]
fn a_load_of_nothing_succeeds() {
    let mut world = World::new(&[]);
    world.directory("/empty/below");
    for paths in [&[][..], &["/empty"]] {
        world.end = None;
        world.begin(paths);
        assert_eq!(world.run(), JobState::Succeeded);
        assert_eq!(world.durable.0.files_total, 0);
    }
}

#[test]
fn a_directory_that_is_still_being_listed_is_loaded_from_its_first_part_on() {
    let mut world = World::new(&[(1, ROOM)]);
    ["/d/a-b", "/d/a/x", "/d/c"].iter().for_each(|file| world.file(file, MIB));
    world.part_max = Some(1);
    world.begin(&["/d"]);
    // Whatever follows the first part does not come.
    let is_first = |action: &Action| !matches!(action, Action::List { after: Some(_), .. });
    while let Some(place) = world.waiting.iter().position(is_first) {
        world.step(place);
    }
    assert_eq!((world.end.clone(), world.loads.len()), (None, 1));
    assert_eq!(world.run(), JobState::Succeeded);
    let order: Vec<_> = world.loads.iter().take(3).map(|(path, ..)| path.to_string()).collect();
    assert_eq!(order, ["/d/a-b", "/d/a/x", "/d/c"], "a directory stands where its name with a slash does");
}

#[test]
fn each_part_of_a_directory_is_asked_for_as_of_the_moment_of_its_first() {
    let mut world = World::new(&[(1, ROOM)]);
    (0..9).for_each(|number| world.file(&format!("/d/{number}"), MIB));
    world.part_max = Some(2);
    world.list_faults.insert(path("/d"), vec![ErrorKind::UnderStore; 2].into());
    world.begin(&["/d"]);
    while world.end.is_none() {
        world.now += Duration::from_secs(1);
        match world.waiting.is_empty() {
            true => world.tell(Event::Tick),
            false => world.step(0),
        }
    }
    // Both walks of the first pass, and that of the second; a first part that failed is asked for anew.
    let moments: std::collections::BTreeSet<_> = world.begun.iter().collect();
    assert_eq!((moments.len(), world.begun.len()), (5, 2 + 3 * 5), "{:?}", world.begun);
}

#[test]
fn what_is_cached_costs_no_fetch_and_one_pass() {
    let mut world = tree();
    world.begin(&["/d"]);
    world.run();
    (world.end, world.loads) = (None, Vec::new());
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Succeeded);
    assert_eq!((world.durable.0.under_store_bytes, world.durable.0.files_done), (0, 4));
    assert_eq!(world.loads.len(), 4, "nothing was missing, so one pass has seen all in its place");
}

#[test]
fn a_file_that_is_named_twice_is_loaded_and_counted_once() {
    let mut world = tree();
    world.begin(&["/d/a", "/d", "/d/a", "/d/b"]);
    assert_eq!(world.run(), JobState::Succeeded);
    assert_eq!((world.durable.0.files_total, world.durable.0.files_done), (4, 4));
}

#[test]
fn two_bad_files_are_named_and_the_next_load_fetches_just_these() {
    let mut world = tree();
    world.trick("/d/a", &vec![Trick::Fail(ErrorKind::UnderStore); 50]);
    world.trick("/d/b/y", &[Trick::Fail(ErrorKind::PermissionDenied)]);
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Failed);
    let mut names = world.names();
    names.sort();
    assert_eq!(names, ["/d/a", "/d/b/y"]);
    let progress = world.durable.0;
    assert_eq!((progress.files_total, progress.files_done, progress.files_failed), (4, 2, 2));
    assert_eq!(progress.bytes_done, 6 * MIB);
    world.tricks.clear();
    world.end = None;
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Succeeded);
    assert_eq!((world.durable.0.under_store_bytes, world.names().len()), (6 * MIB, 0));
}

#[test]
fn a_failure_that_passes_is_tried_again_and_not_told() {
    let mut world = tree();
    world.trick("/d/a", &[Trick::Fail(ErrorKind::UnderStore), Trick::Fail(ErrorKind::TimedOut)]);
    world.trick("/d/c", &vec![Trick::Fail(ErrorKind::Unavailable); 12]);
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Succeeded);
}

#[test]
fn a_file_that_changed_is_loaded_in_its_new_version_and_counted() {
    let mut world = tree();
    world.trick("/d/a", &[Trick::Change(MIB), Trick::Change(5 * MIB)]);
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Succeeded);
    let progress = world.durable.0;
    assert!(world.is_cached("/d/a"));
    assert_eq!((progress.files_changed, progress.files_total, progress.files_done), (2, 4, 4));
    assert_eq!((progress.bytes_total, progress.bytes_done), (14 * MIB, 14 * MIB));
}

#[test]
fn a_file_that_changes_each_time_is_given_up() {
    let mut world = tree();
    world.trick("/d/a", &vec![Trick::Change(MIB); 50]);
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Failed);
    assert_eq!(world.names(), ["/d/a"]);
}

#[test]
fn a_file_that_went_after_it_was_listed_is_named() {
    let mut world = tree();
    world.trick("/d/b/x", &[Trick::Vanish]);
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Failed);
    assert_eq!((world.names(), &world.durable.1[0].reason[..]), (vec!["/d/b/x".to_owned()], "it is gone"));
    assert_eq!((world.durable.0.files_total, world.durable.0.files_done), (4, 3));
}

#[test]
fn a_path_or_directory_that_cannot_be_gone_through_is_named_and_the_rest_is_loaded() {
    let mut world = tree();
    world.list_faults.insert(path("/d/b"), vec![ErrorKind::PermissionDenied; 9].into());
    world.begin(&["/gone", "/d"]);
    assert_eq!(world.run(), JobState::Failed);
    assert_eq!(world.names(), ["/gone", "/d/b"]);
    assert_eq!(world.durable.0.files_done, 2);
}

#[test]
fn what_is_evicted_before_the_end_is_noticed_and_loaded_again() {
    let mut world = tree();
    world.trick("/d/a", &[Trick::Evict]);
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Succeeded);
    assert!(world.is_cached("/d/a"));
    assert_eq!(world.durable.0.files_done, 4);
}

#[test]
fn what_is_evicted_each_time_is_never_reported_as_loaded() {
    let mut world = tree();
    world.trick("/d/a", &vec![Trick::Evict; 50]);
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Failed);
    assert_eq!((world.names(), world.durable.0.files_done), (vec!["/d/a".to_owned()], 3));
}

#[test]
fn a_load_that_cannot_fit_fails_early_and_names_the_missing_bytes() {
    let mut world = World::new(&[(1, 4 * MIB), (2, 4 * MIB)]);
    (0..10).for_each(|number| world.file(&format!("/d/{number}"), MIB));
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Failed);
    let reason = world.end.clone().and_then(|(_, reason)| reason).expect("a reason");
    assert!(reason.contains(&format!("{} bytes", 2 * MIB)), "{reason}");
}

#[test]
fn before_the_workers_are_known_nothing_is_refused_for_want_of_room() {
    let mut world = tree();
    world.lists = vec![vec![path("/d")]];
    let mut small = world.map.clone();
    small.workers.clear();
    world.tell(Event::Workers { map: small.clone(), is_settled: false, room_bytes: 0 });
    (0..20).for_each(|_| {
        while !world.waiting.is_empty() {
            world.step(0);
        }
        world.now += Duration::from_millis(100);
        world.tell(Event::Tick);
    });
    assert_eq!((&world.end, world.loads.len()), (&None, 0));
    world.tell_workers(false);
    assert_eq!(world.run(), JobState::Succeeded);
}

#[test]
fn without_workers_a_load_fails_in_the_end() {
    let mut world = World::new(&[]);
    world.file("/d/a", MIB);
    world.begin(&["/d"]);
    let begun = world.now;
    assert_eq!(world.run(), JobState::Failed);
    assert!(world.now - begun >= PATIENCE);
}

#[test]
fn large_files_are_spread_by_blocks_and_their_owners_are_asked() {
    let mut world = World::new(&[(1, ROOM), (2, ROOM), (3, ROOM)]);
    world.file("/large", 40 * (64 << 20) + 1);
    world.begin(&["/large"]);
    assert_eq!(world.run(), JobState::Succeeded);
    let asked: std::collections::BTreeSet<_> = world.loads.iter().map(|(_, worker, _)| *worker).collect();
    assert_eq!((asked.len(), world.loads.len()), (3, 2 * 41), "two passes");
    assert_eq!(world.durable.0.bytes_done, 40 * (64 << 20) + 1);
}

#[test]
fn a_very_large_file_of_one_worker_is_asked_for_in_parts() {
    let mut world = World::new(&[(1, ROOM)]);
    world.file("/huge", 2 * PART_LENGTH_MAX + 5);
    world.begin(&["/huge"]);
    assert_eq!(world.run(), JobState::Succeeded);
    let offsets: Vec<_> = world.loads.iter().take(3).map(|(_, _, offset)| *offset).collect();
    assert_eq!(offsets, [0, PART_LENGTH_MAX, 2 * PART_LENGTH_MAX]);
    assert_eq!(world.durable.0.bytes_done, 2 * PART_LENGTH_MAX + 5);
}

#[test]
fn a_lost_workers_blocks_go_to_the_next_owner() {
    let mut world = tree();
    world.map.workers = vec![worker(1, ROOM), worker(2, ROOM)];
    world.map.workers[0].state = WorkerState::Lost;
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Succeeded);
    assert!(world.loads.iter().all(|(_, worker, _)| worker.get() == 2));
}

#[test]
fn no_worker_is_asked_for_more_than_it_may_be_at_once() {
    for (workers, expected) in [(1_u32, TASKS_PER_WORKER_MAX), (20, TASKS_MAX)] {
        let mut world = World::new(&(1..=workers).map(|id| (id, ROOM)).collect::<Vec<_>>());
        (0..2000).for_each(|number| world.file(&format!("/d/{number:04}"), MIB));
        world.begin(&["/d"]);
        // Loads are the last to be carried out, so that as many as may be are under way.
        for _ in 0..20_000 {
            let other = world.waiting.iter().position(|action| !matches!(action, Action::Load { .. }));
            match other {
                Some(place) => world.step(place),
                None => break,
            }
        }
        assert!(world.under_way_max <= expected, "{} with {workers} workers", world.under_way_max);
        assert!(workers > 1 || world.under_way_max == expected);
        assert_eq!(world.run(), JobState::Succeeded);
    }
}

#[test]
fn a_job_that_is_begun_anew_counts_from_zero_and_keeps_no_old_failure() {
    let mut world = tree();
    world.trick("/d/a", &[Trick::Fail(ErrorKind::PermissionDenied)]);
    world.begin(&["/d"]);
    // The end is kept from coming: one load is not answered.
    let kept = world.version("/d/c");
    while world.names().is_empty() {
        let is_free =
            |action: &Action| !matches!(action, Action::Load { version, .. } if version.file == kept);
        match world.waiting.iter().position(is_free) {
            Some(place) => world.step(place),
            None => {
                world.now += Duration::from_secs(1);
                world.tell(Event::Tick);
            }
        }
    }
    assert_eq!(world.end, None);
    world.restart();
    assert_eq!(world.run(), JobState::Succeeded, "the failure has passed");
    assert_eq!((world.names().len(), world.durable.0.files_done), (0, 4));
}

#[test]
fn many_files_and_failures_are_written_down_in_bounded_parts() {
    let mut world = World::new(&[(1, ROOM)]);
    (0..5000).for_each(|number| world.file(&format!("/d/{number:04}"), MIB));
    (0..2500).for_each(|number| {
        world.trick(&format!("/d/{:04}", number * 2), &[Trick::Fail(ErrorKind::PermissionDenied)]);
    });
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Failed);
    assert_eq!((world.durable.0.files_failed, world.durable.1.len()), (2500, 1000));
    assert!(world.persists >= 4 && world.persists < 50, "{}", world.persists);
}

#[test]
fn a_list_in_many_rows_is_gone_through_in_its_order() {
    let mut world = World::new(&[(1, ROOM)]);
    let names: Vec<_> = (0..300).map(|number| format!("/d/{}", (number * 7919) % 300)).collect();
    names.iter().for_each(|name| world.file(name, MIB));
    world.lists = names.chunks(70).map(|row| row.iter().map(|name| path(name)).collect()).collect();
    world.restart();
    assert_eq!(world.run(), JobState::Succeeded);
    let order: Vec<_> = world.loads.iter().take(300).map(|(path, ..)| path.to_string()).collect();
    assert_eq!(order, names);
}
