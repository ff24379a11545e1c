//! Answers about names from memory, where they still stand; and what of the master's answers is remembered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_proto::{Entry, Named, Validity, v1};
use forebay_types::{ByteCount, EntryName, ErrorKind, InodeId, ListingPosition, NamespacePath};

use crate::cache::{PackedEntry, Remembered, Term};
use crate::client::Client;
use crate::error::ClientError;
use crate::names::{Attributes, ListingPage, Lookup};

impl Client {
    /// What is remembered of directories takes so much memory now.
    #[must_use]
    pub fn remembered(&self) -> ByteCount {
        ByteCount::new(self.0.directories.bytes() as u64)
    }

    /// Whether anything is: packing what is not costs time.
    fn remembers(&self) -> bool {
        self.0.directories.is_in_use()
    }

    /// Forgets what was told of names: something was changed on behalf of this client.
    pub(crate) fn forget_names(&self) {
        self.0.directories.forget_all(now());
    }

    pub(crate) fn remembered_lookup(&self, parent: InodeId, name: &EntryName) -> Option<Lookup> {
        let (entry, term) = self.0.directories.lookup(parent, name, now())?;
        // What cannot be unpacked is asked for.
        let entry = entry.map(|packed| packed.entry()).transpose().ok()?;
        Some(Lookup { entry, asked: term.asked, valid: term.valid() })
    }

    pub(crate) fn remembered_attributes(&self, inode: InodeId) -> Option<Attributes> {
        let (entry, term) = self.0.directories.attributes(inode, now())?;
        Some(Attributes { entry: entry.entry().ok()?, asked: term.asked, valid: term.valid() })
    }

    pub(crate) fn remembered_page(
        &self,
        directory: InodeId,
        after: Option<&ListingPosition>,
        limit: usize,
    ) -> Option<ListingPage> {
        let ((entries, complete), term) = self.0.directories.list(directory, after, limit, now())?;
        let named =
            |(name, packed): (EntryName, Arc<PackedEntry>)| Some(Named { name, entry: packed.entry().ok()? });
        let entries = entries.into_iter().map(named).collect::<Option<Vec<_>>>()?;
        Some(ListingPage { entries, complete, asked: term.asked, valid: term.valid() })
    }

    /// The entry at a path all of which is remembered, and what is left of the time for which it may be used without a
    /// grant. That something is missing the master is asked for: its answer says what.
    pub(crate) fn remembered_path(&self, path: &NamespacePath) -> Option<(Entry, Duration)> {
        let (mut directory, mut found) = (InodeId::ROOT, None);
        for name in path.names() {
            let (entry, term) = self.0.directories.lookup(directory, name, now())?;
            let entry = entry?;
            directory = entry.inode();
            found = Some((entry, term));
        }
        let (entry, term) = found?;
        Some((entry.entry().ok()?, term.until.saturating_duration_since(now())))
    }

    /// Remembers an answer about a name.
    pub(crate) fn learn_name(
        &self,
        directory: InodeId,
        name: &EntryName,
        entry: Option<&v1::Entry>,
        (asked, validity): (Instant, Validity),
    ) {
        if !self.remembers() {
            return;
        }
        // Who sends what is no entry is refused elsewhere.
        let Ok(packed) = entry.map(PackedEntry::new).transpose() else { return };
        let term = Term::new(asked, validity);
        self.0.directories.learn(directory, name, packed, term, now());
    }

    /// Remembers an answer about an inode whose name was not told.
    pub(crate) fn learn_entry(&self, entry: &v1::Entry, (asked, validity): (Instant, Validity)) {
        if !self.remembers() {
            return;
        }
        let Ok(packed) = PackedEntry::new(entry) else { return };
        let (directory, term) = (InodeId::new(entry.directory), Term::new(asked, validity));
        self.0.directories.learn_entry(directory, packed, term, now());
    }

    /// Remembers a page of a listing.
    pub(crate) fn learn_page(
        &self,
        directory: InodeId,
        after: Option<&ListingPosition>,
        answer: &v1::ListResponse,
        asked: Instant,
    ) {
        let validity = Validity::from_nanos(answer.valid_nanos, answer.granted_nanos);
        let Some(term) = Term::new(asked, validity).filter(|_| self.remembers()) else { return };
        let named = |named: &v1::NamedEntry| {
            let name = EntryName::new(named.name.to_vec()).ok()?;
            Some((name, PackedEntry::new(named.entry.as_ref()?).ok()?))
        };
        let Some(entries) = answer.entries.iter().map(named).collect() else { return };
        let page = (entries, answer.complete);
        self.0.directories.learn_page(directory, after, page, Some(term), now());
    }

    /// Looks whether a question failed since the inode is gone: then no path that leads to it is remembered any more.
    pub(crate) fn learn_failure<T>(&self, inode: InodeId, outcome: &Result<T, ClientError>) {
        let kinds = [ErrorKind::NotFound, ErrorKind::NotADirectory];
        if outcome.as_ref().is_err_and(|error| kinds.contains(&error.kind())) {
            self.0.directories.forget(inode, now());
        }
    }
}

/// The clock by which the client goes, which tests may set.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
