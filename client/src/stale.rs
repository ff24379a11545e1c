//! Versions that turned out to be what their under-store has no more: the master is told of each once, so that the next
//! open gets the new one and nobody has to wait for the end of a freshness.

use std::collections::BTreeSet;

use forebay_proto::v1;
use forebay_proto::v1::namespace_client::NamespaceClient;
use forebay_types::{FileId, InodeId};
use parking_lot::Mutex;

use crate::client::Client;
use crate::error::ClientError;
use crate::limits::{REFRESH_ANSWER_DEADLINE, STALE_TOLD_MAX};

/// Versions of which the master was told, or is being told.
#[derive(Debug, Default)]
pub(crate) struct StaleVersions(Mutex<BTreeSet<FileId>>);

impl StaleVersions {
    /// Whether the master is to be told of a version now.
    fn is_news(&self, file: FileId) -> bool {
        let mut told = self.0.lock();
        let is_news = told.insert(file);
        // Ids grow: the least was told longest ago, or nearly so.
        if told.len() > STALE_TOLD_MAX {
            told.pop_first();
        }
        is_news
    }

    /// It could not be told.
    fn untold(&self, file: FileId) {
        self.0.lock().remove(&file);
    }
}

impl Client {
    /// A version of a file could not be read, since its under-store has another one. Waits for nothing.
    pub(crate) fn found_stale(&self, inode: InodeId, file: FileId) {
        if !self.0.stale.is_news(file) {
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
                client.0.stale.untold(file);
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

#[cfg(test)]
mod tests {
    use forebay_types::Incarnation;

    use super::*;

    #[test]
    fn a_version_is_news_once_unless_it_could_not_be_told() {
        let stale = StaleVersions::default();
        let file = |counter| FileId { incarnation: Incarnation::new(1), counter };
        assert_eq!([1, 1, 2].map(|counter| stale.is_news(file(counter))), [true, false, true]);
        stale.untold(file(1));
        assert!(stale.is_news(file(1)));
        (10..10 + STALE_TOLD_MAX as u64).for_each(|counter| assert!(stale.is_news(file(counter))));
        assert_eq!(stale.0.lock().len(), STALE_TOLD_MAX);
        assert!(!stale.is_news(file(9 + STALE_TOLD_MAX as u64)));
    }
}
