//! Runs the actors: futures on one thread, under a clock that jumps from one timer to the next.
//!
//! Which of several ready tasks goes on is drawn from the seed, and never depends on the order of wake-ups, so a run
//! can be repeated. Each task belongs to a node: when the node crashes its tasks are dropped wherever they wait.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::{Either, select};

use crate::random::Random;

/// Whose task it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    /// Messages on their way, and what else is nobody's.
    Environment,
    /// What happens to the cluster from outside.
    Trouble,
    /// A master.
    Master(u8),
    /// A client.
    Client(u8),
    /// A worker.
    Worker(u8),
}

/// The tasks, the timers and the time.
#[derive(Clone)]
pub(crate) struct Executor(Rc<Inner>);

type Ready = Arc<Mutex<BTreeSet<u64>>>;

struct Inner {
    now: Cell<Duration>,
    next: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    timers: RefCell<BTreeMap<(Duration, u64), Waker>>,
    ready: Ready,
    /// Whose task is being polled, and whether its node was crashed meanwhile.
    running: Cell<Option<(Node, bool)>>,
    /// Nodes that stand still, and those of their tasks that would go on.
    paused: RefCell<BTreeMap<Node, BTreeSet<u64>>>,
}

struct Task {
    node: Node,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

struct TaskWaker {
    task: u64,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).insert(self.task);
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Default for Executor {
    fn default() -> Self {
        Self(Rc::new(Inner {
            now: Cell::default(),
            next: Cell::new(1),
            tasks: RefCell::default(),
            timers: RefCell::default(),
            ready: Arc::default(),
            running: Cell::default(),
            paused: RefCell::default(),
        }))
    }
}

impl Executor {
    /// The time since the begin of the run.
    #[must_use]
    pub(crate) fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// Adds a task.
    pub(crate) fn spawn(&self, node: Node, future: impl Future<Output = ()> + 'static) {
        let id = self.number();
        self.0.tasks.borrow_mut().insert(id, Task { node, future: Box::pin(future) });
        self.0.ready.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    /// Adds a task that begins after some time.
    pub(crate) fn spawn_after(&self, time: Duration, node: Node, future: impl Future<Output = ()> + 'static) {
        let id = self.number();
        self.0.tasks.borrow_mut().insert(id, Task { node, future: Box::pin(future) });
        let waker = Waker::from(Arc::new(TaskWaker { task: id, ready: Arc::clone(&self.0.ready) }));
        self.0.timers.borrow_mut().insert((self.now() + time, self.number()), waker);
    }

    /// The node stands still, as after SIGSTOP: none of its tasks goes on until it is resumed.
    pub(crate) fn pause(&self, node: Node) {
        self.0.paused.borrow_mut().entry(node).or_default();
    }

    /// The node goes on where it stood.
    pub(crate) fn resume(&self, node: Node) {
        let held = self.0.paused.borrow_mut().remove(&node).unwrap_or_default();
        self.0.ready.lock().unwrap_or_else(PoisonError::into_inner).extend(held);
    }

    /// Whether a node stands still.
    pub(crate) fn is_paused(&self, node: Node) -> bool {
        self.0.paused.borrow().contains_key(&node)
    }

    /// Drops all tasks of a node, that which runs now as soon as it waits.
    pub(crate) fn crash(&self, node: Node) {
        let mut dropped = Vec::new();
        let mut tasks = self.0.tasks.borrow_mut();
        let ids: Vec<u64> = tasks.iter().filter(|(_, task)| task.node == node).map(|(id, _)| *id).collect();
        dropped.extend(ids.into_iter().filter_map(|id| tasks.remove(&id)));
        drop(tasks);
        if let Some((running, _)) = self.0.running.get()
            && running == node
        {
            self.0.running.set(Some((running, true)));
        }
        // What they own may look at the executor while it is dropped.
        drop(dropped);
    }

    /// Drops all tasks, which own what owns this.
    pub(crate) fn end(&self) {
        let tasks = self.0.tasks.take();
        drop(tasks);
    }

    /// Lets one task go on, after moving the clock if all wait; false when nothing will ever happen again.
    pub(crate) fn step(&self, random: &mut Random) -> bool {
        loop {
            let chosen = {
                let mut ready = self.0.ready.lock().unwrap_or_else(PoisonError::into_inner);
                let position = if ready.len() > 1 { random.index(ready.len()) } else { 0 };
                let chosen = ready.iter().nth(position).copied();
                chosen.inspect(|id| {
                    ready.remove(id);
                })
            };
            match chosen {
                Some(id) => {
                    if self.poll(id) {
                        return true;
                    }
                }
                None => {
                    let Some(((at, _), waker)) = self.0.timers.borrow_mut().pop_first() else {
                        return false;
                    };
                    self.0.now.set(at.max(self.now()));
                    waker.wake();
                }
            }
        }
    }

    /// Whether there was such a task.
    fn poll(&self, id: u64) -> bool {
        let Some(mut task) = self.0.tasks.borrow_mut().remove(&id) else { return false };
        if let Some(held) = self.0.paused.borrow_mut().get_mut(&task.node) {
            held.insert(id);
            self.0.tasks.borrow_mut().insert(id, task);
            return false;
        }
        let waker = Waker::from(Arc::new(TaskWaker { task: id, ready: Arc::clone(&self.0.ready) }));
        self.0.running.set(Some((task.node, false)));
        let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        let crashed = self.0.running.take().is_some_and(|(_, crashed)| crashed);
        if polled.is_pending() && !crashed {
            self.0.tasks.borrow_mut().insert(id, task);
        }
        true
    }

    /// Waits for so long.
    pub(crate) fn sleep(&self, time: Duration) -> Sleep {
        Sleep { inner: Rc::clone(&self.0), until: self.now() + time, timer: None }
    }

    /// What comes of a future within some time; `None` if nothing does.
    pub(crate) async fn within<T>(&self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        match select(std::pin::pin!(future), self.sleep(time)).await {
            Either::Left((outcome, _)) => Some(outcome),
            Either::Right(((), _)) => None,
        }
    }

    fn number(&self) -> u64 {
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        number
    }
}

/// A wait for a moment.
pub(crate) struct Sleep {
    inner: Rc<Inner>,
    until: Duration,
    timer: Option<(Duration, u64)>,
}

impl std::fmt::Debug for Sleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sleep").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.inner.now.get() >= self.until {
            return Poll::Ready(());
        }
        let key = match self.timer {
            Some(key) => key,
            None => {
                let number = self.inner.next.get();
                self.inner.next.set(number + 1);
                (self.until, number)
            }
        };
        self.timer = Some(key);
        self.inner.timers.borrow_mut().insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.timer.take() {
            self.inner.timers.borrow_mut().remove(&key);
        }
    }
}

/// Wakes all who wait for something to change.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    count: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// How often it was raised.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Something changed.
    pub(crate) fn raise(&self) {
        self.count.set(self.count.get() + 1);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Waits until it was raised more often than `seen` times.
    pub(crate) async fn beyond(&self, seen: u64) {
        std::future::poll_fn(|context| {
            if self.count.get() > seen {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests;
