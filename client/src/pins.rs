//! Pins: what the masters are to go on knowing, however long nobody asks about it.

use std::time::Duration;

use forebay_proto::v1::namespace_client::NamespaceClient;
use forebay_proto::{WireDefect, v1};
use forebay_types::NamespacePath;
use forebay_types::limits::RPC_LENGTH_MAX;

use crate::answer::defect;
use crate::client::Client;
use crate::error::ClientError;

/// All of them: a change that was dropped may still be carried out, and where nobody can tell whether it was,
/// [`ClientError::OutcomeUnknown`] says so.
impl Client {
    /// Has what is known at a path, and of a directory all below it, stay known; gives whether it was pinned before.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](forebay_types::ErrorKind::NotFound), and those of a look-up.
    pub async fn pin(&self, path: &NamespacePath) -> Result<bool, ClientError> {
        let stamped =
            |stamp| v1::PinRequest { header: Some(self.header(Some(stamp))), path: path.to_bytes().into() };
        let pinned = self.mutate("Pin", stamped, |channel, request| async move {
            NamespaceClient::new(channel).pin(request).await
        });
        pinned.await.map(|answer| answer.already)
    }

    /// Ends the pin of a path.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](forebay_types::ErrorKind::NotFound) where the path itself is not pinned.
    pub async fn unpin(&self, path: &NamespacePath) -> Result<(), ClientError> {
        let stamped =
            |stamp| v1::UnpinRequest { header: Some(self.header(Some(stamp))), path: path.to_bytes().into() };
        let unpinned = self.mutate("Unpin", stamped, |channel, request| async move {
            NamespaceClient::new(channel).unpin(request).await
        });
        unpinned.await.map(drop)
    }

    /// The paths of what is pinned, in order. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master.
    pub async fn pins(&self) -> Result<Vec<NamespacePath>, ClientError> {
        let (mut pins, mut after) = (Vec::new(), 0);
        loop {
            let request = v1::ListPinsRequest { header: Some(self.header(None)), after };
            let called =
                self.0.master.call("ListPins", Duration::ZERO, request, |channel, request| async move {
                    NamespaceClient::new(channel)
                        .max_decoding_message_size(RPC_LENGTH_MAX)
                        .list_pins(request)
                        .await
                });
            let page = called.await.outcome()?;
            for path in &page.paths {
                let path = NamespacePath::parse(path)
                    .map_err(|error| WireDefect::Invalid { field: "paths", reason: error.to_string() });
                pins.push(path.map_err(defect("ListPins"))?);
            }
            // Each page is of later inodes, so this ends.
            if page.next <= after {
                pins.sort();
                return Ok(pins);
            }
            after = page.next;
        }
    }
}
