//! The clean end of a process: tasks stop stage by stage, in order, within one deadline.
//!
//! A stage is a cancellation token with the tasks that obey it. Front stages (listeners) are made first and stop
//! first; what they lean on (storage) is made last and stops last. No task is ever detached.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forebay_types::ErrorKind;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The stages of one process. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    requested: CancellationToken,
    /// In the order in which they stop. A handful, made at the start.
    stages: Arc<Mutex<Vec<Stage>>>,
}

/// Tasks that stop together. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Stage {
    name: &'static str,
    token: CancellationToken,
    tracker: TaskTracker,
}

/// SIGTERM and SIGINT, caught from the moment this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Why a process stopped before its tasks did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShutdownError {
    /// The deadline passed.
    #[error("{tasks} tasks of stage {stage} did not stop in time")]
    TimedOut {
        /// The stage that was being stopped.
        stage: &'static str,
        /// How many of its tasks still ran.
        tasks: usize,
    },
    /// A second signal came.
    #[error("a second signal came while stage {stage} was being stopped")]
    Interrupted {
        /// The stage that was being stopped.
        stage: &'static str,
    },
}

impl ShutdownError {
    /// What kind of thing went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TimedOut { .. } => ErrorKind::TimedOut,
            Self::Interrupted { .. } => ErrorKind::Unavailable,
        }
    }
}

impl Shutdown {
    /// A process without stages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a stage that stops after all stages made before it.
    #[must_use]
    pub fn stage(&self, name: &'static str) -> Stage {
        let stage = Stage { name, token: CancellationToken::new(), tracker: TaskTracker::new() };
        self.stages.lock().unwrap_or_else(PoisonError::into_inner).push(stage.clone());
        stage
    }

    /// Asks the process to stop, as a part does that cannot go on.
    pub fn request(&self) {
        self.requested.cancel();
    }

    /// Ends once somebody has asked the process to stop. Cancel safe.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Waits for a signal or for [`request`](Self::request), then stops the stages. A second signal ends the wait.
    ///
    /// # Errors
    /// [`ShutdownError`] if tasks still run.
    pub async fn run(&self, mut signals: Signals, deadline: Duration) -> Result<(), ShutdownError> {
        tokio::select! {
            name = signals.next() => tracing::info!(signal = name, "stopping"),
            () = self.requested() => tracing::info!("stopping"),
        }
        self.request();
        self.stop(deadline, async { signals.next().await }).await
    }

    /// Stops the stages in their order. All of them together have until `deadline`; those whose turn does not come
    /// in time are cancelled all the same, so that their tasks learn of the end.
    ///
    /// # Errors
    /// [`ShutdownError::TimedOut`] if tasks still run.
    pub async fn finish(&self, deadline: Duration) -> Result<(), ShutdownError> {
        self.request();
        self.stop(deadline, std::future::pending()).await
    }

    async fn stop(
        &self,
        deadline: Duration,
        interruption: impl Future<Output = &'static str>,
    ) -> Result<(), ShutdownError> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let end = tokio::time::sleep(deadline);
        tokio::pin!(end, interruption);
        let mut outcome = Ok(());
        for stage in &stages {
            stage.token.cancel();
            stage.tracker.close();
            if outcome.is_err() {
                continue;
            }
            tokio::select! {
                biased;
                () = stage.tracker.wait() => tracing::debug!(stage = stage.name, "stopped"),
                _ = &mut interruption => outcome = Err(ShutdownError::Interrupted { stage: stage.name }),
                () = &mut end => {
                    outcome = Err(ShutdownError::TimedOut { stage: stage.name, tasks: stage.tracker.len() });
                }
            }
        }
        outcome
    }
}

impl Stage {
    /// Cancelled when the stage's turn to stop has come.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Runs a task that the stage waits for. It must end soon after the [`token`](Self::token) is cancelled.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// For tasks that others spawn, such as blocking ones.
    #[must_use]
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }
}

impl Signals {
    /// Catches both signals; needs a runtime.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next signal. Cancel safe.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Number, getpid, kill_process};

    use super::*;
    use crate::limits::SHUTDOWN_DEADLINE;

    /// Spawns a task that writes its stage's name down some turns after it is told to stop.
    fn watch(stage: &Stage, turns: usize, seen: &Arc<Mutex<Vec<&'static str>>>) {
        let (token, seen, name) = (stage.token(), Arc::clone(seen), stage.name);
        stage.spawn(async move {
            token.cancelled().await;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            seen.lock().unwrap().push(name);
        });
    }

    #[tokio::test]
    async fn stages_stop_one_after_the_other_in_the_order_they_were_made() {
        let (shutdown, seen) = (Shutdown::new(), Arc::default());
        // A later stage that did not wait for the slower ones before it would overtake them.
        for (name, turns) in [("listeners", 20), ("services", 10), ("storage", 0)] {
            watch(&shutdown.stage(name), turns, &seen);
        }
        assert_eq!(shutdown.finish(SHUTDOWN_DEADLINE).await, Ok(()));
        assert_eq!(*seen.lock().unwrap(), ["listeners", "services", "storage"]);
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_is_named_and_later_stages_are_still_told() {
        let shutdown = Shutdown::new();
        let (first, second) = (shutdown.stage("services"), shutdown.stage("storage"));
        let stuck = first.spawn(std::future::pending::<()>());
        let outcome = shutdown.finish(Duration::from_millis(1)).await;
        assert_eq!(outcome, Err(ShutdownError::TimedOut { stage: "services", tasks: 1 }));
        assert!(second.token().is_cancelled());
        stuck.abort();
    }

    #[tokio::test]
    async fn a_signal_stops_the_process_and_a_second_one_ends_the_wait() {
        let signals = Signals::new().expect("caught");
        let shutdown = Shutdown::new();
        let stage = shutdown.stage("services");
        let token = stage.token();
        let stuck = stage.spawn(async move {
            token.cancelled().await;
            kill_process(getpid(), Number::INT).expect("sent");
            std::future::pending::<()>().await;
        });
        kill_process(getpid(), Number::TERM).expect("sent");
        let outcome = shutdown.run(signals, SHUTDOWN_DEADLINE).await;
        assert_eq!(outcome, Err(ShutdownError::Interrupted { stage: "services" }));
        stuck.abort();
    }

    #[tokio::test]
    async fn a_part_that_cannot_go_on_stops_the_process() {
        let (shutdown, seen) = (Shutdown::new(), Arc::default());
        watch(&shutdown.stage("services"), 1, &seen);
        shutdown.request();
        shutdown.requested().await;
        assert_eq!(shutdown.finish(SHUTDOWN_DEADLINE).await, Ok(()));
        assert_eq!(*seen.lock().unwrap(), ["services"]);
    }
}
