//! Drops the versions that the master no longer wants here, and disowns those that it only no longer knows, beside the
//! heartbeats: deleting many files may take longer than a worker may be silent.
//!
//! The master that leads tells one list at a time, again and again until it hears that this very list was taken, which is
//! when all of it is dropped. A list that comes again is not dropped twice: what is here now came since. Lists are
//! numbered by each master for each registration.

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

/// Who told a list: a master, and the registration there.
pub(crate) type ToldBy = (String, u64);

type Dropping = BoxFuture<'static, Result<(), ReadError>>;

/// What is being dropped.
#[derive(Default)]
pub(crate) struct Forgetting {
    /// The list that is being dropped. One at a time: the master tells the next only afterwards.
    under_way: Option<(ToldBy, u64, Dropping)>,
}

impl Forgetting {
    /// Begins to drop a list of whoever was told that the list `taken` was the last, unless it is that or another is
    /// under way.
    pub(crate) fn begin(&mut self, core: &Arc<WorkerCore>, told_by: ToldBy, taken: u64, list: ForgetList) {
        let ForgetList { sequence, files, disowned } = list;
        let is_known = sequence != 0 && sequence == taken;
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
        self.under_way = Some((told_by, sequence, dropping.boxed()));
    }

    /// Ends when the list under way is dropped, with who told it and its number; never when there is none. Cancel safe.
    pub(crate) async fn taken_in(&mut self) -> (ToldBy, u64) {
        loop {
            let Some((_, _, dropping)) = &mut self.under_way else { return std::future::pending().await };
            let dropped = dropping.await;
            let Some((told_by, sequence, _)) = self.under_way.take() else { continue };
            match dropped {
                Ok(()) => return (told_by, sequence),
                Err(error) => tracing::debug!(%error, "stopping before superseded versions were dropped"),
            }
        }
    }
}
