//! The network: how long a message takes, whether it comes at all, and whether it comes twice.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::LocalBoxFuture;

use crate::executor::Node;
use crate::master::Master;
use crate::plan::Fault;
use crate::world::World;

/// How long a message takes between masters that are far from each other, at most.
const SLOW_MILLIS: u64 = 120;

/// Who cannot reach whom.
#[derive(Debug, Default)]
pub(crate) struct Network {
    cut_off: RefCell<BTreeSet<(Node, Node)>>,
}

/// There was no answer: the other side is away, or silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoAnswer;

/// What becomes of a message.
enum Leg {
    /// It comes after these times, once or more often.
    Comes(Vec<Duration>),
    /// It does not come; the sender learns of it after this time, or never.
    Lost(Option<Duration>),
}

impl Network {
    /// Cuts the way from one node to another, or mends it.
    pub(crate) fn set_cut_off(&self, from: Node, to: Node, is_cut_off: bool) {
        if is_cut_off {
            self.cut_off.borrow_mut().insert((from, to));
        } else {
            self.cut_off.borrow_mut().remove(&(from, to));
        }
    }

    /// Mends all ways.
    pub(crate) fn mend(&self) {
        self.cut_off.borrow_mut().clear();
    }

    fn leg(&self, world: &World, from: Node, to: Node) -> Leg {
        let is_lost = self.cut_off.borrow().contains(&(from, to))
            || world.plan.has(Fault::MessageLost) && world.dice("lost", |random| random.chance(1, 40));
        if is_lost {
            let told = world.dice("lost", |random| random.chance(1, 2).then(|| random.millis(3000)));
            return Leg::Lost(told);
        }
        let one = || {
            let is_late =
                world.plan.has(Fault::MessageLate) && world.dice("late", |random| random.chance(1, 20));
            let is_between_masters = matches!((from, to), (Node::Master(_), Node::Master(_)));
            let usual =
                if is_between_masters && world.plan.has(Fault::MastersSlow) { SLOW_MILLIS } else { 3 };
            world.dice("network", |random| random.millis(if is_late { 3000 } else { usual }))
        };
        let is_twice =
            world.plan.has(Fault::MessageTwice) && world.dice("twice", |random| random.chance(1, 20));
        Leg::Comes(if is_twice { vec![one(), one()] } else { vec![one()] })
    }
}

type Sender<T> = Rc<RefCell<Option<oneshot::Sender<T>>>>;

impl World {
    /// Asks another node and waits for its answer until `deadline`. What is asked may be served twice, or served
    /// without an answer that comes back.
    ///
    /// # Errors
    /// [`NoAnswer`]
    pub(crate) async fn call<T: 'static>(
        self: &Rc<Self>,
        (from, to): (Node, Node),
        deadline: Duration,
        serve: impl Fn(Rc<Self>) -> LocalBoxFuture<'static, T> + 'static,
    ) -> Result<T, NoAnswer> {
        let (sender, answer) = oneshot::channel();
        let sender = Rc::new(RefCell::new(Some(sender)));
        let serve = Rc::new(serve);
        match self.network.leg(self, from, to) {
            Leg::Lost(told) => self.break_after(told, sender),
            Leg::Comes(times) => {
                let sender = sender;
                for time in times {
                    let (world, serve, sender) = (Rc::clone(self), Rc::clone(&serve), Rc::clone(&sender));
                    self.executor.spawn_after(time, to, async move {
                        // Nobody at home: the connection is refused.
                        if world.is_up(to) {
                            let answer = serve(Rc::clone(&world)).await;
                            world.send_back((to, from), answer, sender);
                        }
                    });
                }
            }
        }
        // What is left of it is with those who may still answer: when all of them are gone, so is the connection.
        match self.executor.within(deadline, answer).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(_)) | None => Err(NoAnswer),
        }
    }

    fn send_back<T: 'static>(self: &Rc<Self>, (from, to): (Node, Node), answer: T, sender: Sender<T>) {
        match self.network.leg(self, from, to) {
            Leg::Lost(told) => self.break_after(told, sender),
            Leg::Comes(times) => {
                let time = times.into_iter().min().unwrap_or_default();
                self.executor.spawn_after(time, Node::Environment, async move {
                    if let Some(sender) = sender.take() {
                        // Whoever asked may have given up.
                        let _ = sender.send(answer);
                    }
                });
            }
        }
    }

    /// Tells another master something, without an answer of its own.
    pub(crate) fn post(
        self: &Rc<Self>,
        (from, to): (u8, u8),
        receive: impl Fn(&Rc<Self>, &Rc<Master>) + 'static,
    ) {
        let (from, to) = (Node::Master(from), Node::Master(to));
        let Leg::Comes(times) = self.network.leg(self, from, to) else { return };
        let receive = Rc::new(receive);
        for time in times {
            let (world, receive) = (Rc::clone(self), Rc::clone(&receive));
            self.executor.spawn_after(time, to, async move {
                if let Some(master) = world.master(to) {
                    receive(&world, &master);
                }
            });
        }
    }

    /// The way of an answer is kept for a while, and then breaks.
    fn break_after<T: 'static>(self: &Rc<Self>, told: Option<Duration>, sender: Sender<T>) {
        let time = told.unwrap_or(Duration::from_secs(3600));
        self.executor.spawn_after(time, Node::Environment, async move { drop(sender.take()) });
    }
}
