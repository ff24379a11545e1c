//! Compares a directory with its under-store: one listing at a time for each directory, however many wait for it.
//!
//! Nobody is answered from a listing that began too early for the mount's freshness; see [`crate::listings`].
//! Only differences are proposed, a thousand to a log entry; each carries the log's index at the listing's begin, so
//! that the state machine leaves alone what changed since. Names are removed only after a complete listing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{
    ApplyListing, Command, EdgeOrigin, Freshness, Inode, ListedEntry, MountRecord, Reap, StateReader,
    SupersedeVersion, query,
};
use forebay_runtime::BootInstant;
use forebay_types::{EntryName, ErrorKind, LogIndex, limits::LISTING_PAGE_MAX};
use forebay_under_store::{ListedObject, ListedPage, UnderStore};

use crate::difference::difference;
use crate::error::MasterError;
use crate::freshness::Verdict;
use crate::limits;
use crate::listings::{Course, Joined, Waiting};
use crate::shared::Shared;

/// A directory, and the mount whose content it is, if any.
pub(crate) struct Place {
    pub(crate) directory: Inode,
    pub(crate) mount: Option<MountRecord>,
}

/// Makes sure that what is known of a directory is within its mount's freshness; gives how long it stays so. While the
/// under-store is down, or silent for longer than somebody can wait, what was known before is served, for a moment at a
/// time.
///
/// Cancel safe: the listing itself goes on.
pub(crate) async fn ensure_fresh(shared: &Arc<Shared>, place: &Place) -> Result<Duration, MasterError> {
    let Some(mount) = &place.mount else {
        return Ok(limits::SYNTHETIC_VALIDITY);
    };
    let (id, freshness) = (place.directory.id, mount.options.freshness);
    let verdict = || shared.checks.lock().verdict(id, freshness, shared.clock.boot_instant());
    let is_loaded = || shared.query(move |state| Ok(query::is_loaded(state, id)?));
    match verdict() {
        Verdict::Fresh(remaining) | Verdict::Aging(remaining) => return Ok(remaining),
        // Loaded by an earlier master: content that never changes needs no second look.
        Verdict::Over if freshness == Freshness::Immutable && is_loaded().await? => {
            return Ok(limits::IMMUTABLE_VALIDITY);
        }
        Verdict::OverAndFailing if is_loaded().await? => return Ok(limits::OUTAGE_VALIDITY),
        Verdict::Over | Verdict::OverAndFailing => {}
    }
    let asked = shared.clock.boot_instant();
    let is_young_enough = |began| match freshness {
        Freshness::Bound(bound) => asked.saturating_duration_since(began) < bound,
        Freshness::Immutable => true,
    };
    let waiting = join(shared, &place.directory, mount, is_young_enough);
    let ended = if is_loaded().await? {
        match wait_while_it_goes_on(waiting, patience(shared, mount)).await {
            Some(ended) => ended,
            None => {
                note_outage(shared, mount, silence(mount));
                shared.checks.lock().failed(id, freshness, shared.clock.boot_instant());
                return Ok(limits::OUTAGE_VALIDITY);
            }
        }
    } else {
        wait(waiting).await
    };
    match ended {
        // With a bound of zero the listing that was just made is good for this answer and no other.
        Ok(()) => match verdict() {
            Verdict::Fresh(remaining) | Verdict::Aging(remaining) => Ok(remaining),
            Verdict::Over | Verdict::OverAndFailing => Ok(Duration::ZERO),
        },
        Err(error) if is_outage_at(&place.directory, error.kind()) && is_loaded().await? => {
            Ok(limits::OUTAGE_VALIDITY)
        }
        Err(error) => Err(error),
    }
}

/// Lists a directory in any case, by a listing that begins after this call or is about to. Cancel safe: the listing
/// itself goes on.
pub(crate) async fn list_now(shared: &Arc<Shared>, place: &Place) -> Result<(), MasterError> {
    match &place.mount {
        Some(mount) => wait(join(shared, &place.directory, mount, |_| false)).await,
        None => Ok(()),
    }
}

/// Lists a directory whose freshness is half over, so that nobody has to wait when it is over. Cancel safe: the listing
/// itself goes on.
pub(crate) async fn renew(shared: &Arc<Shared>, place: &Place) -> Result<(), MasterError> {
    match &place.mount {
        Some(mount) => wait(join(shared, &place.directory, mount, |_| true)).await,
        None => Ok(()),
    }
}

/// The same without being waited for.
pub(crate) fn renew_in_background(shared: &Arc<Shared>, place: &Place) {
    if let Some(mount) = &place.mount {
        drop(join(shared, &place.directory, mount, |_| true));
    }
}

/// Whether a failure to list a directory is the under-store's. A mount's own root that is gone is an outage as well:
/// somebody took a disk away or mistyped a rename, and nobody deletes a data set so.
fn is_outage_at(directory: &Inode, kind: ErrorKind) -> bool {
    is_outage(kind) || directory.key.as_bytes().is_empty()
}

const fn is_outage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnderStore | ErrorKind::TimedOut | ErrorKind::Unavailable)
}

/// The same for a request for one file. A file that is gone is no error, so what is said to be missing is the root.
const fn is_outage_of_file(kind: ErrorKind) -> bool {
    is_outage(kind) || matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Joins a listing of a directory that has not begun or is young enough, or sees to it that there is one.
fn join(
    shared: &Arc<Shared>,
    directory: &Inode,
    mount: &MountRecord,
    is_young_enough: impl FnOnce(BootInstant) -> bool,
) -> Waiting {
    let waiting = match shared.listings.join(directory.id, is_young_enough) {
        Joined::UnderWay(waiting) => return waiting,
        Joined::ToBegin(waiting) => waiting,
    };
    let (directory, mount) = (directory.clone(), mount.clone());
    let mut lister = Lister { shared: Arc::clone(shared), directory, mount, is_over: false };
    let cancelled = shared.background.token();
    shared.background.spawn(async move {
        tokio::select! {
            biased;
            () = cancelled.cancelled() => {}
            () = lister.run() => {}
        }
    });
    waiting
}

/// Runs the listings of one directory for as long as somebody waits for one. Those who wait when it is dropped before,
/// as at the end of the process, learn of that.
struct Lister {
    shared: Arc<Shared>,
    directory: Inode,
    mount: MountRecord,
    is_over: bool,
}

impl Drop for Lister {
    fn drop(&mut self) {
        // Once it is over another one may be at work for the same directory.
        if !self.is_over {
            self.shared.listings.given_up(self.directory.id);
        }
    }
}

impl Lister {
    async fn run(&mut self) {
        let listing = Listing { shared: &self.shared, directory: &self.directory, mount: &self.mount };
        loop {
            let outcome = match tokio::time::timeout(limits::UNDER_STORE_DEADLINE, listing.run()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(MasterError::UnderStoreTimedOut {
                    mount: self.mount.id,
                    seconds: limits::UNDER_STORE_DEADLINE.as_secs(),
                }),
            };
            listing.note(&outcome);
            // News of an outage are as young as this moment, and nobody needs to wait for them twice.
            let is_for_all = outcome.as_ref().is_err_and(|error| is_outage(error.kind()));
            let ended = outcome.map_err(|error| (error.kind(), error.to_string()));
            if !self.shared.listings.ended(self.directory.id, ended, is_for_all) {
                self.is_over = true;
                return;
            }
        }
    }
}

/// Waits until a listing ends.
async fn wait(mut waiting: Waiting) -> Result<(), MasterError> {
    let ended = waiting.wait_for(|course| course.ended.is_some()).await;
    match ended.ok().and_then(|course| course.ended.clone()) {
        Some(Ok(())) => Ok(()),
        Some(Err((kind, message))) => Err(MasterError::Listing { kind, message }),
        None => Err(MasterError::Listing {
            kind: ErrorKind::Unavailable,
            message: "the master is shutting down; try again".to_owned(),
        }),
    }
}

/// Waits until a listing ends; `None` when no page of it comes for as long as `patience`. It goes on then.
async fn wait_while_it_goes_on(mut waiting: Waiting, patience: Duration) -> Option<Result<(), MasterError>> {
    let mut pages = waiting.borrow().pages;
    loop {
        let goes_on = |course: &Course| course.ended.is_some() || course.pages > pages;
        match tokio::time::timeout(patience, waiting.wait_for(goes_on)).await {
            Ok(Ok(course)) if course.ended.is_none() => pages = course.pages,
            Ok(_) => break,
            Err(_) => return None,
        }
    }
    Some(wait(waiting).await)
}

/// How long an under-store may be silent before what was known is served: less once it was down.
fn patience(shared: &Shared, mount: &MountRecord) -> Duration {
    match shared.under_stores.failure(mount.id) {
        Some(_) => limits::OUTAGE_PATIENCE,
        None => limits::SILENCE_PATIENCE,
    }
}

fn silence(mount: &MountRecord) -> String {
    format!("{} is silent", mount.uri)
}

/// Remembers that an under-store is away while what is known is served; logged when it begins.
fn note_outage(shared: &Shared, mount: &MountRecord, reason: String) {
    if shared.under_stores.failure(mount.id).is_none() {
        tracing::warn!(mount = %mount.id, reason, "an under-store is away, serving what is known");
        shared.under_stores.note(mount.id, Some(reason));
    }
}

/// One listing of one directory.
struct Listing<'a> {
    shared: &'a Arc<Shared>,
    directory: &'a Inode,
    mount: &'a MountRecord,
}

impl Listing<'_> {
    async fn run(&self) -> Result<(), MasterError> {
        let _place = self.shared.listings.places.acquire().await.expect("never closed");
        let (id, began) = (self.directory.id, self.shared.clock.boot_instant());
        self.shared.listings.began(id, began);
        let (begun_at, was_loaded) = self.shared.begin(move |state| Ok(query::is_loaded(state, id)?)).await?;
        let store = self.shared.under_store(self.mount)?;
        let seen = self.compare_pages(&store, begun_at).await?;
        let removals = self.names_missing_from(&seen).await?;
        self.propose_removals(begun_at, removals, was_loaded).await?;
        self.shared.checks.lock().listed(id, self.mount.options.freshness, began);
        Ok(())
    }

    /// Goes through the pages and proposes what differs; gives the names there are.
    async fn compare_pages(
        &self,
        store: &Arc<dyn UnderStore>,
        begun_at: LogIndex,
    ) -> Result<BTreeSet<EntryName>, MasterError> {
        let (mut seen, mut token, mut differences) = (BTreeSet::new(), None, Vec::new());
        loop {
            let ListedPage { entries, next, skipped } = store.list(&self.directory.key, token.take()).await?;
            self.shared.listings.page_came(self.directory.id);
            // An entry that the state machine would refuse must not take its neighbours with it.
            let (entries, odd): (Vec<_>, Vec<_>) = entries
                .into_iter()
                .partition(|listed| difference(None, listed).is_some_and(|entry| entry.check().is_ok()));
            self.shared.metrics.count_listed(entries.len(), skipped + odd.len() as u64);
            let differing = self.shared.query(|state| {
                let compare = |listed: &ListedObject| {
                    let known = query::lookup(state, self.directory.id, &listed.name)?;
                    Ok(difference(known.as_ref(), listed))
                };
                entries
                    .iter()
                    .filter_map(|listed| compare(listed).transpose())
                    .collect::<Result<Vec<_>, MasterError>>()
            });
            differences.extend(differing.await?);
            seen.extend(entries.into_iter().map(|listed| listed.name));
            let last = next.is_none();
            while differences.len() >= limits::DIFFERENCES_PER_ENTRY || last && !differences.is_empty() {
                let count = differences.len().min(limits::DIFFERENCES_PER_ENTRY);
                let rest = differences.split_off(count);
                self.propose(begun_at, std::mem::replace(&mut differences, rest), Vec::new(), false).await?;
            }
            if last {
                return Ok(seen);
            }
            token = next;
        }
    }

    async fn names_missing_from(&self, seen: &BTreeSet<EntryName>) -> Result<Vec<EntryName>, MasterError> {
        let missing = |state: &dyn StateReader| {
            let (mut removals, mut after) = (Vec::new(), None);
            loop {
                let page = query::list_edges(state, self.directory.id, after.as_ref(), LISTING_PAGE_MAX)?;
                let is_last = page.len() < LISTING_PAGE_MAX;
                after = page.last().map(|(name, _)| name.clone());
                // Mount points are not the under-store's to remove.
                let loaded = page.into_iter().filter(|(_, edge)| edge.origin == EdgeOrigin::Loaded);
                removals.extend(loaded.map(|(name, _)| name).filter(|name| !seen.contains(name)));
                if is_last {
                    return Ok(removals);
                }
            }
        };
        self.shared.query(missing).await
    }

    async fn propose_removals(
        &self,
        begun_at: LogIndex,
        mut removals: Vec<EntryName>,
        was_loaded: bool,
    ) -> Result<(), MasterError> {
        while removals.len() > limits::DIFFERENCES_PER_ENTRY {
            let rest = removals.split_off(limits::DIFFERENCES_PER_ENTRY);
            self.propose(begun_at, Vec::new(), std::mem::replace(&mut removals, rest), false).await?;
        }
        if !removals.is_empty() || !was_loaded {
            self.propose(begun_at, Vec::new(), removals, true).await?;
        }
        Ok(())
    }

    async fn propose(
        &self,
        begun_at: LogIndex,
        upserts: Vec<ListedEntry>,
        removals: Vec<EntryName>,
        complete: bool,
    ) -> Result<(), MasterError> {
        let command = ApplyListing { directory: self.directory.id, begun_at, upserts, removals, complete };
        self.shared.propose(None, Command::ApplyListing(command)).await.map(drop)
    }

    /// Remembers how it went; a failure is logged here, once for all who wait.
    fn note(&self, outcome: &Result<(), MasterError>) {
        match outcome {
            Ok(()) => self.shared.under_stores.note(self.mount.id, None),
            Err(error) => {
                let (freshness, now) = (self.mount.options.freshness, self.shared.clock.boot_instant());
                self.shared.checks.lock().failed(self.directory.id, freshness, now);
                if is_outage_at(self.directory, error.kind()) {
                    self.shared.under_stores.note(self.mount.id, Some(error.to_string()));
                }
                tracing::warn!(mount = %self.mount.id, ino = %self.directory.id, %error, "listing failed");
            }
        }
    }
}

/// Compares one file with its under-store by one request, and gives it a new version if it is another. For mounts
/// whose freshness is zero, where listing the whole directory at each open would cost more. An outage is not the file's:
/// what is known is served, as for a listing.
pub(crate) async fn ensure_current(
    shared: &Arc<Shared>,
    mount: &MountRecord,
    file: &Inode,
) -> Result<(), MasterError> {
    match compare(shared, mount, file).await {
        Err(error) if is_outage_of_file(error.kind()) => {
            note_outage(shared, mount, error.to_string());
            Ok(())
        }
        outcome => outcome,
    }
}

/// The same; an outage is an error.
pub(crate) async fn compare(
    shared: &Arc<Shared>,
    mount: &MountRecord,
    file: &Inode,
) -> Result<(), MasterError> {
    let Some(version) = file.version() else {
        return Ok(());
    };
    let store = shared.under_store(mount)?;
    let asked = tokio::time::timeout(patience(shared, mount), store.fingerprint(&version.key)).await;
    let found = asked.map_err(|_| MasterError::Silent { uri: mount.uri.to_string() })??;
    shared.under_stores.note(mount.id, None);
    if found.as_ref().is_some_and(|found| version.fingerprint.is_same_content(found)) {
        return Ok(());
    }
    let command = SupersedeVersion { inode: file.id, seen: version.file, fingerprint: found };
    shared.propose(None, Command::SupersedeVersion(command)).await.map(drop)
}

/// Deletes what was detached, a bounded part at a time, until `cancelled`.
pub(crate) async fn reap(shared: Arc<Shared>, cancelled: tokio_util::sync::CancellationToken) {
    loop {
        let mut more = true;
        while more {
            let command = Command::Reap(Reap { limit: limits::REAP_PER_ENTRY });
            let reaped = tokio::select! {
                () = cancelled.cancelled() => return,
                reaped = shared.propose(None, command) => reaped,
            };
            more = match reaped {
                Ok(forebay_metadata::Success::Reaped { more, .. }) => more,
                Ok(_) => false,
                Err(error) => {
                    tracing::warn!(%error, "reaping failed; it is tried again with the next removal");
                    false
                }
            };
        }
        tokio::select! {
            () = cancelled.cancelled() => return,
            () = shared.listings.reaper.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    const PATIENCE: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_of_whoever_has_an_older_answer() {
        let (_course, waiting) = watch::channel(Course::default());
        let begun = tokio::time::Instant::now();
        assert!(wait_while_it_goes_on(waiting, PATIENCE).await.is_none());
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_listing_whose_pages_come_is_waited_for_and_its_end_is_told() {
        for ended in [Ok(()), Err((ErrorKind::UnderStore, "down".to_owned()))] {
            let (course, waiting) = watch::channel(Course::default());
            let listing = async {
                for _ in 0..10 {
                    tokio::time::sleep(PATIENCE / 2).await;
                    course.send_modify(|course| course.pages += 1);
                }
                tokio::time::sleep(PATIENCE / 2).await;
                course.send_modify(|course| course.ended = Some(ended.clone()));
            };
            let (waited, ()) = tokio::join!(wait_while_it_goes_on(waiting, PATIENCE), listing);
            assert_eq!(waited.expect("it went on").is_ok(), ended.is_ok());
        }
    }
}
