//! The named maxima of this crate.

/// Longest packet in bytes, the version's byte included. The longest key, tag and version id of a legal request take
/// a third of it.
pub const PACKET_LENGTH_MAX: usize = 16 << 10;
/// Longest text of a refusal, in bytes; a longer one is cut by its sender.
pub const REFUSAL_LENGTH_MAX: usize = 4 << 10;
/// Most holds that one message wants back: each takes 10 bytes at most.
pub const WANTED_BACK_MAX: usize = 1000;
/// Most descriptors of one message.
pub const DESCRIPTORS_MAX: usize = 2;
/// Connections that wait to be accepted.
pub const BACKLOG_MAX: i32 = 128;
/// Longest path that fits the address of a unix socket (`sun_path` without its terminating zero).
pub const SOCKET_PATH_LENGTH_MAX: usize = 107;
