//! What a master does only while it leads, as master/server/src/server/reign.rs: it takes over, and ends what it began when it
//! has lost the lead.

use std::rc::Rc;

use forebay_metadata::{Command, ExpireSessions, ForgetDirectory, Reap, Success, query};
use forebay_types::{ErrorKind, Timestamp};
use futures::future::select;

use super::{Master, listing, outbox};
use crate::limits::{
    FORGET_PAUSE_MILLIS, FORGET_PER_ENTRY, REAP_PER_ENTRY, RENEWAL_TICK, RENEWALS_IN_FLIGHT_MAX,
    TAKE_OVER_PAUSE,
};
use crate::plan::{Fault, Planted};
use crate::world::World;

impl Master {
    /// Reigns whenever this master leads.
    pub(super) async fn reign(self: &Rc<Self>, world: &Rc<World>) {
        loop {
            self.has_role(true).await;
            match self.take_over(world).await {
                Ok(()) => self.reign_once(world).await,
                Err(_) => world.sleep(TAKE_OVER_PAUSE).await,
            }
        }
    }

    async fn has_role(&self, leads: bool) {
        loop {
            let seen = self.raft.roles.count();
            if self.raft.leads() == leads {
                return;
            }
            self.raft.roles.beyond(seen).await;
        }
    }

    async fn take_over(self: &Rc<Self>, world: &Rc<World>) -> Result<(), ErrorKind> {
        let nothing = Command::ExpireSessions(ExpireSessions { before: Timestamp::from_nanos(i64::MIN) });
        self.propose(world, nothing, Vec::new()).await?;
        self.confirm(world).await?;
        self.checks.take();
        if world.plan.planted == Some(Planted::TakeOverIsCheck) {
            self.take_all_for_listed(world);
        }
        self.leads_since.set(world.now());
        self.registry.borrow_mut().set_leads(true, self.raft.term());
        self.reaping.raise();
        self.jobs.wake.raise();
        world.note(format_args!("master {} has taken over", self.number));
        Ok(())
    }

    async fn reign_once(self: &Rc<Self>, world: &Rc<World>) {
        self.during_reign(world, |master, world| async move { master.renew(&world).await });
        self.during_reign(world, |master, world| async move { master.reap(&world).await });
        self.during_reign(world, |master, world| async move { master.forget(&world).await });
        self.during_reign(world, |master, world| async move { outbox::work(&world, &master).await });
        self.during_reign(world, |master, world| async move { crate::job::work(&world, &master).await });
        self.has_role(false).await;
        self.reigns_ended.raise();
        self.jobs.stop_all();
        self.registry.borrow_mut().set_leads(false, 0);
        world.note(format_args!("master {} reigns no more", self.number));
    }

    /// Does something until this reign ends.
    pub(crate) fn during_reign<F: Future<Output = ()> + 'static>(
        self: &Rc<Self>,
        world: &Rc<World>,
        work: impl FnOnce(Rc<Self>, Rc<World>) -> F,
    ) {
        let (master, seen) = (Rc::clone(self), self.reigns_ended.count());
        let work = work(Rc::clone(self), Rc::clone(world));
        world.executor.spawn(self.node(), async move {
            select(std::pin::pin!(work), std::pin::pin!(master.reigns_ended.beyond(seen))).await;
        });
    }

    fn take_all_for_listed(&self, world: &World) {
        let listed = query::listed_directories(&*self.store.borrow(), None, usize::MAX);
        for (directory, _) in listed.expect("memory can be read") {
            let found = query::attributes(&*self.store.borrow(), directory).expect("memory can be read");
            let Some(mount) = found.and_then(|inode| world.mount_of(&inode)) else { continue };
            let (freshness, now) = (world.mounts[mount].freshness(), self.now(world));
            self.checks.borrow_mut().listed(directory, freshness, now, std::time::Duration::ZERO);
        }
    }

    async fn renew(self: &Rc<Self>, world: &Rc<World>) {
        // Those of an earlier reign are not counted.
        self.renewals.set(0);
        loop {
            world.sleep(RENEWAL_TICK).await;
            let free = RENEWALS_IN_FLIGHT_MAX.saturating_sub(self.renewals.get());
            let due = self.checks.borrow_mut().take_due(self.now(world), free);
            for directory in due {
                self.renewals.set(self.renewals.get() + 1);
                let (master, world) = (Rc::clone(self), Rc::clone(world));
                let of = Rc::clone(&world);
                of.executor.spawn(self.node(), async move {
                    // A failure is remembered by the listing itself.
                    let _ = listing::renew(&world, &master, directory).await;
                    master.renewals.set(master.renewals.get().saturating_sub(1));
                });
            }
        }
    }

    /// Forgets any directory at any time: the real master spares those in use, which must not be what truth rests on.
    async fn forget(self: &Rc<Self>, world: &Rc<World>) {
        while world.plan.has(Fault::Forgets) {
            let pause = world.dice("forget", |random| random.millis(FORGET_PAUSE_MILLIS));
            world.sleep(pause).await;
            let listed = query::listed_directories(&*self.store.borrow(), None, usize::MAX);
            let listed = listed.expect("memory can be read");
            let Some(last) = listed.len().checked_sub(1) else { continue };
            let directory = listed[world.dice("forget", |random| random.index(last + 1))].0;
            let command = || Command::ForgetDirectory(ForgetDirectory { directory, limit: FORGET_PER_ENTRY });
            while let Ok(Success::Forgotten { more: true, .. }) =
                self.propose(world, command(), Vec::new()).await
            {}
        }
        std::future::pending().await
    }

    async fn reap(self: &Rc<Self>, world: &Rc<World>) {
        loop {
            let seen = self.reaping.count();
            loop {
                let command = Command::Reap(Reap { limit: REAP_PER_ENTRY });
                match self.propose(world, command, Vec::new()).await {
                    Ok(Success::Reaped { more: true, .. }) => {}
                    _ => break,
                }
            }
            self.reaping.beyond(seen).await;
        }
    }
}
