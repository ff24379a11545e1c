//! Fetches the pages of one listing, ahead of whoever compares them and only as far as somebody wants them.

use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{Inode, MountRecord};
use forebay_runtime::BootInstant;
use forebay_types::{InodeId, MountId, UnderStoreKey};
use forebay_under_store::{ListedPage, PageToken, UnderStore};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::error::MasterError;
use crate::limits;
use crate::shared::Shared;

/// The pages of a listing under way. Dropping them ends it.
pub(super) struct Pages {
    fetched: mpsc::Receiver<Result<Fetched, MasterError>>,
    _fetching: AbortOnDropHandle<()>,
}

/// One page.
pub(super) struct Fetched {
    /// When it was asked for.
    pub(super) asked: BootInstant,
    pub(super) page: ListedPage,
    pub(super) is_last: bool,
    /// How long it was waited for the under-store's answers, to this page and those before.
    pub(super) cost: Duration,
}

impl Pages {
    /// Begins to ask for a directory's pages.
    pub(super) fn ask(
        shared: &Arc<Shared>,
        directory: &Inode,
        mount: &MountRecord,
    ) -> Result<Self, MasterError> {
        let fetching = Fetching {
            store: shared.under_store(mount)?,
            shared: Arc::clone(shared),
            directory: directory.id,
            key: directory.key.clone(),
            mount: mount.id,
        };
        let (sender, fetched) = mpsc::channel(limits::LISTING_PAGES_WAITING_MAX);
        let fetching = tokio::spawn(async move {
            // Whoever takes no more pages needs no answer either.
            if let Err(error) = fetching.run(&sender).await {
                drop(sender.send(Err(error)).await);
            }
        });
        Ok(Self { fetched, _fetching: AbortOnDropHandle::new(fetching) })
    }

    /// The next page; `None` after the last one, and where nobody wants more. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Fetched>, MasterError> {
        self.fetched.recv().await.transpose()
    }
}

/// Asks for one page after the other.
struct Fetching {
    store: Arc<dyn UnderStore>,
    shared: Arc<Shared>,
    directory: InodeId,
    key: UnderStoreKey,
    mount: MountId,
}

impl Fetching {
    async fn run(&self, pages: &mpsc::Sender<Result<Fetched, MasterError>>) -> Result<(), MasterError> {
        let (mut token, mut cost) = (None, Duration::ZERO);
        loop {
            let (asked, mut page) = self.page(token).await?;
            token = page.next.take();
            cost += self.shared.clock.boot_instant().saturating_duration_since(asked);
            self.shared.checks.lock().takes(self.directory, cost);
            let fetched = Fetched { asked, page, is_last: token.is_none(), cost };
            if pages.send(Ok(fetched)).await.is_err() || token.is_none() || !self.is_more_wanted().await {
                return Ok(());
            }
        }
    }

    async fn is_more_wanted(&self) -> bool {
        let more = self.shared.listings.more_wanted(self.directory);
        tokio::time::timeout(limits::LISTING_UNWANTED_MAX, more).await.unwrap_or(false)
    }

    async fn page(&self, token: Option<PageToken>) -> Result<(BootInstant, ListedPage), MasterError> {
        self.shared.may_ask_on(self.mount).await?;
        self.shared.turn_of_listing(self.mount, self.directory).await?;
        // Others that are silent may keep all places, too.
        self.shared.listings.asks(self.directory);
        let _place = self.shared.listings.places.acquire().await.expect("never closed");
        let asked = self.shared.clock.boot_instant();
        let listed = self.store.list(&self.key, token);
        let page = tokio::time::timeout(limits::UNDER_STORE_DEADLINE, listed).await.map_err(|_| {
            MasterError::UnderStoreTimedOut {
                mount: self.mount,
                seconds: limits::UNDER_STORE_DEADLINE.as_secs(),
            }
        })??;
        self.shared.listings.page_came(self.directory);
        Ok((asked, page))
    }
}
