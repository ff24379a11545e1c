//! Where the leader's time comes from, so that tests can say what time it is.
//!
//! Time only enters the state through the stamp of a proposal; applying never asks a clock.

use std::fmt;
use std::time::{Duration, SystemTime};

use forebay_types::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Says what time it is.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now. May go back: the state never does.
    fn now(&self) -> Timestamp;

    /// How long the machine was suspended since its boot. In that time the clock stood still by which timeouts and leases
    /// are measured.
    fn suspended(&self) -> Duration;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_system_time(SystemTime::now())
    }

    fn suspended(&self) -> Duration {
        // The boot's clock first: whoever is interrupted in between takes too little for a suspension, never too much.
        let [boot, monotonic] = [ClockId::Boottime, ClockId::Monotonic].map(|clock| {
            let time = clock_gettime(clock);
            let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
            Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
        });
        boot.saturating_sub(monotonic)
    }
}
