//! Reads one version at any offset: from its local file where it lies complete on this machine, else from what was
//! read ahead, from the local files as far as they go, or from the workers.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use forebay_types::{BlockCapability, ByteCount, FileOffset, InodeId, VersionDescriptor};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::client::Client;
use crate::error::ClientError;
use crate::fetch::Fetch;
use crate::hold::{AtHand, Hold, Lend};
use crate::limits::{HOLD_RETRY_READS, INLINE_READ_MAX, READ_LENGTH_MAX};
use crate::prefetch::Prefetch;

/// A reader of one version: what a handle of an open file needs. Reads may overlap and come from many tasks.
///
/// Dropping it stops what it reads ahead and gives back its hold and its lend.
#[derive(Debug)]
pub struct Reader {
    fetch: Arc<Fetch>,
    prefetch: Prefetch,
    local: Mutex<Local>,
    /// Some of it was read from a worker.
    was_cold: AtomicBool,
}

/// Whether the version's local file can be used.
#[derive(Debug)]
enum Local {
    /// Nobody has asked yet.
    Untried,
    /// It could not be had when it was last asked for, so many reads ago.
    Absent { reads: u32 },
    /// It is held. Bytes of a file that was complete at the first read are hits.
    Held { hold: Arc<Hold>, hit: bool },
}

impl Client {
    /// A reader of one version, as an open gives it. Asks nobody.
    #[must_use]
    pub fn reader(&self, version: VersionDescriptor, capability: BlockCapability) -> Reader {
        Reader::new(self.clone(), version, &capability)
    }
}

impl Reader {
    fn new(client: Client, version: VersionDescriptor, capability: &BlockCapability) -> Self {
        let fetch = Arc::new(Fetch::new(client, version, capability));
        let prefetch = Prefetch::new(Arc::clone(&fetch));
        Self { prefetch, fetch, local: Mutex::new(Local::Untried), was_cold: AtomicBool::new(false) }
    }

    /// Makes the reader last longer than its capability: when that is over, it opens `inode` again, and goes on if the
    /// version is still the file's.
    #[must_use]
    pub fn renewed_by(self, inode: InodeId) -> Self {
        self.fetch.renew_by(inode);
        self
    }

    /// Makes the reader use a hold of its version that the caller has already.
    #[must_use]
    pub fn with_hold(self, hold: Hold) -> Self {
        *self.local.lock() = Local::Held { hold: Arc::new(hold), hit: true };
        self
    }

    /// Makes the reader use a lend of its version that the caller has already, and spares the first read the question for
    /// a hold.
    #[must_use]
    pub fn with_lend(self, lend: Lend) -> Self {
        self.fetch.set_lend(lend, true);
        self.without_hold()
    }

    /// Spares the first read the question for a hold, for a caller that has just asked and got none.
    #[must_use]
    pub fn without_hold(self) -> Self {
        *self.local.lock() = Local::Absent { reads: 0 };
        self
    }

    /// The version that is read.
    #[must_use]
    pub fn version(&self) -> &VersionDescriptor {
        self.fetch.version()
    }

    /// The bytes from `offset` on: `length` of them, fewer only at the end of the file, none beyond it. At most
    /// 256 MiB at a time. Verified; all of one version. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Stale`] when the version can no longer be read; [`ClientError::NoWorker`] when no worker gave
    /// the bytes within the settings' read deadline; [`ClientError::LimitExceeded`].
    pub async fn read_at(&self, offset: FileOffset, length: usize) -> Result<Bytes, ClientError> {
        if length > READ_LENGTH_MAX {
            return Err(ClientError::LimitExceeded {
                what: "the length of a read",
                max: READ_LENGTH_MAX as u64,
            });
        }
        let file = self.version().length().get();
        let range = offset.get().min(file)..offset.get().saturating_add(length as u64).min(file);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let deadline = Instant::now() + self.fetch.client().settings().read_deadline;
        if let Some(bytes) = self.read_local(&range).await {
            return Ok(bytes);
        }
        // What is on its way already is not read twice, and its stream goes on.
        if !self.prefetch.has(&range)
            && let Some(bytes) = self.fetch.lent_bytes(&range).await
        {
            return Ok(bytes);
        }
        self.note_cold();
        if let Some(bytes) = self.prefetch.read(&range, deadline).await {
            return Ok(bytes);
        }
        self.fetch.bytes(range, deadline).await
    }

    /// Tells once that the file is not at hand.
    fn note_cold(&self) {
        if !self.was_cold.load(Ordering::Relaxed)
            && !self.was_cold.swap(true, Ordering::Relaxed)
            && let Some(inode) = self.fetch.renewed_by()
        {
            self.fetch.client().note_cold_read(inode);
        }
    }

    /// Reads from `offset` on into `buffer`, as [`read_at`](Self::read_at) does, and gives how much that was: less than the
    /// buffer takes only at the end of the file. Of a file of this machine that is in memory it is a `pread`, and the checksums
    /// where the file is not complete.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn read_into(&self, offset: FileOffset, buffer: &mut [u8]) -> Result<usize, ClientError> {
        if let Some(had) = self.read_held_into(offset, buffer) {
            return Ok(had);
        }
        if let Some(had) = self.read_lent_into(offset, buffer) {
            return Ok(had);
        }
        let bytes = self.read_at(offset, buffer.len()).await?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// How many bytes there are from `offset` on for a buffer that takes `room`.
    fn length_at(&self, offset: FileOffset, room: usize) -> usize {
        let left = self.version().length().get().saturating_sub(offset.get());
        usize::try_from(left).unwrap_or(usize::MAX).min(room)
    }

    /// The same from lent files without waiting for anybody; `None` where that cannot be.
    fn read_lent_into(&self, offset: FileOffset, buffer: &mut [u8]) -> Option<usize> {
        let length = self.length_at(offset, buffer.len());
        let range = offset.get()..offset.get() + length as u64;
        if range.is_empty() || length > INLINE_READ_MAX {
            return None;
        }
        match &mut *self.local.lock() {
            // Now and then the way goes past the question for a hold.
            Local::Absent { reads } if *reads + 1 < HOLD_RETRY_READS => *reads += 1,
            _ => return None,
        }
        let is_read = !self.prefetch.has(&range) && self.fetch.lent_into(range.start, &mut buffer[..length]);
        is_read.then_some(length)
    }

    /// The same from a held file.
    fn read_held_into(&self, offset: FileOffset, buffer: &mut [u8]) -> Option<usize> {
        let length = self.length_at(offset, buffer.len());
        let (hold, hit) = match &*self.local.lock() {
            Local::Held { hold, hit } if length <= INLINE_READ_MAX => (Arc::clone(hold), *hit),
            _ => return None,
        };
        // As for other reads, a worker that began anew meanwhile knows nothing of the hold.
        if !hold.read_from_memory_into(offset.get(), &mut buffer[..length]) || !hold.is_live() {
            return None;
        }
        let counters = self.fetch.client().counters();
        counters.add_short_circuit(self.fetch.mount(), ByteCount::new(length as u64), hit);
        Some(length)
    }

    /// The bytes from the local file, where it is held and gives them.
    async fn read_local(&self, range: &Range<u64>) -> Option<Bytes> {
        let (hold, hit) = self.held().await?;
        let length = range.end - range.start;
        match hold.read(range.clone()).await {
            // A worker that began anew meanwhile knows nothing of the hold, so the bytes may not be the version's.
            Ok(_) if !hold.is_live() => {
                tracing::debug!(file = %self.version().file, "the hold ended during a read")
            }
            Ok(bytes) if bytes.len() as u64 == length => {
                let counters = self.fetch.client().counters();
                counters.add_short_circuit(self.fetch.mount(), ByteCount::new(length), hit);
                return Some(bytes);
            }
            Ok(bytes) => {
                let (key, file, had) = (&self.version().key, self.version().file, bytes.len());
                tracing::warn!(%key, %file, wanted = length, had, "a held file is shorter than its version");
            }
            Err(error) => {
                let (key, file) = (&self.version().key, self.version().file);
                tracing::warn!(%key, %file, %error, "a held file could not be read");
            }
        }
        *self.local.lock() = Local::Absent { reads: 0 };
        None
    }

    /// The hold; asks for it at the first read and again now and then.
    async fn held(&self) -> Option<(Arc<Hold>, bool)> {
        if !self.fetch.client().settings().short_circuit {
            return None;
        }
        let is_first = {
            let mut local = self.local.lock();
            match &mut *local {
                Local::Held { hold, hit } if hold.is_live() => return Some((Arc::clone(hold), *hit)),
                Local::Absent { reads } if *reads + 1 < HOLD_RETRY_READS => {
                    *reads += 1;
                    return None;
                }
                state => {
                    let is_first = matches!(state, Local::Untried);
                    // Reads that come meanwhile do not wait for the answer.
                    *state = Local::Absent { reads: 0 };
                    is_first
                }
            }
        };
        let capability = self.fetch.capability()?;
        match self.at_hand(&capability).await {
            Ok(AtHand::Hold(hold)) => {
                let hold = Arc::new(hold);
                *self.local.lock() = Local::Held { hold: Arc::clone(&hold), hit: is_first };
                self.fetch.end_lend();
                Some((hold, is_first))
            }
            Ok(AtHand::Lend(lend)) => {
                self.fetch.set_lend(lend, is_first);
                None
            }
            Ok(AtHand::Nothing) => None,
            Err(error) => {
                tracing::debug!(file = %self.version().file, %error, "the local worker gave nothing");
                None
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn has_lend(&self) -> bool {
        self.fetch.has_lend()
    }

    /// Asks for a hold, and for a lend where there is neither yet.
    async fn at_hand(&self, capability: &BlockCapability) -> Result<AtHand, ClientError> {
        let client = self.fetch.client();
        if self.fetch.has_lend() {
            return Ok(client.hold(self.version(), capability).await?.map_or(AtHand::Nothing, AtHand::Hold));
        }
        client.at_hand(self.version(), capability).await
    }
}
