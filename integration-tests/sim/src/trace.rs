//! What happened, as a hash over all of it and the last lines in words.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

/// Lines that are kept in words.
const LINES_MAX: usize = 4000;

/// The trace of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Cell<u64>,
    lines: RefCell<VecDeque<String>>,
}

impl Default for Trace {
    fn default() -> Self {
        // FNV-1a of Fowler, Noll and Vo, 64 bits.
        Self { hash: Cell::new(0xcbf2_9ce4_8422_2325), lines: RefCell::default() }
    }
}

impl Trace {
    /// Adds a line.
    pub(crate) fn add(&self, at: Duration, what: std::fmt::Arguments<'_>) {
        let mut line = String::new();
        let written = write!(line, "{:>12.6} {what}", at.as_secs_f64());
        debug_assert!(written.is_ok(), "text is written to memory");
        let mut hash = self.hash.get();
        for byte in line.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.hash.set(hash);
        let mut lines = self.lines.borrow_mut();
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Stands for all lines: equal runs have equal hashes.
    #[must_use]
    pub(crate) fn hash(&self) -> u64 {
        self.hash.get()
    }

    /// The last `most` lines that speak of one of these words.
    #[must_use]
    pub(crate) fn about(&self, words: &[String], most: usize) -> Vec<String> {
        let lines = self.lines.borrow();
        let speaks = |line: &&String| words.iter().any(|word| line.contains(word.as_str()));
        let mut found: Vec<String> = lines.iter().rev().filter(speaks).take(most).cloned().collect();
        found.reverse();
        found
    }
}
