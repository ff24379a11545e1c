//! What making a directory makes, and what it refuses.

use forebay_types::{EntryName, InodeId};

use super::*;
use crate::command::Command;
use crate::state::Inode;
use crate::testing::{World, directory, make, name, path, stamp};
use crate::{ChangedName, ChangedNames, Effect, query};

fn inode(world: &World, at: &str) -> Inode {
    query::attributes(world.reader(), world.at(at).unwrap()).unwrap().unwrap()
}

#[test]
fn a_directory_is_made_with_what_was_said_and_what_holds_it_is_younger() {
    let mut world = World::formatted();
    world.make("/a").unwrap();
    let above = world.at("/a").unwrap();
    let command =
        MakeDirectory { path: path("/a/b"), parents: false, mode: Some(0o1755), uid: Some(7), gid: Some(8) };
    let made = world.apply(Command::MakeDirectory(command));
    let new = inode(&world, "/a/b");
    assert_eq!(made, Ok(Success::DirectoryMade { inode: new.id, already: false }));
    assert_eq!((new.mode, new.uid, new.gid, new.mount), (Some(0o1755), Some(7), Some(8), None));
    let now = query::clock(world.reader()).unwrap();
    assert_eq!((new.modified, inode(&world, "/a").modified), (now, now));
    let changed = |of: &str, before| ChangedNames::These(vec![ChangedName { name: name(of), before }]);
    let told = [(InodeId::ROOT, changed("a", Some(above))), (above, changed("b", None))];
    assert_eq!(world.effects, [Effect::DirectoriesChanged(told.into())]);
    assert_eq!(query::totals(world.reader()).unwrap().directories, 3);
    assert!(query::is_loaded(world.reader(), new.id).unwrap(), "nothing can be there that is not known");
}

#[test]
fn with_parents_what_is_missing_is_made_and_what_is_there_is_no_error() {
    let mut world = World::formatted();
    assert_eq!(world.apply(make("/a/b/c", false)), Err(Rejection::NoDirectory { path: path("/a/b") }));
    assert_eq!(world.at("/a"), None);
    world.apply(make("/a/b/c", true)).unwrap();
    let made = world.at("/a/b/c").unwrap();
    let again = world.apply(make("/a/b/c", true));
    assert_eq!(again, Ok(Success::DirectoryMade { inode: made, already: true }));
    assert_eq!(world.effects, []);
    assert_eq!(
        world.apply(make("/", true)),
        Ok(Success::DirectoryMade { inode: InodeId::ROOT, already: true })
    );
    assert_eq!(query::totals(world.reader()).unwrap().directories, 4);
}

#[test]
fn what_exists_or_lies_in_a_mount_is_refused() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("known")], &[]).unwrap();
    world.mount("/data/within/m", "s3://other").unwrap();
    world.make("/a").unwrap();
    let exists = |text: &str| Rejection::EntryExists { path: path(text) };
    let inside = |text: &str| Rejection::InsideMount { path: path(text), mount: path("/data") };
    for (at, refusal) in [
        ("/", exists("/")),
        ("/a", exists("/a")),
        ("/data", exists("/data")),
        ("/data/new", inside("/data/new")),
        ("/data/known", inside("/data/known")),
        ("/data/within", inside("/data/within")),
        ("/data/within/new", inside("/data/within/new")),
        ("/data/within/m/new", inside("/data/within/m/new")),
    ] {
        let before = world.rows();
        assert_eq!(world.apply(make(at, false)), Err(refusal), "{at}");
        assert_eq!(world.rows(), before);
    }
    let is_mount_point = world.apply(make("/data", true));
    assert_eq!(is_mount_point, Ok(Success::DirectoryMade { inode: root, already: true }));
    assert_eq!(world.apply(make("/data/a/b", true)), Err(inside("/data/a/b")));
}

#[test]
fn what_only_led_to_a_mount_stays_once_something_was_made_in_it_or_it_was_asked_for() {
    let mut world = World::formatted();
    world.mount("/a/b/m", "s3://m").unwrap();
    world.mount("/c/m", "s3://n").unwrap();
    world.mount("/d/m", "s3://o").unwrap();
    world.apply(make("/a/b/x", false)).unwrap();
    world.apply(make("/c", true)).unwrap();
    for at in ["/a/b/m", "/c/m", "/d/m"] {
        world.unmount(at).unwrap();
    }
    world.remove("/a/b/x").unwrap();
    assert_eq!(world.names(InodeId::ROOT), ["a", "c"]);
    assert_eq!(world.names(world.at("/a").unwrap()), ["b"]);
}

#[test]
fn a_mount_is_made_in_a_directory_that_was_made_and_leaves_it_there() {
    let mut world = World::formatted();
    world.make("/a").unwrap();
    world.mount("/a/way/m", "s3://m").unwrap();
    world.unmount("/a/way/m").unwrap();
    assert_eq!(world.names(world.at("/a").unwrap()), Vec::<String>::new());
}

#[test]
fn names_may_be_of_any_bytes_and_as_long_as_names_are() {
    let mut world = World::formatted();
    for bytes in [vec![b'x'; 255], b"\xff\x01\n".to_vec(), b"...".to_vec()] {
        let at = NamespacePath::root().join(EntryName::new(bytes).unwrap());
        let command = MakeDirectory { path: at.clone(), parents: false, mode: None, uid: None, gid: None };
        world.apply(Command::MakeDirectory(command.clone())).unwrap();
        assert_eq!(world.apply(Command::MakeDirectory(command)), Err(Rejection::EntryExists { path: at }));
    }
}

#[test]
fn a_directory_can_be_as_deep_as_a_path_is_long_and_no_deeper() {
    let mut world = World::formatted();
    let deepest = NamespacePath::parse(&b"/x".repeat(2047)).unwrap();
    let parents = true;
    let command =
        |path| Command::MakeDirectory(MakeDirectory { path, parents, mode: None, uid: None, gid: None });
    world.apply(command(deepest.clone())).unwrap();
    let longer = (0..2).fold(deepest, |path, _| path.join(name("x")));
    let refused = world.apply(command(longer.clone()));
    assert_eq!(refused, Err(Rejection::PathTooLong { path: longer }));
}

#[test]
fn a_retry_is_answered_as_the_first_time_whatever_happened_since() {
    let mut world = World::formatted();
    let made = world.propose(Some(stamp(7, 1, 1)), make("/a", false));
    world.remove("/a").unwrap();
    assert_eq!(world.propose(Some(stamp(7, 1, 1)), make("/a", false)), made);
    assert_eq!(world.at("/a"), None, "it was made once, and removed since");
    let long = format!("/{}", "x".repeat(250));
    world.make(&long).unwrap();
    world.propose(Some(stamp(7, 2, 1)), make(&long, false)).unwrap_err();
    world.remove(&long).unwrap();
    let again = world.propose(Some(stamp(7, 2, 1)), make(&long, false)).unwrap_err();
    assert_eq!(again.kind(), forebay_types::ErrorKind::AlreadyExists, "of a long reply the kind is known");
}
