//! A backup of the cluster's state, as the leading master makes it: pieces of a file.

use bytes::Bytes;
use forebay_proto::v1::admin_client::AdminClient;
use forebay_proto::{WireError, v1};
use forebay_types::ErrorKind;
use forebay_types::limits::RPC_LENGTH_MAX;
use tonic::Streaming;

use crate::answer::error_of;
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::{BACKUP_BEGIN_DEADLINE, BACKUP_PIECE_DEADLINE};

/// A backup that is being taken. Dropping it ends it.
#[derive(Debug)]
pub struct Backup {
    pieces: Streaming<v1::BackupChunk>,
}

impl Client {
    /// Has the leading master take a backup of its state as it is now. The file says itself whether it is whole: check
    /// it before it is relied on. Cancel safe.
    ///
    /// # Errors
    /// Those of reaching a master; [`ErrorKind::LimitExceeded`] when it takes as many already
    /// as it may.
    pub async fn backup(&self) -> Result<Backup, ClientError> {
        let request = v1::BackupRequest { header: Some(self.header(None)) };
        let called =
            self.0.master.call("Backup", BACKUP_BEGIN_DEADLINE, request, |channel, mut request| async move {
                // The deadline of a request is that of its whole answer, which may be long.
                request.metadata_mut().remove("grpc-timeout");
                AdminClient::new(channel).max_decoding_message_size(RPC_LENGTH_MAX).backup(request).await
            });
        Ok(Backup { pieces: called.await.outcome()? })
    }
}

impl Backup {
    /// The next piece of the file; `None` after the last. Cancel safe.
    ///
    /// # Errors
    /// The master's, and [`ErrorKind::TimedOut`] when it says nothing for long. The backup is
    /// of no use then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = tokio::time::timeout(BACKUP_PIECE_DEADLINE, self.pieces.message()).await;
        let piece = piece.map_err(|_| {
            let message =
                format!("the master sent nothing more of the backup within {BACKUP_PIECE_DEADLINE:?}");
            WireError::new(ErrorKind::TimedOut, message)
        })?;
        Ok(piece.map_err(|status| ClientError::from(error_of(status)))?.map(|piece| piece.data))
    }
}
