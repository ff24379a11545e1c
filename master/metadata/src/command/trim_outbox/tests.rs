//! What is done goes, once, and nothing else does.

use super::*;
use crate::command::Command;
use crate::query;
use crate::testing::{World, file, tagged};

/// A state with `rows` rows in its outbox.
fn world(rows: usize) -> World {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1")], &[]).unwrap();
    for number in 0..rows {
        let inode = world.at("/data/f").unwrap();
        world.supersede(inode, world.version("/data/f"), Some(tagged(&"x".repeat(number + 2)))).unwrap();
    }
    world
}

fn trim(world: &mut World, through: u64) -> (u32, bool) {
    match world.apply(Command::TrimOutbox(TrimOutbox { through: OutboxSequence::new(through) })) {
        Ok(Success::OutboxTrimmed { rows, more }) => (rows, more),
        other => panic!("trimming gave {other:?}"),
    }
}

fn sequences(world: &World) -> Vec<u64> {
    let page = query::outbox(world.reader(), OutboxSequence::new(0), usize::MAX).unwrap();
    page.into_iter().map(|(sequence, _)| sequence.get()).collect()
}

#[test]
fn rows_up_to_one_go_and_a_repetition_does_nothing() {
    let mut world = world(5);
    assert_eq!(trim(&mut world, 0), (0, false));
    assert_eq!(trim(&mut world, 3), (3, false));
    assert_eq!(sequences(&world), [4, 5]);
    assert_eq!(trim(&mut world, 3), (0, false));
    assert_eq!(trim(&mut world, 2), (0, false), "late");
    assert_eq!(sequences(&world), [4, 5]);
    assert_eq!(trim(&mut world, u64::MAX), (2, false), "those that are there");
    assert_eq!(trim(&mut world, u64::MAX), (0, false));
}

#[test]
fn one_entry_trims_only_so_many() {
    let mut world = world(0);
    let row = |number: u64| {
        let file = forebay_types::FileId { incarnation: forebay_types::Incarnation::new(0), counter: number };
        crate::Mutation {
            table: crate::Table::Outbox,
            key: crate::state::outbox_key(OutboxSequence::new(number)),
            value: Some(crate::state::encode_record(&crate::OutboxRow {
                task: crate::Task::FreeVersions(vec![file]),
            })),
        }
    };
    let rows = OUTBOX_TRIM_MAX as u64 + 1;
    let counts = crate::OutboxCounts {
        first: OutboxSequence::new(1),
        next: OutboxSequence::new(rows + 1),
        rows,
        versions: rows,
    };
    let counts = crate::Mutation {
        table: crate::Table::Counters,
        key: crate::OutboxCounts::KEY.to_vec(),
        value: Some(crate::state::encode_record(&counts)),
    };
    let mutations = (1..=rows).map(row).chain([counts]).collect();
    crate::StateWriter::commit(&mut world.store, mutations).unwrap();
    assert_eq!(trim(&mut world, rows), (u32::try_from(OUTBOX_TRIM_MAX).unwrap(), true));
    assert_eq!(trim(&mut world, rows), (1, false));
    assert_eq!(sequences(&world), [0_u64; 0]);
}
