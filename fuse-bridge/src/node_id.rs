//! The kernel's number for a node, made from the id of what the node shows, so that a later bridge makes the same.

use std::fmt;

use forebay_types::FileId;

/// Bits of a file's node id below the incarnation's.
const COUNTER_BITS: u32 = 48;
/// Of these the one that tells an alias.
const ALIAS: u64 = 1 << (COUNTER_BITS - 1);

/// What the kernel calls a node; also the inode number that `stat` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(u64);

impl NodeId {
    /// The root of the mount.
    pub(crate) const ROOT: Self = Self(1);

    pub(crate) const fn new(id: u64) -> Self {
        Self(id)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// A version's node: its counter, which no directory shares, below the low bits of its incarnation.
    pub(crate) const fn of_version(file: FileId) -> Self {
        let incarnation = (file.incarnation.get() & 0xffff) as u64;
        Self(incarnation << COUNTER_BITS | file.counter & (ALIAS - 1))
    }

    /// A version's second node, for handles that cannot be had on the first.
    pub(crate) const fn alias_of_version(file: FileId) -> Self {
        Self(Self::of_version(file).0 | ALIAS)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node:{}", self.0)
    }
}
