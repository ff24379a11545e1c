//! Entries for the unit tests of this crate.

use forebay_client::Entry;
use forebay_types::{
    BLOCK_LENGTH_DEFAULT, ByteCount, CapabilityKey, EntryKind, FileId, Fingerprint, Incarnation, InodeId,
    MountId, Rights, Timestamp, UnderStoreKey, VersionDescriptor,
};
use prometheus::IntGauge;

use crate::attributes::Appearance;
use crate::nodes::{Facts, NodeTable};
use crate::settings::FuseOptions;
use crate::ttl::TtlRule;

/// A directory that no under-store has, such as the namespace's root.
pub(crate) fn directory(inode: u64) -> Entry {
    Entry {
        inode: InodeId::new(inode),
        kind: EntryKind::Directory,
        mode: None,
        uid: None,
        gid: None,
        modified: Timestamp::from_nanos(0),
        version: None,
        symlink_target: Vec::new(),
        cached: ByteCount::ZERO,
        under_store_uri: String::new(),
        directory: InodeId::ROOT,
        own_grant: false,
    }
}

/// A symbolic link of an under-store.
pub(crate) fn symlink(inode: u64, target: &[u8]) -> Entry {
    Entry {
        kind: EntryKind::Symlink,
        symlink_target: target.to_vec(),
        under_store_uri: format!("s3://bucket/{inode}"),
        ..directory(inode)
    }
}

/// A file of an under-store, in the version `counter`.
pub(crate) fn file(inode: u64, counter: u64, length: u64) -> Entry {
    let descriptor = VersionDescriptor {
        file: FileId { incarnation: Incarnation::new(1), counter },
        mount: MountId::new(1),
        key: UnderStoreKey::new(*b"key").expect("short"),
        fingerprint: Fingerprint {
            tag: Some(counter.to_string()),
            version_id: None,
            length: ByteCount::new(length),
            modified: Timestamp::from_nanos(0),
            local: None,
        },
        block_length: ByteCount::new(BLOCK_LENGTH_DEFAULT),
    };
    let end = Timestamp::from_nanos(i64::MAX);
    let capability = CapabilityKey::new(1, [7; 32]).sign(&descriptor, Rights::Read, end);
    Entry {
        kind: EntryKind::File,
        version: Some((descriptor, capability)),
        under_store_uri: format!("s3://bucket/{inode}"),
        ..directory(inode)
    }
}

/// A node table whose root is inode 1, and the gauge that counts its nodes.
pub(crate) fn node_table() -> (NodeTable<u32>, IntGauge) {
    let live = IntGauge::new("nodes", "of a test").expect("legal");
    let validity = TtlRule::default().validity(std::time::Instant::now(), std::time::Duration::ZERO);
    let appearance = Appearance::new(&FuseOptions::default());
    (NodeTable::new(&directory(1), validity, appearance, live.clone()).expect("a directory"), live)
}

/// What a node of the entry remembers.
pub(crate) fn facts(entry: &Entry) -> Facts {
    node_table().0.facts(entry)
}
