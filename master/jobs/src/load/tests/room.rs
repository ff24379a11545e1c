//! What becomes of a load when there is less room than it takes, or a worker cannot load.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay_types::{ErrorKind, JobState, WorkerId};

use super::world::{MIB, World};
use crate::limits::{PASSES_MAX, ROOM_PATIENCE};
use crate::{Action, Event};

const ROOM: u64 = 1 << 40;

fn place(number: u64) -> String {
    format!("/d/{number:03}")
}

fn world(workers: &[(u32, u64)], files: u64) -> World {
    let mut world = World::new(workers);
    (0..files).for_each(|number| world.file(&place(number), MIB));
    world
}

/// The files that are not cached, by their numbers.
fn missing(world: &World, files: u64) -> BTreeSet<String> {
    (0..files).map(place).filter(|at| !world.is_cached(at)).collect()
}

#[test]
fn a_file_that_is_cached_at_the_last_look_is_done_and_just_the_others_are_named() {
    let mut world = world(&[(1, ROOM)], 10);
    world.cached_max = 4;
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Failed);
    let named: BTreeSet<_> = world.names().into_iter().collect();
    assert_eq!((named.len(), &named), (6, &missing(&world, 10)));
    let progress = world.durable.0;
    assert_eq!((progress.files_total, progress.files_done, progress.files_failed), (10, 4, 6));
    assert_eq!((progress.bytes_total, progress.bytes_done), (10 * MIB, 4 * MIB));
    assert!(world.durable.1[0].reason.contains("evicted again each time"), "{:?}", world.durable.1[0]);
    assert_eq!(world.loads.len(), 10 * PASSES_MAX as usize, "the look loads nothing");
}

#[test]
fn a_load_that_only_the_last_look_sees_whole_succeeds() {
    let mut world = world(&[(1, ROOM)], 10);
    world.cached_max = 9;
    world.begin(&["/d"]);
    while world.loads.len() < 10 * PASSES_MAX as usize {
        match world.waiting.is_empty() {
            true => {
                world.now += Duration::from_millis(100);
                world.tell(Event::Tick);
            }
            false => world.step(0),
        }
        // Room comes in the last pass: what it has loaded stays.
        if world.loads.len() > 10 * (PASSES_MAX as usize - 1) {
            world.cached_max = 20;
        }
    }
    assert_eq!(world.run(), JobState::Succeeded);
    assert_eq!((world.names().len(), world.durable.0.files_done), (0, 10));
}

#[test]
fn what_file_systems_lack_is_seen_before_anything_is_loaded() {
    let mut world = world(&[(1, ROOM)], 10);
    world.room = Some(7 * MIB);
    world.begin(&["/d"]);
    let begun = world.now;
    assert_eq!(world.run(), JobState::Failed);
    let reason = world.end.clone().and_then(|(_, reason)| reason).expect("a reason");
    assert!(reason.contains(&format!("{} bytes", 3 * MIB)) && reason.contains("file systems"), "{reason}");
    assert!(world.now - begun < ROOM_PATIENCE * 2);
    // What was counted is told, and nothing was begun for the files that did not fit.
    assert_eq!((world.durable.0.files_total, world.names().len()), (10, 0));
}

#[test]
fn room_that_is_missing_for_a_moment_is_waited_for() {
    let mut world = world(&[(1, ROOM)], 10);
    world.room = Some(7 * MIB);
    world.begin(&["/d"]);
    let begun = world.now;
    while world.now - begun < ROOM_PATIENCE / 2 {
        match world.waiting.is_empty() {
            true => {
                world.now += Duration::from_millis(100);
                world.tell(Event::Tick);
            }
            false => world.step(0),
        }
    }
    assert_eq!(world.end, None);
    world.tell(Event::Room { room_bytes: 10 * MIB });
    assert_eq!(world.run(), JobState::Succeeded);
}

#[test]
fn a_worker_that_is_lost_with_its_room_ends_the_load_soon_and_the_files_that_are_not_there_are_named() {
    let mut world = world(&[(1, 20 * MIB), (2, 20 * MIB)], 30);
    world.begin(&["/d"]);
    while world.loads.len() < 24 {
        world.step(0);
    }
    world.lose(1);
    let lost_at = world.now;
    assert_eq!(world.run(), JobState::Failed);
    assert!(world.now - lost_at < Duration::from_secs(15), "{:?}", world.now - lost_at);
    let named: BTreeSet<_> = world.names().into_iter().collect();
    assert_eq!(named, missing(&world, 30));
    let progress = world.durable.0;
    assert_eq!(progress.files_failed, named.len() as u64);
    assert_eq!((progress.files_total, progress.files_done), (30, 30 - progress.files_failed));
    assert!(progress.files_done > 0 && progress.files_failed > 6, "{progress:?}");
    let reason = world.end.clone().and_then(|(_, reason)| reason).expect("a reason");
    assert!(reason.contains(&format!("{} bytes", 10 * MIB)), "{reason}");
}

#[test]
fn a_file_that_was_given_up_before_the_last_look_is_named_once() {
    let mut world = world(&[(1, 20 * MIB), (2, 20 * MIB)], 30);
    let refused = super::world::Trick::Fail(ErrorKind::PermissionDenied);
    world.trick(&place(0), &[refused.clone(), refused]);
    world.begin(&["/gone", "/d"]);
    let first = world.version(&place(0));
    for _ in 0..1000 {
        let is_due = |action: &Action| match action {
            Action::Load { version, .. } => version.file == first,
            _ => true,
        };
        match world.waiting.iter().position(is_due) {
            Some(place) => world.step(place),
            None => {
                world.now += Duration::from_millis(100);
                world.tell(Event::Tick);
            }
        }
    }
    assert_eq!(world.names(), ["/gone".to_owned(), place(0)]);
    world.lose(1);
    assert_eq!(world.run(), JobState::Failed);
    let named: BTreeSet<_> = world.names().into_iter().collect();
    assert_eq!(world.names().len(), named.len(), "{:?}", world.names());
    assert!(named.contains("/gone") && named.contains(&place(0)));
    assert_eq!(world.durable.0.files_failed, named.len() as u64);
}

#[test]
fn a_worker_that_alone_cannot_read_the_under_store_fails_no_file() {
    for kind in [ErrorKind::InvalidArgument, ErrorKind::PermissionDenied, ErrorKind::NotFound] {
        let mut world = world(&[(1, ROOM), (2, ROOM)], 20);
        world.refusing.insert(WorkerId::new(1), kind);
        world.begin(&["/d"]);
        assert_eq!(world.run(), JobState::Succeeded, "{kind}");
        assert!(missing(&world, 20).is_empty());
    }
}

#[test]
fn what_all_workers_refuse_is_named_with_the_most_telling_reason() {
    let mut world = world(&[(1, ROOM), (2, ROOM)], 20);
    world.refusing.insert(WorkerId::new(1), ErrorKind::InvalidArgument);
    world.refusing.insert(WorkerId::new(2), ErrorKind::PermissionDenied);
    world.begin(&["/d"]);
    assert_eq!(world.run(), JobState::Failed);
    assert_eq!((world.names().len(), world.loads.len()), (20, 40), "each was asked once for each file");
    let told =
        |kind: ErrorKind| world.durable.1.iter().filter(|told| told.reason.starts_with(kind.name())).count();
    assert_eq!(told(ErrorKind::PermissionDenied), 20);
}
