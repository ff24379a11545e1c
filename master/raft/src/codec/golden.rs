//! The bytes of the log's rows, against the lines of `golden/log.txt`, which are never changed.

use forebay_metadata::golden::{self, Case};
use forebay_types::ErrorKind;

use super::*;
use crate::testing::{batch, mount};

fn membership() -> Membership {
    let node = |number| NodeInfo { address: format!("master-{number}:1"), slot: 300 };
    let nodes = BTreeMap::from([(1, node(1)), (2, node(2)), (301, node(3))]);
    Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2])], nodes).unwrap()
}

fn entry(kind: &str, payload: EntryPayload<ProposalBatch, u64, NodeInfo>) -> Case<'static> {
    let entry = RaftEntry { log_id: log_id(302, 303), payload };
    let bytes = encode_entry(&entry);
    Case::written(format!("entry/{kind}"), bytes, move |bytes| {
        golden::expect(decode_entry(303, bytes), &entry)
    })
}

#[test]
fn the_bytes_of_the_log_are_a_format_and_never_change() {
    let id = log_id(304, 305);
    let stored = StoredMembership::new(Some(id), membership());
    let meta = SnapshotMeta { last_log_id: Some(id), last_membership: stored.clone() };
    let (empty, votes) =
        (SnapshotMeta::default(), [RaftVote::new(306, 307), RaftVote::new_committed(306, 307)]);
    let mut cases = vec![
        entry("Blank", EntryPayload::Blank),
        entry("Proposals", EntryPayload::Normal(batch([mount(1), mount(2)]))),
        entry("Membership", EntryPayload::Membership(membership())),
        Case::written("log-id", encode_log_id(&id), |bytes| golden::expect(decode_log_id("it", bytes), &id)),
        Case::written("node", encode_node(308), |bytes| golden::expect(decode_node(bytes), &308)),
        Case::written("membership", encode_membership(&stored), |bytes| {
            golden::expect(decode_membership(bytes), &stored)
        }),
        Case::written("snapshot", encode_snapshot_meta(&meta), |bytes| {
            golden::expect(decode_snapshot_meta(bytes), &meta)
        }),
        Case::written("snapshot/of-nothing", encode_snapshot_meta(&empty), |bytes| {
            golden::expect(decode_snapshot_meta(bytes), &empty)
        }),
    ];
    for (name, vote) in ["vote", "vote/committed"].into_iter().zip(votes) {
        let read = move |bytes: &[u8]| golden::expect(decode_vote(bytes), &vote);
        cases.push(Case::written(name, encode_vote(&vote), read));
    }
    let kinds = golden::variants::<EntryBody>().iter().map(|kind| format!("entry/{kind}"));
    let kinds: Vec<_> = kinds.collect();
    let mut kinds: Vec<_> = kinds.iter().map(String::as_str).collect();
    kinds.extend(["vote", "log-id", "node", "membership", "snapshot"]);
    golden::check("master/raft/golden/log.txt", include_str!("../../golden/log.txt"), &kinds, &cases);
}

#[test]
fn a_format_that_is_not_known_is_told_from_damage() {
    let mut bytes = encode_entry(&RaftEntry { log_id: log_id(1, 2), payload: EntryPayload::Blank });
    bytes[0] = FORMAT + 1;
    let error = decode_entry(2, &bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().contains("the log entry 2 has format 2") && error.to_string().contains("upgrade"),
        "{error}"
    );
}
