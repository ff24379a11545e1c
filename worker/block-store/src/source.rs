//! A version as the caller names it, and the identity by which the store tells it from another of the same id.
//!
//! The index in memory keeps a digest of the identity, since millions of URIs would not fit; the index file on disk
//! has it in full. Where digests differ the bytes are dropped, so the worst that it can do is fetch again.

use forebay_types::{FileId, Fingerprint, VersionDescriptor};
use siphasher::sip::SipHasher24;

/// Bytes beside the URI that a digest is usually made of.
const DIGEST_ROOM: usize = 128;

/// A version, and where its bytes come from.
#[derive(Clone, Copy, Debug)]
pub struct VersionSource<'a> {
    /// The version. Its key and fingerprint are part of the identity, its mount's number is not.
    pub descriptor: &'a VersionDescriptor,
    /// The URI of its mount, as `s3://bucket/prefix`: the identity must outlive the number of the mount.
    pub mount_uri: &'a str,
}

/// The digests' key. No secret: a digest must be the same wherever it is made.
const DIGEST_KEY: [u64; 2] = [0, 0];

/// A digest of an under-store URI and fingerprint. Catalogues on disk have it: another way to make it is a new format of
/// theirs.
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
        let mut bytes = Vec::with_capacity(uri.len() + DIGEST_ROOM);
        bytes.extend_from_slice(&(uri.len() as u64).to_le_bytes());
        bytes.extend_from_slice(uri);
        bytes.extend_from_slice(&fingerprint.length.get().to_le_bytes());
        match (&fingerprint.version_id, &fingerprint.tag) {
            (Some(version), _) => {
                bytes.push(1);
                bytes.extend_from_slice(version.as_bytes());
            }
            (None, Some(tag)) => {
                bytes.push(2);
                bytes.extend_from_slice(tag.as_bytes());
            }
            (None, None) => {
                bytes.push(3);
                bytes.extend_from_slice(&fingerprint.modified.nanos().to_le_bytes());
                if let Some(local) = fingerprint.local {
                    bytes.extend_from_slice(&local.device.to_le_bytes());
                    bytes.extend_from_slice(&local.inode.to_le_bytes());
                    bytes.extend_from_slice(&local.changed.nanos().to_le_bytes());
                }
            }
        }
        Self(SipHasher24::new_with_keys(DIGEST_KEY[0], DIGEST_KEY[1]).hash(&bytes))
    }

    pub(crate) const fn from_number(number: u64) -> Self {
        Self(number)
    }

    pub(crate) const fn number(self) -> u64 {
        self.0
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

    #[test]
    fn the_digest_is_the_same_in_each_process_and_release() {
        let local = forebay_types::LocalIdentity { device: 1, inode: 2, changed: Timestamp::from_nanos(3) };
        let plain = Fingerprint { tag: None, ..tagged("", 7) };
        let versioned = Fingerprint { version_id: Some("v".into()), ..tagged("a", 1) };
        let local = Fingerprint { local: Some(local), ..plain.clone() };
        let digests =
            [tagged("a", 1), versioned, plain, local].map(|print| IdentityDigest::of(b"s3://b/k", &print).0);
        let expected =
            [0xd3cf_d8d3_23a7_4372, 0xb0c9_a203_a32b_826e, 0x5829_c17f_f519_4377, 0xd1ff_52d5_af36_79b6];
        assert_eq!(digests, expected);
    }
}
