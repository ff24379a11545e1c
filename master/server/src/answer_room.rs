//! How much of a long answer fits into one message, so that a page of it never is too long to be sent. Pure.
//!
//! Lengths are reckoned from above and not measured: an entry is encoded once, when it is sent.

use forebay_proto::{Named, v1};
use forebay_types::JobFailure;

use crate::limits;

/// Most bytes of an entry beside its texts: numbers, ids, the capability, and what frames them.
const ENTRY_FRAME: usize = 256;
/// Most bytes of a job beside its texts.
const JOB_FRAME: usize = 256;
/// Most bytes that frame one path, or a failure with its two texts.
const TEXT_FRAME: usize = 16;

/// The room that one page of an answer has left.
#[derive(Debug)]
pub(crate) struct AnswerRoom {
    left: usize,
    is_empty: bool,
}

impl AnswerRoom {
    pub(crate) const fn new() -> Self {
        Self { left: limits::ANSWER_BYTES_MAX, is_empty: true }
    }

    /// The same with part of it taken by what is in the answer beside its entries.
    pub(crate) const fn without(bytes: usize) -> Self {
        Self { left: limits::ANSWER_BYTES_MAX.saturating_sub(bytes), is_empty: true }
    }

    /// Whether the next entry belongs to this page. The first one always does, so that whoever asks gets on.
    pub(crate) const fn admits(&mut self, length: usize) -> bool {
        let admits = self.is_empty || length <= self.left;
        self.left = self.left.saturating_sub(length);
        self.is_empty = false;
        admits
    }
}

/// What an entry takes at most.
pub(crate) fn entry_length(Named { name, entry }: &Named) -> usize {
    let version = entry.version.as_ref().map_or(0, |(version, _)| {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        version.key.as_bytes().len() + text(&version.fingerprint.tag) + text(&version.fingerprint.version_id)
    });
    let texts = name.as_bytes().len() + entry.symlink_target.len() + entry.under_store_uri.len() + version;
    ENTRY_FRAME + texts
}

/// What a job takes at most, without its failures.
pub(crate) fn job_length(job: &v1::Job) -> usize {
    let paths = job.paths.iter().map(|path| path.len() + TEXT_FRAME).sum::<usize>();
    JOB_FRAME + paths + job.reason.len()
}

/// What a failure of a job takes at most.
pub(crate) fn failure_length(failure: &JobFailure) -> usize {
    let path: usize = failure.path.names().iter().map(|name| name.as_bytes().len() + 1).sum();
    TEXT_FRAME + path + failure.reason.len()
}

#[cfg(test)]
mod tests {
    use forebay_proto::Entry;
    use forebay_types::{
        BlockCapability, ByteCount, EntryKind, EntryName, FileId, Fingerprint, Incarnation, InodeId,
        LocalIdentity, MountId, Rights, Timestamp, UnderStoreKey, VersionDescriptor,
    };
    use prost::Message;

    use super::*;

    const LATE: Timestamp = Timestamp::from_nanos(i64::MAX);

    /// An entry whose numbers are as long as numbers can be.
    fn entry() -> Entry {
        let fingerprint = Fingerprint {
            tag: Some("t".repeat(512)),
            version_id: Some("v".repeat(512)),
            length: ByteCount::new(u64::MAX),
            modified: LATE,
            local: Some(LocalIdentity { device: u64::MAX, inode: u64::MAX, changed: LATE }),
        };
        let version = VersionDescriptor {
            file: FileId { incarnation: Incarnation::new(u32::MAX), counter: u64::MAX },
            mount: MountId::new(u32::MAX),
            key: UnderStoreKey::new("k".repeat(1024).into_bytes()).expect("legal"),
            fingerprint,
            block_length: ByteCount::new(1 << 63),
        };
        let capability =
            BlockCapability { key_id: u64::MAX, rights: Rights::Read, expires_at: LATE, mac: [255; 32] };
        Entry {
            inode: InodeId::new(u64::MAX),
            kind: EntryKind::File,
            mode: Some(u32::MAX),
            uid: Some(u32::MAX),
            gid: Some(u32::MAX),
            modified: LATE,
            version: Some((version, capability)),
            symlink_target: vec![b'x'; 4095],
            cached: ByteCount::new(u64::MAX),
            under_store_uri: "u".repeat(9000),
            directory: InodeId::new(u64::MAX),
            own_grant: true,
        }
    }

    #[test]
    fn what_is_reckoned_is_never_less_than_what_is_sent() {
        let named = Named { name: EntryName::new(vec![b'n'; 255]).expect("legal"), entry: entry() };
        let reckoned = entry_length(&named);
        let sent = v1::ListResponse { entries: vec![named.into()], ..v1::ListResponse::default() };
        assert!(sent.encoded_len() <= reckoned, "{} > {reckoned}", sent.encoded_len());

        let number = u64::MAX;
        let job = v1::Job {
            id: number,
            state: i32::MAX,
            paths: vec![vec![b'p'; 4095].into(); 3],
            paths_total: number,
            files_total: number,
            files_done: number,
            files_failed: number,
            files_changed: number,
            bytes_total: number,
            bytes_done: number,
            under_store_bytes: number,
            duration_nanos: number,
            submitted_at_nanos: i64::MAX,
            failures: Vec::new(),
            reason: "r".repeat(512),
            metadata_only: true,
            directories_done: number,
        };
        let reckoned = job_length(&job);
        let sent = v1::ListJobsResponse { jobs: vec![job], ..v1::ListJobsResponse::default() };
        assert!(sent.encoded_len() <= reckoned, "{} > {reckoned}", sent.encoded_len());

        let failure = JobFailure { path: "/a/b".parse().expect("legal"), reason: "r".repeat(512) };
        let reckoned = failure_length(&failure);
        let sent = v1::Job { failures: vec![failure.into()], ..v1::Job::default() };
        assert!(sent.encoded_len() <= reckoned, "{} > {reckoned}", sent.encoded_len());
    }

    #[test]
    fn a_page_ends_at_its_room_but_is_never_empty() {
        let mut room = AnswerRoom::new();
        assert!(room.admits(limits::ANSWER_BYTES_MAX + 1) && !room.admits(1));
        let mut room = AnswerRoom::without(limits::ANSWER_BYTES_MAX - 10);
        assert!(room.admits(6) && room.admits(4) && !room.admits(1));
    }
}
