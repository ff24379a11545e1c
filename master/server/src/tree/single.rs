//! Answers about one name of a directory whose listing costs more than its freshness: from a question for the name alone.

use std::sync::Arc;
use std::time::Duration;

use forebay_metadata::{Freshness, StateReader, query};
use forebay_proto::Validity;
use forebay_types::{EntryName, InodeId, ListingPosition};

use super::while_known;
use crate::error::MasterError;
use crate::limits;
use crate::listing::{Place, Single, ask_single};
use crate::shared::Shared;
use crate::single_names::Compared;

/// A name that somebody asks about.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) name: &'a EntryName,
    /// The inode that is asked about, where it is not whatever the name leads to.
    pub(super) inode: Option<InodeId>,
    /// Where it stands in a listing, if one that has passed it will do.
    pub(super) position: Option<&'a ListingPosition>,
}

/// The answer to a question about one name, after the under-store was asked for it alone; `None` where that is not to be
/// done, and its directory is to be listed.
pub(super) async fn answer_single<T>(
    shared: &Arc<Shared>,
    place: &Place,
    of: Name<'_>,
    question: impl Fn(&dyn StateReader) -> Result<T, MasterError>,
) -> Result<Option<(T, Validity)>, MasterError> {
    for _ in 0..limits::SINGLE_NAME_ATTEMPTS_MAX {
        match ask_single(shared, place, of.name, of.position).await? {
            Single::Listing => return Ok(None),
            Single::Known(remaining) => {
                let answer = shared.query(|state| while_known(state, place, None, &question)).await?;
                return Ok(Some((answer, place.validity_alone(remaining))));
            }
            Single::Compared(compared) => {
                let question = |state: &dyn StateReader| match is_as_compared(state, place, of, compared)? {
                    true => question(state).map(Some),
                    false => Ok(None),
                };
                if let Some(answer) = shared.query(|state| while_known(state, place, None, question)).await? {
                    return Ok(Some((answer, place.validity_of_single(compared, shared))));
                }
                shared.single_names.void(&(place.directory.id, of.name.clone()), compared);
            }
        }
    }
    Ok(None)
}

/// For how long a client may use what is known of a name that was compared within its freshness; `None` where it was not.
pub(super) fn fresh_for_single(
    shared: &Shared,
    state: &dyn StateReader,
    place: &Place,
    of: Name<'_>,
) -> Result<Option<Validity>, MasterError> {
    let Some(compared) = shared.single_names.compared(&(place.directory.id, of.name.clone())) else {
        return Ok(None);
    };
    if place.remaining_of(compared, shared).is_zero()
        || !query::is_listed(state, place.directory.id)?
        || !is_as_compared(state, place, of, compared)?
    {
        return Ok(None);
    }
    Ok(Some(place.validity_of_single(compared, shared)))
}

/// Whether a name is as it was compared.
///
/// # Errors
/// `NoInode` if it is, and the inode that is asked about is not what it leads to any more.
fn is_as_compared(
    state: &dyn StateReader,
    place: &Place,
    of: Name<'_>,
    compared: Compared,
) -> Result<bool, MasterError> {
    let edge = query::edge(state, place.directory.id, of.name)?;
    if !compared.is_of(edge.as_ref()) {
        return Ok(false);
    }
    match of.inode.filter(|inode| edge.is_none_or(|edge| edge.target != *inode)) {
        Some(gone) => Err(MasterError::NoInode(gone)),
        None => Ok(true),
    }
}

impl Place {
    fn remaining_of(&self, compared: Compared, shared: &Shared) -> Duration {
        let age = shared.clock.boot_instant().saturating_duration_since(compared.began);
        match self.mount.as_ref().map(|mount| mount.options.freshness) {
            Some(Freshness::Bound(bound)) => bound.saturating_sub(age),
            Some(Freshness::Immutable) | None => Duration::ZERO,
        }
    }

    /// For how long a client may use what was found of a single name.
    fn validity_of_single(&self, compared: Compared, shared: &Shared) -> Validity {
        self.validity_alone(self.remaining_of(compared, shared))
    }

    /// It is no grant: a grant is one for all answers about the directory.
    fn validity_alone(&self, remaining: Duration) -> Validity {
        Validity { granted: Duration::ZERO, ..self.validity(remaining) }
    }
}
