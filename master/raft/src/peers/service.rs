//! `forebay.v1.Raft`: what other masters say to this one.

use std::sync::{Arc, OnceLock};

use forebay_proto::v1;
use forebay_proto::v1::raft_server::{Raft as RaftRpc, RaftServer};
use forebay_types::ErrorKind;
use futures::stream::BoxStream;
use futures::{StreamExt, future, stream};
use openraft::raft::TransferLeaderRequest;
use tokio::sync::Mutex;
use tonic::{Request, Response, Status, Streaming};

use crate::codec;
use crate::limits::PEER_MESSAGE_LENGTH_MAX;
use crate::node::NodeRaft;
use crate::peers::silence::VotingSilence;
use crate::peers::{Peers, incoming, wire};
use crate::snapshot::{SnapshotShelf, SnapshotSource};
use crate::types::Snapshot;

/// The service of one node.
#[derive(Debug)]
pub struct RaftService {
    raft: NodeRaft,
    peers: Peers,
    shelf: Arc<SnapshotShelf>,
    /// One snapshot is taken in at a time.
    receiving: Mutex<()>,
    silence: VotingSilence,
}

impl RaftService {
    pub(crate) fn new(
        raft: NodeRaft,
        peers: Peers,
        shelf: Arc<SnapshotShelf>,
        silence: VotingSilence,
    ) -> RaftServer<Self> {
        RaftServer::new(Self { raft, peers, shelf, receiving: Mutex::default(), silence })
            .max_decoding_message_size(PEER_MESSAGE_LENGTH_MAX)
            .max_encoding_message_size(PEER_MESSAGE_LENGTH_MAX)
    }

    fn check(&self, envelope: Option<&v1::RaftEnvelope>) -> Result<(), Status> {
        match self.peers.refuses(envelope) {
            None => Ok(()),
            Some(reason) => Err(forebay_proto::to_status(ErrorKind::InvalidArgument, reason)),
        }
    }
}

#[tonic::async_trait]
impl RaftRpc for RaftService {
    type AppendStream = BoxStream<'static, Result<v1::RaftAppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<v1::RaftAppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let wrong = Arc::new(OnceLock::new());
        let (peers, found) = (self.peers.clone(), Arc::clone(&wrong));
        let requests = request.into_inner().map(move |message| {
            let message = message?;
            if let Some(reason) = peers.refuses(message.envelope.as_ref()) {
                return Err(forebay_proto::to_status(ErrorKind::InvalidArgument, reason));
            }
            wire::append_request(message).map_err(Status::from)
        });
        // The first message that is wrong ends the stream, after the answers to those before it.
        let requests = requests.scan(found, |found, message| {
            future::ready(message.map_err(|status: Status| drop(found.set(status))).ok())
        });
        let answers = self.raft.stream_append(Box::pin(requests));
        let answers = answers.map(|answer| match answer {
            Ok(result) => Ok(wire::appended(&result)),
            Err(fatal) => Err(forebay_proto::to_status(ErrorKind::Unavailable, fatal.to_string())),
        });
        let last = stream::once(async move { wrong.get().cloned() });
        let last = last.filter_map(|status| future::ready(status.map(Err)));
        Ok(Response::new(answers.chain(last).boxed()))
    }

    async fn vote(
        &self,
        request: Request<v1::RaftVoteRequest>,
    ) -> Result<Response<v1::RaftVoteResponse>, Status> {
        let message = request.into_inner();
        self.check(message.envelope.as_ref())?;
        let tentative = message.tentative;
        let request = wire::vote_request(message)?;
        // Where the leader itself asked for an election it counts on nothing any more.
        if !request.leadership_transfer && !self.silence.is_over() {
            let reason =
                "this master has just started, and may have promised its vote to a leader".to_owned();
            return Err(forebay_proto::to_status(ErrorKind::Unavailable, reason));
        }
        let answer =
            if tentative { self.raft.pre_vote(request).await } else { self.raft.vote(request).await };
        let answer =
            answer.map_err(|error| forebay_proto::to_status(ErrorKind::Unavailable, error.to_string()))?;
        Ok(Response::new(wire::voted(&answer)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::RaftSnapshotPiece>>,
    ) -> Result<Response<v1::RaftSnapshotResponse>, Status> {
        let mut pieces = request.into_inner();
        let head = pieces.message().await?.and_then(|piece| piece.head);
        let head = head.ok_or(forebay_proto::WireDefect::Missing("head"))?;
        self.check(head.envelope.as_ref())?;
        let vote = wire::vote(head.ballot)?;
        let meta =
            codec::decode_snapshot_meta(&head.description).map_err(|error| incoming::refused(&error))?;
        let Ok(_one) = self.receiving.try_lock() else {
            let reason = "another snapshot is being taken in".to_owned();
            return Err(forebay_proto::to_status(ErrorKind::Busy, reason));
        };
        tracing::info!(index = meta.last_log_id.map_or(0, |id| id.index), "a snapshot is taken in");
        let received = incoming::receive(&self.shelf, pieces).await;
        let received = received.map_err(|error| incoming::refused(&error))?;
        if *received.meta() != meta {
            let reason = "the snapshot is not the one that was announced".to_owned();
            return Err(forebay_proto::to_status(ErrorKind::Corrupt, reason));
        }
        let snapshot = Snapshot { meta, snapshot: SnapshotSource::Received(received) };
        let answer = self.raft.install_full_snapshot(vote, snapshot).await;
        let answer =
            answer.map_err(|error| forebay_proto::to_status(ErrorKind::Unavailable, error.to_string()))?;
        Ok(Response::new(v1::RaftSnapshotResponse { ballot: Some(wire::ballot(&answer.vote)) }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::RaftTransferRequest>,
    ) -> Result<Response<v1::RaftTransferResponse>, Status> {
        let message = request.into_inner();
        self.check(message.envelope.as_ref())?;
        let to = *self.raft.node_id();
        let request = TransferLeaderRequest::new(wire::vote(message.ballot)?, to, message.last.map(wire::id));
        let answer = self.raft.handle_transfer_leader(request).await;
        let answer =
            answer.map_err(|error| forebay_proto::to_status(ErrorKind::Unavailable, error.to_string()))?;
        let refused = answer.err().map_or_else(String::new, |error| error.to_string());
        Ok(Response::new(v1::RaftTransferResponse { refused }))
    }
}
