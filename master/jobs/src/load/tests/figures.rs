//! What a job says of itself while files are replaced and masters restart.

use std::time::Duration;

use forebay_types::{JobState, NamespacePath};

use super::world::{MIB, World};
use crate::{Action, Event};

const ROOM: u64 = 1 << 40;

fn files(count: u64) -> World {
    let mut world = World::new(&[(1, ROOM)]);
    (0..count).for_each(|number| world.file(&format!("/d/{number:03}"), 2 * MIB));
    world
}

/// Carries out what is waiting, as far as `is_wanted`, until nothing of it is left; time passes a little.
fn drain(world: &mut World, is_wanted: impl Fn(&Action) -> bool) {
    for _ in 0..30 {
        while let Some(place) = world.waiting.iter().position(&is_wanted) {
            world.step(place);
        }
        world.now += Duration::from_millis(100);
        world.tell(Event::Tick);
    }
}

#[test]
fn a_file_that_is_replaced_between_counting_and_loading_is_counted_once_with_the_bytes_that_were_loaded() {
    let mut world = files(20);
    world.begin(&["/d"]);
    // Both walks list the directory: the first list that is answered sees the old files.
    while !world.waiting.iter().any(|action| matches!(action, Action::List { .. })) {
        world.step(0);
    }
    let list = world.waiting.iter().position(|action| matches!(action, Action::List { .. })).unwrap();
    world.step(list);
    (0..8).for_each(|number| world.replace(&format!("/d/{number:03}"), MIB));
    while world.loads.len() < 20 {
        world.step(0);
        assert!(world.engine.progress().files_total <= 20, "at no time");
    }
    assert_eq!(world.run(), JobState::Succeeded);
    let progress = world.durable.0;
    assert_eq!((progress.files_total, progress.files_done, progress.files_changed), (20, 20, 8));
    let bytes = 12 * 2 * MIB + 8 * MIB;
    assert_eq!((progress.bytes_total, progress.bytes_done), (bytes, bytes));
}

#[test]
fn a_file_that_is_replaced_after_it_was_loaded_is_counted_once_too() {
    let mut world = files(20);
    world.begin(&["/d"]);
    while world.loads.len() < 20 {
        world.step(0);
    }
    (0..8).for_each(|number| world.replace(&format!("/d/{number:03}"), 3 * MIB));
    assert_eq!(world.run(), JobState::Succeeded);
    let progress = world.durable.0;
    assert_eq!((progress.files_total, progress.files_done, progress.files_changed), (20, 20, 8));
    let bytes = 12 * 2 * MIB + 8 * 3 * MIB;
    assert_eq!((progress.bytes_total, progress.bytes_done), (bytes, bytes));
    assert!((0..20).all(|number| world.is_cached(&format!("/d/{number:03}"))));
}

#[test]
fn a_file_that_is_gone_at_the_last_pass_is_not_counted() {
    let mut world = files(20);
    world.begin(&["/d"]);
    while world.loads.len() < 20 {
        world.step(0);
    }
    world.remove(&"/d/003".parse::<NamespacePath>().unwrap());
    assert_eq!(world.run(), JobState::Succeeded);
    let progress = world.durable.0;
    assert_eq!((progress.files_total, progress.files_done), (19, 19));
    assert_eq!((progress.bytes_total, progress.bytes_done), (38 * MIB, 38 * MIB));
}

#[test]
fn after_a_restart_the_bytes_fetched_before_count_and_what_is_shown_does_not_go_back() {
    let mut world = files(20);
    world.begin(&["/d"]);
    while world.loads.len() < 15 {
        world.step(0);
    }
    // What was done is written down; further loads are not carried out.
    drain(&mut world, |action| !matches!(action, Action::Load { .. }));
    let before = world.durable.0;
    assert_eq!((before.files_total, before.under_store_bytes), (20, 15 * 2 * MIB));
    assert_eq!(before.files_done, 15);
    world.restart();
    assert_eq!(world.engine.progress(), before);
    drain(&mut world, |action| matches!(action, Action::Persist { .. }));
    assert_eq!(world.durable.0, before, "nothing is known yet that is newer");
    drain(&mut world, |action| !matches!(action, Action::Load { .. }));
    assert_eq!(
        (world.engine.progress(), world.durable.0),
        (before, before),
        "counted, but not seen in its place"
    );
    assert_eq!(world.run(), JobState::Succeeded);
    let progress = world.durable.0;
    assert_eq!((progress.files_total, progress.files_done), (20, 20));
    assert_eq!(progress.under_store_bytes, 20 * 2 * MIB);
}

#[test]
fn after_a_restart_files_that_are_gone_are_counted_no_more_at_the_end() {
    let mut world = files(20);
    world.begin(&["/d"]);
    while world.loads.len() < 15 {
        world.step(0);
    }
    drain(&mut world, |action| !matches!(action, Action::Load { .. }));
    (5..20).for_each(|number| world.remove(&format!("/d/{number:03}").parse::<NamespacePath>().unwrap()));
    world.restart();
    assert_eq!(world.run(), JobState::Succeeded);
    let progress = world.durable.0;
    assert_eq!((progress.files_total, progress.files_done, progress.bytes_done), (5, 5, 10 * MIB));
}
