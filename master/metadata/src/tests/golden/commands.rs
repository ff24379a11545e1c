//! One of each command, and the lines of `golden/commands.txt`.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay_types::{
    Admission, AdmissionRule, ByteCount, Fingerprint, Incarnation, InodeId, JobFailure, JobId, JobProgress,
    JobState, LocalIdentity, MountId, OutboxSequence, UnderStoreKey,
};

use super::super::*;
use crate::command::{
    AdmitWorker, AdvanceJob, AdvanceMetadataLoad, BeginLoad, BeginMetadataLoad, ChangeMount, EndJob,
    EndMetadataLoad, ExpireSessions, ExtendLoad, ForgetDirectory, ListedEntry, MakeDirectory, Mount, Pin,
    RemoveDirectory, Rename, ResealedMount, SetAttributes, SetFeatureLevel, SupersedeVersion, TrimOutbox,
    Unmount, Unpin,
};
use crate::golden::{self, Case};
use crate::{Coherence, Freshness, MountMode, MountOptions, OnOutage, OptionValue};
use forebay_types::EntryKind;

/// A number of its own in each field.
pub(super) fn progress() -> JobProgress {
    JobProgress {
        files_total: 1,
        files_done: 2,
        files_failed: 3,
        files_changed: 4,
        bytes_total: 5,
        bytes_done: 6,
        under_store_bytes: 7,
    }
}

/// A command as its bytes after the time and session of [`proposal`] have it.
fn of_bytes(hex: &str) -> Command {
    let hex = format!("010401010201{hex}");
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<_> = (0..hex.len()).step_by(2).map(byte).collect();
    Proposal::decode(&bytes).unwrap().command
}

pub(super) fn mount_options() -> MountOptions {
    MountOptions {
        read_only: false,
        freshness: Freshness::Bound(Duration::from_secs(3)),
        coherence: Coherence::Strict,
        block_length: ByteCount::new(1 << 20),
        options: BTreeMap::from([
            ("a".to_owned(), OptionValue::Plain("p".to_owned())),
            ("b".to_owned(), OptionValue::Reference("env:X".to_owned())),
            ("c".to_owned(), OptionValue::Sealed(vec![9])),
        ]),
        on_outage: OnOutage::Fail,
        mode: MountMode::ReadOnly,
        admission: Admission::new(AdmissionRule::Small(ByteCount::new(5)), ["i"], ["e"]).unwrap(),
    }
}

fn description() -> DescribeMount {
    DescribeMount {
        root: InodeId::new(300),
        begun_at: LogIndex::new(1),
        mode: Some(0o700),
        uid: Some(2),
        gid: None,
        modified: Timestamp::from_nanos(4),
    }
}

fn listing() -> ApplyListing {
    ApplyListing {
        directory: InodeId::new(300),
        begun_at: LogIndex::new(4),
        upserts: vec![file("f", "1"), symlink("l", "f")],
        removals: vec![name("g")],
        complete: true,
    }
}

/// One of each command, in the order of their numbers, and then those with more fields filled.
pub(crate) fn commands() -> Vec<Command> {
    [first_commands(), commands_of_level_2(), full_commands()].concat()
}

/// One of each command of the first level, in the order of their numbers.
fn first_commands() -> Vec<Command> {
    let path = || crate::testing::path("/d");
    let directory = InodeId::new(300);
    let failure = JobFailure::new(path(), "w");
    let load = BeginLoad { paths: vec![path()], last: false };
    let advance = AdvanceJob {
        job: JobId::new(300),
        begins: true,
        progress: progress(),
        failures: vec![failure.clone()],
    };
    let end = EndJob {
        job: JobId::new(300),
        state: JobState::Failed,
        progress: Some(progress()),
        failures: vec![failure],
        reason: Some("r".to_owned()),
    };
    let seen = FileId { incarnation: Incarnation::new(1), counter: 5 };
    vec![
        Command::Format(format(7)),
        of_bytes("010101640101620170000103000080804003016100017001620105656e763a580163020109"),
        Command::Unmount(Unmount { path: path() }),
        Command::ApplyListing(listing()),
        Command::SupersedeVersion(SupersedeVersion {
            inode: directory,
            seen,
            fingerprint: Some(tagged("1")),
        }),
        Command::ForgetDirectory(ForgetDirectory { directory, limit: 8 }),
        Command::ExpireSessions(ExpireSessions { before: Timestamp::from_nanos(6) }),
        Command::Reap(Reap { limit: 8 }),
        Command::AdmitWorker(AdmitWorker),
        Command::BeginLoad(load.clone()),
        Command::ExtendLoad(ExtendLoad {
            job: JobId::new(300),
            paths_before: 1,
            paths: vec![path()],
            last: true,
        }),
        Command::AdvanceJob(advance.clone()),
        Command::EndJob(end.clone()),
        of_bytes("0d0101640101030000"),
        of_bytes("0e0101640101620170000103000080804003016100017001620105656e763a5801630201090102"),
        of_bytes("0f010164010103000001000101"),
        Command::BeginMetadataLoad(BeginMetadataLoad { load }),
        Command::AdvanceMetadataLoad(AdvanceMetadataLoad { advance, directories_done: 300 }),
        Command::EndMetadataLoad(EndMetadataLoad { end, directories_done: 300 }),
        Command::DescribeMount(description()),
        Command::TrimOutbox(TrimOutbox { through: OutboxSequence::new(300) }),
        Command::Mount(Mount {
            path: path(),
            uri: crate::testing::uri("s3://b/p"),
            options: mount_options(),
        }),
        Command::ChangeMount(ChangeMount {
            path: path(),
            freshness: Some(Freshness::Bound(Duration::from_secs(3))),
            coherence: None,
            on_outage: Some(OnOutage::Serve),
            mode: Some(MountMode::NoAccess),
            admission: Some(Admission::default()),
        }),
    ]
}

/// One of each command of the second level, in the order of their numbers.
fn commands_of_level_2() -> Vec<Command> {
    let path = || crate::testing::path("/d");
    vec![
        Command::MakeDirectory(MakeDirectory {
            path: path(),
            parents: true,
            mode: Some(300),
            uid: Some(1),
            gid: None,
        }),
        Command::RemoveDirectory(RemoveDirectory { path: path() }),
        Command::Rename(Rename {
            from: path(),
            to: crate::testing::path("/e/f"),
            resealed: vec![ResealedMount {
                mount: MountId::new(300),
                path: crate::testing::path("/e/f/m"),
                options: BTreeMap::from([("c".to_owned(), OptionValue::Sealed(vec![9]))]),
            }],
        }),
        Command::SetAttributes(SetAttributes { path: path(), mode: None, uid: Some(2), gid: Some(3) }),
        Command::Pin(Pin { path: path() }),
        Command::Unpin(Unpin { path: path() }),
        Command::SetFeatureLevel(SetFeatureLevel { level: 300 }),
    ]
}

/// Those whose first line does not have each field filled.
fn full_commands() -> Vec<Command> {
    let directory = InodeId::new(300);
    let seen = FileId { incarnation: Incarnation::new(1), counter: 5 };
    let path = || crate::testing::path("/d");
    vec![
        Command::ApplyListing(ApplyListing {
            directory,
            begun_at: LogIndex::new(4),
            upserts: vec![full_entry()],
            removals: vec![name("g"), name("h")],
            complete: false,
        }),
        Command::SupersedeVersion(SupersedeVersion {
            inode: directory,
            seen,
            fingerprint: Some(fingerprint()),
        }),
        Command::DescribeMount(DescribeMount { gid: Some(3), ..description() }),
        Command::ChangeMount(ChangeMount {
            path: path(),
            freshness: Some(Freshness::Immutable),
            coherence: Some(Coherence::Relaxed),
            on_outage: Some(OnOutage::Fail),
            mode: Some(MountMode::Normal),
            admission: Some(mount_options().admission),
        }),
        Command::MakeDirectory(MakeDirectory {
            path: path(),
            parents: false,
            mode: Some(0o755),
            uid: Some(1),
            gid: Some(2),
        }),
        Command::SetAttributes(SetAttributes { path: path(), mode: Some(0o755), uid: Some(2), gid: Some(3) }),
    ]
}

/// A name with all that an under-store may say of it.
fn full_entry() -> ListedEntry {
    ListedEntry {
        name: name("f"),
        kind: EntryKind::Symlink,
        key: Some(UnderStoreKey::new(*b"k/f").unwrap()),
        fingerprint: fingerprint(),
        mode: Some(0o644),
        uid: Some(1),
        gid: Some(2),
        symlink_target: Some(b"t".to_vec()),
    }
}

/// With each field filled.
pub(super) fn fingerprint() -> Fingerprint {
    Fingerprint {
        tag: Some("t".to_owned()),
        version_id: Some("v".to_owned()),
        length: ByteCount::new(300),
        modified: Timestamp::from_nanos(5),
        local: Some(LocalIdentity { device: 6, inode: 7, changed: Timestamp::from_nanos(8) }),
    }
}

pub(crate) fn proposal(command: Command) -> Proposal {
    Proposal { issued_at: Timestamp::from_nanos(2), session: Some(stamp(1, 2, 1)), command }
}

#[test]
fn the_bytes_of_each_command_are_a_format_and_never_change() {
    let cases = (0..).zip(commands()).map(|(at, command)| {
        let proposal = proposal(command);
        let bytes = proposal.encode().unwrap();
        let kind = super::variant(&proposal.command);
        // The first of each kind has its name alone.
        let name = if at <= Command::NUMBER_MAX { kind } else { format!("{kind}/full") };
        let read = move |bytes: &[u8]| golden::expect(Proposal::decode(bytes), &proposal);
        Case::written(name, bytes, read)
    });
    let cases: Vec<_> = cases.collect();
    let text = include_str!("../../../golden/commands.txt");
    golden::check("master/metadata/golden/commands.txt", text, golden::variants::<Command>(), &cases);
}

#[test]
fn the_highest_number_is_that_of_the_last_command() {
    assert_eq!(golden::variants::<Command>().len(), Command::NUMBER_MAX as usize + 1);
    let numbers = commands().into_iter().map(|command| {
        let bytes = proposal(command).encode().unwrap();
        u32::from(bytes[6])
    });
    let first: Vec<_> = numbers.take(Command::NUMBER_MAX as usize + 1).collect();
    assert_eq!(first, (0..=Command::NUMBER_MAX).collect::<Vec<_>>());
}
