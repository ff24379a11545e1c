//! Waits until an under-store may be asked: the shell around [`RequestCap`].

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use crate::limits;
use crate::request_cap::{Asked, Looked, RequestCap, Ticket, Urgency};

/// The turns of those who ask one under-store.
#[derive(Debug)]
pub(crate) struct Turns {
    began: Instant,
    /// `None`: everybody may ask at once. Held only to ask and look.
    cap: Option<Mutex<RequestCap>>,
}

/// A request that is not sent, since its turn would come too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLate {
    /// When its turn would have come.
    pub(crate) wait: Duration,
}

/// Gives up the place in the queue when it is dropped.
struct Place<'a> {
    cap: &'a Mutex<RequestCap>,
    ticket: Ticket,
}

impl Turns {
    /// So many requests a second; 0 for no cap.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { began: Instant::now(), cap: RequestCap::new(per_second).map(Mutex::new) }
    }

    /// So many requests wait for their turn, which nobody takes.
    #[cfg(test)]
    pub(crate) fn crowd(&self, requests: usize) {
        let mut cap = self.cap.as_ref().expect("a cap").lock();
        for _ in 0..requests {
            cap.ask(self.began.elapsed(), Urgency::Foreground, 1, None);
        }
    }

    /// Waits for the turn of so many requests at once; whether there was a wait. Who is not waited for waits as long as it
    /// takes. Cancel safe: the turn goes to the next.
    pub(crate) async fn come(&self, urgency: Urgency, requests: u32) -> Result<bool, TooLate> {
        let Some(cap) = &self.cap else { return Ok(false) };
        let patience = match urgency {
            Urgency::Foreground => Some(limits::REQUEST_PATIENCE),
            Urgency::Background => None,
        };
        let asked = cap.lock().ask(self.began.elapsed(), urgency, requests, patience);
        let place = match asked {
            Asked::Passes => return Ok(false),
            Asked::Refused(wait) => return Err(TooLate { wait }),
            Asked::Waits(ticket) => Place { cap, ticket },
        };
        loop {
            let looked = cap.lock().look(self.began.elapsed(), place.ticket);
            match looked {
                Looked::Passes => return Ok(true),
                Looked::NotBefore(at) => tokio::time::sleep_until(self.began + at).await,
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.cap.lock().leave(self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const FOREGROUND: Urgency = Urgency::Foreground;

    async fn passed_within(turns: &Arc<Turns>, requests: usize, time: Duration) -> usize {
        let asking: Vec<_> = (0..requests)
            .map(|_| {
                let turns = Arc::clone(turns);
                tokio::spawn(async move { turns.come(FOREGROUND, 1).await })
            })
            .collect();
        tokio::time::sleep(time).await;
        asking.iter().filter(|asking| asking.is_finished()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_come_in_a_second_than_may() {
        let turns = Arc::new(Turns::new(10));
        assert_eq!(passed_within(&turns, 100, Duration::from_millis(1050)).await, 10 + 10);
        let free = Arc::new(Turns::new(0));
        assert_eq!(passed_within(&free, 100, Duration::from_millis(1)).await, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_told_at_once_and_who_gives_up_holds_up_nobody() {
        let turns = Arc::new(Turns::new(1));
        while tokio::time::timeout(Duration::ZERO, turns.come(FOREGROUND, 1)).await.is_ok() {}
        let mut waiting: Vec<_> = (0..20)
            .map(|_| {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move { turns.come(FOREGROUND, 1).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let too_late = turns.come(FOREGROUND, 1).await.expect_err("twenty wait");
        assert!(too_late.wait > limits::REQUEST_PATIENCE);
        let last = waiting.pop().expect("one of them");
        for gone in waiting {
            gone.abort();
            assert!(gone.await.is_err());
        }
        let begun = Instant::now();
        assert_eq!(turns.come(FOREGROUND, 1).await, Ok(true));
        assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
        assert!(last.await.expect("it waits on").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_background_waits_as_long_as_it_takes() {
        let turns = Arc::new(Turns::new(1));
        while tokio::time::timeout(Duration::ZERO, turns.come(Urgency::Background, 1)).await.is_ok() {}
        let waiting = (0..40).map(|_| turns.come(Urgency::Background, 1));
        let begun = Instant::now();
        assert!(futures::future::join_all(waiting).await.iter().all(Result::is_ok));
        assert!(begun.elapsed() >= Duration::from_secs(38));
    }
}
