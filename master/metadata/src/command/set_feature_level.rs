//! Raises the level up to which commands may be logged. It never goes down.

use serde::{Deserialize, Serialize};

use crate::level::FEATURE_LEVEL;
use crate::reply::{Rejection, Reply, Success};
use crate::state::{ClusterIdentity, Transition};
use crate::store::{StateReader, StoreError, Table};

/// Sets the feature level. To be proposed only when each master is known to know the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetFeatureLevel {
    /// The level from now on.
    pub level: u32,
}

/// The level of the versions that know this command.
const INTRODUCED_AT: u32 = 2;

impl SetFeatureLevel {
    /// The level that each master must know before this may be logged.
    pub(crate) const fn least_known(self) -> u32 {
        if self.level > INTRODUCED_AT { self.level } else { INTRODUCED_AT }
    }

    pub(crate) fn apply(self, state: &mut Transition<'_, '_>) -> Result<Reply, StoreError> {
        let Self { level } = self;
        // Not a refusal: other masters carry it out, and what follows may be anything.
        if level > FEATURE_LEVEL {
            return Err(StoreError::NewerLevel { found: level, known: FEATURE_LEVEL });
        }
        let mut identity = Self::identity(state.reader())?;
        let before = identity.feature_level;
        if level < before {
            return Ok(Err(Rejection::FeatureLevelLower { current: before, level }));
        }
        if level > before {
            identity.feature_level = level;
            state.write(ClusterIdentity::KEY.to_vec(), &identity);
        }
        Ok(Ok(Success::FeatureLevelSet { level, before }))
    }

    fn identity(reader: &dyn StateReader) -> Result<ClusterIdentity, StoreError> {
        ClusterIdentity::read(reader)?.ok_or_else(|| {
            StoreError::corrupt(Table::Counters, ClusterIdentity::KEY, "a formatted state has no identity")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::snapshot::dump_digest;
    use crate::testing::World;
    use crate::{Proposal, apply, query};
    use forebay_types::{LogIndex, Timestamp};

    fn set(world: &mut World, level: u32) -> Reply {
        world.apply(Command::SetFeatureLevel(SetFeatureLevel { level }))
    }

    #[test]
    fn a_level_is_raised_once_kept_when_it_is_set_again_and_never_lowered() {
        let mut world = World::formatted();
        assert_eq!(query::feature_level(world.reader()).unwrap(), 1);
        assert_eq!(set(&mut world, 2), Ok(Success::FeatureLevelSet { level: 2, before: 1 }));
        assert_eq!(query::feature_level(world.reader()).unwrap(), 2);
        assert_eq!(set(&mut world, 2), Ok(Success::FeatureLevelSet { level: 2, before: 2 }));
        let refused = set(&mut world, 1).unwrap_err();
        assert_eq!(refused, Rejection::FeatureLevelLower { current: 2, level: 1 });
        assert!(refused.to_string().contains("is never lowered"), "{refused}");
        assert_eq!(query::feature_level(world.reader()).unwrap(), 2);
        assert!(world.mount("/after", "s3://after").is_ok());
    }

    #[test]
    fn a_level_that_only_later_versions_know_stops_this_one_and_changes_nothing() {
        let world = World::formatted();
        let before = dump_digest(world.reader()).unwrap();
        let command = Command::SetFeatureLevel(SetFeatureLevel { level: FEATURE_LEVEL + 1 });
        let proposal = Proposal { issued_at: Timestamp::from_nanos(9), session: None, command };
        let stopped = apply(world.reader(), LogIndex::new(2), &proposal).unwrap_err();
        assert!(matches!(stopped, StoreError::NewerLevel { found: 3, known: 2 }), "{stopped}");
        assert_eq!(dump_digest(world.reader()).unwrap(), before);
    }
}
