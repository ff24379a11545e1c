//! The node table against a plain count of what the kernel holds.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_types::{FileId, Incarnation};
use proptest::prelude::*;

use super::*;
use crate::doubles::{directory, file, node_table, symlink};
use crate::ttl::TtlRule;

fn at(asked: Instant) -> Validity {
    TtlRule::default().validity(asked, Duration::from_secs(60))
}

fn remember(table: &NodeTable<u32>, entry: &Entry, told: Instant) -> NodeId {
    table.remember(&table.facts(entry), Place::ROOT, at(told), told).expect("no clash")
}

#[test]
fn a_new_version_is_a_new_node_and_a_directory_keeps_its_own() {
    let (table, _) = node_table();
    let now = Instant::now();
    let old = remember(&table, &file(5, 100, 1), now);
    let new = remember(&table, &file(5, 101, 2), now);
    assert_ne!(old, new);
    assert_eq!(table.view(old).expect("known").facts.attributes.length, 1);
    assert_eq!(remember(&table, &directory(6), now), NodeId::new(6));
    assert_eq!(remember(&table, &directory(6), now), NodeId::new(6));
    assert_eq!(remember(&table, &symlink(7, b"a"), now), NodeId::new(7));
}

#[test]
fn a_version_has_its_incarnation_in_the_node_id_so_that_restores_never_collide() {
    let version = |incarnation, counter| {
        NodeId::of_version(FileId { incarnation: Incarnation::new(incarnation), counter })
    };
    assert_eq!(version(1, 5), NodeId::new(1 << 48 | 5));
    assert_ne!(version(1, 5), version(2, 5));
    assert_eq!(version(0x2_0003, 5), NodeId::new(3 << 48 | 5));
}

#[test]
fn the_root_may_be_any_directory_and_is_never_forgotten() {
    let live = IntGauge::new("nodes", "of a test").expect("legal");
    let appearance = Appearance::new(&crate::settings::FuseOptions::default());
    let now = Instant::now();
    let table =
        NodeTable::<u32>::new(&directory(57), at(now), appearance, live.clone()).expect("a directory");
    assert_eq!(table.view(NodeId::ROOT).expect("root").facts.inode, InodeId::new(57));
    assert_eq!(table.id_of(&directory(57)), NodeId::ROOT);
    table.forget(NodeId::ROOT, 10);
    assert!(table.view(NodeId::ROOT).is_some());
    assert!(NodeTable::<u32>::new(&file(57, 100, 1), at(now), appearance, live).is_err());
}

#[test]
fn an_id_never_changes_its_meaning() {
    let (table, _) = node_table();
    let now = Instant::now();
    remember(&table, &directory(6), now);
    assert!(table.remember(&table.facts(&symlink(6, b"a")), Place::ROOT, at(now), now).is_err());
    // The same version under another incarnation of equal low bits.
    let id = remember(&table, &file(5, 100, 1), now);
    let mut stranger = file(5, 100, 1);
    stranger.version.as_mut().expect("a file").0.file.incarnation = Incarnation::new(0x1_0001);
    assert_eq!(table.id_of(&stranger), id);
    assert!(table.remember(&table.facts(&stranger), Place::ROOT, at(now), now).is_err());
}

#[test]
fn a_node_with_a_handle_outlives_its_lookups() {
    let (table, live) = node_table();
    let id = remember(&table, &file(5, 100, 1), Instant::now());
    let backing = Arc::new(7);
    assert_eq!(
        table.enter(id, Candidate::Passthrough(&backing)),
        Some(Entered::Passthrough(Arc::clone(&backing)))
    );
    table.forget(id, 1);
    assert_eq!((table.view(id).expect("open").handles, live.get()), (1, 2));
    table.leave(id);
    assert!(table.view(id).is_none());
    assert_eq!((Arc::strong_count(&backing), live.get()), (1, 1));
    assert_eq!(table.enter(id, Candidate::Buffered), None);
}

#[test]
fn a_name_means_the_alias_from_when_it_is_wanted_until_the_kernel_has_forgotten_it() {
    let (table, live) = node_table();
    let (now, entry) = (Instant::now(), file(5, 100, 1));
    let first = remember(&table, &entry, now);
    table.want_alias(first);
    assert_eq!(remember(&table, &entry, now), first, "no handle is in the way");
    table.enter(first, Candidate::Buffered);
    assert_eq!(table.id_of(&entry), first);
    table.want_alias(first);
    let alias = remember(&table, &entry, now);
    assert_ne!(alias, first);
    assert_eq!((table.id_of(&entry), live.get()), (alias, 3));
    assert!(matches!(table.fixed(first), Fixed::Buffered) && matches!(table.fixed(alias), Fixed::Nothing));
    table.leave(first);
    assert_eq!(table.id_of(&entry), alias, "it is known");
    table.forget(alias, 1);
    assert_eq!(table.id_of(&entry), first);
    table.forget(first, 2);
    assert_eq!((live.get(), table.aliases.load(Ordering::Relaxed)), (1, 0));
    assert_ne!(table.id_of(&file(5, 101, 1)), alias, "of another version");
}

#[test]
fn a_superseded_node_sends_each_thread_back_once_unless_it_was_looked_up_just_now() {
    let (table, _) = node_table();
    let start = Instant::now();
    let id = remember(&table, &file(5, 100, 1), start);
    assert_eq!(table.verdict(id, 1, start + LOOKUP_TRUST), Verdict::Serve);
    let later = start + LOOKUP_TRUST + Duration::from_millis(1);
    assert_eq!(table.verdict(id, 1, later), Verdict::Refuse);
    assert_eq!(table.verdict(id, 1, later), Verdict::Serve, "a reopen has no path to look up");
    assert_eq!(table.verdict(id, 2, later), Verdict::Refuse, "another thread has one");
    remember(&table, &file(5, 100, 1), later);
    assert_eq!(table.verdict(id, 2, later + LOOKUP_TRUST), Verdict::Serve);
    let much_later = later + 2 * LOOKUP_TRUST;
    assert_eq!(table.verdict(id, 2, much_later), Verdict::Refuse, "a lookup begins anew");
}

#[test]
fn what_a_superseded_node_remembers_is_bounded() {
    let (table, _) = node_table();
    let start = Instant::now();
    let id = remember(&table, &file(5, 100, 1), start);
    let later = start + 2 * LOOKUP_TRUST;
    for pid in (0..).take(REFUSED_MAX) {
        assert_eq!(table.verdict(id, pid, later), Verdict::Refuse);
    }
    assert_eq!(table.verdict(id, u32::MAX, later), Verdict::Serve);
}

#[test]
fn an_older_answer_does_not_undo_a_newer_one() {
    let (table, _) = node_table();
    let start = Instant::now();
    let id =
        remember(&table, &Entry { mode: Some(0o600), ..file(5, 100, 1) }, start + Duration::from_secs(1));
    let older = Entry { mode: Some(0o644), ..file(5, 100, 1) };
    table.refresh(id, &table.facts(&older), at(start));
    assert_eq!(table.view(id).expect("known").facts.attributes.of_node(id).perm, 0o600);
    table.refresh(id, &table.facts(&older), at(start + Duration::from_secs(2)));
    assert_eq!(table.view(id).expect("known").facts.attributes.of_node(id).perm, 0o644);
    table.refresh(id, &table.facts(&file(5, 101, 9)), at(start + Duration::from_secs(3)));
    assert_eq!(table.view(id).expect("known").facts.attributes.length, 1, "another version's");
}

#[test]
fn memory_is_given_back_when_the_kernel_forgets() {
    let (table, live) = node_table();
    let now = Instant::now();
    let room =
        |table: &NodeTable<u32>| table.shards.iter().map(|shard| shard.lock().capacity()).sum::<usize>();
    let count = SHARDS as u64 * 4 * SHRINK_MIN as u64;
    let entry = file(5, 0, 1);
    let mut facts = table.facts(&entry);
    for counter in 0..count {
        let Content::File(version) = &mut facts.content else { panic!("a file") };
        Arc::make_mut(version).descriptor.file.counter = counter;
        table.remember(&facts, Place::ROOT, at(now), now).expect("no clash");
    }
    let peak = room(&table);
    for counter in 0..count {
        table.forget(NodeId::new(1 << 48 | counter), 1);
    }
    assert_eq!(live.get(), 1);
    assert!(room(&table) < peak / 2, "{} of {peak} left", room(&table));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Lookup(u64),
    Forget(u64, u64),
    Open(u64),
    Release(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u64..6).prop_map(Step::Lookup),
        (0_u64..6, 1_u64..4).prop_map(|(at, times)| Step::Forget(at, times)),
        (0_u64..6).prop_map(Step::Open),
        (0_u64..6).prop_map(Step::Release),
    ]
}

proptest! {
    #[test]
    fn a_node_is_known_exactly_while_the_kernel_holds_it(steps in prop::collection::vec(step(), 0..300)) {
        let (table, live) = node_table();
        let now = Instant::now();
        // What the kernel holds: lookups and handles of each node.
        let mut kernel = BTreeMap::<u64, (u64, u64)>::new();
        let node = |counter| NodeId::new(1 << 48 | counter);
        for step in steps {
            match step {
                Step::Lookup(at) => {
                    prop_assert_eq!(remember(&table, &file(5, at, 1), now), node(at));
                    kernel.entry(at).or_default().0 += 1;
                }
                // The kernel forgets at most what it was told.
                Step::Forget(at, times) => if let Some((lookups, _)) = kernel.get_mut(&at) {
                    let times = times.min(*lookups);
                    table.forget(node(at), times);
                    *lookups -= times;
                },
                Step::Open(at) => {
                    let known = kernel.get_mut(&at).filter(|(lookups, handles)| lookups + handles > 0);
                    prop_assert_eq!(table.enter(node(at), Candidate::Buffered).is_some(), known.is_some());
                    if let Some((_, handles)) = known {
                        *handles += 1;
                    }
                }
                Step::Release(at) => if let Some((_, handles)) = kernel.get_mut(&at).filter(|of| of.1 > 0) {
                    table.leave(node(at));
                    *handles -= 1;
                },
            }
            kernel.retain(|_, (lookups, handles)| *lookups + *handles > 0);
            for at in 0..6 {
                prop_assert_eq!(table.view(node(at)).is_some(), kernel.contains_key(&at));
            }
            prop_assert_eq!(live.get(), i64::try_from(kernel.len()).expect("few") + 1);
        }
    }
}

#[test]
fn a_node_is_shown_by_its_path_as_far_as_that_is_known() {
    let (table, _) = node_table();
    let now = Instant::now();
    let put = |entry: &Entry, parent, name: &str| {
        let place = Place { parent, name: name.as_bytes() };
        table.remember(&table.facts(entry), place, at(now), now).expect("no clash")
    };
    let shown = |node| table.path(node).to_string();
    let a = put(&directory(6), NodeId::ROOT, "a");
    let b = put(&directory(7), a, "b");
    // The key of its version ends with its name.
    let file = put(&file(8, 100, 1), b, "key");
    let link = put(&symlink(9, b"target"), a, "link");
    assert_eq!([shown(NodeId::ROOT), shown(a), shown(b)], ["/", "/a", "/a/b"]);
    assert_eq!([shown(file), shown(link)], ["/a/b/key", "/a/link"]);
    assert_eq!(put(&directory(7), NodeId::ROOT, "moved"), b);
    assert_eq!(shown(file), "/moved/key");
    put(&directory(7), a, "b");
    table.forget(a, 1);
    assert_eq!([shown(file), shown(a)], [".../b/key".to_owned(), a.to_string()]);
}

#[test]
fn directories_that_seem_to_lie_in_each_other_are_shown_all_the_same() {
    let (table, _) = node_table();
    let now = Instant::now();
    for (inode, parent) in [(6, 7), (7, 6)] {
        let place = Place { parent: NodeId::new(parent), name: b"d" };
        table.remember(&table.facts(&directory(inode)), place, at(now), now).expect("no clash");
    }
    let shown = table.path(NodeId::new(6)).to_string();
    assert!(shown.starts_with(".../d/d/") && shown.len() < 1000, "{shown}");
}
