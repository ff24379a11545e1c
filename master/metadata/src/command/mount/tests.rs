//! What mounting makes, and what it refuses.

use super::*;
use crate::command::Command;
use crate::testing::{World, counts, directory, file, mount, options, path, uri};
use crate::{ChangedNames, Effect, Freshness};
use forebay_types::ByteCount;

fn mounted(reply: Reply) -> MountId {
    match reply {
        Ok(Success::Mounted { mount, already: false, .. }) => mount,
        other => panic!("mounting gave {other:?}"),
    }
}

#[test]
fn a_mount_makes_its_path_and_is_found_there() {
    let mut world = World::formatted();
    let id = mounted(world.mount("/a/b/data", "s3://bucket/prefix"));
    assert_eq!(
        world.effects,
        [Effect::MountsChanged, Effect::DirectoriesChanged([(InodeId::ROOT, ChangedNames::All)].into())]
    );
    let root = query::attributes(world.reader(), world.at("/a/b/data").unwrap()).unwrap().unwrap();
    assert_eq!((root.mount, root.key.as_bytes()), (Some(id), &b""[..]));
    let between = query::attributes(world.reader(), world.at("/a/b").unwrap()).unwrap().unwrap();
    assert_eq!((between.mount, between.mounts_below()), (None, 1));
    assert!(query::is_loaded(world.reader(), between.id).unwrap(), "nothing but mounts can be there");
    assert!(!query::is_loaded(world.reader(), root.id).unwrap(), "nobody listed it yet");
    let record = query::mount(world.reader(), id).unwrap().unwrap();
    assert_eq!((record.path, record.root), (path("/a/b/data"), root.id));
}

#[test]
fn the_same_mount_again_is_no_error_and_keeps_its_options() {
    let mut world = World::formatted();
    let id = mounted(world.mount("/data", "s3://bucket"));
    let again = Ok(Success::Mounted { mount: id, already: true, options_differ: false });
    assert_eq!(world.mount("/data", "s3://bucket/"), again);
    let other = MountOptions { freshness: Freshness::Immutable, ..MountOptions::default() };
    let command = Mount { path: path("/data"), uri: uri("s3://bucket"), options: other };
    let differs = Ok(Success::Mounted { mount: id, already: true, options_differ: true });
    assert_eq!(world.apply(Command::Mount(command)), differs);
    assert_eq!(query::mount(world.reader(), id).unwrap().unwrap().options, MountOptions::default());
}

#[test]
fn the_ids_of_mounts_are_not_used_again() {
    let mut world = World::formatted();
    let first = mounted(world.mount("/data", "s3://bucket"));
    world.unmount("/data").unwrap();
    assert_ne!(mounted(world.mount("/data", "s3://bucket")), first);
}

#[test]
fn another_under_store_at_the_same_path_is_refused_with_both_names() {
    let mut world = World::formatted();
    world.mount("/data", "s3://bucket").unwrap();
    let refused = world.mount("/data", "s3://other").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "s3://other cannot be mounted at /data: s3://bucket is mounted there; unmount it first or choose another path"
    );
}

#[test]
fn under_store_paths_that_overlap_are_refused_with_both_names() {
    let mut world = World::formatted();
    world.mount("/data", "s3://bucket/a").unwrap();
    for overlapping in ["s3://bucket/a", "s3://bucket/a/b", "s3://bucket"] {
        let refused = world.mount("/other", overlapping).unwrap_err().to_string();
        let expected = format!(
            "{overlapping} cannot be mounted at /other: it overlaps s3://bucket/a, which is mounted at /data"
        );
        assert_eq!(refused, expected);
    }
    world.mount("/other", "s3://bucket/ab").unwrap();
    assert_eq!(world.at("/third"), None);
}

#[test]
fn a_mount_that_would_hide_a_mount_or_content_is_refused_with_both_names() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("loaded"), file("file", "1")], &[]).unwrap();
    world.mount("/a/b", "s3://nested").unwrap();
    let hides_mount = world.mount("/a", "s3://other").unwrap_err();
    assert_eq!(
        hides_mount.to_string(),
        "s3://other cannot be mounted at /a: it would hide the mount at /a/b"
    );
    for content in ["/data/loaded", "/data/file"] {
        let hides_content = world.mount(content, "s3://other").unwrap_err().to_string();
        assert!(
            hides_content.contains(content) && hides_content.contains("content of s3://bucket"),
            "{hides_content}"
        );
    }
    let below_file = world.mount("/data/file/x", "s3://other");
    assert_eq!(below_file, Err(Rejection::PathNotADirectory { path: path("/data/file") }));
    let at_root = world.mount("/", "s3://other");
    assert_eq!(at_root, Err(Rejection::MountAtRoot { uri: Box::new(uri("s3://other")) }));
    assert_eq!(query::mounts(world.reader()).unwrap().len(), 2);
}

#[test]
fn a_mount_may_lie_in_another_where_no_such_name_is_loaded() {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("loaded")], &[]).unwrap();
    world.mount("/data/loaded/one", "s3://one").unwrap();
    world.mount("/data/new/two", "s3://two").unwrap();
    assert_eq!(world.names(root), ["loaded", "new"]);
    let record = query::attributes(world.reader(), root).unwrap().unwrap();
    assert_eq!(record.mounts_below(), 2);
}

#[test]
fn a_directory_on_the_way_that_the_under_store_has_too_becomes_content_and_stays() {
    let (mut world, root) = World::mounted();
    world.mount("/data/new/two", "s3://two").unwrap();
    let new = world.at("/data/new").unwrap();
    assert_eq!(counts(world.list(root, vec![directory("new")], &[])), (1, 0, 0, 0, 0));
    assert_eq!(world.at("/data/new"), Some(new), "a directory keeps its inode for life");
    assert_eq!(counts(world.list(new, vec![file("x", "1")], &[])), (1, 0, 0, 0, 0));
    let x = query::attributes(world.reader(), world.at("/data/new/x").unwrap()).unwrap().unwrap();
    assert_eq!(x.key.as_bytes(), b"new/x");
    world.unmount("/data/new/two").unwrap();
    assert_eq!(world.names(new), ["x"]);
}

#[test]
fn options_that_make_no_sense_are_refused_by_name() {
    let mut world = World::formatted();
    let mut refuse = |options: MountOptions| {
        let command = Mount { path: path("/data"), uri: uri("s3://bucket"), options };
        let rejection = world.apply(Command::Mount(command)).unwrap_err();
        assert!(matches!(rejection, Rejection::InvalidOption { .. }), "{rejection:?}");
        rejection.to_string()
    };
    for length in [0, 3 << 20, 1 << 19, 1 << 31] {
        let block_length = ByteCount::new(length);
        assert!(refuse(MountOptions { block_length, ..MountOptions::default() }).contains("block_length"));
    }
    for reference in ["env:", "NAME", "vault:x", "file:"] {
        let shown = refuse(options("secret_access_key", OptionValue::Reference(reference.to_owned())));
        assert!(shown.contains("secret_access_key of the mount at /data refers to nothing"), "{shown}");
    }
    refuse(options("", OptionValue::Plain("x".to_owned())));
    refuse(options("long", OptionValue::Sealed(vec![0; MOUNT_OPTION_LENGTH_MAX + 1])));
}

#[test]
fn there_are_no_more_mounts_than_the_limit() {
    let mut world = World::formatted();
    let mut store = world.store.clone();
    // The rules are checked after each entry of a `World`, which is too slow for so many.
    for number in 0..MOUNTS_MAX as u64 {
        let command = mount(&format!("/m/{number}"), &format!("s3://bucket-{number}"));
        let proposal = crate::Proposal { issued_at: Default::default(), session: None, command };
        let applied = crate::apply(&store, forebay_types::LogIndex::new(number + 2), &proposal).unwrap();
        applied.reply.unwrap();
        crate::StateWriter::commit(&mut store, applied.mutations).unwrap();
    }
    world.store = store;
    let refused = world.mount("/one-more", "s3://one-more");
    assert_eq!(refused, Err(Rejection::TooManyMounts { path: path("/one-more"), max: 1024 }));
}

#[test]
fn a_check_tells_what_mounting_would_and_changes_nothing() {
    let (world, _) = World::mounted();
    let check = |at: &str, from: &str| {
        let mount = Mount { path: path(at), uri: uri(from), options: MountOptions::default() };
        check_mount(world.reader(), &mount).unwrap()
    };
    assert_eq!(check("/new", "s3://other"), Ok(None));
    assert_eq!(check("/data", "s3://bucket"), Ok(Some(MountId::new(1))));
    assert!(matches!(check("/new", "s3://bucket/a"), Err(Rejection::MountOverlaps { .. })));
}
