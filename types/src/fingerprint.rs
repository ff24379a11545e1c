//! What an under-store says of a content, and when two such sayings mean the same content.
//!
//! Rule: where both sides carry a tag, tag and length decide and the modification time does not, since servers give
//! it in different precision in a listing and in a response. A local file is told by device, inode and times.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::unit::{ByteCount, Timestamp};

/// The identity of a content in its under-store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint {
    /// ETag or generation, without the quotes that some servers put around it.
    pub tag: Option<String>,
    /// The version id, where the bucket is versioned: then this very version can be read for as long as it is kept.
    pub version_id: Option<String>,
    /// Length of the content.
    pub length: ByteCount,
    /// Last modification.
    pub modified: Timestamp,
    /// What a local file system adds.
    pub local: Option<LocalIdentity>,
}

/// What tells a local file from another of the same name: `stat`'s device, inode and change time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LocalIdentity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// `st_ctim`.
    pub changed: Timestamp,
}

impl Fingerprint {
    /// Whether both mean the same bytes, as far as the under-store can tell.
    #[must_use]
    pub fn is_same_content(&self, other: &Self) -> bool {
        if self.length != other.length {
            return false;
        }
        if let (Some(ours), Some(theirs)) = (&self.version_id, &other.version_id) {
            return ours == theirs;
        }
        match (&self.tag, &other.tag) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, None) => self.modified == other.modified && self.local == other.local,
            _ => false,
        }
    }

    /// A tag without the quotes that HTTP puts around it. A weak tag keeps its `W/`.
    #[must_use]
    pub fn unquoted(tag: &str) -> String {
        let (weak, quoted) = tag.strip_prefix("W/").map_or(("", tag), |rest| ("W/", rest));
        let bare = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
        format!("{weak}{bare}")
    }
}

impl fmt::Display for Fingerprint {
    /// `tag:...`, `version:...` or `file:dev:ino:mtime`, then the length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.version_id, &self.tag, &self.local) {
            (Some(version), _, _) => write!(f, "version:{version}")?,
            (_, Some(tag), _) => write!(f, "tag:{tag}")?,
            (_, _, Some(local)) => write!(
                f,
                "file:{:x}:{}:{}:{}",
                local.device,
                local.inode,
                local.changed.nanos(),
                self.modified.nanos()
            )?,
            _ => write!(f, "modified:{}", self.modified.nanos())?,
        }
        write!(f, ":{}", self.length.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(tag: &str, modified: i64) -> Fingerprint {
        Fingerprint {
            tag: Some(tag.to_owned()),
            version_id: None,
            length: ByteCount::new(3),
            modified: Timestamp::from_nanos(modified),
            local: None,
        }
    }

    #[test]
    fn with_tags_the_time_does_not_count() {
        assert!(tagged("a", 1).is_same_content(&tagged("a", 2)));
        assert!(!tagged("a", 1).is_same_content(&tagged("b", 1)));
    }

    #[test]
    fn where_both_have_a_version_id_the_tags_do_not_count() {
        let version = |id: &str, tag: &str| Fingerprint { version_id: Some(id.to_owned()), ..tagged(tag, 1) };
        assert!(!version("1", "a").is_same_content(&version("2", "a")), "the same bytes were written again");
        assert!(version("1", "a").is_same_content(&version("1", "b")));
        assert!(version("1", "a").is_same_content(&tagged("a", 2)), "one has none, as in a listing");
    }

    #[test]
    fn another_length_is_another_content_even_under_one_tag() {
        let longer = Fingerprint { length: ByteCount::new(4), ..tagged("a", 1) };
        assert!(!tagged("a", 1).is_same_content(&longer));
    }

    #[test]
    fn a_local_file_rewritten_within_the_same_second_is_another_content() {
        let local = LocalIdentity { device: 1, inode: 2, changed: Timestamp::from_nanos(5) };
        let before = Fingerprint { tag: None, local: Some(local), ..tagged("", 1) };
        let changed = LocalIdentity { changed: Timestamp::from_nanos(6), ..local };
        assert!(!before.is_same_content(&Fingerprint { local: Some(changed), ..before.clone() }));
        assert!(before.is_same_content(&before.clone()));
    }

    #[test]
    fn a_local_file_of_which_nothing_differs_but_bytes_is_taken_for_unchanged() {
        let local = LocalIdentity { device: 1, inode: 2, changed: Timestamp::from_nanos(5) };
        let before = Fingerprint { tag: None, local: Some(local), ..tagged("", 1) };
        // A length that differs is told even within one tick of the clock.
        let longer = Fingerprint { length: ByteCount::new(4), ..before.clone() };
        assert!(before.is_same_content(&before.clone()) && !before.is_same_content(&longer));
    }

    #[test]
    fn quotes_are_no_part_of_a_tag() {
        assert_eq!(Fingerprint::unquoted("\"abc\""), "abc");
        assert_eq!(Fingerprint::unquoted("abc"), "abc");
        assert_eq!(Fingerprint::unquoted("W/\"abc\""), "W/abc");
    }
}
