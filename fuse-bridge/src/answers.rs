//! Every request of the kernel is answered once and by a deadline, and no thread that reads requests ever waits.
//!
//! Work is tried on the spot first: what memory can answer costs no switch of threads. What must wait goes on in a task.
//! A process that waits for an answer cannot be killed, which is why there is a deadline on each.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use forebay_types::ErrorKind;
use fuser::Errno;
use parking_lot::Mutex;
use tokio::runtime::{EnterGuard, Handle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::errno;
use crate::limits::FAILURE_LOG_INTERVAL;
use crate::metrics::{Metrics, Operation};
use crate::namespace::NamespaceError;

/// Why a request fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// As it should: the kernel or the user asked for what is not there.
    Refused(Errno),
    /// Since somebody else failed.
    Failed(NamespaceError),
}

/// Where waiting requests are worked on.
#[derive(Debug)]
pub(crate) struct Answers {
    runtime: Handle,
    tracker: TaskTracker,
    token: CancellationToken,
    pub(crate) metrics: Metrics,
    log: Mutex<FailureLog>,
}

/// When a failure was last logged, and how many were left out since.
#[derive(Debug, Default)]
struct FailureLog {
    last: Option<Instant>,
    left_out: u64,
}

impl From<NamespaceError> for Failure {
    fn from(error: NamespaceError) -> Self {
        Self::Failed(error)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

impl Answers {
    pub(crate) fn new(runtime: Handle, metrics: Metrics) -> Self {
        Self {
            runtime,
            tracker: TaskTracker::new(),
            token: CancellationToken::new(),
            metrics,
            log: Mutex::default(),
        }
    }

    /// Works `work` out and gives its outcome to `reply`: here and now if it does not have to wait, else in a task, by
    /// `deadline` at the latest. `reply` is called exactly once, and must not wait.
    pub(crate) fn answer<T, W, R>(&self, operation: Operation, deadline: Duration, work: W, reply: R)
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Failure>> + Send + 'static,
        R: FnOnce(Result<T, Failure>) + Send + 'static,
    {
        let mut work = Box::pin(work);
        let _entered = self.enter();
        // Nothing wakes this look; the task looks again at once.
        let looked = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match looked {
            Poll::Ready(outcome) => reply(outcome),
            Poll::Pending => self.wait(operation, deadline, work, reply),
        }
    }

    fn wait<T, W, R>(&self, operation: Operation, deadline: Duration, work: Pin<Box<W>>, reply: R)
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Failure>> + Send + 'static,
        R: FnOnce(Result<T, Failure>) + Send + 'static,
    {
        let token = self.token.clone();
        let task = async move {
            tokio::select! {
                outcome = tokio::time::timeout(deadline, work) => {
                    reply(outcome.unwrap_or_else(|_| Err(Failure::late(operation, deadline))));
                }
                () = token.cancelled() => reply(Err(Failure::ended())),
            }
        };
        self.tracker.spawn_on(task, &self.runtime);
    }

    /// Works on something until its end or ours.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let token = self.token.clone();
        let task = async move {
            tokio::select! {
                () = work => {}
                () = token.cancelled() => {}
            }
        };
        self.tracker.spawn_on(task, &self.runtime);
    }

    /// Makes the runtime the current one, as what is dropped or made from a thread of the session may need it.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// What the kernel is told of a failure about what lies at `path`. Counts it, and logs what a person should know.
    pub(crate) fn refuse(
        &self,
        operation: Operation,
        path: &dyn std::fmt::Display,
        failure: &Failure,
    ) -> Errno {
        let error = match failure {
            Failure::Refused(errno) => return *errno,
            Failure::Failed(error) => error,
        };
        // That a name is missing is an answer; that what is open has no mount any more is none.
        if error.kind != ErrorKind::NotFound || operation == Operation::Read {
            self.metrics.error(operation);
            let left_out = self.log.lock().turn(Instant::now());
            if let Some(left_out) = left_out {
                let operation = operation.name();
                tracing::warn!(operation, %path, kind = %error.kind, %error, left_out, "a request failed");
            }
        }
        errno::of(error.kind)
    }

    /// Ends the tasks: those that still wait answer with an error. Waits up to `deadline` for them.
    pub(crate) async fn end(&self, deadline: Duration) {
        self.token.cancel();
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "requests of the kernel are still being worked on");
        }
    }
}

impl Failure {
    fn late(operation: Operation, deadline: Duration) -> Self {
        let message = format!("{} got no answer within {deadline:?}", operation.name());
        Self::Failed(NamespaceError { kind: ErrorKind::TimedOut, message })
    }

    fn ended() -> Self {
        let message = "the file system is being unmounted".to_owned();
        Self::Failed(NamespaceError { kind: ErrorKind::Unavailable, message })
    }
}

impl FailureLog {
    /// The number of failures left out if it is time to log one, else `None`.
    fn turn(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < FAILURE_LOG_INTERVAL) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn answers() -> Answers {
        Answers::new(Handle::current(), Metrics::new().expect("legal").0)
    }

    /// The outcome of `work` under a deadline of one second, and whether it came on the spot.
    async fn outcome_of<W>(answers: &Answers, work: W) -> (Result<u32, Failure>, bool)
    where
        W: Future<Output = Result<u32, Failure>> + Send + 'static,
    {
        let (sender, mut receiver) = oneshot::channel();
        answers.answer(Operation::Read, Duration::from_secs(1), work, |outcome| {
            sender.send(outcome).expect("somebody waits");
        });
        match receiver.try_recv() {
            Ok(outcome) => (outcome, true),
            Err(_) => (receiver.await.expect("answered"), false),
        }
    }

    #[tokio::test]
    async fn what_memory_can_answer_is_answered_on_the_spot() {
        assert_eq!(outcome_of(&answers(), async { Ok(7) }).await, (Ok(7), true));
    }

    #[tokio::test(start_paused = true)]
    async fn what_must_wait_is_answered_later_and_what_waits_too_long_by_an_error() {
        let answers = answers();
        let waits = |time| async move {
            tokio::time::sleep(Duration::from_millis(time)).await;
            Ok(7)
        };
        assert_eq!(outcome_of(&answers, waits(900)).await, (Ok(7), false));
        let (outcome, _) = outcome_of(&answers, waits(1100)).await;
        let Err(failure) = outcome else { panic!("answered after its deadline") };
        assert_eq!(answers.refuse(Operation::Read, &"file", &failure), errno::of(ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn what_is_not_found_is_an_error_to_a_read_and_an_answer_to_a_lookup() {
        let ((metrics, collectors), registry) = (Metrics::new().expect("legal"), prometheus::Registry::new());
        collectors.register(&registry).expect("a new registry");
        let answers = Answers::new(Handle::current(), metrics);
        let message = "mount:7 is not mounted".to_owned();
        let failure = Failure::Failed(NamespaceError { kind: ErrorKind::NotFound, message });
        for operation in [Operation::Lookup, Operation::Read] {
            assert_eq!(answers.refuse(operation, &"file", &failure), errno::NO_ENTRY);
        }
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).expect("written");
        let count = |operation: &str| {
            let line = format!("forebay_fuse_errors_total{{operation=\"{operation}\"}} ");
            text.lines().find_map(|of| of.strip_prefix(&line).map(str::to_owned))
        };
        assert_eq!((count("read").as_deref(), count("lookup").as_deref()), (Some("1"), Some("0")), "{text}");
    }

    #[tokio::test]
    async fn at_the_end_nobody_is_left_waiting() {
        let answers = answers();
        let (sender, receiver) = oneshot::channel();
        answers.answer(Operation::Open, Duration::MAX, std::future::pending::<Result<(), _>>(), |outcome| {
            sender.send(outcome).expect("somebody waits");
        });
        answers.end(Duration::from_secs(5)).await;
        assert_eq!(receiver.await.expect("answered"), Err(Failure::ended()));
    }

    #[test]
    fn a_flood_of_failures_is_logged_once_with_its_number() {
        let (mut log, now) = (FailureLog::default(), Instant::now());
        assert_eq!(log.turn(now), Some(0));
        assert_eq!((log.turn(now), log.turn(now)), (None, None));
        assert_eq!(log.turn(now + FAILURE_LOG_INTERVAL), Some(2));
    }
}
