//! Who goes through which directory in its order, and what to bring for them: pure, driven by the opens it is told of.
//!
//! A walk begins where a file was opened that was not at hand. Two opens in a row of what follows shortly after, in
//! whatever order, make it go, and the window doubles with each further one; an open elsewhere in the directory halves it
//! and asks for two in a row again, several end the walk. Law: of what a walk brings no more than one window was not
//! opened yet, and opens in random order bring next to nothing.

use std::collections::VecDeque;
use std::time::Instant;

use forebay_types::{InodeId, ListingPosition};

use crate::limits::{
    WALK_BEGIN, WALK_IDLE, WALK_NEEDLESS_MAX, WALK_PROBE_OPENS, WALK_REACH, WALK_STRAYS_MAX, WALK_WINDOW_MIN,
    WALKS_MAX,
};

/// The walks of one client.
#[derive(Debug)]
pub(super) struct Walks<T> {
    /// The one that went on last is the last.
    walks: Vec<Walk<T>>,
    window_max: usize,
}

/// One directory that is gone through.
#[derive(Debug)]
struct Walk<T> {
    directory: InodeId,
    /// Files that follow, in their order, of which the first is not opened yet.
    upcoming: VecDeque<Upcoming<T>>,
    /// Up to here all files of the directory were taken up.
    end: ListingPosition,
    /// Most files to bring before they are opened; 0 until the walk goes.
    window: usize,
    /// Opens in a row that went on.
    in_row: u32,
    /// Opens elsewhere since it went on last.
    strays: u32,
    /// How often in a row it turned out that what was to be brought was there.
    needless: u32,
    opens: u32,
    last_open: Instant,
    /// What was opened last, which may be told more than once.
    last: ListingPosition,
}

#[derive(Debug)]
struct Upcoming<T> {
    position: ListingPosition,
    /// What it takes to bring it, until that is done or it is opened.
    file: Option<T>,
    is_opened: bool,
}

impl<T> Walks<T> {
    /// None yet. At most `window_max` files are brought before they are opened.
    pub(super) const fn new(window_max: usize) -> Self {
        Self { walks: Vec::new(), window_max }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.walks.is_empty()
    }

    /// A file was opened; `is_cold`: its bytes were not at hand. Gives the files to bring now. `following` gives those of
    /// the directory after a position, at most so many.
    pub(super) fn on_open(
        &mut self,
        directory: InodeId,
        position: &ListingPosition,
        is_cold: bool,
        now: Instant,
        following: impl Fn(&ListingPosition, usize) -> Vec<(ListingPosition, T)>,
    ) -> Vec<T> {
        self.walks.retain(|walk| now.saturating_duration_since(walk.last_open) < WALK_IDLE);
        let known = self.walks.iter().position(|walk| walk.directory == directory);
        let mut walk = match known {
            Some(index) => self.walks.remove(index),
            None if is_cold => Walk::new(directory, position, now),
            None => return Vec::new(),
        };
        let wanted = if known.is_some() { walk.on_open(position, now, self.window_max) } else { 0 };
        if walk.strays > WALK_STRAYS_MAX {
            return Vec::new();
        }
        walk.take_up(wanted.max(WALK_REACH), following);
        let brought = walk.upcoming.iter_mut().take(wanted).filter_map(|file| file.file.take()).collect();
        if self.walks.len() >= WALKS_MAX {
            self.walks.remove(0);
        }
        self.walks.push(walk);
        brought
    }

    /// Something was brought for a directory's walk; `was_missing`: it had not been there.
    pub(super) fn brought(&mut self, directory: InodeId, was_missing: bool) {
        if let Some(walk) = self.walks.iter_mut().find(|walk| walk.directory == directory) {
            walk.needless = if was_missing { 0 } else { walk.needless.saturating_add(1) };
        }
    }
}

impl<T> Walk<T> {
    fn new(directory: InodeId, position: &ListingPosition, now: Instant) -> Self {
        Self {
            directory,
            upcoming: VecDeque::new(),
            end: position.clone(),
            window: 0,
            in_row: 0,
            strays: 0,
            needless: 0,
            opens: 0,
            last_open: now,
            last: position.clone(),
        }
    }

    /// Takes note of an open; gives how many of the files that follow are to be brought.
    fn on_open(&mut self, position: &ListingPosition, now: Instant, window_max: usize) -> usize {
        if self.last == *position {
            return 0;
        }
        self.last = position.clone();
        let Some(index) = self.upcoming.iter().position(|file| file.position == *position) else {
            self.strays += 1;
            self.in_row = 0;
            self.window /= 2;
            return 0;
        };
        self.last_open = now;
        self.strays = 0;
        self.opens = self.opens.wrapping_add(1);
        // One that is further ahead tells nothing: it may be chance.
        self.in_row += u32::from(index < WALK_REACH);
        self.upcoming[index].is_opened = true;
        self.upcoming[index].file = None;
        // What was left out for so long is not going to be opened.
        self.upcoming.drain(..index.saturating_sub(WALK_REACH));
        while self.upcoming.front().is_some_and(|file| file.is_opened) {
            self.upcoming.pop_front();
        }
        if self.in_row < WALK_BEGIN {
            return 0;
        }
        self.window = (self.window * 2).clamp(WALK_WINDOW_MIN, window_max.max(WALK_WINDOW_MIN));
        if self.needless < WALK_NEEDLESS_MAX {
            self.window
        } else {
            // It may be otherwise further on.
            usize::from(self.opens.is_multiple_of(WALK_PROBE_OPENS)) * self.window.min(1)
        }
    }

    /// Takes up what follows until so many files are known.
    fn take_up(
        &mut self,
        count: usize,
        following: impl Fn(&ListingPosition, usize) -> Vec<(ListingPosition, T)>,
    ) {
        let lacking = count.saturating_sub(self.upcoming.len());
        if lacking == 0 {
            return;
        }
        let more = following(&self.end, lacking.max(WALK_REACH));
        if let Some((last, _)) = more.last() {
            self.end = last.clone();
        }
        let upcoming = |(position, file)| Upcoming { position, file: Some(file), is_opened: false };
        self.upcoming.extend(more.into_iter().map(upcoming));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use forebay_types::{EntryKind, EntryName};

    use super::*;

    const FILES: usize = 200;
    const WINDOW: usize = 16;

    fn at(number: usize) -> ListingPosition {
        let name = EntryName::new(format!("f{number:04}").into_bytes()).expect("legal");
        ListingPosition::of(&name, EntryKind::File)
    }

    /// A directory of `FILES` files, and what was opened and brought of it.
    struct Directory {
        walks: Walks<usize>,
        inode: InodeId,
        now: Instant,
        brought: BTreeSet<usize>,
        asked: usize,
    }

    impl Directory {
        fn new() -> Self {
            let walks = Walks::new(WINDOW);
            Self { walks, inode: InodeId::new(7), now: Instant::now(), brought: BTreeSet::new(), asked: 0 }
        }

        fn open(&mut self, number: usize) -> Vec<usize> {
            let is_cold = !self.brought.contains(&number);
            let following = |after: &ListingPosition, limit: usize| {
                let all = (0..FILES).map(|number| (at(number), number));
                all.filter(|(position, _)| position > after).take(limit).collect()
            };
            let brought = self.walks.on_open(self.inode, &at(number), is_cold, self.now, following);
            self.asked += brought.len();
            for number in &brought {
                assert!(self.brought.insert(*number), "{number} twice");
            }
            brought
        }
    }

    #[test]
    fn who_opens_files_in_their_order_finds_all_but_the_first_ones_brought() {
        let mut directory = Directory::new();
        for number in 0..FILES {
            let before = directory.brought.contains(&number);
            assert!(before || number < 3, "{number} was not at hand");
            directory.open(number);
            let ahead = directory.brought.iter().filter(|brought| **brought > number).count();
            assert!(ahead <= WINDOW, "{ahead} ahead of {number}");
        }
        assert_eq!(directory.brought.len(), FILES - 3);
    }

    #[test]
    fn an_open_that_is_told_twice_counts_once() {
        let mut directory = Directory::new();
        directory.open(0);
        for _ in 0..=WALK_STRAYS_MAX {
            assert_eq!(directory.open(0), []);
        }
        assert_eq!(directory.open(1).len(), 0);
        assert_eq!(directory.open(2).len(), WALK_WINDOW_MIN);
    }

    #[test]
    fn several_who_share_a_walk_keep_it_going() {
        let mut directory = Directory::new();
        // Four workers of a loader, each with the next batch of two.
        let batches = (0..FILES / 8).flat_map(|round| {
            let first = round * 8;
            [0, 2, 4, 6, 1, 3, 5, 7].map(|of| first + of)
        });
        batches.for_each(|number| drop(directory.open(number)));
        assert!(directory.brought.len() > FILES - 20, "{}", directory.brought.len());
    }

    #[test]
    fn opens_in_random_order_bring_next_to_nothing() {
        let mut directory = Directory::new();
        let mut number = 1_usize;
        for _ in 0..10 * FILES {
            number = number * 7_621 % 32_749;
            directory.brought.remove(&(number % FILES));
            directory.open(number % FILES);
        }
        let brought = directory.asked;
        assert!(brought < FILES / 5, "{brought} files in ten epochs");
    }

    #[test]
    fn what_is_at_hand_begins_no_walk_and_one_that_stands_still_ends() {
        let mut directory = Directory::new();
        directory.brought.insert(0);
        directory.open(0);
        assert!(directory.walks.is_empty());
        directory.open(1);
        assert!(!directory.walks.is_empty());
        directory.now += WALK_IDLE;
        directory.brought.insert(50);
        directory.open(50);
        assert!(directory.walks.is_empty());
    }

    #[test]
    fn where_all_is_there_it_is_looked_for_now_and_then_only_until_something_is_not() {
        let mut directory = Directory::new();
        let mut asked = 0;
        for number in 0..100 {
            let wanted = directory.open(number).len();
            asked += wanted;
            (0..wanted).for_each(|_| directory.walks.brought(directory.inode, false));
        }
        assert!(asked < 30, "{asked}");
        directory.walks.brought(directory.inode, true);
        let asked: usize = (100..120).map(|number| directory.open(number).len()).sum();
        assert!(asked > 20, "{asked}");
    }

    #[test]
    fn the_walk_that_went_on_longest_ago_makes_room() {
        let mut directory = Directory::new();
        for inode in 0..=WALKS_MAX as u64 {
            directory.inode = InodeId::new(100 + inode);
            directory.brought.clear();
            directory.open(0);
        }
        assert_eq!(directory.walks.walks.len(), WALKS_MAX);
        assert!(directory.walks.walks.iter().all(|walk| walk.directory != InodeId::new(100)));
    }
}
