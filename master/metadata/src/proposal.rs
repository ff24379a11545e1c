//! What goes into one entry of the replicated log, and its bytes.
//!
//! Format: one byte of [`PROPOSAL_FORMAT`], then postcard. The bytes lie on disks and cross versions, so fields are
//! never changed, only the format's number is raised or a command appended.

use forebay_types::{Sequence, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::reply::{self, CodecError};

/// The format that this version writes and the newest that it reads.
pub const PROPOSAL_FORMAT: u8 = 1;

/// One wish, stamped by the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The leader's clock when it proposed. The state's own clock never goes back, whatever stands here.
    pub issued_at: Timestamp,
    /// Whose mutation it is; `None` for the master's own.
    pub session: Option<SessionStamp>,
    /// What is to be done.
    pub command: Command,
}

/// Tells a retry from a new mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStamp {
    /// The client's session. It begins with the first mutation that names it.
    pub session: SessionId,
    /// The number of this mutation in its session, from 1.
    pub sequence: Sequence,
    /// Everything below this was answered, so the replies remembered for it can go.
    pub lowest_unanswered: Sequence,
}

impl Proposal {
    /// The bytes for the log.
    ///
    /// # Errors
    /// [`CodecError::TooLong`] beyond [`PROPOSAL_LENGTH_MAX`](crate::limits::PROPOSAL_LENGTH_MAX).
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let bytes = reply::encode(PROPOSAL_FORMAT, self)?;
        if bytes.len() > crate::limits::PROPOSAL_LENGTH_MAX {
            return Err(CodecError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads what [`Proposal::encode`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] when the format is newer or the bytes are no proposal.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        reply::decode(PROPOSAL_FORMAT, bytes).map_err(|error| unknown_command(bytes).unwrap_or(error))
    }
}

/// Of bytes that are no proposal to this version: whether a later version would read them.
fn unknown_command(bytes: &[u8]) -> Option<CodecError> {
    let (_, content) = reply::format_of(PROPOSAL_FORMAT, bytes).ok()?;
    // What stands before the command, and its number.
    let (beginning, _) = postcard::take_from_bytes::<(Timestamp, Option<SessionStamp>, u32)>(content).ok()?;
    let (_, _, number) = beginning;
    (number > Command::NUMBER_MAX)
        .then_some(CodecError::UnknownCommand { number, known: Command::NUMBER_MAX })
}
