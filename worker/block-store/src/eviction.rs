//! The port of eviction: who leaves when a tier is full, and for whom anybody does. One policy per file; the index does
//! the counting.

mod epoch;
mod lru;
mod newcomers;
mod s3_fifo;
#[cfg(test)]
mod sieve;
mod visit;

use std::fmt;
use std::str::FromStr;

use forebay_types::ByteCount;

use crate::page::PageIndex;
use crate::unit::UnitId;

pub(crate) use epoch::Epoch;
pub(crate) use lru::Lru;
pub(crate) use newcomers::Newcomers;
pub(crate) use s3_fifo::S3Fifo;
#[cfg(test)]
pub(crate) use sieve::Sieve;
pub(crate) use visit::VisitClock;

/// Which policy a store evicts by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Eviction {
    /// What was not used for longest leaves.
    Lru,
    /// What was used once leaves soon, what was used again stays: scans pass through a small part of the cache.
    #[default]
    S3Fifo,
    /// What is cached stays while it is read once in each pass over a data set; the rest is read past the cache.
    Epoch,
}

/// A read that wants a page stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newcomer {
    pub(crate) unit: UnitId,
    /// Length of the whole version.
    pub(crate) length: ByteCount,
    pub(crate) page: PageIndex,
}

/// An order of leaving over the versions of one tier.
///
/// The policy knows a version from `insert` to `remove`. In between it is parked while it is held or being filled, and
/// is no victim then; it begins parked. So a version whose every use is an open and a close keeps its history. An
/// implementation is deterministic, needs O(log n) for each call, amortized, and says what it remembers of a version.
pub(crate) trait EvictionPolicy: fmt::Debug + Send {
    /// A version came, and was used just now, for all that matters from its begin on. It is parked.
    fn insert(&mut self, unit: UnitId, length: ByteCount);
    /// A version left, parked or not.
    fn remove(&mut self, unit: UnitId);
    /// A version may not be evicted for now.
    fn park(&mut self, unit: UnitId);
    /// A version may be evicted again; whatever it was parked for lasted until now.
    fn unpark(&mut self, unit: UnitId);
    /// A version, parked or not, was used from this page on. One reading of a file may be many uses.
    fn touch(&mut self, unit: UnitId, page: PageIndex);
    /// A version was held by somebody who could use it again and again without being seen.
    fn rested(&mut self, unit: UnitId) {
        let _ = unit;
    }
    /// Who is to leave next if somebody has to; `None` when all are parked. Asked twice it says the same.
    fn victim(&mut self) -> Option<UnitId>;
    /// Who is to leave for a read; `None`: nobody, it is better served without being stored.
    fn victim_for(&mut self, newcomer: &Newcomer) -> Option<UnitId> {
        let _ = newcomer;
        self.victim()
    }
    /// A read was served without being stored, since nobody was to leave for it. It is of a version that never came,
    /// or of a part that is missing.
    fn declined(&mut self, newcomer: &Newcomer) {
        let _ = newcomer;
    }
    /// Whether there may be victims and yet none for a newcomer. Then room is kept for all of a version that came: else
    /// of many that come at once each would get a part.
    fn is_selective(&self) -> bool {
        false
    }
}

impl Eviction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lru, Self::S3Fifo, Self::Epoch];

    /// The word that settings have for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::S3Fifo => "s3-fifo",
            Self::Epoch => "epoch",
        }
    }

    /// A policy without versions for a tier of this capacity.
    pub(crate) fn policy(self, capacity: ByteCount) -> Box<dyn EvictionPolicy> {
        match self {
            Self::Lru => Box::new(Lru::default()),
            Self::S3Fifo => Box::new(S3Fifo::new(capacity)),
            Self::Epoch => Box::new(Epoch::new(capacity)),
        }
    }
}

impl fmt::Display for Eviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no eviction policy; write {}", legal_words())]
pub struct UnknownEviction {
    word: String,
}

impl FromStr for Eviction {
    type Err = UnknownEviction;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|eviction| eviction.as_str() == word);
        found.ok_or_else(|| UnknownEviction { word: word.to_owned() })
    }
}

/// `a, b or c`.
fn legal_words() -> String {
    let words = Eviction::ALL.map(Eviction::as_str);
    let (last, first) = words.split_last().expect("there are policies");
    format!("{} or {last}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_policy_is_refused_with_the_legal_ones() {
        for eviction in Eviction::ALL {
            assert_eq!(eviction.to_string().parse(), Ok(eviction));
        }
        let refused = "LRU".parse::<Eviction>().unwrap_err().to_string();
        assert_eq!(refused, "`LRU` is no eviction policy; write lru, s3-fifo or epoch");
    }
}
