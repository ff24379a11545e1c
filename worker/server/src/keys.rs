//! The keys that capabilities may be signed with now, as the master last listed them.

use forebay_types::{BlockCapability, CapabilityError, CapabilityKey, Timestamp, VersionDescriptor};
use parking_lot::RwLock;
use tokio::sync::watch;

/// The listed keys. A key that the master no longer lists is no longer good.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    keys: RwLock<Vec<CapabilityKey>>,
    /// Told of each list, also of one like the last.
    listed: watch::Sender<()>,
}

impl KeyTable {
    /// Takes a new list.
    pub(crate) fn replace(&self, keys: Vec<CapabilityKey>) {
        if *self.keys.read() != keys {
            *self.keys.write() = keys;
        }
        self.listed.send_replace(());
    }

    /// Forgets all keys.
    pub(crate) fn forget(&self) {
        self.keys.write().clear();
    }

    /// For who wants to wait for the next list.
    pub(crate) fn lists(&self) -> watch::Receiver<()> {
        self.listed.subscribe()
    }

    /// Whether no key was ever listed.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.read().is_empty()
    }

    /// Whether `capability` gives the right to read `version` at `now`.
    pub(crate) fn verify(
        &self,
        capability: &BlockCapability,
        version: &VersionDescriptor,
        now: Timestamp,
    ) -> Result<(), CapabilityError> {
        let keys = self.keys.read();
        let key = keys.iter().find(|key| key.id == capability.key_id);
        key.ok_or(CapabilityError::UnknownKey(capability.key_id))?.verify(capability, version, now)
    }
}
