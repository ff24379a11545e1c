//! When a leader may answer from its lease, and when it has to ask a majority all the same.
//!
//! A master that hears from a leader votes for no other one for the time of a lease, and a leader knows when those that
//! answered it were asked. So nobody else leads for so long after that; the leader counts on four fifths of it, since the
//! clocks of two machines do not run equally fast. docs/adr/0035-reads-by-lease.md has what this rests on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Clock;
use crate::limits::SUSPENSION_UNNOTICED_MAX;

/// The lease of this node, for when it leads.
#[derive(Debug)]
pub(super) struct Lease {
    /// How long ago a majority may have answered.
    age_max: Duration,
    clock: Arc<dyn Clock>,
    /// How long the machine had been suspended when a majority was last asked on purpose.
    suspended: Option<Duration>,
    ceded: Ceded,
}

/// Whether this node has asked the others to elect another leader, who then need not wait for the end of the lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Ceded(Arc<AtomicBool>);

impl Lease {
    pub(super) fn new(lease: Duration, clock: Arc<dyn Clock>, ceded: Ceded) -> Self {
        Self { age_max: lease * 4 / 5, clock, suspended: None, ceded }
    }

    /// How long ago a majority may have answered for a round that begins now; zero: it has to be asked.
    pub(super) fn age_max(&self) -> Duration {
        let unnoticed = |before: Duration| self.clock.suspended() <= before + SUSPENSION_UNNOTICED_MAX;
        let counts = self.suspended.is_some_and(unnoticed) && !self.ceded.0.load(Ordering::SeqCst);
        if counts { self.age_max } else { Duration::ZERO }
    }

    /// Begins a round that asks a majority; what it gives is for [`confirmed`](Self::confirmed).
    pub(super) fn ask(&self) -> Duration {
        self.clock.suspended()
    }

    /// A majority answered a round that began so.
    pub(super) fn confirmed(&mut self, began: Duration) {
        self.suspended = Some(began);
    }

    /// This node does not lead, or has given the lead away: then openraft refuses all reads until another one leads, so
    /// nothing rests on [`Ceded`] any more. A later lease of its own is a new one.
    pub(super) fn lost(&mut self) {
        self.suspended = None;
        self.ceded.0.store(false, Ordering::SeqCst);
    }
}

impl Ceded {
    /// From now on no lease of this node counts, until it has led no more.
    pub(super) fn cede(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::set_clock;

    const LEASE: Duration = Duration::from_secs(10);
    const COUNTED: Duration = Duration::from_secs(8);

    #[test]
    fn a_lease_counts_once_a_majority_was_asked_and_leaves_room_for_clocks_that_differ() {
        let mut lease = Lease::new(LEASE, set_clock(), Ceded::default());
        assert_eq!(lease.age_max(), Duration::ZERO);
        let began = lease.ask();
        lease.confirmed(began);
        assert_eq!(lease.age_max(), COUNTED);
        lease.lost();
        assert_eq!(lease.age_max(), Duration::ZERO, "another lead begins with a question");
    }

    #[test]
    fn a_machine_that_was_suspended_asks_again_also_when_it_was_while_it_asked() {
        let clock = set_clock();
        let mut lease = Lease::new(LEASE, clock.clone(), Ceded::default());
        let began = lease.ask();
        lease.confirmed(began);
        clock.suspend(Duration::from_secs(1));
        assert_eq!(lease.age_max(), Duration::ZERO);
        let began = lease.ask();
        clock.suspend(Duration::from_secs(1));
        lease.confirmed(began);
        assert_eq!(lease.age_max(), Duration::ZERO);
        let began = lease.ask();
        lease.confirmed(began);
        assert_eq!(lease.age_max(), COUNTED);
    }

    #[test]
    fn who_gave_the_lead_away_has_no_lease_until_it_lost_the_lead() {
        let ceded = Ceded::default();
        let mut lease = Lease::new(LEASE, set_clock(), ceded.clone());
        let began = lease.ask();
        lease.confirmed(began);
        ceded.cede();
        assert_eq!(lease.age_max(), Duration::ZERO);
        let began = lease.ask();
        lease.confirmed(began);
        assert_eq!(lease.age_max(), Duration::ZERO, "whoever it was given to may be elected any time");
        lease.lost();
        let began = lease.ask();
        lease.confirmed(began);
        assert_eq!(lease.age_max(), COUNTED);
    }
}
