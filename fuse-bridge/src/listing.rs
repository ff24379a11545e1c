//! An open directory: which part of it is in memory, and how the kernel's offsets lead through it.
//!
//! Offsets count entries: 0 is `.`, 1 is `..`, 2 the first name. A page is asked for by the last place of the one
//! before, so entries that come and go elsewhere neither repeat nor hide others. One page is kept, whatever the
//! directory's size; going back beyond it walks again from the begin.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use forebay_client::Named;
use forebay_types::limits::LISTING_PAGE_MAX;
use forebay_types::{ErrorKind, InodeId, ListingPosition};
use parking_lot::Mutex;

use crate::limits::FIRST_NAMES;
use crate::metrics::{Metrics, Question};
use crate::namespace::{Namespace, NamespaceError};
use crate::node_id::NodeId;
use crate::ttl::{TtlRule, Validity};

/// The offset of the first name, after `.` and `..`.
pub(crate) const FIRST_NAME: u64 = 2;

/// Who is asked for pages, and what is made of the answers.
#[derive(Debug)]
pub(crate) struct Asking<'a, N> {
    pub(crate) namespace: &'a N,
    pub(crate) rule: TtlRule,
    pub(crate) metrics: &'a Metrics,
}

/// A directory handle.
#[derive(Debug)]
pub(crate) struct OpenDirectory {
    pub(crate) node: NodeId,
    pub(crate) inode: InodeId,
    pub(crate) parent: NodeId,
    kept: Mutex<Kept>,
}

/// What a handle keeps of its directory.
#[derive(Debug, Default)]
struct Kept {
    page: Option<Arc<Page>>,
    /// The page is the first one and nobody has seen it.
    unseen: bool,
}

/// Part of a directory.
#[derive(Debug)]
pub(crate) struct Page {
    /// The offset of its first entry.
    first: u64,
    /// The offset after its last one.
    end: u64,
    pub(crate) entries: Vec<Named>,
    complete: bool,
    pub(crate) validity: Validity,
}

impl OpenDirectory {
    pub(crate) fn new(node: NodeId, inode: InodeId, parent: NodeId) -> Self {
        Self { node, inode, parent, kept: Mutex::default() }
    }

    /// Fetches the first page: only so it is known whether the directory still is there. An error of a later request
    /// could not lead the kernel to what has taken its place.
    pub(crate) async fn begin<N: Namespace>(&self, asking: &Asking<'_, N>) -> Result<(), NamespaceError> {
        self.fetch(asking, FIRST_NAME, None).await?;
        self.kept.lock().unseen = true;
        Ok(())
    }

    /// The page in which the listing goes on at `offset`; without entries from there on if it is over. An offset of 0
    /// begins anew, unless it is the first one. A reader keeps no lock while it waits; the kernel lets only one at a
    /// time read a handle anyway.
    pub(crate) async fn page_at<N: Namespace>(
        &self,
        asking: &Asking<'_, N>,
        offset: u64,
    ) -> Result<Arc<Page>, NamespaceError> {
        let wanted = offset.max(FIRST_NAME);
        let kept = self.kept.lock().take_for(offset);
        let mut current = match kept {
            Some(page) if page.first <= wanted && (page.holds(wanted) || page.end <= wanted) => page,
            _ => self.fetch(asking, FIRST_NAME, None).await?,
        };
        while !current.holds(wanted) && !current.complete {
            let last = current.entries.last().map(position);
            current = self.fetch(asking, current.end, last.as_ref()).await?;
        }
        if !current.holds(wanted) {
            self.let_go(&current);
        }
        Ok(current)
    }

    async fn fetch<N: Namespace>(
        &self,
        asking: &Asking<'_, N>,
        first: u64,
        after: Option<&ListingPosition>,
    ) -> Result<Arc<Page>, NamespaceError> {
        // Few programs that look at a directory wait for all of it, and many take the first names only.
        let limit = if after.is_none() { FIRST_NAMES } else { LISTING_PAGE_MAX };
        let begun = Instant::now();
        let listed = asking.namespace.list(self.inode, after, limit).await?;
        asking.metrics.answered(Question::List, listed.asked < begun);
        check_order(self.inode, after, &listed.entries)?;
        let page = Arc::new(Page {
            first,
            end: first + listed.entries.len() as u64,
            // A page without entries could never be gone on from.
            complete: listed.complete || listed.entries.is_empty(),
            entries: listed.entries,
            validity: asking.rule.validity(listed.asked, listed.valid),
        });
        *self.kept.lock() = Kept { page: Some(Arc::clone(&page)), unseen: false };
        Ok(page)
    }

    /// At the end of a listing the page is of no use any more, and a program may keep its handle for long.
    fn let_go(&self, page: &Page) {
        let rest = Page { entries: Vec::new(), ..*page };
        self.kept.lock().page = Some(Arc::new(rest));
    }
}

impl Kept {
    /// The page, if a request at `offset` may use it.
    fn take_for(&mut self, offset: u64) -> Option<Arc<Page>> {
        let unseen = std::mem::take(&mut self.unseen);
        if offset == 0 && !unseen { None } else { self.page.clone() }
    }
}

impl Page {
    fn holds(&self, offset: u64) -> bool {
        usize::try_from(offset.wrapping_sub(self.first)).is_ok_and(|index| index < self.entries.len())
    }

    /// For how long an entry holds as the page has it. Of the directory of a mount a listing of what it lies in does not say
    /// how it is now.
    pub(crate) fn validity_of(&self, named: &Named) -> Validity {
        if named.entry.own_grant { Validity::already_over(self.validity.asked) } else { self.validity }
    }

    /// The entries from `offset` on, each with the offset after it.
    pub(crate) fn from(&self, offset: u64) -> impl Iterator<Item = (u64, &Named)> {
        let skipped = offset.max(FIRST_NAME).saturating_sub(self.first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.entries.len());
        (self.first + skipped as u64 + 1..).zip(&self.entries[skipped..])
    }
}

fn position(named: &Named) -> ListingPosition {
    ListingPosition::of(&named.name, named.entry.kind)
}

/// Places that do not rise would make a listing endless.
fn check_order(
    directory: InodeId,
    after: Option<&ListingPosition>,
    entries: &[Named],
) -> Result<(), NamespaceError> {
    let positions = after.cloned().into_iter().chain(entries.iter().map(position));
    if positions.is_sorted_by(|left, right| left < right) {
        return Ok(());
    }
    let message = format!("the listing of {directory} is out of order");
    Err(NamespaceError { kind: ErrorKind::Internal, message })
}
