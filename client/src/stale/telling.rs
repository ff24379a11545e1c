//! Tells the master of versions that are stale.

use std::time::Instant;

use forebay_proto::v1;
use forebay_proto::v1::namespace_client::NamespaceClient;
use forebay_types::{FileId, InodeId};

use crate::client::Client;
use crate::error::ClientError;
use crate::limits::REFRESH_ANSWER_DEADLINE;

impl Client {
    /// A version of a file could not be read, since its under-store has another one. Waits for nothing.
    pub(crate) fn found_stale(&self, inode: InodeId, file: FileId) {
        if !self.0.stale.is_news(file, Instant::now()) {
            return;
        }
        let (client, token) = (self.clone(), self.0.token.clone());
        self.0.tracker.spawn(async move {
            let told = tokio::select! {
                told = client.tell_stale(inode, file) => told,
                () = token.cancelled() => return,
            };
            if let Err(error) = told {
                tracing::debug!(%inode, %file, %error, "the master could not be told of a version that is stale");
            }
        });
    }

    async fn tell_stale(&self, inode: InodeId, file: FileId) -> Result<(), ClientError> {
        let (header, stale) = (Some(self.header(None)), Some(file.into()));
        let request = v1::RefreshRequest { header, inode: inode.get(), stale };
        let send = |channel, request| async move { NamespaceClient::new(channel).refresh(request).await };
        self.0.master.call("Refresh", REFRESH_ANSWER_DEADLINE, request, send).await.outcome().map(drop)
    }
}
