//! Looks at the keys through a mount, by every path that a program has, and has each look judged.
//!
//! What a file's number of inode showed once it must show always: one inode is one version.

mod looks;
mod mapper;
mod place;

use std::fs::File;

use super::checker::{Moment, Observation, Seen};
use super::names::Key;
use super::witness::Witness;
use crate::dice::Dice;

use looks::{Looked, opened, rest_of, start_of};
use mapper::Mapper;
pub use place::Place;

/// Files that a reader keeps open, half read.
const HELD_MAX: usize = 12;

/// A path that bytes or names take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `stat` of a file.
    Stat,
    /// `readdir` of a directory.
    List,
    /// `open` and `read` of all of it.
    Read,
    /// `open`, `mmap` and a look at all pages.
    Map,
    /// `open` and `read` of a half; the rest later, read or mapped.
    Hold,
    /// The command `fs cat`, past the kernel.
    Command,
}

impl Way {
    /// All.
    pub const ALL: [Self; 6] = [Self::Stat, Self::List, Self::Read, Self::Map, Self::Hold, Self::Command];
    /// How often each is taken: the cheap ones more often.
    const WEIGHTED: [Self; 16] = {
        use Way::{Command, Hold, List, Map, Read, Stat};
        [Stat, Stat, Stat, Stat, List, List, Read, Read, Read, Map, Map, Map, Hold, Hold, Hold, Command]
    };

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::List => "list",
            Self::Read => "read",
            Self::Map => "map",
            Self::Hold => "hold",
            Self::Command => "fs cat",
        }
    }
}

/// One of those who look.
#[derive(Debug)]
pub struct Reader<'a> {
    witness: &'a Witness,
    places: &'a [Place],
    dice: Dice,
    mapper: Mapper,
    held: Vec<Held<'a>>,
}

/// A file of which a part was read.
#[derive(Debug)]
struct Held<'a> {
    place: &'a Place,
    key: Key,
    file: File,
    asked: Moment,
    answered: Moment,
    start: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// One of these places, who chooses by a seed.
    ///
    /// # Panics
    /// When there is no Python.
    #[must_use]
    pub fn new(witness: &'a Witness, places: &'a [Place], seed: u64) -> Self {
        Self { witness, places, dice: Dice::new(seed), mapper: Mapper::start(), held: Vec::new() }
    }

    /// Looks once, at random.
    pub fn look(&mut self) {
        let names = self.witness.names();
        let place = self.dice.one_of(self.places);
        let way = *self.dice.one_of(&Way::WEIGHTED);
        if way == Way::List {
            let all: Vec<_> = names.directories().collect();
            let path = *self.dice.one_of(&all);
            place.list(self.witness, path);
        } else {
            let all: Vec<_> = names.keys().collect();
            let key = *self.dice.one_of(&all);
            self.look_at(place, key, way);
        }
    }

    /// Looks at these keys and directories in every way.
    pub fn look_at_each(&mut self, keys: &[Key], directories: &[&str]) {
        self.resume_all();
        for place in self.places {
            directories.iter().for_each(|path| place.list(self.witness, path));
            for key in keys.iter().copied() {
                Way::ALL
                    .into_iter()
                    .filter(|way| *way != Way::List)
                    .for_each(|way| self.look_at(place, key, way));
            }
            self.resume_all();
        }
    }

    /// Reads what is left of all files that are kept open.
    pub fn resume_all(&mut self) {
        while !self.held.is_empty() {
            self.resume(0);
        }
    }

    /// Looks at one key in one way.
    pub fn look_at(&mut self, place: &'a Place, key: Key, way: Way) {
        match way {
            Way::Stat => place.stat(self.witness, key),
            Way::Command => place.cat(self.witness, key),
            Way::Read | Way::Map => self.open_and(place, key, way),
            Way::Hold => {
                if self.held.len() == HELD_MAX {
                    let at = self.dice.below(HELD_MAX);
                    self.resume(at);
                }
                self.hold(place, key);
            }
            Way::List => place.list(self.witness, ""),
        }
    }

    fn open_and(&mut self, place: &Place, key: Key, way: Way) {
        let asked = self.witness.now();
        let file = opened(&place.path_of(self.witness, key));
        let answered = self.witness.now();
        match file {
            Err(seen) => self.saw(way, key, seen, (asked, answered)),
            Ok(file) => {
                let piece = 4096 << self.dice.below(9);
                let looked = match way {
                    Way::Map => self.mapper.copy_of(&file),
                    _ => rest_of(&file, 0, piece),
                };
                self.judge(place, way, key, &file, looked, (asked, answered));
            }
        }
    }

    fn hold(&mut self, place: &'a Place, key: Key) {
        let asked = self.witness.now();
        let file = opened(&place.path_of(self.witness, key));
        let answered = self.witness.now();
        match file.map(|file| (start_of(&file), file)) {
            Err(seen) => self.saw(Way::Hold, key, seen, (asked, answered)),
            Ok((Ok(start), file)) => self.held.push(Held { place, key, file, asked, answered, start }),
            Ok((failed, file)) => self.judge(place, Way::Hold, key, &file, failed, (asked, answered)),
        }
    }

    /// Reads what is left of a file that was kept open.
    fn resume(&mut self, at: usize) {
        let Held { place, key, file, asked, answered, start } = self.held.swap_remove(at);
        let rest = if self.dice.percent(50) {
            rest_of(&file, start.len(), 64 << 10)
        } else {
            // A mapping has the start, too, which must be what was read.
            self.mapper
                .copy_of(&file)
                .map(|all| if all.starts_with(&start) { all[start.len()..].into() } else { all })
        };
        let looked = rest.map(|rest| [start, rest].concat());
        self.judge(place, Way::Hold, key, &file, looked, (asked, answered));
    }

    /// Notes what the bytes of an open file are. What is gone may have gone until now.
    fn judge(
        &self,
        place: &Place,
        way: Way,
        key: Key,
        file: &File,
        looked: Looked,
        (asked, answered): (Moment, Moment),
    ) {
        let seen = match looked {
            Ok(bytes) => place.seen(self.witness, way, file, &bytes),
            Err(seen) => seen,
        };
        let answered = if seen == Seen::Gone { self.witness.now() } else { answered };
        self.saw(way, key, seen, (asked, answered));
    }

    fn saw(&self, way: Way, key: Key, seen: Seen, (asked, answered): (Moment, Moment)) {
        self.witness.saw(way.name(), &Observation { key, seen, asked, answered });
    }
}
