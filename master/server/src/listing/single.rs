//! A name that its under-store is asked for alone, where a listing of its directory costs more than the freshness.
//!
//! What is new, changed or gone becomes known to all, as by a listing. Where the question cannot tell, as of an object
//! whose versions cannot be told apart, the listing does.

use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{
    ApplyListing, Command, Edge, EdgeOrigin, Inode, ListedEntry, MountRecord, StateReader, Success, query,
};
use forebay_runtime::BootInstant;
use forebay_types::{EntryName, ErrorKind, ListingPosition};
use forebay_under_store::{ListedObject, ObjectStatus, UnderStoreError};

use super::outage::{is_outage_of_file, may_tell_at_once, note_outage, past_freshness, patience, silence};
use super::{Covered, Place, in_maintenance, renew_in_background};
use crate::difference::difference;
use crate::error::MasterError;
use crate::freshness::{Verdict, is_within};
use crate::limits;
use crate::request_cap::Urgency;
use crate::shared::Shared;
use crate::single_names::{Asking, Compared, Ended, Failure, Question, SingleName, SingleNames, Wished};

/// What of a single name is known within its freshness.
#[derive(Debug)]
pub(crate) enum Single {
    /// What the state has, where the name is as it was compared.
    Compared(Compared),
    /// Whatever the state has, for so long.
    Known(Duration),
    /// It is no name to be asked for alone: see to its directory.
    Listing,
}

/// Has a name compared with its under-store by a question for it alone, where a listing of its directory costs more than
/// the freshness and the directory is known. Not where a listing under way has passed `position` and is young enough.
/// Outages and maintenance are told as by [`ensure`](super::ensure).
///
/// Cancel safe: the question itself goes on.
pub(crate) async fn ask_single(
    shared: &Arc<Shared>,
    place: &Place,
    name: &EntryName,
    position: Option<&ListingPosition>,
) -> Result<Single, MasterError> {
    let Some(mount) = &place.mount else { return Ok(Single::Listing) };
    let (id, freshness) = (place.directory.id, mount.options.freshness);
    let asked = shared.clock.boot_instant();
    if place.is_in_maintenance() || !shared.checks.lock().is_dear(id, freshness) {
        return Ok(Single::Listing);
    }
    let verdict = shared.checks.lock().verdict(id, freshness, asked);
    let is_fresh = matches!(verdict, Verdict::Fresh(_) | Verdict::Aging(_));
    if is_fresh || !shared.query(move |state| Ok(query::is_listed(state, id)?)).await? {
        return Ok(Single::Listing);
    }
    if verdict == Verdict::OverAndFailing && may_tell_at_once(shared, mount) {
        return known(past_freshness(shared, mount, None)?);
    }
    let is_young_enough = |began: BootInstant| began > asked || is_within(freshness, began, asked);
    if position.is_some_and(|position| shared.listings.has_passed(id, position, is_young_enough)) {
        return Ok(Single::Listing);
    }
    if shared.checks.lock().take_to_measure(id, freshness, asked) {
        renew_in_background(shared, place);
    }
    wish(shared, place, mount, &(id, name.clone()), Asked::Name, is_young_enough).await
}

/// Waits until something is compared by a question that `is_young_enough`.
pub(super) async fn wish(
    shared: &Arc<Shared>,
    place: &Place,
    mount: &MountRecord,
    of: &SingleName,
    asked: Asked,
    is_young_enough: impl Fn(BootInstant) -> bool,
) -> Result<Single, MasterError> {
    let (id, freshness) = (place.directory.id, mount.options.freshness);
    loop {
        let (asking, is_too_old) = match asked.questions(shared).wish(of, &is_young_enough) {
            Wished::UnderWay(asking) => (asking, false),
            Wished::TooOld(asking) => (asking, true),
            Wished::Known(compared) => return Ok(Single::Compared(compared)),
            Wished::ToBegin(asking) => {
                begin(shared, place, mount, of, asked);
                (asking, false)
            }
        };
        return match wait_for(asking, patience(shared, mount)).await {
            Some(Ok(_)) if is_too_old => continue,
            Some(Ok(Some(compared))) => Ok(Single::Compared(compared)),
            Some(Ok(None)) => Ok(Single::Listing),
            Some(Err(Failure { kind: ErrorKind::Maintenance, .. })) => known(in_maintenance(mount, true)?),
            Some(Err(Failure { kind, message, is_outage })) => {
                let error = MasterError::Listing { kind, message };
                if is_outage { known(past_freshness(shared, mount, Some(error))?) } else { Err(error) }
            }
            None => {
                note_outage(shared, mount, silence(mount));
                shared.checks.lock().failed(id, freshness, shared.clock.boot_instant());
                known(past_freshness(shared, mount, None)?)
            }
        };
    }
}

pub(super) fn known(covered: Covered) -> Result<Single, MasterError> {
    match covered {
        Covered::Whole(remaining) => Ok(Single::Known(remaining)),
        Covered::Part(_) => unreachable!("no listing was waited for"),
    }
}

/// Waits for the end of a question, but only so long for an under-store that says nothing: `None`. The question goes on.
async fn wait_for(mut asking: Asking, patience: Duration) -> Option<Ended> {
    loop {
        let was_asking = asking.borrow_and_update().is_asking;
        let is_news = |question: &Question| question.ended.is_some() || question.is_asking != was_asking;
        match tokio::time::timeout(patience, asking.wait_for(is_news)).await {
            Ok(Ok(question)) => match &question.ended {
                Some(ended) => return Some(ended.clone()),
                None => continue,
            },
            Ok(Err(_)) => {
                let message = "the master is shutting down; try again".to_owned();
                return Some(Err(Failure { kind: ErrorKind::Unavailable, message, is_outage: false }));
            }
            Err(_) if was_asking => return None,
            // What takes long is a turn or the log and not the under-store.
            Err(_) => {}
        }
    }
}

/// Begins to ask for a name.
fn begin(shared: &Arc<Shared>, place: &Place, mount: &MountRecord, of: &SingleName, asked: Asked) {
    let (shared, directory, mount) = (Arc::clone(shared), place.directory.clone(), mount.clone());
    let mut asker =
        Asker { shared: Arc::clone(&shared), directory, mount, of: of.clone(), asked, is_over: false };
    let cancelled = shared.background.token();
    shared.background.spawn(async move {
        tokio::select! {
            biased;
            () = cancelled.cancelled() => {}
            () = asker.run() => {}
        }
    });
}

/// What is asked for alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A name of a directory.
    Name,
    /// The directory that a mount is shown at.
    Root,
}

impl Asked {
    /// Where it is known who asks.
    fn questions(self, shared: &Shared) -> &SingleNames {
        match self {
            Self::Name => &shared.single_names,
            Self::Root => &shared.roots,
        }
    }
}

/// Asks for one name. Those who wait when it is dropped before the end learn of that.
pub(super) struct Asker {
    pub(super) shared: Arc<Shared>,
    /// Where the name lies, or what is asked for itself.
    pub(super) directory: Inode,
    pub(super) mount: MountRecord,
    pub(super) of: SingleName,
    asked: Asked,
    is_over: bool,
}

impl Drop for Asker {
    fn drop(&mut self) {
        // Once it is over another one may ask for the same name.
        if !self.is_over {
            self.asked.questions(&self.shared).given_up(&self.of);
        }
    }
}

/// What is known of a name, and by which edge.
type KnownName = (Option<Edge>, Option<Inode>);

impl Asker {
    async fn run(&mut self) {
        let ended = self.ask().await;
        let now = self.shared.clock.boot_instant();
        match &ended {
            Ok(_) => {
                self.shared.under_stores.note_well(self.mount.id);
                // Who looks at the directory of a mount need not use what is in it.
                if self.asked == Asked::Name {
                    self.shared.checks.lock().answered(self.directory.id, now);
                }
            }
            Err(Failure { is_outage: true, message, .. }) => {
                self.shared.checks.lock().failed(self.directory.id, self.mount.options.freshness, now);
                note_outage(&self.shared, &self.mount, message.clone());
            }
            Err(_) => {}
        }
        self.is_over = true;
        self.asked.questions(&self.shared).ended(&self.of, ended);
    }

    async fn ask(&self) -> Ended {
        for _ in 0..limits::SINGLE_NAME_ATTEMPTS_MAX {
            let compared = match self.asked {
                Asked::Name => self.compare().await,
                Asked::Root => self.compare_root().await,
            };
            match compared {
                Ok(None) => {}
                Ok(compared) => return Ok(compared),
                Err(error) if self.asked == Asked::Name && is_for_a_listing(&error) => return Ok(None),
                Err(error) => {
                    let is_outage = is_outage(&error);
                    return Err(Failure { kind: error.kind(), message: error.to_string(), is_outage });
                }
            }
        }
        Ok(None)
    }

    /// One question and what it changes; `None` if the name changed meanwhile, by news that may be older.
    async fn compare(&self) -> Result<Option<Compared>, MasterError> {
        let (shared, mount) = (&self.shared, self.mount.id);
        shared.may_ask_on(mount).await?;
        let store = shared.under_store(&self.mount)?;
        shared.turn(mount, Urgency::Foreground, limits::STAT_REQUESTS).await?;
        // Others that are silent may keep all places, too.
        shared.single_names.asks(&self.of);
        let _place = shared.single_names.places.acquire().await.expect("never closed");
        let began = shared.clock.boot_instant();
        shared.single_names.began(&self.of, began);
        let _look = shared.listings.look(self.of.0, began);
        let compared = |edge: Option<Edge>| Compared { began, changed_at: edge.map(|edge| edge.changed_at) };
        let (begun_at, (edge, _)) = shared.begin(|state| self.known(state)).await?;
        if edge.as_ref().is_some_and(|edge| edge.origin == EdgeOrigin::MountPoint) {
            return Ok(Some(compared(edge)));
        }
        shared.metrics.count_single_name();
        let key = self.directory.key.join(self.of.1.as_bytes());
        let asked = tokio::time::timeout(limits::UNDER_STORE_DEADLINE, store.stat(&key)).await;
        shared.single_names.answered(&self.of);
        let seconds = limits::UNDER_STORE_DEADLINE.as_secs();
        let found = asked.map_err(|_| MasterError::UnderStoreTimedOut { mount, seconds })??;

        let (edge, known) = shared.query(|state| self.known(state)).await?;
        let Some((upserts, removals)) = self.news(edge.as_ref(), known.as_ref(), found) else {
            return Ok(Some(compared(edge)));
        };
        if edge.as_ref().is_some_and(|edge| edge.changed_at > begun_at) {
            return Ok(None);
        }
        let directory = self.directory.id;
        let command = ApplyListing { directory, begun_at, upserts, removals, complete: false };
        match shared.propose(None, Command::ApplyListing(command)).await? {
            Success::Listed { newer: 0, .. } => {
                let (edge, _) = shared.query(|state| self.known(state)).await?;
                Ok(Some(compared(edge)))
            }
            Success::Listed { .. } => Ok(None),
            _ => Err(MasterError::WrongAnswer("compare a name")),
        }
    }

    /// What is known of the name, of a directory of which all is.
    fn known(&self, state: &dyn StateReader) -> Result<KnownName, MasterError> {
        let (directory, name) = &self.of;
        if !query::is_listed(state, *directory)? {
            return Err(MasterError::Forgotten(*directory));
        }
        let edge = query::edge(state, *directory, name)?;
        let known = edge.as_ref().map(|edge| query::target(state, edge)).transpose()?;
        Ok((edge, known))
    }

    /// How what was found differs from what is known, if it does. Mount points are not the under-store's to change.
    fn news(
        &self,
        edge: Option<&Edge>,
        known: Option<&Inode>,
        found: Option<ObjectStatus>,
    ) -> Option<(Vec<ListedEntry>, Vec<EntryName>)> {
        let name = &self.of.1;
        let listed = |status| difference(None, &ListedObject { name: name.clone(), status });
        // What the state machine would refuse is not shown, as in a listing.
        let found = found.filter(|status| listed(status.clone()).is_some_and(|entry| entry.check().is_ok()));
        match found {
            _ if edge.is_some_and(|edge| edge.origin == EdgeOrigin::MountPoint) => None,
            Some(status) => {
                let entry = difference(known, &ListedObject { name: name.clone(), status })?;
                Some((vec![entry], Vec::new()))
            }
            None => {
                let is_there = edge.is_some_and(|edge| edge.origin == EdgeOrigin::Loaded);
                (is_there && known.is_none_or(|known| known.mounts_below() == 0))
                    .then(|| (Vec::new(), vec![name.clone()]))
            }
        }
    }
}

/// Whether a question that failed says nothing of its name: it is not answerable alone, or what it was compared with was
/// forgotten.
fn is_for_a_listing(error: &MasterError) -> bool {
    match error {
        MasterError::Forgotten(_) | MasterError::Rejected(_) => true,
        // One odd object is no outage.
        MasterError::UnderStore(UnderStoreError::Malformed { .. }) => true,
        MasterError::UnderStore(error) => !is_outage_of_file(error.kind()),
        _ => false,
    }
}

fn is_outage(error: &MasterError) -> bool {
    matches!(error, MasterError::UnderStore(_) | MasterError::UnderStoreTimedOut { .. })
}
