//! What a pin keeps, and when it goes.

use forebay_types::{ErrorKind, InodeId};

use super::*;
use crate::command::Command;
use crate::query;
use crate::testing::{World, directory, file, path, symlink};

fn pinned(world: &World) -> Vec<String> {
    let pins = query::pins(world.reader(), InodeId::new(0), usize::MAX).unwrap();
    pins.into_iter().filter_map(|(_, path)| Some(path?.to_string())).collect()
}

/// A mount with files in it, and in a directory below.
fn world() -> (World, InodeId, InodeId) {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("d"), directory("e"), file("f", "1"), symlink("l", "f")], &[]).unwrap();
    let below = world.at("/data/d").unwrap();
    world.list(below, vec![file("g", "1")], &[]).unwrap();
    (world, root, below)
}

#[test]
fn what_lies_below_a_pin_is_not_forgotten_until_it_ends() {
    let (mut world, root, below) = world();
    for at in ["/", "/data", "/data/d"] {
        let inode = world.at(at).unwrap();
        assert_eq!(world.pin(at), Ok(Success::Pinned { inode, already: false }));
        assert_eq!(world.pin(at), Ok(Success::Pinned { inode, already: true }));
        assert_eq!((world.effects.clone(), pinned(&world)), (vec![], vec![at.to_owned()]));
        assert_eq!(world.forget(below), Err(Rejection::Pinned { directory: below }), "{at}");
        assert_eq!(world.forget(root).is_ok(), at == "/data/d", "{at}");
        world.list(root, vec![file("f", "1"), symlink("l", "f")], &[]).unwrap();
        assert_eq!(world.unpin(at), Ok(Success::Unpinned { inode }));
        assert_eq!(world.unpin(at), Err(Rejection::NotPinned { path: path(at) }));
    }
    world.forget(below).unwrap();
}

#[test]
fn for_a_file_or_link_the_names_beside_it_stay_and_those_below_do_not() {
    let (mut world, root, below) = world();
    for at in ["/data/f", "/data/l"] {
        world.pin(at).unwrap();
        assert_eq!(world.forget(root), Err(Rejection::Pinned { directory: root }), "{at}");
        world.forget(below).unwrap();
        world.unpin(at).unwrap();
    }
    world.forget(root).unwrap();
}

#[test]
fn a_pin_stays_while_a_file_gets_new_content_and_goes_with_what_is_pinned() {
    let (mut world, root, _) = world();
    for at in ["/data/f", "/data/d", "/data/e"] {
        world.pin(at).unwrap();
    }
    world.list(root, vec![file("f", "22")], &[]).unwrap();
    assert_eq!(pinned(&world), ["/data/d", "/data/e", "/data/f"]);
    world.list(root, vec![file("e", "1")], &["f", "d"]).unwrap();
    assert_eq!(pinned(&world), Vec::<String>::new(), "what has their names now is something else");
    world.reap_all(1);
    assert_eq!(query::pins(world.reader(), InodeId::new(0), 9).unwrap(), []);
}

#[test]
fn a_pin_goes_with_its_mount_and_moves_with_what_is_above_it() {
    let (mut world, _, _) = world();
    world.mount("/old/m", "s3://other").unwrap();
    for at in ["/data/f", "/old", "/old/m"] {
        world.pin(at).unwrap();
    }
    world.rename("/old", "/new").unwrap();
    assert_eq!(pinned(&world), ["/data/f", "/new", "/new/m"]);
    world.unmount("/data").unwrap();
    world.reap_all(2);
    world.unmount("/new/m").unwrap();
    world.reap_all(2);
    assert_eq!(pinned(&world), ["/new"]);
    world.remove("/new").unwrap();
    assert_eq!(query::pins(world.reader(), InodeId::new(0), 9).unwrap(), []);
}

#[test]
fn what_is_missing_cannot_be_pinned_and_pins_have_a_limit() {
    let mut world = World::formatted();
    assert_eq!(world.pin("/x"), Err(Rejection::PathMissing { path: path("/x") }));
    assert_eq!(world.unpin("/x"), Err(Rejection::NotPinned { path: path("/x") }));
    // The state checks itself after each entry, so rows are planted.
    let rows = (2..=PINS_MAX as u64).map(|inode| crate::Mutation {
        table: Table::Pins,
        key: inode_key(InodeId::new(inode + 1000)),
        value: Some(crate::state::encode_record(&Row {
            directory: InodeId::ROOT,
            pinned_at: Default::default(),
        })),
    });
    let mut store = world.store.clone();
    crate::store::StateWriter::commit(&mut store, rows.collect()).unwrap();
    let pin = |path| crate::Proposal {
        issued_at: Default::default(),
        session: None,
        command: Command::Pin(Pin { path }),
    };
    let index = world.index().next();
    let last = crate::apply(&store, index, &pin(path("/"))).unwrap();
    last.reply.unwrap();
    crate::store::StateWriter::commit(&mut store, last.mutations).unwrap();
    world.make("/a").unwrap();
    let rows = world.rows().into_iter().map(|row| crate::Mutation {
        table: row.table,
        key: row.key,
        value: Some(row.value),
    });
    crate::store::StateWriter::commit(&mut store, rows.collect()).unwrap();
    let refused = crate::apply(&store, index, &pin(path("/a"))).unwrap().reply.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
}
