//! Where an under-store and an object in it are: `s3://bucket/prefix`, `file:///dir`, and a key below.
//!
//! Invariant: a [`UnderStoreUri`] has no empty part, no `.` or `..`, and no trailing slash, so that two of them can
//! be compared for overlap part by part.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{KEY_LENGTH_MAX, URI_LENGTH_MAX};

/// The kinds of under-store that this version can mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum UnderStoreScheme {
    /// A directory of the machine, at the same path on every master and worker.
    File,
    /// A bucket of S3 or of a server that speaks its protocol.
    S3,
}

/// The root of a mount: scheme, authority (a bucket; empty for `file`) and path (no leading or trailing slash).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnderStoreUri {
    scheme: UnderStoreScheme,
    authority: String,
    path: String,
}

/// The key of an object or file, relative to the mount's URI; no leading slash. Bytes, since a file name need not be
/// UTF-8. Empty for the mount's own root.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnderStoreKey(Box<[u8]>);

/// Text that is no URI of an under-store.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// No `scheme://`.
    #[error("`{0}` is no URI of an under-store: write s3://BUCKET/PREFIX or file:///DIR")]
    NoScheme(String),
    /// A scheme that this version cannot mount.
    #[error("`{uri}` has the scheme `{scheme}`, which this version cannot mount: it knows s3 and file")]
    UnknownScheme {
        /// The URI as it was given.
        uri: String,
        /// Its scheme.
        scheme: String,
    },
    /// `s3:///key`, or `file://host/dir`.
    #[error("`{uri}` {problem}")]
    Authority {
        /// The URI as it was given.
        uri: String,
        /// What is wrong with its authority.
        problem: &'static str,
    },
    /// A part of the path is empty, `.` or `..`, or has a zero byte.
    #[error("`{0}` has a part that is empty, `.`, `..` or has a zero byte")]
    Part(String),
    /// More bytes than [`URI_LENGTH_MAX`] or [`KEY_LENGTH_MAX`].
    #[error("a URI or key of {0} bytes is too long")]
    TooLong(usize),
}

impl UnderStoreUri {
    /// The kind of under-store.
    #[must_use]
    pub const fn scheme(&self) -> UnderStoreScheme {
        self.scheme
    }

    /// The bucket; empty for `file`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The prefix or directory, without leading or trailing slash; empty for a whole bucket.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether one of the two is the other or lies below it: mounting both would show an object twice.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let parts = |uri: &Self| {
            uri.path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let (ours, theirs) = (parts(self), parts(other));
        self.scheme == other.scheme
            && self.authority == other.authority
            && (ours.starts_with(&theirs) || theirs.starts_with(&ours))
    }

    /// The URI of the object at `key` below this one, for people: bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn display_key(&self, key: &UnderStoreKey) -> String {
        if key.as_bytes().is_empty() {
            return self.to_string();
        }
        let base = self.to_string();
        let base = base.strip_suffix('/').unwrap_or(&base);
        format!("{base}/{key}")
    }
}

impl FromStr for UnderStoreUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let uri = text.to_owned();
        if text.len() > URI_LENGTH_MAX {
            return Err(UriError::TooLong(text.len()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(UriError::NoScheme(uri));
        };
        let scheme = match scheme {
            "file" => UnderStoreScheme::File,
            "s3" => UnderStoreScheme::S3,
            other => return Err(UriError::UnknownScheme { scheme: other.to_owned(), uri }),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        match (scheme, authority) {
            (UnderStoreScheme::S3, "") => {
                return Err(UriError::Authority { uri, problem: "names no bucket" });
            }
            (UnderStoreScheme::File, host) if !host.is_empty() => {
                return Err(UriError::Authority {
                    uri,
                    problem: "names a host; write file:///DIR with three slashes",
                });
            }
            _ => {}
        }
        let path = path.trim_end_matches('/');
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
        if !path.is_empty() && path.split('/').any(bad) {
            return Err(UriError::Part(uri));
        }
        Ok(Self { scheme, authority: authority.to_owned(), path: path.to_owned() })
    }
}

impl fmt::Display for UnderStoreScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::S3 => "s3",
        })
    }
}

impl fmt::Display for UnderStoreUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)?;
        if self.path.is_empty() && self.scheme == UnderStoreScheme::S3 {
            return Ok(());
        }
        write!(f, "/{}", self.path)
    }
}

impl UnderStoreKey {
    /// Checks and wraps `bytes`.
    ///
    /// # Errors
    /// [`UriError::TooLong`] beyond [`KEY_LENGTH_MAX`] bytes plus the longest prefix.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, UriError> {
        let bytes = bytes.into();
        if bytes.len() > KEY_LENGTH_MAX + URI_LENGTH_MAX {
            return Err(UriError::TooLong(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The bare bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key of the entry `name` in the directory that this key names.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        if self.0.is_empty() {
            return Self(name.into());
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self(bytes.into_boxed_slice())
    }
}

impl fmt::Display for UnderStoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for UnderStoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> UnderStoreUri {
        text.parse().expect("a legal URI")
    }

    #[test]
    fn uris_are_read_and_shown_alike() {
        for text in ["s3://bucket", "s3://bucket/a/b", "file:///data", "file:///"] {
            assert_eq!(uri(text).to_string(), text);
        }
        assert_eq!(uri("s3://bucket/a/").to_string(), "s3://bucket/a");
    }

    #[test]
    fn overlap_means_the_same_path_or_one_below() {
        assert!(uri("s3://b/a").overlaps(&uri("s3://b/a/c")));
        assert!(uri("s3://b").overlaps(&uri("s3://b/a")));
        assert!(!uri("s3://b/a").overlaps(&uri("s3://b/ab")));
        assert!(!uri("s3://b/a").overlaps(&uri("s3://c/a")));
    }

    #[test]
    fn what_is_no_uri_is_refused_with_the_way_out() {
        for text in ["data", "s3:///key", "file://host/dir", "file:///a/../b", "s3://b/a//c", "ftp://x/y"] {
            assert!(text.parse::<UnderStoreUri>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_joined_by_a_slash() {
        let root = UnderStoreKey::default();
        assert_eq!(root.join(b"a").join(b"b").as_bytes(), b"a/b");
        assert_eq!(uri("s3://bucket").display_key(&root.join(b"a")), "s3://bucket/a");
        assert_eq!(uri("file:///").display_key(&root.join(b"a")), "file:///a");
    }
}
