//! The named maxima and periods of the replicated log. Those that other crates share stand in `forebay_types::limits`.

use std::time::Duration;

/// Most proposals that wait to be packed into an entry. More wait in their callers, up to their deadlines.
pub const QUEUED_PROPOSALS_MAX: usize = 4096;
/// Most proposals of one entry.
pub const ENTRY_PROPOSALS_MAX: usize = 512;
/// Most bytes of proposals that are packed into one entry. A single larger one travels alone.
pub const ENTRY_PACKED_LENGTH_MAX: usize = 1 << 20;
/// Most entries that the proposer has under way. What arrives meanwhile is packed into the next one, so a smaller
/// number makes larger entries; docs/adr/0002-openraft-0.10-over-rocksdb.md has the measurements.
pub const ENTRIES_IN_FLIGHT_MAX: usize = 4;

/// Most reads that wait for the next round. More wait in their callers, up to their deadlines.
pub const QUEUED_READS_MAX: usize = 4096;

/// Most requests that wait for the log's writer.
pub const QUEUED_WRITES_MAX: usize = 1024;
/// Most bytes of entries that share one sync of the log.
pub const APPEND_LENGTH_MAX: usize = 8 << 20;
/// Most synced entries that are kept in memory for the state machine and for followers that are near.
pub const TAIL_ENTRIES_MAX: usize = 4096;
/// Most bytes of synced entries that are kept in memory.
pub const TAIL_LENGTH_MAX: usize = 32 << 20;
/// Most entries that are read from the log at once.
pub const READ_ENTRIES_MAX: u64 = 256;
/// Most bytes of entries that are read from the log at once; a single larger one is read alone.
pub const READ_LENGTH_MAX: usize = 4 << 20;

/// Most entries among which the end of a damaged log is looked for; a log is purged long before it has so many.
pub const JOURNAL_ENTRIES_MAX: u64 = 1 << 32;

/// Most entries that are applied and committed to the state as one.
pub const APPLY_ENTRIES_MAX: usize = 256;
/// Most batches that wait to be applied. The state machine waits for each, so this is never reached.
pub const QUEUED_APPLIES_MAX: usize = 4;
/// Most batches of effects that wait to be looked at. More are dropped, and the receiver is told to look for itself.
pub const QUEUED_EFFECTS_MAX: usize = 4096;

/// Entries after which a new snapshot is made.
pub const SNAPSHOT_EVERY_ENTRIES: u64 = 100_000;
/// Bytes of the log after which a new snapshot is made, however few entries they are.
pub const SNAPSHOT_EVERY_LENGTH: u64 = 1 << 30;
/// Entries that are kept behind a snapshot, so that a follower that was away for a moment needs no snapshot. Few, since
/// an entry may have a mebibyte.
pub const KEPT_ENTRIES: u64 = 1_000;
/// Fewest entries that are purged at once.
pub const PURGED_ENTRIES_MIN: u64 = 100;
/// Largest description of a snapshot (not its files), in bytes.
pub const SNAPSHOT_DESCRIPTION_LENGTH_MAX: usize = 16 << 20;
/// Most files of one snapshot.
pub const SNAPSHOT_FILES_MAX: usize = 1 << 20;
/// Longest path of a file within a snapshot, in bytes.
pub const SNAPSHOT_FILE_PATH_LENGTH_MAX: usize = 1024;

/// About how many bytes of rows one block of a backup has.
pub const BACKUP_BLOCK_LENGTH: usize = 256 << 10;
/// Longest block of a backup that is read. A single row may be as long as a proposal.
pub const BACKUP_BLOCK_LENGTH_MAX: usize = 16 << 20;
/// Bytes of rows that a restore writes at once.
pub const RESTORE_BATCH_LENGTH: usize = 4 << 20;

/// Longest message between masters, in bytes: a proposal that travels alone, and what an entry adds to it.
pub const PEER_MESSAGE_LENGTH_MAX: usize = 16 << 20;
/// Longest wait for a connection to another master.
pub const PEER_CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How often a connection to another master is tried, and how long that may take: one that was cut off without a word is
/// made anew well before the system would try it again.
pub const PEER_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long another master may take to answer a short question, such as one for its vote.
pub const PEER_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long another master that did not answer is left alone.
pub const PEER_RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How long the answer to entries may take, about: a disk may be slow for a moment.
pub const PEER_STALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a snapshot that are sent at once.
pub const SNAPSHOT_PIECE_LENGTH: usize = 1 << 20;
/// Pieces of a snapshot that are read ahead of the network, or taken in ahead of the disk.
pub const SNAPSHOT_PIECES_AHEAD_MAX: usize = 4;
/// How long the next piece of a snapshot may take to come.
pub const SNAPSHOT_STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long sending a snapshot and installing it may take.
pub const SNAPSHOT_INSTALL_TIMEOUT: Duration = Duration::from_secs(3600);

/// After how long without a leader a follower stands for election at the latest; see
/// [`RaftSettings::election_timeout`](crate::RaftSettings::election_timeout). A fail-over, with one election that failed,
/// then ends within three seconds.
pub const ELECTION_TIMEOUT: Duration = Duration::from_millis(1500);
/// The shortest election timeout that is taken: below it a busy machine loses its leader without a fault.
pub const ELECTION_TIMEOUT_MIN: Duration = Duration::from_millis(200);
/// The longest.
pub const ELECTION_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// A machine that was suspended for longer since a majority answered does not count on its lease. Two clocks are never
/// read at the very same moment.
pub const SUSPENSION_UNNOTICED_MAX: Duration = Duration::from_millis(10);
