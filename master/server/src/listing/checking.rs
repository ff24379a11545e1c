//! Tells how what is known of a directory differs from its under-store, and changes nothing.

use std::collections::HashSet;
use std::sync::Arc;

use forebay_metadata::{EdgeOrigin, StateReader, query};
use forebay_types::limits::LISTING_PAGE_MAX;
use forebay_types::{EntryName, ListingPosition};

use super::Place;
use crate::difference::difference;
use crate::error::MasterError;
use crate::limits;
use crate::request_cap::Urgency;
use crate::shared::Shared;

/// How a name is known and how it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deviation {
    /// The under-store has it, and it is not known.
    New,
    /// It is something else by now.
    Changed,
    /// It is known, and the under-store does not have it.
    Gone,
}

/// What differs in one directory.
#[derive(Debug, Default)]
pub(crate) struct Deviations {
    /// The first of them.
    pub(crate) names: Vec<(EntryName, Deviation)>,
    pub(crate) total: u64,
}

impl Deviations {
    fn add(&mut self, name: EntryName, deviation: Deviation) {
        self.total += 1;
        if self.names.len() < LISTING_PAGE_MAX {
            self.names.push((name, deviation));
        }
    }
}

/// Lists a directory in its under-store and compares. Of a directory that was never listed everything is new. What
/// changes in the cluster meanwhile is left out.
pub(crate) async fn check(shared: &Arc<Shared>, place: &Place) -> Result<Deviations, MasterError> {
    let mut deviations = Deviations::default();
    let Some(mount) = &place.mount else { return Ok(deviations) };
    let directory = place.directory.id;
    let (begun_at, ()) = shared.begin(|_| Ok(())).await?;
    let (store, mut seen, mut token) = (shared.under_store(mount)?, HashSet::new(), None);
    loop {
        shared.may_ask_on(mount.id).await?;
        shared.turn(mount.id, Urgency::Foreground, 1).await?;
        let place_to_ask = shared.listings.places.acquire().await.expect("never closed");
        let listed = tokio::time::timeout(
            limits::UNDER_STORE_DEADLINE,
            store.list(&place.directory.key, token.take()),
        );
        let page = listed.await.map_err(|_| MasterError::Silent { uri: mount.uri.to_string() })??;
        drop(place_to_ask);
        let look = |state: &dyn StateReader| {
            let names = page.entries.iter().map(|listed| &listed.name).collect();
            let edges = query::edges_of(state, directory, &names)?;
            let known = |listed: &forebay_under_store::ListedObject| {
                let edge = edges.get(&listed.name);
                Ok((edge.cloned(), edge.map(|edge| query::target(state, edge)).transpose()?))
            };
            page.entries.iter().map(known).collect::<Result<Vec<_>, MasterError>>()
        };
        for (listed, (edge, known)) in page.entries.iter().zip(shared.query(look).await?) {
            let is_loaded =
                edge.is_none_or(|edge| edge.origin == EdgeOrigin::Loaded && edge.changed_at <= begun_at);
            seen.extend(known.as_ref().map(|known| known.id));
            if is_loaded && difference(known.as_ref(), listed).is_some() {
                let deviation = if known.is_some() { Deviation::Changed } else { Deviation::New };
                deviations.add(listed.name.clone(), deviation);
            }
        }
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    let mut after: Option<ListingPosition> = None;
    loop {
        let edges = |state: &dyn StateReader| {
            let after = after.as_ref();
            Ok(query::list_edges_by_key(state, directory, after, None, LISTING_PAGE_MAX)?)
        };
        let page = shared.query(edges).await?;
        let is_last = page.len() < LISTING_PAGE_MAX;
        after = page.last().map(|(name, edge)| ListingPosition::of(name, edge.kind));
        for (name, edge) in page {
            let is_old = edge.origin == EdgeOrigin::Loaded && edge.changed_at <= begun_at;
            if is_old && !seen.contains(&edge.target) {
                deviations.add(name, Deviation::Gone);
            }
        }
        if is_last {
            return Ok(deviations);
        }
    }
}
