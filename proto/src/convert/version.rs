//! Twins of what names and describes a version, and of the right to read it.

use forebay_types::limits::TAG_LENGTH_MAX;
use forebay_types::{
    BlockCapability, ByteCount, EntryKind, FileId, Fingerprint, Incarnation, LocalIdentity, MountId,
    PAGE_LENGTH, Principal, Rights, Timestamp, UnderStoreKey, VersionDescriptor, limits,
};

use super::WireDefect;
use crate::v1;

impl From<FileId> for v1::FileId {
    fn from(file: FileId) -> Self {
        Self { incarnation: file.incarnation.get(), counter: file.counter }
    }
}

impl From<v1::FileId> for FileId {
    fn from(file: v1::FileId) -> Self {
        Self { incarnation: Incarnation::new(file.incarnation), counter: file.counter }
    }
}

impl From<&Fingerprint> for v1::Fingerprint {
    fn from(fingerprint: &Fingerprint) -> Self {
        Self {
            tag: fingerprint.tag.clone(),
            version_id: fingerprint.version_id.clone(),
            length: fingerprint.length.get(),
            modified_nanos: fingerprint.modified.nanos(),
            local: fingerprint.local.map(|local| v1::LocalIdentity {
                device: local.device,
                inode: local.inode,
                changed_nanos: local.changed.nanos(),
            }),
        }
    }
}

impl TryFrom<v1::Fingerprint> for Fingerprint {
    type Error = WireDefect;

    fn try_from(fingerprint: v1::Fingerprint) -> Result<Self, WireDefect> {
        let too_long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.len() > TAG_LENGTH_MAX);
        if too_long(&fingerprint.tag) || too_long(&fingerprint.version_id) {
            return Err(WireDefect::invalid("fingerprint")(&"tag too long"));
        }
        if fingerprint.length > limits::FILE_LENGTH_MAX {
            return Err(WireDefect::invalid("fingerprint")(&"longer than the longest file"));
        }
        Ok(Self {
            tag: fingerprint.tag,
            version_id: fingerprint.version_id,
            length: ByteCount::new(fingerprint.length),
            modified: Timestamp::from_nanos(fingerprint.modified_nanos),
            local: fingerprint.local.map(|local| LocalIdentity {
                device: local.device,
                inode: local.inode,
                changed: Timestamp::from_nanos(local.changed_nanos),
            }),
        })
    }
}

impl From<&VersionDescriptor> for v1::VersionDescriptor {
    fn from(version: &VersionDescriptor) -> Self {
        Self {
            file: Some(version.file.into()),
            mount: version.mount.get(),
            key: version.key.as_bytes().to_vec().into(),
            fingerprint: Some((&version.fingerprint).into()),
            block_length: version.block_length.get(),
        }
    }
}

impl TryFrom<v1::VersionDescriptor> for VersionDescriptor {
    type Error = WireDefect;

    fn try_from(version: v1::VersionDescriptor) -> Result<Self, WireDefect> {
        if !version.block_length.is_power_of_two() || version.block_length < PAGE_LENGTH {
            return Err(WireDefect::invalid("block_length")(&"no power of two of at least a page"));
        }
        Ok(Self {
            file: WireDefect::required("file", version.file)?.into(),
            mount: MountId::new(version.mount),
            key: UnderStoreKey::new(version.key.to_vec())
                .map_err(|error| WireDefect::invalid("key")(&error))?,
            fingerprint: WireDefect::required("fingerprint", version.fingerprint)?.try_into()?,
            block_length: ByteCount::new(version.block_length),
        })
    }
}

impl From<&BlockCapability> for v1::BlockCapability {
    fn from(capability: &BlockCapability) -> Self {
        Self {
            key_id: capability.key_id,
            rights: match capability.rights {
                Rights::Read => v1::Rights::Read,
            }
            .into(),
            expires_at_nanos: capability.expires_at.nanos(),
            mac: capability.mac.to_vec().into(),
        }
    }
}

impl TryFrom<v1::BlockCapability> for BlockCapability {
    type Error = WireDefect;

    fn try_from(capability: v1::BlockCapability) -> Result<Self, WireDefect> {
        Ok(Self {
            key_id: capability.key_id,
            rights: match capability.rights() {
                v1::Rights::Read => Rights::Read,
                v1::Rights::Unspecified => return Err(WireDefect::Missing("rights")),
            },
            expires_at: Timestamp::from_nanos(capability.expires_at_nanos),
            mac: capability.mac[..].try_into().map_err(|error| WireDefect::invalid("mac")(&error))?,
        })
    }
}

impl From<&Principal> for v1::Principal {
    fn from(principal: &Principal) -> Self {
        Self { name: principal.name.clone(), uid: principal.uid, gids: principal.gids.clone() }
    }
}

impl TryFrom<v1::Principal> for Principal {
    type Error = WireDefect;

    fn try_from(principal: v1::Principal) -> Result<Self, WireDefect> {
        if principal.name.len() > limits::PRINCIPAL_LENGTH_MAX {
            return Err(WireDefect::invalid("principal")(&"name too long"));
        }
        Ok(Self { name: principal.name, uid: principal.uid, gids: principal.gids })
    }
}

impl From<EntryKind> for v1::EntryKind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::File => Self::File,
            EntryKind::Directory => Self::Directory,
            EntryKind::Symlink => Self::Symlink,
        }
    }
}

impl TryFrom<v1::EntryKind> for EntryKind {
    type Error = WireDefect;

    fn try_from(kind: v1::EntryKind) -> Result<Self, WireDefect> {
        match kind {
            v1::EntryKind::File => Ok(Self::File),
            v1::EntryKind::Directory => Ok(Self::Directory),
            v1::EntryKind::Symlink => Ok(Self::Symlink),
            v1::EntryKind::Unspecified => Err(WireDefect::Missing("kind")),
        }
    }
}
