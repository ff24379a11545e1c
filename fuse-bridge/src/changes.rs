//! Follows the changes of the namespace and has the kernel ask again for what changed.
//!
//! Names are told one by one while they are few and nobody waits for an answer in their directory; else the kernel is
//! told that all it remembers is void, which costs look-ups and never waits.

use std::sync::Arc;
use std::time::Instant;

use forebay_client::{Change, ChangedNames};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::bridge::Shared;
use crate::limits::{BUSY_PATIENCE, BUSY_PAUSE, NOTICE_PATIENCE, NOTICE_THREADS_MAX, NOTICES_MAX};
use crate::namespace::{Changes, Namespace};
use crate::node_id::NodeId;
use crate::notices::Notices;

/// What the kernel is to be told.
#[derive(Debug, PartialEq, Eq)]
enum Notice {
    /// To ask again for these.
    Names(Vec<(NodeId, Vec<u8>)>),
    /// To ask again for everything.
    All,
}

/// Tells the kernel of one mount what changes.
pub(crate) struct Teller<N: Namespace> {
    shared: Arc<Shared<N>>,
    notices: Arc<Notices>,
    /// A permit is a batch that waits in the kernel.
    threads: Arc<Semaphore>,
    /// Whether the kernel knows both kinds of notices. One that knows no epochs may take a name that expires for one that
    /// is gone, and unmount what lies below.
    is_known: bool,
}

impl<N: Namespace> Teller<N> {
    pub(crate) fn new(shared: Arc<Shared<N>>, notices: Arc<Notices>) -> Self {
        let threads = Arc::new(Semaphore::new(NOTICE_THREADS_MAX));
        Self { shared, notices, threads, is_known: false }
    }

    /// Finds out whether the kernel can be told that all is void; only then it may remember for longer.
    pub(crate) fn probe(&mut self) {
        match self.notices.forget_all() {
            Ok(()) => {
                self.is_known = true;
                self.shared.can_forget.set(true);
            }
            Err(error) => {
                tracing::debug!(%error, "the kernel cannot be told to ask again for everything; it asks every few seconds");
            }
        }
    }

    /// Follows the changes until it is dropped.
    pub(crate) async fn run(self, mut changes: N::Changes) {
        loop {
            let (changed, age) = changes.next().await;
            let heard = Instant::now();
            // What the kernel keeps of directories that are open is looked through by somebody else.
            self.shared.heard.notify_one();
            if !self.is_known {
                continue;
            }
            match self.notice(changed) {
                Notice::All => self.tell_all(),
                Notice::Names(names) if names.is_empty() => continue,
                Notice::Names(names) => self.tell(names).await,
            }
            self.shared.answers.metrics.told_after(age + heard.elapsed());
        }
    }

    /// What is to be said of changes. Of directories that the kernel does not know, nothing.
    fn notice(&self, changes: Vec<Change>) -> Notice {
        let mut all = Vec::new();
        for change in changes {
            let Change::Directory(change) = change else { return Notice::All };
            let directory = self.shared.nodes.id_of_inode(change.directory);
            if !self.shared.nodes.is_known(directory) {
                continue;
            }
            let ChangedNames::These(names) = change.names else { return Notice::All };
            if all.len() + names.len() > NOTICES_MAX {
                return Notice::All;
            }
            all.extend(names.into_iter().map(|changed| (directory, Vec::from(changed.name))));
        }
        Notice::Names(all)
    }

    async fn tell(&self, names: Vec<(NodeId, Vec<u8>)>) {
        if !self.are_idle(&names).await && self.shared.can_forget.get() {
            return self.tell_all();
        }
        let Ok(permit) = Arc::clone(&self.threads).try_acquire_owned() else { return self.tell_all() };
        let notices = Arc::clone(&self.notices);
        let count = names.len() as u64;
        let told = spawn_blocking(move || {
            let _permit = permit;
            names.iter().try_for_each(|(directory, name)| notices.expire(*directory, name))
        });
        match tokio::time::timeout(NOTICE_PATIENCE, told).await {
            Ok(Ok(Ok(()))) => self.shared.answers.metrics.told_names(count),
            Ok(Ok(Err(error))) => {
                tracing::debug!(%error, "the kernel did not take a notice");
                self.tell_all();
            }
            Ok(Err(_)) | Err(_) => self.tell_all(),
        }
    }

    fn tell_all(&self) {
        match self.notices.forget_all() {
            Ok(()) => {
                self.shared.can_forget.set(true);
                self.shared.answers.metrics.told_all();
            }
            Err(error) => {
                // What it remembers now it may remember a little longer; from now on it is told to remember less.
                if self.shared.can_forget.get() {
                    self.shared.can_forget.set(false);
                    tracing::warn!(%error, "the kernel cannot be told to ask again for everything; it asks every few seconds from now on");
                }
            }
        }
    }

    /// Waits a moment for the answers that the kernel waits for in these directories; whether all were given.
    async fn are_idle(&self, names: &[(NodeId, Vec<u8>)]) -> bool {
        let end = Instant::now() + BUSY_PATIENCE;
        while names.iter().any(|(directory, _)| self.shared.busy.is_busy(*directory)) {
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        true
    }
}
