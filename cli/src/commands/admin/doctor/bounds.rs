//! From where on the doctor finds something wrong. docs/operations.md says why.

use std::time::Duration;

/// A clock that is further off is told of: what people see of it, such as the times of logs, no longer fits together.
pub(super) const CLOCK_WARN: Duration = Duration::from_secs(1);
/// One that is so far off may have workers refuse what masters grant: grants to read last for half a day.
pub(super) const CLOCK_ERROR: Duration = Duration::from_secs(3600);
/// Each change waits for a sync. Half of them taking longer makes the cluster slow.
pub(super) const SYNC_MEDIAN_WARN: Duration = Duration::from_millis(20);
/// Half of them taking longer comes near to the time after which a leader counts as gone.
pub(super) const SYNC_MEDIAN_ERROR: Duration = Duration::from_millis(500);
/// A single one that takes so long is told of.
pub(super) const SYNC_MAX_WARN: Duration = Duration::from_millis(200);
/// A disk with less than this part of its room free is told of: one part in so many.
pub(super) const FREE_WARN_PART: u64 = 10;
/// One with less is about to end its master.
pub(super) const FREE_ERROR_PART: u64 = 50;
/// More free bytes than this are enough, whatever part they are: a snapshot of a large state has room.
pub(super) const FREE_ENOUGH: u64 = 64 << 30;
/// A master that lacks more entries is behind.
pub(super) const BEHIND_WARN: u64 = 1000;
/// Rows of the outbox that could have been done for longer are stuck.
pub(super) const OUTBOX_OVERDUE_WARN: Duration = Duration::from_secs(600);
