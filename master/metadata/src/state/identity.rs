//! Who the state belongs to, and the feature level that all of its masters keep to.
//!
//! Format 1 of the row has no level and means [`FEATURE_LEVEL_FIRST`]. A state of that level is written in format 1, so
//! that versions from before there were levels read it until the operator raises the level; from then on they say that
//! they are too old.

use std::fmt;

use forebay_types::{ClusterId, Incarnation, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::{Record, encode_as, read};
use crate::level::{FEATURE_LEVEL, FEATURE_LEVEL_FIRST};
use crate::reply::{self, CodecError};
use crate::store::{Mutation, StateReader, StoreError, Table};

/// Who this state belongs to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// Which life of its state this is.
    pub incarnation: Incarnation,
    /// What block capabilities are signed with. Debug output hides it.
    pub capability_secret: [u8; 32],
    /// When the state was formatted.
    pub formatted_at: Timestamp,
    /// Up to which level commands may be logged. Never goes down.
    pub feature_level: u32,
}

/// A row of format 1.
#[derive(Serialize, Deserialize)]
struct IdentityBefore {
    cluster: ClusterId,
    incarnation: Incarnation,
    capability_secret: [u8; 32],
    formatted_at: Timestamp,
}

impl Record for ClusterIdentity {
    const TABLE: Table = Table::Counters;
    const FORMAT: u8 = 2;

    fn decode(format: u8, content: &[u8]) -> Result<Self, CodecError> {
        match format {
            1 => reply::decode_content::<IdentityBefore>(content).map(Self::from),
            _ => reply::decode_content(content),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let Self { cluster, incarnation, capability_secret, formatted_at, feature_level } = *self;
        if feature_level == FEATURE_LEVEL_FIRST {
            return encode_as(1, &IdentityBefore { cluster, incarnation, capability_secret, formatted_at });
        }
        encode_as(Self::FORMAT, self)
    }
}

impl From<IdentityBefore> for ClusterIdentity {
    fn from(before: IdentityBefore) -> Self {
        let IdentityBefore { cluster, incarnation, capability_secret, formatted_at } = before;
        let feature_level = FEATURE_LEVEL_FIRST;
        Self { cluster, incarnation, capability_secret, formatted_at, feature_level }
    }
}

impl ClusterIdentity {
    pub(crate) const KEY: &'static [u8] = b"identity";

    /// The identity of a state that this version may read and write.
    ///
    /// # Errors
    /// [`StoreError::NewerLevel`] where it has commands that this version does not know.
    pub(crate) fn read(reader: &dyn StateReader) -> Result<Option<Self>, StoreError> {
        let identity: Option<Self> = read(reader, Self::KEY)?;
        identity.map(Self::checked).transpose()
    }

    /// Itself, where this version knows its level.
    pub(crate) fn checked(self) -> Result<Self, StoreError> {
        if self.feature_level > FEATURE_LEVEL {
            return Err(StoreError::NewerLevel { found: self.feature_level, known: FEATURE_LEVEL });
        }
        Ok(self)
    }

    /// Whether a mutation may change the identity, and with it the feature level.
    #[must_use]
    pub fn is_changed_by(mutation: &Mutation) -> bool {
        mutation.table == Self::TABLE && mutation.key == Self::KEY
    }
}

impl fmt::Debug for ClusterIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterIdentity")
            .field("cluster", &self.cluster)
            .field("incarnation", &self.incarnation)
            .field("formatted_at", &self.formatted_at)
            .field("feature_level", &self.feature_level)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{decode_record, encode_record};

    fn identity(feature_level: u32) -> ClusterIdentity {
        ClusterIdentity {
            cluster: ClusterId::new([7; 16]),
            incarnation: Incarnation::new(300),
            capability_secret: [9; 32],
            formatted_at: Timestamp::from_nanos(4),
            feature_level,
        }
    }

    #[test]
    fn a_state_of_the_first_level_is_written_as_versions_before_levels_read_it() {
        for (level, format) in [(1, 1), (2, 2), (300, 2)] {
            let row = encode_record(&identity(level));
            assert_eq!(row[0], format);
            assert_eq!(decode_record::<ClusterIdentity>(b"", &row).unwrap(), identity(level));
        }
    }

    #[test]
    fn a_level_above_what_is_known_asks_for_an_upgrade() {
        assert!(identity(FEATURE_LEVEL).checked().is_ok());
        let refused = identity(FEATURE_LEVEL + 1).checked().unwrap_err().to_string();
        assert!(refused.contains("upgrade this master"), "{refused}");
    }
}
