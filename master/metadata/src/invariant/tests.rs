//! Each rule is shown to catch a fault that is planted against it.

use super::*;
use crate::Mutation;
use crate::state::{
    EdgeOrigin, InodeBody, JobPaths, NOWHERE, edge_key, encode_record, inode_key, job_key, job_row_key,
    mount_key, outbox_key, reply_key, session_key, tombstone_key,
};
use crate::store::{MemoryStore, StateWriter};
use crate::testing::{World, directory, file, name, stamp, uri};
use forebay_types::{EntryKind, LogIndex, Sequence, SessionId, Timestamp};

/// A sound state with something in each table.
fn sound() -> World {
    let (mut world, root) = World::mounted();
    world.list(root, vec![directory("d"), directory("old"), file("f", "1"), file("gone", "1")], &[]).unwrap();
    world.mount("/way/point", "s3://other").unwrap();
    world.supersede(world.at("/data/gone").unwrap(), world.version("/data/gone"), None).unwrap();
    world.list_since(LogIndex::new(2), root, Vec::new(), &[]).unwrap();
    world.list(root, Vec::new(), &["old"]).unwrap();
    world.supersede(world.at("/data/f").unwrap(), world.version("/data/f"), None).unwrap();
    world.list(root, vec![file("f2", "1")], &[]).unwrap();
    world.propose(Some(stamp(7, 1, 1)), crate::testing::mount("/data", "s3://bucket")).unwrap();
    let load = crate::BeginLoad { paths: vec![crate::testing::path("/data")], last: true };
    world.apply(crate::Command::BeginLoad(load)).unwrap();
    assert_eq!(check_all(&world.store).unwrap(), []);
    world
}

/// The rules that are broken once `row` is written, or deleted where there is none.
fn broken_by<R: Record>(world: &World, key: Vec<u8>, row: Option<&R>) -> Vec<&'static str> {
    let mut store: MemoryStore = world.store.clone();
    store.commit(vec![Mutation { table: R::TABLE, key, value: row.map(encode_record) }]).unwrap();
    let mut broken: Vec<_> =
        check_all(&store).unwrap().into_iter().map(|violation| violation.invariant).collect();
    broken.dedup();
    broken
}

fn inode(world: &World, path: &str) -> Inode {
    query::attributes(world.reader(), world.at(path).unwrap()).unwrap().unwrap()
}

fn edge(world: &World, parent: &str, entry: &str) -> (Vec<u8>, Edge) {
    let key = edge_key(world.at(parent).unwrap(), &name(entry));
    let edge = crate::state::read(world.reader(), &key).unwrap().unwrap();
    (key, edge)
}

#[test]
fn an_edge_that_leads_astray_is_found() {
    let world = sound();
    let (key, edge) = edge(&world, "/data", "f2");
    let faults = [
        Edge { target: InodeId::new(999), ..edge },
        Edge { target: world.at("/data/d").unwrap(), ..edge },
        Edge { kind: EntryKind::Symlink, ..edge },
    ];
    for fault in faults {
        assert!(broken_by(&world, key.clone(), Some(&fault)).contains(&edges_lead_home::ID), "{fault:?}");
    }
    let file = inode(&world, "/data/f2");
    let renamed = Inode { name: Some(name("x")), ..file.clone() };
    assert!(broken_by(&world, inode_key(file.id), Some(&renamed)).contains(&edges_lead_home::ID));
    assert!(broken_by::<Edge>(&world, key, None).contains(&edges_lead_home::ID));
}

#[test]
fn what_is_left_behind_is_found() {
    let world = sound();
    let file = inode(&world, "/data/f2");
    let lost = Inode { parent: NOWHERE, name: None, ..file.clone() };
    assert!(broken_by(&world, inode_key(file.id), Some(&lost)).contains(&edges_lead_home::ID));
    let (key, _) = edge(&world, "/data", "f2");
    assert!(broken_by::<Edge>(&world, key, None).contains(&inodes_are_reachable::ID));
    let attached = broken_by(&world, inode_key(file.id), Some(&Orphan::default()));
    assert_eq!(attached, [inodes_are_reachable::ID]);
    let never = broken_by(&world, inode_key(InodeId::new(999)), Some(&Orphan::default()));
    assert_eq!(never, [inodes_are_reachable::ID]);
    let reader = crate::StateReader::scan(&world.store, Table::Orphans, &[], None, 9).unwrap();
    let forgotten = broken_by::<Orphan>(&world, reader[0].0.clone(), None);
    assert_eq!(forgotten, [inodes_are_reachable::ID]);
}

#[test]
fn a_counter_that_went_back_and_an_id_used_twice_are_found() {
    let world = sound();
    let ids = NextIds::read(world.reader()).unwrap();
    let entry = inode(&world, "/data/f2").id.get();
    let faults = [NextIds { entry, ..ids }, NextIds { mount: 1, ..ids }];
    for fault in faults {
        assert_eq!(broken_by(&world, NextIds::KEY.to_vec(), Some(&fault)), [ids_are_below_counters::ID]);
    }
    let file = inode(&world, "/data/f2");
    let InodeBody::File(version) = file.body.clone() else { panic!("a file") };
    let with = |file_id| {
        let body = InodeBody::File(crate::Version { file: file_id, ..version.clone() });
        broken_by(&world, inode_key(file.id), Some(&Inode { body, ..file.clone() }))
    };
    let twice = forebay_types::FileId { counter: file.id.get(), ..version.file };
    assert_eq!(with(twice), [ids_are_below_counters::ID]);
    let to_come = forebay_types::FileId { incarnation: version.file.incarnation.next(), ..version.file };
    assert_eq!(with(to_come), [ids_are_below_counters::ID]);
}

#[test]
fn totals_that_drifted_are_found() {
    let world = sound();
    let totals = query::totals(world.reader()).unwrap();
    let key = TotalsScope::Namespace.key();
    let faults = [
        Totals { files: totals.files + 1, ..totals },
        Totals { directories: totals.directories - 1, ..totals },
        Totals { bytes: totals.bytes + 1, ..totals },
    ];
    for fault in faults {
        assert_eq!(broken_by(&world, key.clone(), Some(&fault)), [totals_are_counts::ID]);
    }
    let mount = TotalsScope::Mount(MountId::new(1));
    assert_eq!(broken_by::<Totals>(&world, mount.key(), None), [totals_are_counts::ID]);
}

#[test]
fn a_mount_that_is_not_where_it_says_is_found() {
    let world = sound();
    let mounts = query::mounts(world.reader()).unwrap();
    let faults = [
        MountRecord { path: crate::testing::path("/else"), ..mounts[0].clone() },
        MountRecord { root: world.at("/way").unwrap(), ..mounts[0].clone() },
        MountRecord { uri: uri("s3://other/below"), ..mounts[0].clone() },
    ];
    for fault in faults {
        let broken = broken_by(&world, mount_key(fault.id), Some(&fault));
        assert_eq!(broken, [mounts_are_where_they_say::ID], "{fault:?}");
    }
    assert_eq!(
        broken_by::<MountRecord>(&world, mount_key(mounts[0].id), None),
        [mounts_are_where_they_say::ID]
    );
    let way = inode(&world, "/way");
    let miscounted = Inode { body: InodeBody::Directory { mounts_below: 0 }, ..way.clone() };
    assert_eq!(broken_by(&world, inode_key(way.id), Some(&miscounted)), [mounts_are_where_they_say::ID]);
    for (parent, entry) in [("/", "data"), ("/data", "d"), ("/", "way")] {
        let (key, edge) = edge(&world, parent, entry);
        for origin in [EdgeOrigin::Loaded, EdgeOrigin::Synthetic, EdgeOrigin::MountPoint, EdgeOrigin::Made] {
            let broken = broken_by(&world, key.clone(), Some(&Edge { origin, ..edge }));
            // What leads to a mount may have been made, too.
            let is_sound = origin == edge.origin || (entry == "way" && origin == EdgeOrigin::Made);
            let expected = if is_sound { &[][..] } else { &[mounts_are_where_they_say::ID][..] };
            assert_eq!(broken, expected, "{entry} as {origin:?}");
        }
    }
}

#[test]
fn knowledge_about_no_directory_and_of_a_name_that_is_there_is_found() {
    let world = sound();
    let known = Directory::default();
    for id in [world.at("/data/f2").unwrap(), world.at("/way").unwrap(), InodeId::new(999)] {
        assert_eq!(broken_by(&world, inode_key(id), Some(&known)), [directories_are_known::ID]);
    }
    let gone = Tombstone { gone_at: LogIndex::new(1) };
    let there = tombstone_key(world.at("/data").unwrap(), &name("f2"));
    let nowhere = tombstone_key(InodeId::ROOT, &name("x"));
    for key in [there, nowhere] {
        assert_eq!(broken_by(&world, key, Some(&gone)), [directories_are_known::ID]);
    }
}

#[test]
fn a_job_that_is_not_counted_and_rows_of_no_job_are_found() {
    let world = sound();
    let (id, other) = (JobId::new(1), JobId::new(2));
    let job = query::job(world.reader(), id).unwrap().unwrap();
    let counts = query::job_counts(world.reader()).unwrap();
    let over = JobRecord { state: forebay_types::JobState::Failed, ..job.clone() };
    assert_eq!(broken_by(&world, job_key(id), Some(&over)), [jobs_are_counted::ID]);
    assert_eq!(broken_by::<JobRecord>(&world, job_key(id), None), [jobs_are_counted::ID]);
    let twice = JobRecord { path_rows: 2, ..job };
    assert_eq!(broken_by(&world, job_key(id), Some(&twice)), [jobs_are_counted::ID]);
    let used = JobCounts { next: id, ..counts };
    assert_eq!(broken_by(&world, JobCounts::KEY.to_vec(), Some(&used)), [jobs_are_counted::ID]);
    for (job, number) in [(id, 1), (other, 0)] {
        let row = JobPaths::default();
        assert_eq!(broken_by(&world, job_row_key(job, number), Some(&row)), [jobs_are_counted::ID]);
    }
}

#[test]
fn an_outbox_that_is_miscounted_or_frees_what_a_file_has_is_found() {
    let world = sound();
    let counts = query::outbox_counts(world.reader()).unwrap();
    let faults = [
        OutboxCounts { rows: counts.rows + 1, ..counts },
        OutboxCounts { versions: counts.versions - 1, ..counts },
        OutboxCounts { next: counts.first, ..counts },
        OutboxCounts { first: counts.next, ..counts },
    ];
    for fault in faults {
        let broken = broken_by(&world, OutboxCounts::KEY.to_vec(), Some(&fault));
        assert_eq!(broken, [outbox_is_counted::ID], "{fault:?}");
    }
    let (first, row) = query::outbox(world.reader(), OutboxSequence::new(0), 1).unwrap().remove(0);
    let key = outbox_key(first);
    assert_eq!(broken_by::<OutboxRow>(&world, key.clone(), None), [outbox_is_counted::ID]);
    let crate::Task::FreeVersions(files) = row.task;
    let faults = [Vec::new(), vec![files[0]; 257], vec![world.version("/data/f2")]];
    for files in faults {
        let fault = OutboxRow { task: crate::Task::FreeVersions(files) };
        assert_eq!(broken_by(&world, key.clone(), Some(&fault)), [outbox_is_counted::ID], "{fault:?}");
    }
}

#[test]
fn a_session_that_remembers_too_much_is_found() {
    let world = sound();
    let session = SessionId::new(7);
    let key = |sequence| reply_key(session, Sequence::new(sequence));
    for sequence in [0, 257] {
        let broken = broken_by(&world, key(sequence), Some(&RememberedReply::Done));
        assert_eq!(broken, [sessions_are_bounded::ID]);
    }
    let row = SessionRow { last_used: Timestamp::default(), lowest_unanswered: Sequence::new(2) };
    assert_eq!(broken_by(&world, session_key(session), Some(&row)), [sessions_are_bounded::ID]);
    assert_eq!(broken_by::<SessionRow>(&world, session_key(session), None), [sessions_are_bounded::ID]);
    let path = crate::testing::path(&format!("/{}", "x".repeat(200)));
    let large = RememberedReply::Whole(Err(crate::Rejection::NotMounted { path }));
    assert_eq!(broken_by(&world, key(1), Some(&large)), [sessions_are_bounded::ID]);
}

#[test]
fn a_row_that_is_no_row_is_an_error_that_names_it() {
    let world = sound();
    let mut store = world.store.clone();
    let key = inode_key(InodeId::ROOT);
    let put =
        |value: &[u8]| vec![Mutation { table: Table::Inodes, key: key.clone(), value: Some(value.to_vec()) }];
    for (value, expected) in [
        (&b""[..], "the row 0000000000000001 of the table inodes is corrupt"),
        (b"\x01\xff", "is corrupt"),
        (b"\x00", "is corrupt"),
        (b"\x02", "has format 2; this version knows up to 1: upgrade this master"),
    ] {
        store.commit(put(value)).unwrap();
        let shown = check_all(&store).unwrap_err().to_string();
        assert!(shown.contains(expected), "{shown}");
    }
}
