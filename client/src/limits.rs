//! The named maxima and waits of the client.

use std::time::Duration;

use forebay_types::ByteCount;

/// The whole wait for a master in each call, unless the settings say otherwise.
pub(crate) const MASTER_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// The whole wait of one read, unless the settings say otherwise.
pub(crate) const READ_DEADLINE_DEFAULT: Duration = Duration::from_secs(60);
/// Shortest wait for the answer of a master that looks at an under-store before it answers, as for a mount.
pub(crate) const MOUNT_ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// Shortest wait for a page of a directory: one that is far behind may have to be listed up to there.
pub(crate) const LIST_ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Shortest wait for the answer of a master that lists a directory whatever its size.
pub(crate) const REFRESH_ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// Most paths of one request of a load; so few that the master can look at each of them in time.
pub(crate) const LOAD_PATHS_PER_REQUEST: usize = 2500;
/// Longest wait for one report of counters.
pub(crate) const REPORT_DEADLINE: Duration = Duration::from_secs(2);
/// Longest wait for the tasks of a client that is closed.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// Pause between two reports of counters that change.
pub(crate) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Most masters that a client knows, those that hints named included.
pub(crate) const MASTERS_MAX: usize = 16;
/// Most mutations of one session between the lowest unanswered one and the newest, both included.
pub(crate) const SESSION_WINDOW: u64 = 64;

/// First pause between two attempts of the same request.
pub(crate) const RETRY_PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause between two attempts at the masters: a new leader is found soon after it was elected.
pub(crate) const MASTER_PAUSE_MAX: Duration = Duration::from_millis(250);
/// A master that says nothing for so long is waited for on, and others are asked beside it.
pub(crate) const MASTER_SILENCE: Duration = Duration::from_secs(1);
/// Longest pause between two attempts of the same request at workers.
pub(crate) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often all workers are asked for bytes that each of them has failed to give in a way that may be theirs for
/// good: damaged bytes, an under-store that answers with errors.
pub(crate) const FUTILE_PASSES_MAX: u32 = 3;

/// A worker that sends no chunk for this long is given up, and another one is asked. Longer than the 30 s that one call
/// of a worker to its under-store may take: what comes of that says more than the silence before.
pub(crate) const CHUNK_DEADLINE: Duration = Duration::from_secs(35);
/// How long a read that gets nothing goes on once a worker said that the under-store fails; the next workers have the
/// rest of it.
pub(crate) const UNDER_STORE_PATIENCE: Duration = Duration::from_secs(20);
/// The same for reads that follow one that used all of it in vain.
pub(crate) const UNDER_STORE_PATIENCE_AGAIN: Duration = Duration::from_secs(5);
/// Neither is more than this part of a read's whole wait.
pub(crate) const UNDER_STORE_PATIENCE_PART: u32 = 3;
/// For how long reads follow such a one.
pub(crate) const UNDER_STORE_MEMORY: Duration = Duration::from_secs(15);

/// Connections to each worker, since one does not carry all that two machines can.
pub(crate) const CONNECTIONS_PER_WORKER: usize = 2;
/// Largest message of a block stream, in bytes: a chunk and its frame.
pub(crate) const CHUNK_MESSAGE_MAX: usize = CHUNK_LENGTH_MAX + 1024;
/// Most data of one chunk of a block stream, in bytes.
pub(crate) const CHUNK_LENGTH_MAX: usize = 1 << 20;

/// A cluster map in use that is older than this is fetched anew.
pub(crate) const MAP_AGE_MAX: Duration = Duration::from_secs(3);
/// For this long after a failure a worker is asked after all others.
pub(crate) const SUSPICION: Duration = Duration::from_secs(2);

/// Most bytes of one `read_at`.
pub(crate) const READ_LENGTH_MAX: usize = 256 << 20;
/// Most workers that fail for a block, in a way that may pass, before the first pause.
pub(crate) const OWNERS_PER_PASS_MAX: usize = 8;
/// Most workers that refuse a block for good, such as by a mount that is not set up there, before the error is given.
/// An answer of that kind comes at once, so many may be asked.
pub(crate) const REFUSALS_PER_PASS_MAX: usize = 32;
/// Most blocks that one read fetches at the same time.
pub(crate) const BLOCKS_IN_FLIGHT_MAX: usize = 4;
/// After so many reads a reader asks again whether its file has become complete on this machine.
pub(crate) const HOLD_RETRY_READS: u32 = 64;
/// Longest read of a local file that is tried at once, in bytes; a longer one goes to a thread of its own.
pub(crate) const INLINE_READ_MAX: usize = 1 << 20;
/// Files of local workers that are open here at once may take one part in so many of the descriptors that the process may
/// have.
pub(crate) const DESCRIPTORS_PER_HOLD: u64 = 4;
/// Descriptors of a lend: those of the data file and of the index file.
pub(crate) const DESCRIPTORS_PER_LEND: u32 = 2;
/// Bytes of lent files that are read and verified at a time: so few that they are still near the processor when their
/// checksums are computed.
pub(crate) const LENT_PIECE: u64 = 256 << 10;
/// Buffers for reads of lent files that are kept for the next one, of [`INLINE_READ_MAX`] each.
pub(crate) const LENT_BUFFERS_MAX: usize = 8;
/// A shorter read of them takes memory of its own, in bytes.
pub(crate) const LENT_BUFFER_MIN: usize = 64 << 10;
/// Records of a lent file's pages that are read at a time.
pub(crate) const LENT_RECORDS_PIECE: usize = 1024;
/// The table of mounts is not read again so soon for a file of a mount that is not in it.
pub(crate) const MOUNTS_READ_PAUSE: Duration = Duration::from_secs(10);
/// They are at least this many, however few descriptors there are.
pub(crate) const HOLDS_OPEN_MIN: usize = 64;
/// A version that is found stale again and again is told to the master this often.
pub(crate) const STALE_TOLD_PAUSE: Duration = Duration::from_secs(1);
/// Most versions of which it is remembered that the master was told that they are stale.
pub(crate) const STALE_TOLD_MAX: usize = 4096;
/// Longest wait for the local worker's answer about a hold.
pub(crate) const HOLD_DEADLINE: Duration = Duration::from_secs(1);
/// Most requests that wait for one local worker; further ones do without a hold or a lend.
pub(crate) const HOLD_REQUESTS_MAX: usize = 256;
/// A local socket that could not be connected to is left alone for this long.
pub(crate) const HOLD_RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Most sequential streams that one reader tells apart.
pub(crate) const STREAMS_MAX: usize = 16;
/// A stream is forgotten after so many reads of its reader elsewhere.
pub(crate) const STREAM_IDLE_READS: u64 = 64;
/// First readahead of a stream, in bytes.
pub(crate) const WINDOW_MIN: u64 = 1 << 20;
/// Largest readahead of a stream, in bytes.
pub(crate) const WINDOW_MAX: u64 = 16 << 20;
/// Most bytes of one readahead request: several of them in flight fill a window.
pub(crate) const PART_LENGTH_MAX: u64 = 4 << 20;
/// What a stream keeps behind its position, in bytes, for reads that overtook each other.
pub(crate) const BEHIND_KEPT: u64 = 1 << 20;
/// Most bytes that all readers of a client have read ahead, unless the settings say otherwise.
pub(crate) const READAHEAD_MEMORY_DEFAULT: ByteCount = ByteCount::new(192 << 20);
/// A reader may have this part of the free readahead memory: so a few readers get full windows, and many share.
pub(crate) const READAHEAD_SHARE: usize = 4;

/// Files that are brought before they are opened, for one walk through a directory, unless the settings say otherwise.
pub(crate) const LOOK_AHEAD_DEFAULT: usize = 32;
/// Longest file that is brought whole before it is opened, in bytes.
pub(crate) const LOOK_AHEAD_LENGTH_MAX: u64 = 4 << 20;
/// Files that all walks of a client bring at the same time.
pub(crate) const LOOK_AHEAD_LOADS_MAX: usize = 16;
/// Files that wait for their turn or are being brought; further ones are not.
pub(crate) const LOOK_AHEAD_QUEUED_MAX: usize = 256;
/// Longest wait for a worker that brings a file ahead.
pub(crate) const LOOK_AHEAD_DEADLINE: Duration = Duration::from_secs(60);
/// Walks that are known at once.
pub(crate) const WALKS_MAX: usize = 16;
/// A walk that did not go on for so long is over.
pub(crate) const WALK_IDLE: Duration = Duration::from_secs(30);
/// First window of a walk, in files.
pub(crate) const WALK_WINDOW_MIN: usize = 4;
/// A walk goes once so many opens in a row went on.
pub(crate) const WALK_BEGIN: u32 = 2;
/// Who opens one of so many files that follow goes through the directory in its order.
pub(crate) const WALK_REACH: usize = 8;
/// More opens elsewhere in the directory, without one that goes on, end a walk.
pub(crate) const WALK_STRAYS_MAX: u32 = 8;
/// So many files in a row that were there already tell that no more need to be brought.
pub(crate) const WALK_NEEDLESS_MAX: u32 = 8;
/// One open in so many still looks whether that has changed.
pub(crate) const WALK_PROBE_OPENS: u32 = 16;

/// How long the master may keep a question for changes while there are none.
pub(crate) const FOLLOW_WAIT: Duration = Duration::from_secs(1);
/// How long it may be silent then: it gathers changes for half a second at most.
pub(crate) const FOLLOW_SILENCE: Duration = Duration::from_secs(2);
/// For how long an answer about changes vouches for what is granted, from the moment of the question on. With the time
/// that it takes to tell the kernel it is below the 5 s that answers may be used without a grant.
pub(crate) const FOLLOW_VOUCHES: Duration = Duration::from_secs(4);
/// Pause after a failure to hear of changes, or an answer without any that came at once.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
/// The same where the master is of a release that tells of none.
pub(crate) const FOLLOW_UNSUPPORTED_PAUSE: Duration = Duration::from_secs(60);
/// Most directories whose changes wait to be taken up; more of them are everything.
pub(crate) const CHANGES_PENDING_MAX: usize = 1024;
/// Most changes that are remembered to void older answers; beyond it all older answers are void.
pub(crate) const CHANGES_REMEMBERED_MAX: usize = 65_536;
/// Most directories with a grant.
pub(crate) const GRANTS_MAX: usize = 262_144;

/// An answer that is older than this is asked for again, whatever is granted: the right to read that came with it lasts
/// for half a day, and a reader should have most of that.
pub(crate) const REMEMBERED_AGE_MAX: Duration = Duration::from_secs(3600);
/// Answers of a full directory that are looked at to make room for one that is new.
pub(crate) const ANSWERS_LOOKED_AT_MAX: usize = 4;
/// Most names of a path: each takes two bytes of it at least.
pub(crate) const DEPTH_MAX: usize = 2048;

/// How long a master may take to begin a backup.
pub(crate) const BACKUP_BEGIN_DEADLINE: Duration = Duration::from_secs(30);
/// How long a master may take over the next piece of a backup.
pub(crate) const BACKUP_PIECE_DEADLINE: Duration = Duration::from_secs(60);

/// How long a change of the masters may take: it waits for those that are to vote.
pub(crate) const MASTERS_CHANGE_DEADLINE: Duration = Duration::from_secs(30);

/// How often a master is asked for its clock; the answer that came soonest counts.
pub(crate) const CLOCK_READINGS: usize = 3;
/// How long a master that is looked at may take to say who it is.
pub(crate) const EXAMINED_HELLO_DEADLINE: Duration = Duration::from_secs(3);
/// That is no more than this part of the whole time, so that some is left for what it tells.
pub(crate) const EXAMINED_HELLO_PART: u32 = 3;
