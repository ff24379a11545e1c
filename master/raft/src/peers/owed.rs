//! Requests to a follower that are not answered yet, so that no answer counts for a request that it is not to.
//!
//! openraft notes when a request was sent, and takes an answer for one to all requests that end at the same entry or
//! before. After an entry it may send, with the next commit, a request without entries, which ends at that entry, too. The
//! answer to the one before would then tell it that the follower heard of its leader later than it did, and a lease or a
//! read would rest on that. So such an answer is held back: that of the request without entries says the same.

use std::collections::VecDeque;
use std::sync::Arc;

use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;

use crate::types::{LogId, TypeConfig};

/// The requests of one stream, in their order. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Owed(Arc<Mutex<VecDeque<Sent>>>);

#[derive(Clone, Copy, Debug)]
struct Sent {
    last: Option<LogId>,
    has_entries: bool,
}

impl Owed {
    /// A request is on its way.
    pub(super) fn sent(&self, request: &AppendEntriesRequest<TypeConfig>) {
        let last = request.entries.last().map_or(request.prev_log_id, |entry| Some(entry.log_id));
        self.0.lock().push_back(Sent { last, has_entries: !request.entries.is_empty() });
    }

    /// Whether an answer is waited for.
    pub(super) fn is_any(&self) -> bool {
        !self.0.lock().is_empty()
    }

    /// The oldest request was answered; whether that may be told, and is not to be left to the next answer.
    pub(super) fn answered(&self) -> bool {
        let mut owed = self.0.lock();
        let (answered, next) = (owed.pop_front(), owed.front());
        !answered
            .zip(next.copied())
            .is_some_and(|(answered, next)| !next.has_entries && next.last == answered.last)
    }
}

#[cfg(test)]
mod tests {
    use openraft::entry::RaftEntry as _;

    use super::*;
    use crate::types::{RaftEntry, RaftVote, log_id};

    fn request(prev: u64, entries: &[u64]) -> AppendEntriesRequest<TypeConfig> {
        AppendEntriesRequest {
            vote: RaftVote::new_committed(1, 1),
            prev_log_id: Some(log_id(1, prev)),
            entries: entries.iter().map(|index| RaftEntry::new_blank(log_id(1, *index))).collect(),
            leader_commit: None,
        }
    }

    #[test]
    fn an_answer_waits_for_that_to_a_later_request_that_ends_at_the_same_entry() {
        let owed = Owed::default();
        assert!(!owed.is_any());
        owed.sent(&request(1, &[2, 3]));
        owed.sent(&request(3, &[]));
        owed.sent(&request(3, &[]));
        owed.sent(&request(3, &[4]));
        assert!(!owed.answered(), "the follower may not have heard of the second one");
        assert!(!owed.answered());
        assert!(owed.answered(), "the fourth one ends elsewhere");
        assert!(owed.answered() && !owed.is_any());
    }

    #[test]
    fn an_answer_that_no_request_without_entries_follows_is_told_at_once() {
        let owed = Owed::default();
        owed.sent(&request(1, &[2]));
        owed.sent(&request(2, &[3]));
        assert!(owed.answered());
        owed.sent(&request(3, &[4]));
        assert!(owed.answered() && owed.answered());
    }
}
