//! Catalogues: what a start takes from them, when they are written, and that any other one is as none.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::restart::Committed;
use super::*;
use crate::layout::folder;
use crate::limits::{CATALOGUE_ROUND_MIN, ERROR_SPAN, UNSTABLE_ERRORS};
use crate::unit::UnitId;

/// Ends as a worker does that is stopped.
pub(super) fn end(store: BlockStore) {
    store.write_catalogues(Instant::now() + Duration::from_secs(600));
}

impl Fixture {
    /// The catalogues of a tier and what they hold.
    pub(super) fn catalogues(&self, tier: usize) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(self.tier(tier).join("blocks/catalogue")).unwrap();
        files.map(|file| file.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    pub(super) fn catalogue_of(&self, content: &Content) -> PathBuf {
        let name = format!("{:02x}", folder(UnitId::whole(content.file())));
        self.tier(0).join("blocks/catalogue").join(name)
    }
}

fn contents(count: u64) -> Vec<Content> {
    (1..=count).map(|counter| Content::new(counter, 1000 * counter)).collect()
}

#[test]
fn what_was_complete_is_taken_from_catalogues_and_verified_before_it_is_trusted() {
    let fixture = Fixture::with_tiers(&[(TierKind::Ram, 4 * MIB), (TierKind::Disk, 64 * MIB)]);
    let store = fixture.open();
    let committed = Committed::put(&store);
    let before = (used(&store), store.list(None, 100));
    assert_eq!(store.usage()[1].versions, 2);
    end(store);
    assert!(fixture.catalogues(0).is_empty(), "a start reads memory fast enough");
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.pages, report.catalogued_versions), (5, Committed::PAGES, 1));
    assert_eq!((report.foreign_files, report.dropped_versions), (0, 0));
    assert_eq!((used(&store), store.list(None, 100)), before);
    committed.expect_in(&store);
}

#[test]
fn a_killed_process_costs_the_look_at_what_changed_since_and_no_more() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let contents = contents(30);
    contents[..20].iter().for_each(|content| content.put_all(&store));
    end(store);
    let (store, _) = fixture.open_with_report();
    contents[20..].iter().for_each(|content| content.put_all(&store));
    store.drop_version(contents[0].file());
    drop(store);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.catalogued_versions), (29, 19));
    assert!(!contents[0].is_complete(&store), "what left is forgotten");
    assert!(contents[1..].iter().all(|content| content.is_readable(&store)));
    end(store);
    let (_, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.catalogued_versions), (29, 29));
}

#[test]
fn segments_are_listed_as_whole_versions_are_and_those_of_another_length_are_dropped() {
    let mut fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    fixture.settings.segment_length = ByteCount::new(2 * MIB);
    fixture.settings.tiers[0].whole_file_max = ByteCount::new(3 * MIB);
    let content = Content::new(1, 5 * MIB + 70_000);
    let store = fixture.open();
    for page in [0, 1, 2, 4, 5] {
        content.put(&store, page);
    }
    let before = (used(&store), store.list(None, 10));
    end(store);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.catalogued_versions), (3, 2), "the second one lacks a page");
    assert_eq!((used(&store), store.list(None, 10)), before);
    content.put(&store, 3);
    assert!(content.is_complete(&store) && content.is_readable(&store));
    end(store);
    fixture.settings.segment_length = ByteCount::new(4 * MIB);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.dropped_versions, used(&store)), (0, 3, 0));
}

#[test]
fn what_was_written_first_leaves_first_after_a_start_by_catalogues() {
    let mut fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let contents = [Content::new(3, MIB), Content::new(2, MIB), Content::new(1, MIB)];
    contents.iter().for_each(|content| content.put_all(&store));
    end(store);
    fixture.settings.tiers[0].capacity = ByteCount::new(2 * MIB + 64 * 1024);
    let (store, report) = fixture.open_with_report();
    assert_eq!(report.catalogued_versions, 3);
    assert_eq!(contents.map(|content| content.is_complete(&store)), [false, true, true]);
}

#[test]
fn a_catalogue_that_is_missing_damaged_foreign_or_of_a_later_format_costs_only_the_look_into_its_folder() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let contents = contents(8);
    let store = fixture.open();
    contents.iter().for_each(|content| content.put_all(&store));
    end(store);
    let path = fixture.catalogue_of(&contents[0]);
    let neighbours = contents.iter().filter(|content| fixture.catalogue_of(content) == path).count() as u64;
    let good = fs::read(&path).unwrap();
    let other = fs::read(fixture.catalogue_of(&contents[1])).unwrap();
    let mut later = good.clone();
    later[8] = 2;
    let mut flipped = good.clone();
    flipped[70] ^= 1;
    let cut = good[..good.len() - 1].to_vec();
    for bad in [Vec::new(), vec![0; good.len()], other, later, flipped, cut] {
        fs::write(&path, bad).unwrap();
        let (store, report) = fixture.open_with_report();
        assert_eq!((report.versions, report.catalogued_versions), (8, 8 - neighbours));
        assert!(contents.iter().all(|content| content.is_readable(&store)));
        end(store);
        assert_eq!(fs::read(&path).unwrap().len(), good.len(), "it is written anew");
        assert_eq!(fixture.open_with_report().1.catalogued_versions, 8);
    }
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.catalogued_versions), (8, 0));
    end(store);
    assert_eq!(fixture.open_with_report().1.catalogued_versions, 8);
}

#[test]
fn where_no_catalogue_can_be_written_the_store_works_without() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    fs::create_dir_all(fixture.tier(0).join("blocks")).unwrap();
    fs::write(fixture.tier(0).join("blocks/catalogue"), "mine").unwrap();
    let content = Content::new(1, 1000);
    let store = fixture.open();
    content.put_all(&store);
    end(store);
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.catalogued_versions), (1, 0));
    assert!(content.is_readable(&store));
    assert_eq!(fs::read(fixture.tier(0).join("blocks/catalogue")).unwrap(), b"mine");
}

#[test]
fn what_a_killed_writer_left_is_in_nobodys_way() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let content = Content::new(1, 1000);
    let store = fixture.open();
    content.put_all(&store);
    let path = fixture.catalogue_of(&content);
    fs::write(path.with_extension("new"), vec![1; 10_000]).unwrap();
    end(store);
    assert!(!path.with_extension("new").exists());
    assert!(fs::read(path).unwrap().len() < 1000);
    assert_eq!(fixture.open_with_report().1.catalogued_versions, 1);
}

#[test]
fn formatting_and_another_cluster_forget_the_catalogues() {
    let mut fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let content = Content::new(1, 1000);
    let store = fixture.open();
    content.put_all(&store);
    end(store);
    fs::write(fixture.tier(0).join("format"), "?").unwrap();
    let settings = StoreSettings { cluster: ClusterId::new([2; 16]), ..fixture.settings.clone() };
    let (_, report) = BlockStore::open(settings).unwrap();
    assert_eq!((report.versions, report.dropped_versions), (0, 1));
    fs::remove_file(fixture.tier(0).join("format")).unwrap();
    let store = fixture.open();
    content.put_all(&store);
    end(store);
    fixture.settings.format = true;
    let (_, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.orphan_files, fixture.catalogues(0).len()), (0, 0, 0));
}

/// Steps until there is nothing to write; how often.
fn write_all(writer: &mut CatalogueWriter, now: Instant) -> usize {
    std::iter::from_fn(|| writer.step(now)).count()
}

#[test]
fn while_the_store_is_in_use_a_folder_that_changed_is_written_once_a_round_and_no_other() {
    let fixture = Fixture::with_tiers(&[(TierKind::Disk, 64 * MIB), (TierKind::Disk, 64 * MIB)]);
    let store = fixture.open();
    let begin = Instant::now();
    let mut writer = store.catalogue_writer(begin);
    assert_eq!(write_all(&mut writer, begin), 2 * 256, "there was none");
    let content = Content::new(1, 1000);
    content.put_all(&store);
    let long_ago = UNIX_EPOCH + Duration::from_secs(1);
    let set_back = |path: &PathBuf| fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    fixture.catalogues(0).keys().for_each(set_back);
    assert_eq!(write_all(&mut writer, begin), 0, "this round is over");
    let later = begin + CATALOGUE_ROUND_MIN;
    assert_eq!(write_all(&mut writer, later), 0, "the next one begins");
    assert_eq!(write_all(&mut writer, later), 1);
    let times: Vec<SystemTime> =
        fixture.catalogues(0).keys().map(|path| fs::metadata(path).unwrap().modified().unwrap()).collect();
    assert_eq!(times.iter().filter(|time| **time != long_ago).count(), 1);
    store.drop_version(content.file());
    let later = later + CATALOGUE_ROUND_MIN;
    assert_eq!((write_all(&mut writer, later), write_all(&mut writer, later)), (0, 1));
    content.put_all(&store);
    let later = later + CATALOGUE_ROUND_MIN;
    assert_eq!((write_all(&mut writer, later), write_all(&mut writer, later)), (0, 1));
    drop((store, writer));
    let (store, report) = fixture.open_with_report();
    assert_eq!((report.versions, report.catalogued_versions), (1, 1));
    let mut writer = store.catalogue_writer(begin);
    assert_eq!(write_all(&mut writer, begin), 0, "what a start took from them need not be written");
}

#[test]
fn nothing_is_written_to_a_disk_that_gives_errors_before_it_is_up_again() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 1000);
    content.put_all(&store);
    let begin = Instant::now();
    for _ in 0..UNSTABLE_ERRORS {
        store.inner.disk_failed(TierIndex(0), &io::Error::from_raw_os_error(5));
    }
    store.write_catalogues(begin + Duration::from_secs(600));
    assert!(fixture.catalogues(0).is_empty());
    let later = begin + ERROR_SPAN + Duration::from_secs(1);
    store.due_probes(later).into_iter().for_each(|probe| probe.run(|| later));
    end(store);
    assert_eq!(fixture.open_with_report().1.catalogued_versions, 1);
}

#[test]
fn catalogues_are_written_while_versions_come_and_go_and_say_nothing_wrong() {
    let fixture = Fixture::new(TierKind::Disk, 3 * MIB);
    let store = fixture.open();
    let contents: Vec<_> = (1..=60).map(|counter| Content::new(counter, 70_000 + counter)).collect();
    std::thread::scope(|scope| {
        let filling: Vec<_> = (0..3_usize)
            .map(|thread| {
                let (store, contents) = (&store, &contents);
                scope.spawn(move || {
                    for round in 0..200 {
                        let content = &contents[(round * 7 + thread * 13) % contents.len()];
                        if let Err(error) =
                            store.put_page(&content.source(), PageIndex::new(0), &content.page(0))
                        {
                            assert!(matches!(error, StoreError::NoSpace { .. }), "{error}");
                        }
                        if round % 5 == 0 {
                            store.drop_version(contents[(round * 11 + thread) % contents.len()].file());
                        }
                    }
                })
            })
            .collect();
        while filling.iter().any(|thread| !thread.is_finished()) {
            store.write_catalogues(Instant::now() + Duration::from_secs(600));
        }
    });
    let kept = store.list(None, 100);
    let last = store.catalogue_writer(Instant::now()).step(Instant::now());
    drop(store);
    let (store, report) = fixture.open_with_report();
    assert_eq!(store.list(None, 100), kept, "{last:?}");
    assert!(report.catalogued_versions > 0, "{report:?}");
    for content in contents.iter().filter(|content| content.is_complete(&store)) {
        assert!(content.is_readable(&store));
    }
    let statistics = store.statistics();
    assert_eq!((statistics.corrupt_pages, statistics.vanished_versions), (0, 0));
}
