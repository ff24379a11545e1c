//! A name that its under-store is asked for alone, as master/server/src/listing/single.rs does, over the real table of
//! such names.

use std::rc::Rc;
use std::time::Duration;

use forebay_master::{Asking, Compared, Ended, Failure, Question, SingleName, Verdict, Wished, difference};
use forebay_metadata::{ApplyListing, Command, Edge, EdgeOrigin, Freshness, Inode, Success, query};
use forebay_runtime::BootInstant;
use forebay_types::{EntryName, ErrorKind, ListingPosition};

use super::{Place, may_ask, may_tell_at_once, past_freshness, patience};
use crate::limits::{SINGLE_NAME_ATTEMPTS_MAX, UNDER_STORE_DEADLINE};
use crate::master::Master;
use crate::plan::Planted;
use crate::store::entry_name;
use crate::world::World;

/// What of a single name is known within its freshness.
#[derive(Debug)]
pub(crate) enum Single {
    /// What the state has, where the name is as it was compared.
    Compared(Compared),
    /// Whatever the state has, for want of an under-store.
    Outage,
    /// The same, since nobody may ask.
    Maintenance,
    /// It is no name to be asked for alone.
    Listing,
}

/// Has a name compared by a question for it alone, where a listing of its directory costs more than the freshness.
pub(crate) async fn ask_single(
    world: &Rc<World>,
    master: &Rc<Master>,
    place: &Place,
    name: &str,
    position: Option<&ListingPosition>,
) -> Result<Single, ErrorKind> {
    let (id, freshness) = (place.directory.id, world.mounts[place.mount].freshness());
    let asked = master.now(world);
    if master.is_in_maintenance(world, place.mount) || !master.checks.borrow().is_dear(id, freshness) {
        return Ok(Single::Listing);
    }
    let verdict = master.checks.borrow_mut().verdict(id, freshness, asked);
    let is_fresh = matches!(verdict, Verdict::Fresh(_) | Verdict::Aging(_));
    if is_fresh || !is_listed(world, master, place).await? {
        return Ok(Single::Listing);
    }
    let mount = place.mount;
    if verdict == Verdict::OverAndFailing && may_tell_at_once(world, master, mount) {
        return past_freshness(world, mount).map(|_| Single::Outage);
    }
    let is_young_enough = |began: BootInstant| match freshness {
        Freshness::Bound(bound) => began > asked || asked.saturating_duration_since(began) < bound,
        Freshness::Immutable => true,
    };
    if position.is_some_and(|position| master.listings.has_passed(id, position, is_young_enough)) {
        return Ok(Single::Listing);
    }
    let of = (id, entry_name(name));
    loop {
        let (asking, is_too_old) = match master.single_names.wish(&of, is_young_enough) {
            Wished::UnderWay(asking) => (asking, false),
            Wished::TooOld(asking) => (asking, true),
            Wished::Known(compared) => return Ok(Single::Compared(compared)),
            Wished::ToBegin(asking) => {
                let asker = Asker {
                    world: Rc::clone(world),
                    master: Rc::clone(master),
                    place: place.clone(),
                    of: of.clone(),
                };
                world.executor.spawn(master.node(), async move { asker.run().await });
                (asking, false)
            }
        };
        return match wait_for(world, asking, patience(world, master, mount)).await {
            Some(Ok(_)) if is_too_old => continue,
            Some(Ok(Some(compared))) => Ok(Single::Compared(compared)),
            Some(Ok(None)) => Ok(Single::Listing),
            Some(Err(Failure { kind: ErrorKind::Maintenance, .. })) => Ok(Single::Maintenance),
            Some(Err(Failure { is_outage: true, .. })) => {
                past_freshness(world, mount).map(|_| Single::Outage)
            }
            Some(Err(Failure { kind, .. })) => Err(kind),
            None => {
                master.is_away[mount].set(true);
                master.checks.borrow_mut().failed(id, freshness, master.now(world));
                past_freshness(world, mount).map(|_| Single::Outage)
            }
        };
    }
}

async fn is_listed(world: &Rc<World>, master: &Rc<Master>, place: &Place) -> Result<bool, ErrorKind> {
    master.confirm(world).await?;
    Ok(query::is_listed(&*master.store.borrow(), place.directory.id).expect("memory can be read"))
}

/// Waits for the end of a question, but only so long for an under-store that says nothing.
async fn wait_for(world: &World, mut asking: Asking, patience: Duration) -> Option<Ended> {
    loop {
        let was_asking = asking.borrow_and_update().is_asking;
        let is_news = |question: &Question| question.ended.is_some() || question.is_asking != was_asking;
        match world.executor.within(patience, asking.wait_for(is_news)).await {
            Some(Ok(question)) => {
                if let Some(ended) = &question.ended {
                    return Some(ended.clone());
                }
            }
            Some(Err(_)) => {
                let message = String::new();
                return Some(Err(Failure { kind: ErrorKind::Unavailable, message, is_outage: false }));
            }
            None if was_asking => return None,
            None => {}
        }
    }
}

/// Asks for one name.
struct Asker {
    world: Rc<World>,
    master: Rc<Master>,
    place: Place,
    of: SingleName,
}

/// Why a question ends without a comparison.
enum Unanswered {
    /// The name changed meanwhile, by news that may be older.
    Changed,
    /// What it was compared with was forgotten.
    Forgotten,
    /// The under-store failed.
    Outage,
    /// The log did, or nobody may ask.
    Failed(ErrorKind),
}

impl Asker {
    async fn run(&self) {
        let (world, master, mount) = (&self.world, &self.master, self.place.mount);
        let ended = self.ask().await;
        let (now, id, freshness) =
            (master.now(world), self.place.directory.id, world.mounts[mount].freshness());
        match &ended {
            Ok(compared) => {
                world.oracle.count(|counts| {
                    counts.single_names += 1;
                    counts.dear_names += u64::from(freshness != Freshness::Bound(Duration::ZERO));
                });
                master.is_away[mount].set(false);
                let mut checks = master.checks.borrow_mut();
                checks.answered(id, now);
                if let (Some(compared), Some(Planted::SingleNameIsAll)) = (compared, world.plan.planted) {
                    checks.listed(id, freshness, compared.began, Duration::ZERO);
                }
            }
            Err(Failure { is_outage: true, .. }) => {
                world.mounts[mount].store.note_trouble(world.now());
                master.is_away[mount].set(true);
                master.checks.borrow_mut().failed(id, freshness, now);
            }
            Err(_) => {}
        }
        master.single_names.ended(&self.of, ended);
    }

    async fn ask(&self) -> Ended {
        let failure = |kind, is_outage| Err(Failure { kind, message: String::new(), is_outage });
        for _ in 0..SINGLE_NAME_ATTEMPTS_MAX {
            match self.compare().await {
                Ok(compared) => return Ok(Some(compared)),
                Err(Unanswered::Changed) => {}
                Err(Unanswered::Forgotten) => return Ok(None),
                Err(Unanswered::Outage) => return failure(ErrorKind::UnderStore, true),
                Err(Unanswered::Failed(kind)) => return failure(kind, false),
            }
        }
        Ok(None)
    }

    async fn compare(&self) -> Result<Compared, Unanswered> {
        let (world, mount) = (&self.world, self.place.mount);
        let began = self.master.now(world);
        self.master.single_names.asks(&self.of);
        self.master.single_names.began(&self.of, began);
        let _look = self.master.listings.look(self.of.0, began);
        let (leave, ..) = self.known().await?;
        let begun_at = self.master.applied_index();
        let evidence = |at| self.place.evidence(&self.of.1.to_string(), at);
        let path = evidence(Duration::ZERO).path;
        may_ask(world, &self.master, mount).map_err(Unanswered::Failed)?;
        let asked = world
            .executor
            .within(UNDER_STORE_DEADLINE, world.mounts[mount].store.stat(world, leave, &path))
            .await;
        self.master.single_names.answered(&self.of);
        let Some(Ok((seen, at))) = asked else { return Err(Unanswered::Outage) };
        world.note(format_args!("{mount}:{path:?} was {seen:?} at {at:?}, asked for alone"));

        let (_, edge, known) = self.known().await?;
        let compared = |edge: Option<Edge>| Compared { began, changed_at: edge.map(|edge| edge.changed_at) };
        let (upserts, removals): (Vec<_>, Vec<EntryName>) = match seen.listed(&self.of.1.to_string()) {
            Some(listed) => (difference(known.as_ref(), &listed).into_iter().collect(), Vec::new()),
            None => {
                let is_there = edge.as_ref().is_some_and(|edge| edge.origin == EdgeOrigin::Loaded);
                (Vec::new(), is_there.then(|| self.of.1.clone()).into_iter().collect())
            }
        };
        if upserts.is_empty() && removals.is_empty() {
            return Ok(compared(edge));
        }
        if edge.as_ref().is_some_and(|edge| edge.changed_at > begun_at) {
            return Err(Unanswered::Changed);
        }
        let directory = self.place.directory.id;
        let command = ApplyListing { directory, begun_at, upserts, removals, complete: false };
        match self.master.propose(world, Command::ApplyListing(command), vec![evidence(at)]).await {
            Ok(Success::Listed { newer: 0, .. }) => Ok(compared(self.known().await?.1)),
            Ok(_) => Err(Unanswered::Changed),
            // It timed out, and may still come about.
            Err(kind @ ErrorKind::TimedOut) => Err(Unanswered::Failed(kind)),
            Err(_) => Err(Unanswered::Forgotten),
        }
    }

    /// What is known of the name, of a directory of which all is.
    async fn known(&self) -> Result<(Duration, Option<Edge>, Option<Inode>), Unanswered> {
        let ((directory, name), asked) = (&self.of, self.world.now());
        if !is_listed(&self.world, &self.master, &self.place).await.map_err(Unanswered::Failed)? {
            return Err(Unanswered::Forgotten);
        }
        let state = self.master.store.borrow();
        let edge = query::edge(&*state, *directory, name).expect("memory can be read");
        let known = edge.as_ref().map(|edge| query::target(&*state, edge).expect("memory can be read"));
        Ok((asked, edge, known))
    }
}
