//! What a listing changes, and what it must leave alone.

use super::*;
use crate::command::Command;
use crate::limits::CHANGED_NAMES_MAX;
use crate::testing::{World, counts, directory, file, name, symlink};
use crate::{ChangedNames, Effect};
use forebay_types::Timestamp;

#[test]
fn a_first_listing_fills_the_directory_in_the_order_of_bytes() {
    let (mut world, root) = World::mounted();
    let entries = vec![symlink("z", "../a"), directory("b"), file("a", "1"), file("B", "22")];
    assert_eq!(counts(world.list(root, entries, &[])), (4, 0, 0, 0, 0));
    assert_eq!(world.effects, [], "nobody was told anything of it before");
    assert_eq!(world.names(root), ["B", "a", "b", "z"]);
    assert!(query::is_loaded(world.reader(), root).unwrap());
    let link = query::lookup(world.reader(), root, &name("z")).unwrap().unwrap();
    assert_eq!(link.symlink_target(), Some(&b"../a"[..]));
    let version = query::lookup(world.reader(), root, &name("B")).unwrap().unwrap().version().unwrap();
    assert_eq!(
        (version.key.as_bytes(), version.length().get(), version.block_length.get()),
        (&b"B"[..], 2, 64 << 20)
    );
    let totals = query::mount_totals(world.reader(), version.mount).unwrap();
    assert_eq!((totals.files, totals.directories, totals.symlinks, totals.bytes), (2, 2, 1, 3));
}

#[test]
fn a_listing_that_shows_nothing_new_changes_nothing() {
    let (mut world, root) = World::mounted();
    let entries = || vec![directory("d"), file("f", "1"), symlink("l", "f")];
    world.list(root, entries(), &[]).unwrap();
    let before = world.version("/data/f");
    assert_eq!(counts(world.list(root, entries(), &[])), (0, 0, 0, 0, 0));
    assert_eq!((world.version("/data/f"), world.effects.clone()), (before, Vec::new()));
}

#[test]
fn of_a_known_directory_the_names_that_changed_are_told_with_what_they_led_to() {
    let (mut world, root) = World::mounted();
    let before = vec![file("changed", "1"), file("gone", "1"), file("same", "1"), directory("turned")];
    world.list(root, before, &[]).unwrap();
    let [changed, gone, turned] =
        ["changed", "gone", "turned"].map(|name| world.at(&format!("/data/{name}")).unwrap());
    let after = vec![file("changed", "22"), file("new", "1"), file("same", "1"), file("turned", "1")];
    world.list(root, after, &["gone"]).unwrap();
    let expected =
        [("changed", Some(changed)), ("new", None), ("turned", Some(turned)), ("gone", Some(gone))];
    let mut names = changes(&world, root).unwrap();
    // What took the place of a directory was told as gone and as new.
    names.dedup_by(|right, left| left.0 == right.0 && right.1.is_none());
    assert_eq!(names, expected.map(|(name, before)| (name.to_owned(), before)));
}

#[test]
fn while_a_directory_is_loaded_for_the_first_time_what_was_shown_of_it_and_changes_is_told() {
    let (mut world, root) = World::mounted();
    let part = |world: &mut World, entry| {
        let begun_at = world.index();
        let (upserts, removals) = (vec![entry], Vec::new());
        let listing = ApplyListing { directory: root, begun_at, upserts, removals, complete: false };
        world.apply(Command::ApplyListing(listing)).unwrap();
    };
    part(&mut world, file("f", "1"));
    assert_eq!(world.effects, []);
    let inode = world.at("/data/f").unwrap();
    part(&mut world, file("f", "22"));
    assert_eq!(changes(&world, root), Some(vec![("f".to_owned(), Some(inode))]));
}

#[test]
fn more_changes_of_one_directory_than_are_told_one_by_one_are_told_as_all() {
    let (mut world, root) = World::mounted();
    world.list(root, Vec::new(), &[]).unwrap();
    let names = |count| (0..count).map(|at| file(&format!("{count}-{at}"), "1")).collect::<Vec<_>>();
    world.list(root, names(CHANGED_NAMES_MAX), &[]).unwrap();
    assert_eq!(changes(&world, root).map(|names| names.len()), Some(CHANGED_NAMES_MAX));
    world.list(root, names(CHANGED_NAMES_MAX + 1), &[]).unwrap();
    assert_eq!(changes(&world, root), None);
}

/// What the last entry told of one directory; `None` for all of it.
fn changes(world: &World, of: InodeId) -> Option<Vec<(String, Option<InodeId>)>> {
    let told = world.effects.iter().find_map(|effect| match effect {
        Effect::DirectoriesChanged(directories) => directories.get(&of),
        _ => None,
    });
    match told.expect("it was told of") {
        ChangedNames::All => None,
        ChangedNames::These(names) => Some(names.iter().map(|of| (of.name.to_string(), of.before)).collect()),
    }
}

#[test]
fn another_content_is_a_new_version_on_the_same_inode() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1")], &[]).unwrap();
    let (inode, before) = (world.at("/data/f"), world.version("/data/f"));
    assert_eq!(counts(world.list(root, vec![file("f", "22")], &[])), (0, 1, 0, 0, 0));
    assert_eq!(world.forgotten(), [before]);
    assert_eq!(world.at("/data/f"), inode);
    assert_ne!(world.version("/data/f"), before);
}

#[test]
fn a_time_in_another_precision_is_neither_a_version_nor_a_change() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1")], &[]).unwrap();
    let before = world.version("/data/f");
    let mut rounded = file("f", "1");
    rounded.fingerprint.modified = Timestamp::from_nanos(0);
    assert_eq!(counts(world.list(root, vec![rounded], &[])), (0, 0, 0, 0, 0));
    assert_eq!(world.version("/data/f"), before);
}

#[test]
fn a_change_of_mode_keeps_the_version() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1")], &[]).unwrap();
    let before = world.version("/data/f");
    let changed = ListedEntry { mode: Some(0o600), uid: Some(5), ..file("f", "1") };
    assert_eq!(counts(world.list(root, vec![changed], &[])), (0, 1, 0, 0, 0));
    let inode = query::lookup(world.reader(), root, &name("f")).unwrap().unwrap();
    assert_eq!((inode.mode, inode.uid, inode.version().unwrap().file), (Some(0o600), Some(5), before));
}

#[test]
fn a_directory_that_became_a_file_is_a_new_inode_and_its_tree_is_left_to_the_reaper() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("x")], &[]).unwrap();
    let old = world.at("/data/x").unwrap();
    world.list(old, vec![file("below", "1")], &[]).unwrap();
    assert_eq!(counts(world.list(root, vec![file("x", "1")], &[])), (0, 1, 0, 0, 0));
    assert!(world.effects.contains(&Effect::ReapNeeded));
    assert_ne!(world.at("/data/x"), Some(old));
    assert_eq!(world.reap_all(100), 2);
    assert_eq!(counts(world.list(root, vec![directory("x")], &[])), (0, 1, 0, 0, 0));
    assert_eq!(world.names(world.at("/data/x").unwrap()), [""; 0]);
}

#[test]
fn names_that_are_gone_go() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("d"), file("f", "1"), symlink("l", "f")], &[]).unwrap();
    let version = world.version("/data/f");
    assert_eq!(counts(world.list(root, Vec::new(), &["d", "f", "l", "never"])), (0, 0, 3, 0, 0));
    assert_eq!((world.names(root), world.forgotten()), (Vec::new(), vec![version]));
}

#[test]
fn a_listing_says_nothing_about_a_name_that_changed_since_it_began() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("changed", "1"), file("still", "1")], &[]).unwrap();
    let begun_at = world.index();
    world.list(root, vec![file("changed", "22"), file("new", "1")], &[]).unwrap();
    let (changed, new) = (world.version("/data/changed"), world.version("/data/new"));
    let stale = world.list_since(begun_at, root, vec![file("changed", "1"), file("still", "333")], &["new"]);
    assert_eq!(counts(stale), (0, 1, 0, 2, 0));
    assert_eq!((world.version("/data/changed"), world.version("/data/new")), (changed, new));
}

#[test]
fn names_that_lead_to_mounts_are_not_the_under_stores_to_change() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("holder")], &[]).unwrap();
    world.mount("/data/point", "s3://one").unwrap();
    world.mount("/data/way/two", "s3://two").unwrap();
    world.mount("/data/holder/three", "s3://three").unwrap();
    let upserts = vec![file("point", "1"), file("way", "1"), file("holder", "1")];
    assert_eq!(counts(world.list(root, upserts, &[])), (0, 0, 0, 0, 3));
    assert_eq!(
        counts(world.list(root, vec![directory("point")], &["point", "way", "holder"])),
        (0, 0, 0, 0, 4)
    );
    for mount in ["/data/point", "/data/way/two", "/data/holder/three"] {
        assert!(world.at(mount).is_some(), "{mount}");
    }
}

#[test]
fn a_removal_of_one_name_is_not_undone_by_a_listing_that_ran_meanwhile() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1")], &[]).unwrap();
    let begun_at = world.index();
    let command = ApplyListing {
        directory: root,
        begun_at,
        upserts: Vec::new(),
        removals: vec![name("f")],
        complete: false,
    };
    assert_eq!(counts(world.apply(Command::ApplyListing(command))), (0, 0, 1, 0, 0));
    assert_eq!(counts(world.list_since(begun_at, root, vec![file("f", "1")], &[])), (0, 0, 0, 1, 0));
    assert_eq!(world.at("/data/f"), None);
}

#[test]
fn a_complete_listing_clears_the_removals_that_it_is_newer_than() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1"), file("g", "1")], &[]).unwrap();
    world.supersede(world.at("/data/f").unwrap(), world.version("/data/f"), None).unwrap();
    let begun_at = world.index();
    world.supersede(world.at("/data/g").unwrap(), world.version("/data/g"), None).unwrap();
    let remembered = |world: &World| {
        let rows = crate::StateReader::scan(&world.store, Table::Tombstones, &[], None, 9).unwrap();
        rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(remembered(&world).len(), 2);
    world.list_since(begun_at, root, Vec::new(), &[]).unwrap();
    assert_eq!(remembered(&world), [tombstone_key(root, &name("g"))]);
    world.list(root, Vec::new(), &[]).unwrap();
    assert_eq!(remembered(&world), Vec::<Vec<u8>>::new());
}

#[test]
fn keys_that_are_not_the_name_are_kept_and_another_key_is_another_version() {
    let (mut world, root) = World::mounted();
    let keyed = |key: &[u8]| ListedEntry { key: Some(UnderStoreKey::new(key).unwrap()), ..file("f", "1") };
    world.list(root, vec![keyed(b"f//1")], &[]).unwrap();
    let before = world.version("/data/f");
    let inode = query::lookup(world.reader(), root, &name("f")).unwrap().unwrap();
    assert_eq!(inode.version().unwrap().key.as_bytes(), b"f//1");
    assert_eq!(counts(world.list(root, vec![keyed(b"f//2")], &[])), (0, 1, 0, 0, 0));
    assert_ne!(world.version("/data/f"), before);
}

#[test]
fn part_of_a_listing_does_not_make_a_directory_loaded() {
    let (mut world, root) = World::mounted();
    let part = |upserts| ApplyListing {
        directory: root,
        begun_at: LogIndex::new(2),
        upserts,
        removals: Vec::new(),
        complete: false,
    };
    world.apply(Command::ApplyListing(part(vec![file("a", "1")]))).unwrap();
    assert!(!query::is_loaded(world.reader(), root).unwrap());
    assert_eq!(world.names(root), ["a"]);
}

#[test]
fn listings_of_what_no_under_store_has_are_refused() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![file("f", "1")], &[]).unwrap();
    let inode = world.at("/data/f").unwrap();
    assert_eq!(world.list(inode, Vec::new(), &[]), Err(Rejection::NotADirectory { inode }));
    let directory = InodeId::ROOT;
    assert_eq!(world.list(directory, Vec::new(), &[]), Err(Rejection::NotInAMount { directory }));
    let inode = InodeId::new(99);
    assert_eq!(world.list(inode, Vec::new(), &[]), Err(Rejection::InodeMissing { inode }));
}

#[test]
fn an_entry_that_makes_no_sense_keeps_the_whole_command_out() {
    let (mut world, root) = World::mounted();
    let mut huge = file("huge", "1");
    huge.fingerprint.length = ByteCount::new(forebay_types::limits::FILE_LENGTH_MAX + 1);
    let wrong = [
        huge,
        file("tag", &"x".repeat(forebay_types::limits::TAG_LENGTH_MAX + 1)),
        symlink("empty", ""),
        symlink("long", &"x".repeat(forebay_types::limits::PATH_LENGTH_MAX + 1)),
        ListedEntry { symlink_target: None, ..symlink("none", "x") },
        ListedEntry { symlink_target: Some(b"x".to_vec()), ..file("file", "1") },
    ];
    for entry in wrong {
        let wrong_name = entry.name.clone();
        let refused = world.list(root, vec![file("good", "1"), entry], &[]);
        let Err(Rejection::InvalidEntry { name, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(name, wrong_name);
    }
    assert_eq!(world.names(root), [""; 0]);
}

#[test]
fn more_entries_than_one_command_may_carry_are_refused() {
    let (mut world, root) = World::mounted();
    let entries = (0..=LISTING_ENTRIES_MAX).map(|number| file(&number.to_string(), "1")).collect();
    assert!(matches!(world.list(root, entries, &[]), Err(Rejection::TooMany { .. })));
}
