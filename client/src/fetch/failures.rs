//! What the workers of one pass met, and what of that decides and is told: whether another pass is worth it, and the
//! error for a person.

use forebay_proto::WireError;
use forebay_types::{ErrorKind, WorkerEntry, WorkerState};

use super::POLICY;
use crate::error::ClientError;
use crate::limits::{OWNERS_PER_PASS_MAX, REFUSALS_PER_PASS_MAX};
use crate::retry::may_pass;

/// How a pass over the workers failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// What says most to a person.
    pub(super) error: ClientError,
    /// What decides whether another pass is worth it: of another failure, where that one may pass.
    pub(super) kind: ErrorKind,
}

/// What the workers of one pass met.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The first one that may pass, of a worker that counts as live, or of any.
    passing: Option<(ErrorKind, WorkerState, ClientError)>,
    /// The most telling one that will not pass.
    lasting: Option<ClientError>,
    passing_count: usize,
    lasting_count: usize,
}

impl Failures {
    /// A worker failed in a way that another one may not.
    pub(super) fn add(&mut self, worker: &WorkerEntry, error: ClientError) {
        let kind = error.kind();
        if may_pass(POLICY, kind) {
            self.passing_count += 1;
            let is_better = self
                .passing
                .as_ref()
                .is_none_or(|(_, state, _)| *state != WorkerState::Live && worker.state == WorkerState::Live);
            if is_better {
                self.passing = Some((kind, worker.state, error));
            }
            return;
        }
        self.lasting_count += 1;
        if self.lasting.as_ref().is_none_or(|lasting| kind.telling() > lasting.kind().telling()) {
            self.lasting = Some(error);
        }
    }

    /// Whether so many failed that no more are asked in this pass.
    pub(super) const fn are_enough(&self) -> bool {
        self.passing_count >= OWNERS_PER_PASS_MAX || self.lasting_count >= REFUSALS_PER_PASS_MAX
    }

    /// What will not pass says more than what may, which a dead worker says too. It is final when no worker that
    /// counts as live may do better; maintenance, which is the same for all workers, in any case.
    pub(super) fn most_telling(self) -> Failed {
        match (self.lasting, self.passing) {
            (Some(error), _) if error.kind() == ErrorKind::Maintenance => error.into(),
            (Some(error), Some((kind, WorkerState::Live, _))) => Failed { error, kind },
            (Some(error), _) | (None, Some((_, _, error))) => error.into(),
            (None, None) => {
                ClientError::from(WireError::new(ErrorKind::Unavailable, "no worker is registered")).into()
            }
        }
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        Self { kind: error.kind(), error }
    }
}
