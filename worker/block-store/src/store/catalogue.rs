//! Writing catalogues: in turn those of folders that changed while the store is in use, and all of them before it closes.
//!
//! Whoever changes what a catalogue would say marks the folder afterwards. A writer takes the mark first and looks
//! then, so that no change stays unmarked. It lists the folder and asks the index for a few of its units at a time;
//! nobody waits for its disk calls but other writers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;

use super::Inner;
use crate::directory::TierDirectory;
use crate::health::Health;
use crate::index::{Location, TierIndex};
use crate::io::{is_disk_failure, open_for_writing, remove, set_length, write_all_at};
use crate::layout::{
    CatalogueEntry, CatalogueHeader, FOLDER_COUNT, catalogue_path, folder as folder_of, new_catalogue_path,
};
use crate::limits::{CATALOGUE_BATCH_MAX, CATALOGUE_ROUND_MIN, CATALOGUE_THREADS};
use crate::recovery::units_in;
use crate::settings::TierKind;

/// What a step is taken to cost beyond the bytes that it writes: the folder is listed.
const STEP_OVERHEAD: u64 = 64 << 10;

/// Which catalogues lack something.
#[derive(Debug)]
pub(super) struct Catalogues {
    /// Of each tier; `None` where there are none, since a start reads memory fast enough.
    tiers: Vec<Option<Marks>>,
}

#[derive(Debug)]
struct Marks {
    /// Of each folder.
    changed: Box<[AtomicBool]>,
    /// Taken while a catalogue is written.
    writing: Mutex<()>,
}

/// Writes the catalogues of folders that changed, one after the other.
#[derive(Debug)]
pub struct CatalogueWriter {
    inner: Arc<Inner>,
    /// When the round over all folders began.
    began: Instant,
    /// The next folder of the round, those of all tiers counted.
    next: usize,
}

impl Catalogues {
    pub(super) fn new(tiers: impl Iterator<Item = TierKind>) -> Self {
        let marks = |kind| {
            let changed = (0..FOLDER_COUNT).map(|_| AtomicBool::new(false)).collect();
            (kind == TierKind::Disk).then(|| Marks { changed, writing: Mutex::new(()) })
        };
        Self { tiers: tiers.map(marks).collect() }
    }

    /// What a catalogue would say of a unit there has changed.
    pub(super) fn changed(&self, location: Location) {
        self.mark(location.tier, folder_of(location.key.unit));
    }

    /// All catalogues of the tier lack something.
    pub(super) fn lack_all(&self, tier: TierIndex) {
        (0..FOLDER_COUNT).for_each(|folder| self.mark(tier, folder));
    }

    /// The catalogues of these folders lack something.
    pub(super) fn lack(&self, folders: &[(TierIndex, u32)]) {
        folders.iter().for_each(|(tier, folder)| self.mark(*tier, *folder));
    }

    fn mark(&self, tier: TierIndex, folder: u32) {
        if let Some(marks) = &self.tiers[tier.0] {
            marks.changed[folder as usize].store(true, Ordering::Release);
        }
    }
}

impl CatalogueWriter {
    pub(super) fn new(inner: &Arc<Inner>, now: Instant) -> Self {
        Self { inner: Arc::clone(inner), began: now, next: 0 }
    }

    /// Writes the next catalogue that lacks something. About how many bytes that cost; `None`: there is none for now.
    pub fn step(&mut self, now: Instant) -> Option<u64> {
        while self.next < self.inner.folder_count() {
            let place = self.next;
            self.next += 1;
            if let Some(bytes) = self.inner.write_catalogue(place) {
                return Some(bytes);
            }
        }
        if now.saturating_duration_since(self.began) >= CATALOGUE_ROUND_MIN {
            (self.began, self.next) = (now, 0);
        }
        None
    }
}

impl Inner {
    pub(super) fn write_catalogues(&self, until: Instant) {
        let next = AtomicUsize::new(0);
        let work = || {
            while Instant::now() < until {
                let place = next.fetch_add(1, Ordering::Relaxed);
                if place >= self.folder_count() {
                    return;
                }
                self.write_catalogue(place);
            }
        };
        thread::scope(|scope| (0..CATALOGUE_THREADS).for_each(|_| drop(scope.spawn(work))));
    }

    /// Folders of all tiers.
    const fn folder_count(&self) -> usize {
        self.tiers.len() * FOLDER_COUNT as usize
    }

    /// Writes the catalogue of a folder, those of all tiers counted, if it lacks something. About what that cost.
    fn write_catalogue(&self, place: usize) -> Option<u64> {
        let (tier, position) = (TierIndex(place / FOLDER_COUNT as usize), place % FOLDER_COUNT as usize);
        let marks = self.catalogues.tiers[tier.0].as_ref()?;
        let changed = &marks.changed[position];
        let directory = self.slot(tier).directory()?;
        // Nothing new is put on a disk that gives errors.
        if self.state.lock().health[tier.0].health() != Health::Up {
            return None;
        }
        // With the mark, so that nobody else who writes this one has looked later and writes earlier.
        let _writing = marks.writing.lock();
        if !changed.swap(false, Ordering::AcqRel) {
            return None;
        }
        let folder = u32::try_from(position).expect("fewer than FOLDER_COUNT");
        let written = self.catalogue(tier, &directory, folder).and_then(|bytes| {
            put_in_place(&directory, folder, &bytes)?;
            Ok(bytes.len() as u64)
        });
        match written {
            Ok(bytes) => Some(bytes + STEP_OVERHEAD),
            Err(error) => {
                // The one before stays, and says less.
                changed.store(true, Ordering::Release);
                if is_disk_failure(&error) {
                    self.disk_failed(tier, &error);
                }
                tracing::debug!(tier = self.slot(tier).settings.name, folder, %error, "cannot write a catalogue");
                Some(STEP_OVERHEAD)
            }
        }
    }

    /// What a folder's catalogue is to be.
    fn catalogue(&self, tier: TierIndex, directory: &TierDirectory, folder: u32) -> io::Result<Vec<u8>> {
        let keys = units_in(directory, folder)?;
        let mut entries: Vec<CatalogueEntry> = Vec::with_capacity(keys.len());
        for batch in keys.chunks(CATALOGUE_BATCH_MAX) {
            let index = &self.state.lock().index;
            let said = batch.iter().filter_map(|key| index.catalogue_entry(Location { key: *key, tier }));
            entries.extend(said);
        }
        let header = CatalogueHeader { cluster: self.cluster, folder, segment_length: self.segment_length };
        Ok(header.encode(&entries))
    }
}

/// A catalogue is whole or the one before. Not after a power loss: nothing is synced, and its checksums tell.
fn put_in_place(directory: &TierDirectory, folder: u32, bytes: &[u8]) -> io::Result<()> {
    let (root, new) = (directory.root(), new_catalogue_path(folder));
    let write = || {
        let file = open_for_writing(root, &new)?;
        set_length(&file, 0)?;
        write_all_at(&file, bytes, 0)?;
        Ok(rustix::fs::renameat(root, &new, root, catalogue_path(folder))?)
    };
    write().inspect_err(|_| {
        let _ = remove(root, &new);
    })
}
