//! The version ids that a versioned bucket told with its objects, so that a version can be read after it was replaced.
//!
//! Listings do not tell version ids, answers to reads do. What is remembered is a hint: the answer to a request that
//! uses it is checked like any other. Bounded: the older half goes.

use std::collections::HashMap;

use forebay_types::{Fingerprint, UnderStoreKey};
use parking_lot::Mutex;

use crate::limits::VERSION_IDS_MAX;

/// What is remembered of one bucket.
#[derive(Debug, Default)]
pub(super) struct VersionIds {
    /// Held for a few steps only.
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Version, String>,
    old: HashMap<Version, String>,
}

/// A content: its key and tag.
type Version = (UnderStoreKey, String);

impl VersionIds {
    /// The server has said what `found` is, which lies at `key`.
    pub(super) fn learn(&self, key: &UnderStoreKey, found: &Fingerprint) {
        let (Some(tag), Some(id)) = (&found.tag, &found.version_id) else { return };
        let version = (key.clone(), tag.clone());
        let mut generations = self.generations.lock();
        if generations.young.get(&version) == Some(id) {
            return;
        }
        if generations.young.len() >= VERSION_IDS_MAX / 2 {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(version, id.clone());
    }

    /// The id of a version, if it was ever told.
    pub(super) fn of(&self, key: &UnderStoreKey, version: &Fingerprint) -> Option<String> {
        let version = (key.clone(), version.tag.clone()?);
        let generations = self.generations.lock();
        generations.young.get(&version).or_else(|| generations.old.get(&version)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::{ByteCount, Timestamp};

    use super::*;

    fn key(text: &str) -> UnderStoreKey {
        UnderStoreKey::new(text.as_bytes()).expect("short")
    }

    fn version(tag: &str, id: Option<&str>) -> Fingerprint {
        Fingerprint {
            tag: Some(tag.to_owned()),
            version_id: id.map(str::to_owned),
            length: ByteCount::new(1),
            modified: Timestamp::default(),
            local: None,
        }
    }

    #[test]
    fn an_id_is_of_one_content_at_one_key() {
        let ids = VersionIds::default();
        ids.learn(&key("a"), &version("t", Some("1")));
        ids.learn(&key("a"), &version("u", None));
        assert_eq!(ids.of(&key("a"), &version("t", None)).as_deref(), Some("1"));
        assert_eq!(ids.of(&key("a"), &version("u", None)), None);
        assert_eq!(ids.of(&key("b"), &version("t", None)), None);
        ids.learn(&key("a"), &version("t", Some("2")));
        assert_eq!(ids.of(&key("a"), &version("t", None)).as_deref(), Some("2"), "written again");
    }

    #[test]
    fn the_newest_stay_within_the_maximum() {
        let ids = VersionIds::default();
        for number in 0..2 * VERSION_IDS_MAX {
            ids.learn(&key(&number.to_string()), &version("t", Some("1")));
        }
        let generations = ids.generations.lock();
        assert!(generations.young.len() + generations.old.len() <= VERSION_IDS_MAX);
        drop(generations);
        let last = key(&(2 * VERSION_IDS_MAX - 1).to_string());
        assert!(ids.of(&last, &version("t", None)).is_some());
    }
}
