//! Answers about one name of a directory that is dear to list, as master/server/src/tree/single.rs gives them.

use std::rc::Rc;
use std::time::Duration;

use forebay_master::Compared;
use forebay_metadata::{Freshness, query};
use forebay_proto::Validity;
use forebay_types::{ErrorKind, InodeId, ListingPosition};

use super::{Answer, FORGOTTEN, is_listed, valid};
use crate::limits::{MAINTENANCE_VALIDITY, OUTAGE_VALIDITY, SINGLE_NAME_ATTEMPTS_MAX};
use crate::master::Master;
use crate::master::listing::{Place, Single, ask_single};
use crate::store::entry_name;
use crate::world::World;

/// A name that somebody asks about.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) name: &'a str,
    pub(super) inode: Option<InodeId>,
    pub(super) position: Option<&'a ListingPosition>,
}

impl Master {
    /// The answer after the under-store was asked for the name alone; `None` where its directory is to be listed.
    pub(super) async fn answer_single<T>(
        self: &Rc<Self>,
        world: &Rc<World>,
        place: &Place,
        of: Name<'_>,
        question: impl Fn() -> Result<T, ErrorKind>,
    ) -> Result<Option<Answer<T>>, ErrorKind> {
        for _ in 0..SINGLE_NAME_ATTEMPTS_MAX {
            let asked = ask_single(world, self, place, of.name, of.position).await?;
            if let Single::Listing = asked {
                return Ok(None);
            }
            self.confirm(world).await?;
            if !is_listed(world, self, place) {
                return Err(FORGOTTEN);
            }
            match asked {
                Single::Compared(compared) if !is_as_compared(self, place, of, compared)? => {
                    self.single_names.void(&(place.directory.id, entry_name(of.name)), compared);
                }
                Single::Compared(compared) => {
                    let validity = validity_of_single(world, self, place, compared);
                    return Ok(Some(Answer { of: question()?, validity, is_outage: false }));
                }
                _ => {
                    let remaining = match asked {
                        Single::Maintenance => MAINTENANCE_VALIDITY,
                        _ => OUTAGE_VALIDITY,
                    };
                    let validity = Validity { granted: Duration::ZERO, ..valid(world, place, remaining) };
                    return Ok(Some(Answer { of: question()?, validity, is_outage: true }));
                }
            }
        }
        Ok(None)
    }

    /// For how long a client may use what is known of a name that was compared within its freshness.
    pub(super) fn fresh_for_single(
        &self,
        world: &World,
        place: &Place,
        of: Name<'_>,
    ) -> Result<Option<Validity>, ErrorKind> {
        let compared = self.single_names.compared(&(place.directory.id, entry_name(of.name)));
        let Some(compared) = compared else { return Ok(None) };
        let is_fresh = !remaining_of(world, self, place, compared).is_zero()
            && is_listed(world, self, place)
            && is_as_compared(self, place, of, compared)?;
        Ok(is_fresh.then(|| validity_of_single(world, self, place, compared)))
    }
}

fn is_as_compared(
    master: &Master,
    place: &Place,
    of: Name<'_>,
    compared: Compared,
) -> Result<bool, ErrorKind> {
    let edge = query::edge(&*master.store.borrow(), place.directory.id, &entry_name(of.name));
    let edge = edge.expect("memory can be read");
    if !compared.is_of(edge.as_ref()) {
        return Ok(false);
    }
    match of.inode.filter(|inode| edge.is_none_or(|edge| edge.target != *inode)) {
        Some(_) => Err(ErrorKind::NotFound),
        None => Ok(true),
    }
}

fn remaining_of(world: &World, master: &Master, place: &Place, compared: Compared) -> Duration {
    let age = master.now(world).saturating_duration_since(compared.began);
    match world.mounts[place.mount].freshness() {
        Freshness::Bound(bound) => bound.saturating_sub(age),
        Freshness::Immutable => Duration::ZERO,
    }
}

fn validity_of_single(world: &World, master: &Master, place: &Place, compared: Compared) -> Validity {
    let remaining = remaining_of(world, master, place, compared);
    Validity { granted: Duration::ZERO, ..valid(world, place, remaining) }
}
