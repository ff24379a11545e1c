//! What the tests of this crate share: a state that checks itself after each entry, and short words for its parts.

use std::collections::BTreeMap;

use forebay_types::{
    ByteCount, ClusterId, EntryKind, EntryName, FileId, Fingerprint, Incarnation, InodeId, LogIndex,
    NamespacePath, Sequence, SessionId, Timestamp, UnderStoreUri,
};

use crate::command::{
    ApplyListing, Command, ForgetDirectory, Format, ListedEntry, MakeDirectory, Mount, Reap, RemoveDirectory,
    Rename, SupersedeVersion, Unmount,
};
use crate::limits::REAP_LIMIT_MAX;
use crate::store::{MemoryStore, StateReader, StateWriter};
use crate::{
    Effect, MountOptions, Proposal, Reply, SessionStamp, Success, apply, invariant, query, snapshot,
};

/// A state in memory and the log that led to it.
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    pub(crate) effects: Vec<Effect>,
    pub(crate) log: Vec<(LogIndex, Proposal)>,
    pub(crate) clock: i64,
}

impl World {
    pub(crate) fn empty() -> Self {
        Self { store: MemoryStore::new(), effects: Vec::new(), log: Vec::new(), clock: 1000 }
    }

    pub(crate) fn formatted() -> Self {
        let mut world = Self::empty();
        world.apply(Command::Format(format(1))).unwrap();
        world
    }

    /// A state with one mount at `/data`, and its root.
    pub(crate) fn mounted() -> (Self, InodeId) {
        let mut world = Self::formatted();
        world.mount("/data", "s3://bucket").unwrap();
        let root = world.at("/data").unwrap();
        (world, root)
    }

    pub(crate) fn reader(&self) -> &dyn StateReader {
        &self.store
    }

    /// The index of the last entry.
    pub(crate) fn index(&self) -> LogIndex {
        LogIndex::new(self.log.len() as u64)
    }

    pub(crate) fn apply(&mut self, command: Command) -> Reply {
        self.propose(None, command)
    }

    pub(crate) fn propose(&mut self, session: Option<SessionStamp>, command: Command) -> Reply {
        self.clock += 1;
        let proposal = Proposal { issued_at: Timestamp::from_nanos(self.clock), session, command };
        // What is applied is what the log would give back.
        let proposal = Proposal::decode(&proposal.encode().unwrap()).unwrap();
        let index = self.index().next();
        let applied = apply(&self.store, index, &proposal).unwrap();
        self.store.commit(applied.mutations).unwrap();
        self.log.push((index, proposal));
        self.effects = applied.effects;
        assert_eq!(invariant::check_all(&self.store).unwrap(), []);
        applied.reply
    }

    pub(crate) fn mount(&mut self, at: &str, uri: &str) -> Reply {
        self.apply(mount(at, uri))
    }

    pub(crate) fn make(&mut self, at: &str) -> Reply {
        self.apply(make(at, true))
    }

    pub(crate) fn remove(&mut self, at: &str) -> Reply {
        self.apply(Command::RemoveDirectory(RemoveDirectory { path: path(at) }))
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Reply {
        let (from, to) = (path(from), path(to));
        self.apply(Command::Rename(Rename { from, to, resealed: Vec::new() }))
    }

    pub(crate) fn unmount(&mut self, at: &str) -> Reply {
        self.apply(Command::Unmount(Unmount { path: path(at) }))
    }

    /// A complete listing that began just now, with all its differences.
    pub(crate) fn list(&mut self, directory: InodeId, upserts: Vec<ListedEntry>, removals: &[&str]) -> Reply {
        let begun_at = self.index();
        self.list_since(begun_at, directory, upserts, removals)
    }

    pub(crate) fn list_since(
        &mut self,
        begun_at: LogIndex,
        directory: InodeId,
        upserts: Vec<ListedEntry>,
        removals: &[&str],
    ) -> Reply {
        let removals = removals.iter().map(|text| name(text)).collect();
        self.apply(Command::ApplyListing(ApplyListing {
            directory,
            begun_at,
            upserts,
            removals,
            complete: true,
        }))
    }

    pub(crate) fn supersede(
        &mut self,
        inode: InodeId,
        seen: FileId,
        fingerprint: Option<Fingerprint>,
    ) -> Reply {
        self.apply(Command::SupersedeVersion(SupersedeVersion { inode, seen, fingerprint }))
    }

    pub(crate) fn forget(&mut self, directory: InodeId) -> Reply {
        self.apply(Command::ForgetDirectory(ForgetDirectory { directory, limit: REAP_LIMIT_MAX }))
    }

    /// Reaps in steps of `limit` until nothing is left; how many inodes went.
    pub(crate) fn reap_all(&mut self, limit: u32) -> u32 {
        let mut total = 0;
        loop {
            match self.apply(Command::Reap(Reap { limit })) {
                Ok(Success::Reaped { removed, more }) => {
                    total += removed;
                    if !more {
                        return total;
                    }
                }
                other => panic!("reaping gave {other:?}"),
            }
        }
    }

    /// The inode at a path, if all of the path exists.
    pub(crate) fn at(&self, text: &str) -> Option<InodeId> {
        let resolved = query::resolve(self.reader(), &path(text)).unwrap();
        resolved.rest.is_empty().then_some(resolved.inode.id)
    }

    /// The version of the file at a path.
    pub(crate) fn version(&self, text: &str) -> FileId {
        let inode =
            query::attributes(self.reader(), self.at(text).expect("the path exists")).unwrap().unwrap();
        inode.version().expect("a file").file
    }

    pub(crate) fn names(&self, directory: InodeId) -> Vec<String> {
        let entries = query::list(self.reader(), directory, None, 1000).unwrap();
        entries.iter().map(|inode| inode.name.as_ref().unwrap().to_string()).collect()
    }

    /// All rows but the clock's.
    pub(crate) fn rows(&self) -> Vec<snapshot::DumpedRow> {
        let rows = snapshot::dump(self.reader()).map(|row| row.unwrap());
        rows.filter(|row| row.key != b"clock").collect()
    }

    /// The versions that the last entry gave up or disowned.
    pub(crate) fn forgotten(&self) -> Vec<FileId> {
        let versions = self.effects.iter().filter_map(|effect| match effect {
            Effect::ForgetVersions(versions) | Effect::DisownVersions(versions) => Some(versions.clone()),
            _ => None,
        });
        versions.flatten().collect()
    }
}

pub(crate) fn format(seed: u8) -> Format {
    Format {
        cluster: ClusterId::new([seed; 16]),
        incarnation: Incarnation::new(1),
        capability_secret: [seed; 32],
    }
}

pub(crate) fn mount(at: &str, uri: &str) -> Command {
    Command::Mount(Mount { path: path(at), uri: self::uri(uri), options: MountOptions::default() })
}

pub(crate) fn make(at: &str, parents: bool) -> Command {
    Command::MakeDirectory(MakeDirectory { path: path(at), parents, mode: None, uid: None, gid: None })
}

pub(crate) fn path(text: &str) -> NamespacePath {
    text.parse().unwrap()
}

pub(crate) fn uri(text: &str) -> UnderStoreUri {
    text.parse().unwrap()
}

pub(crate) fn name(text: &str) -> EntryName {
    EntryName::new(text.as_bytes()).unwrap()
}

pub(crate) fn tagged(tag: &str) -> Fingerprint {
    Fingerprint {
        tag: Some(tag.to_owned()),
        version_id: None,
        length: ByteCount::new(tag.len() as u64),
        modified: Timestamp::from_nanos(5),
        local: None,
    }
}

fn entry(text: &str, kind: EntryKind, tag: &str) -> ListedEntry {
    ListedEntry {
        name: name(text),
        kind,
        key: None,
        fingerprint: tagged(tag),
        mode: None,
        uid: None,
        gid: None,
        symlink_target: None,
    }
}

pub(crate) fn file(text: &str, tag: &str) -> ListedEntry {
    entry(text, EntryKind::File, tag)
}

pub(crate) fn directory(text: &str) -> ListedEntry {
    entry(text, EntryKind::Directory, "")
}

pub(crate) fn symlink(text: &str, target: &str) -> ListedEntry {
    ListedEntry { symlink_target: Some(target.as_bytes().to_vec()), ..entry(text, EntryKind::Symlink, "") }
}

pub(crate) fn stamp(session: u64, sequence: u64, lowest_unanswered: u64) -> SessionStamp {
    SessionStamp {
        session: SessionId::new(session),
        sequence: Sequence::new(sequence),
        lowest_unanswered: Sequence::new(lowest_unanswered),
    }
}

/// What a `Listed` reply counts, as (created, changed, removed, newer, mounts).
pub(crate) fn counts(reply: Reply) -> (u32, u32, u32, u32, u32) {
    match reply {
        Ok(Success::Listed { created, changed, removed, newer, mounts }) => {
            (created, changed, removed, newer, mounts)
        }
        other => panic!("a listing gave {other:?}"),
    }
}

/// Options of a mount with one option set.
pub(crate) fn options(key: &str, value: crate::OptionValue) -> MountOptions {
    MountOptions { options: BTreeMap::from([(key.to_owned(), value)]), ..MountOptions::default() }
}
