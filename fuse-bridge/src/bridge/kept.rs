//! Which listings the kernel keeps, and has to drop.
//!
//! Whether one may be shown is decided at each OPENDIR, by what is known at that moment. For directories that stay open
//! somebody looks after it, and tells the kernel.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_client::{About, Standing};
use forebay_types::ErrorKind;
use fuser::FopenFlags;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;

use super::Shared;
use crate::answers::Failure;
use crate::kernel_listings::{KernelListing, Opener, Opening};
use crate::limits::{LISTINGS_PAUSE, NOTICE_PATIENCE};
use crate::listing::{Offset, OpenDirectory, Record};
use crate::namespace::{Namespace, NamespaceError};
use crate::node_id::NodeId;
use crate::nodes::NodeView;
use crate::walk::{Unfinished, Walk};

/// The kernel shows what it keeps, and asks for the rest.
pub(super) const SHOWN: FopenFlags = FopenFlags::FOPEN_CACHE_DIR.union(FopenFlags::FOPEN_KEEP_CACHE);

/// The kernel asks for everything, and leaves alone what it may be gathering for others.
const APART: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE;
/// A listing that is looked at now is looked at again before so much is over.
const LEFT_MIN: Duration = LISTINGS_PAUSE.saturating_mul(2);

impl<N: Namespace> Shared<N> {
    /// A handle that needs no answer of ours, where the kernel has the listing and it stands.
    pub(super) fn open_to_show(&self, view: &NodeView, pid: u32) -> Option<OpenDirectory> {
        let opener = Opener { directory: view.id, pid, now: Instant::now() };
        let outline = self.listings.open_to_show(opener, |listing| self.stands(listing))?;
        self.answers.metrics.kept_listings.opened();
        Some(OpenDirectory::shown(view.id, view.facts.inode, view.parent, outline))
    }

    /// What becomes of a handle that has its first page, and how the kernel is to treat it.
    pub(super) fn open_to_gather(
        &self,
        view: &NodeView,
        pid: u32,
        directory: OpenDirectory,
    ) -> (OpenDirectory, FopenFlags) {
        // Where a mount may appear, nothing is said about names that are not there. What must not be remembered at all has
        // no validity.
        let is_worth_it = self.notices.get().is_some()
            && view.facts.has_under_store
            && directory.validity().is_some_and(|validity| {
                let ttl = self.ttl_of(About::names(directory.inode), validity, Instant::now());
                validity.until > validity.asked && ttl > LEFT_MIN
            });
        if !is_worth_it {
            return (directory, APART);
        }
        let opener = Opener { directory: view.id, pid, now: Instant::now() };
        match self.listings.open(opener, |listing| self.stands(listing)) {
            Opening::Plain => (directory, APART),
            Opening::Gather(walk) => {
                directory.gather(walk, &self.listings);
                // What is gone on with must still be there.
                (directory, if walk.is_mixed { SHOWN } else { FopenFlags::FOPEN_CACHE_DIR })
            }
            Opening::Show(outline) => {
                let shown = OpenDirectory::shown(view.id, directory.inode, directory.parent, outline);
                (shown, SHOWN)
            }
        }
    }

    /// A handle begins again, though the kernel was to have all of its listing or it was not at the end.
    pub(super) async fn gather_again(
        &self,
        directory: &OpenDirectory,
        left: Unfinished,
    ) -> Result<(), Failure> {
        if let Unfinished::BrokenOff(number) = left
            && self.listings.again(directory.node, number)
        {
            directory.gather(Walk { number, is_mixed: true }, &self.listings);
            return Ok(());
        }
        let mut is_dropped = false;
        loop {
            if let Some(walk) = self.listings.walk(directory.node, is_dropped) {
                directory.gather(walk, &self.listings);
                return Ok(());
            }
            self.drop_listing(directory.node).await?;
            is_dropped = true;
        }
    }

    /// Settles what the kernel keeps of a listing before it hears of its end.
    pub(super) async fn end(&self, directory: &OpenDirectory, at: Offset) -> Result<(), Failure> {
        let Some((walk, record)) = directory.end(at) else { return Ok(()) };
        let now = Instant::now();
        let listing = record.filter(Record::can_be_kept).and_then(|record| {
            let (validity, view) = (record.validity?, self.nodes.view(directory.node)?);
            let names = About::names(directory.inode);
            let end = now + self.ttl_of(names, validity, now);
            Some(KernelListing {
                names,
                itself: view.facts.about(),
                validity,
                end,
                outline: record.outline.into(),
                has_attributes: record.has_attributes,
            })
        });
        let outline = listing.as_ref().map(|listing| listing.outline.clone());
        if self.listings.end(directory.node, walk, listing, |listing| self.stands(listing)) {
            directory.ended(outline);
            return Ok(());
        }
        self.drop_listing(directory.node).await?;
        directory.ended(None);
        Ok(())
    }

    /// Notes that a name is looked up. To those who want attributes the kernel is to show no listing without them.
    pub(super) fn note_lookup(self: &Arc<Self>, directory: NodeId, pid: u32) {
        if self.listings.looked_up(Opener { directory, pid, now: Instant::now() }) {
            let shared = Arc::clone(self);
            self.answers.spawn(async move {
                if let Err(failure) = shared.drop_listing(directory).await {
                    tracing::debug!(?failure, "the kernel goes on with the listing that it has");
                }
            });
        }
    }

    /// Has listings dropped that open directories must not show any more, for as long as it is polled.
    pub(crate) async fn look_after_listings(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LISTINGS_PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.heard.notified() => {}
            }
            for directory in self.listings.give_up(|listing| self.stands(listing)) {
                let dropped = tokio::time::timeout(NOTICE_PATIENCE, self.drop_listing(directory)).await;
                if !matches!(dropped, Ok(Ok(()))) {
                    tracing::debug!(%directory, "the kernel did not drop a listing in time");
                }
            }
            self.answers.metrics.kept_listings.remembered(self.listings.memory().taken());
        }
    }

    /// Whether a listing may be shown until it is looked at again, and once more.
    fn stands(&self, listing: &KernelListing) -> bool {
        let (now, asked) = (Instant::now(), listing.validity.asked);
        if self.namespace.standing(listing.itself, asked) == Standing::Void {
            return false;
        }
        let left = self.ttl_of(listing.names, listing.validity, now);
        left.min(listing.end.saturating_duration_since(now)) > LEFT_MIN
    }

    /// Has the kernel drop what it has of a listing.
    async fn drop_listing(&self, directory: NodeId) -> Result<(), Failure> {
        let Some(notices) = self.notices.get().cloned() else { return Ok(()) };
        let dropped = spawn_blocking(move || notices.drop_listing(directory)).await;
        let dropped = dropped.map_err(io::Error::other).flatten();
        dropped.map_err(|error| {
            let message = format!("the kernel did not drop the listing of {directory}: {error}");
            NamespaceError { kind: ErrorKind::Internal, message }.into()
        })
    }
}
