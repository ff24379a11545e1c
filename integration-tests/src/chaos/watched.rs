//! Masters and the clients that watch what becomes of them: what a scenario begins with and ends with.

use std::sync::Arc;
use std::time::Duration;

use forebay_history::{Checked, History, check};

use super::clients::{Clients, Patience};
use super::recorder::Recorder;
use crate::masters::{Clocks, Masters};
use crate::wait::wait_until;

/// Clients that ask all the time.
const CLIENTS: u32 = 4;
/// The one that reads all in the end.
const READER: u32 = 101;
/// How long it may take until clients are answered again, on a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// Masters, and clients that wait for each answer as long as it takes.
#[derive(Debug)]
pub struct Watched {
    /// The clients.
    pub clients: Clients,
    /// The masters.
    pub masters: Masters,
    recorder: Arc<Recorder>,
}

impl Watched {
    /// Three masters, one of which leads, and clients that ask what follows from `seed`.
    ///
    /// # Panics
    /// When no master leads.
    #[must_use]
    pub fn start(seed: u64) -> Self {
        let masters = Masters::start(3, Clocks::Real);
        let recorder = Arc::new(Recorder::new(seed));
        let mut clients = Clients::new(&masters, Arc::clone(&recorder));
        for client in 0..CLIENTS {
            clients.begin(client, seed.wrapping_mul(1000).wrapping_add(u64::from(client)), Patience::Patient);
        }
        let watched = Self { clients, masters, recorder };
        watched.wait_for_answers(50);
        watched
    }

    /// Notes what is done to the masters.
    pub fn note(&self, text: &str) {
        self.recorder.note(text);
    }

    /// Waits until so many further mutations were answered or refused.
    ///
    /// # Panics
    /// When they are not in time.
    pub fn wait_for_answers(&self, count: usize) {
        let answered = || {
            let history = self.recorder.history();
            let counts =
                |of: &&forebay_history::Recorded| of.operation.is_mutation() && !of.outcome.is_unknown();
            history.operations.iter().filter(counts).count()
        };
        let before = answered();
        wait_until("clients are answered", ANSWERED_WITHIN, || answered() >= before + count);
    }

    /// Stops the clients, reads all that there is, and gives what the clients were told, which makes sense.
    ///
    /// # Panics
    /// When it does not.
    pub fn judged(&mut self) -> History {
        self.clients.stop();
        self.clients.read_all(READER);
        let history = self.recorder.history();
        let checked = check(&history);
        assert!(matches!(checked, Checked::Linearizable(_)), "{checked}\n{history}");
        assert_eq!(self.masters.panics(), [""; 0]);
        history
    }
}
