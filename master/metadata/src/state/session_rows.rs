//! Sessions: which mutations of a client were applied, and what was answered.
//!
//! A session has one row of its own, and one row for each reply that is remembered: a mutation then writes little,
//! however many are remembered.

use forebay_types::{ErrorKind, Sequence, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::reply::{Rejection, Reply, Success};
use crate::store::Table;

/// A session's own row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    /// When it last sent a mutation, by the state's clock.
    pub(crate) last_used: Timestamp,
    /// Replies below this are no longer remembered.
    pub(crate) lowest_unanswered: Sequence,
}

/// What is remembered of one reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RememberedReply {
    /// All of it.
    Whole(Reply),
    /// That it was a success; the reply was too large.
    Done,
    /// Why it was refused, in one word; the reply was too large.
    Refused(ErrorKind),
}

/// A session as `admin` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its id.
    pub session: SessionId,
    /// When it last sent a mutation, by the state's clock.
    pub last_used: Timestamp,
    /// The lowest mutation that the client had no answer to.
    pub lowest_unanswered: Sequence,
}

impl Record for SessionRow {
    const TABLE: Table = Table::Sessions;
}

impl Record for RememberedReply {
    const TABLE: Table = Table::Sessions;
}

impl RememberedReply {
    /// What a retry is answered.
    pub(crate) fn into_reply(self) -> Reply {
        match self {
            Self::Whole(reply) => reply,
            Self::Done => Ok(Success::DoneBefore),
            Self::Refused(kind) => Err(Rejection::RefusedBefore { kind }),
        }
    }
}

/// The key of a session's own row: 8 bytes.
pub(crate) fn session_key(session: SessionId) -> Vec<u8> {
    session.get().to_be_bytes().to_vec()
}

/// The key of a remembered reply: the session's 8 bytes and the sequence's.
pub(crate) fn reply_key(session: SessionId, sequence: Sequence) -> Vec<u8> {
    let mut key = session_key(session);
    key.extend_from_slice(&sequence.get().to_be_bytes());
    key
}
