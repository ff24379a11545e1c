//! Takes down what clients ask and are told, with the moments on one clock.

use std::time::Instant;

use forebay_history::{ClientId, History, Note, Operation, Outcome, Recorded};
use parking_lot::Mutex;

/// A history that is being made.
#[derive(Debug)]
pub struct Recorder {
    begun: Instant,
    history: Mutex<History>,
}

impl Recorder {
    /// The history of a run that follows from `seed` begins now.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { begun: Instant::now(), history: Mutex::new(History { seed, ..History::default() }) }
    }

    /// The moment, to be taken before an operation is sent.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).expect("no run takes centuries")
    }

    /// An operation that was called at that moment has this outcome now.
    pub fn ended(&self, client: ClientId, called: u64, operation: Operation, outcome: Outcome) {
        let returned = self.now();
        self.history.lock().operations.push(Recorded { client, called, returned, operation, outcome });
    }

    /// Something was done to the cluster.
    pub fn note(&self, text: impl Into<String>) {
        let at = self.now();
        self.history.lock().notes.push(Note { at, text: text.into() });
    }

    /// How many operations have ended.
    #[must_use]
    pub fn count(&self) -> usize {
        self.history.lock().operations.len()
    }

    /// What was taken down so far.
    #[must_use]
    pub fn history(&self) -> History {
        self.history.lock().clone()
    }
}
