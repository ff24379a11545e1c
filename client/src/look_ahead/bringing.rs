//! What a client does for the walks through its directories: watches the opens, and has files brought.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use forebay_proto::{Entry, v1};
use forebay_types::{BlockId, BlockIndex, InodeId, ListingPosition};
use tonic::Request;

use super::Ahead;
use crate::answer::error_of;
use crate::cache::PackedEntry;
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::{LOOK_AHEAD_DEADLINE, LOOK_AHEAD_LENGTH_MAX};
use crate::route::Route;

impl Client {
    /// Takes note that a file is opened, by whatever way it will be read: somebody may be going through its directory.
    /// Waits for nothing.
    pub fn note_open(&self, inode: InodeId) {
        if self.0.look_ahead.is_walking.load(Ordering::Relaxed) {
            self.look_ahead(inode, false);
        }
    }

    /// The first bytes of an open file are read from a worker, so it was not at hand.
    pub(crate) fn note_cold_read(&self, inode: InodeId) {
        if self.0.settings.look_ahead > 0 {
            self.look_ahead(inode, true);
        }
    }

    fn look_ahead(&self, inode: InodeId, is_cold: bool) {
        let Some((directory, position)) = self.0.directories.place_of(inode) else { return };
        let following = |after: &ListingPosition, limit| self.files_after(directory, after, limit);
        let ahead = &self.0.look_ahead;
        let mut walks = ahead.walks.lock();
        let files = walks.on_open(directory, &position, is_cold, Instant::now(), following);
        ahead.is_walking.store(!walks.is_empty(), Ordering::Relaxed);
        drop(walks);
        files.into_iter().flatten().for_each(|file| self.bring(directory, file));
    }

    /// What is remembered of a directory after a place, each with what it takes to bring it if that is worth while.
    fn files_after(
        &self,
        directory: InodeId,
        after: &ListingPosition,
        limit: usize,
    ) -> Vec<(ListingPosition, Option<Ahead>)> {
        let known = self.0.directories.guess_after(directory, after, limit, Instant::now());
        let of = |(position, packed): (_, Arc<PackedEntry>)| {
            (position, packed.entry().ok().and_then(worth_bringing))
        };
        known.into_iter().map(of).collect()
    }

    /// Has a file's owner bring it, unless so many wait for theirs that it would come too late.
    fn bring(&self, directory: InodeId, file: Ahead) {
        let Ok(queued) = Arc::clone(&self.0.look_ahead.queue).try_acquire_owned() else { return };
        let (client, token) = (self.clone(), self.0.token.clone());
        self.0.tracker.spawn(async move {
            let _queued = queued;
            let bring = async {
                let _place = client.0.look_ahead.places.acquire().await.expect("never closed");
                client.bring_now(&file).await
            };
            let brought = tokio::select! {
                brought = tokio::time::timeout(LOOK_AHEAD_DEADLINE, bring) => brought,
                () = token.cancelled() => return,
            };
            match brought {
                Ok(Ok(was_missing)) => client.0.look_ahead.walks.lock().brought(directory, was_missing),
                Ok(Err(error)) => {
                    tracing::debug!(file = %file.version.file, %error, "a file was not brought ahead");
                }
                Err(_) => tracing::debug!(file = %file.version.file, "a file was not brought ahead in time"),
            }
        });
    }

    /// Whether any of it had been missing.
    async fn bring_now(&self, file: &Ahead) -> Result<bool, ClientError> {
        let map = self.0.route.map();
        let owners = Route::owners(&map, BlockId { file: file.version.file, index: BlockIndex::default() });
        let Some(worker) = self.0.route.by_trust(&owners).first().copied() else { return Ok(false) };
        let mut request = Request::new(v1::LoadRequest {
            header: Some(self.routed_header()),
            version: Some((&file.version).into()),
            capability: Some((&file.capability).into()),
            offset: 0,
            length: file.version.length().get(),
            guess: true,
        });
        request.set_timeout(LOOK_AHEAD_DEADLINE);
        let mut blocks = self.0.workers.blocks(&worker.address)?;
        let mut progress = blocks.load(request).await.map_err(error_of)?.into_inner();
        let mut was_missing = false;
        while let Some(so_far) = progress.message().await.map_err(error_of)? {
            was_missing |= so_far.missing_bytes > 0;
        }
        Ok(was_missing)
    }
}

/// Files that are there, as far as the master knows, need not be brought; long ones are read ahead once they are read.
fn worth_bringing(entry: Entry) -> Option<Ahead> {
    let (version, capability) = entry.version?;
    let length = version.length();
    let is_worth = (1..=LOOK_AHEAD_LENGTH_MAX).contains(&length.get()) && entry.cached < length;
    is_worth.then_some(Ahead { version, capability })
}
