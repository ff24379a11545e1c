//! The bytes of proposals and replies: they lie in logs, so they must not change.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::command::{
    AdmitWorker, AdvanceJob, AdvanceMetadataLoad, BeginLoad, BeginMetadataLoad, ChangeMount, DescribeMount,
    EndJob, EndMetadataLoad, ExpireSessions, ExtendLoad, ForgetDirectory, Mount, Pin, RemoveDirectory,
    Rename, ResealedMount, SupersedeVersion, TrimOutbox, Unmount, Unpin,
};
use crate::reply::{decode_reply, encode_reply};
use crate::{CodecError, Coherence, Freshness, MountMode, MountOptions, OnOutage, OptionValue, Rejection};
use forebay_types::{
    Admission, AdmissionRule, ByteCount, Incarnation, InodeId, JobFailure, JobId, JobProgress, JobState,
    MountId,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number of its own in each field.
fn progress() -> JobProgress {
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

fn mount_options() -> MountOptions {
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

/// One of each command, in the order of their numbers.
fn commands() -> Vec<Command> {
    [commands_of_the_master(), commands_of_people()].concat()
}

fn commands_of_the_master() -> Vec<Command> {
    let path = || crate::testing::path("/d");
    let directory = InodeId::new(300);
    let listing = ApplyListing {
        directory,
        begun_at: LogIndex::new(4),
        upserts: vec![file("f", "1"), symlink("l", "f")],
        removals: vec![name("g")],
        complete: true,
    };
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
        Command::ApplyListing(listing),
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
        Command::TrimOutbox(TrimOutbox { through: forebay_types::OutboxSequence::new(300) }),
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

fn commands_of_people() -> Vec<Command> {
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
    ]
}

fn proposal(command: Command) -> Proposal {
    Proposal { issued_at: Timestamp::from_nanos(2), session: Some(stamp(1, 2, 1)), command }
}

/// Written once by this code. A change here would make each log that exists unreadable.
const PINNED: [&str; 29] = [
    concat!(
        "010401010201000707070707070707070707070707070701070707070707070707070707070707070707070707070707",
        "0707070707070707",
    ),
    "010401010201010101640101620170000103000080804003016100017001620105656e763a580163020109",
    "01040101020102010164",
    "01040101020103ac0204020166000001013100010a0000000000016c0200010000000a0000000001016601016701",
    "01040101020104ac0201050101013100010a00",
    "01040101020105ac0208",
    "010401010201060c",
    "0104010102010708",
    "01040101020108",
    "010401010201090101016400",
    "0104010102010aac02010101016401",
    "0104010102010bac020101020304050607010101640177",
    "0104010102010cac02040101020304050607010101640177010172",
    "0104010102010d0101640101030000",
    "0104010102010e0101640101620170000103000080804003016100017001620105656e763a5801630201090102",
    "0104010102010f010164010103000001000101",
    "010401010201100101016400",
    "01040101020111ac020101020304050607010101640177ac02",
    "01040101020112ac02040101020304050607010101640177010172ac02",
    "01040101020113ac020101c00301020008",
    "01040101020114ac02",
    concat!(
        "010401010201150101640101620170000103000080804003016100017001620105656e763a58016302010901020205010169",
        "010165",
    ),
    "0104010102011601016401010300000100010101000000",
    "010401010201170101640101ac02010100",
    "01040101020118010164",
    "01040101020119010164020165016601ac020301650166016d010163020109",
    "0104010102011a0101640001020103",
    "0104010102011b010164",
    "0104010102011c010164",
];

#[test]
fn the_bytes_of_each_command_are_a_format_and_never_change() {
    assert_eq!(commands().len(), PINNED.len());
    for (command, pinned) in commands().into_iter().zip(PINNED) {
        let proposal = proposal(command);
        let bytes = proposal.encode().unwrap();
        assert_eq!(hex(&bytes), pinned, "{}", proposal.command.name());
        assert_eq!(Proposal::decode(&bytes), Ok(proposal));
    }
}

#[test]
fn replies_are_read_back() {
    let replies: [Reply; 3] = [
        Ok(Success::Mounted { mount: MountId::new(1), already: true, options_differ: false }),
        Err(Rejection::NotFormatted),
        Err(Rejection::RefusedBefore { kind: ErrorKind::Busy }),
    ];
    for reply in replies {
        assert_eq!(decode_reply(&encode_reply(&reply).unwrap()), Ok(reply));
    }
    assert_eq!(hex(&encode_reply(&Ok(Success::DoneBefore)).unwrap()), "010008");
}

#[test]
fn bytes_that_are_no_proposal_are_an_error() {
    let good = proposal(Command::Reap(Reap { limit: 8 })).encode().unwrap();
    assert_eq!(Proposal::decode(&[]), Err(CodecError::Empty));
    let newer = [&[2], &good[1..]].concat();
    assert_eq!(Proposal::decode(&newer), Err(CodecError::NewerFormat { found: 2, known: 1 }));
    let trailing = [&good[..], &[0]].concat();
    for bad in [&trailing[..], &good[..good.len() - 1], &[0], &[1]] {
        assert!(matches!(Proposal::decode(bad), Err(CodecError::Malformed(_))), "{bad:?}");
    }
    let unknown_command = [&good[..good.len() - 2], &[200, 8]].concat();
    assert!(matches!(Proposal::decode(&unknown_command), Err(CodecError::Malformed(_))));
}

#[test]
fn a_proposal_longer_than_a_log_entry_is_refused() {
    let long = Command::Mount(Mount {
        path: crate::testing::path("/d"),
        uri: crate::testing::uri("s3://b"),
        options: crate::testing::options(
            "x",
            OptionValue::Sealed(vec![0; crate::limits::PROPOSAL_LENGTH_MAX]),
        ),
    });
    assert!(matches!(proposal(long).encode(), Err(CodecError::TooLong(_))));
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", commands());
    assert!(shown.contains("Sealed(..)") && !shown.contains("Sealed([9])"), "{shown}");
}

proptest! {
    #[test]
    fn random_bytes_never_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let framed = [&[1][..], &bytes].concat();
        let _ = Proposal::decode(&framed).map(|proposal| proposal.encode());
        let _ = decode_reply(&framed);
    }
}
