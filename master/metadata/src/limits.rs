//! The named maxima of the state machine. Those that other crates share stand in `forebay_types::limits`.

use forebay_types::PAGE_LENGTH;

/// Most bytes of an encoded reply that a session remembers; of a larger one only its outcome is remembered.
pub const REMEMBERED_REPLY_MAX: usize = 128;
/// Most entries, upserts and removals together, of one listing command.
pub const LISTING_ENTRIES_MAX: usize = 16_384;
/// Most rows that one command deletes of a subtree that is being reaped or forgotten.
pub const REAP_LIMIT_MAX: u32 = 16_384;
/// Most changed names of one directory that one entry tells one by one; more of them are told as all.
pub const CHANGED_NAMES_MAX: usize = 64;
/// Most remembered removals that one complete listing clears; the rest waits for the next one.
pub const TOMBSTONES_CLEARED_MAX: usize = 16_384;
/// Most sessions that one expiry ends; the reply says whether more are left.
pub const SESSIONS_EXPIRED_MAX: usize = 1024;
/// Most options of one mount.
pub const MOUNT_OPTIONS_MAX: usize = 64;
/// Longest name or value of a mount's option, in bytes.
pub const MOUNT_OPTION_LENGTH_MAX: usize = 4096;
/// Smallest block, in bytes: one page.
pub const BLOCK_LENGTH_MIN: u64 = PAGE_LENGTH;
/// Largest block, in bytes: what one segment of a worker's store holds.
pub const BLOCK_LENGTH_MAX: u64 = 1 << 30;
/// Longest encoded proposal, in bytes: what one entry of the replicated log may carry.
pub const PROPOSAL_LENGTH_MAX: usize = 8 << 20;
/// Most jobs that are not over.
pub const JOBS_ACTIVE_MAX: u64 = 1000;
/// Most jobs that are over and still known; the oldest go first.
pub const JOBS_KEPT_MAX: u64 = 1000;
/// Most versions that one row of the outbox has to free.
pub const OUTBOX_ROW_VERSIONS_MAX: usize = 256;
/// Most versions that all rows of the outbox together have to free. Beyond it the oldest rows go: what they were to free
/// keeps its room on workers until it is evicted.
pub const OUTBOX_VERSIONS_MAX: u64 = 1_000_000;
/// Most rows that one command trims of the outbox.
pub const OUTBOX_TRIM_MAX: usize = 4096;
/// Most pins.
pub const PINS_MAX: usize = 1024;
/// Most names below a directory that is moved to a deeper place: they are gone through, to see how deep they will be.
pub const RENAMED_DEEPER_MAX: usize = 65_536;
/// Deepest directory, counted in names from the root: as many as the longest path can hold.
pub const DEPTH_MAX: usize = forebay_types::limits::PATH_LENGTH_MAX / 2 + 1;
/// Most rows that are remembered while a batch of entries is applied, so that the next entry need not read them again.
pub const REMEMBERED_READS_MAX: usize = 4096;
/// Longest row that is remembered so, key and value, in bytes.
pub const REMEMBERED_ROW_LENGTH_MAX: usize = 4096;
