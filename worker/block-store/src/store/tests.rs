//! The store on real directories: a fixture, and what a reader and a writer see. The folder has a file per worry.

mod adoption;
mod catalogues;
mod catalogues_lie;
mod concurrency;
mod corruption;
mod directories;
mod disks;
mod moves;
mod restart;
mod scrubbing;
mod segments;
mod space;

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use forebay_types::{
    BLOCK_LENGTH_DEFAULT, Fingerprint, GRANULE_LENGTH, Incarnation, MountId, PAGE_LENGTH, Timestamp,
    UnderStoreKey, VersionDescriptor, crc32c,
};
use tempfile::TempDir;

use super::*;
use crate::eviction::Eviction;
use crate::limits::{READ_LENGTH_MAX, SEGMENT_LENGTH_DEFAULT};
use crate::page::PageRange;
use crate::settings::{FreeFloor, TierKind, TierSettings};

const MIB: u64 = 1 << 20;
/// A prime, so that it fits no page or granule.
const PATTERN_LENGTH: u64 = 1_000_003;
const URI: &str = "s3://bucket/prefix";
const CLUSTER: ClusterId = ClusterId::new([1; 16]);

/// A store in a folder of its own.
struct Fixture {
    folder: TempDir,
    settings: StoreSettings,
}

impl Fixture {
    fn new(kind: TierKind, capacity: u64) -> Self {
        Self::with_tiers(&[(kind, capacity)])
    }

    fn with_tiers(tiers: &[(TierKind, u64)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tier = |(position, (kind, capacity)): (usize, &(TierKind, u64))| TierSettings {
            free_floor: FreeFloor::NOTHING,
            whole_file_max: ByteCount::new(*capacity),
            ..TierSettings::new(
                format!("tier{position}"),
                folder.path().join(format!("tier{position}")),
                *kind,
                ByteCount::new(*capacity),
            )
        };
        let tiers = tiers.iter().enumerate().map(tier).collect();
        Self {
            settings: StoreSettings {
                cluster: CLUSTER,
                tiers,
                eviction: Eviction::Lru,
                segment_length: SEGMENT_LENGTH_DEFAULT,
                format: false,
            },
            folder,
        }
    }

    fn open(&self) -> BlockStore {
        self.open_with_report().0
    }

    fn open_with_report(&self) -> (BlockStore, RecoveryReport) {
        BlockStore::open(self.settings.clone()).unwrap()
    }

    fn tier(&self, position: usize) -> &Path {
        &self.settings.tiers[position].directory
    }

    /// The files of the versions, data or index.
    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for tier in &self.settings.tiers {
            for folder in fs::read_dir(tier.directory.join("blocks")).unwrap() {
                for file in fs::read_dir(folder.unwrap().path()).unwrap() {
                    let path = file.unwrap().path();
                    if path.extension().is_some_and(|found| found == extension) {
                        files.push(path);
                    }
                }
            }
        }
        files.sort();
        files
    }

    fn file(&self, extension: &str) -> PathBuf {
        let files = self.files(extension);
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

/// A content that the test can make again to compare with.
#[derive(Clone, Debug)]
struct Content {
    descriptor: VersionDescriptor,
    seed: u64,
}

impl Content {
    fn new(counter: u64, length: u64) -> Self {
        let descriptor = VersionDescriptor {
            file: FileId { incarnation: Incarnation::new(1), counter },
            mount: MountId::new(1),
            key: UnderStoreKey::new(format!("dir/file{counter}").into_bytes()).unwrap(),
            fingerprint: Fingerprint {
                tag: Some(format!("tag{counter}")),
                version_id: None,
                length: ByteCount::new(length),
                modified: Timestamp::from_nanos(5),
                local: None,
            },
            block_length: ByteCount::new(BLOCK_LENGTH_DEFAULT),
        };
        Self { descriptor, seed: counter }
    }

    fn source(&self) -> VersionSource<'_> {
        VersionSource { descriptor: &self.descriptor, mount_uri: URI }
    }

    fn file(&self) -> FileId {
        self.descriptor.file
    }

    fn length(&self) -> u64 {
        self.descriptor.length().get()
    }

    fn page_count(&self) -> u32 {
        u32::try_from(self.length().div_ceil(PAGE_LENGTH).max(1)).unwrap()
    }

    /// Bytes that differ from place to place and from content to content: a long pattern, begun elsewhere.
    fn bytes(&self, offset: u64, length: u64) -> Vec<u8> {
        static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
            (0..PATTERN_LENGTH).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 9).to_le_bytes()[0]).collect()
        });
        let end = offset.saturating_add(length).min(self.length());
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < end {
            let begin = usize::try_from((at + self.seed * 7919) % PATTERN_LENGTH).unwrap();
            let piece = &PATTERN[begin..];
            let piece = &piece[..piece.len().min(usize::try_from(end - at).unwrap())];
            bytes.extend_from_slice(piece);
            at += piece.len() as u64;
        }
        bytes
    }

    fn page(&self, page: u32) -> Vec<u8> {
        self.bytes(u64::from(page) * PAGE_LENGTH, PAGE_LENGTH)
    }

    fn put(&self, store: &BlockStore, page: u32) -> FillOutcome {
        store.put_page(&self.source(), PageIndex::new(page), &self.page(page)).unwrap()
    }

    fn put_all(&self, store: &BlockStore) {
        for page in 0..self.page_count() {
            assert_eq!(self.put(store, page), FillOutcome::Stored);
        }
    }

    /// As [`Content::put_all`], where some of it is here already.
    fn put_all_anew(&self, store: &BlockStore) {
        for page in (0..self.page_count()).rev() {
            self.put(store, page);
        }
    }

    fn read(&self, store: &BlockStore, offset: u64, length: u64) -> ReadOutcome {
        let read = store.read(&self.source(), FileOffset::new(offset), ByteCount::new(length)).unwrap();
        let expected = self.bytes(offset, length);
        assert!(expected.starts_with(&read.bytes), "wrong bytes of {} were served", self.file());
        assert_eq!(read.checksums, checksums(offset, &read.bytes), "the checksums are those of the bytes");
        assert!(
            read.missing.is_some() || read.bytes.len() as u64 == (expected.len() as u64).min(READ_LENGTH_MAX)
        );
        read
    }

    /// Whether all of it can be read, and is right.
    fn is_readable(&self, store: &BlockStore) -> bool {
        (0..self.length()).step_by(1 << 20).all(|offset| self.read(store, offset, MIB).missing.is_none())
    }

    fn is_complete(&self, store: &BlockStore) -> bool {
        store.presence(&self.source()).is_some_and(|presence| presence.is_complete)
    }

    fn held_bytes(&self, hold: &Hold) -> Vec<u8> {
        let mut bytes = Vec::new();
        let length = usize::try_from(self.length()).unwrap();
        crate::io::read_at(hold.as_fd(), &mut bytes, length, 0).unwrap();
        bytes
    }
}

fn checksums(offset: u64, bytes: &[u8]) -> Vec<u32> {
    let first = usize::try_from(GRANULE_LENGTH - offset % GRANULE_LENGTH).unwrap().min(bytes.len());
    let (head, rest) = bytes.split_at(first);
    let rest = rest.chunks(usize::try_from(GRANULE_LENGTH).unwrap());
    std::iter::once(head).filter(|head| !head.is_empty()).chain(rest).map(crc32c::crc32c).collect()
}

fn used(store: &BlockStore) -> u64 {
    store.usage().iter().map(|tier| tier.used.get()).sum()
}

fn range(first: u32, count: u32) -> Option<PageRange> {
    Some(PageRange { first: PageIndex::new(first), count })
}

#[test]
fn a_small_file_is_stored_read_and_held() {
    let fixture = Fixture::with_tiers(&[(TierKind::Ram, 64 * MIB), (TierKind::Disk, 64 * MIB)]);
    let store = fixture.open();
    let content = Content::new(1, 110_000);
    assert_eq!(content.read(&store, 0, 500).missing, range(0, 1));
    assert!(store.hold(&content.source()).unwrap().is_none());
    content.put_all(&store);
    let whole = content.read(&store, 0, 200_000);
    assert_eq!((whole.bytes.len(), whole.checksums.len(), whole.missing), (110_000, 2, None));
    let hold = store.hold(&content.source()).unwrap().expect("it is complete");
    assert_eq!(content.held_bytes(&hold), content.bytes(0, 110_000));
    assert_eq!((hold.file(), hold.length().get()), (content.file(), 110_000));
    assert!(crate::io::write_all_at(&hold, b"x", 0).is_err(), "a hold can only be read");
    assert_eq!(store.statistics().verified_bytes, 0, "what this process wrote need not be verified");
    assert_eq!(store.usage()[0].held, store.usage()[0].used);
    hold.release();
    assert_eq!(store.usage()[0].held, ByteCount::ZERO);
}

#[test]
fn reads_end_at_the_first_missing_page_and_name_it() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 5 * MIB + 10);
    for page in [0, 1, 4] {
        assert_eq!(content.put(&store, page), FillOutcome::Stored);
    }
    let presence = store.presence(&content.source()).unwrap();
    assert_eq!((presence.cached.get(), presence.is_complete, presence.is_whole), (3 * MIB, false, true));
    assert_eq!(store.missing(&content.source(), range(0, 6).unwrap()), [2, 3, 5].map(PageIndex::new));
    assert!(!store.is_in_memory(&content.source(), range(0, 6).unwrap()));
    let read = content.read(&store, MIB - 3, 6 * MIB);
    assert_eq!((read.bytes.len() as u64, read.missing), (MIB + 3, range(2, 2)));
    let read = content.read(&store, 3 * MIB + 1, 10);
    assert_eq!((read.bytes.len(), read.missing), (0, range(3, 1)));
    let read = content.read(&store, 4 * MIB + 70_000, 100_000);
    assert_eq!((read.bytes.len(), read.missing), (100_000, None));
    assert_eq!(content.read(&store, 6 * MIB, 10), ReadOutcome::default());
    assert!(store.hold(&content.source()).unwrap().is_none(), "it is not complete");
}

#[test]
fn a_long_read_is_answered_in_part() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, READ_LENGTH_MAX + MIB);
    content.put_all(&store);
    assert_eq!(content.read(&store, 5, u64::MAX).bytes.len() as u64, READ_LENGTH_MAX);
}

#[test]
fn an_empty_file_is_complete_after_its_one_page_of_no_bytes() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 0);
    assert!(!content.is_complete(&store));
    content.put_all(&store);
    assert!(content.is_complete(&store));
    assert_eq!(content.read(&store, 0, 10), ReadOutcome::default());
    drop(store);
    let store = fixture.open();
    let hold = store.hold(&content.source()).unwrap().expect("it is complete");
    assert_eq!(content.held_bytes(&hold), []);
}

#[test]
fn of_two_who_fill_one_page_one_writes() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 1000);
    let page = PageIndex::new(0);
    let FillStart::Writing(mut fill) = store.begin_fill(&content.source(), page, Demand::Read).unwrap()
    else {
        panic!("first")
    };
    assert!(matches!(
        store.begin_fill(&content.source(), page, Demand::Read).unwrap(),
        FillStart::InProgress
    ));
    assert_eq!(content.put(&store, 0), FillOutcome::InProgress);
    for piece in content.page(0).chunks(300) {
        fill.write(piece).unwrap();
    }
    assert!(!content.is_complete(&store), "nothing is to be seen before the commit");
    assert_eq!(fill.commit().unwrap(), FillOutcome::Stored);
    assert_eq!(content.put(&store, 0), FillOutcome::AlreadyPresent);
    assert!(content.is_readable(&store));
}

#[test]
fn a_fill_that_is_dropped_or_has_the_wrong_length_leaves_nothing() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 1000);
    let begin = || match store.begin_fill(&content.source(), PageIndex::new(0), Demand::Read).unwrap() {
        FillStart::Writing(fill) => fill,
        other => panic!("{other:?}"),
    };
    let mut fill = begin();
    fill.write(b"half").unwrap();
    assert_eq!(fill.remaining().get(), 996);
    drop(fill);
    let mut fill = begin();
    fill.write(&content.bytes(0, 999)).unwrap();
    assert!(matches!(fill.commit(), Err(StoreError::PageLength { given: 999, expected: 1000, .. })));
    assert!(matches!(begin().write(&[0; 1001]), Err(StoreError::PageLength { .. })));
    assert_eq!((used(&store), store.presence(&content.source())), (0, None));
    assert_eq!(fixture.files("data").len() + fixture.files("index").len(), 0);
    let beyond = store.begin_fill(&content.source(), PageIndex::new(1), Demand::Read);
    assert!(matches!(beyond, Err(StoreError::NoSuchPage { .. })));
}

#[test]
fn another_content_under_the_same_id_is_not_served() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let content = Content::new(1, 1000);
    let mut other_tag = content.clone();
    other_tag.descriptor.fingerprint.tag = Some("new".into());
    let mut other_key = content.clone();
    other_key.descriptor.key = UnderStoreKey::new(b"elsewhere".to_vec()).unwrap();
    let mut other_length = content.clone();
    other_length.descriptor.fingerprint.length = ByteCount::new(999);
    for other in [other_tag, other_key, other_length] {
        let store = fixture.open();
        content.put_all(&store);
        drop(store);
        let store = fixture.open();
        assert!(content.is_readable(&store));
        assert_eq!(other.read(&store, 0, 10).missing, range(0, 1));
        assert!(store.hold(&other.source()).unwrap().is_none());
        assert_eq!((store.statistics().replaced_versions, used(&store)), (1, 0));
    }
}

#[test]
fn a_modification_time_in_another_precision_is_the_same_content() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 1000);
    content.put_all(&store);
    let mut listed = content.clone();
    listed.descriptor.fingerprint.modified = Timestamp::from_nanos(0);
    assert!(listed.is_complete(&store));
}

#[test]
fn keys_that_are_not_text_are_harmless() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let mut content = Content::new(1, 1000);
    content.descriptor.key = UnderStoreKey::new(b"\xff\xfe/../\0\n".to_vec()).unwrap();
    content.put_all(&store);
    drop(store);
    assert!(content.is_complete(&fixture.open()));
}

#[test]
fn a_version_dropped_while_it_is_filled_leaves_nothing() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 2 * MIB);
    content.put(&store, 0);
    let FillStart::Writing(mut fill) =
        store.begin_fill(&content.source(), PageIndex::new(1), Demand::Read).unwrap()
    else {
        panic!("the page is missing")
    };
    assert!(store.drop_version(content.file()) && !store.drop_version(content.file()));
    fill.write(&content.page(1)).unwrap();
    assert!(used(&store) > 0, "the writer's file still takes room");
    assert_eq!(fill.commit().unwrap(), FillOutcome::Superseded);
    assert_eq!((used(&store), store.presence(&content.source())), (0, None));
    assert_eq!(fixture.files("data").len() + fixture.files("index").len(), 0);
}

#[test]
fn a_version_dropped_while_it_is_held_is_kept_for_its_holder() {
    let fixture = Fixture::new(TierKind::Ram, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 110_000);
    content.put_all(&store);
    let before = used(&store);
    let hold = store.hold(&content.source()).unwrap().unwrap();
    assert!(store.drop_version(content.file()));
    assert_eq!((fixture.files("data").len(), used(&store)), (0, before));
    content.put_all(&store);
    assert_eq!(content.held_bytes(&hold), content.bytes(0, 110_000));
    drop(hold);
    assert_eq!(used(&store), before, "only the new generation is left");
}

#[test]
fn changes_tell_what_came_and_what_left() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let begin = store.cursor();
    let (large, small) = (Content::new(1, 3 * MIB), Content::new(2, 10));
    large.put(&store, 0);
    small.put_all(&store);
    large.put(&store, 1);
    let listed = |content: &Content, cached, is_complete| CachedVersion {
        file: content.file(),
        cached: ByteCount::new(cached),
        is_complete,
    };
    let Changes::Since { versions, next, more } = store.changes_since(begin) else { panic!("not too old") };
    assert_eq!(versions, [listed(&small, 10, true), listed(&large, 2 * MIB, false)]);
    assert!(!more);
    store.drop_version(small.file());
    let Changes::Since { versions, .. } = store.changes_since(next) else { panic!("not too old") };
    assert_eq!(versions, [listed(&small, 0, false)]);
    assert_eq!(store.list(None, 10), [listed(&large, 2 * MIB, false)]);
    assert_eq!(store.list(Some(large.file()), 10), []);
}
