//! A directory in the order of keys, read page by page; of one that is being listed, what was seen so far.

use std::sync::Arc;

use forebay_metadata::{Edge, StateReader, query};
use forebay_proto::{Named, Validity};
use forebay_runtime::BootInstant;
use forebay_types::{EntryName, InodeId, ListingPosition};

use super::{Seen, describe_page, existing, fresh_for, while_forgotten, while_known};
use crate::error::MasterError;
use crate::listing::{Covered, Goal, Part, Place, ensure_as_of};
use crate::shared::Shared;

/// Up to `limit` entries of a directory that stand after `after`, in the order of keys; whether no more follow. They are
/// fresh, also where an earlier part was: what is known beyond it may be from before this reader began. Of a directory
/// that is being listed comes what was seen so far.
pub(crate) async fn list_by_key(
    shared: &Arc<Shared>,
    directory: InodeId,
    after: Option<&ListingPosition>,
    limit: usize,
) -> Result<(Vec<Named>, bool, Validity), MasterError> {
    let reading = Reading { directory, after, begun: None };
    read_by_key(shared, reading, entries(shared, reading, limit)).await
}

/// The same for a reader that goes through a directory to its end, and began at `begun`. What was fresh then, or is
/// younger, is good for all its parts: it may take longer than the freshness, and would have the directory listed again
/// for each part.
pub(crate) async fn go_through(
    shared: &Arc<Shared>,
    directory: InodeId,
    after: Option<&ListingPosition>,
    limit: usize,
    begun: BootInstant,
) -> Result<(Vec<Named>, bool), MasterError> {
    let reading = Reading { directory, after, begun: Some(begun) };
    let (page, complete, _) = read_by_key(shared, reading, entries(shared, reading, limit)).await?;
    Ok((page, complete))
}

/// The same of names alone and what they lead to.
pub(crate) async fn go_through_names(
    shared: &Arc<Shared>,
    directory: InodeId,
    after: Option<&ListingPosition>,
    limit: usize,
    begun: BootInstant,
) -> Result<(Vec<(EntryName, Edge)>, bool), MasterError> {
    let reading = Reading { directory, after, begun: Some(begun) };
    let page =
        |state: &dyn StateReader, part: Option<&Part>| edges_by_key(state, directory, after, part, limit);
    let (names, complete, _) = read_by_key(shared, reading, page).await?;
    Ok((names, complete))
}

/// What is read of a directory in the order of keys.
#[derive(Clone, Copy)]
struct Reading<'a> {
    directory: InodeId,
    after: Option<&'a ListingPosition>,
    /// When whoever goes through all of it began.
    begun: Option<BootInstant>,
}

/// What was read, and whether no more follows.
type Read<T> = Result<(Vec<T>, bool), MasterError>;

/// What stands somewhere in the order of keys.
trait Placed {
    fn position(&self) -> ListingPosition;
}

impl Placed for Named {
    fn position(&self) -> ListingPosition {
        ListingPosition::of(&self.name, self.entry.kind)
    }
}

impl Placed for (EntryName, Edge) {
    fn position(&self) -> ListingPosition {
        ListingPosition::of(&self.0, self.1.kind)
    }
}

/// A page of a directory, all of which or a part is known.
async fn read_by_key<T: Placed>(
    shared: &Arc<Shared>,
    reading: Reading<'_>,
    page: impl Fn(&dyn StateReader, Option<&Part>) -> Read<T>,
) -> Result<(Vec<T>, bool, Validity), MasterError> {
    while_forgotten(shared, || read_by_key_once(shared, reading, &page)).await
}

async fn read_by_key_once<T: Placed>(
    shared: &Arc<Shared>,
    Reading { directory, after, begun }: Reading<'_>,
    page: impl Fn(&dyn StateReader, Option<&Part>) -> Read<T>,
) -> Result<(Vec<T>, bool, Validity), MasterError> {
    let is_good = |place: &Place| {
        let begun = begun.filter(|_| after.is_some()).zip(place.freshness());
        begun.is_some_and(|(begun, freshness)| {
            shared.checks.lock().is_good_for(place.directory.id, freshness, begun)
        })
    };
    let mut goal = after.cloned();
    loop {
        let question = |state: &dyn StateReader| page(state, None);
        let look = |state: &dyn StateReader| {
            let place = Place::of(state, existing(state, directory)?, None)?;
            if is_good(&place) && query::is_listed(state, directory)? {
                return Ok(Seen::Answer(question(state)?, Validity::default()));
            }
            match fresh_for(shared, state, &place)? {
                Some(valid) => Ok(Seen::Answer(question(state)?, valid)),
                None => Ok(Seen::Old(Box::new(place))),
            }
        };
        let place = match shared.query(look).await? {
            Seen::Answer((entries, complete), valid) => return Ok((entries, complete, valid)),
            Seen::Old(place) => place,
        };
        let wanted = if begun.is_some() { Goal::Through } else { Goal::Beyond };
        match ensure_as_of(shared, &place, wanted(goal.as_ref()), begun).await? {
            Covered::Whole(remaining) => {
                let whole = |state: &dyn StateReader| while_known(state, &place, None, question);
                let (entries, complete) = shared.query(whole).await?;
                return Ok((entries, complete, place.validity(remaining)));
            }
            Covered::Part(part) => {
                let question = |state: &dyn StateReader| page(state, Some(&part));
                let seen = |state: &dyn StateReader| while_known(state, &place, Some(&part), question);
                let (entries, _) = shared.query(seen).await?;
                if let Some(last) = entries.last() {
                    let valid = place.validity_in(&part, &last.position(), shared);
                    return Ok((entries, false, valid));
                }
                // All that was seen is gone, or nothing: what follows is waited for.
                goal = Some(part.passed);
            }
        }
    }
}

/// Reads up to `limit` entries of a directory, all of which or a part is known; whether no more follow.
fn entries<'a>(
    shared: &'a Arc<Shared>,
    Reading { directory, after, .. }: Reading<'a>,
    limit: usize,
) -> impl Fn(&dyn StateReader, Option<&Part>) -> Read<Named> + 'a {
    move |state, part| {
        let (edges, is_last) = edges_by_key(state, directory, after, part, limit)?;
        let (entries, complete) = describe_page(shared, state, query::targets(state, edges)?, limit)?;
        Ok((entries, complete && is_last))
    }
}

/// Up to `limit` names that stand after `after`; whether no more follow.
fn edges_by_key(
    state: &dyn StateReader,
    directory: InodeId,
    after: Option<&ListingPosition>,
    part: Option<&Part>,
    limit: usize,
) -> Result<(Vec<(EntryName, Edge)>, bool), MasterError> {
    let up_to = part.map(|part| &part.passed);
    let mut edges = query::list_edges_by_key(state, directory, after, up_to, limit)?;
    let is_last = edges.len() < limit;
    edges.retain(|(name, edge)| part.is_none_or(|part| !part.is_gone(name, edge.changed_at)));
    Ok((edges, is_last))
}
