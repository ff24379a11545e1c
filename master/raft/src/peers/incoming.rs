//! Takes a snapshot in that another master sends: whole, checked and on the disk before openraft hears of it, since
//! openraft stops a node whose installation fails, and a sender may vanish at any time.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use forebay_proto::v1;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::error::RaftError;
use crate::limits::{SNAPSHOT_PIECES_AHEAD_MAX, SNAPSHOT_STALL_TIMEOUT};
use crate::snapshot::{ReceivedSnapshot, SnapshotShelf};

/// Writes what `pieces` bring to a folder of its own beside the snapshots.
pub(super) async fn receive(
    shelf: &Arc<SnapshotShelf>,
    mut pieces: Streaming<v1::RaftSnapshotPiece>,
) -> Result<ReceivedSnapshot, RaftError> {
    let (sender, receiver) = mpsc::channel(SNAPSHOT_PIECES_AHEAD_MAX);
    let shelf = Arc::clone(shelf);
    let unpacking =
        tokio::task::spawn_blocking(move || shelf.receive(Pieces { receiver, current: Bytes::new() }));
    let failed = loop {
        match tokio::time::timeout(SNAPSHOT_STALL_TIMEOUT, pieces.message()).await {
            Ok(Ok(Some(piece))) => {
                if sender.send(Ok(piece.data)).await.is_err() {
                    break None;
                }
            }
            Ok(Ok(None)) => break None,
            Ok(Err(status)) => break Some(status.to_string()),
            Err(_) => break Some("nothing came any more".to_owned()),
        }
    };
    if let Some(reason) = failed {
        // Whoever unpacks may have found an error of its own, and be gone.
        let _ = sender.send(Err(io::Error::other(reason))).await;
    }
    drop(sender);
    unpacking.await.unwrap_or_else(|_| Err(RaftError::stopped()))
}

/// What came, as a stream for a thread that may block.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// What came instead of a snapshot, as whoever sent it is told.
pub(super) fn refused(error: &RaftError) -> Status {
    forebay_proto::to_status(error.kind(), error.to_string())
}
