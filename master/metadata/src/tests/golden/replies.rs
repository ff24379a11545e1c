//! One of each reply, and the lines of `golden/replies.txt`.

use forebay_types::{
    ErrorKind, FileId, Incarnation, InodeId, JobId, JobState, LogIndex, MountId, Sequence, SessionId,
    WorkerId,
};

use super::variant;
use crate::golden::{self, Case};
use crate::reply::{decode_reply, encode_reply};
use crate::testing::{name, path, uri};
use crate::{Rejection, Reply, Success};

fn successes() -> Vec<Success> {
    let file = FileId { incarnation: Incarnation::new(1), counter: 300 };
    let (mount, job, inode) = (MountId::new(300), JobId::new(301), InodeId::new(304));
    vec![
        Success::Formatted { already: true },
        Success::Mounted { mount, already: true, options_differ: true },
        Success::Unmounted { mount },
        Success::Listed { created: 1, changed: 2, removed: 3, newer: 4, mounts: 5 },
        Success::Superseded { current: Some(file) },
        Success::Forgotten { dropped: 6, more: true },
        Success::SessionsExpired { ended: 7, more: true },
        Success::Reaped { removed: 8, more: true },
        Success::DoneBefore,
        Success::WorkerAdmitted { worker: WorkerId::new(302) },
        Success::LoadBegun { job },
        Success::JobAdvanced { job },
        Success::JobEnded { job },
        Success::MountChanged { mount, changed: true },
        Success::OutboxTrimmed { rows: 9, more: true },
        Success::DirectoryMade { inode, already: true },
        Success::DirectoryRemoved { inode },
        Success::Renamed { mounts: 10 },
        Success::AttributesSet { changed: true },
        Success::Pinned { inode, already: true },
        Success::Unpinned { inode },
        Success::FeatureLevelSet { level: 303, before: 2 },
    ]
}

fn rejections() -> Vec<Rejection> {
    let (inode, job, session) = (InodeId::new(300), JobId::new(301), SessionId::new(302));
    let (other, path, sequence) = (|| path("/e/f"), || path("/d"), Sequence::new(303));
    let boxed = |text: &str| Box::new(uri(text));
    let text = || "t".to_owned();
    vec![
        Rejection::NotFormatted,
        Rejection::AlreadyFormatted,
        Rejection::InodeMissing { inode },
        Rejection::NotADirectory { inode },
        Rejection::NotAFile { inode },
        Rejection::PathNotADirectory { path: path() },
        Rejection::MountAtRoot { uri: boxed("s3://a") },
        Rejection::MountPointTaken { path: path(), uri: boxed("s3://a"), mounted: boxed("s3://b") },
        Rejection::MountHidesMount { path: path(), uri: boxed("s3://a"), hidden: path() },
        Rejection::MountHidesContent { path: path(), uri: boxed("s3://a"), mounted: boxed("s3://b") },
        Rejection::MountOverlaps {
            path: path(),
            uri: boxed("s3://a"),
            other: boxed("s3://b"),
            other_path: path(),
        },
        Rejection::TooManyMounts { path: path(), max: 304 },
        Rejection::InvalidOption { path: path(), option: text(), problem: text() },
        Rejection::NotMounted { path: path() },
        Rejection::MountsBelow { path: path(), nested: path() },
        Rejection::StaleListing { directory: inode, begun_at: LogIndex::new(305) },
        Rejection::NotInAMount { directory: inode },
        Rejection::InvalidEntry { directory: inode, name: name("n"), problem: text() },
        Rejection::TooMany { what: text(), count: 306, max: 307 },
        Rejection::TooDeep { directory: inode },
        Rejection::SessionExpired { session, sequence },
        Rejection::SessionWindow { session, sequence, lowest_unanswered: Sequence::new(308) },
        Rejection::RefusedBefore { kind: ErrorKind::Busy },
        Rejection::JobMissing { job },
        Rejection::JobNotOpen { job, state: JobState::Failed },
        Rejection::PathsOutOfOrder { job, expected: 309, found: 310 },
        Rejection::NotAMountPoint { directory: inode },
        Rejection::InsideMount { path: path(), mount: other() },
        Rejection::MountPoint { path: path() },
        Rejection::EntryExists { path: path() },
        Rejection::NoDirectory { path: path() },
        Rejection::DirectoryNotEmpty { path: path() },
        Rejection::RootStays,
        Rejection::IntoItself { from: path(), to: other() },
        Rejection::PathTooLong { path: path() },
        Rejection::TooManyBelow { path: path(), max: 313 },
        Rejection::InvalidAttribute { path: path(), problem: text() },
        Rejection::MountsChangedMeanwhile { path: path() },
        Rejection::PathMissing { path: path() },
        Rejection::NotPinned { path: path() },
        Rejection::Pinned { directory: inode },
        Rejection::FeatureLevelLower { current: 311, level: 312 },
    ]
}

#[test]
fn the_bytes_of_each_reply_are_a_format_and_never_change() {
    let done = successes().into_iter().map(|done| (format!("Done/{}", variant(&done)), Reply::Ok(done)));
    let refused = rejections()
        .into_iter()
        .map(|refused| (format!("Refused/{}", variant(&refused)), Reply::Err(refused)));
    let cases: Vec<_> = done
        .chain(refused)
        .map(|(name, reply)| {
            let bytes = encode_reply(&reply).unwrap();
            Case::written(name, bytes, move |bytes| golden::expect(decode_reply(bytes), &reply))
        })
        .collect();
    let done = golden::variants::<Success>().iter().map(|kind| format!("Done/{kind}"));
    let kinds: Vec<_> =
        done.chain(golden::variants::<Rejection>().iter().map(|kind| format!("Refused/{kind}"))).collect();
    let kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    let text = include_str!("../../../golden/replies.txt");
    golden::check("master/metadata/golden/replies.txt", text, &kinds, &cases);
}
