//! How many requests a second an under-store is asked: a token bucket in which somebody who waits goes before the
//! background. Pure: it is driven by the time that it is told.
//!
//! The bucket holds what a second brings. Requests for which somebody waits may use all of it, in the order in which they
//! came. Those of the background leave half of it, and pass only while nobody else waits: so there is always room for
//! whoever comes next, and alone they get all that comes in. Source: the leaky bucket as a meter, ITU-T I.371.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::limits;

/// Whether somebody waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// A client does.
    Foreground,
    /// Nobody does: what is known is renewed, or a job goes on.
    Background,
}

/// One who waits. Never used twice by one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// What becomes of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It may be sent now.
    Passes,
    /// It is in the queue: [`RequestCap::look`] tells when it passes.
    Waits(Ticket),
    /// Its turn would come only after this time, which is too late, or too many wait.
    Refused(Duration),
}

/// What has become of one who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// It may be sent now, and waits no more.
    Passes,
    /// Look again then; not before.
    NotBefore(Duration),
}

/// The bucket of one under-store. Its contents are counted in the time that they take to come in.
#[derive(Debug)]
pub(crate) struct RequestCap {
    /// What one request takes out.
    interval: Duration,
    credit_max: Duration,
    credit: Duration,
    /// When the credit was reckoned.
    reckoned_at: Duration,
    foreground: VecDeque<Waiting>,
    background: VecDeque<Waiting>,
    /// Whose turn came and who were not told, and what was taken out for them.
    passed: BTreeMap<Ticket, Duration>,
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    ticket: Ticket,
    cost: Duration,
}

impl RequestCap {
    /// A full bucket; `None` for no cap, which is written as 0.
    pub(crate) fn new(per_second: u32) -> Option<Self> {
        let interval = Duration::from_secs(1).checked_div(per_second)?;
        // A low cap must leave room for what several requests at once leave for others.
        let credit_max = Duration::from_secs(1).max(4 * interval);
        Some(Self {
            interval,
            credit_max,
            credit: credit_max,
            reckoned_at: Duration::ZERO,
            foreground: VecDeque::new(),
            background: VecDeque::new(),
            passed: BTreeMap::new(),
            last: 0,
        })
    }

    /// Asks at `now`, which never goes back, for so many requests at once: two at the most. What would wait for
    /// longer than `patience` is refused at once.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        urgency: Urgency,
        requests: u32,
        patience: Option<Duration>,
    ) -> Asked {
        self.advance(now);
        self.last += 1;
        let waiting = Waiting { ticket: Ticket(self.last), cost: self.interval * requests.min(2) };
        let queue = match urgency {
            Urgency::Foreground => &mut self.foreground,
            Urgency::Background => &mut self.background,
        };
        queue.push_back(waiting);
        let (is_full, ticket) = (queue.len() > limits::REQUESTS_WAITING_MAX, waiting.ticket);
        match self.look(now, ticket) {
            Looked::Passes => Asked::Passes,
            Looked::NotBefore(at) => {
                let wait = at - now;
                if is_full || patience.is_some_and(|patience| wait > patience) {
                    self.leave(ticket);
                    return Asked::Refused(wait);
                }
                Asked::Waits(ticket)
            }
        }
    }

    /// Looks at `now` whether the turn of one who waits has come. For the background the answer may be early: others can
    /// come before it.
    pub(crate) fn look(&mut self, now: Duration, ticket: Ticket) -> Looked {
        self.advance(now);
        if self.passed.remove(&ticket).is_some() {
            return Looked::Passes;
        }
        let up_to = |queue: &VecDeque<Waiting>| {
            let mut sum = Duration::ZERO;
            for waiting in queue {
                sum += waiting.cost;
                if waiting.ticket == ticket {
                    return (sum, true);
                }
            }
            (sum, false)
        };
        let needed = match up_to(&self.foreground) {
            (sum, true) => sum,
            (sum, false) => sum + self.reserve() + up_to(&self.background).0,
        };
        Looked::NotBefore(now + needed.saturating_sub(self.credit))
    }

    /// One who waits gives up. What was taken out for it is put back.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        if let Some(cost) = self.passed.remove(&ticket) {
            self.credit = (self.credit + cost).min(self.credit_max);
        }
        for queue in [&mut self.foreground, &mut self.background] {
            queue.retain(|waiting| waiting.ticket != ticket);
        }
    }

    /// What the background leaves in.
    fn reserve(&self) -> Duration {
        self.credit_max / 2
    }

    /// Lets pass whose turn has come.
    fn advance(&mut self, now: Duration) {
        let came = now.saturating_sub(self.reckoned_at);
        self.credit = (self.credit + came).min(self.credit_max);
        self.reckoned_at = self.reckoned_at.max(now);
        while let Some(Waiting { ticket, cost }) = self.foreground.front().copied()
            && cost <= self.credit
        {
            self.foreground.pop_front();
            self.credit -= cost;
            self.passed.insert(ticket, cost);
        }
        while self.foreground.is_empty()
            && let Some(Waiting { ticket, cost }) = self.background.front().copied()
            && cost + self.reserve() <= self.credit
        {
            self.background.pop_front();
            self.credit -= cost;
            self.passed.insert(ticket, cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

    fn at(millis: u64) -> Duration {
        Duration::from_millis(1_000_000 + millis)
    }

    fn cap(per_second: u32) -> RequestCap {
        RequestCap::new(per_second).expect("a cap")
    }

    fn ask(cap: &mut RequestCap, now: Duration, urgency: Urgency) -> Asked {
        cap.ask(now, urgency, 1, PATIENCE.filter(|_| urgency == Urgency::Foreground))
    }

    fn ticket(asked: Asked) -> Ticket {
        match asked {
            Asked::Waits(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn zero_is_no_cap() {
        assert!(RequestCap::new(0).is_none());
    }

    #[test]
    fn what_a_second_brings_passes_at_once_and_then_so_many_a_second() {
        let mut cap = cap(100);
        for _ in 0..100 {
            assert_eq!(ask(&mut cap, at(0), Urgency::Foreground), Asked::Passes);
        }
        let (first, second) = (
            ticket(ask(&mut cap, at(0), Urgency::Foreground)),
            ticket(ask(&mut cap, at(0), Urgency::Foreground)),
        );
        assert_eq!(cap.look(at(0), second), Looked::NotBefore(at(20)));
        assert_eq!(cap.look(at(9), first), Looked::NotBefore(at(10)));
        assert_eq!(cap.look(at(10), first), Looked::Passes);
        assert_eq!(cap.look(at(10), second), Looked::NotBefore(at(20)));
        assert_eq!(cap.look(at(30), second), Looked::Passes);
        assert_eq!(ask(&mut cap, at(30), Urgency::Foreground), Asked::Passes);
        assert!(matches!(ask(&mut cap, at(30), Urgency::Foreground), Asked::Waits(_)));
    }

    #[test]
    fn the_background_leaves_half_of_the_bucket_and_alone_gets_all_that_comes_in() {
        let mut cap = cap(100);
        let mut passed = 0;
        while ask(&mut cap, at(0), Urgency::Background) == Asked::Passes {
            passed += 1;
        }
        assert_eq!(passed, 50);
        for _ in 0..50 {
            assert_eq!(ask(&mut cap, at(0), Urgency::Foreground), Asked::Passes);
        }
        // The one that waits needs half of the bucket, and its own.
        let mut waiting = VecDeque::from([Ticket(51)]);
        for now in (510..1510).step_by(10) {
            let first = waiting.pop_front().expect("one waits");
            assert_eq!(cap.look(at(now), first), Looked::Passes, "{now}");
            waiting.push_back(ticket(ask(&mut cap, at(now), Urgency::Background)));
        }
    }

    #[test]
    fn whoever_is_waited_for_goes_before_the_background_that_waits_for_longer() {
        let mut cap = cap(10);
        while ask(&mut cap, at(0), Urgency::Foreground) == Asked::Passes {}
        // The one that was told to wait above.
        let first = Ticket(cap.last);
        let behind = ticket(ask(&mut cap, at(0), Urgency::Background));
        let second = ticket(ask(&mut cap, at(0), Urgency::Foreground));
        assert_eq!(cap.look(at(100), behind), Looked::NotBefore(at(100) + Duration::from_millis(700)));
        assert_eq!(cap.look(at(100), first), Looked::Passes);
        assert_eq!(cap.look(at(799), behind), Looked::NotBefore(at(800)));
        assert_eq!(cap.look(at(800), behind), Looked::Passes);
        assert_eq!(cap.look(at(800), second), Looked::Passes);
    }

    #[test]
    fn what_would_wait_too_long_is_refused_at_once_and_takes_nothing() {
        let mut cap = cap(1);
        while ask(&mut cap, at(0), Urgency::Foreground) == Asked::Passes {}
        for _ in 0..19 {
            ticket(ask(&mut cap, at(0), Urgency::Foreground));
        }
        for _ in 0..3 {
            let refused = ask(&mut cap, at(0), Urgency::Foreground);
            assert_eq!(refused, Asked::Refused(Duration::from_secs(21)));
        }
        ticket(ask(&mut cap, at(0), Urgency::Background));
        assert!(matches!(ask(&mut cap, at(1000), Urgency::Foreground), Asked::Waits(_)));
    }

    #[test]
    fn who_leaves_makes_room_for_the_next_and_gives_back_what_was_taken_for_it() {
        let mut cap = cap(10);
        while ask(&mut cap, at(0), Urgency::Foreground) == Asked::Passes {}
        let (first, second) = (Ticket(cap.last), ticket(ask(&mut cap, at(0), Urgency::Foreground)));
        cap.leave(first);
        assert_eq!(cap.look(at(50), second), Looked::NotBefore(at(100)));
        // Its turn comes, and it has gone without looking.
        cap.advance(at(100));
        cap.leave(second);
        assert_eq!(ask(&mut cap, at(100), Urgency::Foreground), Asked::Passes);
        assert!(cap.passed.is_empty() && cap.foreground.is_empty());
    }

    #[test]
    fn no_more_wait_than_may() {
        let mut cap = cap(1);
        while cap.ask(at(0), Urgency::Foreground, 1, None) == Asked::Passes {}
        for _ in 1..limits::REQUESTS_WAITING_MAX {
            ticket(cap.ask(at(0), Urgency::Foreground, 1, None));
        }
        assert!(matches!(cap.ask(at(0), Urgency::Foreground, 1, None), Asked::Refused(_)));
        assert!(matches!(cap.ask(at(1000), Urgency::Foreground, 1, None), Asked::Waits(_)));
    }

    /// Numbers that look random; from a seed. Source: Knuth's MMIX.
    struct Drawn(u64);

    impl Drawn {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    #[test]
    fn whatever_is_asked_no_more_passes_than_the_bucket_holds_and_what_comes_in_and_all_pass_in_the_end() {
        for seed in 0..300 {
            let mut drawn = Drawn(seed);
            let mut cap = cap(u32::try_from(1 + drawn.below(50)).expect("small"));
            let (interval, first) = (cap.interval, cap.credit_max);
            let (mut now, mut passed, mut waiting) = (0, 0, Vec::new());
            for _ in 0..200 {
                now += drawn.below(400);
                let urgency = if drawn.below(2) == 0 { Urgency::Foreground } else { Urgency::Background };
                let requests = u32::try_from(1 + drawn.below(2)).expect("small");
                match cap.ask(at(now), urgency, requests, None) {
                    Asked::Passes => passed += requests,
                    Asked::Waits(ticket) if drawn.below(5) == 0 => cap.leave(ticket),
                    Asked::Waits(ticket) => waiting.push((ticket, requests)),
                    Asked::Refused(_) => panic!("nobody is impatient"),
                }
                waiting.retain(|(ticket, requests)| {
                    let passes = cap.look(at(now), *ticket) == Looked::Passes;
                    passed += if passes { *requests } else { 0 };
                    !passes
                });
                assert!(interval * passed <= first + Duration::from_millis(now), "seed {seed}");
            }
            while let Some((ticket, _)) = waiting.first().copied() {
                match cap.look(at(now), ticket) {
                    Looked::Passes => drop(waiting.remove(0)),
                    Looked::NotBefore(next) => {
                        assert!(next > at(now), "seed {seed}");
                        now = u64::try_from((next - at(0)).as_millis()).expect("soon") + 1;
                    }
                }
            }
        }
    }
}
