//! Deletes rows of the outbox that are done.

use forebay_types::OutboxSequence;
use serde::{Deserialize, Serialize};

use crate::limits::OUTBOX_TRIM_MAX;
use crate::reply::{Reply, Success};
use crate::state::{Transition, trim};
use crate::store::StoreError;

/// All rows up to one are done. Repeated, or late, it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimOutbox {
    /// The last of them.
    pub through: OutboxSequence,
}

impl TrimOutbox {
    pub(crate) fn apply(&self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let (rows, more) = trim(state, self.through, OUTBOX_TRIM_MAX)?;
        Ok(Ok(Success::OutboxTrimmed { rows, more }))
    }
}

#[cfg(test)]
mod tests;
