//! The thread that writes the log: takes what has come in meanwhile, writes it, syncs once, tells everybody.
//!
//! After a failure nothing more is written: an entry that follows one that is missing would be a hole.

use std::io;
use std::thread;

use forebay_storage::LogStore;
use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use crate::codec;
use crate::error::RaftError;
use crate::limits::APPEND_LENGTH_MAX;
use crate::log::{LogReader, PURGED_KEY, VOTE_KEY, WriterThread};
use crate::node::growth::Growth;
use crate::types::{LogId, RaftEntry, RaftVote, TypeConfig};

type Done = oneshot::Sender<io::Result<()>>;

/// One thing to be written.
pub(super) enum Write {
    Append { entries: Vec<RaftEntry>, synced: IOFlushed<TypeConfig> },
    Vote { vote: RaftVote, done: Done },
    TruncateFrom { first: u64, done: Done },
    PurgeTo { upto: LogId, done: Done },
}

pub(super) struct Writer {
    log: LogReader,
    queue: mpsc::Receiver<Write>,
    growth: Growth,
    rows: Vec<(u64, Vec<u8>)>,
    length: usize,
    waiting: Vec<IOFlushed<TypeConfig>>,
    failed: bool,
}

impl Writer {
    /// Starts the thread. It ends when nobody can send any more and all is written.
    pub(super) fn start(
        log: LogReader,
        queue: mpsc::Receiver<Write>,
        growth: Growth,
    ) -> Result<WriterThread, RaftError> {
        let dir = log.0.dir.clone();
        let writer =
            Self { log, queue, growth, rows: Vec::new(), length: 0, waiting: Vec::new(), failed: false };
        let thread = thread::Builder::new().name("raft-log".to_owned()).spawn(|| writer.run());
        thread.map_err(|error| RaftError::io("start the writer of", dir, error))
    }

    fn run(mut self) {
        while let Some(write) = self.queue.blocking_recv() {
            self.take(write);
            while self.length < APPEND_LENGTH_MAX
                && let Ok(write) = self.queue.try_recv()
            {
                self.take(write);
            }
            self.append();
        }
        self.log.0.store.write().take();
    }

    /// Gathers entries; everything else is done at once, after the entries that came before it.
    fn take(&mut self, write: Write) {
        match write {
            Write::Append { entries, synced } => {
                for entry in &entries {
                    let bytes = codec::encode_entry(entry);
                    self.length += bytes.len();
                    self.rows.push((entry.log_id.index, bytes));
                }
                self.waiting.push(synced);
            }
            Write::Vote { vote, done } => {
                let saved = self.now(|store| Ok(store.put_meta(VOTE_KEY, &codec::encode_vote(&vote))?));
                if saved.is_ok() {
                    *self.log.0.vote.lock() = Some(vote);
                }
                tell(done, saved);
            }
            Write::TruncateFrom { first, done } => {
                tell(done, self.now(|store| Ok(store.truncate_from(first)?)));
            }
            Write::PurgeTo { upto, done } => {
                // The note first: entries that are left are removed at the next start, a missing note would be a hole.
                let purged = self.now(|store| {
                    store.put_meta(PURGED_KEY, &codec::encode_log_id(&upto))?;
                    Ok(store.purge_to(upto.index)?)
                });
                tell(done, purged);
            }
        }
    }

    fn append(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let length = std::mem::take(&mut self.length) as u64;
        if self.waiting.is_empty() {
            return;
        }
        let last = rows.last().map(|(index, _)| *index);
        let result = self.guarded(|store| Ok(store.append(rows)?));
        if let (Ok(()), Some(last)) = (&result, last) {
            self.log.0.tail.lock().synced(last);
            self.growth.add(length);
        }
        for synced in self.waiting.drain(..) {
            synced.io_completed(repeat(&result));
        }
    }

    fn now(&mut self, write: impl FnOnce(&LogStore) -> Result<(), RaftError>) -> io::Result<()> {
        self.append();
        self.guarded(write)
    }

    fn guarded(&mut self, write: impl FnOnce(&LogStore) -> Result<(), RaftError>) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("the log was not written any more after an earlier failure"));
        }
        self.log.0.with_store(write).map_err(|error| {
            self.failed = true;
            tracing::error!(dir = %self.log.0.dir.display(), %error, "the log cannot be written: this master stops");
            self.log.0.failure.note(&error)
        })
    }
}

fn tell(done: Done, result: io::Result<()>) {
    // Whoever waited may be gone; what was written stays.
    let _ = done.send(result);
}

fn repeat(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}
