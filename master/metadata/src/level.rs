//! Feature levels: which commands may be logged while masters of several versions share a log.
//!
//! A master that meets a command it does not know must stop, since it cannot tell what the others made of it. So each
//! command has a level, the state has one up to which commands may be logged, and the operator raises that once every
//! master runs a version that knows it (docs/adr/0028-feature-levels.md). What a level means never changes.

use crate::command::Command;

/// The level of a state in which none was ever set: that of the versions from before there were levels.
pub const FEATURE_LEVEL_FIRST: u32 = 1;
/// The highest level that this version knows. New clusters begin at it.
pub const FEATURE_LEVEL: u32 = 2;

impl Command {
    /// The level that the state must have before this command may be logged. New commands get the next level that no
    /// release has, which is then [`FEATURE_LEVEL`].
    #[must_use]
    pub const fn level(&self) -> u32 {
        match self {
            Self::Format(_)
            | Self::MountBefore(_)
            | Self::Unmount(_)
            | Self::ApplyListing(_)
            | Self::SupersedeVersion(_)
            | Self::ForgetDirectory(_)
            | Self::ExpireSessions(_)
            | Self::Reap(_)
            | Self::AdmitWorker(_)
            | Self::BeginLoad(_)
            | Self::ExtendLoad(_)
            | Self::AdvanceJob(_)
            | Self::EndJob(_)
            | Self::ChangeMountBefore(_)
            | Self::MountWithoutAdmission(_)
            | Self::ChangeMountWithoutAdmission(_)
            | Self::BeginMetadataLoad(_)
            | Self::AdvanceMetadataLoad(_)
            | Self::EndMetadataLoad(_)
            | Self::DescribeMount(_)
            | Self::TrimOutbox(_)
            | Self::Mount(_)
            | Self::ChangeMount(_) => FEATURE_LEVEL_FIRST,
            Self::MakeDirectory(_)
            | Self::RemoveDirectory(_)
            | Self::Rename(_)
            | Self::SetAttributes(_)
            | Self::Pin(_)
            | Self::Unpin(_) => 2,
            // Whoever reads it must know it, and all that may follow it.
            Self::SetFeatureLevel(command) => command.least_known(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Reap, SetFeatureLevel};

    #[test]
    fn a_command_that_sets_a_level_needs_what_it_sets_and_at_least_the_level_that_it_came_with() {
        let set = |level| Command::SetFeatureLevel(SetFeatureLevel { level }).level();
        assert_eq!([1, 2, 3].map(set), [2, 2, 3]);
        assert_eq!(Command::Reap(Reap { limit: 1 }).level(), FEATURE_LEVEL_FIRST);
    }
}
