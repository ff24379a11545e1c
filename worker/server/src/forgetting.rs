//! Drops the versions that the master no longer wants here, and disowns those that it only no longer knows, beside the
//! heartbeats: deleting many files may take longer than a worker may be silent.
//!
//! The master tells one list at a time, again and again until it hears that this very list was taken, which is when
//! all of it is dropped. A list that comes again is not dropped twice: what is here now came since.

use std::sync::Arc;

use forebay_types::FileId;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::core::WorkerCore;
use crate::error::ReadError;

/// One list of the master.
pub(crate) struct ForgetList {
    /// Names it; 0: the master does not number lists.
    pub(crate) sequence: u64,
    pub(crate) files: Vec<FileId>,
    pub(crate) disowned: Vec<FileId>,
}

/// What is being dropped, and what was.
pub(crate) struct Forgetting {
    /// The list that was taken last; 0 before the first of this life.
    taken: u64,
    /// The list that is being dropped. One at a time: the master tells the next only afterwards.
    under_way: Option<(u64, BoxFuture<'static, Result<(), ReadError>>)>,
}

impl Forgetting {
    pub(crate) fn new() -> Self {
        Self { taken: 0, under_way: None }
    }

    /// The number of the list that was taken last, for the master.
    pub(crate) const fn taken(&self) -> u64 {
        self.taken
    }

    /// A new life of the worker begins, whose master may number its lists anew.
    pub(crate) fn begin_anew(&mut self) {
        self.taken = 0;
        if let Some((sequence, _)) = &mut self.under_way {
            *sequence = 0;
        }
    }

    /// Begins to drop a list, unless it was taken before or another is under way.
    pub(crate) fn begin(&mut self, core: &Arc<WorkerCore>, list: ForgetList) {
        let ForgetList { sequence, files, disowned } = list;
        let is_known = sequence != 0 && sequence == self.taken;
        if (files.is_empty() && disowned.is_empty()) || is_known || self.under_way.is_some() {
            return;
        }
        let core = Arc::clone(core);
        let dropping = async move {
            let (disk, cache) = (core.disk.clone(), core.path.cache.clone());
            let drop_all = move || {
                for file in files {
                    cache.store().drop_version(file);
                }
                for file in disowned {
                    cache.store().disown_version(file);
                }
            };
            disk.run(drop_all).await
        };
        self.under_way = Some((sequence, dropping.boxed()));
    }

    /// Ends when the list under way is dropped; never when there is none. Cancel safe.
    pub(crate) async fn taken_in(&mut self) {
        let Some((sequence, dropping)) = &mut self.under_way else { return std::future::pending().await };
        let dropped = dropping.await;
        match dropped {
            Ok(()) => self.taken = *sequence,
            Err(error) => tracing::debug!(%error, "stopping before superseded versions were dropped"),
        }
        self.under_way = None;
    }
}
