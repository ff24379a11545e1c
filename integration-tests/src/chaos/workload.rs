//! What clients ask for, from a seed: changes and reads of so few directories that they get into each other's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use forebay_history::{Inode, Mode, Operation, ROOT};
use parking_lot::Mutex;

use crate::dice::Dice;

/// The directories that there can be in the root, and the ones in others.
const TOP: [&str; 2] = ["a", "b"];
pub(super) const INNER: [&str; 3] = ["x", "y", "z"];
/// Directories whose makers were told their ids and that are still asked for.
const KNOWN_MAX: usize = 8;
/// Permission bits are never the same twice in so many.
const MODES: u16 = 0o7777;

/// What clients of one run share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    modes: AtomicU16,
    known: Mutex<Vec<Inode>>,
}

/// The questions of one client.
#[derive(Debug)]
pub(crate) struct Workload {
    dice: Dice,
    shared: Arc<Shared>,
}

impl Shared {
    /// Permission bits that are new.
    pub(crate) fn mode(&self) -> Mode {
        1 + self.modes.fetch_add(1, Ordering::Relaxed) % MODES
    }

    /// A client was told the id of a directory that it made.
    pub(crate) fn made(&self, inode: Inode) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.remove(0);
        }
        known.push(inode);
    }
}

impl Workload {
    pub(crate) fn new(seed: u64, shared: Arc<Shared>) -> Self {
        Self { dice: Dice::new(seed), shared }
    }

    /// A number of milliseconds up to `most`, for a pause.
    pub(crate) fn millis(&mut self, most: usize) -> u64 {
        self.dice.below(most + 1) as u64
    }

    pub(crate) fn next(&mut self) -> Operation {
        match self.dice.below(100) {
            0..=29 => Operation::MakeDirectory { path: self.path(), mode: self.shared.mode() },
            30..=39 => Operation::RemoveDirectory { path: self.path() },
            40..=54 => self.rename(),
            55..=69 => Operation::SetMode { path: self.path(), mode: self.shared.mode() },
            70..=87 => Operation::Stat { path: self.path() },
            _ => Operation::List { inode: self.inode() },
        }
    }

    fn rename(&mut self) -> Operation {
        let from = self.path();
        loop {
            let to = self.path();
            if to != from {
                return Operation::Rename { from, to };
            }
        }
    }

    fn path(&mut self) -> String {
        let depth = [0, 1, 1, 1, 2, 2][self.dice.below(6)];
        let top = format!("/{}", self.dice.one_of(&TOP));
        (0..depth).fold(top, |path, _| format!("{path}/{}", self.dice.one_of(&INNER)))
    }

    fn inode(&mut self) -> Inode {
        let known = self.shared.known.lock();
        if known.is_empty() || self.dice.percent(25) { ROOT } else { *self.dice.one_of(&known) }
    }
}
