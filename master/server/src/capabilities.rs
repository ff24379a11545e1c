//! Signs the right to read a version, with a key that changes each day and follows from the cluster's root secret.
//!
//! Since the keys follow from a replicated secret and the date, a restart or a new leader changes none of them.

use forebay_types::{BlockCapability, CapabilityKey, Rights, Timestamp, VersionDescriptor};

use crate::limits::CAPABILITY_LIFETIME;

const SECONDS_PER_DAY: i64 = 24 * 3600;

/// The signer of one cluster.
#[derive(Debug)]
pub(crate) struct Capabilities {
    root: RootSecret,
}

struct RootSecret([u8; 32]);

impl Capabilities {
    pub(crate) const fn new(root: [u8; 32]) -> Self {
        Self { root: RootSecret(root) }
    }

    /// The right to read `version` from `now` on.
    pub(crate) fn sign(&self, version: &VersionDescriptor, now: Timestamp) -> BlockCapability {
        let lifetime = i64::try_from(CAPABILITY_LIFETIME.as_nanos()).expect("half a day");
        let expires_at = Timestamp::from_nanos(now.nanos().saturating_add(lifetime));
        CapabilityKey::derive(&self.root.0, day(now)).sign(version, Rights::Read, expires_at)
    }

    /// The keys that workers must know at `now`: of yesterday, of today and of tomorrow.
    pub(crate) fn keys(&self, now: Timestamp) -> [CapabilityKey; 3] {
        let today = day(now);
        [today.saturating_sub(1), today, today.saturating_add(1)]
            .map(|id| CapabilityKey::derive(&self.root.0, id))
    }
}

/// Days since 1970; a clock that stands before that counts as its first day.
fn day(now: Timestamp) -> u64 {
    u64::try_from(now.seconds().div_euclid(SECONDS_PER_DAY)).unwrap_or(0)
}

impl std::fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forebay_types::{ByteCount, FileId, Fingerprint, Incarnation, MountId, UnderStoreKey};

    #[test]
    fn a_capability_is_known_to_workers_for_its_whole_life() {
        let capabilities = Capabilities::new([3; 32]);
        let version = VersionDescriptor {
            file: FileId { incarnation: Incarnation::new(1), counter: 2 },
            mount: MountId::new(1),
            key: UnderStoreKey::new(*b"k").expect("short"),
            fingerprint: Fingerprint {
                tag: Some("t".into()),
                version_id: None,
                length: ByteCount::new(1),
                modified: Timestamp::default(),
                local: None,
            },
            block_length: ByteCount::new(1 << 26),
        };
        let signed_at = Timestamp::from_parts(10 * SECONDS_PER_DAY + SECONDS_PER_DAY - 1, 0);
        let capability = capabilities.sign(&version, signed_at);
        let later = Timestamp::from_parts(11 * SECONDS_PER_DAY + 11 * 3600, 0);
        let key = capabilities
            .keys(later)
            .into_iter()
            .find(|key| key.id == capability.key_id)
            .expect("still listed");
        assert_eq!(key.verify(&capability, &version, later), Ok(()));
    }
}
