//! Twins of the messages between masters. Only the receiver validates.

use forebay_proto::v1::raft_append_response::Outcome;
use forebay_proto::{WireDefect, v1};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, VoteRequest, VoteResponse,
};
use openraft::vote::RaftLeaderId;

use crate::codec;
use crate::types::{LogId, RaftVote, TypeConfig, log_id};

type Append = AppendEntriesRequest<TypeConfig>;
type Appended = StreamAppendResult<TypeConfig>;

pub(super) fn ballot(vote: &RaftVote) -> v1::RaftBallot {
    v1::RaftBallot { term: vote.leader_id.term(), node: *vote.leader_id.node_id(), committed: vote.committed }
}

pub(super) fn vote(ballot: Option<v1::RaftBallot>) -> Result<RaftVote, WireDefect> {
    let ballot = ballot.ok_or(WireDefect::Missing("ballot"))?;
    Ok(if ballot.committed {
        RaftVote::new_committed(ballot.term, ballot.node)
    } else {
        RaftVote::new(ballot.term, ballot.node)
    })
}

pub(super) fn wire_id(id: &LogId) -> v1::RaftLogId {
    v1::RaftLogId { term: id.leader_id.term, index: id.index }
}

pub(super) fn id(id: v1::RaftLogId) -> LogId {
    log_id(id.term, id.index)
}

pub(super) fn append(envelope: v1::RaftEnvelope, request: &Append) -> v1::RaftAppendRequest {
    v1::RaftAppendRequest {
        envelope: Some(envelope),
        ballot: Some(ballot(&request.vote)),
        previous: request.prev_log_id.as_ref().map(wire_id),
        entries: request.entries.iter().map(|entry| codec::encode_entry(entry).into()).collect(),
        committed: request.leader_commit.as_ref().map(wire_id),
    }
}

pub(super) fn append_request(message: v1::RaftAppendRequest) -> Result<Append, WireDefect> {
    let first = message.previous.as_ref().map_or(0, |previous| previous.index.saturating_add(1));
    let entries = (first..).zip(&message.entries).map(|(index, bytes)| codec::decode_entry(index, bytes));
    let entries = entries.collect::<Result<Vec<_>, _>>();
    Ok(AppendEntriesRequest {
        vote: vote(message.ballot)?,
        prev_log_id: message.previous.map(id),
        entries: entries
            .map_err(|error| WireDefect::Invalid { field: "entries", reason: error.to_string() })?,
        leader_commit: message.committed.map(id),
    })
}

pub(super) fn appended(result: &Appended) -> v1::RaftAppendResponse {
    let outcome = match result {
        Ok(upto) => Outcome::Appended(v1::RaftAppended { upto: upto.as_ref().map(wire_id) }),
        Err(StreamAppendError::Conflict(at)) => Outcome::Conflict(wire_id(at)),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::Outvoted(ballot(vote)),
    };
    v1::RaftAppendResponse { outcome: Some(outcome) }
}

pub(super) fn append_result(message: v1::RaftAppendResponse) -> Result<Appended, WireDefect> {
    Ok(match message.outcome.ok_or(WireDefect::Missing("outcome"))? {
        Outcome::Appended(appended) => Ok(appended.upto.map(id)),
        Outcome::Conflict(at) => Err(StreamAppendError::Conflict(id(at))),
        Outcome::Outvoted(ballot) => Err(StreamAppendError::HigherVote(vote(Some(ballot))?)),
    })
}

pub(super) fn vote_message(
    envelope: v1::RaftEnvelope,
    request: &VoteRequest<TypeConfig>,
    tentative: bool,
) -> v1::RaftVoteRequest {
    v1::RaftVoteRequest {
        envelope: Some(envelope),
        ballot: Some(ballot(&request.vote)),
        last: request.last_log_id.as_ref().map(wire_id),
        tentative,
        transfer: request.leadership_transfer,
    }
}

pub(super) fn vote_request(message: v1::RaftVoteRequest) -> Result<VoteRequest<TypeConfig>, WireDefect> {
    let mut request = VoteRequest::new(vote(message.ballot)?, message.last.map(id));
    request.leadership_transfer = message.transfer;
    Ok(request)
}

pub(super) fn voted(response: &VoteResponse<TypeConfig>) -> v1::RaftVoteResponse {
    v1::RaftVoteResponse {
        ballot: Some(ballot(&response.vote)),
        granted: response.vote_granted,
        last: response.last_log_id.as_ref().map(wire_id),
    }
}

pub(super) fn vote_response(message: v1::RaftVoteResponse) -> Result<VoteResponse<TypeConfig>, WireDefect> {
    Ok(VoteResponse::new(vote(message.ballot)?, message.last.map(id), message.granted))
}
