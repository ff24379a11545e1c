//! The promises that are checked, and the waits of the shells that the actors stand for.
//!
//! The promises are those of docs/semantics.md, written down once more on purpose: whoever changes one in the product
//! must change it here.

use std::time::Duration;

/// What the cluster learned is known to all clients after this time.
pub(crate) const COHERENCE_BOUND: Duration = Duration::from_secs(5);
/// Clocks that run apart by 200 millionths, over the longest freshness; and what rounding makes of it.
pub(crate) const SLACK: Duration = Duration::from_millis(60);
/// How much faster or slower than the true time a clock may be, in millionths.
pub(crate) const DRIFT_MILLIONTHS: u64 = 200;
/// How long after the end of trouble an answer may be excused by it: as long as one listing and one question take.
pub(crate) const OUTAGE_MEMORY: Duration = Duration::from_secs(90);

/// For how long an answer may be used that is past its freshness while the under-store is down.
pub(crate) const OUTAGE_VALIDITY: Duration = Duration::from_secs(1);
/// For how long an answer may be used whose under-store nobody may ask.
pub(crate) const MAINTENANCE_VALIDITY: Duration = COHERENCE_BOUND;
/// How long an under-store may say nothing while an older answer is there.
pub(crate) const SILENCE_PATIENCE: Duration = Duration::from_secs(3);
/// The same where an older answer would not do.
pub(crate) const SILENCE_PATIENCE_FAIL: Duration = Duration::from_secs(8);
/// Both once it was down or silent.
pub(crate) const OUTAGE_PATIENCE: Duration = Duration::from_millis(500);
/// Longest listing.
pub(crate) const UNDER_STORE_DEADLINE: Duration = Duration::from_secs(45);
/// Longest wait for the log.
pub(crate) const PROPOSE_DEADLINE: Duration = Duration::from_secs(10);
/// How often a name is asked for alone that changes meanwhile.
pub(crate) const SINGLE_NAME_ATTEMPTS_MAX: usize = 3;
/// Differences of a listing in one entry: few, so that listings take several.
pub(crate) const DIFFERENCES_PER_ENTRY: usize = 3;
/// Pages of a listing that were fetched and wait to be compared.
pub(crate) const LISTING_PAGES_WAITING_MAX: usize = 2;
/// How long a listing waits for looks at single entries that began before it did.
pub(crate) const LOOKS_PATIENCE: Duration = Duration::from_secs(1);
/// How long a listing waits for somebody who wants more of it.
pub(crate) const LISTING_UNWANTED_MAX: Duration = Duration::from_secs(30);
/// How often it is looked which directories are due.
pub(crate) const RENEWAL_TICK: Duration = Duration::from_millis(200);
/// Directories that are renewed at once.
pub(crate) const RENEWALS_IN_FLIGHT_MAX: usize = 4;
/// Inodes that one entry deletes.
pub(crate) const REAP_PER_ENTRY: u32 = 3;
/// How often it is looked whether the feed knows of what can be read.
pub(crate) const FEED_SETTLE_LOOK: Duration = Duration::from_millis(5);
/// Names that one entry forgets.
pub(crate) const FORGET_PER_ENTRY: u32 = 2;
/// Longest pause between two directories that are forgotten.
pub(crate) const FORGET_PAUSE_MILLIS: u64 = 6000;
/// How often a question is asked whose directory is forgotten before it is answered.
pub(crate) const FORGOTTEN_ATTEMPTS_MAX: usize = 3;
/// Batches of effects that wait where some are to be lost.
pub(crate) const EFFECTS_SHORT: usize = 1;
/// The latest moment of an effect after its entry: with what an answer vouches for, less than the coherence bound.
pub(crate) const EFFECT_LATE_MILLIS: u64 = 700;

/// Longest wait for an answer of the master about a name.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// How long the master may keep a question for changes.
pub(crate) const FOLLOW_WAIT: Duration = Duration::from_secs(1);
/// For how long an answer about changes vouches.
pub(crate) const FOLLOW_VOUCHES: Duration = Duration::from_secs(4);
/// Pause after a failure to hear of changes, or an answer without any that came at once.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
/// An answer that is older is not remembered.
pub(crate) const DIRECTORY_AGE_MAX: Duration = Duration::from_secs(3600);
/// How often an operation of a client begins anew where it met what is gone.
pub(crate) const ATTEMPTS_MAX: u32 = 4;

/// How often a job that is worked on is told that time passes.
pub(crate) const JOB_TICK: Duration = Duration::from_millis(100);
/// A worker that was not heard of for this long is lost.
pub(crate) const WORKER_LOST_AFTER: Duration = Duration::from_secs(10);
/// How often the outbox is looked at.
pub(crate) const OUTBOX_LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// Rows of the outbox that are read at once: few, so that it takes several pages.
pub(crate) const OUTBOX_PAGE_ROWS: usize = 3;
/// How long a master that has started trims nothing: longer than workers are away.
pub(crate) const OUTBOX_START_WAIT: Duration = Duration::from_secs(100);
/// What was freed has left the workers so long after the end of all trouble.
pub(crate) const FREED_WITHIN: Duration = Duration::from_secs(90);
/// How often a worker sends a heartbeat.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// A load that says nothing for this long is given up.
pub(crate) const LOAD_DEADLINE: Duration = Duration::from_secs(40);
/// Rounds in which a load asks for pages that did not come.
pub(crate) const LOAD_ROUNDS_MAX: u32 = 6;

/// How long a master hears nothing before it stands for election, at least.
pub(crate) const ELECTION_TIMEOUT: Duration = Duration::from_millis(1500);
/// How often a leader makes itself heard.
pub(crate) const LEADER_PACE: Duration = Duration::from_millis(500);
/// Entries in one message between masters.
pub(crate) const ENTRIES_PER_MESSAGE: u64 = 16;
/// How long an answer to a snapshot is awaited before it is sent again.
pub(crate) const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(2);
/// How often a master takes a snapshot, in entries, and how many entries before it stay in the log.
pub(crate) const SNAPSHOT_EVERY: u64 = 30;
pub(crate) const ENTRIES_KEPT: u64 = 8;
/// How often a master that wants to join asks for it.
pub(crate) const JOIN_PAUSE: Duration = Duration::from_millis(500);
/// How many entries a master may lack that gets a vote.
pub(crate) const JOINED_WITHIN: u64 = 20;
/// Longest wait for the log by whoever asks.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(10);
/// From when on a wait for the log may look like an under-store that is silent.
pub(crate) const SLOW_LOG_AFTER: Duration = Duration::from_millis(400);
/// How long a master that leads but cannot take over waits before it tries again.
pub(crate) const TAKE_OVER_PAUSE: Duration = Duration::from_millis(50);
/// How long a master may be silent before others are asked beside it.
pub(crate) const MASTER_SILENCE: Duration = Duration::from_secs(1);
/// The same for a question for changes, which may be kept.
pub(crate) const FOLLOW_SILENCE: Duration = Duration::from_secs(2);
/// For how long a client looks for a master that answers.
pub(crate) const MASTER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause between two rounds through the masters.
pub(crate) const MASTER_PAUSE_MAX: Duration = Duration::from_millis(250);
/// How long after the end of all trouble each master has applied what was committed by then.
pub(crate) const MASTERS_AGREE_WITHIN: Duration = Duration::from_secs(30);
