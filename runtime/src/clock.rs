//! The two clocks of a process: the time of day, and the time since boot by which leases and freshness are counted.
//!
//! The second one is `CLOCK_BOOTTIME`: it never jumps and it also runs while the machine sleeps, so cached metadata
//! is not taken for fresh after a suspend or after somebody set the time of day.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use forebay_types::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A moment of one boot of one machine; means nothing on another machine or after a reboot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootInstant(Duration);

/// Where the time comes from. Shells read it and hand it down; pure cores take the time as an argument.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time of day. It can jump, forwards and backwards.
    fn now(&self) -> Timestamp;

    /// The time since boot. It never goes back.
    fn boot_instant(&self) -> BootInstant;
}

/// The clocks of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Clocks that stand still until they are moved, each on its own.
#[derive(Debug, Default)]
pub struct ManualClock {
    times: Mutex<(Timestamp, BootInstant)>,
}

impl BootInstant {
    /// The moment `since_boot` after the boot.
    #[must_use]
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// How long after the boot this moment is.
    #[must_use]
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `duration` later, or the last one there is.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Clock for SystemClock {
    /// Asked through the C library, where it can be set for one process: tests make clocks jump so.
    fn now(&self) -> Timestamp {
        Timestamp::from_system_time(SystemTime::now())
    }

    fn boot_instant(&self) -> BootInstant {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).expect("the boot clock starts at zero");
        BootInstant(Duration::new(seconds, nanos(time)))
    }
}

fn nanos(time: Timespec) -> u32 {
    u32::try_from(time.tv_nsec).expect("the kernel keeps nanoseconds below 10^9")
}

impl ManualClock {
    /// Clocks that stand at `now` and at the boot.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { times: Mutex::new((now, BootInstant::default())) }
    }

    /// Moves both clocks forward, as time does.
    ///
    /// # Panics
    /// When the time of day leaves what [`Timestamp`] can hold.
    pub fn advance(&self, duration: Duration) {
        let nanos =
            i64::try_from(duration.as_nanos()).expect("a test moves the clock by less than 292 years");
        let mut times = self.lock();
        let now = times.0.nanos().checked_add(nanos).expect("a test stays before the year 2262");
        *times = (Timestamp::from_nanos(now), times.1.saturating_add(duration));
    }

    /// Sets the time of day alone, as an administrator or NTP does.
    pub fn set_time_of_day(&self, now: Timestamp) {
        self.lock().0 = now;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Timestamp, BootInstant)> {
        self.times.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().0
    }

    fn boot_instant(&self) -> BootInstant {
        self.lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_never_goes_back() {
        let first = SystemClock.boot_instant();
        assert!(SystemClock.boot_instant() >= first);
        assert!(first > BootInstant::default());
    }

    #[test]
    fn a_jump_of_the_time_of_day_leaves_the_boot_clock_alone() {
        let clock = ManualClock::new(Timestamp::from_parts(1_000, 0));
        clock.advance(Duration::from_secs(5));
        let before = clock.boot_instant();
        clock.set_time_of_day(Timestamp::from_parts(10, 0));
        assert_eq!(clock.boot_instant(), before);
        assert_eq!(clock.now(), Timestamp::from_parts(10, 0));
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(clock.boot_instant().saturating_duration_since(before), Duration::from_millis(1_500));
        assert_eq!(before.saturating_duration_since(clock.boot_instant()), Duration::ZERO);
        assert_eq!(clock.now(), Timestamp::from_parts(11, 500_000_000));
    }
}
