//! The named maxima of the worker, and the deadlines of what it waits for.

use std::time::Duration;

use forebay_types::{ByteCount, PAGE_LENGTH};

/// Most bytes of one message of a read.
pub const READ_PIECE_MAX: u64 = 1 << 20;
/// Most pages that one request to an under-store fetches.
pub const FETCH_PAGES_MAX: u32 = 8;
/// Fetches that one reader of a long range has under way.
pub const FETCHES_PER_READ_MAX: u64 = 4;
/// Most fetches under way in the whole worker, with the working memory that it has by default or more.
pub const FETCHES_MAX: usize = 64;
/// Fewest of them that may be.
pub const FETCHES_MIN: usize = 4;
/// Most pages that one of them holds in memory.
pub const PAGES_PER_FETCH: u64 = 2;
/// What a worker may take in memory beside its cache, unless the settings say otherwise.
pub const WORKING_MEMORY_DEFAULT: ByteCount = ByteCount::new(512 << 20);
/// The least that it can work with.
pub const WORKING_MEMORY_MIN: ByteCount = ByteCount::new(64 << 20);
/// Shortest piece of a read where memory is scarce, in bytes.
pub const READ_PIECE_LEAST: u64 = 128 << 10;
/// How long a read waits for room in memory before it goes on with a short piece.
pub const ROOM_PATIENCE: Duration = Duration::from_millis(50);
/// Bytes of one request to an under-store for a version that finds no room in the cache: no more than what other fetches
/// hold in memory.
pub const UNCACHED_FETCH_LENGTH: u64 = PAGES_PER_FETCH * PAGE_LENGTH;
/// Such requests that one reader has under way.
pub const UNCACHED_FETCHES_PER_READ_MAX: usize = 4;
/// Bytes that one reader gets past the cache before it is looked again whether there is room.
pub const UNCACHED_RUN_LENGTH_MAX: u64 = 1 << 30;
/// Longest read, in bytes, that is taken for one at random.
pub const RANDOM_READ_LENGTH_MAX: u64 = PAGE_LENGTH;
/// Versions whose latest reads are remembered, to tell reads at random from those in order.
pub const READINGS_REMEMBERED_MAX: usize = 1 << 16;
/// Reads of one of them that are.
pub const READINGS_PER_VERSION_MAX: usize = 16;
/// Shortest read, in bytes, of which is kept what was fetched for it past the cache: many short ones would cut what others
/// ask for into many requests.
pub const UNCACHED_KEPT_LENGTH_LEAST: u64 = 128 << 10;
/// Attempts to get one page before its reader gets the error.
pub const PAGE_ATTEMPTS_MAX: u32 = 4;
/// Longest wait for one page of an under-store.
pub const PAGE_DEADLINE: Duration = Duration::from_secs(60);
/// Longest life of one read; a caller that names a shorter one gets that.
pub const READ_DEADLINE: Duration = Duration::from_secs(600);
/// Page fills whose time is remembered, to tell a hit from a miss of an open handle. Older ones count as hits.
pub const REMEMBERED_FILLS_MAX: usize = 1 << 18;

/// All loads together have one in so many of the fetches under way, so that reads never wait for loads alone.
pub const FETCHES_PER_LOAD_FETCH: usize = 2;
/// Fetches that one load has under way.
pub const LOAD_FETCHES_PER_CALL_MAX: usize = 4;
/// Rounds of requests for one group of pages of a load. Without evictions each page takes one round that brings it and
/// at most the failed attempts before that; more mean that what comes is evicted again.
pub const LOAD_ROUNDS_MAX: u32 = FETCH_PAGES_MAX * PAGE_ATTEMPTS_MAX;
/// A load says how far it is at least this often, so that its caller knows that it is alive.
pub const LOAD_WORD_INTERVAL: Duration = Duration::from_secs(10);
/// Longest life of one load; the rest is asked for again.
pub const LOAD_DEADLINE: Duration = Duration::from_secs(3600);

/// Blocking disk calls at once.
pub const DISK_CALLS_MAX: usize = 64;

/// Pause after a process of this host could not be let in.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// That processes of this host cannot be let in is said at most this often.
pub const ACCEPT_WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Processes of this host that are connected at once.
pub const LOCAL_CONNECTIONS_MAX: usize = 1024;
/// Holds of one of them.
pub const HOLDS_PER_CONNECTION_MAX: usize = 1 << 18;
/// Holds of all of them together; each takes some 100 bytes of the worker's memory, and no descriptor.
pub const HOLDS_PER_WORKER_MAX: usize = 1 << 20;
/// How long an open waits for all of a file to be verified, before it gets the file to verify by itself what it reads.
/// Shorter than a client waits for the answer.
pub const HOLD_PATIENCE_DEFAULT: Duration = Duration::from_millis(500);
/// How long a process may take to give back a lend whose version left.
pub const LEND_RETURN_DEADLINE: Duration = Duration::from_secs(10);
/// Shortest time between two looks which holds are wanted back.
pub const WANTED_BACK_INTERVAL: Duration = Duration::from_millis(50);
/// Time that one of them has to read an answer before it is given up.
pub const LOCAL_SEND_DEADLINE: Duration = Duration::from_secs(10);
/// Unanswered hold requests of one of them; more wait in the socket.
pub const HOLD_REQUESTS_MAX: usize = 64;

/// How often it is looked which tiers' disks are to be probed.
pub const DISK_WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that the scrubber reads in a second, unless the settings say otherwise.
pub const SCRUB_RATE_DEFAULT: ByteCount = ByteCount::new(16 << 20);
/// Bytes that are moved between tiers in a second at most.
pub const MOVE_RATE: ByteCount = ByteCount::new(256 << 20);
/// How long it is until it is looked again whether anything is to be moved.
pub const MOVE_IDLE: Duration = Duration::from_millis(100);
/// Nothing is moved while fewer of the disk calls than that are free, in percent, but for a page now and then.
pub const FREE_CALLS_TO_MOVE_PERCENT: usize = 50;
/// How long the scrubber sleeps when there is nothing to verify.
pub const SCRUB_IDLE: Duration = Duration::from_secs(5);
/// Bytes that are written into catalogues in a second while the worker runs.
pub const CATALOGUE_RATE: ByteCount = ByteCount::new(1 << 20);
/// How long their writer sleeps when none lacks anything.
pub const CATALOGUE_IDLE: Duration = Duration::from_secs(5);
/// How long a worker that stops writes catalogues. Less than its process has to stop.
pub const CATALOGUE_PATIENCE: Duration = Duration::from_secs(5);

/// Time that a master has for one answer.
pub const MASTER_DEADLINE: Duration = Duration::from_secs(5);
/// Masters of one cluster.
pub const MASTERS_MAX: usize = 9;
/// When none of the masters that were reported to has answered for so long, those of the settings are asked too.
pub const MASTERS_SOUGHT_AFTER: Duration = Duration::from_secs(3);
/// A master of another cluster, or of another life of it, is not listened to for so long after the word of one that leads.
pub const DIRECTOR_PATIENCE: Duration = Duration::from_secs(10);
/// The shortest and the longest pause between heartbeats that a master may ask for.
pub const HEARTBEAT_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// See [`HEARTBEAT_INTERVAL_MIN`].
pub const HEARTBEAT_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Versions that one heartbeat reports.
pub const REPORTS_PER_HEARTBEAT_MAX: usize = 10_000;
/// A mount whose under-store could not be set up is tried again after this.
pub const MOUNT_RETRY_AFTER: Duration = Duration::from_secs(10);
/// How long heartbeats wait for a list of mounts to be taken in.
pub const MOUNTS_PATIENCE: Duration = Duration::from_secs(2);
/// How often the values that options of mounts refer to are read anew; also when an under-store refuses them.
pub const REFERENCES_INTERVAL: Duration = Duration::from_secs(60);
/// How long such a reading is waited for.
pub const REFERENCES_PATIENCE: Duration = Duration::from_secs(2);
/// First and longest pause between attempts at the same thing: to reach a master, or to get a page that was cut short.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// A mount that is still unknown for so long after it was first asked for is gone: lists of mounts come each second.
pub const UNKNOWN_MOUNT_PATIENCE: Duration = Duration::from_secs(3);
/// Shortest time between two looks for a mount that a reader wants and the worker does not know.
pub const MOUNTS_WANTED_PAUSE: Duration = Duration::from_millis(20);
/// How long the bearer of a capability that no known key made waits for the master to tell of others.
pub(crate) const KEYS_PATIENCE: Duration = Duration::from_secs(3);
