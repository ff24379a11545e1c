//! A version as the caller names it, and the identity by which the store tells it from another of the same id.
//!
//! The index in memory keeps a digest of the identity, since millions of URIs would not fit; the index file on disk
//! has it in full. Where digests differ the bytes are dropped, so the worst that it can do is fetch again.

use std::hash::{DefaultHasher, Hash, Hasher};

use forebay_types::{FileId, Fingerprint, VersionDescriptor};

/// A version, and where its bytes come from.
#[derive(Clone, Copy, Debug)]
pub struct VersionSource<'a> {
    /// The version. Its key and fingerprint are part of the identity, its mount's number is not.
    pub descriptor: &'a VersionDescriptor,
    /// The URI of its mount, as `s3://bucket/prefix`: the identity must outlive the number of the mount.
    pub mount_uri: &'a str,
}

/// A digest of an under-store URI and fingerprint. Valid within one process only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdentityDigest(u64);

impl VersionSource<'_> {
    /// The version's id.
    pub(crate) const fn file(&self) -> FileId {
        self.descriptor.file
    }

    /// URI of the content itself. Bytes: a key need not be UTF-8.
    pub(crate) fn uri(&self) -> Vec<u8> {
        let base = self.mount_uri.strip_suffix('/').unwrap_or(self.mount_uri);
        let key = self.descriptor.key.as_bytes();
        let mut uri = Vec::with_capacity(base.len() + 1 + key.len());
        uri.extend_from_slice(base.as_bytes());
        uri.push(b'/');
        uri.extend_from_slice(key);
        uri
    }

    /// What tells this content from others of the same id.
    pub fn digest(&self) -> IdentityDigest {
        IdentityDigest::of(&self.uri(), &self.descriptor.fingerprint)
    }
}

impl IdentityDigest {
    /// The digest of what [`Fingerprint::is_same_content`] looks at: with a version id or a tag the time does not
    /// count, since servers give it in different precision.
    pub(crate) fn of(uri: &[u8], fingerprint: &Fingerprint) -> Self {
        // A new `DefaultHasher` always has the same keys, so digests can be compared within a process.
        let mut hasher = DefaultHasher::new();
        uri.hash(&mut hasher);
        fingerprint.length.hash(&mut hasher);
        match (&fingerprint.version_id, &fingerprint.tag) {
            (Some(version), _) => (1_u8, version).hash(&mut hasher),
            (None, Some(tag)) => (2_u8, tag).hash(&mut hasher),
            (None, None) => (3_u8, fingerprint.modified, fingerprint.local).hash(&mut hasher),
        }
        Self(hasher.finish())
    }

    #[cfg(test)]
    pub(crate) const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

#[cfg(test)]
mod tests {
    use forebay_types::{ByteCount, Timestamp};

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
    fn the_digest_follows_the_rule_of_same_content() {
        let digest = |uri: &[u8], print: &Fingerprint| IdentityDigest::of(uri, print);
        assert_eq!(digest(b"s3://b/k", &tagged("a", 1)), digest(b"s3://b/k", &tagged("a", 2)));
        assert_ne!(digest(b"s3://b/k", &tagged("a", 1)), digest(b"s3://b/k", &tagged("b", 1)));
        assert_ne!(digest(b"s3://b/k", &tagged("a", 1)), digest(b"s3://b/l", &tagged("a", 1)));
        let longer = Fingerprint { length: ByteCount::new(4), ..tagged("a", 1) };
        assert_ne!(digest(b"s3://b/k", &tagged("a", 1)), digest(b"s3://b/k", &longer));
    }
}
