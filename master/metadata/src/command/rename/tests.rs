//! What moving a directory moves, and what it refuses.

use forebay_types::EntryName;

use super::*;
use crate::command::{Command, MakeDirectory, Mount};
use crate::testing::{World, directory, file, name, options, path, uri};
use crate::{ChangedName, ChangedNames, Effect};

const RENAMED: Reply = Ok(Success::Renamed { mounts: 0 });

fn make_path(path: NamespacePath) -> Command {
    Command::MakeDirectory(MakeDirectory { path, parents: true, mode: None, uid: None, gid: None })
}

#[test]
fn a_directory_moves_with_all_that_is_below_it_and_keeps_its_inode() {
    let mut world = World::formatted();
    world.make("/a/b/c").unwrap();
    world.make("/x").unwrap();
    let ids = ["/a", "/a/b", "/a/b/c", "/x"].map(|at| world.at(at).unwrap());
    let [a, b, c, x] = ids;
    let old = query::attributes(world.reader(), b).unwrap().unwrap().modified;
    assert_eq!(world.rename("/a/b", "/x/new"), RENAMED);
    assert_eq!((world.at("/x/new"), world.at("/x/new/c"), world.at("/a/b")), (Some(b), Some(c), None));
    let one = |of: &str, before| ChangedName { name: name(of), before };
    let told = [
        (InodeId::ROOT, ChangedNames::These(vec![one("a", Some(a)), one("x", Some(x))])),
        (a, ChangedNames::These(vec![one("b", Some(b))])),
        (x, ChangedNames::These(vec![one("new", None)])),
    ];
    assert_eq!(world.effects, [Effect::DirectoriesChanged(told.into())]);
    let now = query::clock(world.reader()).unwrap();
    let modified = |id| query::attributes(world.reader(), id).unwrap().unwrap().modified;
    assert_eq!([a, x, b].map(modified), [now, now, old], "what moved has the names in it that it had");
    assert_eq!(query::totals(world.reader()).unwrap().directories, 5);
}

#[test]
fn an_empty_directory_is_replaced_and_one_that_is_not_stays() {
    let mut world = World::formatted();
    for at in ["/a/in", "/empty", "/full/in"] {
        world.make(at).unwrap();
    }
    let moved = world.at("/a").unwrap();
    let full = Rejection::DirectoryNotEmpty { path: path("/full") };
    assert_eq!(world.rename("/a", "/full"), Err(full));
    assert_eq!(world.rename("/a", "/empty"), RENAMED);
    assert_eq!((world.at("/empty"), world.at("/a")), (Some(moved), None));
    assert_eq!(query::totals(world.reader()).unwrap().directories, 5);
    assert_eq!(world.rename("/full/in", "/full"), Err(Rejection::DirectoryNotEmpty { path: path("/full") }));
}

#[test]
fn to_itself_is_no_change_and_into_itself_is_refused() {
    let mut world = World::formatted();
    world.make("/a/b").unwrap();
    let before = world.rows();
    assert_eq!(world.rename("/a", "/a"), RENAMED);
    assert_eq!(world.effects, []);
    for to in ["/a/c", "/a/b", "/a/b/c", "/a/x/y"] {
        let refusal = Rejection::IntoItself { from: path("/a"), to: path(to) };
        assert_eq!(world.rename("/a", to), Err(refusal));
    }
    assert_eq!(world.rows(), before);
    world.rename("/a", "/ab").unwrap();
}

#[test]
fn what_is_missing_or_in_a_mount_or_a_mount_point_or_the_root_is_refused() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("d"), file("f", "1")], &[]).unwrap();
    world.make("/a/b").unwrap();
    let missing = |text: &str| Rejection::NoDirectory { path: path(text) };
    let inside = |text: &str| Rejection::InsideMount { path: path(text), mount: path("/data") };
    let before = world.rows();
    for (from, to, refusal) in [
        ("/", "/x", Rejection::RootStays),
        ("/a", "/", Rejection::RootStays),
        ("/x", "/y", missing("/x")),
        ("/x", "/x", missing("/x")),
        ("/a", "/x/y", missing("/x")),
        ("/a", "/b/x/y", missing("/b/x")),
        ("/data/d", "/d", inside("/data/d")),
        ("/data/f", "/f", inside("/data/f")),
        ("/a", "/data/new", inside("/data/new")),
        ("/data", "/other", Rejection::MountPoint { path: path("/data") }),
        ("/a/b", "/data", Rejection::MountPoint { path: path("/data") }),
    ] {
        assert_eq!(world.rename(from, to), Err(refusal), "{from} to {to}");
    }
    assert_eq!(world.rows(), before);
}

#[test]
fn mounts_move_with_the_directories_above_them() {
    let mut world = World::formatted();
    world.mount("/a/way/m", "s3://one").unwrap();
    world.mount("/a/n", "s3://two").unwrap();
    let inner = world.at("/a/way/m").unwrap();
    world.list(inner, vec![directory("d")], &[]).unwrap();
    world.mount("/a/way/m/d/e/deep", "s3://three").unwrap();
    world.make("/b").unwrap();
    assert_eq!(world.rename("/a", "/b/new"), Ok(Success::Renamed { mounts: 3 }));
    assert_eq!(world.effects[0], Effect::MountsChanged);
    let paths: Vec<_> = query::mounts(world.reader()).unwrap().into_iter().map(|mount| mount.path).collect();
    assert_eq!(paths, ["/b/new/way/m", "/b/new/n", "/b/new/way/m/d/e/deep"].map(path));
    assert_eq!(world.at("/b/new/way/m"), Some(inner));
    let changed = query::mounts(world.reader()).unwrap()[0].changed_at;
    assert_eq!(changed, world.index(), "workers tell a new table of mounts by it");
    for at in ["/b/new/way/m/d/e/deep", "/b/new/way/m", "/b/new/n"] {
        world.unmount(at).unwrap();
    }
    assert_eq!(world.names(world.at("/b").unwrap()), ["new"], "what was moved by hand stays");
    assert_eq!(world.names(world.at("/b/new").unwrap()), Vec::<String>::new());
}

#[test]
fn what_only_led_to_mounts_stays_when_what_led_there_is_moved_away() {
    let mut world = World::formatted();
    world.mount("/a/b/m", "s3://one").unwrap();
    world.rename("/a/b", "/c").unwrap();
    assert_eq!(world.names(InodeId::ROOT), ["a", "c"]);
    world.remove("/a").unwrap();
}

#[test]
fn sealed_options_move_only_when_they_were_sealed_for_the_new_path() {
    let mut world = World::formatted();
    let secret = |byte| OptionValue::Sealed(vec![byte]);
    world
        .apply(Command::Mount(Mount {
            path: path("/a/m"),
            uri: uri("s3://one"),
            options: options("key", secret(1)),
        }))
        .unwrap();
    let id = query::mounts(world.reader()).unwrap()[0].id;
    let rename = |resealed| Command::Rename(Rename { from: path("/a"), to: path("/b"), resealed });
    let anew = |at: &str, name: &str, value| ResealedMount {
        mount: id,
        path: path(at),
        options: BTreeMap::from([(name.to_owned(), value)]),
    };
    let plain = OptionValue::Plain("open".to_owned());
    for resealed in [
        Vec::new(),
        vec![anew("/c/m", "key", secret(2))],
        vec![anew("/b/m", "other", secret(2))],
        vec![anew("/b/m", "key", plain)],
        vec![ResealedMount { mount: MountId::new(77), ..anew("/b/m", "key", secret(2)) }],
    ] {
        let refusal = Rejection::MountsChangedMeanwhile { path: path("/a") };
        assert_eq!(world.apply(rename(resealed)), Err(refusal));
    }
    let moved = world.apply(rename(vec![anew("/b/m", "key", secret(2))]));
    assert_eq!(moved, Ok(Success::Renamed { mounts: 1 }));
    assert_eq!(query::mounts(world.reader()).unwrap()[0].options, options("key", secret(2)));
}

#[test]
fn nothing_moves_out_of_the_reach_of_paths() {
    let mut world = World::formatted();
    let long = |letter: u8, names: usize| {
        let name = EntryName::new(vec![letter; 1]).unwrap();
        (0..names).fold(NamespacePath::root(), |path, _| path.join(name.clone()))
    };
    world.apply(make_path(long(b'x', 1500))).unwrap();
    world.apply(make_path(long(b'y', 600))).unwrap();
    let to = long(b'y', 548).join(name("x"));
    let refused = world.apply(Command::Rename(Rename { from: path("/x"), to: to.clone(), resealed: vec![] }));
    assert_eq!(refused, Err(Rejection::PathTooLong { path: to }));
    let to = long(b'y', 547).join(name("x"));
    world.apply(Command::Rename(Rename { from: path("/x"), to, resealed: vec![] })).unwrap();

    let wide = "n".repeat(255);
    let way = |at: &str| (0..15).fold(path(at), |path, _| path.join(name(&wide)));
    world
        .apply(Command::Mount(Mount { path: way("/m"), uri: uri("s3://m"), options: Default::default() }))
        .unwrap();
    let to = path(&format!("/{wide}"));
    let refused = world.apply(Command::Rename(Rename { from: path("/m"), to: to.clone(), resealed: vec![] }));
    let moved = way(&format!("/{wide}"));
    assert_eq!(refused, Err(Rejection::PathTooLong { path: moved }), "a mount's path is told to everybody");
}
