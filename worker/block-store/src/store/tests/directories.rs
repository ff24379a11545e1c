//! Whose directory it is: the only reasons why the store does not open.

use forebay_types::crc32c;

use super::*;
use crate::layout::FormatFile;

#[test]
fn another_clusters_directory_is_refused_unless_it_is_formatted() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    Content::new(1, 10).put_all(&fixture.open());
    let mut settings = StoreSettings { cluster: ClusterId::new([2; 16]), ..fixture.settings.clone() };
    let refused = BlockStore::open(settings.clone());
    assert!(matches!(refused, Err(StoreError::WrongCluster { found: CLUSTER, .. })));
    assert!(Content::new(1, 10).is_complete(&fixture.open()), "nothing was deleted");
    settings.format = true;
    let (store, report) = BlockStore::open(settings).unwrap();
    assert_eq!((report, used(&store)), (RecoveryReport::default(), 0));
    assert_eq!(fixture.files("data").len(), 0);
}

#[test]
fn an_open_directory_is_refused() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let store = fixture.open();
    assert!(matches!(BlockStore::open(fixture.settings.clone()), Err(StoreError::InUse { .. })));
    drop(store);
    fixture.open();
}

#[test]
fn a_later_format_is_refused_and_a_damaged_format_file_is_written_anew() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let content = Content::new(1, 10);
    content.put_all(&fixture.open());
    let path = fixture.tier(0).join("format");
    let good = fs::read(&path).unwrap();
    for position in 0..good.len() {
        let mut flipped = good.clone();
        flipped[position] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert!(content.is_complete(&fixture.open()), "byte {position}");
        assert_eq!(fs::read(&path).unwrap(), good);
    }
    let mut later = FormatFile { cluster: CLUSTER, has_segments: true }.encode();
    later[8] = 3;
    let checksum = crc32c::crc32c(&later[..28]);
    later[28..].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&path, later).unwrap();
    assert!(matches!(
        BlockStore::open(fixture.settings.clone()),
        Err(StoreError::UnknownFormat { version: 3, .. })
    ));
}

#[test]
fn with_a_damaged_format_file_another_clusters_versions_are_dropped() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    Content::new(1, 10).put_all(&fixture.open());
    fs::write(fixture.tier(0).join("format"), "?").unwrap();
    let settings = StoreSettings { cluster: ClusterId::new([2; 16]), ..fixture.settings.clone() };
    let (_, report) = BlockStore::open(settings).unwrap();
    assert_eq!((report.versions, report.dropped_versions), (0, 1));
}

#[test]
fn a_directory_that_cannot_be_made_and_settings_that_cannot_work_are_refused() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    fs::write(fixture.folder.path().join("tier0"), "a file").unwrap();
    assert!(matches!(
        BlockStore::open(fixture.settings.clone()),
        Err(StoreError::Directory { action: "make", .. })
    ));
    let none = StoreSettings { tiers: Vec::new(), ..fixture.settings.clone() };
    assert!(matches!(BlockStore::open(none), Err(StoreError::Settings { .. })));
    let mut twice = fixture.settings.clone();
    twice.tiers.push(twice.tiers[0].clone());
    assert!(matches!(BlockStore::open(twice), Err(StoreError::Settings { .. })));
}
