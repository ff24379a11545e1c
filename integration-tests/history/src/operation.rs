//! What a client can ask of the namespace, and what it can be told.

use std::collections::BTreeSet;
use std::fmt;

/// A client of a history, by its number.
pub type ClientId = u32;
/// The permission bits of a directory. Each that is set in a history is new, so that they also tell which write is seen.
pub type Mode = u16;
/// The id of a directory.
pub type Inode = u64;

/// The id of the root.
pub const ROOT: Inode = 1;

/// What was asked. Paths are absolute and have no slash at their end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Make a directory.
    MakeDirectory {
        /// Where.
        path: String,
        /// Its permission bits.
        mode: Mode,
    },
    /// Remove an empty directory.
    RemoveDirectory {
        /// Where.
        path: String,
    },
    /// Move a directory with all that is in it.
    Rename {
        /// From here.
        from: String,
        /// To here.
        to: String,
    },
    /// Set the permission bits.
    SetMode {
        /// Of what.
        path: String,
        /// To what.
        mode: Mode,
    },
    /// Ask for id and permission bits.
    Stat {
        /// Of what.
        path: String,
    },
    /// Ask for the names in a directory, wherever it is by now. By its id, since that is one question; from the path it would
    /// be two, with room for others between them. Only of the root and of directories whose maker was told their id.
    List {
        /// Which.
        inode: Inode,
    },
}

/// Why the namespace refused. What went wrong on the way to it is no refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// Something is there already.
    Exists,
    /// The directory, or one that leads to it, is missing.
    NotFound,
    /// Only an empty directory can go.
    NotEmpty,
    /// A directory cannot move into itself.
    IntoItself,
}

/// What was told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A directory was made, with this id.
    Made(Inode),
    /// Another change was made.
    Done,
    /// Id and permission bits.
    Seen {
        /// The id.
        inode: Inode,
        /// The permission bits.
        mode: Mode,
    },
    /// The names.
    Names(BTreeSet<String>),
}

/// How an operation ended for its client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was answered.
    Ok(Answer),
    /// It was refused and did nothing.
    Refused(Refusal),
    /// Nobody knows whether it was, or will be, carried out; with what the client was told in place of an answer.
    Unknown(String),
}

impl Operation {
    /// Whether it can change the tree.
    #[must_use]
    pub const fn is_mutation(&self) -> bool {
        !matches!(self, Self::Stat { .. } | Self::List { .. })
    }
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Exists, Self::NotFound, Self::NotEmpty, Self::IntoItself];

    /// The word for it in a history's file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::NotFound => "not-found",
            Self::NotEmpty => "not-empty",
            Self::IntoItself => "into-itself",
        }
    }
}

impl Outcome {
    /// Whether nobody knows it.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory { path, mode } => write!(f, "mkdir {path} {mode:04o}"),
            Self::RemoveDirectory { path } => write!(f, "rmdir {path}"),
            Self::Rename { from, to } => write!(f, "rename {from} {to}"),
            Self::SetMode { path, mode } => write!(f, "chmod {path} {mode:04o}"),
            Self::Stat { path } => write!(f, "stat {path}"),
            Self::List { inode } => write!(f, "list {inode}"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok(Answer::Done) => f.write_str("done"),
            Self::Ok(Answer::Made(inode)) => write!(f, "made {inode}"),
            Self::Ok(Answer::Seen { inode, mode }) => write!(f, "seen {inode} {mode:04o}"),
            Self::Ok(Answer::Names(names)) => {
                f.write_str("names")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Self::Refused(refusal) => write!(f, "refused {}", refusal.word()),
            Self::Unknown(why) => write!(f, "unknown {why}"),
        }
    }
}
