//! The block store as the worker uses it: thread-safe, blocking, meant to be called on an IO pool.
//!
//! A thin shell around the index: it asks under a short lock, does the disk work without it, and reports back. The one
//! lock is never held across a system call on a tier.

mod adopt;
mod catalogue;
mod confirm;
mod fill;
mod hold;
mod lend;
mod moves;
mod open_versions;
mod read;
mod scrub;
mod tiers;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use forebay_types::{ByteCount, ClusterId, FileId, FileOffset, Incarnation, PageRecord};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::{info, warn};

pub use self::catalogue::CatalogueWriter;
use self::catalogue::Catalogues;
pub use self::fill::{Fill, FillOutcome, FillStart};
use self::hold::Listener;
pub use self::hold::{Hold, HoldId, RestingHold};
pub use self::lend::{Lend, RestingLend};
pub use self::moves::Mover;
use self::open_versions::{OpenVersion, OpenVersions};
use self::read::Fault;
pub use self::read::ReadOutcome;
pub use self::scrub::Scrubber;
pub use self::tiers::DueProbe;
use self::tiers::TierSlot;
use crate::directory::{TierDirectory, is_broken, path_of};
use crate::error::StoreError;
use crate::health::HealthRecord;
use crate::index::{
    Action, CachedVersion, ChangeCursor, Changes, Demand, Index, Location, Presence, Reason, TierIndex,
    TierUsage,
};
use crate::io::{free_space, open_for_changing, remove, write_all_at};
use crate::layout::{FileKind, relative_path};
use crate::limits::{CHANGES_PAGE_MAX, FILLS_WAITING_MAX, SPACE_SAMPLE_INTERVAL, WANTED_BACK_PATIENCE};
use crate::page::{PageIndex, PageRange};
use crate::recovery::{self, Owner, RecoveryReport};
use crate::settings::{StoreSettings, TierKind, TierSettings};
use crate::source::VersionSource;
use crate::statistics::{Statistics, StatisticsSnapshot};

/// The cached bytes of one worker. A clone is another handle of the same store.
///
/// Dropping the last handle, hold and fill closes the directories; there is nothing else to shut down.
#[derive(Clone, Debug)]
pub struct BlockStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster: ClusterId,
    segment_length: ByteCount,
    tiers: Vec<TierSlot>,
    /// The lock of what the store knows; never held across disk work.
    state: Mutex<State>,
    /// Told when files were deleted or made, or a version was let go: somebody may wait for that.
    changed: Condvar,
    reservations: AtomicU64,
    /// Numbers holds and lends.
    holds: AtomicU64,
    statistics: Statistics,
    catalogues: Catalogues,
    /// Whom to tell that holds may not rest any more.
    wants_back: OnceLock<Listener>,
}

#[derive(Debug)]
struct State {
    index: Index,
    open: OpenVersions,
    /// Of each tier.
    health: Vec<HealthRecord>,
    /// When holds were last wanted back.
    wanted_back: Option<Instant>,
    /// Fills that wait for them.
    fills_waiting: usize,
}

impl BlockStore {
    /// Looks whether the directories of `tiers` could be opened, and makes those that are missing.
    ///
    /// # Errors
    /// When one cannot be made or written, or is in use, other than because its disk is broken.
    pub fn check(tiers: &[TierSettings]) -> Result<(), StoreError> {
        tiers.iter().try_for_each(|tier| match TierDirectory::check(tier) {
            Err(error) if is_broken(&tier.directory, &error) => Ok(()),
            checked => checked,
        })
    }

    /// Opens the directories and finds again what they hold. A tier whose disk is broken is down, and opened when
    /// it is back.
    ///
    /// # Errors
    /// When a setting cannot work, a directory cannot be made or written or is in use, or belongs to another cluster or
    /// a later format. Never because of a broken disk, nor of bad cache contents: they are dropped, and the report
    /// counts them.
    pub fn open(settings: StoreSettings) -> Result<(Self, RecoveryReport), StoreError> {
        settings.validate()?;
        let segment_pages = settings.segment_pages().expect("validated");
        let StoreSettings { cluster, mut tiers, eviction, segment_length, format } = settings;
        tiers.sort_by_key(|tier| tier.kind);
        let open = |tier| TierSlot::open(tier, cluster, format);
        let tiers = tiers.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut index = Index::new(tiers.iter().map(TierSlot::limits).collect(), segment_pages, eviction);
        let mut working = Vec::with_capacity(tiers.len());
        for (tier, slot) in (0..).map(TierIndex).zip(&tiers) {
            let directory = slot.directory();
            index.set_open(tier, directory.is_some());
            working.extend(directory.map(|directory| (tier, directory)));
        }
        let owner = Owner { cluster, segment_length };
        let recovered = recovery::recover(&working, owner, &mut index);
        let report = recovered.report;
        let catalogues = Catalogues::new(tiers.iter().map(|tier| tier.settings.kind));
        catalogues.lack(&recovered.uncatalogued);
        let statistics = Statistics::default();
        statistics.recovered_versions.add(report.versions);
        statistics.catalogued_versions.add(report.catalogued_versions);
        statistics.dropped_versions.add(report.dropped_versions);
        statistics.dropped_pages.add(report.dropped_pages);
        let too_much = index.shrink();
        let now = Instant::now();
        let health = tiers.iter().map(|tier| tier.record(now)).collect();
        let inner = Inner {
            cluster,
            segment_length,
            state: Mutex::new(State {
                index,
                open: OpenVersions::default(),
                health,
                wanted_back: None,
                fills_waiting: 0,
            }),
            tiers,
            changed: Condvar::new(),
            reservations: AtomicU64::new(0),
            holds: AtomicU64::new(0),
            statistics,
            catalogues,
            wants_back: OnceLock::new(),
        };
        inner.perform(too_much);
        inner.look_at_free_space();
        info!(?report, tiers = inner.tiers.len(), %eviction, "block store opened");
        inner.say_if_none_is_left();
        Ok((Self { inner: Arc::new(inner) }, report))
    }

    /// Says which life's ids are asked for from now on. What is here under ids of others can be adopted.
    pub fn begin_life(&self, life: Incarnation) {
        self.inner.state.lock().index.begin_life(life);
    }

    /// Whether it is worth a call of [`BlockStore::adopt`]. Quick.
    #[must_use]
    pub fn may_adopt(&self, source: &VersionSource<'_>) -> bool {
        self.inner.candidate(source).is_some()
    }

    /// Lets the version be what is here under an id of another life, if that is the same content by its whole identity:
    /// URI, length, and version id, tag or times. Whether it is now. Reads a header from the disk.
    pub fn adopt(&self, source: &VersionSource<'_>) -> bool {
        self.inner.adopt(source)
    }

    /// How much of the version is here; `None` when nothing is. Does not count as use.
    #[must_use]
    pub fn presence(&self, source: &VersionSource<'_>) -> Option<Presence> {
        self.inner.refuse_other(source);
        self.inner.state.lock().index.presence(source.file())
    }

    /// Which of some pages are not here. Does not count as use.
    #[must_use]
    pub fn missing(&self, source: &VersionSource<'_>, pages: PageRange) -> Vec<PageIndex> {
        self.inner.refuse_other(source);
        self.inner.state.lock().index.missing(source.file(), source.descriptor.length(), pages)
    }

    /// Whether all that is here of some pages, if anything is, lies in memory. Does not count as use.
    #[must_use]
    pub fn is_in_memory(&self, source: &VersionSource<'_>, pages: PageRange) -> bool {
        self.inner.refuse_other(source);
        let kind = self.inner.state.lock().index.kind_of(source.file(), source.descriptor.length(), pages);
        kind == Some(TierKind::Ram)
    }

    /// Reads from `offset` on, at most `length` bytes and at most [`crate::limits::READ_LENGTH_MAX`], up to the end of the
    /// version or of its segment, or the first page that is not here. Each byte returned belongs to a granule that had its checksum.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the files are there but cannot be opened. The caller does as if the bytes were missing.
    pub fn read(
        &self,
        source: &VersionSource<'_>,
        offset: FileOffset,
        length: ByteCount,
    ) -> Result<ReadOutcome, StoreError> {
        self.inner.read(source, offset, length)
    }

    /// Begins to store a page. Of several who fill one page, one writes and the others are told so.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`], [`StoreError::Declined`], [`StoreError::TooLarge`], [`StoreError::IdentityTooLong`],
    /// [`StoreError::NoSuchPage`] or [`StoreError::Io`]. The caller serves the bytes without storing them.
    pub fn begin_fill(
        &self,
        source: &VersionSource<'_>,
        page: PageIndex,
        demand: Demand,
    ) -> Result<FillStart, StoreError> {
        fill::begin(&self.inner, source, page, demand)
    }

    /// Stores a whole page, whoever has to leave for it: `bytes` are all that it has. An empty version has one page,
    /// number 0, of no bytes.
    ///
    /// # Errors
    /// As [`BlockStore::begin_fill`] for [`Demand::Load`], and [`StoreError::PageLength`].
    pub fn put_page(
        &self,
        source: &VersionSource<'_>,
        page: PageIndex,
        bytes: &[u8],
    ) -> Result<FillOutcome, StoreError> {
        match self.begin_fill(source, page, Demand::Load)? {
            FillStart::Writing(mut fill) => {
                fill.write(bytes)?;
                fill.commit()
            }
            FillStart::Present => Ok(FillOutcome::AlreadyPresent),
            FillStart::InProgress => Ok(FillOutcome::InProgress),
        }
    }

    /// Holds a complete version, so that its file does not change while somebody reads it past this store. `None` when
    /// the version is not complete, is cut into segments, was found corrupt just now, or too much of its tier is held.
    ///
    /// Quick for a version that this process verified, or wrote at once as a file of one page, and whose file did not change
    /// since; else all of it is read and verified first.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the file is there but cannot be opened.
    pub fn hold(&self, source: &VersionSource<'_>) -> Result<Option<Hold>, StoreError> {
        hold::hold(&self.inner, source)
    }

    /// Whether [`lend`](Self::lend) has files to lend, as far as is known without a visit to the disk. Does not count as use.
    #[must_use]
    pub fn can_lend(&self, source: &VersionSource<'_>) -> bool {
        self.inner.refuse_other(source);
        self.inner.state.lock().index.can_lend(source.file())
    }

    /// Lends the version's files, complete or not, to somebody who verifies what it reads by the records of the pages. `None`
    /// when no page is here, or it is kept in segments.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the files are there but cannot be opened.
    pub fn lend(&self, source: &VersionSource<'_>) -> Result<Option<Lend>, StoreError> {
        lend::lend(&self.inner, source)
    }

    /// Says that somebody goes on reading the version past the store.
    pub fn used_unseen(&self, source: &VersionSource<'_>) {
        self.inner.state.lock().index.used_unseen(source.file());
    }

    /// Calls `listener` whenever holds may not rest any more that could before, as [`RestingHold::may_rest`] says, or lends
    /// are to be given back, as [`RestingLend::is_current`] does: soon,
    /// from any thread, perhaps once for many. It must be quick and ask the store nothing. The first listener stays.
    pub fn on_wants_back(&self, listener: impl Fn() + Send + Sync + 'static) {
        let _ = self.inner.wants_back.set(Listener(Box::new(listener)));
    }

    /// Lets a version go. Whoever holds it keeps what it has; the room is given back when the last hold ends. Whether
    /// there was one.
    pub fn drop_version(&self, file: FileId) -> bool {
        let actions = self.inner.state.lock().index.detach(file, Reason::Freed);
        self.inner.perform(actions)
    }

    /// Nobody asks for a version under its id any more. It stays, and can be adopted by another id of the same content.
    pub fn disown_version(&self, file: FileId) {
        if self.inner.state.lock().index.disown(file) {
            self.inner.statistics.disowned_versions.add(1);
        }
    }

    /// The versions after `after` in the order of their ids, at most `max` and at most
    /// [`crate::limits::CHANGES_PAGE_MAX`]. Empty: there are no more.
    #[must_use]
    pub fn list(&self, after: Option<FileId>, max: usize) -> Vec<CachedVersion> {
        self.inner.state.lock().index.list(after, max.min(CHANGES_PAGE_MAX))
    }

    /// A cursor behind all that has changed until now. Take it before listing everything.
    #[must_use]
    pub fn cursor(&self) -> ChangeCursor {
        self.inner.state.lock().index.cursor()
    }

    /// What changed after `cursor`.
    #[must_use]
    pub fn changes_since(&self, cursor: ChangeCursor) -> Changes {
        self.inner.state.lock().index.changes_since(cursor)
    }

    /// Looks at what the file systems have free; [`TierUsage::free`](crate::TierUsage) says it then. The store itself
    /// looks now and then while it is filled. May block on a disk that does not answer.
    pub fn look_at_free_space(&self) {
        self.inner.look_at_free_space();
    }

    /// Lets time go by, and gives the looks at disks that are due. Quick; to be called about each second. Each look is to
    /// be run where it may block, apart from the others.
    #[must_use]
    pub fn due_probes(&self, now: Instant) -> Vec<DueProbe> {
        self.inner.due_probes(now)
    }

    /// Whoever verifies what nobody reads. One is enough.
    #[must_use]
    pub fn scrubber(&self, now: Instant) -> Scrubber {
        Scrubber::new(&self.inner, now)
    }

    /// Whoever writes into catalogues what changed, while the store is in use. One is enough.
    #[must_use]
    pub fn catalogue_writer(&self, now: Instant) -> CatalogueWriter {
        CatalogueWriter::new(&self.inner, now)
    }

    /// Writes into the catalogues all that changed, so that the next start finds the store quickly. To be called last;
    /// gives up at `until`. What is not written is found out of the files at the next start.
    pub fn write_catalogues(&self, until: Instant) {
        self.inner.write_catalogues(until);
    }

    /// Whoever moves units between memory and the disks. One is enough; until there is one, nothing is moved.
    #[must_use]
    pub fn mover(&self) -> Mover {
        Mover::new(&self.inner)
    }

    /// What each tier has and holds, fastest first.
    #[must_use]
    pub fn usage(&self) -> Vec<TierUsage> {
        let state = self.inner.state.lock();
        let usage = self.inner.tiers.iter().enumerate().map(|(position, tier)| {
            let settings = &tier.settings;
            let counts = state.index.tier_counts(TierIndex(position));
            TierUsage {
                name: settings.name.clone(),
                directory: settings.directory.clone(),
                kind: settings.kind,
                capacity: settings.capacity,
                used: ByteCount::new(counts.used),
                held: ByteCount::new(counts.held),
                free: counts.free.map(ByteCount::new),
                versions: counts.versions,
                health: state.health[position].health(),
            }
        });
        usage.collect()
    }

    /// What the store did since it was opened.
    #[must_use]
    pub fn statistics(&self) -> StatisticsSnapshot {
        self.inner.statistics.snapshot()
    }
}

impl Inner {
    /// Lets a version go whose id means another content now.
    fn refuse_other(&self, source: &VersionSource<'_>) {
        let digest = source.digest();
        let actions = self.state.lock().index.refuse_other(source.file(), digest);
        self.perform(actions);
    }

    /// Does what the index asked for, until it asks for nothing more. Whether there was anything.
    fn perform(&self, actions: Vec<Action>) -> bool {
        let some = !actions.is_empty();
        let mut waiting = actions;
        while let Some(action) = waiting.pop() {
            match action {
                Action::Remove(location, reason) => self.remove_files(location, reason),
                Action::ClearRecord(location, page, offset) => {
                    self.clear_record(location, offset);
                    self.catalogues.changed(location);
                    waiting.extend(self.state.lock().index.abort(location.key, page));
                    self.changed.notify_all();
                }
            }
        }
        if some {
            self.tell_wants_back();
        }
        some
    }

    fn tell_wants_back(&self) {
        self.tell_wants_back_of(&mut self.state.lock());
    }

    fn tell_wants_back_of(&self, state: &mut State) {
        if state.index.take_wants_back()
            && let Some(listener) = self.wants_back.get()
        {
            state.wanted_back = Some(Instant::now());
            listener.0();
        }
    }

    /// Waits until something left, if holds were wanted back a moment ago. Whether that is worth another attempt.
    fn wait_for_resting(&self, state: &mut MutexGuard<'_, State>) -> bool {
        let Some(wanted) = state.wanted_back else {
            // Nobody was told.
            state.index.await_no_more();
            return false;
        };
        if state.fills_waiting >= FILLS_WAITING_MAX {
            return false;
        }
        state.fills_waiting += 1;
        let waited = self.changed.wait_until(state, wanted + WANTED_BACK_PATIENCE);
        state.fills_waiting -= 1;
        if waited.timed_out() {
            state.index.await_no_more();
        }
        !waited.timed_out()
    }

    fn remove_files(&self, location: Location, reason: Reason) {
        let counter = match reason {
            Reason::Evicted => Some(&self.statistics.evictions),
            Reason::Replaced => Some(&self.statistics.replaced_versions),
            Reason::Vanished => Some(&self.statistics.vanished_versions),
            Reason::Freed
            | Reason::Moved
            | Reason::CalledOff
            | Reason::Empty
            | Reason::Corrupt
            | Reason::Disk
            | Reason::LateWriter => None,
        };
        if let Some(counter) = counter {
            counter.add(1);
        }
        self.catalogues.changed(location);
        // Descriptors keep deleted bytes alive. Closed after the lock: closing the last one frees the room.
        let open = self.state.lock().open.remove(location.key);
        drop(open);
        // The files of a tier that is down stay, and are found when it is back.
        if let Ok(directory) = self.directory(location.tier) {
            self.delete_files(&directory, location);
        }
        self.state.lock().index.removed(location.key);
        self.changed.notify_all();
    }

    fn delete_files(&self, directory: &TierDirectory, location: Location) {
        // The index first: a data file without one is an orphan, the other way round it would look torn.
        for kind in [FileKind::Index, FileKind::Data] {
            let path = relative_path(location.key, kind);
            if let Err(error) = remove(directory.root(), &path) {
                self.disk_failed(location.tier, &error);
                warn!(%path, %error, "cannot delete a cache file");
            }
        }
    }

    fn clear_record(&self, location: Location, offset: u64) {
        let path = relative_path(location.key, FileKind::Index);
        let Ok(directory) = self.directory(location.tier) else { return };
        let cleared = open_for_changing(directory.root(), &path)
            .and_then(|file| write_all_at(file, &PageRecord::ABSENT, offset));
        // If it failed the record stays, and its page is found corrupt once more after a restart.
        if let Err(error) = cleared {
            self.disk_failed(location.tier, &error);
            warn!(%path, %error, "cannot clear the record of a corrupt page");
        }
    }

    /// A unit's files, open for reading. `NotFound`: they vanished.
    fn open_version(&self, location: Location) -> io::Result<Arc<OpenVersion>> {
        // First: what was open when the tier went down is not asked any more.
        let directory = self.directory(location.tier)?;
        let mut state = self.state.lock();
        if let Some(open) = state.open.get(location.key) {
            return Ok(open);
        }
        let claim = state.index.unconfirmed(location.key);
        drop(state);
        let opened = Arc::new(OpenVersion::open(directory.root(), location.key)?);
        if let Some(claim) = claim {
            self.confirm(&directory, location, &claim, &opened)?;
        }
        let mut state = self.state.lock();
        // One that left meanwhile must not be kept open: its room would not be given back.
        let pushed_out = if state.index.is_current(location.key) {
            state.open.insert(location.key, Arc::clone(&opened))
        } else {
            None
        };
        drop(state);
        drop(pushed_out);
        Ok(opened)
    }

    /// As [`Inner::open_version`]; `None` when the files vanished, and then the unit is let go.
    fn open_or_let_go(&self, location: Location) -> Result<Option<Arc<OpenVersion>>, StoreError> {
        match self.open_version(location) {
            Ok(open) => Ok(Some(open)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let action = self.state.lock().index.detach_generation(location.key, Reason::Vanished);
                self.perform(action.into_iter().collect());
                Ok(None)
            }
            Err(source) => {
                self.disk_failed(location.tier, &source);
                let directory = &self.slot(location.tier).settings.directory;
                let path = path_of(directory, location.key, FileKind::Data);
                Err(StoreError::Io { action: "open", path, source })
            }
        }
    }

    /// A page cannot be served: it is dropped, so that it is fetched again.
    fn lose_page(&self, location: Location, fault: Fault) {
        let actions = self.state.lock().index.lose_page(location.key, fault.page());
        if self.perform(actions) {
            match fault {
                Fault::Checksum(_) => self.statistics.corrupt_pages.add(1),
                Fault::Io(_) => self.read_failed(location.tier),
            }
            let tier = &self.slot(location.tier).settings.name;
            warn!(unit = %location.key, tier, ?fault, "a cached page cannot be served and was dropped");
        }
    }

    /// Looks now and then at what the file systems have free.
    fn sample_free_space(&self) {
        if !self.reservations.fetch_add(1, Ordering::Relaxed).is_multiple_of(SPACE_SAMPLE_INTERVAL) {
            return;
        }
        self.look_at_free_space();
    }

    fn look_at_free_space(&self) {
        for (tier, slot) in (0..).map(TierIndex).zip(&self.tiers) {
            let Some(directory) = slot.directory() else { continue };
            match free_space(directory.root()) {
                Ok(free) => self.state.lock().index.set_free_space(tier, free.bytes, free.inodes),
                Err(error) => self.disk_failed(tier, &error),
            }
        }
    }
}
