//! The named maxima that more than one crate must agree on. Each other limit stands in the `limits.rs` of its crate.
//!
//! docs/limits.md repeats the ones that a user can meet.

/// Longest name of one directory entry, in bytes; what `NAME_MAX` is on Linux.
pub const NAME_LENGTH_MAX: usize = 255;
/// Longest namespace path, in bytes; what `PATH_MAX` is on Linux, without its terminating zero.
pub const PATH_LENGTH_MAX: usize = 4095;
/// Longest key of an object in an under-store, in bytes; what S3 allows.
pub const KEY_LENGTH_MAX: usize = 1024;
/// Longest URI of an under-store, in bytes: a bucket and a key with room for the scheme.
pub const URI_LENGTH_MAX: usize = 2048;
/// Longest tag or version id of a fingerprint, in bytes. S3's are 34 to 45; others may be longer.
pub const TAG_LENGTH_MAX: usize = 512;
/// Longest principal's name, in bytes.
pub const PRINCIPAL_LENGTH_MAX: usize = 256;
/// Largest message of any unary RPC, in bytes.
pub const RPC_LENGTH_MAX: usize = 4 << 20;
/// Most mounts of one namespace.
pub const MOUNTS_MAX: usize = 1024;
/// Longest pattern that says what of a mount is cached, in bytes.
pub const PATTERN_LENGTH_MAX: usize = 256;
/// Most such patterns of one mount.
pub const PATTERNS_MAX: usize = 16;
/// Most workers of one cluster.
pub const WORKERS_MAX: usize = 1000;
/// Longest file, in bytes: 48 TiB, what S3 lets an object grow to with 10,000 parts.
pub const FILE_LENGTH_MAX: u64 = 48 << 40;
/// Most directory entries in one page of a listing.
pub const LISTING_PAGE_MAX: usize = 1000;
/// Most unanswered mutations of one session.
pub const SESSION_WINDOW_MAX: usize = 256;
/// Most paths that one load may name; a directory counts as one.
pub const LOAD_PATHS_MAX: u64 = 10_000_000;
/// Most paths that travel in one message or log entry of a load.
pub const LOAD_PATHS_PER_MESSAGE_MAX: usize = 10_000;
/// Most bytes of paths that travel in one message or log entry of a load.
pub const LOAD_PATH_BYTES_PER_MESSAGE_MAX: usize = 1 << 20;
/// Most failures of one job that are kept with their reasons; further ones are counted.
pub const JOB_FAILURES_KEPT_MAX: usize = 1000;
/// Most paths of a job that are shown and kept after its end.
pub const JOB_PATHS_KEPT_MAX: usize = 1000;
/// Longest reason that is kept with a failure, in bytes.
pub const REASON_LENGTH_MAX: usize = 512;
