//! The named maxima of the block store, and the defaults of its settings.

use std::time::Duration;

use forebay_types::ByteCount;

/// Most bytes that one read returns; a longer request is answered in part.
pub const READ_LENGTH_MAX: u64 = 8 << 20;
/// Most versions whose descriptors are kept open for reading, two descriptors each. Holds keep theirs apart.
pub const OPEN_VERSIONS_MAX: usize = 256;
/// Most versions that one reservation evicts before it asks again.
pub const EVICTION_BATCH_MAX: usize = 64;
/// Most files that the change log remembers; who fell further behind lists everything.
pub const CHANGES_MAX: usize = 65_536;
/// Most files of one answer of the change log or the listing.
pub const CHANGES_PAGE_MAX: usize = 4_096;
/// Share of a tier's capacity that may be held, in percent. Beyond it a version is served without a hold.
pub const HELD_PERCENT_MAX: u64 = 80;
/// A hold may rest while no more of its tier's capacity is held than this, in percent, so that there is room for the
/// holds of others and for eviction.
pub const RESTING_PERCENT_MAX: u64 = 60;
/// How long a fill that finds no room waits for holds that were wanted back.
pub const WANTED_BACK_PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 60_000 } else { 500 });
/// Most fills that wait so at once; others fail, and what they have is served without being stored.
pub const FILLS_WAITING_MAX: usize = 8;
/// Most names that a policy remembers of what it evicted; and never more than it has versions.
pub const GHOSTS_MAX: usize = 1 << 20;
/// Most versions of which a policy remembers when they were asked for and not let in.
pub const NEWCOMERS_MAX: usize = 1 << 16;
/// Stored versions of a tier of which a sample measures how long they wait to be used again: about so many.
pub const PACE_SAMPLE: usize = 1 << 10;
/// Most versions of that sample, those included that are not stored.
pub const PACE_VERSIONS_MAX: usize = 1 << 14;
/// Most versions of a tier for which room is kept while the rest of them comes.
pub const PROMISES_MAX: usize = 256;
/// What part of memory may be promised at a time, where the policy lets everything in: who is promised it may never need
/// it, as a file of which only some places are read.
pub const MEMORY_PROMISED_PART: u64 = 4;
/// Reservations and uses after which room that was kept and not used meanwhile is given to others.
pub const PROMISE_PATIENCE: u64 = 1024;
/// Units that are copied from one tier to another at once.
pub const MOVES_MAX: usize = 1;
/// Most units that wait to be promoted; beyond it the one that waits longest is forgotten.
pub const PROMOTIONS_WAITING_MAX: usize = 1024;
/// Demotion begins when less than one part in so many of memory is free.
pub const DEMOTION_BEGIN_PARTS: u64 = 16;
/// It goes on until one part in so many is, which promotion of what was visited only twice leaves free.
pub const DEMOTION_END_PARTS: u64 = 8;
/// Part of a disk tier that demotion leaves free. What comes anew finds it, and what leaves a full tier makes no room for
/// moves.
pub const DEMOTION_SPARE_PARTS: u64 = 16;
/// Uses of anything after which a unit that is not complete, and was not used meanwhile, may be moved.
pub const UNFINISHED_PATIENCE: u64 = 1024;
/// How often a file may change under the verification for a hold before that is given up.
pub const VERIFY_ATTEMPTS_MAX: u32 = 2;
/// Longest header of an index file, in bytes: the longest URI, key, tag and version id fit twice.
pub const HEADER_LENGTH_MAX: usize = 16 << 10;
/// Most tiers of one store.
pub const TIERS_MAX: usize = 64;
/// Threads that read index files when the store opens: more than most machines have processors, since they wait for the
/// disk.
pub const RECOVERY_THREADS: usize = 16;
/// Most units that the catalogue of one folder lists; the files of others are read at a start.
pub const CATALOGUE_ENTRIES_MAX: usize = 1 << 20;
/// Most units that are looked up for a catalogue while the index is locked.
pub const CATALOGUE_BATCH_MAX: usize = 256;
/// A catalogue that lacks something is written this long after the last round of all of them at the earliest.
pub const CATALOGUE_ROUND_MIN: Duration = Duration::from_secs(60);
/// Threads that write catalogues when the store is about to close.
pub const CATALOGUE_THREADS: usize = 4;
/// Errors of a tier's disk within [`ERROR_SPAN`] that make it unstable.
pub const UNSTABLE_ERRORS: usize = 3;
/// Errors of a tier's disk within [`ERROR_SPAN`] that bring it down.
pub const DOWN_ERRORS: usize = 20;
/// How long an error of a tier's disk counts.
pub const ERROR_SPAN: Duration = Duration::from_secs(60);
/// How often a tier's disk that is up is probed.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// How often one that is unstable, or whose last probe failed.
pub const UNSTABLE_PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// A disk whose probes fail for so long, or of which one hangs so long, is down.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(30);
/// First pause before it is looked whether a disk that is down is back; each time that it fails again within
/// [`RETURN_PAUSE_MAX`] of its return the pause is twice as long.
pub const RETURN_PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest such pause.
pub const RETURN_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Most versions that leave a tier that is down, or come back to one that is up again, while the index is locked.
pub const RETURN_BATCH_MAX: usize = 1024;
/// How long the scrubber or a move gives way to others before it looks again.
pub const BACKGROUND_YIELD: Duration = Duration::from_millis(50);
/// While there are others all the time, it takes a step this often.
pub const BACKGROUND_PATIENCE: Duration = Duration::from_secs(1);
/// A version that was verified or written is verified again after this time at the earliest.
pub const SCRUB_ROUND_MIN: Duration = Duration::from_secs(24 * 3600);
/// Free space of the file systems is looked at once in this many reservations.
pub const SPACE_SAMPLE_INTERVAL: u64 = 32;

/// Largest version that is kept whole, unless the tier says otherwise.
pub const WHOLE_FILE_MAX_DEFAULT: ByteCount = ByteCount::new(64 << 30);
/// Length of the segments of a version that is not kept whole, unless the settings say otherwise.
pub const SEGMENT_LENGTH_DEFAULT: ByteCount = ByteCount::new(1 << 30);
/// Bytes that a disk tier leaves free on its file system, unless the tier says otherwise.
pub const FREE_BYTES_FLOOR_DEFAULT: ByteCount = ByteCount::new(1 << 30);
/// Inodes that a disk tier leaves free on its file system, unless the tier says otherwise.
pub const FREE_INODES_FLOOR_DEFAULT: u64 = 10_000;
/// A file system for which that is much keeps free one part in so many.
pub const FREE_PARTS_FLOOR: u64 = 20;
