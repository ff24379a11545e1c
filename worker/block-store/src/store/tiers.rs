//! The tiers of an open store, and what happens when a disk fails and when it is back.
//!
//! A tier that is down has no open directory, so nothing can be asked of it. Its files are left as they are; what the
//! index knew of them is forgotten, and found again as at a start when the tier is opened again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use forebay_types::{ByteCount, ClusterId};
use parking_lot::{Mutex, RwLock};
use tracing::{info, warn};

use super::{Inner, State};
use crate::directory::{TierDirectory, is_broken, is_mount_point, mount_point};
use crate::error::StoreError;
use crate::health::{Health, HealthRecord, Probed};
use crate::index::{TierIndex, TierLimits};
use crate::io::{free_space, is_disk_failure};
use crate::limits::RETURN_BATCH_MAX;
use crate::recovery::{self, Owner, drop_files};
use crate::settings::TierSettings;

/// A tier's settings and, unless it is down, its directory.
#[derive(Debug)]
pub(super) struct TierSlot {
    pub(super) settings: TierSettings,
    directory: RwLock<Option<Arc<TierDirectory>>>,
    /// Taken while the tier is emptied or opened again. Before the store's lock.
    turning: Mutex<Turning>,
}

#[derive(Debug)]
struct Turning {
    /// Whether what the directory holds is still to be deleted.
    format: bool,
    /// Where the tier's file system was mounted. While nothing is mounted there, the directory is another disk's.
    mount_point: Option<PathBuf>,
    /// Why the tier could not be opened the last time.
    obstacle: Option<String>,
}

/// A look at a tier's disk that is due.
#[derive(Debug)]
pub struct DueProbe {
    inner: Arc<Inner>,
    tier: TierIndex,
}

impl TierSlot {
    /// Opens the tier; one whose disk is broken is down.
    pub(super) fn open(settings: TierSettings, cluster: ClusterId, format: bool) -> Result<Self, StoreError> {
        let opened = TierDirectory::open(settings.clone(), cluster, format);
        let mut turning =
            Turning { format: false, mount_point: mount_point(&settings.directory), obstacle: None };
        let directory = match opened {
            Ok(directory) => Some(Arc::new(directory)),
            Err(error) if is_broken(&settings.directory, &error) => {
                warn!(tier = settings.name, directory = %settings.directory.display(), %error,
                    "a tier is down: its disk cannot be used; the others work on, and it is tried again");
                turning = Turning { format, obstacle: Some(error.to_string()), ..turning };
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { settings, directory: RwLock::new(directory), turning: Mutex::new(turning) })
    }

    pub(super) fn directory(&self) -> Option<Arc<TierDirectory>> {
        self.directory.read().clone()
    }

    pub(super) fn limits(&self) -> TierLimits {
        let floor = self.directory().map_or((ByteCount::ZERO, 0), |directory| directory.floor());
        TierLimits {
            kind: self.settings.kind,
            capacity: self.settings.capacity,
            whole_file_max: self.settings.whole_file_max,
            free_bytes_floor: floor.0,
            free_inodes_floor: floor.1,
        }
    }

    pub(super) fn record(&self, now: Instant) -> HealthRecord {
        if self.directory.read().is_some() { HealthRecord::up(now) } else { HealthRecord::down(now) }
    }
}

impl DueProbe {
    /// Looks at the disk, and opens a tier that is back. Blocks for as long as the disk takes; `now` is asked when it is
    /// done.
    pub fn run(self, now: impl FnOnce() -> Instant) {
        let Self { inner, tier } = self;
        let probed = match inner.slot(tier).directory() {
            Some(directory) => directory.probe(),
            None if inner.open_again(tier) => Probed::Well,
            None => Probed::Failed,
        };
        inner.with_health(tier, |record| record.probed(now(), probed));
    }
}

impl Inner {
    pub(super) fn slot(&self, tier: TierIndex) -> &TierSlot {
        &self.tiers[tier.0]
    }

    fn owner(&self) -> Owner {
        Owner { cluster: self.cluster, segment_length: self.segment_length }
    }

    /// The tier's directory; an error that says that nothing is there when the tier is down.
    pub(super) fn directory(&self, tier: TierIndex) -> io::Result<Arc<TierDirectory>> {
        self.slot(tier).directory().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The probes that are due now. Whoever asks runs each, apart from the others: one may hang.
    pub(super) fn due_probes(self: &Arc<Self>, now: Instant) -> Vec<DueProbe> {
        let tiers = (0..self.tiers.len()).map(TierIndex);
        let due = tiers.filter(|tier| {
            self.with_health(*tier, |record| {
                record.tick(now);
                record.begin_probe(now)
            })
        });
        due.map(|tier| DueProbe { inner: Arc::clone(self), tier }).collect()
    }

    /// A call of the tier's disk failed. Counted, and taken as a sign of its health if it is one.
    pub(super) fn disk_failed(&self, tier: TierIndex, error: &io::Error) {
        self.statistics.io_errors.add(1);
        if is_disk_failure(error) {
            self.with_health(tier, |record| record.failed(Instant::now()));
        }
    }

    /// As [`Inner::disk_failed`], for a read of an open file.
    pub(super) fn read_failed(&self, tier: TierIndex) {
        self.statistics.io_errors.add(1);
        self.with_health(tier, |record| record.failed(Instant::now()));
    }

    /// Changes what is known of a disk, and does what follows.
    fn with_health<T>(&self, tier: TierIndex, change: impl FnOnce(&mut HealthRecord) -> T) -> T {
        let mut state = self.state.lock();
        let State { index, health, .. } = &mut *state;
        let record = &mut health[tier.0];
        let before = record.health();
        let result = change(record);
        let after = record.health();
        if before != after {
            index.set_open(tier, after == Health::Up);
        }
        drop(state);
        if before != after {
            self.say(tier, after);
        }
        if before != after && after == Health::Down {
            self.take_down(tier);
            self.say_if_none_is_left();
        }
        result
    }

    fn say(&self, tier: TierIndex, health: Health) {
        let settings = &self.slot(tier).settings;
        let (tier, directory) = (&settings.name, settings.directory.display());
        match health {
            Health::Up => warn!(tier, %directory, "a tier is up again"),
            Health::Unstable => warn!(tier, %directory,
                "a tier is unstable: its disk gave errors; nothing new is put there, what is there is read"),
            Health::Down => warn!(tier, %directory,
                "a tier is down: its disk fails or is gone; what was there is read from the under-store"),
        }
    }

    /// Says so when there is no tier that works.
    pub(super) fn say_if_none_is_left(&self) {
        if self.tiers.iter().all(|slot| slot.directory().is_none()) {
            warn!("no tier is left: everything is read from the under-stores and nothing is cached");
        }
    }

    /// Closes the directory and forgets what it holds.
    fn take_down(&self, tier: TierIndex) {
        let slot = self.slot(tier);
        let _turning = slot.turning.lock();
        let closed = slot.directory.write().take();
        let mut after = None;
        loop {
            let (actions, next) = self.state.lock().index.empty(tier, after, RETURN_BATCH_MAX);
            self.perform(actions);
            if next.is_none() {
                break;
            }
            after = next;
        }
        // Last: closing a file of a disk that does not answer may take long.
        drop(closed);
    }

    /// Opens a tier that is down, if its disk is back, and takes in what it holds. Whether it is open.
    fn open_again(&self, tier: TierIndex) -> bool {
        let slot = self.slot(tier);
        let mut turning = slot.turning.lock();
        let opened = match &turning.mount_point {
            Some(path) if !is_mount_point(path) => Err(format!("nothing is mounted at {}", path.display())),
            _ => TierDirectory::open(slot.settings.clone(), self.cluster, turning.format)
                .map_err(|error| error.to_string())
                .and_then(|directory| match directory.probe() {
                    Probed::Well => Ok(directory),
                    Probed::Failed | Probed::Gone => {
                        Err("what is written there is not read again".to_owned())
                    }
                }),
        };
        let directory = match opened {
            Ok(directory) => Arc::new(directory),
            Err(obstacle) => {
                if turning.obstacle.as_deref() != Some(&obstacle) {
                    warn!(tier = slot.settings.name, obstacle, "a tier stays down");
                }
                turning.obstacle = Some(obstacle);
                return false;
            }
        };
        turning.obstacle = None;
        turning.format = false;
        turning.mount_point = mount_point(&slot.settings.directory);
        self.take_back(tier, &directory);
        true
    }

    fn take_back(&self, tier: TierIndex, directory: &Arc<TierDirectory>) {
        let recovered = recovery::find(&[(tier, Arc::clone(directory))], self.owner());
        let report = recovered.report;
        let mut state = self.state.lock();
        recovered.prepare(&mut state.index);
        state.index.set_floors(tier, directory.floor());
        drop(state);
        *self.slot(tier).directory.write() = Some(Arc::clone(directory));
        for batch in recovered.found.chunks(RETURN_BATCH_MAX) {
            let mut state = self.state.lock();
            let refused: Vec<_> = batch
                .iter()
                .filter(|found| !state.index.take_back(found))
                .map(|found| found.location)
                .collect();
            drop(state);
            // What came to another tier meanwhile is newer.
            refused.iter().for_each(|location| drop_files(directory, location.key));
        }
        // One that was written meanwhile may lack what was not taken in yet.
        self.catalogues.lack_all(tier);
        let too_much = self.state.lock().index.shrink();
        self.perform(too_much);
        if let Ok(free) = free_space(directory.root()) {
            self.state.lock().index.set_free_space(tier, free.bytes, free.inodes);
        }
        self.statistics.recovered_versions.add(report.versions);
        self.statistics.catalogued_versions.add(report.catalogued_versions);
        self.statistics.dropped_versions.add(report.dropped_versions);
        self.statistics.dropped_pages.add(report.dropped_pages);
        info!(tier = self.slot(tier).settings.name, ?report, "a tier was opened again");
    }
}
