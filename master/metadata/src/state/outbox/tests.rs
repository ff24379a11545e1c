//! Rows appear with what makes them necessary, in order, and stay within the bounds.

use super::*;
use crate::command::{Command, TrimOutbox};
use crate::query;
use crate::store::{Mutation, StateWriter};
use crate::testing::{World, file, tagged};
use forebay_types::InodeId;

/// The versions that wait to be freed, the oldest first, and how many rows have them.
fn waiting(world: &World) -> (Vec<FileId>, usize) {
    let rows = query::outbox(world.reader(), OutboxSequence::new(0), usize::MAX).unwrap();
    let count = rows.len();
    let files = rows.into_iter().flat_map(|(_, row)| {
        let Task::FreeVersions(files) = row.task;
        files
    });
    (files.collect(), count)
}

fn some_files(count: usize) -> Vec<crate::ListedEntry> {
    (0..count).map(|number| file(&format!("f{number}"), "1")).collect()
}

/// Replaces a file of the mount; the version that it had.
fn replace(world: &mut World, name: &str, tag: &str) -> FileId {
    let path = format!("/data/{name}");
    let before = world.version(&path);
    world.supersede(world.at(&path).unwrap(), before, Some(tagged(tag))).unwrap();
    before
}

#[test]
fn what_is_replaced_removed_or_unmounted_waits_to_be_freed_in_this_order() {
    let (mut world, root) = World::mounted();
    world.list(root, some_files(4), &[]).unwrap();
    let mut expected = vec![replace(&mut world, "f0", "new")];
    expected.push(world.version("/data/f1"));
    world.supersede(world.at("/data/f1").unwrap(), world.version("/data/f1"), None).unwrap();
    expected.push(world.version("/data/f2"));
    world.list(root, Vec::new(), &["f2"]).unwrap();
    assert_eq!(waiting(&world), (expected.clone(), 3));
    expected.extend([world.version("/data/f0"), world.version("/data/f3")]);
    world.unmount("/data").unwrap();
    world.reap_all(100);
    assert_eq!(waiting(&world), (expected, 4));
}

#[test]
fn what_is_only_forgotten_does_not_wait_to_be_freed() {
    let (mut world, root) = World::mounted();
    world.list(root, some_files(3), &[]).unwrap();
    world.forget(root).unwrap();
    assert_eq!(world.forgotten().len(), 3, "its workers are told to keep it for whoever asks");
    assert_eq!(waiting(&world), (Vec::new(), 0));
}

#[test]
fn a_refused_entry_has_nothing_freed() {
    let (mut world, root) = World::mounted();
    world.list(root, some_files(1), &[]).unwrap();
    let never = InodeId::new(999);
    world.supersede(never, world.version("/data/f0"), None).unwrap_err();
    assert_eq!(waiting(&world), (Vec::new(), 0));
}

#[test]
fn many_versions_of_one_entry_are_several_rows() {
    let (mut world, root) = World::mounted();
    let count = 2 * OUTBOX_ROW_VERSIONS_MAX + 1;
    world.list(root, some_files(count), &[]).unwrap();
    world.unmount("/data").unwrap();
    world.reap_all(crate::limits::REAP_LIMIT_MAX);
    let (files, rows) = waiting(&world);
    assert_eq!((files.len(), rows), (count, 3));
    let counts = query::outbox_counts(world.reader()).unwrap();
    assert_eq!((counts.rows, counts.versions, counts.last()), (3, count as u64, OutboxSequence::new(3)));
}

#[test]
fn rows_are_read_page_by_page() {
    let (mut world, root) = World::mounted();
    world.list(root, some_files(1), &[]).unwrap();
    let replaced: Vec<_> = ["a", "bb", "ccc", "dddd", "e"].map(|tag| replace(&mut world, "f0", tag)).to_vec();
    let (mut read, mut after) = (Vec::new(), OutboxSequence::new(0));
    loop {
        let page = query::outbox(world.reader(), after, 2).unwrap();
        let Some((last, _)) = page.last() else { break };
        assert!(page.len() <= 2 && *last > after);
        after = *last;
        read.extend(page.into_iter().map(|(_, row)| row.task));
    }
    let expected: Vec<_> = replaced.iter().map(|file| Task::FreeVersions(vec![*file])).collect();
    assert_eq!(read, expected);
    assert_eq!(query::outbox(world.reader(), OutboxSequence::new(u64::MAX), 2).unwrap(), []);
}

#[test]
fn beyond_the_bound_the_oldest_rows_go() {
    let (mut world, root) = World::mounted();
    world.list(root, some_files(1), &[]).unwrap();
    let full = OUTBOX_ROW_VERSIONS_MAX as u64;
    let rows = OUTBOX_VERSIONS_MAX / full;
    let file = |counter| FileId { incarnation: Incarnation::new(0), counter };
    let put = |number: u64| {
        let files = (number * full..(number + 1) * full).map(file).collect();
        let row = OutboxRow { task: Task::FreeVersions(files) };
        let key = outbox_key(OutboxSequence::new(number + 1));
        Mutation { table: Table::Outbox, key, value: Some(crate::state::encode_record(&row)) }
    };
    let counts = OutboxCounts {
        first: OutboxSequence::new(1),
        next: OutboxSequence::new(rows + 1),
        rows,
        versions: rows * full,
    };
    let counted = Mutation {
        table: Table::Counters,
        key: OutboxCounts::KEY.to_vec(),
        value: Some(crate::state::encode_record(&counts)),
    };
    world.store.commit((0..rows).map(put).chain([counted]).collect()).unwrap();
    let room = OUTBOX_VERSIONS_MAX - rows * full;
    assert!(room < full, "the next row but few has no room");
    for number in 0..=room {
        replace(&mut world, "f0", &"x".repeat(usize::try_from(number).unwrap() + 2));
    }
    let now = query::outbox_counts(world.reader()).unwrap();
    assert_eq!(now.first, OutboxSequence::new(2), "one row went, which made room for more");
    assert_eq!(now.versions, rows * full - full + room + 1);
}

#[test]
fn a_state_of_an_earlier_version_has_an_empty_outbox() {
    let (world, _) = World::mounted();
    assert_eq!(query::outbox_counts(world.reader()).unwrap().rows, 0);
    assert_eq!(query::outbox(world.reader(), OutboxSequence::new(0), 9).unwrap(), []);
    let reader = world.reader();
    assert_eq!(reader.get(Table::Counters, OutboxCounts::KEY).unwrap(), None, "nothing was freed yet");
}

#[test]
fn a_sequence_is_not_given_again_once_its_row_is_gone() {
    let (mut world, root) = World::mounted();
    world.list(root, some_files(1), &[]).unwrap();
    replace(&mut world, "f0", "a");
    let through = OutboxSequence::new(1);
    world.apply(Command::TrimOutbox(TrimOutbox { through })).unwrap();
    replace(&mut world, "f0", "bb");
    let page = query::outbox(world.reader(), OutboxSequence::new(0), 9).unwrap();
    assert_eq!(page.into_iter().map(|(sequence, _)| sequence).collect::<Vec<_>>(), [OutboxSequence::new(2)]);
}

#[test]
fn the_bytes_of_a_row_are_a_format_and_never_change() {
    let file = |counter| FileId { incarnation: Incarnation::new(300), counter };
    let row = OutboxRow { task: Task::FreeVersions(vec![file(1), file(300)]) };
    let counts =
        OutboxCounts { first: OutboxSequence::new(1), next: OutboxSequence::new(300), rows: 2, versions: 3 };
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(crate::state::encode_record(&row)), "010002ac0201ac02ac02");
    assert_eq!(hex(crate::state::encode_record(&counts)), "0101ac020203");
}
