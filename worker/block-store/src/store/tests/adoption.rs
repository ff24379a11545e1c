//! After the ids changed: what is the same content is found by its identity, and nothing else is.

use super::*;
use crate::layout::{Generation, GenerationKey, IndexHeader, read_header};
use crate::unit::UnitId;

const LATER: Incarnation = Incarnation::new(9);

impl Content {
    /// The same content as a later life names it.
    fn renamed(&self, counter: u64) -> Self {
        let file = FileId { incarnation: LATER, counter };
        Self { descriptor: VersionDescriptor { file, ..self.descriptor.clone() }, seed: self.seed }
    }

    fn with(&self, change: impl FnOnce(&mut VersionDescriptor)) -> Self {
        let mut other = self.clone();
        change(&mut other.descriptor);
        other
    }
}

fn listed(store: &BlockStore) -> Vec<FileId> {
    store.list(None, 100).iter().map(|version| version.file).collect()
}

#[test]
fn the_same_content_under_a_later_id_is_found_read_and_held_and_reported_once() {
    let fixture = Fixture::with_tiers(&[(TierKind::Ram, 4 * MIB), (TierKind::Disk, 64 * MIB)]);
    let store = fixture.open();
    let contents = [Content::new(1, 110_000), Content::new(2, 9 * MIB), Content::new(3, 0)];
    contents.iter().for_each(|content| content.put_all(&store));
    let files = fixture.files("data");
    store.begin_life(LATER);
    // Also in another order than before.
    for (content, counter) in contents.iter().zip([80, 70, 90]) {
        let renamed = content.renamed(counter);
        assert!(!renamed.is_complete(&store), "not before it is adopted");
        assert!(store.may_adopt(&renamed.source()) && store.adopt(&renamed.source()));
        assert!(renamed.is_complete(&store) && renamed.is_readable(&store));
        let hold = store.hold(&renamed.source()).unwrap().expect("complete");
        assert_eq!(renamed.held_bytes(&hold), renamed.bytes(0, renamed.length()));
        assert!(!store.adopt(&renamed.source()), "once is enough");
    }
    assert_eq!(fixture.files("data"), files, "nothing was written");
    assert_eq!(store.statistics().adopted_versions, 3);
    let expected = [70, 80, 90].map(|counter| FileId { incarnation: LATER, counter });
    assert_eq!(listed(&store), expected);
    assert_eq!(store.list(Some(expected[0]), 1)[0].file, expected[1]);
    assert_eq!(store.list(Some(expected[2]), 1), []);
    assert!(contents[0].is_readable(&store), "the old id is as good as ever");
}

#[test]
fn what_is_disowned_is_found_under_another_id_of_the_same_life_and_nothing_else_is() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let life = Content::new(1, 1).file().incarnation;
    store.begin_life(life);
    let contents = [Content::new(1, MIB), Content::new(2, MIB)];
    contents.iter().for_each(|content| content.put_all(&store));
    let again = contents.clone().map(|content| {
        let counter = content.file().counter + 100;
        content.with(|version| version.file.counter = counter)
    });
    store.disown_version(contents[0].file());
    store.disown_version(FileId { incarnation: life, counter: 77 });
    assert!(store.may_adopt(&again[0].source()) && store.adopt(&again[0].source()));
    assert!(again[0].is_readable(&store));
    assert!(!store.adopt(&again[1].source()), "somebody has it under its own id");
    store.disown_version(again[0].file());
    let third = contents[0].with(|version| version.file.counter = 200);
    assert!(store.adopt(&third.source()), "it can be disowned again under its later id");
    assert_eq!(listed(&store), [contents[1].file(), third.file()]);
    assert!(store.drop_version(third.file()));
    assert_eq!(listed(&store), [contents[1].file()]);
}

#[test]
fn a_change_of_names_is_reported_as_one_that_left_and_one_that_came() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let (content, renamed) = (Content::new(1, 3 * MIB), Content::new(1, 3 * MIB).renamed(5));
    content.put(&store, 0);
    store.begin_life(LATER);
    let changes = |cursor| match store.changes_since(cursor) {
        Changes::Since { versions, .. } => {
            versions.iter().map(|version| (version.file, version.cached.get())).collect::<Vec<_>>()
        }
        Changes::TooOld => panic!("few changes"),
    };
    let cursor = store.cursor();
    assert!(store.adopt(&renamed.source()));
    assert_eq!(changes(cursor), [(content.file(), 0), (renamed.file(), MIB)]);
    let cursor = store.cursor();
    assert_eq!(renamed.put(&store, 2), FillOutcome::Stored, "what is missing is filled further");
    assert_eq!(changes(cursor), [(renamed.file(), 2 * MIB)]);
    let cursor = store.cursor();
    assert!(store.drop_version(renamed.file()));
    assert_eq!(changes(cursor), [(renamed.file(), 0)]);
    assert_eq!((listed(&store), fixture.files("data").len()), (vec![], 0));
    renamed.put_all(&store);
    assert!(renamed.is_readable(&store), "it begins anew under its own id");
    assert_eq!(listed(&store), [renamed.file()]);
}

#[test]
fn another_content_is_not_adopted_however_alike() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 1000);
    content.put_all(&store);
    store.begin_life(LATER);
    let renamed = content.renamed(5);
    let others = [
        renamed.with(|version| version.fingerprint.tag = Some("other".to_owned())),
        renamed.with(|version| version.fingerprint.tag = None),
        renamed.with(|version| version.fingerprint.version_id = Some("v".to_owned())),
        renamed.with(|version| version.fingerprint.length = ByteCount::new(999)),
        renamed.with(|version| version.key = UnderStoreKey::new(b"dir/file2".to_vec()).unwrap()),
    ];
    for other in &others {
        assert!(!store.may_adopt(&other.source()) && !store.adopt(&other.source()), "{other:?}");
        assert_eq!(store.presence(&other.source()), None);
    }
    let elsewhere = VersionSource { mount_uri: "s3://bucket2/prefix", ..renamed.source() };
    assert!(!store.adopt(&elsewhere));
    let touched = renamed.with(|version| version.fingerprint.modified = Timestamp::from_nanos(6));
    assert!(store.adopt(&touched.source()), "where there is a tag the time does not count");
}

#[test]
fn a_digest_that_fits_by_chance_is_not_believed() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 1000);
    content.put_all(&store);
    store.begin_life(LATER);
    // The index in memory has the digest of one content, the disk the header of another.
    let path = fixture.file("index");
    let (header, _) = read_header(fs::File::open(&path).unwrap()).unwrap();
    for header in [
        IndexHeader { uri: b"s3://bucket/prefix/dir/fileX".to_vec(), ..header.clone() },
        IndexHeader { cluster: ClusterId::new([2; 16]), ..header.clone() },
        IndexHeader {
            key: GenerationKey { unit: UnitId::whole(content.file()), generation: Generation::new(77) },
            ..header.clone()
        },
        IndexHeader { fingerprint: Content::new(2, 1000).descriptor.fingerprint, ..header.clone() },
    ] {
        fs::write(&path, header.encode().unwrap()).unwrap();
        let renamed = content.renamed(5);
        assert!(store.may_adopt(&renamed.source()), "the digest fits");
        assert!(!store.adopt(&renamed.source()), "{header:?}");
        assert_eq!(store.presence(&renamed.source()), None);
    }
    fs::write(&path, b"garbage").unwrap();
    assert!(!store.adopt(&content.renamed(5).source()));
}

#[test]
fn nothing_is_adopted_within_a_life_or_before_it_is_known() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 1000);
    content.put_all(&store);
    assert!(!store.adopt(&content.renamed(5).source()), "no life is known yet");
    store.begin_life(content.file().incarnation);
    let again = content.with(|version| version.file.counter = 6);
    assert!(!store.adopt(&again.source()), "of this life");
    store.begin_life(LATER);
    content.renamed(7).put_all(&store);
    assert!(!store.adopt(&content.renamed(7).source()), "there is one under this id");
    assert_eq!(listed(&store).len(), 2);
}

#[test]
fn a_held_version_is_adopted_and_stays_as_it_is() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 2 * MIB);
    content.put_all(&store);
    let hold = store.hold(&content.source()).unwrap().expect("complete");
    store.begin_life(LATER);
    let renamed = content.renamed(5);
    assert!(store.adopt(&renamed.source()) && renamed.is_readable(&store));
    assert!(store.drop_version(renamed.file()));
    assert_eq!(content.held_bytes(&hold), content.bytes(0, 2 * MIB));
    assert!(used(&store) > 0, "its room is given back with the last hold");
    drop(hold);
    assert_eq!(used(&store), 0);
}

#[test]
fn what_was_adopted_is_adopted_again_after_a_restart_and_in_a_third_life() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 2 * MIB);
    content.put_all(&store);
    store.begin_life(LATER);
    let renamed = content.renamed(5);
    assert!(store.adopt(&renamed.source()));
    drop(store);
    let store = fixture.open();
    store.begin_life(LATER);
    assert!(store.adopt(&renamed.source()) && renamed.is_readable(&store));
    store.begin_life(LATER.next());
    let file = FileId { incarnation: LATER.next(), counter: 1 };
    let third = renamed.with(|version| version.file = file);
    assert!(store.adopt(&third.source()) && third.is_readable(&store));
    assert_eq!(listed(&store), [file]);
    assert!(renamed.is_readable(&store), "who still has the earlier id reads on");
    assert!(store.drop_version(renamed.file()));
    assert_eq!((listed(&store), third.is_complete(&store)), (vec![], false));
}
