//! The named maxima of the master's services and soft state.

use std::time::Duration;

/// How often a worker sends a heartbeat.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// A worker that was not heard of for this long is asked last.
pub(crate) const WORKER_LOST_AFTER: Duration = Duration::from_secs(10);
/// A client that did not report for this long is folded into the totals.
pub(crate) const CLIENT_IDLE_MAX: Duration = Duration::from_secs(300);
/// Most clients whose counters are kept one by one.
pub(crate) const CLIENTS_MAX: usize = 10_000;
/// Most versions named in one answer to a heartbeat.
pub(crate) const FORGET_PER_HEARTBEAT_MAX: usize = 10_000;
/// Most versions that wait to be forgotten by one worker. Beyond it those that are no file's any more are told later, from
/// the outbox, and others go by eviction.
pub(crate) const FORGET_PENDING_MAX: usize = 1_000_000;
/// A worker that has so many versions still to forget is told no more from the outbox meanwhile.
pub(crate) const FORGET_AHEAD_MAX: usize = 2 * FORGET_PER_HEARTBEAT_MAX;
/// How often the outbox is looked at for what was not done by its wake-ups, and trimmed of what is done.
pub(crate) const OUTBOX_LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// Rows of the outbox that are read at once.
pub(crate) const OUTBOX_PAGE_ROWS: usize = 100;
/// How long a master that has started trims nothing, since it does not know which workers there are: as long as it would
/// remember one that it knows nothing of.
pub(crate) const OUTBOX_START_WAIT: Duration = EMPTY_WORKER_DROPPED_AFTER;
/// Most bytes of the mounts in one answer to a heartbeat, unless a single one is longer; the worker asks on for the rest.
pub(crate) const MOUNTS_PAGE_BYTES_MAX: usize = 2 << 20;
/// Most bytes of the paths, URIs and patterns of all mounts together, so that the list of all fits one message.
pub(crate) const MOUNTS_TEXT_MAX: usize = 3 << 19;
/// Most bytes that are kept of why an under-store is away, for the same reason.
pub(crate) const OUTAGE_REASON_LENGTH_MAX: usize = 256;
/// Most bytes that all workers together may say of themselves, for the same reason.
pub(crate) const WORKERS_TEXT_MAX: usize = 3 << 19;
/// A lost worker that held nothing is dropped after this time.
pub(crate) const EMPTY_WORKER_DROPPED_AFTER: Duration = Duration::from_secs(3600);
/// Any lost worker is dropped after this time; it is taken in again if it comes back.
pub(crate) const WORKER_DROPPED_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most mounts whose counters are kept; the oldest go first.
pub(crate) const COUNTED_MOUNTS_MAX: usize = 16 * forebay_types::limits::MOUNTS_MAX;
/// Most tiers of one worker.
pub(crate) const TIERS_MAX: usize = 64;
/// Most versions that one heartbeat reports.
pub(crate) const REPORTS_PER_HEARTBEAT_MAX: usize = 10_000;
/// Versions of one heartbeat that are taken in before others have their turn.
pub(crate) const REPORTS_TAKEN_AT_ONCE: usize = 500;
/// A heartbeat that reports fewer has all that the worker had to report: one that has more fills its heartbeat up, but for
/// less than it finds in one step.
pub(crate) const REPORTS_CAUGHT_UP_BELOW: usize = REPORTS_PER_HEARTBEAT_MAX / 2;
/// How long a listing waits for looks at single entries of its directory that began before it did.
pub(crate) const LOOKS_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 1 });
/// Differences of a listing that travel in one log entry.
pub(crate) const DIFFERENCES_PER_ENTRY: usize = 1000;
/// Most directories whose last check is remembered; beyond it the oldest are asked again.
pub(crate) const CHECKED_DIRECTORIES_MAX: usize = 1_000_000;
/// Most listings under way at once.
pub(crate) const LISTINGS_IN_FLIGHT_MAX: usize = 64;
/// Most requests that one under-store may be asked in a second, whatever is configured.
pub const REQUESTS_PER_SECOND_MAX: u32 = 1_000_000;
/// Requests to one under-store that wait for their turn, of either urgency; further ones are refused.
pub(crate) const REQUESTS_WAITING_MAX: usize = 10_000;
/// Requests of one question what is at a key: for an object and for a directory of that name.
pub(crate) const STAT_REQUESTS: u32 = 2;
/// How long a request may wait for its turn while somebody waits for it: below the 30 s that a client waits.
pub(crate) const REQUEST_PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait for an under-store within one request.
pub(crate) const UNDER_STORE_DEADLINE: Duration = Duration::from_secs(45);
/// Longest wait for all under-stores that are looked at before a mount is made. With the log's it is below the 60 s that
/// a client waits.
pub(crate) const MOUNT_LOOK_DEADLINE: Duration = Duration::from_secs(40);
/// How often the files that options refer to are read again.
pub(crate) const REFERENCES_READ_EVERY: Duration = Duration::from_secs(60);
/// The shortest time between two such readings, also when an under-store refuses what it is given.
pub(crate) const REFERENCES_READ_PAUSE: Duration = Duration::from_secs(2);
/// Longest wait for the files of one mount in such a reading.
pub(crate) const REFERENCES_READ_DEADLINE: Duration = Duration::from_secs(10);
/// Mounts whose files are read at once. Files that hang keep their places.
pub(crate) const REFERENCE_READS_MAX: usize = 64;
/// Longest wait for the log within one request.
pub(crate) const PROPOSE_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for a confirmed view of the state.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(10);
/// How long a capability lasts. Its key is changed once a day and is known to workers the day before and after.
pub(crate) const CAPABILITY_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// What a client may lag behind under relaxed coherence, so the longest that it may use an answer.
pub(crate) const COHERENCE_BOUND: Duration = Duration::from_secs(5);
/// For how long answers about immutable mounts may be used.
pub(crate) const IMMUTABLE_VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// For how long answers about directories that lie in no mount may be used: a mount can appear in them.
pub(crate) const SYNTHETIC_VALIDITY: Duration = Duration::from_secs(1);
/// For how long an answer may be used that is past its freshness while the under-store is down.
pub(crate) const OUTAGE_VALIDITY: Duration = Duration::from_secs(1);
/// For how long an answer may be used whose under-store nobody may ask: clients lag behind the end of that as behind any
/// other change.
pub(crate) const MAINTENANCE_VALIDITY: Duration = COHERENCE_BOUND;
/// Longest wait for the workers to say that they know a mount's new mode or admission: they hear of it with one heartbeat, and say so
/// with the next.
pub(crate) const MODE_HEARD_WITHIN: Duration = Duration::from_secs(4);
/// For how long a load takes what the mounts want cached as known.
pub(crate) const ADMISSIONS_VALIDITY: Duration = Duration::from_secs(1);
/// How often it is looked whether they do.
pub(crate) const MODE_HEARD_LOOK: Duration = Duration::from_millis(50);
/// How often it is looked how many mounts are away or in maintenance, for the metrics.
pub(crate) const MOUNT_STATES_INTERVAL: Duration = Duration::from_secs(2);
/// How long an under-store may say nothing while somebody waits for whom an older answer is there: well below the time
/// that a client waits for a master.
pub(crate) const SILENCE_PATIENCE: Duration = Duration::from_secs(3);
/// The same where an older answer would not do, so that it is waited for an under-store that is only slow: still below
/// the 10 s that a client waits.
pub(crate) const SILENCE_PATIENCE_FAIL: Duration = Duration::from_secs(8);
/// Both once the under-store was down or silent, until it answers again.
pub(crate) const OUTAGE_PATIENCE: Duration = Duration::from_millis(500);
/// How long a failed listing is not tried again while what was known before can be served.
pub(crate) const OUTAGE_RETRY_AFTER: Duration = Duration::from_secs(2);
/// Jobs that are worked on at once; further ones wait.
pub(crate) const JOBS_RUNNING_MAX: usize = 4;
/// How often it is looked whether there is a job to work on, beside each time when one comes.
pub(crate) const JOBS_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A job whose list of paths is not continued for this long is ended.
pub(crate) const JOB_ABANDONED_AFTER: Duration = Duration::from_secs(600);
/// Pause before the end of a job is written down again that could not be; it doubles, up to
/// [`JOBS_LOOK_INTERVAL`].
pub(crate) const JOB_END_PAUSE_MIN: Duration = Duration::from_millis(50);
/// How often a job that is worked on is told that time passes.
pub(crate) const JOB_TICK: Duration = Duration::from_millis(100);
/// Messages about loads under way that wait for their job; more are dropped, since later ones replace them.
pub(crate) const JOB_NEWS_MAX: usize = 1024;
/// A load that says nothing for this long is given up: workers say how far they are every 10 s.
pub(crate) const LOAD_SILENCE_MAX: Duration = Duration::from_secs(40);
/// Directories that are remembered while many paths are looked up.
pub(crate) const DIRECTORIES_LOOKED_UP_MAX: usize = 4096;
/// Most defects of a list of paths that are told at once.
pub(crate) const DEFECTS_MAX: usize = 100;
/// At how many bytes a page of an answer ends, whatever the number of its entries: half of the longest message, since
/// lengths are reckoned and the last entry may go beyond it.
pub(crate) const ANSWER_BYTES_MAX: usize = forebay_types::limits::RPC_LENGTH_MAX / 2;
/// Most paths of each job in a list of jobs.
pub(crate) const JOB_PATHS_LISTED_MAX: usize = 10;
/// Inodes that one log entry deletes.
pub(crate) const REAP_PER_ENTRY: u32 = 1000;
/// About how many bytes the changes take that are kept for clients, so that they fit one message whatever their number;
/// whoever is behind by more is told that everything may have changed.
pub(crate) const FEED_COST_MAX: usize = 1 << 20;
/// Longest wait of one client for changes; it asks again then.
pub(crate) const FEED_WAIT_MAX: Duration = Duration::from_secs(2);
/// Longest wait until the feed knows of what can be read.
pub(crate) const FEED_SETTLE_MAX: Duration = Duration::from_secs(1);
/// How long changes are gathered for each client that waits for them: ten thousand are answered twice a second at most.
pub(crate) const FEED_PAUSE_PER_CLIENT: Duration = Duration::from_micros(50);
/// Longest time for which changes are gathered.
pub(crate) const FEED_PAUSE_MAX: Duration = Duration::from_millis(500);
/// For how long clients that follow the changes may use answers about directories that lie in no mount.
pub(crate) const SYNTHETIC_GRANT: Duration = Duration::from_secs(60);
/// How often it is looked which directories are to be listed again in the background.
pub(crate) const RENEWAL_TICK: Duration = Duration::from_millis(200);
/// Most directories that are listed in the background at once, so that there are places for those who wait.
pub(crate) const BACKGROUND_LISTINGS_MAX: usize = LISTINGS_IN_FLIGHT_MAX / 4;
/// Most of these that all loads of metadata together list at once.
pub(crate) const JOB_LISTINGS_MAX: usize = BACKGROUND_LISTINGS_MAX / 2;
/// A directory counts as in use for at least so long after the last question about it.
pub(crate) const USE_MEMORY_MIN: Duration = Duration::from_secs(10);
/// How often a question is asked whose directory is forgotten before it is answered.
pub(crate) const FORGOTTEN_ATTEMPTS_MAX: usize = 3;
/// How often it is looked whether a mount knows more than its budget.
pub(crate) const BUDGET_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a mount is left alone of which not enough could be forgotten, after the first time in vain and at most.
pub(crate) const BUDGET_RETRY_AFTER: Duration = USE_MEMORY_MIN;
pub(crate) const BUDGET_RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Of a mount that knows more than its budget this part of the budget is freed beyond what it is over.
pub(crate) const BUDGET_SLACK_PART: u64 = 20;
/// Directories of which the longest unused are sought at once.
pub(crate) const FORGET_SCAN_PAGE: usize = 1000;
/// Directories that are chosen to be forgotten at once.
pub(crate) const FORGET_CANDIDATES_MAX: usize = 16_384;
/// Names that one log entry forgets at most, so that other changes do not wait behind it.
pub(crate) const FORGET_PER_ENTRY: u32 = 1000;
/// Pause between two such entries, in which other changes go first.
pub(crate) const FORGET_PAUSE: Duration = Duration::from_millis(10);
/// Entries of the first page of a listing that are taken over before the others.
pub(crate) const FIRST_ENTRIES: usize = 100;
/// How many pages a listing goes beyond what somebody asked to see.
pub(crate) const LISTING_PAGES_AHEAD: u64 = 4;
/// Pages of a listing that were fetched and wait to be compared, so that the under-store does not wait for us.
pub(crate) const LISTING_PAGES_WAITING_MAX: usize = 2;
/// Pages of a listing under way of which it is remembered when they were asked for.
pub(crate) const LISTING_PAGES_REMEMBERED: usize = 16;
/// How long a listing waits for somebody who wants more of it; then it is given up, and begins anew when it is wanted.
pub(crate) const LISTING_UNWANTED_MAX: Duration = Duration::from_secs(30);
/// How long it is remembered that a listing of a directory costs more than its freshness, at least; then one for which
/// nobody waits tells whether it still does.
pub(crate) const LISTING_COST_MEMORY: Duration = Duration::from_secs(600);
/// The same in times of what it cost, so that such listings take a small part of the time.
pub(crate) const LISTING_COST_PART: u32 = 16;
/// Most names that are remembered as compared alone; beyond it the older half is asked for again.
pub(crate) const SINGLE_NAMES_REMEMBERED_MAX: usize = 262_144;
/// Most names that are asked for alone at once.
pub(crate) const SINGLE_NAMES_IN_FLIGHT_MAX: usize = 64;
/// How often a name is asked for alone that changes meanwhile; then its directory is listed.
pub(crate) const SINGLE_NAME_ATTEMPTS_MAX: usize = 3;
/// Most missing names that one listing removes; where there are more the directory is listed again.
pub(crate) const REMOVALS_PENDING_MAX: usize = 262_144;
/// Backups that are taken at once; each keeps the rows of its moment on the disk.
pub(crate) const BACKUPS_MAX: usize = 2;
/// Pieces of a backup that are made ahead of whoever takes it.
pub(crate) const BACKUP_PIECES_AHEAD_MAX: usize = 4;
/// How long whoever takes a backup may take over a piece.
pub(crate) const BACKUP_PATIENCE: Duration = Duration::from_secs(60);
/// How long a master that follows may take until it has what a backup must have.
pub(crate) const BACKUP_CATCH_UP: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// Syncs of the disk that are timed for one look at a master.
pub(crate) const PROBE_SYNCS: usize = 32;
/// No further one is begun after this time.
pub(crate) const PROBE_BUDGET: Duration = Duration::from_secs(2);
/// Bytes that are written before each of them, as the log does for a small entry.
pub(crate) const PROBE_WRITE_LENGTH: usize = 4096;
/// Most masters of a cluster, those that do not vote included.
pub(crate) const MASTERS_MAX: usize = 9;
/// How long another master may take to say who it is.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a master without a cluster asks the others for theirs.
pub(crate) const HELLO_INTERVAL: Duration = Duration::from_millis(250);
/// How long a change of the masters may take.
pub(crate) const MEMBERSHIP_DEADLINE: Duration = Duration::from_secs(10);
/// How often a leader looks whether a master that joined has the log, and may vote.
pub(crate) const MEMBERSHIP_LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How many entries a master that joined may be behind when it gets its vote.
pub(crate) const VOTER_BEHIND_MAX: u64 = 1_000;
/// A session that was not used for this long is ended: a client that goes on after it begins another one.
pub(crate) const SESSION_IDLE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often a leader looks for such sessions.
pub(crate) const SESSIONS_LOOK_INTERVAL: Duration = Duration::from_secs(600);
/// Sessions that are looked at at once.
pub(crate) const SESSIONS_PAGE: usize = 1_000;
/// How long a master that starts waits for others that start, when one of them belongs to another cluster.
pub(crate) const COMPARE_PATIENCE: Duration = Duration::from_secs(3);
/// Most pins that are looked at for one page of them.
pub(crate) const PINS_PAGE: usize = 1024;
/// How long a change of a master's role is waited for at once.
pub(crate) const ROLE_WAIT: Duration = Duration::from_secs(3600);
