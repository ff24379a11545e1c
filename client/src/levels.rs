//! The feature level of the cluster, for whoever upgrades it.

use std::time::Duration;

use forebay_proto::v1;
use forebay_proto::v1::admin_client::AdminClient;

use crate::client::Client;
use crate::error::ClientError;
use crate::limits::MOUNT_ANSWER_DEADLINE;

impl Client {
    /// Up to which level commands may be logged, and which level each master knows. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master.
    pub async fn feature_level(&self) -> Result<v1::GetFeatureLevelResponse, ClientError> {
        let request = v1::GetFeatureLevelRequest { header: Some(self.header(None)) };
        self.0
            .master
            .call("GetFeatureLevel", Duration::ZERO, request, |channel, request| async move {
                AdminClient::new(channel).get_feature_level(request).await
            })
            .await
            .outcome()
    }

    /// Raises that level to what the leading master knows. Asked again it changes nothing, so it may be repeated.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](forebay_types::ErrorKind::Unsupported) when a master does not know that level; those of
    /// reaching a master.
    pub async fn raise_feature_level(&self) -> Result<v1::RaiseFeatureLevelResponse, ClientError> {
        let request = v1::RaiseFeatureLevelRequest { header: Some(self.header(None)) };
        self.0
            .master
            .call("RaiseFeatureLevel", MOUNT_ANSWER_DEADLINE, request, |channel, request| async move {
                AdminClient::new(channel).raise_feature_level(request).await
            })
            .await
            .outcome()
    }
}
