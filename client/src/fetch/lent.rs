//! What a reader's version has on this machine in part: read from the lent files, and counted.
//!
//! Nothing here waits for a worker, and nothing is an error: what is not here is fetched.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use forebay_types::{ByteCount, PAGE_LENGTH};

use super::Fetch;
use crate::hold::{Gap, Lend};
use crate::limits::INLINE_READ_MAX;

/// The files that a reader was lent.
#[derive(Clone, Debug)]
pub(super) struct Lent {
    lend: Arc<Lend>,
    /// It was lent before the first read, so that bytes that were here then are hits.
    before_reads: bool,
}

impl Fetch {
    /// Uses a lend of the version from now on.
    pub(crate) fn set_lend(&self, lend: Lend, before_reads: bool) {
        let lent = Lent { lend: Arc::new(lend), before_reads };
        let before = self.lent.lock().replace(lent);
        drop(before);
    }

    /// Gives the lend back.
    pub(crate) fn end_lend(&self) {
        let lent = self.lent.lock().take();
        drop(lent);
    }

    /// Whether there is a lend that may be used.
    pub(crate) fn has_lend(&self) -> bool {
        self.lent.lock().as_ref().is_some_and(|lent| lent.lend.is_live())
    }

    /// All bytes of a range within the version, if they are here.
    pub(crate) async fn lent_bytes(&self, range: &Range<u64>) -> Option<Bytes> {
        let lent = self.lent.lock().clone()?;
        // A long range is not begun in vain.
        let length = range.end - range.start;
        if length > INLINE_READ_MAX as u64 && lent.lend.run_present(range) < length {
            return None;
        }
        let read = lent.lend.read(range).await;
        self.judged(&lent, range, read)
    }

    /// The bytes of a range from its begin on up to the end of a page, if they are here.
    pub(super) async fn lent_piece(&self, range: Range<u64>) -> Option<Bytes> {
        let lent = self.lent.lock().clone()?;
        let piece = range.start..((range.start / PAGE_LENGTH + 1) * PAGE_LENGTH).min(range.end);
        let read = lent.lend.read(&piece).await;
        self.judged(&lent, &piece, read)
    }

    /// Fills the buffer with the bytes from `offset` on, if they are here and in memory.
    pub(crate) fn lent_into(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let Some(lent) = self.lent.lock().clone() else { return false };
        let range = offset..offset + buffer.len() as u64;
        let read = lent.lend.read_into(offset, buffer, false);
        self.judged(&lent, &range, read).is_some()
    }

    /// Counts what was read; says what is wrong where something is.
    fn judged<T>(&self, lent: &Lent, range: &Range<u64>, read: Result<T, Gap>) -> Option<T> {
        let (key, file) = (&self.version.key, self.version.file);
        match read {
            Ok(read) => {
                let length = range.end - range.start;
                let hit = if lent.before_reads { lent.lend.cached_of(range) } else { 0 };
                let counters = self.client.counters();
                for (bytes, is_hit) in [(hit, true), (length - hit, false)] {
                    if bytes > 0 {
                        counters.add_short_circuit(&self.mount, ByteCount::new(bytes), is_hit);
                    }
                }
                return Some(read);
            }
            Err(Gap::Absent | Gap::Slow) => {}
            Err(Gap::Damaged { offset }) if !lent.lend.is_new_damage(offset) => {}
            Err(Gap::Damaged { offset }) => {
                self.client.counters().add_damaged_chunk();
                tracing::warn!(%key, %file, offset, "a cached page is damaged, asking the worker for it");
            }
            Err(Gap::Io(error)) => {
                tracing::warn!(%key, %file, %error, "a lent file could not be read");
                self.end_lend();
            }
        }
        None
    }
}
