//! What happened to the files after their catalogue was written: the files decide, before a byte of them is served.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::catalogues::end;
use super::*;
use crate::limits::{PROBE_INTERVAL, RETURN_PAUSE_MAX};

/// A store with these contents that was ended cleanly.
fn ended(contents: &[&Content]) -> Fixture {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    contents.iter().for_each(|content| content.put_all(&store));
    end(store);
    fixture
}

/// Opens it again; all that is here must be known by catalogues.
fn reopened(fixture: &Fixture) -> BlockStore {
    let (store, report) = fixture.open_with_report();
    assert!(report.versions > 0 && report.versions == report.catalogued_versions, "{report:?}");
    store
}

fn flip(path: &Path, offset: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
}

fn set_length(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Another content under the same id.
fn other_than(content: &Content) -> Content {
    let mut other = content.clone();
    other.seed += 1000;
    other.descriptor.fingerprint.tag = Some("other".to_owned());
    other
}

/// Reads it, fills what is missing, and holds it then.
fn heals(content: &Content, store: &BlockStore) {
    for page in 0..content.page_count() {
        content.read(store, u64::from(page) * MIB, MIB);
    }
    content.put_all_anew(store);
    assert!(content.is_readable(store));
    let hold = store.hold(&content.source()).unwrap().expect("complete");
    assert_eq!(content.held_bytes(&hold), content.bytes(0, content.length()));
}

/// Each way in which somebody may ask for the files first.
const USES: [fn(&Content, &BlockStore) -> bool; 4] = [
    |content, store| content.read(store, 0, MIB).missing.is_none(),
    |content, store| store.hold(&content.source()).unwrap().is_some(),
    |content, store| store.lend(&content.source()).unwrap().is_some(),
    |content, store| {
        let now = Instant::now();
        let mut scrubber = store.scrubber(now);
        while scrubber.step(now).is_some() {}
        content.is_complete(store)
    },
];

#[test]
fn files_of_another_content_under_the_same_name_are_let_go_whoever_asks_first() {
    let content = Content::new(1, 1000);
    let other = other_than(&content);
    let others = ended(&[&other]);
    for is_used in USES {
        let fixture = ended(&[&content]);
        for extension in ["data", "index"] {
            let (from, to) = (others.file(extension), fixture.file(extension));
            assert_eq!(from.file_name(), to.file_name(), "a generation that was given twice");
            fs::copy(from, to).unwrap();
        }
        let store = reopened(&fixture);
        assert!(content.is_complete(&store), "that is what the catalogue says");
        assert!(!is_used(&content, &store));
        assert_eq!((store.presence(&content.source()), used(&store)), (None, 0));
        assert_eq!(store.statistics().vanished_versions, 1);
        heals(&content, &store);
        end(store);
        let store = reopened(&fixture);
        assert!(content.is_readable(&store));
    }
}

#[test]
fn a_header_that_a_power_loss_tore_is_found_whoever_asks_first() {
    let content = Content::new(1, 1000);
    for is_used in USES {
        for length in [0, 40] {
            let fixture = ended(&[&content]);
            set_length(&fixture.file("index"), length);
            let store = reopened(&fixture);
            assert!(!is_used(&content, &store));
            assert_eq!(store.presence(&content.source()), None);
            heals(&content, &store);
        }
    }
}

#[test]
fn a_data_file_of_another_length_is_never_held_nor_read_beyond_what_is_right() {
    let content = Content::new(1, 2 * MIB + 70_000);
    for length in [0, 5, MIB, 2 * MIB + 69_999] {
        let fixture = ended(&[&content]);
        set_length(&fixture.file("data"), length);
        let store = reopened(&fixture);
        assert!(store.hold(&content.source()).unwrap().is_none(), "{length}");
        let data = fs::metadata(fixture.file("data")).unwrap();
        assert_eq!(data.len(), content.length(), "whoever maps it finds holes and no end");
        let first = u32::try_from(length / MIB).unwrap();
        assert_eq!(content.read(&store, u64::from(first) * MIB, 1).missing, range(first, 1));
        heals(&content, &store);
    }
    let fixture = ended(&[&content]);
    set_length(&fixture.file("data"), content.length() + 1);
    let store = reopened(&fixture);
    assert!(store.hold(&content.source()).unwrap().is_none());
    heals(&content, &store);
}

#[test]
fn a_page_that_was_lost_after_the_catalogue_was_written_is_found_missing_again() {
    let content = Content::new(1, 2 * MIB + 70_000);
    let fixture = ended(&[&content]);
    let store = reopened(&fixture);
    flip(&fixture.file("data"), MIB + 3);
    assert_eq!(content.read(&store, MIB, 10).missing, range(1, 1));
    drop(store);
    let store = reopened(&fixture);
    assert!(content.is_complete(&store), "that is what the catalogue says");
    assert!(store.hold(&content.source()).unwrap().is_none());
    assert_eq!(content.read(&store, 0, 3 * MIB).missing, range(1, 1));
    end(store);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.catalogued_versions), (1, 0), "what was lost is known now");
    assert!(!content.is_complete(&store));
    heals(&content, &store);
}

#[test]
fn a_torn_record_and_a_flipped_byte_are_found_before_they_are_served_or_held() {
    let content = Content::new(1, 70_000);
    for (extension, offset) in [("index", -1_i64), ("data", 66_000)] {
        for is_used in USES.into_iter().take(2) {
            let fixture = ended(&[&content]);
            let path = fixture.file(extension);
            let length = fs::metadata(&path).unwrap().len();
            flip(&path, u64::try_from(offset).unwrap_or(length - 1));
            let store = reopened(&fixture);
            assert!(!is_used(&content, &store));
            heals(&content, &store);
        }
    }
}

#[test]
fn what_was_dropped_and_filled_again_is_of_a_generation_that_no_catalogue_knows() {
    let content = Content::new(1, 1000);
    let fixture = ended(&[&content]);
    let catalogued = fixture.file("data");
    let store = reopened(&fixture);
    store.drop_version(content.file());
    drop(store);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.catalogued_versions), (0, 0));
    let other = other_than(&content);
    other.put_all(&store);
    assert_ne!(fixture.file("data"), catalogued);
    drop(store);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.catalogued_versions), (1, 0));
    assert!(other.is_readable(&store));
}

#[test]
fn half_a_pair_is_an_orphan_whatever_the_catalogue_says() {
    let contents = [Content::new(1, 1000), Content::new(2, 1000)];
    let fixture = ended(&[&contents[0], &contents[1]]);
    fs::remove_file(&fixture.files("data")[0]).unwrap();
    fs::remove_file(&fixture.files("index")[1]).unwrap();
    let (_, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.orphan_files), (0, 2));
    assert_eq!(fixture.files("data").len() + fixture.files("index").len(), 0);
}

#[test]
fn a_version_that_left_while_it_was_held_is_forgotten() {
    let content = Content::new(1, 1000);
    let fixture = ended(&[&content]);
    let store = reopened(&fixture);
    let hold = store.hold(&content.source()).unwrap().expect("complete");
    store.drop_version(content.file());
    assert_eq!(content.held_bytes(&hold), content.bytes(0, 1000));
    drop((hold, store));
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, used(&store)), (0, 0));
}

#[test]
fn a_directory_that_was_copied_to_another_disk_is_as_good_as_before() {
    let contents = [Content::new(1, 1000), Content::new(2, 3 * MIB)];
    let fixture = ended(&[&contents[0], &contents[1]]);
    let copy = fixture.folder.path().join("copy");
    let status = std::process::Command::new("cp").arg("-r").arg(fixture.tier(0)).arg(&copy).status().unwrap();
    assert!(status.success());
    let mut settings = fixture.settings.clone();
    settings.tiers[0].directory = copy;
    let (store, report) = BlockStore::open(settings.clone()).unwrap();
    assert_eq!((report.versions, report.catalogued_versions), (2, 2));
    for content in &contents {
        assert!(content.is_readable(&store) && store.hold(&content.source()).unwrap().is_some());
    }
    drop(store);
    // Both in one store: of each version one is kept.
    let mut both = settings;
    both.tiers.push(TierSettings { name: "second".to_owned(), ..fixture.settings.tiers[0].clone() });
    let (store, report) = BlockStore::open(both).unwrap();
    assert_eq!((report.versions, report.dropped_versions), (2, 2));
    assert!(contents.iter().all(|content| content.is_readable(&store)));
}

#[test]
fn an_older_catalogue_of_a_version_that_is_cut_now_gives_way_to_the_segments() {
    let content = Content::new(1, 5 * MIB);
    let mut fixture = ended(&[&content]);
    let whole =
        [fixture.file("data"), fixture.file("index")].map(|path| (path.clone(), fs::read(path).unwrap()));
    fixture.settings.segment_length = ByteCount::new(2 * MIB);
    fixture.settings.tiers[0].whole_file_max = ByteCount::new(3 * MIB);
    let store = fixture.open();
    store.drop_version(content.file());
    content.put_all(&store);
    drop(store);
    // As if the deletion had not come to the disk.
    whole.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.dropped_versions, report.catalogued_versions), (3, 1, 0));
    assert!(content.is_complete(&store) && content.is_readable(&store));
}

#[test]
fn what_is_known_by_a_catalogue_can_be_adopted() {
    let content = Content::new(1, 1000);
    let fixture = ended(&[&content]);
    let store = reopened(&fixture);
    store.begin_life(Incarnation::new(9));
    let mut renamed = content.clone();
    renamed.descriptor.file = FileId { incarnation: Incarnation::new(9), counter: 5 };
    assert!(store.adopt(&renamed.source()));
    assert!(renamed.is_readable(&store) && store.hold(&renamed.source()).unwrap().is_some());
}

#[test]
fn a_tier_that_comes_back_is_found_by_its_catalogues() {
    let contents = [Content::new(1, 1000), Content::new(2, 3 * MIB)];
    let fixture = ended(&[&contents[0], &contents[1]]);
    let store = reopened(&fixture);
    let begin = Instant::now();
    let probe = |after: Duration| {
        store.due_probes(begin + after).into_iter().for_each(|probe| probe.run(|| begin + after));
    };
    let away = fixture.folder.path().join("away");
    fs::rename(fixture.tier(0), &away).unwrap();
    probe(PROBE_INTERVAL + Duration::from_secs(1));
    assert!(!contents[0].is_complete(&store));
    fs::rename(&away, fixture.tier(0)).unwrap();
    flip(&fixture.files("data")[1], MIB);
    probe(RETURN_PAUSE_MAX);
    assert!(contents[0].is_readable(&store) && store.hold(&contents[0].source()).unwrap().is_some());
    assert!(store.hold(&contents[1].source()).unwrap().is_none());
    heals(&contents[1], &store);
}
