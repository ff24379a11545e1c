//! Room: quotas, full file systems, eviction, and that the charge covers what the file system takes.

use super::*;
use crate::directory::Shortage;
use crate::ram_tier::prepare_ram_tier;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::os::unix::fs::MetadataExt;

/// A tmpfs of a size; unmounted when dropped. Needs root.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(directory: &Path, options: &str) -> Self {
        fs::create_dir_all(directory).unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        let mounted = mount("forebay-test", directory, "tmpfs", MountFlags::empty(), options.as_c_str());
        mounted.expect("tests of full disks mount a tmpfs, which needs root");
        Self(directory.to_owned())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

/// What the files of a tier take.
fn allocated(fixture: &Fixture) -> u64 {
    let files = ["data", "index"].map(|extension| fixture.files(extension)).concat();
    files.iter().map(|path| fs::metadata(path).unwrap().blocks() * 512).sum()
}

#[test]
fn the_least_recently_used_leave_and_held_ones_never() {
    let fixture = Fixture::new(TierKind::Disk, 4 * MIB);
    let store = fixture.open();
    let contents: Vec<Content> = (1..=3).map(|counter| Content::new(counter, MIB)).collect();
    contents.iter().for_each(|content| content.put_all(&store));
    let hold = store.hold(&contents[0].source()).unwrap().unwrap();
    contents[1].read(&store, 0, 1);
    Content::new(4, MIB).put_all(&store);
    assert_eq!(
        contents.iter().map(|content| content.is_complete(&store)).collect::<Vec<_>>(),
        [true, true, false]
    );
    for counter in 5..20 {
        Content::new(counter, MIB).put_all(&store);
        assert!(used(&store) <= 4 * MIB);
    }
    assert_eq!(contents[0].held_bytes(&hold), contents[0].bytes(0, MIB));
    assert!(contents[0].is_readable(&store));
    assert!(store.statistics().evictions >= 15);
    drop(hold);
    (20..24).for_each(|counter| Content::new(counter, MIB).put_all(&store));
    assert!(!contents[0].is_complete(&store));
}

#[test]
fn holds_that_rest_are_wanted_back_before_there_is_no_room() {
    let mut fixture = Fixture::new(TierKind::Disk, 6 * MIB);
    fixture.settings.tiers[0].whole_file_max = ByteCount::new(5 * MIB);
    let store = fixture.open();
    let mut resting = Vec::new();
    for content in (1..=3).map(|counter| Content::new(counter, MIB)) {
        content.put_all(&store);
        let hold = store.hold(&content.source()).unwrap().unwrap();
        assert!(hold.may_rest());
        resting.push(hold.rest());
    }
    // Whoever has them gives back what is wanted, on a thread of its own.
    let resting = Arc::new(Mutex::new(resting));
    let (tell, told) = std::sync::mpsc::channel();
    store.on_wants_back(move || tell.send(()).unwrap());
    let giver = {
        let resting = Arc::clone(&resting);
        std::thread::spawn(move || {
            while told.recv().is_ok() {
                resting.lock().retain(RestingHold::may_rest);
            }
        })
    };
    // Nothing but what rests could make room for it.
    let large = Content::new(4, 5 * MIB);
    large.put_all(&store);
    assert!(large.is_complete(&store) && resting.lock().is_empty());
    assert_eq!(store.statistics().no_space, 0);
    drop(store);
    giver.join().unwrap();
}

#[test]
fn a_version_longer_than_any_that_there_is_is_refused() {
    let fixture = Fixture::new(TierKind::Disk, 4 * MIB);
    let store = fixture.open();
    let put = |length| store.put_page(&Content::new(1, length).source(), PageIndex::new(0), &[0; 1 << 20]);
    assert!(matches!(put(u64::MAX), Err(StoreError::TooLarge { .. })));
    let too_long = Content::new(1, u64::MAX);
    assert_eq!(too_long.read(&store, 5, 10).missing, range(0, 1));
    assert_eq!(store.missing(&too_long.source(), range(3, 2).unwrap()), [3, 4].map(PageIndex::new));
    assert!(put(2 * MIB).is_ok());
}

#[test]
fn a_full_file_system_fails_the_fill_and_the_store_goes_on() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let tmpfs = Tmpfs::mount(fixture.tier(0), "size=8m");
    let store = fixture.open();
    let small = Content::new(1, 110_000);
    small.put_all(&store);
    // Somebody else takes the room after the store has looked.
    let foreign = tmpfs.0.join("foreign");
    fs::write(&foreign, vec![1; 7 << 20]).unwrap();
    let large = Content::new(2, 3 * MIB);
    let put = |page: u32| store.put_page(&large.source(), PageIndex::new(page), &large.page(page));
    let failed = (0..3).map(put).find_map(Result::err).expect("3 MiB do not fit");
    assert!(matches!(failed, StoreError::NoSpace { .. }), "{failed}");
    assert!(store.statistics().no_space > 0);
    for page in 0..3 {
        large.read(&store, page * MIB, MIB);
    }
    let tiny = Content::new(3, 1000);
    tiny.put_all(&store);
    assert!(tiny.is_readable(&store), "what fits by eviction is stored");
    fs::remove_file(&foreign).unwrap();
    let stored = (10..200).filter(|counter| {
        let content = Content::new(*counter, 110_000);
        store.put_page(&content.source(), PageIndex::new(0), &content.page(0)).is_ok()
            && content.is_readable(&store)
    });
    assert!(stored.count() > 150, "the room is used again");
    assert!(used(&store) > 4 * MIB);
    drop(store);
    assert!(fixture.open_with_report().1.versions > 0);
}

#[test]
fn the_charge_covers_what_the_file_system_takes() {
    for kind in [TierKind::Ram, TierKind::Disk] {
        let mut fixture = Fixture::new(kind, 64 * MIB);
        let mut mounted = None;
        if kind == TierKind::Ram {
            let directory = fixture.folder.path().join("ram");
            let tier = prepare_ram_tier(&directory, ByteCount::new(64 * MIB)).unwrap();
            mounted = tier.is_mounted.then(|| Tmpfs(directory));
            fixture.settings.tiers[0].directory = tier.directory;
        }
        let store = fixture.open();
        for (counter, length) in [(1, 0), (2, 1), (3, 110_000), (4, 3 * MIB), (5, 7 * MIB + 1), (6, 12 * MIB)]
        {
            let content = Content::new(counter, length);
            for page in (0..content.page_count()).step_by(2).chain((1..content.page_count()).step_by(2)) {
                content.put(&store, page);
                let (charged, taken) = (used(&store), allocated(&fixture));
                assert!(charged >= taken, "{kind:?} {length} page {page}: {charged} charged, {taken} taken");
            }
        }
        assert!(used(&store) < allocated(&fixture) + 8 * 4096 + MIB, "and not much more");
        drop(store);
        if mounted.is_none() && kind == TierKind::Ram {
            fs::remove_dir_all(fixture.tier(0)).unwrap();
        }
    }
}

#[test]
fn a_tier_below_its_floor_of_free_space_is_seen_from_the_start() {
    let mut fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    let _tmpfs = Tmpfs::mount(fixture.tier(0), "size=8m,nr_inodes=1000");
    let free = |fixture: &Fixture| fixture.open().usage()[0].free.expect("it was asked").get();
    assert!((7 * MIB..=8 * MIB).contains(&free(&fixture)));
    let shortage = |fixture: &Fixture| {
        let directory = TierDirectory::open(fixture.settings.tiers[0].clone(), CLUSTER, false);
        directory.expect("opens all the same").shortage()
    };
    assert_eq!(shortage(&fixture), None);

    fixture.settings.tiers[0].free_floor = FreeFloor::Of { bytes: ByteCount::new(9 * MIB), inodes: 0 };
    assert_eq!(free(&fixture), 0);
    let lacks = shortage(&fixture).expect("less than 9 MiB are free");
    assert!(matches!(lacks, Shortage::Bytes { floor, .. } if floor.get() == 9 * MIB), "{lacks:?}");
    assert!(lacks.to_string().ends_with(", 9MiB must stay free"), "{lacks}");
    let content = Content::new(1, 1000);
    let refused = fixture.open().put_page(&content.source(), PageIndex::new(0), &content.page(0));
    assert!(matches!(refused, Err(StoreError::NoSpace { .. })));

    fixture.settings.tiers[0].free_floor = FreeFloor::Of { bytes: ByteCount::ZERO, inodes: 1000 };
    assert_eq!(free(&fixture), 0);
    let lacks = shortage(&fixture).expect("fewer than 1000 inodes are free");
    assert!(matches!(lacks, Shortage::Inodes { floor: 1000, .. }), "{lacks:?}");
}

#[test]
fn a_file_system_without_inodes_evicts() {
    let fixture = Fixture::new(TierKind::Disk, 64 * MIB);
    // 256 folders and a few files of the store itself.
    let _tmpfs = Tmpfs::mount(fixture.tier(0), "size=64m,nr_inodes=300");
    let store = fixture.open();
    let mut stored = 0;
    for counter in 1..100 {
        let content = Content::new(counter, 1000);
        if store.put_page(&content.source(), PageIndex::new(0), &content.page(0)).is_ok() {
            stored += 1;
        }
    }
    assert!(stored >= 95, "{stored} were stored");
    assert!(store.statistics().evictions > 50);
}
