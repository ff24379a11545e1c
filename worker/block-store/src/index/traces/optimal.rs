//! Belady's policy, which knows the future: of the files that are here and the one that comes, the one whose next
//! reading is farthest away is not kept. For files of one size.

use std::collections::{BTreeMap, BTreeSet};

use super::work::Trace;

/// The ratio of hits, for a cache of so many files.
pub(super) fn ratio_of_hits(trace: &Trace, capacity: usize) -> f64 {
    let mut next_reads = vec![usize::MAX; trace.reads.len()];
    let mut later: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, file) in trace.reads.iter().enumerate().rev() {
        next_reads[at] = later.insert(*file, at).unwrap_or(usize::MAX);
    }
    let mut here: BTreeMap<usize, usize> = BTreeMap::new();
    let mut by_next: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut hits = 0;
    for (at, file) in trace.reads.iter().enumerate() {
        if let Some(next) = here.remove(file) {
            by_next.remove(&(next, *file));
            hits += u32::from(trace.measured.contains(&at));
        }
        here.insert(*file, next_reads[at]);
        by_next.insert((next_reads[at], *file));
        if here.len() > capacity
            && let Some((_, farthest)) = by_next.pop_last()
        {
            here.remove(&farthest);
        }
    }
    f64::from(hits) / f64::from(u32::try_from(trace.measured.len()).unwrap())
}
