//! The named maxima and waits of the FUSE bridge.

use std::time::Duration;

/// Longest wait for an answer to the kernel, unless the options say otherwise. A process that waits for one cannot be
/// killed before it comes.
pub const ANSWER_DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// Reads may take this many times as long as other requests, since they may have to come from the under-store.
pub const READ_DEADLINE_FACTOR: u32 = 4;
/// Largest request of the kernel, in bytes; what `fs.fuse.max_pages_limit` allows by default.
pub const REQUEST_LENGTH_MAX: u32 = 1 << 20;
/// Most requests that the kernel sends without a process waiting for each, such as readahead.
pub const BACKGROUND_REQUESTS_MAX: u16 = 64;
/// Most threads that read requests from the kernel. They never wait, so a few serve many processes.
pub const THREADS_MAX: usize = 32;
/// Fewest of them where the options say nothing, on a machine of one core.
pub const THREADS_DEFAULT_MIN: usize = 2;
/// Most of them where the options say nothing.
pub const THREADS_DEFAULT_MAX: usize = 8;
/// The kernel's readahead for buffered files, in KiB, where we may set it.
pub const READ_AHEAD_KIB_DEFAULT: u32 = 1024;
/// What all open files may have read ahead, in bytes, where the options say nothing.
pub const READAHEAD_MEMORY_DEFAULT: u64 = 192 << 20;
/// What may be remembered of directories, in bytes, where the options say nothing: about 150,000 files.
pub const DIRECTORY_MEMORY_DEFAULT: u64 = 64 << 20;
/// Files that may rest after their last close, where the options say nothing. Each costs some 300 bytes here and at the
/// worker, and an open file, about 1.5 KiB, in the kernel.
pub const RESTING_FILES_DEFAULT: usize = 65_536;
/// Small files that are brought into the cache ahead of somebody who goes through a directory, where the options say
/// nothing.
pub const LOOK_AHEAD_DEFAULT: usize = 32;
/// Longest time for which the kernel may remember an answer, however long it holds.
pub const TTL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// An open of a superseded node is served if the kernel was told of the node this recently.
pub const LOOKUP_TRUST: Duration = Duration::from_secs(1);
/// Most threads that one node remembers as sent back to look up again; further ones get the old version.
pub const REFUSED_MAX: usize = 64;
/// Most names of a path that a message shows.
pub const SHOWN_DEPTH_MAX: usize = 64;
/// Parts of the tables of nodes and handles, each with its own lock.
pub const SHARDS: usize = 64;
/// Entries below which such a part is not worth shrinking.
pub const SHRINK_MIN: usize = 1024;
/// Most dead mounts that are taken off one mount point.
pub const DEAD_MOUNTS_MAX: usize = 16;
/// Longest wait for a file system that lies on the mount point already.
pub const MOUNT_POINT_DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for the device that fusermount3 opens for a user.
pub const FUSERMOUNT_DEADLINE: Duration = Duration::from_secs(20);
/// Pause between two attempts to unmount a busy mount point.
pub const UNMOUNT_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for the end of the session after the kernel let go of the mount.
pub const JOIN_DEADLINE: Duration = Duration::from_secs(5);
/// Failures of reads and look-ups are logged at most this often, with the number of those left out.
pub const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(1);
/// What `stat` names as the best length of a read, in bytes. `cp` and `cat` read this much anyway; a longer one would
/// make stdio and Python allocate and read more than small random reads can use.
pub const PREFERRED_READ_LENGTH: u32 = 128 << 10;
/// Shortest file, in bytes, that gets a second node where handles of before keep the first from being passed through.
/// Shorter ones are open for a moment only.
pub const ALIAS_LENGTH_MIN: u64 = 4 << 20;
/// An open that asks nobody needs a right to read that is no older than this; rights last for half a day.
pub const CAPABILITY_TRUST: Duration = Duration::from_secs(3600);
/// Most names of one batch of changes that the kernel is told one by one; of more it is told that all is void.
pub const NOTICES_MAX: usize = 512;
/// How long a notice about a name waits for the answers that the kernel waits for in its directory.
pub const BUSY_PATIENCE: Duration = Duration::from_millis(100);
/// How often it is looked whether they were given.
pub const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// How long the kernel may take for a batch of notices before it is told that all is void, which never waits.
pub const NOTICE_PATIENCE: Duration = Duration::from_millis(500);
/// Most batches of notices that wait in the kernel at once.
pub const NOTICE_THREADS_MAX: usize = 4;
/// Names that are asked for when a directory is opened.
pub const FIRST_NAMES: usize = 100;
/// Directories that nobody has open and of whose listings it is known that the kernel keeps them. Each costs some 300
/// bytes.
pub const KERNEL_LISTINGS_MAX: usize = 16_384;
/// What may be known of the names in such listings, in bytes: each name costs a few bytes, and those in which it differs
/// from the one before. Listings beyond it the kernel does not keep.
pub const OUTLINES_BYTES_MAX: usize = 16 << 20;
/// How often it is looked whether the listings that the kernel shows to open directories still stand. So much earlier
/// each of them ends.
pub const LISTINGS_PAUSE: Duration = Duration::from_millis(250);
/// So many names looked up one by one in a directory that the kernel lists by itself tell that somebody wants their
/// attributes, which listings bring with less effort.
pub const LOOKUPS_IN_SHOWN: usize = 8;
/// About as many names as programs take from the kernel at once, by the length of reads that `stat` names.
pub const READ_AT_ONCE: usize = PREFERRED_READ_LENGTH as usize / 32;
/// For how long after its last OPENDIR a thread that wanted them is expected to want them again.
pub const LOOKER_TRUST: Duration = Duration::from_secs(1);
/// Most threads of which that is remembered.
pub const LOOKERS_MAX: usize = 64;
/// A file of which at least so many parts of so many are on this machine is read directly: past the kernel's page cache,
/// until it is complete.
pub(crate) const DIRECT_PARTS_MIN: (u64, u64) = (3, 4);
