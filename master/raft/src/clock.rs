//! Where the leader's time comes from, so that tests can say what time it is.
//!
//! Time only enters the state through the stamp of a proposal; applying never asks a clock.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use forebay_types::Timestamp;

/// Says what time it is.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now. May go back: the state never does.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        Timestamp::from_nanos(nanos)
    }
}
