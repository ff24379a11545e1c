//! Finds the master that leads, as client/src/master_channel.rs does: follows hints, asks others beside one that is silent,
//! and tries again until the time is over.

use std::rc::Rc;
use std::time::Duration;

use forebay_types::ErrorKind;
use futures::future::{Either, LocalBoxFuture, select};
use futures::stream::{FuturesUnordered, StreamExt};

use super::Client;
use crate::executor::Node;
use crate::limits::{MASTER_PAUSE_MAX, MASTER_SILENCE, MASTER_TIMEOUT};
use crate::master::Master;
use crate::world::World;

/// What one master answers: who leads, too, where it does not.
type Told<T> = Result<T, (ErrorKind, Option<u8>)>;

/// One question to one master.
type Serve<T> = dyn Fn(Rc<World>, Rc<Master>) -> LocalBoxFuture<'static, Result<T, ErrorKind>>;

impl Client {
    /// Asks until a master has answered, or the time is over.
    pub(super) async fn ask<T: 'static>(
        &self,
        world: &Rc<World>,
        deadline: Duration,
        serve: impl Fn(Rc<World>, Rc<Master>) -> LocalBoxFuture<'static, Result<T, ErrorKind>> + 'static,
    ) -> Result<T, ErrorKind> {
        self.ask_within(world, (deadline, MASTER_SILENCE), serve).await
    }

    /// The same of a question that a master may keep for longer.
    pub(super) async fn ask_within<T: 'static>(
        &self,
        world: &Rc<World>,
        (deadline, silence): (Duration, Duration),
        serve: impl Fn(Rc<World>, Rc<Master>) -> LocalBoxFuture<'static, Result<T, ErrorKind>> + 'static,
    ) -> Result<T, ErrorKind> {
        let (begun, serve): (_, Rc<Serve<T>>) = (world.now(), Rc::new(serve));
        let mut failed = 0;
        loop {
            let kind = match self.ask_once(world, &serve, begun + deadline, silence).await {
                Ok(answer) => return Ok(answer),
                Err(kind) => kind,
            };
            failed += 1;
            let is_over = world.now() >= begun + MASTER_TIMEOUT.min(deadline);
            if is_over || !matches!(kind, ErrorKind::NotLeader | ErrorKind::Unavailable) {
                return Err(kind);
            }
            if failed >= u32::from(world.plan.masters) {
                let time = world.dice("turn", |random| random.time(MASTER_PAUSE_MAX / 2, MASTER_PAUSE_MAX));
                world.sleep(time).await;
            }
        }
    }

    async fn ask_once<T: 'static>(
        &self,
        world: &Rc<World>,
        serve: &Rc<Serve<T>>,
        end: Duration,
        silence: Duration,
    ) -> Result<T, ErrorKind> {
        let mut under_way = FuturesUnordered::new();
        let (mut waited, mut passed): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
        let first = self.master.get();
        let mut next = Some(first);
        let mut look_at = world.now() + silence;
        loop {
            if let Some(number) = next.take() {
                waited.push(number);
                under_way.push(self.ask_master(world, number, serve, end));
            }
            let left = look_at.min(end).saturating_sub(world.now());
            let (number, told) = match select(under_way.next(), world.sleep(left)).await {
                Either::Left((told, _)) => told.expect("somebody is waited for"),
                Either::Right(_) if world.now() >= end => {
                    self.turn(world, first, None);
                    return Err(ErrorKind::TimedOut);
                }
                Either::Right(_) => {
                    look_at += silence / 2;
                    passed.clear();
                    next = other_than(world, &waited, &passed);
                    continue;
                }
            };
            let (kind, leader) = match told {
                Ok(answer) => {
                    self.master.set(number);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            waited.retain(|other| *other != number);
            let may_turn =
                matches!(kind, ErrorKind::NotLeader | ErrorKind::Unavailable | ErrorKind::TimedOut);
            if waited.is_empty() || !may_turn {
                if may_turn {
                    self.turn(world, number, leader);
                }
                return Err(kind);
            }
            passed.push(number);
            next = match leader {
                Some(leader) if waited.contains(&leader) => None,
                Some(leader) => Some(leader),
                None => {
                    look_at = look_at.min(world.now() + MASTER_PAUSE_MAX);
                    other_than(world, &waited, &passed)
                }
            };
        }
    }

    async fn ask_master<T: 'static>(
        &self,
        world: &Rc<World>,
        number: u8,
        serve: &Rc<Serve<T>>,
        end: Duration,
    ) -> (u8, Told<T>) {
        let (to, serve) = (Node::Master(number), Rc::clone(serve));
        let left = end.saturating_sub(world.now());
        let asking = world.call((self.node(), to), left, move |world| {
            let serve = Rc::clone(&serve);
            Box::pin(async move {
                let Some(master) = world.master(to) else { return Err((ErrorKind::Unavailable, None)) };
                let told = serve(world, Rc::clone(&master)).await;
                told.map_err(|kind| {
                    let hint = master.raft.leader().filter(|leader| *leader != number);
                    (kind, hint.filter(|_| kind == ErrorKind::NotLeader))
                })
            })
        });
        (number, asking.await.unwrap_or(Err((ErrorKind::Unavailable, None))))
    }

    /// Decides whom to ask next, unless another question has decided already.
    fn turn(&self, world: &World, number: u8, leader: Option<u8>) {
        if self.master.get() == number {
            self.master.set(leader.unwrap_or((number + 1) % world.plan.masters));
        }
    }
}

fn other_than(world: &World, waited: &[u8], passed: &[u8]) -> Option<u8> {
    (0..world.plan.masters).find(|number| !waited.contains(number) && !passed.contains(number))
}
