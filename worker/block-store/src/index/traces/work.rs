//! The traces: who reads which files in which order. Each begins in an empty cache.

use std::ops::Range;

/// Files of which a data set consists, unless a trace says otherwise.
const FILES: usize = 600;
const SMALL: u64 = 100 << 10;

/// Reads of files from their begin, mostly of all of them.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) name: &'static str,
    /// Length of each file.
    pub(super) lengths: Vec<u64>,
    /// How much of each file is read, in percent.
    pub(super) read_percent: u64,
    /// Files, one reading each.
    pub(super) reads: Vec<usize>,
    /// Part of the bytes that the cache holds, in percent of all that is read.
    pub(super) cache_percent: u64,
    /// How much of that is a RAM tier; the rest is a disk tier.
    pub(super) ram_percent: u64,
    /// Readings whose hits count.
    pub(super) measured: Range<usize>,
    /// Readings that go on at the same time.
    pub(super) readers: usize,
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }

    fn shuffle(&mut self, files: &mut [usize]) {
        (1..files.len()).rev().for_each(|last| files.swap(last, self.below(last + 1)));
    }

    /// Readings of files of which the one of rank n is read n^-0.9 times as often as the first.
    fn zipf(&mut self, files: usize, count: usize) -> Vec<usize> {
        let mut names: Vec<usize> = (0..files).collect();
        self.shuffle(&mut names);
        let (mut rank, mut sum) = (0.0, 0.0);
        let sums: Vec<f64> = (0..files)
            .map(|_| {
                rank += 1.0;
                sum += f64::powf(rank, -0.9);
                sum
            })
            .collect();
        let pick = |_| {
            let point = self.unit() * sum;
            names[sums.partition_point(|up_to| *up_to < point).min(files - 1)]
        };
        (0..count).map(pick).collect()
    }

    /// Passes over files, in another order each time.
    fn passes(&mut self, files: Range<usize>, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = files.collect();
        let pass = |_| {
            self.shuffle(&mut order);
            order.clone()
        };
        (0..count).flat_map(pass).collect()
    }
}

impl Trace {
    fn small(name: &'static str, reads: Vec<usize>, cache_percent: u64, first_measured: usize) -> Self {
        let files = reads.iter().max().map_or(0, |last| last + 1);
        let measured = first_measured..reads.len();
        let lengths = vec![SMALL; files];
        Self { name, lengths, read_percent: 100, reads, cache_percent, ram_percent: 0, measured, readers: 1 }
    }

    /// The same with files from 64 KiB to 8 MiB and many readers.
    fn mixed(self, name: &'static str, readers: usize) -> Self {
        let mut random = Random(7);
        let length = |_: &u64| (64 << 10) + (random.next() % (1 << 20)) * (random.next() % 8);
        Self { name, lengths: self.lengths.iter().map(length).collect(), readers, ..self }
    }
}

/// Training: each file once in each pass, in random order.
pub(super) fn epochs(cache_percent: u64) -> Trace {
    let name = match cache_percent {
        50 => "epochs, cache 50 %",
        10 => "epochs, cache 10 %",
        _ => "epochs, cache 90 %",
    };
    Trace::small(name, Random(1).passes(0..FILES, 10), cache_percent, FILES)
}

pub(super) fn epochs_of_mixed_files() -> Trace {
    epochs(50).mixed("epochs, cache 50 %, mixed sizes, 16 readers", 16)
}

/// Only the first quarter of each file is read, and the cache holds so much of the files as a whole. Measured from the
/// third epoch: room that was kept for the rest is given to others by then.
pub(super) fn epochs_over_quarters(cache_percent: u64) -> Trace {
    let name = match cache_percent {
        50 => "epochs over quarters, cache 50 % of the files",
        _ => "epochs over quarters, cache 10 % of the files",
    };
    let of = epochs(cache_percent);
    let (lengths, measured) = (vec![4 << 20; FILES], 2 * FILES..of.reads.len());
    Trace { name, lengths, read_percent: 25, measured, ..of }
}

pub(super) fn epochs_over_two_tiers() -> Trace {
    Trace { name: "epochs, cache 50 %, a third of it RAM", ram_percent: 33, ..epochs(50) }
}

/// Files of which a few are read often, after a law that many catalogues of objects follow.
pub(super) fn zipf(cache_percent: u64) -> Trace {
    let mut random = Random(2);
    let reads = random.zipf(5 * FILES, 60 * FILES);
    let name = if cache_percent == 10 { "Zipf 0.9, cache 10 %" } else { "Zipf 0.9, cache 2 %" };
    Trace::small(name, reads, cache_percent, 15 * FILES)
}

/// The same, but others are read often from some moment on. What is measured begins soon after.
pub(super) fn zipf_that_changes() -> Trace {
    let mut random = Random(9);
    let mut reads = random.zipf(5 * FILES, 30 * FILES);
    reads.extend(random.zipf(5 * FILES, 30 * FILES));
    Trace::small("Zipf 0.9 whose popular files change, cache 10 %", reads, 10, 40 * FILES)
}

pub(super) fn zipf_of_mixed_files() -> Trace {
    zipf(10).mixed("Zipf 0.9, cache 10 %, mixed sizes, 16 readers", 16)
}

/// A set that is used again and again, and things that are read once in between.
pub(super) fn scan_through_a_hot_set() -> Trace {
    let (hot, mut random) = (FILES / 2, Random(3));
    let mut reads = random.passes(0..hot, 4);
    let begin = reads.len();
    for once in hot..hot + 6 * FILES {
        reads.push(once);
        reads.push(random.below(hot));
    }
    // The cache has room for the hot set and a fifth more.
    Trace::small("a scan through a hot set", reads, 9, begin)
}

/// Training on one data set and then on another, of which a cache holds half. What is measured are the epochs of the
/// second after the first three.
pub(super) fn a_data_set_that_changes() -> Trace {
    let mut random = Random(4);
    let mut reads = random.passes(0..FILES, 4);
    reads.extend(random.passes(FILES..2 * FILES, 8));
    Trace::small("a data set that changes, from the fourth epoch", reads, 25, 7 * FILES)
}

/// The same with data sets that fit, one after the other. What is measured are the second and third epochs of the other.
pub(super) fn a_data_set_that_fits_and_changes() -> Trace {
    let mut random = Random(4);
    let mut reads = random.passes(0..FILES, 4);
    reads.extend(random.passes(FILES..2 * FILES, 3));
    Trace::small("a data set that fits and changes, second and third epoch", reads, 50, 5 * FILES)
}

/// Two jobs, each over a data set of its own, that together have twice the room.
pub(super) fn two_jobs() -> Trace {
    let mut random = Random(5);
    let (one, other) = (random.passes(0..FILES, 10), random.passes(FILES..2 * FILES, 10));
    let reads = one.into_iter().zip(other).flat_map(|(one, other)| [one, other]).collect();
    Trace::small("two jobs, two data sets, cache 50 %", reads, 50, 2 * FILES)
}

/// Two jobs over one data set, of which one is half an epoch behind.
pub(super) fn two_jobs_on_one_data_set() -> Trace {
    let mut random = Random(6);
    let (one, other) = (random.passes(0..FILES, 10), random.passes(0..FILES, 10));
    let mut reads = one[..FILES / 2].to_vec();
    reads.extend(one[FILES / 2..].iter().zip(&other).flat_map(|(one, other)| [*one, *other]));
    Trace::small("two jobs on one data set, cache 50 %", reads, 50, 2 * FILES)
}

/// Training on more than the cache holds, into which somebody comes who reads a few files all the time.
pub(super) fn a_hot_set_that_comes_late() -> Trace {
    let mut random = Random(8);
    let mut reads = random.passes(0..FILES, 3);
    for (number, file) in random.passes(0..FILES, 6).into_iter().enumerate() {
        reads.push(file);
        if number % 4 == 0 {
            reads.push(FILES + random.below(20));
        }
    }
    Trace::small("training, and a hot set that comes late, cache 50 %", reads, 49, 4 * FILES)
}

/// All of them.
pub(super) fn all() -> Vec<Trace> {
    vec![
        epochs(50),
        epochs(10),
        epochs(90),
        epochs_of_mixed_files(),
        epochs_over_two_tiers(),
        epochs_over_quarters(50),
        epochs_over_quarters(10),
        zipf(10),
        zipf(2),
        zipf_of_mixed_files(),
        zipf_that_changes(),
        scan_through_a_hot_set(),
        a_data_set_that_changes(),
        a_data_set_that_fits_and_changes(),
        two_jobs(),
        two_jobs_on_one_data_set(),
        a_hot_set_that_comes_late(),
    ]
}

/// Those that tell what moves between memory and a disk do, a fifth of the cache being memory.
pub(super) fn over_two_tiers() -> Vec<Trace> {
    let traces = vec![
        epochs(50),
        epochs(90),
        epochs_of_mixed_files(),
        epochs_that_fit(),
        epochs_over_quarters(50),
        zipf(10),
        zipf_of_mixed_files(),
        zipf_that_changes(),
        zipf_that_fits(),
        scan_through_a_hot_set(),
        a_data_set_that_changes(),
        a_data_set_that_fits_and_changes(),
        two_jobs(),
        a_hot_set_that_comes_late(),
    ];
    traces.into_iter().map(|trace| Trace { ram_percent: 20, ..trace }).collect()
}

/// Training on what the cache holds.
fn epochs_that_fit() -> Trace {
    Trace { name: "epochs, all fits", ..epochs(110) }
}

fn zipf_that_fits() -> Trace {
    Trace { name: "Zipf 0.9, all fits", cache_percent: 110, ..zipf(10) }
}
