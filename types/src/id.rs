//! Ids: a newtype for each thing that is counted or named, with a short `Display` for logs.
//!
//! Ids are never used twice (docs/adr/0003-ids-and-incarnations.md): whoever makes one takes it from a replicated
//! counter, and `format` and `restore` begin a new [`Incarnation`].

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a number that came from a counter, a disk or the wire.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The bare number, for a disk or the wire.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }

            /// The id after this one.
            ///
            /// # Panics
            /// When the counter is exhausted: going on would use an id twice.
            #[must_use]
            pub const fn next(self) -> Self {
                match self.0.checked_add(1) {
                    Some(value) => Self(value),
                    None => panic!(concat!("counter exhausted: ", stringify!($name))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, ":{}"), self.0)
            }
        }
    };
}

number_id!(
    /// A directory, file or symbolic link of the namespace. Drawn from the same counter as [`FileId`]'s, so that a
    /// FUSE node id made from either never collides with one made from the other.
    InodeId(u64), "ino"
);
number_id!(
    /// One life of the master's state: `format` and `restore` begin the next one.
    Incarnation(u32), "inc"
);
number_id!(
    /// A worker, given by the master at its first registration and kept in the worker's folder.
    WorkerId(u32), "worker"
);
number_id!(
    /// One under-store path attached to one namespace path.
    MountId(u32), "mount"
);
number_id!(
    /// The number of a cluster map; a higher one is newer.
    Epoch(u64), "epoch"
);
number_id!(
    /// A position in the replicated log.
    LogIndex(u64), "index"
);
number_id!(
    /// A client's conversation with the master, inside which retries are recognised.
    SessionId(u64), "session"
);
number_id!(
    /// The number of a mutation within its session, from 1.
    Sequence(u64), "seq"
);
number_id!(
    /// Long work that the cluster does by itself, from a replicated counter.
    JobId(u64), "job"
);
number_id!(
    /// A row of the replicated outbox, from a replicated counter, from 1. A later row has a higher number.
    OutboxSequence(u64), "outbox"
);
number_id!(
    /// The position of a block within its file, from 0.
    BlockIndex(u32), "block"
);

impl InodeId {
    /// The root directory of the namespace, which always exists. Also FUSE's number for it.
    pub const ROOT: Self = Self(1);
}

/// One immutable content of a file. The counter is unique within the incarnation, the pair is unique for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// The life of the master's state in which the id was made.
    pub incarnation: Incarnation,
    /// The replicated counter's value.
    pub counter: u64,
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.incarnation.get(), self.counter)
    }
}

/// One block of one version: the unit of placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockId {
    /// The version that the block is part of.
    pub file: FileId,
    /// Its position.
    pub index: BlockIndex,
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.file, self.index.get())
    }
}

/// Sixteen random bytes that name a cluster, made by `format`. Shown as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// Wraps sixteen random bytes, or those of a disk or the wire.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bare bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Names the machine (or what stands for one) that a process runs on. Equal ids mean "local to each other".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(String);

impl HostId {
    /// Wraps a configured id or the machine's own.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The bare text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
