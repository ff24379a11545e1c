//! Waiting for conditions, never for times.

use std::time::{Duration, Instant};

/// Asks `condition` again and again until it holds.
///
/// # Panics
/// When it does not hold within `most`, with `what` was waited for.
pub fn wait_until(what: &str, most: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + most;
    while !condition() {
        assert!(Instant::now() < end, "waited {most:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
