//! Goes through directories a page at a time, so that a large tree needs no more memory than a small one.

use forebay_client::{Client, Entry, Named};
use forebay_types::{EntryKind, InodeId, ListingPosition, NamespacePath};

use crate::failure::Failure;

/// Entries asked for at once.
const PAGE: u32 = 1000;

/// The pages of one directory.
pub(super) struct Pages<'a> {
    client: &'a Client,
    at: NamespacePath,
    directory: InodeId,
    after: Option<ListingPosition>,
    complete: bool,
}

impl<'a> Pages<'a> {
    pub(super) const fn new(client: &'a Client, at: NamespacePath, directory: InodeId) -> Self {
        Self { client, at, directory, after: None, complete: false }
    }

    /// The next page; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Named>>, Failure> {
        if self.complete {
            return Ok(None);
        }
        let page = self.client.list(self.directory, self.after.as_ref(), PAGE).await;
        let page = page.map_err(|error| Failure::client(format!("list {}", self.at), &error))?;
        self.complete = page.complete;
        self.after = page.entries.last().map(|last| ListingPosition::of(&last.name, last.entry.kind));
        Ok(Some(page.entries))
    }
}

/// Everything below one directory, in depth first; a directory comes before what is in it.
pub(super) struct Walk<'a> {
    client: &'a Client,
    /// Directories whose entries are still to come, the deepest last, with what is left of their current page.
    open: Vec<(Pages<'a>, std::vec::IntoIter<Named>)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(client: &'a Client, at: NamespacePath, directory: InodeId) -> Self {
        let pages = Pages::new(client, at, directory);
        Self { client, open: vec![(pages, Vec::new().into_iter())] }
    }

    /// The next entry with its path; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<(NamespacePath, Entry)>, Failure> {
        while let Some((pages, page)) = self.open.last_mut() {
            if let Some(Named { name, entry }) = page.next() {
                let at = pages.at.join(name);
                if entry.kind == EntryKind::Directory {
                    self.open
                        .push((Pages::new(self.client, at.clone(), entry.inode), Vec::new().into_iter()));
                }
                return Ok(Some((at, entry)));
            }
            match pages.next().await? {
                Some(entries) => *page = entries.into_iter(),
                None => {
                    self.open.pop();
                }
            }
        }
        Ok(None)
    }
}
