//! Questions about what is on its way out.

use std::collections::BTreeMap;

use forebay_metadata::store::{MemoryStore, StateWriter};
use forebay_metadata::{
    ApplyListing, Command, Format, ListedEntry, Mount, MountOptions, Proposal, Success, Unmount, apply,
};
use forebay_types::{
    ByteCount, ClusterId, ErrorKind, Fingerprint, Incarnation, LogIndex, NamespacePath, Timestamp,
    UnderStoreUri,
};

use super::*;

/// A state in memory that nobody reaps.
struct Log {
    store: MemoryStore,
    index: LogIndex,
}

impl Log {
    fn apply(&mut self, command: Command) -> Success {
        self.index = self.index.next();
        let proposal = Proposal { issued_at: Timestamp::default(), session: None, command };
        let applied = apply(&self.store, self.index, &proposal).expect("readable");
        self.store.commit(applied.mutations).expect("written");
        applied.reply.expect("accepted")
    }
}

#[test]
fn what_waits_for_the_reaper_after_an_unmount_does_not_exist_any_more() {
    let mut log = Log { store: MemoryStore::new(), index: LogIndex::new(0) };
    let cluster = ClusterId::new([1; 16]);
    log.apply(Command::Format(Format {
        cluster,
        incarnation: Incarnation::new(1),
        capability_secret: [1; 32],
    }));
    let path: NamespacePath = "/data".parse().expect("legal");
    let uri: UnderStoreUri = "s3://bucket".parse().expect("legal");
    let options = MountOptions { options: BTreeMap::new(), ..MountOptions::default() };
    log.apply(Command::Mount(Mount { path: path.clone(), uri, options }));
    let data = query::resolve(&log.store, &path).expect("readable").inode;
    let name = EntryName::new(*b"f").expect("legal");
    let fingerprint = Fingerprint {
        tag: Some("t".to_owned()),
        version_id: None,
        length: ByteCount::new(1),
        modified: Timestamp::default(),
        local: None,
    };
    let entry = ListedEntry {
        name: name.clone(),
        kind: EntryKind::File,
        key: None,
        fingerprint,
        mode: None,
        uid: None,
        gid: None,
        symlink_target: None,
    };
    let (directory, begun_at) = (data.id, log.index);
    let listing =
        ApplyListing { directory, begun_at, upserts: vec![entry], removals: Vec::new(), complete: true };
    log.apply(Command::ApplyListing(listing));
    let file = query::lookup(&log.store, data.id, &name).expect("readable").expect("listed");
    assert!(file_in_mount(&log.store, file.id).is_ok());
    assert!(living(&log.store, data.id).is_ok_and(|(_, mount)| mount.is_some()));
    log.apply(Command::Unmount(Unmount { path }));
    let left = existing(&log.store, data.id).expect("not reaped yet");
    let directory = Place::of(&log.store, left, None).err().expect("unmounted");
    let file = file_in_mount(&log.store, file.id).expect_err("unmounted");
    assert_eq!((directory.kind(), file.kind()), (ErrorKind::NotFound, ErrorKind::NotFound));
    let root = living(&log.store, data.id).expect_err("unmounted");
    assert_eq!(root.kind(), ErrorKind::NotFound, "its attributes are those of nothing");
    assert!(living(&log.store, InodeId::ROOT).is_ok_and(|(_, mount)| mount.is_none()));
}
