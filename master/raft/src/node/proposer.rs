//! Packs proposals that wait at the same time into one log entry, and sends each its answer.
//!
//! One task owns the queue. It keeps a bounded number of entries under way; what arrives meanwhile shares the next one.

use std::sync::Arc;

use forebay_metadata::Reply;
use forebay_types::LogIndex;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::RaftError;
use crate::limits::ENTRY_PACKED_LENGTH_MAX;
use crate::node::{NodeRaft, PROPOSAL, leader_hint, timed_out};
use crate::settings::Tuning;
use crate::types::{Callback, EncodedProposal, ProposalBatch, TypeConfig};

/// A proposal that was committed and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// What the state machine answered.
    pub reply: Reply,
    /// The index of the entry that it was part of. Proposals that waited at the same time may share one.
    pub index: LogIndex,
}

pub(super) type Answer = oneshot::Sender<Result<Committed, RaftError>>;

/// One proposal that waits for its entry.
pub(super) struct Waiting {
    pub(super) encoded: EncodedProposal,
    pub(super) deadline: Instant,
    pub(super) answer: Answer,
}

pub(super) struct Proposer {
    raft: NodeRaft,
    queue: mpsc::Receiver<Waiting>,
    /// One that did not fit the entry before.
    carried: Option<Waiting>,
    in_flight: Arc<Semaphore>,
    entry_proposals_max: usize,
}

impl Waiting {
    /// Whether nobody waits for the answer, so that it is not worth an entry.
    fn is_over(&self) -> bool {
        self.answer.is_closed() || self.deadline <= Instant::now()
    }
}

impl Proposer {
    pub(super) fn new(raft: NodeRaft, queue: mpsc::Receiver<Waiting>, tuning: &Tuning) -> Self {
        Self {
            raft,
            queue,
            carried: None,
            in_flight: Arc::new(Semaphore::new(tuning.entries_in_flight_max)),
            entry_proposals_max: tuning.entry_proposals_max,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        // What is still queued is dropped with the queue, which tells its callers.
        let _ = stop.run_until_cancelled_owned(async move { while self.propose_next().await {} }).await;
    }

    /// Proposes one entry; `false` when there will be no more.
    async fn propose_next(&mut self) -> bool {
        let first = match self.carried.take() {
            Some(carried) => carried,
            None => match self.queue.recv().await {
                Some(first) => first,
                None => return false,
            },
        };
        // The wait for a place is what lets proposals gather.
        let Ok(place) = Arc::clone(&self.in_flight).acquire_owned().await else { return false };
        let (proposals, answers) = self.gather(first);
        if proposals.is_empty() {
            return true;
        }
        let done = Callback::new(move |result| {
            drop(place);
            distribute(answers, result);
        });
        // On an error the callback goes, and with it the senders of the answers: the callers see the node stopped.
        self.raft.client_write_ff(ProposalBatch(Arc::from(proposals)), Some(done)).await.is_ok()
    }

    fn gather(&mut self, first: Waiting) -> (Vec<EncodedProposal>, Vec<Answer>) {
        let (mut proposals, mut answers, mut length) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(waiting) = next {
            let longer = length + waiting.encoded.bytes.len();
            if !proposals.is_empty() && longer > ENTRY_PACKED_LENGTH_MAX {
                self.carried = Some(waiting);
                break;
            }
            if waiting.is_over() {
                let _ = waiting.answer.send(Err(timed_out(PROPOSAL)));
            } else {
                length = longer;
                proposals.push(waiting.encoded);
                answers.push(waiting.answer);
            }
            if proposals.len() >= self.entry_proposals_max {
                break;
            }
            next = self.queue.try_recv().ok();
        }
        (proposals, answers)
    }
}

/// Proposes several proposals as one entry: all of them are carried out, or none. `None` when the node stops.
pub(super) async fn propose_as_one(
    raft: &NodeRaft,
    proposals: Vec<EncodedProposal>,
) -> Option<Result<Vec<Committed>, RaftError>> {
    let (answers, waits): (Vec<Answer>, Vec<_>) = proposals.iter().map(|_| oneshot::channel()).unzip();
    let done = Callback::new(move |result| distribute(answers, result));
    raft.client_write_ff(ProposalBatch(Arc::from(proposals)), Some(done)).await.ok()?;
    let mut committed = Vec::with_capacity(waits.len());
    for wait in waits {
        match wait.await.ok()? {
            Ok(one) => committed.push(one),
            Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(committed))
}

/// Gives each proposal of an entry its answer. Callers that are gone are passed over.
fn distribute(answers: Vec<Answer>, result: ClientWriteResult<TypeConfig>) {
    match result {
        Ok(response) => {
            let index = LogIndex::new(response.log_id.index);
            for (answer, reply) in answers.into_iter().zip(response.data.0) {
                let _ = answer.send(Ok(Committed { reply, index }));
            }
        }
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(refused(&error)));
            }
        }
    }
}

fn refused(error: &ClientWriteError<TypeConfig>) -> RaftError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => RaftError::NotLeader { leader: leader_hint(forward) },
        ClientWriteError::LogEntryDiscarded(_) => RaftError::OutcomeUnknown,
        ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_) => {
            RaftError::Unavailable { reason: error.to_string() }
        }
    }
}
