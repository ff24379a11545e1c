//! A block capability: the master's word, which a worker can check alone, that its bearer may use a version.
//!
//! It is an HMAC-SHA-256 (RFC 2104) over a version's descriptor, rights and expiry under a key that masters and
//! workers share and rotate. A client can neither forge one nor move one to another version, so it never needs the
//! under-store's credentials, and a worker never fetches a key that the master did not name.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thiserror::Error;

use crate::principal::Rights;
use crate::unit::Timestamp;
use crate::version::VersionDescriptor;

/// A shared secret and its number. Debug output hides the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityKey {
    /// The number that capabilities name their key by.
    pub id: u64,
    secret: [u8; 32],
}

/// The right to use one version until a point in time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockCapability {
    /// The key it was signed with.
    pub key_id: u64,
    /// What it allows.
    pub rights: Rights,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The signature.
    pub mac: [u8; 32],
}

/// Why a capability is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CapabilityError {
    /// It is over: the client asks the master for a new one.
    #[error("the block capability is over; open the file again")]
    Expired,
    /// Its key is not known here (any more, or yet).
    #[error("the block capability was signed with key {0}, which this worker does not have")]
    UnknownKey(u64),
    /// The signature does not fit the version.
    #[error("the block capability does not belong to this version")]
    Forged,
}

impl CapabilityKey {
    /// Wraps 32 random bytes under a number.
    #[must_use]
    pub const fn new(id: u64, secret: [u8; 32]) -> Self {
        Self { id, secret }
    }

    /// The key of number `id` among those that a cluster draws from one root secret.
    #[must_use]
    pub fn derive(root: &[u8; 32], id: u64) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(root).expect("HMAC takes keys of any length");
        mac.update(b"forebay.capability-key.1");
        mac.update(&id.to_le_bytes());
        Self::new(id, mac.finalize().into_bytes().into())
    }

    /// The secret, to be sent to workers only.
    #[must_use]
    pub const fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Signs the right to use `version` until `expires_at`.
    #[must_use]
    pub fn sign(
        &self,
        version: &VersionDescriptor,
        rights: Rights,
        expires_at: Timestamp,
    ) -> BlockCapability {
        let mac = self.mac(version, rights, expires_at).finalize().into_bytes().into();
        BlockCapability { key_id: self.id, rights, expires_at, mac }
    }

    /// Checks that `capability` was signed with this key for `version` and is not over at `now`.
    ///
    /// # Errors
    /// [`CapabilityError`], the forged case last, so that an honest client learns what to do.
    pub fn verify(
        &self,
        capability: &BlockCapability,
        version: &VersionDescriptor,
        now: Timestamp,
    ) -> Result<(), CapabilityError> {
        if capability.key_id != self.id {
            return Err(CapabilityError::UnknownKey(capability.key_id));
        }
        if capability.expires_at < now {
            return Err(CapabilityError::Expired);
        }
        self.mac(version, capability.rights, capability.expires_at)
            .verify_slice(&capability.mac)
            .map_err(|_| CapabilityError::Forged)
    }

    /// Each part goes in with its length before it, so that no two versions give the same bytes.
    fn mac(&self, version: &VersionDescriptor, rights: Rights, expires_at: Timestamp) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        let mut part = |bytes: &[u8]| {
            mac.update(&(bytes.len() as u64).to_le_bytes());
            mac.update(bytes);
        };
        let fingerprint = &version.fingerprint;
        part(b"forebay.capability.1");
        part(&version.file.incarnation.get().to_le_bytes());
        part(&version.file.counter.to_le_bytes());
        part(&version.mount.get().to_le_bytes());
        part(version.key.as_bytes());
        part(fingerprint.tag.as_deref().unwrap_or_default().as_bytes());
        part(fingerprint.version_id.as_deref().unwrap_or_default().as_bytes());
        part(&fingerprint.length.get().to_le_bytes());
        part(&fingerprint.modified.nanos().to_le_bytes());
        if let Some(local) = &fingerprint.local {
            part(&local.device.to_le_bytes());
            part(&local.inode.to_le_bytes());
            part(&local.changed.nanos().to_le_bytes());
        }
        part(&version.block_length.get().to_le_bytes());
        part(match rights {
            Rights::Read => b"read",
        });
        part(&expires_at.nanos().to_le_bytes());
        mac
    }
}

impl fmt::Debug for CapabilityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapabilityKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ByteCount, FileId, Fingerprint, Incarnation, MountId, UnderStoreKey};

    fn version(counter: u64) -> VersionDescriptor {
        VersionDescriptor {
            file: FileId { incarnation: Incarnation::new(1), counter },
            mount: MountId::new(1),
            key: UnderStoreKey::new(*b"a").expect("short"),
            fingerprint: Fingerprint {
                tag: None,
                version_id: None,
                length: ByteCount::new(1),
                modified: Timestamp::from_nanos(1),
                local: None,
            },
            block_length: ByteCount::new(crate::BLOCK_LENGTH_DEFAULT),
        }
    }

    #[test]
    fn a_capability_serves_its_own_version_until_it_ends() {
        let key = CapabilityKey::new(7, [9; 32]);
        let end = Timestamp::from_nanos(100);
        let capability = key.sign(&version(1), Rights::Read, end);
        assert_eq!(key.verify(&capability, &version(1), end), Ok(()));
        assert_eq!(key.verify(&capability, &version(2), end), Err(CapabilityError::Forged));
        let later = Timestamp::from_nanos(101);
        assert_eq!(key.verify(&capability, &version(1), later), Err(CapabilityError::Expired));
        let longer = BlockCapability { expires_at: Timestamp::from_nanos(200), ..capability };
        assert_eq!(key.verify(&longer, &version(1), later), Err(CapabilityError::Forged));
    }

    #[test]
    fn another_key_is_named_and_the_secret_is_never_shown() {
        let capability =
            CapabilityKey::new(7, [9; 32]).sign(&version(1), Rights::Read, Timestamp::from_nanos(1));
        let other = CapabilityKey::new(8, [9; 32]);
        let refused = other.verify(&capability, &version(1), Timestamp::default());
        assert_eq!(refused, Err(CapabilityError::UnknownKey(7)));
        assert!(!format!("{other:?}").contains('9'));
    }
}
