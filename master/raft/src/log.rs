//! The log on disk as openraft wants it: appended by one thread that syncs, read from memory where it is near its end.
//!
//! Invariants: an entry can be read when `append` returns and is synced when its callback is called; whatever is
//! written is written in the order that openraft asked for; what is not synced stays in memory.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forebay_storage::LogStore;
use futures::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use crate::codec;
use crate::error::{FirstFailure, RaftError};
use crate::limits::{QUEUED_WRITES_MAX, READ_ENTRIES_MAX, READ_LENGTH_MAX};
use crate::log::tail::Tail;
use crate::log::writer::{Write, Writer};
use crate::node::growth::Growth;
use crate::settings::FIRST_NODE;
use crate::types::{LogId, RaftEntry, RaftVote, TypeConfig};

mod tail;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) const VOTE_KEY: &str = "vote";
pub(crate) const PURGED_KEY: &str = "purged";
pub(crate) const NODE_KEY: &str = "node";

/// The log of this node. openraft's core task owns it: whatever it writes goes through here.
#[derive(Debug)]
pub(crate) struct NodeLog {
    reader: LogReader,
    writes: mpsc::Sender<Write>,
}

/// Reads the log. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LogReader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` once the writer has ended: whoever still holds a reader must not hold the directory.
    store: RwLock<Option<LogStore>>,
    dir: PathBuf,
    /// Never held while the store is used.
    tail: Mutex<Tail>,
    /// The last vote that was synced.
    vote: Mutex<Option<RaftVote>>,
    failure: FirstFailure,
}

/// The thread that writes, to be waited for after openraft has stopped.
pub(crate) type WriterThread = std::thread::JoinHandle<()>;

impl NodeLog {
    /// Opens the log in `dir` for the node `asked`, or whichever it keeps, and starts its writer. Gives the node, too.
    ///
    /// A log of another node is refused.
    pub(crate) fn open(
        dir: &Path,
        asked: Option<u64>,
        growth: Growth,
        failure: FirstFailure,
    ) -> Result<(Self, WriterThread, u64), RaftError> {
        let store = LogStore::open(dir)?;
        let kept = store.meta(NODE_KEY)?.map(|bytes| codec::decode_node(&bytes)).transpose()?;
        let node = match (kept, asked) {
            (Some(found), Some(asked)) if found != asked => {
                return Err(RaftError::OtherNode { dir: dir.to_owned(), found, asked });
            }
            (Some(found), _) => found,
            (None, asked) => {
                let node = asked.unwrap_or(FIRST_NODE);
                store.put_meta(NODE_KEY, &codec::encode_node(node))?;
                node
            }
        };
        let vote = store.meta(VOTE_KEY)?.map(|bytes| codec::decode_vote(&bytes)).transpose()?;
        let purged = store.meta(PURGED_KEY)?;
        let purged =
            purged.map(|bytes| codec::decode_log_id("the end of the purged log", &bytes)).transpose()?;
        if let Some(purged) = &purged {
            // A crash may have come between the note and the removal.
            store.purge_to(purged.index)?;
        }
        let last = match store.last()? {
            Some((index, bytes)) => Some(codec::decode_entry(index, &bytes)?.log_id),
            None => purged,
        };
        let begin = purged.as_ref().map_or(0, |purged| purged.index + 1);
        let first = store.first()?.map_or(begin, |(index, _)| index);
        if purged.is_some() && first > begin {
            let what = format_args!("the log in {}", dir.display());
            return Err(RaftError::corrupt(what, format_args!("the entry {begin} is missing")));
        }
        let shared = Shared {
            store: RwLock::new(Some(store)),
            dir: dir.to_owned(),
            tail: Mutex::new(Tail::new(purged, first, last)),
            vote: Mutex::new(vote),
            failure,
        };
        let reader = LogReader(Arc::new(shared));
        let (writes, queue) = mpsc::channel(QUEUED_WRITES_MAX);
        let thread = Writer::start(reader.clone(), queue, growth)?;
        Ok((Self { reader, writes }, thread, node))
    }

    /// Whether this node has ever voted, for itself or another.
    pub(crate) fn has_voted(&self) -> bool {
        self.reader.0.vote.lock().is_some()
    }

    /// The last log id that is no longer in the log.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.reader.0.tail.lock().purged()
    }

    /// Reads the entries from `start` to the end, as they will be read to be applied: an error that would stop this node
    /// then is told before it changes anything. Blocks on the disk.
    pub(crate) fn check_from(&self, start: u64) -> Result<(), RaftError> {
        let (first, last) = {
            let tail = self.reader.0.tail.lock();
            (tail.first(), tail.last())
        };
        let end = last.map_or(0, |last| last.index + 1);
        let mut next = start.max(first);
        while next < end {
            let entries = self.reader.read_stored(next..end, READ_LENGTH_MAX)?;
            next = entries.last().map_or(end, |entry| entry.log_id.index + 1);
        }
        Ok(())
    }

    /// Hands a write to the thread and waits until it is synced.
    async fn write(&self, make: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Write) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(make(done)).await?;
        wait.await.unwrap_or_else(|_| Err(self.writer_is_gone()))
    }

    async fn send(&self, write: Write) -> io::Result<()> {
        self.writes.send(write).await.map_err(|_| self.writer_is_gone())
    }

    fn writer_is_gone(&self) -> io::Error {
        let gone = RaftError::Unavailable { reason: "the writer of the log has stopped".to_owned() };
        self.reader.0.failure.note(&gone)
    }
}

impl RaftLogStorage<TypeConfig> for NodeLog {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let tail = self.reader.0.tail.lock();
        Ok(LogState { last_purged_log_id: tail.purged(), last_log_id: tail.last() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let vote = *vote;
        self.write(|done| Write::Vote { vote, done }).await
    }

    async fn append<I>(&mut self, entries: I, synced: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let shared = &self.reader.0;
        shared.tail.lock().push_all(&entries).map_err(|error| shared.failure.note(&error))?;
        self.send(Write::Append { entries, synced }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let first = last.as_ref().map_or(0, |last| last.index + 1);
        self.reader.0.tail.lock().truncate(last);
        self.write(|done| Write::TruncateFrom { first, done }).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.reader.0.tail.lock().purge(upto);
        self.write(|done| Write::PurgeTo { upto, done }).await
    }
}

impl Shared {
    fn with_store<T>(&self, use_it: impl FnOnce(&LogStore) -> Result<T, RaftError>) -> Result<T, RaftError> {
        use_it(self.store.read().as_ref().ok_or_else(RaftError::stopped)?)
    }
}

impl LogReader {
    /// Up to `most` entries of `start..end` that are there.
    ///
    /// With a limit of bytes fewer may come, but at least one.
    async fn read(
        &self,
        range: Range<u64>,
        entries_max: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<RaftEntry>> {
        let shared = &self.0;
        let found = shared.tail.lock().read(range, entries_max, bytes_max);
        if found.stored.is_empty() {
            return Ok(found.entries);
        }
        let (stored, reader) = (found.stored.clone(), self.clone());
        let read = tokio::task::spawn_blocking(move || reader.read_stored(stored, bytes_max)).await;
        let read = read
            .unwrap_or_else(|panic| Err(RaftError::corrupt("the log", format_args!("reading it {panic}"))));
        let mut entries = read.map_err(|error| shared.failure.note(&error))?;
        // What memory has follows only what the store gave to its end.
        if entries.last().is_some_and(|last| last.log_id.index + 1 == found.stored.end) {
            entries.extend(found.entries);
        }
        Ok(entries)
    }

    /// Reads entries that are no longer in memory. All of them are there, or the log has a hole.
    fn read_stored(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<RaftEntry>, RaftError> {
        let rows = self.0.with_store(|store| Ok(store.read(range.clone(), bytes_max)?))?;
        let mut entries = Vec::with_capacity(rows.len());
        // Behind the last one that the limit of bytes let through there may be more.
        let end = if bytes_max == usize::MAX {
            range.end
        } else {
            range.end.min(range.start + rows.len().max(1) as u64)
        };
        for (expected, (index, bytes)) in (range.start..).zip(&rows) {
            if *index != expected {
                break;
            }
            entries.push(codec::decode_entry(*index, bytes)?);
        }
        // What was purged while it was read is no hole.
        let next = range.start + entries.len() as u64;
        if next < end && self.0.tail.lock().purged().is_none_or(|purged| purged.index < next) {
            let what = format_args!("the log in {}", self.0.dir.display());
            return Err(RaftError::corrupt(what, format_args!("the entry {next} is missing")));
        }
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<RaftEntry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (start, end) = ends(&range);
        self.read(start..end, u64::MAX, usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(*self.0.vote.lock())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        self.read(start..end, READ_ENTRIES_MAX, READ_LENGTH_MAX).await
    }

    /// Read piece by piece: what is to be applied after a start may be longer than memory.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<RaftEntry>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (start, end) = ends(&range);
        let pieces = stream::unfold((self.clone(), start), move |(reader, start)| async move {
            if start >= end {
                return None;
            }
            match reader.read(start..end, READ_ENTRIES_MAX, READ_LENGTH_MAX).await {
                Ok(piece) => {
                    let next = piece.last().map(|entry| entry.log_id.index + 1)?;
                    Some((piece.into_iter().map(Ok).collect::<Vec<_>>(), (reader, next)))
                }
                Err(error) => Some((vec![Err(error)], (reader, end))),
            }
        });
        Box::pin(pieces.flat_map(stream::iter))
    }
}

/// The first index of a range, and the one after its last.
fn ends(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}
