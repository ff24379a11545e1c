//! A row of each table, what enums are in rows and commands, and the lines of `golden/rows.txt`.

use std::fmt::Debug;
use std::time::Duration;

use forebay_types::{
    AdmissionRule, ByteCount, ClusterId, EntryKind, ErrorKind, FileId, Incarnation, InodeId, JobFailure,
    JobId, JobState, LogIndex, MountId, OutboxSequence, Sequence, SessionId, Timestamp, UnderStoreKey,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::commands::{fingerprint, mount_options, progress};
use super::variant;
use crate::golden::{self, Case};
use crate::snapshot::{DumpedRow, check_row};
use crate::state::{
    Clock, ClusterIdentity, Directory, Edge, EdgeOrigin, Inode, InodeBody, JobCounts, JobKind, JobPaths,
    JobRecord, KeptFailure, MountRecord, NextIds, Orphan, OutboxCounts, OutboxRow, Pin, Record,
    RememberedReply, SessionRow, Task, Tombstone, Totals, TotalsScope, Version, decode_record, edge_key,
    encode_record, inode_key, job_key, job_row_key, mount_key, outbox_key, reply_key, session_key,
    tombstone_key,
};
use crate::testing::{name, path, uri};
use crate::{Coherence, Freshness, MountMode, OnOutage, OptionValue, Success, Table};

const FILE: &str = "master/metadata/golden/rows.txt";
const TEXT: &str = include_str!("../../../golden/rows.txt");

/// A row that is written today. The line has the key's length, the key and the value.
fn row<R: Record + PartialEq + Debug + 'static>(kind: &str, key: Vec<u8>, row: R) -> Case<'static> {
    let bytes = framed(&key, encode_record(&row));
    Case::written(named::<R>(kind), bytes, move |bytes| read(bytes, &key, &row))
}

/// A row of a format that only earlier versions wrote.
fn old_row<R: Record + PartialEq + Debug + 'static>(kind: &str, key: Vec<u8>, row: R) -> Case<'static> {
    Case::only_read(named::<R>(kind), move |bytes| read(bytes, &key, &row))
}

fn named<R: Record>(kind: &str) -> String {
    format!("{}/{kind}", R::TABLE.name())
}

fn framed(key: &[u8], value: Vec<u8>) -> Vec<u8> {
    [vec![u8::try_from(key.len()).unwrap()], key.to_vec(), value].concat()
}

fn read<R: Record + PartialEq + Debug>(bytes: &[u8], key: &[u8], expected: &R) -> Result<(), String> {
    let (found, value) = bytes[1..].split_at(bytes[0].into());
    if found != key {
        return Err(format!("the key is {found:?} instead of {key:?}"));
    }
    let dumped = DumpedRow { table: R::TABLE, key: key.to_vec(), value: value.to_vec() };
    check_row(&dumped).map_err(|error| error.to_string())?;
    golden::expect(decode_record(key, value), expected)
}

fn inode(body: InodeBody) -> Inode {
    Inode {
        id: InodeId::new(300),
        parent: InodeId::new(301),
        name: Some(name("n")),
        mount: Some(MountId::new(302)),
        key: UnderStoreKey::new(*b"k").unwrap(),
        mode: Some(0o755),
        uid: Some(1),
        gid: Some(2),
        modified: Timestamp::from_nanos(3),
        body,
    }
}

fn version() -> Version {
    let file = FileId { incarnation: Incarnation::new(1), counter: 303 };
    Version { file, fingerprint: fingerprint(), block_length: ByteCount::new(1 << 20) }
}

fn identity(feature_level: u32) -> ClusterIdentity {
    ClusterIdentity {
        cluster: ClusterId::new([7; 16]),
        incarnation: Incarnation::new(304),
        capability_secret: [9; 32],
        formatted_at: Timestamp::from_nanos(4),
        feature_level,
    }
}

fn mount() -> MountRecord {
    MountRecord {
        id: MountId::new(302),
        path: path("/d"),
        uri: uri("s3://b/p"),
        options: mount_options(),
        root: InodeId::new(300),
        mounted_at: LogIndex::new(4),
        mounted_time: Timestamp::from_nanos(5),
        changed_at: LogIndex::new(9),
    }
}

/// The mount of the rows of formats 1 and 2, see `mount_before`.
fn old_mount(changed_at: u64, on_outage: OnOutage, mode: MountMode) -> MountRecord {
    let mut old = MountRecord { id: MountId::new(3), changed_at: LogIndex::new(changed_at), ..mount() };
    old.options = crate::testing::options("a", OptionValue::Plain("p".to_owned()));
    old.options.freshness = Freshness::Bound(Duration::from_secs(3));
    old.options.coherence = Coherence::Strict;
    old.options.block_length = ByteCount::new(1 << 20);
    (old.options.on_outage, old.options.mode) = (on_outage, mode);
    old
}

fn job(kind: JobKind) -> JobRecord {
    let at = Timestamp::from_nanos;
    JobRecord {
        id: JobId::new(305),
        kind,
        state: JobState::Running,
        paths_total: 8,
        path_rows: 9,
        is_listed: true,
        submitted_at: at(1),
        touched_at: at(2),
        started_at: Some(at(3)),
        ended_at: Some(at(4)),
        progress: progress(),
        failures_kept: 10,
        reason: Some("r".to_owned()),
    }
}

fn rows() -> Vec<Case<'static>> {
    let (directory, at, key) = (InodeId::new(300), LogIndex::new(306), inode_key(InodeId::new(300)));
    let edge =
        |origin| Edge { target: InodeId::new(307), kind: EntryKind::Directory, origin, changed_at: at };
    let named = || edge_key(directory, &name("n"));
    let (session, sequence, job_id) = (SessionId::new(308), Sequence::new(309), JobId::new(305));
    let counts = JobCounts { next: JobId::new(1), active: 2, kept: 3, succeeded: 4, failed: 5, cancelled: 6 };
    let (first, next) = (OutboxSequence::new(310), OutboxSequence::new(311));
    let totals = Totals { files: 1, directories: 2, symlinks: 3, bytes: 1 << 70 };
    let files = vec![version().file];
    let pin = Pin { directory: InodeId::new(301), pinned_at: Timestamp::from_nanos(6) };
    vec![
        row("file", key.clone(), inode(InodeBody::File(version()))),
        row("directory", key.clone(), inode(InodeBody::Directory { mounts_below: 312 })),
        row("symlink", key.clone(), inode(InodeBody::Symlink { target: b"t".to_vec() })),
        row("loaded", named(), edge(EdgeOrigin::Loaded)),
        row("synthetic", named(), edge(EdgeOrigin::Synthetic)),
        row("mount-point", named(), edge(EdgeOrigin::MountPoint)),
        old_row("format-1", mount_key(MountId::new(3)), old_mount(4, OnOutage::Serve, MountMode::Normal)),
        old_row("format-2", mount_key(MountId::new(3)), old_mount(9, OnOutage::Fail, MountMode::NoAccess)),
        row("format-3", mount_key(MountId::new(302)), mount()),
        row("identity-of-level-1", ClusterIdentity::KEY.to_vec(), identity(1)),
        row("identity-of-level-2", ClusterIdentity::KEY.to_vec(), identity(2)),
        row("clock", Clock::KEY.to_vec(), Clock { now: Timestamp::from_nanos(313) }),
        row("next-ids", NextIds::KEY.to_vec(), NextIds { entry: 314, mount: 315, worker: 316 }),
        row("jobs", JobCounts::KEY.to_vec(), counts),
        row("outbox", OutboxCounts::KEY.to_vec(), OutboxCounts { first, next, rows: 1, versions: 2 }),
        row("totals", TotalsScope::Namespace.key(), totals),
        row("totals-of-a-mount", TotalsScope::Mount(MountId::new(302)).key(), totals),
        row(
            "session",
            session_key(session),
            SessionRow { last_used: Timestamp::from_nanos(5), lowest_unanswered: sequence },
        ),
        row(
            "reply",
            reply_key(session, sequence),
            RememberedReply::Whole(Ok(Success::Formatted { already: true })),
        ),
        row(
            "listed",
            key.clone(),
            Directory { loaded_at: Some(at), voided_at: LogIndex::new(2), forget_cursor: Some(name("c")) },
        ),
        row("detached", key, Orphan { cursor: Some(name("c")) }),
        row("gone", tombstone_key(directory, &name("n")), Tombstone { gone_at: at }),
        row("load", job_key(job_id), job(JobKind::Load)),
        row("metadata-load", job_key(job_id), job(JobKind::MetadataLoad { directories_done: 317 })),
        row("paths", job_row_key(job_id, 318), JobPaths { paths: vec![path("/d")] }),
        row("failure", job_row_key(job_id, 318), KeptFailure { failure: JobFailure::new(path("/d"), "w") }),
        row("free", outbox_key(first), OutboxRow { task: Task::FreeVersions(files) }),
        row("made", named(), edge(EdgeOrigin::Made)),
        row("pin", inode_key(directory), pin),
    ]
}

/// The bytes of each variant of an enum that is part of commands and rows, and the names that are to have a line.
fn part<T>(kind: &str, values: impl IntoIterator<Item = T>, (cases, kinds): &mut (Vec<Case<'_>>, Vec<String>))
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
{
    for value in values {
        let bytes = postcard::to_stdvec(&value).unwrap();
        let name = format!("{kind}/{}", variant(&value));
        cases.push(Case::written(name, bytes, move |bytes| {
            golden::expect(postcard::from_bytes(bytes), &value)
        }));
    }
    kinds.extend(golden::variants::<T>().iter().map(|name| format!("{kind}/{name}")));
}

#[test]
fn a_row_of_each_table_and_the_enums_in_them_are_a_format_and_never_change() {
    let kinds = Table::ALL.iter().map(|table| table.name().to_owned()).collect();
    let mut all = (rows(), kinds);
    let text = || "t".to_owned();
    part("EntryKind", [EntryKind::File, EntryKind::Directory, EntryKind::Symlink], &mut all);
    part("ErrorKind", ErrorKind::ALL, &mut all);
    part("JobState", JobState::ALL, &mut all);
    part("Freshness", [Freshness::Immutable, Freshness::Bound(Duration::new(300, 301))], &mut all);
    part("Coherence", [Coherence::Strict, Coherence::Relaxed], &mut all);
    part("OnOutage", [OnOutage::Serve, OnOutage::Fail], &mut all);
    part("MountMode", [MountMode::Normal, MountMode::NoAccess, MountMode::ReadOnly], &mut all);
    let values =
        [OptionValue::Plain(text()), OptionValue::Reference(text()), OptionValue::Sealed(vec![1, 2])];
    part("OptionValue", values, &mut all);
    let small = AdmissionRule::Small(ByteCount::new(300));
    part("AdmissionRule", [AdmissionRule::All, AdmissionRule::None, small, AdmissionRule::Random], &mut all);
    part(
        "EdgeOrigin",
        [EdgeOrigin::Loaded, EdgeOrigin::Synthetic, EdgeOrigin::MountPoint, EdgeOrigin::Made],
        &mut all,
    );
    let directory = InodeBody::Directory { mounts_below: 300 };
    let symlink = InodeBody::Symlink { target: b"t".to_vec() };
    part("InodeBody", [InodeBody::File(version()), directory, symlink], &mut all);
    part("JobKind", [JobKind::Load, JobKind::MetadataLoad { directories_done: 300 }], &mut all);
    part("Task", [Task::FreeVersions(vec![version().file])], &mut all);
    let whole = RememberedReply::Whole(Ok(Success::DoneBefore));
    part(
        "RememberedReply",
        [whole, RememberedReply::Done, RememberedReply::Refused(ErrorKind::Io)],
        &mut all,
    );
    let (cases, kinds) = all;
    let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    golden::check(FILE, TEXT, &kinds, &cases);
}
