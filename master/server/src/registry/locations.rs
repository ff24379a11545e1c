//! Which worker reports to hold how much of which version. Soft: rebuilt from the workers' reports.
//!
//! Most versions are held by one worker, and there are many millions of them, so each of these takes a row of 32 bytes in a
//! table of hashes, and only the others a list. The table is cut into parts, so that one that grows is copied in a moment:
//! a lock is held around all this. What a life of a worker reported is voided at once, by forgetting the life's number; the
//! rows go when they are met, and part by part in [`Locations::sweep`].

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use forebay_types::{ByteCount, FileId, VersionDescriptor, WorkerId};

#[cfg(test)]
mod tests;

/// Parts of the table. So many that each grows in a moment, and another one than most others.
const PARTS: usize = 1024;
/// Parts that one sweep looks at.
const PARTS_SWEPT: usize = 32;

/// What one worker holds of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    /// Bytes in its cache.
    pub(crate) cached: ByteCount,
    /// Whether these are all bytes of the version.
    pub(crate) complete: bool,
}

/// All reports, by version.
#[derive(Debug)]
pub(crate) struct Locations {
    parts: Vec<Part>,
    /// What reports since the last [`Locations::forget_workers`] of each worker have in common.
    lives: BTreeMap<WorkerId, Life>,
    /// Whose they are.
    workers: HashMap<LifeNumber, WorkerId>,
    next_life: LifeNumber,
    /// Workers that are lost: what they held counts again when they come back, and not before.
    lost: BTreeSet<WorkerId>,
    /// The part that is swept next, and how many are left that may have void rows.
    sweep: (usize, usize),
}

/// Numbers a life of a worker here: shorter than a registration, as each row has one.
type LifeNumber = u32;

#[derive(Debug)]
struct Life {
    number: LifeNumber,
    /// How many versions it holds something of.
    held: u64,
}

/// The versions of one part: each is in one of the two.
#[derive(Debug, Default)]
struct Part {
    by_one: HashMap<FileId, Row>,
    by_several: HashMap<FileId, Vec<Row>>,
}

/// What one life of a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    life: LifeNumber,
    /// Twice the bytes, and one more where they are all.
    packed: u64,
}

impl Row {
    /// No file is so long that a bit is missing; of what a worker says all the same as much is kept as fits.
    fn new(life: LifeNumber, holding: Holding) -> Self {
        let cached = holding.cached.get().min(u64::MAX >> 1);
        Self { life, packed: cached << 1 | u64::from(holding.complete) }
    }

    const fn holding(self) -> Holding {
        Holding { cached: ByteCount::new(self.packed >> 1), complete: self.packed & 1 == 1 }
    }
}

impl Default for Locations {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Part::default()).collect(),
            lives: BTreeMap::new(),
            workers: HashMap::new(),
            next_life: 0,
            lost: BTreeSet::new(),
            sweep: (0, 0),
        }
    }
}

impl Locations {
    /// Takes one report. Nothing cached and not complete: the worker holds it no more. (A version of no bytes is
    /// complete with nothing cached.)
    pub(crate) fn record(&mut self, worker: WorkerId, file: FileId, holding: Holding) {
        let number = self.life_of(worker);
        let part = &mut self.parts[part_of(file)];
        let is_void = |row: &Row| !self.workers.contains_key(&row.life);
        let (before, now) = if holding.cached == ByteCount::ZERO && !holding.complete {
            (part.remove(file, number, is_void), false)
        } else {
            (part.insert(file, Row::new(number, holding), is_void), true)
        };
        if let Some(life) = self.lives.get_mut(&worker) {
            life.held = life.held + u64::from(now) - u64::from(before);
        }
    }

    /// The life of a worker that reports, which begins now if it has none.
    fn life_of(&mut self, worker: WorkerId) -> LifeNumber {
        if let Some(life) = self.lives.get(&worker) {
            return life.number;
        }
        // Numbers come again after four billions of lives, when the rows of the first are long swept.
        while self.workers.contains_key(&self.next_life) {
            self.next_life = self.next_life.wrapping_add(1);
        }
        let number = self.next_life;
        self.next_life = number.wrapping_add(1);
        self.workers.insert(number, worker);
        self.lives.insert(worker, Life { number, held: 0 });
        number
    }

    /// A worker is lost, or is heard of again.
    pub(crate) fn set_lost(&mut self, worker: WorkerId, is_lost: bool) {
        if is_lost {
            self.lost.insert(worker);
        } else {
            self.lost.remove(&worker);
        }
    }

    /// Voids all that workers reported, who are lost no more either.
    pub(crate) fn forget_workers(&mut self, gone: &BTreeSet<WorkerId>) {
        for worker in gone {
            self.lost.remove(worker);
            if let Some(life) = self.lives.remove(worker) {
                self.workers.remove(&life.number);
                if life.held > 0 {
                    self.sweep.1 = PARTS;
                }
            }
        }
    }

    /// Removes some of the rows that are void. To be called now and then; whether some may be left.
    pub(crate) fn sweep(&mut self) -> bool {
        let (next, left) = &mut self.sweep;
        let count = PARTS_SWEPT.min(*left);
        let is_void = |row: &Row| !self.workers.contains_key(&row.life);
        for _ in 0..count {
            self.parts[*next].sweep(is_void);
            *next = (*next + 1) % PARTS;
        }
        *left -= count;
        *left > 0
    }

    /// Who holds what of a version and can give it, by rising number of the worker.
    pub(crate) fn of(&self, file: FileId) -> Vec<(WorkerId, Holding)> {
        let mut known: Vec<_> = self.at_hand(file).collect();
        known.sort_unstable_by_key(|(worker, _)| *worker);
        known
    }

    /// Who holds something of a version, lost workers too.
    pub(crate) fn holders(&self, file: FileId) -> impl Iterator<Item = WorkerId> + '_ {
        self.rows(file).filter_map(|row| self.workers.get(&row.life).copied())
    }

    fn at_hand(&self, file: FileId) -> impl Iterator<Item = (WorkerId, Holding)> + '_ {
        let known = self.rows(file);
        let known = known.filter_map(|row| Some((*self.workers.get(&row.life)?, row.holding())));
        known.filter(|(worker, _)| !self.lost.contains(worker))
    }

    fn rows(&self, file: FileId) -> impl Iterator<Item = Row> + '_ {
        let part = &self.parts[part_of(file)];
        let several = part.by_several.get(&file).map(Vec::as_slice).unwrap_or_default();
        part.by_one.get(&file).into_iter().chain(several).copied()
    }

    /// Whether a worker holds something.
    pub(crate) fn holds_any(&self, worker: WorkerId) -> bool {
        self.lives.get(&worker).is_some_and(|life| life.held > 0)
    }

    /// Whether one worker told that it has all of a version. Of one that is spread over several it cannot be told, since
    /// they say how much they hold and not which part: two may hold the same.
    pub(crate) fn is_whole(&self, version: &VersionDescriptor) -> bool {
        version.length() == ByteCount::ZERO || self.at_hand(version.file).any(|(_, holding)| holding.complete)
    }

    /// The most that one worker holds of a version: what is cached at least once.
    pub(crate) fn cached(&self, file: FileId) -> ByteCount {
        self.at_hand(file).map(|(_, holding)| holding.cached).max().unwrap_or_default()
    }
}

impl Part {
    /// Takes the row of a life; whether there was one.
    fn insert(&mut self, file: FileId, row: Row, is_void: impl Fn(&Row) -> bool) -> bool {
        if let Some(rows) = self.by_several.get_mut(&file) {
            return put(rows, row, is_void);
        }
        match self.by_one.entry(file) {
            Entry::Vacant(vacant) => {
                vacant.insert(row);
                false
            }
            Entry::Occupied(mut one) if one.get().life == row.life || is_void(one.get()) => {
                one.insert(row).life == row.life
            }
            Entry::Occupied(one) => {
                self.by_several.insert(file, vec![one.remove(), row]);
                false
            }
        }
    }

    /// Removes the row of a life; whether there was one.
    fn remove(&mut self, file: FileId, life: LifeNumber, is_void: impl Fn(&Row) -> bool) -> bool {
        if let Some(rows) = self.by_several.get_mut(&file) {
            let was_there = rows.iter().any(|row| row.life == life);
            rows.retain(|row| row.life != life && !is_void(row));
            self.settle(file);
            return was_there;
        }
        self.by_one.remove_if(file, |row| row.life == life)
    }

    /// Brings a version that several held to where it belongs now.
    fn settle(&mut self, file: FileId) {
        let Entry::Occupied(rows) = self.by_several.entry(file) else { return };
        if let [one] = rows.get()[..] {
            self.by_one.insert(file, one);
        }
        if rows.get().len() <= 1 {
            rows.remove();
        }
    }

    fn sweep(&mut self, is_void: impl Fn(&Row) -> bool) {
        self.by_one.retain(|_, row| !is_void(row));
        let by_one = &mut self.by_one;
        self.by_several.retain(|file, rows| {
            rows.retain(|row| !is_void(row));
            if let [one] = rows[..] {
                by_one.insert(*file, one);
            }
            rows.len() > 1
        });
        give_back(&mut self.by_one);
        give_back(&mut self.by_several);
    }
}

/// Takes a row into a list; whether its life had one there.
fn put(rows: &mut Vec<Row>, row: Row, is_void: impl Fn(&Row) -> bool) -> bool {
    if let Some(same) = rows.iter_mut().find(|known| known.life == row.life) {
        *same = row;
        return true;
    }
    // Those of lives that are over make room for it.
    rows.retain(|row| !is_void(row));
    rows.push(row);
    false
}

trait RemoveIf {
    /// Removes a version's row if it is this one; whether it was.
    fn remove_if(&mut self, file: FileId, is_it: impl FnOnce(&Row) -> bool) -> bool;
}

impl RemoveIf for HashMap<FileId, Row> {
    fn remove_if(&mut self, file: FileId, is_it: impl FnOnce(&Row) -> bool) -> bool {
        match self.entry(file) {
            Entry::Occupied(row) if is_it(row.get()) => {
                row.remove();
                true
            }
            _ => false,
        }
    }
}

/// Gives memory back that a table of which much is gone does not need any more.
fn give_back<V>(table: &mut HashMap<FileId, V>) {
    if table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2);
    }
}

/// In which part a version is. Counters mostly follow each other: they are mixed (the finalizer of splitmix64), as what is spread
/// evenly instead fills all parts in the same moment.
#[allow(clippy::cast_possible_truncation, reason = "the lower bits are wanted")]
const fn part_of(file: FileId) -> usize {
    let mixed = (file.counter ^ (file.counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as usize % PARTS
}
