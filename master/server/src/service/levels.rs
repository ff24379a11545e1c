//! The part of `forebay.v1.Admin` that is about feature levels.

use forebay_metadata::{FEATURE_LEVEL, Success, query};
use forebay_proto::v1;
use tokio::time::Instant;

use crate::error::MasterError;
use crate::known_levels::KnownLevels;
use crate::limits;
use crate::shared::Shared;

/// The level of the state, and what each master knows.
pub(super) async fn get(
    shared: &Shared,
    levels: &dyn KnownLevels,
) -> Result<v1::GetFeatureLevelResponse, MasterError> {
    let current = shared.query(|state| Ok(query::feature_level(state)?)).await?;
    let members = shared.raft.members();
    let said = levels.ask(&members).await;
    let masters = members.into_iter().map(|member| v1::MasterLevel {
        slot: member.slot,
        node_id: member.node,
        known: said.get(&member.node).copied().unwrap_or(0),
        address: member.address,
    });
    Ok(v1::GetFeatureLevelResponse { current, known: FEATURE_LEVEL, masters: masters.collect() })
}

/// Raises the level of the state to what this master knows.
pub(super) async fn raise(
    shared: &Shared,
    levels: &dyn KnownLevels,
) -> Result<v1::RaiseFeatureLevelResponse, MasterError> {
    let said = levels.ask(&shared.raft.members()).await;
    let deadline = Instant::now() + limits::PROPOSE_DEADLINE;
    match shared.raft.raise_feature_level(FEATURE_LEVEL, &said, deadline).await?.reply? {
        Success::FeatureLevelSet { level, before } => {
            tracing::info!(level, before, "feature level set");
            Ok(v1::RaiseFeatureLevelResponse { current: level, before })
        }
        _ => Err(MasterError::WrongAnswer("the raise of the feature level")),
    }
}
