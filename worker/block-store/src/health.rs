//! How a tier's disk is: up, unstable or down, by the errors and probes of the last while. Pure; time is an argument.
//!
//! Errors of foreground work and of probes count alike. A tier that is up or unstable is probed so that a disk that
//! fails while nobody uses it is noticed; one that is down so that its return is. A disk that fails again soon after it
//! came back waits longer each time.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::limits::{
    DOWN_ERRORS, ERROR_SPAN, PROBE_INTERVAL, PROBE_PATIENCE, RETURN_PAUSE_MAX, RETURN_PAUSE_MIN,
    UNSTABLE_ERRORS, UNSTABLE_PROBE_INTERVAL,
};

/// How a tier's disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It works.
    Up,
    /// It failed several times: nothing new is put there, and what is there is read.
    Unstable,
    /// It is not asked for anything but whether it is back.
    Down,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// A block was written and read again, or a tier that was down was opened.
    Well,
    /// The disk gave an error, or other bytes.
    Failed,
    /// The directory is not there any more, or is another one now.
    Gone,
}

/// What is known of one tier's disk.
#[derive(Debug)]
pub(crate) struct HealthRecord {
    health: Health,
    /// The latest errors, at most [`DOWN_ERRORS`].
    errors: VecDeque<Instant>,
    /// When the first of the probes that failed in a row began.
    failing_since: Option<Instant>,
    /// When the probe that is under way began, and whether it looks at an open tier.
    probing: Option<(Instant, bool)>,
    next_probe: Instant,
    /// When it came up last.
    up_since: Instant,
    return_pause: Duration,
}

impl Health {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Up, Self::Unstable, Self::Down];

    /// Its name for people and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Unstable => "unstable",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl HealthRecord {
    /// A disk that was opened at `now`.
    pub(crate) fn up(now: Instant) -> Self {
        Self {
            health: Health::Up,
            errors: VecDeque::with_capacity(DOWN_ERRORS),
            failing_since: None,
            probing: None,
            next_probe: now + PROBE_INTERVAL,
            up_since: now,
            return_pause: RETURN_PAUSE_MIN,
        }
    }

    /// A disk that could not be opened at `now`.
    pub(crate) fn down(now: Instant) -> Self {
        Self { health: Health::Down, next_probe: now + RETURN_PAUSE_MIN, ..Self::up(now) }
    }

    /// How the disk is.
    pub(crate) const fn health(&self) -> Health {
        self.health
    }

    /// A call of the disk failed.
    pub(crate) fn failed(&mut self, now: Instant) {
        if self.health == Health::Down {
            return;
        }
        self.errors.push_back(now);
        self.forget(now);
        if self.errors.len() >= DOWN_ERRORS {
            self.go_down(now);
        } else if self.errors.len() >= UNSTABLE_ERRORS && self.health == Health::Up {
            self.health = Health::Unstable;
            self.next_probe = self.next_probe.min(now + UNSTABLE_PROBE_INTERVAL);
        }
    }

    /// Whether to probe now. Whoever is told so does, and reports it with [`HealthRecord::probed`].
    pub(crate) fn begin_probe(&mut self, now: Instant) -> bool {
        if self.probing.is_some() || now < self.next_probe {
            return false;
        }
        self.probing = Some((now, self.health != Health::Down));
        true
    }

    /// A probe ended.
    pub(crate) fn probed(&mut self, now: Instant, probed: Probed) {
        let (begun, of_open) = self.probing.take().unwrap_or((now, false));
        match (self.health, probed) {
            (Health::Down, Probed::Well) if !of_open => self.come_up(now),
            // One that was begun before it went down says nothing of its return.
            (Health::Down, _) => self.next_probe = now + self.return_pause,
            (_, Probed::Gone) => self.go_down(now),
            (_, Probed::Failed) => {
                let since = *self.failing_since.get_or_insert(begun);
                self.next_probe = now + UNSTABLE_PROBE_INTERVAL;
                self.failed(now);
                if now.saturating_duration_since(since) >= PROBE_PATIENCE {
                    self.go_down(now);
                }
            }
            (_, Probed::Well) => {
                self.failing_since = None;
                self.forget(now);
                if self.errors.is_empty() {
                    self.health = Health::Up;
                }
                let is_up = self.health == Health::Up;
                self.next_probe = now + if is_up { PROBE_INTERVAL } else { UNSTABLE_PROBE_INTERVAL };
            }
        }
    }

    /// Time went by: a probe that does not come back has failed.
    pub(crate) fn tick(&mut self, now: Instant) {
        let hangs =
            self.probing.is_some_and(|(since, _)| now.saturating_duration_since(since) >= PROBE_PATIENCE);
        if hangs && self.health != Health::Down {
            self.go_down(now);
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.errors.front().is_some_and(|error| now.saturating_duration_since(*error) >= ERROR_SPAN) {
            self.errors.pop_front();
        }
    }

    fn go_down(&mut self, now: Instant) {
        if self.health == Health::Down {
            return;
        }
        self.health = Health::Down;
        self.errors.clear();
        self.failing_since = None;
        let lived = now.saturating_duration_since(self.up_since);
        self.return_pause = if lived < RETURN_PAUSE_MAX {
            self.return_pause.saturating_mul(2).min(RETURN_PAUSE_MAX)
        } else {
            RETURN_PAUSE_MIN
        };
        self.next_probe = now + self.return_pause;
    }

    fn come_up(&mut self, now: Instant) {
        self.health = Health::Up;
        self.errors.clear();
        self.failing_since = None;
        self.up_since = now;
        self.next_probe = now + PROBE_INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn fail(record: &mut HealthRecord, now: Instant, count: usize) {
        (0..count).for_each(|_| record.failed(now));
    }

    #[test]
    fn some_errors_within_the_span_make_it_unstable_and_more_bring_it_down() {
        let begin = Instant::now();
        let mut record = HealthRecord::up(begin);
        fail(&mut record, begin, UNSTABLE_ERRORS - 1);
        assert_eq!(record.health(), Health::Up);
        fail(&mut record, begin, 1);
        assert_eq!(record.health(), Health::Unstable);
        fail(&mut record, begin, DOWN_ERRORS - UNSTABLE_ERRORS - 1);
        assert_eq!(record.health(), Health::Unstable);
        fail(&mut record, begin, 1);
        assert_eq!(record.health(), Health::Down);
    }

    #[test]
    fn errors_that_are_far_apart_change_nothing() {
        let begin = Instant::now();
        let mut record = HealthRecord::up(begin);
        for time in 0..100 {
            let apart = ERROR_SPAN / u32::try_from(UNSTABLE_ERRORS - 1).unwrap();
            record.failed(begin + apart * time);
            assert_eq!(record.health(), Health::Up);
        }
    }

    #[test]
    fn an_unstable_disk_is_up_again_when_its_errors_are_forgotten_and_a_probe_went_well() {
        let begin = Instant::now();
        let mut record = HealthRecord::up(begin);
        fail(&mut record, begin, UNSTABLE_ERRORS);
        let soon = begin + UNSTABLE_PROBE_INTERVAL;
        assert!(record.begin_probe(soon), "it is looked at more often");
        record.probed(soon, Probed::Well);
        assert_eq!(record.health(), Health::Unstable, "the errors count still");
        let later = begin + ERROR_SPAN;
        assert!(record.begin_probe(later));
        assert_eq!(record.health(), Health::Unstable);
        record.probed(later, Probed::Well);
        assert_eq!(record.health(), Health::Up);
    }

    #[test]
    fn probes_that_fail_for_long_bring_it_down_and_one_that_went_well_between_does_not() {
        let begin = Instant::now();
        let probes = |every: usize| {
            let mut record = HealthRecord::up(begin);
            let mut now = begin;
            for count in 1.. {
                now += UNSTABLE_PROBE_INTERVAL;
                if now > begin + PROBE_INTERVAL + PROBE_PATIENCE + UNSTABLE_PROBE_INTERVAL {
                    break;
                }
                if record.begin_probe(now) {
                    let well = every > 0 && count % every == 0;
                    record.probed(now, if well { Probed::Well } else { Probed::Failed });
                }
            }
            record.health()
        };
        assert_eq!(probes(0), Health::Down);
        assert_eq!(probes(4), Health::Unstable);
    }

    #[test]
    fn a_directory_that_is_gone_brings_it_down_at_once() {
        let begin = Instant::now();
        let mut record = HealthRecord::up(begin);
        let now = begin + PROBE_INTERVAL;
        assert!(record.begin_probe(now));
        record.probed(now, Probed::Gone);
        assert_eq!(record.health(), Health::Down);
    }

    #[test]
    fn a_probe_that_hangs_brings_it_down_and_is_not_begun_twice() {
        let begin = Instant::now();
        let mut record = HealthRecord::up(begin);
        let now = begin + PROBE_INTERVAL;
        assert!(!record.begin_probe(begin));
        assert!(record.begin_probe(now));
        assert!(!record.begin_probe(now + PROBE_INTERVAL));
        record.tick(now + PROBE_PATIENCE - Duration::from_nanos(1));
        assert_eq!(record.health(), Health::Up);
        record.tick(now + PROBE_PATIENCE);
        assert_eq!(record.health(), Health::Down);
        assert!(!record.begin_probe(now + seconds(10_000)), "it still hangs");
        record.probed(now + seconds(10_000), Probed::Well);
        assert_eq!(record.health(), Health::Down, "the tier is not open any more");
        assert!(record.begin_probe(now + seconds(10_000) + RETURN_PAUSE_MAX));
        record.probed(now + seconds(20_000), Probed::Well);
        assert_eq!(record.health(), Health::Up);
    }

    #[test]
    fn a_disk_that_comes_back_and_fails_again_waits_longer_each_time() {
        let begin = Instant::now();
        let mut record = HealthRecord::down(begin);
        let mut now = begin + RETURN_PAUSE_MIN;
        let mut expected = RETURN_PAUSE_MIN;
        for _ in 0..12 {
            assert!(!record.begin_probe(now - Duration::from_nanos(1)));
            assert!(record.begin_probe(now));
            record.probed(now, Probed::Well);
            assert_eq!(record.health(), Health::Up);
            fail(&mut record, now, DOWN_ERRORS);
            assert_eq!(record.health(), Health::Down);
            expected = (expected * 2).min(RETURN_PAUSE_MAX);
            now += expected;
        }
        assert!(record.begin_probe(now));
        record.probed(now, Probed::Well);
        now += RETURN_PAUSE_MAX;
        fail(&mut record, now, DOWN_ERRORS);
        assert!(record.begin_probe(now + RETURN_PAUSE_MIN), "one that lived long is trusted again");
    }

    #[test]
    fn what_fails_while_it_is_down_is_no_news_and_its_return_forgets_the_errors() {
        let begin = Instant::now();
        let mut record = HealthRecord::down(begin);
        fail(&mut record, begin, DOWN_ERRORS);
        let now = begin + RETURN_PAUSE_MIN;
        assert!(record.begin_probe(now));
        record.probed(now, Probed::Failed);
        assert_eq!(record.health(), Health::Down);
        let now = now + RETURN_PAUSE_MIN;
        assert!(record.begin_probe(now));
        record.probed(now, Probed::Well);
        fail(&mut record, now, UNSTABLE_ERRORS - 1);
        assert_eq!(record.health(), Health::Up);
    }
}
