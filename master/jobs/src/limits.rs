//! The named maxima of the engine, and how patient it is.

use std::time::Duration;

/// Loads that one job has under way at workers.
pub const TASKS_MAX: usize = 256;
/// Loads that one job has under way at one worker.
pub const TASKS_PER_WORKER_MAX: usize = 32;
/// Most bytes of one load at a worker, unless a block is longer: so few that each ends in time.
pub const PART_LENGTH_MAX: u64 = 4 << 30;
/// Files that one job works on or has ready.
pub const FILES_MAX: usize = 512;
/// Paths of a list that are looked up ahead of their turn.
pub const PATHS_AHEAD_MAX: usize = 64;
/// Directories that a load of metadata has under way at once, about: those whose own are many wait beside them.
pub const DIRECTORIES_AT_ONCE_MAX: usize = 16;
/// Entries of a directory that are asked for at once.
pub const LISTING_LIMIT: usize = 500;
/// Attempts at one file or directory whose failures may be its own.
pub const ATTEMPTS_MAX: u32 = 4;
/// How long after the first of these failures another attempt is begun. Short, since whoever failed has spent the time
/// that it takes itself.
pub const ATTEMPTS_WITHIN: Duration = Duration::from_secs(10);
/// How long somebody who cannot be reached is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long there must be too little room before a load is given up for it, where that may pass: a worker is lost, or a
/// file system has less than the tier's quota.
pub const ROOM_PATIENCE: Duration = Duration::from_secs(5);
/// How long after the last load workers have told for sure what they hold of it.
pub const LOOK_AFTER: Duration = Duration::from_secs(3);
/// Workers that may refuse one file before it is given up.
pub const REFUSALS_MAX: usize = 3;
/// The first and the longest pause between attempts.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How often one file may turn out to have changed since it was listed.
pub const RENEWALS_MAX: u32 = 4;
/// How often all files are gone through: once to load, once to see that all is still there, and again while something
/// is not. What was missing in the last one too is looked for once more, without loading it.
pub const PASSES_MAX: u32 = 4;
/// How often progress is written down at most.
pub const PERSIST_INTERVAL: Duration = Duration::from_secs(1);
/// Files after which progress is written down earlier.
pub const PERSIST_FILES: u64 = 1000;
/// Failures after which they are written down earlier; what one log entry carries at most.
pub const PERSIST_FAILURES: usize = 250;
/// Words of the set of files that were gone through, 64 neighbouring ids each; beyond it a file may be gone through and
/// counted twice.
pub const VISITED_WORDS_MAX: usize = 8 << 20;
