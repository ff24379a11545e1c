//! A worker's disk: pairs of files with pages and their records, as far as the index tells them apart.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use forebay_block_store::{
    GenerationKey, IdentityDigest, Index, IndexAction, Location, PageIndex, PageSet, Restored, TierIndex,
};
use forebay_types::{ByteCount, FileId, PAGE_LENGTH, Timestamp};

use crate::plan::Fault;
use crate::random::Random;
use crate::store::PageBytes;
use crate::world::World;

/// Where the records begin; any number does.
pub(crate) const RECORDS: u64 = 64;
/// What the header of an index file takes at most.
pub(crate) const HEADER_LENGTH: u64 = 1000;

/// What is on one disk. It outlives the worker.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: RefCell<BTreeMap<GenerationKey, Files>>,
}

/// The two files of a generation.
#[derive(Debug)]
struct Files {
    identity: IdentityDigest,
    /// Of the unit, and of its version.
    lengths: (ByteCount, ByteCount),
    /// By their place in the unit.
    pages: BTreeMap<PageIndex, OnDisk>,
    /// When something was written into it last.
    written_at: Duration,
}

#[derive(Clone, Copy, Debug)]
struct OnDisk {
    bytes: PageBytes,
    has_record: bool,
    is_rotten: bool,
}

impl Disk {
    /// Makes the files of a generation, or finds them.
    pub(super) fn create(
        &self,
        key: GenerationKey,
        (identity, length, version_length): (IdentityDigest, ByteCount, ByteCount),
        now: Duration,
    ) {
        let mut files = self.files.borrow_mut();
        let lengths = (length, version_length);
        let new = || Files { identity, lengths, pages: BTreeMap::new(), written_at: now };
        files.entry(key).or_insert_with(new);
    }

    /// Whether both files of a generation are there.
    pub(super) fn has_files(&self, key: GenerationKey) -> bool {
        self.files.borrow().contains_key(&key)
    }

    /// Writes a page's bytes; its record says nothing of it yet.
    pub(super) fn write(&self, key: GenerationKey, (page, bytes): (PageIndex, PageBytes), now: Duration) {
        if let Some(files) = self.files.borrow_mut().get_mut(&key) {
            files.written_at = now;
            files.pages.insert(page, OnDisk { bytes, has_record: false, is_rotten: false });
        }
    }

    /// Writes a page's record, or clears it.
    pub(super) fn set_record(&self, key: GenerationKey, page: PageIndex, has_record: bool) {
        if let Some(files) = self.files.borrow_mut().get_mut(&key)
            && let Some(page) = files.pages.get_mut(&page)
        {
            page.has_record = has_record;
        }
    }

    pub(super) fn remove(&self, key: GenerationKey) {
        self.files.borrow_mut().remove(&key);
    }

    /// A page's bytes, if they have their checksum.
    pub(super) fn read(&self, key: GenerationKey, page: PageIndex) -> Result<PageBytes, ()> {
        let files = self.files.borrow();
        let found = files.get(&key).and_then(|files| files.pages.get(&page));
        found.filter(|page| page.has_record && !page.is_rotten).map(|page| page.bytes).ok_or(())
    }

    /// Whether a page of a version lies here as it was written. That a bit of it rots since is seen when it is read.
    pub(super) fn has(&self, file: FileId, bytes: PageBytes) -> bool {
        let files = self.files.borrow();
        let mut generations = files.iter().filter(|(key, _)| key.unit.file() == file);
        // An empty version has one page of no bytes.
        generations.any(|(_, files)| files.pages.values().any(|page| page.has_record && page.bytes == bytes))
    }

    /// The versions of which something is here, and when that was written last.
    pub(crate) fn versions(&self) -> Vec<(FileId, Duration)> {
        self.files.borrow().iter().map(|(key, files)| (key.unit.file(), files.written_at)).collect()
    }

    /// One bit rots.
    pub(super) fn rot(&self, random: &mut Random) -> Option<String> {
        let mut files = self.files.borrow_mut();
        let count = files.values().map(|files| files.pages.len()).sum::<usize>();
        let chosen = (count > 0).then(|| random.index(count))?;
        let mut all =
            files.iter_mut().flat_map(|(key, files)| files.pages.iter_mut().map(move |page| (key, page)));
        let (key, (number, page)) = all.nth(chosen)?;
        page.is_rotten = true;
        Some(format!("page {number} of {key}"))
    }

    /// The machine stops: what was written last may not have come to the disk, though its record has.
    pub(crate) fn lose_power(&self, random: &mut Random) {
        for files in self.files.borrow_mut().values_mut() {
            for page in files.pages.values_mut() {
                page.is_rotten |= random.chance(1, 10);
                page.has_record &= !random.chance(1, 10);
            }
        }
    }

    /// Tells a new index what is here; gives what is to be deleted.
    pub(super) fn recover(&self, index: &mut Index) -> Vec<IndexAction> {
        let mut stale = Vec::new();
        let mut files = self.files.borrow_mut();
        // The newest generation of a unit counts.
        for (key, found) in files.iter().rev() {
            let (length, version_length) = found.lengths;
            let pages = u32::try_from(length.get().div_ceil(PAGE_LENGTH).max(1)).expect("a few pages");
            let mut present = PageSet::new(pages);
            let recorded = found.pages.iter().filter(|(_, page)| page.has_record);
            for (page, _) in recorded {
                present.insert(*page);
            }
            let restored = Restored {
                location: Location { key: *key, tier: TierIndex(0) },
                identity: found.identity,
                length,
                version_length,
                index_charge: 4096,
                records: RECORDS,
                present,
                allocated: 0,
                changed: Timestamp::from_nanos(1),
                is_confirmed: true,
            };
            if restored.present.is_empty() || !index.restore(&restored) {
                stale.push(*key);
            }
        }
        stale.into_iter().for_each(|key| drop(files.remove(&key)));
        index.shrink()
    }
}

/// The time of one access.
pub(super) async fn wait(world: &Rc<World>) {
    let is_slow = world.plan.has(Fault::DiskSlow) && world.dice("disk", |random| random.chance(1, 30));
    let time = world.dice("disk", |random| random.millis(if is_slow { 3000 } else { 6 }));
    world.sleep(time).await;
}
