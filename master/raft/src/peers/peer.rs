//! What this master says to one other.

use std::fmt::Display;
use std::future::Future;
use std::io::Read;

use forebay_proto::{WireError, v1};
use forebay_types::ErrorKind;
use futures::{Stream, StreamExt, stream};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::codec;
use crate::limits::{
    PEER_ANSWER_TIMEOUT, PEER_RETRY_PAUSE, PEER_STALL_TIMEOUT, SNAPSHOT_INSTALL_TIMEOUT,
    SNAPSHOT_PIECE_LENGTH, SNAPSHOT_PIECES_AHEAD_MAX,
};
use crate::peers::owed::Owed;
use crate::peers::{Peers, wire};
use crate::snapshot::SnapshotSource;
use crate::types::{RaftVote, Snapshot, TypeConfig};

type Failure = RPCError<TypeConfig>;
type Outcome = Result<StreamAppendResult<TypeConfig>, Failure>;

/// One other master.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(super) peers: Peers,
    pub(super) target: u64,
    pub(super) address: String,
}

impl Peer {
    fn envelope(&self) -> Result<v1::RaftEnvelope, Failure> {
        self.peers
            .envelope(self.target)
            .ok_or_else(|| Unreachable::from_string("this master belongs to no cluster yet").into())
    }

    fn client(&self) -> Result<v1::raft_client::RaftClient<tonic::transport::Channel>, Failure> {
        self.peers.client(&self.address).map_err(|error| Unreachable::from_string(error).into())
    }

    fn timed_out(&self, what: &str) -> Failure {
        Failure::Network(NetworkError::from_string(format!(
            "node {} at {} did not answer {what} in time",
            self.target, self.address
        )))
    }

    /// Asks once, and waits no longer than an election can.
    async fn ask<T>(
        &self,
        what: &str,
        asked: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(PEER_ANSWER_TIMEOUT, asked).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(failure),
            Err(_) => Err(self.timed_out(what)),
        }
    }

    async fn ask_vote(
        &self,
        request: &VoteRequest<TypeConfig>,
        tentative: bool,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        let (mut client, message) =
            (self.client()?, wire::vote_message(self.envelope()?, request, tentative));
        let answer = self.ask("a request for its vote", client.vote(message)).await?;
        wire::vote_response(answer).map_err(defect)
    }

    async fn append<S>(self, input: S) -> Result<BoxStream<'static, Outcome>, Failure>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let (mut client, envelope) = (self.client()?, self.envelope()?);
        let owed = Owed::default();
        let sent = owed.clone();
        let requests = input.map(move |request| {
            sent.sent(&request);
            wire::append(envelope.clone(), &request)
        });
        let answers = self.ask("to entries", client.append(requests)).await?;
        let watched = Answers { peer: self, answers, owed };
        Ok(Box::pin(stream::unfold(Some(watched), |watched| async move {
            let mut watched = watched?;
            let outcome = watched.next().await?;
            // Whatever is not taken ends the stream.
            let goes_on = matches!(outcome, Ok(Ok(_)));
            Some((outcome, goes_on.then_some(watched)))
        })))
    }
}

/// The answers to requests that are on their way. One that lets wait for it too long ends them.
struct Answers {
    peer: Peer,
    answers: Streaming<v1::RaftAppendResponse>,
    owed: Owed,
}

impl Answers {
    async fn next(&mut self) -> Option<Outcome> {
        loop {
            let owed = self.owed.is_any();
            match tokio::time::timeout(PEER_STALL_TIMEOUT, self.answers.message()).await {
                Ok(Ok(Some(message))) => {
                    let (outcome, is_told) =
                        (wire::append_result(message).map_err(defect), self.owed.answered());
                    if is_told || !matches!(outcome, Ok(Ok(_))) {
                        return Some(outcome);
                    }
                }
                Ok(Ok(None)) => return None,
                Ok(Err(status)) => return Some(Err(failure(status))),
                // Nothing came since nothing was asked, or was asked a moment ago.
                Err(_) if !owed => {}
                Err(_) => return Some(Err(self.peer.timed_out("entries"))),
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotSource;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        let mut answers = self.clone().append(stream::iter([rpc])).await?;
        let answer = tokio::time::timeout(PEER_ANSWER_TIMEOUT, answers.next()).await;
        match answer {
            Ok(Some(outcome)) => outcome.map(AppendEntriesResponse::from),
            Ok(None) | Err(_) => Err(self.timed_out("entries")),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Outcome>, Failure>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let peer = self.clone();
        Box::pin(async move {
            match peer.append(input).await {
                Ok(answers) => Ok(answers as BoxStream<'s, Outcome>),
                Err(error) => {
                    // openraft would ask again at once, and for as long as the other is away.
                    tokio::time::sleep(PEER_RETRY_PAUSE).await;
                    Err(error)
                }
            }
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        self.ask_vote(&rpc, false).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        self.ask_vote(&rpc, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: Snapshot<SnapshotSource>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let head = v1::RaftSnapshotHead {
            envelope: Some(self.envelope()?),
            ballot: Some(wire::ballot(&vote)),
            description: codec::encode_snapshot_meta(&snapshot.meta).into(),
        };
        let SnapshotSource::Stream(source) = snapshot.snapshot else {
            let error = Unreachable::from_string("a snapshot that was received is not sent on");
            return Err(StreamingError::Unreachable(error));
        };
        let mut client = self.client()?;
        let sent = client.install_snapshot(pieces(head, source));
        let sent = tokio::time::timeout(SNAPSHOT_INSTALL_TIMEOUT, sent);
        let answer = tokio::select! {
            closed = cancel => return Err(closed.into()),
            answer = sent => answer.map_err(|_| self.timed_out("a snapshot"))?,
        };
        let answer = answer.map_err(failure)?.into_inner();
        Ok(SnapshotResponse::new(wire::vote(answer.ballot).map_err(defect)?))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Failure> {
        let message = v1::RaftTransferRequest {
            envelope: Some(self.envelope()?),
            ballot: Some(wire::ballot(request.from_leader())),
            last: request.last_log_id().map(wire::wire_id),
        };
        let mut client = self.client()?;
        let answer = self.ask("to lead", client.transfer_leader(message)).await?;
        if answer.refused.is_empty() {
            return Ok(Ok(()));
        }
        // openraft only logs it.
        Err(Failure::Network(NetworkError::from_string(answer.refused)))
    }
}

/// The snapshot in pieces, read on a thread that may block, a few pieces ahead of the peer.
fn pieces(
    head: v1::RaftSnapshotHead,
    mut source: Box<dyn Read + Send>,
) -> impl Stream<Item = v1::RaftSnapshotPiece> + Send {
    let (sender, receiver) = mpsc::channel(SNAPSHOT_PIECES_AHEAD_MAX);
    tokio::task::spawn_blocking(move || {
        let first = v1::RaftSnapshotPiece { head: Some(head), data: bytes::Bytes::new() };
        let mut next = Some(first);
        while let Some(piece) = next.take() {
            if sender.blocking_send(piece).is_err() {
                return;
            }
            let mut data = Vec::with_capacity(SNAPSHOT_PIECE_LENGTH);
            match source.by_ref().take(SNAPSHOT_PIECE_LENGTH as u64).read_to_end(&mut data) {
                // The archive knows its own end; a stream that ends before it is refused by whoever receives it.
                Ok(0) => {}
                Ok(_) => next = Some(v1::RaftSnapshotPiece { head: None, data: data.into() }),
                Err(error) => tracing::warn!(%error, "a snapshot cannot be read to be sent"),
            }
        }
    });
    stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}

/// How openraft takes what a call said. A master that is not there, or not the one that was meant, is left alone for a
/// while.
fn failure(status: Status) -> Failure {
    let error = WireError::from(status);
    match error.kind {
        ErrorKind::Unavailable | ErrorKind::InvalidArgument | ErrorKind::Unsupported => {
            Unreachable::from_string(error).into()
        }
        _ => NetworkError::from_string(error).into(),
    }
}

fn defect(defect: impl Display) -> Failure {
    NetworkError::from_string(defect).into()
}
