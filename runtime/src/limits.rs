//! The named maxima of this crate.

use std::time::Duration;

/// How long a process may take to stop before it gives up waiting.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);
/// Longest configured host id, in bytes.
pub const HOST_ID_LENGTH_MAX: usize = 128;
/// Deepest nesting of configuration sections.
pub const CONFIG_DEPTH_MAX: usize = 6;
/// Largest configuration file, in bytes.
pub const CONFIG_LENGTH_MAX: u64 = 1 << 20;
