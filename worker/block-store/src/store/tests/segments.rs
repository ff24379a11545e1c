//! Versions that are longer than any tier keeps whole: cut into segments, and otherwise as any other.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::*;
use crate::health::Health;
use crate::limits::{DOWN_ERRORS, RETURN_PAUSE_MAX};

const LATER: Incarnation = Incarnation::new(9);

/// Segments of 2 MiB of whatever is longer than 3 MiB.
fn cutting(tiers: &[(TierKind, u64)]) -> Fixture {
    let mut fixture = Fixture::with_tiers(tiers);
    fixture.settings.segment_length = ByteCount::new(2 * MIB);
    fixture.settings.tiers.iter_mut().for_each(|tier| tier.whole_file_max = ByteCount::new(3 * MIB));
    fixture
}

fn one_disk() -> Fixture {
    cutting(&[(TierKind::Disk, 64 * MIB)])
}

/// Three segments, the last one short.
fn large() -> Content {
    Content::new(1, 5 * MIB + 70_000)
}

/// The files of one segment, data or index.
fn file_of(fixture: &Fixture, segment: u32, extension: &str) -> PathBuf {
    let part = format!(".s{segment}.");
    let mut files =
        fixture.files(extension).into_iter().filter(|path| path.to_string_lossy().contains(&part));
    let found = files.next().expect("the segment has files");
    assert_eq!(files.next(), None);
    found
}

fn flip(path: &Path, offset: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
}

impl Content {
    fn missing(&self, store: &BlockStore) -> Vec<u32> {
        let pages = PageRange { first: PageIndex::new(0), count: self.page_count() };
        store.missing(&self.source(), pages).into_iter().map(PageIndex::get).collect()
    }

    fn put_some(&self, store: &BlockStore, pages: &[u32]) {
        for page in pages {
            assert_eq!(self.put(store, *page), FillOutcome::Stored);
        }
    }

    fn cached(&self, store: &BlockStore) -> u64 {
        store.presence(&self.source()).map_or(0, |presence| presence.cached.get())
    }
}

#[test]
fn a_version_in_segments_is_filled_read_reported_and_dropped_as_one() {
    let (fixture, content) = (one_disk(), large());
    let store = fixture.open();
    let begin = store.cursor();
    assert_eq!(content.read(&store, 4 * MIB, 10).missing, range(4, 1));
    content.put(&store, 5);
    content.put(&store, 0);
    assert_eq!((content.missing(&store), content.is_complete(&store)), (vec![1, 2, 3, 4], false));
    assert_eq!(
        content.read(&store, 3 * MIB, 3 * MIB).missing,
        range(3, 1),
        "up to the border of its segment"
    );
    assert_eq!(content.put(&store, 5), FillOutcome::AlreadyPresent);
    content.put_all_anew(&store);
    assert!(content.is_complete(&store) && content.is_readable(&store));
    let lengths = fixture.files("data").iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>();
    assert_eq!((fixture.files("data").len(), lengths), (3, content.length()));

    let listed = |cached, is_complete| {
        [CachedVersion { file: content.file(), cached: ByteCount::new(cached), is_complete }]
    };
    assert_eq!(store.list(None, 10), listed(content.length(), true));
    let Changes::Since { versions, .. } = store.changes_since(begin) else { panic!("not too old") };
    assert_eq!(versions, listed(content.length(), true));
    let beyond = store.begin_fill(&content.source(), PageIndex::new(6), Demand::Read);
    assert!(matches!(beyond, Err(StoreError::NoSuchPage { page, .. }) if page == PageIndex::new(6)));
    assert!(store.drop_version(content.file()) && !store.drop_version(content.file()));
    assert_eq!((used(&store), store.presence(&content.source()), store.list(None, 10)), (0, None, vec![]));
    assert_eq!(fixture.files("data").len() + fixture.files("index").len(), 0);
}

#[test]
fn a_read_over_the_border_of_a_segment_is_answered_up_to_it_and_goes_on_there() {
    let (fixture, content) = (one_disk(), large());
    let store = fixture.open();
    content.put_all(&store);
    let (mut offset, end) = (MIB + 5, 5 * MIB + 60_000);
    let mut ends = Vec::new();
    while offset < end {
        let read =
            store.read(&content.source(), FileOffset::new(offset), ByteCount::new(end - offset)).unwrap();
        assert_eq!(read.missing, None);
        assert_eq!(read.bytes, content.bytes(offset, read.bytes.len() as u64));
        assert_eq!(read.checksums, checksums(offset, &read.bytes));
        offset += read.bytes.len() as u64;
        ends.push(offset);
    }
    assert_eq!(ends, [2 * MIB, 4 * MIB, end]);
}

#[test]
fn a_version_in_segments_is_never_held_or_lent() {
    let (fixture, content) = (one_disk(), large());
    let store = fixture.open();
    content.put_all(&store);
    let presence = store.presence(&content.source()).unwrap();
    assert!(presence.is_complete && !presence.is_whole);
    assert!(store.hold(&content.source()).unwrap().is_none());
    assert!(!store.can_lend(&content.source()) && store.lend(&content.source()).unwrap().is_none());
    let statistics = store.statistics();
    assert_eq!((statistics.verified_bytes, statistics.holds_refused), (0, 0), "nothing was read for it");
    assert_eq!(store.usage()[0].held, ByteCount::ZERO);
}

#[test]
fn a_restart_finds_all_segments_and_verifies_them_before_it_serves_them() {
    let (fixture, content, partial) = (one_disk(), large(), Content::new(2, 9 * MIB));
    let whole = Content::new(3, 3 * MIB);
    let store = fixture.open();
    whole.put_all(&store);
    let format = fixture.tier(0).join("format");
    assert_eq!(fs::read(&format).unwrap()[8], 1, "whoever knows format 1 only can read what is here");
    content.put_all(&store);
    assert_eq!(fs::read(&format).unwrap()[8], 2);
    partial.put_some(&store, &[1, 8]);
    let before = (used(&store), store.list(None, 10));
    drop(store);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.pages, report.dropped_versions), (1 + 3 + 2, 3 + 6 + 2, 0));
    assert_eq!((used(&store), store.list(None, 10)), before);
    assert!(content.is_complete(&store) && content.is_readable(&store) && whole.is_readable(&store));
    assert_eq!(store.statistics().verified_bytes, content.length() + whole.length());
    assert!(store.hold(&whole.source()).unwrap().is_some());
    assert_eq!(partial.missing(&store), [0, 2, 3, 4, 5, 6, 7]);
    partial.put_all_anew(&store);
    assert!(partial.is_complete(&store) && partial.is_readable(&store));
}

#[test]
fn a_damaged_segment_costs_a_page_or_that_segment_and_heals() {
    let content = large();
    let fixture = one_disk();
    content.put_all(&fixture.open());
    flip(&file_of(&fixture, 1, "data"), MIB + 3);
    flip(&file_of(&fixture, 2, "index"), 20);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.dropped_versions, report.dropped_pages), (1, 0));
    assert_eq!(content.missing(&store), [4, 5], "the header of the third does not fit");
    assert_eq!(content.read(&store, 3 * MIB, MIB).missing, range(3, 1));
    assert_eq!(store.statistics().corrupt_pages, 1);
    assert_eq!((content.missing(&store), content.cached(&store)), (vec![3, 4, 5], 3 * MIB));
    content.put_all_anew(&store);
    assert!(content.is_complete(&store) && content.is_readable(&store));
    // The files of one segment under the names of another.
    drop(store);
    for extension in ["data", "index"] {
        let (one, other) = (file_of(&fixture, 0, extension), file_of(&fixture, 1, extension));
        let between = one.with_extension("between");
        fs::rename(&one, &between).unwrap();
        fs::rename(&other, &one).unwrap();
        fs::rename(&between, &other).unwrap();
    }
    let (store, report) = fixture.open_with_report();
    assert_eq!(report.dropped_versions, 2);
    assert_eq!(content.missing(&store), [0, 1, 2, 3]);
    // Files that vanish under an open store.
    fs::remove_file(file_of(&fixture, 2, "data")).unwrap();
    assert_eq!(content.read(&store, 4 * MIB, 10).missing, range(4, 1));
    assert_eq!(store.presence(&content.source()), None);
}

#[test]
fn segments_leave_one_by_one_and_the_version_is_no_longer_complete() {
    let fixture = cutting(&[(TierKind::Disk, 7 * MIB)]);
    let store = fixture.open();
    let content = large();
    content.put_all(&store);
    content.read(&store, 0, 10);
    let cursor = store.cursor();
    Content::new(2, 2 * MIB).put_all(&store);
    assert_eq!(content.missing(&store), [2, 3], "the segment that was used longest ago");
    assert_eq!(store.statistics().evictions, 1);
    let Changes::Since { versions, .. } = store.changes_since(cursor) else { panic!("not too old") };
    let left = versions.iter().find(|version| version.file == content.file()).expect("it changed");
    assert_eq!((left.cached.get(), left.is_complete), (3 * MIB + 70_000, false));
    assert_eq!(content.read(&store, MIB, MIB).missing, None);
    assert_eq!(content.read(&store, 2 * MIB, MIB).missing, range(2, 1));
}

#[test]
fn a_version_larger_than_the_store_is_read_with_a_part_of_it_cached() {
    let fixture = cutting(&[(TierKind::Disk, 5 * MIB)]);
    let store = fixture.open();
    let content = Content::new(1, 11 * MIB);
    for page in 0..content.page_count() {
        let start = store.begin_fill(&content.source(), PageIndex::new(page), Demand::Read).unwrap();
        let FillStart::Writing(mut fill) = start else { panic!("it is missing") };
        fill.write(&content.page(page)).unwrap();
        assert_eq!(fill.commit().unwrap(), FillOutcome::Stored);
        assert_eq!(content.read(&store, u64::from(page) * MIB, MIB).missing, None);
        assert!(used(&store) <= 5 * MIB);
    }
    assert_eq!((content.cached(&store), content.is_complete(&store)), (3 * MIB, false));
}

#[test]
fn segments_span_tiers_and_come_back_with_the_one_that_failed() {
    let fixture = cutting(&[(TierKind::Ram, 3 * MIB), (TierKind::Disk, 64 * MIB)]);
    let (store, content) = (fixture.open(), large());
    let begin = Instant::now();
    content.put_all(&store);
    assert_eq!(store.usage().iter().map(|tier| tier.versions).collect::<Vec<_>>(), [1, 2]);
    assert!(store.is_in_memory(&content.source(), range(0, 2).unwrap()));
    assert!(!store.is_in_memory(&content.source(), range(1, 2).unwrap()));
    assert!(content.is_readable(&store));
    for _ in 0..DOWN_ERRORS {
        store.inner.disk_failed(TierIndex(1), &io::Error::from_raw_os_error(5));
    }
    assert_eq!(store.usage()[1].health, Health::Down);
    assert_eq!((content.missing(&store), content.cached(&store)), (vec![2, 3, 4, 5], 2 * MIB));
    let probes =
        |after| store.due_probes(begin + after).into_iter().for_each(|probe| probe.run(|| begin + after));
    probes(RETURN_PAUSE_MAX + Duration::from_secs(60));
    assert_eq!(store.usage()[1].health, Health::Up);
    assert!(content.is_complete(&store) && content.is_readable(&store));
}

#[test]
fn a_version_in_segments_is_adopted_with_all_of_them_and_filled_further() {
    let fixture = one_disk();
    let store = fixture.open();
    let content = large();
    content.put_some(&store, &[0, 1, 4]);
    drop(store);
    let store = fixture.open();
    store.begin_life(LATER);
    let file = FileId { incarnation: LATER, counter: 5 };
    let descriptor = VersionDescriptor { file, ..content.descriptor.clone() };
    let renamed = Content { descriptor, seed: content.seed };
    assert_eq!(renamed.missing(&store).len(), 6);
    assert!(store.may_adopt(&renamed.source()) && store.adopt(&renamed.source()));
    assert_eq!(renamed.missing(&store), [2, 3, 5]);
    renamed.put_all_anew(&store);
    assert!(renamed.is_complete(&store));
    assert_eq!(store.list(None, 10).iter().map(|version| version.file).collect::<Vec<_>>(), [file]);
    // Its names last for as long as a segment of it is here.
    fs::remove_file(file_of(&fixture, 0, "data")).unwrap();
    assert_eq!(renamed.read(&store, 0, 10).missing, range(0, 1));
    assert_eq!(renamed.missing(&store), [0, 1]);
    renamed.put_all_anew(&store);
    assert!(renamed.is_complete(&store) && renamed.is_readable(&store));
    assert!(store.drop_version(file));
    assert_eq!((used(&store), store.list(None, 10)), (0, vec![]));
    assert!(!store.may_adopt(&renamed.source()));
}

#[test]
fn another_content_under_the_same_id_drops_all_segments() {
    let fixture = one_disk();
    let store = fixture.open();
    let content = large();
    content.put_all(&store);
    let mut other = content.clone();
    other.descriptor.fingerprint.tag = Some("new".into());
    assert_eq!(other.read(&store, 4 * MIB, 10).missing, range(4, 1));
    assert_eq!((store.statistics().replaced_versions, used(&store)), (3, 0));
}

#[test]
fn what_the_limits_become_does_not_cut_anew_what_is_here() {
    let mut fixture = one_disk();
    let (content, whole) = (large(), Content::new(2, 3 * MIB));
    let store = fixture.open();
    content.put(&store, 3);
    whole.put_all(&store);
    drop(store);
    for (whole_file_max, files) in [(2 * MIB, 4), (32 * MIB, 4)] {
        fixture.settings.tiers[0].whole_file_max = ByteCount::new(whole_file_max);
        let store = fixture.open();
        content.put_all_anew(&store);
        assert!(content.is_complete(&store) && content.is_readable(&store) && whole.is_readable(&store));
        assert!(store.hold(&content.source()).unwrap().is_none());
        assert!(store.hold(&whole.source()).unwrap().is_some());
        assert_eq!(fixture.files("data").len(), files);
    }
    let store = fixture.open();
    store.drop_version(content.file());
    content.put_all(&store);
    assert!(store.hold(&content.source()).unwrap().is_some(), "it began anew, and is whole now");
}

#[test]
fn segments_of_another_length_are_dropped_and_of_two_forms_the_later_is_kept() {
    let mut fixture = one_disk();
    let (content, whole) = (large(), Content::new(2, 3 * MIB));
    let store = fixture.open();
    content.put_all(&store);
    whole.put_all(&store);
    drop(store);
    let saved: Vec<_> = ["data", "index"]
        .iter()
        .flat_map(|extension| fixture.files(extension))
        .filter(|path| path.to_string_lossy().contains(".s"))
        .map(|path| (fs::read(&path).unwrap(), path))
        .collect();
    fixture.settings.segment_length = ByteCount::new(MIB);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.dropped_versions, content.cached(&store)), (1, 3, 0));
    assert!(whole.is_readable(&store));
    drop(store);

    fixture.settings.segment_length = ByteCount::new(2 * MIB);
    fixture.settings.tiers[0].whole_file_max = ByteCount::new(32 * MIB);
    saved.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
    let store = fixture.open();
    assert!(content.is_complete(&store), "as it was");
    store.drop_version(content.file());
    content.put_all(&store);
    drop(store);
    saved.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.dropped_versions), (2, 3));
    assert!(store.hold(&content.source()).unwrap().is_some());
}

#[test]
fn segments_that_cannot_be_are_refused_as_a_setting() {
    let mut fixture = one_disk();
    for length in [0, MIB - 1, MIB + 4096] {
        fixture.settings.segment_length = ByteCount::new(length);
        let refused = BlockStore::open(fixture.settings.clone());
        assert!(matches!(refused, Err(StoreError::Settings { .. })), "{length}");
    }
}

#[test]
fn the_scrubber_verifies_a_complete_segment_of_a_version_that_is_not() {
    let fixture = one_disk();
    let content = large();
    content.put_some(&fixture.open(), &[0, 2, 3]);
    flip(&file_of(&fixture, 1, "data"), MIB + 1);
    let store = fixture.open();
    let now = Instant::now();
    let mut scrubber = store.scrubber(now);
    assert_eq!(std::iter::from_fn(|| scrubber.step(now)).count(), 2);
    assert_eq!((store.statistics().corrupt_pages, store.statistics().scrubbed_bytes), (1, MIB));
    assert_eq!(content.missing(&store), [1, 3, 4, 5]);
}
