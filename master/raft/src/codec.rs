//! The bytes of log entries, votes and log ids. Our own format, so that no update of openraft changes what lies on disks.
//!
//! Each value is one byte of format, the CRC32C of that and of what follows (little-endian), then postcard; an entry's proposals
//! follow it as they were encoded. Bytes are input: whatever they are, the answer is a value or an error.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use forebay_metadata::{CodecError, Proposal};
use forebay_types::crc32c;
use openraft::EntryPayload;
use openraft::vote::RaftLeaderId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::RaftError;
use crate::types::{
    EncodedProposal, LogId, Membership, NodeInfo, ProposalBatch, RaftEntry, RaftVote, SnapshotMeta,
    StoredMembership, log_id,
};

/// The format that this version writes and the newest that it reads, of entries as of the rest.
const FORMAT: u8 = 1;
const HEADER_LENGTH: usize = 5;

#[derive(Serialize, Deserialize)]
struct EntryRow {
    term: u64,
    index: u64,
    body: EntryBody,
}

#[derive(Serialize, Deserialize)]
enum EntryBody {
    /// A new leader's first entry.
    Blank,
    /// The lengths of the proposals that follow.
    Proposals(Vec<u64>),
    Membership(MembershipRow),
}

#[derive(Serialize, Deserialize)]
struct MembershipRow {
    /// Voters; two sets while one is replaced by the other.
    voters: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, NodeInfo>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct LogIdRow {
    term: u64,
    index: u64,
}

#[derive(Serialize, Deserialize)]
struct VoteRow {
    term: u64,
    node: u64,
    committed: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredMembershipRow {
    at: Option<LogIdRow>,
    membership: MembershipRow,
}

#[derive(Serialize, Deserialize)]
struct SnapshotRow {
    last: Option<LogIdRow>,
    membership: StoredMembershipRow,
}

/// The bytes of an entry.
pub(crate) fn encode_entry(entry: &RaftEntry) -> Vec<u8> {
    let body = match &entry.payload {
        EntryPayload::Blank => EntryBody::Blank,
        EntryPayload::Normal(batch) => {
            EntryBody::Proposals(batch.0.iter().map(|encoded| encoded.bytes.len() as u64).collect())
        }
        EntryPayload::Membership(membership) => EntryBody::Membership(MembershipRow::from(membership)),
    };
    let row = EntryRow { term: entry.log_id.leader_id.term, index: entry.log_id.index, body };
    let mut bytes = begin(&row);
    if let EntryPayload::Normal(batch) = &entry.payload {
        bytes.reserve(batch.length());
        for encoded in batch.0.iter() {
            bytes.extend_from_slice(&encoded.bytes);
        }
    }
    seal(bytes)
}

/// What an entry carries, its proposals still as bytes.
pub(crate) enum EntryParts<'b> {
    Blank,
    Proposals(Vec<&'b [u8]>),
    Membership(Membership),
}

/// Reads what [`encode_entry`] wrote for `index`.
pub(crate) fn decode_entry(index: u64, bytes: &[u8]) -> Result<RaftEntry, RaftError> {
    let (term, parts) = entry_parts(index, bytes)?;
    let payload = match parts {
        EntryParts::Blank => EntryPayload::Blank,
        EntryParts::Proposals(encoded) => EntryPayload::Normal(decode_proposals(index, &encoded)?),
        EntryParts::Membership(membership) => EntryPayload::Membership(membership),
    };
    Ok(RaftEntry { log_id: log_id(term, index), payload })
}

/// The term of an entry, and what it carries.
pub(crate) fn entry_parts(index: u64, bytes: &[u8]) -> Result<(u64, EntryParts<'_>), RaftError> {
    let what = format_args!("the log entry {index}");
    let (row, rest): (EntryRow, &[u8]) = open(what, bytes)?;
    if row.index != index {
        return Err(RaftError::corrupt(what, format_args!("it is the entry {}", row.index)));
    }
    let parts = match row.body {
        EntryBody::Proposals(lengths) => EntryParts::Proposals(split_proposals(what, &lengths, rest)?),
        EntryBody::Blank => nothing_follows(what, rest).map(|()| EntryParts::Blank)?,
        EntryBody::Membership(row) => {
            nothing_follows(what, rest)?;
            EntryParts::Membership(row.membership(what)?)
        }
    };
    Ok((row.term, parts))
}

fn split_proposals<'b>(
    what: fmt::Arguments<'_>,
    lengths: &[u64],
    mut rest: &'b [u8],
) -> Result<Vec<&'b [u8]>, RaftError> {
    let mut proposals = Vec::with_capacity(lengths.len());
    for length in lengths {
        let Some((bytes, behind)) =
            usize::try_from(*length).ok().and_then(|length| rest.split_at_checked(length))
        else {
            return Err(RaftError::corrupt(what, "it ends within a proposal"));
        };
        proposals.push(bytes);
        rest = behind;
    }
    nothing_follows(what, rest)?;
    Ok(proposals)
}

fn decode_proposals(index: u64, encoded: &[&[u8]]) -> Result<ProposalBatch, RaftError> {
    let what = format_args!("the log entry {index}");
    let decode = |bytes: &&[u8]| {
        let proposal = Proposal::decode(bytes).map_err(|error| match error {
            CodecError::UnknownCommand { number, known } => {
                RaftError::UnknownCommand { what: what.to_string(), number, known }
            }
            error => RaftError::corrupt(what, error),
        })?;
        Ok(EncodedProposal { proposal, bytes: bytes.to_vec() })
    };
    let proposals = encoded.iter().map(decode).collect::<Result<Vec<_>, RaftError>>()?;
    Ok(ProposalBatch(Arc::from(proposals)))
}

/// The bytes of a vote.
pub(crate) fn encode_vote(vote: &RaftVote) -> Vec<u8> {
    let leader = vote.leader_id;
    seal(begin(&VoteRow { term: leader.term(), node: *leader.node_id(), committed: vote.committed }))
}

/// Reads what [`encode_vote`] wrote.
pub(crate) fn decode_vote(bytes: &[u8]) -> Result<RaftVote, RaftError> {
    let row: VoteRow = open_whole(format_args!("the vote"), bytes)?;
    Ok(if row.committed {
        RaftVote::new_committed(row.term, row.node)
    } else {
        RaftVote::new(row.term, row.node)
    })
}

/// The bytes of a log id.
pub(crate) fn encode_log_id(id: &LogId) -> Vec<u8> {
    seal(begin(&LogIdRow::from(id)))
}

/// Reads what [`encode_log_id`] wrote.
pub(crate) fn decode_log_id(what: &str, bytes: &[u8]) -> Result<LogId, RaftError> {
    open_whole::<LogIdRow>(format_args!("{what}"), bytes).map(LogId::from)
}

/// The bytes of a node's own id.
pub(crate) fn encode_node(node: u64) -> Vec<u8> {
    seal(begin(&node))
}

/// Reads what [`encode_node`] wrote.
pub(crate) fn decode_node(bytes: &[u8]) -> Result<u64, RaftError> {
    open_whole(format_args!("the node id"), bytes)
}

/// The bytes of the last applied membership.
pub(crate) fn encode_membership(membership: &StoredMembership) -> Vec<u8> {
    seal(begin(&StoredMembershipRow::from(membership)))
}

/// Reads what [`encode_membership`] wrote.
pub(crate) fn decode_membership(bytes: &[u8]) -> Result<StoredMembership, RaftError> {
    let what = format_args!("the membership");
    open_whole::<StoredMembershipRow>(what, bytes)?.stored(what)
}

/// The bytes of what a snapshot covers.
pub(crate) fn encode_snapshot_meta(meta: &SnapshotMeta) -> Vec<u8> {
    let last = meta.last_log_id.as_ref().map(LogIdRow::from);
    seal(begin(&SnapshotRow { last, membership: StoredMembershipRow::from(&meta.last_membership) }))
}

/// Reads what [`encode_snapshot_meta`] wrote.
pub(crate) fn decode_snapshot_meta(bytes: &[u8]) -> Result<SnapshotMeta, RaftError> {
    let what = format_args!("a snapshot's description");
    let row: SnapshotRow = open_whole(what, bytes)?;
    Ok(SnapshotMeta { last_log_id: row.last.map(LogId::from), last_membership: row.membership.stored(what)? })
}

/// Format, room for the checksum, and the row.
fn begin<T: Serialize>(row: &T) -> Vec<u8> {
    let header = vec![FORMAT, 0, 0, 0, 0];
    postcard::to_extend(row, header).expect("rows are plain data, and a vector has room for them")
}

/// Fills in the checksum.
fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let (header, content) = bytes.split_at_mut(HEADER_LENGTH);
    let checksum = checksum(header[0], content);
    header[1..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn checksum(format: u8, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[format]), content)
}

/// The row, and the bytes that follow it.
fn open<'a, T: DeserializeOwned>(
    what: fmt::Arguments<'_>,
    bytes: &'a [u8],
) -> Result<(T, &'a [u8]), RaftError> {
    let Some(([format, checksum @ ..], content)) = bytes.split_first_chunk::<HEADER_LENGTH>() else {
        return Err(RaftError::corrupt(what, format_args!("{} bytes are too few", bytes.len())));
    };
    if *format > FORMAT {
        return Err(RaftError::NewerFormat { what: what.to_string(), found: *format, known: FORMAT });
    }
    if self::checksum(*format, content) != u32::from_le_bytes(*checksum) {
        return Err(RaftError::corrupt(what, "its checksum does not fit its bytes"));
    }
    if *format == 0 {
        return Err(RaftError::corrupt(what, "there is no format 0"));
    }
    postcard::take_from_bytes(content).map_err(|error| RaftError::corrupt(what, error))
}

fn open_whole<T: DeserializeOwned>(what: fmt::Arguments<'_>, bytes: &[u8]) -> Result<T, RaftError> {
    let (row, rest) = open(what, bytes)?;
    nothing_follows(what, rest).map(|()| row)
}

fn nothing_follows(what: fmt::Arguments<'_>, rest: &[u8]) -> Result<(), RaftError> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(RaftError::corrupt(what, format_args!("{} bytes follow its end", rest.len())))
}

impl From<&LogId> for LogIdRow {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<LogIdRow> for LogId {
    fn from(row: LogIdRow) -> Self {
        log_id(row.term, row.index)
    }
}

impl From<&Membership> for MembershipRow {
    fn from(membership: &Membership) -> Self {
        Self {
            voters: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(node, info)| (*node, info.clone())).collect(),
        }
    }
}

impl MembershipRow {
    fn membership(self, what: fmt::Arguments<'_>) -> Result<Membership, RaftError> {
        Membership::new(self.voters, self.nodes).map_err(|error| RaftError::corrupt(what, error))
    }
}

impl From<&StoredMembership> for StoredMembershipRow {
    fn from(stored: &StoredMembership) -> Self {
        Self { at: stored.log_id().as_ref().map(LogIdRow::from), membership: stored.membership().into() }
    }
}

impl StoredMembershipRow {
    fn stored(self, what: fmt::Arguments<'_>) -> Result<StoredMembership, RaftError> {
        Ok(StoredMembership::new(self.at.map(LogId::from), self.membership.membership(what)?))
    }
}

#[cfg(test)]
mod golden;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, mount};

    fn node(number: u64) -> NodeInfo {
        NodeInfo { address: format!("master-{number}:1"), slot: 3 }
    }

    fn membership() -> Membership {
        let nodes = BTreeMap::from([(1, node(1)), (2, node(2)), (3, node(3))]);
        Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2])], nodes).unwrap()
    }

    fn entries() -> Vec<RaftEntry> {
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(batch([])),
            EntryPayload::Normal(batch([mount(1), mount(2)])),
            EntryPayload::Membership(membership()),
        ];
        (10..).zip(payloads).map(|(index, payload)| RaftEntry { log_id: log_id(3, index), payload }).collect()
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        for entry in entries() {
            assert_eq!(decode_entry(entry.log_id.index, &encode_entry(&entry)).unwrap(), entry);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_an_entry_is_found() {
        for entry in entries() {
            let whole = encode_entry(&entry);
            for bit in 0..whole.len() * 8 {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let error = decode_entry(entry.log_id.index, &bytes).unwrap_err();
                assert_eq!(error.kind(), forebay_types::ErrorKind::Corrupt, "bit {bit}: {error}");
            }
        }
    }

    #[test]
    fn a_torn_entry_is_an_error_that_names_it() {
        for entry in entries() {
            let whole = encode_entry(&entry);
            for length in 0..whole.len() {
                let error = decode_entry(entry.log_id.index, &whole[..length]).unwrap_err();
                assert!(
                    error.to_string().contains(&format!("the log entry {}", entry.log_id.index)),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn an_entry_at_another_index_is_refused() {
        let entry = &entries()[0];
        let error = decode_entry(11, &encode_entry(entry)).unwrap_err();
        assert_eq!(error.to_string(), "the log entry 11 is corrupt: it is the entry 10");
    }

    #[test]
    fn lengths_that_are_not_those_of_the_proposals_are_refused() {
        let lengths = |lengths| {
            let row = EntryRow { term: 1, index: 1, body: EntryBody::Proposals(lengths) };
            decode_entry(1, &seal(begin(&row))).unwrap_err().to_string()
        };
        assert!(lengths(vec![u64::MAX]).contains("it ends within a proposal"));
        assert!(lengths(vec![0]).contains("no bytes"));
    }

    #[test]
    fn a_newer_format_asks_for_an_upgrade() {
        let mut bytes = encode_vote(&RaftVote::new(1, 2));
        bytes[0] = FORMAT + 1;
        let error = decode_vote(&bytes).unwrap_err();
        assert!(matches!(error, RaftError::NewerFormat { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn votes_memberships_and_descriptions_are_read_as_they_were_written() {
        for vote in [RaftVote::new(4, 2), RaftVote::new_committed(5, 1)] {
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }
        for stored in [StoredMembership::default(), StoredMembership::new(Some(log_id(1, 2)), membership())] {
            assert_eq!(decode_membership(&encode_membership(&stored)).unwrap(), stored);
            let meta = SnapshotMeta { last_log_id: Some(log_id(8, 9)), last_membership: stored };
            assert_eq!(decode_snapshot_meta(&encode_snapshot_meta(&meta)).unwrap(), meta);
        }
        assert_eq!(decode_node(&encode_node(77)).unwrap(), 77);
    }
}
