//! An absolute path of the namespace, in the one form that compares equal when it means the same.
//!
//! Invariant: `/`, or `/name/name` with legal names; no `.`, no `..`, no trailing slash.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::PATH_LENGTH_MAX;
use crate::name::{EntryName, NameError};

/// A normal path of the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamespacePath(Vec<EntryName>);

/// Text that is no path of the namespace. The message names the path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// No leading slash.
    #[error("`{0}` is relative; a namespace path begins with `/`")]
    Relative(String),
    /// A part is `.` or `..` or otherwise no name.
    #[error("`{path}` is no namespace path: {source}")]
    Name {
        /// The path as it was given.
        path: String,
        /// What is wrong with the part.
        source: NameError,
    },
    /// More bytes than [`PATH_LENGTH_MAX`].
    #[error("a path of {0} bytes is longer than {PATH_LENGTH_MAX}")]
    TooLong(usize),
}

impl NamespacePath {
    /// The path `/`.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Reads a path. Several slashes in a row and one at the end are taken as one and none.
    ///
    /// # Errors
    /// [`PathError`] when it is relative, too long, or a part is no legal name.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let shown = || String::from_utf8_lossy(bytes).into_owned();
        if bytes.len() > PATH_LENGTH_MAX {
            return Err(PathError::TooLong(bytes.len()));
        }
        let Some(rest) = bytes.strip_prefix(b"/") else {
            return Err(PathError::Relative(shown()));
        };
        rest.split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty())
            .map(|part| EntryName::new(part).map_err(|source| PathError::Name { path: shown(), source }))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The names from the root down.
    #[must_use]
    pub fn names(&self) -> &[EntryName] {
        &self.0
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `self` is `other` or lies below it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The path of the directory that holds this one; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, above)| Self(above.to_vec()))
    }

    /// The path one name further down.
    #[must_use]
    pub fn join(&self, name: EntryName) -> Self {
        let mut names = self.0.clone();
        names.push(name);
        Self(names)
    }

    /// What the path becomes when `from` is moved to `to`; `None` for one that does not lie there.
    #[must_use]
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        let below = self.0.strip_prefix(&from.0[..])?;
        Some(Self([&to.0[..], below].concat()))
    }

    /// The path as bytes, for the wire and the kernel.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return b"/".to_vec();
        }
        self.0.iter().flat_map(|name| std::iter::once(b'/').chain(name.as_bytes().iter().copied())).collect()
    }
}

impl fmt::Display for NamespacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

impl std::str::FromStr for NamespacePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> NamespacePath {
        text.parse().expect("a legal path")
    }

    #[test]
    fn slashes_in_a_row_and_at_the_end_do_not_count() {
        assert_eq!(path("//a///b/"), path("/a/b"));
        assert_eq!(path("/"), NamespacePath::root());
        assert_eq!(path("/a/b").to_string(), "/a/b");
    }

    #[test]
    fn relative_paths_and_dots_are_refused_by_name() {
        assert_eq!("a/b".parse::<NamespacePath>(), Err(PathError::Relative("a/b".into())));
        let refused = "/a/../b".parse::<NamespacePath>().expect_err("dots are no name");
        assert_eq!(refused.to_string(), "`/a/../b` is no namespace path: `..` is no name of an entry");
    }

    #[test]
    fn what_lies_below_a_path_moves_with_it() {
        let moved = |text: &str| path(text).moved(&path("/a/b"), &path("/c"));
        assert_eq!(moved("/a/b"), Some(path("/c")));
        assert_eq!(moved("/a/b/d/e"), Some(path("/c/d/e")));
        assert_eq!((moved("/a/bb"), moved("/a")), (None, None));
    }

    #[test]
    fn below_means_whole_names() {
        assert!(path("/a/b").starts_with(&path("/a")));
        assert!(!path("/ab").starts_with(&path("/a")));
        assert!(path("/a").starts_with(&path("/")));
    }
}
