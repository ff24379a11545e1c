//! The reaper's steps are small, and in the end nothing is left.

use super::*;
use crate::command::Command;
use crate::query;
use crate::testing::{World, directory, file, symlink};

/// A mount with `wide` files in the root, a chain of directories `deep`, and a file at its end.
fn forest(wide: usize, deep: usize) -> World {
    let (mut world, root) = World::mounted();
    let mut entries: Vec<_> = (0..wide).map(|number| file(&format!("f{number}"), "1")).collect();
    entries.extend([symlink("link", "f0"), directory("d")]);
    world.list(root, entries, &[]).unwrap();
    let mut at = world.at("/data/d").unwrap();
    let mut path = "/data/d".to_owned();
    for _ in 0..deep {
        world.list(at, vec![directory("d")], &[]).unwrap();
        path.push_str("/d");
        at = world.at(&path).unwrap();
    }
    world.list(at, vec![file("last", "1")], &[]).unwrap();
    world
}

#[test]
fn a_detached_tree_goes_in_steps_of_the_asked_size() {
    for limit in [1, 2, 3, 7, 100] {
        let mut world = forest(10, 5);
        world.unmount("/data").unwrap();
        let mut versions = 0;
        loop {
            let reply = world.apply(Command::Reap(Reap { limit }));
            let Ok(Success::Reaped { removed, more }) = reply else { panic!("reaping gave {reply:?}") };
            assert!(removed <= limit, "{removed} went in a step of {limit}");
            versions += world.forgotten().len();
            if !more {
                break;
            }
        }
        assert_eq!(versions, 11, "each file's version is given up once");
        let totals = query::totals(world.reader()).unwrap();
        assert_eq!((totals.files, totals.directories, totals.symlinks), (0, 1, 0));
        for table in [Table::Children, Table::Directories, Table::Orphans, Table::Tombstones] {
            assert_eq!(
                crate::StateReader::scan(&world.store, table, &[], None, 9).unwrap(),
                [],
                "{}",
                table.name()
            );
        }
    }
}

#[test]
fn with_nothing_to_reap_nothing_happens() {
    let (mut world, _) = World::mounted();
    let idle = world.apply(Command::Reap(Reap { limit: 5 }));
    assert_eq!(idle, Ok(Success::Reaped { removed: 0, more: false }));
    assert_eq!(world.effects, []);
}

#[test]
fn a_step_has_a_size_within_the_limit() {
    let mut world = World::formatted();
    for limit in [0, REAP_LIMIT_MAX + 1] {
        assert!(matches!(world.apply(Command::Reap(Reap { limit })), Err(Rejection::TooMany { .. })));
    }
}
