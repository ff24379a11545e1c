//! Follows the changes of the namespace, so that answers may be used for longer than one can lag behind.
//!
//! One question after the other waits at the master for news. Each answer vouches for what is granted from the moment
//! on at which it was asked for; when none comes in time, nobody vouches, and whoever remembers answers is told that
//! everything may have changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use forebay_proto::v1::namespace_client::NamespaceClient;
use forebay_proto::{ChangedNames, DirectoryChange, FeedPosition, Followed, News, v1};
use forebay_types::limits::RPC_LENGTH_MAX;
use forebay_types::{ErrorKind, InodeId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::answer::defect;
use crate::cache::Grants;
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::{
    CHANGES_PENDING_MAX, FOLLOW_PAUSE, FOLLOW_SILENCE, FOLLOW_UNSUPPORTED_PAUSE, FOLLOW_VOUCHES, FOLLOW_WAIT,
};
use crate::master_channel::{Call, MasterChannel};

/// What changed in the namespace since it was last asked for. When it is dropped, nothing is granted any more.
#[derive(Debug)]
pub struct Changes {
    pending: Arc<Pending>,
    _stop: DropGuard,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Everything may have changed.
    Everything,
    /// Something about one directory.
    Directory(DirectoryChange),
}

/// Changes that nobody took yet.
#[derive(Debug, Default)]
struct Pending {
    /// Held for a few steps only.
    gathered: Mutex<Gathered>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Gathered {
    everything: bool,
    directories: BTreeMap<InodeId, ChangedNames>,
    /// When the first of them came about.
    since: Option<Instant>,
}

impl Client {
    /// Follows the changes of the namespace from now on, until what is returned is dropped. Only then, and only while
    /// the changes are followed in time, answers are granted for longer than [`Standing::Unknown`] allows.
    ///
    /// [`Standing::Unknown`]: crate::Standing::Unknown
    #[must_use]
    pub fn follow_changes(&self) -> Changes {
        let (pending, token) = (Arc::<Pending>::default(), self.0.token.child_token());
        let follower = Follower {
            master: Arc::clone(&self.0.master),
            grants: Arc::clone(&self.0.grants),
            pending: Arc::clone(&pending),
            header: self.header(None),
        };
        let stop = token.clone().drop_guard();
        self.0.tracker.spawn(async move {
            tokio::select! {
                () = token.cancelled() => follower.grants.end(),
                () = follower.run() => {}
            }
        });
        Changes { pending, _stop: stop }
    }
}

impl Changes {
    /// What changed, and how long ago the first of it came about; waits until there is something. Changes of one
    /// directory are one. Cancel safe.
    pub async fn next(&mut self) -> (Vec<Change>, Duration) {
        loop {
            let news = self.pending.news.notified();
            if let Some(taken) = self.pending.take() {
                return taken;
            }
            news.await;
        }
    }
}

impl Pending {
    fn add(&self, news: News, since: Instant) {
        let mut gathered = self.gathered.lock();
        match news {
            News::Everything => gathered.everything = true,
            News::Changes(changes) if changes.is_empty() => return,
            News::Changes(changes) => changes.into_iter().for_each(|change| gathered.add(change)),
        }
        gathered.since = Some(gathered.since.map_or(since, |earlier| earlier.min(since)));
        drop(gathered);
        self.news.notify_one();
    }

    fn take(&self) -> Option<(Vec<Change>, Duration)> {
        let Gathered { everything, directories, since } = std::mem::take(&mut *self.gathered.lock());
        let age = since?.elapsed();
        if everything {
            return Some((vec![Change::Everything], age));
        }
        let change = |(directory, names)| Change::Directory(DirectoryChange { directory, names });
        Some((directories.into_iter().map(change).collect(), age))
    }
}

impl Gathered {
    fn add(&mut self, change: DirectoryChange) {
        if self.directories.len() >= CHANGES_PENDING_MAX {
            self.everything = true;
        }
        if self.everything {
            self.directories.clear();
            return;
        }
        let names = self.directories.entry(change.directory).or_insert(ChangedNames::These(Vec::new()));
        match (&mut *names, change.names) {
            (ChangedNames::These(known), ChangedNames::These(more))
                if known.len() + more.len() <= CHANGES_PENDING_MAX =>
            {
                known.extend(more);
            }
            _ => *names = ChangedNames::All,
        }
    }
}

/// Asks the master again and again.
struct Follower {
    master: Arc<MasterChannel>,
    grants: Arc<Grants>,
    pending: Arc<Pending>,
    header: v1::RequestHeader,
}

impl Follower {
    async fn run(&self) {
        let mut after = None;
        loop {
            let asked = Instant::now();
            match self.ask_or_lose(after).await {
                Ok(followed) => {
                    let is_empty = followed.news == News::Changes(Vec::new());
                    after = Some(self.take(followed, asked, after.is_none()));
                    if is_empty && asked.elapsed() < FOLLOW_WAIT / 2 {
                        tokio::time::sleep(FOLLOW_PAUSE).await;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    tracing::debug!("the master does not tell of changes; they are seen a few seconds later");
                    self.sleep_or_lose(FOLLOW_UNSUPPORTED_PAUSE).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "changes could not be followed; going on");
                    self.sleep_or_lose(FOLLOW_PAUSE).await;
                }
            }
        }
    }

    /// Takes up an answer; gives the place at which to go on.
    fn take(&self, followed: Followed, asked: Instant, is_first: bool) -> FeedPosition {
        let Followed { position, news, age } = followed;
        let now = Instant::now();
        let (at, heard) = (asked.into_std(), now.into_std());
        if is_first {
            self.grants.begin(at, FOLLOW_VOUCHES, heard);
        } else {
            // First void here, then tell: whoever asks again after it was told gets something newer.
            self.grants.heard(&news, at, FOLLOW_VOUCHES, heard);
            self.pending.add(news, now.checked_sub(age).unwrap_or(now));
        }
        position
    }

    /// Asks for changes, and meanwhile sees to it that nobody is relied on who does not answer in time.
    async fn ask_or_lose(&self, after: Option<FeedPosition>) -> Result<Followed, ClientError> {
        let ask = self.ask(after);
        tokio::pin!(ask);
        loop {
            let vouched_until = self.grants.vouched_until();
            tokio::select! {
                followed = &mut ask => return followed,
                () = until(vouched_until) => self.lose(),
            }
        }
    }

    async fn sleep_or_lose(&self, pause: Duration) {
        let sleep = tokio::time::sleep(pause);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return,
                () = until(self.grants.vouched_until()) => self.lose(),
            }
        }
    }

    /// Nobody vouches for what is granted any more.
    fn lose(&self) {
        tracing::debug!("no word of changes came in time; what was remembered is asked for again");
        self.grants.end();
        self.pending.add(News::Everything, Instant::now());
    }

    async fn ask(&self, after: Option<FeedPosition>) -> Result<Followed, ClientError> {
        let wait_nanos = u64::try_from(FOLLOW_WAIT.as_nanos()).expect("a second");
        let request = v1::FollowChangesRequest {
            header: Some(self.header.clone()),
            after: after.map(Into::into),
            wait_nanos,
        };
        let send = |channel, request| async move {
            let mut names = NamespaceClient::new(channel).max_decoding_message_size(RPC_LENGTH_MAX);
            names.follow_changes(request).await
        };
        let call = Call {
            rpc: "FollowChanges",
            answer_within: FOLLOW_VOUCHES,
            silence: FOLLOW_SILENCE,
            message: request,
            send,
        };
        let answer = self.master.call_of(call).await.outcome()?;
        answer.try_into().map_err(defect("FollowChanges"))
    }
}

/// Sleeps until then, or for ever.
async fn until(moment: Option<std::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
