//! The part of `forebay.v1.Admin` that is about feature levels.

use forebay_metadata::{FEATURE_LEVEL, Success, query};
use forebay_proto::v1;
use tokio::time::Instant;

use crate::error::MasterError;
use crate::limits;
use crate::membership;
use crate::shared::Shared;

/// The level of the state, and what each master knows.
pub(super) async fn get(shared: &Shared) -> Result<v1::GetFeatureLevelResponse, MasterError> {
    let current = shared.query(|state| Ok(query::feature_level(state)?)).await?;
    let masters = membership::report(&shared.raft, &shared.door.peers).await.into_iter();
    let masters = masters.map(|master| v1::MasterLevel {
        slot: master.slot,
        node_id: master.node_id,
        address: master.address,
        known: master.feature_level_known,
    });
    Ok(v1::GetFeatureLevelResponse { current, known: FEATURE_LEVEL, masters: masters.collect() })
}

/// Raises the level of the state to what this master knows.
pub(super) async fn raise(shared: &Shared) -> Result<v1::RaiseFeatureLevelResponse, MasterError> {
    membership::must_lead(&shared.raft)?;
    let said = membership::known_levels(&shared.raft, &shared.door.peers).await;
    let deadline = Instant::now() + limits::PROPOSE_DEADLINE;
    match shared.raft.raise_feature_level(FEATURE_LEVEL, &said, deadline).await?.reply? {
        Success::FeatureLevelSet { level, before } => {
            tracing::info!(level, before, "feature level set");
            Ok(v1::RaiseFeatureLevelResponse { current: level, before })
        }
        _ => Err(MasterError::WrongAnswer("the raise of the feature level")),
    }
}
