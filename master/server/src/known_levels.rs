//! Which feature level the version of each master knows: asked before the level of the state is raised.

use std::collections::BTreeMap;
use std::fmt;

use forebay_metadata::FEATURE_LEVEL;
use forebay_raft::Member;

/// Asks masters what they know.
#[tonic::async_trait]
pub(crate) trait KnownLevels: fmt::Debug + Send + Sync {
    /// By node id the level that each of `members` says it knows. Who does not answer in time is left out, and the level is
    /// then not raised: a master that is away may come back with an older version.
    async fn ask(&self, members: &[Member]) -> BTreeMap<u64, u32>;
}

/// What a master knows that speaks to no other one: its own level.
#[derive(Debug)]
pub(crate) struct OwnLevel {
    pub(crate) node: u64,
}

#[tonic::async_trait]
impl KnownLevels for OwnLevel {
    async fn ask(&self, members: &[Member]) -> BTreeMap<u64, u32> {
        let own = members.iter().filter(|member| member.node == self.node);
        own.map(|member| (member.node, FEATURE_LEVEL)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_master_that_can_ask_nobody_speaks_for_itself_alone() {
        let member = |node| Member { node, slot: 1, address: String::new() };
        let levels = OwnLevel { node: 2 };
        assert_eq!(levels.ask(&[member(1), member(2)]).await, BTreeMap::from([(2, FEATURE_LEVEL)]));
        assert_eq!(levels.ask(&[member(1)]).await, BTreeMap::new());
    }
}
