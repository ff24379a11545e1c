//! How often and how long: the one way in which the worker tries again.
//!
//! Pauses double from the first to the longest, and each is shortened at random by up to a half, so that a thousand
//! workers do not come back at one moment.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// The pauses between attempts at one thing.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    seed: RandomState,
    drawn: u64,
}

impl Backoff {
    pub(crate) fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, next: first, seed: RandomState::new(), drawn: 0 }
    }

    /// The pause before the next attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.longest);
        self.drawn += 1;
        let random = u32::try_from(self.seed.hash_one(self.drawn) >> 33).expect("31 bits");
        full - full / 2 * (random >> 16) / (1 << 15)
    }

    /// The thing succeeded.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new((Duration::from_millis(100), Duration::from_millis(350)));
        for full in [100, 200, 350, 350] {
            let pause = backoff.pause();
            assert!(
                (full / 2..=full).contains(&u64::try_from(pause.as_millis()).expect("short")),
                "{pause:?}"
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(100));
    }
}
