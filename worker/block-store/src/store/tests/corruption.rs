//! Wrong bytes on disk: found, counted, never served, and fetched again.

use super::*;
use std::os::unix::fs::FileExt;

fn flip(path: &Path, offset: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0] ^= 0x10;
    file.write_all_at(&byte, offset).unwrap();
}

#[test]
fn no_flipped_byte_of_an_index_file_serves_a_wrong_byte_or_keeps_the_store_shut() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let content = Content::new(1, MIB + 70_000);
    content.put_all(&fixture.open());
    let index = fixture.file("index");
    let length = fs::metadata(&index).unwrap().len();
    let (good, good_data) = (fs::read(&index).unwrap(), fixture.file("data"));
    let data = fs::read(&good_data).unwrap();
    let mut lost = 0;
    for offset in 0..length {
        fs::write(&index, &good).unwrap();
        fs::write(&good_data, &data).unwrap();
        flip(&index, offset);
        let (store, report) = fixture.open_with_report();
        if !content.is_readable(&store) {
            lost += 1;
            assert_eq!(report.dropped_versions + report.dropped_pages, 1, "byte {offset}");
        }
        for page in 0..content.page_count() {
            content.put(&store, page);
        }
        assert!(content.is_readable(&store), "it was filled again after byte {offset}");
        let hold = store.hold(&content.source()).unwrap().expect("complete again");
        assert_eq!(content.held_bytes(&hold), content.bytes(0, content.length()));
        drop(hold);
        drop(store);
        fixture
            .files("index")
            .iter()
            .chain(&fixture.files("data"))
            .for_each(|path| fs::remove_file(path).unwrap());
    }
    assert!(lost >= 2 * 72, "each byte of both records and of the header counts: {lost} of {length}");
}

#[test]
fn a_flipped_byte_of_data_is_found_after_a_restart_and_fetched_again() {
    let content = Content::new(1, 2 * MIB + 70_000);
    for offset in [0, 1, GRANULE_LENGTH, MIB - 1, MIB, 2 * MIB + 69_999] {
        let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
        content.put_all(&fixture.open());
        flip(&fixture.file("data"), offset);
        let store = fixture.open();
        let page = u32::try_from(offset / MIB).unwrap();
        let read = content.read(&store, 0, content.length());
        assert_eq!((read.bytes.len() as u64, read.missing), (u64::from(page) * MIB, range(page, 1)));
        assert_eq!(store.statistics().corrupt_pages, 1);
        assert_eq!(content.put(&store, page), FillOutcome::Stored);
        assert!(content.is_readable(&store));
        assert!(store.hold(&content.source()).unwrap().is_some());
        drop(store);
        assert!(content.is_readable(&fixture.open()), "the healed page has its new record");
    }
}

#[test]
fn a_flipped_byte_is_found_before_a_hold_is_granted() {
    let content = Content::new(1, 2 * MIB);
    for restart in [true, false] {
        let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
        let mut store = fixture.open();
        content.put_all(&store);
        if restart {
            drop(store);
            flip(&fixture.file("data"), MIB + 5);
            store = fixture.open();
        } else {
            flip(&fixture.file("data"), MIB + 5);
        }
        assert!(store.hold(&content.source()).unwrap().is_none());
        assert_eq!(store.statistics().corrupt_pages, 1);
        assert_eq!(content.read(&store, MIB, 10).missing, range(1, 1));
        content.put(&store, 1);
        assert!(store.hold(&content.source()).unwrap().is_some());
        let verified = store.statistics().verified_bytes;
        assert!(store.hold(&content.source()).unwrap().is_some());
        assert_eq!(store.statistics().verified_bytes, verified, "it was verified and did not change since");
    }
}

#[test]
fn a_byte_flipped_while_the_store_is_open_is_not_served() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 110_000);
    content.put_all(&store);
    assert!(content.is_readable(&store));
    flip(&fixture.file("data"), 100_000);
    assert_eq!(content.read(&store, 100_000, 1).missing, range(0, 1));
    assert_eq!(store.statistics().corrupt_pages, 1);
}

#[test]
fn a_corrupt_page_of_a_held_version_gets_a_new_file() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 2 * MIB);
    content.put_all(&store);
    let hold = store.hold(&content.source()).unwrap().unwrap();
    let before = fixture.file("data");
    flip(&before, 7);
    let mut held = content.bytes(0, 2 * MIB);
    held[7] ^= 0x10;
    assert_eq!(content.read(&store, 0, 10).missing, range(0, 1));
    content.put_all(&store);
    assert_ne!(fixture.file("data"), before);
    assert!(content.is_readable(&store));
    assert_eq!(content.held_bytes(&hold), held, "the held file was not touched");
    let clean = store.hold(&content.source()).unwrap().expect("the new file can be held as well");
    assert_eq!(content.held_bytes(&clean), content.bytes(0, 2 * MIB));
}

#[test]
fn files_that_vanish_under_the_open_store_are_missed() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 110_000);
    for extension in ["data", "index"] {
        content.put_all(&store);
        fs::remove_file(fixture.file(extension)).unwrap();
        assert_eq!(content.read(&store, 0, 10).missing, range(0, 1));
        assert!(store.hold(&content.source()).unwrap().is_none());
    }
    assert_eq!((store.statistics().vanished_versions, used(&store)), (2, 0));
}

#[test]
fn a_page_is_stored_although_the_files_of_its_version_vanished() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 2 * MIB);
    let put =
        |page: u32| store.put_page(&content.source(), PageIndex::new(page), &content.page(page)).unwrap();
    for extension in ["data", "index"] {
        assert_eq!(put(0), FillOutcome::Stored);
        fs::remove_file(fixture.file(extension)).unwrap();
        assert_eq!(put(1), FillOutcome::Stored, "{extension}");
        assert_eq!(content.read(&store, 0, 10).missing, range(0, 1), "what vanished is fetched again");
        content.read(&store, MIB, MIB);
        store.drop_version(content.file());
    }
    let statistics = store.statistics();
    assert_eq!((statistics.vanished_versions, statistics.io_errors), (2, 0));
}

#[test]
fn a_data_file_cut_under_the_open_store_is_missed_where_it_ends() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    let content = Content::new(1, 3 * MIB);
    content.put_all(&store);
    fs::File::options().write(true).open(fixture.file("data")).unwrap().set_len(MIB + 5).unwrap();
    assert_eq!(content.read(&store, 0, 3 * MIB).missing, range(1, 1));
    assert!(store.hold(&content.source()).unwrap().is_none());
}

#[test]
fn a_page_that_was_changed_before_the_last_one_was_written_is_found_by_hold_and_read() {
    for by_hold in [true, false] {
        let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
        let (store, content) = (fixture.open(), Content::new(1, 2 * MIB + 70_000));
        content.put(&store, 0);
        content.put(&store, 1);
        flip(&fixture.file("data"), MIB + 77);
        content.put(&store, 2);
        assert!(content.is_complete(&store));
        if by_hold {
            assert!(store.hold(&content.source()).unwrap().is_none());
        } else {
            let read = content.read(&store, 0, content.length());
            assert_eq!((&read.bytes[..], read.missing), (&content.bytes(0, MIB)[..], range(1, 1)));
        }
        assert_eq!(store.statistics().corrupt_pages, 1);
        content.put(&store, 1);
        let hold = store.hold(&content.source()).unwrap().expect("complete again");
        assert_eq!(content.held_bytes(&hold), content.bytes(0, content.length()));
    }
}
