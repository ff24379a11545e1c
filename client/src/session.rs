//! The client's side of a session: numbers for mutations, so that the master knows a retry from a new request.
//!
//! Invariants: a number is used once; between the lowest unanswered number and the newest there are at most
//! [`SESSION_WINDOW`], which is what the master remembers.

use std::collections::BTreeSet;

use forebay_proto::Stamp;
use forebay_types::{Sequence, SessionId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits::SESSION_WINDOW;

/// Numbers the mutations of one client.
#[derive(Debug)]
pub(crate) struct Session {
    state: Mutex<State>,
    answered: Notify,
}

#[derive(Debug)]
struct State {
    id: SessionId,
    next: u64,
    unanswered: BTreeSet<u64>,
}

/// One mutation under way. Dropping it says that nobody will ask for its answer any more.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    session: &'a Session,
    stamp: Stamp,
}

impl Session {
    /// A session under an id that no other client has drawn.
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::new()), answered: Notify::new() }
    }

    /// The next number, as soon as the window has room for it. Cancel safe.
    pub(crate) async fn begin(&self) -> Ticket<'_> {
        loop {
            let answered = self.answered.notified();
            tokio::pin!(answered);
            // From here on no answer is missed.
            answered.as_mut().enable();
            if let Some(stamp) = self.state.lock().begin() {
                return Ticket { session: self, stamp };
            }
            answered.await;
        }
    }

    /// Begins anew after the master forgot the session `id`. Mutations under way keep their stamps.
    pub(crate) fn expire(&self, id: SessionId) {
        let mut state = self.state.lock();
        if state.id == id {
            *state = State::new();
        }
        drop(state);
        self.answered.notify_waiters();
    }
}

impl State {
    fn new() -> Self {
        Self { id: SessionId::new(random_number()), next: 1, unanswered: BTreeSet::new() }
    }

    fn begin(&mut self) -> Option<Stamp> {
        let sequence = self.next;
        let lowest = self.unanswered.first().copied().unwrap_or(sequence);
        if sequence - lowest >= SESSION_WINDOW {
            return None;
        }
        self.unanswered.insert(sequence);
        self.next += 1;
        Some(Stamp {
            session: self.id,
            sequence: Sequence::new(sequence),
            lowest_unanswered: Sequence::new(lowest),
        })
    }
}

impl Ticket<'_> {
    /// The stamp of each attempt of this mutation.
    pub(crate) const fn stamp(&self) -> Stamp {
        self.stamp
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut state = self.session.state.lock();
        if state.id == self.stamp.session {
            state.unanswered.remove(&self.stamp.sequence.get());
        }
        drop(state);
        self.session.answered.notify_waiters();
    }
}

/// A number above 0 that no other process is likely to draw.
pub(crate) fn random_number() -> u64 {
    loop {
        match getrandom::u64() {
            Ok(0) => {}
            Ok(number) => return number,
            // Linux gives random numbers to whoever is started after the first seconds of a machine's life.
            Err(error) => panic!("the kernel gives no random numbers: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn numbers(ticket: &Ticket<'_>) -> (u64, u64) {
        (ticket.stamp().sequence.get(), ticket.stamp().lowest_unanswered.get())
    }

    #[tokio::test]
    async fn the_lowest_unanswered_number_waits_for_answers_that_come_out_of_order() {
        let session = Session::new();
        let (first, second, third) = (session.begin().await, session.begin().await, session.begin().await);
        assert_eq!([numbers(&first), numbers(&second), numbers(&third)], [(1, 1), (2, 1), (3, 1)]);
        drop(second);
        let fourth = session.begin().await;
        assert_eq!(numbers(&fourth), (4, 1), "the first is still unanswered");
        drop(first);
        let fifth = session.begin().await;
        assert_eq!(numbers(&fifth), (5, 3), "the second was answered before");
        drop((third, fourth, fifth));
        assert_eq!(numbers(&session.begin().await), (6, 6));
    }

    #[tokio::test]
    async fn the_window_is_a_span_of_numbers_and_not_a_count_of_requests() {
        let session = Session::new();
        let oldest = session.begin().await;
        for _ in 1..SESSION_WINDOW {
            drop(session.begin().await);
        }
        assert!(session.begin().now_or_never().is_none(), "only one is unanswered, and the window is full");
        let (next, ()) = tokio::join!(session.begin(), async { drop(oldest) });
        assert_eq!(numbers(&next), (SESSION_WINDOW + 1, SESSION_WINDOW + 1));
    }

    #[tokio::test]
    async fn after_its_end_a_session_begins_anew_under_another_id() {
        let session = Session::new();
        let old = session.begin().await;
        session.expire(old.stamp().session);
        session.expire(old.stamp().session);
        let new = session.begin().await;
        assert_ne!(new.stamp().session, old.stamp().session);
        drop(old);
        assert_eq!(numbers(&new), (1, 1));
        assert_eq!(
            numbers(&session.begin().await),
            (2, 1),
            "the old answer frees nothing of the new session"
        );
    }
}
